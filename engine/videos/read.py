"""Videos of anybody's: what one is, told before any frame is kept, and its frames one after the
other. Needs PyAV, the extra `video`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...store.errors import InputError
from ...store.paths import require_file
from ..photos.formats import kind_of
from ..photos.photo import Pixels
from ..photos.read import as_stored

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

READ = "MP4, MOV, MKV, WebM and AVI"
HEAD = 12
"""Bytes by which a container is told."""
SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".3gp")
CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mjpeg", "prores", "libdav1d")
"""Which are decoded; what else FFmpeg could is in nobody's camera, and seldom looked at."""
MOST_BYTES = 2**32
MOST_FRAMES = 3600
"""Two minutes at 30 frames a second, of which each takes seconds on a processor."""
MOST_PIXELS = 2**24
"""Of a frame: 4096 x 4096."""
MOST_SECONDS = 24 * 3600
EXACT = 0x4 | 0x2000 | 0x4000 | 0x40000
"""Of swscale: bicubic, all of the colours' places, rounded right; else it darkens by a level a
time."""
_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip")  # older MOVs begin with one
_STILLS = (b"avif", b"avis")
# AVColorSpace, as H.273 counts matrix coefficients.
_RGB, _BT709, _UNSAID, _BT601 = 0, 1, 2, 5
_HD = 720  # lines from which on colours are BT.709's where nobody says
_HDR = {16: "PQ", 18: "HLG"}


class Colours(NamedTuple):
    """How a video's numbers are colours, each as H.273 counts, 2 where it does not say; `range` as
    FFmpeg does: 1 of 16 to 235, 2 of 0 to 255."""

    matrix: int
    range: int
    primaries: int
    transfer: int


@dataclass(frozen=True)
class Video:
    """What a video is, without its frames.

    Args:
        path: where it lies, as it was named.
        size: height and width of its frames, upright.
        turn: how its frames are turned to stand upright, 1 to 8 as EXIF counts.
        time_base: seconds of a unit of its times.
        rate: frames a second, on average.
        told: how many frames it says to have, or as its length says; 0 where neither does.
        colours: of its frames.
        sounds: how many tracks of sound it has.
        notes: what is not as people may think, each a line to follow the name.
    """

    path: str
    size: tuple[int, int]
    turn: int
    time_base: Fraction
    rate: Fraction
    told: int
    colours: Colours
    sounds: int
    notes: tuple[str, ...]


class Frame(NamedTuple):
    """A frame: its number from 0, its time and how long it is shown, in units of the video's
    `time_base`, and uint8 (H, W, 3), RGB, upright."""

    number: int
    time: int
    duration: int
    pixels: Pixels
    damaged: bool


def container_of(head: bytes) -> str | None:
    """The FFmpeg demuxer for a file that begins with these bytes; None where it is no video of a
    kind that is read."""
    if kind_of(head) is not None:
        return None
    if head[4:8] == b"ftyp":
        return None if head[8:12] in _STILLS else "mov"
    if head[4:8] in _BOXES:
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    return None


def is_video(path: Path) -> bool:
    """Whether a file is a video by its first bytes, or is called like one and no picture."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False  # which reading it will tell
    called = path.suffix.lower() in SUFFIXES and kind_of(head) is None
    return called or container_of(head) is not None


def open_video(path: str | os.PathLike[str]) -> Video:
    """What a video is. Its first frame is decoded, for what only frames say.

    Raises:
        InputError: no such file, no video of a kind that is read, a damaged one, one that is too
            large or too long, or PyAV is missing.
    """
    name = os.fspath(path)
    require_file(path, InputError)
    if find_spec("av") is None:
        raise InputError(
            f"{name}: is a video, which PyAV reads; install it with "
            "`pip install 'styleatlas[video]'`"
        )
    with opened(name) as (container, stream):
        first = next(_decoded(name, container, stream), None)
        if first is None:
            raise InputError(f"{name}: has no frames; name a video that has some")
        turn, notes = _turn(first)
        lying = first.height, first.width
        size = lying if turn < 5 else lying[::-1]
        context = stream.codec_context
        aspect = context.sample_aspect_ratio
        if aspect not in (None, 0, 1):
            raise InputError(
                f"{name}: has pixels that are not square ({aspect.numerator}:{aspect.denominator});"
                " scale it to square ones in another program first"
            )
        rate = stream.average_rate or stream.guessed_rate
        if not rate or not 0 < rate <= 1000 or not stream.time_base:
            raise InputError(f"{name}: does not say when its frames are shown; save it anew")
        colours = _colours(first)
        if colours.transfer in _HDR:
            notes.append(
                f"is HDR ({_HDR[colours.transfer]}), and edited by its own numbers, which look "
                "pale to the networks; 8 bits are kept"
            )
        elif first.format.components[0].bits > 8:
            notes.append("has more than 8 bits a channel; 8 are kept")
        return Video(
            name,
            size,
            turn,
            stream.time_base,
            Fraction(rate),
            _told(name, container, stream, Fraction(rate)),
            colours,
            len(container.streams.audio),
            tuple(notes),
        )


def frames_of(video: Video) -> Iterator[Frame]:
    """The frames of a video, one at a time.

    Raises:
        InputError: it is damaged, changes its size, or has more than `MOST_FRAMES`.
    """
    name = video.path
    usual = max(1, round(1 / (video.rate * video.time_base)))
    height, width = video.size if video.turn < 5 else video.size[::-1]
    last: int | None = None
    with opened(name) as (container, stream):
        for number, frame in enumerate(_decoded(name, container, stream)):
            if number >= MOST_FRAMES:
                raise _too_long(name, "")
            if (frame.height, frame.width) != (height, width):
                raise InputError(
                    f"{name}: changes its size at frame {number + 1}, from {width} x {height} to "
                    f"{frame.width} x {frame.height}; cut it there"
                )
            time = frame.pts
            if last is not None and (time is None or time <= last):
                time = last + (usual if time is None else 1)
            last = 0 if time is None else time
            pixels = np.empty((*video.size, 3), np.uint8)
            as_stored(pixels, video.turn)[...] = _rgb(frame, video.colours)
            pixels.flags.writeable = False
            yield Frame(number, last, frame.duration or usual, pixels, frame.is_corrupt)


@contextmanager
def opened(name: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file's container and its pictures, by the demuxer that its first bytes tell: FFmpeg's own
    choice would take playlists, too, which name other files."""
    import av

    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(name, "rb"))
            kind = _kind(name, file.read(HEAD), os.fstat(file.fileno()).st_size)
            file.seek(0)
            container = av.open(
                file,
                "r",
                format=kind,
                options={"max_pixels": str(MOST_PIXELS)},
                metadata_errors="replace",
                io_open=_refused,
            )
            stack.enter_context(container)
            stream = _stream(name, container)
        except _errors() as error:
            raise _damaged(name, error) from error
        yield container, stream


def _refused(url: str, flags: int, options: object) -> Any:
    raise PermissionError(f"it names another file, {_printable(url)}")


def _kind(name: str, head: bytes, size: int) -> str:
    if not size:
        raise InputError(f"{name}: is empty; copy it anew")
    kind = container_of(head)
    if kind is None:
        raise InputError(f"{name}: is no video of a kind that is read ({READ}); save it as MP4")
    if size > MOST_BYTES:
        raise InputError(
            f"{name}: has {size:,} bytes, more than {MOST_BYTES // 2**30} GiB; cut or shrink it"
        )
    return kind


def _stream(name: str, container: InputContainer) -> VideoStream:
    """The pictures of a video: no cover of a piece of music."""
    from av.stream import Disposition

    found = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not found:
        has = "sound alone" if container.streams.audio else "no pictures"
        raise InputError(f"{name}: has {has}; name a video")
    stream = found[0]
    codec = None if stream.codec_context is None else stream.codec_context.name
    if codec not in CODECS:
        told = "an unknown codec" if codec is None else f"the codec {codec}"
        raise InputError(f"{name}: is of {told}, which is not read; save it as H.264")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{name}: has frames of {width} x {height} pixels, more than {MOST_PIXELS // 2**20} "
            "million; make it smaller"
        )
    return stream


def _decoded(name: str, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames as they are stored."""
    count = 0
    try:
        for frame in container.decode(stream):
            yield frame
            count += 1
    except _errors() as error:
        raise _damaged(name, error, f" after frame {count}" if count else "") from error


def _errors() -> tuple[type[BaseException], ...]:
    """What reading a strange file may end in."""
    import av

    return (av.FFmpegError, OSError, ValueError, RuntimeError, MemoryError)


def _damaged(name: str, error: BaseException, where: str = "") -> InputError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return InputError(
        f"{name}: cannot be read as a video{where} ({_printable(reason)}); it may be cut off or "
        "damaged: copy it anew, or save it again in another program"
    )


def _told(name: str, container: InputContainer, stream: VideoStream, rate: Fraction) -> int:
    """How many frames there are, by what the file says.

    Raises:
        InputError: more than are taken.
    """
    seconds = 0.0
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration:
        seconds = container.duration / 10**6
    count = stream.frames or round(min(max(0.0, seconds), MOST_SECONDS) * rate)
    if count > MOST_FRAMES:
        raise _too_long(name, f", {count:,} of them")
    return max(0, count)


def _too_long(name: str, count: str) -> InputError:
    return InputError(
        f"{name}: has more than {MOST_FRAMES:,} frames{count}; cut it, or save it with fewer "
        "frames a second"
    )


def _colours(frame: VideoFrame) -> Colours:
    matrix = int(frame.colorspace)
    if frame.format.is_rgb:
        return Colours(_BT709, 1, int(frame.color_primaries), int(frame.color_trc))
    if matrix in (_UNSAID, _RGB):
        matrix = _BT709 if max(frame.height, frame.width) >= _HD else _BT601
    scope = int(frame.color_range)
    if scope not in (1, 2):
        scope = 2 if frame.format.name.startswith("yuvj") else 1
    return Colours(matrix, scope, int(frame.color_primaries), int(frame.color_trc))


def _rgb(frame: VideoFrame, colours: Colours) -> Pixels:
    if frame.format.is_rgb:
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    made = frame.reformat(
        format="rgb24",
        src_colorspace=sws(colours.matrix),
        src_color_range=colours.range,
        dst_color_range=2,
        interpolation=EXACT,
    )
    return np.asarray(made.to_ndarray(), np.uint8)


def sws(matrix: int) -> int:
    """A matrix as swscale counts them: those it does not know are BT.709's or BT.601's."""
    return {4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}.get(matrix, 1)


def _turn(frame: VideoFrame) -> tuple[int, list[str]]:
    """How a frame is turned, 1 to 8 as EXIF counts, by its display matrix (ISO 14496-12, 6.2.2);
    and what is to be said of it."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    numbers = np.frombuffer(b"" if data is None else bytes(data), np.int32)
    if len(numbers) != 9:
        return 1, []
    ours = numbers[[0, 1, 3, 4]] / 2**16
    key = tuple(np.rint(ours).astype(int).tolist())
    if key in _TURNS and np.abs(ours - key).max() < 0.01:
        return _TURNS[key], []
    return 1, ["is turned by no quarter, or stretched, which is not followed"]


_TURNS: dict[tuple[int, ...], int] = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


def _printable(text: object) -> str:
    """On one line, short and without control characters."""
    words = re.sub(r"\s+", " ", str(text))
    return "".join(letter for letter in words if letter.isprintable())[:100]
