"""Which photos a job edits, what of them, and what is written of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ...store.errors import InputError, OptionError
from ...store.records import Record
from ..models.protocols import PhotoEncoder
from ..photos.cuts import Align, Faces, require_align
from ..photos.inversion import InvertSettings
from ..steering.request import EditRequest
from ..videos.read import is_video

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif")
"""Of the files of a folder that are taken for photos."""
FILMS = (".gif", ".mp4")


@dataclass(frozen=True)
class PhotoJob:
    """Which photos, and what of them.

    Args:
        photos: files, see `photo_files`.
        align: as `Editor.invert` takes it; usual for the generator if not given.
        faces: the numbers of faces, each with a factor of the edit's strength; none stands for all
            faces.
        settings: of their inversion.
        only: a picture that is white where the photo may change; see `read_mask`.
        cache: whether inversions are remembered, in the user's cache; or the folder for it.
        marked: whether what is written says that it was edited, and by what.
    """

    photos: tuple[Path, ...]
    align: Align | None = None
    faces: tuple[tuple[int, float], ...] = ((1, 1.0),)
    settings: InvertSettings = InvertSettings()  # noqa: RUF009 # it is frozen
    only: Path | None = None
    cache: bool | Path = True
    marked: bool = True

    def settled(self, encoder: PhotoEncoder | None) -> PhotoJob:
        """The same where this photo encoder, or none, is at hand; see `InvertSettings.begun_by`.

        Raises:
            OptionError: it starts by another one.
        """
        known = None if encoder is None else encoder.identity
        return replace(self, settings=self.settings.begun_by(known))

    @property
    def face(self) -> Faces:
        """As `Editor.invert` takes it."""
        numbers = tuple(number for number, _ in self.faces)
        return "all" if not numbers else 1 if numbers == (1,) else numbers

    @property
    def is_video(self) -> bool:
        """Whether a video is to be edited; among photos it is none that can be read."""
        return len(self.photos) == 1 and is_video(self.photos[0])

    def weights(self, count: int) -> tuple[float, ...]:
        """Of so many crops of a photo."""
        return tuple(weight for _, weight in self.faces) if self.faces else (1.0,) * count

    def inputs(self, sha256: str, align: Align, count: int) -> tuple[Record, ...]:
        """What a recipe keeps of each crop of a photo of this hash."""
        numbers = [number for number, _ in self.faces] or list(range(1, count + 1))
        how = {"align": list(align) if isinstance(align, tuple) else align}
        invert = self.settings.record()
        return tuple(
            {"sha256": sha256, **how, "face": number, "weight": weight, "invert": invert}
            for number, weight in zip(numbers, self.weights(count), strict=True)
        )


def replayed(inputs: Mapping[str, Any], sha256: str) -> Record:
    """What a recipe of photos tells of the photo of this hash, as fields of a `PhotoJob`; nothing
    where it was made of others.

    Raises:
        InputError: the recipe tells something else than StyleAtlas does.
    """
    told = inputs.get("photos")
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise InputError("recipe: photos must be a list of objects; it is none of StyleAtlas's")
    mine = [one for one in told if one.get("sha256") == sha256]
    if not mine:
        return {}
    try:
        invert = mine[0]["invert"]
        known = {part.name for part in fields(InvertSettings)}
        if not isinstance(invert, dict) or invert.keys() - known:
            raise OptionError("invert: has an unknown part")
        faces = tuple((one["face"], float(one["weight"])) for one in mine)
        if not all(type(number) is int and number > 0 for number, _ in faces):
            raise OptionError("face: is no number")
        align = require_align(mine[0]["align"])
        return {"align": align, "faces": faces, "settings": InvertSettings(**invert)}
    except (KeyError, TypeError, ValueError, OptionError) as error:
        raise InputError(
            f"recipe: what it tells of a photo is not as StyleAtlas writes it ({error})"
        ) from error


def photo_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Files as they are, and for folders the pictures in them, by their names.

    Raises:
        InputError: a folder without any.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
        shown = sorted(file for file in inside if file.is_file() and file.name[0] != ".")
        if not shown:
            raise InputError(f"{path}: holds no pictures; name a photo, or a folder of them")
        found += shown
    return tuple(found)


def photo_kind(
    path: Path, request: EditRequest, count: int
) -> Literal["photo", "sheet", "film", "folder"]:
    """What is written to a path of so many photos: a whole photo, a sheet of crops where there are
    several columns of them, a film of crops, or a folder of whole photos or sheets.

    Raises:
        OptionError: a name that does not suit what is asked for.
    """
    if path.is_dir() or not path.suffix:
        return "folder"
    if path.suffix.lower() in FILMS:
        return "film"
    if is_sheet(request):
        if path.suffix.lower() == ".png":
            return "sheet"
        raise OptionError(
            f"{path}: several columns make a sheet of crops, which is a PNG; end the name in .png, "
            "or ask for one alpha, and no --before, for the whole photo"
        )
    if count > 1:
        raise OptionError(f"{path}: is one picture, and the photos are {count}; name a folder")
    return "photo"


def is_sheet(request: EditRequest) -> bool:
    """Whether several images come of each, which are put beside each other."""
    return request.columns * request.rows + request.before > 1


def file_sha256(path: Path) -> str:
    """Of a photo, by which a recipe knows it.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be read ({reason}); check it") from error
    return digest.hexdigest()
