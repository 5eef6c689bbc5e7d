"""Videos that try to harm their reader."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av

from styleatlas.engine.videos.read import frames_of, open_video

from .. import video_files as files
from .pickle_attacks import Attack

DAMAGED = "cannot be read as a video"


def read_video(path: Path) -> None:
    for _ in frames_of(open_video(path)):
        pass


def sound(name: str = "a.mp4", count: int = 12, **how: object) -> bytes:
    """A sound file, in the container of that name."""
    with tempfile.TemporaryDirectory() as folder:
        return files.write(Path(folder) / name, files.plain(count), **how).read_bytes()  # type: ignore[arg-type]


def cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


def head_alone(kind: str) -> bytes:
    """A container that describes a video, and holds no frame of it."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as film:
        stream = film.add_stream("libx264", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        film.start_encoding()
    return file.getvalue()


def sound_alone() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as film:
        files._sound(film, film.add_stream("aac", 48_000, layout="mono"), 0.5)
    return file.getvalue()


def patched(content: bytes, after: bytes, offset: int, new: bytes, last: bool = False) -> bytes:
    """With other bytes, so far behind the name of a box."""
    place = (content.rindex(after) if last else content.index(after)) + offset
    return content[:place] + new + content[place + len(new) :]


def webm_of_size(width: int, height: int) -> bytes:
    """A WebM whose first frame (VP8) claims another size."""
    return patched(
        sound("a.webm", codec="libvpx"), b"\x9d\x01\x2a", 3, struct.pack("<HH", width, height)
    )


def of_two_sizes() -> bytes:
    """A WebM whose frames become larger in the middle."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as film:
        stream = film.add_stream("libvpx", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        film.start_encoding()
        time = 0
        for size in ((48, 64), (96, 128)):
            encoder = av.CodecContext.create("libvpx", "w")
            encoder.width, encoder.height, encoder.pix_fmt = size[1], size[0], "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            packets = []
            for pixels in files.plain(4, size):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = time, Fraction(1, 25)
                packets += encoder.encode(frame.reformat(format="yuv420p"))
                time += 1
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream = stream
                film.mux(packet)
    return file.getvalue()


VIDEOS = {
    name: Attack(make, message, read_video)
    for name, make, message in [
        ("empty video", lambda: b"", "is empty"),
        ("text in place of a video", lambda: b"a video " * 100, "is no video of a kind"),
        (
            "playlist that names a file",
            lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
            "is no video of a kind",
        ),
        (
            "list of parts that names a file",
            lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
            "is no video of a kind",
        ),
        ("video of twelve bytes", lambda: sound()[:12], DAMAGED),
        ("MP4 cut before its index", lambda: cut(sound(), 0.5), DAMAGED),
        ("MKV cut in its head", lambda: cut(sound("a.mkv"), 0.05), DAMAGED),
        ("AVI cut in its head", lambda: sound("a.avi", codec="mpeg4")[:150], DAMAGED),
        (
            "MP4 without frames",
            lambda: head_alone("mp4"),
            "has no (frames|pictures)|cannot be read",
        ),
        ("MKV without frames", lambda: head_alone("matroska"), "has no frames|cannot be read"),
        ("sound alone", sound_alone, "has sound alone"),
        (
            "MKV of a codec nobody records in",
            lambda: sound("a.mkv", codec="ffv1"),
            "is of the codec ffv1, which is not read",
        ),
        (
            "WebM whose frame has 268 million pixels",
            lambda: webm_of_size(16383, 16383),
            f"{DAMAGED}|has frames of 16383 x 16383",
        ),
        (
            "MKV whose first JPEG has 4 billion pixels",
            lambda: patched(sound("a.mkv", codec="mjpeg"), b"\xff\xc0", 5, b"\xff\xdc\xff\xdc"),
            f"{DAMAGED}|has frames of",
        ),
        (
            "MP4 of 4 billion frames",
            lambda: patched(sound(), b"stsz", 8, b"\xff\xff\xff\xf0"),
            f"has more than 3,600 frames|{DAMAGED}|has no frames",
        ),
        ("video that grows", of_two_sizes, "changes its size at frame 5, from 64 x 48 to 128 x 96"),
    ]
}
SOUND: dict[str, Callable[[], bytes]] = {
    "mp4": sound,
    "mkv": lambda: sound("a.mkv"),
    "webm": lambda: sound("a.webm", codec="libvpx"),
    "avi": lambda: sound("a.avi", codec="mpeg4"),
}
