"""What the file `<output>.work` keeps of an optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...store.fingerprint import from_json, to_json
from ...store.work import StateFile, value_parts
from ..checkpoints.state_file import read_state, state_bytes
from ..fallbacks.optimise import Optimisation
from ..fallbacks.resumable import State

METADATA_KEY = "styleatlas-optimisation"
CLIP_CONFIGURATION = "clip_configuration"
"""Of a plan's values the one that plans of before have not."""


class OptimisationFile(StateFile):
    """Where an optimisation stands, for one that has to go on.

    Args:
        output: the picture that will be written.

    Raises:
        ResumeError: another process is at work on this output.
        OutputError: nothing can be written there.
    """

    def __init__(self, output: Path) -> None:
        super().__init__(output, "optimisation")
        self._plan = ""

    def take_up(self, optimisation: Optimisation, plan: Mapping[str, Any]) -> int:
        """Gives an optimisation the state that an earlier process kept of it; how many steps of
        rows that saves, 0 without a file.

        Args:
            plan: all that decides the result, as JSON values, and `library`. A later one goes on.

        Raises:
            ResumeError: the file is of another optimisation, or damaged.
        """
        self._plan = to_json("plan", dict(plan))

        def same(header: str) -> None:
            plans = [from_json("plan", text) for text in (header, self._plan)]
            for values in plans:
                values.pop("library", None)
            if CLIP_CONFIGURATION not in plans[0]:
                plans[1].pop(CLIP_CONFIGURATION, None)
            self.require_same(*map(value_parts, plans))

        def read(path: Path) -> bool:
            optimisation.take_up(read_state(path, METADATA_KEY, same))
            return True

        return optimisation.done if self.load(read) else 0

    def offer(self, state: State) -> None:
        """Keeps a state where it is time to.

        Raises:
            OutputError: it cannot be written.
        """
        if self.due:
            self.save(state_bytes(METADATA_KEY, self._plan, state))
