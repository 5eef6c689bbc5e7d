"""From a path or a name to a generator or a CLIP on a device."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from .. import zoo
from ..store.errors import CheckpointError, OptionError
from .checkpoints.native import read_generator
from .generator import StyleGAN2Generator
from .protocols import Generator, JointEncoder


def load_generator(source: str | os.PathLike[str], device: str | None = None) -> Generator:
    """The embedded generator by the name `avatars`, or a StyleAtlas safetensors checkpoint.

    Raises:
        CheckpointError: the file cannot be read as a generator.
        OptionError: the device does not exist here.
    """
    path, name = _resolve(source, zoo.GENERATOR)
    network, identity = read_generator(path, name, pick_device(device))
    return StyleGAN2Generator(network, identity)


def load_encoder(source: str | os.PathLike[str], device: str | None = None) -> JointEncoder:
    """The embedded CLIP by the name `avatars`, or a folder in open_clip's layout.

    Raises:
        CheckpointError: the folder does not hold a CLIP that can be built.
        OptionError: the device does not exist here.
    """
    from .clip import read_encoder  # open_clip takes seconds to import, and few edits need it

    path, name = _resolve(source, zoo.CLIP)
    if not path.is_dir():
        raise CheckpointError(
            f"{path}: no such folder; name one in open_clip's layout, or `avatars`"
        )
    return read_encoder(path, name, pick_device(device))


def pick_device(device: str | None) -> torch.device:
    """The device named, or the best there is: CUDA, Apple's MPS, the CPU.

    Raises:
        OptionError: PyTorch does not know the device or cannot reach it.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"device {device!r}: cannot be used ({reason}); try cpu, cuda, cuda:1 or mps"
        ) from error
    return chosen


def _resolve(source: str | os.PathLike[str], embedded: Path) -> tuple[Path, str]:
    """A file and the name people know it by. A name wins over a file called the same."""
    if os.fspath(source) == zoo.NAME:
        return embedded, zoo.NAME
    path = Path(source)
    return path, path.stem or str(path)
