"""What people give as arrays and numbers, taken as they mean it or refused by name."""

from __future__ import annotations

from numbers import Integral
from operator import index
from typing import Any

import torch
from torch import Tensor

from ...store.errors import OptionError, kind_of, wrong_type


def floats(name: str, values: Any, *shapes: tuple[int, ...]) -> Tensor:
    """Numbers (n, *shape), or of one image (*shape), of one of these shapes, as float32 (n, ...),
    a copy.

    Raises:
        OptionError: something else, NaN or infinity, or a complex, sparse or meta tensor.
    """
    wanted = " or ".join(f"(n, {', '.join(map(str, shape))})" for shape in shapes)
    tensor = numbers(name, values, wanted)
    for shape in shapes:
        if tensor.shape == shape:
            tensor = tensor[None]
        if tensor.shape[1:] == shape and len(tensor):
            return tensor
    raise OptionError(
        f"{name}: has shape {tuple(tensor.shape)}, this generator takes {wanted}; check which "
        "generator it is of"
    )


def numbers(name: str, values: Any, wanted: str) -> Tensor:
    """Numbers of any shape as float32, a copy; `wanted` says in messages which.

    Raises:
        OptionError: something else, NaN or infinity, or a complex, sparse or meta tensor.
    """
    try:
        given = torch.as_tensor(values).detach()
        if given.is_complex() or given.is_meta or given.layout != torch.strided:
            raise OptionError(
                f"{name}: must be real numbers {wanted}, not a complex, sparse or meta tensor"
            )
        tensor = given.to(torch.float32, copy=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"{name}: must be numbers {wanted}, not {kind_of(values)}") from error
    if not torch.isfinite(tensor).all():
        raise OptionError(f"{name}: holds NaN or infinity; compute it again")
    return tensor


def whole_numbers(name: str, values: Any) -> list[int]:
    """Whole numbers of any kind: one, or some.

    Raises:
        OptionError: something else, or none.
    """
    wanted = "whole numbers, such as range(1, 9)"
    if isinstance(values, str | bytes | bytearray | bool):
        raise wrong_type(name, values, wanted)
    try:
        alone = isinstance(values, Integral) or getattr(values, "ndim", None) == 0
        given = [values] if alone else list(values)
        numbers = [index(value) for value in given if not isinstance(value, bool)]
    except TypeError as error:
        raise wrong_type(name, values, wanted) from error
    if len(numbers) != len(given):
        raise wrong_type(name, values, wanted)
    if not numbers:
        raise OptionError(f"{name}: is empty; give at least one")
    return numbers
