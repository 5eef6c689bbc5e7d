"""When a photo encoder pays: `python benchmarks/encoders.py ENCODER [--count N] [--page PNG]`.

Drawings that nothing was trained on (`drawn.py`), as drawn and as bad photos show them
(`lookup.py`): how many come back with all attributes right as the judge reads them, and L1 to the
drawing as it was before it was spoilt, by the look-up, by ENCODER after each of its passes, and by
refinements for ten steps in w from the one and from the other; and milliseconds an image, of each
way's own work, measured in turn, the best of three.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from styleatlas import Atlas
from styleatlas.engine.models.own_encoder import OwnEncoder, read_own_encoder
from styleatlas.engine.photos.measure import measure_of
from styleatlas.engine.photos.refine import Refinement, Spread
from styleatlas.engine.pictures.sheet import save_png, sheet
from styleatlas.engine.steering.lookup import LookUp
from styleatlas.store.records import Record, text_table
from styleatlas.store.registry import EMBEDDED

sys.path.insert(0, str(Path(__file__).parent))
from drawn import REPORTED, Drawn, Models, held_out
from lookup import spoilt

STEPS, TIMED, TIMES = 10, 16, 3


class Ways:
    """Ways from images (n, 3, 64, 64) to w (n, w_dim)."""

    def __init__(self, models: Models, atlas: Atlas, encoder: OwnEncoder) -> None:
        samples = atlas.samples
        assert samples is not None
        self.models, self.encoder, self._look_up = models, encoder, LookUp(samples)
        w = torch.from_numpy(samples.w.astype(np.float32))
        self._spread = Spread.of(w, torch.from_numpy(atlas.style_std))
        self._measure = measure_of(models.generator.image_size, models.encoder, None)

    def look_up(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self._look_up.find(self.models.embed(images)).w)

    def encoded(self, images: Tensor, w: Tensor, passes: int) -> Tensor:
        way = replace(self.encoder, about=replace(self.encoder.about, passes=passes))
        return way.encode(images, self._rows(w))[:, 0]

    def refined(self, images: Tensor, w: Tensor) -> Tensor:
        work = Refinement(
            self.models.generator,
            self._measure,
            images,
            self._rows(w),
            self._spread,
            "w",
            STEPS,
        )
        found = work.run().w
        assert found is not None
        return found[:, 0]

    def _rows(self, w: Tensor) -> Tensor:
        return w[:, None].repeat(1, self.models.rows, 1)


def of_drawings(ways: Ways, truth: Drawn, images: Tensor) -> dict[str, Tensor]:
    """Latents by the way to them."""
    start = ways.look_up(images)
    passes = ways.encoder.about.passes
    found = {"look-up": start}
    for number in range(1, passes + 1):
        found[f"encoder, pass {number}"] = ways.encoded(images, start, number)
    last = found[f"encoder, pass {passes}"]
    found[f"w, {STEPS} steps from the look-up"] = ways.refined(images, start)
    found[f"w, {STEPS} steps from the encoder"] = ways.refined(images, last)
    return found


def times(ways: Ways, images: Tensor) -> dict[str, float]:
    """Milliseconds an image, of each way's own work, in turn and the best of several."""
    images = images[:TIMED]
    start = ways.look_up(images)
    work: dict[str, Callable[[], Tensor]] = {
        "look-up, with CLIP": lambda: ways.look_up(images),
        "encoder, a pass": lambda: ways.encoded(images, start, 1),
        "encoder, all passes": lambda: ways.encoded(images, start, ways.encoder.about.passes),
        f"{STEPS} steps in w": lambda: ways.refined(images, start),
    }
    best = dict.fromkeys(work, float("inf"))
    for _ in range(TIMES):
        for name, do in work.items():
            begun = time.perf_counter()
            do()
            best[name] = min(best[name], 1000 * (time.perf_counter() - begun) / len(images))
    return best


@click.command()
@click.argument("encoder", type=Path)
@click.option("--count", type=int, default=200, show_default=True, help="Of drawings.")
@click.option("--page", type=Path, help="PNG: twelve drawings of each kind, and what comes back.")
def main(encoder: Path, count: int, page: Path | None) -> None:
    torch.set_num_threads(1)
    models = Models()
    own = read_own_encoder(encoder, models.generator)
    ways = Ways(models, Atlas.open(EMBEDDED.name), own)
    truth = Drawn(models, held_out()[REPORTED].numpy()[:count])
    click.echo(f"{encoder.name}: {own.about.measured}")
    for name, milliseconds in times(ways, truth.images).items():
        click.echo(f"{name}: {milliseconds:.1f} ms an image")
    rows: list[Record] = []
    lines, labels = [], []
    for name, images in spoilt(truth.images).items():
        found = of_drawings(ways, truth, images)
        for way, w in found.items():
            rows.append({"drawings": name, "way": way, **truth.scored(w.numpy())})
        lines.append(list(images[:12]))
        labels.append(name)
        for way, w in found.items():
            lines.append(list(models.render(w[:12].numpy())))
            labels.append(way)
        click.echo(text_table(rows[-len(found) :]), err=True)
    click.echo(text_table(rows))
    if page is not None:
        save_png(sheet(lines, labels, scale=2), page)


if __name__ == "__main__":
    main()
