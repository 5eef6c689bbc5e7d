"""Latents from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas import Atlas, load_encoder, load_generator
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.photos.inversion import Inverter, InvertSettings
from styleatlas.engine.videos.follow import KIND, Follower, Latents
from styleatlas.engine.videos.ledger import Ledger, packed, unpacked
from styleatlas.engine.videos.track import Track


@pytest.fixture(scope="module")
def parts():
    return load_generator("avatars", "cpu"), Atlas.open("avatars"), load_encoder("avatars", "cpu")


def turning(generator, count: int) -> list[np.ndarray]:
    one, other = styles_from_seeds(generator, [3, 5], 0.7)
    shares = torch.linspace(0, 0.3, count)
    with torch.inference_mode():
        images = generator.render(torch.stack([torch.lerp(one, other, x) for x in shares]))
    return list(to_bytes(images).numpy())


def test_every_frame_takes_its_steps_and_comes_nearer_than_the_one_before_it_was(parts):
    crops = turning(parts[0], 5)
    inverter = Inverter(*parts)
    follower = Follower(inverter, InvertSettings(steps=12))
    records = [unpacked(follower.begin(crops[0])[1])]
    records += [unpacked(follower.go_on(crop)) for crop in crops[1:]]
    assert [int(one["told"][1]) for one in records] == [12, 8, 8, 8, 8]
    for i in range(1, 5):
        stale = torch.from_numpy(records[i - 1]["styles"].copy())[None]
        seen = inverter.measure.seen(
            torch.from_numpy(crops[i].copy()).permute(2, 0, 1)[None] / 127.5 - 1
        )
        with torch.no_grad():
            before = inverter.measure.distance(inverter.measure.seen(parts[0].render(stale)), seen)
        assert records[i]["told"][0] < 0.8 * float(before)


def test_it_goes_on_from_records_to_the_same(parts):
    crops = turning(parts[0], 4)
    settings = InvertSettings(steps=3)
    follower = Follower(Inverter(*parts), settings)
    records = [follower.begin(crops[0])[1], *(follower.go_on(crop) for crop in crops[1:])]
    other = Follower(Inverter(*parts), settings)
    other.take_up(records[0], records[1])
    assert [other.go_on(crop) for crop in crops[2:]] == records[2:]


def test_smoothed_styles_are_those_of_a_stretch_alone(tmp_path):
    times = np.arange(9) / 20
    found = np.ones(9, bool)
    found[4] = False
    track = Track(times, np.zeros((9, 4, 2)), found)
    values = np.array([[1.0 + 2 * i, float(i > 4)] for i in range(9)], np.float32)
    with Ledger(tmp_path / "o.mp4", {}) as ledger:
        for i in np.flatnonzero(found).tolist():
            ledger.add(KIND, packed(styles=values[i], told=np.array([i, 2.0])))
        latents = Latents(track, ledger, 0.1)
        styles = dict(latents.smoothed(iter([0, 3, 5, 8])))
        for i in (0, 3, 5, 8):
            np.testing.assert_allclose(styles[i], values[i], atol=1e-5)
        distance, steps = latents.told()
        assert distance.tolist() == [0, 1, 2, 3, 5, 6, 7, 8] and steps.sum() == 16
