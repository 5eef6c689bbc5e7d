"""Generators as state dicts in NVIDIA's names: what `G.state_dict()` gives, which training code,
StyleGAN-NADA and the encoders of stylegan3-editing save.

Names and shapes tell the network. What they do not tell has the value that all published networks
have, and a note says so: the clamp of the activations, the learning rate of the mapping, and the
scale of StyleGAN3's image. The cutoffs of StyleGAN3 are proved by its filters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...store.errors import CheckpointError
from ..networks import filters
from ..networks.stylegan2 import Architecture, StyleGAN2Config, low_pass_filter
from ..networks.stylegan3 import FilteredLayer, StyleGAN3Config, stylegan3_config
from .checkpoint import (
    LARGEST_RESOLUTION,
    GeneratorCheckpoint,
    GeneratorConfig,
    constant_problems,
    excerpt,
    expected_shapes,
)
from .filled import (
    NO_AVERAGE,
    NO_NOISE,
    average_w,
    noise_names,
    seeded_noise,
    up_sampling_filter,
    with_unused_filters,
)
from .tensors import load_tensors

SIDES = [4 * 2**i for i in range(LARGEST_RESOLUTION.bit_length() - 2)]
CLAMP = 256.0
ASSUMED = (
    "is a state dict, which does not tell everything: a clamp of 256, a mapping learning rate of "
    "0.01{} and leaky ReLU are taken, as in published networks"
)
OTHER_SCHEDULE = (
    "has filters that StyleGAN3's published schedule does not design: unless its cutoffs are from "
    "2 to half the resolution its images are wrong; the original .pkl tells them"
)
MOST_CRITICAL = 8  # critically sampled layers, of which published networks have 2
FILTERS_NEAR = 4e-3  # of a filter's largest tap; half precision keeps 5e-4
_LAYER = re.compile(r"synthesis\.(L(\d{1,2})_(\d{1,4})_(\d{1,4}))\.weight")


def is_nvidia_state(state: Mapping[Any, Any]) -> bool:
    """Whether this is a generator's state dict in NVIDIA's names."""
    inputs = {"synthesis.b4.const", "synthesis.input.freqs"}
    known = "mapping.fc0.weight" in state and bool(inputs & state.keys())
    return known and "mapping.embed_proj.weight" not in state


def read_nvidia_state(
    path: Path, state: Mapping[str, object], latent_avg: object | None
) -> GeneratorCheckpoint:
    """The generator of a state dict in NVIDIA's names.

    `latent_avg` (w_dim) or (..., w_dim), all rows alike, stands for a missing `mapping.w_avg`; what
    else it may lack is filled as in rosinality's files.

    Raises:
        CheckpointError: the tensors are no StyleGAN2 or StyleGAN3, or do not tell which.
    """
    tensors = load_tensors(path, {excerpt(name): value for name, value in state.items()})
    shapes = Shapes(path, tensors)
    is_stylegan2 = "synthesis.b4.const" in tensors
    assumed = ASSUMED.format("" if is_stylegan2 else ", an output scale of 0.25")
    notes = [assumed]
    config: GeneratorConfig
    if is_stylegan2:
        config = _stylegan2(shapes)
        notes += _fill_stylegan2(config, tensors)
        tensors = with_unused_filters(config, tensors)
    else:
        config, is_designed = _stylegan3(shapes)
        tensors.setdefault("synthesis.input.transform", torch.eye(3))
        notes += [] if is_designed else [OTHER_SCHEDULE]
    if "mapping.w_avg" not in tensors and latent_avg is not None:
        average = load_tensors(path, {"latent_avg": latent_avg})["latent_avg"]
        rows = average.reshape(-1, average.shape[-1]) if average.numel() else average
        if rows.ndim == 2 and bool((rows == rows[:1]).all()):
            tensors["mapping.w_avg"] = rows[0]
    if "mapping.w_avg" in tensors:
        return GeneratorCheckpoint.of(path, config, tensors, "nvidia", tuple(notes))
    tensors["mapping.w_avg"] = torch.zeros(config.w_dim)
    whole = GeneratorCheckpoint.of(path, config, tensors, "nvidia")
    tensors["mapping.w_avg"] = average_w(config, whole.tensors)
    notes.append(NO_AVERAGE)
    return GeneratorCheckpoint.of(path, config, tensors, "nvidia", tuple(notes))


class Shapes:
    """The shapes of the tensors of a file, by name."""

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        self.path, self.tensors = path, tensors

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def of(self, name: str, axes: int) -> tuple[int, ...]:
        """The shape of a tensor with so many axes, none of them empty."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise self.refusal(f"has no {name}")
        if tensor.ndim != axes or not tensor.numel():
            shape = tuple(tensor.shape)
            raise self.refusal(f"has {name} of shape {shape}, where {axes} axes are needed")
        return tuple(tensor.shape)

    def refusal(self, what: str) -> CheckpointError:
        return CheckpointError(
            f"{self.path}: its state dict in NVIDIA's names {what}; "
            "get the whole network pickle (.pkl), which tells everything"
        )


def _mapping(shapes: Shapes) -> dict[str, Any]:
    """The fields of `MappingConfig`."""
    layers = [shapes.of("mapping.fc0.weight", 2)]
    while len(layers) < 32 and f"mapping.fc{len(layers)}.weight" in shapes:
        layers.append(shapes.of(f"mapping.fc{len(layers)}.weight", 2))
    w_dim, hidden = layers[-1][0], layers[0][0]
    embedded, c_dim = 0, 0
    if "mapping.embed.weight" in shapes:
        embedded, c_dim = shapes.of("mapping.embed.weight", 2)
    return {
        "z_dim": layers[0][1] - embedded,
        "c_dim": c_dim,
        "w_dim": w_dim,
        "mapping_layers": len(layers),
        "embed_features": None if embedded in (0, w_dim) else embedded,
        "layer_features": None if hidden == w_dim else hidden,
    }


def _stylegan2(shapes: Shapes) -> StyleGAN2Config:
    sides = [side for side in SIDES if f"synthesis.b{side}.conv1.weight" in shapes]
    last = f"synthesis.b{max(sides, default=4)}"
    architecture: Architecture = "orig"
    if "synthesis.b8.skip.weight" in shapes:
        architecture = "resnet"
    elif "synthesis.b4.torgb.weight" in shapes:
        architecture = "skip"
    taps = up_sampling_filter(sides or [4])
    _, height, width = shapes.of("synthesis.b4.const", 3)
    for problem in constant_problems((height, width), max(1, len(sides))):
        raise shapes.refusal(f"has a synthesis.b4.const that does not fit: {problem}")
    return StyleGAN2Config(
        **_mapping(shapes),
        channels={side: shapes.of(f"synthesis.b{side}.conv1.weight", 4)[0] for side in sides},
        constant=(height, width),
        image_channels=shapes.of(f"{last}.torgb.bias", 1)[0],
        architecture=architecture,
        use_noise="synthesis.b4.conv1.noise_strength" in shapes,
        conv_clamp=CLAMP,
        filter_taps=shapes.of(taps, 2)[0] if taps in shapes else 4,
    )


def _fill_stylegan2(config: StyleGAN2Config, tensors: dict[str, Tensor]) -> list[str]:
    """Add the buffers that parameters alone, without them, lack; what is to be said of them."""
    sides = sorted(config.channels)
    if not any(name.endswith(".resample_filter") for name in tensors):
        wanted = (name for name in expected_shapes(config) if name.endswith(".resample_filter"))
        tensors |= dict.fromkeys(wanted, low_pass_filter(4))
    if not config.use_noise or any(name in tensors for name in noise_names(sides)):
        return []
    tensors |= seeded_noise(sides, config.constant)
    return [NO_NOISE]


def _stylegan3(shapes: Shapes) -> tuple[StyleGAN3Config, bool]:
    """The network, and whether its filters are those that its schedule designs."""
    found = sorted(
        (int(match[2]), int(match[3]), int(match[4]), match[1])
        for match in map(_LAYER.fullmatch, shapes.tensors)
        if match
    )
    if [number for number, *_ in found] != list(range(len(found))) or not 3 <= len(found) <= 64:
        raise shapes.refusal(
            f"has {len(found)} layers L<i>_<size>_<channels>, not 3 to 64 in a row"
        )
    if found[-1][1] not in SIDES:
        raise shapes.refusal(
            f"makes images of {found[-1][1]} pixels, no power of two from 4 to {SIDES[-1]}"
        )
    best: tuple[float, StyleGAN3Config] | None = None
    for config in _designs(shapes, [name for *_, name in found], [size for _, size, *_ in found]):
        error = _filter_error(config, shapes.tensors)
        if best is None or error < best[0]:
            best = error, config
        if error <= FILTERS_NEAR:
            return config, True
    if best is None:
        sizes = ", ".join(str(size) for _, size, *_ in found[:6])
        raise shapes.refusal(
            f"has layers of {sizes}, ... samples, which StyleGAN3's schedule does not lead to, so "
            "their rates are not known"
        )
    return best[1], False


def _designs(shapes: Shapes, names: list[str], sizes: list[int]) -> Iterator[StyleGAN3Config]:
    """The networks that StyleGAN3's schedule leads to with layers of these sizes, those of
    published hyperparameters first."""
    last = len(sizes) - 1
    first_filter = shapes.tensors.get(f"synthesis.{names[0]}.up_filter")
    usual = 6 if first_filter is None else min(max(len(first_filter.flatten()) // 2, 1), 64)
    kernel = shapes.of(f"synthesis.{names[0]}.weight", 4)[-1]
    downs = [shapes.tensors.get(f"synthesis.{name}.down_filter") for name in names]
    radial = any(down is not None and down.ndim == 2 for down in downs)
    rates = [2**i for i in range(13)]
    margins = [m for m in range(sizes[0] // 2 + 1) if sizes[0] - 2 * m in rates]
    for margin in sorted(margins, key=lambda m: m != 10):
        for critical in sorted(range(min(last, MOST_CRITICAL)), key=lambda n: n != 2):
            config = stylegan3_config(
                resolution=sizes[-1],
                num_layers=last,
                num_critical=critical,
                margin_size=margin,
                conv_kernel=kernel,
                filter_size=usual,
                use_radial_filters=radial,
            )
            if [layer.out_size for layer in config.layers] == sizes:
                yield _with_widths(shapes, config, names)


def _with_widths(shapes: Shapes, config: StyleGAN3Config, names: list[str]) -> StyleGAN3Config:
    """The same schedule with the widths of the file."""
    width = waves = shapes.of("synthesis.input.weight", 2)[0]
    layers: list[FilteredLayer] = []
    for layer, name in zip(config.layers, names, strict=True):
        channels = int(name.rpartition("_")[2])
        layers.append(replace(layer, name=name, in_channels=width, out_channels=channels))
        width = channels
    return replace(
        config,
        **_mapping(shapes),
        input=replace(config.input, channels=waves),
        layers=tuple(layers),
        image_channels=width,
    )


def _filter_error(config: StyleGAN3Config, tensors: Mapping[str, Tensor]) -> float:
    """How far the file's filters are from those of the schedule, at most, as a share of a filter's
    largest tap; infinite where one is missing or of another size."""
    wanted = {name: shape for name, shape in expected_shapes(config).items() if "_filter" in name}
    if any(name not in tensors or tensors[name].shape != wanted[name] for name in wanted):
        return math.inf
    worst = 0.0
    for layer in config.layers:
        rate = layer.in_rate * layer.up_factor
        down = filters.radial_low_pass if layer.down_radial else filters.low_pass
        for side, design, taps, cutoff, half_width in (
            ("up", filters.low_pass, layer.up_taps, layer.in_cutoff, layer.in_half_width),
            ("down", down, layer.down_taps, layer.out_cutoff, layer.out_half_width),
        ):
            if taps > 1:
                kernel = design(taps, cutoff, half_width * 2, rate)
                found = tensors[f"synthesis.{layer.name}.{side}_filter"]
                error = float((found - kernel).abs().max() / kernel.abs().max())
                worst = math.inf if math.isnan(error) else max(worst, error)
    return worst
