"""The images that edits start from, and what several edits of them share."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ...store.layout import Layer
from .protocols import Generator, Resumed


class Subject:
    """The images that edits start from: what several edits of them share is computed once.

    Args:
        generator: what renders them.
        styles: (n, C), of a number of images that is rendered at once.
    """

    def __init__(self, generator: Generator, styles: Tensor) -> None:
        self.styles = styles.to(generator.device)
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
        subject's own from `layer` on. What comes before it is rendered once."""
        if layer.start == 0:
            return self._generator.render(styles)
        if self._resumed is None or self._resumed[0] != layer:
            self._resumed = (layer, self._generator.resume(self.styles, layer))
        return self._resumed[1].render(styles)
