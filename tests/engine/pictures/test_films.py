from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas.engine.pictures.films import (
    _dithered,
    require_film,
    tiled,
    tour,
    trip,
    write_film,
    write_loop,
)
from styleatlas.store.errors import OptionError, OutputError

SIDE = 33
KINDS = (".gif", ".webp", ".mp4")


def frames(count: int = 9, side: int = SIDE) -> list[Image.Image]:
    """Smooth pictures that get redder from one to the next, by 32 of 255."""
    ramp = np.linspace(0, 200, side)
    pictures = []
    for red in np.linspace(0, 255, count):
        pixels = np.stack(np.broadcast_arrays(red, ramp, 100 + 0 * ramp[:, None]), 2)
        pictures.append(Image.fromarray(pixels.round().astype(np.uint8)))
    return pictures


def film(path: Path) -> tuple[list[np.ndarray], float]:
    """All the frames of a film, and how many seconds it takes."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as opened:
            pictures = [
                frame.to_ndarray(format="rgb24", src_colorspace="ITU709")
                for frame in opened.decode(video=0)
            ]
            return pictures, opened.duration / av.time_base
    pictures, seconds = [], 0.0
    with Image.open(path) as opened:
        for i in range(opened.n_frames):
            opened.seek(i)
            opened.load()  # where WebP tells the duration
            pictures.append(np.asarray(opened.convert("RGB")))
            seconds += opened.info["duration"] / 1000
    return pictures, seconds


@pytest.mark.parametrize("kind", KINDS)
def test_film_goes_there_and_back_in_its_time(kind, tmp_path):
    there = frames()
    write_film(tmp_path / f"a{kind}", iter(there), 12)
    found, seconds = film(tmp_path / f"a{kind}")
    wanted = [np.asarray(frame).astype(float) for frame in there + there[-2:0:-1]]
    assert len(found) == len(wanted) == 16
    assert seconds == pytest.approx(16 / 12, abs=0.011)
    for picture, frame in zip(found, wanted, strict=True):
        assert np.abs(picture[:SIDE, :SIDE] - frame).mean() < 6, "the frame that was written"
    assert list(tmp_path.iterdir()) == [tmp_path / f"a{kind}"]


@pytest.mark.parametrize("kind", [".gif", ".webp"])
def test_film_loops_forever(kind, tmp_path):
    write_film(tmp_path / f"a{kind}", frames(), 12)
    with Image.open(tmp_path / f"a{kind}") as opened:
        assert opened.info["loop"] == 0


def test_mp4_is_what_every_player_takes(tmp_path):
    write_film(tmp_path / "a.mp4", frames(), 29.97)
    with av.open(str(tmp_path / "a.mp4")) as opened:
        stream = opened.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (34, 34), "even sides"
        assert float(stream.average_rate) == pytest.approx(29.97, abs=1e-3)
        assert stream.codec_context.colorspace == 1, "colours are those of BT.709"


def test_colours_of_a_gif_do_not_flicker(tmp_path):
    still, moving = (np.zeros((40, 40, 3), np.uint8) for _ in range(2))
    still[:, :20] = np.linspace(0, 255, 20)[:, None]
    pictures = []
    for shade in range(0, 256, 32):
        moving[:] = still
        moving[:, 20:] = (shade, 255 - shade, 90)
        pictures.append(Image.fromarray(moving.copy()))
    write_film(tmp_path / "a.gif", pictures, 10)
    found, _ = film(tmp_path / "a.gif")
    for one, other in pairwise(found):
        assert np.array_equal(one[:, :20], other[:, :20])


def test_dithering_keeps_the_mean_colour():
    grey = Image.fromarray(np.full((64, 64, 3), 100, np.uint8))
    pixels = np.asarray(_dithered(grey))
    assert abs(pixels.mean() - 100) < 0.5 and 2.5 <= pixels.std() <= 3.5
    blocks = pixels.reshape(8, 8, 8, 8, 3)
    assert (blocks == blocks[:1, :, :1]).all(), "the pattern repeats"


@pytest.mark.parametrize("kind", KINDS)
def test_same_film_gives_the_same_bytes(kind, tmp_path):
    for name in ("a", "b"):
        write_film(tmp_path / f"{name}{kind}", frames(), 24)
    assert (tmp_path / f"a{kind}").read_bytes() == (tmp_path / f"b{kind}").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_film_whose_frames_fail_leaves_the_old_one(kind, tmp_path):
    path = tmp_path / f"a{kind}"
    path.write_bytes(b"old")

    def failing():
        yield frames()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_film(path, failing(), 10)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_trip_eases_from_nothing_to_alpha():
    alphas = trip(-4.0, seconds=2, fps=12)
    assert len(alphas) == 13 and alphas[0] == 0 and alphas[-1] == -4
    steps = np.diff(alphas)
    assert (steps < 0).all() and steps.argmin() in (5, 6)
    assert steps[0] == pytest.approx(steps[-1]) and abs(steps[0]) < abs(steps[6]) / 5
    assert len(trip(1.0, 0.01, 1)) == 2


def test_images_are_tiled_row_by_row_and_left_over_places_are_white():
    images = torch.linspace(-1, 0.5, 3)[:, None, None, None].expand(3, 1, 4, 4)
    pixels = np.asarray(tiled(images))
    assert pixels.shape == (8, 8, 3)
    assert pixels[0, 0, 0] == 0 and pixels[0, 7, 0] == 96 and pixels[7, 0, 0] == 191
    assert (pixels[4:, 4:] == 255).all()
    assert tiled(images[:1]).size == (4, 4)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_frame_of_images_on_a_gpu_is_that_of_the_same_on_the_cpu(channels):
    images = 2 * torch.rand(3, channels, 8, 8) - 1
    assert np.array_equal(np.asarray(tiled(images.cuda())), np.asarray(tiled(images)))


@pytest.mark.parametrize(
    ("name", "images", "side", "count", "fps", "error", "message"),
    [
        ("a.avi", 1, 64, 9, 24, OutputError, r"end the name in \.gif, \.webp, \.mp4"),
        ("no/a.gif", 1, 64, 9, 24, OutputError, "does not exist; create it first"),
        ("a.gif", 1, 64, 9, 60, OptionError, r"frames a second 60: \.gif films have at most 50"),
        ("a.mp4", 17, 1024, 9, 24, OptionError, "film of 17 images of 1024 x 1024: is too large"),
        ("a.gif", 16, 1024, 60, 24, OptionError, "film of 60 frames .* is too long; ask for fewer"),
    ],
)
def test_film_that_cannot_be_is_refused_before_the_work(
    name, images, side, count, fps, error, message, tmp_path
):
    require_film(tmp_path / "a.mp4", 4, (1024, 1024), 31, 30)
    with pytest.raises(error, match=message):
        require_film(tmp_path / name, images, (side, side), count, fps)


@pytest.mark.parametrize(("seconds", "fps"), [(0, 24), (61, 24), (float("nan"), 24), (2, 0)])
def test_trip_without_time_or_frames_is_refused(seconds, fps):
    with pytest.raises(OptionError, match="must be above 0 and at most 60"):
        trip(1.0, seconds, fps)


def test_missing_pyav_is_told_with_what_installs_it(tmp_path):
    program = f"""
import sys
sys.modules["av"] = None
from styleatlas.engine.pictures.films import require_film, write_film
require_film("{tmp_path}/a.gif", 1, (64, 64), 9, 24)
try:
    require_film("{tmp_path}/a.mp4", 1, (64, 64), 9, 24)
except Exception as error:
    print(error)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert "MP4 films need PyAV; install it with `pip install 'styleatlas[video]'`" in answer


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_is_shown_as_it_is(kind, tmp_path):
    path = tmp_path / f"a{kind}"
    write_loop(path, frames(6), 10)
    found, seconds = film(path)
    assert len(found) == 6 and seconds == pytest.approx(0.6, abs=0.02)
    reds = [float(frame[..., 0].mean()) for frame in found]
    np.testing.assert_allclose(reds, np.linspace(0, 255, 6), atol=6)


def test_a_tour_goes_to_every_stop_and_back_to_the_first():
    way = tour(3, 1.5, 8)
    assert len(way) == 12 and [stop for stop, _ in way] == [0] * 4 + [1] * 4 + [2] * 4
    shares = [share for _, share in way[:4]]
    assert shares[0] == 0 and shares[2] == pytest.approx(0.5) and shares[1] < 0.25
    with pytest.raises(OptionError, match="must be above 0"):
        tour(3, 0, 8)
