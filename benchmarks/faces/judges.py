"""Judges of edited faces that had no part in steering them: `python benchmarks/faces/judges.py
table`.

What the joint encoder of faces learnt came from LPIPS's AlexNet and face-api's expression, age and
gender (`attributes.py`), and heads' turns from face-api's 68 landmarks. Whoever judges edits that
it steers reads other networks: VGG16, as LPIPS has it, of the whole picture, of the eyes and of the
mouth; dlib's, which tells people apart; of smiles, mouths and eyes the landmarks, too.

`fit` learns probes on these from `probe_labels.csv` and writes `judges.npz`; `table` says how they
agree with `labels.csv` and `rare_labels.csv`, of which they learnt nothing. Both render the seeds
that lack a picture in the folder `--pictures`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from attributes import (
    ATTRIBUTES,
    CPU,
    Array,
    Attribute,
    agreement,
    enlarged,
    joined,
    labelled,
    pictures_of,
    pictures_option,
    solved,
    squared,
    unseen_scores,
)
from numpy.typing import NDArray
from torch import Tensor

from styleatlas.engine.checkpoints.face_api_file import read_face_api
from styleatlas.engine.models.face_readers import LEFT, RIGHT, TOP, cropped
from styleatlas.engine.models.identity import crop_chips, load_dlib
from styleatlas.engine.models.perceptual import load_perceptual
from styleatlas.engine.networks.dlib_resnet import MEAN
from styleatlas.engine.networks.face_api import DenseNetwork
from styleatlas.store.records import text_table
from styleatlas.store.weights import fetched_file

HERE = Path(__file__).parent
FILE = HERE / "judges.npz"
BATCH = 16
SEEN = 128
"""The side in pixels at which VGG16 sees the whole picture."""
FEWEST = 6
"""Labels of each value from which on a probe is learnt."""
YEARS = {"child": 7.0, "young": 25.0, "middle": 47.0, "old": 68.0}
"""What the bands of age count for, about their middles."""
MIRRORED = {"left": "right", "right": "left"}
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # VGG16's, as LPIPS has them

DAMAGE = ("means", "basis", "deviations")
COMPONENTS = 32
"""Of the features of damage."""
USUAL = 95.0
"""Percent of unedited pictures that are no further from the others than the limit of damage."""


def _judged() -> dict[str, Attribute]:
    groups = {
        "smile": ("mouth", "shape"),
        "mouth": ("mouth", "shape", "geometry"),
        "eyes": ("eyes", "shape", "geometry"),
        "glasses": ("eyes",),
        "gender": ("whole", "person"),
        "age": ("whole", "person"),
        "length": ("whole",),
        "black hair": ("close",),
        "blond hair": ("close",),
        "red hair": ("close",),
        "grey hair": ("close",),
        "hat": ("whole",),
        "bald": ("whole",),
        "beard": ("mouth",),
        "skin": ("whole", "person"),
        "lips": ("mouth",),
        "fringe": ("whole",),
        "turn": ("whole", "eyes"),
        "backdrop": ("close",),
        "mood": ("mouth", "eyes", "shape"),
    }
    known = {
        "mood": Attribute("mood", ("neutral", "happy", "sad", "angry", "surprised"), ()),
        **ATTRIBUTES,
    }
    return {name: replace(known[name], groups=found) for name, found in groups.items()}


JUDGED = _judged()
"""Attributes, each with the groups of features that it is read from. Of brown hair, earrings and
brightness these tell less than nine of ten."""


class JudgeFeatures:
    """What judges read, by groups of features; the networks are fetched ones."""

    def __init__(self) -> None:
        self._vgg = load_perceptual(["vgg"], CPU).network.features
        self._dlib = load_dlib(CPU).network
        path = fetched_file("face-api", "face_landmark_68_model.bin")
        self._points, _ = read_face_api(path, DenseNetwork(2 * 68))

    @torch.inference_mode()
    def of(self, images: Tensor) -> dict[str, list[Array]]:
        """Images (n, 3, 256, 256) in [-1, 1] -> for each group its blocks, (n, d) each. Besides
        those of `JUDGED`: `identity`, dlib's 128 numbers; `points`, x and y of the 68 landmarks as
        shares of the image's side, (n, 136); `damage`, what no judge reads."""
        small = F.interpolate(
            images, (SEEN, SEEN), mode="bilinear", antialias=True, align_corners=False
        )
        whole = self._vgg16(small)
        eyes = self._vgg16(enlarged(images, (0.36, 0.60, 0.20, 0.80), (64, 160)))
        mouth = self._vgg16(enlarged(images, (0.60, 0.92, 0.25, 0.75), (80, 128)))
        identity, inner, deep = self._people(images)
        corner = torch.tensor([LEFT, TOP])
        points = self._points(cropped(images)).reshape(-1, 68, 2) * (RIGHT - LEFT) + corner
        shape = framed(points.numpy())
        return {
            "whole": [_pooled(whole[i], (3, 3)) for i in (22, 29)],
            "close": [_pooled(whole[i], (4, 4)) for i in (15, 22)],
            "eyes": [_pooled(eyes[i], (2, 6)) for i in (22, 29)],
            "mouth": [_pooled(mouth[i], (3, 4)) for i in (22, 29)],
            "person": [identity, deep],
            "shape": [3 * shape.reshape(len(shape), -1)],
            "geometry": [squared(geometry(shape))],
            "identity": [identity],
            "points": [points.reshape(len(points), -1).numpy()],
            "damage": [*(_moments(whole[i]) for i in (3, 8)), inner],
        }

    def _vgg16(self, x: Tensor) -> dict[int, Tensor]:
        """Features by the layers of VGG16 after which they are seen."""
        shift, scale = (x.new_tensor(v)[:, None, None] for v in (_SHIFT, _SCALE))
        x, found = ((x - shift) / scale).contiguous(memory_format=torch.channels_last), {}
        for number, layer in enumerate(self._vgg):
            x = layer(x)
            if number in (3, 8, 15, 22, 29):
                found[number] = x
        return found

    def _people(self, images: Tensor) -> tuple[Array, Array, Array]:
        """Of dlib's network its result (n, 128), and features from its middle (n, 512) and from
        near its end (n, 1024)."""
        chips, network = crop_chips(images), self._dlib
        x = ((chips + 1) * 127.5 - chips.new_tensor(MEAN)[:, None, None]) / 255
        x, seen = F.max_pool2d(network.conv32_down(x).relu(), 3, 2), {}
        for name, unit in network.units.items():
            seen[name] = x = unit(x)
        middle, end = (
            F.adaptive_avg_pool2d(seen[name], 2).flatten(1).numpy()
            for name in ("conv128_2", "conv256_2")
        )
        return (x.mean((2, 3)) @ network.fc).numpy(), middle, end


def _pooled(x: Tensor, grid: tuple[int, int]) -> Array:
    return F.adaptive_avg_pool2d(F.normalize(x, dim=1), grid).flatten(1).numpy()


def _moments(x: Tensor) -> Array:
    """Mean and standard deviation of every channel."""
    return torch.cat([x.mean((2, 3)), x.std((2, 3))], 1).numpy()


def framed(points: Array) -> Array:
    """Landmarks (n, 68, 2) from the middle of the eyes, in distances of the eyes."""
    left, right = points[:, 36:42].mean(1), points[:, 42:48].mean(1)
    between = np.linalg.norm(right - left, axis=1)[:, None, None]
    return (points - (left + right)[:, None] / 2) / between


def geometry(shape: Array) -> Array:
    """Eight numbers, some 1 in size, of landmarks as `framed` gives them, (n, 68, 2): how open the
    mouth and the eyes are (the latter as Soukupova and Cech 2016 have it), the mouth's width, how
    far its corners are raised; where the tip of the nose is to the eyes, to the mouth and to the
    cheeks, as the head turns; how high the brows are."""

    def apart(a: int, b: int) -> Array:
        return np.linalg.norm(shape[:, a] - shape[:, b], axis=1)

    def open_eye(i: int) -> Array:
        return (apart(i + 1, i + 5) + apart(i + 2, i + 4)) / (2 * apart(i, i + 3))

    x, y = shape[..., 0], shape[..., 1]
    wide, nose = apart(48, 54), x[:, 30]
    found = [
        4 * apart(62, 66) / wide - 0.5,
        6 * (open_eye(36) + open_eye(42)) / 2 - 1.7,
        6 * (wide - 0.9),
        8 * (y[:, [51, 57]].mean(1) - y[:, [48, 54]].mean(1)),
        5 * nose,
        5 * (nose - x[:, [48, 54]].mean(1)),
        4 * ((nose - x[:, 0]) / (x[:, 16] - x[:, 0]) - 0.5),
        5 * (y[:, 17:27].mean(1) + 0.35),
    ]
    return np.stack(found, 1).astype(np.float32)


@dataclass(frozen=True)
class Usual:
    """How far a picture is from unedited ones: the root of the mean square of its features' main
    components, each by its own deviation, and of what is left of them, by one (the likelihood of
    probabilistic PCA, Tipping and Bishop 1999)."""

    means: Array  # (d,)
    basis: Array  # (d, COMPONENTS)
    deviations: Array  # (COMPONENTS + 1,), the last of the rest, its root mean square length
    limit: float

    def distance(self, x: Array) -> Array:
        """(n, d) -> (n,), some 1 for unedited pictures."""
        around = x - self.means
        main = around @ self.basis
        rest = np.sqrt(np.maximum(np.square(around).sum(1) - np.square(main).sum(1), 0))
        parts = np.concatenate([main, rest[:, None]], 1) / self.deviations
        # What is left counts for half.
        found = (np.square(parts[:, :-1]).mean(1) + np.square(parts[:, -1])) / 2
        return np.sqrt(found).astype(np.float32)


def usual(x: Array) -> Usual:
    """What unedited pictures (n, d) are like; the limit, by pictures that were left out."""
    fold, unseen = np.random.default_rng(0).permutation(len(x)) % 4, np.zeros(len(x), np.float32)
    for i in range(4):
        unseen[fold == i] = _fitted(x[fold != i]).distance(x[fold == i])
    return replace(_fitted(x), limit=float(np.percentile(unseen, USUAL)))


def _fitted(x: Array) -> Usual:
    means = x.mean(0)
    _, _, rows = np.linalg.svd((x - means).astype(np.float64), full_matrices=False)
    basis = rows[:COMPONENTS].T.astype(np.float16).astype(np.float32)
    main = (x - means) @ basis
    rest = np.square(x - means).sum(1) - np.square(main).sum(1)
    deviations = np.append(main.std(0), np.sqrt(rest.mean()))
    return Usual(means.astype(np.float32), basis, deviations.astype(np.float32), np.inf)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is read of n pictures.

    Args:
        values: for each attribute the numbers of its values, (n,).
        years: by the bands of age, see `YEARS`.
        male: 1 for a man, 0 for a woman, about.
        identity: dlib's, (n, 128).
        points: the landmarks as shares of the image's side, (n, 68, 2).
        damage: see `Usual`.
    """

    values: dict[str, NDArray[np.int64]]
    years: Array
    male: Array
    identity: Array
    points: Array
    damage: Array


class Judges:
    """The judges: networks loaded once, probes from `judges.npz`.

    Attributes:
        attributes: what they read, each with its values.
        limit: of damage, beyond which 5 of 100 unedited pictures are.
    """

    def __init__(self) -> None:
        self._features = JudgeFeatures()
        self._probes: dict[str, tuple[Array, Array]] = {}
        with np.load(FILE, allow_pickle=False) as file:
            for name in JUDGED:
                if f"{name}.weights" in file:
                    weights, bias = file[f"{name}.weights"].astype(np.float32), file[f"{name}.bias"]
                    self._probes[name] = both(weights, bias)
            parts = (file[f"damage.{part}"].astype(np.float32) for part in DAMAGE)
            self._usual = Usual(*parts, float(file["damage.limit"]))
            self._scales = file["damage.scales"]
        self.attributes = {name: JUDGED[name].values for name in self._probes}
        self.limit = self._usual.limit

    def read(self, images: Tensor) -> Judgement:
        """Images (n, 3, 256, 256) in [-1, 1]."""
        return self.read_features(self._features.of(images))

    def read_features(self, features: Mapping[str, list[Array]]) -> Judgement:
        scores = {
            name: joined(features, JUDGED[name].groups) @ weights + bias
            for name, (weights, bias) in self._probes.items()
        }
        # Ridge regression is linear in its goals: this is the one to years.
        years = (scores["age"] + 1) / 2 @ np.array([YEARS[band] for band in JUDGED["age"].values])
        return Judgement(
            {name: score.argmax(1) for name, score in scores.items()},
            years.astype(np.float32),
            ((scores["gender"][:, 0] + 1) / 2).clip(0, 1),
            features["identity"][0],
            features["points"][0].reshape(-1, 68, 2),
            self._usual.distance(scaled(features["damage"], self._scales)),
        )


def scaled(blocks: Sequence[Array], scales: Array) -> Array:
    return np.concatenate([b / s for b, s in zip(blocks, scales, strict=True)], 1)


def both(weights: Array, bias: Array) -> tuple[Array, Array]:
    """Of two values, of which the file holds the first, both: by ridge regression to 1 and -1 each
    is the other's opposite."""
    if weights.shape[1] > 1:
        return weights, bias
    return np.concatenate([weights, -weights], 1), np.concatenate([bias, -bias])


def learnable(name: str, rows: Sequence[Mapping[str, str]]) -> bool:
    """Whether each value of an attribute has `FEWEST` labels."""
    counts = Counter(JUDGED[name].labels(rows).tolist())
    return all(counts[i] >= FEWEST for i in range(len(JUDGED[name].values)))


def rows_of(names: Sequence[str]) -> list[dict[str, str]]:
    """The rows of files of labels, where they are there; what a file does not tell is `?`."""
    rows = [row for name in names if (HERE / name).is_file() for row in labelled(HERE / name)]
    columns = {column: "?" for row in rows for column in row}
    columns |= {attribute.column: "?" for attribute in JUDGED.values()}
    return [columns | row for row in rows]


def features_of(rows: Sequence[Mapping[str, str]], folder: Path) -> dict[str, list[Array]]:
    reader = JudgeFeatures()
    parts = [reader.of(images) for images in pictures_of(rows, folder, BATCH)]
    return {
        group: [np.concatenate(blocks) for blocks in zip(*(p[group] for p in parts), strict=True)]
        for group in parts[0]
    }


@click.group(help=__doc__)
def main() -> None:
    torch.set_num_threads(1)


@main.command(help="Learn the probes, and what unedited pictures are like.")
@pictures_option
def fit(pictures: Path) -> None:
    rows = rows_of(["probe_labels.csv"])
    features = features_of(rows, pictures)
    learnt: dict[str, NDArray[np.generic]] = {}
    lines: list[dict[str, object]] = []
    for name, attribute in JUDGED.items():
        if not learnable(name, rows):
            lines.append({"attribute": name, "labels": None, "agrees": None, "balanced": None})
            continue
        y, count = attribute.labels(rows), len(attribute.values)
        blocks = [block[y >= 0] for group in attribute.groups for block in features[group]]
        y = y[y >= 0]
        weights, bias = solved(blocks, y, count)
        columns = 1 if count == 2 else count
        learnt[f"{name}.weights"] = weights[:, :columns].astype(np.float16)
        learnt[f"{name}.bias"] = bias[:columns]
        agrees, balanced = agreement(y, unseen_scores(blocks, y, count).argmax(1))
        lines.append({"attribute": name, "labels": len(y), "agrees": agrees, "balanced": balanced})
    scales = np.array([np.sqrt(b.var(0).sum()) for b in features["damage"]], np.float32)
    found = usual(scaled(features["damage"], scales))
    learnt |= {f"damage.{part}": getattr(found, part).astype(np.float16) for part in DAMAGE}
    learnt |= {"damage.scales": scales, "damage.limit": np.array(found.limit, np.float32)}
    np.savez_compressed(FILE, **learnt)
    click.echo(text_table(lines))


@main.command(help="How judges agree with labels of which they learnt nothing.")
@pictures_option
def table(pictures: Path) -> None:
    rows, judges = rows_of(["labels.csv", "rare_labels.csv"]), Judges()
    read = judges.read_features(features_of(rows, pictures))
    lines: list[dict[str, object]] = []
    for name, values in judges.attributes.items():
        y = JUDGED[name].labels(rows)
        known = y >= 0
        counts = Counter(values[i] for i in y[known])
        agrees, balanced = agreement(y[known], read.values[name][known])
        lines.append(
            {
                "attribute": name,
                "labels": ", ".join(f"{v} {counts[v]}" for v in values),
                "commonest": max(counts.values(), default=0) / max(int(known.sum()), 1),
                "agrees": agrees,
                "balanced": balanced,
                "right of said": ", ".join(
                    f"{value} {(said & (y == i)).sum()}/{said.sum()}"
                    for i, value in enumerate(values)
                    for said in [known & (read.values[name] == i)]
                ),
            }
        )
    click.echo(text_table(lines))
    age = JUDGED["age"].labels(rows)
    for i, band in enumerate(JUDGED["age"].values):
        years = read.years[age == i]
        click.echo(f"{band}: {years.mean():.1f} years on average ({years.std():.1f})")
    for psi in ("0.7", "1.0"):
        at = read.damage[[float(row["psi"]) == float(psi) for row in rows]]
        beyond = 100 * (at > judges.limit).mean()
        click.echo(f"psi {psi}: damage {at.mean():.2f}, {beyond:.0f} % beyond {judges.limit:.2f}")


if __name__ == "__main__":
    main()
