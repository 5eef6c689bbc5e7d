"""The latents of pictures by look-up in the samples of an atlas: an encoder without training.

Samples are pairs of a latent w and what is seen of its image: CLIP's embedding and, by name, what
readers found. Regression of the one on the other inverts pictures, the first step of every
inversion:

    w = mean of w + C' S^-1 (x - mean of x),    S = covariance of x + penalty I,    C = Cov(x, w)

with x the blocks one beside the other, each scaled to a mean variance of 1, so that every block
counts alike however many numbers it has and in whatever unit (ridge regression, Hoerl and Kennard
1970). A block is not whitened direction by direction: the penalty would then take the same share of
each, and what tells of w would be damped like noise.

How far a picture lies from the samples is its Mahalanobis distance by the same S, compared with the
samples' own, each as one that the regression does not know (leave-one-out, by the rank-one update
of S^-1). Beyond `EDGE` of them the latent is found as if the picture lay there, on the way from
their mean: what generators draw of anything farther is not known.

The samples of a conditional generator are regressed within their classes, which share S and C, and
a picture's class is the one whose mean is nearest (Fisher's discriminant).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...store.errors import OptionError, require_number
from ...store.features import unread
from ...store.sample_set import SampleSet
from .regression import class_means

PENALTY = 1e-2
"""Of S, in variances of a block's average number; see docs/photos.md for how it was chosen."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
EDGE = 0.95
"""The share of samples beyond which pictures are far."""
_HELD = 200  # samples that a penalty is chosen by
_CLIP = "CLIP embedding"  # its block, which no feature can be named like

Apart = Callable[[NDArray[np.float32], NDArray[np.intp]], NDArray[np.floating[Any]]]
"""Latents (n, w_dim) that were found of samples, and the numbers (n,) of these: how far the images
of the ones lie from those of the others, (n,)."""
Embed = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Latents (n, w_dim) to CLIP's embeddings (n, D) of their images."""


@dataclass(frozen=True, eq=False)
class LookedUp:
    """The latents of n pictures, as samples tell them.

    Args:
        w: at psi 1, the same in all rows of w, float32 (n, w_dim).
        label: their classes, int32 (n,); -1 where the generator is not conditional.
        farther: the share of samples that lie farther from the others than the picture does,
            0 to 1, float32 (n,): about half for what the generator could have drawn, 0 for what is
            unlike all of them.
        kept: how much of the way from the mean was gone, 0 to 1, float32 (n,); 1 unless it is far.
    """

    w: NDArray[np.float32]
    label: NDArray[np.int32]
    farther: NDArray[np.float32]
    kept: NDArray[np.float32]


class LookUp:
    """The samples of an atlas, ready to invert pictures.

    Args:
        samples: of an atlas.
        penalty: above 0; see `best_penalty`.
        rows: the numbers of the samples that it learns from; all if not given.

    Raises:
        OptionError: a penalty that is not above 0.
    """

    def __init__(
        self,
        samples: SampleSet,
        penalty: float = PENALTY,
        rows: NDArray[np.integer[Any]] | None = None,
    ) -> None:
        require_number("penalty", penalty)
        if not 0 < penalty < np.inf:
            raise OptionError(f"penalty {penalty:g}: must be above 0")
        chosen = np.arange(len(samples)) if rows is None else rows
        self.penalty = penalty
        self._w = samples.w[chosen].astype(np.float32)
        self._label = samples.label[chosen]
        seen = {_CLIP: samples.embedding.astype(np.float32), **samples.features}
        self._seen = {name: values[chosen] for name, values in seen.items()}
        self._fits: dict[tuple[str, ...], _Fit] = {}

    def find(
        self,
        embedding: ArrayLike,
        features: Mapping[str, ArrayLike] | None = None,
        label: int | None = None,
    ) -> LookedUp:
        """The latents of n pictures.

        Args:
            embedding: CLIP's (n, D), of any length above 0.
            features: what the samples' readers found in them, by name, (n, F) each, those that
                there are; a row of NaN where one found nothing. Every picture is looked up by what
                is known of it, among the samples of which that is known.
            label: the class that all are of; the nearest of each if not given.

        Raises:
            OptionError: another shape, no number, a feature that the samples do not have, a class
                that none of them is of, or too few of them.
        """
        seen = self._checked({_CLIP: embedding, **(features or {})})
        n = len(seen[_CLIP])
        found = LookedUp(
            np.zeros((n, self._w.shape[1]), np.float32),
            np.zeros(n, np.int32),
            *(np.zeros(n, np.float32) for _ in range(2)),
        )
        known = np.stack([~unread(values) for values in seen.values()], 1)  # (n, blocks)
        for combination in np.unique(known, axis=0):
            names = tuple(name for name, there in zip(seen, combination, strict=True) if there)
            pictures = np.flatnonzero((known == combination).all(1))
            part = self._fit(names).find([seen[name][pictures] for name in names], label)
            for field in ("w", "label", "farther", "kept"):
                getattr(found, field)[pictures] = getattr(part, field)
        return found

    def _fit(self, names: tuple[str, ...]) -> _Fit:
        """By these blocks, over the samples that have all of them."""
        if names not in self._fits:
            blocks = [self._seen[name] for name in names]
            whole = ~np.any([unread(values) for values in blocks], 0)
            alone = len(np.unique(self._label[whole])) >= whole.sum()
            if alone:
                told = " and ".join(names)
                raise OptionError(
                    f"samples: of {whole.sum()} is {told} known, which is too few to look up by; "
                    "draw more of them"
                )
            self._fits[names] = _Fit(
                [values[whole] for values in blocks],
                self._w[whole],
                self._label[whole],
                self.penalty,
            )
        return self._fits[names]

    def _checked(self, given: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float32]]:
        """What is seen of pictures, float32 (n, F) by name; embeddings of length 1."""
        checked: dict[str, NDArray[np.float32]] = {}
        count = None
        for name, values in given.items():
            if name not in self._seen:
                there = ", ".join(self._seen)
                raise OptionError(f"{name}: is not known of the samples, which have {there}")
            array, width = np.asarray(values), self._seen[name].shape[1]
            if array.dtype.kind != "f" or array.ndim != 2 or array.shape[1] != width:
                raise OptionError(
                    f"{name}: is {array.dtype} {array.shape}; give numbers of shape (n, {width})"
                )
            count = len(array) if count is None else count
            if len(array) != count:
                raise OptionError(f"{name}: is of {len(array)} pictures, {_CLIP} of {count}")
            with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
                array = array.astype(np.float32)
            lost = unread(array) if name != _CLIP else np.zeros(count, bool)
            if not np.isfinite(array[~lost]).all():
                raise OptionError(
                    f"{name}: holds NaN or infinity; only a whole row of a feature may be NaN"
                )
            checked[name] = array
        lengths = np.linalg.norm(checked[_CLIP], axis=1, keepdims=True)
        if not (lengths > 0).all():
            raise OptionError(f"{_CLIP}: holds a row of length 0, which is of no picture")
        checked[_CLIP] = checked[_CLIP] / lengths
        return checked


class _Fit:
    """The regression by some blocks (N, F) each, of which every sample has all.

    In the coordinates z = (x - mean) R with R R' = S^-1, distances are lengths, and latents are
    z R' C around their mean.
    """

    def __init__(
        self,
        blocks: Sequence[NDArray[np.float32]],
        w: NDArray[np.float32],
        label: NDArray[np.int32],
        penalty: float,
    ) -> None:
        self._classes, number = np.unique(label, return_inverse=True)
        free = len(w) - len(self._classes)
        self._scale = [_scale(x, label) for x in blocks]
        means, x = class_means(self._joined(blocks), label)
        self._w_means, around = class_means(w, label)
        moments = (x.T @ x).astype(np.float64) / free
        moments[np.diag_indices_from(moments)] += penalty
        self._root = np.linalg.inv(np.linalg.cholesky(moments)).T  # R
        self._slopes = self._root.T @ (x.T @ around / free)  # R' C, (F, w_dim)
        self._means = means @ self._root  # (classes, F)
        lengths = np.square(x @ self._root).sum(1)
        self._own = _left_out(lengths, np.bincount(number)[number], free)
        self._edge = float(np.quantile(self._own, EDGE))

    def find(self, blocks: Sequence[NDArray[np.float32]], label: int | None) -> LookedUp:
        """See `LookUp.find`; all pictures have these blocks."""
        z = self._joined([x.astype(np.float64) for x in blocks]) @ self._root
        squares = np.square(z).sum(1)[:, None] + np.square(self._means).sum(1)
        nearest = (squares - 2 * z @ self._means.T).argmin(1)
        if label is not None:
            nearest = np.full(len(z), self._number(label))
        z = z - self._means[nearest]
        far = np.square(z).sum(1)
        kept = np.sqrt(np.minimum(1, self._edge / np.maximum(far, 1e-12)))
        return LookedUp(
            (self._w_means[nearest] + (kept[:, None] * z) @ self._slopes).astype(np.float32),
            self._classes[nearest].astype(np.int32),
            1 - share_below(self._own, far),
            kept.astype(np.float32),
        )

    def _joined(self, blocks: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([s * x for s, x in zip(self._scale, blocks, strict=True)], 1)

    def _number(self, label: int) -> int:
        found = np.flatnonzero(self._classes == label)
        if not len(found):
            known = "of no class" if -1 in self._classes else f"of {len(self._classes)} others"
            raise OptionError(f"class {label}: no sample is of it, they are {known}")
        return int(found[0])


def _scale(block: NDArray[np.float32], label: NDArray[np.int32]) -> float:
    """What brings a block (N, F) to a mean variance of 1 within classes; 0 of one that is the same
    in all samples, but for rounding."""
    deviation = float(np.sqrt(np.square(class_means(block, label)[1]).mean()))
    return 1 / deviation if deviation > 1e-6 * float(np.abs(block).max()) else 0.0


def _left_out(lengths: NDArray[np.float64], of_class: NDArray[Any], free: int) -> Any:
    """The squared Mahalanobis distances, ascending, that samples would have if they were not among
    those that told the mean of their class, of so many, and S, of so many degrees of freedom: by
    Sherman and Morrison. Without those that are alone in a class."""
    many = of_class > 1
    ratio = of_class[many] / (of_class[many] - 1)
    left = 1 - ratio * lengths[many] / free
    return np.sort(ratio**2 * lengths[many] / np.maximum(left, 1e-9))


def best_penalty(
    samples: SampleSet,
    apart: Apart,
    features: Sequence[str] = (),
    penalties: Sequence[float] = PENALTIES,
) -> float:
    """The penalty by which images of samples come back nearest, when they are looked up among the
    others: by the images, since w may be near in what nobody sees.

    Args:
        samples: of an atlas, the last 200 of which, a quarter at most, are looked up.
        apart: renders latents and compares the images.
        features: by which they are looked up beside CLIP's embedding.

    Raises:
        OptionError: no feature of the samples, or too few of them.
    """
    held, rest = _held_out(samples)
    embedding, seen = _seen(samples, held, features)
    means = [
        float(np.mean(apart(LookUp(samples, penalty, rest).find(embedding, seen).w, held)))
        for penalty in penalties
    ]
    return penalties[int(np.argmin(means))]


def returns(
    samples: SampleSet,
    embed: Embed,
    features: Sequence[str] = (),
    penalty: float = PENALTY,
) -> NDArray[np.float32]:
    """How near images of samples come back, when they are looked up among the others: the cosines
    of their embeddings with those of what was found, ascending, (200,) at most.

    A picture may lie among the samples and be nothing of what was found, where CLIP was never shown
    the like: in the dark, say. `share_below` of its own cosine tells that, which `LookedUp.farther`
    cannot.

    Args:
        samples: of an atlas, the last 200 of which, a quarter at most, are looked up.
        embed: renders latents and embeds the images.
        features, penalty: they are looked up by.

    Raises:
        OptionError: no feature of the samples, or too few of them.
    """
    held, rest = _held_out(samples)
    embedding, seen = _seen(samples, held, features)
    found = embed(LookUp(samples, penalty, rest).find(embedding, seen).w)
    return np.sort(cosines(embedding, found))


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the rows (n, D) of the one with those of the other, (n,)."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosine: NDArray[np.float32] = (one * other).sum(1) / np.maximum(lengths, 1e-12)
    return cosine


def share_below(ascending: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float32]:
    """The share of the first that are at most as large as each of the values (n,), (n,)."""
    count = np.searchsorted(ascending, values, side="right")
    share: NDArray[np.float32] = (count / len(ascending)).astype(np.float32)
    return share


def _held_out(samples: SampleSet) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The numbers of the last samples, of classes that others are of, too; and of the others."""
    held = np.arange(len(samples) - min(_HELD, len(samples) // 4), len(samples))
    rest = np.arange(len(samples) - len(held))
    held = held[np.isin(samples.label[held], samples.label[rest])]
    if not len(held):
        raise OptionError(f"samples: are {len(samples)}, too few to look some up; draw more")
    return held, rest


def _seen(
    samples: SampleSet, rows: NDArray[np.intp], names: Sequence[str]
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """Embeddings and features of some samples."""
    if missing := set(names) - samples.features.keys():
        raise OptionError(f"{min(missing)}: is not known of the samples; name one of theirs")
    features = {name: samples.features[name][rows] for name in names}
    return samples.embedding[rows].astype(np.float32), features
