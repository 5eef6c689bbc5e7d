"""A generator's own photo encoder: in a file, and in use."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from styleatlas.engine.checkpoints.own_encoder_file import (
    METADATA_KEY,
    OwnEncoderCheckpoint,
    read_own_encoder_file,
    summarise_own_encoder,
)
from styleatlas.engine.models.own_encoder import (
    OwnEncoder,
    OwnEncoderRecord,
    drawn_small,
    read_own_encoder,
    write_own_encoder,
)
from styleatlas.engine.networks.own_encoder import OwnEncoderConfig, OwnEncoderNetwork
from styleatlas.store.errors import (
    AtlasFormatError,
    CheckpointError,
    FingerprintError,
    OptionError,
    OutputError,
)
from styleatlas.store.fingerprint import ModelIdentity

CONFIG = OwnEncoderConfig(side=8, w_dim=5, widths=(3, 4), hidden=6)


@pytest.fixture
def encoder(generator) -> OwnEncoder:
    torch.manual_seed(3)
    network = OwnEncoderNetwork(CONFIG).requires_grad_(False)
    torch.nn.init.normal_(network.step.weight)
    network.centre.normal_()
    network.scale.fill_(0.25)
    about = OwnEncoderRecord(
        library="test",
        generator=generator.identity,
        passes=3,
        samples="ab" * 32,
        settings={"steps": 5},
        measured={"latents": 0.5},
        created="2026-11-29T08:00:00+00:00",
    )
    return OwnEncoder(network, about, ModelIdentity("e", "0" * 64, {}), generator)


@pytest.fixture
def path(encoder, tmp_path):
    path = tmp_path / "e.safetensors"
    write_own_encoder(path, encoder)
    return path


# In a file


def test_file_holds_the_encoder_in_half_precision_and_where_it_comes_from(
    path, encoder, generator, tmp_path
):
    again = read_own_encoder(path, generator)
    for name, tensor in encoder.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor.half().float()), name
    assert again.about == encoder.about and again.identity.name == "e"
    assert {x.dtype for x in load_file(path).values()} == {torch.float16}
    assert not any(x.requires_grad for x in again.network.parameters())
    write_own_encoder(tmp_path / "again.safetensors", again)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert summarise_own_encoder(path) == (CONFIG, encoder.about)


def test_identity_is_that_of_the_weights(path, encoder, generator, tmp_path):
    about = replace(encoder.about, created="")
    other = replace(encoder, about=about)
    write_own_encoder(tmp_path / "o.safetensors", other)
    first = read_own_encoder(path, generator).identity.sha256
    assert read_own_encoder(tmp_path / "o.safetensors", generator).identity.sha256 == first
    encoder.network.step.bias[0] = 1.0
    write_own_encoder(tmp_path / "o.safetensors", encoder)
    assert read_own_encoder(tmp_path / "o.safetensors", generator).identity.sha256 != first


def test_encoder_of_another_generator_is_refused_naming_both(path, make_generator):
    with pytest.raises(FingerprintError) as caught:
        read_own_encoder(path, make_generator(1))
    assert str(caught.value).startswith(
        'encoder and generator do not belong together: the encoder was trained with "countable 0" ('
    )
    assert 'this generator is "countable 1"' in str(caught.value)


def test_tuned_generator_is_taken(path, make_generator, generator):
    tuned = make_generator(1)
    tuned.identity = replace(tuned.identity, tuned_from=generator.identity.sha256)
    assert read_own_encoder(path, tuned).generator is tuned


def _rewritten(path, **changes):
    """The file with another header, or other tensors."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[METADATA_KEY])
    tensors = load_file(path)
    for key, value in changes.items():
        part, _, name = key.partition("__")
        if part == "tensors":
            tensors[name] = value
        elif name:
            header[part][name] = value
        else:
            header[part] = value
    save_file(tensors, path, {METADATA_KEY: json.dumps(header)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "is an encoder of version 2, and this library reads version 1"),
        ({"more": 1}, "more is no field of an encoder"),
        ({"network__side": 512}, "encoder: side must be a power of two"),
        ({"network__widths": [3, 4, 5]}, "widths must be 2 whole numbers"),
        ({"network__widths": 3}, "does not describe a photo encoder"),
        ({"network__depth": 3}, "does not describe a photo encoder"),
        ({"record__generator": None}, "does not describe a photo encoder"),
        ({"record__passes": 10**9}, "passes: must be 1 to 20"),
        ({"record__samples": "../../etc"}, "samples: must be a SHA-256"),
        ({"record__library": "a\nb"}, "library: must be a printable text"),
        ({"record__created": "yesterday"}, "created: must be ISO 8601"),
        ({"tensors__scale": torch.zeros(())}, "its scale is not above 0"),
        ({"tensors__scale": torch.tensor(torch.nan)}, "scale holds NaN or infinity"),
        ({"tensors__step.bias": torch.full((5,), 1e6)}, "step.bias holds NaN or infinity"),
        ({"tensors__step.bias": torch.zeros(4)}, r"step.bias has shape \(4,\)"),
        ({"tensors__step.bias": torch.zeros(5, dtype=torch.int32)}, "where a float is needed"),
        ({"tensors__extra": torch.zeros(5)}, "surplus extra"),
    ],
)
def test_what_is_no_encoder_is_refused(path, changes, message):
    _rewritten(path, **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_own_encoder_file(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_other_safetensors_are_told_apart(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "g.safetensors", {"styleatlas": "{}"})
    for name, what in (("a", "tensors of something else"), ("g", "a generator")):
        for read in (read_own_encoder_file, summarise_own_encoder):
            with pytest.raises(CheckpointError, match=f"holds {what}, no photo encoder"):
                read(tmp_path / f"{name}.safetensors")


def test_encoder_is_not_written_where_it_cannot_be(encoder, tmp_path):
    with pytest.raises(OutputError, match=r"must end in \.safetensors"):
        write_own_encoder(tmp_path / "e.pt", encoder)
    encoder.network.step.bias[0] = 1e6
    with pytest.raises(CheckpointError, match="holds NaN or infinity"):
        write_own_encoder(tmp_path / "e.safetensors", encoder)
    assert list(tmp_path.iterdir()) == []


def test_record_takes_json_alone(generator):
    with pytest.raises(AtlasFormatError):
        OwnEncoderRecord(
            library="x", generator=generator.identity, passes=1, samples=None, settings={"a": set()}
        )


def test_checkpoint_shares_no_memory_with_the_training(encoder, tmp_path):
    state = encoder.network.state_dict()
    made = OwnEncoderCheckpoint.of(tmp_path, CONFIG, state, encoder.about)
    before = made.tensors["step.weight"].clone()
    state["step.weight"].zero_()
    assert torch.equal(made.tensors["step.weight"], before)


# In use


def test_every_pass_sees_crop_and_render_and_moves_all_rows_alike(encoder, generator):
    crops, start = torch.rand(3, 3, 8, 8) * 2 - 1, torch.randn(3, 1, 5).repeat(1, 2, 1)
    w = start[:, 0]
    for _ in range(3):
        render = generator.render(generator.styles(w[:, None].repeat(1, 2, 1)))
        w = w + encoder.network(torch.cat([crops, render], 1), w)
    found = encoder.encode(crops, start)
    torch.testing.assert_close(found, w[:, None].repeat(1, 2, 1))
    assert encoder.side == 8


def test_latents_of_another_width_are_refused(encoder):
    with pytest.raises(OptionError, match=r"this encoder takes \(n, num_ws, 5\)"):
        encoder.encode(torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 6))


def test_generator_without_drafts_draws_for_itself(generator):
    assert drawn_small(generator, 8) is generator
