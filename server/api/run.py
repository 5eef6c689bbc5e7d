"""The service's process: the works, the application, and uvicorn around it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from ...store.atlas import Atlas
from ...store.registry import is_name
from ..works.foreman import Works
from ..works.heap import give_memory_back
from ..works.nouns import Settings
from .access import Access
from .app import make_app
from .logs import LOG, JsonLines
from .patience import Impatient
from .tokens import Keys

_CONNECTIONS = 2000
_LINGER = 5  # seconds, of connections once all jobs have ended
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
    _log_to_stderr()
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
        limit_concurrency=_CONNECTIONS,
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
    """Lets jobs end before connections: whoever waits for one hears of it."""

    def __init__(self, config: uvicorn.Config, works: Works, drain: float) -> None:
        super().__init__(config)
        self._works, self._drain = works, drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._works.close(self._drain)
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


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for logger, level in ((LOG, logging.INFO), (logging.getLogger("uvicorn"), logging.WARNING)):
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
