"""Some images of every trial before and after the default edit, from the worst to the best."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..models.preprocess import as_rgb
from ..pictures.sheet import sheet
from .results import Evaluation

SAMPLES = 8
_SIDE = 96  # pixels an image is shrunk to at most


@dataclass(frozen=True, eq=False)
class Strip:
    """The images of one trial, a column each: before above, after below.

    Args:
        seeds: whose images they are, the worst first.
        alphas: how far each went.
        won: whether each has the attribute after the edit.
        png: a PNG file, the columns of equal width and no margin; empty without images.
    """

    seeds: tuple[int, ...]
    alphas: tuple[float, ...]
    won: tuple[bool, ...]
    png: bytes


@torch.inference_mode()
def sample_strips(evaluation: Evaluation) -> list[Strip]:
    """A strip a trial: of its images that lacked the attribute, ranked by success and then by how
    much else was preserved, 8 at equal distances from the worst to the best."""
    default = evaluation.results[0]
    outcome, generator = default.outcomes[0], evaluation.editor.generator
    counts = evaluation.tallies(outcome)
    strips = []
    for number, direction in enumerate(default.directions):
        lacking = np.flatnonzero(counts.absent[number])
        preserved = counts.same[number] / np.maximum(counts.shown[number], 1)
        ranked = lacking[np.lexsort((preserved[lacking], counts.won[number][lacking]))]
        spread = np.linspace(0, len(ranked) - 1, min(SAMPLES, len(ranked))).round().astype(int)
        chosen = ranked[spread]
        alphas = np.nan_to_num(outcome.alphas[number, chosen])
        rows: list[list[Tensor]] = [[], []]
        for i, alpha in zip(chosen, alphas, strict=True):
            style = evaluation.styles[i : i + 1]
            rows[0].append(_small(generator.render(style)))
            if direction is not None:
                style = style + torch.from_numpy(direction.delta(float(alpha))).to(style)
            rows[1].append(_small(generator.render(style)))
        strips.append(
            Strip(
                tuple(evaluation.seeds[i] for i in chosen),
                tuple(float(alpha) for alpha in alphas),
                tuple(bool(won) for won in counts.won[number][chosen]),
                _png(sheet(rows)) if len(chosen) else b"",
            )
        )
    return strips


def _small(image: Tensor) -> Tensor:
    """An image (1, channels, H, W) of at most 96 pixels a side, (3, h, w)."""
    image = as_rgb(image)
    shrunk = max(1, -(-max(image.shape[2:]) // _SIDE))
    return torch.nn.functional.avg_pool2d(image.float(), shrunk)[0] if shrunk > 1 else image[0]


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()
