"""What long work keeps beside its output until that is written, so that the same command goes on.

One lock, one way to say what differs and one pace of saving serve the folder of blocks of an atlas
(`shards.py`) and the file of a training or an optimisation (`StateFile`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import lock_descriptor

from .errors import OutputError, ResumeError
from .fingerprint import ModelIdentity, digest
from .output import leftovers, replacing, require_writable

if TYPE_CHECKING:
    from typing_extensions import Self

SAVE_SECONDS = 20.0
"""Between two savings of a state: so much work is lost with a process that is killed."""

Parts = Mapping[str, tuple[Any, str]]
"""What must be the same for work to go on: by name, a value and how a message shows it."""

_SHOWN = 80  # letters of a value

Kept = TypeVar("Kept")


class _Model:
    """A model, equal to others by what both tell of their content, whatever they are called."""

    def __init__(self, identity: ModelIdentity) -> None:
        self.identity = identity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Model) and not self.identity.differences(other.identity)

    __hash__ = None  # type: ignore[assignment]


def model_part(model: ModelIdentity | None) -> tuple[Any, str]:
    """A model as it counts in `differences`: by its content, whatever it is called."""
    return (None, "None") if model is None else (_Model(model), f"{model}{_activation(model)}")


def _activation(model: ModelIdentity) -> str:
    """Of a CLIP that tells its configuration, what a message shows of it."""
    told = model.configuration
    return f" of configuration {digest(told):013x}" if told else ""


def value_parts(values: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, str]]:
    """JSON values as they count in `differences`."""
    return {
        f"{prefix}{name}": (value, json.dumps(value)[:_SHOWN]) for name, value in values.items()
    }


def differences(there: Parts, here: Parts) -> list[str]:
    """What is not the same, in words."""
    unset = (object(), "unset")  # None is a value
    return [
        f"{name} is {there.get(name, unset)[1]} there and {here.get(name, unset)[1]} here"
        for name in {**there, **here}
        if there.get(name, unset)[0] != here.get(name, unset)[0]
    ]


class Lock:
    """The right to work at a place, which one process has at a time.

    It is taken at once or not at all. The system lets go of it when the process ends, however; the
    file that carries it is then in nobody's way.

    Args:
        path: of the file that is locked; it is made, and removed on release.
        place: what the lock is for, as messages name it.
        elsewhere: how another place is chosen, as messages tell it.

    Raises:
        ResumeError: another process, or another part of this one, holds it.
        OutputError: the file system has no locks.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, place: Path, elsewhere: str = "choose another -o") -> None:
        self._path, self._elsewhere = path, elsewhere
        self._descriptor: int | None = None
        while self._descriptor is None:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            try:
                self._take(descriptor, place)
                with suppress(FileNotFoundError):
                    # Who just let go may have removed the file after it was opened here.
                    if os.path.samestat(os.fstat(descriptor), path.stat()):
                        self._descriptor = descriptor
            finally:
                if self._descriptor is None:
                    os.close(descriptor)

    def release(self) -> None:
        """Let go of it, and remove the file."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        if os.name != "posix":  # elsewhere an open file cannot be removed
            os.close(descriptor)
        # While it is still locked, where that can be: nobody else then locks a file that is gone.
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        if os.name == "posix":
            os.close(descriptor)

    def _take(self, descriptor: int, place: Path) -> None:
        try:
            taken = lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            with suppress(OSError):
                self._path.unlink()  # it is nobody's lock
            raise OutputError(
                f"{place}: its file system has no locks ({error.strerror or error}), so two runs "
                f"could spoil each other's work; {self._elsewhere}, on a local disk, or mount it "
                "with locks"
            ) from error
        if not taken:
            raise ResumeError(
                f"{place}: another run is at work here; wait for it or end it, or {self._elsewhere}"
            )


class StateFile:
    """The file `<output>.work`, which keeps where work stands until its output is written.

    Making one takes the lock `<output>.work.lock`, which a context lets go of at its end, and
    removes what killed processes left half-written there. After a crash the file is the one of the
    last saving, whole.

    Args:
        output: what the work will write.
        what: it is, as messages say: `training`.
        beside: names of further files that only this work writes.

    Raises:
        ResumeError: another process is at work on this output.
        OutputError: nothing can be written there, or the file system has no locks.
    """

    def __init__(self, output: str | os.PathLike[str], what: str, *beside: str) -> None:
        target = require_writable(output)
        self.path = target.with_name(f"{target.name}.work")
        self._what = what
        try:
            self._lock = Lock(self.path.with_name(f"{self.path.name}.lock"), self.path)
            for path, name in leftovers(target.parent):
                if name in {self.path.name, target.name, *beside}:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be used ({error.strerror or error}); check permissions and "
                "free space, or choose another -o"
            ) from error
        self._saved = time.monotonic()

    @property
    def there(self) -> bool:
        """Whether anything is kept."""
        return os.path.lexists(self.path)

    @property
    def due(self) -> bool:
        """Whether the last saving, or the beginning, is SAVE_SECONDS ago."""
        return time.monotonic() - self._saved >= SAVE_SECONDS

    def load(self, read: Callable[[Path], Kept]) -> Kept | None:
        """What `read` makes of the file, None where nothing is kept.

        Raises:
            ResumeError: the file is of other work, or damaged.
        """
        if not self.there:
            return None
        try:
            return read(self.path)
        except ResumeError:
            raise
        except Exception as error:  # whatever a damaged file makes of itself
            reason = str(error).removeprefix(f"{self.path}: ")
            raise ResumeError(
                f"{self.path}: cannot be resumed ({reason}); delete it to start afresh, or choose "
                "another -o"
            ) from error

    def require_same(self, there: Parts, here: Parts) -> None:
        """Raise ResumeError unless the work that is kept is the work at hand."""
        if different := differences(there, here):
            raise ResumeError(
                f"{self.path}: is of another {self._what}: {', '.join(different)}; go on with its "
                f"settings, or start afresh: delete {self.path}, or choose another -o"
            )

    def save(self, content: bytes) -> None:
        """Keep a state in place of the last one.

        Raises:
            OutputError: it cannot be written.
        """
        with replacing(self.path) as file:
            file.write(content)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Keep nothing: the output is written, or the state is of no use."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()
