from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from styleatlas.engine.steering.lookup import (
    EDGE,
    PENALTIES,
    LookUp,
    best_penalty,
    cosines,
    returns,
    share_below,
)
from styleatlas.store.errors import OptionError
from styleatlas.store.sample_set import SampleSet
from tests.engine.steering.planted import STEP, WIDTH, W, World, some, world

KNOWN, NEW = np.arange(3_000), np.arange(3_000, 4_000)
"""Samples that are learned from, and those that are looked up."""


@pytest.fixture(scope="module")
def seen() -> World:
    """Embeddings tell who has which of three things, nearly without noise."""
    return world([some(0.5, seed=1), some(0.3, seed=2), some(0.2, seed=3)], separation=60)


@pytest.fixture(scope="module")
def classed() -> World:
    return world([some(0.5, seed=1), some(0.3, seed=2)], separation=60, classes=4)


def embedding(of: World, rows: np.ndarray = NEW) -> np.ndarray:
    return of.samples.embedding[rows].astype(np.float32)


def planted(of: World, rows: np.ndarray = NEW) -> np.ndarray:
    """What their things alone say of their w."""
    return of.has[rows] @ of.codes


def off(found: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square, of numbers of which a thing moves one by about 1."""
    return float(np.sqrt(np.square(found - wanted).mean()))


def test_what_embeddings_tell_of_w_is_found(seen: World) -> None:
    found = LookUp(seen.samples, rows=KNOWN).find(embedding(seen))
    assert found.w.dtype == np.float32 and found.w.shape == (1_000, W)
    assert off(found.w, planted(seen)) < 0.2
    assert off(np.zeros_like(found.w), planted(seen)) > 0.9  # which the mean would not come to
    assert (found.label == -1).all()


def test_the_length_of_an_embedding_says_nothing(seen: World) -> None:
    there = LookUp(seen.samples)
    one, other = (there.find(length * embedding(seen)).w for length in (1, 7))
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_feature_tells_what_the_embedding_does_not(seen: World) -> None:
    first = seen.samples.w[:, 0].astype(np.float64)
    of = seen.reading(first=1000 * first)  # in a unit of its own
    numbers = 1000 * first[NEW, None]
    there = LookUp(of.samples, rows=KNOWN)
    by_both = there.find(embedding(of), {"read": numbers}).w[:, 0]
    by_clip = there.find(embedding(of)).w[:, 0]
    assert off(by_both, first[NEW]) < 0.1
    assert off(by_clip, first[NEW]) > 0.8


def test_what_was_not_read_of_pictures_and_samples_does_without(seen: World) -> None:
    first = seen.samples.w[:, 0].astype(np.float64)
    lost = np.arange(len(first)) % 3 == 0
    of = seen.reading(first=np.where(lost, np.nan, first))
    assert of.samples.readings["read"].lost > 1_000
    numbers = np.where(lost, np.nan, first)[NEW, None]
    there = LookUp(of.samples, rows=KNOWN)
    found, plain = there.find(embedding(of), {"read": numbers}), there.find(embedding(of))
    np.testing.assert_allclose(found.w[lost[NEW]], plain.w[lost[NEW]], atol=1e-4)
    np.testing.assert_allclose(found.farther[lost[NEW]], plain.farther[lost[NEW]], atol=2e-3)
    read = ~lost[NEW]
    assert off(found.w[read, 0], first[NEW][read]) < 0.1


def test_the_nearest_class_is_inferred(classed: World) -> None:
    found = LookUp(classed.samples, rows=KNOWN).find(embedding(classed))
    label = classed.samples.label
    assert (found.label == label[NEW]).mean() > 0.98
    means = np.stack(
        [(classed.samples.w[KNOWN] - planted(classed, KNOWN))[label[KNOWN] == c].mean(0)
         for c in range(4)]
    )  # fmt: skip
    right = found.label == label[NEW]
    assert off(found.w[right], (means[label[NEW]] + planted(classed))[right]) < 0.3


def test_a_class_that_is_asked_for_is_taken(classed: World) -> None:
    there = LookUp(classed.samples)
    found = there.find(embedding(classed), label=2)
    assert (found.label == 2).all()
    free, label = there.find(embedding(classed)), classed.samples.label[NEW]
    others = label != 2
    assert np.median(found.farther[others]) < 0.01 < np.median(free.farther[others])


@pytest.mark.parametrize("count", [60, 400, 4_000])
def test_samples_that_are_not_known_lie_as_far_as_those_that_are(count: int) -> None:
    """Few samples, of which a fit knows each, would otherwise seem nearer than any other."""
    of = world([some(0.5, 8_000)], separation=6)
    found = LookUp(of.samples, rows=np.arange(count)).find(embedding(of, np.arange(4_000, 8_000)))
    assert abs(found.farther.mean() - 0.5) < 0.07
    assert abs((found.kept < 1).mean() - (1 - EDGE)) < 0.04


def test_classes_of_few_samples_do_not_seem_far(classed: World) -> None:
    many = replace(classed.samples, label=np.repeat(np.arange(1_000, dtype=np.int32), 4))
    found = LookUp(many, rows=np.flatnonzero(np.arange(4_000) % 4)).find(
        embedding(classed, np.arange(0, 4_000, 4))
    )
    assert found.w.shape == (1_000, W) and np.isfinite(found.w).all()


def test_a_far_picture_is_told_and_pulled_to_where_samples_end(seen: World) -> None:
    there = LookUp(seen.samples)
    mean = seen.samples.embedding.astype(np.float64).mean(0)
    step = 0.4 * seen.words.sum(0)  # more of everything than any sample has
    near = there.find(embedding(seen))
    far, farthest = (there.find([mean + by * step]) for by in (2.0, 4.0))
    assert (near.kept == 1).mean() > 0.9 and near.farther.mean() > 0.4
    assert far.farther[0] == farthest.farther[0] == 0
    assert 1 > far.kept[0] > farthest.kept[0] > 0
    middle = seen.samples.w.astype(np.float64).mean(0)
    lengths = [np.linalg.norm(x.w[0] - middle) for x in (far, farthest)]
    most = np.linalg.norm(near.w - middle, axis=1).max()
    assert max(lengths) < 1.5 * most


def test_a_generator_whose_styles_are_not_affine_in_w_has_w(seen: World) -> None:
    samples = seen.samples
    styles = samples.styles_of(np.arange(len(samples))).astype(np.float16)
    other = replace(samples, weight=None, bias=None, styles=styles)
    found = LookUp(other).find(embedding(seen)).w
    np.testing.assert_array_equal(found, LookUp(samples).find(embedding(seen)).w)


@pytest.mark.parametrize(
    ("given", "features", "told"),
    [
        (np.ones((3, WIDTH - 1)), {}, r"embedding: is float64 \(3, 47\)"),
        (np.ones(WIDTH), {}, r"embedding: is float64 \(48,\)"),
        (np.ones((3, WIDTH), int), {}, "embedding: is int64"),
        (np.full((3, WIDTH), np.nan), {}, "embedding: holds NaN"),
        (np.zeros((3, WIDTH)), {}, "length 0"),
        (np.full((3, WIDTH), 1e300), {}, "holds NaN or infinity"),
        (np.ones((3, WIDTH)), {"age": np.ones((3, 1))}, "age: is not known of the samples"),
        (np.ones((3, WIDTH)), {"read": np.ones((3, 1))}, r"read: is float64 \(3, 1\)"),
        (np.ones((3, WIDTH)), {"read": np.ones((2, 2))}, "read: is of 2 pictures"),
        (np.ones((3, WIDTH)), {"read": [[np.nan, 1.0]] * 3}, "only a whole row"),
        (np.ones((3, WIDTH)), {"read": [[np.inf, 1.0]] * 3}, "holds NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_refused(
    seen: World, given: np.ndarray, features: dict[str, np.ndarray], told: str
) -> None:
    of = seen.reading(one=seen.has[:, 0], two=seen.has[:, 1])
    with pytest.raises(OptionError, match=told):
        LookUp(of.samples).find(given, features)


def test_a_feature_that_is_the_same_in_all_samples_says_nothing(seen: World) -> None:
    there = LookUp(seen.reading(first=np.full(4_000, 0.1)).samples)
    found = there.find(embedding(seen), {"read": np.full((1_000, 1), 7.0)})
    plain = there.find(embedding(seen))
    np.testing.assert_allclose(found.w, plain.w, atol=1e-5)
    np.testing.assert_allclose(found.farther, plain.farther, atol=1e-3)


def test_no_pictures_are_looked_up_as_none(seen: World) -> None:
    assert LookUp(seen.samples).find(np.zeros((0, WIDTH))).w.shape == (0, W)


def test_a_number_beyond_all_samples_is_far_and_breaks_nothing(seen: World) -> None:
    of = seen.reading(first=0.01 * seen.samples.w[:, 0].astype(np.float64))
    there = LookUp(of.samples)
    found = there.find(embedding(seen), {"read": np.full((1_000, 1), 3e38)})
    assert np.isfinite(found.w).all() and not found.farther.any()
    assert np.abs(found.w).max() < 3 * np.abs(seen.samples.w).max()


@pytest.mark.parametrize("label", [0, 7])
def test_a_class_without_samples_is_refused(seen: World, label: int) -> None:
    with pytest.raises(OptionError, match=f"class {label}: no sample is of it"):
        LookUp(seen.samples).find(embedding(seen), label=label)


@pytest.mark.parametrize("penalty", [0.0, -1.0, np.inf])
def test_a_penalty_has_to_be_above_0(seen: World, penalty: float) -> None:
    with pytest.raises(OptionError, match="penalty"):
        LookUp(seen.samples, penalty)


def test_too_few_samples_are_refused(seen: World) -> None:
    with pytest.raises(OptionError, match="too few to look up by"):
        LookUp(seen.samples, rows=np.arange(1)).find(embedding(seen))
    none = seen.reading(first=np.full(4_000, np.nan))
    with pytest.raises(OptionError, match="embedding and read known, which is too few"):
        LookUp(none.samples).find(embedding(seen), {"read": np.ones((1_000, 1))})


def test_the_penalty_is_chosen_by_images_and_not_by_w(seen: World) -> None:
    """What w there is that nobody sees, only a large penalty keeps away from."""
    hidden = np.linalg.qr(seen.codes.T, mode="complete")[0][:, 3:]  # no thing moves these
    w = seen.samples.w.astype(np.float64)

    def shown(found: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return np.abs((found - planted(seen, numbers)) @ seen.codes.T).mean(1)

    def unseen(found: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return np.abs((found - w.mean(0)) @ hidden).mean(1)

    assert best_penalty(seen.samples, shown) < max(PENALTIES)
    assert best_penalty(seen.samples, unseen) == max(PENALTIES)


def test_a_penalty_needs_samples_and_known_features(seen: World) -> None:
    def apart(found: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return np.zeros(len(numbers))

    with pytest.raises(OptionError, match="age: is not known of the samples"):
        best_penalty(seen.samples, apart, ["age"])
    with pytest.raises(OptionError, match="are 3, too few"):
        best_penalty(first(seen.samples, 3), apart)
    with pytest.raises(OptionError, match="are 3, too few"):
        returns(first(seen.samples, 3), lambda w: w)


def test_what_comes_back_as_something_else_is_told(seen: World) -> None:
    """A generator and a CLIP that show exactly what w has of the three things."""

    def embed(w: np.ndarray) -> np.ndarray:
        shown = seen.plain + 0.35 * w @ seen.codes.T / STEP**2 @ seen.words
        return shown.astype(np.float32)

    own = returns(seen.samples, embed)
    assert own.shape == (200,) and (np.diff(own) >= 0).all() and own[0] > 0.99
    there = LookUp(seen.samples)
    of_samples = cosines(embedding(seen), embed(there.find(embedding(seen)).w))
    assert abs(share_below(own, of_samples).mean() - 0.5) < 0.1
    strange = seen.prompt(0) + 0.5 * np.linalg.qr(seen.words.T, mode="complete")[0][:, -1]
    found = there.find(strange[None])
    assert share_below(own, cosines(strange[None], embed(found.w)))[0] == 0


def first(samples: SampleSet, count: int) -> SampleSet:
    rows = ("w", "label", "embedding", "pulled")
    return replace(samples, **{name: getattr(samples, name)[:count] for name in rows})
