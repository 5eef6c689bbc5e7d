"""Whose turn it is: waiting jobs, a client after the other."""

from __future__ import annotations

import json
from collections import deque

from .nouns import Job


class Turns:
    """Jobs that wait. Clients take turns, each with its oldest job, so that one who asks for much
    waits for itself, and all others wait for one job of its at most.

    Args:
        together: images that jobs which fit together may come to.
    """

    def __init__(self, together: int) -> None:
        self._together = together
        self._waiting: dict[str, deque[Job]] = {}  # by client, whose turn is next first

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, job: Job) -> None:
        """Behind the client's others."""
        self._waiting.setdefault(job.client, deque()).append(job)

    def remove(self, job: Job) -> bool:
        """Whether it waited."""
        own = self._waiting.get(job.client, deque())
        waited = any(one.id == job.id for one in own)
        if waited:
            self._keep(job.client, deque(one for one in own if one.id != job.id))
        return waited

    def place(self, job: Job) -> int:
        """Counted from 1, the next one; 0 where it does not wait."""
        own = self._waiting.get(job.client, deque())
        rank = next((i for i, one in enumerate(own) if one.id == job.id), None)
        if rank is None:
            return 0
        before, earlier = rank, True
        for client, others in self._waiting.items():
            if client == job.client:
                earlier = False
            else:
                before += min(len(others), rank + earlier)
        return before + 1

    def take(self) -> list[Job]:
        """The next job, with those of anybody that are rendered with it; none where none waits.

        Whose job goes along keeps the turn: it costs the others next to nothing.
        """
        if not self._waiting:
            return []
        client, own = next(iter(self._waiting.items()))
        first = own.popleft()
        del self._waiting[client]
        if own:  # behind all others
            self._waiting[client] = own
        taken, images = [first], _images(first)
        if (alike := _alike(first)) is None:
            return taken
        for other, jobs in list(self._waiting.items()):
            while jobs and _alike(jobs[0]) == alike:
                if images + _images(jobs[0]) > self._together:
                    break
                images += _images(jobs[0])
                taken.append(jobs.popleft())
            self._keep(other, jobs)
        return taken

    def _keep(self, client: str, jobs: deque[Job]) -> None:
        if jobs:
            self._waiting[client] = jobs
        else:
            del self._waiting[client]


def _images(job: Job) -> int:
    return len(job.body.get("seeds") or ())


def _alike(job: Job) -> str | None:
    """Equal for edits that differ in their seeds alone, which can be rendered together; None for
    what cannot, and for what a worker was lost at: it might take others along again."""
    if job.kind != "edit" or not _images(job) or job.losses:
        return None
    return json.dumps({**job.body, "seeds": None}, sort_keys=True)
