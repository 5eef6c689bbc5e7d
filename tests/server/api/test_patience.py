"""Connections that there are too many of, or too many from one address."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest
import uvicorn
from uvicorn.server import ServerState

from styleatlas.server.api.patience import Impatient

resource = pytest.importorskip("resource")


async def opened(most: int, addresses: list[str], proxied: bool = False) -> list[bool]:
    """Which connections stay open, of one after the other from each address."""
    how = {"lifespan": "off", "ws": "none", "proxy_headers": proxied}
    config = uvicorn.Config(None, limit_concurrency=most, **how)
    config.load()
    state, loop, made = ServerState(), asyncio.get_running_loop(), []

    def protocol() -> Impatient:
        made.append(Impatient(config, state, {}))
        return made[-1]

    server = await loop.create_server(protocol, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    connected = []
    for number, own in enumerate(addresses, 1):
        connected.append(socket.create_connection(address, source_address=(own, 0)))
        while len(made) < number or made[-1].transport is None:
            await asyncio.sleep(0)
    stay = [not one.transport.is_closing() for one in made]
    for one in (*connected, server):
        one.close()
    await asyncio.sleep(0)
    return stay


@pytest.mark.parametrize(
    ("addresses", "proxied", "stay"),
    [
        (["127.0.0.1"] * 7, False, 3),
        (["127.0.0.1"] * 7, True, 5),
        (["127.0.0.1"] * 3 + ["127.0.0.2"] * 4, False, 5),
    ],
)
def test_connections_have_a_bound_and_an_address_half_of_it(addresses, proxied, stay):
    open_ones = asyncio.run(opened(6, addresses, proxied))
    assert sum(open_ones) == stay and all(open_ones[:3])


@pytest.mark.parametrize(("soft", "hard", "most"), [(300, 5000, 2000), (300, 300, 150)])
def test_connections_are_as_many_as_the_files_that_the_system_allows(soft, hard, most):
    if 0 <= (allowed := resource.getrlimit(resource.RLIMIT_NOFILE)[1]) < hard:
        pytest.skip(f"this system allows {allowed} files")
    script = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "from styleatlas.server.api.patience import most_connections\n"
        "print(most_connections(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.split() == [str(most), str(min(2200, hard)), str(hard)], found.stderr
