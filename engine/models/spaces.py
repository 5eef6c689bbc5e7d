"""What an array of latents can mean: the one table of rules, for files and for Python.

An array is told by what it is called first: the name of it in its file, or `--latent-space`; then
by its shape; where that leaves several readings, by the name of its file. What is still left open
is refused with all that it may be: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ...store.errors import InputError, OptionError

Space = Literal["z", "w", "w+", "s"]
SPACES: tuple[Space, ...] = get_args(Space)

NAMES: dict[str, tuple[Space, ...]] = {
    **dict.fromkeys(("styles", "style", "stylespace", "s"), ("s",)),
    **dict.fromkeys(("w+", "wp", "wplus", "w_plus"), ("w+",)),
    **dict.fromkeys(("w", "dlatents", "dlatent"), ("w", "w+")),
    "z": ("z",),
    **dict.fromkeys(("latents", "latent", "latent_codes", "latent_code", "arr_0"), SPACES),
}
"""What an array is by its name, in lower case; where a file holds several, the first of these
counts. w alone names either: projectors call w+ so."""


@dataclass(frozen=True)
class Sizes:
    """What tells the latents of a generator.

    Args:
        z_dim, w_dim: the widths of z and w.
        rows: of w+, num_ws.
        layers: name and size of every layer of S, in order.
    """

    z_dim: int
    w_dim: int
    rows: int
    layers: tuple[tuple[str, int], ...]

    @property
    def channels(self) -> int:
        """Of S, C."""
        return sum(size for _, size in self.layers)

    @property
    def padded(self) -> tuple[int, int]:
        """Of S with a row a layer, each filled up with zeros, as StyleMC writes it."""
        return len(self.layers), max(size for _, size in self.layers)

    def of(self, space: Space) -> str:
        """The shape of n images, for messages."""
        shapes = {
            "z": (self.z_dim,),
            "w": (self.w_dim,),
            "w+": (self.rows, self.w_dim),
            "s": (self.channels,),
        }
        return f"{space} (n, {', '.join(map(str, shapes[space]))})"


@dataclass(frozen=True)
class Reading:
    """What an array is taken for.

    Args:
        space: of its numbers.
        shape: (n, ...) of n images, without the axes of length 1 that mean nothing.
        batched: whether the array has an axis for images.
    """

    space: Space
    shape: tuple[int, ...]
    batched: bool

    def __str__(self) -> str:
        count = self.shape[0]
        return f"{self.space} of {'one image' if count == 1 else f'{count} images'}"


def readings(shape: tuple[int, ...], sizes: Sizes, *, padded: bool = False) -> list[Reading]:
    """All that an array of this shape can be: of one image, or, with an axis before it, of n; an
    axis of length 1 behind that of the images counts for nothing.

    Args:
        padded: whether it may be S with a row a layer, which looks like w+.
    """
    one: list[tuple[Space, tuple[int, ...]]] = [
        ("w+", (sizes.rows, sizes.w_dim)),
        ("w", (sizes.w_dim,)),
        ("z", (sizes.z_dim,)),
        ("s", (sizes.channels,)),
    ]
    if padded:
        one.append(("s", sizes.padded))
    found: list[Reading] = []
    if any(length < 1 for length in shape):
        return found
    for space, wanted in one:
        if shape == wanted:
            found.append(Reading(space, (1, *wanted), False))
        elif shape[1:] in (wanted, (1, *wanted)):
            found.append(Reading(space, (shape[0], *wanted), True))
    return found


def spaces_of_file(stem: str) -> tuple[Space, ...]:
    """What the name of a file says of what is in it; nothing where it says nothing."""
    words = re.split(r"[^a-z0-9+]+", re.sub(r"w[ _-]plus", "wplus", stem.lower()))
    said = {space for word in words for space in NAMES.get(word, ())}
    return () if said == set(SPACES) else tuple(space for space in SPACES if space in said)


def choose(
    place: str,
    shape: tuple[int, ...],
    sizes: Sizes,
    *,
    asked: Space | None = None,
    named: Sequence[Space] = SPACES,
    file: Sequence[Space] = (),
    one: bool = False,
) -> Reading:
    """What an array is taken for.

    Args:
        place: the array, for messages.
        asked: by `--latent-space`, or `latent_space` in Python.
        named: what its own name allows.
        file: what the name of its file says, see `spaces_of_file`.
        one: whether it stands for one image where it can, as under an image's name.

    Raises:
        InputError: it can be nothing, several things, or not what it is said to be.
    """
    if asked is not None and asked not in named:
        raise InputError(
            f"{place}: is {' or '.join(named)} by its name, and --latent-space says {asked}; leave "
            "the option out, or rename the array"
        )
    wanted = named if asked is None else (asked,)
    padded = tuple(wanted) == ("s",) or tuple(file) == ("s",)
    fitting = [r for r in readings(shape, sizes, padded=padded) if r.space in wanted]
    if not fitting and asked is not None and (others := readings(shape, sizes)):
        raise InputError(
            f"{place}: has shape {shape}, which can be {either(map(str, others))}, and "
            f"--latent-space says {asked}; leave the option out, or give another"
        )
    if not fitting:
        told = ", ".join(sizes.of(space) for space in SPACES if space in wanted)
        raise InputError(
            f"{place}: has shape {shape}; this generator takes {told}; check which generator it is "
            "of"
        )
    if one and any(reading.shape[0] == 1 for reading in fitting):
        fitting = [reading for reading in fitting if reading.shape[0] == 1]
    if len(fitting) > 1 and any(reading.space in file for reading in fitting):
        fitting = [reading for reading in fitting if reading.space in file]
    if len(fitting) > 1:
        may_be = f"{place}: has shape {shape}, which may be {either(map(str, fitting))}"
        raise InputError(f"{may_be}; {say_which(r.space for r in fitting)}")
    return fitting[0]


def either(parts: Iterable[str]) -> str:
    """Parts of a message: a, b or c."""
    *first, last = parts
    return f"{', '.join(first)} or {last}" if first else last


def say_which(spaces: Iterable[str]) -> str:
    """The mend where several readings are left."""
    return f"say which by --latent-space {either(spaces)} (latent_space in Python)"


def require_space(space: object) -> None:
    """Raise OptionError unless it is a space, or None."""
    if space is not None and space not in SPACES:
        raise OptionError(f"latent space {space!r}: is unknown; use one of {', '.join(SPACES)}")
