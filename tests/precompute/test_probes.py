"""Probes against what they leave out."""

from __future__ import annotations

import numpy as np
import pytest

from styleatlas.precompute.probes import Probes
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.store.errors import OptionError


def embeddings_of_rank(rank: int, width: int, count: int = 60) -> np.ndarray:
    """Unit embeddings whose differences span `rank` dimensions."""
    random = np.random.default_rng(rank)
    spread = random.normal(size=(count, rank)) @ random.normal(size=(rank, width))
    embeddings = 3 * random.normal(size=width) + 0.1 * spread
    return embeddings.astype(np.float32)


@pytest.mark.parametrize(("count", "random"), [(8, 2), (16, 2), (24, 3), (32, 4)])
def test_basis_and_complement_are_an_orthonormal_basis_together(count, random):
    probes = Probes.of(embeddings_of_rank(40, 64), count, 0)
    assert (len(probes.basis), probes.random, probes.count) == (count - random, random, count)
    square = np.concatenate([probes.basis, probes.complement])
    assert square.shape == (64, 64) and square.dtype == np.float32
    assert np.abs(square @ square.T - np.eye(64)).max() < 1e-5


def test_basis_captures_differences_of_low_rank_wholly():
    embeddings = embeddings_of_rank(14, 64)
    probes = Probes.of(embeddings, 16, 0)
    apart = embeddings - embeddings[:1]
    outside = apart - apart @ probes.basis.T @ probes.basis
    assert np.linalg.norm(outside, axis=1).max() < 1e-4 * np.linalg.norm(apart, axis=1)[1:].min()
    mean = embeddings.mean(0)
    lost = np.linalg.norm(mean - mean @ probes.basis.T @ probes.basis) / np.linalg.norm(mean)
    assert lost > 0.5, "what all prompts share is no difference"


def test_basis_holds_the_leading_differences_where_there_are_more():
    embeddings = embeddings_of_rank(64, 64) * np.geomspace(1, 0.01, 64, dtype=np.float32)
    basis = Probes.of(embeddings, 16, 0).basis
    apart = embeddings.astype(float) - embeddings.mean(0)
    values = np.linalg.svd(apart)[1]
    assert np.linalg.norm(apart @ basis.T) ** 2 == pytest.approx((values[:14] ** 2).sum(), rel=1e-4)


def test_random_probes_are_orthonormal_to_one_another_and_to_the_basis():
    probes = Probes.of(embeddings_of_rank(40, 64), 32, 0)
    for image in (0, 1, 70_000):
        directions = probes.of_image(image)
        assert directions.shape == (4, 64) and directions.dtype == np.float32
        assert np.abs(directions @ directions.T - np.eye(4)).max() < 1e-5
        assert np.abs(directions @ probes.basis.T).max() < 1e-5


def test_random_probes_follow_from_the_seed_and_the_image_alone():
    embeddings = embeddings_of_rank(40, 64)
    one, same, other = (Probes.of(embeddings, 16, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.of_image(5), same.of_image(5))
    assert not np.allclose(one.of_image(5), one.of_image(6), atol=0.01)
    assert not np.allclose(one.of_image(5), other.of_image(5), atol=0.01)


@pytest.mark.parametrize("count", [64, 65, 1000])
def test_as_many_probes_as_dimensions_are_all_of_them_whatever_the_prompts(count):
    probes = Probes.of(np.zeros((0, 64), np.float32), count, 0)
    assert np.array_equal(probes.basis, np.eye(64))
    assert (len(probes.complement), probes.random, probes.count) == (0, 0, 64)


def test_no_probes_are_asked_of_no_prompts():
    probes = Probes.of(np.zeros((0, 64), np.float32), 0, 0)
    assert (probes.count, probes.width, probes.random) == (0, 64, 0)


def test_probes_need_enough_prompts():
    embeddings = embeddings_of_rank(40, 64)
    assert Probes.of(embeddings[:15], 16, 0).count == 16
    with pytest.raises(OptionError, match=r"probes 16: .* only 14; take --probes 64, all"):
        Probes.of(embeddings[:14], 16, 0)


def test_probes_of_a_bank_that_is_too_small_are_refused(generator, encoder, draw):
    with pytest.raises(OptionError, match=r"probes 8: .* only 4; take --probes 28, all"):
        draw(generator, encoder, table="jacobian", probes=8)


@pytest.mark.parametrize("method", ["jacobian", "screened"])
@pytest.mark.parametrize("probes", [7, 0, -1])
def test_fewer_than_eight_probes_are_refused(method, probes):
    with pytest.raises(OptionError, match=f"probes {probes}: must be at least 8"):
        PrecomputeSettings(table=method, probes=probes)
    if probes > 0:
        with pytest.raises(OptionError, match="must be at least 8"):
            Probes.of(embeddings_of_rank(40, 64), probes, 0)


@pytest.mark.parametrize("method", ["sweep", "reference-torch"])
def test_probes_for_a_method_without_slopes_are_refused(method):
    with pytest.raises(OptionError, match=f"probes 16: the table {method} takes no slopes"):
        PrecomputeSettings(table=method, probes=16)
