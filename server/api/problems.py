"""Errors as problem details (RFC 9457): what is wrong, and how to mend it; never a traceback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from ...store.errors import (
    DiskFull,
    KeyReused,
    LayoutError,
    Missing,
    QueueFull,
    StyleAtlasError,
    TooLarge,
    TooMany,
)

MEDIA_TYPE = "application/problem+json"
_SOON = {"Retry-After": "5"}
_OF_ERRORS: Mapping[type[StyleAtlasError], tuple[int, str, Mapping[str, str]]] = {
    QueueFull: (503, "queue-full", _SOON),
    TooMany: (429, "too-many", _SOON),
    KeyReused: (422, "key-reused", {}),
    TooLarge: (413, "too-large", {}),
    DiskFull: (507, "disk-full", {}),
    Missing: (404, "missing", {}),
    LayoutError: (404, "missing", {}),
}
_SHOWN_ERRORS = 20
_NO_TOKEN = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>StyleAtlas</title>
<h1>StyleAtlas</h1>
<p>This page is for those who have its link, which works once: open the one that the service printed
as it was started, or ask whoever runs it for another.</p>
<p lang="de">Diese Seite öffnet sich mit ihrem Link, der einmal gilt: mit dem, den der Dienst beim
Start ausgegeben hat, oder mit einem neuen von dem, der ihn betreibt.</p>
</html>
"""


class Place(BaseModel):
    """Where in a request something is wrong."""

    place: str = Field(examples=["body.edits.0.weight"])
    detail: str


class Problem(BaseModel):
    """What went wrong."""

    type: str = Field(examples=["urn:styleatlas:problem:queue-full"])
    title: str
    status: int
    detail: str
    mend: str | None = Field(default=None, description="What to do about it.")
    request: str | None = Field(default=None, description="The request's id, as the log has it.")
    errors: list[Place] | None = None


class Refusal(HTTPException):
    """A request that is not served.

    Args:
        kind: the last part of the problem's type; `http` where the status says it all.
        mend: what the client is to do.
        errors: where in the request something is wrong.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        mend: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: list[Place] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind, self.mend, self.errors = kind, mend, errors

    def problem(self, request: str | None = None) -> Problem:
        """What the client is told; `request` is the request's id."""
        return Problem(
            type="about:blank" if self.kind == "http" else f"urn:styleatlas:problem:{self.kind}",
            title=HTTPStatus(self.status_code).phrase,
            status=self.status_code,
            detail=self.detail,
            mend=self.mend,
            request=request,
            errors=self.errors,
        )

    def response(self, request: str | None) -> JSONResponse:
        """The same as an answer."""
        content = self.problem(request).model_dump(exclude_none=True)
        return JSONResponse(content, self.status_code, self.headers, MEDIA_TYPE)

    def answer(self, scope: Scope) -> Response:
        """The same to a request: to a person who has no token as a page, with what to do."""
        wanted = dict(scope["headers"]).get(b"accept", b"")
        if self.status_code == 401 and b"text/html" in wanted:
            return HTMLResponse(_NO_TOKEN, 401, self.headers)
        return self.response(scope.get("styleatlas.request"))


def unforeseen() -> Refusal:
    """What a client is told of an error that nobody foresaw."""
    return Refusal(
        500,
        "unforeseen",
        "the service failed at this request",
        "tell its operator the request's id",
    )


def refusal_of(error: Exception) -> Refusal:
    """What a client is told of an error that is foreseen."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):  # Starlette's own: no such route, or no such method of it
        return Refusal(error.status_code, "http", error.detail, headers=error.headers)
    if isinstance(error, RequestValidationError | ValidationError):
        return _invalid(error.errors())
    if isinstance(error, StyleAtlasError):
        return _unsuitable(error)
    raise error


def _unsuitable(error: StyleAtlasError) -> Refusal:
    """The one line of an error that is raised on purpose ends in the mend."""
    told = next((told for known, told in _OF_ERRORS.items() if isinstance(error, known)), None)
    status, kind, headers = told or (422, "unsuitable", {})
    detail, _, mend = str(error).rpartition("; ")
    return Refusal(status, kind, detail or mend, mend if detail else None, headers)


def _invalid(errors: Sequence[Any]) -> Refusal:
    """What does not fit the schema: each place by its path, and never the value itself."""
    places = [
        Place(place=".".join(map(str, one["loc"])), detail=one["msg"].removeprefix("Value error, "))
        for one in errors[:_SHOWN_ERRORS]
    ]
    told = "; ".join(f"{one.place}: {one.detail}" for one in places[:3])
    return Refusal(422, "invalid", told, "send what /openapi.json says", errors=places)


async def on_error(request: Request, error: Exception) -> Response:
    """Answers a request that failed in a way that is foreseen."""
    return refusal_of(error).answer(request.scope)


async def on_unforeseen(request: Request, error: Exception) -> JSONResponse:
    """Answers any other one; the error goes on to the log."""
    return unforeseen().response(request.scope.get("styleatlas.request"))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for its OpenAPI: these, and those of any."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    every = sorted({*statuses, 400, 401, 403, 408, 413, 421, 422, 429, 503, 507})
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content} for status in every
    }
