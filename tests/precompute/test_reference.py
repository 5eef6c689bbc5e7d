"""The tables of StyleCLIP's two builders, each beside a plain loop that does what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.precompute import methods
from styleatlas.precompute.reference import (
    TensorFlowBlock,
    TorchBlock,
    reference_channels,
    reference_styles,
)
from styleatlas.store.errors import OptionError
from styleatlas.store.fingerprint import ModelIdentity

from ..near import assert_near

ROWS = ("rows", "consistency", "strength")
IMAGES, LATENTS, SEED = 6, 40, 5
DEEP = StyleGAN2Config(
    z_dim=6, w_dim=6, mapping_layers=2, channels={4: 3, 8: 3, 16: 3, 32: 2, 64: 2}
)
BLOCKS = {"tensorflow": TensorFlowBlock, "torch": TorchBlock}


@pytest.fixture(scope="module")
def deep(make_network) -> StyleGANGenerator:
    """A StyleGAN2 with ten rows of w, of which global_torch pulls eight."""
    return StyleGANGenerator(make_network(config=DEEP), ModelIdentity("deep", "4" * 64, {}))


# The builders, written out.


def tensorflow_picture(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Half a step is added before the rest is cut off."""
    return np.floor(np.clip(image * 127.5 + 127.5 + 0.5, 0, 255)).astype(np.uint8)


def torch_picture(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What is behind the point is cut off."""
    return np.floor(np.clip((image + 1) * 127.5, 0, 255)).astype(np.uint8)


@torch.inference_mode()
def tensorflow_styles(generator) -> NDArray[np.float32]:
    """Every row of w is pulled, since all are copies of the first."""
    z = np.random.RandomState(SEED).randn(LATENTS, generator.z_dim)
    w = generator.map(torch.tensor(z, dtype=torch.float32))
    average = generator.map(torch.zeros(1, generator.z_dim), truncation=0.0)
    first = (average + 0.7 * (w - average))[:, :1]
    return generator.styles(first.expand_as(w)).numpy()


@torch.inference_mode()
def torch_styles(generator) -> NDArray[np.float32]:
    """The first eight rows of w are pulled."""
    z = np.random.RandomState(SEED).randn(LATENTS, generator.z_dim)
    w = generator.map(torch.tensor(z, dtype=torch.float32))
    average = generator.map(torch.zeros(1, generator.z_dim), truncation=0.0)
    pulled = average + 0.7 * (w - average)
    return generator.styles(torch.cat([pulled[:, :8], w[:, 8:]], 1)).numpy()


BUILDERS = {
    "tensorflow": (tensorflow_picture, tensorflow_styles),
    "torch": (torch_picture, torch_styles),
}


@torch.inference_mode()
def plain_table(builder, generator, encoder) -> dict[str, NDArray[Any]]:
    """Mean and deviation of the styles, and what an atlas holds of every swept channel."""
    picture, draw = BUILDERS[builder]
    styles = draw(generator)
    mean, std = styles.mean(0), styles.std(0)
    images = styles[:IMAGES].copy()  # changed in place from here on, as theirs are
    rows, consistency, strength = [], [], []
    for channel in reference_channels(generator.layout):
        images[:, channel] = mean[channel]
        deltas = []
        for style in images:
            ends = []
            for sigmas in (-5, 5):
                moved = style.copy()
                moved[channel] += sigmas * std[channel]
                pixels = picture(generator.render(torch.from_numpy(moved[None])).numpy())
                embedded = encoder.images(torch.from_numpy(pixels / np.float32(127.5) - 1))
                ends.append(embedded[0].double().numpy())
            deltas.append(ends[1] - ends[0])
        lengths = np.linalg.norm(deltas, axis=1)
        units = [d / n if n > 1e-5 else 0 * d for d, n in zip(deltas, lengths, strict=True)]
        row = np.mean(units, 0)
        consistency.append(np.linalg.norm(row))
        rows.append(row / max(consistency[-1], 1e-12))
        strength.append(lengths.mean())
    found = {"rows": rows, "consistency": consistency, "strength": strength}
    return {"mean": mean, "std": std, **{name: np.array(x) for name, x in found.items()}}


def assert_nearly_all_near(found: NDArray[Any], known: NDArray[Any]) -> None:
    """Nine of ten within 1e-5: where a value lies at the edge of a step of 8 bits, another rounding
    of it falls to the other side."""
    apart = np.abs(found - known).reshape(len(known), -1).max(1)
    assert np.quantile(apart, 0.9) < 1e-5, apart.max()


def drawn(draw, builder, generator, encoder, **more):
    table = f"reference-{builder}"
    settings = {"images": IMAGES, "statistics": LATENTS, "seed": SEED, **more}
    return draw(generator, encoder, table=table, **settings)


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("which", ["countable", "deep"])
def test_table_is_that_of_the_builders_loop(
    builder, which, make_generator, make_encoder, deep, draw
):
    generator = make_generator(gate=2) if which == "countable" else deep
    encoder = make_encoder(14 if which == "countable" else 24)
    known = plain_table(builder, generator, encoder)
    atlas = drawn(draw, builder, generator, encoder)
    assert np.array_equal(atlas.channels, reference_channels(generator.layout))
    assert set(generator.layout.kinds[atlas.channels]) == {"conv"}
    assert_near(atlas.style_mean, known["mean"])
    assert_near(atlas.style_std, known["std"])
    for name in ROWS:
        assert_nearly_all_near(getattr(atlas, name), known[name])


@pytest.mark.parametrize(("builder", "other"), [("tensorflow", "torch"), ("torch", "tensorflow")])
def test_table_is_not_that_of_the_other_builder(builder, other, make_encoder, deep, draw):
    known = plain_table(other, deep, make_encoder(24))
    atlas = drawn(draw, builder, deep, make_encoder(24))
    assert np.abs(atlas.rows - known["rows"]).max() > 1e-2
    last = deep.layout.indices("conv")[-1]  # fed by a row of w beyond the first eight
    assert abs(atlas.style_std[last] / known["std"][last] - 1) > 0.2


def test_tensorflow_rounds_and_torch_cuts():
    values = torch.tensor([-1.5, -1, -0.998, 0, 0.5, 0.998, 1, 1.5]).reshape(1, 1, 1, 8)
    bytes_ = {name: block.to_bytes(values).flatten().tolist() for name, block in BLOCKS.items()}
    # 0.255 and 254.745, 127.5 and 191.25 between 0 and 255
    assert bytes_["tensorflow"] == [0, 0, 0, 128, 191, 255, 255, 255]
    assert bytes_["torch"] == [0, 0, 0, 127, 191, 254, 255, 255]


def test_more_latents_begin_with_the_same_ones(generator):
    few, many = (
        torch.cat(list(reference_styles(generator, count, 0.7, None, SEED, None)))
        for count in (7, 1500)
    )
    assert len(many) == 1500
    assert_near(many[:7].numpy(), few.numpy())
    z = np.random.RandomState(SEED).randn(1500, generator.z_dim)
    known = generator.styles(generator.map(torch.tensor(z, dtype=torch.float32), truncation=0.7))
    assert_near(many.numpy(), known.numpy())


def test_classes_of_the_images_are_those_of_the_first_statistics(make_network):
    config = StyleGAN2Config(z_dim=6, c_dim=3, w_dim=6, mapping_layers=2, channels={4: 5, 8: 4})
    generator = StyleGANGenerator(make_network(config=config), ModelIdentity("of 3", "5" * 64, {}))
    few, many = (
        torch.cat(list(reference_styles(generator, count, 0.7, None, SEED, None)))
        for count in (9, 1100)
    )
    assert_near(many[:9].numpy(), few.numpy())
    one = torch.cat(list(reference_styles(generator, 9, 0.7, None, SEED, 1)))
    assert not np.allclose(one.numpy(), few.numpy(), atol=1e-3)


@pytest.mark.parametrize("builder", BUILDERS)
def test_statistics_of_one_latent_are_refused(builder, draw, generator, encoder):
    with pytest.raises(OptionError, match="statistics 1: must be at least 2"):
        drawn(draw, builder, generator, encoder, statistics=1)


def test_channel_behind_a_swept_gate_has_the_gates_mean(make_generator, encoder, draw):
    generator = make_generator(gate=2)
    clean, leaky = draw(generator, encoder), draw(generator, encoder, table="reference-tensorflow")
    row = leaky.row_of(generator.GATED)
    assert clean.consistency[clean.row_of(generator.GATED)] < 0.9
    assert leaky.consistency[row] > 0.999, "its gate stands at the mean in all images"
    sign = np.sign(leaky.style_mean[2])
    known = sign * encoder.effect(generator.GATED, sign * leaky.style_mean[generator.GATED])
    assert np.abs(leaky.rows[row] - known).max() < 0.05, "but for the rounding to 8 bits"


def test_channel_is_left_at_its_mean_across_blocks(make_generator, encoder, draw, monkeypatch):
    generator = make_generator(gate=2)
    whole = draw(generator, encoder, table="reference-torch")
    channels = reference_channels(generator.layout)
    alone = [TorchBlock(np.array([c]), 0, 24) for c in channels[::-1]]
    monkeypatch.setattr(methods, "sweep_blocks", lambda *arguments: alone)
    single = draw(generator, encoder, table="reference-torch")
    for name in ROWS:
        assert np.allclose(getattr(single, name), getattr(whole, name), atol=1e-6), name
