"""Jobs as clients see them: asked for, waited for, watched, ended."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from pydantic import BaseModel, Field
from sse_starlette import EventSourceResponse, ServerSentEvent

from ..bodies import Body, Id
from ..works.foreman import Works
from ..works.nouns import Job, Kind, State
from .logs import tell
from .problems import Refusal, documented
from .recipes import Recipe, recipe_of

MAX_WAIT = 60.0
_WAIT = re.compile(r"(?:^|[,;]\s*)wait(?:\s*=\s*\"?(\d{1,4})\"?)?\s*(?:$|[,;])")

JobId = Annotated[Id, Path(description="A job, as its POST called it.")]


class PictureView(BaseModel):
    """A picture that a job made."""

    url: str = Field(examples=["/api/v1/pictures/3kVt…"])
    role: str = Field(
        description="picture, sheet, film, photo, crop, or cells: the images of a sheet alone, "
        "edge to edge",
        examples=["picture"],
    )
    type: str = Field(examples=["image/png"])
    width: int | None = None
    height: int | None = None
    face: int | None = Field(default=None, description="Of a crop: its number in the photo.")
    image: str | None = Field(default=None, description="Of a picture: what it was made of.")


class Result(BaseModel):
    """What came of a job."""

    record: dict[str, Any] = Field(description="As the command's --json.")
    pictures: list[PictureView] = []
    latents: str | None = Field(default=None, description="To begin other jobs from.")
    notes: list[str] = []


class JobProblem(BaseModel):
    """Why a job failed."""

    kind: str
    title: str
    detail: str
    mend: str = ""


class JobView(BaseModel):
    """A job as it stands."""

    id: str
    kind: Kind
    state: State
    created: float = Field(description="Seconds since 1970.")
    started: float | None = None
    ended: float | None = None
    place: int = Field(default=0, description="In the queue: 1 is next; 0 where it does not wait.")
    progress: dict[str, Any] | None = None
    result: Result | None = None
    problem: JobProblem | None = None
    recipe: Recipe | None = Field(default=None, description="The same by hand.")
    url: str
    events: str


class Jobs:
    """What every route of jobs needs.

    Args:
        works: does them.
        root: what a proxy puts before every path.
        names: of what is served, as the command names them, for recipes.
        log_prompts: whether the log tells what was asked for.
    """

    def __init__(self, works: Works, root: str, names: dict[str, str], log_prompts: bool) -> None:
        self.works, self.root, self._names = works, root, names
        self._log_prompts = log_prompts

    def url(self, id: str) -> str:
        return f"{self.root}/api/v1/jobs/{id}"

    def view(self, job: Job) -> JobView:
        """What a client sees of a job."""
        return JobView(
            id=job.id,
            kind=job.kind,
            state=job.state,
            created=job.created,
            started=job.started,
            ended=job.ended,
            place=job.place,
            progress=job.progress,
            result=None if job.result is None else self._result(job.result),
            problem=None if job.problem is None else JobProblem(**asdict(job.problem)),
            recipe=recipe_of(job.kind, job.body, self._names),
            url=self.url(job.id),
            events=f"{self.url(job.id)}/events",
        )

    def _result(self, result: dict[str, Any]) -> Result:
        pictures = [
            PictureView(url=f"{self.root}/api/v1/pictures/{picture['name']}", **picture)
            for picture in result.get("pictures", ())
        ]
        return Result(**{**result, "pictures": pictures})

    def find(self, id: str) -> Job:
        """Raises: Refusal: there is no such job, or no longer."""
        job = self.works.job(id)
        if job is None:
            raise Refusal(404, "missing", "there is no such job, or no longer", "POST it again")
        return job

    async def submit(self, body: Body, client: str, key: str | None = None) -> Job:
        """Takes a job; it is on the disk once this returns.

        Raises:
            StyleAtlasError: the queue is full, or the key was used for something else.
        """
        plain = body.plain()
        job = await self.works.submit(cast(Kind, body.kind), plain, client, key)
        asked = {"body": plain} if self._log_prompts else {}
        tell("job", job=job.id[:6], kind=job.kind, client=client, **asked)
        return job

    async def waited(self, id: str, seconds: float) -> Job:
        """The job once it has ended, or as it is after so long."""
        return await self.works.ended(id, seconds)


def jobs_of(request: Request) -> Jobs:
    found: Jobs = request.app.state.jobs
    return found


def client_of(request: Request) -> str:
    found: str = request.scope["styleatlas.client"]
    return found


def seconds_to_wait(
    prefer: Annotated[
        str | None,
        Header(
            description="`wait=10` waits up to so many seconds, 60 at most, and answers 200 with "
            "the job as it then is; `wait` alone for 60.",
            max_length=200,
        ),
    ] = None,
) -> float | None:
    """What Prefer (RFC 7240) asks for; None without."""
    found = _WAIT.search(prefer or "")
    if found is None:
        return None
    return min(float(found[1] or MAX_WAIT), MAX_WAIT)


TheJobs = Annotated[Jobs, Depends(jobs_of)]
Client = Annotated[str, Depends(client_of)]
Wait = Annotated[float | None, Depends(seconds_to_wait)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,128}$",
        description="Any text of your own: the same POST with the same key makes no second job.",
    ),
]
_TAKEN: dict[int | str, dict[str, Any]] = {
    200: {"model": JobView, "description": "The job after the wait that was preferred"},
    202: {"model": JobView, "description": "The job was taken, and will survive a restart"},
}
SUBMITTED = {**_TAKEN, **documented(404)}
"""What a route that takes a job may answer."""


class Desk:
    """Takes jobs: what every POST of one has in common."""

    def __init__(
        self, response: Response, jobs: TheJobs, client: Client, key: Key = None, wait: Wait = None
    ) -> None:
        self._response, self._jobs = response, jobs
        self._client, self._key, self._wait = client, key, wait

    async def take(self, body: Body) -> JobView:
        """Answers 202, or 200 after the wait that was preferred."""
        return await self.answer(await self._jobs.submit(body, self._client, self._key))

    async def known(self) -> Job | None:
        """The job that the client's key stands for already."""
        if self._key is None:
            return None
        return await self._jobs.works.keyed(self._client, self._key)

    async def answer(self, job: Job) -> JobView:
        """Of a job that was taken, now or before."""
        self._response.headers["Location"] = self._jobs.url(job.id)
        if self._wait is not None:
            self._response.status_code = 200
            self._response.headers["Preference-Applied"] = f"wait={self._wait:g}"
            job = await self._jobs.waited(job.id, self._wait)
        return self._jobs.view(job)


TheDesk = Annotated[Desk, Depends(Desk)]


router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


@router.get("/{id}", responses=documented(404))
async def get_job(id: JobId, jobs: TheJobs) -> JobView:
    """A job as it stands, with its recipe."""
    return jobs.view(jobs.find(id))


@router.delete("/{id}", status_code=204, responses=documented(404))
async def cancel_job(id: JobId, jobs: TheJobs) -> None:
    """Ends a job if it still waits or runs, and all that came of it: pictures and latents."""
    jobs.find(id)
    await jobs.works.forget(id)


@router.get(
    "/{id}/events",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "Numbered events: queued (place), progress (done, of, what), then done, "
            "failed or cancelled, with the job.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **documented(404),
    },
)
async def watch_job(
    id: JobId,
    jobs: TheJobs,
    last_event_id: Annotated[
        str | None,
        Header(
            description="The number of the last event that was seen; goes on after it.",
            pattern=r"^\d{1,9}$",
        ),
    ] = None,
) -> EventSourceResponse:
    """What becomes of a job, as server-sent events. The stream ends with the job."""
    jobs.find(id)
    return EventSourceResponse(_told(jobs, id, int(last_event_id or 0)))


async def _told(jobs: Jobs, id: str, after: int) -> AsyncIterator[ServerSentEvent]:
    async for event in jobs.works.events(id, after):
        data = dict(event.data)
        if event.kind in ("done", "failed", "cancelled") and (job := jobs.works.job(id)):
            data["job"] = jobs.view(job).model_dump(mode="json")
        yield ServerSentEvent(json.dumps(data), id=str(event.number), event=event.kind)
