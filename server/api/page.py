"""The live page: files of the package, held in memory, so that no path from a client reaches the
disk."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from .problems import Refusal

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""Of what the page is made; other files of its folder are not handed out."""

Known = Annotated[str | None, Header(max_length=1000)]


@dataclass(frozen=True)
class _File:
    """Of a font, which is packed already, `packed` is empty."""

    content: bytes
    packed: bytes
    type: str
    etag: str


def _read(folder: FilePath, above: str = "") -> dict[str, _File]:
    found: dict[str, _File] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            found |= _read(entry, f"{above}{entry.name}/")
        elif entry.suffix in _TYPES:
            content = entry.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            packed = b"" if entry.suffix == ".woff2" else gzip.compress(content, mtime=0)
            found[above + entry.name] = _File(content, packed, _TYPES[entry.suffix], etag)
    return found


def page_router() -> APIRouter:
    """`/`, and what it is made of under `/page/`. A browser asks each time whether a file is still
    the same, so that no page is made of two versions."""
    files = _read(FilePath(__file__).parents[1] / "page")
    router = APIRouter(include_in_schema=False)

    def answer(name: str, if_none_match: str | None, accepted: str | None) -> Response:
        file = files.get(name)
        if file is None:
            raise Refusal(404, "missing", "there is no such page", "begin at /")
        headers = {"ETag": file.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if if_none_match and file.etag in (tag.strip(" W/") for tag in if_none_match.split(",")):
            return Response(status_code=304, headers=headers)
        content = file.content
        if file.packed and re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", accepted or ""):
            content = file.packed
            headers["Content-Encoding"] = "gzip"
        return Response(content, media_type=file.type, headers=headers)

    @router.get("/")
    async def page(if_none_match: Known = None, accept_encoding: Known = None) -> Response:
        return answer("index.html", if_none_match, accept_encoding)

    @router.get("/page/{name:path}")
    async def part(
        name: Annotated[str, Path(max_length=200)],
        if_none_match: Known = None,
        accept_encoding: Known = None,
    ) -> Response:
        return answer(name, if_none_match, accept_encoding)

    return router
