"""The folder in which a long run keeps its finished blocks until the atlas is written.

Every block is one file that never changes. Its name holds the SHA-256 of its bytes, so the move
into place is also the record: there is no list that could disagree with the files.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import OutputError, ResumeError, StyleAtlasError
from .fingerprint import Fingerprint, ModelIdentity, from_json, to_json, todays_settings
from .output import leftovers, replacing, require_space, require_writable, sync_directory
from .work import Lock, Parts, differences, model_part, value_parts

_FORMAT = 1
_MAX_PLAN_BYTES = 2**20
_PLAN, _LOCK = "plan.json", "lock"
_SHARD = re.compile(r"block-([0-9]{6,})-([0-9a-f]{64})\.bin")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Run:
    """What decides the content of every block.

    Args:
        fingerprint: the models and the settings of the run.
        prompts: a hash of its phrases and templates.
        blocks: how many there are.
        library: name and version of what began it. A later one goes on where the format of blocks
            is the same.
    """

    fingerprint: Fingerprint
    prompts: str
    blocks: int
    library: str

    @property
    def key(self) -> str:
        """64 hex digits, equal for runs of one library without :meth:`differences`."""
        values = {name: value for name, (value, _) in self._parts(self._settings).items()}
        models = {"generator": self.fingerprint.generator, "CLIP": self.fingerprint.clip}
        values |= {name: model.sha256 for name, model in models.items()}
        values["library"] = self.library
        return hashlib.sha256(to_json("run", values).encode()).hexdigest()

    def differences(self, here: Run) -> list[str]:
        """What is not the same in the run ``here``, in words; neither a model's name counts nor the
        library."""
        there = self._parts(todays_settings(self._settings))
        return differences(there, here._parts(todays_settings(here._settings)))

    def to_json(self) -> str:
        """One JSON object."""
        return to_json(
            _PLAN,
            {
                "format": _FORMAT,
                "generator": asdict(self.fingerprint.generator),
                "clip": asdict(self.fingerprint.clip),
                "settings": self.fingerprint.settings,
                "prompts": self.prompts,
                "blocks": self.blocks,
                "library": self.library,
            },
        )

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Read what :meth:`to_json` wrote; ResumeError if it is anything else."""
        try:
            fields = from_json(_PLAN, text)
            if fields["format"] != _FORMAT:
                raise ValueError(f"its format is {fields['format']}, not {_FORMAT}")
            generator, clip = (ModelIdentity(**fields[name]) for name in ("generator", "clip"))
            fingerprint = Fingerprint(generator, clip, fields["settings"])
            return cls(fingerprint, fields["prompts"], fields["blocks"], fields["library"])
        except (StyleAtlasError, LookupError, TypeError, ValueError) as error:
            raise ResumeError(f"{_PLAN}: is not the plan of a run ({error})") from error

    @property
    def _settings(self) -> Mapping[str, Any]:
        return self.fingerprint.settings

    def _parts(self, settings: Mapping[str, Any]) -> Parts:
        """Everything that must be the same."""
        return {
            "generator": model_part(self.fingerprint.generator),
            "CLIP": model_part(self.fingerprint.clip),
            "prompts": (self.prompts, f"sha256 {self.prompts[:12]}"),
            **value_parts(settings, "settings."),
            **value_parts({"blocks": self.blocks}),
        }


class WorkFolder:
    """The finished blocks of a run, in the folder ``<atlas name>.work`` beside the atlas.

    Opening it makes the folder, or takes up what an earlier run of the same description left
    there. As a context it lets go of the folder at the end, and removes one without any finished
    block, so that a run that fails at its start leaves nothing.

    Args:
        atlas: the atlas that the run will write.
        run: its description.
        shapes: by block, the shape of every array in it.
        atlas_bytes: what the atlas itself will take; there must be room for it and for the blocks.

    Attributes:
        path: the folder.
        complaints: a line for every file of a block that was damaged and therefore removed.

    Raises:
        ResumeError: the folder is another run's, in use, or something else altogether.
        OutputError: the folder cannot be made, read or written, its file system has no locks, or
            the disk has no room for what is missing.
    """

    def __init__(
        self,
        atlas: str | os.PathLike[str],
        run: Run,
        shapes: Sequence[Shapes],
        atlas_bytes: int = 0,
    ) -> None:
        target = require_writable(atlas)
        self.path = target.with_name(f"{target.name}.work")
        self.complaints: list[str] = []
        self._run, self._key, self._shapes = run, run.key, shapes
        self._shards: dict[int, Path] = {}
        self._lock: Lock | None = None
        try:
            self._open(target)
            self._require_space(target, atlas_bytes)
        except BaseException as error:
            self._release()
            with suppress(OSError):
                self.path.rmdir()  # which is done only where nothing is in it
            if isinstance(error, OSError):
                raise OutputError(
                    f"{self.path}: cannot be used ({error.strerror or error}); check permissions "
                    "and free space, or choose another -o"
                ) from error
            raise

    @property
    def done(self) -> frozenset[int]:
        """The numbers of the finished blocks."""
        return frozenset(self._shards)

    @property
    def total(self) -> int:
        """How many blocks the run has."""
        return len(self._shapes)

    @property
    def kept(self) -> str:
        """What an interrupted run leaves, for people."""
        return (
            f"{len(self._shards)} of {self.total} blocks are kept in {self.path}: "
            "the same command resumes"
        )

    def load(self, number: int) -> dict[str, NDArray[np.float64]] | None:
        """The arrays of a block by name, or None if it is not finished."""
        path = self._shards.get(number)
        if path is None:
            return None
        try:
            return self._read(number, path)
        except (OSError, ValueError):  # sound when the folder was opened, and no longer
            del self._shards[number]
            return None

    def save(self, number: int, arrays: Mapping[str, NDArray[np.float64]]) -> None:
        """Keep a finished block; after a crash it is there as a whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        content = self._header(number) + b"".join(
            np.asarray(arrays[name], "<f8").reshape(shape).tobytes()
            for name, shape in self._shapes[number].items()
        )
        digest = hashlib.sha256(content).hexdigest()
        path = self.path / f"block-{number:06d}-{digest}.bin"
        with replacing(path) as file:
            file.write(content)
        self._shards[number] = path

    def finish(self) -> None:
        """Remove the blocks and the folder, once the atlas is written.

        A file that is not the run's own stays, and the folder with it.
        """
        # The atlas stands: what cannot be removed is untidy, but no reason to fail.
        with suppress(OSError):
            for path in self._shards.values():
                path.unlink(missing_ok=True)
            self._shards = {}
            # Not before the blocks: a folder of blocks without a plan would look foreign.
            (self.path / _PLAN).unlink(missing_ok=True)
            self._release()
            self.path.rmdir()
        self._release()

    def __enter__(self) -> WorkFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lock is None:  # finished
            return
        self._let_go()
        if self._shards and isinstance(error, OutputError):
            raise OutputError(f"{error}; {self.kept}") from error

    def _open(self, atlas: Path) -> None:
        if not self.path.is_dir():
            if os.path.lexists(self.path):
                raise ResumeError(f"{self.path}: is not a folder; move it, or choose another -o")
            self.path.mkdir(exist_ok=True)
        self._plan()  # refuses a foreign folder before anything is put into it
        self._lock = Lock(self.path / _LOCK, self.path)
        plan = self._plan()
        present = self._present()
        differences = plan.differences(self._run) if plan else []
        if differences and present:
            raise ResumeError(
                f"{self.path}: holds {len(present)} finished blocks of another run: "
                f"{', '.join(differences)}; go on with its settings, or start afresh: delete the "
                f"folder {self.path}, or choose another -o"
            )
        for path, name in leftovers(self.path):
            if _is_ours(name):
                path.unlink()
        for path, name in leftovers(atlas.parent):
            if name == atlas.name:  # only a run with this lock writes this atlas
                path.unlink()
        if plan is None or differences:
            self._write_plan()
        else:
            self._key = plan.key  # 5 and 5.0 are one setting, but not one text; and its library
        for number, path in present:
            self._verify(number, path)

    def _require_space(self, atlas: Path, atlas_bytes: int) -> None:
        missing = (x for number, x in enumerate(self._shapes) if number not in self._shards)
        try:
            require_space(atlas, shapes_bytes(missing) + atlas_bytes)
        except OutputError:
            self._let_go()
            raise

    def _plan(self) -> Run | None:
        """The plan that is there; None in a folder that holds nothing yet."""
        path = self.path / _PLAN
        mend = f"move the folder {self.path}, or choose another -o"
        if not path.is_file():
            begun = {path for path, name in leftovers(self.path) if name == _PLAN}
            if set(self.path.iterdir()) - begun - {self.path / _LOCK}:
                raise ResumeError(
                    f"{self.path}: holds files but no {_PLAN}, so it is no run's folder; {mend}"
                )
            return None
        try:
            with path.open("rb") as file:
                return Run.from_json(file.read(_MAX_PLAN_BYTES).decode())
        except (ResumeError, UnicodeDecodeError) as error:
            raise ResumeError(f"{self.path}: cannot be resumed: {error}; {mend}") from error

    def _write_plan(self) -> None:
        try:
            with replacing(self.path / _PLAN) as file:
                file.write(self._run.to_json().encode() + b"\n")
            sync_directory(self.path.parent)
        except BaseException:
            self.finish()
            raise

    def _present(self) -> list[tuple[int, Path]]:
        """The files that are named as blocks, in order."""
        found = []
        for path in sorted(self.path.iterdir()):
            match = _SHARD.fullmatch(path.name)
            if match and path.is_file():
                found.append((int(match[1]), path))
        return found

    def _verify(self, number: int, path: Path) -> None:
        try:
            self._read(number, path)
        except (OSError, ValueError) as error:
            path.unlink()
            self.complaints.append(
                f"{path.name}: was damaged ({error}) and removed; block {number} is drawn again"
            )
        else:
            self._shards[number] = path

    def _read(self, number: int, path: Path) -> dict[str, NDArray[np.float64]]:
        """The arrays of a file, everything about it proven; ValueError says what is wrong."""
        if not number < self.total:
            raise ValueError(f"the run has {self.total} blocks")
        shapes, header = self._shapes[number], self._header(number)
        size = len(header) + 8 * sum(map(math.prod, shapes.values()))
        with path.open("rb") as file:
            content = file.read(size + 1)
        if len(content) != size:
            raise ValueError(f"has {'more' if len(content) > size else 'less'} than {size} bytes")
        if f"-{hashlib.sha256(content).hexdigest()}." not in path.name:
            raise ValueError("its SHA-256 is not the one in its name")
        if not content.startswith(header):
            raise ValueError("it belongs to another block or run")
        arrays, start = {}, len(header)
        for name, shape in shapes.items():
            values = np.frombuffer(content, "<f8", math.prod(shape), start)
            if not np.isfinite(values).all():
                raise ValueError(f"{name} holds values that are not finite")
            arrays[name] = values.astype(np.float64).reshape(shape)
            start += values.nbytes
        return arrays

    def _header(self, number: int) -> bytes:
        """What a block's file begins with. It is compared, never parsed."""
        arrays = [[name, *shape] for name, shape in self._shapes[number].items()]
        head = {"format": _FORMAT, "run": self._key, "block": number, "float64": arrays}
        return b"styleatlas " + to_json(_PLAN, head).encode() + b"\n"

    def _let_go(self) -> None:
        """Leave the folder as it is; one without any finished block goes."""
        if self._lock is not None and not self._shards:
            self.finish()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def shapes_bytes(blocks: Iterable[Shapes]) -> int:
    """What the arrays of blocks take on disk."""
    return sum(8 * math.prod(shape) for block in blocks for shape in block.values())


def _is_ours(name: str) -> bool:
    return name == _PLAN or _SHARD.fullmatch(name) is not None
