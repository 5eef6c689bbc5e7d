"""The pictures of docs/concepts.md: `python benchmarks/concept_pictures.py docs/concepts`.

What the embedded generator draws and the embedded atlas holds, one idea a picture. Nothing is drawn
in but letters, and the bars of two charts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import styleatlas
from styleatlas import Choice, Editor
from styleatlas.engine.models.sampling import render_batches
from styleatlas.engine.pictures.sheet import sheet
from styleatlas.engine.steering.direction import Direction
from styleatlas.engine.steering.edits import Edit
from styleatlas.store.output import replacing

PSI, QUALITY = 0.7, 76
FACE, GLASSES, HAT = "a face", "a face with glasses", "a face with a hat"
MOVED = "a smiling face", GLASSES, "a face with long hair", "a face with a pink background"
STRONG = "b4.conv1:93", "b16.conv0:28", "b16.torgb:13"
SIGMAS = -10, -5, 0, 5, 10
INK, HAVE, LACK = "black", (42, 111, 151), (201, 173, 127)

Draw = Callable[[Editor], Image.Image]


def styles(editor: Editor, *seeds: int, psi: float = PSI) -> Tensor:
    return styleatlas.styles_from_seeds(editor.generator, seeds, psi)


def images(editor: Editor, given: Tensor) -> list[Tensor]:
    """Of styles (n, C), each (3, H, W)."""
    with torch.inference_mode():
        return [*torch.cat(list(render_batches(editor.generator, given)))]


def moved(editor: Editor, start: Tensor, direction: Direction, alpha: float) -> list[Tensor]:
    return images(editor, start + torch.from_numpy(direction.delta(alpha)))


def style_space(editor: Editor) -> Image.Image:
    """One face, and four single channels of its style: three of those that move it most, of one
    layer each, and the one that the table knows best for a smile."""
    atlas, start = editor.atlas, styles(editor, 2)
    best = editor.direction(FACE, "a smiling face", Choice(source="table", channels=1))
    rows, told = [], [*STRONG, atlas.layout.label(int(best.channels[0]))]
    for label in told:
        channel = atlas.layout.parse(label)
        along = start.repeat(len(SIGMAS), 1)
        along[:, channel] += torch.tensor(SIGMAS) * float(atlas.style_std[channel])
        rows.append(images(editor, along))
    return sheet(rows, told, [f"{sigma:+d} sigma" if sigma else "as it was" for sigma in SIGMAS])


def layers(editor: Editor) -> Image.Image:
    """How the steps of prompts share among the layers, counted in squared sigma."""
    targets = (*MOVED, "a face with red hair", "a sad face", "a face with a beard", HAT)
    shares = np.stack([_shares(editor, target) for target in targets])  # (prompts, layers)
    names = [layer.name for layer in editor.atlas.layout]
    cell, left, top = 46, 210, 96
    picture = Image.new("RGB", (left + cell * len(names), top + cell * len(targets)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=14)
    for column, name in enumerate(names):
        word = Image.new("RGB", (top - 8, 20), "white")
        ImageDraw.Draw(word).text((0, 10), name, INK, font, anchor="lm")
        picture.paste(word.rotate(90, expand=True), (left + cell * column + 13, 4))
    for row, target in enumerate(targets):
        y = top + cell * row
        draw.text((left - 8, y + cell // 2), target, INK, font, anchor="rm")
        for column, share in enumerate(shares[row]):
            x = left + cell * column
            tone = tuple(round(255 + (end - 255) * share**0.5) for end in HAVE)
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), tone)
            if share >= 0.05:
                ink = "white" if share > 0.4 else INK
                draw.text((x + cell // 2, y + cell // 2), f"{share:.0%}", ink, font, anchor="mm")
    return picture


def _shares(editor: Editor, target: str) -> NDArray[np.float64]:
    direction, atlas = editor.direction(FACE, target), editor.atlas
    weight = np.zeros(atlas.layout.size)
    weight[direction.channels] = (direction.steps / atlas.style_std[direction.channels]) ** 2
    weight /= weight.sum()
    return np.array([weight[layer.slice].sum() for layer in atlas.layout])


def samples(editor: Editor) -> Image.Image:
    """The scores of the samples for a prompt, and some of them along the way."""
    known = editor.samples
    assert known is not None
    direction = editor.direction(FACE, GLASSES)
    scores = known.embeddings @ editor.difference(direction)  # (N,)
    order = np.argsort(scores)
    places = order[np.linspace(0, len(order) - 1, 10).round().astype(int)]
    drawn = images(editor, torch.from_numpy(known.samples.styles_of(places)))
    row = sheet([drawn], (), [f"{score:+.2f}" for score in scores[places]])
    chart = Image.new("RGB", (row.width, 190), "white")
    draw, font = ImageDraw.Draw(chart), ImageFont.load_default(size=14)
    counts, edges = np.histogram(scores, 80)
    there = editor.evidence(FACE, GLASSES).levels(1.0).there
    wide = (row.width - 40) / len(counts)
    for at, count in enumerate(counts):
        tone = HAVE if edges[at] >= there else LACK
        x, high = 20 + at * wide, 130 * count / counts.max()
        draw.rectangle((x, 160 - high, x + wide - 1, 160), tone)
    told = f"{len(scores):,} samples by how much nearer CLIP sees them to {GLASSES}"
    draw.text((20, 8), told, INK, font)
    for edge in (edges[0], 0, edges[-1]):
        x = 20 + (row.width - 40) * (edge - edges[0]) / (edges[-1] - edges[0])
        draw.text((x, 166), f"{edge:+.2f}" if edge else "0", INK, font, anchor="ma")
    whole = Image.new("RGB", (row.width, chart.height + row.height), "white")
    whole.paste(chart, (0, 0))
    whole.paste(row, (0, chart.height))
    return whole


def alpha(editor: Editor) -> Image.Image:
    """One direction, at several strengths, and the strength that is found."""
    start = styles(editor, 1, 3, 4)
    direction = editor.direction(FACE, "a smiling face")
    found = editor.apply(start, direction)
    alphas = (-1.0, 0.0, 0.25, 0.5, 1.0, 1.5, 3.0)
    columns = [moved(editor, start, direction, a) for a in alphas]
    rows = [list(row) for row in zip(*columns, images(editor, found.styles), strict=True)]
    told = [f"found: {a[0]:.2f}" for a in found.alphas]
    return sheet(rows, told, [*(f"alpha {a:g}" for a in alphas), "found"])


def beta(editor: Editor) -> Image.Image:
    """The table's direction by a few channels and by many."""
    betas, start = (0.05, 0.1, 0.2, 0.3, 0.4), styles(editor, 2)
    rows, told = [], []
    for target in ("a face with red hair", "a smiling face"):
        row, counts = images(editor, start), []
        for least in betas:
            direction = editor.direction(FACE, target, Choice(source="table", beta=least))
            row += moved(editor, start, direction, 5)
            counts.append(len(direction.channels))
        rows.append(row)
        told.append(f"{target}: {', '.join(map(str, counts))} channels")
    return sheet(rows, told, ["as it was", *(f"beta {least:g}" for least in betas)])


def neutral(editor: Editor) -> Image.Image:
    """The same target, from two neutral prompts."""
    start = wearing(editor)
    rows = [images(editor, start)]
    told = ["as they were"]
    for origin in (FACE, GLASSES):
        result = editor.edit(start, neutral=origin, target=HAT)
        rows.append(images(editor, result.styles))
        told.append(f"{origin} -> {HAT}")
    return sheet(rows, told)


def wearing(editor: Editor, count: int = 6) -> Tensor:
    """Styles of the first seeds whose images have glasses and no hat, as CLIP sees them."""
    start = styles(editor, *range(1, 61))
    has = editor.seen(torch.stack(images(editor, start)), [Edit(FACE, GLASSES), Edit(FACE, HAT)])
    glasses, hat = (editor.evidence(FACE, thing).levels(PSI).there for thing in (GLASSES, HAT))
    chosen = np.flatnonzero((has[:, 0] > glasses) & (has[:, 1] < hat))[:count]
    return start[torch.from_numpy(chosen)]


def psi(editor: Editor) -> Image.Image:
    """What truncation does to images of seeds."""
    psis = (-0.7, 0.0, 0.35, 0.7, 1.0, 1.3)
    seeds = (2, 5, 7)
    columns = [images(editor, styles(editor, *seeds, psi=value)) for value in psis]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return sheet(rows, [f"seed {seed}" for seed in seeds], [f"psi {value:g}" for value in psis])


PICTURES: dict[str, Draw] = {
    "style-space": style_space,
    "layers": layers,
    "samples": samples,
    "alpha": alpha,
    "beta": beta,
    "neutral": neutral,
    "psi": psi,
}


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--only", help="Those whose names hold this.", default="")
def main(folder: Path, only: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    editor = styleatlas.load("avatars", device="cpu")
    for name, draw in PICTURES.items():
        if only in name:
            path = folder / f"{name}.webp"
            with replacing(path) as file:
                draw(editor).convert("RGB").save(file, format="WEBP", quality=QUALITY, method=6)
            click.echo(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
