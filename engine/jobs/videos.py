"""What one call of `edit` does with a video: frames in, one edit for all of them, a video out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...store.errors import InputError, OptionError
from ...store.progress import Progress, Report
from ...store.records import Record, counted, decimal, duration
from ..editor import Editor
from ..fallbacks.ways import LONG
from ..models.landmarks import FaceFinder, load_face_finder
from ..models.preprocess import as_rgb, from_bytes
from ..models.sampling import render_batches
from ..models.subject import Subject
from ..photos.align import Alignment, Quadrilateral, align_box, align_whole, crop, face_quad
from ..photos.cuts import Cut, usual_align
from ..photos.inversion import Inversion, Inverter
from ..photos.likeness import Likeness
from ..photos.paste import paste
from ..photos.photo import Photo, Pixels
from ..pictures.sheet import require_png, require_sheet_size, save_png, sheet
from ..steering.edits import as_meant
from ..steering.request import EditRequest
from ..videos.encode import GROUP, Group, Shown, write_video
from ..videos.follow import KIND, STEPS, Follower, Latents
from ..videos.ledger import Ledger, packed, unpacked
from ..videos.read import Frame, Video, frames_of, open_video
from ..videos.smooth import Smoothing
from ..videos.strength import key_frames, shares_of_keys
from ..videos.track import Track, bridged, choose_face, standing
from .edit import columns_of, recipe_of
from .edit_records import edit_record
from .images import Images
from .photo_job import PhotoJob, file_sha256, is_sheet
from .photo_words import crop_record, doubts_of_edit, doubts_of_inversion

_FACE, _END, _EDIT, _FILM = b"face", b"ends", b"edit", b"film"
_CROP, _LATENT = b"crop", KIND
"""Kinds of records."""
_SHOWN = 6  # key frames on a sheet


def edit_video(
    editor: Editor,
    job: PhotoJob,
    request: EditRequest,
    output: Path,
    shown: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    report: Report = lambda progress: None,
    smoothing: Smoothing = Smoothing(),  # noqa: B008 # it is frozen
) -> Record:
    """Edits one face, or part, of a video in all of its frames and writes it whole, with its sound.

    Args:
        shown: a PNG of crop, inversion and edit beside each other, of some frames.

    Returns:
        The record of `edit_record`, of the frames at which the strength was found, with one of the
        first crop in `photos`, see `crop_record`; and in `video` what became of its frames.

    Raises:
        InputError: a video that cannot be read, or shows no such face.
        OptionError: what does not go together with a video.
        OutputError: what cannot be written.
    """
    require_video_job(job, request, output)
    if shown is not None:
        require_png(shown)
        require_sheet_size(_SHOWN, 3, *editor.generator.image_size)
    request = replace(request, method="direction")
    video = open_video(job.photos[0])
    for note in video.notes:
        tell(f"{video.path}: {note}")
    _ = editor.texts.encoder  # by which crops are looked up
    asked = [pair for edit in request.edits for pair in as_meant(edit)]
    # What no direction leads to is told before hours of work.
    editor.directions([part for pair in asked for part in editor.parts(pair)], request.choice)
    job = job.settled(editor.photo_encoder)
    with Ledger(output, _plan(editor, job, request, smoothing)) as ledger:
        work = _VideoWork(editor, job, video, ledger, smoothing, tell, report)
        try:
            record = work.made(request)
            if shown is not None:
                work.show(shown)
            groups = (unpacked(one)["film"].tobytes() for one in ledger.all(_FILM))
            write_video(output, video, groups, job.marked, tell)
        except KeyboardInterrupt:
            tell(f"interrupted: {ledger.path} keeps the state: the same command resumes")
            raise
        except (InputError, OptionError):
            ledger.remove()  # of no use to anybody
            raise
        ledger.remove()
    return record


def require_video_job(job: PhotoJob, request: EditRequest, output: Path) -> None:
    """Raise OptionError where something does not go with a video."""
    name = job.photos[0]
    said = None
    if output.is_dir() or output.suffix.lower() != ".mp4":
        said = f"{output}: an edited video is an MP4; end the name in .mp4"
    elif output.exists() and output.samefile(name):
        said = f"{output}: is the video itself, and would be lost; name another"
    elif is_sheet(request):
        said = f"{name}: a video gets one edit; ask for one alpha, one beta, and no column more"
    elif request.method not in ("auto", "direction"):
        said = (
            f"method {request.method}: is of single images, and would make every frame another "
            "one; leave it out for a video"
        )
    elif job.only is not None:
        said = f"mask: stands still, and {name} is a video; leave it out"
    elif len(job.faces) != 1 or job.faces[0][1] != 1:
        said = f"face: one is followed through {name}; give its number alone"
    elif job.settings.space == "s":
        said = "space s: frames of a video are followed in w or w+; give one of them"
    if said is not None:
        raise OptionError(said)


def _plan(editor: Editor, job: PhotoJob, request: EditRequest, smoothing: Smoothing) -> Record:
    """All that decides what is written."""
    align = usual_align(editor.atlas) if job.align is None else job.align
    inputs = job.inputs(file_sha256(job.photos[0]), align, 1)
    images = Images(torch.zeros(1, 0), None, ("",), (0,), photos=inputs)
    recipe = recipe_of(editor, request, images).to_json()
    how = {"smoothing": list(smoothing), "steps": STEPS, "group": GROUP}
    return {"format": 1, "recipe": recipe, **how}


@dataclass(frozen=True, eq=False)
class _Edit:
    """What an edit does to frames: the steps (K, C) of key frames, and how much of each every frame
    takes, (n, K)."""

    steps: NDArray[np.float32]
    shares: NDArray[np.float64]

    def of(self, i: int) -> NDArray[np.float32]:
        """The step of a frame (C,)."""
        return np.asarray(self.shares[i] @ self.steps, np.float32)


class _VideoWork:
    """The work on a video, stage by stage; each goes on where a ledger says that it was left."""

    def __init__(
        self,
        editor: Editor,
        job: PhotoJob,
        video: Video,
        ledger: Ledger,
        smoothing: Smoothing,
        tell: Callable[[str], None],
        report: Report,
    ) -> None:
        self._editor, self._job, self._video = editor, job, video
        self._ledger, self._smoothing = ledger, smoothing
        self._tell, self._report = tell, report
        self._align = usual_align(editor.atlas) if job.align is None else job.align
        self._size = editor.generator.image_size
        self._inverter = Inverter.of(
            editor.generator,
            editor.atlas,
            editor.texts.encoder,
            cache=job.cache,
            photo_encoder=editor.photo_encoder,
        )

    def made(self, request: EditRequest) -> Record:
        """All stages but the writing; the record."""
        self._find()
        self._tell_of_frames()
        row = self._invert()
        record = self._edit(request)
        self._lay_back()
        return {**record, "photos": [row], "video": self._told(row)}

    # Where the face is.

    def _find(self) -> None:
        ledger = self._ledger
        if ledger.count(_END):
            return
        done, last = ledger.count(_FACE), None
        if done and self._align == "face":
            known = [unpacked(one)["quad"] for one in ledger.all(_FACE)]
            last = next((quad for quad in reversed(known) if np.isfinite(quad).all()), None)
        total = self._video.told or 1
        for frame in frames_of(self._video):
            if frame.number < done:
                continue
            quad = self._quad(frame, last)
            last = last if quad is None else quad
            lost = np.full((4, 2), np.nan)
            told = np.array([frame.time, frame.duration, frame.damaged], np.int64)
            ledger.add(_FACE, packed(told=told, quad=lost if quad is None else quad))
            self._progress("find", frame.number + 1, max(total, frame.number + 1))
        if not ledger.count(_FACE):
            raise InputError(f"{self._video.path}: has no frames; name a video that has some")
        ledger.add(_END, b"")

    def _quad(self, frame: Frame, last: Quadrilateral | None) -> Quadrilateral | None:
        """Where the crop lies in a frame; None where the face is not found."""
        if self._align == "face":
            (faces,) = self._finder.find([frame.pixels])
            chosen = choose_face(faces, last, self._job.faces[0][0])
            return None if chosen is None else face_quad(faces[chosen].points)
        photo = self._photo(frame.pixels, frame.number)
        if self._align == "none":
            return align_whole(photo, self._size).quad
        return align_box(photo, *self._align, self._size).quad

    @cached_property
    def _finder(self) -> FaceFinder:
        return load_face_finder(self._editor.generator.device)

    @cached_property
    def _frames(self) -> NDArray[np.int64]:
        """Time, duration and whether it is damaged, of each frame, (n, 3)."""
        return np.stack([unpacked(one)["told"] for one in self._ledger.all(_FACE)])

    @cached_property
    def _track(self) -> Track:
        found = [unpacked(one)["quad"] for one in self._ledger.all(_FACE)]
        quads = np.stack(found).astype(np.float64)
        times = self._frames[:, 0].astype(np.float64) * float(self._video.time_base)
        if self._align != "face":
            return standing(times, quads[0])
        return bridged(self._video.path, times, quads).smoothed(self._smoothing.crop)

    def _tell_of_frames(self) -> None:
        name, track = self._video.path, self._track
        if lost := int((~track.found).sum()):
            self._tell(
                f"{name}: {counted(lost, 'frame')} of {len(track):,} without the face stay as "
                "they are"
            )
        if damaged := int(self._frames[:, 2].sum()):
            self._tell(f"{name}: {counted(damaged, 'frame')} of {len(track):,} came damaged")

    # What it is drawn by.

    def _invert(self) -> Record:
        """The latents of frames; the record of the first crop."""
        ledger, track = self._ledger, self._track
        follower = Follower(self._inverter, self._job.settings)
        for note in self._inverter.notes:
            if self._job.settings.steps != 0 or not note.startswith("refined"):
                self._tell(f"note: {note}")
        places = self._latents.places()
        firsts = {a for a, _ in track.stretches}
        done, total = ledger.count(_LATENT), int(track.found.sum())
        if done < total:
            seconds = follower.estimate(total - done, len(firsts))
            if seconds > LONG:
                self._tell(
                    f"inverting {counted(total - done, 'frame')}: at most {duration(seconds)}"
                )
        if 0 < done < total:
            last = int(np.flatnonzero(places == done - 1)[0])
            first = max(a for a in firsts if a <= last)
            records = (ledger.read(_LATENT, int(places[i])) for i in (first, last))
            follower.take_up(*records)
        for frame in frames_of(self._video) if done < total else ():
            place = int(places[frame.number])
            if place < done:  # of a lost one, too
                continue
            cut = self._cut(frame)
            if frame.number not in firsts:
                record = follower.go_on(cut.pixels)
            else:
                found, record = follower.begin(cut.pixels)
                if place == 0:
                    ledger.add(_CROP, json.dumps(self._judged(cut, found)).encode())
            ledger.add(_LATENT, record)
            self._progress("invert", place + 1, total)
        row: Record = json.loads(ledger.read(_CROP, 0))
        return row

    def _judged(self, cut: Cut, found: Inversion) -> Record:
        """The record of the first crop, and what is to be said of it."""
        row = crop_record(cut, found, 0)
        if self._align == "face" and (likeness := Likeness.of(self._editor.generator)):
            drawn = self._editor.subject(found.styles).images[0]
            row["identity"] = decimal(likeness.of_inversion(cut, drawn))
        for doubt in doubts_of_inversion(row, self._size[1]):
            self._tell(f"{cut.photo.path}: {doubt}")
        return row

    @cached_property
    def _latents(self) -> Latents:
        return Latents(self._track, self._ledger, self._smoothing.latents)

    # How far it is edited.

    def _edit(self, request: EditRequest) -> Record:
        """The steps of key frames; the record of them."""
        ledger, editor, keys = self._ledger, self._editor, self._keys
        done = ledger.count(_EDIT)
        record: Record = {}
        if done:
            record = json.loads(unpacked(ledger.read(_EDIT, done - 1))["record"].tobytes())
        for i, styles in self._latents.smoothed(iter(keys[done:])):
            subject = Subject(editor.generator, self._tensor(styles)[None])
            (column,) = columns_of(editor, subject, request)
            record = edit_record(editor.atlas, [column], [f"frame {i + 1}"], record)
            step = (column.result.styles - column.result.before)[0].float().cpu().numpy()
            told = np.frombuffer(json.dumps(record).encode(), np.uint8)
            ledger.add(_EDIT, packed(step=step, record=told))
            self._progress("edit", ledger.count(_EDIT), len(keys))
        return record

    @cached_property
    def _keys(self) -> list[int]:
        return key_frames(self._track)

    @cached_property
    def _steps(self) -> _Edit:
        steps = np.stack([unpacked(one)["step"] for one in self._ledger.all(_EDIT)])
        return _Edit(steps, shares_of_keys(self._track, self._keys, self._smoothing.strength))

    def _tensor(self, styles: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(styles).to(self._editor.generator.device)

    # Back into the frames.

    def _lay_back(self) -> None:
        ledger, track = self._ledger, self._track
        done = ledger.count(_FILM) * GROUP
        there = (int(i) for i in np.flatnonzero(track.found) if i >= done)
        drawn = self._drawn(there)
        group = Group(self._video)
        told: list[tuple[float, float]] = []
        for frame in frames_of(self._video):
            if frame.number < done or frame.number >= len(track):
                continue
            pixels = frame.pixels
            if track.found[frame.number]:
                number, before, after = next(drawn)
                assert number == frame.number
                pasted = paste(frame.pixels, track.quads[number], before, after)
                pixels = pasted.photo
                told.append((pasted.kept, pasted.cut))
            group.add(Shown(frame.time, frame.duration, pixels))
            if len(group) == GROUP or frame.number == len(track) - 1:
                film = np.frombuffer(group.finished(), np.uint8)
                ledger.add(_FILM, packed(told=np.array(told).reshape(-1, 2), film=film))
                group, told = Group(self._video), []
            self._progress("lay back", frame.number + 1, len(track))

    @torch.inference_mode()
    def _drawn(self, frames: Iterator[int]) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Of frames that show the face: how it is drawn before and after the edit."""
        generator = self._editor.generator
        for i, styles in self._latents.smoothed(frames):
            pair = np.stack([styles, styles + self._steps.of(i)])
            before, after = torch.cat(list(render_batches(generator, self._tensor(pair))))
            yield i, before, after

    def _cut(self, frame: Frame) -> Cut:
        photo, quad = self._photo(frame.pixels, frame.number), self._track.quads[frame.number]
        pixels = crop(photo, quad, self._size)
        return Cut(photo, Alignment(quad, self._place), pixels, f"frame {frame.number + 1}")

    @property
    def _place(self) -> str:
        """What is followed, in words."""
        if self._align == "face":
            return f"face {self._job.faces[0][0]}"
        if self._align == "none":
            return "whole picture"
        return "box " + ",".join(f"{x:g}" for x in self._align)

    def _photo(self, pixels: Pixels, number: int) -> Photo:
        name = f"{self._video.path}, frame {number + 1}"
        return Photo(name, pixels, None, None, None, "PNG", None, None, None, ())

    def show(self, path: Path) -> None:
        """Crop, inversion and edit of some frames, a row each."""
        keys = self._keys
        chosen = sorted({keys[round(k)] for k in np.linspace(0, len(keys) - 1, _SHOWN)})
        drawn = {i: pair for i, *pair in self._drawn(iter(chosen))}
        rows, names = [], []
        for frame in frames_of(self._video):
            if frame.number in drawn:
                (seen,) = from_bytes(torch.tensor(self._cut(frame).pixels)[None])
                pair = as_rgb(torch.stack(drawn[frame.number]).float().cpu())
                rows.append((seen, *pair))
                names.append(f"frame {frame.number + 1}")
        save_png(sheet(rows, names, ("video", "inversion", "edit")), path)

    # What became of it.

    def _told(self, row: Record) -> Record:
        """What became of a video's frames; completes the record of the first crop."""
        track = self._track
        distance, steps = self._latents.told()
        laid = np.concatenate([unpacked(one)["told"] for one in self._ledger.all(_FILM)])
        kept, cut = laid[:, 0].mean(), laid[:, 1].max()
        row |= {"kept": decimal(kept), "cut": decimal(cut)}
        for doubt in doubts_of_edit(row):
            self._tell(f"{self._video.path}: {doubt}")
        sides = np.linalg.norm(track.quads[:, 3] - track.quads[:, 0], axis=1)[track.found]
        return {
            "file": Path(self._video.path).name,
            "frames": len(track),
            "seconds": decimal(track.times[-1] - track.times[0]),
            "edited": int(track.found.sum()),
            "left": int((~track.found).sum()),
            "stretches": len(track.stretches),
            "damaged": int(self._frames[:, 2].sum()),
            "sounds": self._video.sounds,
            "key_frames": [i + 1 for i in self._keys],
            "pixels": [decimal(sides.min()), decimal(sides.max())],
            "distance": [decimal(distance.mean()), decimal(distance.max())],
            "steps": int(steps.sum()),
        }

    def _progress(self, stage: str, done: int, total: int) -> None:
        record: dict[str, Any] = {"stage": stage, "frames": done, "of": total}
        self._report(
            Progress(done, total, part=stage, label=stage, record=record, spare=done < total)
        )
