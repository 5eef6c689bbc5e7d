"""Samples that have what a prompt names, and samples that lack it, in one picture."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...store.atlas import Atlas
from ..models.protocols import Generator
from ..models.sampling import render_batches
from ..pictures.sheet import require_png, require_sheet_size, save_png, sheet
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


def _blank(images: Tensor, count: int) -> Tensor:
    """White images of the same size, which fill a row."""
    return images.new_ones(count, *images.shape[1:])
