"""An atlas of a table that another program drew.

Such a table is rows alone: how alike images were in them and how far they went is not in the file,
nor is which generator, CLIP, psi or seeds it was drawn with. What can be measured of that is
measured; the rest the atlas calls unknown.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.checkpoints.table_file import StyleStatistics, read_statistics, read_table
from ..engine.models.protocols import Generator, JointEncoder
from ..engine.models.tuned import varying
from ..store.atlas import Atlas
from ..store.bank import PromptBank
from ..store.errors import FingerprintError, InputError
from ..store.fingerprint import IMPORTED, Fingerprint, view_of
from ..store.layout import Layer, StyleLayout
from ..store.version import LIBRARY
from .blocks import Models, Setup
from .probes import Probes
from .relevance import swept_table
from .statistics import image_styles, style_statistics
from .sweep import SweepBlock

CHANNELS, IMAGES = 24, 4
"""How many channels are measured anew, on how many images, to compare the rows with."""
BELONGS = 0.1
"""By how much the rows' cosines with those measured exceed other channels' where they belong."""
_LATENTS = 10_000
_PSI = 0.7  # of statistics that no file gives, as StyleCLIP draws them
_FOREIGN = 0.5  # sigma (root mean square) between statistics of one generator and of another

Floats = NDArray[np.float32]
Report = Callable[[int], None]


@dataclass(frozen=True)
class Table:
    """What is imported: the file of the table and those of its statistics, if there are any.

    Raises:
        InputError, CheckpointError: see `read_table` and `read_statistics`.
    """

    path: Path
    statistics: tuple[Path, ...] = ()

    def read(self) -> tuple[NDArray[np.float64], StyleStatistics | None]:
        rows = read_table(self.path)
        return rows, read_statistics(self.statistics) if self.statistics else None


def imported_atlas(
    table: Table,
    generator: Generator,
    encoder: JointEncoder,
    templates: Sequence[str],
    report: Report = lambda done: None,
) -> Atlas:
    """The atlas of a table, with an empty bank; `report` is told of each channel measured anew.

    Rows stand for channels in the order of the layout: all of them, all but StyleGAN3's input,
    those of convolutions, or those of the first convolutions. Rows of the input are left out, as it
    turns and shifts the whole image.

    Args:
        templates: that prompts are embedded in.

    Raises:
        InputError: the table or its statistics do not fit the generator or CLIP.
        FingerprintError: the statistics are those of another generator.
        StyleAtlasError: see `Table`.
    """
    rows, found = table.read()
    layout = generator.layout
    channels = _channels_of(table.path, layout, rows, generator)
    if rows.shape[1] != encoder.width:
        raise InputError(
            f"{table.path}: has rows of {rows.shape[1]} numbers, and {encoder.identity} sees in "
            f"{encoder.width} dimensions; name the CLIP that it was drawn with"
        )
    mean, std = style_statistics(generator, _LATENTS, _PSI, 0)
    told: dict[str, Any] = {"truncation": _PSI, "statistics": _LATENTS, "seed": 0}
    if found is not None:
        given = _by_layer(table.statistics, layout, found)
        mean, std, fit = _fitted(table.statistics[0], generator, given, (mean, std))
        files = {path.name: _sha256(path) for path in table.statistics}
        told = {"statistics_of": {**files, **fit}}
    unknown = [
        "whether it was drawn with this generator and CLIP",
        "images, seeds and step of the table",
        "consistency and strength of its channels",
    ]
    if view := view_of(generator.identity):  # so it is in what is measured here, and by edits
        told["view"] = view
        unknown.append(f"whether CLIP was shown the pictures {view} when the table was drawn")
    kept = layout.kinds[channels] != "input"
    rows, channels = rows[kept], channels[kept]
    live = np.linalg.norm(rows, axis=1) > 0
    check, strength = _check(generator, encoder, channels[live], rows[live], mean, std, report)
    return Atlas(
        layout=layout,
        style_mean=mean,
        style_std=std,
        channels=channels,
        rows=rows.astype(np.float32),
        consistency=live.astype(np.float32),
        strength=np.where(live, strength, 0).astype(np.float32),
        images=np.ones(len(channels), np.int32),
        prompts=PromptBank((), np.zeros((0, encoder.width), np.float32)),
        fingerprint=Fingerprint(
            generator.identity,
            encoder.identity,
            {
                "table": IMPORTED,
                "table_file": {"name": table.path.name, "sha256": _sha256(table.path)},
                **told,
                "input_left_out": int((~kept).sum()),
                "measured_anew": check,
                "assumed": {"consistency": 1, "strength": strength, "images": 1},
                "unknown": unknown,
                "templates": list(templates),
            },
        ),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        library=LIBRARY,
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _channels_of(
    path: Path, layout: StyleLayout, rows: NDArray[np.float64], generator: Generator
) -> NDArray[np.int64]:
    """The flat indices that the rows stand for, ascending, (R,)."""
    conv = [layer for layer in layout if layer.kind == "conv"]
    choices = [list(layout), [layer for layer in layout if layer.kind != "input"], conv]
    choices += [conv[:n] for n in range(len(conv) - 1, 0, -1)]
    for layers in choices:
        if sum(layer.size for layer in layers) == len(rows):
            return np.concatenate([np.arange(x.start, x.slice.stop) for x in layers])
    convs = sum(layer.size for layer in conv)
    raise InputError(
        f"{path}: has {len(rows):,} rows, and {generator.identity} has {layout.size:,} style "
        f"channels, {convs:,} of them of convolutions; name the generator that it was drawn with"
    )


def _by_layer(
    paths: Sequence[Path], layout: StyleLayout, found: StyleStatistics
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Mean and deviation of the layers that a file tells, by the names of the layout."""
    names = {layer.name for layer in layout}
    chosen: list[Layer]
    sizes = [len(values) for _, values in found.mean]
    if all(name in names for name, _ in found.mean):
        chosen = [layout[str(name)] for name, _ in found.mean]
        mean, std = (dict(part) for part in (found.mean, found.std))
        ordered = [[part[layer.name] for layer in chosen] for part in (mean, std)]
    else:
        kinds = ("conv", "rgb", "input"), ("conv", "rgb"), ("conv",)
        subsets = [[x for x in layout if x.kind in some] for some in kinds]
        wanted = [[layer.size for layer in some] for some in subsets]
        whole = len(sizes) == 1  # all layers in one array
        fitting = [
            some
            for some, theirs in zip(subsets, wanted, strict=True)
            if sizes == theirs or (whole and sizes[0] == sum(theirs))
        ]
        chosen = fitting[0] if fitting else []
        ordered = [[values for _, values in part] for part in (found.mean, found.std)]
        if whole and len(chosen) > 1:
            cuts = np.cumsum([layer.size for layer in chosen])[:-1]
            ordered = [np.split(part[0], cuts) for part in ordered]
    if not chosen or [len(x) for x in ordered[0]] != [layer.size for layer in chosen]:
        raise InputError(
            f"{paths[0]}: has {len(sizes)} layers of {sum(sizes):,} channels, and the generator "
            f"{len(layout)} of {layout.size:,}; name the generator that it was drawn with"
        )
    pairs = zip(chosen, *ordered, strict=True)
    return {layer.name: (mean, std) for layer, mean, std in pairs}


def _fitted(
    path: Path,
    generator: Generator,
    given: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    usual: tuple[Floats, Floats],
) -> tuple[Floats, Floats, dict[str, Any]]:
    """Mean and deviation of all channels in the generator's own units, and what can be told of
    them: the psi that they look drawn at, and how far they are from the generator's own.

    Styles of toRGB may be stored after their gain of 1 / sqrt(channels), which their deviation
    shows beside that of the convolution before. Of the input, and of layers that the file lacks,
    the generator's own count.
    """
    layout = generator.layout
    centre, _ = style_statistics(generator, 2, 0.0, 0)
    own_mean, own_std = style_statistics(generator, _LATENTS, 1.0, 0)
    vary = varying(own_mean, own_std)
    ratios: dict[str, float] = {}
    for layer in layout:
        if layer.name in given and layer.kind != "input":
            there = vary[layer.slice]
            theirs = given[layer.name][1][there] / own_std[layer.slice][there]
            ratios[layer.name] = float(np.median(theirs)) if there.any() else 1.0
    gained = _is_gained(layout, ratios)
    mean, std = (part.copy() for part in usual)
    misses, psis, lacking = [], [], []
    for layer in layout:
        if layer.name not in ratios:
            lacking.append(layer.name)
            continue
        gain = math.sqrt(layer.size) if gained and layer.kind == "rgb" else 1.0
        mean[layer.slice], std[layer.slice] = (gain * part for part in given[layer.name])
        psi = gain * ratios[layer.name]
        expected = centre + psi * (own_mean - centre)
        there = vary[layer.slice]
        miss = (mean - expected)[layer.slice][there] / own_std[layer.slice][there]
        misses.append(np.square(miss, dtype=np.float64))
        psis.append(psi)
    if not misses:
        raise InputError(f"{path}: tells of the input alone; give statistics of convolutions")
    missed = np.concatenate(misses)
    far = float(np.sqrt(missed.mean())) if len(missed) else 0.0
    if not far < _FOREIGN:
        raise FingerprintError(
            f"{path}: its means are {far:.2g} sigma (root mean square) from those of "
            f"{generator.identity}, so they are of another generator; name the one that the table "
            "was drawn with"
        )
    told: dict[str, Any] = {
        "psi": [round(min(psis), 2), round(max(psis), 2)],
        "sigma_off": round(far, 3),
        "toRGB": "after its gain" if gained else "as it is",
    }
    if lacking:
        told["lacking"] = lacking
    return mean, std, told


def _is_gained(layout: StyleLayout, ratios: dict[str, float]) -> bool:
    """Whether the deviations of toRGB fit those of the convolutions before them better after their
    gain than as they are, by all of them together."""
    plain = after = 0.0
    before = 1.0
    for layer in layout:
        ratio = ratios.get(layer.name, 0.0)
        if layer.kind == "conv" and ratio > 0:
            before = ratio
        elif layer.kind == "rgb" and ratio > 0:
            plain += abs(math.log(ratio / before))
            after += abs(math.log(ratio * math.sqrt(layer.size) / before))
    return after < plain


def _check(
    generator: Generator,
    encoder: JointEncoder,
    channels: NDArray[np.int64],
    rows: NDArray[np.float64],
    mean: Floats,
    std: Floats,
    report: Report,
) -> tuple[dict[str, Any], float]:
    """What rows measured anew, of some channels on a few images, say of the table's (R, D): the
    mean cosine of both, and that with rows of other channels; each weighted by how alike the images
    are in it. And the median strength of those channels."""
    some = np.unique(np.linspace(0, len(channels) - 1, CHANNELS).round().astype(np.int64))
    styles = image_styles(generator, IMAGES, _PSI, 0, None).cpu().numpy()
    probes = Probes.of(np.zeros((0, encoder.width), np.float32), 0, 0)
    setup = Setup(styles, mean, (5.0 * std).astype(np.float32), probes, styles[:0])
    models, done = Models(generator, encoder), []
    for number, flat in enumerate(channels[some].tolist()):
        block = SweepBlock(first=0, last=IMAGES, channels=np.array([flat]))
        done.append((block, block.run(models, setup)))
        report(number + 1)
    anew = swept_table(channels[some], IMAGES, encoder.width, done)
    cosines = anew.rows @ rows[some].T  # (measured, rows)
    weights = anew.consistency / max(float(anew.consistency.sum()), 1e-12)
    same = float(weights @ np.diagonal(cosines))
    others = weights @ (cosines.sum(1) - np.diagonal(cosines)) / max(len(some) - 1, 1)
    record = {
        "channels": len(some),
        "images": IMAGES,
        "cosine": round(same, 3),
        "cosine_of_others": round(float(others), 3),
    }
    return record, round(float(np.median(anew.strength)), 5)
