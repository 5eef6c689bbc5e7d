"""What one call of `mapper apply` does: images in, a mapper at some strengths, a sheet out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ...store.records import Record, text_table
from ..fallbacks.mapper import Mapper
from ..models.protocols import Generator
from ..models.sampling import batch_size, render_batches
from ..pictures.sheet import sheet


@dataclass(frozen=True, eq=False)
class Applied:
    """What a mapper made of n images.

    Args:
        strength: times what it was trained to do.
        styles: (n, C), edited.
        images: (n, channels, H, W) in [-1, 1].
        moved: of each image, the root of the mean square of what was added to its latents.
    """

    strength: float
    styles: Tensor
    images: Tensor
    moved: tuple[float, ...]


@torch.inference_mode()
def apply_mapper(
    mapper: Mapper, generator: Generator, styles: Tensor, w: Tensor | None, strength: float
) -> Applied:
    """A mapper's edit of styles (n, C), and of w (n, num_ws, w_dim) of the same images where it is
    one in w+.

    Raises:
        OptionError: a mapper in w+ without w, or a strength that is not finite.
    """
    size = batch_size(generator)
    edited, moved = [], []
    for start in range(0, len(styles), size):
        part = slice(start, start + size)
        rows = None if w is None else w[part]
        edited.append(mapper.edited(generator, styles[part], rows, strength))
        latents = rows if mapper.network.config.space == "w+" and rows is not None else styles[part]
        residual = strength * mapper.residual(latents)
        moved += residual.square().flatten(1).mean(1).sqrt().tolist()
    after = torch.cat(edited)
    return Applied(strength, after, torch.cat(list(render_batches(generator, after))), tuple(moved))


@torch.inference_mode()
def applied_sheet(
    generator: Generator,
    styles: Tensor,
    names: Sequence[str],
    columns: Sequence[Applied],
    before: bool,
) -> Image.Image:
    """A row an image and a column a strength; with `before`, a first column of the images as they
    were. With labels where there are many.

    Raises:
        OptionError: it would be too large for one picture.
    """
    shown = [
        (f"strength {column.strength:g}" if len(columns) > 1 else "after", column.images)
        for column in columns
    ]
    if before:
        shown.insert(0, ("before", torch.cat(list(render_batches(generator, styles)))))
    rows = [[images[i] for _, images in shown] for i in range(len(names))]
    labels = [label for label, _ in shown] if len(shown) > 1 else ()
    return sheet(rows, names if len(rows) > 1 else (), labels)


def applied_records(names: Sequence[str], columns: Sequence[Applied]) -> list[Record]:
    """One of every image at every strength."""
    return [
        {"image": name, "strength": column.strength, "moved": round(moved, 4)}
        for column in columns
        for name, moved in zip(names, column.moved, strict=True)
    ]


def mappers_text(folder: str, records: Sequence[Record]) -> str:
    """What `list_mappers` found in a folder, for people."""
    rows = [
        {
            "name": record["name"],
            "target": record["target"] or "not told",
            "neutral": record["neutral"] or "not told",
            "generator": (record["generator"] or {}).get("name", "not told"),
            "clip": (record["clip"] or {}).get("name", "not told"),
            "space": record["space"],
            "groups": ",".join(record["groups"]) if len(record["groups"]) <= 3 else "layers",
            "created": record["created"][:10],
        }
        for record in records
        if "problem" not in record
    ]
    lines = [text_table(rows)] if rows else [f"{folder}: no mappers"]
    lines += [record["problem"] for record in records if "problem" in record]
    return "\n".join(lines)
