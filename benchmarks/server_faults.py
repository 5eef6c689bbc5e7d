"""What the service loses: `python benchmarks/server_faults.py`.

A real service of `avatars` on the loopback is asked for edits, films and optimisations by clients
that know nothing of what goes on, while its worker, itself, or both are killed (SIGKILL) at random
moments. Then each job that a client was told of is looked up, and each of its pictures opened. A
job may have failed only because its worker was lost twice at it. Further: clients that hang up in
the midst of a body, that send half of one, that read slowly; a damaged table; and, as root on
Linux, a full disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from PIL import Image

from styleatlas.server.bodies import BODIES
from styleatlas.server.client import Client
from styleatlas.server.works.foreman import Works
from styleatlas.server.works.nouns import Limits, Settings
from styleatlas.store.errors import DiskFull, ServiceError
from styleatlas.store.records import text_table

EDIT = [{"neutral": "a face", "target": "a smiling face"}]
CLIENTS = 6


class Service:
    """A service in a process of its own, in a folder, which is begun again and again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.url = folder, f"http://127.0.0.1:{self.port}"
        self.client = Client(self.url)
        self.begin()

    def begin(self) -> None:
        command = [sys.executable, "-m", "styleatlas", "serve", "avatars", "--threads", "1"]
        command += ["--port", str(self.port), "--folder", str(self.folder)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/v1/status", timeout=10) as answer:
            return json.load(answer)

    def ready(self) -> None:
        """Waits until it is."""
        while True:
            with suppress(OSError):
                if self.status()["ready"]:
                    return
            if self.process.poll() is not None:
                raise SystemExit("the service ended by itself")
            time.sleep(0.1)

    def workers(self) -> list[int]:
        with suppress(OSError):
            return [worker["pid"] for worker in self.status()["workers"]]
        return []

    def kill(self, what: str) -> None:
        """`worker`, `service` or `both`; the service is begun again."""
        if what != "service":
            for pid in self.workers():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if what != "worker":
            self.process.kill()
            self.process.wait()
            self.begin()

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


class Load(threading.Thread):
    """A client that asks for one job after the other, and remembers which it was told of."""

    def __init__(self, service: Service, number: int) -> None:
        super().__init__()
        self._client, self._random = Client(service.url), random.Random(number)
        self.told: list[str] = []
        self.refused: Counter[str] = Counter()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            seed, kind = self._random.randrange(10**6), self._random.random()
            try:
                if kind < 0.8:
                    job = self._client.edit(seeds=[seed], edits=EDIT)
                elif kind < 0.9:
                    job = self._client.film(seeds=[seed], edits=EDIT, seconds=1.0)
                else:
                    body = {"seeds": [seed], "neutral": "a face", "target": "a pirate", "steps": 40}
                    job = self._client.submit("optimisations", body)
                self.told.append(job.id)
                self._client.wait(job)
            except ServiceError as error:
                self.refused[str(error)[:60]] += 1


def under_kills(service: Service, moments: int, seed: int) -> dict[str, Any]:
    """What became of all jobs while the worker, the service or both were killed."""
    loads, chance = [Load(service, n) for n in range(CLIENTS)], random.Random(seed)
    for load in loads:
        load.start()
    kills: Counter[str] = Counter()
    for number in range(moments):
        service.ready()
        time.sleep(chance.uniform(0.2, 6.0))
        what = ("worker", "service", "both")[number % 3]
        service.kill(what)
        kills[what] += 1
    for load in loads:
        load.over.set()
    for load in loads:
        load.join()
    service.ready()
    states: Counter[str] = Counter()
    bad = 0
    for job in [job for load in loads for job in load.told]:
        with suppress(ServiceError):  # of one that has failed
            service.client.wait(service.client.job(job))
        found = service.client.job(job)
        problem = found.told.get("problem") or {}
        states[found.state if found.state == "done" else str(problem.get("kind"))] += 1
        bad += not all(opens(service, picture) for picture in found.pictures)
    with closing(sqlite3.connect(service.folder / "jobs.sqlite")) as table:
        ((kept,),) = table.execute("SELECT count(*) FROM jobs")
    told = sum(len(load.told) for load in loads)
    print(f"killed: {dict(kills)}; answers that clients gave up on: "
          f"{sum((load.refused for load in loads), Counter())}")  # fmt: skip
    return {
        "fault": f"{moments} kills of worker, service, both",
        "jobs": told,
        "done": states.pop("done", 0),
        "failed": json.dumps(dict(states)) if states else "none",
        "bad pictures": bad,
        "told": f"{kept} in the table, {told} told to clients",
    }


def opens(service: Service, picture: Mapping[str, Any]) -> bool:
    """Whether a picture is there, and whole."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "picture")
            service.client.save(picture, path)
            with Image.open(path) as image:
                image.load()
    except (ServiceError, OSError):
        return False
    return True


def rude_clients(service: Service, count: int = 20) -> dict[str, Any]:
    """Clients that hang up, stop in the midst, and read slowly, beside one that does not."""
    service.ready()
    open_ones = []
    for number in range(count):
        for body in (b"", b'{"seeds": [1', b"x" * 1000):
            one = socket.create_connection(("127.0.0.1", service.port))
            head = f"POST /api/v1/edits HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
            head += "Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
            one.sendall(head.encode() + body)
            if number % 2:
                one.close()
            else:
                open_ones.append(one)
        slow = socket.create_connection(("127.0.0.1", service.port))
        slow.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n\r\n".encode())
        open_ones.append(slow)  # which reads nothing
    done = [service.client.wait(service.client.edit(seeds=[n], edits=EDIT)) for n in range(10)]
    for one in open_ones:
        one.close()
    made = sum(job.state == "done" for job in done)
    waiting = service.status()["waiting"]
    told = f"{waiting} jobs of them wait"
    return row(f"{4 * count} rude clients beside a polite one", len(done), made, told)


def damaged_table(service: Service) -> dict[str, Any]:
    """A table with rubbish in its midst."""
    service.ready()
    job = service.client.wait(service.client.edit(seeds=[1], edits=EDIT))
    service.end()
    path = service.folder / "jobs.sqlite"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    service.begin()
    service.ready()
    there = opens(service, job.pictures[0])
    again = service.client.wait(service.client.edit(seeds=[1], edits=EDIT))
    aside = len(list(service.folder.glob("jobs.sqlite.damaged-*")))
    told = f"{aside} file set aside; its picture is {'there' if there else 'gone'}"
    return row("a damaged table", 1, int(again.state == "done"), told)


def row(fault: str, jobs: int, done: int, told: str) -> dict[str, Any]:
    failed = "none" if done == jobs else str(jobs - done)
    return {"fault": fault, "jobs": jobs, "done": done, "failed": failed, "bad pictures": 0,
            "told": told}  # fmt: skip


@contextmanager
def small_disk(mebibytes: int) -> Iterator[Path | None]:
    """A file system of that size, where this may be made."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder]
        if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


async def full_disk(folder: Path) -> dict[str, Any]:
    """Edits until the disk is full, without the reserve that else refuses them before; then room is
    made, and they go on."""
    works = await Works.open(Settings("avatars", folder, threads=1, limits=Limits(reserve=0)))
    await works.loaded()
    states: Counter[str] = Counter()
    body = BODIES["edit"].model_validate({"seeds": list(range(64)), "edits": EDIT}).plain()
    ids = []
    while states["refused"] + states["disk"] < 10:
        try:
            job = await works.submit("edit", body, "one")
        except DiskFull:
            states["refused"] += 1
            continue
        ids.append(job.id)
        job = await works.ended(job.id, 600.0)
        states["done" if job.problem is None else job.problem.kind] += 1
    first = works.job(ids[0])
    assert first is not None and first.result is not None
    whole = [works.pictures.open(picture["name"]).path for picture in first.result["pictures"]]
    for path in whole:
        with Image.open(path) as picture:
            picture.load()
    await works.forget(ids[0])
    await works.tidy()
    small = BODIES["edit"].model_validate({"seeds": [1], "edits": EDIT}).plain()
    again = await works.ended((await works.submit("edit", small, "one")).id, 600.0)
    known = sum(works.job(job) is not None for job in ids[1:])
    await works.close()
    told = f"{states['refused']} refused; {known} of {len(ids) - 1} known; "
    told += f"after room was made: {again.state}"
    jobs = states["done"] + states["disk"] + states["refused"]
    return {"fault": "a full disk", "jobs": jobs, "done": states["done"],
            "failed": f"{states['disk']}, as told", "bad pictures": 0, "told": told}  # fmt: skip


@click.command()
@click.option("--moments", default=30, show_default=True, help="At which something is killed.")
@click.option("--seed", default=0, show_default=True)
def cli(moments: int, seed: int) -> None:
    """What the service loses when its parts are killed, its disk is full or its table damaged."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder))
        try:
            rows += [under_kills(service, moments, seed), rude_clients(service)]
            rows += [damaged_table(service)]
        finally:
            service.end()
    with small_disk(24) as place:
        if place is not None:
            rows.append(asyncio.run(full_disk(place)))
    print(text_table(rows))


if __name__ == "__main__":
    cli()
