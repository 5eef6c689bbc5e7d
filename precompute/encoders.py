"""Training of a generator's own photo encoder.

Every step draws images with their latents, spoils them as photographs would be, and begins where
the look-up would (`encoder_starts.py`). From there the network makes its passes: it is shown the
spoilt image beside how the generator draws the w that it is at, and steps on (Alaluf, Patashnik
and Cohen-Or 2021, "ReStyle"). Steps of the training take the passes in turn: each trains one, from
where those before it lead now. Then it is made small, against the unspoilt image,

    |w' - w|^2 / variance of w + pixels |image' - image| + lpips LPIPS(image', image)
        + identity (1 - <R(image'), R(image)>)

where w' is where the pass leads; of pictures whose latents nobody knows, without the first term.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path

import torch
from torch import Tensor

from ..engine.checkpoints.own_encoder_file import OwnEncoderCheckpoint, OwnEncoderRecord
from ..engine.fallbacks.losses import identity_loss, perceptual_loss
from ..engine.models.identity import Identity
from ..engine.models.own_encoder import OwnEncoder
from ..engine.models.perceptual import Perceptual
from ..engine.models.protocols import Generator
from ..engine.models.sampling import w_shape
from ..engine.networks.own_encoder import OwnEncoderConfig, OwnEncoderNetwork
from ..store.errors import OptionError
from ..store.fingerprint import ModelIdentity
from ..store.sample_set import SampleSet
from ..store.version import LIBRARY
from .encoder_images import Batch, Images, Pictures
from .encoder_settings import EncoderSettings
from .encoder_state import Row
from .training import Training

PARTS = ("latents", "pixels", "lpips", "identity")


class EncoderTrainer(Training[OwnEncoderConfig, OwnEncoderRecord, Row, OwnEncoder]):
    """An encoder on its way: `advance` until `finished`, then `made`.

    Args:
        generator: that it is to be of.
        samples: of its atlas, where there are any; it begins at the average w without.
        perceptual: LPIPS, for a loss by it.
        identity: whose embeddings are to be the image's, for a loss by it.
        pictures: to learn from beside what the generator draws.

    Attributes:
        settings: those given.
        held_out: what validation looks at.

    Raises:
        OptionError: settings that the models cannot satisfy, or too few samples.
    """

    def __init__(
        self,
        generator: Generator,
        samples: SampleSet | None,
        settings: EncoderSettings,
        perceptual: Perceptual | None = None,
        identity: Identity | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        if generator.precision == "float16":
            raise OptionError(
                "precision float16: its gradients vanish, which training needs; take bfloat16"
            )
        self._generator, self._perceptual, self._identity = generator, perceptual, identity
        self.settings = settings
        self.config = OwnEncoderConfig.of(generator.image_size, w_shape(generator)[1])
        self._images = Images(generator, self.config.side, samples, identity, pictures)
        self.held_out = self._images.held_out(settings.seed)
        self.record = OwnEncoderRecord(
            library=LIBRARY,
            generator=generator.identity,
            passes=settings.passes,
            samples=None if samples is None else samples.sha256,
            settings={
                **asdict(settings),
                "lpips_network": None if perceptual is None else perceptual.identity.record(),
                "identity_network": None if identity is None else identity.identity.record(),
                "pictures": None if pictures is None else pictures.sha256(),
                "precision": generator.precision,
            },
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = OwnEncoderNetwork(self.config).to(generator.device)
        network = network.to(memory_format=torch.channels_last)  # .7 of the time on a CPU
        network.centre.copy_(self._images.centre)
        network.scale.copy_(self._images.scale)
        super().__init__(network, settings)

    @property
    def made(self) -> OwnEncoder:
        """See `Training.made`; rounded as a file holds it, and measured so."""
        best, last = self.best, self._log[-1]
        if best.step == 0:
            raise OptionError(
                f"training: after {last.step} steps no validation was better than where images "
                "begin; take more --steps, or another --learning-rate"
            )
        checkpoint = OwnEncoderCheckpoint.of(Path("encoder"), self.config, self._best, self.record)
        network = OwnEncoderNetwork(self.config)
        network.load_state_dict(checkpoint.tensors)
        network = network.to(self._generator.device).eval().requires_grad_(False)
        before, after = self._log[0], self._figures(network)
        measured = {
            "step": best.step,
            "of_steps": last.step,
            "images": len(self.held_out),
            "loss": float(self._weights @ after),
            **dict(zip(PARTS, after.tolist(), strict=True)),
            **{f"{name}_before": getattr(before, f"validation_{name}") for name in PARTS},
            "seconds": last.seconds,
        }
        rounded = {name: round(value, 4) for name, value in measured.items()}
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        about = replace(self.record, measured=rounded, created=created)
        identity = ModelIdentity("encoder", checkpoint.sha256, {})
        return OwnEncoder(network, about, identity, self._generator)

    def _row(self, step: int) -> Row:
        return Row(step)

    def _learn(self, step: int) -> Row:
        settings = self.settings
        if settings.images is not None and not self._images.kept:
            self._images.keep(settings.seed, settings.images)
        batch = self._images.batch(settings.seed, step, settings.batch)
        known = batch.w.isfinite().all(1).float().mean()
        total = torch.zeros(len(PARTS), device=self._device)
        for part in batch.split(self._images.size):
            ways = self.passes(self._network, part, step % settings.passes)
            w, drawn = ways[-1]
            w = w + self._network(torch.cat([part.seen, drawn], 1), w)
            parts = self._parts(part, w, known) * len(part) / len(batch)
            loss = self._weights @ parts
            self._require_finite(loss, step + 1)
            loss.backward()
            total += parts.detach()
        return Row(step + 1, float(self._weights @ total), *total.tolist())

    def _validated(self, row: Row) -> Row:
        parts = self._figures(self._network)
        loss = self._weights @ parts
        self._require_finite(loss, row.step)
        named = {f"validation_{name}": x for name, x in zip(PARTS, parts.tolist(), strict=True)}
        return row._replace(validation_loss=loss.item(), **named)

    @torch.no_grad()
    def _figures(self, network: torch.nn.Module) -> Tensor:
        """The parts of the loss (4,) of the held-out images after the last pass."""
        total = torch.zeros(len(PARTS), device=self._device)
        known = self.held_out.w.isfinite().all(1).float().mean()
        for part in self.held_out.split(4 * self._images.size):
            w = self.passes(network, part, self.settings.passes)[-1][0]
            total += self._parts(part, w, known) * len(part) / len(self.held_out)
        return total

    @torch.no_grad()
    def passes(
        self, network: torch.nn.Module, batch: Batch, count: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Where images begin and where each of so many passes leads, (n, w_dim), and how the
        network sees the images of that, (n, 3, side, side)."""
        ways = [(batch.start, batch.drawn)]
        for _ in range(count):
            w, drawn = ways[-1]
            w = w + network(torch.cat([batch.seen, drawn], 1), w)
            ways.append((w, self._images.drawn(w)))
        return ways

    @property
    def _weights(self) -> Tensor:
        """Of the parts of the loss, (4,)."""
        chosen = self.settings
        weights = [1.0, chosen.pixels, chosen.lpips, chosen.identity]
        return torch.tensor(weights, device=self._device)

    def _parts(self, batch: Batch, w: Tensor, known: Tensor) -> Tensor:
        """The means of the parts of the loss (4,), unweighted; those that count for nothing may be
        measured where no gradient is asked for.

        Args:
            known: the share of images whose latents are known, in the batch that this is a part of.
        """
        truth = torch.where(batch.w.isfinite(), batch.w, w.detach())
        missed = (w - truth).square().mean(1) / self._images.scale**2
        nothing = torch.zeros_like(missed)
        parts = [missed / known.clamp(min=1e-6), nothing, nothing, nothing]
        networks = (self._perceptual, self._identity)
        counts = self.settings.pixels > 0 or any(x is not None for x in networks)
        if counts or not w.requires_grad:
            images = self._images.rendered(w)
            seen = self._images.averaged(images)
            parts[1] = (seen - batch.images).abs().mean((1, 2, 3)) / 2
            if self._perceptual is not None:
                both = (self._perceptual.embed(x) for x in (seen, batch.images))
                parts[2] = perceptual_loss(*both)
            if self._identity is not None:
                parts[3] = identity_loss(self._identity.embed(images).float(), batch.people)
        return torch.stack(parts).mean(1)
