"""Training of latent mappers (Patashnik et al. 2021, "StyleCLIP", section 5).

Every step draws latents w, and makes small, over them,

    1 - cos(image, target) + directional (1 - cos(image - before, target - neutral))
        + l2 mean(w' - w)^2 + identity (1 - <R(image), R(before)>)

where w' is w with what the mapper adds. StyleCLIP has no second term and takes Ranger; here it is
Adam with a warm-up and a cosine to 0. What a step draws follows from the seed and its number alone,
so that a training taken up again ends in the same weights.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.fallbacks.losses import clip_loss, directional_loss, identity_loss
from ..engine.fallbacks.mapper import Mapper, MapperRecord
from ..engine.models.identity import Identity
from ..engine.models.memory import is_out_of_memory
from ..engine.models.probability import target_probability
from ..engine.models.protocols import Generator, JointEncoder
from ..engine.models.sampling import batch_size, one_hot_labels
from ..engine.networks.mapper import LatentMapper, MapperConfig, MapperGroup, split_groups
from ..engine.steering.texts import embed_prompts_of
from ..store.bank import one_line
from ..store.errors import DeviceMemoryError, OptionError, PromptError
from ..store.version import LIBRARY
from .mapper_settings import TrainSettings
from .mapper_state import Row, TrainingFile, TrainingState

VALIDATION_IMAGES = 32
"""Drawn for validation; of given latents it is the last tenth, and at most so many."""

_TRAINING_STREAM, _VALIDATION_STREAM = 6, 7  # beside those of the other rooms' files
_BETAS = (0.9, 0.99)


@dataclass(frozen=True, eq=False)
class _Seen:
    """Latents w (n, num_ws, w_dim) and how CLIP, and an identity network, see their images."""

    w: Tensor
    embeddings: Tensor
    people: Tensor | None


class Trainer:
    """A mapper on its way: `advance` until `finished`, then `mapper`.

    Args:
        neutral, target: the prompts.
        identity: whose embeddings are to stay; None for no identity loss.
        latents: w (n, num_ws, w_dim) to train on instead of drawn ones, n at least 2.

    Attributes:
        settings: those given.
        config: of the mapper's network.
        record: where the mapper will come from, but for what is known at its end.
        whole: whether `state` is that of a step that is done; not while `advance` is within one.

    Raises:
        OptionError: settings or latents that the models cannot satisfy.
        PromptError: prompts that cannot be embedded, or that mean the same.
    """

    def __init__(
        self,
        generator: Generator,
        encoder: JointEncoder,
        neutral: str,
        target: str,
        settings: TrainSettings,
        identity: Identity | None = None,
        latents: Tensor | None = None,
    ) -> None:
        if "float16" in (generator.precision, encoder.precision):
            raise OptionError(
                "precision float16: its gradients vanish, which training needs; take bfloat16"
            )
        self._generator, self._encoder, self._identity = generator, encoder, identity
        self.settings = settings
        neutral, target = one_line("neutral", neutral), one_line("target", target)
        self._texts = embed_prompts_of(encoder, [neutral, target]).float()  # (2, D)
        way = self._texts[1] - self._texts[0]
        if not way.norm() > 1e-6:
            raise PromptError(f"prompts {neutral!r} and {target!r}: mean the same; change one")
        self._direction = F.normalize(way, dim=0)
        self._given, held_out = _split(latents, settings, generator)
        self._held_out = [self._seen(w) for w in held_out.split(batch_size(generator))]
        self.config = MapperConfig(
            shape=tuple(held_out.shape[1:]), groups=_chosen_groups(generator, settings.groups)
        )
        self.record = MapperRecord(
            library=LIBRARY,
            neutral=neutral,
            target=target,
            generator=generator.identity,
            clip=encoder.identity,
            settings={
                **asdict(settings),
                "identity_network": _named(identity),
                "latents": None if latents is None else _sha256(latents),
                "precision": generator.precision,
                "clip_precision": encoder.precision,
            },
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self._network = LatentMapper(self.config).to(generator.device)
        self._optimizer = torch.optim.Adam(self._network.parameters(), betas=_BETAS)
        self.whole = True
        self._log: list[Row] = []
        self._best: dict[str, Tensor] = {}
        self._began = time.monotonic()

    def begin(self) -> None:
        """Starts at step 0, with what the untrained mapper comes to."""
        self._note(Row(step=0))

    def take_up(self, state: TrainingState) -> None:
        """Goes on where another process stopped."""
        device = self._generator.device
        self._network.load_state_dict(state.network)
        for name, parameter in self._network.named_parameters():
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(state.log[-1].step)),
                "exp_avg": state.averages[name].to(device),
                "exp_avg_sq": state.squares[name].to(device),
            }
        self._best = {name: tensor.to(device) for name, tensor in state.best.items()}
        self._log = list(state.log)
        self._began = time.monotonic() - self._log[-1].seconds

    @property
    def state(self) -> TrainingState:
        """All that `take_up` needs, sharing memory with the training."""
        moments: dict[str, dict[str, Tensor]] = {"exp_avg": {}, "exp_avg_sq": {}}
        for name, parameter in self._network.named_parameters():
            known = self._optimizer.state.get(parameter, {})
            for key, tensors in moments.items():
                tensors[name] = known.get(key, torch.zeros_like(parameter))
        averages, squares = moments.values()
        return TrainingState(
            self._network.state_dict(), averages, squares, self._best, list(self._log)
        )

    @property
    def log(self) -> Sequence[Row]:
        """A row for every step so far, and one for the beginning."""
        return self._log

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or too many validations brought nothing."""
        waited = sum(row.validated for row in self._log[self.best.step + 1 :])
        return self._log[-1].step >= self.settings.steps or waited >= self.settings.patience

    @property
    def best(self) -> Row:
        """The row of the lowest validation loss, the first of equal ones."""
        return min((row for row in self._log if row.validated), key=lambda row: row.validation_loss)

    @property
    def mapper(self) -> Mapper:
        """The best one so far, for use only, and what validation found of it.

        Raises:
            OptionError: none was better than a mapper that does nothing.
        """
        best, first, last = self.best, self._log[0], self._log[-1]
        if best.step == 0:
            raise OptionError(
                f"training: after {last.step} steps no validation was better than before the "
                "first; take more --steps, another --learning-rate or a lower --l2"
            )
        network = LatentMapper(self.config).to(self._generator.device)
        network.load_state_dict(self._best)
        measured = {
            "step": best.step,
            "of_steps": last.step,
            "images": sum(len(seen.w) for seen in self._held_out),
            "loss": best.validation_loss,
            "clip": best.validation_clip,
            "directional": best.validation_directional,
            "l2": best.validation_l2,
            "identity": best.validation_identity,
            "probability": best.probability,
            "probability_before": first.probability,
            "seconds": last.seconds,
        }
        rounded = {name: round(value, 4) for name, value in measured.items()}
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        record = replace(self.record, measured=rounded, created=created)
        return Mapper(network.eval().requires_grad_(False), record)

    def advance(self) -> None:
        """One step, and a validation where one is due.

        Raises:
            OptionError: the loss is not finite.
            DeviceMemoryError: the batch does not fit into the device's memory.
        """
        step = self._log[-1].step
        try:
            parts, _ = self._parts(self._seen(self._latents(step)))
            loss = self._weights @ parts
            self._require_finite(loss, step + 1)
            self._optimizer.zero_grad()
            loss.backward()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise DeviceMemoryError(
                f"{self._generator.device}: a batch of {self.settings.batch} does not fit into "
                "its memory; lower --batch"
            ) from error
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.rate(step)
        self.whole = False
        self._optimizer.step()
        self._note(Row(step + 1, loss.item(), *parts.tolist()))
        self.whole = True

    def _note(self, row: Row) -> None:
        """Adds a row to the log, with a validation where one is due."""
        settings = self.settings
        if row.step % settings.validate_every == 0 or row.step == settings.steps:
            row = self._validated(row)
            if not self._log or row.validation_loss < self.best.validation_loss:
                state = self._network.state_dict()
                self._best = {name: tensor.clone() for name, tensor in state.items()}
        self._log.append(row._replace(seconds=time.monotonic() - self._began))

    @torch.no_grad()
    def _validated(self, row: Row) -> Row:
        """The row with what the held-out latents come to."""
        means, probabilities = [], []
        for seen in self._held_out:
            parts, embeddings = self._parts(seen)
            means.append(parts * len(seen.w))
            difference = self._texts[1] - self._texts[0]
            probabilities.append(
                target_probability(embeddings, difference, self._encoder.logit_scale)
            )
        chances = torch.cat(probabilities)
        parts = torch.stack(means).sum(0) / len(chances)
        loss = self._weights @ parts
        self._require_finite(loss, row.step)
        names = ("validation_clip", "validation_directional", "validation_l2")
        values = dict(zip((*names, "validation_identity"), parts.tolist(), strict=True))
        return row._replace(
            validation_loss=loss.item(), probability=chances.mean().item(), **values
        )

    @property
    def _weights(self) -> Tensor:
        """Of the parts of the loss, (4,)."""
        chosen = self.settings
        weights = [1.0, chosen.directional, chosen.l2, chosen.identity]
        return torch.tensor(weights, device=self._generator.device)

    def _parts(self, seen: _Seen) -> tuple[Tensor, Tensor]:
        """The means of the parts of the loss (4,), unweighted, and the embeddings (n, D)."""
        residual = self._network(seen.w)
        images = self._generator.render(self._generator.styles(seen.w + residual))
        embeddings = self._encoder.images(images).float()
        clip = clip_loss(embeddings, self._texts[1])
        parts = [
            clip,
            directional_loss(embeddings, seen.embeddings, self._direction),
            residual.square().mean((1, 2)),
            torch.zeros_like(clip),
        ]
        if self._identity is not None and seen.people is not None:
            parts[3] = identity_loss(self._identity.embed(images).float(), seen.people)
        return torch.stack(parts).mean(1), embeddings

    @torch.no_grad()
    def _seen(self, w: Tensor) -> _Seen:
        images = self._generator.render(self._generator.styles(w))
        people = None if self._identity is None else self._identity.embed(images).float()
        return _Seen(w, self._encoder.images(images).float(), people)

    def _latents(self, step: int) -> Tensor:
        """w (batch, num_ws, w_dim) of a step, whatever steps came before."""
        batch = self.settings.batch
        if self._given is None:
            return _drawn(self._generator, self.settings, batch, _TRAINING_STREAM, step)
        random = np.random.default_rng([self.settings.seed, _TRAINING_STREAM, step])
        chosen = random.choice(len(self._given), batch, replace=batch > len(self._given))
        return self._given[torch.from_numpy(chosen).to(self._given.device)]

    def _require_finite(self, loss: Tensor, step: int) -> None:
        if not torch.isfinite(loss):
            raise OptionError(
                f"training: the loss of step {step} is not finite; lower --learning-rate, which "
                f"is {self.settings.learning_rate:g}"
            )


def train(
    trainer: Trainer,
    place: TrainingFile,
    report: Callable[[Trainer], None] = lambda trainer: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Mapper:
    """Trains to the end, from where an earlier process stopped, if one did.

    The state is kept every SAVE_SECONDS and at Ctrl-C; it is still there when this returns, and to
    be removed once the mapper is written. On one device, and on a CPU with one thread, a training
    that was killed ends in the same bits.

    Args:
        report: called at the start and after every step.
        tell: told in a line what there is to know.

    Raises:
        ResumeError: what is kept is of another training, or damaged.
        OutputError: state or log cannot be written.
        OptionError: the loss is not finite, or nothing was learned. The state is then removed.
        DeviceMemoryError: a batch does not fit into the device's memory.
    """
    found, steps = place.found(trainer.config, trainer.record), trainer.settings.steps

    def keep() -> None:
        place.keep(trainer.state, trainer.config, trainer.record)

    if found is None:
        trainer.begin()
    else:
        trainer.take_up(found)
        tell(f"resuming: {place.kept} of {steps} steps are done")
    report(trainer)
    try:
        while not trainer.finished:
            trainer.advance()
            report(trainer)
            if place.due:
                keep()
        keep()
        return trainer.mapper
    except KeyboardInterrupt:
        if trainer.whole:
            keep()
        if place.kept is not None:
            kept = f"{place.kept} of {steps} steps are kept in {place.path}"
            tell(f"interrupted: {kept}: the same command resumes")
        raise
    except OptionError:
        place.remove()
        place.write_log(trainer.log)
        raise


def _drawn(
    generator: Generator, settings: TrainSettings, count: int, stream: int, step: int = 0
) -> Tensor:
    """w (count, num_ws, w_dim) of latents drawn for one step of one purpose."""
    random = np.random.default_rng([settings.seed, stream, step])
    z = torch.from_numpy(random.standard_normal((count, generator.z_dim), np.float32))
    classes = random.integers(max(generator.c_dim, 1), size=count).tolist()
    labels = one_hot_labels(generator, classes, settings.label)
    with torch.no_grad():
        return generator.map(z.to(generator.device), labels, truncation=settings.truncation)


def _split(
    latents: Tensor | None, settings: TrainSettings, generator: Generator
) -> tuple[Tensor | None, Tensor]:
    """Given latents to train on, if there are any, and those held out for validation."""
    if latents is None:
        return None, _drawn(generator, settings, VALIDATION_IMAGES, _VALIDATION_STREAM)
    if latents.ndim != 3 or len(latents) < 2:
        raise OptionError(
            f"latents: have shape {tuple(latents.shape)}; training takes w (n, num_ws, w_dim) of "
            "at least 2 images"
        )
    held_out = max(1, min(VALIDATION_IMAGES, len(latents) // 10))
    given = latents.detach().float().to(generator.device).clone()  # none of inference mode
    return given[:-held_out], given[-held_out:]


def _chosen_groups(generator: Generator, names: Sequence[str]) -> tuple[MapperGroup, ...]:
    groups = split_groups(generator.layout, generator.rows)
    chosen = tuple(group for group in groups if group.name in names)
    if not chosen:
        has = ", ".join(group.name for group in groups)
        raise OptionError(f"groups {','.join(names)}: this generator has {has}")
    return chosen


def _named(identity: Identity | None) -> dict[str, str] | None:
    if identity is None:
        return None
    return {"name": identity.name, "sha256": identity.identity.sha256}


def _sha256(latents: Tensor) -> str:
    values = latents.detach().float().cpu().contiguous().numpy()
    return hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()
