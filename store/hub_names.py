"""Names of what lies on the Hub of Hugging Face, as people write them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import NoReturn

from .errors import OptionError
from .output import LONGEST_NAME

SCHEME = "hf://"
_SCHEMES = (SCHEME, "hf-hub:")
"""The second is open_clip's, for a CLIP's whole repository."""
_OTHERS = ("datasets", "spaces", "buckets")
"""What the Hub keeps beside models, by the first part of its addresses."""
_WORD = re.compile(r"\w(?:[\w.-]{0,94}\w)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[^\s\\~^:?*\[@/](?:[^\s\\~^:?*\[@]{0,198}[^\s\\~^:?*\[@/.])?")


@dataclass(frozen=True)
class HubName:
    """A repository of models, or a file in it.

    Args:
        repository: OWNER/REPO.
        file: its path in the repository; "" for the repository itself.
        revision: a branch, a tag or a commit; None for the newest.
    """

    repository: str
    file: str = ""
    revision: str | None = None

    def __str__(self) -> str:
        parts = (self.repository, self.file) if self.file else (self.repository,)
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"{SCHEME}{'/'.join(parts)}{revision}"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which always names the same bytes."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    def at(self, revision: str) -> HubName:
        """The same in another revision."""
        return replace(self, revision=revision)

    def beside(self, file: str) -> HubName:
        """Another file of its folder."""
        folder = self.file.rpartition("/")[0]
        return replace(self, file=f"{folder}/{file}" if folder else file)


def is_hub(source: str | os.PathLike[str]) -> bool:
    """Whether a text is meant as a name on the Hub; no path begins like one."""
    return isinstance(source, str) and source.startswith(_SCHEMES)


def read_name(source: str) -> HubName:
    """A name on the Hub: `hf://OWNER/REPO`, `hf://OWNER/REPO/FILE`, either with `@REVISION` behind
    it; or open_clip's `hf-hub:OWNER/REPO`.

    Raises:
        OptionError: it is none.
    """
    _, _, rest = source.partition(":")
    path, at, revision = rest.removeprefix("//").rpartition("@")
    if not at:
        path, revision = revision, ""
    owner, *others = path.split("/")
    if len(others) == 1 and "/" in revision and not revision.startswith("refs/"):
        _refuse(source, "the revision stands behind the file")
    if owner in _OTHERS:
        _refuse(source, "models alone are read, not what lies beside them")
    if not others or not all(map(_is_word, (owner, others[0]))):
        _refuse(source, "an owner and a repository are letters, digits, '-', '_' and '.'")
    if others[1:] and not all(map(_is_part, others[1:])):
        _refuse(source, "that is no path of a file in a repository")
    if at and (not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision):
        _refuse(source, "behind @ stands a branch, a tag or a commit")
    return HubName(f"{owner}/{others[0]}", "/".join(others[1:]), revision or None)


def _is_word(text: str) -> bool:
    whole = _WORD.fullmatch(text) is not None
    return whole and "--" not in text and ".." not in text and not text.endswith(".git")


def _is_part(text: str) -> bool:
    return (
        text not in ("", ".", "..")
        and text.isprintable()
        and "\\" not in text
        and len(os.fsencode(text)) <= LONGEST_NAME
    )


def _refuse(source: str, why: str) -> NoReturn:
    raise OptionError(
        f"{source[:200]!r}: is no name on the Hub, for {why}; write {SCHEME}OWNER/REPO/FILE, or "
        f"{SCHEME}OWNER/REPO/FILE@REVISION"
    )
