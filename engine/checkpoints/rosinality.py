"""Generators of rosinality's stylegan2-pytorch, on which StyleCLIP, pSp, e4e and many more build.

A state dict in that project's names; `latent_avg`, the average w, lies beside it where the file
was converted from NVIDIA's. Convolutions there have a factor 1/sqrt(inputs) at run time, which
demodulation takes out again and toRGB has here too: so the weights are taken as they are, and a
converted generator has the identity of the one it was converted from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...store.errors import CheckpointError
from ..networks.stylegan2 import StyleGAN2Config, low_pass_filter
from .checkpoint import LARGEST_RESOLUTION, GeneratorCheckpoint, constant_problems, excerpt
from .filled import NO_AVERAGE, NO_NOISE, average_w, noise_names, seeded_noise
from .tensors import load_tensors

MAPPING_LR = 0.01


def is_rosinality(state: object) -> bool:
    """Whether this is a generator's state dict in rosinality's names."""
    return isinstance(state, Mapping) and {"input.input", "conv1.conv.weight"} <= state.keys()


def read_rosinality(
    path: Path, state: Mapping[str, object], latent_avg: object | None
) -> GeneratorCheckpoint:
    """The generator of a state dict in rosinality's names.

    What a file may lack is made up from fixed seeds, the same for every reader: without
    `latent_avg` (w_dim) or (rows, w_dim) the average w is the mean over 10,000 latents, and
    noise maps, which the oldest files leave out, are normal ones.

    Raises:
        CheckpointError: the tensors are no generator of that project.
    """
    source = load_tensors(path, {excerpt(name): value for name, value in state.items()})
    average = None
    if latent_avg is not None:
        average = load_tensors(path, {"latent_avg": latent_avg})["latent_avg"]
    tensors = _renamed(path, source)
    blocks = [name for name in tensors if name.endswith(".conv1.weight")]
    config = StyleGAN2Config(
        z_dim=_length(path, tensors, "mapping.fc0.weight", 1),
        w_dim=_length(path, tensors, "mapping.fc0.weight", 0),
        mapping_layers=sum(name.startswith("mapping.fc") for name in tensors) // 2,
        mapping_lr=MAPPING_LR,
        channels={4 * 2**i: _length(path, tensors, name, 0) for i, name in enumerate(blocks)},
        constant=_constant(path, tensors["synthesis.b4.const"], len(blocks)),
        image_channels=_length(path, tensors, "synthesis.b4.torgb.bias", 0),
        filter_taps=_length(path, tensors, "synthesis.b4.resample_filter", 0),
    )
    if average is not None and average.ndim == 2 and bool((average == average[:1]).all()):
        average = average[0]
    known = average if average is not None and average.ndim == 1 else torch.zeros(config.w_dim)
    tensors["mapping.w_avg"] = known
    notes = () if _has_noise(source) else (NO_NOISE,)
    checkpoint = GeneratorCheckpoint.of(path, config, tensors, "rosinality", notes)
    if known is not average:
        # Only now is it certain that the mapping network can be computed.
        tensors["mapping.w_avg"] = average_w(config, checkpoint.tensors)
        notes = (NO_AVERAGE, *notes)
        checkpoint = GeneratorCheckpoint.of(path, config, tensors, "rosinality", notes)
    return checkpoint


def _renamed(path: Path, source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under NVIDIA's names, all but the average w."""
    blocks = 1
    while f"convs.{2 * blocks - 2}.conv.weight" in source:
        blocks += 1
    if 4 * 2 ** (blocks - 1) > LARGEST_RESOLUTION:
        raise _refusal(path, f"has {blocks} resolutions, more than {LARGEST_RESOLUTION} pixels")
    left = dict(source)
    tensors: dict[str, Tensor] = {}
    missing: list[str] = []
    for ours, theirs, axes in [*_mapping_names(source), *_synthesis_names(blocks)]:
        tensor = left.pop(theirs, None)
        if tensor is not None:
            tensors[ours] = _squeezed(tensor, axes)
        else:
            missing.append(theirs)
    kernels = {ours: left.pop(theirs) for ours, theirs in _kernel_names(blocks) if theirs in left}
    sides = [4 * 2**i for i in range(blocks)]
    noise = {f"noises.noise_{i}": name for i, name in enumerate(noise_names(sides))}
    constant = _constant(path, tensors["synthesis.b4.const"], blocks)
    maps = {} if _has_noise(left) else seeded_noise(sides, constant)
    for theirs, ours in noise.items():
        if theirs in left:
            maps[ours] = _squeezed(left.pop(theirs), 2)
        elif ours not in maps:
            missing.append(theirs)
    if missing or left:
        told = [f"no {excerpt(name)}" for name in missing[:3]]
        told += [f"an unknown {excerpt(name)}" for name in sorted(left)[:3]]
        raise _refusal(path, f"has {', '.join(told)}")
    return tensors | maps | _filters(blocks, kernels)


def _has_noise(source: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("noises.") for name in source)


def _mapping_names(source: Mapping[str, Tensor]) -> Iterator[tuple[str, str, int]]:
    """Our name, theirs, and the number of axes that ours has."""
    i = 0
    while i == 0 or f"style.{i + 1}.weight" in source:
        yield f"mapping.fc{i}.weight", f"style.{i + 1}.weight", 2
        yield f"mapping.fc{i}.bias", f"style.{i + 1}.bias", 1
        i += 1


def _synthesis_names(blocks: int) -> Iterator[tuple[str, str, int]]:
    yield "synthesis.b4.const", "input.input", 3
    for i in range(blocks):
        block = f"synthesis.b{4 * 2**i}"
        convs = {"conv1": "conv1"}
        if i > 0:
            convs = {"conv0": f"convs.{2 * i - 2}", "conv1": f"convs.{2 * i - 1}"}
        rgb = f"to_rgbs.{i - 1}" if i > 0 else "to_rgb1"
        for ours, theirs in (convs | {"torgb": rgb}).items():
            yield f"{block}.{ours}.weight", f"{theirs}.conv.weight", 4
            yield f"{block}.{ours}.affine.weight", f"{theirs}.conv.modulation.weight", 2
            yield f"{block}.{ours}.affine.bias", f"{theirs}.conv.modulation.bias", 1
        for ours, theirs in convs.items():
            yield f"{block}.{ours}.bias", f"{theirs}.activate.bias", 1
            yield f"{block}.{ours}.noise_strength", f"{theirs}.noise.weight", 0
        yield f"{block}.torgb.bias", f"{rgb}.bias", 1


def _kernel_names(blocks: int) -> Iterator[tuple[str, str]]:
    for i in range(1, blocks):
        block = f"synthesis.b{4 * 2**i}"
        yield f"{block}.conv0.resample_filter", f"convs.{2 * i - 2}.conv.blur.kernel"
        yield f"{block}.resample_filter", f"to_rgbs.{i - 1}.upsample.kernel"


def _filters(blocks: int, kernels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every filter with sum 1: theirs carry the gain 4 of up-sampling, and layers that do not
    up-sample have none, which NVIDIA's have without using it."""
    scaled = {name: kernel / kernel.sum() for name, kernel in kernels.items()}
    usual = next(iter(scaled.values()), low_pass_filter(4))
    filters = {}
    for i in range(blocks):
        block = f"synthesis.b{4 * 2**i}"
        for name in ("conv0.", "conv1.", "") if i > 0 else ("conv1.", ""):
            key = f"{block}.{name}resample_filter"
            filters[key] = scaled.get(key, usual)
    return filters


def _constant(path: Path, const: Tensor, blocks: int) -> tuple[int, int]:
    """Height and width of the constant (channels, height, width)."""
    for problem in constant_problems(tuple(const.shape[1:]), blocks):
        raise _refusal(path, f"has an input.input that does not fit: {problem}")
    _, height, width = const.shape
    return height, width


def _squeezed(tensor: Tensor, axes: int) -> Tensor:
    """Without leading, then trailing axes of length 1, down to so many axes where possible."""
    while tensor.ndim > axes and tensor.shape[0] == 1:
        tensor = tensor[0]
    while tensor.ndim > axes and tensor.shape[-1] == 1:
        tensor = tensor[..., 0]
    return tensor


def _length(path: Path, tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    shape = tensors[name].shape
    if len(shape) <= axis:
        raise _refusal(path, f"has a tensor for {name} with only {len(shape)} axes")
    return int(shape[axis])


def _refusal(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: its StyleGAN2 in rosinality's names {what}; "
        "get or convert the checkpoint again with that project's code"
    )
