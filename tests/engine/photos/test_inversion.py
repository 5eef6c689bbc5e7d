"""Crops to latents, on the embedded avatars, whose own renders are crops of known latents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from styleatlas import Atlas, load_encoder, load_generator
from styleatlas.engine.models.features import Features
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.own_encoder import OwnEncoder, OwnEncoderRecord, write_own_encoder
from styleatlas.engine.models.photo_encoders import load_photo_encoder
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.sampling import w_from_seeds, w_shape
from styleatlas.engine.networks.own_encoder import OwnEncoderConfig, OwnEncoderNetwork
from styleatlas.engine.photos.inversion import Inverter, InvertSettings
from styleatlas.precompute.build import precompute
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.cache import InversionCache, clear_inversions, inversions
from styleatlas.store.errors import CheckpointError, OptionError, ResumeError
from styleatlas.store.features import Feature
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.progress import Progress

from ...checkpoint_files import small_stylegan2
from ...encoder_files import avatars_encoder
from ...near import assert_near

SEEDS = (5, 6, 7)
START = InvertSettings(steps=0)


@pytest.fixture(scope="module")
def parts():
    return load_generator("avatars", "cpu"), Atlas.open("avatars"), load_encoder("avatars", "cpu")


@pytest.fixture(scope="module")
def inverter(parts) -> Inverter:
    return Inverter(*parts)


@pytest.fixture(scope="module")
def crops(parts):
    with torch.inference_mode():
        styles = parts[0].styles(w_from_seeds(parts[0], SEEDS, 0.7))
        return list(to_bytes(parts[0].render(styles)).numpy())


def apart(crops, generator, styles) -> np.ndarray:
    """Mean absolute difference of crops and renders, of 1."""
    with torch.inference_mode():
        shown = to_bytes(generator.render(styles)).numpy().astype(float)
    return np.abs(shown - np.stack(crops)).mean((1, 2, 3)) / 255


def test_renders_come_back_by_look_up(parts, inverter, crops) -> None:
    generator = parts[0]
    found = inverter.invert(crops, START)
    assert found.styles.shape == (3, generator.layout.size) and found.steps == (0, 0, 0)
    assert (apart(crops, generator, found.styles) < 0.08).all()
    turned = found.styles[[1, 2, 0]]
    assert (apart(crops, generator, turned) > 0.12).all()
    torch.testing.assert_close(generator.styles(found.w), found.styles)
    assert (found.label == -1).all() and (found.cosine > 0.9).all()
    assert (found.farther > 0.05).all()
    np.testing.assert_array_equal(found.distance, found.first_distance)
    assert found.measure == "pixels and CLIP"


def test_a_conditional_generator_takes_a_crop_for_the_nearest_class_or_the_one_given(
    make_network, parts
) -> None:
    config = small_stylegan2(c_dim=3, embed_features=4, layer_features=9)
    identity = ModelIdentity("classes", "c" * 64, {})
    generator = StyleGANGenerator(make_network(config=config), identity)
    settings = PrecomputeSettings(table="none", samples=300, statistics=20)
    words = PromptSet(("word",), ("{}",))
    atlas = precompute(generator, parts[2], words, settings, lambda progress: None)
    samples = atlas.samples
    w = torch.from_numpy(samples.w[:60].astype(np.float32))[:, None]
    with torch.inference_mode():
        styles = generator.styles(w.expand(-1, w_shape(generator)[0], -1))
        crops = list(to_bytes(generator.render(styles).clamp(-1, 1)).expand(-1, -1, -1, 3).numpy())
    inverter = Inverter(generator, atlas, parts[2])
    found = inverter.invert(crops, START)
    assert (found.label == samples.label[:60]).mean() > 0.6, "a third by chance"
    told = inverter.invert(crops, replace(START, label=2))
    assert (told.label == 2).all()
    same = torch.from_numpy(found.label == 2)
    torch.testing.assert_close(told.w[same], found.w[same])
    assert ((told.w - found.w).abs().amax((1, 2))[~same] > 0.01).all(), "by another class's mean"
    with pytest.raises(OptionError, match="class 3: this generator has classes 0 to 2"):
        inverter.invert(crops, replace(START, label=3))


def test_the_mean_is_the_average_w(parts, inverter, crops) -> None:
    found = inverter.invert(crops, InvertSettings(start="mean", steps=0))
    average = torch.from_numpy(parts[1].samples.centre)
    torch.testing.assert_close(found.w, average.expand_as(found.w))
    by_look_up = inverter.invert(crops, START)
    assert (found.distance > 2 * by_look_up.distance).all()


def test_an_atlas_without_samples_starts_from_the_mean_alone(parts, crops) -> None:
    generator, atlas, encoder = parts
    bare = Inverter(generator, replace(atlas, samples=None), encoder)
    with pytest.raises(OptionError, match="no samples to look up in"):
        bare.invert(crops, START)
    found = bare.invert(crops, InvertSettings(start="mean", steps=0))
    assert np.isnan(found.farther).all() and np.isfinite(found.distance).all()


@pytest.fixture(scope="module")
def photo_encoder(parts, tmp_path_factory):
    path = avatars_encoder(tmp_path_factory.mktemp("encoder") / "restyle.pt")
    return load_photo_encoder(path, parts[0])


def test_a_photo_encoder_tells_where_crops_begin(parts, inverter, crops, photo_encoder) -> None:
    generator = parts[0]
    by_encoder = Inverter(*parts, photo_encoder=photo_encoder)
    found = by_encoder.invert(crops, START)
    shown = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 127.5 - 1
    wanted = photo_encoder.encode(shown, torch.empty(0))
    assert (wanted[0] - wanted[1]).abs().max() > 1e-3 and found.start == "encoder"
    assert_near(found.w, wanted, 1e-4)
    assert_near(found.styles, generator.styles(wanted), 1e-4)
    by_look_up = inverter.invert(crops, START)
    assert_near(found.farther, by_look_up.farther)
    refined = by_encoder.invert(crops, InvertSettings(steps=6))
    assert_near(refined.first_distance, found.distance, 1e-3)
    assert (refined.distance < refined.first_distance).all()
    told = by_encoder.invert(crops, replace(START, start="look-up"))
    assert told.start == "look-up" and torch.equal(told.styles, by_look_up.styles)
    bare = Inverter(
        generator, replace(parts[1], samples=None), parts[2], photo_encoder=photo_encoder
    )
    without = bare.invert(crops, START)
    assert_near(without.w, wanted, 1e-4)
    assert np.isnan(without.farther).all()


def test_a_photo_encoder_is_part_of_what_an_inversion_is_remembered_by(
    parts, crops, photo_encoder, tmp_path
) -> None:
    cache = InversionCache()
    Inverter(*parts, cache=cache).invert(crops[:1], START)
    first = Inverter(*parts, cache=cache, photo_encoder=photo_encoder)
    assert first.new(crops[:1], START) == 1
    first.invert(crops[:1], START)
    assert first.new(crops[:1], START) == 0
    other = load_photo_encoder(avatars_encoder(tmp_path / "restyle.pt", seed=1), parts[0])
    assert Inverter(*parts, cache=cache, photo_encoder=other).new(crops[:1], START) == 1
    assert len(inversions()) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [(torch.ones(1, 2, 3), r"makes w of \(1, 2, 3\)"), (torch.nan, "numbers that are not finite")],
)
def test_a_photo_encoder_that_answers_nonsense_is_refused(parts, crops, answer, message) -> None:
    class Spoilt:
        identity, side, notes = ModelIdentity("spoilt", "1" * 64, {}), 256, ()

        def encode(self, crops: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
            w = torch.ones(len(crops), *w_shape(parts[0]))
            return answer if isinstance(answer, torch.Tensor) else w * answer

    inverter = Inverter(*parts, photo_encoder=Spoilt())
    with pytest.raises(CheckpointError, match=rf'photo encoder "spoilt" \(1+\): .*{message}'):
        inverter.invert(crops[:1], START)


def test_an_encoder_of_ones_own_steps_on_from_the_look_up(parts, inverter, crops, tmp_path) -> None:
    generator, atlas, _ = parts
    network = OwnEncoderNetwork(OwnEncoderConfig.of(generator.image_size, w_shape(generator)[1]))
    network.requires_grad_(False).step.bias.fill_(0.25)
    about = {"library": "test", "generator": generator.identity, "passes": 2}
    record = OwnEncoderRecord(**about, samples=atlas.samples.sha256)
    path = tmp_path / "own.safetensors"
    write_own_encoder(path, OwnEncoder(network, record, generator.identity, generator))
    own = load_photo_encoder(path, generator)
    by_encoder = Inverter(*parts, photo_encoder=own)
    found, looked = by_encoder.invert(crops, START), inverter.invert(crops, START)
    assert found.start == "encoder" and by_encoder.notes == inverter.notes
    assert_near(found.w, looked.w + 2 * 0.25, 1e-5)
    own.about = OwnEncoderRecord(**about, samples="0" * 64)
    (note,) = set(Inverter(*parts, photo_encoder=own).notes) - set(inverter.notes)
    assert note.startswith("photo encoder own: learned to begin in other samples")


def test_where_it_starts_is_settled_by_what_there_is() -> None:
    mine, other = ModelIdentity("e4e", "1" * 64, {}), ModelIdentity("psp", "2" * 64, {})
    assert START.begun_by(None) == replace(START, start="look-up")
    by_mine = replace(START, start="encoder", encoder=mine.sha256)
    assert START.begun_by(mine) == by_mine == by_mine.begun_by(mine)
    mean = replace(START, start="mean")
    assert mean.begun_by(mine) == mean
    assert "encoder" not in mean.record() and by_mine.record()["encoder"] == mine.sha256
    with pytest.raises(OptionError, match="there is no photo encoder; name it by --encoder"):
        replace(START, start="encoder").begun_by(None)
    with pytest.raises(OptionError, match="no photo encoder of the weights 111111111111; name it"):
        by_mine.begun_by(None)
    with pytest.raises(OptionError, match='weights 111111111111, and this one is "psp"'):
        by_mine.begun_by(other)


@pytest.mark.parametrize("space", ["w", "w+", "s"])
def test_a_refinement_comes_nearer_than_the_look_up(parts, inverter, crops, space) -> None:
    generator = parts[0]
    found = inverter.invert(crops, InvertSettings(space, steps=12))
    begun = inverter.invert(crops, START)
    assert found.steps == (12, 12, 12) and (found.w is None) == (space == "s")
    np.testing.assert_allclose(found.first_distance, begun.distance, rtol=1e-3)
    assert (found.distance < 0.7 * found.first_distance).all()
    assert (apart(crops, generator, found.styles) < apart(crops, generator, begun.styles)).all()
    assert (found.cosine > begun.cosine).all()


def test_it_says_how_long_it_takes(inverter, crops) -> None:
    ten = inverter.estimate(40, InvertSettings(steps=1000))
    assert 20 * inverter.estimate(1, START) < ten and 0 < ten < np.inf


def test_a_refinement_goes_on_after_it_was_stopped(inverter, crops, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("styleatlas.store.work.SAVE_SECONDS", 0)
    output, settings = tmp_path / "people.npz", InvertSettings("w", steps=8)
    whole = inverter.invert(crops, settings, frames=3)

    def stop(progress: Progress) -> None:
        if progress.done >= 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inverter.invert(crops, settings, stop, output, frames=3)
    assert (tmp_path / "people.npz.work").exists()
    with pytest.raises(ResumeError, match="another inversion: crops"):
        inverter.invert(crops[:2], settings, state=output, frames=3)
    told: list[Progress] = []
    again = inverter.invert(crops, settings, told.append, output, frames=3)
    assert torch.equal(again.styles, whole.styles) and torch.equal(again.path, whole.path)
    assert told[0].done > 12 and told[-1].done == told[-1].total == 24
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_state_is_refused(inverter, crops, tmp_path) -> None:
    (tmp_path / "people.npz.work").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(ResumeError, match="delete it to start afresh"):
        inverter.invert(crops, InvertSettings(steps=2), state=tmp_path / "people.npz")


def test_a_film_of_the_way_begins_at_the_look_up(inverter, crops) -> None:
    found = inverter.invert(crops[:1], InvertSettings(steps=6), frames=7)
    assert found.path.shape == (1, 7, found.styles.shape[1])
    begun = inverter.invert(crops[:1], START)
    torch.testing.assert_close(found.path[:, 0], begun.styles, rtol=1e-4, atol=1e-4)
    assert begun.path.shape[1] == 0


def test_features_of_other_weights_are_left_out_and_told(parts, crops) -> None:
    generator, atlas, encoder = parts

    class Reader:
        name, crop = "made up", (0.0, 0.0, 1.0, 1.0)
        identity = ModelIdentity("made up", "1" * 64, {})
        readings = dict.fromkeys(("age", "gender"), ("0",))

        def read(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            return {name: images[:, 0].mean((1, 2))[:, None] for name in self.readings}

    features = Features("made up", [Reader()])
    values = np.random.default_rng(0).normal(size=(4_000, 1)).astype(np.float32)
    other = replace(features.sources["age"], reader=ModelIdentity("other", "2" * 64, {}))
    read = {
        "age": Feature(values, other),
        "gender": Feature(values, features.sources["gender"]),
    }
    samples = replace(atlas.samples, readings=read)
    inverter = Inverter(generator, replace(atlas, samples=samples), encoder, features)
    assert len(inverter.notes) == 1 and inverter.notes[0].startswith("age: were read")
    by_gender = inverter.invert(crops, START)
    by_clip = Inverter(*parts).invert(crops, START)
    assert not torch.equal(by_gender.styles, by_clip.styles)


def test_what_was_not_fetched_is_told(parts) -> None:
    (note,) = Inverter.of(*parts, cache=False).notes
    assert note.startswith("refined by pixels and CLIP: lpips: not fetched yet")


@pytest.mark.faces
def test_lpips_is_taken_where_it_was_fetched(parts, crops) -> None:
    inverter = Inverter.of(*parts, cache=False)
    assert inverter.notes == () and inverter.measure.name == "LPIPS (vgg)"
    found = inverter.invert(crops[:1], InvertSettings("w", steps=4))
    assert found.measure == "LPIPS (vgg)" and found.distance[0] < found.first_distance[0]


def test_crops_of_another_size_are_refused(inverter, crops) -> None:
    with pytest.raises(OptionError, match="64 x 64"):
        inverter.invert([crops[0][:32]], START)
    with pytest.raises(OptionError, match="give one"):
        inverter.invert([], START)


@pytest.mark.parametrize(
    "wrong", [{"space": "z"}, {"start": "seed"}, {"steps": -1}, {"encoder": "me.pt"}]
)
def test_settings_are_checked(wrong) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        InvertSettings(**wrong)


def test_an_inversion_is_remembered(parts, crops, monkeypatch) -> None:
    inverter = Inverter(*parts, cache=InversionCache())
    assert inverter.new(crops, START) == 3
    first = inverter.invert(crops[:2], START)
    assert len(inversions()) == 2 and inverter.new(crops, START) == 1
    monkeypatch.setattr(inverter, "_made", None)  # nothing is computed any more
    again = inverter.invert([crops[1], crops[0]], START)
    torch.testing.assert_close(again.styles, first.styles[[1, 0]], rtol=0, atol=0)
    torch.testing.assert_close(again.w, first.w[[1, 0]], rtol=0, atol=0)
    for name in ("label", "farther", "cosine", "distance", "first_distance"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name)[[1, 0]])
    assert clear_inversions() == 2 and inversions() == []


def test_what_decides_an_inversion_is_part_of_its_key(parts, crops) -> None:
    generator, atlas, encoder = parts
    Inverter(*parts, cache=InversionCache()).invert(crops[:1], START)
    fewer = replace(atlas.samples, **{n: getattr(atlas.samples, n)[:2000] for n in
                                      ("w", "label", "embedding", "pulled")})  # fmt: skip
    other = Inverter(generator, replace(atlas, samples=fewer), encoder, cache=InversionCache())
    assert other.invert(crops[:1], START).w is not None
    assert len(inversions()) == 2
    other.invert(crops[:1], replace(START, start="mean"))
    other.invert(crops[1:2], START)
    assert len(inversions()) == 4


def test_a_damaged_file_is_passed_over(parts, crops) -> None:
    cache = InversionCache()
    inverter = Inverter(*parts, cache=cache)
    first = inverter.invert(crops[:1], START)
    (path,) = cache.folder.iterdir()
    content = path.read_bytes()
    for spoilt in (b"", content[:-1], content[:40] + b"\xff" + content[41:], b"\x80\x04." * 99):
        path.write_bytes(spoilt)
        again = inverter.invert(crops[:1], START)
        torch.testing.assert_close(again.styles, first.styles, rtol=0, atol=0)
        assert path.read_bytes() == content
