"""The floating-point types that models compute in."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from ...store.errors import OptionError

Precision = Literal["float32", "bfloat16", "float16"]


def pick_precision(precision: Precision | None, device: torch.device) -> Precision:
    """The one given; else bfloat16 on CUDA, which computes in it much faster, and float32."""
    if precision is not None:
        return precision
    return "bfloat16" if device.type == "cuda" else "float32"


def reduced_dtype(precision: str) -> torch.dtype | None:
    """The type of reduced precision that is asked for; None for float32.

    Raises:
        OptionError: an unknown precision.
    """
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise OptionError(f"precision {precision!r}: unknown; use one of {known}")
    dtype: torch.dtype = getattr(torch, precision)
    return None if dtype == torch.float32 else dtype
