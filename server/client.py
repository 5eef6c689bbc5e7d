"""A client of the service, for programs. It needs nothing but Python.

from styleatlas.server.client import Client

client = Client("http://127.0.0.1:7860")
job = client.edit(seeds=[1, 2], edits=[{"neutral": "a face", "target": "a sad face"}])
done = client.wait(job)
client.save(done.pictures[0], "sad.png")
"""

from __future__ import annotations

import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, TypeVar

from ..store.errors import ServiceError
from ..store.output import replacing

TRIES = 6
_LONGEST_PAUSE = 30.0
_ASK_AGAIN = (429, 502, 503, 504)
_ENDED = ("done", "failed", "cancelled")
_Taken = TypeVar("_Taken")


@dataclass(frozen=True)
class Job:
    """A job as it stood when it was asked for; `told` is all that the service said."""

    id: str
    kind: str
    state: str
    told: Mapping[str, Any]

    @property
    def has_ended(self) -> bool:
        return self.state in _ENDED

    @property
    def record(self) -> Mapping[str, Any]:
        """What came of it, as the command's --json; empty before it is done."""
        result: Mapping[str, Any] = self.told.get("result") or {}
        record: Mapping[str, Any] = result.get("record", {})
        return record

    @property
    def pictures(self) -> Sequence[Mapping[str, Any]]:
        """Each with `url`, `role`, `type`; none before it is done."""
        result: Mapping[str, Any] = self.told.get("result") or {}
        pictures: Sequence[Mapping[str, Any]] = result.get("pictures", ())
        return pictures

    @property
    def latents(self) -> str | None:
        """What an inversion found, to begin other jobs from."""
        found: str | None = (self.told.get("result") or {}).get("latents")
        return found


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: `queued`, `started`, `progress`, or how it ended."""

    number: int
    kind: str
    data: Mapping[str, Any]


class Refused(ServiceError):  # noqa: N818 # what the service did
    """A request that the service did not serve.

    Args:
        problem: the service's own words (RFC 9457).
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        told = [str(problem.get(key)) for key in ("detail", "mend") if problem.get(key)]
        super().__init__("; ".join(told) or f"the service answers {status}")
        self.status, self.problem = status, problem


class Failed(ServiceError):  # noqa: N818 # what the job did
    """A job that failed; the message says why."""


class Client:
    """Asks a service. What fails on the way, or is too much just now, is asked again, at growing
    intervals: a job that is asked for twice is made once.

    Args:
        url: where it is, with what a proxy takes off.
        token: its secret; None where it has none.
        timeout: seconds to wait for a word from it.

    Raises, in all that is asked:
        Refused: the service does not serve it, and says why.
        ServiceError: it cannot be reached.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 60.0) -> None:
        self._url, self._timeout = url.rstrip("/"), timeout
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def edit(self, **body: Any) -> Job:
        """An edit of seeds, latents or a photo; see POST edits."""
        return self.submit("edits", body)

    def film(self, **body: Any) -> Job:
        """A film of an edit."""
        return self.submit("films", body)

    def invert(self, photo: str, **body: Any) -> Job:
        """The latents of a photo."""
        return self.submit("inversions", {"photo": photo, **body})

    def submit(self, what: str, body: Mapping[str, Any]) -> Job:
        """Any job, by the last part of its path."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        return _job(self._json("POST", f"/api/v1/{what}", json.dumps(body).encode(), headers))

    def photo(self, path: str | os.PathLike[str]) -> tuple[str, Job]:
        """Sends a photo: its name there, and the job that finds what of it can be edited."""
        with open(path, "rb") as file:
            content = file.read()
        headers = {"Content-Type": "application/octet-stream", "Idempotency-Key": uuid.uuid4().hex}
        told = self._json("POST", "/api/v1/photos", content, headers)
        return told["id"], _job(told["crops"])

    def job(self, id: str) -> Job:
        """A job as it stands."""
        return _job(self._json("GET", f"/api/v1/jobs/{_quoted(id)}"))

    def wait(self, job: Job) -> Job:
        """A job once it has ended.

        Raises:
            Failed: it failed, and why.
        """
        for _ in self.events(job):
            pass
        ended = self.job(job.id)
        if ended.told.get("problem"):
            raise Failed(ended.told["problem"]["detail"])
        return ended

    def events(self, job: Job) -> Iterator[Event]:
        """What becomes of a job, until it ends. Where the connection is lost it goes on from the
        last event."""
        last, pauses = 0, _pauses()
        while True:
            try:
                for event in self._events(job, last):
                    last, pauses = event.number, _pauses()
                    yield event
                    if event.kind in _ENDED:
                        return
            except (OSError, HTTPException):
                pass
            if (pause := next(pauses, None)) is None:
                raise ServiceError(f"{self._url}: the connection was lost; ask for the job later")
            time.sleep(pause)

    def _events(self, job: Job, last: int) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
        path = f"/api/v1/jobs/{_quoted(job.id)}/events"
        with self._ask("GET", path, None, headers, lambda answer: answer) as answer:
            yield from _read_events(answer)

    def delete(self, what: str, name: str) -> None:
        """Ends one of `jobs` or `photos`, and all that came of it."""
        self._read("DELETE", f"/api/v1/{what}/{_quoted(name)}")

    def look_up(self, question: str, **words: Any) -> Any:
        """Any look-up, by the last part of its path: look_up("phrases", prefix="a face")."""
        query = urllib.parse.urlencode(words)
        return self._json("GET", f"/api/v1/{question}?{query}")

    def save(self, picture: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
        """Writes a picture of a job to a file, whole or not at all."""
        parts = urllib.parse.urlsplit(str(picture["url"]))
        content = self._read("GET", "/api/v1/" + parts.path.partition("/api/v1/")[2])
        with replacing(path) as file:
            file.write(content)

    def _json(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Any:
        return json.loads(self._read(method, path, body, headers))

    def _read(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> bytes:
        return self._ask(method, path, body, headers, _content)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        take: Callable[[HTTPResponse], _Taken],
    ) -> _Taken:
        """What is taken of the answer; asked again where that breaks off."""
        request = urllib.request.Request(
            self._url + path, body, {**self._headers, **headers}, method=method
        )
        for left, pause in zip(range(TRIES - 1, -1, -1), _pauses(), strict=False):
            try:
                return take(urllib.request.urlopen(request, timeout=self._timeout))
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in _ASK_AGAIN or not left:
                        raise _refused(error) from error
                    asked = error.headers.get("Retry-After", "")
                pause = max(pause, float(asked)) if asked.isdecimal() else pause
            except (OSError, HTTPException) as error:
                if not left:
                    raise ServiceError(
                        f"{self._url}: cannot be reached ({error}); check the address"
                    ) from error
            time.sleep(min(pause, _LONGEST_PAUSE))
        raise AssertionError("the last try returns or raises")


def _content(answer: HTTPResponse) -> bytes:
    with answer:
        return answer.read()


def _job(told: Mapping[str, Any]) -> Job:
    return Job(told["id"], told["kind"], told["state"], told)


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _pauses() -> Iterator[float]:
    """Seconds between tries, twice as long each time; by chance a little less, lest many clients
    come again at once."""
    for number in range(TRIES):
        yield min(_LONGEST_PAUSE, 0.25 * 2**number) * random.uniform(0.5, 1)


def _refused(error: urllib.error.HTTPError) -> Refused:
    try:
        problem = json.loads(error.read(2**20))
    except (ValueError, OSError):
        problem = {}
    return Refused(error.code, problem if isinstance(problem, dict) else {})


def _read_events(answer: HTTPResponse) -> Iterator[Event]:
    """The events of a stream (HTML, server-sent events)."""
    fields: dict[str, str] = {}
    for raw in answer:
        line = raw.decode().rstrip("\r\n")
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}
