"""Edited frames back into a video: H.264 in an MP4, with the sound as it came."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...store.errors import OutputError
from ...store.output import replacing
from ..photos.photo import Pixels
from .read import EXACT, Video, opened, sws

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext

GROUP = 48
"""Frames that are encoded together, from a whole picture on: what is done again after a kill."""
_QUALITY = 17  # x264's constant rate factor: no difference can be seen
_AHEAD = "12"  # frames that x264 holds; 40, as usual, are a gigabyte of large ones
_MARK = (
    "Edited with StyleAtlas; digital source type: "
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
)
_PACKET = struct.Struct("<qqqBQ")


class Shown(NamedTuple):
    """When a frame is shown and how long, in units of the video's `time_base`, and its pixels."""

    time: int
    duration: int
    pixels: Pixels


class Group:
    """Frames in a row as packets that need no others to be read: the same frames are the same
    bytes, whatever was encoded before. Frames are taken one at a time, and not kept."""

    def __init__(self, video: Video) -> None:
        import av

        self._video = video
        self._context = av.CodecContext.create("libx264", "w")
        _describe(self._context, video)
        self._shown: list[tuple[int, int]] = []
        self._packets: list[bytes] = []

    def __len__(self) -> int:
        return len(self._shown)

    def add(self, shown: Shown) -> None:
        """The next frame."""
        import av

        frame = av.VideoFrame.from_ndarray(_even(shown.pixels), format="rgb24").reformat(
            format="yuv420p",
            src_color_range=2,
            dst_colorspace=sws(self._video.colours.matrix),
            dst_color_range=self._video.colours.range,
            interpolation=EXACT,
        )
        frame.pts, frame.time_base = shown.time, self._video.time_base
        self._shown.append((shown.time, shown.duration))
        self._keep(self._context.encode(frame))

    def finished(self) -> bytes:
        """All packets, each behind its times and its size."""
        self._keep(self._context.encode(None))
        return b"".join(self._packets)

    def _keep(self, made: Iterable[Packet[Any]]) -> None:
        for packet in made:
            time, duration = self._shown[len(self._packets)]  # without B-frames: in their order
            head = _PACKET.pack(time, time, duration, packet.is_keyframe, packet.size)
            self._packets.append(head + bytes(packet))


def write_video(
    path: Path,
    video: Video,
    groups: Iterable[bytes],
    marked: bool,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Writes what `Group`s made, one after the other, as an MP4, with the sound of the video they
    are of, and nothing else that it holds: no place, no names. Whole or not at all.

    Args:
        marked: whether it says that it was edited, and by what.

    Raises:
        OutputError: it cannot be written.
    """
    import av

    try:
        sounds = _sounds(video, tell)
        with replacing(path) as file, av.open(file, "w", format="mp4") as film:
            if marked:
                film.metadata["comment"] = _MARK
            pictures = film.add_stream("libx264", _rate(video))
            _describe(pictures.codec_context, video)
            pictures.time_base = video.time_base
            with opened(video.path) as (source, _):
                chosen = [source.streams.audio[i] for i in sounds]
                tracks = {one.index: film.add_stream_from_template(one) for one in chosen}
                film.start_encoding()
                parts = [_pictures(groups, pictures, video.time_base)]
                if chosen:
                    parts.append(_packets(source, chosen, tracks))
                for packet in _in_time(parts):
                    film.mux_one(packet)
    except av.FFmpegError as error:
        raise OutputError(f"{path}: the video cannot be written ({error})") from error


def _describe(context: VideoCodecContext, video: Video) -> None:
    """How frames are encoded."""
    height, width = video.size
    context.width, context.height = width + width % 2, height + height % 2
    context.pix_fmt = "yuv420p"
    context.time_base = video.time_base
    context.framerate = _rate(video)
    context.sample_aspect_ratio = Fraction(1)
    context.max_b_frames = 0
    context.gop_size = GROUP
    colours = video.colours
    context.colorspace, context.color_range = colours.matrix, colours.range
    context.color_primaries, context.color_trc = colours.primaries, colours.transfer
    # One thread: with several the bytes would depend on their number.
    context.options = {"crf": str(_QUALITY), "threads": "1", "bf": "0", "rc-lookahead": _AHEAD}


def _rate(video: Video) -> Fraction:
    return video.rate.limit_denominator(1001)


def _pictures(groups: Iterable[bytes], stream: Any, time_base: Fraction) -> Iterator[Packet[Any]]:
    from av.packet import Packet

    for group in groups:
        place = 0
        while place < len(group):
            pts, dts, duration, key, size = _PACKET.unpack_from(group, place)
            place += _PACKET.size
            packet = Packet(group[place : place + size])
            place += size
            packet.stream, packet.time_base = stream, time_base
            packet.pts, packet.dts, packet.duration = pts, dts, duration
            packet.is_keyframe = bool(key)
            yield packet


def _packets(source: Any, chosen: Sequence[Any], tracks: dict[int, Any]) -> Iterator[Packet[Any]]:
    """Packets of sound, for their tracks."""
    for packet in source.demux(*chosen):
        if packet.dts is None:  # the end
            continue
        packet.stream = tracks[packet.stream_index]
        yield packet


def _in_time(parts: Sequence[Iterator[Packet[Any]]]) -> Iterator[Packet[Any]]:
    """Packets of several streams in the order of their times, so that none has to wait long."""
    waiting = [next(part, None) for part in parts]
    while any(packet is not None for packet in waiting):
        times = [float("inf") if packet is None else _begins(packet) for packet in waiting]
        first = int(np.argmin(times))
        packet = waiting[first]
        assert packet is not None
        yield packet
        waiting[first] = next(parts[first], None)


def _begins(packet: Packet[Any]) -> float:
    """Seconds from the beginning of its stream."""
    return 0.0 if packet.dts is None else float(packet.dts * packet.time_base)


def _sounds(video: Video, tell: Callable[[str], None]) -> list[int]:
    """The numbers of the tracks of sound that an MP4 has a place for."""
    import av

    kept = []
    with opened(video.path) as (source, _):
        for i, track in enumerate(source.streams.audio):
            try:
                with av.open(io.BytesIO(), "w", format="mp4") as trial:
                    trial.add_stream_from_template(track)
                    trial.start_encoding()
            except (av.FFmpegError, ValueError):
                codec = getattr(track.codec_context, "name", "unknown")
                tell(
                    f"{video.path}: has sound as {codec}, for which an MP4 has no place; it is "
                    "left out"
                )
            else:
                kept.append(i)
    return kept


def _even(pixels: Pixels) -> Pixels:
    """With even sides, as H.264 takes them: the last row or column twice."""
    height, width = pixels.shape[:2]
    if height % 2 == width % 2 == 0:
        return np.ascontiguousarray(pixels)
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
