"""Encoders of photos: what is read of their files, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from styleatlas.engine.checkpoints.photo_encoder_file import (
    holds_photo_encoder,
    read_photo_encoder,
)
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.store.errors import CheckpointError

from ...checkpoint_files import (
    random_tensors,
    rosinality_file,
    rosinality_state,
    small_stylegan2,
    small_stylegan3,
)
from ...encoder_files import DIFFERENCES, PYRAMIDS, SMALL, TYPES, encoder_file, encoder_state

TWO = small_stylegan2(channels={4: 7, 8: 5, 16: 4, 32: 3})
ROWS, W_DIM = 8, 6
FAMILIES = dict(zip(TYPES, ("pSp", "e4e", "pSp", "e4e"), strict=True))


def counted(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: x for name, x in state.items() if not name.endswith(".num_batches_tracked")}


@pytest.mark.parametrize("channels", [3, 6])
@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_read(kind, channels, tmp_path) -> None:
    state = encoder_state(kind, ROWS, W_DIM, channels)
    average = torch.randn(ROWS, W_DIM)
    read = read_photo_encoder(encoder_file(tmp_path / "e.pt", kind, state, None, average))
    config = read.config
    assert (config.rows, config.w_dim, config.channels) == (ROWS, W_DIM, channels)
    assert (config.pyramid, config.deltas) == (kind in PYRAMIDS, kind in DIFFERENCES)
    assert config.widths == SMALL
    restyle = "ReStyle-" if channels == 6 else ""
    assert read.family == restyle + FAMILIES[kind]
    assert read.passes == (5 if channels == 6 else 1)
    wanted = counted(state)
    assert read.tensors.keys() == wanted.keys()
    assert all(torch.equal(read.tensors[name], wanted[name]) for name in wanted)
    assert torch.equal(read.origin, average) and read.decoder == {}
    assert read.generator(tmp_path / "e.pt") is None


def pth(path: Path, **how) -> Path:
    state = encoder_state("Encoder4Editing", ROWS, W_DIM)
    return encoder_file(path, "Encoder4Editing", state, None, torch.ones(W_DIM), **how)


def test_files_of_one_encoder_are_one_encoder(tmp_path) -> None:
    known = read_photo_encoder(pth(tmp_path / "e.pt")).sha256()
    for how in ({"namespace": True}, {"legacy": True}, {"prefix": "module."}):
        assert read_photo_encoder(pth(tmp_path / "other.pt", **how)).sha256() == known
    state = encoder_state("Encoder4Editing", ROWS, W_DIM)
    bare = encoder_file(
        tmp_path / "bare.pt", "Encoder4Editing", counted(state), None, torch.ones(W_DIM)
    )
    assert read_photo_encoder(bare).sha256() == known, "counters are no part of it"


def test_what_decides_an_answer_decides_the_identity(tmp_path) -> None:
    state = encoder_state("Encoder4Editing", ROWS, W_DIM)

    def sha256(kind: str = "Encoder4Editing", average=1.0, **options) -> str:
        path = tmp_path / "e.pt"
        encoder_file(path, kind, state, None, torch.full((W_DIM,), average), **options)
        return read_photo_encoder(path).sha256()

    different = [
        sha256(),
        sha256("GradualStyleEncoder"),
        sha256(average=2.0),
        sha256(dataset_type="cars_encode"),
        sha256(start_from_latent_avg=False),
    ]
    assert len(set(different)) == 5


@pytest.mark.parametrize("shape", [(W_DIM,), (1, W_DIM), (ROWS, W_DIM), (1, ROWS, W_DIM)])
def test_an_average_of_any_shape_is_that_of_every_row(shape, tmp_path) -> None:
    average = torch.randn(shape)
    state = encoder_state("BackboneEncoder", ROWS, W_DIM, 6)
    path = encoder_file(tmp_path / "e.pt", "BackboneEncoder", state, None, average)
    wanted = average.reshape(-1, W_DIM).expand(ROWS, W_DIM)
    assert torch.equal(read_photo_encoder(path).origin, wanted)


def test_one_that_does_not_start_from_the_average_counts_from_zero(tmp_path) -> None:
    state = encoder_state("GradualStyleEncoder", ROWS, W_DIM)
    for average, starts in ((None, None), (None, False), (torch.ones(W_DIM), False)):
        path = encoder_file(
            tmp_path / "e.pt",
            "GradualStyleEncoder",
            state,
            None,
            average,
            start_from_latent_avg=starts,
        )
        assert not read_photo_encoder(path).origin.any()


def of_rosinality(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    tensors = random_tensors(TWO)
    alone = rosinality_file(
        tmp_path / "alone.pt", rosinality_state(TWO, tensors), tensors["mapping.w_avg"]
    )
    return alone, rosinality_state(TWO, tensors)


@pytest.mark.parametrize("shape", [(W_DIM,), (ROWS, W_DIM)])
def test_the_decoder_is_the_generator_it_was_trained_with(shape, tmp_path) -> None:
    alone, decoder = of_rosinality(tmp_path)
    wanted = read_checkpoint(alone)
    average = random_tensors(TWO)["mapping.w_avg"].expand(shape).contiguous()
    state = encoder_state("Encoder4Editing", ROWS, W_DIM)
    path = encoder_file(tmp_path / "e.pt", "Encoder4Editing", state, decoder, average)
    read = read_photo_encoder(path)
    assert read.generator(path).sha256() == read_checkpoint(path).sha256() == wanted.sha256()


def test_a_decoder_of_stylegan3_lacks_its_transform(tmp_path) -> None:
    config = small_stylegan3()
    tensors = random_tensors(config) | {"synthesis.input.transform": torch.eye(3)}
    decoder = {name: x for name, x in tensors.items() if name != "synthesis.input.transform"}
    state = encoder_state("BackboneEncoder", config.num_ws, config.w_dim, 6)
    average = tensors["mapping.w_avg"]
    path = encoder_file(tmp_path / "e.pt", "BackboneEncoder", state, decoder, average)
    made = read_photo_encoder(path).generator(path)
    assert all(torch.equal(made.tensors[name], x) for name, x in tensors.items())


CHANGES: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "missing": (
        lambda state: state.pop("styles.1.convs.0.weight"),
        "missing styles.1.convs.0.weight",
    ),
    "surplus": (lambda state: state.update(extra=torch.ones(2)), "surplus extra"),
    "other shape": (
        lambda state: state.update({"latlayer1.weight": torch.ones(32, 32, 3, 3)}),
        r"latlayer1.weight has shape \(32, 32, 3, 3\) where \(32, 32, 1, 1\) is needed",
    ),
    "not finite": (
        lambda state: state["body.3.res_layer.4.running_var"].fill_(torch.nan),
        "body.3.res_layer.4.running_var holds NaN",
    ),
    "whole numbers": (
        lambda state: state.update({"latlayer1.bias": torch.ones(32, dtype=torch.int64)}),
        "latlayer1.bias has type torch.int64 where a float is needed",
    ),
    "no trunk": (
        lambda state: state.pop("body.21.res_layer.1.weight"),
        r"encoder\.body\.21\.res_layer\.1\.weight is missing",
    ),
    "colours": (
        lambda state: state.update({"input_layer.0.weight": torch.ones(16, 19, 3, 3)}),
        "its encoder sees 19 channels",
    ),
    "no rows": (
        lambda state: [state.pop(name) for name in list(state) if name.startswith("styles.")],
        r"encoder\.styles\.0\.linear\.weight is missing",
    ),
    "narrow": (
        lambda state: state.update({"body.3.res_layer.1.weight": torch.ones(8, 16, 3, 3)}),
        "stages of 16, 8, 32, 32 channels",
    ),
    "another w": (
        lambda state: state.update({"styles.0.linear.weight": torch.ones(8192, 1)}),
        r"styles.0.convs.0.bias has shape \(6,\) where \(8192,\) is needed",
    ),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES.keys())
def test_tensors_that_are_not_its_networks_are_refused(change, message, tmp_path) -> None:
    state = encoder_state("Encoder4Editing", ROWS, W_DIM)
    change(state)
    path = encoder_file(tmp_path / "e.pt", "Encoder4Editing", state, None, torch.ones(W_DIM))
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))}: .*{message}"):
        read_photo_encoder(path)
    assert holds_photo_encoder(path), "it is one, though not a sound one"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("ResNetBackboneEncoder", "ResNetBackboneEncoder"),
        ("BackboneEncoderUsingLastLayerIntoW", "BackboneEncoderUsingLastLayerIntoW"),
        (None, "missing"),
        (7, "7"),
    ],
)
def test_other_types_are_refused_by_name(kind, told, tmp_path) -> None:
    state = encoder_state("Encoder4Editing", ROWS, W_DIM)
    path = encoder_file(tmp_path / "e.pt", kind, state, None, torch.ones(W_DIM))
    with pytest.raises(CheckpointError, match=rf"opts.encoder_type is {told}, not one of Gradual"):
        read_photo_encoder(path)


@pytest.mark.parametrize("average", [None, torch.ones(5), torch.ones(3, W_DIM)])
def test_one_that_needs_an_average_is_refused_without_it(average, tmp_path) -> None:
    state = encoder_state("BackboneEncoder", ROWS, W_DIM, 6)
    path = encoder_file(tmp_path / "e.pt", "BackboneEncoder", state, None, average)
    with pytest.raises(CheckpointError, match=r"no latent_avg|latent_avg is of shape"):
        read_photo_encoder(path)
    state = encoder_state("Encoder4Editing", ROWS, W_DIM)
    encoder_file(path, "Encoder4Editing", state, None, average, start_from_latent_avg=True)
    with pytest.raises(CheckpointError, match=r"no latent_avg|latent_avg is of shape"):
        read_photo_encoder(path)


def test_what_is_no_encoder_is_refused(tmp_path) -> None:
    alone, _ = of_rosinality(tmp_path)
    text, tensors = tmp_path / "text.pt", tmp_path / "state.safetensors"
    text.write_text("encoder")
    save_file({"encoder.x": torch.ones(2)}, tensors)
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    for path in (alone, text, tensors, tmp_path / "list.pt"):
        assert not holds_photo_encoder(path)
        with pytest.raises(CheckpointError, match=r"encoders of photos are read from the \.pt of"):
            read_photo_encoder(path)
