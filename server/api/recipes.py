"""A job as people do it by hand: the command line, and Python."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from ..bodies import BODIES, edit_line

PHOTO, LATENTS, MASK = "photo.jpg", "latents.npz", "mask.png"
"""What stands for the client's own files."""
_FILES = {"latents": LATENTS, "photo": PHOTO}
_FILM_FLAGS = {"seconds": "--seconds", "fps": "--fps"}
_EDIT_FLAGS = {
    "method": "--method",
    "alpha": "--alpha",
    "probability": "--probability",
    "beta": "--beta",
    "channels": "--channels",
    "rule": "--rule",
    "source": "--source",
    "layers": "--layers",
    "exclude": "--exclude-channels",
}
_OPTIMISE_FLAGS = {
    "space": "--space",
    "steps": "--steps",
    "learning_rate": "--learning-rate",
    "l2": "--l2",
    "identity": "--identity-weight",
    "directional": "--directional",
    "crops": "--crops",
    "freeze": "--freeze",
    "patience": "--patience",
    "seed": "--random-seed",
}


class Recipe(BaseModel):
    """The same by hand."""

    command: str = Field(examples=["styleatlas edit avatars --edit 'a face -> a hat' -o edited"])
    python: str | None = Field(
        default=None, description="None where Python has no one call for it."
    )


@dataclass(frozen=True)
class _Asked:
    """A job's kind and body, and the names of what is served."""

    kind: str
    body: Mapping[str, Any]
    names: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    def other(self, names: Iterable[str]) -> dict[str, Any]:
        """What is not as it is when nobody says."""
        fields = BODIES[self.kind].model_fields
        return {name: self[name] for name in names if self[name] != fields[name].default}

    def options(self, flags: Mapping[str, str]) -> Iterator[str]:
        """The same as options; with =, so that a negative number is none itself."""
        for name, value in self.other(flags).items():
            yield f"{flags[name]}={','.join(value) if isinstance(value, list) else value}"

    def models(self) -> dict[str, str]:
        """Those that the atlas does not tell."""
        return {name: self.names[name] for name in ("generator", "clip") if name in self.names}

    def model_options(self) -> list[str]:
        return [word for name, model in self.models().items() for word in (f"--{name}", model)]


def recipe_of(kind: str, body: Mapping[str, Any], names: Mapping[str, str]) -> Recipe | None:
    """How to make a job by hand; None of jobs that only serve others.

    Args:
        body: as `Body.plain` gives it.
        names: `atlas`, and `generator` and `clip` where the atlas does not tell them.
    """
    made = _MADE.get(kind)
    return None if made is None else made(_Asked(kind, body, names))


def _edit(asked: _Asked) -> Recipe:
    words = [*_edit_words(asked), *(["--before"] if asked["before"] else [])]
    output = "edited.png" if asked["photo"] is None else f"edited-{PHOTO}"
    loaded = {"atlas": asked.names["atlas"], **asked.models()}
    python = [
        "import styleatlas",
        f"editor = {_call('styleatlas.load', loaded)}",
        f"result = {_call('editor.edit', _edit_arguments(asked))}",
        f"result.save({output!r})",
    ]
    pictures = "edited" if asked["photo"] is None else output  # a folder of a picture an image
    has_call = asked["mask"] is None  # which the command alone reads
    return Recipe(command=_command(words, pictures), python="\n".join(python) if has_call else None)


def _film(asked: _Asked) -> Recipe:
    words = [*_edit_words(asked), *asked.options(_FILM_FLAGS)]
    return Recipe(command=_command(words, f"edit.{asked['format']}"))


def _edit_words(asked: _Asked) -> Iterator[str]:
    yield from ("edit", asked.names["atlas"], *asked.model_options())
    for edit in asked["edits"]:
        yield from ("--edit", edit_line(**edit))
    for text in asked["keep"]:
        yield from ("--keep", text)
    yield from _images(asked)
    yield from asked.options(_EDIT_FLAGS)


def _edit_arguments(asked: _Asked) -> dict[str, Any]:
    arguments: dict[str, Any] = asked.other(("seeds", "latents", "photo"))
    arguments |= {name: file for name, file in _FILES.items() if name in arguments}
    arguments["edits"] = [edit_line(**edit) for edit in asked["edits"]]
    arguments |= asked.other(("keep", *_EDIT_FLAGS, "truncation", "label", "align", "face"))
    if isinstance(arguments.get("align"), list):
        arguments["align"] = tuple(arguments["align"])
    return arguments


def _inversion(asked: _Asked) -> Recipe:
    words = ["invert", asked.names["atlas"], PHOTO, *asked.model_options(), *_of_photo(asked)]
    words += asked.options({"space": "--space", "steps": "--steps", "label": "--class"})
    return Recipe(command=_command(words, LATENTS))


def _optimise(asked: _Asked) -> Recipe:
    atlas = asked.names["atlas"]
    models = {"generator": atlas, "clip": atlas, **asked.models()}
    words = ["optimize", models["generator"], "--clip", models["clip"], "--atlas", atlas]
    words += ["--neutral", asked["neutral"], "--target", asked["target"]]
    words += [*_images(asked), *asked.options(_OPTIMISE_FLAGS)]
    return Recipe(command=_command(words, "optimised.png"))


def _mapper(asked: _Asked) -> Recipe | None:
    if asked["photo"] is not None:
        return None  # by hand it takes two steps
    words = ["mapper", "apply", asked["mapper"]]
    if "generator" in asked.names:
        words += ["--generator", asked.names["generator"]]
    words += [*_images(asked), *asked.options({"strength": "--strength"})]
    return Recipe(command=_command(words, "mapped.png"))


def _channels(asked: _Asked) -> Recipe:
    words = ["sheet", asked.names["atlas"], *asked["channels"], *asked.model_options()]
    words += [f"--steps={','.join(f'{step:g}' for step in asked['steps'])}", *_images(asked)]
    return Recipe(command=_command(words, "channels.png"))


def _samples(asked: _Asked) -> Recipe:
    words = ["query", "samples", asked.names["atlas"], *asked.model_options()]
    words += ["--neutral", asked["neutral"], "--target", asked["target"]]
    return Recipe(command=_command(words, "samples.png"))


def _images(asked: _Asked) -> Iterator[str]:
    if asked["seeds"] is not None:
        yield from ("--seed", ",".join(map(str, asked["seeds"])))
    if asked.body.get("latents") is not None:
        yield from ("--latent", LATENTS)
    if asked.body.get("photo") is not None:
        yield from ("--photo", PHOTO, *_of_photo(asked))
    if asked.body.get("mask") is not None:
        yield from ("--mask", MASK)
    yield from asked.options({"truncation": "--truncation", "label": "--class"})


def _of_photo(asked: _Asked) -> Iterator[str]:
    align = asked["align"]
    if align is not None:
        box = isinstance(align, list)
        yield from ("--align", "box " + ",".join(f"{at:g}" for at in align) if box else align)
    yield from asked.options({"face": "--face"})


def _call(function: str, arguments: Mapping[str, Any]) -> str:
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def _command(words: Iterable[str], output: str) -> str:
    return shlex.join(["styleatlas", *words, "-o", output])


_MADE: Mapping[str, Callable[[_Asked], Recipe | None]] = {
    "edit": _edit,
    "film": _film,
    "inversion": _inversion,
    "optimise": _optimise,
    "mapper": _mapper,
    "channels": _channels,
    "samples": _samples,
}
