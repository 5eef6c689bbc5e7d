"""Generators whose sizes are absurd or disagree: the constant that pictures start from, the noise
maps, and what a file says of itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from styleatlas.engine.checkpoints.native import METADATA_KEY, config_to_json
from styleatlas.engine.checkpoints.read import read_checkpoint

from .. import checkpoint_files as files
from .pickle_attacks import Attack

CONFIG = files.small_stylegan2(channels={4: 2, 8: 1}, constant=(4, 2))
CONST = "synthesis.b4.const"


def content(write: Callable[[Path], object]) -> bytes:
    """What `write` writes to a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path)
        return path.read_bytes()


def nvidia(resolution: object = 8, **changes: torch.Tensor) -> Callable[[], bytes]:
    def make() -> bytes:
        modules = files.modules_of(CONFIG)
        modules["synthesis"]["attrs"]["img_resolution"] = resolution
        tensors = files.random_tensors(CONFIG) | changes
        return content(lambda path: files.nvidia_pickle(path, tensors, modules))

    return make


def tensorflow(const: torch.Tensor | None = None, **arguments: object) -> Callable[[], bytes]:
    def make() -> bytes:
        tensors = files.random_tensors(CONFIG)
        tensors |= {} if const is None else {CONST: const}
        return content(lambda path: files.tensorflow_pickle(path, CONFIG, tensors, **arguments))

    return make


def rosinality(const: torch.Tensor, resolutions: int) -> Callable[[], bytes]:
    """Without noise maps, which its reader then makes."""

    def make() -> bytes:
        channels = {4 * 2**i: 1 for i in range(resolutions)}
        config = files.small_stylegan2(channels=channels, constant=(1, 1))
        state = files.rosinality_state(config, files.random_tensors(config))
        state = {name: tensor for name, tensor in state.items() if "noises" not in name}
        state["input.input"] = const
        return content(lambda path: files.rosinality_file(path, state, torch.zeros(6)))

    return make


def state(const: torch.Tensor) -> Callable[[], bytes]:
    """A state dict in NVIDIA's names without noise maps."""

    def make() -> bytes:
        tensors = files.random_tensors(CONFIG) | {CONST: const}
        bare = {name: t for name, t in tensors.items() if not name.endswith("noise_const")}
        return content(lambda path: torch.save(bare, path))

    return make


def safetensors(constant: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        header = json.loads(config_to_json(CONFIG)) | {"constant": constant}
        return save(files.random_tensors(CONFIG), {METADATA_KEY: json.dumps(header)})

    return make


LARGEST = "of 1 to 4096"
SIZES = {
    name: Attack(make, message, read_checkpoint)
    for name, make, message in [
        (
            "constant of 1 x 100000",
            nvidia(**{CONST: torch.zeros(2, 1, 100_000)}),
            rf"constant is 1 x 100000, must be a height and a width {LARGEST}",
        ),
        (
            "constant that doubles too often",
            nvidia(**{CONST: torch.zeros(2, 1, 4096)}),
            "its pictures are 2 x 8192, must be 4096 a side at most",
        ),
        (
            "constant of 0 x 4",
            nvidia(**{CONST: torch.zeros(2, 0, 4)}),
            r"b4\.const is missing or no tensor of 3 dimensions",
        ),
        (
            "constant of two axes",
            nvidia(**{CONST: torch.zeros(2, 4)}),
            r"b4\.const is missing or no tensor of 3 dimensions",
        ),
        (
            "constant of four axes",
            nvidia(**{CONST: torch.zeros(1, 2, 4, 2)}),
            r"b4\.const is missing or no tensor of 3 dimensions",
        ),
        (
            "noise map on its side",
            nvidia(**{"synthesis.b8.conv0.noise_const": torch.zeros(4, 8)}),
            r"b8\.conv0\.noise_const has shape \(4, 8\) where \(8, 4\) is needed",
        ),
        (
            "resolution that the blocks do not reach",
            nvidia(resolution=100_000),
            r"img_resolution is 100000, but its blocks and their constant make pictures of 8 x 4",
        ),
        (
            "resolution of many sides",
            nvidia(resolution=[8] * 100_000),
            r"img_resolution is a list, must be a list of whole numbers",
        ),
        (
            "resolution_w that lies",
            tensorflow(resolution_h=8, resolution_w=1024),
            r"has resolution_w 1024, but its variables make pictures of 8 x 4",
        ),
        (
            "resolution_w of NaN",
            tensorflow(resolution_w=float("nan")),
            r"has resolution_w nan, not a number",
        ),
        (
            "TensorFlow's constant of 1 x 100000",
            tensorflow(torch.zeros(2, 1, 100_000)),
            rf"constant is 1 x 100000, must be a height and a width {LARGEST}",
        ),
        (
            "noise maps to be made of a long constant",
            rosinality(torch.zeros(1, 1, 1, 4096), 11),
            "its pictures are 1024 x 4194304, must be 4096 a side at most",
        ),
        (
            "noise maps to be made of no constant",
            rosinality(torch.zeros(1, 1, 0, 4), 2),
            rf"constant is 0 x 4, must be a height and a width {LARGEST}",
        ),
        (
            "noise maps to be made of a state dict's constant",
            state(torch.zeros(2, 1, 4096)),
            "its pictures are 2 x 8192, must be 4096 a side at most",
        ),
        (
            "state dict with a constant of 0 x 4",
            state(torch.zeros(2, 0, 4)),
            r"has synthesis\.b4\.const of shape \(2, 0, 4\), where 3 axes are needed",
        ),
        (
            "header of 1 x 100000",
            safetensors([1, 100_000]),
            rf"constant is 1 x 100000, must be a height and a width {LARGEST}",
        ),
        (
            "header of a million sides",
            safetensors([4] * 1_000_000),
            rf"constant is 4 x 4 x 4 x 4, must be a height and a width {LARGEST}",
        ),
        (
            "header with sides of text",
            safetensors("44"),
            rf"constant is 4 x 4, must be a height and a width {LARGEST}",
        ),
        (
            "header with sides of no number",
            safetensors([True, {"4": 2}]),
            rf"constant is True x a dict, must be a height and a width {LARGEST}",
        ),
        (
            "header with another constant than its tensors",
            safetensors([2, 4]),
            r"noise_const has shape \(8, 4\) where \(4, 8\) is needed",
        ),
        (
            "header without a constant for tensors that need one",
            safetensors([4, 4]),
            r"noise_const has shape \(8, 4\) where \(8, 8\) is needed",
        ),
    ]
}
