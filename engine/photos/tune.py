"""Pivotal tuning (Roich et al. 2021, "Pivotal Tuning for Latent-based Editing of Real Images"): the
generator itself is tuned until it draws photos by the latents that an inversion found for them, the
pivots, which stay as they are.

For one photo after the other, step by step, Adam makes small

    loss(render, crop) + LOCALITY x loss(render near by, the parent's render of the same),

each loss the measure's distance (LPIPS where it is had) and the mean square difference of pixels.
Near by is on the way from the pivot to a random latent: all else is to stay what it was.

Only the weights of convolutions are tuned. The affine maps from w to styles stay, and with them the
style space that an atlas knows; so do toRGB, biases and noise. The learning rate is a share of a
weight's own size: of StyleGAN2's and StyleGAN3's, which are of size 1, it is the paper's.

What draws smaller images of the same render (MobileStyleGAN's draft) is tuned by those.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...store.errors import OptionError
from ..fallbacks.resumable import State
from ..models.draft import reaching
from ..models.generator import StyleGANGenerator, build
from ..models.memory import Batches
from ..models.preprocess import as_rgb, from_bytes
from ..models.protocols import Generator
from ..models.sampling import w_from_seeds
from ..networks.mobile_stylegan import MobileStyleGAN
from .measure import Measure, reduced
from .photo import Pixels
from .refine import draft_of

STEPS = 350
"""Of each photo, at most."""
RATE = 3e-4
"""Adam's learning rate, in root mean squares of a weight."""
PIXELS = 1.0
"""Of the mean square difference of pixels in [-1, 1], beside the measure's distance."""
LOCALITY, EVERY = 0.1, 2
"""Of what is to stay beside what is to change, and after how many steps it is looked at, then so
many times as strongly."""
ENOUGH = {"LPIPS": 0.06, "pixels": 0.012}
"""Of the measure's distance, by how its name begins: no more is asked for,"""
SHARE = 1 / 3
"""nor than this share of what it was at first, where an inversion came as near by itself."""
_FIRST_SEED = 7_000_001  # of latents that are to stay as they were
_HELD = 8  # photos of which what the measure sees is kept


class Tuner:
    """A tuning that can be stopped after any step and go on from its `state`.

    One image at a time is drawn and led back through, so that memory is that of one, whatever the
    number of photos.

    Args:
        parent: the generator; it stays as it is.
        measure: of renders and crops.
        crops: of photos, uint8 (H, W, 3) of the generator's size each.
        w: their latents, (n, num_ws, w_dim).
        labels: their classes; -1 where the generator is not conditional.
        steps: of each, at most.

    Attributes:
        first, distance: of each crop, as its first and its last step saw it, float32 (n,).
        made: steps that this process has taken.
    """

    def __init__(
        self,
        parent: StyleGANGenerator,
        measure: Measure,
        crops: Sequence[Pixels],
        w: Tensor,
        labels: Sequence[int],
        steps: int = STEPS,
    ) -> None:
        self._measure, self._crops, self._labels = measure, crops, labels
        self._parent, self._w = parent, w.to(parent.device).float()
        self.total, self.made, self._done = steps * len(crops), 0, 0
        self.first = torch.full((len(crops),), torch.inf)
        self.distance = self.first.clone()
        self._enough = next(x for name, x in ENOUGH.items() if measure.name.startswith(name))
        network = build(parent.network.config).to(parent.device)
        network.load_state_dict(parent.network.state_dict())
        network.synthesis.to(memory_format=torch.channels_last)
        tuned = StyleGANGenerator(network, parent.identity, average=parent.average)
        # Before anything requires gradients: a draft shares its weights and asks for none.
        self._before, self._drawn = drawing(parent), drawing(tuned)
        self._weights = {
            name: network.get_parameter(name).requires_grad_(True) for name in tuned_weights(parent)
        }
        groups = [
            {"params": [x], "lr": RATE * float(x.detach().square().mean().sqrt())}
            for x in self._weights.values()
        ]
        self._adam = torch.optim.Adam(groups)
        with torch.no_grad():
            self._styles = parent.styles(self._w)
        self._targets: dict[int, tuple[Tensor, tuple[Tensor, ...]]] = {}

    @property
    def done(self) -> int:
        """Steps that are behind, or needless."""
        return self.total if self.has_ended else self._done

    @property
    def steps(self) -> int:
        """Steps that were taken, of all processes."""
        return self._done

    @property
    def has_ended(self) -> bool:
        """Whether all steps are made, or every photo is as near as is asked for."""
        goals = (SHARE * self.first).clamp(max=self._enough)
        return self._done >= self.total or bool((self.distance <= goals).all())

    @property
    def state(self) -> State:
        """All that it takes to go on: no copies."""
        state: State = {
            "done": torch.tensor(self._done),
            "first": self.first,
            "distance": self.distance,
        }
        for name, weight in self._weights.items():
            state[f"weight/{name}"] = weight.detach()
            own = self._adam.state.get(weight)
            for moment in ("exp_avg", "exp_avg_sq"):
                state[f"{moment}/{name}"] = own[moment] if own else torch.zeros_like(weight)
        return state

    def take_up(self, state: State) -> None:
        """Go on from the `state` of the same work.

        Raises:
            OptionError: it is of another shape.
        """
        ours = {name: (x.shape, x.dtype) for name, x in self.state.items()}
        if {name: (x.shape, x.dtype) for name, x in state.items()} != ours:
            raise OptionError("state: is of another tuning; start afresh")
        self._done = int(state["done"])
        self.first, self.distance = state["first"].clone(), state["distance"].clone()
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state[f"weight/{name}"])
                moments = {
                    moment: torch.zeros_like(weight).copy_(state[f"{moment}/{name}"])
                    for moment in ("exp_avg", "exp_avg_sq")
                }
                self._adam.state[weight] = {"step": torch.tensor(float(self._done)), **moments}

    def run(
        self,
        report: Callable[[int], None] = lambda done: None,
        save: Callable[[State], None] = lambda state: None,
    ) -> dict[str, Tensor]:
        """All steps that are left; `report` is told of steps that are behind, and `save` is offered
        the state after each.

        Returns:
            By how much each weight has moved, by its name.

        Raises:
            OptionError: a loss that is no number.
            DeviceMemoryError: a single image does not fit.
        """
        while not self.has_ended:
            self._step(self._done)
            self._adam.step()
            self._done += 1
            self.made += 1
            report(self.done)
            save(self.state)
        parent = self._parent.network
        return {
            name: (weight.detach() - parent.get_parameter(name)).cpu()
            for name, weight in self._weights.items()
        }

    def estimate(self) -> float:
        """Seconds that all steps that are left take, at most, by the time of one that looks at what
        is to stay, and of one that does not."""
        kept = self.first.clone(), self.distance.clone()
        seconds = []
        for number in (1, 0, 1):  # the first warms up
            begun = time.perf_counter()
            self._step(number)
            seconds.append(time.perf_counter() - begun)
        self._adam.zero_grad()
        self.first, self.distance = kept
        return (seconds[1] + (EVERY - 1) * seconds[2]) / EVERY * (self.total - self._done)

    def _step(self, step: int) -> None:
        for _ in Batches(1, self._parent.device).over(1, lambda *one: self._gradients(step)):
            pass

    def _gradients(self, step: int) -> None:
        """Of the step of a number, counted from 0."""
        row = step % len(self._crops)
        self._adam.zero_grad()
        crop, seen = self._target(row)
        loss, distance = self._apart(self._drawn.render(self._styles[row : row + 1]), crop, seen)
        if not bool(torch.isfinite(loss)):
            raise OptionError(f"tuning: its loss is no number after {step} steps; look at the crop")
        self.distance[row] = float(distance)
        if torch.isinf(self.first[row]):
            self.first[row] = self.distance[row]
        loss.backward()
        if step % EVERY == 0:
            styles = self._near(row, step)
            with torch.no_grad():
                before = as_rgb(self._before.render(styles))
                seen = self._measure.seen(before)
            loss, _ = self._apart(self._drawn.render(styles), before, seen)
            (LOCALITY * EVERY * loss).backward()

    def _apart(
        self, image: Tensor, wanted: Tensor, seen: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """The loss of an image (1, channels, h, w) beside one (1, 3, h, w) that is `seen` so;
        and the measure's distance."""
        distance = self._measure.distance(self._measure.seen(image), seen).mean()
        return distance + PIXELS * F.mse_loss(as_rgb(image), wanted), distance.detach()

    @torch.no_grad()
    def _target(self, row: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """A crop as large as what is drawn, and what the measure sees of it."""
        if row not in self._targets:
            if len(self._targets) >= _HELD:
                self._targets.clear()
            crop = from_bytes(torch.tensor(self._crops[row])[None].to(self._parent.device))
            small = reduced(crop, max(self._drawn.image_size))
            self._targets[row] = small, self._measure.seen(small)
        return self._targets[row]

    @torch.no_grad()
    def _near(self, row: int, step: int) -> Tensor:
        """Styles (1, C) on the way from a pivot to a latent that the step's number draws."""
        label = self._labels[row]
        seed = _FIRST_SEED + step
        w = w_from_seeds(self._parent, [seed], 1.0, None if label < 0 else label)
        share = torch.rand((), generator=torch.Generator().manual_seed(seed))
        return self._parent.styles(self._w[row : row + 1].lerp(w, float(share)))


def tuned_weights(generator: StyleGANGenerator) -> list[str]:
    """The names of the weights that are tuned: of the convolutions that have a style, without
    toRGB."""
    return [
        f"synthesis.{layer.name}.{name}"
        for layer in generator.layout
        if layer.kind == "conv"
        for name, weight in generator.network.synthesis.get_submodule(layer.name).named_parameters(
            recurse=False
        )
        if weight.ndim == 4
    ]


def drawing(generator: StyleGANGenerator) -> Generator:
    """What draws the generator's images as large as measures see them, where that is a draft of the
    same images; else the generator."""
    if not isinstance(generator.network, MobileStyleGAN):
        return generator
    draft = draft_of(generator)
    same = draft is not None and reaching(draft).size == generator.layout.size
    return draft if draft is not None and same else generator
