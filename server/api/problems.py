"""Errors as problem details (RFC 9457): what is wrong, and how to mend it; never a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

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
    TooMany: (429, "too-many-jobs", _SOON),
    KeyReused: (422, "key-reused", {}),
    TooLarge: (413, "too-large", {}),
    DiskFull: (507, "disk-full", {}),
    Missing: (404, "missing", {}),
    LayoutError: (404, "missing", {}),
}
_SHOWN_ERRORS = 20


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
    mend: str | None = Field(None, description="What to do about it.")
    request: str | None = Field(None, description="The request's id, as the log has it.")
    errors: list[Place] | None = None


class Refusal(HTTPException):
    """A request that is not served.

    Args:
        kind: the last part of the problem's type.
        mend: what the client is to do.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        mend: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind, self.mend = kind, mend


def refusal_of(error: StyleAtlasError) -> Refusal:
    """What a client is told of an error that is raised on purpose: its one line ends in the
    mend."""
    for known, (status, kind, headers) in _OF_ERRORS.items():
        if isinstance(error, known):
            break
    else:
        status, kind, headers = 422, "unsuitable", {}
    detail, _, mend = str(error).rpartition("; ")
    return Refusal(status, kind, detail or mend, mend if detail else None, headers)


def problem_response(
    error: HTTPException, request_id: str | None, errors: list[Place] | None = None
) -> JSONResponse:
    """The answer to a request that is not served."""
    kind, mend = "http", None
    if isinstance(error, Refusal):
        kind, mend = error.kind, error.mend
    problem = Problem(
        type="about:blank" if kind == "http" else f"urn:styleatlas:problem:{kind}",
        title=HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=error.detail,
        mend=mend,
        request=request_id,
        errors=errors,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        error.status_code,
        dict(error.headers or {}),
        MEDIA_TYPE,
    )


def request_id(request: Request) -> str | None:
    found: str | None = request.scope.get("styleatlas.request")
    return found


async def on_refusal(request: Request, error: Exception) -> JSONResponse:
    """Handles Starlette's own errors, too: no such route, a method that it has not."""
    assert isinstance(error, HTTPException)
    return problem_response(error, request_id(request))


async def on_known_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StyleAtlasError)
    return problem_response(refusal_of(error), request_id(request))


async def on_invalid(request: Request, error: Exception) -> JSONResponse:
    """What does not fit the schema: each place by its path, and never the value itself."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    places = [
        Place(place=".".join(map(str, one["loc"])), detail=_said(one))
        for one in found[:_SHOWN_ERRORS]
    ]
    told = "; ".join(f"{one.place}: {one.detail}" for one in places[:3])
    refusal = Refusal(422, "invalid", told, "send what /openapi.json says")
    return problem_response(refusal, request_id(request), places)


def _said(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for its OpenAPI: these, and those of any."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    every = sorted({*statuses, 400, 401, 403, 408, 413, 421, 422, 429, 503, 507})
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content} for status in every
    }
