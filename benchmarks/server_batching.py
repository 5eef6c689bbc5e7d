"""What rendering waiting edits together gives: `python benchmarks/server_batching.py`.

Eight clients each ask for one edit after the other, of another seed each time, from works whose
worker renders together what fits, and from works whose worker takes one job at a time, in turns.
A closed loop without pauses, in one process beside the worker's; nothing goes over HTTP. The best
of several rounds is told.
"""

from __future__ import annotations

import asyncio
import platform
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np

from styleatlas.server.bodies import BODIES
from styleatlas.server.works.foreman import Works
from styleatlas.server.works.nouns import Limits, Settings
from styleatlas.store.records import text_table

EDIT = [{"neutral": "a face", "target": "a smiling face"}]
ASKED = {
    "alpha found, and on where it is not enough": {},
    "alpha found, by direction": {"method": "direction"},
    "alpha given": {"method": "direction", "alpha": 0.5},
}


async def client(works: Works, name: str, asked: dict[str, Any], jobs: int) -> list[float]:
    """The seconds that each of some edits took, one after the other."""
    took = []
    for number in range(jobs):
        seed = int(name) * jobs + number
        body = BODIES["edit"].model_validate({"seeds": [seed], "edits": EDIT, **asked}).plain()
        begun = time.perf_counter()
        job = await works.ended((await works.submit("edit", body, name)).id, 600.0)
        if job.state != "done":
            raise SystemExit(f"an edit was not made: {job.problem}")
        took.append(time.perf_counter() - begun)
    return took


async def measured(
    works: Works, clients: int, asked: dict[str, Any], jobs: int
) -> dict[str, float]:
    """Edits a second of so many clients, and how long they take, in milliseconds."""
    begun = time.perf_counter()
    told = await asyncio.gather(*(client(works, str(n), asked, jobs) for n in range(clients)))
    seconds = time.perf_counter() - begun
    p50, p95 = (1000 * np.quantile(np.concatenate(told), [0.5, 0.95])).tolist()
    return {"edits a second": clients * jobs / seconds, "p50 ms": p50, "p95 ms": p95}


async def main(clients: int, jobs: int, rounds: int, threads: int | None) -> list[dict[str, Any]]:
    async with AsyncExitStack() as stack:
        held = {}
        for name, together in (("together", 64), ("one by one", 1)):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            limits = Limits(together=together)
            works = await Works.open(Settings("avatars", folder, threads=threads, limits=limits))
            stack.push_async_callback(works.close)
            await works.loaded()
            held[name] = works
        rows = []
        for what, asked in ASKED.items():
            found: dict[str, list[dict[str, float]]] = {name: [] for name in held}
            for _ in range(rounds):
                for name, works in held.items():
                    found[name].append(await measured(works, clients, asked, jobs))
            best = {
                name: max(tried, key=lambda one: one["edits a second"])
                for name, tried in found.items()
            }
            gain = best["together"]["edits a second"] / best["one by one"]["edits a second"]
            for name, figures in best.items():
                rows.append({"edit": what, "rendered": name, **figures, "times": gain})
                gain = 1.0
    return rows


@click.command()
@click.option("--clients", default=8, show_default=True)
@click.option("--jobs", default=20, show_default=True, help="Of each client, in a round.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--threads", type=int, help="Of each worker.")
def cli(clients: int, jobs: int, rounds: int, threads: int | None) -> None:
    """Edits of several clients rendered together, against one by one."""
    rows = asyncio.run(main(clients, jobs, rounds, threads))
    print(f"{clients} clients, {jobs} edits each, best of {rounds} rounds; {platform.machine()}")
    print(text_table(rows))


if __name__ == "__main__":
    cli()
