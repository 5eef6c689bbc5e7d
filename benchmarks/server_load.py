"""What the service bears: `python benchmarks/server_load.py mixed`, `fairness` or `live`.

All by loopback, against a `styleatlas serve avatars` with one worker of one thread. Clients are
closed loops without pauses: each asks again once it was answered. The generator of load is pinned
to one core, and the service shares what other cores there are; clients are told apart by their
addresses, 127.0.0.2 and on. `mixed` needs locust: `pip install locust`.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np

from styleatlas.store.records import text_table

TARGETS = (
    "a face with glasses",
    "a sad face",
    "a smiling face",
    "a face with a hat",
    "a bald face",
)
LOOK_UPS = ("directions", "similar", "channels", "entangled", "samples")
WAIT = {"Prefer": "wait=60"}
PATIENCE = 120.0


def edit_of(number: int) -> dict[str, Any]:
    """An edit of one image, unlike the one before."""
    pair = {"neutral": "a face", "target": TARGETS[number % len(TARGETS)]}
    return {"seeds": [number % 10_000], "edits": [pair], "alpha": 1.0, "method": "direction"}


def address_of(client: int) -> str:
    return f"127.0.{client // 250}.{client % 250 + 2}"


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, int]]:
    """A service that refuses nobody for coming often; its address, and its process."""
    command = [sys.executable, "-m", "styleatlas", "serve", "avatars", "--port", "0"]
    command += ["--threads", "1", "--folder", str(folder), "--rate", "10000", "--jobs", "20"]
    with (folder.parent / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip().rstrip("/")
        while httpx.get(f"{url}/api/v1/ready").status_code != 200:
            time.sleep(0.1)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def pin_to_last_core() -> str:
    """Pins this process; the core, in words."""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned"
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return f"core {core} of {os.cpu_count()}"


def memory_of(pid: int) -> dict[str, float]:
    """Megabytes that the service and its worker hold, of their own."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    sizes = {"service": _resident(pid), "worker": sum(map(_resident, map(int, children)))}
    return {name: round(size / 1024, 1) for name, size in sizes.items()}


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in status if line.startswith("RssAnon"))


@click.group()
def main() -> None:
    """Load on the service."""


@main.command()
@click.option("--users", default=200, show_default=True)
@click.option("--seconds", default=180, show_default=True)
def mixed(users: int, seconds: int) -> None:
    """Edits, look-ups and pictures, by locust."""
    with tempfile.TemporaryDirectory() as place, service(Path(place, "kept")) as (url, pid):
        core = pin_to_last_core()
        sizes: list[dict[str, float]] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(2):
                sizes.append(memory_of(pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        ids = Path(place, "ids")
        command = [sys.executable, "-m", "locust", "-f", __file__, "--headless", "--host", url]
        command += ["-u", str(users), "-r", "50", "-t", f"{seconds}s", "--csv", f"{place}/load"]
        command += ["--only-summary", "--stop-timeout", "60"]
        subprocess.run(command, check=False, env={**os.environ, "LOAD_IDS": str(ids)})
        over.set()
        watcher.join()
        with Path(place, "load_stats.csv").open() as file:
            rows = list(csv.DictReader(file))
        click.echo(f"{users} users for {seconds} s, load from {core}")
        click.echo(text_table([_row(row) for row in rows]))
        for part in ("service", "worker"):
            tenths = [np.median([size[part] for size in some]) for some in _tenths(sizes)]
            told = ", ".join(f"{size:.0f}" for size in tenths)
            click.echo(f"{part}: MB in each tenth of the time: {told}")
        states = _states(url, ids.read_text().split())
        click.echo(f"jobs that were taken, by what became of them: {states}")


def _row(row: dict[str, str]) -> dict[str, Any]:
    return {
        "request": row["Name"],
        "requests": int(row["Request Count"]),
        "failures": int(row["Failure Count"]),
        "a second": round(float(row["Requests/s"]), 1),
        "p50 ms": row["50%"],
        "p95 ms": row["95%"],
        "p99 ms": row["99%"],
    }


def _tenths(sizes: list[dict[str, float]]) -> list[list[dict[str, float]]]:
    ends = np.linspace(0, len(sizes), 11).astype(int)
    return [sizes[a:b] for a, b in pairwise(ends) if a < b]


def _states(url: str, ids: list[str]) -> dict[str, int]:
    """What became of jobs; each is waited for."""
    found: dict[str, int] = {}
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        for id in ids:
            while (job := client.get(f"/api/v1/jobs/{id}").json()).get("state") in (
                "waiting",
                "running",
            ):
                time.sleep(0.5)
            state = job.get("state", "lost")
            found[state] = found.get(state, 0) + 1
    return found


@main.command()
@click.option("--polite", default=20, show_default=True)
@click.option("--seconds", default=30, show_default=True)
def fairness(polite: int, seconds: int) -> None:
    """Equal clients, and then the same beside one that keeps as many jobs waiting as it may."""
    with tempfile.TemporaryDirectory() as place, service(Path(place, "kept")) as (url, _):
        core = pin_to_last_core()
        rows = []
        for flooders in (0, 1):
            took, flooded = asyncio.run(_compete(url, polite, flooders, seconds))
            counts = np.array([len(one) for one in took], float)
            every = 1000 * np.concatenate([np.array(one) for one in took])
            rows.append(
                {
                    "polite": polite,
                    "flooders": flooders,
                    "edits of the polite": int(counts.sum()),
                    "fewest": int(counts.min()),
                    "most": int(counts.max()),
                    "Jain": round(float(counts.sum() ** 2 / (len(counts) * (counts**2).sum())), 4),
                    "p50 ms": round(float(np.quantile(every, 0.5))),
                    "p95 ms": round(float(np.quantile(every, 0.95))),
                    "edits of the flooder": flooded,
                }
            )
        click.echo(f"{seconds} s each, load from {core}; Jain's index is 1 where all have the same")
        click.echo(text_table(rows))


async def _compete(
    url: str, polite: int, flooders: int, seconds: float
) -> tuple[list[list[float]], int]:
    end = time.monotonic() + seconds
    ones = [_ask(url, client, end) for client in range(polite)]
    floods = [_ask(url, polite, end) for _ in range(20 * flooders)]
    told = await asyncio.gather(*ones, *floods)
    return told[:polite], sum(map(len, told[polite:]))


async def _ask(url: str, client: int, end: float) -> list[float]:
    """The seconds that edits took, one after the other."""
    took = []
    transport = httpx.AsyncHTTPTransport(local_address=address_of(client))
    async with httpx.AsyncClient(base_url=url, transport=transport, timeout=PATIENCE) as http:
        while (begun := time.monotonic()) < end:
            body = edit_of(random.randrange(10_000))
            answer = await http.post("/api/v1/edits", json=body, headers=WAIT)
            if answer.status_code == 200 and answer.json()["state"] == "done":
                took.append(time.monotonic() - begun)
    return took


@main.command()
@click.option("--seconds", default=20, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def live(seconds: int, rounds: int) -> None:
    """Frames of live sessions: a slider that is moved, each client's next move at its frame."""
    with tempfile.TemporaryDirectory() as place, service(Path(place, "kept")) as (url, _):
        core = pin_to_last_core()
        rows = []
        for _ in range(rounds):
            for clients in (1, 8):
                took = asyncio.run(_slide_all(url, clients, seconds / rounds))
                every = 1000 * np.concatenate([np.array(one) for one in took])
                rows.append(
                    {
                        "clients": clients,
                        "frames a second each": round(len(every) / clients / (seconds / rounds), 1),
                        "p50 ms": round(float(np.quantile(every, 0.5)), 1),
                        "p95 ms": round(float(np.quantile(every, 0.95)), 1),
                    }
                )
        click.echo(f"{rounds} rounds, one after the other; load from {core}")
        click.echo(text_table(sorted(rows, key=lambda row: row["clients"])))


async def _slide_all(url: str, clients: int, seconds: float) -> list[list[float]]:
    return await asyncio.gather(*(_slide(url, client, seconds) for client in range(clients)))


async def _slide(url: str, client: int, seconds: float) -> list[float]:
    from websockets.asyncio.client import connect

    took = []
    edit = {"neutral": "a face", "target": TARGETS[client % len(TARGETS)]}
    at = url.replace("http", "ws") + "/api/v1/live"
    async with connect(at, proxy=None, local_addr=(address_of(client), 0)) as socket:
        await socket.send(json.dumps({"seeds": [client]}))
        await socket.recv()
        end, number = time.monotonic() + seconds, 0
        while (begun := time.monotonic()) < end:
            number += 1
            alpha = 1 + np.sin(number / 20)
            message = {"number": number, "edits": [edit | {"alpha": alpha}], "moving": True}
            await socket.send(json.dumps(message))
            await socket.recv()
            took.append(time.monotonic() - begun)
    return took


if "locust" in sys.modules:  # which loads this file as its own
    from itertools import count

    from locust import HttpUser, task
    from requests.adapters import HTTPAdapter

    _numbers = count()

    class Loopback(HTTPAdapter):
        """Sends from an address of its own."""

        def __init__(self, address: str) -> None:
            self._address = address
            super().__init__()

        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, source_address=(self._address, 0), **options)

    class Somebody(HttpUser):
        """Edits, looks at what came of it, and looks up."""

        def on_start(self) -> None:
            self.client.trust_env = False
            self.client.mount("http://", Loopback(address_of(next(_numbers))))

        @task(3)
        def edit(self) -> None:
            answer = self.client.post(
                "/api/v1/edits", json=edit_of(random.randrange(10_000)), headers=WAIT
            )
            if answer.status_code not in (200, 202):
                return
            job = answer.json()
            with open(os.environ["LOAD_IDS"], "a") as ids:
                ids.write(f"{job['id']}\n")
            for picture in (job["result"] or {}).get("pictures", ()):
                self.client.get(picture["url"], name="/api/v1/pictures/…")

        @task(2)
        def look_up(self) -> None:
            pair = {"neutral": "a face", "target": random.choice(TARGETS)}
            question = random.choice(LOOK_UPS)
            self.client.get(f"/api/v1/{question}", params=pair, name=f"/api/v1/{question}")

        @task(1)
        def phrases(self) -> None:
            prefix = random.choice(("a face", "glass", "h", "bl"))
            self.client.get("/api/v1/phrases", params={"prefix": prefix}, name="/api/v1/phrases")


if __name__ == "__main__":
    main()
