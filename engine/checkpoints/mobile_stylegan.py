"""MobileStyleGAN's channels as its authors have them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def in_bands(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a synthesis network under our names, in our order of channels: theirs has
    the three high bands of a channel beside one another, ours one band after the other."""
    last = max(int(name.split(".")[0].removeprefix("b")) for name in tensors)
    found = dict(tensors)
    for name, tensor in tensors.items():
        block, layer, *_ = name.split(".")
        doubled = block != f"b{last}" and (layer == "conv2" or block == "b4")
        outputs = name.endswith((".pointwise", "b4.conv1.weight", ".bias")) and "affine" not in name
        if layer in ("up", "torgb") and "torgb.affine" not in name or doubled and outputs:
            found[name] = _in_bands(tensor)
    return found


def _in_bands(tensor: Tensor) -> Tensor:
    low = len(tensor) // 4
    high = torch.arange(3 * low).view(low, 3).t().flatten()
    return tensor[torch.cat([torch.arange(low), low + high])]
