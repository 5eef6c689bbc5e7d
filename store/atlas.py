"""The atlas: what every style channel of one generator does in CLIP's space."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import queries
from .atlas_data import AtlasData
from .errors import OptionError, require_path, wrong_type
from .records import Record
from .registry import is_name, part_of


@dataclass(frozen=True, eq=False, repr=False)
class Atlas(AtlasData):
    """One generator's map: its numbers (see `AtlasData`), read from a file, written to one, and
    asked."""

    @classmethod
    def open(cls, source: str | os.PathLike[str]) -> Atlas:
        """Read an atlas by its path, a registered name or one on the Hub, all checksums proven; the
        file is closed again.

        Raises:
            AtlasFormatError, AtlasCorruptError: the file is missing or not sound.
            OptionError: what goes by this name has no atlas.
            FetchError, OutputError: see `fetched`.
        """
        require_path("atlas", source)
        from .file import read_atlas  # h5py is not needed to build an atlas

        return read_atlas(atlas_path(source), cls)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the atlas file; an existing one is replaced at once or not at all.

        Raises:
            OutputError: the file cannot be written; nothing is left behind.
            AtlasFormatError: the atlas is larger than the format allows.
        """
        from .file import write_atlas

        write_atlas(self, path)

    def __repr__(self) -> str:
        origin, samples = self.fingerprint, self.samples
        sampled = "" if samples is None else f", {len(samples):,} samples"
        return (
            f"<Atlas of {origin.generator.name} by {origin.clip.name}: {len(self.channels):,} of "
            f"{self.layout.size:,} channels, {len(self.prompts):,} prompts{sampled}>"
        )

    def direction(self, neutral: str, target: str) -> NDArray[np.float32]:
        """The unit text direction (D,) from one prompt of the bank to another.

        Raises:
            PromptError: a prompt the bank does not hold, or two that mean the same.
        """
        return queries.prompt_direction(self.embedding, neutral, target)

    def query_channels(
        self, text: NDArray[np.float32] | str, target: str | None = None, *, top: int = 20
    ) -> list[Record]:
        """Which channels a text direction (D,) moves, or one from a prompt of the bank to a
        `target` in it; see `queries.channel_records`."""
        return queries.channel_records(self, self._text("query_channels", text, target), top)

    def query_prompts(self, label: str, top: int = 20) -> list[Record]:
        """What a channel or a whole layer means; see `queries.prompt_records`."""
        return queries.prompt_records(self, label, top)

    def query_similar(
        self,
        neutral: NDArray[np.float32] | str,
        text: NDArray[np.float32] | str,
        top: int = 20,
    ) -> list[Record]:
        """Which phrases' edits go the way of this one, given as the embedding of its neutral prompt
        and its text direction, or as two prompts of the bank; see `queries.similar_records`."""
        if isinstance(neutral, str) and isinstance(text, str):
            text, neutral = self.direction(neutral, text), self.embedding(neutral)
        for given in (neutral, text):
            self._text("query_similar", given, None)
        return queries.similar_records(self, np.asarray(neutral), np.asarray(text), top)

    def query_entangled(
        self, step: NDArray[np.float32], text: NDArray[np.float32], top: int = 20
    ) -> list[Record]:
        """What else a flat style step (C,) moves; see `queries.entangled_records`."""
        return queries.entangled_records(self, step, text, top)

    def _text(
        self, query: str, text: NDArray[np.float32] | str, target: str | None
    ) -> NDArray[np.float32]:
        """A text direction, given as such or as two prompts of the bank.

        Raises:
            OptionError: anything else.
            PromptError: a prompt that the bank does not hold.
        """
        if isinstance(text, str) and isinstance(target, str):
            return self.direction(text, target)
        width = self.prompts.width
        if target is not None or getattr(text, "shape", None) != (width,):
            raise OptionError(
                f"{query}: give two prompts of the bank, or a text direction ({width},) such as "
                "that of Atlas.direction"
            )
        return np.asarray(text, np.float32)

    def compare(self, other: Atlas) -> list[Record]:
        """How alike two atlases of one generator are; see `compare.comparison_records`."""
        if not isinstance(other, AtlasData):
            raise wrong_type("other", other, "an Atlas")
        from .compare import comparison_records  # no other question needs it

        return comparison_records(self, other)


def atlas_path(source: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Where the atlas of a registered name, or of one on the Hub, lies; anything else is a path
    already.

    Raises:
        OptionError: what goes by this name has no atlas, or it is no name.
        FetchError, OutputError: see `fetched`.
    """
    return part_of(source, "atlas") if is_name(source) else source
