"""Drawings inverted by look-up: `python benchmarks/lookup.py [--tuning] [--page PNG]`.

The embedded generator and CLIP, whose drawings tell the truth: 200 of avatars that neither CLIP nor
the judge nor the identity network was trained on, or, for tuning, 800 others. For 1,000, 4,000 and
16,000 samples (the atlas holds 4,000; more of its stream are drawn, and kept in `--work`): how many
come back with all attributes right that can be seen, as the judge reads them; how many attributes;
the mean absolute difference of drawing and image, 0 to 1; what share of samples lies farther; and
seconds to learn and to invert. Beside it the nearest sample, and other regressions. Then drawings
as a bad photo shows them: what share of samples lies farther, and what share comes back with less
of a likeness to CLIP; and what is gained by not going as far as the regression would.
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
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from styleatlas import Atlas
from styleatlas.engine.evaluation.truth import SEEDS, drawn
from styleatlas.engine.models.sampling import render_batches, styles_from_seeds
from styleatlas.engine.pictures.sheet import save_png, sheet
from styleatlas.engine.steering.lookup import (
    PENALTIES,
    PENALTY,
    LookUp,
    best_penalty,
    cosines,
    returns,
    share_below,
)
from styleatlas.precompute.drawing import sample_latents
from styleatlas.store.records import Record, text_table
from styleatlas.store.registry import EMBEDDED
from styleatlas.store.sample_set import SampleSet

sys.path.insert(0, str(Path(__file__).parent))
from drawn import REPORTED, TUNED, Array, Drawn, Models, distance, held_out, nearest

SIZES = (1_000, 4_000, 16_000)
RANKS = (31, 60)  # the avatars' codes have 31 dimensions
KERNELS = ((10, 1e-2), (10, 1e-1), (30, 1e-2))  # width in median distances, and penalty
KERNEL_MOST = 4_000  # samples: those of a kernel take memory and time by their square and cube


def more_samples(models: Models, samples: SampleSet, count: int, work: Path) -> SampleSet:
    """The atlas's samples and the next ones of their stream, kept in a folder."""
    kept = work / f"avatars-{count}.npz"
    w, label = sample_latents(models.generator, count, 0)
    w[: len(samples)] = samples.w
    if not kept.exists():
        work.mkdir(parents=True, exist_ok=True)
        parts = [
            models.embed(models.render(part))
            for part in np.array_split(w[len(samples) :], count // 500)
        ]
        np.savez(kept, embedding=np.concatenate(parts).astype(np.float16))
    with np.load(kept, allow_pickle=False) as arrays:
        embedding = np.concatenate([samples.embedding, arrays["embedding"]])
    return replace(samples, w=w, label=label, embedding=embedding)


def low_rank(rank: int) -> Callable[[Array, Array, Array], Array]:
    """Regression on the first principal components of the embeddings alone."""

    def found(x: Array, w: Array, query: Array) -> Array:
        mean = x.mean(0)
        components = np.linalg.eigh(np.cov(x.T))[1][:, -rank:]
        part = (x - mean) @ components
        slopes = np.linalg.lstsq(part, w - w.mean(0), rcond=None)[0]
        return w.mean(0) + (query - mean) @ components @ slopes

    return found


def kernel(width: float, penalty: float) -> Callable[[Array, Array, Array], Array]:
    """Kernel ridge regression by a Gaussian, on embeddings whitened with the same penalty."""

    def found(x: Array, w: Array, query: Array) -> Array:
        mean = x.mean(0)
        values, axes = np.linalg.eigh(np.cov(x.T))
        root = axes / np.sqrt(values + PENALTY * values.mean())
        white, asked = (x - mean) @ root, (query - mean) @ root
        squares = apart(white, white)
        scale = width * np.median(squares)
        gram = np.exp(-squares / scale)
        gram[np.diag_indices_from(gram)] += penalty
        return w.mean(0) + np.exp(-apart(asked, white) / scale) @ np.linalg.solve(
            gram, w - w.mean(0)
        )

    return found


def apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    return squares.clip(0)


def looked_up(samples: SampleSet, count: int, penalty: float, truth: Drawn, query: Array) -> Record:
    start = time.perf_counter()
    there = LookUp(samples, penalty, np.arange(count))
    there.find(query[:1])
    learned = time.perf_counter()
    found = there.find(query)
    seconds = time.perf_counter() - learned
    return {
        "samples": count,
        "way": f"look-up, penalty {penalty:g}",
        **truth.scored(found.w),
        "farther": round(float(np.median(found.farther)), 3),
        "learn s": round(learned - start, 2),
        "ms each": round(1000 * seconds / len(query), 3),
    }


def ways(samples: SampleSet, count: int, truth: Drawn, query: Array, tuning: bool) -> list[Record]:
    x, w = samples.embedding[:count].astype(np.float32), samples.w[:count].astype(np.float32)
    others = {"nearest sample": nearest, "plain ridge, 1e-4": trial}
    if tuning:
        others |= {f"rank {rank}": low_rank(rank) for rank in RANKS}
        if count <= KERNEL_MOST:
            others |= {f"kernel {a:g}, {b:g}": kernel(a, b) for a, b in KERNELS}
    rows = []
    for name, way in others.items():
        start = time.perf_counter()
        found = way(x, w, query)
        seconds = round(time.perf_counter() - start, 2)
        more = {"farther": "", "learn s": seconds, "ms each": ""}
        rows.append({"samples": count, "way": name, **truth.scored(found), **more})
    penalties = PENALTIES if tuning else (PENALTY,)
    return rows + [looked_up(samples, count, penalty, truth, query) for penalty in penalties]


def trial(x: Array, w: Array, query: Array) -> Array:
    """Ridge regression with 1e-4 of the mean variance, as first tried."""
    around = x - x.mean(0)
    gram = around.T @ around
    gram[np.diag_indices_from(gram)] += 1e-4 * np.trace(gram) / len(gram)
    return w.mean(0) + (query - x.mean(0)) @ np.linalg.solve(gram, around.T @ (w - w.mean(0)))


def spoilt(images: Tensor) -> dict[str, Tensor]:
    """Images (n, 3, 64, 64) as bad photos show them."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    small = F.interpolate(images, scale_factor=0.5, mode="area")
    return {
        "as drawn": images,
        "half as bright": images / 2 - 0.5,
        "half as sharp": F.interpolate(small, scale_factor=2.0, mode="bilinear"),
        "yellow light": (images + torch.tensor([0.3, 0.1, -0.4])[:, None, None]).clamp(-1, 1),
        "noisy": (images + 0.3 * noise).clamp(-1, 1),
        "moved by 4 pixels": torch.roll(images, (4, 4), (2, 3)),
        "upside down": images.flip(2),
        "noise alone": noise.clamp(-1, 1),
    }


def of_spoilt(samples: SampleSet, truth: Drawn) -> list[Record]:
    """What is found of them, and of the same without a limit."""
    there, mean, rows = LookUp(samples), samples.w.astype(np.float32).mean(0), []
    models = truth.models
    own = returns(samples, lambda w: models.embed(models.render(w)))
    for name, images in spoilt(truth.images).items():
        query = models.embed(images)
        found = there.find(query)
        back = cosines(query, models.embed(models.render(found.w)))
        whole = truth.scored(mean + (found.w - mean) / found.kept[:, None])
        rows.append(
            {
                "drawings": name,
                **truth.scored(found.w),
                "farther": round(float(np.median(found.farther)), 3),
                "worse back": round(float(np.median(share_below(own, back))), 3),
                "kept": round(float(found.kept.mean()), 2),
                "whole way: all right %": whole["all right %"],
                "its L1": whole["L1"],
            }
        )
    return rows


def chosen(models: Models, samples: SampleSet) -> float:
    """The penalty by renders of samples."""

    def compare(w: Array, numbers: NDArray[np.intp]) -> Array:
        return distance(models.render(w), models.render(samples.w[numbers].astype(np.float32)))

    return best_penalty(samples, compare)


@torch.inference_mode()
def usual(models: Models, psi: float) -> float:
    """How far an unedited image lies from the nearest drawing, on average."""
    drawings = models.judge.drawings
    assert drawings is not None
    batches = render_batches(models.generator, styles_from_seeds(models.generator, SEEDS, psi))
    parts = [drawn(drawings, images, models.judge.look(images)).distance for images in batches]
    return float(np.concatenate(parts).mean())


@click.command()
@click.option("--tuning", is_flag=True, help="800 other drawings, and more ways.")
@click.option("--page", type=Path, help="PNG: drawings, look-up and the nearest sample.")
@click.option("--work", type=Path, default=Path("build/lookup"), show_default=True)
def main(tuning: bool, page: Path | None, work: Path) -> None:
    torch.set_num_threads(1)
    models = Models()
    samples = Atlas.open(EMBEDDED.name).samples
    assert samples is not None
    values = held_out()[TUNED if tuning else REPORTED].numpy()
    truth = Drawn(models, values)
    query = models.embed(truth.images)
    wider = more_samples(models, samples, max(SIZES), work)
    rows = [row for n in SIZES for row in ways(wider, n, truth, query, tuning)]
    click.echo(text_table(rows))
    click.echo("\n" + text_table(of_spoilt(samples, truth)))
    wrong = truth.wrong(LookUp(samples).find(query).w)
    click.echo(f"\nwrong by the atlas's own samples: {wrong}")
    if tuning:
        click.echo(f"penalty by renders of samples: {chosen(models, samples):g}")
    told = ", ".join(f"{usual(models, psi):.4f} at psi {psi:g}" for psi in (1.0, 0.7))
    click.echo(f"\nan unedited image from the nearest drawing: L1 {told}")
    if page is not None:
        x = samples.embedding.astype(np.float32)
        by_nearest = nearest(x, samples.w.astype(np.float32), query[:48])
        found = models.render(LookUp(samples).find(query[:48]).w)
        lines = []
        for part in range(0, 48, 12):
            for images in (truth.images, found, models.render(by_nearest)):
                lines.append(list(images[part : part + 12]))
        save_png(sheet(lines, ["drawing", "look-up", "nearest"] * 4, scale=2), page)


if __name__ == "__main__":
    main()
