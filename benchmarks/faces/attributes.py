"""Readers of what is seen in generated faces, checked against labels: `python
benchmarks/faces/attributes.py table`.

From pictures of the bundle `faces` it reads the attributes of `ATTRIBUTES`. An age is the years of
face-api's network; all else are probes: linear readouts, one of each value against the others, by
ridge regression on features of networks that are fetched (LPIPS's AlexNet of the whole picture, of
the top of the head, of the eyes and of the mouth; the last features of face-api's networks; the
landmarks of another of these) or on the colours of the upper corners. Readings are probabilities:
years have a spread, scores of probes are calibrated on pictures that these did not see. `fit`
learns them from `probe_labels.csv` and writes `probes.npz`; `table` says how they agree with
`labels.csv` and `rare_labels.csv`, of which they learnt nothing.

Both render the seeds that lack a picture in the folder `--pictures`, of some 960 in all.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from styleatlas.engine.checkpoints.face_api_file import read_face_api
from styleatlas.engine.models.face_readers import AgeGenderReader, cropped
from styleatlas.engine.models.load import load_generator
from styleatlas.engine.models.perceptual import load_perceptual
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.networks.face_api import AgeGenderNetwork, DenseNetwork
from styleatlas.store.records import text_table
from styleatlas.store.weights import fetched_file

HERE = Path(__file__).parent
SIDE = 256
"""Of the pictures that are read, in pixels; others are brought to it first."""
CPU = torch.device("cpu")
RIDGE = 0.3
"""Of features whose mean square length is 1."""
FOLDS = 8
AGES = (13, 36, 60)
"""Years from which on a child is young, then middle-aged, then old."""
SPREAD = 5
"""Standard deviation of the years that are read."""
CHECKS = ("labels.csv", "rare_labels.csv")
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # AlexNet's, as LPIPS has them

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Attribute:
    """A column of the labels, of which `values` count; `merged` are further labels taken for one of
    these. Read from the features of `groups`; by none, from the years."""

    column: str
    values: tuple[str, ...]
    groups: tuple[str, ...]
    merged: Mapping[str, str] = field(default_factory=dict)

    def labels(self, rows: Sequence[Mapping[str, str]]) -> NDArray[np.int64]:
        """The numbers of the values, -1 for a label that does not count, (n,)."""
        seen = (self.merged.get(row[self.column], row[self.column]) for row in rows)
        return np.array([self.values.index(x) if x in self.values else -1 for x in seen])


def _hair(colour: str) -> Attribute:
    others = {x: "other" for x in ("black", "brown", "blond", "red", "grey") if x != colour}
    return Attribute("hair", (colour, "other"), ("whole", "top"), others)


_DARKER = {"medium": "darker", "dark": "darker"}

ATTRIBUTES: dict[str, Attribute] = {
    "smile": Attribute("smile", ("smiling", "not"), ("face", "mouth")),
    "mouth": Attribute("mouth", ("open", "closed"), ("face", "mouth")),
    "glasses": Attribute("glasses", ("none", "glasses", "sunglasses"), ("eyes",)),
    "gender": Attribute("gender", ("man", "woman"), ("face", "whole")),
    "age": Attribute("age", ("child", "young", "middle", "old"), ()),
    "length": Attribute("length", ("short", "long"), ("whole",), {"shaved": "short"}),
    "black hair": _hair("black"),
    "brown hair": _hair("brown"),
    "blond hair": _hair("blond"),
    "red hair": _hair("red"),
    "grey hair": _hair("grey"),
    "hat": Attribute("hat", ("yes", "no"), ("whole",)),
    "bald": Attribute("bald", ("yes", "no"), ("top",)),
    "eyes": Attribute("eyes", ("open", "closed"), ("eyes",)),
    "facial hair": Attribute("facial_hair", ("none", "stubble", "beard"), ("mouth",)),
    "beard": Attribute("facial_hair", ("beard", "none"), ("mouth",)),
    "skin": Attribute("skin", ("light", "darker"), ("whole", "eyes"), _DARKER),
    "lips": Attribute("lips", ("red", "plain"), ("mouth",)),
    "fringe": Attribute("fringe", ("yes", "no"), ("whole",)),
    "earrings": Attribute("earrings", ("yes", "no"), ("whole",)),
    "turn": Attribute("turn", ("left", "front", "right"), ("jaw",)),
    "brightness": Attribute("brightness", ("dark", "middle", "bright"), ("corners",)),
    "backdrop": Attribute("backdrop", ("grey", "green", "blue", "brown"), ("whole",)),
}

ENTERED = (
    "smile", "mouth", "glasses", "gender", "age", "length", "black hair", "blond hair", "red hair",
    "grey hair", "hat", "bald", "eyes", "facial hair", "beard", "skin", "lips", "fringe", "turn",
    "backdrop",
)  # fmt: skip
"""Those which agree with nine labels of ten, and oftener than the commonest value would."""


class Features:
    """What probes read, by groups of features; the networks are fetched ones."""

    def __init__(self) -> None:
        self._alex = load_perceptual(["alex"], CPU).network.features
        file = functools.partial(fetched_file, "face-api")
        dense, _ = read_face_api(file("face_expression_model.bin"), DenseNetwork(7))
        self._marks, _ = read_face_api(file("face_landmark_68_model.bin"), DenseNetwork(136))
        ages, _ = read_face_api(file("age_gender_model.bin"), AgeGenderNetwork())
        dense.fc = nn.Identity()  # type: ignore[assignment]
        ages.fc = nn.ModuleDict({"age": nn.Identity(), "gender": nn.Identity()})
        self._dense, self._ages = dense, ages
        self._years = AgeGenderReader(file("age_gender_model.bin"), CPU)

    @torch.inference_mode()
    def of(self, images: Tensor) -> dict[str, list[Array]]:
        """Images (n, 3, 256, 256) in [-1, 1] -> for each group its blocks, (n, d) each."""
        eyes = enlarged(images, (0.36, 0.60, 0.20, 0.80), (96, 240))
        mouth = enlarged(images, (0.60, 0.92, 0.25, 0.75), (128, 200))
        top = enlarged(images, (0.00, 0.45, 0.10, 0.90), (112, 200))
        crops = cropped(images)
        return {
            "whole": self._alexnet(images, (4, 7, 11), (4, 4)),
            "eyes": self._alexnet(eyes, (7, 11), (3, 8)),
            "mouth": self._alexnet(mouth, (7, 11), (5, 8)),
            "top": self._alexnet(top, (1, 4, 7, 11), (3, 5)),
            "face": [self._dense(crops).numpy(), self._ages(crops)[0].numpy()],
            "years": [self._years.read(images)["age"].numpy()],
            "corners": [squared(_corners(images))],
            "jaw": [squared(_turns(self._marks(crops)))],
        }

    def _alexnet(self, x: Tensor, layers: tuple[int, ...], grid: tuple[int, int]) -> list[Array]:
        """Unit features of those layers, their means over a grid."""
        shift, scale = (x.new_tensor(v)[:, None, None] for v in (_SHIFT, _SCALE))
        x, blocks = (x - shift) / scale, []
        for number, layer in enumerate(self._alex):
            x = layer(x)
            if number in layers:
                blocks.append(F.adaptive_avg_pool2d(F.normalize(x, dim=1), grid).flatten(1).numpy())
        return blocks


def enlarged(images: Tensor, part: tuple[float, ...], size: tuple[int, int]) -> Tensor:
    top, bottom, left, right = (round(x * SIDE) for x in part)
    window = images[:, :, top:bottom, left:right]
    return F.interpolate(window, size, mode="bilinear", align_corners=False)


def _turns(marks: Tensor) -> Array:
    """Of 68 landmarks, x and y by turns (n, 136): how far the tip and the foot of the nose are
    right of the middle of the jaw at their height, in widths of the jaw, times 4; (n, 2)."""
    x = marks[:, ::2]
    left, nose, right = (x[:, points] for points in ([2, 4], [30, 33], [14, 12]))
    turned: Array = (2 * (2 * nose - left - right) / (right - left).clamp(min=0.1)).numpy()
    return turned


def _corners(images: Tensor) -> Array:
    """Of four regions in the upper corners lightness, colour, unevenness and saturation."""
    x, read = F.adaptive_avg_pool2d(images, 32) / 2 + 0.5, []
    for rows, wide in ((10, 4), (3, 8)):
        for columns in (slice(wide), slice(-wide, None)):
            part = x[:, :, :rows, columns]
            colour = part.mean((2, 3))
            light = colour.mean(1, keepdim=True)
            uneven = part.mean(1).flatten(1).std(1, keepdim=True)
            saturation = (part.amax(1) - part.amin(1)).flatten(1).mean(1, keepdim=True)
            read += [4 * (light - 0.5), 12 * (colour - light), 16 * uneven, 8 * saturation]
    return torch.cat(read, 1).numpy()


def squared(x: Array) -> Array:
    """x (n, d), some 1 in size, and its products."""
    i, j = np.triu_indices(x.shape[1])
    return np.concatenate([x, x[:, i] * x[:, j]], 1)


def joined(features: Mapping[str, list[Array]], groups: Sequence[str]) -> Array:
    return np.concatenate([block for group in groups for block in features[group]], 1)


def solved(blocks: Sequence[Array], y: NDArray[np.int64], values: int) -> tuple[Array, Array]:
    """Weights and bias of ridge regression to 1 for a value and -1 for the others, each value
    counting alike; blocks (n, d) are brought to the same mean square length first."""
    means = [block.mean(0) for block in blocks]
    scales = [
        float(np.sqrt(len(blocks) * np.square(b - m).sum(1).mean()))
        for b, m in zip(blocks, means, strict=True)
    ]
    x = np.concatenate([(b - m) / s for b, m, s in zip(blocks, means, scales, strict=True)], 1)
    x = x.astype(np.float64)
    inverse = np.bincount(y, minlength=values)[y] * values / len(y)
    n = len(y)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = x @ x.T + RIDGE * np.diag(inverse)
    system[n, n] = 0
    goal = np.where(y[:, None] == np.arange(values), 1.0, -1.0)
    found = np.linalg.solve(system, np.concatenate([goal, np.zeros((1, values))]))
    spread = np.concatenate([np.full(len(m), s) for m, s in zip(means, scales, strict=True)])
    weights = (x.T @ found[:n] / spread[:, None]).astype(np.float16).astype(np.float32)
    return weights, (found[n] - np.concatenate(means) @ weights).astype(np.float32)


def unseen_scores(blocks: Sequence[Array], y: NDArray[np.int64], values: int) -> Array:
    """Scores (n, values) by probes that did not see the picture's fold."""
    fold = np.random.default_rng(0).permutation(len(y)) % FOLDS
    scores = np.zeros((len(y), values), np.float32)
    for i in range(FOLDS):
        weights, bias = solved([b[fold != i] for b in blocks], y[fold != i], values)
        scores[fold == i] = np.concatenate([b[fold == i] for b in blocks], 1) @ weights + bias
    return scores


def calibrated(scores: Array, y: NDArray[np.int64]) -> tuple[float, Array]:
    """The scale and the offsets (values,) by which scores (n, values) become logits: those of the
    greatest likelihood, as if one picture more of each value had been scored 0."""
    count = scores.shape[1]
    x = torch.from_numpy(np.concatenate([scores, np.zeros((count, count), np.float32)])).double()
    goal = torch.from_numpy(np.concatenate([y, np.arange(count)]))
    scale = torch.ones((), dtype=x.dtype, requires_grad=True)
    offsets = torch.zeros(count, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale, offsets], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = F.cross_entropy(scale * x + offsets, goal)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimizer.step(loss)
    found: Array = offsets.detach().float().numpy()
    return scale.item(), found


def softmax(logits: Array) -> Array:
    powers: Array = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def age_groups(years: Array) -> Array:
    """How likely are the values of "age", (n, 4), by the years read (n,)."""
    below = torch.special.ndtr((torch.tensor(AGES) - torch.from_numpy(years)[:, None]) / SPREAD)
    edges = F.pad(F.pad(below, (1, 0)), (0, 1), value=1)
    likely: Array = edges.diff(dim=1).numpy()
    return likely


class Attributes:
    """The reader: networks loaded once, probes from `probes.npz`."""

    def __init__(self) -> None:
        self._features = Features()
        with np.load(HERE / "probes.npz", allow_pickle=False) as file:
            self._probes = {name: file[name].astype(np.float32) for name in file.files}

    def read(self, images: Tensor) -> dict[str, Array]:
        """Images (n, 3, H, H) in [-1, 1] -> for each of `ATTRIBUTES` how likely its values are,
        (n, values)."""
        small = F.adaptive_avg_pool2d(images.float().clamp(-1, 1), SIDE)
        return self.read_features(self._features.of(small))

    def read_features(self, features: Mapping[str, list[Array]]) -> dict[str, Array]:
        read = {"age": age_groups(features["years"][0][:, 0])}
        for name, attribute in ATTRIBUTES.items():
            if attribute.groups:
                weights, bias = self._probes[f"{name}.weights"], self._probes[f"{name}.bias"]
                read[name] = softmax(joined(features, attribute.groups) @ weights + bias)
        return {name: read[name] for name in ATTRIBUTES}


def labelled(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def features_of(rows: Sequence[Mapping[str, str]], folder: Path) -> dict[str, list[Array]]:
    """Of the rows' pictures; see `pictures_of`."""
    reader = Features()
    parts = [reader.of(images) for images in pictures_of(rows, folder, 20)]
    return {
        group: [np.concatenate(blocks) for blocks in zip(*(p[group] for p in parts), strict=True)]
        for group in parts[0]
    }


def pictures_of(rows: Sequence[Mapping[str, str]], folder: Path, batch: int) -> Iterator[Tensor]:
    """The rows' pictures, (batch, 3, 256, 256) in [-1, 1]: `SEED.png` in the folder, where those
    that are missing are put."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [row for row in rows if not _picture(folder, row).exists()]
    if missing:
        generator = load_generator("faces", "cpu")
        for row in missing:
            with torch.inference_mode():
                styles = styles_from_seeds(generator, [int(row["seed"])], float(row["psi"]))
                image = F.adaptive_avg_pool2d(generator.render(styles).clamp(-1, 1), SIDE)[0]
            pixels = ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(_picture(folder, row))
    for start in range(0, len(rows), batch):
        some = rows[start : start + batch]
        pictures = np.stack([np.array(Image.open(_picture(folder, row))) for row in some])
        yield torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def _picture(folder: Path, row: Mapping[str, str]) -> Path:
    return folder / f"{int(row['seed']):06d}.png"


def agreement(y: NDArray[np.int64], read: NDArray[np.int64]) -> tuple[float, float]:
    """The share that agrees, and its mean over the values."""
    if not len(y):
        return float("nan"), float("nan")
    return float((y == read).mean()), float(np.mean([(read[y == v] == v).mean() for v in set(y)]))


@click.group(help=__doc__)
def main() -> None:
    torch.set_num_threads(1)


pictures_option = click.option(
    "--pictures", type=click.Path(file_okay=False, path_type=Path), required=True
)


@main.command(help="Learn the probes from probe_labels.csv.")
@pictures_option
def fit(pictures: Path) -> None:
    rows = labelled(HERE / "probe_labels.csv")
    features = features_of(rows, pictures)
    learnt: dict[str, NDArray[np.generic]] = {}
    table: list[dict[str, object]] = []
    for name, attribute in ATTRIBUTES.items():
        if not attribute.groups:
            continue
        y, count = attribute.labels(rows), len(attribute.values)
        blocks = [block[y >= 0] for group in attribute.groups for block in features[group]]
        y = y[y >= 0]
        weights, bias = solved(blocks, y, count)
        scores = unseen_scores(blocks, y, count)
        scale, offsets = calibrated(scores, y)
        learnt[f"{name}.weights"] = (scale * weights).astype(np.float16)
        learnt[f"{name}.bias"] = scale * bias + offsets
        agrees, balanced = agreement(y, (scale * scores + offsets).argmax(1))
        table.append({"attribute": name, "labels": len(y), "agrees": f"{agrees:.3f}",
                      "balanced": f"{balanced:.3f}"})  # fmt: skip
    np.savez_compressed(HERE / "probes.npz", **learnt)
    click.echo(text_table(table))


@main.command(help="How readings agree with the labels of which the probes learnt nothing.")
@pictures_option
@click.option("--wrong", is_flag=True, help="Name the seeds where they do not.")
def table(pictures: Path, wrong: bool) -> None:
    rows = [row for name in CHECKS for row in labelled(HERE / name)]
    read = Attributes().read_features(features_of(rows, pictures))
    seeds = np.array([int(row["seed"]) for row in rows])
    lines: list[dict[str, object]] = []
    for name, attribute in ATTRIBUTES.items():
        y = attribute.labels(rows)
        known = y >= 0
        values, likely = read[name].argmax(1), read[name].max(1)
        counts = Counter(attribute.values[i] for i in y[known])
        agrees, balanced = agreement(y[known], values[known])
        lines.append(
            {
                "attribute": name,
                "labels": ", ".join(f"{v} {counts[v]}" for v in attribute.values),
                "commonest": f"{max(counts.values()) / known.sum():.3f}",
                "agrees": f"{agrees:.3f}",
                "foretold": f"{likely[known].mean():.3f}",
                "balanced": f"{balanced:.3f}",
                "right of said": ", ".join(
                    f"{value} {(said & (y == i)).sum()}/{said.sum()}"
                    for i, value in enumerate(attribute.values)
                    for said in [known & (values == i)]
                ),
                "enters": "yes" if name in ENTERED else "",
            }
        )
        if wrong:
            unlike = [
                f"{seed} {attribute.values[v]} {p:.2f} (label {attribute.values[t]})"
                for seed, v, p, t in zip(seeds, values, likely, y, strict=True)
                if t >= 0 and v != t
            ]
            click.echo(f"{name}: " + ", ".join(unlike))
    click.echo(text_table(lines))


if __name__ == "__main__":
    main()
