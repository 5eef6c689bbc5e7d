"""From photos to latents, and from edited latents back into photos."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...store.atlas import Atlas
from ...store.errors import OptionError, wrong_type
from ...store.progress import Report
from ...store.records import counted, duration
from ..fallbacks.ways import LONG
from ..models.landmarks import FaceFinder, load_face_finder
from ..models.preprocess import as_rgb, from_bytes, to_bytes
from ..models.protocols import Generator, JointEncoder, PhotoEncoder
from .colour import from_srgb
from .cuts import Cut, cuts_of, require_align, usual_align
from .inversion import Inversion, Inverter, InvertSettings
from .paste import Pasted, paste
from .photo import Photo, Pixels
from .read import read_photo


@dataclass(frozen=True, eq=False)
class Inverted:
    """Photos as the generator draws them.

    Args:
        cuts: what was cut out of them, n.
        inversion: of these.
        notes: what it was made without, as sentences for people.
    """

    cuts: tuple[Cut, ...]
    inversion: Inversion
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.cuts)

    def edited(self, before: Tensor, after: Tensor) -> tuple[EditedCut, ...]:
        """With their renders before and after an edit, (n, channels, H, W)."""
        return tuple(map(EditedCut, self.cuts, before, after))

    def __repr__(self) -> str:
        names = ", ".join(cut.name for cut in self.cuts[:3])
        more = ", ..." if len(self.cuts) > 3 else ""
        return f"<Inverted: {counted(len(self.cuts), 'crop')} ({names}{more})>"


@dataclass(frozen=True, eq=False)
class EditedCut:
    """A part of a photo, before and after an edit.

    Args:
        cut: the photo's own.
        inversion, edit: as the generator draws it, (channels, H, W) in [-1, 1].
    """

    cut: Cut
    inversion: Tensor
    edit: Tensor

    def __repr__(self) -> str:
        return f"EditedCut({self.cut!r})"

    def pasted(self, only: NDArray[np.uint8] | None = None, onto: Pixels | None = None) -> Pasted:
        """The photo with the edit in it; see `paste`.

        Args:
            only: uint8 (H, W), where the photo may change: 0 nowhere, 255 fully.
            onto: the photo as other edits left it; as it was read if not given.

        Raises:
            OptionError: a mask of another size or type.
        """
        photo = self.cut.photo
        pixels = photo.pixels if onto is None else onto
        if photo.alpha is None:
            return self._pasted(pixels, only)
        # What is seen through is edited as it is seen: over white.
        seen = replace(photo, pixels=pixels).seen()
        made = self._pasted(seen, only)
        left, top, right, bottom = made.box
        part = np.s_[top:bottom, left:right]
        moved = pixels[part].astype(np.int16) + made.photo[part] - seen[part]
        changed = (made.mask > 0) & (photo.alpha[part] > 0)
        whole = pixels.copy()
        whole[part][changed] = moved.clip(0, 255).astype(np.uint8)[changed]
        return replace(made, photo=whole)

    def _pasted(self, pixels: Pixels, only: NDArray[np.uint8] | None) -> Pasted:
        quad = self.cut.alignment.quad
        return paste(pixels, quad, self._render(self.inversion), self._render(self.edit), only)

    def _render(self, render: Tensor) -> Tensor:
        """A render in the colours of the photo's profile."""
        profile = self.cut.photo.profile
        if profile is None:
            return render
        levels = to_bytes(as_rgb(render[None].float()))[0].cpu().numpy()
        return from_bytes(torch.tensor(from_srgb(levels, profile))[None])[0]


def put_back(
    edited: Sequence[EditedCut], only: NDArray[np.uint8] | None = None
) -> tuple[Pixels, list[Pasted]]:
    """A photo with all edits of its parts in it, (H, W, 3), and what each changed.

    Raises:
        OptionError: parts of several photos, or of none; a mask of another size or type.
    """
    photos = {id(one.cut.photo): one.cut.photo for one in edited}
    if len(photos) != 1:
        raise OptionError(f"photos: are {len(photos)}; put edits back into one at a time")
    (photo,) = photos.values()
    pixels, made = photo.pixels, []
    for one in edited:
        made.append(one.pasted(only, pixels))
        pixels = made[-1].photo
    return pixels, made


class Photographs:
    """Finds what of photos is edited, and what the generator draws it by.

    Args:
        encoder: loads the atlas's CLIP.
        photo_encoder: of the generator, where there is one.
        announce: told in a line what takes long, before it begins.
        report: told of the progress of inversions.
    """

    def __init__(
        self,
        generator: Generator,
        atlas: Atlas,
        encoder: Callable[[], JointEncoder],
        announce: Callable[[str], None],
        report: Report,
        photo_encoder: PhotoEncoder | None = None,
    ) -> None:
        self._generator, self._atlas, self._encoder = generator, atlas, encoder
        self._photo_encoder = photo_encoder
        self._announce, self._report = announce, report
        self._inverters: dict[bool | Path, Inverter] = {}

    @cached_property
    def _finder(self) -> FaceFinder:
        return load_face_finder(self._generator.device)

    def invert(
        self,
        photo: Any,
        align: Any,
        face: Any,
        settings: InvertSettings | None,
        cache: bool | str | os.PathLike[str],
        state: str | os.PathLike[str] | None = None,
        frames: int = 0,
    ) -> Inverted:
        """See `Editor.invert`."""
        if isinstance(photo, Inverted):
            return photo
        if settings is not None and not isinstance(settings, InvertSettings):
            raise wrong_type("invert", settings, "InvertSettings")
        chosen = usual_align(self._atlas) if align is None else require_align(align)
        size = self._generator.image_size
        cuts = tuple(
            cut
            for one in _photos(photo)
            for cut in cuts_of(one, size, chosen, face, lambda: self._finder)
        )
        place = None if state is None else Path(state)
        where = cache if isinstance(cache, bool) else Path(cache)
        return self._inverted(cuts, settings or InvertSettings(), where, place, frames)

    def _inverted(
        self,
        cuts: tuple[Cut, ...],
        settings: InvertSettings,
        cache: bool | Path,
        state: Path | None,
        frames: int,
    ) -> Inverted:
        if cache not in self._inverters:
            self._inverters[cache] = Inverter.of(
                self._generator,
                self._atlas,
                self._encoder(),
                cache=cache,
                photo_encoder=self._photo_encoder,
            )
        inverter = self._inverters[cache]
        crops = [cut.pixels for cut in cuts]
        new = len(crops) if frames else inverter.new(crops, settings)
        seconds = inverter.estimate(new, settings) if new else 0.0
        if seconds > LONG:
            self._announce(
                f"inverting {counted(new, 'crop')}: at most {duration(seconds)}; --steps 0 takes "
                "where it begins, at once"
            )
        found = inverter.invert(crops, settings, self._report, state, frames)
        refined = settings.steps != 0
        notes = [note for note in inverter.notes if refined or not note.startswith("refined")]
        return Inverted(cuts, found, tuple(notes))


def _photos(given: Any) -> Iterator[Photo]:
    """One at a time, since a large one takes hundreds of megabytes."""
    if isinstance(given, Photo | str | os.PathLike):
        given = [given]
    if not isinstance(given, list | tuple) or not given:
        raise wrong_type("photo", given, "a file, a Photo, what Editor.invert returned, or a list")
    for one in given:
        if not isinstance(one, Photo | str | os.PathLike):
            raise wrong_type("photo", one, "a file, or a Photo")
        yield one if isinstance(one, Photo) else read_photo(one)
