"""Files sent to a repository on the Hub, all in one commit."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError
from .hub import LIBRARY
from .hub_names import HubName
from .hub_refusals import LOG_IN, page, quiet, reason, refusal

CARD = "README.md"
_MOST_CARD = 2**20


def require_login(name: HubName) -> None:
    """Raise OutputError unless the user has a token, which whoever writes to the Hub needs."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise OutputError(f"{name}: who writes to the Hub has to be known to it; {LOG_IN}")


def card_there(name: HubName) -> str | None:
    """The card that the repository has; None where there is none, or no repository.

    Raises:
        OutputError: that cannot be told, or the name is of a branch that is not there.
    """
    from huggingface_hub import errors, hf_hub_download

    try:
        with _silent():
            path = Path(hf_hub_download(name.repository, CARD, revision=name.revision, **LIBRARY))
        return path.read_bytes()[:_MOST_CARD].decode("utf-8", "replace")
    except errors.GatedRepoError as error:
        raise _failed(name, error) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        if name.revision is None:
            return None
        raise OutputError(
            f"{name}: {name.repository} has no branch {name.revision}, and `push` makes none; make "
            f"it at {page(name)}, or leave @{name.revision} out"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise _failed(name, error) from error
    except errors.EntryNotFoundError:
        return None
    except Exception as error:  # whatever a network or a proxy can raise
        raise _failed(name, error) from error


def push(name: HubName, files: Mapping[str, bytes | Path], message: str, private: bool) -> HubName:
    """Send files, by their paths in the repository, which is made if there is none; the name with
    the commit that they are in. Either all of them are there afterwards or none is new.

    Args:
        private: whether a repository that is made is.

    Raises:
        OutputError: they cannot be sent.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api, made = HfApi(**LIBRARY), False
    additions = [
        CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
        for path, content in files.items()
    ]
    try:
        with _silent():
            there = api.repo_exists(name.repository)
            api.create_repo(name.repository, private=private or None, exist_ok=True)
            made = not there
            done = api.create_commit(
                name.repository, additions, commit_message=message, revision=name.revision
            )
    except Exception as error:  # whatever a network or a proxy can raise
        raise _failed(name, error, made) from error
    return name.at(str(done.oid))


@contextmanager
def _silent() -> Iterator[None]:
    """While this lasts, huggingface_hub says nothing but errors, and draws bars on a terminal
    alone."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    drawn = not (sys.stderr.isatty() or are_progress_bars_disabled())
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if drawn:
                disable_progress_bars()
            yield
        finally:
            if drawn:
                enable_progress_bars()


def _failed(name: HubName, error: Exception, made: bool = False) -> OutputError:
    """The error to raise; of a repository that was made before, it says that that may stay."""
    if isinstance(error, ValueError):  # of the card, or of an answer that is none
        told = f"{name}: the Hub does not take it ({reason(error)}); nothing was sent"
    else:
        told = str(refusal(name, error, "sent"))
    if made:
        told += f"; the repository {name.repository} was made, and may stay, empty"
    return OutputError(told)
