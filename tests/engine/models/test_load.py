from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from styleatlas import Atlas, Editor, load_generator
from styleatlas.engine.checkpoints.filled import NO_AVERAGE
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.models.load import (
    AVERAGE_OF_ATLAS,
    generator_as_drawn,
    load_encoder,
    pick_device,
)
from styleatlas.store.errors import CheckpointError, FingerprintError, OptionError
from styleatlas.store.registry import EMBEDDED

from ...checkpoint_files import rosinality_state


def test_generator_is_named_after_its_file(checkpoint):
    generator = load_generator(str(checkpoint), "cpu")
    assert generator.identity.name == "tiny"
    assert generator.device == torch.device("cpu")
    assert generator.identity == load_generator(checkpoint, "cpu").identity


def test_loaded_generator_renders_what_was_saved(checkpoint, stylegan2):
    generator = load_generator(checkpoint, "cpu")
    styles = stylegan2.styles(stylegan2.map(torch.ones(2, 6)))
    assert torch.allclose(generator.render(styles), stylegan2.render(styles), atol=1e-5)
    assert not any(p.requires_grad for p in generator.network.parameters())


@pytest.mark.parametrize("device", ["warp", "gpu", "meta", "xpu", "meta:7:7", ""])
def test_device_of_an_unknown_kind_is_refused_without_a_list_of_all(device):
    with pytest.raises(OptionError) as caught:
        pick_device(device)
    told = f"device {device!r}: cannot be used; try cpu, cuda, cuda:1 or mps"
    assert str(caught.value) == told


def test_device_that_cannot_be_is_refused_in_one_line_with_the_reason():
    with pytest.raises(OptionError) as caught:
        pick_device("cpu:x")
    message = str(caught.value)
    assert message.startswith("device 'cpu:x': cannot be used (")
    assert message.endswith("; try cpu, cuda, cuda:1 or mps")
    assert "\n" not in message


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_models_live_on_the_device_that_is_named(device, checkpoint):
    if (torch.device(device).index or 0) >= torch.cuda.device_count():
        pytest.skip("needs a second GPU")
    generator, encoder = load_generator(checkpoint, device), load_encoder("avatars", device)
    with torch.inference_mode():
        images = generator.render(generator.styles(generator.map(torch.ones(2, 6, device=device))))
        seen, read = encoder.images(images), encoder.texts(["a face"])
    assert {x.device for x in (images, seen, read)} == {torch.empty(0, device=device).device}
    here = load_generator(checkpoint, "cpu")
    wanted = here.render(here.styles(here.map(torch.ones(2, 6))))
    assert torch.allclose(images.cpu(), wanted, atol=1e-2)


def test_device_that_is_not_there_is_refused_in_one_short_line(checkpoint):
    with pytest.raises(OptionError) as caught:
        load_generator(checkpoint, "cuda:99")
    told = f"device 'cuda:99': there is none here; use {pick_device(None)}"
    assert str(caught.value) == told


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="has Apple's MPS")
def test_kind_of_device_that_is_not_there_is_refused_in_one_short_line():
    with pytest.raises(OptionError, match=r"^device 'mps': there is none here; use (cpu|cuda)$"):
        pick_device("mps")


def test_best_device_is_one_that_exists():
    assert torch.empty(1, device=pick_device(None)).device.type == pick_device(None).type


def test_clip_that_is_not_there_or_another_file_is_refused(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="none: no such file or folder; check the path"):
        load_encoder(tmp_path / "none", "cpu")
    with pytest.raises(CheckpointError, match="does not say what its architecture is"):
        load_encoder(checkpoint, "cpu")


@pytest.fixture(scope="module")
def avatars() -> Atlas:
    return Atlas.open("avatars")


@pytest.fixture(scope="module")
def whole():
    """The generator of the avatars, with the average of its training."""
    return load_generator("avatars", "cpu")


@pytest.fixture(scope="module")
def without_average(tmp_path_factory):
    """The avatars' generator as rosinality's descendants export it: without `latent_avg`."""
    read = read_checkpoint(EMBEDDED.generator)
    path = tmp_path_factory.mktemp("export") / "exported.pt"
    torch.save({"g_ema": rosinality_state(read.config, read.tensors)}, path)
    return path


@pytest.fixture(scope="module")
def drawn_without_average(avatars, without_average) -> Atlas:
    """An atlas that was drawn with that file."""
    exported = load_generator(without_average, "cpu")
    samples = replace(avatars.samples, centre=exported.average.numpy())
    origin = replace(avatars.fingerprint, generator=exported.identity)
    return replace(avatars, fingerprint=origin, samples=samples)


def test_file_without_an_average_takes_that_of_the_atlas(avatars, whole, without_average):
    exported = load_generator(without_average, "cpu")
    assert exported.identity.sha256 != whole.identity.sha256
    assert exported.notes == (NO_AVERAGE,)
    found = generator_as_drawn(avatars, exported)
    assert found.identity == replace(whole.identity, name="exported")
    assert found.notes == (AVERAGE_OF_ATLAS,)
    z = torch.randn(2, whole.z_dim)
    assert torch.equal(found.map(z, truncation=0.7), whole.map(z, truncation=0.7))
    assert not torch.equal(exported.map(z, truncation=0.7), whole.map(z, truncation=0.7))


def test_atlas_of_a_file_without_an_average_is_that_of_the_whole(
    drawn_without_average, whole, without_average
):
    exported = load_generator(without_average, "cpu")
    assert generator_as_drawn(drawn_without_average, exported) is exported
    found = generator_as_drawn(drawn_without_average, whole)
    assert found.identity.sha256 == exported.identity.sha256
    assert found.notes == (AVERAGE_OF_ATLAS,)
    z = torch.randn(2, whole.z_dim)
    assert torch.equal(found.map(z, truncation=0.7), exported.map(z, truncation=0.7))
    assert whole.notes == () and torch.equal(whole.average, whole.network.mapping.w_avg)


def test_editor_holds_the_generator_with_the_average_of_its_atlas(avatars, without_average):
    for given in (without_average, load_generator(without_average, "cpu")):
        editor = Editor(avatars, given, device="cpu")
        assert editor.generator.identity.sha256 == avatars.fingerprint.generator.sha256
        assert np.array_equal(editor.generator.average, avatars.samples.centre)


def test_other_weights_are_another_generator_whatever_the_average(
    avatars, drawn_without_average, tmp_path
):
    read = read_checkpoint(EMBEDDED.generator)
    state = rosinality_state(read.config, read.tensors)
    state["style.1.bias"] = state["style.1.bias"] + 1e-3
    torch.save({"g_ema": state}, tmp_path / "tuned.pt")
    tuned = load_generator(tmp_path / "tuned.pt", "cpu")
    for atlas in (avatars, drawn_without_average):
        with pytest.raises(FingerprintError, match="do not belong together"):
            generator_as_drawn(atlas, tuned)


def test_tuned_file_without_an_average_takes_that_of_its_parents_atlas(avatars, whole, tmp_path):
    read = read_checkpoint(EMBEDDED.generator)
    state = rosinality_state(read.config, read.tensors)
    state["conv1.conv.weight"] = state["conv1.conv.weight"] + 1e-3
    torch.save({"g_ema": state}, tmp_path / "tuned.pt")
    found = generator_as_drawn(avatars, load_generator(tmp_path / "tuned.pt", "cpu"), tuned=True)
    assert found.identity.tuned_from == whole.identity.sha256 != found.identity.sha256
    assert found.notes == (AVERAGE_OF_ATLAS,)
    assert np.array_equal(found.average, avatars.samples.centre)
    assert generator_as_drawn(avatars, found) is found


def test_atlas_without_samples_has_no_average_to_give(avatars, without_average, whole):
    bare = replace(avatars, samples=None)
    assert generator_as_drawn(bare, whole) is whole
    with pytest.raises(
        FingerprintError, match=r"exported.* has no average w, and the atlas, .*sam"
    ):
        generator_as_drawn(bare, load_generator(without_average, "cpu"))
