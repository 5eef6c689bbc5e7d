"""The service as people start it: a process of its own, on the embedded models, by loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

TOKEN = "a token of thirty-two letters ok".replace(" ", "-")
PATIENCE = 300.0
"""Seconds that end what hangs."""


@dataclass
class Service:
    """A running `styleatlas serve`.

    Args:
        link: what it printed: its address, or a link that lets a browser in.
        log: lines of its log, as they come.
    """

    process: subprocess.Popen[str]
    link: str
    folder: Path
    log: list[str]
    follower: threading.Thread

    @property
    def url(self) -> str:
        return self.link.partition("/enter/")[0].rstrip("/")

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, **options)

    def lines(self) -> list[dict[str, Any]]:
        """The log, read."""
        return [json.loads(line) for line in self.log if line.strip()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def start(folder: Path, *options: object) -> Service:
    """Starts a service that keeps everything in a folder, and returns once it answers."""
    words = ["serve", "avatars", "--port", 0, "--threads", 1, "--folder", folder, *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "styleatlas", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"STYLEATLAS_MAPPERS": str(folder.parent / "mappers")},
    )
    link = process.stdout.readline().strip()
    if not link:
        pytest.fail(f"the service did not start: {process.communicate(timeout=PATIENCE)}")
    log: list[str] = []
    follower = threading.Thread(target=log.extend, args=(process.stderr,), daemon=True)
    follower.start()
    return Service(process, link, folder, log, follower)


@contextmanager
def running(folder: Path, *options: object) -> Iterator[Service]:
    """The same while this lasts: stopped in the end, whatever comes."""
    service = start(folder, *options)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.terminate()
            try:
                service.process.wait(60)
            except subprocess.TimeoutExpired:
                service.process.kill()
                service.process.wait()
        service.follower.join()
        service.process.stdout.close()
        service.process.stderr.close()
