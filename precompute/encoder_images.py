"""What an encoder learns from: images with their latents, pictures without, where they begin."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..engine.models.identity import Identity
from ..engine.models.own_encoder import drawn_small
from ..engine.models.preprocess import as_rgb, from_bytes
from ..engine.models.protocols import Generator
from ..engine.models.sampling import batch_size, w_shape
from ..engine.networks.own_encoder import averaged
from ..store.errors import OptionError
from ..store.sample_set import SampleSet
from .augment import like_photographs
from .encoder_starts import Array, Starts
from .streams import Stream
from .training import drawn_latents

if TYPE_CHECKING:
    from typing_extensions import Self

HELD_OUT = 32
"""Images for validation, the last samples where there are any; and as many pictures, if given."""
PICTURES_SHARE = 0.5
"""Of a batch, where there are pictures."""
_POOLED = 64  # images at once
_GRADIENTS = 4  # a gradient holds about as much as this many renders
_COUNTED = 2_000  # latents that tell what w is like, without samples


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of the generator's kind that it did not draw.

    Args:
        images: uint8 (N, H, W, 3), of the generator's size.
        start: where the look-up begins them, float32 (N, w_dim), on the CPU as they are.
        w: by which latents they would be drawn, the same; NaN in rows where nobody knows.

    Raises:
        OptionError: other shapes, or too few to hold some out.
    """

    images: Tensor
    start: Tensor
    w: Tensor

    def __post_init__(self) -> None:
        shape = self.images.shape
        if self.images.dtype != torch.uint8 or len(shape) != 4 or shape[3] != 3:
            raise OptionError(f"pictures: have shape {tuple(shape)}; give uint8 (N, H, W, 3)")
        if self.start.shape != self.w.shape or len(self.w) != shape[0] or shape[0] <= HELD_OUT:
            raise OptionError(
                f"pictures: are {shape[0]} with {len(self.start)} starts and {len(self.w)} "
                f"latents; give as many of all, more than {HELD_OUT}"
            )

    def sha256(self) -> str:
        """Of all three."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images.cpu().numpy()).data)
        for latents in (self.start, self.w):
            digest.update(np.ascontiguousarray(latents.float().cpu().numpy()).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Drawn:
    """n images to invert, as they are.

    Args:
        images: averaged to the network's side (n, 3, side, side), in [-1, 1].
        w: their latents, (n, w_dim); rows of NaN where nobody knows.
        start: where they begin, (n, w_dim).
        drawn: how the images of these are seen, (n, 3, side, side).
        people: whom an identity network sees in them, (n, D); (n, 0) without one.
    """

    images: Tensor
    w: Tensor
    start: Tensor
    drawn: Tensor
    people: Tensor

    def __len__(self) -> int:
        return len(self.w)

    def rows(self, chosen: Tensor | slice) -> Self:
        """Some of them."""
        return replace(self, **{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def to(self, precision: torch.dtype) -> Self:
        """The same, with images in another precision."""
        return replace(self, images=self.images.to(precision), drawn=self.drawn.to(precision))


@dataclass(frozen=True, eq=False)
class Batch(Drawn):
    """The same, and how the network is shown them, `seen` (n, 3, side, side)."""

    seen: Tensor

    def split(self, size: int) -> Iterator[Batch]:
        """The same, `size` at a time."""
        for first in range(0, len(self), size):
            yield self.rows(slice(first, first + size))


class Images:
    """Draws batches for the training of a network.

    Args:
        side: of the square that it sees.
        samples: of the generator's atlas, where it has any.
        identity: who is to stay the same; None for nobody.
        pictures: to learn from beside what the generator draws.

    Attributes:
        generator: that draws, a draft where that serves.
        size: how many gradients fit at once.
        centre, scale: mean and standard deviation of w, (w_dim,) and ().
    """

    def __init__(
        self,
        generator: Generator,
        side: int,
        samples: SampleSet | None,
        identity: Identity | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        self.generator, self._side = drawn_small(generator, side), side
        self._num_ws = w_shape(generator)[0]
        self.size = max(1, batch_size(self.generator) // _GRADIENTS)
        self._identity, self._pictures, self._samples = identity, pictures, samples
        if samples is None:
            random = Stream.ENCODER_VALIDATION.random(0)
            w = drawn_latents(generator, random, _COUNTED)[:, 0].float().cpu().numpy()
            centre = w.mean(0)
        else:
            w, centre = samples.w.astype(np.float32), samples.centre
        self.centre = torch.from_numpy(w.mean(0)).to(generator.device)
        self.scale = torch.tensor(float(w.std(0).mean()), device=generator.device)
        self._starts = Starts(samples, centre)
        self._pool: Drawn | None = None

    def batch(self, seed: int, step: int, count: int) -> Batch:
        """What a step learns from, whatever steps came before."""
        random = Stream.ENCODER.random(seed, step)
        pictures = 0 if self._pictures is None else int(PICTURES_SHARE * count)
        if self._pool is None:
            drawn = self._fresh(random, count - pictures)
        else:
            chosen = random.integers(len(self._pool), size=count - pictures)
            rows = torch.from_numpy(chosen).to(self.generator.device)
            drawn = self._pool.rows(rows).to(torch.float32)
        if self._pictures is not None:
            chosen = random.integers(len(self._pictures.start) - HELD_OUT, size=pictures)
            begun = self._starts.misled(self._pictures.start.numpy()[chosen], random)
            drawn = _joined(drawn, self._taken(self._pictures, torch.from_numpy(chosen), begun))
        return self._shown(drawn, random, slice(None))

    def keep(self, seed: int, count: int) -> None:
        """Draws so many images once, of which all batches are then made; in half precision, twelve
        bytes a pixel of the network's square."""
        random = Stream.ENCODER_POOL.random(seed)
        sizes = (min(_POOLED, count - at) for at in range(0, count, _POOLED))
        self._pool = _joined(*[self._fresh(random, size).to(torch.float16) for size in sizes])

    def held_out(self, seed: int) -> Batch:
        """For validation: every second one as a photograph would show it."""
        random = Stream.ENCODER_VALIDATION.random(seed)
        if self._samples is None or self._starts.found is None:
            drawn = self._fresh(random, HELD_OUT)
        else:
            w = torch.from_numpy(self._samples.w[-HELD_OUT:].astype(np.float32))
            w = w.to(self.generator.device)
            start = torch.from_numpy(self._starts.found[-HELD_OUT:]).to(w)
            drawn = self._generated(w, start)
        if self._pictures is not None:
            count = len(self._pictures.start)
            rows = torch.arange(count - HELD_OUT, count)
            begun = self._pictures.start.numpy()[-HELD_OUT:]
            drawn = _joined(drawn, self._taken(self._pictures, rows, begun))
        return self._shown(drawn, random, slice(None, None, 2))

    @property
    def kept(self) -> bool:
        """Whether `keep` was called."""
        return self._pool is not None

    def averaged(self, images: Tensor) -> Tensor:
        """Images of the generator as the network sees them, (n, 3, side, side)."""
        return averaged(as_rgb(images.float()), self._side)

    @torch.no_grad()
    def drawn(self, w: Tensor) -> Tensor:
        """How the network sees the images of latents (n, w_dim), (n, 3, side, side)."""
        parts = w.split(batch_size(self.generator))
        return torch.cat([self.averaged(self.rendered(part)) for part in parts])

    def rendered(self, w: Tensor) -> Tensor:
        """Images (n, channels, H, W) of latents (n, w_dim); differentiable."""
        rows = w[:, None].expand(-1, self._num_ws, -1)
        return self.generator.render(self.generator.styles(rows))

    def _fresh(self, random: np.random.Generator, count: int) -> Drawn:
        w = drawn_latents(self.generator, random, count)[:, 0].float()
        start = self._starts.draw(w.cpu().numpy(), random)
        return self._generated(w, torch.from_numpy(start).to(w))

    @torch.no_grad()
    def _generated(self, w: Tensor, start: Tensor) -> Drawn:
        parts = [self._of(self.rendered(part)) for part in w.split(batch_size(self.generator))]
        images, people = (torch.cat(values) for values in zip(*parts, strict=True))
        return Drawn(images, w, start, self.drawn(start), people)

    @torch.no_grad()
    def _taken(self, pictures: Pictures, rows: Tensor, begun: Array) -> Drawn:
        """Pictures by their numbers, and where they begin."""
        device = self.generator.device
        images, people = self._of(from_bytes(pictures.images[rows].to(device)))
        start = torch.from_numpy(begun).to(device)
        w = pictures.w[rows].to(device)
        return Drawn(images, w, start, self.drawn(start), people)

    def _of(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images as the network sees them, and who is in them."""
        people = images.new_zeros(len(images), 0)
        if self._identity is not None:
            people = self._identity.embed(images).float()
        return self.averaged(images).clamp(-1, 1), people

    def _shown(self, drawn: Drawn, random: np.random.Generator, spoilt: slice) -> Batch:
        """Some of them spoilt."""
        seen = drawn.images.clone()
        seen[spoilt] = like_photographs(seen[spoilt], random)
        return Batch(drawn.images, drawn.w, drawn.start, drawn.drawn, drawn.people, seen)


def _joined(*parts: Drawn) -> Drawn:
    return Drawn(*(torch.cat([getattr(x, f.name) for x in parts]) for f in fields(Drawn)))
