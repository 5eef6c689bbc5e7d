"""What one call of `edit` does with photos: photos in, edits, whole photos out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...store.errors import InputError, OptionError, OutputError
from ...store.fingerprint import ModelIdentity
from ...store.progress import Progress, Report
from ...store.records import Record, decimal
from ..editor import Editor
from ..models.preprocess import as_rgb, from_bytes
from ..models.subject import Subject
from ..photos.cuts import Cut, usual_align
from ..photos.formats import HEAD, kind_of
from ..photos.likeness import Likeness
from ..photos.mask import read_mask
from ..photos.paste import Pasted
from ..photos.photo import Photo, Pixels
from ..photos.photographs import EditedCut, Inverted, put_back
from ..photos.read import read_photo
from ..photos.write import own_suffix, require_photo_name, write_photo
from ..pictures.recipe import Recipe
from ..pictures.sheet import require_png, require_sheet_size, save_png, sheet
from ..steering.request import EditRequest
from .edit import Output, columns_of, make_folder, produce, recipe_of, require_folder
from .edit_records import Column, edit_record
from .images import Images
from .photo_job import PhotoJob, file_sha256, is_sheet, photo_kind
from .photo_list import FAILED, NAME, PhotoList
from .photo_words import crop_record, doubts_of_edit, doubts_of_inversion
from .videos import edit_video

Tell = Callable[[str], None]


def edit_photos(
    editor: Editor,
    job: PhotoJob,
    request: EditRequest,
    output: Output,
    shown: Path | None = None,
    tell: Tell = lambda line: None,
    report: Report = lambda progress: None,
) -> tuple[Record, Tensor | None]:
    """Edits photos and writes what the output's name asks for, see `photo_kind`.

    Args:
        shown: a PNG of crop, inversion and edit beside each other, of one photo.
        tell: told in a line what there is to know of photos and of what became of them.

    Returns:
        The record of `edit_record`, with one of each crop in `photos`, and what `edit_folder` adds;
        and the styles (n, C), None of a folder of whole photos, and of a video (`edit_video`).

    Raises:
        InputError: a photo or a mask that cannot be read, or shows no such face.
        OptionError: what does not go together.
        OutputError: what cannot be written.
    """
    if job.is_video:
        return edit_video(editor, job, request, output.path, shown, tell, report), None
    kind = photo_kind(output.path, request, len(job.photos))
    if kind == "photo":
        return edit_photo(editor, job, request, output.path, tell, shown)
    if shown is not None:
        raise OptionError(
            f"sheet: goes with one photo that is written whole; {output.path} is none"
        )
    if kind == "folder" and not is_sheet(request):
        return edit_folder(editor, job, request, output.path, tell, report), None
    if job.only is not None:
        raise OptionError("mask: is of what is put back into a photo; leave it out of sheets")
    images, rows = images_of_photos(editor, job, tell)
    output.require(editor, images, request)
    record, styles = produce(editor, images, request, output, report)
    return {**record, "photos": rows}, styles


def images_of_photos(editor: Editor, job: PhotoJob, tell: Tell) -> tuple[Images, list[Record]]:
    """The crops of all photos, for sheets and films of them; and their records.

    Raises:
        OptionError: faces of their own strengths, which photos that are written whole have.
    """
    if any(weight != 1 for _, weight in job.faces):
        raise OptionError(
            "face: strengths of their own go into a whole photo; ask for one alpha, and a picture "
            "that is no film"
        )
    work = PhotoWork(editor, job, tell)
    parts, rows = [], []
    for path in job.photos:
        images, found, told = work.inverted(path)
        for one, row in zip(found.cuts, told, strict=True):
            work.doubt(one, row)
        parts.append(images)
        rows += told
    names = [name for part in parts for name in part.names]
    ws = [part.w for part in parts if part.w is not None]
    images = Images(
        torch.cat([part.styles for part in parts]),
        torch.cat(ws) if len(ws) == len(parts) else None,
        tuple(names),
        tuple(range(len(names))),
        photos=tuple(record for part in parts for record in part.photos),
    )
    return images, rows


def edit_photo(
    editor: Editor,
    job: PhotoJob,
    request: EditRequest,
    output: Path,
    tell: Tell = lambda line: None,
    shown: Path | None = None,
) -> tuple[Record, Tensor]:
    """Edits one photo and writes it whole.

    Args:
        tell: told in a line what there is to know of the photo and of what became of it.
        shown: a PNG of crop, inversion and edit beside each other.

    Returns:
        The record of `edit_record`, with one of each crop in `photos`; and the styles (n, C).

    Raises:
        InputError: a photo or a mask that cannot be read, or shows no such face.
        OutputError: what cannot be written.
    """
    work = PhotoWork(editor, job, tell)
    require_photo_name(output)
    if shown is not None:
        require_png(shown)
    made = work.edited(job.photos[0], request, output, shown is not None)
    made.write(output, job.marked, tell)
    if shown is not None:
        made.show(shown)
    return made.record, made.styles


def edit_folder(
    editor: Editor,
    job: PhotoJob,
    request: EditRequest,
    folder: Path,
    tell: Tell = lambda line: None,
    report: Report = lambda progress: None,
) -> Record:
    """Edits photos one after the other into a folder, each in the format that it came in, and keeps
    the list of them there. What is there already, of the same photo and the same edit, is left.

    Returns:
        The record of `edit_record` of those that were edited now, with their crops in `photos`; how
        many were `kept`, and which `failed`.

    Raises:
        OutputError: a folder that cannot be written, or that holds another list; a photo that would
            be written over.
    """
    pictures = [_picture_of(path) for path in job.photos]
    _require_apart(job.photos, pictures, folder)
    require_folder(folder, [])
    known = PhotoList(folder)
    work = PhotoWork(editor, job, tell)
    record: Record = {}
    rows: list[Record] = []
    failed: list[Record] = []
    kept = 0
    for done, (path, picture) in enumerate(zip(job.photos, pictures, strict=True)):
        recipe = work.done_by(path, request)
        if known.is_done(picture, recipe):
            kept += 1
            continue
        common = {"photo": path.name, "picture": picture, "recipe": recipe}
        make_folder(folder)
        try:
            made = work.edited(path, request, folder / picture, prior=record)
        except InputError as error:
            tell(str(error))
            failed.append({**common, "status": FAILED, "error": str(error)})
            known.put(picture, failed[-1:])
        else:
            made.write(folder / picture, job.marked, tell)
            known.put(picture, [{**row, **common} for row in made.rows])
            record = made.record
            rows += made.rows
        report(_progress(done + 1, len(job.photos)))
    return {
        **(record or {"why": [], "read": [], "edits": [], "conflicts": [], "images": []}),
        "photos": rows,
        "kept": kept,
        "failed": [{key: row[key] for key in ("photo", "error")} for row in failed],
        "list": str(folder / NAME),
    }


def _progress(done: int, total: int) -> Progress:
    record = {"photos": done, "of": total}
    return Progress(done, total, part="photos", label="edit", record=record, spare=True)


@dataclass(frozen=True, eq=False)
class _Made:
    """An edited photo: its pixels, how its crops came out, and what a PNG keeps of it."""

    photo: Photo
    pixels: Pixels
    edited: list[EditedCut]
    rows: list[Record]
    record: Record
    styles: Tensor
    recipe: Recipe

    def write(self, path: Path, marked: bool, tell: Tell) -> None:
        recipe = self.recipe if marked else None
        for note in write_photo(self.photo, self.pixels, path, marked=marked, recipe=recipe):
            tell(f"{path}: {note}")

    def show(self, path: Path) -> None:
        """Crop, inversion and edit beside each other, a row a crop."""
        rows = []
        for one in self.edited:
            (crop,) = from_bytes(torch.tensor(one.cut.pixels)[None])
            drawn = as_rgb(torch.stack([one.inversion, one.edit]).float().cpu())
            rows.append((crop, *drawn))
        names = [one.cut.alignment.place for one in self.edited] if len(rows) > 1 else ()
        save_png(sheet(rows, names, ("photo", "inversion", "edit")), path)


class PhotoWork:
    """What several photos of a job share."""

    def __init__(self, editor: Editor, job: PhotoJob, tell: Tell) -> None:
        _ = editor.texts.encoder  # by which photos are looked up, and edits measured
        self._editor, self._job, self._tell = editor, job.settled(editor.photo_encoder), tell
        self._align = usual_align(editor.atlas) if job.align is None else job.align
        self._recipes: dict[EditRequest, Recipe] = {}
        self._likeness = Likeness.of(editor.generator) if self._align == "face" else None

    @property
    def begun_by(self) -> ModelIdentity | None:
        """The photo encoder that latents begin by, where it is one."""
        encoder = self._editor.photo_encoder
        if encoder is None or self._job.settings.start != "encoder":
            return None
        return encoder.identity

    def done_by(self, path: Path, request: EditRequest) -> str:
        """What tells whether a picture was made of the same photo in the same way: 16 digits."""
        job = self._job
        inputs = job.inputs(file_sha256(path), self._align, max(1, len(job.faces)))
        parts = [self._recipe(request, inputs).to_json(), repr(job.faces), repr(job.marked)]
        if job.only is not None:
            parts.append(file_sha256(job.only))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def _recipe(self, request: EditRequest, inputs: Sequence[Record]) -> Recipe:
        """What a picture of these crops keeps; the atlas is hashed once."""
        if request not in self._recipes:
            images = Images(torch.zeros(1, 0), None, ("",), (0,), photos=tuple(inputs))
            self._recipes[request] = recipe_of(self._editor, request, images)
        return replace(self._recipes[request], inputs={"photos": list(inputs)})

    def inverted(
        self, path: Path, output: Path | None = None, frames: int = 0
    ) -> tuple[Images, Inverted, list[Record]]:
        """The crops of a photo as a job's images, and their records. Where it stands is kept beside
        the output that it is for alone, and at most so many `frames` of the way for a film."""
        job, photo = self._job, read_photo(path)
        for note in photo.notes:
            self._tell(f"{path}: {note}")
        try:
            found = self._editor.invert(
                photo,
                align=self._align,
                face=job.face,
                settings=job.settings,
                cache=job.cache,
                state=output,
                frames=frames,
            )
        except KeyboardInterrupt:
            kept = None if output is None else output.with_name(f"{output.name}.work")
            if kept is not None and kept.exists():
                self._tell(f"interrupted: {kept} keeps the state: the same command resumes")
            raise
        for note in found.notes:
            self._tell(f"note: {note}")
        images = Images(
            found.inversion.styles,
            found.inversion.w,
            tuple(cut.name for cut in found.cuts),
            tuple(range(len(found))),
            photos=job.inputs(file_sha256(path), self._align, len(found)),
        )
        return (
            images,
            found,
            [crop_record(cut, found.inversion, i) for i, cut in enumerate(found.cuts)],
        )

    def edited(
        self,
        path: Path,
        request: EditRequest,
        output: Path,
        shown: bool = False,
        prior: Record | None = None,
    ) -> _Made:
        """A photo with its edits in it, for `output`."""
        images, found, rows = self.inverted(path, output)
        editor, photo = self._editor, found.cuts[0].photo
        if shown:
            require_sheet_size(len(found), 3, *editor.generator.image_size)
        only = None if self._job.only is None else read_mask(self._job.only, photo)
        edited: dict[int, EditedCut] = {}
        styles = images.styles.clone()
        record = prior
        weights = self._job.weights(len(found))
        for weight in dict.fromkeys(weights):
            chosen = [i for i, own in enumerate(weights) if own == weight]
            part, asked = images.at(chosen), _weighted(request, weight)
            subject = Subject(editor.generator, part.styles, part.w)
            (column,) = columns_of(editor, subject, asked)
            record = edit_record(editor.atlas, [column], part.names, record)
            styles[chosen] = column.result.styles
            before = subject.images
            for k, i in enumerate(chosen):
                edited[i] = EditedCut(found.cuts[i], before[k], column.result.images[k])
                rows[i] |= _fate(column, k)
        ordered = [edited[i] for i in range(len(found))]
        pixels, pasted = put_back(ordered, only)
        for one, made, row in zip(ordered, pasted, rows, strict=True):
            self._judge(one, made, row)
        told = {**(record or {}), "photos": [*(prior or {}).get("photos", ()), *rows]}
        recipe = self._recipe(request, images.photos)
        return _Made(photo, pixels, ordered, rows, told, styles, recipe)

    def _judge(self, one: EditedCut, made: Pasted, row: Record) -> None:
        """Completes the record of a crop, and tells what is to be said of it."""
        row |= {"kept": decimal(made.kept), "cut": decimal(made.cut)}
        if self._likeness is not None:
            row["identity"], row["identity_edited"] = map(decimal, self._likeness.of_edit(one))
        self.doubt(one.cut, row)

    @torch.inference_mode()
    def judge_inversions(self, found: Inverted, drawn: Tensor, rows: Sequence[Record]) -> None:
        """The same of crops that are not edited, as they are drawn, (n, channels, H, W)."""
        for cut, image, row in zip(found.cuts, drawn, rows, strict=True):
            if self._likeness is not None:
                row["identity"] = decimal(self._likeness.of_inversion(cut, image))
            self.doubt(cut, row)

    def doubt(self, cut: Cut, row: Record) -> None:
        """Tells what is to be said of a crop by what is known of it."""
        side = self._editor.generator.image_size[1]
        for doubt in (*doubts_of_inversion(row, side), *doubts_of_edit(row)):
            self._tell(f"{cut.photo.path}, {cut.alignment.place}: {doubt}")


def _fate(column: Column, k: int) -> Record:
    result = column.result
    alphas = [f"{alpha:.4g}" for alpha in result.alphas[k]] if result.directions else []
    return {"status": result.status[k], "way": result.ways[k], "alpha": "; ".join(alphas)}


def _weighted(request: EditRequest, weight: float) -> EditRequest:
    edits = tuple(replace(edit, weight=edit.weight * weight) for edit in request.edits)
    return request if weight == 1 else replace(request, edits=edits)


def _picture_of(path: Path) -> str:
    """What the edited photo is called: in its own format, told by its first bytes."""
    try:
        with path.open("rb") as file:
            kind = kind_of(file.read(HEAD))
    except OSError:
        kind = None  # which reading it will tell
    return f"{path.stem}{own_suffix(kind or '')}"


def _require_apart(photos: Sequence[Path], pictures: Sequence[str], folder: Path) -> None:
    """Raise OutputError unless every photo gets a picture of its own, and none is written over."""
    twice = [name for name, count in Counter(pictures).items() if count > 1]
    if twice:
        raise OutputError(
            f'{folder}: two pictures would be called "{twice[0]}"; name photos differently, and '
            "each once"
        )
    originals = {path.resolve() for path in photos}
    for picture in pictures:
        there = folder / picture
        if there.resolve() in originals:
            raise OutputError(
                f"{there}: is one of the photos, and would be lost; name another folder"
            )
