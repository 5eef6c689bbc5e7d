"""Plain files over HTTP, of servers that are not trusted: bounded in size, in time where a page is
read, and in where they may send one.
"""

from __future__ import annotations

import base64
import http.client
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import FetchError, OutputError

_CHUNK = 2**16
_TIMEOUT = 60.0
"""Seconds that a server may say nothing."""
_PAGE_BYTES, _PAGE_SECONDS = 2**22, 120.0
_BROKEN = (
    urllib.error.URLError,
    http.client.HTTPException,
    OSError,
    ValueError,  # an address that is none
)


@dataclass(frozen=True)
class Page:
    """What a server answered: from which address in the end, of what type, and the text."""

    url: str
    kind: str
    text: str


class Web:
    """What reads from servers as the user's environment says.

    Args:
        certificates: a file, or a folder, of those that are trusted; the system's if not given.
        proxy: that all requests go through; those of the environment if not given.
    """

    def __init__(self, certificates: str | None = None, proxy: str | None = None) -> None:
        proxies = None if proxy is None else {"http": proxy, "https": proxy}
        self._opener = urllib.request.OpenerDirector()
        # These alone: no file, FTP or data address is ever opened for a server.
        for handler in (
            urllib.request.ProxyHandler(proxies),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=_trust(certificates)),
            urllib.request.HTTPDefaultErrorHandler(),
            _Redirects(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)

    def page(self, url: str, accept: str) -> Page:
        """A page of at most 4 MiB.

        Raises:
            FetchError: there is none, or it is larger, or takes more than two minutes.
        """
        end = time.monotonic() + _PAGE_SECONDS
        content = bytearray()
        with self._opened(url, {"Accept": accept}) as answer:
            for piece in _pieces(answer):
                content += piece
                if len(content) > _PAGE_BYTES:
                    raise FetchError(f"{shown(url)}: is no page of an index, for it is endless")
                if time.monotonic() > end:
                    raise FetchError(f"{shown(url)}: comes too slowly; try again later")
            return Page(
                answer.url, answer.headers.get_content_type(), content.decode("utf-8", "replace")
            )

    def file(self, url: str, target: Path, size: int, told: Callable[[int], None]) -> None:
        """A file of a known size, written to `target`.

        Args:
            told: hears how many bytes there are, now and then.

        Raises:
            FetchError: there is none, or it has another size.
            OutputError: it cannot be written.
        """
        done = 0
        with self._opened(url, {}) as answer, _writing(target) as file:
            for piece in _pieces(answer):
                done += len(piece)
                if done > size:
                    raise FetchError(f"{shown(url)}: is longer than the {size:,} bytes published")
                file(piece)
                told(done)
        if done < size:
            raise FetchError(
                f"{shown(url)}: ended after {done:,} of {size:,} bytes; try again, or check the "
                "network"
            )

    @contextmanager
    def _opened(self, url: str, headers: Mapping[str, str]) -> Iterator[Any]:
        try:
            request = _request(url)
            for name, value in {**headers, "Accept-Encoding": "identity"}.items():
                request.add_header(name, value)
            with closing(self._opener.open(request, timeout=_TIMEOUT)) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            error.close()
            reason = shown(" ".join(str(error.reason).split()))[:200]
            raise FetchError(
                f"{shown(url)}: the server answers {error.code} ({reason}); check the index, or "
                "try again later"
            ) from error
        except _BROKEN as error:
            cause = getattr(error, "reason", None) or error
            told = " ".join(str(cause).split()) or type(cause).__name__
            raise FetchError(
                f"{shown(url)}: cannot be fetched ({shown(told)}); check the network, the proxy "
                "and the index"
            ) from error


def shown(text: str) -> str:
    """An address, or a message with one, as it may be shown: without names and passwords."""
    return re.sub(r"//[^/@\s]*@", "//", text)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another HTTP address, never from a safe one to an open one."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        schemes = [urllib.parse.urlsplit(url).scheme for url in (req.full_url, newurl)]
        if schemes[1] not in ("http", "https") or schemes == ["https", "http"]:
            fp.close()
            raise urllib.error.URLError(f"it sends one on to {shown(newurl)[:200]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _request(url: str) -> urllib.request.Request:
    """With the name and the password of an address, which only its own server is told."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it is no HTTP address")
    secret, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host, fragment="").geturl())
    request.add_header("User-Agent", "styleatlas")
    if at:
        basic = base64.b64encode(urllib.parse.unquote(secret).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {basic}")
    return request


def _trust(certificates: str | None) -> ssl.SSLContext:
    if certificates is None:
        return ssl.create_default_context()
    path = Path(certificates)
    try:
        if path.is_dir():
            return ssl.create_default_context(capath=certificates)
        return ssl.create_default_context(cafile=certificates)
    except OSError as error:  # of ssl, too
        raise FetchError(
            f"{certificates}: holds no certificates ({error.strerror or error}); check PIP_CERT"
        ) from error


def _pieces(answer: Any) -> Iterator[bytes]:
    """Of the body, as they come: none is waited for until it is full."""
    while piece := answer.read1(_CHUNK):
        yield piece


@contextmanager
def _writing(target: Path) -> Iterator[Callable[[bytes], None]]:
    """A file to write pieces to; a full disk is told from a server that fails."""
    with _as_output(target):
        file = target.open("xb", buffering=0)  # what is kept back would fail again on closing

    def write(piece: bytes) -> None:
        with _as_output(target):
            while piece:
                piece = piece[file.write(piece) :]

    with file:
        yield write


@contextmanager
def _as_output(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{target.name}: cannot be written to {target.parent} ({error.strerror or error}); "
            "make room, or check permissions"
        ) from error
