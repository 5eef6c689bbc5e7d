"""How many images at once: as many as fit, and fewer when they turn out not to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from ..engine.models.memory import give_back, is_out_of_memory, too_small
from ..engine.models.protocols import Generator
from ..engine.models.sampling import batch_size

Result = TypeVar("Result")

# Of the memory that is free; the rest is for what is not counted, such as workspaces.
_SHARE = 0.7
_MOST = 256


class Batches:
    """A number of images that fit into memory at once, which may shrink.

    On a GPU it is measured: the memory that one image took against the memory that is free. On a
    CPU it is what its caches cope with (`batch_size`), far below what the memory holds.
    """

    def __init__(self, generator: Generator) -> None:
        self.size = batch_size(generator)
        self._device = generator.device
        self._measured = self._device.type != "cuda"

    def over(self, count: int, work: Callable[[int, int], Result]) -> Iterator[Result]:
        """`work(first, last)` for consecutive ranges that make up 0 to count. A range that does
        not fit into memory is done again in halves, as is everything that follows.

        Raises:
            DeviceMemoryError: a single image does not fit.
        """
        first = 0
        while first < count:
            last = min(first + (self.size if self._measured else 1), count)
            try:
                result = self._watched(work, first, last)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if last - first == 1:
                    raise too_small(self._device) from error
                # Outside of this clause the failed attempt's tensors are gone.
            else:
                yield result
                first = last
                continue
            self.size = (last - first) // 2
            give_back(self._device)

    def _watched(self, work: Callable[[int, int], Result], first: int, last: int) -> Result:
        if self._measured:
            return work(first, last)
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        result = work(first, last)
        taken = max(1, torch.cuda.max_memory_allocated(self._device) - before)
        free, _ = torch.cuda.mem_get_info(self._device)
        self.size = max(1, min(_MOST, int(_SHARE * free / taken)))
        self._measured = True
        return result
