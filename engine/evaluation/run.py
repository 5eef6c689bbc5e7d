"""Runs the edits of an evaluation, a batch of images at a time, and keeps what was read of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...store.atlas import Atlas
from ...store.bank import normalise_prompt
from ...store.errors import DirectionError, OptionError, PromptError
from ...store.progress import Progress, Report
from ..editor import Editor
from ..models.sampling import batch_size, styles_from_seeds
from ..models.subject import Subject
from ..result import EditResult
from ..steering.direction import Direction
from .judges import Judge, Look, feature_distance
from .likeness import UNCHANGED, Likeness, Seen
from .results import (
    Evaluation,
    KeepResult,
    Outcome,
    VariantResult,
    of_trial,
    wanted_values,
)
from .scores import Predictions, count_edit
from .suite import Suite, Trial
from .truth import MARGIN, Drawn, Truth, drawn, joined, leaked, usual_limit
from .variants import Variant, compared_variants

_SEARCH = 2.0


def evaluate(
    editor: Editor,
    judge: Judge,
    suite: Suite,
    seeds: Sequence[int],
    truncation: float = 0.7,
    reference: Atlas | None = None,
    report: Report = lambda progress: None,
    variants: Sequence[Variant] | None = None,
    likeness: Likeness | None = None,
) -> Evaluation:
    """Tries every trial of a suite in every way, on the image of each seed.

    Args:
        variants: the ways, the default first; `compared_variants` where they are not given.
        likeness: what else is to see how alike images stay; nothing where it is not given.

    Raises:
        OptionError: a seed or a truncation out of its range, a seed that is there twice, or images
            that a network of `likeness` cannot read.
        InputError: the judge cannot judge the suite.
        PromptError: a prompt that cannot be embedded.
        FingerprintError: the reference belongs to another generator or CLIP.
    """
    if len(set(seeds)) < len(seeds):
        raise OptionError("seeds: one is there twice, and counts once; name it once")
    suite.require(judge.attributes)
    if variants is None:
        variants = compared_variants(editor, reference)
    styles = styles_from_seeds(editor.generator, seeds, truncation)
    likeness = likeness or Likeness()
    measurement = _Measurement(editor, judge, suite, styles, truncation, likeness)
    columns = [alpha for variant in variants for alpha in variant.columns] + [None]
    each = len(seeds) * len(suite.trials)
    of, work = each * len(columns), each * sum(map(_cost, columns))
    done, cost = 0, 0.0

    def edited(images: int, alpha: float | None) -> None:
        nonlocal done, cost
        done, cost = done + images, cost + images * _cost(alpha)
        figures, record = (f"{done:,}/{of:,} edits",), {"edits": done, "of": of}
        report(Progress(cost, work, label="evaluate", figures=figures, record=record, spare=True))

    with torch.inference_mode():
        results = [
            measurement.blank(variant, measurement.directions(variant)) for variant in variants
        ]
        measurement.fill(results, edited)
        keep = measurement.kept(results[0], edited)
        truth = measurement.truth(truncation)
    return Evaluation(
        editor,
        reference,
        suite,
        judge.name,
        measurement.attributes,
        tuple(seeds),
        truncation,
        measurement.styles,
        measurement.predictions,
        tuple(results),
        keep,
        truth,
        likeness,
    )


def _cost(alpha: float | None) -> float:
    """About how long an edit at an alpha takes, in edits at a given one: a search renders several
    times, and each is read once."""
    return _SEARCH if alpha is None else 1.0


@dataclass(frozen=True, eq=False)
class _Batch:
    """Images as they are: where they stand among all, and what is seen of them."""

    where: slice
    subject: Subject
    look: Look
    embeddings: Tensor
    seen: Seen


@dataclass(frozen=True, eq=False)
class _Aim:
    """What a trial is to change in a batch: the numbers of the m images that lack it, and the
    pixels where it belongs, (m, side, side)."""

    lacking: NDArray[np.intp]
    region: NDArray[np.bool_]


class _Measurement:
    def __init__(
        self,
        editor: Editor,
        judge: Judge,
        suite: Suite,
        styles: Tensor,
        psi: float,
        likeness: Likeness,
    ) -> None:
        self.editor, self.judge, self.suite, self.styles = editor, judge, suite, styles
        self._psi, self._likeness = psi, likeness
        self.attributes = {name: tuple(values) for name, values in judge.attributes.items()}
        self._phrases = suite.all_phrases()
        self._directions: dict[str, NDArray[np.float32]] = {}

    @cached_property
    def _unedited(self) -> tuple[Predictions, Drawn | None]:
        """What the judge reads of the images as they are, (n, A), and their nearest drawings."""
        seen, nearest = [], []
        for batch in self._batches():
            seen.append(batch.look.predictions)
            if self.judge.drawings is not None:
                nearest.append(drawn(self.judge.drawings, batch.subject.images, batch.look))
        predictions = Predictions(
            np.concatenate([part.values for part in seen]),
            np.concatenate([part.seen for part in seen]),
        )
        return predictions, joined(nearest) if nearest else None

    @property
    def predictions(self) -> Predictions:
        """Of the images as they are, (n, A)."""
        return self._unedited[0]

    def truth(self, truncation: float) -> Truth | None:
        """Of the images as they are."""
        drawings, unedited = self.judge.drawings, self._unedited[1]
        if drawings is None or unedited is None:
            return None
        limit = usual_limit(drawings, self.judge, self.editor.generator, truncation)
        return Truth(unedited, limit)

    def directions(self, variant: Variant) -> list[Direction | None]:
        """A way's own of every trial, None where no channel passes."""
        found: list[Direction | None] = []
        for trial in self.suite.trials:
            try:
                found.append(variant.editor.direction(*trial.meant, variant.choice))
            except DirectionError:
                found.append(None)
        return found

    def blank(self, variant: Variant, directions: Sequence[Direction | None]) -> VariantResult:
        """A result that leaves all images as they are, to be filled."""
        shape = (len(directions), len(self.styles))

        def array(value: float) -> NDArray[np.float32]:
            return np.full(shape, value, np.float32)

        outcomes = []
        for alpha in variant.columns:
            phrases = len(self._phrases) if alpha is None else 0
            outcome = Outcome(
                alpha=alpha,
                predictions=Predictions(
                    np.repeat(self.predictions.values[None], shape[0], 0),
                    np.repeat(self.predictions.seen[None], shape[0], 0),
                ),
                alphas=array(np.nan),
                similarity=array(np.nan),
                judge_similarity=array(np.nan),
                pixels=array(0),
                distance=array(0),
                likeness={
                    name: array(value if name in self._likeness.measured else np.nan)
                    for name, value in UNCHANGED.items()
                },
                moves=np.zeros((*shape, phrases), np.float32),
                drawn=self._still(len(directions)),
            )
            outcomes.append(outcome)
        return VariantResult(variant, tuple(directions), tuple(outcomes))

    def fill(
        self, results: Sequence[VariantResult], edited: Callable[[int, float | None], None]
    ) -> None:
        """Makes the edits of results and reads them."""
        for batch in self._batches():
            for number, trial in enumerate(self.suite.trials):
                aim = self._aim(batch, trial)
                for result in results:
                    direction = result.directions[number]
                    for outcome in result.outcomes:
                        if direction is not None:
                            editor = result.variant.editor
                            edit = editor.apply(batch.subject, direction, outcome.alpha)
                            look = self._read(batch, trial, edit, outcome, number)
                            self._compare(batch, aim, edit, look, outcome, number)
                        edited(len(batch.subject.styles), outcome.alpha)

    def kept(
        self, default: VariantResult, edited: Callable[[int, float | None], None]
    ) -> KeepResult:
        """The default way with what each trial keeps, or with what it changed most."""
        trials, directions = [], []
        for number, trial in enumerate(self.suite.trials):
            keep = trial.keep or self._drifting(default, number)
            direction = self._keeping(trial, keep, default.variant)
            trials.append(replace(trial, keep=keep if direction is not None else ()))
            directions.append(direction)
        variant = replace(default.variant, name=f"{default.variant.name}, keep")
        result = self.blank(variant, directions)
        self.fill([result], edited)
        return KeepResult(tuple(trials), result)

    def _keeping(self, trial: Trial, keep: tuple[str, ...], variant: Variant) -> Direction | None:
        if not keep:
            return None
        try:
            choice = replace(variant.choice, keep=keep)
            return variant.editor.direction(*trial.meant, choice)
        except (DirectionError, OptionError, PromptError):
            # Nothing is left of the edit, or what it is to take off is to be kept.
            return None

    def _drifting(self, default: VariantResult, number: int) -> tuple[str, ...]:
        """A phrase for the value that most images took on in the attribute that most of them
        changed beside the one that was to change; none if nothing else did."""
        trial = self.suite.trials[number]
        after = of_trial(default.outcomes[0].predictions, number)
        attribute, wanted = wanted_values(trial, self.attributes)
        lacking = count_edit(self.predictions, after, attribute, wanted).absent
        both = self.predictions.seen & after.seen & lacking[:, None]  # (n, A)
        changed = both & (self.predictions.values != after.values)
        changed[:, attribute] = False
        shares = changed.sum(0) / np.maximum(both.sum(0), 1)
        most = int(shares.argmax())
        if shares[most] == 0:
            return ()
        value = int(np.bincount(after.values[changed[:, most], most]).argmax())
        name = list(self.attributes)[most]
        return (self.suite.phrases[name][self.attributes[name][value]][0],)

    def _batches(self) -> Iterator[_Batch]:
        start = 0
        for styles in self.styles.split(batch_size(self.editor.generator)):
            subject = Subject(self.editor.generator, styles, psi=self._psi)
            look = self.judge.look(subject.images)
            embeddings = self.editor.texts.encoder.images(subject.images).float()
            seen = self._likeness.see(subject.images)
            yield _Batch(slice(start, start + len(styles)), subject, look, embeddings, seen)
            start += len(styles)

    def _read(
        self, batch: _Batch, trial: Trial, edit: EditResult, outcome: Outcome, number: int
    ) -> Look:
        """Keeps what is seen of an edit, and returns what the judge saw."""
        at = (number, batch.where)
        look = self.judge.look(edit.images)
        outcome.predictions.values[at], outcome.predictions.seen[at] = (
            look.predictions.values,
            look.predictions.seen,
        )
        outcome.alphas[at] = edit.alphas[:, 0]
        moved = self.editor.texts.encoder.images(edit.images).float() - batch.embeddings
        movement = moved.cpu().numpy()  # (n, D)
        outcome.similarity[at] = _cosines(movement, edit.directions[0].text)
        text = self.judge.direction(*trial.meant)
        if text is not None and look.embeddings is not None and batch.look.embeddings is not None:
            seen = look.embeddings - batch.look.embeddings
            outcome.judge_similarity[at] = _cosines(seen, text)
        apart = (edit.images.clamp(-1, 1) - batch.subject.images.clamp(-1, 1)).abs() / 2
        outcome.pixels[at] = apart.flatten(1).mean(1).cpu().numpy()
        outcome.distance[at] = feature_distance(batch.look, look)
        alike = self._likeness.compare(batch.seen, self._likeness.see(edit.images))
        for name, figures in alike.items():
            outcome.likeness[name][at] = figures
        if outcome.alpha is None:
            outcome.moves[at] = movement @ self._phrase_directions(trial.meant[0]).T
        return look

    def _still(self, edits: int) -> Drawn | None:
        """The drawings of edits that change nothing, (E, n)."""
        unedited = self._unedited[1]
        if unedited is None:
            return None
        predictions, distance = unedited.predictions, unedited.distance
        return Drawn(
            Predictions(
                np.repeat(predictions.values[None], edits, 0),
                np.repeat(predictions.seen[None], edits, 0),
            ),
            np.repeat(distance[None], edits, 0),
            np.zeros((edits, len(distance)), np.float32),
        )

    def _aim(self, batch: _Batch, trial: Trial) -> _Aim | None:
        """None where the truth cannot be drawn."""
        drawings, unedited = self.judge.drawings, self._unedited[1]
        if drawings is None or unedited is None:
            return None
        attribute, wanted = wanted_values(trial, self.attributes)
        read = batch.look.predictions
        lacking = np.flatnonzero(count_edit(read, read, attribute, wanted).absent)
        values = unedited.predictions.values[batch.where][lacking]
        return _Aim(lacking, drawings.region(values, attribute, wanted.tolist(), MARGIN))

    def _compare(
        self,
        batch: _Batch,
        aim: _Aim | None,
        edit: EditResult,
        look: Look,
        outcome: Outcome,
        number: int,
    ) -> None:
        """Keeps the nearest drawings of the edited images that lacked what the edit is to bring."""
        if aim is None or self.judge.drawings is None or outcome.drawn is None:
            return
        images, at = edit.images[aim.lacking], (number, batch.where.start + aim.lacking)
        start = look.predictions.values[aim.lacking]
        nearest = self.judge.drawings.nearest(images, start)
        kept = outcome.drawn
        kept.predictions.values[at] = nearest.values
        kept.predictions.seen[at] = self.judge.drawings.visible(nearest.values)
        kept.distance[at] = nearest.distance
        kept.leak[at] = leaked(batch.subject.images[aim.lacking], images, aim.region)

    def _phrase_directions(self, neutral: str) -> NDArray[np.float32]:
        """To every phrase of the suite, (phrases, D)."""
        if neutral not in self._directions:
            texts = [self._phrase_direction(neutral, phrase) for phrase in self._phrases]
            self._directions[neutral] = np.stack(texts)
        return self._directions[neutral]

    def _phrase_direction(self, neutral: str, phrase: str) -> NDArray[np.float32]:
        """The unit direction (D,) to a phrase; zeros to the neutral prompt itself, which what is
        to go may be called by."""
        if normalise_prompt(phrase) == normalise_prompt(neutral):
            return np.zeros(self.editor.atlas.rows.shape[1], np.float32)
        return self.editor.texts.direction(neutral, phrase)


def _cosines(moved: NDArray[np.float32], text: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of movements (n, D) with a unit direction (D,); NaN for one of no length."""
    lengths = np.linalg.norm(moved, axis=1)
    cosines: NDArray[np.float32] = np.divide(
        moved @ text, lengths, where=lengths > 0, out=np.full(len(moved), np.nan, np.float32)
    )
    return cosines
