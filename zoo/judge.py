"""The judge: a small attribute classifier that scores edits of avatars.

It was trained on rendered avatars alone and never saw the CLIP that steers the edits. It is for
evaluation and tests; nothing else uses it.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from . import JUDGE

Reading = dict[str, list[str]]
"""Attribute -> the value of each of n avatars."""


class JudgeNetwork(nn.Module):
    """Images (n, 3, 64, 64) in [-1, 1] -> scores (n, values), the values of all attributes in a
    row. Positions are kept to the end (4x4), because avatars are aligned."""

    def __init__(self, values: int) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 96)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, stride=2, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * 16, values)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(F.dropout(self.features(images).flatten(1), 0.1, self.training))
        return scores


class Judge:
    """Reads the attributes of avatars; `attributes` maps each to its values."""

    def __init__(self, path: Path = JUDGE) -> None:
        with safe_open(path, framework="pt") as file:
            self.attributes: dict[str, list[str]] = json.loads(file.metadata()["attributes"])
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        self._network = JudgeNetwork(sum(len(v) for v in self.attributes.values())).eval()
        self._network.load_state_dict(state)

    @torch.inference_mode()
    def read(self, images: Tensor) -> Reading:
        """Images (n, 3, 64, 64) in [-1, 1] -> the value of every attribute of each."""
        scores = torch.cat([self._network(part.cpu()) for part in images.split(256)])
        parts = scores.split([len(values) for values in self.attributes.values()], 1)
        return {
            name: [values[i] for i in part.argmax(1).tolist()]
            for (name, values), part in zip(self.attributes.items(), parts, strict=True)
        }


def shown(reading: Reading, i: int) -> set[str]:
    """The attributes that avatar i shows; a covered or bald head has no hair colour of its own
    unless there is a beard, and sunglasses hide the eyes."""
    hidden = set()
    bare = reading["hair"][i] in ("bald", "hat", "turban")
    if bare and reading["facial hair"][i] != "beard":
        hidden.add("hair colour")
    if reading["glasses"][i] == "sunglasses":
        hidden.add("eyes")
    return set(reading) - hidden
