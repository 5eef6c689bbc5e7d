"""The service's process: the works, the application, and uvicorn around it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import uvicorn
from sse_starlette.sse import AppStatus

from ...store.atlas import Atlas
from ...store.registry import is_name
from ..works.foreman import Works
from ..works.heap import give_memory_back
from ..works.nouns import Settings
from .access import Access
from .app import make_app
from .logs import LOG, JsonLines
from .patience import Impatient, most_connections
from .tokens import Keys

_LINGER = 5  # seconds, of connections once all jobs have ended
_NOTICED = 0.2  # seconds in which a second signal is
_MAX_MESSAGE = 2**16  # of a live session
_MAX_HEAD = 2**14


def run(
    settings: Settings,
    access: Access,
    listening: socket.socket,
    proxies: Sequence[str],
    drain: float,
    announce: Callable[[str], None],
) -> None:
    """Serves until it is stopped.

    Args:
        proxies: whose X-Forwarded-For and X-Forwarded-Proto are believed.
        drain: seconds for jobs to end in.
        announce: is told what comes behind the address, once it is listened at.

    Raises:
        StyleAtlasError: the atlas or the models cannot be loaded.
    """
    give_memory_back()
    _log_to_stderr(access.log_prompts)
    AppStatus.enable_automatic_graceful_drain = False  # the works end streams of events, at last
    asyncio.run(_serve(settings, access, listening, proxies, drain, announce))


async def _serve(
    settings: Settings,
    access: Access,
    listening: socket.socket,
    proxies: Sequence[str],
    drain: float,
    announce: Callable[[str], None],
) -> None:
    atlas = Atlas.open(settings.atlas)
    works = await Works.open(settings)
    keys = None if access.token is None else Keys(access.token)
    app = make_app(works, atlas, shown_names(settings), access, keys, settings.mappers)
    config = uvicorn.Config(
        app,
        http=Impatient,
        lifespan="off",
        ws_max_size=_MAX_MESSAGE,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        limit_concurrency=most_connections(),
        h11_max_incomplete_event_size=_MAX_HEAD,
        timeout_graceful_shutdown=_LINGER,
    )
    server = _Server(config, works, drain)
    loading = asyncio.create_task(works.loaded())
    loading.add_done_callback(lambda task: _stop_if_failed(server, task))
    announce("/" if keys is None else f"/enter/{keys.new_link()}")
    await server.serve(sockets=[listening])
    if loading.done():
        loading.result()
    loading.cancel()


class _Server(uvicorn.Server):
    """Lets jobs end before connections: whoever waits for one hears of it. A second signal ends the
    waiting."""

    def __init__(self, config: uvicorn.Config, works: Works, drain: float) -> None:
        super().__init__(config)
        self._works, self._drain = works, drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        super().handle_exit(signal.SIGTERM, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = asyncio.create_task(self._works.drain(self._drain))
        while not (draining.done() or self.force_exit):
            await asyncio.wait([draining], timeout=_NOTICED)
        draining.cancel()
        await self._works.close()
        await super().shutdown(sockets)


def _stop_if_failed(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        server.should_exit = True


def shown_names(settings: Settings) -> dict[str, str]:
    """What recipes call the models: names as they are, and of files no folder, which is nobody's
    business."""
    given = {"atlas": settings.atlas, "generator": settings.generator, "clip": settings.clip}
    return {
        key: name if is_name(name) else Path(name).name
        for key, name in given.items()
        if name is not None
    }


def _log_to_stderr(prompts: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(prompts))
    for logger, level in (
        (LOG, logging.INFO),
        (logging.getLogger("uvicorn"), logging.WARNING),
        (logging.getLogger(), logging.WARNING),
    ):
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
