"""The file `<output>.work`, which keeps an optimisation until it has ended."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import save

from ...store.errors import CheckpointError, ResumeError
from ...store.fingerprint import from_json, to_json
from ...store.output import replacing, require_writable
from ..checkpoints.native import read_safetensors
from ..fallbacks.optimise import Optimisation, State

METADATA_KEY, DIGEST_KEY = "styleatlas-optimisation", "sha256"
_EVERY = 10.0  # seconds


class StateFile:
    """Where an optimisation stands, for one that has to go on.

    Args:
        output: the picture that will be written.
        plan: all that decides the result, as JSON values.

    Raises:
        OutputError: nothing can be written there.
    """

    def __init__(self, output: Path, plan: Mapping[str, Any]) -> None:
        target = require_writable(output)
        self.path = target.with_name(f"{target.name}.work")
        self._plan = to_json("plan", dict(plan))
        self._saved = time.monotonic()

    def take_up(self, optimisation: Optimisation) -> int:
        """Gives an optimisation the state that an earlier process kept of it; how many steps of
        rows that saves, 0 without a file.

        Raises:
            ResumeError: the file is of another optimisation, or damaged.
        """
        if not os.path.lexists(self.path):
            return 0
        try:
            metadata, tensors = read_safetensors(self.path)
            there = from_json("plan", metadata.get(METADATA_KEY, ""))
            if different := _differences(there, json.loads(self._plan)):
                raise ResumeError(
                    f"{self.path}: is of another optimisation: {', '.join(different)}; go on with "
                    f"its settings, or start afresh: delete {self.path}, or choose another -o"
                )
            if metadata.get(DIGEST_KEY) != _digest(tensors):
                raise CheckpointError("its SHA-256 is not the one it names")
            optimisation.take_up(tensors)
        except ResumeError:
            raise
        except Exception as error:  # whatever a damaged file makes of itself
            raise ResumeError(
                f"{self.path}: cannot be resumed ({error}); delete it to start afresh, or choose "
                "another -o"
            ) from error
        return optimisation.done

    def save(self, state: State) -> None:
        """Keeps a state where the last one is older than ten seconds; after a crash the file is
        the old one or this one.

        Raises:
            OutputError: it cannot be written.
        """
        if time.monotonic() - self._saved < _EVERY:
            return
        tensors = {name: tensor.contiguous() for name, tensor in state.items()}
        content = save(tensors, {METADATA_KEY: self._plan, DIGEST_KEY: _digest(tensors)})
        with replacing(self.path) as file:
            file.write(content)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Once the picture is written."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What is not the same, in words."""
    return [
        f"{name} is {json.dumps(there.get(name))[:80]} there and "
        f"{json.dumps(here.get(name))[:80]} here"
        for name in {**there, **here}
        if there.get(name) != here.get(name)
    ]


def _digest(tensors: State) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
