"""A service below HTTP, with its real worker, for tests that are not coroutines."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from styleatlas.server.bodies import BODIES
from styleatlas.server.works.foreman import Works
from styleatlas.server.works.nouns import Event, Job, Kind, Limits, Settings

LONG = 300.0
"""Seconds that end what hangs."""
SMILE = [{"neutral": "a face", "target": "a smiling face"}]
ENDLESS = {"seeds": [1], "neutral": "a face", "target": "a pirate", "steps": 10_000}
"""An optimisation of minutes, which tells of its progress all the time."""


def body(kind: Kind, **given: Any) -> dict[str, Any]:
    """What a client's request of a kind ends as."""
    return BODIES[kind].model_validate(given).plain()


class Served:
    """Works in a loop of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, works: Works, folder: Path) -> None:
        self._loop, self.works, self.folder = loop, works, folder

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(LONG)

    def on_loop(self, function: Callable[[], Any]) -> Any:
        async def called() -> Any:
            return function()

        return self.call(called())

    def submit(self, kind: Kind, client: str = "anna", key: str | None = None, **given: Any) -> Job:
        return self.call(self.works.submit(kind, body(kind, **given), client, key))

    def ended(self, job: Job) -> Job:
        return self.call(self.works.ended(job.id, LONG))

    def done(self, kind: Kind, **given: Any) -> Job:
        job = self.ended(self.submit(kind, **given))
        assert job.state == "done", job.problem
        return job

    def until(self, job: Job, kind: str, after: int = 0) -> Event:
        """The first event of a kind, once it is there."""

        async def wait() -> Event:
            async for event in self.works.events(job.id, after):
                if event.kind == kind:
                    return event
            raise AssertionError(f"there was no {kind}")

        return self.call(wait())

    def events(self, job: Job, after: int = 0) -> list[Event]:
        async def listed() -> list[Event]:
            return [event async for event in self.works.events(job.id, after)]

        return self.call(listed())

    def file(self, name: str) -> Path:
        return self.works.pictures.open(name).path

    def signal_worker(self, number: signal.Signals) -> int:
        (worker,) = self.works.health()["workers"]
        os.kill(worker["pid"], number)
        return worker["pid"]


async def closed(works: Works, drain: float) -> None:
    await works.drain(drain)
    await works.close()


@contextmanager
def serving(
    folder: Path,
    keep: float = 3600.0,
    drain: float = 0.0,
    mappers: Path | None = None,
    **limits: Any,
) -> Iterator[Served]:
    """Works of `avatars` in a folder, with its worker loaded, closed at the end."""
    given = {"mappers": mappers, "threads": 1, "keep": keep, "limits": Limits(**limits)}
    settings = Settings("avatars", folder, **given)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    works = None
    try:
        works = asyncio.run_coroutine_threadsafe(Works.open(settings), loop).result(LONG)
        served = Served(loop, works, folder)
        served.call(works.loaded())
        yield served
    finally:
        if works is not None:
            asyncio.run_coroutine_threadsafe(closed(works, drain), loop).result(LONG)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    """One service for the tests of a file that leave its worker alone."""
    with pytest.MonkeyPatch.context() as environment:  # as each test has it, which comes later
        environment.setenv("STYLEATLAS_MODELS", str(tmp_path_factory.mktemp("models")))
        environment.setenv("STYLEATLAS_MAPPERS", str(tmp_path_factory.mktemp("mappers")))
        with serving(tmp_path_factory.mktemp("served")) as found:
            yield found
