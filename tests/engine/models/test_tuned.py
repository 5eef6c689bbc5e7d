"""Generators tuned from another, and how far their styles moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from styleatlas import Editor
from styleatlas.engine.models.tuned import Moved, as_tuned, moved
from styleatlas.store.errors import FingerprintError
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.layout import StyleLayout

from ...conftest import CountableEncoder, CountableGenerator, sha256_of


def tuned_countable(matrix: float = 0.0, offset: float = 0.0) -> CountableGenerator:
    """The countable generator with its map of latents and its offset moved."""
    generator = CountableGenerator()
    drawn = torch.Generator().manual_seed(3)
    generator.matrix = generator.matrix + matrix * torch.randn(
        generator.matrix.shape, generator=drawn
    )
    generator.offset = generator.offset + offset
    name = f"tuned {matrix} {offset}"
    generator.identity = ModelIdentity(name, sha256_of(name), {"z": 5})
    return generator


@pytest.fixture(scope="module")
def sampled(draw):
    return draw(CountableGenerator(), CountableEncoder(), images=2, samples=60)


@pytest.mark.parametrize(("matrix", "offset"), [(0.02, 0.0), (0.0, 0.1), (0.3, -0.2)])
def test_movement_by_samples_is_that_of_every_style(matrix, offset, sampled):
    generator, tuned = CountableGenerator(), tuned_countable(matrix, offset)
    w = sampled.samples.w.astype(np.float32)
    there = np.array([row @ generator.matrix.numpy() + generator.offset.numpy() for row in w])
    here = np.array([row @ tuned.matrix.numpy() + tuned.offset.numpy() for row in w])
    squares = []
    for channel in range(there.shape[1]):
        spread = there[:, channel].std()
        for n in range(len(there)):
            squares.append(((here[n, channel] - there[n, channel]) / spread) ** 2)
    found = moved(sampled, tuned)
    assert found.by == "samples"
    assert found.sigma == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-4)


def test_movement_by_statistics_is_that_of_mean_and_deviation(sampled):
    """As a step of half a sigma in all channels, and with deviations twice as large."""
    alone = replace(sampled, samples=None)
    assert moved(alone, CountableGenerator()).by == "statistics"
    assert moved(alone, CountableGenerator()).sigma < 0.1  # of 1,000 seeds and 500 latents
    shifted, wide = tuned_countable(), tuned_countable()
    shifted.offset = shifted.offset + 0.5 * torch.from_numpy(sampled.style_std)
    wide.matrix = 2 * wide.matrix
    assert moved(alone, shifted).sigma == pytest.approx(0.5, abs=0.08)
    assert moved(alone, wide).sigma == pytest.approx(1, abs=0.1)


def test_far_movement_is_told_as_such():
    assert "precompute" not in str(Moved(0.49, "samples"))
    assert str(Moved(0.5, "samples")).startswith("its styles moved by 0.5 sigma (by the atlas's s")
    assert "the atlas may not fit; draw one of this generator" in str(Moved(0.5, "samples"))
    assert Moved(float("nan"), "samples").is_far


def test_tuned_generator_is_another_object_of_known_origin():
    tuned, parent = tuned_countable(0.1), CountableGenerator().identity
    taken = as_tuned(tuned, parent)
    assert taken.identity.tuned_from == parent.sha256
    assert taken.identity.sha256 == tuned.identity.sha256
    assert tuned.identity.tuned_from is None
    own = CountableGenerator()
    same: object = as_tuned(own, parent)
    assert same is own


def test_editor_takes_a_tuned_generator_only_when_told(sampled):
    tuned = tuned_countable(0.01)
    with pytest.raises(FingerprintError, match=r"take it by --tuned \(in Python tuned=True\)"):
        Editor(sampled, tuned, CountableEncoder())
    editor = Editor(sampled, tuned, CountableEncoder(), tuned=True)
    assert editor.moved == moved(sampled, tuned)
    own = Editor(sampled, CountableGenerator(), CountableEncoder(), tuned=True)
    assert own.moved is None
    pair = {"neutral": "a picture", "target": "a picture channel7"}
    step = [e.edit(seeds=[3], **pair, alpha=1.0, source="table") for e in (editor, own)]
    moves = [(result.styles - result.before).numpy() for result in step]
    np.testing.assert_allclose(moves[0], moves[1], atol=1e-6)


def test_generator_of_other_layers_is_never_tuned_from_the_atlass(sampled):
    other = tuned_countable()
    other.layout = StyleLayout.of([("b4.conv1", "conv", 4, 14)])
    with pytest.raises(FingerprintError) as caught:
        Editor(sampled, other, CountableEncoder())
    assert "--tuned" not in str(caught.value)
    with pytest.raises(FingerprintError, match="has other layers: 14 style channels, not 14; load"):
        Editor(sampled, other, CountableEncoder(), tuned=True)
