"""Videos as people have them, made when tests run."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

BOX = (40, 30, 128)
"""Left, top and side of the drawing in a frame of `moving`."""
TURNED = (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
"""A display matrix: to be shown turned by a quarter, clockwise."""


def plain(count: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """Frames (height, width, 3) of size (height, width), each of another brightness, whose left
    upper corner is red."""
    frames = []
    for i in range(count):
        frame = np.full((*size, 3), 60 + 8 * i, np.uint8)
        frame[: size[0] // 4, : size[1] // 4] = (200, 20, 20)
        frames.append(frame)
    return frames


def moving(drawings: Sequence[Image.Image]) -> list[np.ndarray]:
    """Drawings at `BOX` on a canvas of 240 x 180 whose stripes wander from frame to frame."""
    frames = []
    for i, drawing in enumerate(drawings):
        x, y = np.meshgrid(np.arange(240), np.arange(180))
        grey = 120 + 60 * np.sin((x + 2 * y + 3 * i) / 9)
        frame = np.repeat(grey[..., None], 3, 2).astype(np.uint8)
        left, top, side = BOX
        frame[top : top + side, left : left + side] = np.asarray(drawing.resize((side, side)))
        frames.append(frame)
    return frames


def write(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    times: Sequence[int] | None = None,
    fps: int = 25,
    sound: str | None = None,
    matrix: Sequence[int] | None = None,
    full_range: bool = False,
    bt601: bool = False,
    codec: str = "libx264",
) -> Path:
    """A video of frames (H, W, 3) in RGB, in the container that its name says.

    Args:
        times: of the frames, in thousandths of a second; of `fps` a second if not given.
        sound: the codec of a tone as long as the frames.
        matrix: the display matrix of an MP4.
    """
    height, width = frames[0].shape[:2]
    space = Colorspace.ITU601 if bt601 else Colorspace.ITU709
    scope = ColorRange.JPEG if full_range else ColorRange.MPEG
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        unit = Fraction(1, 1000 if codec.startswith("lib") else fps)
        stream.codec_context.time_base = stream.time_base = unit
        if codec == "libx264":
            stream.codec_context.options = {"crf": "4"}
        if codec == "mjpeg":
            stream.pix_fmt, scope = "yuvj420p", ColorRange.JPEG
        stream.colorspace, stream.color_range = (5 if bt601 else 1), scope
        tone = None
        if sound is not None:
            tone = film.add_stream(sound, 48_000)
            tone.layout = "mono"
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format=stream.pix_fmt, dst_colorspace=space, dst_color_range=scope
            )
            frame.pts = round(1000 * i / fps) if times is None else times[i]
            frame.time_base = Fraction(1, 1000)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
        if tone is not None:
            _sound(film, tone, len(frames) / fps)
    if matrix is not None:
        content = bytearray(path.read_bytes())
        place = content.index(b"tkhd") + 44
        content[place : place + 36] = struct.pack(">9i", *matrix)
        path.write_bytes(bytes(content))
    return path


def _sound(film: av.container.OutputContainer, tone: av.AudioStream, seconds: float) -> None:
    wave = np.sin(np.arange(round(48_000 * seconds)) / 20).astype(np.float32)
    size = tone.codec_context.frame_size or 1024
    resampler = av.AudioResampler(tone.codec_context.format or "fltp", "mono", 48_000, size)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        film.mux(tone.encode(part))
    film.mux(tone.encode(None))


def sound_of(path: Path) -> list[tuple[str, list[bytes]]]:
    """Codec and packets of each track of sound."""
    with av.open(str(path)) as film:
        tracks = {one.index: (one.codec_context.name, []) for one in film.streams.audio}
        for packet in film.demux(*film.streams.audio) if tracks else ():
            if packet.dts is not None:
                tracks[packet.stream_index][1].append(bytes(packet))
    return list(tracks.values())
