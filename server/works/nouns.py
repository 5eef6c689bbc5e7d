"""What the service speaks of: jobs and what becomes of them, limits, frames. Without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Kind = Literal[
    "edit", "film", "inversion", "optimise", "mapper", "crops", "texts", "channels", "samples"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
State = Literal["waiting", "running", "done", "failed", "cancelled"]
INPUTS = {"photo": "photo", "latents": "latents.npz", "mask": "mask"}
"""What a body may name, and what the file of it is called in the folder of the job."""
INVERSIONS = "inversions"
"""A folder in that of the job: what was found of its photo, so that it need not be found again."""
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Problem:
    """Why a job failed, in words for who asked for it; never a path, a traceback or another's data.

    Args:
        kind: `refused` by the engine's own checks, `deadline`, `memory`, `disk`, `lost` (its
            process, twice), or `internal`.
        title: the kind in a few words.
        detail: one line that names the thing, the place and the mend.
        mend: the last of these by itself, empty where there is none.
    """

    kind: Literal["refused", "deadline", "memory", "disk", "lost", "internal"]
    title: str
    detail: str
    mend: str = ""


@dataclass(frozen=True)
class Job:
    """A piece of work, as it stands.

    Args:
        id: unguessable.
        body: the request, as JSON values; see `server.bodies`.
        client: who asked for it.
        key: by which the client would know it again.
        created, started, ended: seconds since 1970; None before.
        losses: how often the process that was at it was lost.
        place: 1 for the next one; 0 where it does not wait.
        progress: `done`, `of` and `what`, of a running one that told.
        result: of a done one: `record`, as the command's `--json`; `pictures`, each with `name`,
            `role`, `type`, `width`, `height` and more by its role; `latents`, a name, where there
            are any; `notes`, what was told on the way.
    """

    id: str
    kind: Kind
    body: dict[str, Any]
    client: str
    key: str | None
    state: State
    created: float
    started: float | None = None
    ended: float | None = None
    losses: int = 0
    place: int = 0
    progress: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    problem: Problem | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ENDED


@dataclass(frozen=True)
class Event:
    """Something that happened to a job.

    Args:
        number: counted from 1 for each job; `queued` is told again, under its number, whenever the
            place changes.
        kind: `queued` (place), `started` (together), `progress` (done, of, what), `again` (why),
            then one of the states that end a job.
    """

    number: int
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Upload:
    """A photo as it came, not yet looked into."""

    id: str
    bytes: int
    created: float


@dataclass(frozen=True)
class Picture:
    """A file that may be handed out.

    Args:
        path: of the file.
        type: its media type.
        etag: never the same for other content.
    """

    path: Path
    type: str
    etag: str


@dataclass(frozen=True)
class Frame:
    """A picture of a live session.

    Args:
        number: of the message it answers.
        content: an encoded picture, empty where there is a problem.
        type: its media type.
        whole: whether it is as the edit leaves the images, of full size; else they still move.
        status: what there is to tell: `width` and `height`; the `changed` layer of one that moves;
            `images` of a whole one, see `live.Session`; or a `problem`, in words.
    """

    number: int
    content: bytes
    type: str
    whole: bool
    status: dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """What the service takes on.

    Args:
        waiting: jobs in the queue, of all clients.
        each: jobs of a client that wait or run.
        together: images that jobs which fit together are rendered in at once.
        seconds: that a job may run.
        grace: seconds that a worker has for stopping a job before it is ended.
        loading: seconds that a worker has for loading the models.
        upload: bytes of a photo.
        photos: bytes of all photos of a client.
        disk: bytes of pictures, photos and latents together; beyond, the oldest go.
        reserve: bytes that stay free on the disk; below, nothing new is taken.
        memory: bytes that a worker may take beyond those of its models.
        sessions: live sessions at once.
        sessions_each: of them, of a client.
        frame: seconds that a worker which is at no job has for a frame before it is ended; the
            first of a large generator waits for its draft.
        remembered: jobs that have ended; beyond, the oldest are forgotten.
    """

    waiting: int = 1000
    each: int = 20
    together: int = 64
    seconds: float = 1800.0
    grace: float = 10.0
    loading: float = 600.0
    upload: int = 2**25
    photos: int = 2**28
    disk: int = 4 * 2**30
    reserve: int = 2**28
    memory: int = 4 * 2**30
    sessions: int = 32
    sessions_each: int = 16
    frame: float = 600.0
    remembered: int = 20_000


@dataclass(frozen=True)
class Settings:
    """What is served, from where.

    Args:
        atlas, generator, clip: files or names, as commands take them.
        folder: where jobs, pictures and photos are kept; made if it is not there.
        devices: one worker process each; None stands for the best there is.
        tuned: whether a generator that was tuned from the atlas's own is taken.
        mappers: their folder; the user's library if not given.
        threads: of each worker on the CPU; by PyTorch if not given.
        keep: seconds after which what came of a job, and photos, are forgotten.
    """

    atlas: str
    folder: Path
    generator: str | None = None
    clip: str | None = None
    devices: tuple[str | None, ...] = (None,)
    tuned: bool = False
    mappers: Path | None = None
    threads: int | None = None
    keep: float = 24 * 3600.0
    limits: Limits = field(default_factory=Limits)
