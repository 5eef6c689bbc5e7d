"""From any file to a generator's checkpoint: the dialect is told by content, never by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ...store.errors import CheckpointError
from ...store.paths import require_checkpoint
from ..inert.allowed import GENERATOR_GLOBALS, NVIDIA_GLOBALS, TENSORFLOW_GLOBALS
from ..inert.objects import InertObject
from ..inert.stream import MAGIC
from ..inert.torchfile import read_torch
from ..inert.unpickle import read_pickle
from .checkpoint import GeneratorCheckpoint
from .foreign import foreign_content, foreign_head, without
from .native import METADATA_KEY, is_safetensors, read_native, read_safetensors
from .nvidia import PERSISTENT, read_nvidia
from .openvino import is_openvino, read_openvino
from .states import AVERAGED, LATEST, NOT_AVERAGED, find_state, read_generator_state
from .tensorflow import find_network, read_tensorflow
from .tuned_file import METADATA_KEY as TUNED_KEY
from .tuned_file import read_tuned

HEAD = 512  # bytes; a tar archive says what it is at 257
TORCH_MAGIC = MAGIC.to_bytes(10, "little")


def read_checkpoint(path: Path) -> GeneratorCheckpoint:
    """The generator in a file of any dialect. No code of the file runs.

    Raises:
        CheckpointError: there is no such file, it holds no generator, or one that our networks
            cannot compute; the message says what was found.
    """
    return _read(path, _read_whole)


def _read_whole(path: Path) -> GeneratorCheckpoint:
    """Of a file that is no difference from another's: no chain of them leads anywhere."""

    def refuse(parent: Path) -> GeneratorCheckpoint:
        raise CheckpointError(
            f"{path}: is itself tuned from another, and nothing is tuned from such; get the "
            "generator that both were tuned from"
        )

    return _read(path, refuse)


def _read(path: Path, read_parent: Callable[[Path], GeneratorCheckpoint]) -> GeneratorCheckpoint:
    head = _head(path)
    if is_openvino(path):
        return read_openvino(path)
    if is_safetensors(path):
        return _from_safetensors(path, read_parent)
    if head.startswith(b"PK\x03\x04") or TORCH_MAGIC in head[:32]:
        return _from_content(path, read_torch(path, GENERATOR_GLOBALS))
    if head.startswith(b"\x80"):
        return _from_content(path, read_pickle(path, {**NVIDIA_GLOBALS, **TENSORFLOW_GLOBALS}))
    raise foreign_head(path, head)


def _head(path: Path) -> bytes:
    require_checkpoint(path)
    if path.is_dir():
        return b""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: cannot be read ({reason}); check the path") from error
    if not head:
        raise CheckpointError(f"{path}: is empty; get it again from its source")
    return head


def _from_safetensors(
    path: Path, read_parent: Callable[[Path], GeneratorCheckpoint]
) -> GeneratorCheckpoint:
    metadata, tensors = read_safetensors(path)
    if TUNED_KEY in metadata:
        return read_tuned(path, metadata, tensors, read_parent)
    if METADATA_KEY not in metadata and find_state(tensors):
        return _from_content(path, tensors)
    return read_native(path)


def _from_content(path: Path, content: object) -> GeneratorCheckpoint:
    """The generator in what a file unfolds to: a network alone, or among others in a dict, a list
    or a tuple; a state dict alone, below a name, or as a part of another network's."""
    if isinstance(content, InertObject) and content.kind.startswith("__torch__"):
        raise without(path, "a TorchScript model, such as OpenAI's CLIP")
    if network := find_network(path, content):
        return _noted(read_tensorflow(path, network[0]), network[1])
    if _is_module(content):
        return read_nvidia(path, content)
    if isinstance(content, list | tuple):
        modules = [item for item in content if _is_module(item)]
        if not modules:
            raise foreign_content(path, content)
        # As in training's (G, D, G_ema), the average comes last.
        return read_nvidia(path, modules[-1], "its last network")
    if isinstance(content, Mapping):
        return _from_mapping(path, content)
    raise foreign_content(path, content)


def _from_mapping(path: Path, content: Mapping[object, object]) -> GeneratorCheckpoint:
    average = content.get("latent_avg")
    for name in (*AVERAGED, None, "state_dict", *LATEST):
        part = content if name is None else content.get(name)
        if name is not None and _is_module(part):
            read, latest = read_nvidia(path, part, str(name)), name
        elif isinstance(part, Mapping) and (found := find_state(part)):
            read, latest = read_generator_state(path, found[0], average), found[1] or name or ""
        elif name in AVERAGED[:1] and part is not None and not isinstance(part, Mapping):
            return read_nvidia(path, part)  # which says that it is none
        else:
            continue
        return _noted(read, latest if latest in LATEST else "")
    raise foreign_content(path, content)


def _noted(checkpoint: GeneratorCheckpoint, latest: str) -> GeneratorCheckpoint:
    """With the note that it is no average, where it has the name of one that is none."""
    notes = (NOT_AVERAGED.format(latest), *checkpoint.notes) if latest else checkpoint.notes
    return replace(checkpoint, notes=notes)


def _is_module(value: object) -> bool:
    return isinstance(value, InertObject) and value.kind == PERSISTENT
