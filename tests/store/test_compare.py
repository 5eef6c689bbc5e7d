"""Two atlases of one generator side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from styleatlas.store import compare
from styleatlas.store.errors import FingerprintError
from styleatlas.store.fingerprint import Fingerprint, ModelIdentity

CLIP = ModelIdentity("other clip", "c" * 64, {"width": 8})


def of_other_clip(atlas):
    origin = atlas.fingerprint
    return replace(atlas, fingerprint=replace(origin, clip=CLIP))


@pytest.fixture(scope="module")
def one(make_atlas):
    return make_atlas(rows=14, prompts=6)


def test_an_atlas_is_like_itself(one):
    everything, *layers = one.compare(one)
    assert everything["layer"] == "all" and everything["shared"] == 14
    for name in ("cosine", "weighted", "scores", "strengths", "top_30"):
        assert everything[name] == pytest.approx(1, abs=1e-4), name
    assert everything["consistency_a"] == everything["consistency_b"]
    assert [r["layer"] for r in layers] == ["b4.conv1", "b4.torgb", "b8.conv0"]
    assert [r["shared"] for r in layers] == [6, 3, 5]
    assert all(r["top_30"] is None and r["cosine"] == pytest.approx(1) for r in layers)


def test_figures_are_those_of_the_channels_in_both(make_atlas, one):
    other = make_atlas(seed=5, rows=9, prompts=6)
    other = replace(other, prompts=one.prompts)
    record = one.compare(other)[0]
    assert (record["shared"], record["only_a"], record["only_b"]) == (9, 5, 0)
    swapped = other.compare(one)[0]
    assert (swapped["only_a"], swapped["only_b"]) == (0, 5)
    assert swapped["cosine"] == record["cosine"]
    rows = one.rows[other.channels]
    assert record["cosine"] == pytest.approx(np.median((rows * other.rows).sum(1)), abs=1e-4)
    strengths = spearmanr(one.strength[other.channels], other.strength)[0]
    assert record["strengths"] == pytest.approx(strengths, abs=1e-4)
    assert record["consistency_b"] == pytest.approx(np.median(other.consistency), abs=1e-4)
    phrases = one.prompts.centred().embeddings
    pairs = zip(rows @ phrases.T, other.rows @ phrases.T, strict=True)
    scores = [np.corrcoef(*pair)[0, 1] for pair in pairs]
    assert record["scores"] == pytest.approx(np.median(scores), abs=1e-3)


def test_strong_channels_weigh_more(one):
    rows = one.rows.copy()
    rows[:9] *= -1  # most channels turn round, and the strongest stay
    strength = np.where(np.arange(14) < 9, 0.01, 1).astype(np.float32)
    record = replace(one, strength=strength).compare(replace(one, rows=rows, strength=strength))[0]
    assert record["cosine"] == pytest.approx(-1)
    assert record["weighted"] == pytest.approx(1)


def test_dead_channels_count_as_shared_and_not_as_unlike(one):
    rows, consistency = one.rows.copy(), one.consistency.copy()
    rows[:9], consistency[:9] = 0, 0
    record = one.compare(replace(one, rows=rows, consistency=consistency))[0]
    assert record["shared"] == 14 and record["cosine"] == pytest.approx(1)


def test_other_clip_is_compared_by_shared_phrases_alone(one):
    # The same atlas seen in another space: everything turned, and one more dimension.
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(9, 9)))[0][:8].astype(np.float32)
    texts = one.prompts.texts
    prompts = replace(one.prompts, embeddings=one.prompts.embeddings @ turn)
    other = of_other_clip(replace(one, rows=one.rows @ turn, prompts=prompts))
    record = one.compare(other)[0]
    assert record["cosine"] is None and record["weighted"] is None
    for name in ("scores", "strengths", "top_30"):
        assert record[name] == pytest.approx(1, abs=1e-3), name
    strange = replace(other.prompts, texts=tuple(f"{t} there" for t in texts))
    record = one.compare(replace(other, prompts=strange))[0]
    assert record["scores"] is None and record["top_30"] is None
    assert record["strengths"] == pytest.approx(1)


def test_rows_of_another_clip_of_the_same_width_are_not_compared(one):
    record = one.compare(of_other_clip(one))[0]
    assert record["cosine"] is None and record["scores"] == pytest.approx(1)


def test_top_channels_in_common_are_counted_by_phrase(one, monkeypatch):
    monkeypatch.setattr(compare, "TOP", 5)
    other = replace(one, rows=one.rows[::-1])
    phrases = one.prompts.centred().embeddings
    shares = []
    for phrase in phrases:
        tops = [set(np.argsort(-np.abs(rows @ phrase))[:5]) for rows in (one.rows, other.rows)]
        shares.append(len(tops[0] & tops[1]) / 5)
    for block in (2, 256):
        monkeypatch.setattr(compare, "_BLOCK", block)
        assert one.compare(other)[0]["top_30"] == pytest.approx(np.median(shares), abs=1e-4)


def test_atlases_without_a_common_channel_have_no_figures(make_atlas):
    low = make_atlas(rows=3, channels=[0, 1, 2])
    high = make_atlas(rows=3, channels=[3, 4, 5])
    record = low.compare(high)[0]
    assert (record["shared"], record["only_a"], record["only_b"]) == (0, 3, 3)
    rest = ("cosine", "weighted", "scores", "strengths", "consistency_a", "consistency_b", "top_30")
    assert [record[name] for name in rest] == [None] * 7


def test_equal_strengths_share_their_rank(one):
    a = np.array([1, 1, 2, 3, 3, 3, 0] * 2, np.float32)
    b = np.array([5, 1, 1, 4, 2, 2, 0] * 2, np.float32)
    record = replace(one, strength=a).compare(replace(one, strength=b))[0]
    assert record["strengths"] == pytest.approx(spearmanr(a, b)[0], abs=1e-4)
    assert one.compare(replace(one, strength=np.ones(14)))[0]["strengths"] is None


def test_atlas_of_another_generator_is_refused_with_both_names(one):
    origin = one.fingerprint
    stranger = Fingerprint(ModelIdentity("cats", "d" * 64, {}), origin.clip, {})
    message = r"different generators: .*\"avatars\" \(aaaaaaaaaaaa\).*\"cats\" \(dddddddddddd\)"
    with pytest.raises(FingerprintError, match=message):
        one.compare(replace(one, fingerprint=stranger))
