"""What one call of `edit` does: images in, edits, and pictures, films or folders out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from ...store.errors import InputError, OptionError, OutputError
from ...store.records import Record
from ..editor import (
    DEFAULT_PROBABILITY,
    Editor,
    EditResult,
)
from ..models.latents import read_latents
from ..models.protocols import Generator
from ..models.sampling import batch_size, render_batches, w_from_seeds
from ..models.subject import Subject
from ..pictures.films import MAX_FPS, require_film, tiled, trip, write_film
from ..pictures.recipe import AtlasIdentity, Recipe
from ..pictures.sheet import require_png, require_sheet_size, save_png, sheet
from ..steering.direction import Choice
from ..steering.edits import Edit
from .edit_records import Column, edit_record
from .methods import Fallbacks, Method, edit_by


@dataclass(frozen=True)
class Job:
    """Edits and how they are to be shown.

    Args:
        edits: made together, or each by itself in a grid.
        choice: of their channels.
        method: how; with alphas, with something to keep or for several edits made together `auto`
            is the table's direction.
        alphas: a column each; None for one column of automatic alphas.
        probability: that automatic alphas are to reach.
        grid: a column for each edit by itself.
        before: a column more, of the images as they were.
    """

    edits: tuple[Edit, ...]
    choice: Choice
    method: Method
    alphas: tuple[float, ...] | None = None
    probability: float = DEFAULT_PROBABILITY
    grid: bool = False
    before: bool = False

    def __post_init__(self) -> None:
        if self.method in ("auto", "direction"):
            return
        if self.alphas is not None:
            raise OptionError(f"method {self.method}: has no alpha; leave it out")
        if self.choice != Choice():
            raise OptionError(
                f"method {self.method}: chooses no channels and keeps no prompt; leave out rule, "
                "beta, channels, layers, what to exclude and what to keep"
            )
        if len(self.edits) > 1 and not self.grid:
            raise OptionError(
                f"method {self.method}: makes one edit at a time; say it in one prompt, or ask for "
                "a grid"
            )

    def by_table(self, edits: Sequence[Edit]) -> bool:
        """Whether edits made together are the table's without a question."""
        if self.method != "auto":
            return self.method == "direction"
        alone = len(edits) == 1 and edits[0].weight == 1
        bound = self.choice.keep or self.choice.layers or self.choice.exclude
        return self.alphas is not None or bool(bound) or not alone

    @property
    def columns(self) -> int:
        """How many edited images stand beside each other."""
        return (len(self.edits) if self.grid else 1) * len(self.alphas or (None,))


@dataclass(frozen=True, eq=False)
class Images:
    """What edits start from.

    Args:
        styles: (n, C).
        w: of the same images, (n, num_ws, w_dim); None where they are of styles alone.
        names: what people call each.
        origins: where each comes from: its seed, or its place among the latents of a file.
        file: the sha256 of that file; None for seeds.
    """

    styles: Tensor
    w: Tensor | None
    names: tuple[str, ...]
    origins: tuple[int, ...]
    file: str | None = None

    @classmethod
    def of_seeds(
        cls, generator: Generator, seeds: Sequence[int], truncation: float, label: int | None
    ) -> Images:
        """See `w_from_seeds`."""
        w = w_from_seeds(generator, seeds, truncation, label)
        return cls(generator.styles(w), w, tuple(f"seed {seed}" for seed in seeds), tuple(seeds))

    @classmethod
    def of_file(
        cls, generator: Generator, path: Path, truncation: float, label: int | None
    ) -> Images:
        """A file of latents or a folder of them; see `read_latents`."""
        read = read_latents(path, generator, truncation=truncation, label=label)
        return cls(read.styles, read.w, read.names, tuple(range(len(read.names))), read.sha256)

    @property
    def inputs(self) -> dict[str, Any]:
        """Where they come from, as a recipe keeps it."""
        if self.file is None:
            return {"seeds": list(self.origins)}
        return {"latents": self.file, "places": list(self.origins)}

    def only(self, inputs: Mapping[str, Any], path: Path | str) -> Images:
        """Those images of the file of latents that a recipe names.

        Raises:
            InputError: it was made of another file, or of seeds.
        """
        places = inputs.get("places")
        if self.file is None or inputs.get("latents") != self.file:
            raise InputError(f"{path}: is not what the picture was made of; name that file")
        index = {origin: i for i, origin in enumerate(self.origins)}
        if (
            not isinstance(places, list)
            or not places
            or not all(type(place) is int and place in index for place in places)
        ):
            raise InputError("recipe: places must be numbers of latents of the file")
        return self.at([index[place] for place in places])

    def at(self, chosen: Sequence[int]) -> Images:
        """Some of them."""
        names, origins = zip(*((self.names[i], self.origins[i]) for i in chosen), strict=True)
        w = None if self.w is None else self.w[list(chosen)]
        return Images(self.styles[list(chosen)], w, names, origins, self.file)


@dataclass(frozen=True)
class Output:
    """Where pictures go: a PNG sheet, a film, or a folder with a PNG an image.

    Args:
        path: its name tells which.
        seconds, fps: of a film.
    """

    path: Path
    seconds: float = 4.0
    fps: float = 20.0

    @property
    def kind(self) -> Literal["sheet", "film", "folder"]:
        """By the extension of the name; a folder has none, or is there already."""
        if self.path.is_dir() or not self.path.suffix:
            return "folder"
        return "film" if self.path.suffix.lower() in MAX_FPS else "sheet"

    def require(self, editor: Editor, images: Images, job: Job) -> None:
        """Raise unless the job can be written there; called before anything is rendered.

        Raises:
            OutputError: another extension, or a place that cannot be written.
            OptionError: too many images, or a film of more than one column.
        """
        side, count = editor.generator.layout.resolution, len(images.names)
        if self.kind == "film":
            if job.columns + job.before > 1:
                raise OptionError(
                    "film: shows one edit, from before on; give one alpha or none, and no column "
                    "more"
                )
            frames = len(trip(1, self.seconds, self.fps))
            require_film(self.path, count, side, frames, self.fps)
        elif self.kind == "sheet":
            require_png(self.path)
            require_sheet_size(count, job.columns + job.before, side, side)
        else:
            _require_folder(self.path, images.names)
            require_sheet_size(1, job.columns + job.before, side, side)


def produce(
    editor: Editor,
    images: Images,
    job: Job,
    output: Output,
    options: Mapping[str, Any],
    fallbacks: Fallbacks,
) -> tuple[Record, Tensor]:
    """Makes a job and writes it. A folder is made a batch at a time, so that no more than a batch
    is in memory. Every PNG keeps its recipe, with `options`.

    Returns:
        The record of `edit_record`, and the edited styles (n * columns, C), column after column.

    Raises:
        OutputError: what cannot be written.
    """
    size = batch_size(editor.generator) if output.kind == "folder" else len(images.names)
    recipe: Recipe | None = None
    record: Record = {}
    styles: list[list[Tensor]] = []
    for start in range(0, len(images.names), size):
        part = images.at(range(start, min(start + size, len(images.names))))
        columns = run(editor, part, job, fallbacks)
        if recipe is None:  # once, as it hashes the table
            recipe = _recipe(editor, job, part, options)
        if output.kind == "film":
            _write_trip(output, editor, columns[0].result)
        elif output.kind == "sheet":
            _write_sheet(output.path, editor, part, job, columns, recipe)
        else:
            _write_each(output.path, editor, part, job, columns, recipe)
        record = edit_record(editor.atlas, columns, part.names, record)
        styles.append([column.result.styles for column in columns])
    return record, torch.cat([torch.cat(column) for column in zip(*styles, strict=True)])


def run(editor: Editor, images: Images, job: Job, fallbacks: Fallbacks) -> list[Column]:
    """Makes the columns of a job; measures them with CLIP where its image tower is needed anyway,
    or is loaded."""
    few = len(images.styles) <= batch_size(editor.generator)
    styles = Subject(editor.generator, images.styles) if few else images.styles
    columns = []
    for group in [(edit,) for edit in job.edits] if job.grid else [job.edits]:
        made = _made(editor, styles, images.w, job, group, fallbacks)
        for alpha, result in zip(job.alphas or (None,), made, strict=True):
            shifts = editor.measure(result) if editor.texts.has_encoder else None
            columns.append(Column(_label(job, group, alpha), result, shifts))
    return columns


def _made(
    editor: Editor,
    styles: Tensor | Subject,
    w: Tensor | None,
    job: Job,
    edits: Sequence[Edit],
    fallbacks: Fallbacks,
) -> Iterator[EditResult]:
    """What edits made together come to at each of a job's alphas."""
    if not job.by_table(edits):
        how = (fallbacks, job.choice, job.probability)
        yield edit_by(job.method, editor, styles, w, edits[0], *how)
        return
    parts = edits if job.alphas else [part for edit in edits for part in editor.parts(edit)]
    directions, weights = editor.directions(parts, job.choice)
    for alpha in job.alphas or (None,):
        yield editor.apply(styles, directions, alpha, weights, job.probability)


def _write_sheet(
    path: Path, editor: Editor, images: Images, job: Job, columns: Sequence[Column], recipe: Recipe
) -> None:
    """All images in one PNG, a row an image and a column a way; with labels where there are
    many."""
    shown = _shown(editor, columns, job)
    rows = [[cells[i] for _, cells in shown] for i in range(len(images.names))]
    columns_named = [label for label, _ in shown] if len(shown) > 1 else ()
    save_png(sheet(rows, images.names if len(rows) > 1 else (), columns_named), path, recipe)


def _write_each(
    folder: Path,
    editor: Editor,
    images: Images,
    job: Job,
    columns: Sequence[Column],
    recipe: Recipe,
) -> None:
    """A PNG an image, called by its name, with the recipe of that image alone."""
    _make(folder)
    shown = _shown(editor, columns, job)
    labels = [label for label, _ in shown] if len(shown) > 1 else ()
    for i, name in enumerate(images.names):
        picture = sheet([[cells[i] for _, cells in shown]], (), labels)
        own = replace(recipe, inputs=images.at([i]).inputs)
        save_png(picture, folder / f"{name}.png", own)


def _write_trip(output: Output, editor: Editor, result: EditResult) -> None:
    """A film from the images as they were to the edited ones and back, all tiled."""
    frames = _frames(editor, result, trip(1, output.seconds, output.fps))
    write_film(output.path, frames, output.fps)


@torch.inference_mode()
def _frames(editor: Editor, result: EditResult, shares: Sequence[float]) -> Iterator[Image.Image]:
    """A frame for each share of the way; what the edit does not change is rendered once."""
    ways = result.styles - result.before
    changed = ways.any(0).nonzero()
    layer, _ = editor.atlas.layout.locate(int(changed[0]) if len(changed) else 0)
    size = batch_size(editor.generator)
    parts = [Subject(editor.generator, start) for start in result.before.split(size)]
    for share in shares:
        moved = zip(parts, ways.split(size), strict=True)
        yield tiled(
            torch.cat([part.render(part.styles + share * way, layer) for part, way in moved])
        )


@torch.inference_mode()
def _shown(editor: Editor, columns: Sequence[Column], job: Job) -> list[tuple[str, Tensor]]:
    """The label and the images of every column of a sheet."""
    shown = [(column.label, column.result.images) for column in columns]
    if not job.before:
        return shown
    before = torch.cat(list(render_batches(editor.generator, columns[0].result.before)))
    return [("before", before), *shown]


def _label(job: Job, edits: Sequence[Edit], alpha: float | None) -> str:
    amount = "" if alpha is None else f"alpha {alpha:g}"
    if not job.grid:
        return amount or "after"
    several = len(job.alphas or ()) > 1
    target = edits[0].forward().target
    return f"{target}, {amount}" if several else target


def _recipe(editor: Editor, job: Job, images: Images, options: Mapping[str, Any]) -> Recipe:
    origin = editor.atlas.fingerprint
    edits = tuple((edit.neutral, edit.target, edit.weight) for edit in job.edits)
    identity = AtlasIdentity.of(editor.atlas)
    return Recipe(origin.generator, origin.clip, identity, edits, options, images.inputs)


def _require_folder(folder: Path, names: Sequence[str]) -> None:
    """Raise OutputError unless a folder of pictures of these names can be made or written."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        what = "not writable" if there.is_dir() else "not a folder"
        raise OutputError(f"{folder}: cannot be made ({there} is {what}); choose another")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise OutputError(
            f'{folder}: two pictures would be called "{twice[0]}.png"; name images differently, '
            "and each once"
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{folder}: cannot be made ({reason}); choose another") from error
