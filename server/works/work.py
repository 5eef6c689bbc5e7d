"""What each kind of job does: the same typed requests as the commands make, by the same functions.

All paths are of the job's own folder, in which the worker stands meanwhile: a message that names a
file names nothing of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...engine.editor import Editor
from ...engine.fallbacks.mapper import mapper_record, read_mapper, summarise_mapper
from ...engine.fallbacks.optimise_settings import OptimiseSettings
from ...engine.jobs.edit import Output, produce
from ...engine.jobs.edit_records import strongest
from ...engine.jobs.images import Images
from ...engine.jobs.invert import invert_photos
from ...engine.jobs.mapper import applied_records, applied_sheet, apply_mapper
from ...engine.jobs.optimise import OptimiseJob, optimise
from ...engine.jobs.photo_job import PhotoJob
from ...engine.jobs.photos import edit_photo, images_of_photos
from ...engine.jobs.questions import ask_samples
from ...engine.jobs.sample_sheet import draw_samples
from ...engine.models.identity import Identity, load_identity, usual_identity
from ...engine.models.landmarks import FaceFinder, load_face_finder
from ...engine.models.sampling import render_batches, styles_from_seeds
from ...engine.pages.channel_sheet import (
    channel_images,
    draw_sheet,
    require_sheet,
    sheet_records,
)
from ...engine.photos.cuts import Align, cuts_of, usual_align
from ...engine.photos.formats import HEAD, kind_of
from ...engine.photos.inversion import InvertSettings
from ...engine.photos.read import read_photo
from ...engine.photos.write import own_suffix
from ...engine.pictures.films import tiled
from ...engine.pictures.sheet import save_png, sheet
from ...store.errors import InputError
from ...store.library import OWN_SUFFIX
from ...store.progress import Report
from ...store.records import Record
from ..bodies import (
    BODIES,
    ChannelsBody,
    CropsBody,
    EditBody,
    FilmBody,
    InversionBody,
    MapperBody,
    OfPhoto,
    OptimiseBody,
    SamplesBody,
    TextsBody,
)
from .nouns import INPUTS, INVERSIONS, Kind

_PHOTO, _LATENTS, _MASK = (Path(INPUTS[name]) for name in ("photo", "latents", "mask"))
_EDITED = Path("edited")
_CELL = 256
"""Pixels of the longer side of pictures that are many."""
_WHOLE_SIDE, _WEBP_SIDE = 256, 4096
"""Up to how many pixels wide and high the smaller pictures lose nothing, since it would be seen;
and up to how many there are any."""


@dataclass(frozen=True)
class Made:
    """What came of a job.

    Args:
        record: what the command would tell as JSON.
        pictures: each with the `file` it is in, its `role`, and what else there is to tell.
        latents: a file of them.
    """

    record: Record
    pictures: list[Record] = field(default_factory=list)
    latents: str | None = None

    def measured(self) -> Made:
        """The same with the `width` and `height` of pictures, and a WebP beside each PNG but huge
        ones."""
        return replace(self, pictures=[_measured(picture) for picture in self.pictures])


def _measured(picture: Record) -> Record:
    path = Path(picture["file"])
    if path.suffix == ".mp4":  # which tells players
        return picture
    with Image.open(path) as image:
        if path.suffix == ".png" and max(image.size) <= _WEBP_SIDE:
            whole = max(image.size) <= _WHOLE_SIDE
            # Where nothing is lost, the quality is how long it looks for fewer bytes.
            how = {"lossless": whole, "quality": 20 if whole else 90, "method": 2}
            image.save(path.with_suffix(".webp"), "WEBP", **how)
        return {**picture, "width": image.width, "height": image.height}


class Bench:
    """What all jobs of a worker share.

    Args:
        mappers: a folder of them.
        report: told how far a job is.
        tell: told in a line what there is to know.
    """

    def __init__(
        self, editor: Editor, mappers: Path, report: Report, tell: Callable[[str], None]
    ) -> None:
        self.editor, self.mappers, self.report, self.tell = editor, mappers, report, tell

    @cached_property
    def finder(self) -> FaceFinder:
        """Finds faces."""
        return load_face_finder(self.editor.generator.device)

    @cached_property
    def identity(self) -> Identity | None:
        """What the identity loss of an optimisation sees."""
        model, encoder = self.editor.generator, self.editor.texts.encoder
        return load_identity(usual_identity(model), encoder, model.device)

    def images(self, body: EditBody | MapperBody | OptimiseBody) -> Images:
        """Those that a job starts from."""
        generator = self.editor.generator
        if body.seeds is not None:
            return Images.of_seeds(generator, body.seeds, body.truncation, body.label)
        if isinstance(body, OptimiseBody) or body.latents is not None:
            return Images.of_file(generator, _LATENTS, body.truncation, body.label)
        return images_of_photos(self.editor, _photo_job(body), self.tell)[0]

    def mapper(self, name: str) -> Path:
        """The file of a mapper, with or without its `.safetensors`.

        Raises:
            InputError: there is none.
        """
        for path in (self.mappers / name, self.mappers / f"{name}{OWN_SUFFIX}"):
            if path.is_file():
                return path
        raise InputError(f"mapper {name}: there is none of this name; ask which there are")

    def work(self, kind: Kind, body: Mapping[str, Any]) -> Made:
        """Does a job in the folder of it.

        Raises:
            StyleAtlasError: what cannot be done.
        """
        return _WORK[kind](self, BODIES[kind].model_validate(body)).measured()

    def edit_seeds(self, bodies: Sequence[Mapping[str, Any]]) -> list[Made]:
        """Edits that are the same but for their seeds, rendered together, each image once, into
        the folder of the first one."""
        read = [EditBody.model_validate(body) for body in bodies]
        seeds = list(dict.fromkeys(seed for body in read for seed in body.seeds or ()))
        body = read[0].model_copy(update={"seeds": seeds})
        made = _edit_images(self, body).measured()
        shares = []
        for one in read:
            own = {f"seed {seed}" for seed in one.seeds or ()}
            images = [image for image in made.record["images"] if image["image"] in own]
            pictures = [picture for picture in made.pictures if picture["image"] in own]
            shares.append(Made({**made.record, "images": images}, pictures))
        return shares


def _edit(bench: Bench, body: EditBody) -> Made:
    return _edit_images(bench, body) if body.photo is None else _edit_photo(bench, body)


def _edit_images(bench: Bench, body: EditBody) -> Made:
    """A picture an image."""
    images = bench.images(body)
    request, output = body.request(), Output(_EDITED)
    output.require(bench.editor, images, request)
    record, _ = produce(bench.editor, images, request, output, bench.report)
    pictures = [_picture(_EDITED / f"{name}.png", "picture", image=name) for name in images.names]
    return Made(strongest(record), pictures)


def _edit_photo(bench: Bench, body: EditBody) -> Made:
    """The whole photo, in its own format, the edited crops of it, and what each was before."""
    with _PHOTO.open("rb") as file:
        whole = Path(f"edited{own_suffix(kind_of(file.read(HEAD)) or '')}")
    shown = Path("sheet.png")
    request = body.request()
    record, styles = edit_photo(bench.editor, _photo_job(body), request, whole, bench.tell, shown)
    pictures = [_picture(whole, "photo"), _picture(shown, "sheet")]
    for number, image in enumerate(_rendered(bench.editor, styles), 1):
        crop = Path(f"crop-{number}.png")
        save_png(tiled(image[None]), crop)
        pictures.append(_picture(crop, "crop", face=number))
    return Made(strongest(record), pictures)


@torch.inference_mode()
def _rendered(editor: Editor, styles: Tensor) -> Tensor:
    return torch.cat(list(render_batches(editor.generator, styles)))


def _film(bench: Bench, body: FilmBody) -> Made:
    images, request = bench.images(body), body.request()
    output = Output(Path(f"film.{body.format}"), body.seconds, body.fps)
    output.require(bench.editor, images, request)
    record, _ = produce(bench.editor, images, request, output, bench.report)
    return Made(strongest(record), [_picture(output.path, "film")])


def _invert(bench: Bench, body: InversionBody) -> Made:
    settings = InvertSettings(space=body.space, steps=body.steps, label=body.label)
    job, shown = _photo_job(body, settings), Path("sheet.png")
    made = Path("inverted.npz")
    record = invert_photos(bench.editor, job, made, shown, tell=bench.tell, report=bench.report)
    return Made(record, [_picture(shown, "sheet")], os.fspath(made))


def _optimise(bench: Bench, body: OptimiseBody) -> Made:
    names = {part.name for part in fields(OptimiseSettings)} - {"freeze"}
    given = {name: value for name, value in body.model_dump().items() if name in names}
    settings = OptimiseSettings(**given, freeze=tuple(body.freeze))
    job = OptimiseJob(body.neutral, (body.target,), settings, Path("optimised.png"))
    editor, images = bench.editor, bench.images(body)
    job.require(editor.generator, images)
    record, _ = optimise(
        editor.generator,
        editor.texts.encoder,
        images,
        job,
        bench.identity,
        editor,
        bench.tell,
        bench.report,
    )
    return Made(record, [_picture(job.output, "sheet")])


def _mapper(bench: Bench, body: MapperBody) -> Made:
    editor, path = bench.editor, bench.mapper(body.mapper)
    tuned = editor.generator.identity.tuned_from is not None
    mapper = read_mapper(path, editor.generator, tuned)
    images, shown = bench.images(body), Path("mapped.png")
    made = apply_mapper(mapper, editor.generator, images.styles, images.w, body.strength)
    picture = applied_sheet(editor.generator, images.styles, images.names, [made], False)
    save_png(picture, shown)
    told = {"file": path.name, **mapper_record(summarise_mapper(path))}
    record = {"mapper": told, "images": applied_records(images.names, [made])}
    return Made(record, [_picture(shown, "sheet")])


def _crops(bench: Bench, body: CropsBody) -> Made:
    """What of a photo would be edited: its faces, the largest first, or the one part."""
    align = _align(body.align) or usual_align(bench.editor.atlas)
    cuts = cuts_of(
        read_photo(_PHOTO),
        bench.editor.generator.image_size,
        align,
        "all" if align == "face" else 1,
        lambda: bench.finder,
    )
    rows, pictures = [], []
    for number, cut in enumerate(cuts, 1):
        path = Path(f"crop-{number}.png")
        save_png(Image.fromarray(cut.pixels), path)
        pictures.append(_picture(path, "crop", face=number))
        quad = np.round(cut.alignment.quad, 2).tolist()
        rows.append({"face": number, "place": cut.alignment.place, "quad": quad})
    return Made({"align": align, "crops": rows}, pictures)


def _texts(bench: Bench, body: TextsBody) -> Made:
    embedded = [bench.editor.texts.embed(text).tolist() for text in body.prompts]
    return Made({"prompts": body.prompts, "embeddings": embedded})


def _channels(bench: Bench, body: ChannelsBody) -> Made:
    atlas, generator = bench.editor.atlas, bench.editor.generator
    flats = [atlas.layout.parse(channel) for channel in body.channels]
    require_sheet(generator.image_size, len(flats) * len(body.seeds), body.steps)
    styles = styles_from_seeds(generator, body.seeds, body.truncation, body.label)
    records, shown, bare = sheet_records(atlas, flats), Path("channels.png"), Path("cells.png")
    save_png(draw_sheet(generator, atlas, styles, body.seeds, records, body.steps), shown)
    images = channel_images(generator, atlas, styles, flats, body.steps, _CELL)
    save_png(sheet([list(row) for flat in flats for row in images[flat]]), bare)
    told = {"seeds": body.seeds, "steps": body.steps, "channels": records}
    return Made(told, [_picture(shown, "sheet"), _picture(bare, "cells")])


def _samples(bench: Bench, body: SamplesBody) -> Made:
    editor, shown = bench.editor, Path("samples.png")
    asked = ask_samples(editor.atlas, editor.texts, body.neutral, body.target)
    draw_samples(editor.generator, editor.atlas, body.target, asked, shown)
    return Made(asked.record, [_picture(shown, "sheet")])


_WORK: Mapping[Kind, Callable[[Bench, Any], Made]] = {
    "edit": _edit,
    "film": _film,
    "inversion": _invert,
    "optimise": _optimise,
    "mapper": _mapper,
    "crops": _crops,
    "texts": _texts,
    "channels": _channels,
    "samples": _samples,
}


def _photo_job(body: OfPhoto, settings: InvertSettings | None = None) -> PhotoJob:
    """Never with the user's cache: what is remembered of a photo must end with it (`Pictures`)."""
    faces = () if body.face == "all" else ((body.face, 1.0),)
    settings = settings or InvertSettings()
    only = _MASK if isinstance(body, EditBody) and body.mask is not None else None
    return PhotoJob((_PHOTO,), _align(body.align), faces, settings, only, cache=Path(INVERSIONS))


def _align(given: str | list[float] | None) -> Align | None:
    if isinstance(given, list):
        x, y, size = given
        return (x, y, size)
    return given  # type: ignore[return-value] # its model says which words there are


def _picture(path: Path, role: str, **told: Any) -> Record:
    return {"file": os.fspath(path), "role": role, **told}
