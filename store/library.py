"""Where the user's mappers lie."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

from .errors import CheckpointError

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


def locate_mapper(source: str | os.PathLike[str]) -> Path:
    """A mapper's file by its path, or by its name in the library, with or without .safetensors.

    Raises:
        CheckpointError: there is none.
    """
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
