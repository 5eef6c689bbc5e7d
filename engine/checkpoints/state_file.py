"""The state of long work as safetensors: a header that says of what, tensors, their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from ...store.errors import CheckpointError
from .native import read_safetensors

_DIGEST_KEY = "sha256"


def state_bytes(key: str, header: str, tensors: Mapping[str, Tensor]) -> bytes:
    """The content of a file.

    Args:
        key: what the header is called in the file's metadata, another one for each kind of work.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(kept, {key: header, _DIGEST_KEY: _digest(kept)})


def read_state(path: Path, key: str, require: Callable[[str], None]) -> dict[str, Tensor]:
    """The tensors of a file.

    Args:
        require: is given the header, and raises unless it is that of the work at hand. It comes
            first, so that other work is called other work and not damaged.

    Raises:
        CheckpointError: it is no file of such work, or damaged.
    """
    metadata, tensors = read_safetensors(path)
    header = metadata.get(key, "")
    require(header)
    known = (_digest(tensors), _digest_of_trainings_before(header, tensors))
    if metadata.get(_DIGEST_KEY) not in known:
        raise CheckpointError("its SHA-256 is not the one it names")
    return tensors


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digest_of_trainings_before(header: str, tensors: Mapping[str, Tensor]) -> str:
    """The one that 0.1.0 wrote with the training of a mapper."""
    return hashlib.sha256(header.encode() + save(dict(tensors))).hexdigest()
