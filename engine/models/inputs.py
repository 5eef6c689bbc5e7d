"""What people give as arrays and numbers, taken as they mean it or refused by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...store.errors import OptionError, kind_of, wrong_type


def floats(name: str, values: Any, *shapes: tuple[int, ...]) -> Tensor:
    """Numbers (n, *shape), or of one image (*shape), of one of these shapes, as float32 (n, ...).

    Raises:
        OptionError: something else, or NaN or infinity.
    """
    wanted = " or ".join(f"(n, {', '.join(map(str, shape))})" for shape in shapes)
    try:
        tensor = torch.as_tensor(values).detach().float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"{name}: must be numbers {wanted}, not {kind_of(values)}") from error
    for shape in shapes:
        if tensor.shape == shape:
            tensor = tensor[None]
        if tensor.shape[1:] == shape and len(tensor):
            if not torch.isfinite(tensor).all():
                raise OptionError(f"{name}: holds NaN or infinity; compute it again")
            return tensor
    raise OptionError(
        f"{name}: has shape {tuple(tensor.shape)}, this generator takes {wanted}; check which "
        "generator it is of"
    )


def whole_numbers(seeds: Any) -> list[int]:
    given = [seeds] if isinstance(seeds, int) else seeds
    try:
        numbers = [int(seed) for seed in given if not isinstance(seed, bool | str)]
    except (TypeError, ValueError) as error:
        raise wrong_type("seeds", seeds, "whole numbers, such as range(1, 9)") from error
    if not numbers or len(numbers) != len(list(given)):
        raise wrong_type("seeds", seeds, "whole numbers, such as range(1, 9)")
    return numbers
