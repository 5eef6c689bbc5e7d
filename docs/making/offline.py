"""Ends the build of the site if a page would load anything from elsewhere: fonts, scripts, frames,
pictures. Links that a reader may follow are none of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_ELSEWHERE = r"(?:https?:)?//[^\s\"')>]+"
_LOADED = {
    ".html": re.compile(
        rf"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\s(?:src|srcset|poster)=[\"']"
        rf"({_ELSEWHERE})|<link\b(?![^>]*rel=[\"'](?:canonical|author|license)[\"'])[^>]*\shref="
        rf"[\"']({_ELSEWHERE})"
    ),
    ".css": re.compile(rf"(?:url\(\s*[\"']?|@import\s+[\"'])({_ELSEWHERE})"),
}


def loaded_from_elsewhere(site: Path) -> Iterator[str]:
    """What the pages and styles of a site would load from elsewhere, each as `page: address`."""
    for path in sorted(site.rglob("*")):
        if pattern := _LOADED.get(path.suffix):
            for found in pattern.finditer(path.read_text("utf-8")):
                address = next(filter(None, found.groups()))
                yield f"{path.relative_to(site)}: {address}"


def look(app: Sphinx, failed: Exception | None) -> None:
    if failed is None and app.builder.name == "html":
        found = list(loaded_from_elsewhere(Path(app.outdir)))
        if found:
            raise ExtensionError("pages would load from elsewhere: " + "; ".join(found))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", look)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
