"""Search in a large prompt bank: `python benchmarks/bank.py`.

Recall, time and size of what the library does and of the alternatives, against the exact answer,
by one thread; what it takes to write an atlas with such a bank and to open it.

The bank is centred, as it is for every question. Synthetic rows are like texts: a part that all
share as long as the rest, half of the variance in clusters of 250, and a spectrum whose standard
deviations fall with the root of the dimension's number. Their queries are differences of two rows
with noise of .7 of their length, as text directions are. With --phrases the rows are composed
phrases, embedded by the embedded CLIP, and the queries rows of channels of the embedded atlas.

With --disk the bank is larger than memory may be: composed phrases, their rows and an inverted file
of them in a folder, whose lists are found by a graph (HNSW); see `bank_disk.py`. What was made of
them before the run was interrupted is taken. A run of ten million takes some 5 GB there.

With --crossover it asks banks of many sizes what a channel means, one question alone: by the exact
search, by FAISS's flat search, and by a prepared index, and after how many questions having built
it has paid. Each time is the least of many, taken in turns, for other work disturbs only upwards.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice, permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import faiss
import numpy as np
import torch
from bank_disk import Composed, DiskBank, searched
from generators import machine, memory_of
from numpy.typing import NDArray

from styleatlas import Atlas, load_encoder
from styleatlas.engine.steering.texts import encode_with
from styleatlas.prompts.embed import embed_prompts
from styleatlas.prompts.sets import prompt_set
from styleatlas.store import index as library
from styleatlas.store.bank import PromptBank
from styleatlas.store.index import PromptIndex
from styleatlas.store.records import text_table
from styleatlas.store.registry import EMBEDDED

Floats = NDArray[np.float32]
Search = Callable[[Floats, int], NDArray[np.int64]]
Record = dict[str, Any]

CLUSTER, NOISE = 250, 0.7
IN_MEMORY = 10**6  # rows
SUBJECTS = (
    *("a face", "a person", "a man", "a woman", "a character", "an avatar", "a portrait"),
    *("a head", "a cartoon face", "a photo of a face", "a drawing of a person", "a smiling face"),
    *("a picture of a man", "a picture of a woman", "a young face", "an old face", "a sad face"),
)
QUESTIONS, TOP = 100, 100
# Of FAISS's factory; what is searched of the lists, and how many candidates are scored exactly.
ALTERNATIVES = [
    ("Flat", None, 100),
    ("SQfp16", None, 100),
    ("SQ8", None, 500),
    ("PQ64x4fs", None, 10_000),
    ("IVF1024,Flat", 64, 100),
    ("IVF1024,Flat", 128, 100),
    ("IVF1024,SQ8", 32, 500),
    ("IVF1024,SQ8", 256, 500),
]
SIZES = (8_000, 16_000, 64_000, 125_000, 250_000, 500_000, 1_000_000)  # of --crossover
SHOWN, TURNS = 10, 15  # phrases to either side; repetitions
GRAPH = "HNSW32"  # slow to build, so of a tenth of the rows


def unit(rows: Floats) -> Floats:
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def text_like(rows: int, width: int) -> Floats:
    """Synthetic unit rows (n, D); see above."""
    random = np.random.default_rng(0)
    scale = np.sqrt(1 / np.arange(1, width + 1, dtype=np.float32))
    shared = unit(random.standard_normal((1, width), dtype=np.float32))
    clusters = max(1, rows // CLUSTER)
    centres = random.standard_normal((clusters, width), dtype=np.float32) * scale
    result = np.empty((rows, width), np.float32)
    for start in range(0, rows, 2**16):
        part = result[start : start + 2**16]
        random.standard_normal(dtype=np.float32, out=part)
        part *= scale
        part += centres[random.integers(clusters, size=len(part))]
        unit(part)
        part += shared
        unit(part)
    return result


def things() -> list[str]:
    """The avatars' vocabulary without its subjects."""
    return [p for p in prompt_set(EMBEDDED.name).phrases if not p.startswith(SUBJECTS[:9])]


def phrases(count: int) -> list[str]:
    """A subject with two things of the avatars' vocabulary, in all orders, up to `count`."""
    pairs = list(permutations(things(), 2))
    return list(islice((f"{s} with {a} and {b}" for s in SUBJECTS for a, b in pairs), count))


def composed(rows: int, kept: Path) -> Floats:
    """Embeddings (n, 128) of composed phrases without templates, made if they are not in `kept`."""
    if not kept.exists():
        encode = encode_with(load_encoder(EMBEDDED.name, "cpu"))
        np.save(kept, embed_prompts(phrases(rows), ["{}"], encode))
    return np.load(kept)[:rows]


def questions(bank: PromptBank) -> Floats:
    """Perturbed differences of rows (100, D)."""
    random = np.random.default_rng(1)
    one, other = random.integers(len(bank), size=(2, QUESTIONS))
    steps = unit(bank.embeddings[one] - bank.embeddings[other])
    return steps + NOISE * unit(random.standard_normal(steps.shape, dtype=np.float32))


def channels() -> Floats:
    """Rows of 100 channels of the embedded atlas that move CLIP alike in all images."""
    atlas = Atlas.open(EMBEDDED.atlas)
    alike = np.flatnonzero(atlas.consistency > 1.5 / np.sqrt(atlas.images))
    return atlas.rows[np.random.default_rng(1).choice(alike, QUESTIONS, replace=False)]


def figures(name: str, search: Search, asked: Floats, truth: NDArray[np.int64]) -> Record:
    """Recall at 10 and 100 of single questions, and milliseconds a question, asked alone and all
    together."""
    start = time.perf_counter()
    search(asked, TOP)
    together = time.perf_counter() - start
    start = time.perf_counter()
    found = np.concatenate([search(query[None], TOP) for query in asked])
    alone = time.perf_counter() - start

    def recall(top: int) -> float:
        pairs = zip(found[:, :top], truth[:, :top], strict=True)
        return round(float(np.mean([len(set(a) & set(b)) / top for a, b in pairs])), 3)

    return {
        "search": name,
        "recall@10": recall(10),
        "recall@100": recall(100),
        "alone ms": round(1000 * alone / len(asked), 1),
        "together ms": round(1000 * together / len(asked), 1),
    }


def rescored(index: Any, rows: Floats, candidates: int) -> Search:
    """A FAISS index whose candidates are put in the order of their exact scores."""

    def search(queries: Floats, top: int) -> NDArray[np.int64]:
        found = index.search(queries, candidates)[1]
        best = []
        for query, ids in zip(queries, found, strict=True):
            ids = ids[ids >= 0]
            order = np.argsort(-(rows[ids] @ query))[:top]
            best.append(np.pad(ids[order], (0, top - len(order)), constant_values=-1))
        return np.stack(best)

    return search


def built(kind: str, rows: Floats) -> tuple[Any, Record]:
    """An index of FAISS's factory, trained as the library trains its own; seconds and MiB."""
    start = time.perf_counter()
    index = faiss.index_factory(rows.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    if "IVF" in kind:
        index.cp.niter, index.cp.max_points_per_centroid = 10, 64
    chosen = np.random.default_rng(0).choice(len(rows), min(len(rows), 2**16), replace=False)
    index.train(rows[np.sort(chosen)])
    index.add(rows)
    seconds = time.perf_counter() - start
    return index, {"build s": round(seconds, 1), "MiB": _mebibytes(index)}


def _mebibytes(index: Any) -> int:
    return round(faiss.serialize_index(index).nbytes / 2**20)


def searches(bank: PromptBank, asked: Floats) -> list[Record]:
    """What the library does, then the alternatives."""
    rows, index = bank.embeddings, PromptIndex(bank)

    def nearest(queries: Floats, top: int) -> NDArray[np.int64]:
        return index.nearest(queries, top)[1]

    truth = nearest(asked, TOP)
    records = []

    def add(name: str, search: Search, cost: Record) -> None:
        records.append(figures(name, search, asked, truth) | cost)
        click.echo(records[-1], err=True)

    add("PromptIndex", nearest, {"build s": 0.0, "MiB": 0})
    start = time.perf_counter()
    index.prepare()
    seconds = round(time.perf_counter() - start, 1)
    mebibytes = _mebibytes(index._lists) if index._lists else 0
    add("PromptIndex, prepared", nearest, {"build s": seconds, "MiB": mebibytes})
    made: dict[str, tuple[Any, Record]] = {}
    for kind, probes, candidates in ALTERNATIVES:
        if kind not in made:
            made = {kind: built(kind, rows)}  # the one before is let go
        other, cost = made[kind]
        if probes:
            other.nprobe = probes
        name = f"{kind}, {probes} probes" if probes else kind
        add(name, rescored(other, rows, candidates), cost)
    made.clear()
    fewer = rows[: len(rows) // 10]
    truth = np.argsort(-(asked @ fewer.T), axis=1)[:, :TOP]
    other, cost = built(GRAPH, fewer)
    other.hnsw.efSearch = 256
    add(f"{GRAPH}, a tenth of the rows", rescored(other, fewer, TOP), cost)
    return records


def crossover(rows: int, width: int) -> list[Record]:
    """A record a size up to `rows`: milliseconds of one question, to both signs."""
    records = []
    for size in (size for size in SIZES if size <= rows):
        bank = PromptBank(tuple(map(str, range(size))), text_like(size, width)).centred()
        asked = questions(bank)
        exact, prepared = PromptIndex(bank), PromptIndex(bank)
        library.LARGE = 0  # whatever the library would do with so few
        start = time.perf_counter()
        prepared.prepare()
        build = time.perf_counter() - start

        def flat(query: Floats, rows: Floats = bank.embeddings) -> None:
            faiss.knn(np.stack([query, -query]), rows, SHOWN, faiss.METRIC_INNER_PRODUCT)

        ways: dict[str, Callable[[Floats], object]] = {
            "exact ms": partial(exact.both_signs, top=SHOWN),
            "FAISS flat ms": flat,
            "prepared ms": partial(prepared.both_signs, top=SHOWN),
        }
        least = dict.fromkeys(ways, float("inf"))
        for query in asked[:TURNS]:
            for name, search in ways.items():
                start = time.perf_counter()
                search(query)
                least[name] = min(least[name], time.perf_counter() - start)
        truth = exact.nearest(asked, SHOWN)[1]
        found = (prepared.nearest(query[None], SHOWN)[1] for query in asked)
        shared = [len(np.intersect1d(*pair)) for pair in zip(found, truth, strict=True)]
        gain = least["exact ms"] - least["prepared ms"]
        records.append(
            {
                "prompts": size,
                **{name: round(1000 * seconds, 2) for name, seconds in least.items()},
                "recall@10": round(float(np.mean(shared)) / SHOWN, 3),
                "build s": round(build, 2),
                "pays after": int(np.ceil(build / gain)) if gain > 0 else None,
            }
        )
        click.echo(records[-1], err=True)
    return records


def file_costs(bank: PromptBank) -> Record:
    """Seconds and GiB at the peak of writing an atlas with this bank and of opening it."""
    shipped = Atlas.open(EMBEDDED.atlas)
    rows = np.zeros((len(shipped.rows), bank.width), np.float32)
    still = np.zeros(len(rows), np.float32)
    atlas = replace(shipped, rows=rows, consistency=still, strength=still, prompts=bank)
    record: Record = {"bank GiB": round(bank.embeddings.nbytes / 2**30, 2)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "atlas.h5"
        for name, act in (("write", lambda: atlas.write(path)), ("open", lambda: Atlas.open(path))):
            start = time.perf_counter()
            peak, opened = memory_of(act, "cpu")
            record[f"{name} s"] = round(time.perf_counter() - start, 1)
            record[f"{name} GiB"] = round(peak, 2)
    start = time.perf_counter()
    peak, _ = memory_of(opened.prompts.centred, "cpu")
    return record | {"centre s": round(time.perf_counter() - start, 1), "GiB": round(peak, 2)}


def on_disk(folder: Path, rows: int) -> tuple[Record, list[Record]]:
    """What it took to make, and how it answers rows of channels."""
    torch.set_num_threads(1)
    bank = DiskBank(folder, rows, Composed(SUBJECTS, things()), load_encoder(EMBEDDED.name, "cpu"))
    bank.make(lambda told: click.echo(told, err=True))
    return bank.told(), searched(bank, channels())


@click.command()
@click.option("--rows", type=click.IntRange(1000, 10**7), default=10**6, show_default=True)
@click.option("--width", default=512, show_default=True, help="Of synthetic rows.")
@click.option(
    "--phrases",
    "kept",
    type=click.Path(path_type=Path),
    metavar="FILE.npy",
    help="Composed phrases instead; their embeddings are kept in this file.",
)
@click.option(
    "--disk",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Composed phrases, and an index of them on disk; ten million at most.",
)
@click.option("--crossover", "single", is_flag=True, help="Single questions to banks of all sizes.")
@click.option("--json", "as_json", is_flag=True)
def main(
    rows: int, width: int, kept: Path | None, disk: Path | None, single: bool, as_json: bool
) -> None:
    faiss.omp_set_num_threads(1)
    if disk is not None:
        made, records = on_disk(disk, rows)
        if as_json:
            answer = {"machine": machine("cpu"), "made": made, "searches": records}
            click.echo(json.dumps(answer, indent=2))
            return
        click.echo(text_table([made]) + "\n\n" + text_table(records))
        return
    if rows > IN_MEMORY:
        raise click.UsageError(f"--rows: more than {IN_MEMORY:,} are for --disk")
    if single:
        records = crossover(rows, width)
        click.echo(json.dumps(records, indent=2) if as_json else text_table(records))
        return
    embeddings = composed(rows, kept) if kept else text_like(rows, width)
    bank = PromptBank(tuple(phrases(rows)), embeddings)
    del embeddings
    costs = file_costs(bank)
    click.echo(costs, err=True)
    bank = bank.centred()
    records = searches(bank, channels() if kept else questions(bank))
    answer = {"machine": machine("cpu"), "rows": rows, "width": bank.width}
    if as_json:
        click.echo(json.dumps({**answer, "searches": records, "file": costs}, indent=2))
        return
    click.echo(answer)
    click.echo(text_table(records) + "\n\n" + text_table([costs]))


if __name__ == "__main__":
    main()
