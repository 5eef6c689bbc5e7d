"""Unedited images in one picture: those of seeds, or samples that have what a prompt names and that
lack it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...store.atlas import Atlas
from ..models.protocols import Generator
from ..models.sampling import batch_size, render_batches, styles_from_seeds
from ..pictures.sheet import (
    cell_size,
    require_png,
    require_sheet_size,
    save_png,
    scaled_down,
    sheet,
)
from .questions import SHOWN, SamplesAsked


@torch.inference_mode()
def draw_samples(
    generator: Generator, atlas: Atlas, target: str, asked: SamplesAsked, path: Path
) -> None:
    """Writes a PNG sheet of the samples that `asked` names, as they were drawn: a row each of
    those that have the target most, are in the middle of those that have it, and lack it most.

    Raises:
        FingerprintError: the atlas belongs to another generator.
        OptionError: the sheet would have more than 100 million pixels.
        OutputError: another file name extension, or the file cannot be written.
    """
    atlas.require_generator(generator.identity, generator.layout)
    require_png(path)
    rows = [(f"{target}: {name}", numbers) for name, numbers in asked.rows if len(numbers)]
    require_sheet_size(len(rows), SHOWN, *generator.image_size)
    pictures = []
    for _, numbers in rows:
        styles = torch.from_numpy(asked.samples.styles_of(numbers)).to(generator.device)
        images = torch.cat(list(render_batches(generator, styles)))
        pictures.append([*images, *_blank(images, SHOWN - len(images))])
    save_png(sheet(pictures, [label for label, _ in rows]), path)


@torch.inference_mode()
def draw_seeds(
    generator: Generator,
    seeds: Sequence[int],
    truncation: float,
    label: int | None,
    path: Path,
    drawn: Callable[[int], object] = lambda images: None,
) -> None:
    """Writes a PNG sheet of the images of seeds, row by row, as many to a row as there are rows.

    Small images are enlarged and large ones reduced by halves, so that they are seen and yet the
    sheet has at most 16 million pixels of them. No more than a batch is held at its full size.

    Args:
        label: see `styles_from_seeds`.
        drawn: hears how many more images there are, after every batch.

    Raises:
        OptionError: so many seeds that none could be seen; or a seed, a truncation or a class out
            of its range.
        OutputError: another file name extension, or the file cannot be written.
    """
    require_png(path)
    columns = math.ceil(math.sqrt(len(seeds)))
    rows = [seeds[at : at + columns] for at in range(0, len(seeds), columns)]
    side, scale = cell_size(generator.image_size, len(rows), columns)
    images: list[Tensor] = []
    for at in range(0, len(seeds), batch_size(generator)):
        part = seeds[at : at + batch_size(generator)]
        styles = styles_from_seeds(generator, part, truncation, label)
        images += scaled_down(generator.render(styles), side).cpu()
        drawn(len(part))
    images += _blank(images[0][None], len(rows) * columns - len(seeds))
    pictures = [images[at : at + columns] for at in range(0, len(images), columns)]
    save_png(sheet(pictures, [_told(row) for row in rows], scale=scale), path)


def _told(seeds: Sequence[int]) -> str:
    """Seeds as the label of a row: seed 5, seeds 1 to 8, seeds 3, 5, 9."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


def _blank(images: Tensor, count: int) -> Tensor:
    """White images of the same size, which fill a row."""
    return images.new_ones(count, *images.shape[1:])
