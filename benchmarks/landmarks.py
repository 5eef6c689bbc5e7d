"""Ways of finding faces, eyes and mouths, compared: `python benchmarks/landmarks.py FACES`.

What the face finder was chosen by (docs/faces.md). FACES is a folder of pictures aligned as FFHQ's
are, one face each, 1024 px: samples of a generator of faces. Each is put, changed in a known way,
into a larger picture, and every finder that runs here looks for it:

- found: the share whose four points lie within .3 of the distance between the eyes of where the
  mean of all finders saw them in the unchanged picture, moved as the picture was;
- drift: of these, the mean distance from where the *same* finder saw them in the unchanged picture,
  moved so, by the distance between the eyes;
- more: other faces found, a picture.

Then: how far the points of unchanged pictures lie from the mean of the others', and how far the
square that FFHQ's alignment would cut by them is from the whole picture, which it should be (mean
and standard deviation of its middle, its side and its turn); false alarms on scikit-image's
pictures without a face, where that is installed; times, in turn, by MTCNN's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from face_finders import Finder, Found, Picture, Points, finders
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from styleatlas.store.records import text_table

FACE = 0.55
"""Of an aligned picture's side, a face's height from brows to chin, about."""
CANVAS = (1024, 768)
NEAR = 0.3
FACELESS = (
    *("brick", "cat", "chelsea", "clock", "coffee", "coins", "colorwheel", "grass", "gravel"),
    *("horse", "hubble_deep_field", "immunohistochemistry", "logo", "moon", "page", "retina"),
    *("rocket", "stereo_motorcycle", "text"),
)


class Case(NamedTuple):
    """A way to change a picture: a face of so many pixels, turned by so many degrees, its middle at
    a place in shares of the canvas, dimmed to a share and blurred by pixels."""

    name: str
    face: float = 280
    turn: float = 0
    middle: tuple[float, float] = (0.5, 0.5)
    light: float = 1
    blur: float = 0

    def matrix(self, side: int) -> NDArray[np.float64]:
        """(2, 3): from places in an aligned picture of that side to places in the canvas."""
        scale, angle = self.face / FACE / side, math.radians(self.turn)
        across = np.array([math.cos(angle), math.sin(angle)]) * scale
        matrix = np.stack([across, [-across[1], across[0]]], 1)
        offset = np.array(self.middle) * CANVAS - matrix @ [side / 2, side / 2]
        return np.concatenate([matrix, offset[:, None]], 1)

    def apply(self, picture: Image.Image) -> Picture:
        matrix = self.matrix(picture.width)
        shrink = max(1, round(1 / math.hypot(*matrix[:, 0])))
        small = picture.reduce(shrink)
        back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2] / shrink
        mean = tuple(int(v) for v in np.asarray(picture).mean((0, 1)))
        warped = small.transform(
            CANVAS, Image.Transform.AFFINE, back.ravel(), Image.Resampling.BICUBIC, fillcolor=mean
        )
        blurred = warped.filter(ImageFilter.GaussianBlur(self.blur)) if self.blur else warped
        return (np.asarray(blurred) * self.light).round().astype(np.uint8)


CASES = (
    Case("as it is"),
    *(Case(f"turned by {turn}", turn=turn) for turn in (-45, -20, 10, 30, 45)),
    *(Case(f"face of {face} px", face=face) for face in (20, 40, 80, 600)),
    Case("left third of the face cut off", middle=(0.033, 0.5)),
    Case("brows cut off", middle=(0.5, 0.066)),
    Case("chin cut off", middle=(0.5, 0.80)),
    Case("mouth and chin cut off", middle=(0.5, 0.87)),
    Case("dark, a quarter of the light", light=0.25),
    Case("dark, a twelfth", light=1 / 12),
    Case("blurred by 1/50 of the face", blur=5.6),
    Case("blurred by 1/20 of the face", blur=14),
)


def memorised(finder: Finder) -> Finder:
    """The same, once for each picture: others build on what MTCNN finds."""
    last: list[tuple[Picture, list[Found]]] = []

    def find(picture: Picture) -> list[Found]:
        if not last or last[0][0] is not picture:
            last[:] = [(picture, finder(picture))]
        return last[0][1]

    return find


def between_eyes(points: Points) -> float:
    return float(np.linalg.norm(points[1] - points[0]))


def nearest(found: list[Found], points: Points) -> Points | None:
    """The points of the found face nearest to these, if they are near."""
    far = [float(np.linalg.norm(each.points - points, axis=1).mean()) for each in found]
    limit = NEAR * between_eyes(points)
    return found[int(np.argmin(far))].points if far and min(far) < limit else None


def frame(points: Points) -> tuple[float, float, float, float]:
    """Middle, side (pixels) and turn (degrees) of the square that FFHQ's alignment cuts."""
    eyes, mouth = points[:2].mean(0), points[2:].mean(0)
    down, across = mouth - eyes, points[1] - points[0]
    x = across - np.array([-down[1], down[0]])
    half = max(2 * np.linalg.norm(across), 1.8 * np.linalg.norm(down))
    middle = eyes + 0.1 * down
    return (*middle.tolist(), 2 * float(half), math.degrees(math.atan2(x[1], x[0])))


def plain(pictures: list[Image.Image], ways: dict[str, Finder]) -> dict[str, list[Points | None]]:
    """What every finder sees in unchanged pictures: the largest face, in their pixels."""
    case = CASES[0]
    seen: dict[str, list[Points | None]] = {name: [] for name in ways}
    for picture in pictures:
        matrix = case.matrix(picture.width)
        changed = case.apply(picture)
        for name, find in ways.items():
            found = [each.points for each in find(changed)]
            largest = max(found, key=between_eyes, default=None)
            back = None
            if largest is not None:
                back = np.linalg.solve(matrix[:, :2], (largest - matrix[:, 2]).T).T
            seen[name].append(back)
    return seen


def changed_rows(
    pictures: list[Image.Image],
    ways: dict[str, Finder],
    seen: dict[str, list[Points | None]],
    truths: list[Points],
) -> Iterator[list[str]]:
    for case in CASES:
        drifts: dict[str, list[float]] = {name: [] for name in ways}
        more = dict.fromkeys(ways, 0)
        for i, picture in enumerate(pictures):
            matrix = case.matrix(picture.width)
            changed = case.apply(picture)
            truth = truths[i] @ matrix[:, :2].T + matrix[:, 2]
            for name, find in ways.items():
                found = find(changed)
                points, before = nearest(found, truth), seen[name][i]
                more[name] += len(found) - (points is not None)
                if points is None or before is None:
                    continue
                moved = before @ matrix[:, :2].T + matrix[:, 2]
                far = np.linalg.norm(points - moved, axis=1).mean() / between_eyes(truth)
                drifts[name].append(float(far))
        row = [case.name]
        for name in ways:
            share = len(drifts[name]) / len(pictures)
            drift = f"{np.mean(drifts[name]):.3f}" if drifts[name] else "-"
            row.append(f"{share:.0%} {drift} {more[name] / len(pictures):.2f}")
        yield row


def agreement_rows(seen: dict[str, list[Points | None]], side: int) -> Iterator[list[str]]:
    for name, all_points in seen.items():
        far, frames = [], []
        for i, points in enumerate(all_points):
            if points is None:
                continue
            others = [p[i] for other, p in seen.items() if kind(other) != kind(name)]
            rest = [p for p in others if p is not None]
            if rest:
                mean = np.mean(rest, 0)
                far.append(np.linalg.norm(points - mean, axis=1) / between_eyes(mean))
            x, y, width, turn = frame(points)
            frames.append((x / side - 0.5, y / side - 0.5, width / side - 1, turn))
        eyes, mouth = np.mean(far, 0)[:2].mean(), np.mean(far, 0)[2:].mean()
        means, spreads = np.mean(frames, 0), np.std(frames, 0)
        told = [f"{m:+.2%} ({s:.2%})" for m, s in zip(means[:3], spreads[:3], strict=True)]
        yield [name, f"{eyes:.3f}", f"{mouth:.3f}", *told, f"{means[3]:+.1f} ({spreads[3]:.1f})"]


def kind(name: str) -> str:
    """What makes the points: those of one kind are no witnesses of each other."""
    return "MTCNN" if name == "MTCNN, upright" else name.rpartition(", ")[2]


def alarm_rows(ways: dict[str, Finder]) -> Iterator[list[str]]:
    from skimage import data

    for name in (*FACELESS, "astronaut"):
        loaded = getattr(data, name)()
        picture = np.asarray(loaded[0] if isinstance(loaded, tuple) else loaded)
        if picture.ndim == 2:
            picture = np.stack([picture] * 3, 2)
        if picture.dtype != np.uint8:
            picture = (picture * 255).astype(np.uint8)
        picture = np.ascontiguousarray(picture[..., :3])
        yield [name, *(str(len(find(picture))) for find in ways.values())]


def times(pictures: list[Picture], ways: dict[str, Finder], rounds: int) -> dict[str, float]:
    """Seconds a picture: the least of some rounds, each finder in turn."""
    best = dict.fromkeys(ways, math.inf)
    for _ in range(rounds):
        for name, find in ways.items():
            start = time.perf_counter()
            for picture in pictures:
                find(picture)
            best[name] = min(best[name], (time.perf_counter() - start) / len(pictures))
    return best


def show(headings: list[str], rows: Iterator[list[str]]) -> None:
    click.echo(text_table([dict(zip(headings, row, strict=True)) for row in rows]) + "\n")


@click.command(help=__doc__)
@click.argument("faces", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--changed", default=12, help="Pictures that are changed in every way.")
@click.option("--dlib-models", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(faces: Path, changed: int, dlib_models: Path | None) -> None:
    torch.set_num_threads(1)
    pictures = [Image.open(path).convert("RGB") for path in sorted(faces.glob("*.png"))]
    timed = finders(dlib_models)
    ways = finders(dlib_models, share=memorised)
    seen = plain(pictures, ways)
    headings = ["finder", "eyes", "mouth", "across", "down", "side", "turn"]
    show(headings, agreement_rows(seen, pictures[0].width))
    truths = [np.mean([p[i] for p in seen.values() if p[i] is not None], 0) for i in range(changed)]
    rows = changed_rows(pictures[:changed], ways, seen, truths)
    show(["found, drift, more", *ways], rows)
    show(["faces found", *ways], alarm_rows(ways))
    sample = [CASES[0].apply(picture) for picture in pictures[:4]]
    taken = times(sample, timed, 3)
    rows = ([name, f"{s:.3f}", f"{s / taken['MTCNN']:.2f}"] for name, s in taken.items())
    show([f"{CANVAS[0]} x {CANVAS[1]}", "seconds", "by MTCNN's"], rows)


if __name__ == "__main__":
    main()
