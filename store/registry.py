"""What a name that is no path stands for: a bundle of models with the atlas drawn of them, or a
file on the Hub of Hugging Face.

This is the one place that knows such a name; everything else asks it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from .errors import OptionError
from .hub import fetched
from .hub_names import is_hub
from .progress import Report
from .weights import fetched_file

_ZOO = Path(__file__).parents[1] / "zoo"


class _Named(Protocol):
    """A `ModelIdentity`."""

    @property
    def name(self) -> str: ...


class Fetched(NamedTuple):
    """A file that `styleatlas models fetch` fetches, or makes of what it fetched; what
    `fetched_file` takes.

    Args:
        weights: the name of what it is of.
        file: its own name.
    """

    weights: str
    file: str


Part = Literal["generator", "clip", "atlas", "photo_encoder"]
Extra = Literal["judge", "identity", "suite"]
_LACKS: Mapping[Part, str] = {
    "generator": "generator: `{name}` has none; name one's file",
    "clip": "CLIP: `{name}` has none; name a CLIP's file, or one of open_clip's MODEL/TAG",
    "atlas": "atlas: `{name}` has none yet; `styleatlas precompute {name} --clip CLIP -o ATLAS` "
    "draws one",
    "photo_encoder": "photo encoder: `{name}` has none; name one's file, or train one by "
    "`styleatlas encoder train`",
}


@dataclass(frozen=True)
class Bundle:
    """Models that belong together, by the name people give instead of their files.

    Args:
        name: as people write it.
        generator, clip, atlas, photo_encoder: files, or folders; None where there are none. See
            `part`.
        vocabulary: a text file of the phrases of a prompt bank, one a line; None where the general
            ones serve.
        templates: the sentences each phrase of the vocabulary is embedded in, with {} for it.
        judge: a classifier of attributes that scores edits; None where there is none.
        identity: a network that tells who an image shows; None where there is none.
        suite: the edits that an evaluation tries, as JSON; None where there are none.
        drawings: the parts of the drawings that the generator imitates, by which an evaluation
            knows what an image ought to look like; None where there are none.
        alignment: where its pictures have the eyes and mouths of faces: "ffhq", or None where they
            are none of faces, or not aligned by them.
        same_images: sha256 of the CLIPs that see images as `clip` does, itself among them: those
            before it, of other text towers.
    """

    name: str
    generator: Path | Fetched | None = None
    clip: Path | None = None
    atlas: Path | None = None
    photo_encoder: Path | None = None
    vocabulary: Path | None = None
    templates: tuple[str, ...] = ()
    judge: Path | None = None
    identity: Path | None = None
    suite: Path | None = None
    drawings: Path | None = None
    alignment: Literal["ffhq"] | None = None
    same_images: tuple[str, ...] = ()

    def part(self, which: Part) -> Path:
        """Where the generator, the CLIP, the atlas or the photo encoder lies.

        Raises:
            OptionError: the bundle has none.
            CheckpointError: it was not fetched yet.
        """
        found = getattr(self, which)
        if found is None:
            raise OptionError(_LACKS[which].format(name=self.name))
        if isinstance(found, Fetched):
            return fetched_file(found.weights, found.file, by=self.name)
        path: Path = found
        return path


EMBEDDED = Bundle(
    name="avatars",
    generator=_ZOO / "avatars" / "generator.safetensors",
    clip=_ZOO / "avatars" / "clip",
    atlas=_ZOO / "avatars" / "atlas.h5",
    photo_encoder=_ZOO / "avatars" / "encoder.safetensors",
    vocabulary=_ZOO / "avatars" / "vocabulary.txt",
    templates=(
        "{}",
        "a photo of {}",
        "a picture of {}",
        "a drawing of {}",
        "an avatar of {}",
        "a cartoon of {}",
        "a portrait of {}",
        "an illustration of {}",
    ),
    judge=_ZOO / "avatars" / "judge.safetensors",
    identity=_ZOO / "avatars" / "identity.safetensors",
    suite=_ZOO / "avatars" / "edits.json",
    drawings=_ZOO / "avatars" / "drawings.safetensors",
    same_images=(
        "5e7317d33b65db304b94bbb6ac13a37d927b6f1319c89786c2a1456bc5e4e8aa",  # of 0.1.0
        "dd0ff51689c7f3a3bcf0dff2c30c2e3e613c98916e4911760ab1136e8068f1d1",
    ),
)
"""The models that ship with StyleAtlas; how they were made: `zoo/making/`."""

FACES = Bundle(
    name="faces",
    generator=Fetched("mobile-stylegan", "generator.safetensors"),
    alignment="ffhq",
)
"""Photographic faces, by weights that others published; none of them ships with StyleAtlas."""

BUNDLES: Mapping[str, Bundle] = {bundle.name: bundle for bundle in (EMBEDDED, FACES)}


def names_with(part: Part | Extra) -> tuple[str, ...]:
    """The names of the bundles that have such a part."""
    return tuple(name for name, bundle in BUNDLES.items() if getattr(bundle, part) is not None)


def told_with(part: Part | Extra) -> str:
    """The same as a message tells them: `one` or `another`."""
    return " or ".join(f"`{name}`" for name in names_with(part))


def find_bundle(source: str | os.PathLike[str]) -> Bundle | None:
    """The bundle of this name; None for anything else. A name wins over a file called the same."""
    return BUNDLES.get(os.fspath(source))


def is_name(source: str | os.PathLike[str]) -> bool:
    """Whether this stands for something else than a path: a bundle, or what lies on the Hub."""
    return find_bundle(source) is not None or is_hub(source)


def file_of(source: str | os.PathLike[str], report: Report | None = None) -> Path:
    """A file by its path, or by its name on the Hub, which is fetched now if it was not.

    Args:
        report: hears of a download; see `fetched`.

    Raises:
        OptionError, FetchError, OutputError: see `fetched`.
    """
    return fetched(os.fspath(source), report).path if is_hub(source) else Path(source)


def part_of(source: str | os.PathLike[str], which: Part, report: Report | None = None) -> Path:
    """The same; or where that part of a bundle lies, by its name.

    Raises:
        OptionError, CheckpointError: see `Bundle.part`.
    """
    bundle = find_bundle(source)
    return file_of(source, report) if bundle is None else bundle.part(which)


def known_as(source: str | os.PathLike[str]) -> str:
    """What a model is called in what is made with it: by a bundle's name; by one on the Hub, with
    the commit that it has today, so that it stays that one; else by its file's, without ending."""
    if is_hub(source):
        return str(fetched(os.fspath(source)).name)
    return os.fspath(source) if find_bundle(source) else Path(source).stem or os.fspath(source)


def see_alike(one: str, other: str) -> bool:
    """Whether two CLIPs, by their sha256, are known to have one image tower: an atlas of the one is
    an atlas of the other but for its prompts."""
    return any({one, other} <= set(bundle.same_images) for bundle in BUNDLES.values())


def bundle_of(model: _Named) -> Bundle | None:
    """The bundle that a model was loaded from by name."""
    return BUNDLES.get(model.name)


FETCHED: Mapping[str, Fetched] = {
    "alex": Fetched("lpips", "alexnet.ckpt"),
    "vgg": Fetched("lpips", "vgg16.ckpt"),
    "dlib": Fetched("face-api", "face_recognition_model.bin"),
}
"""What stands for networks that are no part of a bundle: LPIPS by its backbones, and who dlib sees.
"""
