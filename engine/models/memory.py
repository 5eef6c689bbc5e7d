"""When a device's memory does not hold what was asked of it."""

from __future__ import annotations

import torch

from ...store.errors import DeviceMemoryError


def is_out_of_memory(error: Exception) -> bool:
    """PyTorch's CPU allocator, and some of its libraries, raise no class of their own."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        text in str(error) for text in ("can't allocate memory", "out of memory")
    )


def give_back(device: torch.device) -> None:
    """What a failed attempt took, to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def too_small(device: torch.device) -> DeviceMemoryError:
    """The error where not even one image fits."""
    return DeviceMemoryError(
        f"{device}: a single image does not fit into its memory; free some, or take another "
        "--device"
    )
