"""The service as one ASGI application."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import socketio
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from ...store.atlas import Atlas
from ...store.errors import StyleAtlasError
from ...store.version import __version__
from ..works.foreman import Works
from . import edits, first, health, jobs, live, lookups, photos, pictures
from .access import Access
from .guard import Guard
from .jobs import Jobs
from .logs import Envelope
from .lookups import Questions
from .metrics import Metrics
from .page import page_router
from .problems import Problem, Refusal, documented, on_error, on_unforeseen
from .tokens import COOKIE, SESSION_SECONDS, Keys


def make_app(
    works: Works,
    atlas: Atlas,
    names: Mapping[str, str],
    access: Access,
    keys: Keys | None = None,
    mappers: Path | None = None,
) -> ASGIApp:
    """Everything a server runs.

    Args:
        works: does the jobs.
        atlas: that is served.
        names: what it is called, and the generator and CLIP where they are named.
        keys: of the door; None where anybody is let in.
        mappers: the folder of mappers; the user's library if not given.
    """

    app = FastAPI(
        title="StyleAtlas",
        version=__version__,
        description="Edits StyleGAN images with words. See docs/server.md.",
        docs_url=None,  # these pages load from elsewhere
        redoc_url=None,
        servers=[{"url": access.root_path}] if access.root_path else None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.openapi = lambda: _described(app, keys is not None)  # type: ignore[method-assign]
    for module in (edits, jobs, photos, pictures, lookups, health, live, first):
        app.include_router(module.router)
    for foreseen in (HTTPException, RequestValidationError, ValidationError, StyleAtlasError):
        app.add_exception_handler(foreseen, on_error)
    app.add_exception_handler(Exception, on_unforeseen)
    app.state.jobs = Jobs(works, access.root_path, dict(names), access.log_prompts)
    app.state.questions = Questions(atlas, names["atlas"], mappers, app.state.jobs)
    app.state.metrics = Metrics(works.health)
    app.state.events = first.Events()
    _add_pages(app, keys, access)
    whole = socketio.ASGIApp(app.state.events.server, app)
    return Envelope(Guard(whole, access, keys), app.state.metrics)


def _described(app: FastAPI, has_token: bool) -> dict[str, Any]:
    """The OpenAPI, with the problems that every route refers to, and the token."""
    if app.openapi_schema is None:
        made = FastAPI.openapi(app)  # which keeps it
        parts = made["components"]
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        parts["schemas"] |= problem.pop("$defs") | {"Problem": problem}
        if has_token:
            parts["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            }
            made["security"] = [{"token": []}, {"cookie": []}]
    return FastAPI.openapi(app)


def _add_pages(app: FastAPI, keys: Keys | None, access: Access) -> None:
    app.include_router(page_router())
    if keys is None:
        return

    @app.get("/enter/{key}", include_in_schema=False)
    async def enter(key: str, request: Request) -> Response:
        """The cookie for a link that was not used before. The browser goes on from a page of ours:
        after a redirect from elsewhere it would not send a strict cookie at once."""
        cookie = keys.redeem(key)
        if cookie is None:
            raise Refusal(
                401, "no-token", "the link was used, or is too old", "ask for another (POST links)"
            )
        page = HTMLResponse('<!doctype html><meta http-equiv="refresh" content="0;url=../">')
        page.set_cookie(
            COOKIE,
            cookie,
            max_age=SESSION_SECONDS,
            path=access.root_path or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return page

    @app.post("/api/v1/links", tags=["service"], status_code=201, responses=documented())
    async def post_link() -> dict[str, str]:
        """A link for a browser, which works once and within an hour."""
        return {"url": f"{access.root_path}/enter/{keys.new_link()}"}
