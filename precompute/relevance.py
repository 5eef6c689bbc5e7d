"""The relevance table: rows from the sums of blocks, and what screening decides by them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .blocks import Arrays, ChannelsBlock
from .probes import Probes
from .streams import Stream

SWEPT_SHARE = 0.1
"""Of the channels, the strongest, that the screened method sweeps."""
AUDITED = 32
"""Channels drawn from the rest, swept to see what their slopes missed."""
_ALIKE = 0.9


@dataclass(frozen=True, eq=False)
class RelevanceTable:
    """What was measured of R channels.

    Args:
        channels: flat indices, ascending (R,).
        rows: unit rows, or zeros for a channel that moves nothing, float64 (R, D).
        consistency: length of the mean unit delta, 0 to 1 (R,).
        strength: mean length of the raw delta (R,).
    """

    channels: NDArray[np.int64]
    rows: NDArray[np.float64]
    consistency: NDArray[np.float64]
    strength: NDArray[np.float64]

    def at(self, channels: NDArray[np.int64]) -> RelevanceTable:
        """The rows of some of the channels."""
        where = np.searchsorted(self.channels, channels)
        return RelevanceTable(
            channels, self.rows[where], self.consistency[where], self.strength[where]
        )

    def replaced(self, other: RelevanceTable) -> RelevanceTable:
        """This table with the rows that `other` has taken from there."""
        where = np.searchsorted(self.channels, other.channels)
        columns = []
        for name in ("rows", "consistency", "strength"):
            column = getattr(self, name).copy()
            column[where] = getattr(other, name)
            columns.append(column)
        return RelevanceTable(self.channels, *columns)


def swept_table(
    channels: NDArray[np.int64],
    images: int,
    width: int,
    blocks: Iterable[tuple[ChannelsBlock, Arrays]],
) -> RelevanceTable:
    """The table of blocks of a sweep."""
    sums = _added(channels, width, ("length",), blocks)
    rows, consistency = _unit(sums["unit"] / images)
    return RelevanceTable(channels, rows, consistency, sums["length"] / images)


def sloped_table(
    channels: NDArray[np.int64],
    images: int,
    width: int,
    probes: Probes,
    blocks: Iterable[tuple[ChannelsBlock, Arrays]],
) -> RelevanceTable:
    """The table of slopes blocks.

    What lies outside of the probes' basis is known as a share of all energy, which is pooled over
    the images: a row is its direction in the basis and its direction outside, each with its share
    of the length. Both are taken to be alike in consistency.
    """
    sums = _added(channels, width, ("length", "inside", "outside"), blocks)
    mean = sums["unit"] / images
    basis = probes.basis.astype(np.float64)
    inside = mean @ basis.T @ basis
    known, consistency = _unit(inside)
    rest, _ = _unit(mean - inside)
    energy = np.maximum(sums["inside"], np.finfo(float).tiny)
    ratio = np.where(consistency > 0, sums["outside"] / energy, 0)  # (R,)
    share = 1 / np.sqrt(1 + ratio)
    rows, _ = _unit(known * share[:, None] + rest * np.sqrt(1 - share**2)[:, None])
    return RelevanceTable(channels, rows, consistency, sums["length"] / images / share)


def screened(table: RelevanceTable, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The channels of a table to sweep, ascending: the strongest tenth, and a random few of the
    others."""
    order = table.channels[np.argsort(-table.strength, kind="stable")]
    strongest = _strongest(len(order))
    rest = np.sort(order[strongest:])
    random = Stream.AUDIT.random(seed)
    audited = random.choice(rest, screened_count(len(order)) - strongest, replace=False)
    return np.sort(order[:strongest]), np.sort(audited)


def screened_count(channels: int) -> int:
    """How many of so many channels the screened method sweeps, the audited ones among them."""
    return min(channels, _strongest(channels) + AUDITED)


def audit(
    slopes: RelevanceTable, swept: RelevanceTable, strongest: NDArray[np.int64], probes: Probes
) -> dict[str, float]:
    """What the slopes of the audited channels missed, in numbers; cosines are those of the parts
    of rows that the probes' basis sees.

    `swept` holds the channels that `screened` chose: what they are besides the strongest was drawn
    at random from the rest, so it stands for the rest.
    """
    audited = np.setdiff1d(swept.channels, strongest)
    measured, predicted = swept.at(audited), slopes.at(audited)
    live = (measured.consistency > 0) | (predicted.consistency > 0)
    seen = (_unit(table.rows[live] @ probes.basis.T)[0] for table in (measured, predicted))
    cosines = np.prod(list(seen), 0).sum(1)
    weakest = swept.at(strongest).strength.min()
    return {
        "channels": len(audited),
        "median_cosine": round(float(np.median(cosines)), 4) if len(cosines) else 1.0,
        "lowest_cosine": round(float(cosines.min()), 4) if len(cosines) else 1.0,
        "share_below_0.9": round(float((cosines < _ALIKE).mean()), 4) if len(cosines) else 0.0,
        "stronger_than_swept": int((measured.strength > weakest).sum()),
    }


def _strongest(channels: int) -> int:
    return int(np.ceil(channels * SWEPT_SHARE))


def _added(
    channels: NDArray[np.int64],
    width: int,
    names: tuple[str, ...],
    blocks: Iterable[tuple[ChannelsBlock, Arrays]],
) -> dict[str, NDArray[np.float64]]:
    """The sums of all blocks. Those of floats depend on their order, which is that of the plan."""
    total = {name: np.zeros(len(channels)) for name in names}
    total["unit"] = np.zeros((len(channels), width))
    for block, sums in blocks:
        where = np.searchsorted(channels, block.channels)
        for name, into in total.items():
            into[where] += sums[name]
    return total


def _unit(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows (R, D) at length 1 and the lengths they had; zeros stay zeros."""
    lengths = np.linalg.norm(rows, axis=1)
    return np.divide(rows, lengths[:, None], where=lengths[:, None] > 0, out=rows * 0), lengths
