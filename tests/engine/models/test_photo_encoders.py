"""Encoders of photos on small generators: latents by a formulation of its own, and whose they
are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleatlas import load_generator
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.photo_encoders import load_photo_encoder
from styleatlas.store.errors import CheckpointError, FingerprintError, OptionError

from ...checkpoint_files import (
    random_tensors,
    rosinality_file,
    rosinality_state,
    small_stylegan2,
    small_stylegan3,
)
from ...encoder_files import TYPES, encoder_file, encoder_state, plain_encoder
from ...near import assert_near

TWO = small_stylegan2(channels={4: 7, 8: 5, 16: 4, 32: 3})
THREE = small_stylegan3()
ROWS, W_DIM = 8, 6

PASSED_OVER = torch.empty(0)  # where the look-up would begin


def average(config=TWO) -> Tensor:
    return random_tensors(config)["mapping.w_avg"]


def generator_of(tmp_path: Path, seed: int = 0) -> StyleGANGenerator:
    tensors = random_tensors(TWO, seed)
    path = tmp_path / f"generator{seed}.pt"
    rosinality_file(path, rosinality_state(TWO, tensors), tensors["mapping.w_avg"])
    generator = load_generator(path, "cpu")
    assert isinstance(generator, StyleGANGenerator)
    return generator


def encoder_of(path: Path, kind: str = TYPES[1], channels: int = 3, **options) -> Path:
    state = encoder_state(kind, ROWS, W_DIM, channels)
    decoder = rosinality_state(TWO, random_tensors(TWO))
    return encoder_file(path, kind, state, decoder, average(), **options)


def plain_latents(kind: str, state, average: Tensor, generator, crops: Tensor) -> Tensor:
    """By ReStyle's loop where the network sees six channels."""

    def seen(images: Tensor) -> Tensor:
        return F.interpolate(images, (256, 256), mode="bilinear")

    w = average.expand(len(crops), ROWS if generator.image_size[0] == 32 else THREE.num_ws, -1)
    if state["input_layer.0.weight"].shape[1] == 3:
        return w + plain_encoder(kind, state, seen(crops))
    last = generator.render(generator.styles(w))
    for _ in range(5):
        answer = plain_encoder(kind, state, torch.cat((seen(crops), seen(last)), dim=1))
        w = answer + w
        last = generator.render(generator.styles(w))
    return w


@pytest.mark.parametrize("channels", [3, 6])
@pytest.mark.parametrize("kind", TYPES)
@torch.no_grad()
def test_latents_are_those_of_the_plain_formulation(kind, channels, tmp_path) -> None:
    generator = generator_of(tmp_path)
    encoder = load_photo_encoder(encoder_of(tmp_path / "e.pt", kind, channels), generator)
    assert encoder.notes == () and encoder.side == 256 and encoder.identity.name == "e"
    crops = torch.rand(3, 3, 32, 32) * 2 - 1
    state = encoder_state(kind, ROWS, W_DIM, channels)
    wanted = plain_latents(kind, state, average(), generator, crops)
    assert torch.isfinite(wanted).all() and (wanted[0] - wanted[1]).abs().max() > 1e-3
    assert_near(encoder.encode(crops, PASSED_OVER), wanted, 1e-4)


@torch.no_grad()
def test_a_stylegan3_is_iterated_through(make_network, tmp_path) -> None:
    """Its state dict lacks the transform; with designed filters, as random ones make chaos."""
    tensors = make_network(config=THREE).state_dict()
    decoder = {name: x for name, x in tensors.items() if name != "synthesis.input.transform"}
    state = encoder_state("BackboneEncoder", THREE.num_ws, W_DIM, 6)
    latent_avg = tensors["mapping.w_avg"]
    path = encoder_file(tmp_path / "e.pt", "BackboneEncoder", state, decoder, latent_avg)
    generator = load_generator(path, "cpu")
    crops = torch.rand(2, 3, 16, 16) * 2 - 1
    wanted = plain_latents("BackboneEncoder", state, latent_avg, generator, crops)
    assert_near(load_photo_encoder(path, generator).encode(crops, PASSED_OVER), wanted, 1e-4)


@torch.no_grad()
def test_larger_crops_are_averaged_and_cars_are_cut(tmp_path) -> None:
    class Larger:
        """A generator of which only sizes are asked."""

        identity = generator_of(tmp_path).identity
        image_size, device, c_dim, z_dim = (512, 512), torch.device("cpu"), 0, 5

        def map(self, z, c=None, **how) -> Tensor:
            return torch.zeros(len(z), ROWS, W_DIM)

    crops = torch.rand(1, 3, 512, 512) * 2 - 1
    averaged = crops.reshape(1, 3, 256, 2, 256, 2).mean((3, 5))
    state = encoder_state(TYPES[1], ROWS, W_DIM)
    for dataset, rows in (("ffhq_encode", slice(None)), ("cars_encode", slice(32, 224))):
        path = encoder_of(tmp_path / "e.pt", dataset_type=dataset)
        wanted = average() + plain_encoder(TYPES[1], state, averaged[:, :, rows])
        assert_near(load_photo_encoder(path, Larger()).encode(crops, PASSED_OVER), wanted)


def test_an_encoder_of_another_generator_is_refused_by_both_names(tmp_path) -> None:
    path = encoder_of(tmp_path / "e.pt")
    other = generator_of(tmp_path, seed=1)
    mine = generator_of(tmp_path).identity.sha256[:12]
    with pytest.raises(FingerprintError) as refused:
        load_photo_encoder(path, other)
    said = str(refused.value)
    assert f'"the decoder in e.pt" ({mine})' in said and str(other.identity) in said
    assert "`styleatlas convert e.pt generator.safetensors`" in said
    parent = generator_of(tmp_path).identity.sha256
    other.identity = replace(other.identity, tuned_from=parent)
    assert load_photo_encoder(path, other).notes == (), "it was tuned from that one"


@pytest.mark.parametrize("without", [(), ("latent_avg",), ("noise",), ("latent_avg", "noise")])
def test_another_average_or_noise_is_the_same_generator(without, tmp_path) -> None:
    """Files of encoders have often made-up ones: their own code draws noise anew."""
    generator = generator_of(tmp_path)
    decoder = rosinality_state(TWO, random_tensors(TWO))
    if "noise" in without:
        decoder |= {name: x + 1 for name, x in decoder.items() if name.startswith("noises.")}
    state = encoder_state(TYPES[0], ROWS, W_DIM)
    latent_avg = None if "latent_avg" in without else average() + 1
    path = encoder_file(tmp_path / "e.pt", TYPES[0], state, decoder, latent_avg)
    assert load_photo_encoder(path, generator).notes == ()


def test_one_without_its_generator_is_taken_and_told(tmp_path) -> None:
    state = encoder_state(TYPES[0], ROWS, W_DIM)
    path = encoder_file(tmp_path / "e.pt", TYPES[0], state, None, average())
    (note,) = load_photo_encoder(path, generator_of(tmp_path)).notes
    assert note.startswith("photo encoder e: does not hold its generator")
    encoder_file(path, TYPES[0], encoder_state(TYPES[0], 10, W_DIM), None, average())
    with pytest.raises(CheckpointError, match="makes w of 10 x 6, and this generator takes 8 x 6"):
        load_photo_encoder(path, generator_of(tmp_path))


def test_what_is_not_there_or_no_path_is_refused(tmp_path) -> None:
    generator = generator_of(tmp_path)
    with pytest.raises(CheckpointError, match="no such file; check the path of the photo encoder"):
        load_photo_encoder(tmp_path / "none.pt", generator)
    with pytest.raises(OptionError, match="photo encoder"):
        load_photo_encoder(7, generator)
