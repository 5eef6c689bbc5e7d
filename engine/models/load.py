"""From a path or a name to a generator or a CLIP on a device."""

from __future__ import annotations

import os
from typing import Literal

import torch

from ...store.atlas import Atlas
from ...store.errors import CheckpointError, FingerprintError, OptionError, require_path
from ...store.hub_names import is_hub
from ...store.registry import find_bundle, known_as, names_with, part_of
from ..checkpoints.filled import NO_AVERAGE
from ..checkpoints.read import read_checkpoint
from .clip import read_encoder
from .generator import StyleGANGenerator
from .precision import Precision
from .preprocess import CHANNELS
from .protocols import Generator, JointEncoder
from .tuned import as_tuned

_DEVICES = ("cpu", "cuda", "mps")
AVERAGE_OF_ATLAS = (
    "differs from the atlas's generator by the average w alone, and takes that of the atlas"
)
_TRY = "try cpu, cuda, cuda:1 or mps"


def load_generator(
    source: str | os.PathLike[str], device: str | None = None, precision: Precision = "float32"
) -> Generator:
    """The generator of a registered bundle by its name, or one from a checkpoint of any dialect, by
    its path or its name on the Hub.

    NVIDIA's pickles of StyleGAN2 and StyleGAN3, legacy TensorFlow pickles, rosinality's files and
    StyleAtlas's own are told apart by content. Nothing in a file is run. In `bfloat16` and
    `float16` the layers of the highest resolutions compute in that type, the rest in float32.

    Raises:
        CheckpointError: the file cannot be read as a generator, or it makes no pictures: they have
            another number of channels than grey, RGB and RGBA; or it was not fetched yet.
        OptionError: the device does not exist here, or an unknown precision.
        FetchError, OutputError: see `fetched`.
    """
    require_path("generator", source)
    path, name = part_of(source, "generator"), known_as(source)
    chosen = pick_device(device)
    checkpoint = read_checkpoint(path)
    channels = checkpoint.config.image_channels
    if channels not in CHANNELS:
        raise CheckpointError(
            f"{path}: makes images of {channels} channels, of which there are no pictures; "
            "generators are taken that make grey (1), RGB (3) or RGBA (4)"
        )
    made = StyleGANGenerator.of(checkpoint, name, chosen, precision)
    made.source = path if find_bundle(source) is None else None
    return made


def load_encoder(
    source: str | os.PathLike[str], device: str | None = None, precision: Precision = "float32"
) -> JointEncoder:
    """The CLIP of a registered bundle by its name, a file, a folder, or one by open_clip's name.

    A file is OpenAI's archive or state dict, a whole module, or one beside the
    `open_clip_config.json` or transformers' `config.json` of its folder; a name is `MODEL/TAG`,
    `MODEL=FILE` or one on the Hub, of a file or a whole repository. Nothing in a file is run. In
    `bfloat16` and `float16` the towers run under autocast; what that costs in accuracy stands with
    `OpenClipEncoder`.

    Raises:
        CheckpointError: no such file, or it does not hold a CLIP that can be built.
        OptionError: the device does not exist here; open_clip knows no such model or weights; an
            unknown precision; a package is missing that this CLIP needs.
        FetchError, OutputError: see `fetched`.
    """
    require_path("clip", source)
    bundle = find_bundle(source)
    # Not by way of a path: a name may hold slashes, which a path on Windows would turn around.
    found = os.fspath(source if bundle is None else bundle.part("clip"))
    # What a CLIP on the Hub is called is known with its commit, once it is found.
    name = found if is_hub(source) else known_as(source)
    return read_encoder(found, name, pick_device(device), precision)


def pick_device(device: str | None) -> torch.device:
    """The device named, or the best there is: CUDA, Apple's MPS, the CPU.

    Raises:
        OptionError: a device of another kind, or one that is not here or cannot be reached.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        if chosen.type not in _DEVICES:
            raise OptionError(f"device {device!r}: cannot be used; {_TRY}")
        # Asked first: PyTorch's own error lists every backend it was built with.
        if (chosen.index or 0) >= getattr(torch, chosen.type).device_count():
            raise OptionError(f"device {device!r}: there is none here; use {pick_device(None)}")
        torch.empty(1, device=chosen)
    except (RuntimeError, TypeError) as error:
        # Of a kind that nobody knows here, PyTorch lists the twenty that it knows.
        known = str(device).partition(":")[0] in _DEVICES
        reason = f" ({str(error).splitlines()[0]})" if known else ""
        raise OptionError(f"device {device!r}: cannot be used{reason}; {_TRY}") from error
    return chosen


def generator_of(
    atlas: Atlas,
    source: str | os.PathLike[str] | None = None,
    device: str | None = None,
    tuned: bool = False,
) -> Generator:
    """The generator named, or else the one whose name the atlas knows; see `load_generator` and
    `generator_as_drawn`.

    Raises:
        OptionError: the atlas knows no name that is enough to load it.
        FingerprintError: it is another generator than the one that the atlas was drawn with.
    """
    known = source or _known("generator", atlas.fingerprint.generator.name)
    return generator_as_drawn(atlas, load_generator(known, device), tuned)


def generator_as_drawn(atlas: Atlas, generator: Generator, tuned: bool = False) -> Generator:
    """`generator`, if it is the one that the atlas was drawn with, or is known to be tuned from it,
    or said to be by `tuned`.

    One that differs from it by the average w alone, which many files lack, is that one: then the
    average that the samples of the atlas were drawn around is taken in place of its own, and
    `notes` say so. So it is with a tuned one that has none.

    Raises:
        FingerprintError: it is another generator.
    """
    origin, samples = atlas.fingerprint.generator, atlas.samples
    if generator.identity.is_of(origin):
        atlas.require_generator(generator.identity, generator.layout)
        return generator
    if samples is None and NO_AVERAGE in generator.notes and not tuned:
        raise FingerprintError(
            f"atlas and generator cannot be compared: {generator.identity} has no average w, and "
            f"the atlas, drawn with {origin}, has no samples to take it from; load the generator "
            "from a file with its average, or give the atlas samples by `styleatlas precompute`"
        )
    if samples is not None and isinstance(generator, StyleGANGenerator):
        same = generator.with_average(torch.tensor(samples.centre))
        if same.identity.sha256 == origin.sha256 or (tuned and NO_AVERAGE in generator.notes):
            others = (note for note in generator.notes if note != NO_AVERAGE)
            same.notes = (AVERAGE_OF_ATLAS, *others)
            generator = same
    if tuned:
        generator = as_tuned(generator, origin)
    atlas.require_generator(generator.identity, generator.layout)
    return generator


def clip_of(
    atlas: Atlas, source: str | os.PathLike[str] | None = None, device: str | None = None
) -> JointEncoder:
    """The CLIP named, or else the one whose name the atlas knows; see `load_encoder`.

    Raises:
        OptionError: the atlas knows no name that is enough to load it.
    """
    return load_encoder(source or _known("clip", atlas.fingerprint.clip.name), device)


def _known(part: Literal["generator", "clip"], name: str) -> str:
    # A file is remembered by its stem; only names of open_clip's and on the Hub hold a slash.
    if name not in names_with(part) and "/" not in name:
        what = {"generator": "generator", "clip": "CLIP"}[part]
        raise OptionError(f'{what}: this atlas was drawn with "{name}"; name its file by --{part}')
    return name
