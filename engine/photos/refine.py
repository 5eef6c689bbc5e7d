"""Inversion by optimisation: the projector of StyleGAN2 (Karras et al. 2020, appendix D) from any
start, in w, w+ or style space, many crops at a time.

For each crop, Adam looks for the step from its start whose render lies nearest:

    loss = distance(render, crop) + pull x mean square of the step

Steps are counted in units of what the generator's own images differ by: in w and w+ along the axes
of the samples' covariance of w, each in its standard deviations, in style space in standard
deviations of every channel. So Adam's equal steps are equally likely ones, and the pull holds a
crop's latents to where the generator draws, where edits work.

The projector optimises noise maps, too, and keeps them free of content by a penalty. Here noise is
constant, a part of the weights: all renders of a generator have the same, and an inversion that
depended on its own would be another image everywhere else. So they are left as they are.

What a measure averages to fewer pixels is drawn as a draft where the generator has one: to the end
where that is the same image, at first where it is another, which the whole one then corrects.

Rows never see each other: a crop comes to what it would come to alone, but for rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..fallbacks.resumable import DIVERGED, PLATEAU, RUNNING, STEPS, Resumable, State
from ..models.draft import Draft, draft_sides, reaching
from ..models.memory import Batches
from ..models.protocols import Generator
from ..models.sampling import batch_size
from .measure import SEEN_SIDE, Measure

Space = Literal["w", "w+", "s"]
MOST = 200
"""Steps where their number is not given."""
PULL: Mapping[Space, float] = {"w": 0.1, "w+": 0.3, "s": 0.1}
"""See docs/photos.md for how it was chosen."""
RATE = 0.1
PATIENCE, GAIN, HALVINGS = 5, 0.02, 3
"""So many steps have to gain that share of the distance together, or the learning rate is halved;
so many times, and the row stops: the distance does not pay any more."""

_RISE, _FALL = 0.05, 0.25  # shares of given steps: the learning rate's ramp up and down
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_COARSE = 0.75  # of given steps, by a draft that is another image
_GRADIENTS = 4  # a gradient holds about as much as this many renders
_FLOOR = 1e-3  # of the mean variance of w, along axes that samples hardly differ along


@dataclass(frozen=True, eq=False)
class Spread:
    """What a generator's own images differ by.

    Args:
        axes: of w, float32 (w_dim, w_dim): numbers of mean 0 and variance 1 times these are as the
            samples' w are around their mean.
        sigma: the standard deviation of every style channel, float32 (C,).
    """

    axes: Tensor
    sigma: Tensor

    @classmethod
    def of(cls, w: Tensor, sigma: Tensor) -> Spread:
        """Of samples' w (N, w_dim)."""
        values, vectors = torch.linalg.eigh(torch.cov(w.double().t()).reshape(w.shape[1], -1))
        lengths = (values.clamp(min=0) + _FLOOR * values.mean()).sqrt()
        return cls((lengths[:, None] * vectors.t()).float(), sigma.float())


@dataclass(frozen=True, eq=False)
class Refined:
    """What n crops came to.

    Args:
        styles: of the nearest step of each, (n, C).
        w: of the same (n, num_ws, w_dim); None in style space.
        distance, first_distance: of it, and of the start, float32 (n,).
        steps: that were made for each, int64 (n,).
        path: styles on the way, float32 (n, k, C) on the CPU, the start first; k is 0 where they
            were not asked for.
    """

    styles: Tensor
    w: Tensor | None
    distance: Tensor
    first_distance: Tensor
    steps: Tensor
    path: Tensor


def draft_of(generator: Generator) -> Draft | None:
    """The smallest draft of a generator that is no smaller than what measures see, if it has one
    and is larger; that of a StyleGAN2 takes some tens of renders."""
    sides = [side for side in draft_sides(generator) if side >= SEEN_SIDE]
    return Draft(generator, min(sides)) if sides else None


class Refinement(Resumable):
    """A refinement that can be stopped after any step and go on from its `state`, see `take_up`.

    Args:
        generator: that draws.
        measure: what is made small.
        crops: (n, 3, H, W) in [-1, 1].
        w: where each begins, (n, num_ws, w_dim).
        spread: of the generator.
        space: what is moved.
        steps: None until the distance stops paying, `MOST` at most.
        frames: how many steps of the way to keep for a film, at most.
        draft: of the generator, by which the first steps are made, see `draft_of`.
        start: the step from w that each begins with, (n, 1 or num_ws, w_dim) or (n, C) of style
            space; none if not given. The pull is towards w all the same.
        rate: Adam's, before it falls.
    """

    def __init__(
        self,
        generator: Generator,
        measure: Measure,
        crops: Tensor,
        w: Tensor,
        spread: Spread,
        space: Space,
        steps: int | None = None,
        frames: int = 0,
        draft: Draft | None = None,
        start: Tensor | None = None,
        rate: float = RATE,
    ) -> None:
        device = generator.device
        self._generator, self._measure, self._crops = generator, measure, crops
        self._draft: Generator = generator if draft is None else draft
        self._same = reaching(self._draft).size == generator.layout.size
        self._space, self._steps, self._start_rate = space, steps, rate
        self._w = w.to(device).float().clone()
        self._axes, self._sigma = spread.axes.to(device), spread.sigma.to(device)
        with torch.no_grad():
            self._before = generator.styles(self._w)
        self._batches = Batches(max(1, batch_size(generator) // _GRADIENTS), device)
        most = MOST if steps is None else steps
        super().__init__("refinement", most, self._fresh(frames, start))
        self._start, self._begun = self._state["step"].clone(), self._before
        if start is not None:
            with torch.no_grad():
                self._begun = self._styles(start.to(device), torch.arange(len(crops)))

    @property
    def distance(self) -> float:
        """Mean of the nearest of each row that has begun; NaN before any has."""
        distance = self._state["distance"]
        return float(distance[torch.isfinite(distance)].mean())

    def run(
        self,
        report: Callable[[int], None] = lambda done: None,
        save: Callable[[State], None] = lambda state: None,
    ) -> Refined:
        """All steps that are left; `report` is told of steps of rows that are behind, and `save` is
        offered the state after each. Rows that do not fit into memory together go on in halves.

        Raises:
            DeviceMemoryError: a single row does not fit.
        """

        def go_on(first: int, last: int) -> None:
            rows = torch.arange(first, last)
            if (self._state["stopped"][rows] == RUNNING).any():
                self._run(rows, report, save)

        for _ in self._batches.over(len(self._crops), go_on):
            pass
        return self._outcome()

    def estimate(self) -> float:
        """Seconds that all steps take, at most, by the time of one of the first rows."""
        rows = torch.arange(min(self._batches.size, len(self._crops)))
        seconds = 0.0
        for _ in range(2):  # the first warms up
            start = time.perf_counter()
            step = self._state["step"][rows].to(self._crops.device).requires_grad_()
            loss, _ = self._losses(step, rows, self._seen(rows))
            (gradient,) = torch.autograd.grad(loss.sum(), step)
            float(gradient.sum())  # waits for the device
            seconds = time.perf_counter() - start
        return seconds * self._most * len(self._crops) / len(rows)

    def _run(
        self, rows: Tensor, report: Callable[[int], None], save: Callable[[State], None]
    ) -> None:
        """The steps of rows that are computed together."""
        state, device = self._state, self._crops.device
        seen = self._seen(rows)
        self._begin(rows[state["steps"][rows] == 0])
        while len(going := self._going(rows)):
            at = (going - rows[0]).to(device)
            step = state["step"][going].to(device).requires_grad_()
            loss, distance = self._losses(step, going, tuple(x[at] for x in seen))
            (gradient,) = torch.autograd.grad(loss.sum(), step)
            gradient, distance = gradient.cpu(), distance.detach().float().cpu()
            finite = torch.isfinite(gradient).flatten(1).all(1) & torch.isfinite(distance)
            self._note(going, distance, finite)
            self._move(going, torch.where(_over(finite, gradient), gradient, 0))
            self._made += len(going)
            report(self.done)
            save(state)

    def _begin(self, rows: Tensor) -> None:
        """The distance of where rows start, by whole images."""
        if not len(rows):
            return
        with torch.no_grad():
            seen = self._measure.seen(
                self._generator.render(self._begun[rows.to(self._crops.device)])
            )
            distance = self._measure.distance(seen, self._seen(rows)).float().cpu()
        for name in ("first_distance", "distance"):
            self._state[name][rows] = distance

    def _going(self, rows: Tensor) -> Tensor:
        """Those of rows that still run and are drawn by the same generator: first such as are
        drawn by the draft."""
        state = self._state
        rows = rows[state["stopped"][rows] == RUNNING]
        if self._same:
            return rows
        coarse = state["halvings"][rows] == 0
        if self._steps is not None:
            coarse = state["steps"][rows] < _COARSE * self._steps
        corrected = rows[~coarse & ~state["whole"][rows].bool()]
        state["distance"][corrected] = state["first_distance"][corrected]
        state["best"][corrected] = 0
        state["best_step"][corrected] = self._start[corrected]
        state["mark"][corrected], state["whole"][corrected] = math.inf, 1
        return rows[coarse] if coarse.any() else rows

    def _losses(
        self, step: Tensor, rows: Tensor, seen: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Loss and distance of rows at a step, (r,) each."""
        coarse = self._same or not self._state["whole"][rows].any()
        drawn_by = self._draft if coarse else self._generator
        images = drawn_by.render(self._styles(step, rows))
        distance = self._measure.distance(self._measure.seen(images), seen)
        return distance + PULL[self._space] * step.square().flatten(1).mean(1), distance

    @torch.no_grad()
    def _seen(self, rows: Tensor) -> tuple[Tensor, ...]:
        """What counts of the crops."""
        return self._measure.seen(self._crops[rows.to(self._crops.device)])

    def _note(self, rows: Tensor, distance: Tensor, finite: Tensor) -> None:
        """Keeps steps that are the nearest so far, and halves the learning rate of rows that come
        no nearer, or stops them."""
        state = self._state
        number = state["steps"][rows]
        better = finite & (distance < state["distance"][rows])
        state["distance"][rows[better]] = distance[better]
        state["best"][rows[better]] = number[better]
        state["best_step"][rows[better]] = state["step"][rows[better]]
        self._film(rows)
        stopped = torch.full_like(state["stopped"][rows], RUNNING)
        if self._steps is None:
            # Against the last distance that gained, so that many small gains add up to one.
            gained = finite & (distance < (1 - GAIN) * state["mark"][rows])
            state["mark"][rows[gained]] = distance[gained]
            stalled = torch.where(gained, 0, state["stalled"][rows] + 1)
            halved = stalled >= PATIENCE
            state["stalled"][rows] = torch.where(halved, 0, stalled)
            state["halvings"][rows] += halved
            stopped[state["halvings"][rows] >= HALVINGS] = PLATEAU
        stopped[number >= self._most] = STEPS
        stopped[~finite] = DIVERGED
        state["stopped"][rows] = stopped

    def _move(self, rows: Tensor, gradient: Tensor) -> None:
        """A step of Adam (Kingma and Ba 2015) of those rows that still run."""
        state = self._state
        running = state["stopped"][rows] == RUNNING
        rows, gradient = rows[running], gradient[running]
        if not len(rows):
            return
        state["steps"][rows] += 1
        number = state["steps"][rows]
        first = state["exp_avg"][rows].lerp(gradient, 1 - _BETAS[0])
        second = state["exp_avg_sq"][rows].lerp(gradient.square(), 1 - _BETAS[1])
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = first, second
        unbiased = [
            x / _over(1 - beta ** number.double(), x).float()
            for x, beta in zip((first, second), _BETAS, strict=True)
        ]
        rate = _over(self._rate(number, state["halvings"][rows]), gradient)
        state["step"][rows] -= rate * unbiased[0] / (unbiased[1].sqrt() + _EPSILON)

    def _rate(self, number: Tensor, halvings: Tensor) -> Tensor:
        """The learning rate of steps, counted from 1, (r,)."""
        if self._steps is None:
            return self._start_rate * 0.5 ** halvings.float()
        done = number / (self._steps + 1)
        fall = ((1 - done) / _FALL).clamp(max=1)
        risen = (done / _RISE).clamp(max=1)
        return self._start_rate * (0.5 - 0.5 * torch.cos(math.pi * fall)) * risen

    def _styles(self, step: Tensor, rows: Tensor) -> Tensor:
        """Styles (r, C) of rows after a step; differentiable."""
        if self._space == "s":
            return self._before[rows.to(step.device)] + step * self._sigma
        return self._generator.styles(self._w_of(step, rows))

    def _w_of(self, step: Tensor, rows: Tensor) -> Tensor:
        return self._w[rows.to(step.device)] + step @ self._axes

    def _film(self, rows: Tensor) -> None:
        """Keeps every stride-th step; where there is no room for more, every second of those."""
        state = self._state
        frames = state["path"].shape[1]
        if not frames:
            return
        for row in rows.tolist():
            slot, rest = divmod(int(state["steps"][row]), int(state["stride"][row]))
            if rest:
                continue
            if slot >= frames:
                thinned = state["path"][row, ::2].clone()
                state["path"][row, : len(thinned)] = thinned
                state["stride"][row] *= 2
                slot, rest = divmod(int(state["steps"][row]), int(state["stride"][row]))
                if rest:
                    continue
            state["path"][row, slot] = state["step"][row]

    def _fresh(self, frames: int, start: Tensor | None) -> State:
        n, rows, width = self._w.shape
        shape = {"w": (1, width), "w+": (rows, width), "s": (self._before.shape[1],)}[self._space]
        none = torch.zeros(n, *shape)
        step = none if start is None else start.detach().cpu().float()
        counts = ("steps", "best", "stalled", "halvings", "stopped", "whole")
        return {
            **{name: step.clone() for name in ("step", "best_step")},
            **{name: none.clone() for name in ("exp_avg", "exp_avg_sq")},
            **{name: torch.zeros(n, dtype=torch.int64) for name in counts},
            **{name: torch.full((n,), math.inf) for name in ("distance", "first_distance", "mark")},
            "stride": torch.ones(n, dtype=torch.int64),
            "path": torch.zeros(n, frames, *shape),
        }

    @torch.no_grad()
    def _outcome(self) -> Refined:
        state, device = self._state, self._crops.device
        rows, best = torch.arange(len(self._w)), state["best_step"].to(device)
        walked = self._walked()
        path = [self._styles(walked[:, k].to(device), rows).cpu() for k in range(walked.shape[1])]
        return Refined(
            self._styles(best, rows),
            None if self._space == "s" else self._w_of(best, rows).expand_as(self._w).contiguous(),
            state["distance"],
            state["first_distance"],
            state["steps"],
            torch.stack(path, 1) if path else torch.zeros(len(rows), 0, self._before.shape[1]),
        )

    def _walked(self) -> Tensor:
        """The steps that were kept of every row, up to its best, which then stands for the rest."""
        state = self._state
        slots = torch.arange(state["path"].shape[1])[None] * state["stride"][:, None]  # (n, k)
        past = slots > state["best"][:, None]
        return torch.where(
            past.view(*past.shape, *[1] * (state["path"].ndim - 2)),
            state["best_step"][:, None],
            state["path"],
        )


def _over(rows: Tensor, like: Tensor) -> Tensor:
    """A number a row (r,) beside numbers (r, ...)."""
    return rows.view(-1, *[1] * (like.ndim - 1))
