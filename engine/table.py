"""What the table alone can do: find directions, go along them, and tell what CLIP saw."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..store.atlas import Atlas
from ..store.errors import (
    DirectionError,
    OptionError,
    require_number,
    require_prompt,
    wrong_type,
)
from ..store.queries import expected_shift
from .models.inputs import floats
from .models.probability import needed_difference, target_probability
from .models.protocols import Generator
from .models.sampling import batch_size
from .models.subject import Batch, Subject
from .models.threads import one_blas_thread
from .result import ClipShift, EditResult
from .steering.alpha import DEFAULT_PROBABILITY, MAX_ALPHA, find_alphas
from .steering.decompose import decompose
from .steering.direction import Choice, Direction, find_direction
from .steering.edits import Edit
from .steering.request import Way
from .steering.texts import TextEmbedder

UNSAID = 0.3
"""How much of a prompt the bank's phrases may leave unsaid for it to be taken apart into them."""


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

    @one_blas_thread()
    def direction(self, neutral: str, target: str, choice: Choice | None = None) -> Direction:
        """The direction from one prompt to another, by channels chosen in the default way or
        another. See `find_direction` for the errors."""
        for name, prompt in (("neutral", neutral), ("target", target)):
            require_prompt(name, prompt)
        choice = Choice() if choice is None else choice
        if not isinstance(choice, Choice):
            raise wrong_type("choice", choice, "a Choice")
        if known := self._known.get((neutral, target, choice)):
            return known
        text = self.texts.direction(neutral, target)
        kept = [self.texts.direction(neutral, prompt) for prompt in choice.keep]
        found = find_direction(
            self.atlas,
            text,
            neutral=neutral,
            target=target,
            choice=choice,
            kept=np.stack(kept) if kept else None,
        )
        return self._known.setdefault((neutral, target, choice), found)

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
        return tuple(Edit(edit.neutral, phrase, edit.weight) for phrase in said.phrases)

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
        probability: float = DEFAULT_PROBABILITY,
    ) -> EditResult:
        """Moves the images along directions and renders them.

        With an `alpha`, every direction goes alpha times its weight. Without one, every image gets
        its own: the smallest with which CLIP gives each target at least this `probability` against
        its neutral prompt, found with up to 5 renders; where that is out of reach, the one beyond
        which more brings no more, and never so far that a channel moves more than twice the step it
        was measured at. An image that is there already stays as it is. What a direction is to keep
        is held where CLIP saw it before, by counter-steps. The weights then multiply.

        Args:
            styles: (n, C), or a `Subject` where more edits of the same images follow.
            weights: one a direction; 1 if not given.

        Raises:
            OptionError: alpha is not finite or beyond +-100; a probability outside of 0.5 to 1;
                no direction, or not a weight for each.
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
        if not 0.5 <= probability < 1:
            raise OptionError(f"probability {probability:g}: must be at least 0.5 and below 1")
        factors = np.ones(len(chosen)) if weights is None else np.asarray(weights, dtype="f8")
        if factors.shape != (len(chosen),):
            raise OptionError(f"weights: are {factors.size}; give {len(chosen)}, one a direction")
        counter = () if alpha is not None else self._counter(chosen)
        factors = np.concatenate([factors, np.ones(len(counter))])
        steps = (*chosen, *counter)
        alphas, images = [], []
        for part in subject.batches():
            if alpha is None:
                found, rendered = self._found(part, chosen, counter, factors, probability)
            else:
                found = np.broadcast_to(alpha * factors, (len(part.styles), len(steps)))
                rendered = self._rendered(part, steps, found)
            alphas.append(found)
            images.append(rendered)
        before = subject.styles
        ways: list[Way] = ["direction"] * len(before)
        taken = np.concatenate(alphas).astype(np.float32)
        after = before + self._delta(steps, taken).to(before)
        return EditResult(
            torch.cat(images),
            after,
            before,
            tuple(Edit(direction.neutral, direction.target) for direction in chosen),
            chosen,
            taken[:, : len(chosen)],
            counter,
            taken[:, len(chosen) :],
            tuple(dict.fromkeys(text for direction in chosen for text in direction.keep)),
            tuple(ways),
            ({},) * len(before),
            _why(chosen),
        )

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
        for prompt, neutral in {p: d.neutral for d in directions for p in d.keep}.items():
            text = self.texts.direction(neutral, prompt)
            with suppress(DirectionError, OptionError):
                held = find_direction(self.atlas, text, neutral=neutral, target=prompt, kept=texts)
                found.append(held)
        return tuple(found)

    def _found(
        self,
        batch: Batch,
        directions: tuple[Direction, ...],
        counter: tuple[Direction, ...],
        weights: NDArray[np.float64],
        probability: float,
    ) -> tuple[NDArray[np.float64], Tensor]:
        """Alphas (n, E + K) that reach a probability and hold what is kept, times their weights,
        and the images there."""
        encoder, steps = self.texts.encoder, (*directions, *counter)
        texts = np.stack([self.difference(direction) for direction in steps])  # (E + K, D)
        rounds = [batch.images]

        def seen(images: Tensor) -> NDArray[np.float64]:
            embeddings = encoder.images(images).double().cpu()
            along: NDArray[np.float64] = embeddings.numpy() @ texts.T
            return along

        def measure(rows: NDArray[np.int64], alphas: NDArray[np.float64]) -> NDArray[np.float64]:
            at = torch.from_numpy(rows).to(batch.styles.device)
            delta = self._delta(steps, alphas).to(batch.styles)
            rendered = self.generator.render(batch.styles[at] + delta)
            images = rounds[0].clone()
            images[at] = rendered
            rounds.append(images)
            return seen(rendered)

        with one_blas_thread():
            shifts = [expected_shift(self.atlas, step.delta(1.0)) for step in steps]
            slopes = np.einsum("ed,ed->e", np.stack(shifts), texts)
        goal = needed_difference(probability, encoder.logit_scale)
        goals = np.full(len(directions), goal)
        most = 2 * self.atlas.strength_in_sigma
        found = find_alphas(measure, seen(batch.images), slopes, goals, most)
        alphas = found.alphas * weights
        if (weights != 1).any():
            return alphas, self._rendered(batch, steps, alphas)
        images = torch.stack([rounds[r][i] for i, r in enumerate(found.rounds)])
        return alphas, images

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


def _why(directions: tuple[Direction, ...]) -> str:
    parts = [f"{len(x.channels)} with a score of at least {x.beta:.3f}" for x in directions]
    return "channels of the atlas: " + ", ".join(parts)
