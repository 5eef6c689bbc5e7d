"""From any file to a generator's checkpoint: the dialect is told by content, never by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...store.errors import CheckpointError
from ...store.paths import require_checkpoint
from ..inert.allowed import NVIDIA_GLOBALS, TENSORFLOW_GLOBALS
from ..inert.objects import InertObject
from ..inert.stream import MAGIC
from ..inert.torchfile import read_torch
from ..inert.unpickle import read_pickle
from .checkpoint import GeneratorCheckpoint, excerpt
from .native import is_safetensors, read_native
from .nvidia import PERSISTENT, read_nvidia
from .rosinality import is_rosinality, read_rosinality
from .tensorflow import NETWORK, is_tensorflow, read_tensorflow

SUPPORTED = (
    "generators are read from NVIDIA's .pkl of StyleGAN2 and StyleGAN3, rosinality's .pt and "
    "StyleAtlas's own .safetensors"
)
HEAD = 512  # bytes; a tar archive says what it is at 257
TORCH_MAGIC = MAGIC.to_bytes(10, "little")

# What people name by mistake: how it begins, what it is, what to do.
FOREIGN = (
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, such as an atlas", "name the generator's checkpoint"),
    (b"\x89PNG", "is a picture", "name the generator's checkpoint"),
    (b"\xff\xd8\xff", "is a picture", "name the generator's checkpoint"),
    (b"\x93NUMPY", "is a NumPy array", "name the generator's checkpoint"),
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS, not the file itself",
        "fetch it with `git lfs pull`",
    ),
    (b"\x1f\x8b", "is packed with gzip", "unpack it first"),
    (b"BZh", "is packed with bzip2", "unpack it first"),
    (b"\xfd7zXZ", "is packed with xz", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd", "unpack it first"),
    (b"7z\xbc\xaf", "is a 7-Zip archive", "unpack it first"),
    (b"Rar!", "is a RAR archive", "unpack it first"),
    (b"GGUF", "is a GGUF model", SUPPORTED),
    (b"model_checkpoint_path", "is the index of a TensorFlow checkpoint", SUPPORTED),
)


def read_checkpoint(path: Path) -> GeneratorCheckpoint:
    """The generator in a file of any dialect. No code of the file runs.

    Raises:
        CheckpointError: there is no such file, it holds no generator, or one that our networks
            cannot compute; the message says what was found.
    """
    head = _head(path)
    if is_safetensors(path):
        return read_native(path)
    if head.startswith(b"PK\x03\x04") or TORCH_MAGIC in head[:32]:
        return _from_torch(path, read_torch(path))
    if head.startswith(b"\x80"):
        return _from_pickle(path, read_pickle(path, {**NVIDIA_GLOBALS, **TENSORFLOW_GLOBALS}))
    raise _foreign(path, head)


def _head(path: Path) -> bytes:
    require_checkpoint(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: cannot be read ({reason}); check the path") from error
    if not head:
        raise CheckpointError(f"{path}: is empty; get it again from its source")
    return head


def _foreign(path: Path, head: bytes) -> CheckpointError:
    for start, what, mend in FOREIGN:
        if head.startswith(start):
            return CheckpointError(f"{path}: {what}; {mend}")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return CheckpointError(f"{path}: is a web page, so its download failed; download it again")
    if head[257:262] == b"ustar":
        return CheckpointError(f"{path}: is a tar archive; unpack it first")
    if head[:1] == b"\x08" and (b"pytorch" in head or b"onnx" in head):
        return CheckpointError(f"{path}: is an ONNX model; {SUPPORTED}")
    return CheckpointError(
        f"{path}: is no checkpoint of a known kind (it begins with {head[:8].hex(' ')}); "
        f"{SUPPORTED}"
    )


def _from_pickle(path: Path, content: object) -> GeneratorCheckpoint:
    if is_tensorflow(content):
        return read_tensorflow(path, content)
    if isinstance(content, InertObject) and content.kind == NETWORK:
        raise _without(path, "one network of TensorFlow's, not the tuple (G, D, Gs)")
    if isinstance(content, Mapping) or (
        isinstance(content, InertObject) and content.kind == PERSISTENT
    ):
        return read_nvidia(path, content)
    raise _without(path, excerpt(content))


def _from_torch(path: Path, content: object) -> GeneratorCheckpoint:
    if isinstance(content, InertObject):
        what = "a TorchScript model, such as OpenAI's CLIP"
        raise _without(path, what if content.kind.startswith("__torch__") else excerpt(content))
    if not isinstance(content, Mapping):
        raise _without(path, excerpt(content))
    average = content.get("latent_avg")
    state = content.get("state_dict")
    decoder = _below(state, "decoder.") if isinstance(state, Mapping) else {}
    for generator in (content.get("g_ema"), decoder):
        if isinstance(generator, Mapping) and is_rosinality(generator):
            return read_rosinality(path, generator, average)
    if is_rosinality(content):
        return read_rosinality(path, content, None)
    for found in (content, content.get("g_ema"), decoder, state):
        what = _known_state(found)
        if what:
            raise _without(path, what)
    if "g" in content and "g_ema" not in content:
        raise _without(path, "a training state without g_ema, the averaged generator")
    names = ", ".join(excerpt(name) for name in list(content)[:4])
    raise _without(path, f"a dict of {names}" if names else "an empty dict")


def _known_state(state: object) -> str:
    """What a state dict without a generator that can be built is; empty if unknown."""
    names = state.keys() if isinstance(state, Mapping) else ()
    if any(str(name).startswith("synthesis.") for name in names):
        return "a state dict in NVIDIA's names without the network's numbers (use the original)"
    if {"visual.conv1.weight", "visual.proj", "logit_scale"} & set(names):
        return "a CLIP"
    if any(str(name).startswith("mapper.") for name in names):
        return "a latent mapper of StyleCLIP"
    if {"input_layer.0.weight", "fc5.weight"} & set(names):
        return "a face recogniser"
    if any(str(name).startswith("encoder.") for name in names):
        return "an encoder without its generator"
    return ""


def _below(state: Mapping[object, object], prefix: str) -> dict[str, object]:
    """The part of a state dict under a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if isinstance(name, str) and name.startswith(prefix)
    }


def _without(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path}: holds {what}, no generator; {SUPPORTED}")
