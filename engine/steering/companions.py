"""What comes along with a thing in the samples, and is to be held still. Without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...prompts.sets import SAID_OF_READINGS
from ...store.bank import PromptBank
from ...store.features import Feature, unread
from ...store.queries import NEAR
from .mixture import fit_mixture
from .regression import orthonormal, partial_correlations, unit_columns

Array = NDArray[np.float64]
Phrase = tuple[str, NDArray[np.float32]]
"""A phrase of the bank and what it says, (D,)."""
Number = tuple[str, str]
"""What is read, and the name of one of its numbers."""

_HELD, _SURE = (0.05, 0.1), 3.2
"""Partial correlation from which on what comes with an edit is held still: so many of its standard
errors, but no less and no more than that."""
CLEAR = 2.0
"""Separation from which on the groups of scores tell who has a thing."""
_MOST_HELD = 8
_LOOKED_AT = 48  # phrases whose groups are fitted, those that come with an edit most
_LOOKED_IN = 4000  # samples in which they are, which tell correlations to .02
_ABOUT = 0.75  # of its cosine with the nearest phrase: from there on an edit is about another, too
_IMPLIED, _IMPLIED_AKIN, _AKIN = 0.97, 0.9, 0.15
"""Share of those who have a thing that have what a phrase says, from which on the phrase follows
from it, as hair from a bun; and the same of a phrase whose cosine with it is beyond the third."""


def numbers_of(readings: Mapping[str, Feature]) -> dict[Number, NDArray[np.float32]]:
    """The numbers that networks read of samples and words tell of, (N,) each. Where nothing was
    found stands the mean."""
    found: dict[Number, NDArray[np.float32]] = {}
    for feature, reading in readings.items():
        if feature not in SAID_OF_READINGS:
            continue
        lost = unread(reading.values)
        if not lost.all():
            values = np.where(lost[:, None], reading.values[~lost].mean(0), reading.values)
            numbers = zip(reading.source.numbers, values.T, strict=True)
            found |= {(feature, name): column for name, column in numbers}
    return found


class Companions:
    """The readings of samples and the phrases of a bank, among which those that come with an edit
    are looked for.

    Args:
        phrases: as directions from their mean, (P, D).
        smoothed: embeddings of the samples as their latents foretell them, (N, D).
        least_gain: what two groups of scores gain by chance, at most.
        readings: numbers that networks read of the samples, (N,) each.
    """

    def __init__(
        self,
        phrases: PromptBank,
        smoothed: NDArray[np.float32],
        least_gain: float,
        readings: Mapping[Number, NDArray[np.float32]],
    ) -> None:
        self._phrases, self._least_gain, self._readings = phrases, least_gain, readings
        self._smoothed = smoothed[:_LOOKED_IN]
        self._scores = unit_columns(self._smoothed @ phrases.embeddings.T)  # (4000, P)
        self._held = float(np.clip(_SURE / math.sqrt(len(smoothed)), *_HELD))
        self._posteriors: dict[int, tuple[Array, bool]] = {}
        known = {text: row for row, text in enumerate(phrases.texts)}
        said = {
            feature: [known[text] for text in texts if text in known]
            for feature, texts in SAID_OF_READINGS.items()
        }
        self._says = {name: rows for name, rows in said.items() if rows}

    def of(
        self, has: Array, named: list[Array], taken: list[Array]
    ) -> tuple[list[Phrase], list[Phrase]]:
        """The phrases to hold still: those that come with a thing, beside those that are held
        already, and neither mean it nor follow from it; and those that mean something else and yet
        are there exactly where it is.

        Args:
            has: who has the thing, (N,).
            named: what prompts say beyond one that says nothing, (D,) each.
            taken: posteriors of what is held already, (N,) each.
        """
        units = [text / max(float(np.linalg.norm(text)), 1e-9) for text in named]
        alike = (self._phrases.embeddings @ np.stack(units, 1).astype(np.float32)).max(1)  # (P,)
        has = has[:_LOOKED_IN]
        around = has - has.mean()
        along = around.astype(np.float32) @ self._scores  # (P,)
        order = np.argsort(np.where(alike >= NEAR, np.inf, -along), kind="stable")[:_LOOKED_AT]
        enough = along[order] > self._held * float(np.linalg.norm(around))
        order = order[enough & (alike[order] < NEAR)]
        scores = self._scores[:, order]  # by which the next to look at is chosen
        basis = orthonormal([column[:_LOOKED_IN] for column in taken], len(has))
        partial = partial_correlations(around, scores, basis)
        found: list[int] = []
        equal: list[int] = []
        while len(found) < _MOST_HELD and partial.max(initial=0) >= self._held:
            best = int(partial.argmax())
            row, partial[best] = int(order[best]), 0
            posterior, clear = self._posterior(row)
            both = float(has @ posterior)
            implied = both / max(float(has.sum()), 1e-9)
            follows = implied > (_IMPLIED if alike[row] < _AKIN else _IMPLIED_AKIN)
            column = unit_columns(posterior[:, None])
            if clear and follows and both / max(float(posterior.sum()), 1e-9) > _IMPLIED:
                equal.append(row)
            if (
                clear
                and not follows
                and partial_correlations(around, column, basis)[0] >= self._held
            ):
                found.append(row)
                rest = column - basis @ (basis.T @ column)
                basis = np.concatenate([basis, rest / np.linalg.norm(rest)], 1)
                looked_at = partial == 0
                partial = partial_correlations(around, scores, basis)
                partial[looked_at] = 0
        return [self._said(row) for row in found], [self._said(row) for row in equal]

    def read(self, has: Array, difference: Array, taken: list[Array]) -> list[tuple[str, Array]]:
        """The readings to hold still, with the numbers, (N,): those that come with a thing, either
        way, beside what is held already, and are not what a text difference (D,) is about, as
        phrases of the bank say it that are known to say what is read."""
        unit = difference / max(float(np.linalg.norm(difference)), 1e-9)
        alike = np.abs(self._phrases.embeddings @ unit.astype(np.float32))  # (P,)
        least = max(NEAR, _ABOUT * float(alike.max()))
        still = {feature for feature, rows in self._says.items() if alike[rows].max() < least}
        numbers = [number for number in self._readings if number[0] in still]
        if not numbers:
            return []
        columns = unit_columns(np.stack([self._readings[number] for number in numbers], 1))
        found: list[tuple[str, Array]] = []
        around = has - has.mean()
        while True:
            basis = orthonormal([*taken, *(column for _, column in found)], len(has))
            partial = np.abs(partial_correlations(around, columns, basis))
            best = int(partial.argmax())
            if partial[best] < self._held:
                return found
            column = self._readings[numbers[best]].astype(np.float64)
            found.append((": ".join(numbers[best]), column))

    def _said(self, row: int) -> Phrase:
        return self._phrases.texts[row], self._phrases.embeddings[row]

    def _posterior(self, row: int) -> tuple[Array, bool]:
        """Who of the first samples has what a phrase says, (4000,), and whether they tell."""
        if row not in self._posteriors:
            scores = self._smoothed @ self._phrases.embeddings[row]
            mixture = fit_mixture(scores)
            clear = mixture.separation >= CLEAR and mixture.gain > self._least_gain
            self._posteriors[row] = mixture.posterior(scores), clear
        return self._posteriors[row]
