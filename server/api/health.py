"""How the service does, for those who look after it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from .jobs import TheJobs
from .metrics import Metrics
from .problems import Refusal, documented

router = APIRouter(prefix="/api/v1", tags=["service"], responses=documented())


@router.get("/health")
async def get_health() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "alive"}


@router.get("/ready", responses=documented(503))
async def get_ready(jobs: TheJobs) -> dict[str, str]:
    """Answers 200 once the models are loaded, and 503 before."""
    if not jobs.works.ready:
        raise Refusal(
            503, "loading", "the models are being loaded", "ask again", {"Retry-After": "2"}
        )
    return {"status": "ready"}


@router.get("/status")
async def get_status(jobs: TheJobs) -> dict[str, Any]:
    """Workers, jobs and disk, in numbers."""
    return jobs.works.health()


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics(request: Request) -> Response:
    """The same and every route's answers and times, for Prometheus."""
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
