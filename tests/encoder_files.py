"""Writes encoders of photos as pSp, e4e, ReStyle and stylegan3-editing save them, with random
weights; and computes them the plain way, straight from a state dict."""

from __future__ import annotations

import math
import pathlib
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.store.registry import EMBEDDED

UNITS = 3 * [0] + 4 * [1] + 14 * [2] + 3 * [3]
"""The stage of each unit of IR-SE50."""
SMALL = (16, 16, 32, 32)
REAL = (64, 128, 256, 512)
TYPES = ("GradualStyleEncoder", "Encoder4Editing", "BackboneEncoder", "ProgressiveBackboneEncoder")
PYRAMIDS, DIFFERENCES = TYPES[:2], (TYPES[1], TYPES[3])


def encoder_state(
    kind: str,
    rows: int,
    w_dim: int,
    channels: int = 3,
    widths: tuple[int, int, int, int] = SMALL,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The tensors below `encoder.`, of sizes that keep features of the size of their inputs."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def normal(name: str, *shape: int, scale: float = 1.0) -> None:
        state[name] = torch.randn(shape, generator=generator) * scale

    def conv(name: str, outputs: int, inputs: int, side: int, bias: bool = False) -> None:
        normal(f"{name}.weight", outputs, inputs, side, side, scale=math.sqrt(2 / inputs) / side)
        if bias:
            normal(f"{name}.bias", outputs, scale=0.1)

    def normalisation(name: str, width: int, scale: float = 1.0) -> None:
        normal(f"{name}.bias", width, scale=0.1)
        normal(f"{name}.running_mean", width, scale=0.1)
        for part in ("weight", "running_var"):
            state[f"{name}.{part}"] = 0.5 + torch.rand(width, generator=generator)
        state[f"{name}.weight"] *= scale
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def slopes(name: str, width: int) -> None:
        state[f"{name}.weight"] = 0.4 * torch.rand(width, generator=generator)

    conv("input_layer.0", widths[0], channels, 3)
    normalisation("input_layer.1", widths[0])
    slopes("input_layer.2", widths[0])
    before = widths[0]
    for number, stage in enumerate(UNITS):
        unit, width = f"body.{number}", widths[stage]
        if width != before:
            conv(f"{unit}.shortcut_layer.0", width, before, 1)
            normalisation(f"{unit}.shortcut_layer.1", width)
        normalisation(f"{unit}.res_layer.0", before)
        conv(f"{unit}.res_layer.1", width, before, 3)
        slopes(f"{unit}.res_layer.2", width)
        conv(f"{unit}.res_layer.3", width, width, 3)
        normalisation(f"{unit}.res_layer.4", width, 0.2)
        conv(f"{unit}.res_layer.5.fc1", width // 16, width, 1)
        conv(f"{unit}.res_layer.5.fc2", width, width // 16, 1)
        before = width
    for row in range(rows):
        inputs = widths[3]
        for number in range(_depth(kind, row)):
            conv(f"styles.{row}.convs.{2 * number}", w_dim, inputs, 3, bias=True)
            inputs = w_dim
        normal(f"styles.{row}.linear.weight", w_dim, w_dim)
        normal(f"styles.{row}.linear.bias", w_dim, scale=0.1)
    if kind in PYRAMIDS:
        conv("latlayer1", widths[3], widths[2], 1, bias=True)
        conv("latlayer2", widths[3], widths[1], 1, bias=True)
    return state


def _depth(kind: str, row: int) -> int:
    if kind not in PYRAMIDS or row <= 2:
        return 4
    return 5 if row <= 6 else 6


def encoder_file(
    path: Path,
    kind: str,
    state: Mapping[str, Tensor],
    decoder: Mapping[str, Tensor] | None = None,
    latent_avg: Tensor | None = None,
    *,
    namespace: bool = False,
    legacy: bool = False,
    prefix: str = "",
    **options: Any,
) -> Path:
    """A checkpoint of its training: weights, options and the average w.

    Args:
        namespace: whether the options are an argparse.Namespace, and not a dict with paths.
        prefix: before every name of the state dict, such as DataParallel's.
        options: beside the usual ones.
    """
    told: dict[str, Any] = {
        "encoder_type": kind,
        "exp_dir": pathlib.PosixPath("/runs/1"),
        "dataset_type": "ffhq_encode",
        "start_from_latent_avg": latent_avg is not None,
        "lpips_lambda": 0.8,
        "device": "cuda:0",
        **options,
    }
    told = {name: value for name, value in told.items() if value is not None}
    whole = {f"{prefix}encoder.{name}": tensor for name, tensor in state.items()}
    whole |= {f"{prefix}decoder.{name}": tensor for name, tensor in (decoder or {}).items()}
    content: dict[str, Any] = {
        "state_dict": whole,
        "opts": Namespace(**told) if namespace else told,
        "global_step": 3,
    }
    if latent_avg is not None:
        content["latent_avg"] = latent_avg
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def avatars_encoder(path: Path, seed: int = 0) -> Path:
    """A random ReStyle for the embedded generator, whose answers stay near the average w."""
    assert isinstance(EMBEDDED.generator, Path)
    generator = read_checkpoint(EMBEDDED.generator)
    rows, w_dim = generator.config.num_ws, generator.config.w_dim
    state = encoder_state("BackboneEncoder", rows, w_dim, 6, seed=seed)
    state |= {name: x / 50 for name, x in state.items() if name.endswith(".linear.weight")}
    average = generator.tensors["mapping.w_avg"]
    return encoder_file(path, "BackboneEncoder", state, generator.tensors, average)


# The plain way


def plain_encoder(kind: str, state: Mapping[str, Tensor], pictures: Tensor) -> Tensor:
    """Pictures (n, channels, 256, 256) -> (n, rows, w_dim), without what it counts from."""

    def batch_norm(name: str, x: Tensor) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def prelu(name: str, x: Tensor) -> Tensor:
        slope = state[f"{name}.weight"][:, None, None]
        return torch.where(x > 0, x, slope * x)

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    x = prelu("input_layer.2", batch_norm("input_layer.1", conv("input_layer.0", pictures)))
    at: dict[int, Tensor] = {}
    for number, stage in enumerate(UNITS):
        unit = f"body.{number}"
        stride = 2 if number in (0, 3, 7, 21) else 1
        short = x[:, :, ::stride, ::stride]
        if f"{unit}.shortcut_layer.0.weight" in state:
            short = batch_norm(f"{unit}.shortcut_layer.1", conv(f"{unit}.shortcut_layer.0", short))
        y = conv(f"{unit}.res_layer.1", batch_norm(f"{unit}.res_layer.0", x))
        y = conv(f"{unit}.res_layer.3", prelu(f"{unit}.res_layer.2", y), stride)
        y = batch_norm(f"{unit}.res_layer.4", y)
        means = y.mean((2, 3), keepdim=True)
        squeezed = torch.relu(conv(f"{unit}.res_layer.5.fc1", means))
        x = y * torch.sigmoid(conv(f"{unit}.res_layer.5.fc2", squeezed)) + short
        at[number] = x
        del stage
    levels = [at[23]] * 3
    if kind in PYRAMIDS:
        for name, end in (("latlayer1", 20), ("latlayer2", 6)):
            below = conv(name, at[end])
            levels[(1 if end == 20 else 2)] = below + corners_resized(
                levels[0 if end == 20 else 1], below.shape[-2], below.shape[-1]
            )
    rows = []
    for row in range(sum(name.endswith(".linear.bias") for name in state)):
        x = levels[0 if row <= 2 else 1 if row <= 6 else 2]
        for number in range(_depth(kind, row)):
            x = F.leaky_relu(conv(f"styles.{row}.convs.{2 * number}", x, 2), 0.01)
        flat = x.flatten(1)
        weight, bias = (state[f"styles.{row}.linear.{part}"] for part in ("weight", "bias"))
        rows.append(flat @ weight.t() / math.sqrt(weight.shape[0]) + bias)
        if row and kind in DIFFERENCES:
            rows[row] = rows[0] + rows[row]
    return torch.stack(rows, 1)


def corners_resized(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, the corners' centres on each other: two products with the weights of a row."""

    def weights(old: int, new: int) -> Tensor:
        at = torch.arange(new, dtype=torch.float64) * (old - 1) / (new - 1)
        apart = (at[:, None] - torch.arange(old, dtype=torch.float64)).abs()
        return (1 - apart).clamp(min=0).float()

    rows, columns = weights(x.shape[2], height), weights(x.shape[3], width)
    return torch.einsum("yi,ncij,xj->ncyx", rows, x, columns)
