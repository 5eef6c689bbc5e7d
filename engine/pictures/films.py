"""Films of edits: there and back again, as GIF, WebP or MP4."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...store.errors import OptionError, OutputError
from ...store.output import replacing, require_writable
from ..models.preprocess import as_rgb
from .sheet import sheet

MAX_FPS = {".gif": 50, ".webp": 60, ".mp4": 60}
"""Frames a second, by file name extension; viewers slow GIFs of more than 50 down."""
MAX_SECONDS = 60
MAX_FRAME_PIXELS = 4096 * 4096
MAX_FILM_PIXELS = 300_000_000
_Order = Callable[[Iterable[Image.Image]], Iterator[Image.Image]]
_QUALITY = 17  # x264's constant rate factor: no difference can be seen
_PALETTE = 255  # leaves one for what did not change
_SAMPLES, _SAMPLE = 16, 64  # frames for the palette, and their side
_DITHER = 10  # of 255: about a step of the palette


def trip(alpha: float, seconds: float, fps: float) -> list[float]:
    """The alphas on the way there, from 0 to `alpha` with an ease at both ends (a half cosine).

    A film of `seconds` at `fps` frames a second goes that way and back, so these are one more
    than half of its frames.

    Raises:
        OptionError: no time, more than 60 s, or no frames a second.
    """
    if not 0 < seconds <= MAX_SECONDS:
        raise OptionError(f"seconds {seconds:g}: must be above 0 and at most {MAX_SECONDS}")
    if not 0 < fps <= max(MAX_FPS.values()):
        raise OptionError(
            f"frames a second {fps:g}: must be above 0 and at most {max(MAX_FPS.values())}"
        )
    steps = max(1, round(seconds * fps / 2))
    return [alpha * (1 - math.cos(math.pi * i / steps)) / 2 for i in range(steps + 1)]


def tour(stops: int, seconds: float, fps: float) -> list[tuple[int, float]]:
    """The frames of a film that goes from one of several stops to the next and from the last back
    to the first, with an ease at each: the stop that a frame comes from, and its share of the way
    to the next. As many frames for every way, `seconds` of `fps` a second in all.

    Raises:
        OptionError: see `trip`.
    """
    shares = trip(1, 2 * seconds / stops, fps)[:-1]
    return [(stop, share) for stop in range(stops) for share in shares]


def tiled(images: Tensor) -> Image.Image:
    """A frame of n images (n, 1, 3 or 4, H, W) in [-1, 1], in rows about as many as columns; places
    that are left over are white, and so is what lies below RGBA."""
    columns = _columns(len(images))
    left_over = -len(images) % columns
    images = as_rgb(images)  # on their device, which makes bytes of them
    blank = images.new_ones(left_over, *images.shape[1:])
    cells = [*images, *blank]
    return sheet([cells[i : i + columns] for i in range(0, len(cells), columns)])


def require_film(
    path: str | os.PathLike[str], images: int, size: tuple[int, int], frames: int, fps: float
) -> None:
    """Raise unless a film of `images` a frame, each of a `size` (height, width), with `frames` on
    the way there, can be written; called before they are rendered.

    Raises:
        OutputError: another file name extension than .gif, .webp and .mp4, a place that cannot be
            written, or an MP4 without what writes it.
        OptionError: frames too large, too many, or too many a second.
    """
    kind = _kind(path)
    require_writable(path)
    if kind == ".mp4":
        _require_encoder(path)
    if fps > MAX_FPS[kind]:
        raise OptionError(
            f"frames a second {fps:g}: {kind} films have at most {MAX_FPS[kind]}; ask for fewer"
        )
    height, width = size
    pixels = _columns(images) * math.ceil(images / _columns(images)) * height * width
    if pixels > MAX_FRAME_PIXELS:
        raise OptionError(
            f"film of {images} images of {width} x {height}: is too large; ask for fewer seeds"
        )
    if pixels * frames > MAX_FILM_PIXELS:
        raise OptionError(
            f"film of {frames} frames with {images} images of {width} x {height}: is too long; "
            "ask for fewer seconds, frames a second or seeds"
        )


def write_film(path: str | os.PathLike[str], frames: Iterable[Image.Image], fps: float) -> None:
    """Writes a film that goes through `frames`, of one size and at least two, and back to the
    second, so that it loops without a seam. The file is written whole or not at all.

    Frames are taken as they come; those so far are held as 8-bit pictures for the way back. GIF
    frames share one palette, so that colours do not flicker; MP4 is H.264, and has no loop of its
    own.

    Raises:
        OutputError: see `require_film`; or the film cannot be written.
    """
    _write(path, frames, fps, _there_and_back)


def write_loop(path: str | os.PathLike[str], frames: Iterable[Image.Image], fps: float) -> None:
    """Writes a film of `frames` as they are, the last of which leads to the first; see
    `write_film`."""
    _write(path, frames, fps, iter)


def _write(
    path: str | os.PathLike[str], frames: Iterable[Image.Image], fps: float, shown: _Order
) -> None:
    """Args: shown: frames in the order in which they are shown, each made once."""
    kind = _kind(path)
    if kind == ".mp4":
        _require_encoder(path)
    with replacing(path) as file:
        if kind == ".mp4":
            _write_mp4(file, path, shown(frames), fps)
        elif kind == ".gif":
            _write_gif(file, list(frames), fps, shown)
        else:
            _save_all(file, "WEBP", shown(frames), fps, unit=1, quality=90)


def _columns(images: int) -> int:
    return math.ceil(math.sqrt(images))


def _kind(path: str | os.PathLike[str]) -> str:
    kind = Path(path).suffix.lower()
    if kind not in MAX_FPS:
        raise OutputError(f"{path}: films are GIF, WebP or MP4; end the name in .gif, .webp, .mp4")
    return kind


def _require_encoder(path: str | os.PathLike[str]) -> None:
    if find_spec("av") is None:
        raise OutputError(
            f"{path}: MP4 films need PyAV; install it with `pip install 'styleatlas[video]'`, "
            "or end the name in .gif"
        )
    import av

    if "libx264" not in av.codecs_available:
        raise OutputError(
            f"{path}: this PyAV has no H.264 encoder; install it from PyPI with "
            "`pip install 'styleatlas[video]'`, or end the name in .gif"
        )


def _there_and_back(frames: Iterable[Image.Image]) -> Iterator[Image.Image]:
    there = []
    for frame in frames:
        there.append(frame)
        yield frame
    yield from there[-2:0:-1]


def _durations(frames: int, fps: float, unit: int) -> list[int]:
    """How long each frame is shown in milliseconds, in whole units; roundings do not add up."""
    ends = [round(i * 1000 / fps / unit) * unit for i in range(frames + 1)]
    return [end - start for start, end in pairwise(ends)]


def _write_gif(file: BinaryIO, frames: list[Image.Image], fps: float, shown: _Order) -> None:
    palette = _palette(frames)
    there = [
        _dithered(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames
    ]
    _save_all(file, "GIF", shown(there), fps, unit=10, optimize=False)


def _dithered(frame: Image.Image) -> Image.Image:
    """A frame with the steps between its colours to come broken up by a fixed pattern, which
    stands still from frame to frame; one of error diffusion would boil."""
    pixels = np.asarray(frame.convert("RGB"))
    height, width = pixels.shape[:2]
    rows, columns = np.arange(height)[:, None], np.arange(width)
    pattern = np.zeros((height, width))
    for bit in range(3):  # Bayer's matrix of 8 x 8
        x, y = (columns >> bit) & 1, (rows >> bit) & 1
        pattern += ((x ^ y) * 2 + y) / 4 ** (bit + 1)
    changed = pixels + (pattern[..., None] - 0.5) * _DITHER
    return Image.fromarray(changed.round().clip(0, 255).astype(np.uint8))


def _save_all(
    file: BinaryIO,
    kind: str,
    frames: Iterable[Image.Image],
    fps: float,
    unit: int,
    **options: int | bool,
) -> None:
    """An endless loop through Pillow, which tells times in units of so many milliseconds."""
    first, *others = frames
    times = _durations(len(others) + 1, fps, unit)
    first.save(file, kind, save_all=True, append_images=others, duration=times, loop=0, **options)


def _palette(frames: list[Image.Image]) -> Image.Image:
    """One palette for all frames, from some of them at a small size."""
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, _SAMPLES).astype(int)]
    small = [frame.resize((_SAMPLE, _SAMPLE), Image.Resampling.NEAREST) for frame in chosen]
    together = Image.fromarray(np.concatenate([np.asarray(frame) for frame in small]))
    return together.quantize(_PALETTE, method=Image.Quantize.MEDIANCUT, kmeans=1)


def _write_mp4(
    file: BinaryIO, path: str | os.PathLike[str], frames: Iterable[Image.Image], fps: float
) -> None:
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    rate = Fraction(fps).limit_denominator(1001)
    # One thread: with several the bytes would depend on their number.
    options = {"crf": str(_QUALITY), "threads": "1"}
    try:
        with av.open(file, "w", format="mp4") as film:
            stream = film.add_stream("libx264", rate, options)
            stream.pix_fmt = "yuv420p"
            stream.color_range = ColorRange.MPEG
            stream.colorspace = Colorspace.ITU709
            stream.color_primaries = ColorPrimaries.BT709
            stream.color_trc = ColorTrc.BT709
            for i, picture in enumerate(frames):
                pixels = _even(picture)
                if i == 0:
                    stream.height, stream.width = pixels.shape[:2]
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                    format="yuv420p",
                    dst_colorspace=Colorspace.ITU709,
                    dst_color_range=ColorRange.MPEG,
                )
                film.mux(stream.encode(frame))
            film.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise OutputError(f"{path}: the film cannot be written ({error}); try .gif") from error


def _even(picture: Image.Image) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) with even sides, as H.264 takes them: the last row or column twice."""
    pixels = np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
