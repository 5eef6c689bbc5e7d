"""Writes tables and statistics as StyleCLIP and stylegan3-editing do, by plain loops.

The formulas follow what is known of their builders and share nothing with ours but the models.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Layers = list[NDArray[np.float32]]


@torch.no_grad()
def styles_by_layer(generator: Any, count: int, psi: float, seed: int = 1) -> Layers:
    """Styles of random latents, an array (count, size) a layer."""
    z = torch.from_numpy(np.random.RandomState(seed).randn(count, generator.z_dim)).float()
    styles = generator.styles(generator.map(z, truncation=psi)).numpy()
    return [styles[:, layer.slice] for layer in generator.layout]


@torch.no_grad()
def unit_steps(generator: Any, encoder: Any, styles: Layers, mean: Layers, std: Layers) -> Layers:
    """The rows (size, D) of every layer: the normalised mean over images of normalised differences
    of normalised embeddings, a channel at mean -+ 5 deviations."""
    rows = []
    for number in range(len(styles)):
        found = []
        for channel in range(styles[number].shape[1]):
            ends = []
            for sign in (-5, 5):
                moved = [part.copy() for part in styles]
                value = mean[number][channel] + sign * std[number][channel]
                moved[number][:, channel] = value
                images = generator.render(torch.from_numpy(np.concatenate(moved, 1)))
                seen = encoder.images(images).double().numpy()
                ends.append(seen / np.linalg.norm(seen, axis=1, keepdims=True))
            steps = ends[1] - ends[0]
            with np.errstate(invalid="ignore"):  # NaN of a channel that moves nothing
                steps = steps / np.linalg.norm(steps, axis=1, keepdims=True)
                row = steps.mean(0)
                found.append(row / np.linalg.norm(row))
        rows.append(np.array(found))
    return rows


def styleclip_files(
    folder: Path, generator: Any, encoder: Any, layers: int | None = None, psi: float = 0.7
) -> tuple[Path, Path]:
    """`fs3.npy`, of the first convolutions or of all, and `S_mean_std`, of all layers."""
    mean, std = _statistics(generator, psi)
    rows = unit_steps(generator, encoder, styles_by_layer(generator, 4, psi), mean, std)
    kinds = [layer.kind for layer in generator.layout]
    conv = [part for kind, part in zip(kinds, rows, strict=True) if kind == "conv"]
    np.save(folder / "fs3.npy", np.concatenate(conv[:layers]))
    (folder / "S_mean_std").write_bytes(pickle.dumps([mean, std], 4))
    return folder / "fs3.npy", folder / "S_mean_std"


def stylegan3_editing_files(folder: Path, generator: Any, encoder: Any) -> tuple[Path, Path]:
    """`delta_i_c.npy`, of all channels, and `s_stats`: the pose, then dicts by layer, with toRGB's
    styles after their gain."""
    mean, std = _statistics(generator, 0.5)
    rows = unit_steps(generator, encoder, styles_by_layer(generator, 4, 0.5), mean, std)
    for number, layer in enumerate(generator.layout):
        if layer.kind == "rgb":
            mean[number] = mean[number] / np.sqrt(layer.size)
            std[number] = std[number] / np.sqrt(layer.size)
    np.save(folder / "delta_i_c.npy", np.concatenate(rows))
    names = [layer.name for layer in generator.layout]
    pose = {"theta": np.float32(0.1), "x": np.float32(0.0), "y": np.float64(0.2)}
    content = [pose, dict(zip(names, mean, strict=True)), dict(zip(names, std, strict=True))]
    (folder / "s_stats").write_bytes(pickle.dumps(content, 4))
    return folder / "delta_i_c.npy", folder / "s_stats"


def plain_edit(
    table: NDArray[Any], text: NDArray[Any], std: Layers, beta: float
) -> list[NDArray[np.float64]]:
    """StyleCLIP's step at alpha 1, an array a layer of those that the table spans."""
    scores = np.zeros(len(table))
    for channel, row in enumerate(table):
        scores[channel] = np.dot(row, text)
        if abs(scores[channel]) < beta:
            scores[channel] = 0
    scores = scores / np.abs(scores).max()
    steps, start = [], 0
    for deviations in std:
        steps.append(scores[start : start + len(deviations)] * deviations)
        start += len(deviations)
    return steps


def _statistics(generator: Any, psi: float) -> tuple[Layers, Layers]:
    styles = styles_by_layer(generator, 2000, psi, seed=2)
    return [part.mean(0) for part in styles], [part.std(0) for part in styles]
