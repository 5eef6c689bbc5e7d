"""Edited frames back into a video, with its times, colours and sound."""

from __future__ import annotations

import av
import numpy as np
import pytest

from styleatlas.engine.videos.encode import Group, Shown, write_video
from styleatlas.engine.videos.read import frames_of, open_video

from ... import video_files as files


def encoded(video, frames):
    group = Group(video)
    for frame in frames:
        group.add(frame)
    assert len(group) == len(frames)
    return group.finished()


def copied(video, path, size=4, tell=lambda line: None, marked=True):
    """A video written again as it is, in groups of so many frames."""
    frames = [Shown(frame.time, frame.duration, frame.pixels) for frame in frames_of(video)]
    groups = [encoded(video, frames[i : i + size]) for i in range(0, len(frames), size)]
    write_video(path, video, groups, marked, tell)
    return open_video(path)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bt601", [False, True])
def test_pictures_and_colours_come_back(full_range, bt601, tmp_path):
    frames = files.plain(10)
    path = files.write(tmp_path / "a.mp4", frames, full_range=full_range, bt601=bt601)
    video = open_video(path)
    again = copied(video, tmp_path / "b.mp4")
    assert again.colours == video.colours and again.size == video.size
    found = list(frames_of(again))
    assert len(found) == 10
    for frame, wanted in zip(found, frames, strict=True):
        assert np.abs(frame.pixels.astype(int) - wanted).mean() < 4


def test_times_come_back_uneven_as_they_are(tmp_path):
    times = [0, 40, 90, 300, 310, 350, 900]
    video = open_video(files.write(tmp_path / "a.mp4", files.plain(7), times=times))
    again = copied(video, tmp_path / "b.mp4", size=3)
    found = [float(frame.time * again.time_base) for frame in frames_of(again)]
    np.testing.assert_allclose(found, np.array(times) / 1000, atol=1e-6)


@pytest.mark.parametrize(("name", "sound"), [("a.mp4", "aac"), ("a.mkv", "flac")])
def test_sound_is_kept_byte_by_byte(name, sound, tmp_path):
    path = files.write(tmp_path / name, files.plain(20), sound=sound)
    video = open_video(path)
    assert video.sounds == 1
    copied(video, tmp_path / "b.mp4", size=6)
    assert files.sound_of(tmp_path / "b.mp4") == files.sound_of(path)
    with av.open(str(path)) as one, av.open(str(tmp_path / "b.mp4")) as other:
        starts = [
            float(x.streams.audio[0].start_time * x.streams.audio[0].time_base)
            for x in (one, other)
        ]
    assert starts[0] == pytest.approx(starts[1], abs=0.05)


def test_sound_that_has_no_place_is_told_and_left_out(tmp_path):
    path = files.write(tmp_path / "a.avi", files.plain(8), codec="mpeg4", sound="adpcm_ms")
    told = []
    copied(open_video(path), tmp_path / "b.mp4", tell=told.append)
    assert told == [f"{path}: has sound as adpcm_ms, for which an MP4 has no place; it is left out"]
    assert files.sound_of(tmp_path / "b.mp4") == []


def test_a_turned_video_is_written_upright(tmp_path):
    video = open_video(files.write(tmp_path / "a.mp4", files.plain(3), matrix=files.TURNED))
    again = copied(video, tmp_path / "b.mp4")
    assert again.turn == 1 and again.size == (64, 48)


def test_odd_sides_get_one_row_or_column_more(tmp_path):
    path = files.write(tmp_path / "a.mkv", files.plain(3, (47, 63)), codec="mjpeg")
    video = open_video(path)
    assert video.size == (47, 63)
    assert copied(video, tmp_path / "b.mp4").size == (48, 64)


def test_a_group_is_the_same_whatever_was_encoded_before(tmp_path):
    video = open_video(files.write(tmp_path / "a.mp4", files.plain(6)))
    frames = [Shown(frame.time, frame.duration, frame.pixels) for frame in frames_of(video)]
    last = encoded(video, frames[3:])
    encoded(video, frames[:3])
    assert encoded(video, frames[3:]) == last


@pytest.mark.parametrize("marked", [True, False])
def test_a_mark_says_that_it_was_edited_and_nothing_else_is_kept(marked, tmp_path):
    video = open_video(files.write(tmp_path / "a.mp4", files.plain(3)))
    copied(video, tmp_path / "b.mp4", marked=marked)
    with av.open(str(tmp_path / "b.mp4")) as film:
        said = film.metadata.get("comment", "")
    assert ("compositeWithTrainedAlgorithmicMedia" in said) == marked
