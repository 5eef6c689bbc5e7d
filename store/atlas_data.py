"""The numbers an atlas holds, checked, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .bank import PromptBank
from .checks import TOLERANCE, as_array, require_range, require_unit, row_norms
from .errors import (
    AtlasCorruptError,
    AtlasFormatError,
    FingerprintError,
    LayoutError,
    PromptError,
    require_prompt,
)
from .fingerprint import IMPORTED, Fingerprint, ModelIdentity
from .index import PromptIndex
from .layout import StyleLayout
from .sample_set import SampleSet


@dataclass(frozen=True, eq=False)
class AtlasData:
    """The numbers of an atlas: C style channels of which R were swept, in D dimensions.

    Args:
        layout: the generator's layers.
        style_mean: mean of every style channel, float32 (C,).
        style_std: standard deviation of every style channel, at least 0, float32 (C,).
        channels: flat indices of the channels swept, ascending, int64 (R,).
        rows: where each of them moves the embedding, float32 unit rows (R, D); a row of zeros
            for a channel that never moved it.
        consistency: length of the mean of the unit deltas, 0 to 1, float32 (R,); 0 for zero rows.
        strength: mean length of the deltas, at least 0, float32 (R,).
        images: number of images each row was measured on, at least 1, int32 (R,).
        prompts: prompts with known embeddings, of the same width D; may be empty.
        fingerprint: the generator, CLIP and settings it was drawn with.
        created: when, ISO 8601 in UTC, such as ``2026-11-22T05:40:00+00:00``.
        library: what drew it, such as ``styleatlas 0.1.0``.
        samples: unedited images of the generator, where there are any.

    Raises:
        AtlasFormatError: a wrong shape, type or range; names the dataset it would be in the file.
        AtlasCorruptError: NaN, infinity, or rows that are not unit vectors.
    """

    layout: StyleLayout
    style_mean: NDArray[np.float32]
    style_std: NDArray[np.float32]
    channels: NDArray[np.int64]
    rows: NDArray[np.float32]
    consistency: NDArray[np.float32]
    strength: NDArray[np.float32]
    images: NDArray[np.int32]
    prompts: PromptBank
    fingerprint: Fingerprint
    created: str
    library: str
    samples: SampleSet | None = None

    def __post_init__(self) -> None:
        c, r, d = self.layout.size, len(self.channels), self.prompts.width
        self._set("style_mean", as_array("/style/mean", self.style_mean, np.float32, (c,)))
        self._set("style_std", as_array("/style/std", self.style_std, np.float32, (c,)))
        self._set("channels", as_array("/relevance/channel", self.channels, np.int64, (r,)))
        self._set("rows", as_array("/relevance/rows", self.rows, np.float32, (r, d)))
        for name, dtype in (("consistency", "f4"), ("strength", "f4"), ("images", "i4")):
            self._set(name, as_array(f"/relevance/{name}", getattr(self, name), dtype, (r,)))
        require_range("/style/std", self.style_std, 0, np.inf)
        require_range("/relevance/channel", self.channels, 0, c - 1)
        require_range("/relevance/consistency", self.consistency, 0, 1 + TOLERANCE)
        require_range("/relevance/strength", self.strength, 0, np.inf)
        require_range("/relevance/images", self.images, 1, np.inf)
        if not (np.diff(self.channels) > 0).all():
            raise AtlasFormatError("/relevance/channel: must ascend without repeats; sort it")
        self._check_rows()
        self._check_origin()
        if self.samples is not None:
            self.samples.require_sizes(c, d)

    @property
    def kinds(self) -> NDArray[np.str_]:
        """The kind of the layer of every row, (R,): conv, rgb or input."""
        return self.layout.kinds[self.channels]

    @property
    def rows_alone(self) -> bool:
        """Whether the table is one of another program's, of which nothing but rows is known:
        consistency, strength and images then are only assumed."""
        return self.fingerprint.settings.get("table") == IMPORTED

    @property
    def strength_in_sigma(self) -> float:
        """How far a channel was moved to either side, in standard deviations.

        Raises:
            AtlasFormatError: the settings say no such number.
        """
        steps = self.fingerprint.settings.get("strength", 5.0)
        if not isinstance(steps, int | float) or not 0 < steps < np.inf:
            raise AtlasFormatError(f"attribute settings: strength {steps!r} must be above 0")
        return float(steps)

    @cached_property
    def responses(self) -> NDArray[np.float32]:
        """How far and where the embedding is expected to move as each channel moves by one
        standard deviation, float32 (R, D).

        A row is the mean of the deltas of a step to both sides; consistency says how much of their
        mean length (strength) is left of it.
        """
        lengths = self.consistency * self.strength / np.float32(2 * self.strength_in_sigma)
        responses: NDArray[np.float32] = self.rows * lengths[:, None]
        return responses

    @cached_property
    def phrases(self) -> PromptBank:
        """The bank's prompts as unit directions from their mean."""
        return self.prompts.centred()

    @cached_property
    def phrase_index(self) -> PromptIndex:
        """The search over `phrases` that `query_prompts` asks."""
        return PromptIndex(self.phrases)

    @cached_property
    def reliability(self) -> NDArray[np.float32]:
        """The cosine to expect between a row and the one that all images there are would give: 0 to
        1, float32 (R,).

        The mean of n random unit deltas has a squared length of 1/n, so of a consistency c the
        share (n c^2 - 1) / ((n - 1) c^2) of the squared row is signal; its root is the cosine. 0
        for a dead channel. One image says nothing against its row, which counts in full.
        """
        images, squares = self.images.astype(np.float64), np.square(self.consistency, dtype="f8")
        known = (images - 1) * squares
        signal = np.divide(images * squares - 1, known, where=known > 0, out=np.zeros_like(known))
        alone = self.images == 1
        signal = np.where(alone, self.consistency > 0, signal)
        reliability: NDArray[np.float32] = np.sqrt(signal.clip(0, 1)).astype(np.float32)
        return reliability

    def require_generator(self, identity: ModelIdentity, layout: StyleLayout) -> None:
        """Raise FingerprintError unless a generator of this layout is the atlas's own, or known to
        be tuned from it."""
        self.fingerprint.require_generator(identity, layout == self.layout)
        if layout != self.layout:
            raise FingerprintError(
                f"generator {identity}: is said to be tuned from {self.fingerprint.generator}, and "
                f"has other layers: {layout.size:,} style channels, not {self.layout.size:,}; load "
                "the atlas's generator"
            )

    def row_of(self, flat: int) -> int:
        """The position in ``rows`` of the channel with flat index ``flat``.

        Raises:
            LayoutError: the generator has no such channel, or it was not swept.
        """
        label = self.layout.label(flat)
        row = int(np.searchsorted(self.channels, flat))
        if row == len(self.channels) or self.channels[row] != flat:
            raise LayoutError(
                f"channel {label}: is not in this atlas, which holds {len(self.channels)} of "
                f"{self.layout.size} channels; draw it with `styleatlas precompute`"
            )
        return row

    def embedding(self, prompt: str) -> NDArray[np.float32]:
        """The unit embedding (D,) of a prompt of the bank.

        Raises:
            PromptError: the bank does not hold it.
        """
        require_prompt("prompt", prompt)
        known = self.prompts.find(prompt)
        if known is None:
            raise PromptError(
                f"prompt {prompt!r}: is not among the {len(self.prompts)} of the bank; add it with "
                "`styleatlas prompts add`, or embed it by TextEmbedder with the atlas's CLIP"
            )
        return known

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_rows(self) -> None:
        norms = row_norms(self.rows)
        still = norms == 0
        require_unit("/relevance/rows", np.where(still, np.float32(1), norms))
        if self.consistency[still].any():
            row = int(np.flatnonzero(still & (self.consistency != 0))[0])
            raise AtlasCorruptError(
                f"/relevance/consistency: row {row} is all zeros, so its consistency must be 0, "
                f"not {self.consistency[row]:g}"
            )

    def _check_origin(self) -> None:
        if not self.library or not self.library.isprintable():
            raise AtlasFormatError(f"attribute library: {self.library!r} must be a printable text")
        try:
            # Python 3.10 does not read the Z that ISO 8601 allows for UTC.
            offset = datetime.fromisoformat(self.created.replace("Z", "+00:00")).utcoffset()
        except ValueError:
            offset = None
        if offset != timedelta(0):
            raise AtlasFormatError(
                f"attribute created: {self.created!r} must be ISO 8601 in UTC, "
                "such as 2026-11-22T05:40:00+00:00"
            )
