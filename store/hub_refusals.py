"""What the Hub, the network or the disk refuses, in one line that says what to do. The user's token
never gets into one."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from .download import shown
from .errors import FetchError, NotOnHub, OutputError, StyleAtlasError
from .hub_names import HubName

LOG_IN = "log in by `hf auth login`, or set HF_TOKEN"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOCAL = (*_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR)
_SECRET = re.compile(r"(?i)\bbearer\s+[^\s'\"]+|\bhf_\w+")


@contextmanager
def quiet() -> Iterator[None]:
    """While this lasts, huggingface_hub logs errors alone: what it tries again is not for the
    user's terminal."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def page(name: HubName) -> str:
    """The address of a repository for browsers."""
    from huggingface_hub import constants

    return shown(f"{constants.ENDPOINT}/{name.repository}")


def refusal(name: HubName, error: Exception, doing: str = "fetched") -> StyleAtlasError:
    """The error to raise for one that huggingface_hub, the network or the disk raised.

    Args:
        doing: what cannot be done with it, in a word.
    """
    from huggingface_hub import errors

    if isinstance(error, StyleAtlasError):
        return error
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return FetchError(
            f"{name}: the repository is gated; agree to its conditions at {page(name)}, and "
            f"{LOG_IN}"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return FetchError(
            f"{name}: the Hub shows no repository {name.repository}; check the name, or, if it is "
            f"private, {LOG_IN}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotOnHub(
            f"{name}: {name.repository} has no revision {name.revision or 'main'}; see "
            f"{page(name)}/tree/main"
        )
    if isinstance(error, errors.EntryNotFoundError) and status is not None:
        return NotOnHub(
            f"{name}: {name.repository} holds no such file; see "
            f"{page(name)}/tree/{name.revision or 'main'}"
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return FetchError(
            f"{name}: is not in the cache, and HF_HUB_OFFLINE keeps off the network; fetch it once "
            f"without by `styleatlas models fetch {name}`"
        )
    if status in (401, 403):
        return FetchError(f"{name}: the Hub refuses this account ({status}); {LOG_IN}")
    if status is not None:
        return FetchError(f"{name}: the Hub answers {status} ({reason(error)}); try again later")
    if isinstance(error, OSError) and error.errno in _LOCAL:
        return OutputError(
            f"{name}: cannot be kept in {_cache()} ({error.strerror}); make room, check "
            "permissions, or set HF_HUB_CACHE to another folder"
        )
    return FetchError(
        f"{name}: cannot be {doing} ({reason(error)}); check the network, the proxy and HF_ENDPOINT"
    )


def reason(error: Exception) -> str:
    """What an error says, on one line, without secrets: none in an address, no token."""
    first = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
    return _SECRET.sub("...", re.sub(r"\?\S+", "", shown(first)))[:200]


def _cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)
