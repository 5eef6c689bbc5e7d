"""Where rows of an optimisation stand, so that it can stop after any step and go on."""

from __future__ import annotations

import torch
from torch import Tensor

from ...store.errors import OptionError

State = dict[str, Tensor]
"""Tensors of n rows by name; `steps` that each has taken and why it `stopped`, int64 (n,)."""

RUNNING, STEPS, PLATEAU, DIVERGED = range(4)
"""Why a row stopped: not yet, all steps were made, they came to no more, or to no number."""


class Resumable:
    """What an optimisation of many rows keeps of them.

    Args:
        what: it is, in a word.
        most: steps of a row, at most.
        state: of rows that have not begun.
    """

    def __init__(self, what: str, most: int, state: State) -> None:
        self._what, self._most = what, most
        self._state = state
        self._made = 0

    def take_up(self, state: State) -> None:
        """Go on from the `state` of the same work.

        Raises:
            OptionError: it is of another shape.
        """
        ours = {name: (x.shape, x.dtype) for name, x in self._state.items()}
        if {name: (x.shape, x.dtype) for name, x in state.items()} != ours:
            raise OptionError(f"state: is of another {self._what}; start afresh")
        self._state = {name: tensor.clone() for name, tensor in state.items()}

    @property
    def state(self) -> State:
        """All that it takes to go on, on the CPU."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self._state.items()}

    @property
    def made(self) -> int:
        """Steps of rows that this process has taken."""
        return self._made

    @property
    def total(self) -> int:
        """Steps of rows, at most."""
        return len(self._state["stopped"]) * self._most

    @property
    def done(self) -> int:
        """Steps of rows that are behind, or needless."""
        ended = self._state["stopped"] != RUNNING
        return int(torch.where(ended, self._most, self._state["steps"]).sum())
