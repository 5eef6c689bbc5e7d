"""Training of latent mappers (Patashnik et al. 2021, "StyleCLIP", section 5).

Every step draws latents w, and makes small, over them,

    1 - cos(image, target) + directional (1 - cos(image - before, target - neutral))
        + l2 mean(w' - w)^2 + identity (1 - <R(image), R(before)>)

where w' is w with what the mapper adds. StyleCLIP has no second term and takes Ranger; here it is
Adam, see `training.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.fallbacks.losses import clip_loss, directional_loss, identity_loss
from ..engine.fallbacks.mapper import Mapper, MapperRecord
from ..engine.models.identity import Identity
from ..engine.models.probability import target_probability
from ..engine.models.protocols import Generator, JointEncoder
from ..engine.models.sampling import batch_size
from ..engine.networks.mapper import LatentMapper, MapperConfig, MapperGroup, split_groups
from ..engine.steering.texts import embed_prompts_of
from ..store.bank import one_line
from ..store.errors import OptionError, PromptError
from ..store.version import LIBRARY
from .mapper_settings import TrainSettings
from .mapper_state import Row
from .training import Training, drawn_latents

VALIDATION_IMAGES = 32
"""Drawn for validation; of given latents it is the last tenth, and at most so many."""

_TRAINING_STREAM, _VALIDATION_STREAM = 6, 7  # beside those of the other rooms' files


@dataclass(frozen=True, eq=False)
class _Seen:
    """Latents w (n, num_ws, w_dim) and how CLIP, and an identity network, see their images."""

    w: Tensor
    embeddings: Tensor
    people: Tensor | None


class Trainer(Training[MapperConfig, MapperRecord, Row, Mapper]):
    """A mapper on its way: `advance` until `finished`, then `made`.

    Args:
        neutral, target: the prompts.
        identity: whose embeddings are to stay; None for no identity loss.
        latents: w (n, num_ws, w_dim) to train on instead of drawn ones, n at least 2.

    Attributes:
        settings: those given.
        config: of the mapper's network.
        record: where the mapper will come from, but for what is known at its end.

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
            network = LatentMapper(self.config).to(generator.device)
        super().__init__(network, settings)

    @property
    def made(self) -> Mapper:
        """See `Training.made`; nothing is learned where none is better than doing nothing."""
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

    def _row(self, step: int) -> Row:
        return Row(step)

    def _learn(self, step: int) -> Row:
        parts, _ = self._parts(self._seen(self._latents(step)))
        loss = self._weights @ parts
        self._require_finite(loss, step + 1)
        loss.backward()
        return Row(step + 1, loss.item(), *parts.tolist())

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


def _drawn(
    generator: Generator, settings: TrainSettings, count: int, stream: int, step: int = 0
) -> Tensor:
    """w (count, num_ws, w_dim) of latents drawn for one step of one purpose."""
    random = np.random.default_rng([settings.seed, stream, step])
    return drawn_latents(generator, random, count, settings.truncation, settings.label)


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
