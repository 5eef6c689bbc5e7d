from __future__ import annotations

import pytest
import torch

from styleatlas import load_generator
from styleatlas.engine.models.load import load_encoder, pick_device
from styleatlas.store.errors import CheckpointError, OptionError


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
