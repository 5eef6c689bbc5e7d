"""Whether images show what an edit was to bring about, whichever way they went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.protocols import Generator
from ..models.sampling import render_batches
from ..models.subject import Batch, Subject
from ..steering.direction import Direction
from ..steering.edits import Edit
from ..steering.goals import Goals
from ..steering.status import Status
from ..steering.texts import TextEmbedder


class Sight(Protocol):
    """What an editor sees of images by CLIP; `TableEditor` says what its methods do."""

    generator: Generator
    texts: TextEmbedder

    def seen(self, images: Tensor, directions: Sequence[Edit], /) -> NDArray[np.float64]: ...

    def goals(
        self, batch: Batch, directions: tuple[Direction, ...], probability: float | None, /
    ) -> Goals: ...

    def enough(self, probability: float | None, /) -> float: ...


class Aims:
    """What images of an edit are to be seen with, whichever way they go.

    Args:
        sight: of the editor.
        subject: the images as they were.
        parts: of the edit.
        directions: of the parts, where there are any.
    """

    def __init__(
        self,
        sight: Sight,
        subject: Subject,
        parts: Sequence[Edit],
        directions: Sequence[Direction],
        probability: float | None,
    ) -> None:
        self._sight, self._parts = sight, parts
        self._directions, self._probability = tuple(directions), probability
        self._subject = subject

    @torch.inference_mode()
    def see(
        self, rows: Sequence[int], styles: Tensor
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """CLIP's probability of the least likely part in images that came to styles (m, C), and
        whether they show all parts, (m,) each."""
        along = self._along(styles)
        scale = self._sight.texts.encoder.logit_scale
        chances = 1 / (1 + np.exp(-scale * along))
        shown: NDArray[np.bool_] = np.all(along >= self._there(rows), axis=1)
        return chances.min(1), shown

    @torch.inference_mode()
    def status(self, rows: Sequence[int], styles: Tensor) -> list[Status]:
        """What became of images that came to styles (m, C)."""
        shown = np.all(self._along(styles) >= self._there(rows), axis=1)
        stayed = (styles == self._subject.at(rows).styles).all(1).tolist()
        return [
            "not_reached" if not now else "already_there" if still else "reached"
            for now, still in zip(shown, stayed, strict=True)
        ]

    def _along(self, styles: Tensor) -> NDArray[np.float64]:
        """How much nearer they are to the target of each part than to its neutral prompt."""
        renders = render_batches(self._sight.generator, styles)
        return np.concatenate([self._sight.seen(images, self._parts) for images in renders])

    def _there(self, rows: Sequence[int]) -> NDArray[np.float64]:
        """From which on an image shows each part, (m, E)."""
        if self._directions:
            batch = Batch(
                self._sight.generator, self._subject.styles[list(rows)], self._subject.psi
            )
            return self._sight.goals(batch, self._directions, self._probability).there
        return np.full((len(rows), len(self._parts)), self._sight.enough(self._probability))
