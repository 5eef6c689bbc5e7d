from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from styleatlas.store import index
from styleatlas.store.bank import PromptBank
from styleatlas.store.errors import OptionError
from styleatlas.store.index import PromptIndex

TEXTS = ("a smiling face", "A face with an Afro", "grey hair")
EMBEDDINGS = np.eye(3, 4, dtype=np.float32)


@pytest.fixture
def bank() -> PromptBank:
    return PromptBank(TEXTS, EMBEDDINGS)


@pytest.fixture(scope="module")
def many() -> PromptBank:
    """8,192 prompts in clusters, as texts are."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(8192, 16)) + 2 * random.normal(size=(64, 16)).repeat(128, 0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return PromptBank(tuple(f"a face of kind {i}" for i in range(len(rows))), rows)


@pytest.fixture
def prepared(many, monkeypatch) -> PromptIndex:
    """An index over them as over a large bank."""
    monkeypatch.setattr(index, "LARGE", len(many))
    prepared = PromptIndex(many)
    prepared.prepare()
    return prepared


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 16)).astype(np.float32)


def test_nearest_is_the_exact_inner_product(make_atlas):
    bank = make_atlas(prompts=50).prompts
    vectors = np.random.default_rng(1).normal(size=(4, bank.width)).astype(np.float32)
    scores, ids = PromptIndex(bank).nearest(vectors, 5)
    products = vectors @ bank.embeddings.T
    assert np.array_equal(ids, np.argsort(-products, axis=1)[:, :5])
    assert np.allclose(scores, -np.sort(-products, axis=1)[:, :5], atol=1e-6)


def test_nearest_returns_at_most_the_whole_bank(bank):
    scores, ids = PromptIndex(bank).nearest(EMBEDDINGS[:1], 99)
    assert scores.shape == ids.shape == (1, 3)
    assert ids[0, 0] == 0


def test_nearest_in_an_empty_bank_is_nothing():
    index = PromptIndex(PromptBank((), np.zeros((0, 4))))
    scores, ids = index.nearest(EMBEDDINGS[:2], 5)
    assert scores.shape == ids.shape == (2, 0)
    assert index.both_signs(EMBEDDINGS[0], 5) == ([], [])


def test_both_signs_finds_what_a_vector_points_to_and_away_from(bank):
    towards, away = PromptIndex(bank).both_signs([0.1, 0.8, -0.6, 0.0], 1)
    assert towards == [("A face with an Afro", pytest.approx(0.8))]
    assert away == [("grey hair", pytest.approx(-0.6))]


def test_both_signs_of_one_product_are_the_searches_of_both(many):
    found = PromptIndex(many)
    for vector in vectors(5):
        sides = found.both_signs(vector, 30)
        for sign, side in zip((1, -1), sides, strict=True):
            scores, ids = found.nearest(sign * vector[None], 30)
            assert [text for text, _ in side] == [many.texts[i] for i in ids[0]]
            assert [score for _, score in side] == pytest.approx(sign * scores[0], abs=1e-5)


@pytest.mark.parametrize("wrong", [[1.0, 2.0], [[1.0] * 4], [np.nan] * 4])
def test_both_signs_of_no_vector_are_refused(bank, wrong):
    with pytest.raises(OptionError, match="vectors: "):
        PromptIndex(bank).both_signs(wrong, 1)
    with pytest.raises(OptionError, match="top 0: must be at least 1"):
        PromptIndex(bank).both_signs(EMBEDDINGS[0], 0)


def test_largest_are_those_of_a_stable_sort():
    random = np.random.default_rng(0)
    for size, values in ((1, 1), (50, 3), (1000, 5), (1000, 10**6)):
        scores = random.integers(-values, values + 1, size).astype(np.float32)
        for top in (1, 7, size, size + 1):
            assert np.array_equal(
                index.largest(scores, top), np.argsort(-scores, kind="stable")[:top]
            )
    assert len(index.largest(np.zeros(0, np.float32), 3)) == 0


@pytest.mark.parametrize(
    ("vectors", "top", "message"),
    [
        (EMBEDDINGS, 0, "top 0: must be at least 1"),
        (EMBEDDINGS[0], 1, r"must have \(any, 4\)"),
        (EMBEDDINGS[:, :3], 1, r"must have \(any, 4\)"),
        (EMBEDDINGS * np.nan, 1, "NaN"),
    ],
)
def test_impossible_queries_are_refused(bank, vectors, top, message):
    with pytest.raises(OptionError, match=message):
        PromptIndex(bank).nearest(vectors, top)


def test_search_by_blocks_is_the_search_of_all(many, monkeypatch):
    queries = vectors(7)
    products = queries @ many.embeddings.T
    monkeypatch.setattr(index, "ROWS", 1000)
    monkeypatch.setattr(index, "QUERIES", 3)
    for top in (1, 20, 1500):
        scores, ids = PromptIndex(many).nearest(queries, top)
        assert np.array_equal(ids, np.argsort(-products, axis=1)[:, :top])
        assert np.allclose(scores, -np.sort(-products, axis=1)[:, :top], atol=1e-5)


def test_equal_scores_come_in_the_order_of_the_bank():
    rows = np.tile(EMBEDDINGS[:1], (6, 1))
    index = PromptIndex(PromptBank(tuple("abcdef"), rows))
    assert index.nearest(EMBEDDINGS[:1], 6)[1].tolist() == [[0, 1, 2, 3, 4, 5]]


def test_no_vectors_have_no_neighbours(bank):
    scores, ids = PromptIndex(bank).nearest(np.zeros((0, 4)), 2)
    assert scores.shape == ids.shape == (0, 2)


def test_search_of_a_small_bank_does_without_faiss():
    code = """
import sys
import numpy as np
from styleatlas.store.bank import PromptBank
from styleatlas.store.index import PromptIndex
index = PromptIndex(PromptBank(("a", "b"), np.eye(2)))
index.prepare()
index.both_signs([1, 0], 1)
print("faiss" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_prepared_index_finds_most_of_the_nearest_with_their_exact_scores(many, prepared):
    queries = vectors(300)
    products = queries @ many.embeddings.T
    answers = [prepared.nearest(query[None], 10) for query in queries]
    scores, ids = (np.concatenate(part) for part in zip(*answers, strict=True))
    assert np.allclose(scores, np.take_along_axis(products, ids, 1), atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()
    truth = np.argsort(-products, axis=1)[:, :10]
    found = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, truth, strict=True)])
    assert 0.8 < found < 1, "it searches an eighth of the bank"


def test_prepared_index_answers_the_same_again(many, prepared):
    twin = PromptIndex(many)
    twin.prepare()
    assert np.array_equal(prepared.nearest(vectors(5), 9), twin.nearest(vectors(5), 9))


def test_prepared_index_returns_as_many_as_are_asked_for(many, prepared):
    scores, ids = prepared.nearest(vectors(2), len(many) + 1)
    assert np.array_equal(np.sort(ids), np.tile(np.arange(len(many)), (2, 1)))
    assert (np.diff(scores, axis=1) <= 0).all()


def test_prepared_index_searches_exactly_for_many_vectors_at_once(many, prepared):
    queries = vectors(index.MANY)
    exact = PromptIndex(many).nearest(queries, 10)
    assert np.array_equal(prepared.nearest(queries, 10), exact)


def test_prepared_index_finds_both_signs(many, prepared):
    vector = vectors(1)[0]
    products = many.embeddings @ vector
    for sign, side in zip((1, -1), prepared.both_signs(vector, 5), strict=True):
        _, (ids,) = prepared.nearest(sign * vector[None], 5)
        assert [text for text, _ in side] == [many.texts[i] for i in ids]
        assert [score for _, score in side] == pytest.approx(products[ids], abs=1e-5)


def test_prepared_index_refuses_what_any_index_does(prepared):
    with pytest.raises(OptionError, match="top 0"):
        prepared.nearest(vectors(1), 0)
    with pytest.raises(OptionError, match=r"must have \(any, 16\)"):
        prepared.nearest(vectors(1)[:, :4], 1)
