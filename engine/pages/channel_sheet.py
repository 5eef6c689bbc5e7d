"""What single style channels do to images, as pictures.

A step is added to each image's own style, as an edit adds it: the middle column, the step of 0, is
the image as it was.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...store.atlas import Atlas
from ...store.errors import OptionError
from ...store.layout import Layer
from ...store.records import Record
from ..models.protocols import Generator
from ..models.sampling import batch_size, render_batches, styles_from_seeds
from ..pictures.sheet import cell_size, scaled_down, sheet
from .atlas_report import ChannelFigure
from .highlights import Phrasebook, leading_channels

STEPS = (-10.0, -5.0, 0.0, 5.0, 10.0)
MAX_STEP = 100.0

_GAP, _MARGIN, _LINE, _WIDEST = 14, 14, 18, 300
_PHRASES = 3
_FIGURES, _FIGURE_SIDE, _FIGURE_ROWS, _FIGURE_TRUNCATION = 8, 128, 2, 0.7
# Images that a channel of a report is tried on: fewer of large ones, which take longer.
_MOST_TRIED, _LEAST_TRIED, _TRIED_PIXELS = 24, 4, 24 * 256 * 256


@torch.inference_mode()
def channel_images(
    generator: Generator,
    atlas: Atlas,
    styles: Tensor,
    channels: Sequence[int],
    steps: Sequence[float],
    side: int,
) -> dict[int, Tensor]:
    """Images with one channel moved, for each of some flat indices.

    Args:
        styles: the images' styles (n, C).
        steps: k steps, in the atlas's standard deviations of the channel.
        side: images with more pixels on their longer side are scaled down to so many there.

    Returns:
        For each channel, images (n, k, 3, h, w), nominally in [-1, 1].
    """
    styles = styles.to(generator.device)
    moved: dict[int, Tensor] = {}
    ordered = sorted(set(channels))
    for layer, group in groupby(ordered, lambda flat: atlas.layout.locate(flat)[0]):
        members = list(group)
        rows = [
            _moved_images(generator, atlas, row[None], layer, members, steps, side)
            for row in styles
        ]
        moved |= {flat: torch.stack([row[flat] for row in rows]) for flat in members}
    return moved


def draw_sheet(
    generator: Generator,
    atlas: Atlas,
    styles: Tensor,
    seeds: Sequence[int],
    records: Sequence[Record],
    steps: Sequence[float] = STEPS,
) -> Image.Image:
    """A sheet of channels: a row an image, labelled with its seed where there are several, a
    column a step; beside the rows of a channel its name and its phrases.

    Small images are enlarged and large ones reduced by halves, so that they are seen and yet the
    sheet has at most 16 million pixels of them.

    Args:
        styles: the images' styles (n, C), of the n `seeds`.
        records: what `sheet_records` says of the channels, in the order of the sheet.

    Raises:
        OptionError: so many images that none of them could be seen.
    """
    side, scale = cell_size(generator.image_size, len(records) * len(seeds), len(steps))
    flats = [atlas.layout.parse(record["channel"]) for record in records]
    images = channel_images(generator, atlas, styles, flats, steps, side)
    labels = [f"seed {seed}" for seed in seeds] if len(seeds) > 1 else []
    # The font has no Greek.
    columns = [f"{step:+g} sigma" if step else "as it was" for step in steps]
    panels = [_panel(record) for record in records]
    width = max(panel.width for panel in panels)
    blocks = []
    for number, (flat, panel) in enumerate(zip(flats, panels, strict=True)):
        rows = [list(row) for row in images[flat]]
        block = sheet(rows, labels, [] if number else columns, scale)
        top = block.height - len(rows) * rows[0][0].shape[1] * scale
        canvas = Image.new(
            "RGB", (width + block.width, max(block.height, top + panel.height)), "white"
        )
        canvas.paste(panel, (0, top))
        canvas.paste(block, (width, 0))
        blocks.append(canvas)
    return _stacked(blocks)


def require_sheet(size: tuple[int, int], rows: int, steps: Sequence[float]) -> None:
    """Raise OptionError unless `rows` rows of images of a size (height, width) at these steps can
    be seen on one sheet; called before they are rendered."""
    for step in steps:
        if not abs(step) <= MAX_STEP:
            raise OptionError(f"step {step:g}: must lie between -{MAX_STEP:g} and {MAX_STEP:g}")
    cell_size(size, rows, len(steps))


def sheet_records(
    atlas: Atlas, channels: Sequence[int], scores: Sequence[float] | None = None
) -> list[Record]:
    """What a sheet says beside each of some channels, by flat index: its phrases, and the
    relevance to a prompt where `scores` has one."""
    book = Phrasebook(atlas)
    records: list[Record] = []
    for number, flat in enumerate(channels):
        layer, _ = atlas.layout.locate(flat)
        record: Record = {"channel": atlas.layout.label(flat), "kind": layer.kind}
        record |= {"resolution": layer.resolution, "std": round(float(atlas.style_std[flat]), 4)}
        if scores is not None:
            record["score"] = round(float(scores[number]), 4)
        record["towards"], record["away"] = book.sides(flat, _PHRASES)
        records.append(record)
    return records


def report_figures(
    generator: Generator, atlas: Atlas, label: int | None = None
) -> list[ChannelFigure]:
    """Small pictures of the strongest channel of some layers, for a report: each on two images of
    the first 24 seeds, fewer above 256 px, those whose pixels it changes most.

    Raises:
        FingerprintError: the atlas belongs to another generator.
        OptionError: a class that the generator does not have.
    """
    atlas.require_generator(generator.identity, generator.layout)
    channels = leading_channels(atlas, _FIGURES)
    pixels = math.prod(generator.image_size)
    tried = min(_MOST_TRIED, max(_LEAST_TRIED, _TRIED_PIXELS // pixels))
    styles = styles_from_seeds(generator, range(1, tried + 1), _FIGURE_TRUNCATION, label)
    ends = (STEPS[0], STEPS[-1])
    extremes = channel_images(generator, atlas, styles, channels, ends, _FIGURE_SIDE)
    figures = []
    for flat in channels:
        low, high = extremes[flat].clamp(-1, 1).unbind(1)
        change = (high - low).abs().mean((1, 2, 3))  # (tried,)
        chosen = styles[change.argsort(descending=True, stable=True)[:_FIGURE_ROWS]]
        images = channel_images(generator, atlas, chosen, [flat], STEPS, _FIGURE_SIDE)[flat]
        file = io.BytesIO()
        sheet([list(row) for row in images]).save(file, format="PNG", optimize=True)
        figures.append(ChannelFigure(flat, STEPS, file.getvalue()))
    return figures


def _moved_images(
    generator: Generator,
    atlas: Atlas,
    styles: Tensor,
    layer: Layer,
    channels: Sequence[int],
    steps: Sequence[float],
    side: int,
) -> dict[int, Tensor]:
    """One image (1, C) with each of some channels of a layer moved: (k, 3, h, w) each."""
    # StyleGAN3's input is not linear in its style: what it changes is rendered as a whole.
    prefix = None if layer.kind == "input" else generator.prefix(styles, layer)
    moved = {}
    for flat in channels:
        values = styles[0, flat] + styles.new_tensor(steps) * float(atlas.style_std[flat])  # (k,)
        if prefix is None:
            changed = styles.repeat(len(values), 1)
            changed[:, flat] = values
            batches = list(render_batches(generator, changed))
        else:
            parts = values.split(batch_size(generator))
            batches = [prefix.render(flat - layer.start, part) for part in parts]
        moved[flat] = torch.cat([scaled_down(batch, side) for batch in batches])
    return moved


def _panel(record: Record) -> Image.Image:
    """What is known of a channel, as a picture to stand beside its rows."""
    large, small = ImageFont.load_default(17), ImageFont.load_default(13)
    score = f", relevance {record['score']:+.2f}" if "score" in record else ""
    lines = [(record["channel"], large, "black")]
    lines.append((f"{record['kind']}, {record['resolution']} px{score}", small, "dimgray"))
    for title, side in (("towards", "towards"), ("away from", "away")):
        lines += [(title, small, "dimgray")] if record[side] else []
        lines += [(f"   {text}", small, "black") for text in record[side]]
    lines = [(_fitting(text, font), font, colour) for text, font, colour in lines]
    width = max(int(font.getlength(text)) for text, font, _ in lines) + 2 * _MARGIN
    panel = Image.new("RGB", (width, _LINE * len(lines) + 8), "white")
    draw = ImageDraw.Draw(panel)
    for number, (text, font, colour) in enumerate(lines):
        # The name stands a little apart from the lines below it.
        y = _LINE * number + (12 if number else 8)
        draw.text((_MARGIN, y), text, colour, font, anchor="lm")
    return panel


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A text on one line, cut where the panel would become too wide."""
    text = text.translate({ord(letter): " " for letter in "\t\n\r\v\f"})
    if font.getlength(text) <= _WIDEST:
        return text
    while font.getlength(text + "…") > _WIDEST:
        text = text[:-1]
    return text + "…"


def _stacked(blocks: Sequence[Image.Image]) -> Image.Image:
    tops = np.cumsum([0] + [block.height + _GAP for block in blocks])
    width = max(block.width for block in blocks)
    canvas = Image.new("RGB", (width, int(tops[-1]) - _GAP), "white")
    for block, top in zip(blocks, tops[:-1], strict=True):
        canvas.paste(block, (0, int(top)))
    return canvas
