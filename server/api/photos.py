"""Photos: sent, looked at by a worker, ended."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from ...store.errors import StyleAtlasError
from ..bodies import CropsBody, Id
from ..works.nouns import Job
from .jobs import Client, Jobs, JobView, TheDesk, TheJobs
from .problems import Refusal, documented

router = APIRouter(prefix="/api/v1/photos", tags=["photos"])

_PICTURE = {"schema": {"type": "string", "format": "binary"}}


class PhotoView(BaseModel):
    """A photo that is kept, and the job that finds what of it can be edited."""

    id: str
    bytes: int
    crops: JobView


@router.post(
    "",
    status_code=202,
    responses={200: {"model": PhotoView, "description": "After the wait"}, **documented(415)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file's bytes, as they are.",
            "content": {"image/*": _PICTURE, "application/octet-stream": _PICTURE},
        }
    },
)
async def post_photo(
    request: Request,
    jobs: TheJobs,
    client: Client,
    desk: TheDesk,
    align: Annotated[
        str | None,
        Query(pattern="^(face|none)$", description="By faces, or as the whole picture."),
    ] = None,
) -> PhotoView:
    """Keeps a photo as it came, and has a worker cut out what can be edited of it."""
    kind = request.headers.get("content-type", "application/octet-stream").lower()
    if not kind.startswith(("image/", "application/octet-stream")):
        raise Refusal(
            415, "not-a-photo", "the body is no picture", "send the file's bytes as image/jpeg"
        )
    upload = await jobs.works.upload(request.stream(), client)
    body = CropsBody.model_validate({"photo": upload.id, "align": align})
    try:
        if (known := await desk.known()) and await _is_again(jobs, body, known):
            await jobs.works.forget(upload.id)
            first = known.body["photo"]
            return PhotoView(id=first, bytes=upload.bytes, crops=await desk.answer(known))
        crops = await desk.take(body)
    except StyleAtlasError:
        await jobs.works.forget(upload.id)
        raise
    return PhotoView(id=upload.id, bytes=upload.bytes, crops=crops)


async def _is_again(jobs: Jobs, body: CropsBody, known: Job) -> bool:
    """Whether the job that a key stands for is of the same photo, which was sent before."""
    if known.kind != body.kind or known.body["align"] != body.align:
        return False
    photos = jobs.works.pictures
    return await anyio.to_thread.run_sync(photos.are_one_photo, body.photo, known.body["photo"])


@router.delete("/{id}", status_code=204, responses=documented(404))
async def delete_photo(
    id: Annotated[Id, Path(description="As its POST called it.")], jobs: TheJobs
) -> Response:
    """Ends a photo, and every job that was made of it with all that came of them."""
    if not await jobs.works.forget(id):
        raise Refusal(404, "missing", "there is no such photo, or no longer", "send it again")
    return Response(status_code=204)
