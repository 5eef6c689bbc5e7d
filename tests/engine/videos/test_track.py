"""One face through the frames of a video."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas import load_generator, styles_from_seeds
from styleatlas.engine.models.landmarks import Face, load_face_finder
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.photos.align import face_quad
from styleatlas.engine.videos.smooth import Smoothing
from styleatlas.engine.videos.strength import key_frames, shares_of_keys
from styleatlas.engine.videos.track import FADE, Track, bridged, choose_face, standing
from styleatlas.store.errors import InputError

SIZES = (200, 200), (230, 230)  # of two faces
POINTS = np.array([[30.0, 40], [70, 40], [50, 60], [35, 80], [65, 80]])


def face(x: float = 0, y: float = 0, scale: float = 1) -> Face:
    points = POINTS * scale + [x, y]
    return Face(np.array([*points.min(0), *points.max(0)]), points, 1.0)


def quads(*places: float | None) -> np.ndarray:
    """Crops moved to the right by so much; None where the face is lost."""
    lost = np.full((4, 2), np.nan)
    return np.stack([lost if x is None else face_quad(POINTS + np.array([x, 0])) for x in places])


def test_the_first_frame_chooses_by_number_and_the_others_by_place():
    big, small = face(scale=2), face(300, 0)
    assert choose_face([big, small], None, 1) == 0
    assert choose_face([big, small], None, 2) == 1
    assert choose_face([big], None, 2) is None
    last = face_quad(small.points)
    assert choose_face([big, face(310, 5), face(360)], last, 2) == 1
    assert choose_face([big], last, 2) is None, "it is somebody else, far away"
    assert choose_face([face(300, 0, 2.5)], last, 2) is None, "or much larger"
    assert choose_face([], last, 2) is None


def test_short_gaps_are_bridged_evenly_and_long_ones_are_not():
    times = np.arange(12) / 20
    track = bridged("a", times, quads(None, 0, None, None, 6, 8, *[None] * 5, 30))
    assert track.found.tolist() == [False, *[True] * 5, *[False] * 5, True]
    np.testing.assert_allclose(track.quads[2], quads(2)[0])
    np.testing.assert_allclose(track.quads[3], quads(4)[0])
    assert track.stretches == [(1, 6), (11, 12)]


def test_a_face_that_is_found_nowhere_is_an_error():
    with pytest.raises(InputError, match=r"^a: no face was found in its 2 frames; .*--align box"):
        bridged("a", np.arange(2.0), quads(None, None))


def test_crops_are_steadied_stretch_by_stretch_and_stay_squares():
    rng, times = np.random.default_rng(0), np.arange(60) / 25
    way = 2.0 * np.arange(60)
    shaken = quads(*way) + rng.normal(0, 1.5, (60, 1, 2))
    shaken[30:40] = np.nan
    track = bridged("a", times, shaken).smoothed(0.12)
    error = np.abs(track.quads - quads(*way)).mean((1, 2))
    assert error[:30].mean() < 0.6 and np.isnan(track.quads[30:40]).all()
    across, down = track.quads[5, 3] - track.quads[5, 0], track.quads[5, 1] - track.quads[5, 0]
    np.testing.assert_allclose(down, [-across[1], across[0]], atol=1e-6)


@pytest.mark.faces
def test_a_generated_face_that_passes_another_is_followed_and_steadied():
    """By the real detector, whose points tremble."""
    generator = load_generator("faces", "cpu")
    with torch.inference_mode():
        drawn = to_bytes(generator.render(styles_from_seeds(generator, [3, 7], 0.7))).numpy()
    one, other = (
        Image.fromarray(levels).resize(size) for levels, size in zip(drawn, SIZES, strict=True)
    )
    finder, found, last = load_face_finder(torch.device("cpu")), [], None
    ways = [30 + 8 * i for i in range(14)]
    for i, x in enumerate(ways):
        frame = Image.new("RGB", (560, 330), (110, 120, 130))
        frame.paste(one, (x, 60 + 2 * i))
        if i >= 5:
            frame.paste(other, (330, 20))  # larger, and so the first of those found
        (faces,) = finder.find([np.asarray(frame)])
        assert len(faces) == (1 if i < 5 else 2)
        at = choose_face(faces, last, 1)
        assert at is not None
        last = face_quad(faces[at].points)
        found.append(last)
    moved = np.stack([[8 * i, 2 * i] for i in range(len(ways))])[:, None]
    track = bridged("a", np.arange(len(ways)) / 12, np.stack(found))
    side = np.linalg.norm(found[0][3] - found[0][0])
    trembles = [
        np.linalg.norm(np.diff(quads - moved, axis=0), axis=2).mean() / side
        for quads in (track.quads, track.smoothed(Smoothing().crop).quads)
    ]
    assert trembles[0] < 0.05 and trembles[1] < 0.6 * trembles[0]


def test_an_edit_fades_where_the_face_comes_and_goes_and_not_at_the_ends():
    times = np.arange(40) / 20
    found = np.ones(40, bool)
    found[20:30] = False
    track = Track(times, np.zeros((40, 4, 2)), found)
    shares = track.shares()
    assert shares[0] == shares[39] == shares[10] == 1 and not shares[20:30].any()
    assert 0 < shares[19] < shares[18] < 1 and 0 < shares[30] < shares[31] < 1
    assert shares[19] == pytest.approx(0.05 / FADE)


def test_key_frames_are_two_a_second_of_those_that_show_the_face():
    times = np.arange(50) / 25
    found = np.ones(50, bool)
    found[10:16] = False
    keys = key_frames(Track(times, np.zeros((50, 4, 2)), found))
    assert keys[0] == 0 and keys[-1] == 49 and len(keys) == 5
    assert found[keys].all()
    assert key_frames(standing(np.zeros(1), np.zeros((4, 2)))) == [0]
    assert len(key_frames(standing(np.arange(3000) / 25, np.zeros((4, 2))))) == 64


def test_strength_is_steady_between_key_frames_and_leaves_what_is_the_same():
    track = standing(np.arange(101) / 25, np.zeros((4, 2)))
    keys = key_frames(track)
    shares = shares_of_keys(track, keys, 1.0)
    np.testing.assert_allclose(shares.sum(1), 1)
    jumps = np.where(np.arange(len(keys)) % 2, 1.0, 0.0)
    way = shares @ jumps
    assert np.abs(np.diff(way)).max() < 0.02 and 0.3 < way.mean() < 0.7
    unsteady = shares_of_keys(track, keys, 0.0) @ jumps
    assert np.abs(np.diff(unsteady)).max() > 0.05
