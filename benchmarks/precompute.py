"""What precompute costs and what its methods are worth: `python benchmarks/precompute.py`.

\b
a  the sweep against a re-implementation of the loop of StyleCLIP's builders
b  the methods on the embedded pair: seconds, agreement with the sweep, judged edits
c  FFHQ-1024 on this machine, projected from measured parts
d  peak memory of the blocks, and two workers against one

Ratios are of figures of the same run. The machine should have nothing else to do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import torch
from chart import scatter
from costs import DRAFT, SAMPLES, fastest, load_models, method_seconds, slope_costs, sweep_costs
from edits import ALPHA, BETA, EDITS, NEUTRAL, Avatars, mean
from generators import machine, memory_of
from numpy.typing import NDArray

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.precompute.blocks import Arrays, Setup, WorkBlock
from styleatlas.precompute.build import precompute
from styleatlas.precompute.executors import InThisProcess, open_executor
from styleatlas.precompute.plan import Plan, slope_blocks, sweep_blocks
from styleatlas.precompute.probes import Probes
from styleatlas.precompute.reference import reference_channels
from styleatlas.precompute.relevance import swept_table
from styleatlas.precompute.samples import pulled_count
from styleatlas.precompute.scheduler import Scheduler
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.precompute.sweep import SweepBlock
from styleatlas.precompute.worker import LocalWorker, RemoteWorker, Sources
from styleatlas.prompts.sets import prompt_set
from styleatlas.store.fingerprint import Fingerprint
from styleatlas.store.records import text_table
from styleatlas.store.registry import EMBEDDED
from styleatlas.store.shards import Run, WorkFolder

Record = dict[str, Any]

MIDDLE, LARGE = "StyleGAN2 256", "StyleGAN2 1024"
AIMS = {EMBEDDED.name: 8, MIDDLE: 2}  # of the sweep, in times the loop
METHOD_AIMS = {  # in times the sweep
    "jacobian, all components": 10,
    "jacobian, 32 probes": 40,
    "screened, 32 probes": 5,
}
METHODS = {
    "sweep": PrecomputeSettings(samples=0, table="sweep"),
    "jacobian, all components": PrecomputeSettings(samples=0, table="jacobian"),
    "jacobian, 32 probes": PrecomputeSettings(samples=0, table="jacobian", probes=32),
    "screened, 32 probes": PrecomputeSettings(samples=0, table="screened"),
    "screened, all components": PrecomputeSettings(samples=0, table="screened", probes=128),
}
PROMPTS = (  # for the overlap of channels, in the bank
    *EDITS,
    "a face with red hair",
    "a face with grey hair",
    "a face with long hair",
    "a face with an afro",
    "a face with a turban",
    "a face with a moustache",
    "a sad face",
    "a winking face",
    "a face with a white shirt",
    "a face with a pink background",
)
TOP = 30
ALPHAS, CHANNELS = (4.0, 5.5, 7.5), (50, 100, 200)
HOURS_AIM, AIM_IMAGES = 3, 32  # of FFHQ-1024
IMAGES = PrecomputeSettings().images  # a builder takes as many
SAMPLED = 1_000


def part_a(images: int, rounds: int) -> Record:
    """Milliseconds of a pair, averaged over all channels: of the loop with the plain formulation,
    of the same loop with our renderer, and of our sweep in blocks."""
    rows = []
    for name, aim in AIMS.items():
        costs = sweep_costs(name, images, rounds)
        channels = costs.models.channels
        loop, ours = costs.loop_pair(), costs.loop_pair(our_render=True)
        sweep = costs.sweep(channels, images) / (len(channels) * images)
        rows.append(
            {
                "pair": name,
                "loop ms": round(1000 * loop, 2),
                "loop, our render ms": round(1000 * ours, 2),
                "sweep ms": round(1000 * sweep, 2),
                "times loop": round(loop / sweep, 1),
                "aim": aim,
                "of it by the renderer": round(loop / ours, 1),
                **{key: round(x, 4) for key, x in costs.rows_apart.items()},
            }
        )
        say(f"{name}: {rows[-1]['times loop']} times")
    return {"rows": rows, "by_layer": {name: _by_layer(name, images, rounds) for name in AIMS}}


def _by_layer(name: str, images: int, rounds: int) -> Record:
    costs = sweep_costs(name, images, rounds)
    keys = ("loop", "loop_our_render", "prefix", "pair")
    return {"sample": asdict(SAMPLES[name]), **{key: getattr(costs, key) for key in keys}}


def part_b(images: int, rounds: int, seeds: int) -> Record:
    """Seconds of all blocks of a method, without the prompt bank and the statistics; how its table
    agrees with the sweep's on the same images; what edits by it achieve."""
    atlases, seconds = {}, {}
    for name, settings in METHODS.items():
        atlases[name], seconds[name] = _drawn(replace(settings, images=images))
        say(f"{name}: {seconds[name]:.1f} s")
    for name in ("jacobian, 32 probes", "screened, 32 probes"):
        fewer = max(1, round(images * seconds[name] / seconds["sweep"]))
        key = f"sweep, {fewer} image{'s' * (fewer > 1)}"
        if key not in atlases:
            atlases[key], seconds[key] = _drawn(
                PrecomputeSettings(samples=0, table="sweep", images=fewer)
            )
            say(f"{key}: {seconds[key]:.1f} s")
    avatars = Avatars(load_models(EMBEDDED.name).generator, seeds)
    rows, edits = [], []
    for name, atlas in atlases.items():
        rows.append(
            {
                "method": name,
                "seconds": round(seconds[name], 1),
                "s an image": round(seconds[name] / int(atlas.images[0]), 3),
                "times sweep": round(seconds["sweep"] / seconds[name], 1),
                "aim": METHOD_AIMS.get(name),
                **_agreement(atlas, atlases["sweep"]),
            }
        )
        edits.append({"method": name, **_judged(avatars, atlas)})
        say(f"{name}: edits judged")
    projected = method_seconds(
        sweep_costs(MIDDLE, images, rounds), slope_costs(MIDDLE, 16, rounds), images
    )
    return {
        "rows": rows,
        "edits": edits,
        "precision": _precision(min(images, 8)),
        "projected_256": [
            {
                "method": name,
                "s an image": round(spent / images, 1),
                "times sweep": round(projected["sweep"] / spent, 1),
                "aim": METHOD_AIMS.get(name),
            }
            for name, spent in projected.items()
        ],
    }


def _precision(images: int) -> list[Record]:
    """Rows of the sweep by models of reduced precision, against float32 on the same images."""
    settings = PrecomputeSettings(samples=0, table="sweep", images=images)
    exact, _ = _drawn(settings)
    generator, encoder = (
        load(EMBEDDED.name, "cpu", "bfloat16") for load in (load_generator, load_encoder)
    )
    reduced = precompute(
        generator, encoder, prompt_set(EMBEDDED.name), settings, lambda progress: None
    )
    cosines = (exact.rows * reduced.rows).sum(1)[exact.consistency > 0]
    return [
        {
            "precision": "bfloat16",
            "images": images,
            "median cosine": round(float(np.median(cosines)), 4),
            "5th percentile": round(float(np.percentile(cosines, 5)), 4),
            "strongest tenth": round(float(np.median(cosines[_strongest(exact)])), 4),
        }
    ]


def _strongest(atlas: Atlas) -> NDArray[np.bool_]:
    """The tenth of the channels that move most, among those that move."""
    strength = atlas.strength[atlas.consistency > 0]
    return strength >= np.percentile(strength, 90)


def _drawn(settings: PrecomputeSettings) -> tuple[Atlas, float]:
    """An atlas of the embedded pair, and the seconds from its first report to its last."""
    models, reports = load_models(EMBEDDED.name), []
    atlas = precompute(
        models.generator,
        models.encoder,
        prompt_set(EMBEDDED.name),
        settings,
        lambda progress: reports.append(time.perf_counter()),
    )
    return atlas, reports[-1] - reports[0]


def _agreement(atlas: Atlas, sweep: Atlas) -> Record:
    """Median cosines of rows with the sweep's, and of their parts in the basis of 32 probes; the
    share of the 30 strongest channels in common, over 20 prompts.

    The mean of n unit vectors without anything in common has a length of 1/sqrt(n); where they
    vary in ten dimensions or more, 1.5 times that is three deviations above. Rows of the sweep
    with less consistency are noise, and left out.
    """
    live = sweep.consistency > 1.5 / np.sqrt(sweep.images)
    basis = Probes.of(sweep.prompts.embeddings, 32, 0).basis

    def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return round(float(np.median((a * b).sum(1) / lengths.clip(1e-12))), 3)

    ours, theirs = atlas.rows[live], sweep.rows[live]
    editor = Editor(sweep, load_models(EMBEDDED.name).generator, load_models(EMBEDDED.name).encoder)
    common = []
    for prompt in PROMPTS:
        text = editor.texts.direction(NEUTRAL, prompt)
        best = [set(np.argsort(-abs(rows @ text))[:TOP]) for rows in (atlas.rows, sweep.rows)]
        common.append(len(best[0] & best[1]) / TOP)
    return {
        "rows": int(live.sum()),
        "cosine": cosine(ours, theirs),
        "in the basis": cosine(ours @ basis.T, theirs @ basis.T),
        f"top {TOP}": round(float(np.mean(common)), 3),
    }


def _judged(avatars: Avatars, atlas: Atlas) -> Record:
    """At alpha 5.5 and beta 0.15, and at the alpha and number of channels of a small grid with
    the largest sum of success and preservation; the mean over the prompts of `edits.py`."""
    editor = Editor(atlas, load_models(EMBEDDED.name).generator, load_models(EMBEDDED.name).encoder)

    def figures(alpha: float, **choice: float) -> dict[str, float]:
        records = [record for record, _ in avatars.edited(editor, alpha, **choice)]
        return mean(records, ("success", "preservation", "channels"))

    usual = figures(ALPHA, beta=BETA)
    grid = {(a, k): figures(a, channels=k) for a in ALPHAS for k in CHANNELS}
    (alpha, count), best = max(grid.items(), key=lambda e: e[1]["success"] + e[1]["preservation"])
    chosen = {"best alpha": alpha, "best channels": count}
    return usual | chosen | {f"best {key}": best[key] for key in ("success", "preservation")}


def part_c(images: int, rounds: int) -> Record:
    """Hours of FFHQ-1024, by whole images and by drafts: every measured part is of one image; the
    rest is multiplication."""
    sweep = sweep_costs(LARGE, images, rounds)
    models = sweep.models
    references = len(reference_channels(models.generator.layout))
    loop = references * IMAGES * sweep.loop_pair()
    style = models.styles[:1]
    with torch.inference_mode():
        plain = fastest({"a plain render": partial(models.plain, style)}, rounds)
    measured = {**plain, "a pair of the loop, with Pillow": sweep.loop_pair()}
    projected = {f"loop, {references} channels": (loop * AIM_IMAGES / IMAGES, loop)}
    for name in (LARGE, LARGE + DRAFT):
        parts, hours = _projected(name, images, rounds)
        kind = name.removeprefix(LARGE)
        measured |= {key + kind: x for key, x in parts.items()}
        projected |= {key + kind: x for key, x in hours.items()}
    return {
        "channels": len(models.channels),
        "measured": [{"part": key, "seconds": round(x, 3)} for key, x in measured.items()],
        "measured_layers": [
            {"layer": name, "prefix s": round(sweep.prefix[name], 3), "pair s": round(pair, 3)}
            for name, pair in sweep.pair.items()
        ],
        "rows": [
            {
                "method": key,
                f"hours, {AIM_IMAGES} images": round(few / 3600, 2),
                f"{IMAGES} images": round(many / 3600, 2),
                "times loop": round(loop / many, 1),
            }
            for key, (few, many) in projected.items()
        ],
        "by_layer": _by_layer(LARGE, images, rounds),
    }


def _projected(name: str, images: int, rounds: int) -> tuple[Record, Record]:
    """Seconds of the parts; and of samples and of tables, by 32 images and by 100."""
    sweep, slopes = sweep_costs(name, images, rounds), slope_costs(name, 1, rounds)
    models, style = sweep.models, sweep.models.styles[:1]
    with torch.inference_mode():
        image = models.generator.render(style)
        runs = {
            "a render": partial(models.generator.render, style),
            "an embedding": partial(models.encoder.images, image),
        }
        parts = fastest(runs, rounds)
    seen = sum(parts.values())
    parts["a render and its embedding, for gradients"] = slopes.start
    parts["a vector-Jacobian product"] = slopes.product
    samples = (SAMPLED + pulled_count(SAMPLED)) * seen
    few, many = (method_seconds(sweep, slopes, count) for count in (AIM_IMAGES, IMAGES))
    tables = {method: (few[method], many[method]) for method in few}
    return parts, {f"{SAMPLED:,} samples": (samples, samples)} | tables


def _setup(images: int) -> Setup:
    """Of the embedded pair, with styles of so many images and 32 probes."""
    models = load_models(EMBEDDED.name)
    probes = Probes.of(Atlas.open(EMBEDDED.atlas).prompts.embeddings, 32, 0)
    return replace(models.setup(probes), styles=models.styles[:images].numpy())


def _blocks(
    executor: Executor,
    worker: LocalWorker | RemoteWorker,
    plan: Plan,
    work: WorkFolder | None = None,
) -> Iterator[tuple[WorkBlock, Arrays]]:
    """The blocks of a plan as precompute draws them."""
    place = (executor, worker, work)
    scheduler = Scheduler(*place, lambda progress: None, plan.renders, plan.costs, frozenset())
    return scheduler.run(plan.blocks, 1)


def _spread(channels: int) -> NDArray[np.int64]:
    """So many of the embedded pair's channels, evenly."""
    every = load_models(EMBEDDED.name).channels
    return every[np.linspace(0, len(every) - 1, min(channels, len(every))).astype(int)]


def memory(kind: str, images: int, channels: int) -> float:
    """MiB at the peak of all blocks and their sums, in this process, with a work folder."""
    models, chosen = load_models(EMBEDDED.name), _spread(channels)
    layout, width = models.generator.layout, models.encoder.width
    slopes = slope_blocks(layout, chosen, images, 32) if kind == "slopes" else []
    sweep = sweep_blocks(layout, chosen, images) if kind == "sweep" else []
    plan = Plan(layout, chosen, slopes, sweep)
    fingerprint = Fingerprint(models.generator.identity, models.encoder.identity, {})
    run = Run(fingerprint, prompts="", blocks=len(plan.renders), library="")
    worker = LocalWorker(models.loaded, _setup(images))
    with (
        TemporaryDirectory() as folder,
        WorkFolder(Path(folder) / "atlas.h5", run, plan.shapes(1, width)) as work,
    ):
        blocks = _blocks(InThisProcess(), worker, plan, work)
        peak, _ = memory_of(lambda: swept_table(chosen, images, width, blocks), "cpu")
        work.finish()
    return 1024 * peak


def part_d(images: int, rounds: int) -> Record:
    """Peak memory against the number of images (a block takes 16 at most) and of channels, every
    row in a process of its own; seconds of the same blocks by two workers and in this process."""
    few, many = max(1, images // 4), 4 * images
    cases = [("sweep", n, 64) for n in (few, images, many)]
    cases += [("sweep", few, k) for k in (256, 1128)]
    cases += [("slopes", n, 1128) for n in (few, images, many)]
    cases += [("slopes", few, k) for k in (64, 256)]
    rows = []
    for case in cases:
        command = [sys.executable, __file__, "--row", json.dumps(case)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        row = dict(zip(("kind", "images", "channels"), case, strict=True))
        rows.append(row | {"MiB": round(float(answer), 1)})
        say(f"memory: {rows[-1]}")
    return {"memory": rows, **_throughput(min(images, 16), rounds)}


def _throughput(images: int, rounds: int) -> Record:
    """Seconds of 256 channels; the workers have started and loaded their models before."""
    models, setup, chosen = load_models(EMBEDDED.name), _setup(images), _spread(256)
    layout = models.generator.layout
    plan = Plan(layout, chosen, sweep=sweep_blocks(layout, chosen, images))
    here = LocalWorker(models.loaded, setup)
    identities = (models.generator.identity, models.encoder.identity)
    remote = RemoteWorker(Sources(EMBEDDED.name, EMBEDDED.name), *identities, setup)
    threads_before = torch.get_num_threads()

    def in_process(threads: int) -> None:
        torch.set_num_threads(threads)
        list(_blocks(InThisProcess(), here, plan))
        torch.set_num_threads(threads_before)

    with open_executor(2, None, "cpu") as executor:
        small = SweepBlock(chosen[:1], 0, 1)
        start, ready = time.perf_counter(), set()
        while len(ready) < 2:
            futures = [executor.submit(_warmed, remote, small) for _ in range(2)]
            ready |= {future.result() for future in futures}
        start_up = time.perf_counter() - start
        runs: dict[str, Callable[[], object]] = {
            "in process, 1 thread": partial(in_process, 1),
            "in process, 2 threads": partial(in_process, 2),
            "2 workers, 1 thread each": lambda: list(_blocks(executor, remote, plan)),
        }
        seconds = fastest(runs, rounds)
    one, renders = seconds["in process, 1 thread"], sum(plan.renders)
    return {
        "throughput": [
            {
                "where": where,
                "seconds": round(spent, 1),
                "renders/s": round(renders / spent, 1),
                "times 1 thread": round(one / spent, 2),
                "start-up s": round(start_up, 1) if "workers" in where else 0.0,
            }
            for where, spent in seconds.items()
        ],
    }


def _warmed(worker: RemoteWorker, block: WorkBlock) -> int:
    """The process that loaded the models and worked on a block."""
    worker(block)
    return os.getpid()


def say(text: str) -> None:
    """Progress, beside the tables."""
    click.echo(text, err=True)


TEXTS = {
    "a": {
        "rows": "A pair of renders and embeddings: the loop, written anew, and the sweep; unit rows"
    },
    "b": {
        "rows": "Methods on the embedded pair, and agreement with the sweep on the same images",
        "edits": "Edits by them, judged: alpha 5.5, beta 0.15, and the best of a grid, in percent",
        "precision": "Rows of the sweep in reduced precision, against float32",
        "projected_256": f"{MIDDLE} with ViT-B/32, projected from measured blocks",
    },
    "c": {
        "measured": f"{LARGE} with ViT-B/32: measured, one image each",
        "measured_layers": "Measured by layer, one image and one channel each",
        "rows": f"Arithmetic; aim: under {HOURS_AIM} hours by {AIM_IMAGES} images. No GPU measured",
    },
    "d": {
        "memory": "Peak of the blocks on top of the models, embedded pair",
        "throughput": "The same blocks of the sweep; start-up of workers not counted",
    },
}


def draw(rows: list[Record], edits: list[Record], path: Path) -> None:
    """Success and preservation at the defaults against the seconds of all blocks."""
    scatter(
        {
            f"{key}, mean of {len(EDITS)} prompts": [
                (row["method"], row["seconds"], edit[key])
                for row, edit in zip(rows, edits, strict=True)
            ]
            for key in ("success", "preservation")
        },
        "seconds of all blocks",
        path,
    )


@click.command(help=__doc__)
@click.option("--part", "parts", type=click.Choice(list(TEXTS)), multiple=True, default=TEXTS)
@click.option(
    "--images",
    default=32,
    type=click.IntRange(4),
    show_default=True,
    help="Of part b; d takes a quarter to four times as many.",
)
@click.option("--seeds", default=200, show_default=True, help="Avatars whose edits are judged.")
@click.option("--rounds", default=3, show_default=True, help="The best counts; not for methods.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Everything, as JSON.")
@click.option("--plot", type=click.Path(path_type=Path), help="Part b as a PNG file.")
@click.option("--row", hidden=True, help="Kind, images and channels of a row of memory, as JSON.")
def main(
    parts: tuple[str, ...],
    images: int,
    seeds: int,
    rounds: int,
    json_file: Path | None,
    plot: Path | None,
    row: str | None,
) -> None:
    if row:
        click.echo(memory(*json.loads(row)))
        return
    if plot and "b" not in parts:
        raise click.UsageError("--plot draws part b; ask for it")
    results: Record = {
        "machine": machine("cpu"),
        "settings": {"parts": parts, "images": images, "seeds": seeds, "rounds": rounds},
    }
    work = {
        "a": partial(part_a, images, rounds),
        "b": partial(part_b, images, rounds, seeds),
        "c": partial(part_c, images, rounds),
        "d": partial(part_d, images, rounds),
    }
    click.echo(results["machine"])
    for part in sorted(set(parts)):
        results[part] = work[part]()
        for key, title in TEXTS[part].items():
            click.echo(f"\n{part}. {title}\n\n{text_table(results[part][key])}")
        if json_file:
            json_file.write_text(json.dumps(results, indent=2))
    if plot:
        draw(results["b"]["rows"], results["b"]["edits"], plot)


if __name__ == "__main__":
    main()
