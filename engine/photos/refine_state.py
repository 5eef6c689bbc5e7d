"""What the file `<output>.work` keeps of a refinement, or of a tuning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ...store.fingerprint import from_json, to_json
from ...store.work import StateFile, value_parts
from ..checkpoints.state_file import read_state, state_bytes
from ..fallbacks.resumable import State

METADATA_KEY = "styleatlas-inversion"


class Resuming(Protocol):
    """A refinement, or a tuning."""

    def take_up(self, state: State) -> None:
        """Go on from the state of the same work."""
        ...


class RefinementFile(StateFile):
    """Where a refinement stands, for one that has to go on.

    Args:
        output: what will be written of it.
        what: it is, as messages say.

    Raises:
        ResumeError: another process is at work on this output.
        OutputError: nothing can be written there.
    """

    def __init__(self, output: Path, what: str = "inversion") -> None:
        super().__init__(output, what)
        self._plan = ""

    def take_up(self, work: Resuming, plan: Mapping[str, Any]) -> None:
        """Gives work the state that an earlier process kept of it, if there is one.

        Args:
            plan: all that decides the result, as JSON values.

        Raises:
            ResumeError: the file is of other work, or damaged.
        """
        self._plan = to_json("plan", dict(plan))

        def same(header: str) -> None:
            there, here = (from_json("plan", text) for text in (header, self._plan))
            self.require_same(value_parts(there), value_parts(here))

        def read(path: Path) -> None:
            work.take_up(read_state(path, METADATA_KEY, same))

        self.load(read)

    def offer(self, state: State) -> None:
        """Keeps a state where it is time to.

        Raises:
            OutputError: it cannot be written.
        """
        if self.due:
            self.save(state_bytes(METADATA_KEY, self._plan, state))
