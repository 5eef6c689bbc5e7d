"""Every error StyleAtlas raises on purpose.

A message is one line that names the thing, the place and the mend. All of them::

    StyleAtlasError
    ├── AtlasError
    │   ├── AtlasFormatError    the file or its contents do not follow the format
    │   └── AtlasCorruptError   the format holds, the numbers do not
    ├── FingerprintError        the atlas belongs to another generator or CLIP
    ├── LayoutError             no such layer or channel
    ├── PromptError             a text that cannot serve as a prompt
    ├── DirectionError          no channel passes beta
    ├── CheckpointError         a checkpoint that cannot be read
    ├── InputError              latents, a recipe or a photo that cannot be read
    ├── OptionError             a value out of its range
    ├── FetchError              weights of others that could not be fetched
    │   └── NotOnHub            the Hub has no such file or revision
    ├── OutputError             a result that cannot be written
    ├── ResumeError             a work folder that this run cannot take up
    ├── WorkerError             a process of a run that was lost
    ├── DeviceMemoryError       not even one image fits into a device's memory
    └── ServiceError            what the service does not take, now or ever
        ├── QueueFull           too many jobs wait, or the service is ending
        ├── TooMany             a client has too many jobs or sessions
        ├── KeyReused           a client's key that stands for another job
        ├── TooLarge            a photo of too many bytes
        ├── DiskFull            there is no room to keep what is asked for
        └── Missing             no such job, photo or picture, or not any more
"""

from __future__ import annotations

import os
from numbers import Real


class StyleAtlasError(Exception):
    """The root: catch this to catch everything StyleAtlas raises on purpose."""


class AtlasError(StyleAtlasError):
    """An atlas that cannot be used."""


class AtlasFormatError(AtlasError):
    """Unreadable, truncated, foreign or newer, or a dataset missing or of the wrong shape."""


class AtlasCorruptError(AtlasError):
    """A checksum that does not match, or a table with NaN or rows that are not unit vectors."""


class FingerprintError(StyleAtlasError):
    """The generator or CLIP at hand is not the one the atlas was drawn with."""


class LayoutError(StyleAtlasError):
    """An unknown layer or channel; the message names the nearest valid one."""


class PromptError(StyleAtlasError):
    """A prompt that is empty, overlong, equal to the neutral one, or unknown."""


class DirectionError(StyleAtlasError):
    """A pair of prompts for which no channel passes beta."""


class CheckpointError(StyleAtlasError):
    """A checkpoint that is unreadable, unsafe or of an unknown dialect."""


class InputError(StyleAtlasError):
    """A file of styles or latents, a picture's recipe, or a photo, that is unreadable or
    unsuitable."""


class OptionError(StyleAtlasError):
    """A value out of its range: a seed, alpha, beta, truncation, a count."""


class FetchError(StyleAtlasError):
    """Published weights that were not got, or are not what was published; nothing is kept."""


class NotOnHub(FetchError):  # noqa: N818 # as it is said
    """The Hub answers, and has no such file or revision."""


class OutputError(StyleAtlasError):
    """A file that cannot be written; nothing half-written is left behind."""


class ResumeError(StyleAtlasError):
    """A work folder of another run, of a run at work, or of something else altogether."""


class WorkerError(StyleAtlasError):
    """A worker process that was killed, or a machine that was lost, in the middle of a run."""


class DeviceMemoryError(StyleAtlasError):
    """A device's memory does not even hold the work on one image."""


class ServiceError(StyleAtlasError):
    """What the service does not take."""


class QueueFull(ServiceError):  # noqa: N818 # the names that the service's answers bear
    """Too many jobs wait, or the service is ending: later it may be taken."""


class TooMany(ServiceError):  # noqa: N818
    """A client has as many jobs or sessions as one may have."""


class KeyReused(ServiceError):  # noqa: N818
    """A client's key stands for another job already."""


class TooLarge(ServiceError):  # noqa: N818
    """A photo of more bytes than are taken."""


class DiskFull(ServiceError):  # noqa: N818
    """There is no room to keep what is asked for."""


class Missing(ServiceError):  # noqa: N818
    """No such job, photo or picture, or not any more."""


def wrong_type(name: str, value: object, wanted: str) -> OptionError:
    """The error of an option that is of another type than wanted."""
    return OptionError(f"{name}: is {kind_of(value)}; give {wanted}")


def require_number(name: str, value: object) -> None:
    """Raise OptionError unless an option is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong_type(name, value, "a number")
    try:
        float(value)
    except OverflowError as error:
        raise OptionError(f"{name}: is too large; give a smaller number") from error


def require_prompt(name: str, value: object) -> None:
    """Raise OptionError unless an option is a text."""
    if not isinstance(value, str):
        raise wrong_type(name, value, "a prompt")


def require_path(name: str, value: object) -> None:
    """Raise OptionError unless an option is a path, or a name."""
    if not isinstance(value, str | os.PathLike):
        raise wrong_type(name, value, "a file, or a registered name")


def kind_of(value: object) -> str:
    """What a value is, in a message."""
    return "None" if value is None else f"of type {type(value).__name__}"
