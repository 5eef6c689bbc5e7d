"""What a picture was made from, kept inside its PNG file: enough to make it again."""

from __future__ import annotations

import json
import math
import os
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from PIL import PngImagePlugin

from ...prompts.negation import literal
from ...store.atlas import Atlas
from ...store.errors import AtlasFormatError, InputError
from ...store.fingerprint import ModelIdentity, from_json, to_json, told, weights_sha256
from ...store.version import LIBRARY
from ..models.spaces import SPACES, Space
from ..steering.direction import SOURCES, Choice, Source
from ..steering.edits import Edit, as_meant
from ..steering.request import EditRequest

KEYWORD = "styleatlas"
"""Of the text chunk (iTXt) that holds the recipe as JSON."""
VERSION = 1
MAX_BYTES = 2**20
_MAX_DEPTH = 4
_MAX_LETTERS, _MAX_NUMBERS = 1024, 1000
_SHA256 = re.compile(r"[0-9a-f]{64}")

JSON = str | int | float | bool | None | list[Any] | dict[str, Any]


@dataclass(frozen=True)
class AtlasIdentity:
    """Which atlas: when it was drawn, and the hash of its numbers, 64 hex digits."""

    created: str
    sha256: str

    @classmethod
    def of(cls, atlas: Atlas, source: Source = "table") -> AtlasIdentity:
        """The identity of what directions of this source come from, the same however the file was
        written: of an atlas with samples, these too, unless the table alone is asked."""
        names = ("style_mean", "style_std", "channels", "rows", "consistency", "strength")
        tensors = [(name, getattr(atlas, name)) for name in names]
        if atlas.samples is not None and source != "table":
            tensors += list(atlas.samples.arrays().items())
        return cls(atlas.created, weights_sha256(tensors))


@dataclass(frozen=True)
class Recipe:
    """All that an edit was made of.

    Args:
        generator, clip: the models.
        atlas: which atlas the directions come from.
        edits: prompts and weight of each edit: (neutral, target, weight). Any Unicode.
        options: the rest of an `EditRequest`, its fields and those of its choice by name. What is
            missing is as usual, what is unknown is passed over. `read` tells which pairs of prompts
            each edit was read as; where it is missing, prompts are taken as they stand.
        inputs: where the images come from: their `seeds`, or the sha256 of a file of `latents` and
            the `places` in it, and the `spaces` of its arrays, see `Latents`.
        library: what made the picture, such as ``styleatlas 0.1.0``.

    Mappings hold JSON values only. They are taken through JSON, so that a recipe equals the same
    recipe read again.

    Raises:
        InputError: a field of another type, or more than 1 MiB as JSON.
    """

    generator: ModelIdentity
    clip: ModelIdentity
    atlas: AtlasIdentity
    edits: tuple[tuple[str, str, float], ...]
    options: Mapping[str, JSON] = field(default_factory=dict)
    inputs: Mapping[str, JSON] = field(default_factory=dict)
    library: str = LIBRARY

    def __post_init__(self) -> None:
        if not isinstance(self.library, str):
            raise _wrong("library", "a text")
        if not isinstance(self.atlas.created, str):
            raise _wrong("atlas", "a text as created")
        if not isinstance(self.atlas.sha256, str) or not _SHA256.fullmatch(self.atlas.sha256):
            raise _wrong("atlas", "64 lower-case hex digits as sha256")
        edits = tuple(tuple(edit) if isinstance(edit, list | tuple) else () for edit in self.edits)
        for edit in edits:
            if [isinstance(part, str) for part in edit] != [True, True, False] or not _is_number(
                edit[2]
            ):
                raise _wrong("edits", "a list of [neutral, target, weight]")
        object.__setattr__(self, "edits", edits)
        for name in ("options", "inputs"):
            value = getattr(self, name)
            if not isinstance(value, Mapping) or not _is_json(dict(value)):
                raise _wrong(name, "an object of JSON values")
            object.__setattr__(self, name, json.loads(json.dumps(dict(value))))
        if len(self.to_json()) > MAX_BYTES:
            raise InputError(f"recipe: takes more than {MAX_BYTES} bytes; ask for fewer seeds")

    @classmethod
    def of(
        cls,
        generator: ModelIdentity,
        clip: ModelIdentity,
        atlas: AtlasIdentity,
        request: EditRequest,
        inputs: Mapping[str, JSON],
    ) -> Recipe:
        """The recipe of what a request made, of these models and images."""
        edits = tuple((edit.neutral, edit.target, edit.weight) for edit in request.edits)
        values = {name: getattr(request.choice, name) for name in _IN_CHOICE}
        values |= {name: getattr(request, name) for name in _OPTIONS if name not in _IN_CHOICE}
        values["read"] = [[[m.neutral, m.target] for m in as_meant(e)] for e in request.edits]
        return cls(generator, clip, atlas, edits, values, inputs)

    def request(self, edits: Sequence[Edit] = ()) -> EditRequest:
        """What it asks for; with other edits, if any are given.

        Raises:
            InputError: an option that is not of its type.
            OptionError: one out of its range, or an edit that is.
        """
        # On one line, as a prompt given by hand is.
        kept = [(" ".join(a.split()), " ".join(b.split()), weight) for a, b, weight in self.edits]
        if "read" not in self.options:  # made before prompts were read
            kept = [(literal(a), literal(b), weight) for a, b, weight in kept]
        given = edits or [Edit(*edit) for edit in kept]
        read = {}
        for name, kind in _OPTIONS.items():
            if self.options.get(name) is not None:
                read[name] = kind(name, self.options[name])
        if "alphas" in read:  # beside which no probability ever counted
            read.pop("probability", None)
        read.setdefault("source", self.source)
        return EditRequest(tuple(given)).changed(**read)

    @property
    def source(self) -> Source:
        """Where its directions come from: the table, where that is not told, since pictures were
        made before atlases had samples."""
        told = self.options.get("source", "table")
        return told if told in SOURCES else "table"  # which the request then refuses by name

    @property
    def seeds(self) -> tuple[int, ...] | None:
        """Of the images; None where they are of a file, or not told.

        Raises:
            InputError: something else than whole numbers.
        """
        seeds = self.inputs.get("seeds")
        if seeds is None:
            return None
        if not isinstance(seeds, list) or not seeds:
            raise _wrong("seeds", "a list of whole numbers")
        return tuple(_whole("seeds", seed) for seed in seeds)

    @property
    def space(self) -> Space | None:
        """Of the latents it was made of, where they are all of one."""
        told = self.inputs.get("spaces")
        alone = told[0] if isinstance(told, list) and len(told) == 1 else None
        words = {word: space for space in SPACES for word in (space, f"one {space}")}
        return words.get(alone) if isinstance(alone, str) else None

    def require_atlas(self, atlas: Atlas) -> None:
        """Raise InputError unless it was made with this atlas, and with its CLIP."""
        clip = atlas.fingerprint.clip
        if different := self.clip.differences(clip):
            raise InputError(
                f"atlas: is of CLIP {clip}, and the picture was made with {self.clip}"
                f"{told(different)}; name the atlas and the CLIP of then, or ask for its edits, "
                "which `styleatlas info` tells, without the picture"
            )
        if self.atlas != AtlasIdentity.of(atlas, self.source):
            raise InputError(
                f"atlas: is of {atlas.created}, and the picture was made with one of "
                f"{self.atlas.created}; name that one"
            )

    @property
    def is_tuned(self) -> bool:
        """Whether its generator was tuned from the atlas's own."""
        return self.generator.tuned_from is not None

    def require_tuned(self, identity: ModelIdentity) -> None:
        """Raise InputError unless a generator is the one that was tuned."""
        if identity.sha256 != self.generator.sha256:
            raise InputError(
                f"generator: is {identity}, and the picture was made with {self.generator}, tuned "
                "from the atlas's own; name that one by --generator, or take any such by --tuned"
            )

    def record(self) -> dict[str, Any]:
        """What a picture was made of, as JSON values."""
        return {
            "kind": "picture of edit",
            "library": self.library,
            "generator": self.generator.record(),
            "clip": self.clip.clip_record(),
            "atlas": asdict(self.atlas),
            "inputs": dict(self.inputs),
            "options": dict(self.options),
            "edits": [
                {"neutral": neutral, "target": target, "weight": weight}
                for neutral, target, weight in self.edits
            ],
        }

    def to_json(self) -> str:
        """One JSON object, in ASCII."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        parts |= {"generator": self.generator.fields(), "clip": self.clip.fields()}
        parts["atlas"] = asdict(self.atlas)
        return to_json("recipe", {"version": VERSION, **parts})

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what :meth:`to_json` wrote, from anybody.

        Raises:
            InputError: it is no recipe, of another version, or has a field too many, too few or
                of another type.
        """
        if len(text) > MAX_BYTES:
            raise InputError(f"recipe: takes more than {MAX_BYTES} bytes; it is not StyleAtlas's")
        try:
            parts = from_json("recipe", text)
            version = parts.pop("version", None)
            if version != VERSION or type(version) is not int:
                raise InputError(
                    f"recipe: is of version {str(version)[:20]!r}, this StyleAtlas reads version "
                    f"{VERSION}; upgrade it"
                )
            _require_fields("recipe", parts, cls)
            for name, kind in {
                "generator": ModelIdentity,
                "clip": ModelIdentity,
                "atlas": AtlasIdentity,
            }.items():
                if not isinstance(parts[name], dict):
                    raise _wrong(name, "an object")
                if kind is ModelIdentity:  # which says so only of one that was tuned
                    parts[name] = {"tuned_from": None, **parts[name]}
                _require_fields(f"recipe, {name}", parts[name], kind)
                parts[name] = kind(**parts[name])
        except AtlasFormatError as error:
            raise InputError(f"recipe: {str(error).removeprefix('recipe: ')}") from error
        if not isinstance(parts["edits"], list):
            raise _wrong("edits", "a list of [neutral, target, weight]")
        return cls(**parts)


def png_text(recipe: Recipe) -> PngImagePlugin.PngInfo:
    """The text chunk that keeps a recipe in a PNG file."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt(KEYWORD, recipe.to_json())
    return info


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """The recipe in a PNG file from anybody; its pixels are not read.

    Raises:
        InputError: no such file, no PNG, no recipe in it, or one that is not sound.
    """
    try:
        # Not Image.open, which minds the number of pixels; texts have bounds of their own.
        with PngImagePlugin.PngImageFile(os.fspath(path)) as picture:
            text = picture.info.get(KEYWORD)
    except OSError as error:
        reason = error.strerror or "it is damaged"
        raise InputError(f"{path}: cannot be read ({reason}); check the path") from error
    except (SyntaxError, ValueError, EOFError, struct.error) as error:
        raise InputError(f"{path}: is no sound PNG file; name a picture of `edit`") from error
    if not isinstance(text, str):
        raise InputError(
            f"{path}: holds no recipe; name a picture that `edit` wrote and no other program "
            "saved again"
        )
    try:
        return Recipe.from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _text(name: str, value: JSON) -> str:
    if not isinstance(value, str) or len(value) > _MAX_LETTERS:
        raise _wrong(name, f"a text of at most {_MAX_LETTERS} letters")
    return value


def _texts(name: str, value: JSON) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _wrong(name, "a list of texts")
    return tuple(_text(name, item) for item in value)


def _number(name: str, value: JSON) -> float:
    if not _is_number(value):
        raise _wrong(name, "a number")
    return float(value)  # type: ignore[arg-type] # it is one


def _numbers(name: str, value: JSON) -> tuple[float, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_NUMBERS:
        raise _wrong(name, f"a list of at most {_MAX_NUMBERS} numbers")
    return tuple(_number(name, item) for item in value)


def _whole(name: str, value: JSON) -> int:
    if type(value) is not int or not abs(value) < 2**63:
        raise _wrong(name, "a whole number")
    return value


def _flag(name: str, value: JSON) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "true or false")
    return value


_OPTIONS: Mapping[str, Callable[[str, JSON], Any]] = {
    "method": _text,
    "keep": _texts,
    "truncation": _number,
    "label": _whole,
    "alphas": _numbers,
    "probability": _number,
    "beta": _number,
    "betas": _numbers,
    "channels": _whole,
    "rule": _text,
    "source": _text,
    "layers": _texts,
    "exclude": _texts,
    "grid": _flag,
    "before": _flag,
}
"""The fields of a request, and of its choice, that a recipe keeps, and what reads each of them from
JSON of anybody's."""
_IN_CHOICE = tuple(part.name for part in fields(Choice))


def _require_fields(place: str, parts: dict[str, Any], kind: Any) -> None:
    known = {part.name for part in fields(kind)}
    for what, names in (("lacks", known - parts.keys()), ("has an unknown", parts.keys() - known)):
        if names:
            name = min(names)[:40]
            raise InputError(f"{place}: {what} {name!r}; it is not as StyleAtlas writes it")


def _wrong(name: str, wanted: str) -> InputError:
    return InputError(f"recipe: {name} must be {wanted}; it is not as StyleAtlas writes it")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(float(str(value)))


def _is_json(value: object, depth: int = 0) -> bool:
    """Whether JSON holds a value, nested at most four deep."""
    if isinstance(value, list | tuple):
        return depth < _MAX_DEPTH and all(_is_json(item, depth + 1) for item in value)
    if isinstance(value, dict):
        return depth < _MAX_DEPTH and all(
            isinstance(key, str) and _is_json(item, depth + 1) for key, item in value.items()
        )
    return value is None or isinstance(value, str | bool) or _is_number(value)
