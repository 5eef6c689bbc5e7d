"""Generators as state dicts, whatever names their tensors have and whatever stands around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .checkpoint import GeneratorCheckpoint
from .mobile_stylegan import is_mobile_stylegan, read_mobile_stylegan
from .nvidia_state import is_nvidia_state, read_nvidia_state
from .rosinality import is_rosinality, read_rosinality
from .tensors import below, without_parallel

AVERAGED = ("G_ema", "g_ema", "Gs", "generator_ema")
"""What the averaged generator is called beside others, the best first."""
LATEST = ("G", "g", "generator")
"""What the generator of the last step is called."""
NOT_AVERAGED = (
    "holds no averaged generator (G_ema, g_ema), so {}, that of the last step of training, is "
    "taken; averages make better images"
)


def find_state(content: Mapping[Any, Any]) -> tuple[dict[str, object], str] | None:
    """The generator's state dict among the tensors of a network that holds it, such as an
    encoder's `decoder.*`, and the name of it that is not the average, or an empty one; None where
    there is none. `module.`, which DataParallel adds, may stand before any name."""
    state = without_parallel(content)
    for name in ("", *AVERAGED, "decoder", *LATEST):
        part = without_parallel(below(state, f"{name}." if name else ""))
        if is_generator_state(part):
            return part, name if name in LATEST else ""
    return None


def is_generator_state(state: Mapping[Any, Any]) -> bool:
    """Whether these are the tensors of a generator, in NVIDIA's names, rosinality's or those of
    MobileStyleGAN's authors."""
    return is_mobile_stylegan(state) or is_rosinality(state) or is_nvidia_state(state)


def read_generator_state(
    path: Path, state: Mapping[str, object], latent_avg: object | None
) -> GeneratorCheckpoint:
    """The generator of what `is_generator_state`; `latent_avg` is the average w, if it stands
    beside the tensors.

    Raises:
        CheckpointError: the tensors are not those of a network that can be built.
    """
    if is_mobile_stylegan(state):  # some of its names are rosinality's
        return read_mobile_stylegan(path, state)
    read = read_rosinality if is_rosinality(state) else read_nvidia_state
    return read(path, state, latent_avg)
