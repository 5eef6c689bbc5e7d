"""Where the user's mappers lie."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

from .errors import CheckpointError
from .hub_names import is_hub
from .progress import Report
from .registry import file_of

OWN_SUFFIX = ".safetensors"
MAPPER_SUFFIXES = (OWN_SUFFIX, ".pt", ".pth")
"""Of the files that may hold a mapper."""
MAPPERS_VARIABLE = "STYLEATLAS_MAPPERS"
"""The variable of the environment that names another library folder than the user's own."""


def library_folder() -> Path:
    """The folder of mappers that are found by their prompts: where the variable of the environment
    STYLEATLAS_MAPPERS says, or else in the user's own data folder. It may not exist yet."""
    named = os.environ.get(MAPPERS_VARIABLE)
    return Path(named) if named else Path(user_data_path("styleatlas"), "mappers")


def locate_mapper(source: str | os.PathLike[str], report: Report | None = None) -> Path:
    """A mapper's file by its path, by its name on the Hub, or by that in the library, with or
    without .safetensors.

    Args:
        report: hears of a download.

    Raises:
        CheckpointError: there is none.
        OptionError, FetchError, OutputError: see `fetched`.
    """
    if is_hub(source):
        return file_of(source, report)
    path = Path(source)
    candidates = [path]
    if path.name == os.fspath(source):
        inside = library_folder() / path.name
        candidates += [inside, inside.with_name(f"{inside.name}{OWN_SUFFIX}")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CheckpointError(
        f"{path}: no such file, and no mapper of that name in {library_folder()}; "
        "`styleatlas mapper list` tells those there"
    )
