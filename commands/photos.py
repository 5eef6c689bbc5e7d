"""The options that say which photos, and what of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..store.errors import OptionError
from ..store.output import PHOTO, PICTURE, Naming
from .base import HOW, IMAGES, RESULTS, Command
from .inputs import EncoderFile, InputFile, InputPlace, OutputFile, OutputPlace
from .options import Decorator, is_given, option

if TYPE_CHECKING:
    from ..engine.jobs.photo_job import PhotoJob
    from ..engine.pictures.recipe import Recipe
    from ..engine.steering.request import EditRequest

_NUMBER = r"[-+]?[0-9]{1,9}(?:\.[0-9]{1,9})?"
_BOX = re.compile(rf"({_NUMBER}),({_NUMBER}),({_NUMBER})")
_FACE = re.compile(rf"([0-9]{{1,4}})(?::({_NUMBER}))?")
_OPTIONS = (
    *("align", "face", "mask", "encoder", "space", "steps", "no_cache", "no_mark", "sheet"),
)
_OF_PHOTO = Naming(
    (*PHOTO.suffixes, ".gif", ".mp4"),
    f"{PHOTO.wanted}; films of a crop in .gif or .mp4, and videos in .mp4",
)


class PhotoCommand(Command):
    """A command that takes photos: of --align, "box X,Y,SIZE" may be written without quotes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        joined: list[str] = []
        for word in args:
            if joined[-2:] == ["--align", "box"] and _BOX.fullmatch(word):
                joined[-1] = f"box {word}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)


class Alignment(click.ParamType):  # type: ignore[type-arg] # generic only in newer clicks
    """face, none, or box X,Y,SIZE, as `Editor.invert` takes it."""

    name = "align"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in ("face", "none") or isinstance(value, tuple):
            return value
        kind, _, numbers = str(value).partition(" ")
        match = _BOX.fullmatch(numbers.strip())
        if kind != "box" or match is None:
            wanted = "face, none, or box X,Y,SIZE, such as box 120,80,512"
            self.fail(f"{value!r} is not {wanted}", param, ctx)
        return tuple(map(float, match.groups()))


class FaceNumbers(click.ParamType):  # type: ignore[type-arg]
    """Faces by their numbers, each with a factor: 2 or 1,3 or 1:1.5,2:0.5; none stands for all."""

    name = "faces"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple) or value == "all":
            return () if value == "all" else value
        found = []
        for part in str(value).split(","):
            match = _FACE.fullmatch(part.strip())
            if match is None or not int(match[1]):
                wanted = "a face's number, such as 2 or 1,3 or 1:1.5,2:0.5, nor all"
                self.fail(f"{value!r} is not {wanted}", param, ctx)
            found.append((int(match[1]), float(match[2] or 1)))
        if len({number for number, _ in found}) < len(found):
            self.fail(f"{value!r} names a face twice; name each once", param, ctx)
        return tuple(found)


class EditOutput(OutputPlace):
    """What edit writes: of photos, whole ones, too."""

    def require(self, value: Path) -> None:
        folder = not value.suffix or value.is_dir()
        if folder or not click.get_current_context().params.get("photo"):
            super().require(value)
        else:
            _OF_PHOTO.require(value)


align_option = option(
    "--align",
    type=Alignment(),
    metavar="HOW",
    group=IMAGES,
    help="face: where the generator knows eyes and mouth; none: the whole picture; box X,Y,SIZE: a "
    "part, by its top left corner and its width. Usual for the generator if not given.",
)
encoder_option = option(
    "--encoder",
    type=EncoderFile(),
    metavar="F",
    group=HOW,
    help="A trained encoder's file, here or on the Hub, such as e4e's, or avatars: where the "
    "latent of a photo begins, in place of the atlas's samples. See docs/encoders.md.",
)
space_option = option(
    "--space",
    type=click.Choice(["w", "w+", "s"]),
    metavar="S",
    group=HOW,
    help="What of a photo's latent is refined: w edits best, w+ and s come nearer to the photo.",
)
steps_option = option(
    "--steps",
    type=click.IntRange(0, 10_000),
    metavar="N",
    group=HOW,
    help="Of that refinement; until it stops paying if not given, 0 for none.",
)
no_cache_option = option(
    "--no-cache",
    is_flag=True,
    group=HOW,
    help="Neither use nor keep what was found of a photo before; see `cache`.",
)


def face_option(more: str = "") -> Decorator:
    return option(
        "--face",
        type=FaceNumbers(),
        default="1",
        metavar="N",
        group=IMAGES,
        help=f"Which face, counted from 1, the largest; 1,3 or all{more}.",
    )


@dataclass(frozen=True)
class Photos:
    """What the options say of photos.

    Args:
        given: the names of options that stand on the command line.
    """

    paths: tuple[Path, ...]
    align: Any
    faces: tuple[tuple[int, float], ...]
    space: Any
    steps: int | None
    no_cache: bool
    encoder: str | None = None
    mask: Path | None = None
    no_mark: bool = False
    sheet: Path | None = None
    given: frozenset[str] = frozenset()

    def inversion(self, label: int | None) -> PhotoJob:
        """As `invert` takes it.

        Raises:
            InputError: a folder without photos.
        """
        from ..engine.jobs.photo_job import PhotoJob, photo_files
        from ..engine.photos.inversion import InvertSettings

        settings = replace(InvertSettings(), **self._chosen(label))
        faces, files = self.faces, photo_files(self.paths)
        if any(weight != 1 for _, weight in faces):
            raise OptionError("--face: a strength is of an edit; name numbers alone")
        return PhotoJob(files, self.align, faces, settings, cache=not self.no_cache)

    def _chosen(self, label: int | None) -> dict[str, Any]:
        """The settings of an inversion that are given."""
        named = {"label": label, "space": self.space, "steps": self.steps}
        chosen = {name: value for name, value in named.items() if value is not None}
        return chosen if self.encoder is None else {**chosen, "start": "encoder"}

    def job(
        self, request: EditRequest, output: Path, styles: Path | None, recipe: Recipe | None
    ) -> PhotoJob:
        """As an edit takes it; what is not given is as a picture's recipe has it, where that was
        made of the same photo.

        Raises:
            InputError: a folder without photos, or a recipe that is not sound.
            OptionError: what does not go together.
        """
        from ..engine.jobs.photo_job import (
            PhotoJob,
            file_sha256,
            is_sheet,
            photo_files,
            photo_kind,
            replayed,
        )
        from ..engine.photos.inversion import InvertSettings

        files = photo_files(self.paths)
        told: dict[str, Any] = {}
        if recipe is not None and "photos" in recipe.inputs:
            told = replayed(recipe.inputs, file_sha256(files[0]))
        settings: InvertSettings = told.get("settings", InvertSettings())
        job = PhotoJob(
            files,
            told.get("align") if self.align is None else self.align,
            self.faces if "face" in self.given else told.get("faces", self.faces),
            replace(settings, **self._chosen(request.label)),
            self.mask,
            not self.no_cache,
            not self.no_mark,
        )
        for name, value in (("--mask", self.mask), ("--sheet", self.sheet)):
            if value is not None and len(files) > 1:
                raise OptionError(f"{name}: is of one photo, and these are {len(files)}; name one")
        if job.is_video:
            if styles is not None:
                raise OptionError("--styles: are not kept of a video; leave it out")
            return job
        kind = photo_kind(output, request, len(files))
        if styles is not None and kind == "folder" and not is_sheet(request):
            raise OptionError(
                "--styles: are not kept of a folder of photos; `styleatlas invert` keeps latents"
            )
        return job


def photo_options(command: Callable[..., None]) -> Callable[..., None]:
    """--photo and all that is said of photos; the command is told one `photos`, None without."""

    @option(
        "--photo",
        type=InputPlace(),
        multiple=True,
        metavar="F",
        group=IMAGES,
        help="Edit a picture of your own, a folder of them, or a video, and put the edit back into "
        "it; may be repeated. See docs/photos.md and docs/videos.md.",
    )
    @align_option
    @face_option("; 1:1.5,2:0.5 gives each a strength, times that of the edit")
    @option(
        "--mask",
        type=InputFile(),
        metavar="F",
        group=IMAGES,
        help="A picture of the photo's size, white where the photo may change.",
    )
    @encoder_option
    @space_option
    @steps_option
    @no_cache_option
    @option(
        "--sheet",
        type=OutputFile(PICTURE),
        metavar="PNG",
        group=RESULTS,
        help="Also show the photo's crop, how the generator draws it, and the edit.",
    )
    @option(
        "--no-mark",
        is_flag=True,
        group=RESULTS,
        help="Do not write into a photo that it was edited.",
    )
    @wraps(command)
    def with_photos(
        *arguments: Any,
        photo: tuple[Path, ...],
        face: tuple[tuple[int, float], ...],
        **options: Any,
    ) -> None:
        own = {name: options.pop(name) for name in _OPTIONS if name != "face"}
        ctx = click.get_current_context()
        given = frozenset(name for name in _OPTIONS if is_given(ctx, name))
        photos = Photos(photo, faces=face, given=given, **own) if photo else None
        command(*arguments, photos=photos, **options)

    return with_photos


def require_photo_usage(ctx: click.Context) -> None:
    """Raise a click.UsageError where --photo does not go with other options, or others need it."""
    if not ctx.params["photo"]:
        for name in _OPTIONS:
            if is_given(ctx, name):
                said = f"--{name.replace('_', '-')}"
                raise click.UsageError(f"{said} is said of photos; give --photo, too")
        return
    if ctx.params["sheet"] is not None and ctx.params["sheet"] == ctx.params["output"]:
        raise click.UsageError("-o and --sheet name one file; name two")
    for name, said in (("seeds", "--seed"), ("latent", "--latent")):
        if is_given(ctx, name):
            raise click.UsageError(f"--photo and {said} exclude each other; give one of them")
