"""How much work at once: what fits into a device's memory, and less where it turns out not to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from ...store.errors import DeviceMemoryError

Result = TypeVar("Result")


def is_out_of_memory(error: Exception) -> bool:
    """PyTorch's CPU allocator, and some of its libraries, raise no class of their own; cuBLAS and
    cuDNN have a status for it (CUBLAS_STATUS_ALLOC_FAILED)."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        text in str(error)
        for text in ("can't allocate memory", "out of memory", "_STATUS_ALLOC_FAILED")
    )


class Batches:
    """A number of images that fit into memory at once, which may shrink.

    Args:
        size: of a batch to begin with.
        device: whose memory it is.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.size, self._device = size, device

    def over(self, count: int, work: Callable[[int, int], Result]) -> Iterator[Result]:
        """`work(first, last)` for consecutive ranges that make up 0 to count. A range that does
        not fit into memory is done again in halves, as is everything that follows.

        Raises:
            DeviceMemoryError: a single image does not fit.
        """
        first = 0
        while first < count:
            last = min(first + self.size, count)
            try:
                result = work(first, last)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if last - first == 1:
                    raise DeviceMemoryError(
                        f"{self._device}: a single image does not fit into its memory; free some, "
                        "or take another --device"
                    ) from error
                # Outside of this clause the failed attempt's tensors are gone.
            else:
                yield result
                first = last
                continue
            self.size = (last - first) // 2
            _give_back(self._device)


def _give_back(device: torch.device) -> None:
    """What a failed attempt took, to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
