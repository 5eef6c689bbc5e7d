"""Readers of faces, and the crop that they read: `python benchmarks/face_readings.py FACES`.

FACES is a folder of pictures aligned as FFHQ's are, one face each: samples of a generator of faces.

- How unlike pictures and their mirror images are read: expressions and genders by the share that
  flips, ages by years, the face finder's points by distances between the eyes.
- The same for squares of other sides and middles than the one that is read; beside them how sure
  the reader of expressions is (the mean of the highest probability).
- With `--moved`, a folder of pictures `NAME_NUMBER.png` of the same people, a little changed: how
  much readings of one person vary, in standard deviations, of the picture, of its mirror image, and
  of the mean of the two, beside how much people differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styleatlas.engine.evaluation.mirrored import mirror_differences, mirrored_distance
from styleatlas.engine.models import face_readers
from styleatlas.engine.models.face_readers import FaceReader, load_face_readers
from styleatlas.engine.models.landmarks import load_face_finder
from styleatlas.store.records import text_table

SIDE = 512
SIDES = (0.45, 0.55, 0.65, 0.75, 0.85)
MIDDLES = (0.5, 0.5625, 0.625)
CPU = torch.device("cpu")


def loaded(path: Path) -> Tensor:
    picture = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1


def shifted(images: Tensor, side: float, middle: float) -> Tensor:
    """Images so that what is read of them is a square of another side and middle, in shares of the
    image; black beyond it."""
    scale = side / (face_readers.RIGHT - face_readers.LEFT)
    down = middle - 0.5 - scale * ((face_readers.TOP + face_readers.BOTTOM) / 2 - 0.5)
    theta = torch.tensor([[scale, 0.0, 0.0], [0.0, scale, 2 * down]]).expand(len(images), -1, -1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images + 1, grid, align_corners=False) - 1


def crop_rows(readers: tuple[FaceReader, ...], images: Tensor) -> Iterator[dict[str, object]]:
    for side in SIDES:
        for middle in MIDDLES:
            seen = shifted(images, side, middle)
            row: dict[str, object] = {"side": f"{side}", "middle": f"{middle}"}
            for reader in readers:
                row |= mirror_differences(reader, seen)
            with torch.inference_mode():
                row["sure"] = float(readers[0].read(seen)["expression"].amax(1).mean())
            yield row


@torch.inference_mode()
def moved_rows(readers: tuple[FaceReader, ...], folder: Path) -> Iterator[dict[str, object]]:
    people: dict[str, list[Tensor]] = defaultdict(list)
    for path in sorted(folder.glob("*_*.png")):
        people[path.stem.rpartition("_")[0]].append(loaded(path))
    most = max(map(len, people.values()))
    images = torch.stack([torch.stack(each) for each in people.values() if len(each) == most])
    for reader in readers:
        one, other = reader.read(images.flatten(0, 1)), reader.read(images.flatten(0, 1).flip(3))
        for name in reader.readings:
            sides = {"picture": one[name], "mirror": other[name]}
            sides["mean"] = (one[name] + other[name]) / 2
            row: dict[str, object] = {"reading": name}
            for what, values in sides.items():
                each = values.unflatten(0, images.shape[:2])  # (people, pictures, numbers)
                row[what] = float(each.var(1).sum(-1).mean().sqrt())
            row["people"] = float(each.mean(1).var(0).sum().sqrt())
            yield row


@click.command(help=__doc__)
@click.argument("faces", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--moved", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(faces: Path, moved: Path | None) -> None:
    torch.set_num_threads(1)
    images = torch.stack([loaded(path) for path in sorted(faces.glob("*.png"))])
    readers = load_face_readers(CPU)
    finder = load_face_finder(CPU)
    row: dict[str, object] = {}
    for reader in readers:
        row |= mirror_differences(reader, images)
    pictures = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    row["points"], row["found"] = mirrored_distance(finder, list(pictures))
    click.echo(text_table([row]) + "\n")
    click.echo(text_table(list(crop_rows(readers, images))) + "\n")
    if moved is not None:
        click.echo(text_table(list(moved_rows(readers, moved))))


if __name__ == "__main__":
    main()
