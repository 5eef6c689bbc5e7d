"""Videos of anybody's: upright, in their own time, in true colours."""

from __future__ import annotations

import numpy as np
import pytest

from styleatlas.engine.videos import read
from styleatlas.engine.videos.read import container_of, frames_of, is_video, open_video
from styleatlas.store.errors import InputError

from ... import video_files as files


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi"])
def test_frames_of_every_container_come_as_they_were_written(name, tmp_path):
    codec = {"a.webm": "libvpx", "a.avi": "mpeg4"}.get(name, "libx264")
    frames = files.plain(8)
    video = open_video(files.write(tmp_path / name, frames, codec=codec))
    assert video.size == (48, 64) and video.sounds == 0
    found = list(frames_of(video))
    assert [frame.number for frame in found] == list(range(8))
    assert video.told in (0, 8)
    for frame, wanted in zip(found, frames, strict=True):
        assert frame.pixels.shape == (48, 64, 3)
        assert np.abs(frame.pixels.astype(int) - wanted).mean() < (8 if codec != "libx264" else 2)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bt601", [False, True])
def test_colours_are_read_by_their_matrix_and_range(full_range, bt601, tmp_path):
    colours = [(200, 20, 20), (20, 180, 40), (30, 40, 220), (250, 250, 250), (5, 5, 5)]
    frames = [np.full((48, 64, 3), colour, np.uint8) for colour in colours]
    path = files.write(tmp_path / "a.mp4", frames, full_range=full_range, bt601=bt601)
    video = open_video(path)
    assert video.colours[:2] == (5 if bt601 else 1, 2 if full_range else 1)
    for frame, colour in zip(frames_of(video), colours, strict=True):
        assert np.abs(frame.pixels.mean((0, 1)) - colour).max() < 4


def test_colours_that_nobody_named_are_those_of_their_size(tmp_path, monkeypatch):
    path = files.write(tmp_path / "a.mp4", files.plain(2), bt601=True)
    known = open_video(path)
    monkeypatch.setattr(read, "_UNSAID", known.colours.matrix)
    assert open_video(path).colours.matrix == read._BT601
    monkeypatch.setattr(read, "_HD", 48)
    assert open_video(path).colours.matrix == read._BT709


def test_a_video_that_is_turned_is_read_upright(tmp_path):
    path = files.write(tmp_path / "a.mp4", files.plain(3), matrix=files.TURNED)
    video = open_video(path)
    assert video.turn == 6 and video.size == (64, 48)
    (first, *_) = frames_of(video)
    red = first.pixels[..., 0].astype(int) - first.pixels[..., 1] > 90
    rows, columns = np.nonzero(red)
    assert rows.mean() < 20 and columns.mean() > 30, "the left upper corner is the right upper one"


def test_a_turn_that_is_no_quarter_is_told_and_not_followed(tmp_path):
    slanted = (0xB504, 0xB504, 0, -0xB504, 0xB504, 0, 0, 0, 0x40000000)
    video = open_video(files.write(tmp_path / "a.mp4", files.plain(2), matrix=slanted))
    assert video.turn == 1 and video.size == (48, 64)
    assert video.notes == ("is turned by no quarter, or stretched, which is not followed",)


def test_frames_keep_their_own_times(tmp_path):
    times = [0, 40, 90, 300, 310]
    video = open_video(files.write(tmp_path / "a.mp4", files.plain(5), times=times))
    found = [float(frame.time * video.time_base) for frame in frames_of(video)]
    np.testing.assert_allclose(found, np.array(times) / 1000, atol=1e-6)


def test_a_video_is_told_by_its_first_bytes_whatever_it_is_called(tmp_path):
    path = files.write(tmp_path / "a.mkv", files.plain(2))
    other = path.rename(tmp_path / "a.jpg")
    assert is_video(other) and open_video(other).size == (48, 64)
    (tmp_path / "b.mp4").write_bytes(b"\xff\xd8\xff\xe0 a JPEG")
    assert not is_video(tmp_path / "b.mp4")
    assert container_of(b"\0\0\0\x18ftypheic") is None
    assert container_of(b"\0\0\0\x18ftypavif") is None


def test_too_many_frames_are_refused_by_what_the_file_says_and_by_what_comes(tmp_path, monkeypatch):
    path = files.write(tmp_path / "a.mp4", files.plain(9))
    video = open_video(path)
    monkeypatch.setattr(read, "MOST_FRAMES", 8)
    with pytest.raises(InputError, match=r"has more than 8 frames, 9 of them; cut it"):
        open_video(path)
    with pytest.raises(InputError, match="has more than 8 frames; cut it"):
        list(frames_of(video))


def test_frames_of_too_many_pixels_and_files_of_too_many_bytes_are_refused(tmp_path, monkeypatch):
    path = files.write(tmp_path / "a.mp4", files.plain(2))
    monkeypatch.setattr(read, "MOST_PIXELS", 1000)
    with pytest.raises(InputError, match="has frames of 64 x 48 pixels, more than 0 million"):
        open_video(path)
    monkeypatch.setattr(read, "MOST_BYTES", 100)
    with pytest.raises(InputError, match=r"has [0-9,]+ bytes, more than 0 GiB; cut or shrink it"):
        open_video(path)
