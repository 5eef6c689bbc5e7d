"""What the atlas alone can do: find directions, go along them, and tell what CLIP saw."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..store.atlas import Atlas
from ..store.bank import one_line
from ..store.errors import DirectionError, OptionError, require_number, wrong_type
from ..store.queries import expected_shift
from .models.inputs import floats
from .models.probability import needed_difference, target_probability
from .models.protocols import Generator
from .models.sampling import batch_size
from .models.subject import Batch, Subject
from .models.threads import one_blas_thread
from .pictures.recipe import AtlasIdentity
from .result import ClipShift, EditResult
from .steering.alpha import DEFAULT_PROBABILITY, MAX_ALPHA, find_alphas
from .steering.choose import choose_direction
from .steering.decompose import decompose
from .steering.direction import Choice, Direction, Source, find_direction
from .steering.edits import Edit
from .steering.evidence import Evidence
from .steering.goals import Goals, statuses_of
from .steering.request import Way
from .steering.sampled import require_samples, sample_map
from .steering.samples import SampleMap
from .steering.texts import TextEmbedder

ENOUGH = 0.97
"""CLIP's probability of a target from which on an image shows it, of its least likely part where it
has several, where samples do not tell; less, where alphas are to reach less."""
_MOST_KNOWN = 1000
"""Directions that are remembered, the last ones: a service is asked for ever others."""
UNSAID = 0.3
"""How much of a prompt the bank's phrases may leave unsaid for it to be taken apart into them."""
UNSAID_OF_SAMPLES = 0.2
"""The same where samples show what the whole prompt names."""


class TableEditor:
    """Edits by the directions of an atlas.

    Args:
        atlas: the generator's atlas.
        generator: the generator it was drawn with.
        texts: embeds prompts, and holds the CLIP it was drawn with.
    """

    def __init__(self, atlas: Atlas, generator: Generator, texts: TextEmbedder) -> None:
        self.atlas, self.generator, self.texts = atlas, generator, texts
        self._known: dict[tuple[str, str, Choice], Direction] = {}
        self._identities: dict[Source, AtlasIdentity] = {}

    @cached_property
    def samples(self) -> SampleMap | None:
        """The samples of the atlas, ready to be asked; None where it has none."""
        return sample_map(self.atlas)

    @one_blas_thread()
    def direction(self, neutral: str, target: str, choice: Choice | None = None) -> Direction:
        """The direction from one prompt to another: by samples that show the thing, else by the
        channels of the table; see `Choice.source`.

        Raises:
            DirectionError: no channel moves towards the target.
            OptionError: a choice that is not one, or samples where the atlas has none.
            PromptError: a prompt that cannot be embedded, or two that mean the same.
        """
        neutral, target = one_line("neutral", neutral), one_line("target", target)
        choice = Choice() if choice is None else choice
        if not isinstance(choice, Choice):
            raise wrong_type("choice", choice, "a Choice")
        if known := self._known.get((neutral, target, choice)):
            return known
        found = choose_direction(self.atlas, self.samples, self.texts, neutral, target, choice)
        if len(self._known) == _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[neutral, target, choice] = found
        return found

    def identity(self, source: Source) -> AtlasIdentity:
        """Of what directions of a source come from, for recipes; hashed once."""
        if source not in self._identities:
            self._identities[source] = AtlasIdentity.of(self.atlas, source)
        return self._identities[source]

    @one_blas_thread()
    def evidence(self, neutral: str, target: str) -> Evidence:
        """What the atlas's samples say of what differs between two prompts: whether the generator
        shows it, how often, and how well CLIP tells it; see `Evidence`.

        Raises:
            OptionError: the atlas has no samples, or a prompt is no text.
            PromptError: a prompt that cannot be embedded, or two that mean the same.
        """
        known = require_samples(self.atlas, self.samples)
        self.texts.direction(neutral, target)  # which refuses prompts that mean the same
        return known.evidence(self.texts.embed(neutral), self.texts.embed(target))

    @one_blas_thread()
    def parts(self, edit: Edit) -> tuple[Edit, ...]:
        """What an edit is made of: itself, or one for each phrase of the bank that its target says,
        where there are several and they leave next to nothing unsaid. A prompt of many things
        would else seem reached once some of them are there."""
        bank = self.atlas.prompts
        if edit.weight < 0 or bank.find(edit.target) is not None:
            return (edit,)
        neutral, target = (self.texts.embed(text) for text in (edit.neutral, edit.target))
        said = decompose(bank, neutral, target)
        if len(said.phrases) < 2 or said.left > UNSAID:
            return (edit,)
        parts = tuple(Edit(edit.neutral, phrase, edit.weight) for phrase in said.phrases)
        if self.samples is None:
            return parts
        # What the samples know of, they tell better than a sum of phrases that leaves a little out;
        # and a sum with phrases that they know nothing of says nothing.
        guessed = said.left > UNSAID_OF_SAMPLES or said.weights.min() < said.weights.max() / 2
        if guessed and self._seen_by_samples(self.samples, edit):
            return (edit,)
        known = all(self._seen_by_samples(self.samples, part) for part in parts)
        return parts if known else (edit,)

    def _seen_by_samples(self, samples: SampleMap, edit: Edit) -> bool:
        """Whether samples show what an edit names."""
        neutral, target = (self.texts.embed(text) for text in (edit.neutral, edit.target))
        return samples.evidence(neutral, target).kind != "unknown"

    def directions(
        self, edits: Sequence[Edit], choice: Choice | None = None
    ) -> tuple[list[Direction], list[float]]:
        """The directions of edits, and their weights, all positive."""
        forward = [edit.forward() for edit in edits]
        found = [self.direction(edit.neutral, edit.target, choice) for edit in forward]
        return found, [edit.weight for edit in forward]

    @torch.no_grad()  # not inference_mode: people go on with the tensors of a result
    def apply(
        self,
        styles: Tensor | Subject,
        directions: Direction | Sequence[Direction],
        alpha: float | None = None,
        weights: Sequence[float] | None = None,
        probability: float | None = None,
    ) -> EditResult:
        """Moves the images along directions and renders them.

        With an `alpha`, every direction goes alpha times its weight, in every image; but one that
        takes a thing off leaves alone those that have none, by their styles. Without one, every
        image gets its own, found with up to 5 renders: the smallest with which it looks to CLIP as
        images do that have the target, as the atlas's samples tell; where they do not, or a
        `probability` is given, the smallest with which CLIP gives the target that much, or 0.998,
        against the neutral prompt. Where that is out of reach, it is the one beyond which more
        brings no more; never does an image go further along a direction than samples are, nor a
        channel more than twice the step the table was measured at. An image that is there already
        stays as it is. What a direction of the table is to keep is held where CLIP saw it before,
        by counter-steps; one of samples keeps it by itself. The weights then multiply.

        Args:
            styles: (n, C), or a `Subject` where more edits of the same images follow.
            weights: one a direction; 1 if not given.

        Raises:
            OptionError: alpha is not finite or beyond +-100; a probability outside of 0.5 to 1, or
                beside an alpha; no direction, or not a weight for each.
            StyleAtlasError: alpha is to be found, and CLIP cannot be loaded.
        """
        if isinstance(styles, Subject):
            subject = styles
        else:
            width = self.generator.layout.size
            subject = Subject(self.generator, floats("styles", styles, (width,)))
        chosen = (directions,) if isinstance(directions, Direction) else tuple(directions)
        if not all(isinstance(direction, Direction) for direction in chosen):
            raise wrong_type("directions", directions, "what Editor.direction returns")
        for name, number in (("alpha", alpha), ("probability", probability)):
            if number is not None:
                require_number(name, number)
        for weight in () if weights is None else weights:
            require_number("weight", weight)
        if not chosen:
            raise OptionError("edit: has no direction; give at least one pair of prompts")
        if alpha is not None and not abs(alpha) <= MAX_ALPHA:
            raise OptionError(f"alpha {alpha:g}: must lie between -{MAX_ALPHA:g} and {MAX_ALPHA:g}")
        if alpha is not None and probability is not None:
            raise OptionError(
                "probability: is what alphas are found by, and alpha is given; leave one out"
            )
        if probability is not None and not 0.5 <= probability < 1:
            raise OptionError(f"probability {probability:g}: must be at least 0.5 and below 1")
        factors = np.ones(len(chosen)) if weights is None else np.asarray(weights, dtype="f8")
        if factors.shape != (len(chosen),):
            raise OptionError(f"weights: are {factors.size}; give {len(chosen)}, one a direction")
        if alpha is None:
            _ = self.texts.encoder  # by whose scale goals are
        counter = () if alpha is not None else self._counter(chosen)
        factors = np.concatenate([factors, np.ones(len(counter))])
        steps = (*chosen, *counter)
        alphas, images, statuses = [], [], []
        for part in subject.batches():
            goals = self.goals(part, chosen, probability)
            if alpha is None:
                found, rendered, by_search = self._found(part, chosen, counter, factors, goals)
                seen: NDArray[np.float64] | None = by_search
                spared = np.zeros(found.shape, bool)
            else:
                going = alpha * factors
                spared = self.spared(part, steps) & (going > 0)  # backwards, they get it
                found = np.where(spared, 0, going)
                rendered = self._rendered(part, steps, found)
                seen = self.seen(rendered, chosen) if self.texts.has_encoder else None
            statuses += statuses_of(chosen, goals, seen, found[:, : len(chosen)], spared)
            alphas.append(found)
            images.append(rendered)
        before = subject.styles
        ways: list[Way] = ["direction"] * len(before)
        gone = np.concatenate(alphas).astype(np.float32)
        after = before + self._delta(steps, gone).to(before)
        return EditResult(
            torch.cat(images),
            after,
            before,
            tuple(Edit(direction.neutral, direction.target) for direction in chosen),
            chosen,
            gone[:, : len(chosen)],
            counter,
            gone[:, len(chosen) :],
            tuple(dict.fromkeys(text for direction in chosen for text in direction.keep)),
            tuple(ways),
            ({},) * len(before),
            _why(chosen),
            tuple(statuses),
        )

    def spared(self, batch: Batch, directions: tuple[Direction, ...]) -> NDArray[np.bool_]:
        """Which images a given alpha above 0 leaves alone, bool (n, E): along a direction that
        takes a thing off, those that have none."""
        spared = np.zeros((len(batch.styles), len(directions)), bool)
        styles = batch.styles.float().cpu().numpy()
        for j, direction in enumerate(directions):
            if direction.removes and self.samples is not None:
                spared[:, j] = self.samples.shown_by(styles, self.difference(direction)) > 0.5
        return spared

    @torch.inference_mode()
    def measure(self, result: EditResult) -> list[ClipShift]:
        """What CLIP sees of each of a result's edits; loads CLIP's image tower when first
        called."""
        encoder, size = self.texts.encoder, batch_size(self.generator)
        renders = (self.generator.render(part) for part in result.before.split(size))
        before = torch.cat([encoder.images(part) for part in renders]).cpu()
        after = torch.cat([encoder.images(part) for part in result.images.split(size)]).cpu()
        first, moved = before.double(), (after - before).double()
        lengths = np.linalg.norm(moved.numpy(), axis=1).clip(1e-8)
        shifts = []
        for j, edit in enumerate(result.edits):
            if result.directions:
                text = result.directions[j].text
            else:
                text = self.texts.direction(edit.neutral, edit.target)
            along = moved.numpy() @ text
            difference = torch.from_numpy(self.difference(edit))
            chances = [
                target_probability(seen, difference, encoder.logit_scale).float().numpy()
                for seen in (first, first + moved)
            ]
            kept = {
                prompt: (moved.numpy() @ self.texts.direction(edit.neutral, prompt)).astype("f4")
                for prompt in result.keep
            }
            similarity = (along / lengths).astype(np.float32)
            shifts.append(
                ClipShift(along.astype(np.float32), similarity, chances[1], chances[0], kept)
            )
        return shifts

    @one_blas_thread()
    def _counter(self, directions: tuple[Direction, ...]) -> tuple[Direction, ...]:
        """A direction for each prompt to keep that moves images along it and not along the edit;
        none for a prompt that no such channel answers to."""
        texts = np.stack([direction.text for direction in directions])
        found = []
        of_table = [direction for direction in directions if not direction.levels_known]
        for prompt, neutral in {p: d.neutral for d in of_table for p in d.keep}.items():
            text = self.texts.direction(neutral, prompt)
            with suppress(DirectionError, OptionError):
                held = find_direction(self.atlas, text, neutral=neutral, target=prompt, kept=texts)
                found.append(held)
        return tuple(found)

    def goals(
        self, batch: Batch, directions: tuple[Direction, ...], probability: float | None
    ) -> Goals:
        """What images of a batch are to be seen with."""
        shape = (len(batch.styles), len(directions))
        goal, still, there, most, back, first = (np.zeros(shape) for _ in range(6))
        slopes = np.zeros(len(directions))
        styles = batch.styles.float().cpu().numpy()
        for j, direction in enumerate(directions):
            by_levels = direction.levels_known and probability is None
            if by_levels and direction.evidence is not None:
                psis = self._psis(batch.psi, styles)
                levels = [direction.evidence.levels(psi) for psi in psis]
                goal[:, j] = [level.goal for level in levels]
                still[:, j] = there[:, j] = [level.there for level in levels]
            else:
                wanted = DEFAULT_PROBABILITY if probability is None else probability
                goal[:, j] = still[:, j] = self._difference_of(wanted)
                there[:, j] = self.enough(probability)
            if direction.levels_known and direction.evidence is not None and self.samples:
                far = direction.evidence.far
                slopes[j], first[:, j] = far.goal - far.lower, 1.0
                most[:, j] = self.samples.reach(direction.delta(1.0), styles)
                back[:, j] = self.samples.reach(direction.delta(-1.0), styles)
            else:
                step = expected_shift(self.atlas, direction.delta(1.0))
                slopes[j] = step @ self.difference(direction)
                most[:, j] = back[:, j] = 2 * self.atlas.strength_in_sigma
        return Goals(goal, still, there, slopes, first, most, back)

    def enough(self, probability: float | None) -> float:
        """How much nearer an image that shows a target is to it than to its neutral prompt, where
        samples do not tell and so much probability is asked for."""
        return self._difference_of(min(ENOUGH, probability or ENOUGH))

    def _difference_of(self, probability: float) -> float:
        # 100 is OpenAI's: without CLIP nothing is compared with it.
        scale = self.texts.encoder.logit_scale if self.texts.has_encoder else 100.0
        return needed_difference(probability, scale)

    def _psis(self, known: float | None, styles: NDArray[np.float32]) -> NDArray[np.float64]:
        """The truncation of images, (n,): known, or by how far their styles lie from the mean."""
        if known is not None or self.samples is None:
            return np.full(len(styles), 1.0 if known is None else known)
        return self.samples.psi_of(styles)

    def seen(self, images: Tensor, directions: Sequence[Direction | Edit]) -> NDArray[np.float64]:
        """How much nearer images are to the target of each direction than to its neutral prompt,
        in cosine, (n, E)."""
        texts = np.stack([self.difference(direction) for direction in directions])
        embeddings = self.texts.encoder.images(images).double().cpu()
        along: NDArray[np.float64] = embeddings.numpy() @ texts.T
        return along

    def _found(
        self,
        batch: Batch,
        directions: tuple[Direction, ...],
        counter: tuple[Direction, ...],
        weights: NDArray[np.float64],
        goals: Goals,
    ) -> tuple[NDArray[np.float64], Tensor, NDArray[np.float64]]:
        """Alphas (n, E + K) that reach goals and hold what is kept, times their weights, the images
        there, and how they are seen, (n, E)."""
        steps = (*directions, *counter)
        rounds = [batch.images]

        def measure(rows: NDArray[np.int64], alphas: NDArray[np.float64]) -> NDArray[np.float64]:
            at = torch.from_numpy(rows).to(batch.styles.device)
            delta = self._delta(steps, alphas).to(batch.styles)
            rendered = self.generator.render(batch.styles[at] + delta)
            images = rounds[0].clone()
            images[at] = rendered
            rounds.append(images)
            return self.seen(rendered, steps)

        with one_blas_thread():
            shifts = [expected_shift(self.atlas, step.delta(1.0)) for step in counter]
            held = [shift @ self.difference(d) for shift, d in zip(shifts, counter, strict=True)]
            slopes = np.concatenate([goals.slopes, held])
        before = self.seen(batch.images, steps)
        at = before[:, : len(directions)]
        goal = np.where(at >= goals.still, at, goals.goal)
        first = np.where(goals.first > 0, goals.first, goals.guess(at))
        found = find_alphas(measure, before, slopes, first, goal, goals.most)
        alphas = found.alphas * weights
        if (weights != 1).any():
            images = self._rendered(batch, steps, alphas)
            return alphas, images, self.seen(images, directions)
        images = torch.stack([rounds[r][i] for i, r in enumerate(found.rounds)])
        return alphas, images, found.seen[:, : len(directions)]

    def _rendered(
        self, batch: Batch, directions: tuple[Direction, ...], alphas: NDArray[np.float64]
    ) -> Tensor:
        delta = self._delta(directions, alphas).to(batch.styles)
        first = min(int(direction.channels.min()) for direction in directions)
        return batch.render(batch.styles + delta, self.atlas.layout.locate(first)[0])

    def _delta(
        self, directions: tuple[Direction, ...], alphas: NDArray[np.floating[Any]]
    ) -> Tensor:
        """The step (n, C) of every image for its alphas (n, E)."""
        steps = np.stack([direction.delta(1.0) for direction in directions])  # (E, C)
        return torch.from_numpy(alphas.astype(np.float32) @ steps)

    def difference(self, edit: Edit | Direction) -> NDArray[np.float64]:
        """Target minus neutral, not normalised: (D,)."""
        target, neutral = (self.texts.embed(x) for x in (edit.target, edit.neutral))
        difference: NDArray[np.float64] = target.astype(np.float64) - neutral
        return difference


def _why(chosen: tuple[Direction, ...]) -> str:
    """Where directions come from, in words."""
    parts = []
    for direction in chosen:
        if direction.source == "table":
            parts.append(
                f"{len(direction.channels)} channels of the table with a score of at least "
                f"{direction.beta:.3f}"
            )
        elif direction.evidence is not None:
            share = f"{100 * direction.evidence.share:.2g} % of the samples have it"
            told = "graded" if direction.evidence.kind == "graded" else share
            also = " and the table" if direction.source == "both" else ""
            parts.append(f"{len(direction.channels)} channels by samples{also} ({told})")
    return ", ".join(parts)
