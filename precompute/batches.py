"""Batches whose size is measured where that is possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from ..engine.models.memory import Batches, Result
from ..engine.models.protocols import Generator
from ..engine.models.sampling import batch_size

# Of the memory that is free; the rest is for what is not counted, such as workspaces.
_SHARE = 0.7
# At once: more makes no GPU busier, and layers of more than 2^31 numbers not all kernels count.
_MOST, _MOST_PIXELS = 256, 2**24


class MeasuredBatches(Batches):
    """A number of images that fit into memory at once, which may shrink.

    On a GPU it is measured: the memory that one image took against the memory that is free. On a
    CPU it is what its caches cope with (`batch_size`), far below what the memory holds.
    """

    def __init__(self, generator: Generator) -> None:
        self._measured = generator.device.type != "cuda"
        self._pixels = math.prod(generator.image_size)
        super().__init__(batch_size(generator) if self._measured else 1, generator.device)

    def over(self, count: int, work: Callable[[int, int], Result]) -> Iterator[Result]:
        def measured(first: int, last: int) -> Result:
            if self._measured:
                return work(first, last)
            torch.cuda.reset_peak_memory_stats(self._device)
            before = torch.cuda.memory_allocated(self._device)
            result = work(first, last)
            taken = max(1, torch.cuda.max_memory_allocated(self._device) - before)
            free, _ = torch.cuda.mem_get_info(self._device)
            self.size = fitting(self._pixels, taken, free)
            self._measured = True
            return result

        return super().over(count, measured)


def fitting(pixels: int, taken: int, free: int) -> int:
    """How many images of so many pixels to take at once on a GPU, where one took so many bytes and
    so many are free: one at least."""
    return max(1, min(_MOST, _MOST_PIXELS // pixels, int(_SHARE * free / taken)))
