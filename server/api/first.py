"""The contract of older pages, of `xomyakes/styleclip`'s server: /mappers, /edit and /images, and
events by Socket.IO. Paths in its answers have become names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import socketio
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from ...store.errors import StyleAtlasError
from ..bodies import Body, EditBody, MapperBody, MapperName, Prompt
from .jobs import Client, Jobs, TheJobs
from .lookups import TheQuestions, mapper_names
from .pictures import PICTURE, picture_response
from .problems import Refusal, documented

NEUTRAL = "a face"
"""What an edit by a prompt alone leads from."""
_ROLES = {"edited": ("crop", "sheet"), "restored": ("photo", "sheet")}
"""Of the pictures that a job makes, the first that there is; a mapper's are not put back."""
_MAX_MESSAGE = 2**14


class Promised(BaseModel):
    """The names that pictures of an edit will have: the part that was edited, and the whole
    photo."""

    image_path: str = Field(examples=["/images/JOB-edited"])
    restored_path: str = Field(examples=["/images/JOB-restored"])


class Events:
    """Tells pages what becomes of their edits, by Socket.IO."""

    def __init__(self) -> None:
        # Who may connect, the guard has decided; as for origins, too.
        self.server = socketio.AsyncServer(
            async_mode="asgi", cors_allowed_origins=[], max_http_buffer_size=_MAX_MESSAGE
        )
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, jobs: Jobs, id: str, promised: Promised, sid: str) -> None:
        """Sends a job's events to a page, until the job ends."""
        task = asyncio.create_task(self._follow(jobs, id, promised, sid))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, jobs: Jobs, id: str, promised: Promised, sid: str) -> None:
        async for event in jobs.works.events(id):
            if event.kind == "progress":
                steps = {"step": event.data["done"], "steps": event.data["of"]}
                await self.server.emit("image_processing", steps, to=sid)
        job = jobs.works.job(id)
        if job is not None and job.state == "done":
            await self.server.emit("image_edited", promised.model_dump(), to=sid)
        elif job is None or job.has_ended:
            problem = None if job is None else job.problem
            told = "the edit was cancelled" if problem is None else problem.detail
            await self.server.emit("image_edit_error", {"error": told}, to=sid)
        # Else the service is being stopped, and the next one goes on with it.


def events_of(request: Request) -> Events:
    found: Events = request.app.state.events
    return found


def promised_of(id: str, root: str) -> Promised:
    """Of a job."""
    return Promised(
        image_path=f"{root}/images/{id}-edited", restored_path=f"{root}/images/{id}-restored"
    )


router = APIRouter(tags=["older pages"], responses=documented())


@router.get("/mappers")
async def list_mapper_names(questions: TheQuestions) -> list[str]:
    """Trained mappers, by name."""
    return mapper_names(questions.mappers)


@router.post("/edit", responses=documented(404))
async def edit_photo(
    image: UploadFile,
    jobs: TheJobs,
    events: Annotated[Events, Depends(events_of)],
    client: Client,
    sid: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = None,
    prompt: Annotated[Prompt | None, Query()] = None,
    mapper: Annotated[MapperName | None, Query()] = None,
) -> Promised:
    """Edits a photo by a prompt or a mapper. Answers at once with the names that the pictures will
    have; the page behind `sid` hears of it."""
    if (prompt is None) == (mapper is None):
        raise Refusal(422, "unsuitable", "give one of prompt and mapper")
    _asked("photo", prompt, mapper)  # before the photo is kept
    upload = await jobs.works.upload(_chunks(image), client)
    try:
        job = await jobs.submit(_asked(upload.id, prompt, mapper), client)
    except StyleAtlasError:
        await jobs.works.forget(upload.id)
        raise
    promised = promised_of(job.id, jobs.root)
    if sid is not None:
        events.follow(jobs, job.id, promised, sid)
    return promised


async def _chunks(image: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await image.read(2**16):
        yield chunk


@router.get("/images/{name}", response_class=FileResponse, responses=PICTURE)
async def get_image(
    name: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}-(edited|restored)$")],
    jobs: TheJobs,
    accept: Annotated[str, Header(max_length=1000)] = "*/*",
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """A picture that an edit promised, once it is there."""
    id, _, which = name.rpartition("-")
    pictures = (jobs.find(id).result or {}).get("pictures", ())
    for role in _ROLES[which]:
        for picture in pictures:
            if picture["role"] == role:
                return picture_response(jobs, picture["name"], accept, if_none_match)
    raise Refusal(404, "missing", "there is no such picture, or not yet")


def _asked(photo: str, prompt: str | None, mapper: str | None) -> Body:
    if mapper is not None:
        return MapperBody.model_validate({"photo": photo, "mapper": mapper})
    edit = {"neutral": NEUTRAL, "target": prompt}
    return EditBody.model_validate({"photo": photo, "edits": [edit]})
