"""What one call of `edit` does: images in, edits, and pictures, films or folders out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from ...store.errors import OptionError, OutputError
from ...store.progress import Progress, Report
from ...store.records import Record
from ..editor import Editor
from ..models.sampling import batch_size, render_batches
from ..models.subject import Batch, Subject
from ..pictures.beside import Beside
from ..pictures.films import MAX_FPS, require_film, tiled, tour, trip, write_film, write_loop
from ..pictures.recipe import Recipe
from ..pictures.sheet import require_png, require_sheet_size, save_png, sheet
from ..result import EditResult
from ..steering.edits import Edit
from ..steering.request import EditRequest
from .edit_records import Column, edit_record
from .images import Images


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

    @property
    def trip(self) -> list[float]:
        """The shares of the way of a film of one edit."""
        return trip(1, self.seconds, self.fps)

    def tour(self, columns: int) -> list[tuple[int, float]]:
        """The frames of a film of several, whose first stop is before all of them."""
        return tour(columns + 1, self.seconds, self.fps)

    def require(self, editor: Editor, images: Images, request: EditRequest) -> None:
        """Raise unless the job can be written there; called before anything is rendered.

        Raises:
            OutputError: another extension, or a place that cannot be written.
            OptionError: too many images, or a film of more than one column.
        """
        size, count = editor.generator.image_size, len(images.names)
        if self.kind == "film":
            if request.before or request.rows > 1:
                raise OptionError(
                    "film: begins with the images as they were, and goes from one column to the "
                    "next; leave --before out, and give one beta or none"
                )
            frames = len(self.trip) if request.columns == 1 else len(self.tour(request.columns))
            require_film(self.path, count, size, frames, self.fps)
        elif self.kind == "sheet":
            require_png(self.path)
            require_sheet_size(count * request.rows, request.columns + request.before, *size)
        else:
            require_folder(self.path, images.names)
            require_sheet_size(request.rows, request.columns + request.before, *size)


def produce(
    editor: Editor,
    images: Images,
    request: EditRequest,
    output: Output,
    report: Report = lambda progress: None,
) -> tuple[Record, Tensor]:
    """Makes a job and writes it. A folder is made a batch at a time, so that no more than a batch
    is in memory, and `report` is told of every batch of several. Every PNG keeps its recipe.

    Returns:
        The record of `edit_record`, and the edited styles (rows * columns * n, C): all images of
        the first column, then of the next, for the first beta, then for the next.

    Raises:
        OutputError: what cannot be written.
    """
    size = batch_size(editor.generator) if output.kind == "folder" else len(images.names)
    recipe: Recipe | None = None
    record: Record = {}
    styles: list[list[Tensor]] = []
    for start in range(0, len(images.names), size):
        part = images.at(range(start, min(start + size, len(images.names))))
        columns = run(editor, part, request)
        recipe = recipe or recipe_of(editor, request, part)
        if output.kind == "film":
            _write_trip(output, editor, [column.result for column in columns])
        elif output.kind == "sheet":
            _write_sheet(output.path, editor, part, request, columns, recipe)
        else:
            _write_each(output.path, editor, part, request, columns, recipe)
        record = edit_record(editor.atlas, columns, part.names, record)
        styles.append([column.result.styles for column in columns])
        if len(part.names) < len(images.names):
            report(_progress(start + len(part.names), len(images.names)))
    return record, torch.cat([torch.cat(column) for column in zip(*styles, strict=True)])


def _progress(done: int, total: int) -> Progress:
    record = {"images": done, "of": total}
    return Progress(done, total, part="images", label="edit", record=record, spare=True)


def run(editor: Editor, images: Images, request: EditRequest) -> list[Column]:
    """Makes the columns of a job, see `columns_of`."""
    subject = Subject(editor.generator, images.styles, images.w, images.psi)
    return columns_of(editor, subject, request)


def columns_of(editor: Editor, subject: Subject, request: EditRequest) -> list[Column]:
    """Every way that images are to be edited in, those of the first beta first; measured with CLIP
    where its image tower is needed anyway, or is loaded."""
    groups = [(edit,) for edit in request.edits] if request.grid else [request.edits]
    betas = request.betas or (None,)
    if request.betas and request.alphas:
        for beta in betas:  # all of them before any picture: one may let no channel pass
            editor.directions(request.edits, request.choice_at(beta))
    columns = []
    for beta in betas:
        choice = request.choice_at(beta)
        options = {part.name: getattr(choice, part.name) for part in fields(choice)}
        for group in groups:
            for alpha in request.alphas or (None,):
                result = editor.edit(
                    subject,
                    edits=group,
                    method=request.method,
                    alpha=alpha,
                    probability=request.probability,
                    **options,
                )
                shifts = editor.measure(result) if editor.texts.has_encoder else None
                label = _label(request, group, alpha)
                columns.append(Column(label, group, result, shifts, beta))
    return columns


def _write_sheet(
    path: Path,
    editor: Editor,
    images: Images,
    request: EditRequest,
    columns: Sequence[Column],
    recipe: Recipe,
) -> None:
    """All images in one PNG, a row an image, or a beta of it, and a column a way; with labels where
    there are many."""
    rows, labels = _sheet_rows(editor, columns, request)
    cells = [row[i] for i in range(len(images.names)) for row in rows]
    several = len(images.names) > 1
    betas = [f"beta {beta:g}" for beta in request.betas or ()]
    names = [
        ", ".join(part)
        for name in images.names
        for part in ([(name, beta) if several else (beta,) for beta in betas] or [(name,)])
    ]
    picture = sheet(cells, names if len(cells) > 1 else (), labels if len(labels) > 1 else ())
    save_png(picture, path, recipe)


def _write_each(
    folder: Path,
    editor: Editor,
    images: Images,
    request: EditRequest,
    columns: Sequence[Column],
    recipe: Recipe,
) -> None:
    """A PNG an image, called by its name, with the recipe of that image alone."""
    make_folder(folder)
    rows, labels = _sheet_rows(editor, columns, request)
    betas = [f"beta {beta:g}" for beta in request.betas or ()]
    with Beside() as beside:
        for i, name in enumerate(images.names):
            cells = [row[i] for row in rows]
            heads = betas if len(cells) > 1 else (), labels if len(labels) > 1 else ()
            own = replace(recipe, inputs=images.at([i]).inputs)
            beside.do(partial(save_png, sheet(cells, *heads), folder / f"{name}.png", own))


def _write_trip(output: Output, editor: Editor, results: Sequence[EditResult]) -> None:
    """A film from the images as they were to the edited ones and back, all tiled; of several edits
    to each in turn, and then back."""
    before = results[0].before
    steps = torch.stack([result.styles - before for result in results])  # (k, n, C)
    if len(results) == 1:
        ways = (share * steps[0] for share in output.trip)
        write_film(output.path, _frames(editor, before, steps, ways), output.fps)
    else:
        stops = torch.cat([torch.zeros_like(steps[:1]), steps])
        ways = (
            torch.lerp(stops[stop], stops[(stop + 1) % len(stops)], share)
            for stop, share in output.tour(len(results))
        )
        write_loop(output.path, _frames(editor, before, steps, ways), output.fps)


@torch.inference_mode()
def _frames(
    editor: Editor, before: Tensor, steps: Tensor, ways: Iterable[Tensor]
) -> Iterator[Image.Image]:
    """A frame for each step of the way (n, C); what none of the steps (k, n, C) changes is rendered
    once."""
    changed = steps.flatten(0, 1).any(0).nonzero()
    layer, _ = editor.atlas.layout.locate(int(changed[0]) if len(changed) else 0)
    size = batch_size(editor.generator)
    parts = [Batch(editor.generator, start) for start in before.split(size)]
    for way in ways:
        moved = zip(parts, way.split(size), strict=True)
        yield tiled(torch.cat([part.render(part.styles + step, layer) for part, step in moved]))


@torch.inference_mode()
def _sheet_rows(
    editor: Editor, columns: Sequence[Column], request: EditRequest
) -> tuple[list[list[tuple[Tensor, ...]]], list[str]]:
    """The cells of a sheet, by row of an image, by image, by column; and the labels of columns."""
    shown = [column.result.images for column in columns]
    labels = [column.label for column in columns[: request.columns]]
    rows = [shown[i : i + request.columns] for i in range(0, len(shown), request.columns)]
    if request.before:
        before = torch.cat(list(render_batches(editor.generator, columns[0].result.before)))
        rows, labels = [[before, *row] for row in rows], ["before", *labels]
    return [list(zip(*row, strict=True)) for row in rows], labels


def _label(request: EditRequest, edits: Sequence[Edit], alpha: float | None) -> str:
    amount = "" if alpha is None else f"alpha {alpha:g}"
    if not request.grid:
        return amount or "after"
    several = len(request.alphas or ()) > 1
    target = edits[0].forward().target
    return f"{target}, {amount}" if several else target


def recipe_of(editor: Editor, request: EditRequest, images: Images) -> Recipe:
    """What a picture of these images keeps inside."""
    origin, identity = editor.atlas.fingerprint, editor.identity(request.choice.source)
    used = editor.generator.identity
    generator = origin.generator if used.tuned_from is None else used
    return Recipe.of(generator, origin.clip, identity, request, images.inputs)


def require_folder(folder: Path, names: Sequence[str]) -> None:
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


def make_folder(folder: Path) -> None:
    """Makes a folder, where it is not there yet."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{folder}: cannot be made ({reason}); choose another") from error
