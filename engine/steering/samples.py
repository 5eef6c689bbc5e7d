"""What unedited images say of a prompt, and the direction they give. Without torch.

Every sample of an atlas has a score along a text direction. Where the scores fall into two groups,
the generator draws the thing and CLIP tells it, and the step in w from those who have not to those
who have is the direction: StyleSpace's channels from positive examples (Wu et al. 2021, section
4.2) with labels by CLIP, or InterFaceGAN's boundary (Shen et al. 2020) without training.

- *Who has it* is a probability by the mixture of the scores, `fit_mixture`.
- *The step* is the coefficient of that probability in the regression of w on it, Cov(r, w) /
  Var(r): the difference of the groups' means with what doubtful members take off it put back. A
  probability that is told from w itself takes nothing off, and the divisor is that of who has it
  and who has not, p (1 - p).
- What goes along with the thing in the samples would be dragged along. It is held still by the
  same regression: it takes in what the prompt is to keep, and the phrases of the bank that come
  with it more than by chance, unless they mean the thing itself.
- Channels that no more than chance moves are left out, by the false discovery rate (Benjamini and
  Hochberg 1995).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...store.bank import PromptBank
from ...store.sample_set import SampleSet
from .companions import CLEAR, Companions, Phrase, numbers_of
from .evidence import (
    HIGH,
    LOW,
    Evidence,
    Kind,
    levels_of_called,
    levels_of_groups,
    levels_of_spread,
    share_called,
)
from .mixture import APART, LEAST, Mixture, filled, fit_mixture
from .regression import discovered, inflation, of_two, slopes_on, within_classes

Array = NDArray[np.float64]

FEW = 40
"""Images of a group with fewer of which it is rare."""
INSEPARABLE = 10.0
"""Variance inflation factor beyond which things cannot be told apart (Kutner et al. 2004, 10.5)."""
_CLEAR_ENOUGH = 3.0  # separation of groups that need no help of latents to be told apart
_TWO = 3.0  # separation of two groups; fitted to what is spread evenly, two lie nearly as far apart
_UNEVEN = 0.1  # share of the smaller group that nothing spread evenly is read as
_RIDGE = 1e-4  # of the mean, in the way from styles to w
_NULL_QUANTILE = 0.975
_TOLD = 0.1  # of the usual spread of scores: with less, CLIP sees no image differ by a prompt
_NAMES = 0.5  # of the usual spread: from there on a prompt names what images differ by
_AGAINST = -0.5  # correlation of the scores of two prompts, below which they are opposites
_Reading = tuple[Evidence, Array, float]  # what `SampleMap._read` gives
_END, _BEYOND = 0.999, 1.0  # quantile of samples along a step, and steps beyond it: the end


@dataclass(frozen=True, eq=False)
class SampledStep:
    """The step in style space from those who lack a thing to those who have it, at psi 1.

    Args:
        evidence: what the samples say of it.
        step: float32 (C,), in units of the style, 0 for channels that it does not move.
        held: phrases that come with it and were held still.
        inseparable: phrases that come with it so often that they cannot be told apart.
        removes: whether it takes a thing off, which the neutral prompt names and the target does
            not.
    """

    evidence: Evidence
    step: NDArray[np.float32]
    held: tuple[str, ...]
    inseparable: tuple[str, ...]
    removes: bool


class _Held(NamedTuple):
    """What is held still: its name, who of the samples has it, (N,), and the variance of that."""

    name: str
    column: Array
    variance: float


class SampleMap:
    """The samples of an atlas, ready to be asked.

    Args:
        samples: of an atlas.
        phrases: of its bank, as directions from their mean, among which those that come with an
            edit are looked for; none if not given.
        plain: that mean (D,), which stands for a prompt that says nothing of an image.
        said: what some of the phrases say, from that mean, as long as they are embedded, (K, D).
    """

    def __init__(
        self,
        samples: SampleSet,
        phrases: PromptBank | None = None,
        plain: NDArray[np.float32] | None = None,
        said: NDArray[np.float32] | None = None,
    ) -> None:
        self.samples, self._phrases, self._plain, self._usual = samples, phrases, plain, said
        self._neutral: tuple[NDArray[np.float32], _Reading] | None = None  # the last one asked of

    @cached_property
    def embeddings(self) -> NDArray[np.float32]:
        """Of the samples, (N, D); those of a conditional generator around the mean of all instead
        of that of their class."""
        return within_classes(self.samples.embedding.astype(np.float32), self.samples.label)

    @cached_property
    def moved(self) -> NDArray[np.float32]:
        """What steps are found of, around its mean: w (N, w_dim), or styles (N, C) where they are
        not affine in w."""
        samples = self.samples
        given = samples.w if samples.styles is None else samples.styles
        values = within_classes(given.astype(np.float32), samples.label)
        around: NDArray[np.float32] = values - values.mean(0)
        return around

    @cached_property
    def slopes(self) -> NDArray[np.float32]:
        """How far the embedding moves with w, by ridge regression over the samples, (w_dim, D)."""
        return slopes_on(self._around_w, self.embeddings)

    @cached_property
    def smoothed(self) -> NDArray[np.float32]:
        """The embeddings as their latents foretell them, by `slopes`: what CLIP says of one image
        and would not of another with the same latent is taken out, (N, D)."""
        foretold: NDArray[np.float32] = self.embeddings.mean(0) + self._around_w @ self.slopes
        return foretold

    def _of_latents(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers of the samples (N, k) as their latents foretell them, around their means."""
        foretold: NDArray[np.float32] = self._around_w @ slopes_on(self._around_w, values)
        return foretold

    @cached_property
    def _around_w(self) -> NDArray[np.float32]:
        """w around its mean, (N, w_dim)."""
        w = within_classes(self.samples.w.astype(np.float32), self.samples.label)
        around: NDArray[np.float32] = w - w.mean(0)
        return around

    @cached_property
    def style_std(self) -> NDArray[np.float32]:
        """The standard deviation of every style channel over the samples, (C,)."""
        if self.samples.weight is None:
            spread: NDArray[np.float32] = self.moved.std(0)
            return spread
        factor = np.linalg.cholesky(
            np.cov(self.moved, rowvar=False) + 1e-9 * np.eye(self.moved.shape[1])
        )
        std: NDArray[np.float32] = np.linalg.norm(
            self.samples.weight @ factor.astype(np.float32), axis=1
        )
        return std

    def evidence(self, neutral: NDArray[np.float32], target: NDArray[np.float32]) -> Evidence:
        """What the samples say of a target beside its neutral prompt, embeddings (D,)."""
        return self._read(target.astype(np.float64) - neutral, neutral)[0]

    def scores(self, difference: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How much nearer samples are to a target than to its neutral prompt, in cosine, by their
        text difference (D,): at psi 1, (N,), and of the first M at the smaller psi, (M,)."""
        text = difference.astype(np.float32)
        return self.embeddings @ text, self._pulled @ text

    def posterior(self, difference: Array) -> Array:
        """How sure it is that each sample has what a text difference (D,) says, 0 to 1, (N,)."""
        return self._read(difference)[1]

    def shown_by(self, styles: NDArray[np.float32], difference: Array) -> Array:
        """How sure it is that images of styles (n, C) have what a text difference (D,) says, as
        the samples' latents foretell it, without a look at the images, 0 to 1, (n,). Where styles
        are not affine in w nothing is foretold: .5."""
        if self.samples.weight is None:
            return np.full(len(styles), 0.5)
        w = (styles - self.style_mean) @ self._into_w  # (n, w_dim)
        text = difference.astype(np.float32)
        scores = self.smoothed @ text
        found = self.embeddings.mean(0) @ text + w @ (self.slopes @ text)
        return fit_mixture(scores).posterior(found)

    def step(
        self,
        neutral: NDArray[np.float32],
        target: NDArray[np.float32],
        keep: Sequence[tuple[str, NDArray[np.float32]]] = (),
        allowed: NDArray[np.bool_] | None = None,
    ) -> SampledStep:
        """The step from one prompt to another. Where the neutral prompt names a thing of its own
        ("a face with glasses" -> "a face with a hat"), it goes from that to the target.

        Args:
            neutral, target: unit embeddings (D,).
            keep: what is to be held still, each with its name and embedding.
            allowed: the channels that may move, (C,); all if not given.
        """
        difference = target.astype(np.float64) - neutral
        evidence, has, variance = self._read(difference, neutral)
        gained, lost = (text.astype(np.float64) - self._middle for text in (target, neutral))
        of_target, of_neutral = self._by_themselves(neutral, target)
        columns: list[Array] = []
        variances = [variance]
        named = [gained]
        if of_target and of_neutral:
            (_, has, variance), (_, left, of_left) = of_target, of_neutral
            columns, variances = [left], [variance, of_left]
            named = [gained, lost]
        elif of_neutral:
            named = [gained, -lost]
        still, inseparable = self._still(has, difference, named, columns, keep)
        columns += [held.column for held in still]
        variances += [held.variance for held in still]
        regressors = np.stack([has, *columns], 1)
        regressors -= regressors.mean(0)
        moments = regressors.T @ regressors
        np.fill_diagonal(moments, len(has) * np.array(variances))
        inverse = np.linalg.pinv(moments)
        wanted = np.zeros(len(inverse))
        wanted[0] = 1
        if of_target and of_neutral:  # on with the one and off with the other
            wanted[1] = -1
        step = (wanted @ inverse @ regressors.T).astype(np.float32) @ self.moved
        if self.samples.weight is not None:
            step = self.samples.style_directions(step[None])[0]
        error = self.style_std * math.sqrt(float(wanted @ inverse @ wanted))
        if allowed is not None:
            step = np.where(allowed, step, 0)
        step = np.where(discovered(step, error), step, 0).astype(np.float32)
        removes = of_target is None and of_neutral is not None
        held = tuple(thing.name for thing in still)
        return SampledStep(evidence, step, held, inseparable, removes)

    def _still(
        self,
        has: Array,
        difference: Array,
        named: list[Array],
        columns: list[Array],
        keep: Sequence[tuple[str, NDArray[np.float32]]],
    ) -> tuple[list[_Held], tuple[str, ...]]:
        """What is held still as samples get a thing that `has` tells, (N,), beside the columns:
        what is to be kept, readings and phrases that come with it; and those that cannot be told
        apart from it."""
        still = [self._said(name, text.astype(np.float64) - self._middle) for name, text in keep]
        equal: list[Phrase] = []
        if self._companions is not None:
            read = self._companions.read(has, difference, columns + [x.column for x in still])
            still += [_Held(name, column, float(column.var())) for name, column in read]
            dragged, equal = self._companions.of(has, named, columns + [x.column for x in still])
            still += [self._said(text, about.astype(np.float64)) for text, about in dragged]
        inseparable = tuple(text for text, _ in equal)
        if inflation(has, columns + [x.column for x in still]) > INSEPARABLE:
            return [], (*inseparable, *(x.name for x in still))
        return still, inseparable

    def _said(self, name: str, difference: Array) -> _Held:
        """What a text difference (D,) says, as it is held."""
        column = self._foretold(difference)
        return _Held(name, column, of_two(column))

    @cached_property
    def _into_w(self) -> NDArray[np.float32]:
        """From styles around their mean to w around its own, by least squares, (C, w_dim)."""
        weight = self.samples.weight
        if weight is None:
            return np.zeros((self.moved.shape[1], 0), np.float32)
        gram = weight.T @ weight
        gram[np.diag_indices_from(gram)] += max(_RIDGE * np.trace(gram) / len(gram), 1e-12)
        into: NDArray[np.float32] = np.linalg.solve(gram, weight.T).T
        return into

    @property
    def _middle(self) -> NDArray[np.float64]:
        """What a prompt that says nothing is embedded as, (D,)."""
        if self._plain is None:
            return np.zeros(self.embeddings.shape[1])
        return self._plain.astype(np.float64)

    def _by_themselves(
        self, neutral: NDArray[np.float32], target: NDArray[np.float32]
    ) -> tuple[_Reading | None, _Reading | None]:
        """What is read of the target and of the neutral prompt by themselves; None of one that
        names no thing, and of a target without a neutral prompt that does."""
        if self._plain is None:
            return None, None
        if self._neutral is None or not np.array_equal(self._neutral[0], neutral):
            self._neutral = neutral, self._read(neutral.astype(np.float64) - self._middle)
        of_neutral = self._neutral[1]
        if of_neutral[0].kind in ("graded", "unknown"):
            return None, None
        of_target = self._read(target.astype(np.float64) - self._middle)
        return None if of_target[0].kind in ("graded", "unknown") else of_target, of_neutral

    def _read(self, difference: Array, neutral: NDArray[np.float32] | None = None) -> _Reading:
        """The evidence, of a whole prompt (D,) beside its `neutral` or of what one says alone; who
        has it, for graded things how far each is, 0 to 1; and the variance of having it that steps
        are found by."""
        text = difference.astype(np.float32)
        scores, pulled = self.scores(difference)
        mixture, seen, foretold = self._clearer(text)
        kind = self._kind(mixture, seen, float(np.linalg.norm(difference)))
        if kind in ("graded", "unknown"):
            spread = float(np.subtract(*np.quantile(seen, (HIGH, LOW))))
            has = ((seen - seen.mean()) / max(spread, 1e-9) + 0.5).astype(np.float64)
            share, variance = 0.5, float(has.var())
        else:
            has, share = mixture.posterior(seen), mixture.share
            variance = of_two(has) if foretold else float(has.var())
        near_scores = pulled if len(pulled) else scores
        if kind == "unknown":
            far, near = levels_of_spread(scores), levels_of_spread(near_scores)
        elif kind == "graded":
            opposites = neutral is not None and self._opposites(neutral, difference)
            called = share_called(scores, opposites)
            far, near = (levels_of_called(x, called) for x in (scores, near_scores))
        else:
            far = levels_of_groups(scores, has)
            near = levels_of_groups(near_scores, has[: len(near_scores)])
        psi = self.samples.pulled_psi if len(pulled) else 0.0
        evidence = Evidence(kind, share, mixture.separation, mixture.gain, near, far, psi)
        return evidence, has, variance

    def _opposites(self, neutral: NDArray[np.float32], difference: Array) -> bool:
        """Whether images differ by what either of two prompts (D,) says alone, and have the less of
        the one the more they have of the other, as men and women."""
        alone = np.stack([neutral, neutral + difference], 1) - self._middle[:, None]
        scores = self.embeddings @ alone.astype(np.float32)  # (N, 2)
        if scores.std(0).min() < max(_NAMES * self._usual_spread, 1e-9):
            return False
        return float(np.corrcoef(scores.T)[0, 1]) < _AGAINST

    @cached_property
    def _pulled(self) -> NDArray[np.float32]:
        shift = self.embeddings - self.samples.embedding.astype(np.float32)
        pulled: NDArray[np.float32] = self.samples.pulled.astype(np.float32)
        return pulled + shift[: len(pulled)]

    def _kind(self, mixture: Mixture, scores: NDArray[np.float32], length: float) -> Kind:
        count = len(scores)
        spread, least = self.samples.null_spread, self._least_gain
        smaller = min(mixture.share, 1 - mixture.share) * count
        even = min(mixture.share, 1 - mixture.share) > _UNEVEN
        two = mixture.separation > (_TWO if even else CLEAR) and not filled(mixture, scores)
        if mixture.gain > least and two:
            if smaller >= FEW:
                return "two-state"
            return "rare" if mixture.share < 0.5 else "always there"
        if smaller < FEW and mixture.gain * count > LEAST and mixture.separation > APART:
            return "rare" if mixture.share < 0.5 else "always there"
        wide = float(np.quantile(spread, _NULL_QUANTILE)) if len(spread) else np.inf
        known = mixture.gain > least or float(scores.std()) / max(length, 1e-9) > wide
        told = float(scores.std()) >= _TOLD * self._usual_spread
        return "graded" if known and told else "unknown"

    def psi_of(self, styles: NDArray[np.float32]) -> Array:
        """The truncation psi that images of styles (n, C) look drawn at, 0.3 to 1, (n,): how far
        they lie from the mean, against samples."""
        std = np.maximum(self.style_std, 1e-9)
        lengths = np.sqrt((np.square((styles - self.style_mean) / std)).mean(1))
        psi: Array = lengths.astype(np.float64).clip(0.3, 1)
        return psi

    @cached_property
    def style_mean(self) -> NDArray[np.float32]:
        """Of every style channel over the samples, (C,)."""
        samples = self.samples
        if samples.weight is not None and samples.bias is not None:
            mean: NDArray[np.float32] = (
                samples.weight @ samples.w.astype(np.float32).mean(0) + samples.bias
            )
            return mean
        return np.zeros(0, np.float32) if samples.styles is None else _mean(samples.styles)

    def reach(self, step: NDArray[np.float32], styles: NDArray[np.float32]) -> Array:
        """How many times a step (C,) images of styles (n, C) can go before they leave what samples
        show, at least 0, (n,).

        How far an image is along a step counts every channel by its standard deviation; the end is
        one step beyond what all but one in a thousand samples do not pass.
        """
        std = np.maximum(self.style_std, 1e-9)
        weights = np.where(step != 0, step / std**2, 0).astype(np.float32)
        length = max(float(weights @ step), 1e-12)
        along = weights if self.samples.weight is None else self.samples.weight.T @ weights
        along = self.moved @ along
        end = float(np.quantile(along, _END))
        far: Array = (end - (styles - self.style_mean) @ weights).astype(
            np.float64
        ) / length + _BEYOND
        return far.clip(0)

    def chance(self, differences: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What scores along text differences (K, D) without a meaning are: `null_gain` and
        `null_spread` of a `SampleSet`."""
        gains, spreads = [], []
        for difference in differences:
            mixture, scores, _ = self._clearer(difference.astype(np.float32))
            gains.append(mixture.gain)
            spreads.append(float(scores.std()) / max(float(np.linalg.norm(difference)), 1e-9))
        return np.array(gains, np.float32), np.array(spreads, np.float32)

    def _clearer(self, text: NDArray[np.float32]) -> tuple[Mixture, NDArray[np.float32], bool]:
        """The groups of the scores along a text difference, and the scores: those of the images,
        or, where these do not fall apart clearly, those that their latents foretell if they do so
        more; and whether they are those."""
        scores = self.embeddings @ text
        mixture = fit_mixture(scores)
        if mixture.separation >= _CLEAR_ENOUGH:
            return mixture, scores, False
        foretold = self.smoothed @ text
        other = fit_mixture(foretold)
        if other.gain > mixture.gain:
            return other, foretold, True
        return mixture, scores, False

    def _foretold(self, difference: Array) -> Array:
        """Who has what a text difference (D,) says, by what latents foretell of scores, (N,)."""
        scores = self.smoothed @ difference.astype(np.float32)
        return fit_mixture(scores).posterior(scores)

    @cached_property
    def _companions(self) -> Companions | None:
        if self._phrases is None:
            return None
        # As latents foretell them: a step along which these stay as they are leaves them alone,
        # while what a network reads of one image by mistake would be counted for what it holds.
        numbers = {
            number: self._of_latents(within_classes(column[:, None], self.samples.label))[:, 0]
            for number, column in numbers_of(self.samples.readings).items()
        }
        return Companions(self._phrases, self.smoothed, self._least_gain, numbers)

    @cached_property
    def _usual_spread(self) -> float:
        """The standard deviation of scores along what a phrase of the bank says, in the median."""
        if self._usual is None:
            return 0.0
        return float(np.median((self.embeddings @ self._usual.T).std(0)))

    @cached_property
    def _least_gain(self) -> float:
        """What two groups of scores gain by chance, at most."""
        gains = self.samples.null_gain
        return float(np.quantile(gains, _NULL_QUANTILE)) if len(gains) else 0.0


def _mean(values: NDArray[np.float16]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = values.mean(0, dtype=np.float32)
    return mean
