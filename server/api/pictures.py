"""Pictures, by names that nobody guesses."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from .jobs import Jobs, TheJobs
from .problems import Refusal, documented

NAME = r"^[A-Za-z0-9_-]{1,64}(\.[a-z0-9]{1,5})?$"

router = APIRouter(prefix="/api/v1/pictures", tags=["pictures"])

_BYTES = {"schema": {"type": "string", "format": "binary"}}


PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture; of a PNG, its WebP where Accept names that",
        "content": {"image/*": _BYTES, "video/mp4": _BYTES, "application/octet-stream": _BYTES},
    },
    206: {"description": "The range of it that Range asks for"},
    304: {"description": "It is the one that If-None-Match names"},
    **documented(404, 416),
}
"""What a route that hands out pictures may answer."""


@router.get("/{name}", response_class=FileResponse, responses=PICTURE)
async def get_picture(
    name: Annotated[str, Path(pattern=NAME, description="Of a job's result.")],
    jobs: TheJobs,
    accept: Annotated[str, Header(max_length=1000)] = "*/*",
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """A picture, film or file of latents. It never changes: keep it as long as you like."""
    return picture_response(jobs, name, accept, if_none_match)


def picture_response(jobs: Jobs, name: str, accept: str, known: str | None) -> Response:
    """Raises: Missing: there is no such picture, or no longer."""
    found = jobs.works.pictures.open(name, webp=wants_webp(accept))
    headers = {
        "ETag": f'"{found.etag}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "Vary": "Accept",
    }
    if known is not None and found.etag in (tag.strip(' W/"') for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    return _PartOfFile(found.path, media_type=found.type, headers=headers)


class _PartOfFile(FileResponse):
    """A file, or the range of it that is asked for; what is none is refused as all else is."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None

        async def sent(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused = Refusal(
                    message["status"], "range", "the file has no such range", "ask for all of it"
                )
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, sent)
        if refused is not None:
            await refused.response(scope.get("styleatlas.request"))(scope, receive, send)


def wants_webp(accept: str) -> bool:
    """Whether a client names WebP, as browsers do, and likes PNG no better."""
    weights = dict(map(_weight, accept.split(",")))
    return 0 < weights.get("image/webp", 0.0) >= weights.get("image/png", 0.0)


def _weight(part: str) -> tuple[str, float]:
    kind, *parameters = (word.strip().lower() for word in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return kind, float(parameter[2:])
            except ValueError:
                return kind, 0.0
    return kind, 1.0
