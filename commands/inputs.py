"""What commands are given to work with: types of parameters that know whether their value is there
and can serve, asked before torch is imported, and what a shell may complete them to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ..store.errors import CheckpointError, InputError, OutputError, PromptError, StyleAtlasError
from ..store.hub_names import is_hub
from ..store.library import locate_mapper
from ..store.output import LONGEST_NAME, PICTURE_OR_FILM, Naming
from ..store.paths import require_checkpoint, require_clip, require_file
from ..store.registry import FETCHED, Part, file_of, find_bundle, names_with, part_of
from ..store.weights import fetched_file
from .sink import note

if TYPE_CHECKING:
    from .progress import ProgressLater


class Given(click.ParamType):  # type: ignore[type-arg] # generic only in newer clicks
    """A text that must not be empty."""

    name = "path"
    names: tuple[str, ...] = ()
    """What stands for something else than a file of that name."""
    written = False
    """Whether it is written: over nothing that the same command reads."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("is empty; name a file", param, ctx)
        if any(len(os.fsencode(part)) > LONGEST_NAME for part in Path(value).parts):
            self.fail(f"holds a name of more than {LONGEST_NAME} bytes; shorten it", param, ctx)
        return value

    def require(self, value: Any) -> None:
        """Raise a StyleAtlasError where the value cannot serve. Without heavy imports."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        known = [CompletionItem(name) for name in self.names if name.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file"), *known]


def _part(value: str, which: Part) -> str | Path:
    """Where what a text names lies; fetched from the Hub in sight of the user, so that what follows
    finds it."""
    if find_bundle(value) is None:
        return _file(value)
    return part_of(value, which)


def _file(value: str) -> str | Path:
    if not is_hub(value):
        return value  # as it was given, for messages
    with _fetching() as later:
        return file_of(value, later)


def _fetching() -> ProgressLater:
    from .progress import ProgressLater

    return ProgressLater("fetch")


class _Path(Given):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return Path(super().convert(value, param, ctx))


class Checkpoint(Given):
    """A generator: a file, a registered name, or one on the Hub."""

    names = names_with("generator")

    def require(self, value: str) -> None:
        require_checkpoint(_part(value, "generator"))


class Clip(Given):
    """A CLIP: a file, a folder, a registered name, one on the Hub, or one of open_clip's."""

    names = names_with("clip")

    def require(self, value: str) -> None:
        with _fetching() as later:
            require_clip(value, later)


class Recogniser(Clip):
    """What tells who an image shows: `off`, `clip`, `dlib`, a registered name, or a file, here or
    on the Hub."""

    names = ("off", "clip", "dlib", *names_with("identity"))

    def require(self, value: str) -> None:
        if value == "dlib":
            fetched_file(*FETCHED[value])
        elif value not in self.names and find_bundle(value) is None:
            require_checkpoint(_file(value))


class Lpips(Clip):
    """LPIPS's weights: `alex`, `vgg`, or a file."""

    names = ("alex", "vgg")

    def require(self, value: str) -> None:
        if value in self.names:
            fetched_file(*FETCHED[value])
        else:
            require_file(value, CheckpointError, "check the path, or name alex or vgg")


class EncoderFile(Given):
    """An encoder of photos: a file, a registered name, or one on the Hub."""

    names = names_with("photo_encoder")

    def require(self, value: str) -> None:
        require_file(_part(value, "photo_encoder"), CheckpointError)


class AtlasFile(Given):
    """An atlas: a file, a registered name, or one on the Hub."""

    names = names_with("atlas")

    def require(self, value: str) -> None:
        from ..store.hdf5 import require_atlas_file

        require_atlas_file(_part(value, "atlas"))


class AnyFile(Given):
    """A file of any kind that StyleAtlas knows, here or on the Hub, or a registered name."""

    names = names_with("generator")

    def require(self, value: str) -> None:
        if find_bundle(value) is None:
            require_checkpoint(_file(value))


class MapperFile(Given):
    """A mapper: a file, here or on the Hub, or a name in the library."""

    def require(self, value: str) -> None:
        with _fetching() as later:
            locate_mapper(value, later)


class InputFile(_Path):
    """A file to read."""

    folders = False

    def require(self, value: Path) -> None:
        require_file(value, InputError, folders=self.folders)


class InputPlace(InputFile):
    """A file to read, or a folder of them."""

    folders = True


class Folder(_Path):
    """A folder that is there."""

    def require(self, value: Path) -> None:
        if not value.is_dir():
            raise InputError(f"{value}: no such folder; check the path")


class Phrases(Given):
    """A file of phrases, or - for standard input."""

    error: type[StyleAtlasError] = PromptError

    def require(self, value: str) -> None:
        if value != "-":
            require_file(value, self.error)


class OutputFile(_Path):
    """A file to write, whose name must be of a kind."""

    written = True

    def __init__(self, naming: Naming) -> None:
        self.naming = naming

    def require(self, value: Path) -> None:
        self.naming.require(value)


class OutputFolder(_Path):
    """A folder to write to, which may be there."""

    written = True

    def require(self, value: Path) -> None:
        there = next(path for path in (value, *value.absolute().parents) if path.exists())
        if not there.is_dir():
            raise OutputError(f"{value}: cannot be made ({there} is not a folder); choose another")


class OutputPlace(OutputFolder):
    """A picture or a film to write, or a folder, which is not called like them."""

    def require(self, value: Path) -> None:
        named = value.suffix.lower() in PICTURE_OR_FILM.suffixes
        if not named and (not value.suffix or value.is_dir()):
            super().require(value)
        else:
            PICTURE_OR_FILM.require(value)


class Prompt(click.ParamType):  # type: ignore[type-arg]
    """A prompt, on one line."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return " ".join(str(value).split())

    def require(self, value: str) -> None:
        from ..store.bank import one_line

        one_line("prompt", value)


class EditText(Prompt):
    """An edit as people write it."""

    def require(self, value: str) -> None:
        from ..engine.steering.edits import Edit

        edit = Edit.parse(value)
        require_different(edit.neutral, [edit.target])


def require_different(neutral: str | None, targets: Sequence[str]) -> None:
    """Raise PromptError unless every target can serve and says something else than the neutral
    prompt."""
    from ..store.bank import normalise_prompt

    for target in targets:
        if normalise_prompt(target) == (neutral and normalise_prompt(neutral)):
            raise PromptError(f'target: "{target}" is the neutral prompt itself; say what differs')


def read_pair(neutral: str, target: str) -> tuple[str, str]:
    """The prompts that a pair means, for CLIP; said where they are others (see `as_meant`).

    Raises:
        PromptError: the target says the same as the neutral prompt, or cannot serve.
        OptionError: the pair means several edits.
    """
    require_different(neutral, [target])
    from ..engine.steering.edits import meant_as_one

    meant = meant_as_one(neutral, target)
    if (meant.neutral, meant.target) != (neutral, target):
        note(f'"{neutral}" -> "{target}": read as "{meant.neutral}" -> "{meant.target}"')
    return meant.neutral, meant.target


def read_pairs(neutral: str | None, targets: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """The same of several targets that share a neutral prompt, or have none.

    Raises:
        PromptError: a target that cannot serve, or that says what is missing where the neutral
            prompt is not given or shared.
        OptionError: a target that means several edits.
    """
    if neutral is not None and len(targets) == 1:
        start, end = read_pair(neutral, targets[0])
        return start, (end,)
    require_different(neutral, targets)
    from ..prompts.negation import read_prompt

    for target in targets:
        if read_prompt(target).lacks:
            raise PromptError(
                f'target: "{target}" says what is missing, which is led away from; give --neutral '
                "and this --target alone, or put it in quotation marks to take it as it is"
            )
    return neutral, tuple(read_prompt(target).plain for target in targets)
