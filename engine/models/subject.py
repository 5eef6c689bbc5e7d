"""The images that edits start from, and what several edits of them share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ...store.layout import Layer
from .protocols import Generator, Resumed
from .sampling import batch_size


class Batch:
    """Images that are rendered at once; what comes before a layer is rendered once.

    Args:
        generator: what renders them.
        styles: (n, C), on its device.
        psi: the truncation they were drawn at; None where that is not known.
    """

    def __init__(self, generator: Generator, styles: Tensor, psi: float | None = None) -> None:
        self.styles, self.psi = styles, psi
        self._generator = generator
        self._resumed: tuple[Layer, Resumed] | None = None

    @cached_property
    @torch.inference_mode()
    def images(self) -> Tensor:
        """As they are, (n, channels, H, W)."""
        return self._generator.render(self.styles)

    @torch.inference_mode()
    def render(self, styles: Tensor, layer: Layer) -> Tensor:
        """Edited styles (k * n, C), the n images once for each of k edits, which differ from the
        batch's own from `layer` on. What comes before it is rendered once."""
        if layer.start == 0:
            return self._generator.render(styles)
        if self._resumed is None or self._resumed[0] != layer:
            self._resumed = (layer, self._generator.resume(self.styles, layer))
        return self._resumed[1].render(styles)


class Subject:
    """The images that edits start from. What several edits of them share is computed once where
    they are rendered at once, that is up to `batch_size`; of more images only styles are held.

    Args:
        generator: what renders them.
        styles: (n, C).
        w: of the same images, (n, num_ws, w_dim), for mappers and optimisation in w; None where
            there are styles alone.
        psi: the truncation they were drawn at; None where that is not known.
    """

    def __init__(
        self,
        generator: Generator,
        styles: Tensor,
        w: Tensor | None = None,
        psi: float | None = None,
    ) -> None:
        self.styles = styles.to(generator.device)
        self.w = None if w is None else w.to(generator.device)
        self.psi, self._generator = psi, generator
        few = len(styles) <= batch_size(generator)
        self._kept = Batch(generator, self.styles, psi) if few else None

    def __len__(self) -> int:
        return len(self.styles)

    def batches(self) -> Iterator[Batch]:
        """The images, as many at a time as are rendered at once."""
        if self._kept is not None:
            yield self._kept
            return
        for part in self.styles.split(batch_size(self._generator)):
            yield Batch(self._generator, part, self.psi)

    @property
    def images(self) -> Tensor:
        """As they are, (n, channels, H, W)."""
        return torch.cat([batch.images for batch in self.batches()])

    def at(self, rows: Sequence[int]) -> Subject:
        """Some of them."""
        chosen = list(rows)
        w = None if self.w is None else self.w[chosen]
        return Subject(self._generator, self.styles[chosen], w, self.psi)
