"""What features of samples cost, and what drafts change of them: `python benchmarks/features.py`.

Images of `faces` (or --generator), one at a time and whole, at psi 1: seconds of a render, and of
each reader as a ratio to it, the least of several rounds in which all take turns. Then what is read
of drafts of each size against what is read of the whole images: the share of the images whose
likeliest expression and gender differ, the mean difference of ages, the mean distance of identities
(dlib's; below .6 is the same person) and of points, in shares of the image's side. Last, landmarks
that are looked for in images shrunk to other sides: their distance from those of the whole image
and of the mirror image, mean and largest, in distances between the eyes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleatlas.engine.models import features as features_module
from styleatlas.engine.models.draft import Draft
from styleatlas.engine.models.features import LandmarksReader, load_features
from styleatlas.engine.models.load import load_generator
from styleatlas.engine.models.mtcnn import MIRRORED
from styleatlas.engine.models.protocols import Generator
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.store.errors import OptionError
from styleatlas.store.records import text_table

ROUNDS = 5
SIDES = (1024, 512, 256, 160)
Read = dict[str, NDArray[np.float64]]


def least(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Of each the least seconds, in rounds in which they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS + 1):  # the first is to warm up
        for name, work in works.items():
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    return {name: min(seconds[1:]) for name, seconds in taken.items()}


def changes(whole: Read, other: Read) -> dict[str, object]:
    """How far what was read of the same images differs."""

    def flips(name: str) -> float:
        return float((whole[name].argmax(1) != other[name].argmax(1)).mean())

    def distances(name: str, numbers: int) -> NDArray[np.float64]:
        apart = (whole[name] - other[name]).reshape(len(whole[name]), -1, numbers)
        found: NDArray[np.float64] = np.linalg.norm(apart, axis=2)
        return found

    identities = distances("identity", 128)
    return {
        "expression": flips("expression"),
        "gender": flips("gender"),
        "years": float(np.abs(whole["age"] - other["age"]).mean()),
        "identity": float(identities.mean()),
        "largest": float(identities.max()),
        "points": float(np.nanmean(distances("landmarks", 2))),
        "not found": int(np.isnan(other["landmarks"]).any(1).sum()),
    }


def found_rows(reader: LandmarksReader, images: Sequence[Tensor]) -> Iterator[dict[str, object]]:
    """What becomes of landmarks that are looked for in fewer pixels."""
    known = between = None
    for side in SIDES:
        features_module.FOUND_SIDE = side
        start = time.perf_counter()
        points = [reader.read(image)["landmarks"].reshape(5, 2) for image in images]
        taken = (time.perf_counter() - start) / len(images)
        flipped = [reader.read(image.flip(3))["landmarks"].reshape(5, 2) for image in images]
        mirrored = [one[MIRRORED] * torch.tensor([-1, 1]) + torch.tensor([1, 0]) for one in flipped]
        here, there = torch.stack(points), torch.stack(mirrored)
        if known is None or between is None:
            known, between = here, (here[:, 1] - here[:, 0]).norm(dim=1)
        row: dict[str, object] = {"looked for in": side}
        for name, other in (("whole", known), ("mirror", there)):
            apart = (here - other).norm(dim=2).mean(1) / between
            row |= {name: f"{float(apart.nanmean()):.4f}", f"{name}, most": float(apart.max())}
        yield row | {"seconds": taken, "not found": int(here.isnan().any(2).any(1).sum())}


@click.command(help=__doc__)
@click.option("--generator", "name", default="faces", show_default=True)
@click.option("--images", default=32, show_default=True)
@torch.inference_mode()
def main(name: str, images: int) -> None:
    torch.set_num_threads(1)
    whole = load_generator(name, "cpu")
    features = load_features("faces", whole)
    styles = styles_from_seeds(whole, range(images), 1.0)
    image = whole.render(styles[:1])
    seconds = least(
        {
            "render": lambda: whole.render(styles[:1]),
            **{
                f"{', '.join(reader.readings)}": lambda reader=reader: reader.read(image)
                for reader in features.readers
            },
            "all features": lambda: features.read(image),
        }
    )
    for what, taken in seconds.items():
        click.echo(f"{what:<14} {taken:6.3f} s  {taken / seconds['render']:5.2f} renders")

    def read(generator: Generator) -> Read:
        parts = [features.read(generator.render(one[None])) for one in styles]
        return {feature: np.concatenate([part[feature] for part in parts]) for feature in parts[0]}

    known, rows = read(whole), []
    lost = int(np.isnan(known["landmarks"]).any(1).sum())
    click.echo(f"\nwhole: landmarks of {lost} of {images} not found\n")
    for side in (512, 256, 128):
        try:
            draft = Draft(whole, side)
        except OptionError:
            continue
        rows.append({"draft": side, **changes(known, read(draft))})
    click.echo(text_table(rows) + "\n")
    landmarks = features.readers[-1]
    assert isinstance(landmarks, LandmarksReader)
    seen = [whole.render(one[None]) for one in styles]
    click.echo(text_table(list(found_rows(landmarks, seen))))


if __name__ == "__main__":
    main()
