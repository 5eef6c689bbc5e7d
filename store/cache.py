"""Text embeddings remembered between runs, in the user's cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from .bank import normalise_prompt
from .checks import row_norms
from .errors import OutputError
from .fingerprint import ModelIdentity
from .output import replacing

_FORMAT = "2"


class TextCache:
    """Embeddings of prompts by one CLIP with one set of templates, a small file each.

    The cache is a convenience: a file that cannot be read, is damaged or does not fit is passed
    over, and a folder that cannot be written is left alone.

    Args:
        clip: what the embeddings come from, with all that is told of it: not that of an atlas of
            before, which may stand for several, whose embeddings differ.
        templates: the sentences each prompt was embedded in.
        width: the number of dimensions, D.
    """

    def __init__(self, clip: ModelIdentity, templates: Sequence[str], width: int) -> None:
        # Before there was a format, embeddings by other activations stood under one key.
        key = hashlib.sha256("\n".join([_FORMAT, clip.key, *templates]).encode()).hexdigest()
        self._folder: Path = user_cache_path("styleatlas") / "texts" / key[:32]
        self._width = width

    def find(self, text: str) -> NDArray[np.float32] | None:
        """The embedding (D,) of a prompt, or None when it is not remembered."""
        path = self._path(text)
        size = 4 * self._width
        try:
            if path.stat().st_size != size:
                return None
            vector = np.frombuffer(path.read_bytes(), "<f4")
        except (OSError, ValueError):
            return None
        fits = vector.shape == (self._width,) and bool(abs(row_norms(vector[None])[0] - 1) < 1e-3)
        return vector.astype(np.float32) if fits else None

    def remember(self, text: str, embedding: NDArray[np.float32]) -> None:
        """Keep the embedding (D,) of a prompt for later runs, if the folder allows it."""
        path = self._path(text)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(embedding.astype("<f4").tobytes())
        except (OSError, OutputError):
            return

    def _path(self, text: str) -> Path:
        name = hashlib.sha256(normalise_prompt(text).encode()).hexdigest()
        return self._folder / f"{name}.f4"
