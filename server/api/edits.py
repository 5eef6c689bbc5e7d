"""What is asked for: edits, films, inversions, optimisations, edits by mappers, sheets."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter

from ..bodies import (
    ChannelsBody,
    EditBody,
    FilmBody,
    InversionBody,
    MapperBody,
    OptimiseBody,
    SamplesBody,
)
from .jobs import SUBMITTED, JobView, TheDesk

router = APIRouter(prefix="/api/v1", tags=["jobs"], responses=SUBMITTED)
post = partial(router.post, status_code=202)


@post("/edits")
async def post_edit(body: EditBody, desk: TheDesk) -> JobView:
    """Edits images of seeds, latents or a photo by prompts."""
    return await desk.take(body)


@post("/films")
async def post_film(body: FilmBody, desk: TheDesk) -> JobView:
    """Makes a film of an edit, there and back."""
    return await desk.take(body)


@post("/inversions")
async def post_inversion(body: InversionBody, desk: TheDesk) -> JobView:
    """Finds the latents by which the generator draws a photo, to begin other jobs from."""
    return await desk.take(body)


@post("/optimisations")
async def post_optimisation(body: OptimiseBody, desk: TheDesk) -> JobView:
    """Optimises images towards a prompt that the atlas knows no way to."""
    return await desk.take(body)


@post("/mapper-edits")
async def post_mapper_edit(body: MapperBody, desk: TheDesk) -> JobView:
    """Edits images by a trained mapper."""
    return await desk.take(body)


@post("/sheets/channels")
async def post_channels(body: ChannelsBody, desk: TheDesk) -> JobView:
    """Draws what channels do, a step to either side."""
    return await desk.take(body)


@post("/sheets/samples")
async def post_samples(body: SamplesBody, desk: TheDesk) -> JobView:
    """Draws samples that have what the target says most, in the middle, and least."""
    return await desk.take(body)
