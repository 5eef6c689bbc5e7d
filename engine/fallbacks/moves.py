"""Where an optimisation starts, and how its steps move styles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...store.errors import OptionError
from ..models.protocols import Generator
from .optimise_settings import OptimiseSettings


@dataclass(frozen=True, eq=False)
class Start:
    """What n rows start from.

    Args:
        styles: of the images as they are, (n, C).
        target, neutral: unit embeddings of each row's prompts, (n, D); neutral is None where there
            is the target alone, as in StyleCLIP.
        w: of the same images (n, num_ws, w_dim), for optimisation in w and w+.
        warm: styles (n, C) to begin at, such as a direction's result; `styles` if not given.
    """

    styles: Tensor
    target: Tensor
    neutral: Tensor | None
    w: Tensor | None = None
    warm: Tensor | None = None


class Moves:
    """How steps in a space move the styles of rows."""

    def __init__(
        self, generator: Generator, start: Start, sigma: Tensor, settings: OptimiseSettings
    ) -> None:
        self._generator, self._space = generator, settings.space
        device = generator.device
        self.before = start.styles.to(device).float().clone()
        warm = start.styles if start.warm is None else start.warm
        self._offset = warm.to(device).float().clone() - self.before
        frozen = generator.layout.matching(settings.freeze) if settings.freeze else None
        free = torch.ones(self.before.shape[1], device=device)
        if frozen is not None:
            free = 1 - torch.from_numpy(frozen).to(free)
            if not free.any():
                raise OptionError("freeze: leaves no layer to move; name fewer")
        self._free = free
        self._sigma = sigma.to(device).float().clone() * free
        if settings.space == "s":
            return
        if start.w is None:
            raise OptionError(
                f"space {settings.space}: needs w, and these images are of styles alone; choose "
                "space s, or give seeds, z or w"
            )
        self._w = start.w.to(device).float().clone()  # (n, num_ws, w_dim)
        with torch.no_grad():
            self._mapped = generator.styles(self._w)

    def first(self) -> Tensor:
        """The step to begin at: (n, C) in style space, (n, 1 or num_ws, w_dim) in w or w+."""
        if self._space != "s":
            rows = self._w[:, :1] if self._space == "w" else self._w
            return torch.zeros_like(rows)
        moving = self._sigma > 0
        return torch.where(moving, self._offset / torch.where(moving, self._sigma, 1), 0)

    def styles(self, step: Tensor, rows: Tensor) -> Tensor:
        """The styles (r, C) of rows (r,) after a step; differentiable."""
        at = rows.to(self.before.device)
        if self._space == "s":
            return self.before[at] + step * self._sigma
        moved = self._generator.styles(self._w[at] + step) - self._mapped[at]
        return self.before[at] + self._free * (self._offset[at] + moved)
