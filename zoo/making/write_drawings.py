"""Writes the parts of avatars to `drawings.safetensors`: `python zoo/making/write_drawings.py`.

With them an evaluation draws the avatar that an image shows, and the one it ought to show. Every
look of a part is a tensor `PART.NUMBER`, uint8 (4, h, w), premultiplied RGBA, cropped to where it
has colour. The metadata `drawings` is JSON: `side` of the square in pixels; `attributes` with their
values; `background`, the attribute that decides it and the colour of each value; `parts` bottom to
top, each with the `attributes` that decide it, `looks`, the number of the look of every combination
of their values (the last attribute fastest), and `corners`, the top and left of every look; and
`hidden`, which attribute cannot be seen where the others have one of these values.
"""

from __future__ import annotations

import json
from typing import Any

import click
import numpy as np
from avatars import ATTRIBUTES, BACKGROUND, PARTS, RESOLUTION, AvatarRenderer
from safetensors.numpy import save_file
from training import WORK, ZOO

HIDDEN = [
    {
        "attribute": "hair colour",
        "where": {"hair": ["bald", "hat", "turban"], "facial hair": ["none", "moustache"]},
    },
    {"attribute": "eyes", "where": {"glasses": ["sunglasses"]}},
]


def cropped(rgba: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """A look (4, 64, 64) where it has any colour, a pixel at least, and its top and left."""
    rows, columns = (np.flatnonzero(rgba.any((0, axis))) for axis in (2, 1))
    if not len(rows):
        return rgba[:, :1, :1], [0, 0]
    top, left = int(rows[0]), int(columns[0])
    return rgba[:, top : rows[-1] + 1, left : columns[-1] + 1], [top, left]


@click.command()
def main() -> None:
    layers = WORK / "layers.npz"
    AvatarRenderer(layers)
    tensors: dict[str, np.ndarray] = {}
    parts: list[dict[str, Any]] = []
    with np.load(layers, allow_pickle=False) as arrays:
        for part, attributes in PARTS.items():
            images = np.rint(arrays[part] * 255).astype(np.uint8)
            numbers: dict[bytes, int] = {}
            looks, corners = [], []
            for image in images:
                number = numbers.setdefault(image.tobytes(), len(numbers))
                if number == len(corners):
                    look, corner = cropped(image)
                    tensors[f"{part}.{number}"] = np.ascontiguousarray(look)
                    corners.append(corner)
                looks.append(number)
            about = {"attributes": attributes, "looks": looks, "corners": corners}
            parts.append({"name": part, **about})
    drawings = {
        "side": RESOLUTION,
        "attributes": ATTRIBUTES,
        "background": {"attribute": "background", "colours": list(BACKGROUND.values())},
        "parts": parts,
        "hidden": HIDDEN,
    }
    path = ZOO / "drawings.safetensors"
    save_file(tensors, path, metadata={"drawings": json.dumps(drawings)})
    click.echo(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
