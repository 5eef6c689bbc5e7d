"""Latent optimisation (Patashnik et al. 2021, "StyleCLIP", section 4), many images at a time.

For each image, Adam looks for the step in w, w+ or style space that makes small: the CLIP loss with
the target, the directional loss, the squared length of the step, and the loss of identity. Rows
never see each other: an image ends as it would alone, but for rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...store.errors import OptionError
from ...store.progress import Progress
from ..models.identity import Identity
from ..models.memory import Batches
from ..models.probability import target_probability
from ..models.protocols import Generator, JointEncoder
from ..models.sampling import batch_size
from .losses import clip_loss, directional_loss, identity_loss, l2_loss, random_crops
from .moves import Moves, Start
from .optimise_settings import OptimiseSettings
from .resumable import DIVERGED, PLATEAU, RUNNING, STEPS, Resumable, State

LOSSES = ("loss", "clip", "directional", "l2", "identity", "probability")
"""What is told of every step; the last is CLIP's probability of the target against the neutral
prompt, NaN where there is none, and no loss."""

_GAIN = 2e-3  # of the loss: patience is for steps that gain less, all together
_GRADIENTS = 4  # a gradient holds about as much as this many renders

STOPPED = ("running", "steps", "plateau", "diverged")


@dataclass(frozen=True, eq=False)
class Optimised:
    """What n rows came to.

    Args:
        styles: of the best step of each, (n, C).
        best: which step that was, counted from 0, int64 (n,).
        stopped: why each ended: "steps", "plateau" or "diverged", the best step before it kept.
        curves: LOSSES at every step, float32 (n, steps, 6), NaN once a row had stopped.
        path: styles on the way, float32 (n, k, C) on the CPU, the start first; k is 0 where they
            were not asked for.
    """

    styles: Tensor
    best: Tensor
    stopped: tuple[str, ...]
    curves: Tensor
    path: Tensor


OnProgress = Callable[[int, Mapping[str, float]], None]
"""Told how many steps of rows were done or have become needless, and the means of LOSSES that are
numbers."""


class Optimisation(Resumable):
    """An optimisation that can be stopped after any step and go on from its `state`, see `take_up`.

    Args:
        sigma: the standard deviation of every style channel, (C,).
        identity: what the identity loss sees; None for none.
        frames: how many steps of the way to keep for a film, at most.

    Raises:
        OptionError: rows that do not fit each other, w that is missing, weights that the network
            for identity cannot serve, or a directional loss without a neutral prompt.
        LayoutError: a layer to freeze that the generator does not have.
    """

    def __init__(
        self,
        generator: Generator,
        encoder: JointEncoder,
        start: Start,
        sigma: Tensor,
        settings: OptimiseSettings,
        identity: Identity | None = None,
        frames: int = 0,
    ) -> None:
        self._generator, self._encoder, self._identity = generator, encoder, identity
        self._settings = settings
        self._moves = Moves(generator, start, sigma, settings)
        # Out of inference mode, whose tensors no gradient can be taken through.
        self._target = start.target.to(generator.device).float().clone()
        self._neutral: Tensor | None = None
        if start.neutral is not None:
            self._neutral = start.neutral.to(generator.device).float().clone()
        elif settings.directional:
            raise OptionError("directional: leads from a neutral prompt; give one, or weigh it 0")
        n = len(start.styles)
        if len(self._target) != n or (self._neutral is not None and len(self._neutral) != n):
            raise OptionError(f"prompts: are not one pair for each of {n} rows")
        self._rows = Batches(max(1, batch_size(generator) // _GRADIENTS), generator.device)
        self._kept = _kept_steps(settings.steps, frames)
        super().__init__("optimisation", settings.steps, self._fresh(n))

    def run(
        self,
        report: OnProgress = lambda done, means: None,
        save: Callable[[State], None] = lambda state: None,
    ) -> Optimised:
        """All steps that are left; `save` is offered the state after each of them. Rows that do
        not fit into memory together go on in halves.

        Raises:
            DeviceMemoryError: a single row does not fit.
        """

        def go_on(first: int, last: int) -> None:
            rows = torch.arange(first, last)
            if (self._state["stopped"][rows] == RUNNING).any():
                self._run(rows, report, save)

        report(self.done, {})
        for _ in self._rows.over(len(self._state["stopped"]), go_on):
            pass
        return self._outcome()

    def estimate(self) -> float:
        """Seconds that all steps take, at most, by the time of one step of the first rows."""
        n, device = len(self._state["stopped"]), self._generator.device
        rows = torch.arange(min(self._rows.size, n))
        before = self._seen_before(rows)
        seconds = 0.0
        for _ in range(2):  # the first warms up
            start = time.perf_counter()
            step = self._state["step"][rows].to(device).requires_grad_()
            self._losses(step, rows, before, 0)[0].sum().backward()
            float(_gradient(step).sum())  # waits for the device
            seconds = time.perf_counter() - start
        return seconds * self._settings.steps * n / len(rows)

    def _run(self, rows: Tensor, report: OnProgress, save: Callable[[State], None]) -> None:
        """The steps of rows that are computed together."""
        state, settings, device = self._state, self._settings, self._generator.device
        step = state["step"][rows].to(device).requires_grad_()
        adam = torch.optim.Adam([step], lr=settings.learning_rate)
        begun = int(state["steps"][rows].max())
        if begun:
            moments = {name: state[name][rows].to(device) for name in ("exp_avg", "exp_avg_sq")}
            adam.state[step] = {"step": torch.tensor(float(begun)), **moments}
        before = self._seen_before(rows)
        for number in range(begun, settings.steps):
            going = rows[state["stopped"][rows] == RUNNING]
            if len(going) == 0:
                break
            at = (going - rows[0]).to(device)
            adam.param_groups[0]["lr"] = settings.learning_rate_at(number)
            losses = self._losses(step[at], going, {k: v[at] for k, v in before.items()}, number)
            adam.zero_grad()
            losses[0].sum().backward()
            finite = torch.isfinite(losses[0].detach()) & _finite_rows(_gradient(step))[at]
            step.grad = torch.nan_to_num(_gradient(step), 0.0, 0.0, 0.0)
            self._note(going, number, step.detach()[at].cpu(), losses.detach().cpu(), finite.cpu())
            adam.step()
            state["step"][rows] = step.detach().cpu()
            for name in ("exp_avg", "exp_avg_sq"):
                state[name][rows] = adam.state[step][name].cpu()
            state["steps"][rows] = number + 1
            curves = state["curves"][going, number]
            self._made += len(going)
            means = zip(LOSSES, curves.nanmean(0).tolist(), strict=True)
            report(self.done, {name: mean for name, mean in means if not math.isnan(mean)})
            save(self._state)
        running = state["stopped"][rows] == RUNNING
        state["stopped"][rows[running]] = STEPS

    def _losses(self, step: Tensor, rows: Tensor, before: State, number: int) -> Tensor:
        """LOSSES of rows at a step, (6, r)."""
        settings = self._settings
        images = self._generator.render(self._moves.styles(step, rows))
        views = images
        if settings.crops:
            random = torch.Generator().manual_seed(_mixed(settings.seed, number))
            views = torch.cat([images, random_crops(images, settings.crops, random)])
        embeddings = self._encoder.images(views).unflatten(0, (-1, len(rows)))  # (views, r, D)
        target = self._target[rows.to(self._target.device)]
        clip = clip_loss(embeddings, target).mean(0)
        directional, probability = torch.zeros_like(clip), torch.full_like(clip, math.nan)
        if self._neutral is not None:
            difference = target - self._neutral[rows.to(self._neutral.device)]
            text = torch.nn.functional.normalize(difference, dim=1)
            directional = directional_loss(embeddings, before["clip"], text).mean(0)
            scale = self._encoder.logit_scale
            probability = target_probability(embeddings[0], difference, scale)
        l2 = l2_loss(step)
        same = torch.zeros_like(clip)
        if self._identity is not None:
            same = identity_loss(self._identity.embed(images), before["identity"])
        loss = (
            clip
            + settings.directional * directional
            + settings.l2_weight * l2
            + settings.identity * same
        )
        return torch.stack([loss, clip, directional, l2, same, probability])

    @torch.no_grad()
    def _seen_before(self, rows: Tensor) -> State:
        """What the networks see of the images as they are."""
        images = self._generator.render(self._moves.before[rows.to(self._moves.before.device)])
        seen = {"clip": self._encoder.images(images)}
        if self._identity is not None:
            seen["identity"] = self._identity.embed(images)
        return seen

    def _note(
        self, rows: Tensor, number: int, step: Tensor, losses: Tensor, finite: Tensor
    ) -> None:
        """Keeps a step where it is the best so far, and stops rows that come to no more."""
        state = self._state
        loss, best, mark = losses[0], state["loss"][rows], state["mark"][rows]
        state["curves"][rows, number] = losses.t()
        better = finite & (loss < best)
        # Against the last step that gained, so that many small gains add up to one.
        gained = finite & (torch.isinf(mark) | (loss < mark - _GAIN * mark.abs()))
        state["mark"][rows[gained]] = loss[gained]
        state["loss"][rows[better]] = loss[better]
        state["best"][rows[better]] = number
        state["best_step"][rows[better]] = step[better]
        if number in self._kept:
            state["path"][rows, self._kept.index(number)] = step
        stalled = torch.where(gained, 0, state["stalled"][rows] + 1)
        state["stalled"][rows] = stalled
        stopped = torch.where(stalled >= self._settings.patience, PLATEAU, RUNNING)
        state["stopped"][rows] = torch.where(finite, stopped, DIVERGED)

    def _fresh(self, n: int) -> State:
        first = self._moves.first().cpu()
        steps, kept = self._settings.steps, len(self._kept)
        return {
            "step": first,
            "best_step": first.clone(),
            "exp_avg": torch.zeros_like(first),
            "exp_avg_sq": torch.zeros_like(first),
            "loss": torch.full((n,), math.inf),
            "mark": torch.full((n,), math.inf),
            "best": torch.zeros(n, dtype=torch.int64),
            "steps": torch.zeros(n, dtype=torch.int64),
            "stalled": torch.zeros(n, dtype=torch.int64),
            "stopped": torch.full((n,), RUNNING),
            "curves": torch.full((n, steps, len(LOSSES)), math.nan),
            "path": torch.full((n, kept, *first.shape[1:]), math.nan),
        }

    @torch.no_grad()
    def _outcome(self) -> Optimised:
        state, rows = self._state, torch.arange(len(self._state["stopped"]))
        styles = self._moves.styles(state["best_step"].to(self._generator.device), rows)
        walked = self._walked().to(self._generator.device)
        path = [self._moves.styles(walked[:, k], rows).cpu() for k in range(len(self._kept))]
        return Optimised(
            styles,
            state["best"],
            tuple(STOPPED[i] for i in state["stopped"].tolist()),
            state["curves"],
            torch.stack(path, 1) if path else torch.zeros(len(rows), 0, styles.shape[1]),
        )

    def _walked(self) -> Tensor:
        """The steps that were kept of every row, up to its best, which then stands for the rest."""
        path, best = self._state["path"], self._state["best_step"]
        past = torch.tensor(self._kept)[None] > self._state["best"][:, None]  # (n, k)
        past = past.view(*past.shape, *[1] * (path.ndim - 2))
        return torch.where(past, best[:, None], path)


def optimise_progress(optimisation: Optimisation, means: Mapping[str, float]) -> Progress:
    """How far an optimisation is, as it is shown, with the means of its last step."""
    done, total, record = optimisation.done, optimisation.total, None
    if means:
        rounded = {name: round(value, 4) for name, value in means.items()}
        record = {"done": done, "of": total, **rounded}
    return Progress(
        done,
        total,
        optimisation.made,
        label="optimize",
        figures=tuple(f"{name} {value:.3f}" for name, value in means.items()),
        record=record,
        spare=True,
    )


def _gradient(step: Tensor) -> Tensor:
    """That of a leaf after a backward pass."""
    assert step.grad is not None
    return step.grad


def _finite_rows(gradient: Tensor) -> Tensor:
    return torch.isfinite(gradient).flatten(1).all(1)


def _kept_steps(steps: int, frames: int) -> list[int]:
    """Which steps a film of at most so many frames shows, evenly."""
    if frames < 1:
        return []
    count = min(steps, frames)
    return sorted({round(i * (steps - 1) / max(1, count - 1)) for i in range(count)})


def _mixed(*numbers: int) -> int:
    """One seed of several numbers, so that a random state is no state to keep."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (2**63)
    return seed
