"""Questions to a table small enough to work out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from styleatlas.store import index, queries
from styleatlas.store.atlas import Atlas
from styleatlas.store.bank import PromptBank
from styleatlas.store.errors import LayoutError, OptionError, PromptError
from styleatlas.store.fingerprint import Fingerprint, ModelIdentity
from styleatlas.store.layout import StyleLayout
from styleatlas.store.queries import text_direction

# The axes are: red, round, old, and one that no phrase names. "a face" is their middle.
AXES = {"red": 0, "round": 1, "old": 2}
RED, ROUND, OLD, OTHER = np.eye(4, dtype=np.float32)


def unit(*vector: float) -> np.ndarray:
    return np.array(vector, np.float32) / np.linalg.norm(vector)


PHRASES = {
    "a face": unit(1, 1, 1, 0),
    "red": unit(3, 1, 1, 0),
    "round": unit(1, 3, 1, 0),
    "old": unit(1, 1, 3, 0),
}
# Channel 1 is dead; channel 4 was not swept. Rows, consistency, strength, of channels 0 1 2 3 5.
CHANNELS = [0, 1, 2, 3, 5]
ROWS = np.stack([RED, 0 * RED, unit(0.6, -0.8, 0, 0), -OLD, unit(0, 1, 0, 1)])
CONSISTENCY = [0.8, 0, 0.5, 1.0, 0.1]
STRENGTH = [2.0, 0, 1.0, 0.5, 4.0]
STD = [1.0, 1.0, 2.0, 0.5, 1.0, 0.0]


def table(**changes: object) -> Atlas:
    fields = {
        "layout": StyleLayout.of(
            [("b4.conv1", "conv", 4, 3), ("b4.torgb", "rgb", 4, 2), ("b8.conv0", "conv", 8, 1)]
        ),
        "style_mean": np.zeros(6),
        "style_std": np.array(STD),
        "channels": np.array(CHANNELS),
        "rows": ROWS,
        "consistency": np.array(CONSISTENCY),
        "strength": np.array(STRENGTH),
        "images": np.full(5, 100),
        "prompts": PromptBank(tuple(PHRASES), np.stack(list(PHRASES.values()))),
        "fingerprint": Fingerprint(
            ModelIdentity("g", "a" * 64, {}), ModelIdentity("c", "b" * 64, {}), {"strength": 5}
        ),
        "created": "2026-11-22T05:40:00+00:00",
        "library": "styleatlas 0.1.0",
    }
    return Atlas(**{**fields, **changes})


@pytest.fixture
def atlas() -> Atlas:
    return table()


def empty_bank() -> PromptBank:
    return PromptBank((), np.zeros((0, 4), np.float32))


def test_text_direction_is_the_unit_difference():
    neutral, target = np.array([1, 0, 0], np.float32), np.array([0.6, 0.8, 0], np.float32)
    direction = text_direction(neutral, target)
    assert direction.dtype == np.float32
    assert direction == pytest.approx(np.array([-0.4, 0.8, 0]) / np.sqrt(0.8))


@pytest.mark.parametrize("apart", [0.0, 1e-5])
def test_prompts_that_are_the_same_to_clip_are_refused(apart):
    neutral = np.array([1, 0], np.float32)
    target = np.array([np.cos(apart), np.sin(apart)], np.float32)
    with pytest.raises(PromptError, match="target: means the same to CLIP as the neutral prompt"):
        text_direction(neutral, target)


def test_direction_of_two_prompts_of_the_bank(atlas):
    known = text_direction(PHRASES["red"], PHRASES["old"])
    assert np.array_equal(atlas.direction("RED", " old "), known)
    with pytest.raises(PromptError, match='target: "Red" is the neutral prompt itself'):
        atlas.direction("red", "Red")


def test_prompt_outside_the_bank_is_refused_with_what_helps(atlas):
    mend = "'blue': is not among the 4 of the bank; add it with `styleatlas prompts add`, or .*Text"
    with pytest.raises(PromptError, match=mend):
        atlas.direction("red", "blue")


def test_channels_come_with_where_they_are_and_what_they_are_expected_to_do(atlas):
    records = atlas.query_channels(RED, top=2)
    assert records == [
        {
            "channel": "b4.conv1:0",
            "kind": "conv",
            "layer": "b4.conv1",
            "resolution": 4,
            "score": 1.0,
            "consistency": 0.8,
            "strength": 2.0,
            "expected": 0.16,  # 0.8 of 2 is left of a step of ten sigma
        },
        {
            "channel": "b4.conv1:2",
            "kind": "conv",
            "layer": "b4.conv1",
            "resolution": 4,
            "score": 0.6,
            "consistency": 0.5,
            "strength": 1.0,
            "expected": 0.03,
        },
    ]
    assert [r["channel"] for r in atlas.query_channels(ROUND, top=2)] == [
        "b4.conv1:2",
        "b8.conv0:0",
    ]
    assert atlas.query_channels(ROUND, top=2)[0]["score"] == -0.8
    assert len(atlas.query_channels(RED, top=99)) == 5


@pytest.mark.parametrize(
    "ask",
    [
        lambda atlas: atlas.query_channels(RED),
        lambda atlas: atlas.query_prompts("b4.conv1:0"),
        lambda atlas: atlas.query_prompts("b4.conv1"),
        lambda atlas: atlas.query_similar(PHRASES["a face"], RED),
        lambda atlas: atlas.query_entangled(np.eye(6)[0], OTHER),
        lambda atlas: atlas.compare(atlas),
    ],
    ids=["channels", "channel", "layer", "similar", "entangled", "compare"],
)
def test_records_are_flat_with_the_same_keys_and_plain_values(atlas, ask):
    records = ask(atlas)
    assert records
    assert all(record.keys() == records[0].keys() for record in records)
    kinds = {type(value) for record in records for value in record.values()}
    assert kinds <= {str, int, float, type(None)}
    assert json.loads(json.dumps(records)) == records


@pytest.mark.parametrize("top", [0, -3])
@pytest.mark.parametrize(
    "ask",
    [
        lambda atlas, top: atlas.query_channels(RED, top=top),
        lambda atlas, top: atlas.query_prompts("b4.conv1:0", top),
        lambda atlas, top: atlas.query_prompts("b4.conv1", top),
        lambda atlas, top: atlas.query_similar(PHRASES["a face"], RED, top),
        lambda atlas, top: atlas.query_entangled(np.eye(6)[0], RED, top),
    ],
    ids=["channels", "channel", "layer", "similar", "entangled"],
)
def test_fewer_than_one_answer_is_refused(atlas, ask, top):
    with pytest.raises(OptionError, match=f"top {top}: must be at least 1"):
        ask(atlas, top)


@pytest.mark.parametrize(
    "ask",
    [
        lambda atlas: atlas.query_prompts("b4.conv1:0"),
        lambda atlas: atlas.query_prompts("b4.conv1"),
        lambda atlas: atlas.query_similar(PHRASES["a face"], RED),
        lambda atlas: atlas.query_entangled(np.eye(6)[0], RED),
    ],
    ids=["channel", "layer", "similar", "entangled"],
)
def test_question_about_phrases_of_an_empty_bank_is_refused(ask):
    with pytest.raises(PromptError, match="prompt bank: is empty; add phrases"):
        ask(table(prompts=empty_bank()))


def test_phrases_of_a_channel_are_listed_to_both_sides(atlas):
    records = atlas.query_prompts("b4.conv1:2", top=2)
    assert [(r["side"], r["prompt"]) for r in records[:1] + records[2:3]] == [
        ("towards", "red"),
        ("away", "round"),
    ]
    centred = atlas.prompts.centred().embeddings[1]
    assert records[0]["score"] == pytest.approx(float(ROWS[2] @ centred), rel=1e-3)
    assert records[0]["score"] > records[1]["score"]
    assert records[2]["score"] < records[3]["score"]
    assert (records[0]["consistency"], records[0]["strength"]) == (0.5, 1.0)


def trust(score: float = 0.9, consistency: float = 0.8, images: int = 100) -> float:
    """The confidence in a score of the first channel."""
    atlas = table(
        consistency=np.array([consistency, *CONSISTENCY[1:]]),
        images=np.array([images, 100, 100, 100, 100]),
    )
    return float(queries.confidence(atlas, np.array([0]), np.array([score]))[0])


def test_confidence_follows_its_formula(atlas):
    phrases = atlas.prompts.centred().embeddings
    spread = np.sqrt(np.square(ROWS @ phrases.T).sum() / (4 * 4))  # 4 live rows, 4 phrases
    gram = phrases.T @ phrases
    chances = np.trace(gram) ** 2 / np.square(gram).sum()
    signal = (100 * 0.64 - 1) / (99 * 0.64)
    below = math.erf(0.9 / spread / math.sqrt(2)) ** chances
    assert trust() == pytest.approx(signal * below, rel=1e-5)
    assert trust(-0.9) == trust()


def test_confidence_grows_with_score_consistency_and_images():
    assert 0 < trust(0.3) < trust(0.6) < trust(0.9) < 1
    assert 0 < trust(consistency=0.12) < trust(consistency=0.2) < trust(consistency=0.9)
    assert trust(consistency=0.3, images=20) < trust(consistency=0.3, images=200)


@pytest.mark.parametrize(
    ("consistency", "images"),
    [(0.0, 100), (0.1, 100), (0.05, 100), (1.0, 1)],
    ids=["dead", "chance", "below chance", "one image"],
)
def test_a_row_that_tells_nothing_has_no_confidence(consistency, images):
    rows = ROWS.copy()
    rows[0] *= consistency > 0
    atlas = table(
        rows=rows,
        consistency=np.array([consistency, *CONSISTENCY[1:]]),
        images=np.array([images, 100, 100, 100, 100]),
    )
    records = atlas.query_prompts("b4.conv1:0")
    assert [r["confidence"] for r in records] == pytest.approx([0] * 8, abs=1e-6)


def test_layer_is_asked_for_the_phrases_that_depend_on_it(atlas):
    records = atlas.query_prompts("b4.torgb", top=4)
    assert records[0]["prompt"] == "old"  # its channel alone moves along that axis
    # Towards old nothing leads: the only channel with a row moves away from it.
    assert (records[0]["towards"], records[0]["away"]) == (None, "b4.torgb:0")
    assert [r["share"] for r in records] == sorted((r["share"] for r in records), reverse=True)
    phrases = atlas.prompts.centred().embeddings[3]
    answers = atlas.responses @ phrases
    assert records[0]["movement"] == pytest.approx(abs(answers[3]), rel=1e-3)
    share = answers[3] ** 2 / np.square(answers).sum()
    assert records[0]["share"] == pytest.approx(share, rel=1e-3)


def test_both_signs_of_a_layer_come_with_their_channels(atlas):
    record = next(r for r in atlas.query_prompts("b4.conv1") if r["prompt"] == "red")
    assert record["towards"] == "b4.conv1:0"
    record = next(r for r in atlas.query_prompts("b4.conv1") if r["prompt"] == "round")
    assert record["away"] in ("b4.conv1:0", "b4.conv1:2")
    one = atlas.query_prompts("b4.conv1:0")
    known = next(r["confidence"] for r in one if r["prompt"] == "red")
    red = next(r for r in atlas.query_prompts("b4.conv1") if r["prompt"] == "red")
    assert red["confidence"] == known


def test_shares_of_all_layers_add_up_to_one(atlas):
    layers = [atlas.query_prompts(name) for name in ("b4.conv1", "b4.torgb", "b8.conv0")]
    for phrase in ("red", "round", "old"):
        shares = [r["share"] for layer in layers for r in layer if r["prompt"] == phrase]
        assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_layer_of_dead_channels_moves_nothing():
    rows, consistency = ROWS.copy(), np.array(CONSISTENCY)
    rows[3], consistency[3] = 0, 0
    for record in table(rows=rows, consistency=consistency).query_prompts("b4.torgb"):
        assert (record["share"], record["movement"], record["confidence"]) == (0, 0, 0)
        assert (record["towards"], record["away"]) == (None, None)


def test_channel_or_layer_without_rows_is_refused(atlas):
    with pytest.raises(LayoutError, match=r"channel b4\.torgb:1: is not in this atlas"):
        atlas.query_prompts("b4.torgb:1")
    with pytest.raises(LayoutError, match=r"'b8\.conv1': .* did you mean 'b8\.conv0'"):
        atlas.query_prompts("b8.conv1")
    few = table(
        **{name: value[:3] for name, value in {
            "channels": np.array(CHANNELS), "rows": ROWS, "consistency": np.array(CONSISTENCY),
            "strength": np.array(STRENGTH), "images": np.full(5, 9)}.items()}
    )  # fmt: skip
    with pytest.raises(LayoutError, match=r"layer b8\.conv0: none of its channels.* 3 of 6"):
        few.query_prompts("b8.conv0")


def test_edits_are_alike_by_the_channels_they_move_and_not_by_what_they_say():
    # One channel answers to red and to old alike: to this generator they are one edit.
    rows = np.stack([unit(1, 0, 1, 0), 0 * RED, ROUND, unit(1, 0, -1, 0), OTHER])
    strength = np.array([2.0, 0, 2.0, 0.0, 5.0])
    consistency = np.array([0.5, 0, 0.5, 0.5, 0.5])
    atlas = table(rows=rows, strength=strength, consistency=consistency)
    neutral = PHRASES["a face"]
    records = atlas.query_similar(neutral, atlas.direction("a face", "red"), 9)
    assert [r["prompt"] for r in records] == ["old", "round"]  # neither face nor target
    assert records[0]["text_cosine"] < 0 < 0.4 < records[0]["style_cosine"]
    assert records[1]["style_cosine"] < -0.7


def test_style_cosine_is_that_of_the_steps_weighted_by_strength(atlas):
    neutral = PHRASES["a face"]
    text = atlas.direction("a face", "red")
    steps = [
        (ROWS @ atlas.direction("a face", phrase)) * STRENGTH for phrase in ("red", "round", "old")
    ]
    found = {r["prompt"]: r["style_cosine"] for r in atlas.query_similar(neutral, text)}
    for phrase, step in zip(("round", "old"), steps[1:], strict=True):
        cosine = steps[0] @ step / np.linalg.norm(steps[0]) / np.linalg.norm(step)
        assert found[phrase] == pytest.approx(cosine, abs=1e-3)


def test_nothing_is_alike_where_nothing_moves(atlas):
    still = table(rows=ROWS * 0, consistency=np.zeros(5), strength=np.zeros(5))
    records = still.query_similar(PHRASES["a face"], atlas.direction("a face", "red"))
    assert [r["style_cosine"] for r in records] == [0, 0]


def test_large_banks_are_asked_part_by_part(atlas, monkeypatch):
    step, neutral = np.eye(6)[0], PHRASES["a face"]

    def answers() -> list[object]:
        return [
            atlas.query_similar(neutral, RED),
            atlas.query_prompts("b4.conv1"),
            atlas.query_entangled(step, OLD),
        ]

    known = answers()
    monkeypatch.setattr(queries, "_PART", 3)
    assert answers() == known


def test_expected_shift_adds_up_responses_by_sigma(atlas):
    step = np.array([3.0, 7.0, -2.0, 0.0, 9.0, 4.0])
    # Channel 1 is dead, 4 has no row, and 5 never varies; channel 2 takes one sigma back.
    known = 3 * 0.16 * RED - 0.05 * ROWS[2]
    assert queries.expected_shift(atlas, step) == pytest.approx(known)
    with pytest.raises(OptionError, match=r"step: has shape \(5,\), must have \(6,\)"):
        queries.expected_shift(atlas, step[:5])


def test_entangled_is_what_moves_more_than_the_prompts_explain():
    # The text says a little red. The channel makes images old as well, less round, hardly red.
    rows, text = ROWS.copy(), unit(0.3, 0, 0, 1)
    rows[0] = unit(0.1, -1, 1, 2)
    atlas = table(rows=rows)
    records = atlas.query_entangled(np.eye(6)[0], text)
    assert [(r["side"], r["prompt"]) for r in records] == [("towards", "old"), ("away", "round")]
    old = atlas.prompts.centred().embeddings[3]
    assert records[0]["moves"] == pytest.approx(float(rows[0] @ old), abs=1e-3)
    explained = float(old @ text) * float(rows[0] @ text)
    assert records[0]["explained"] == pytest.approx(explained, abs=1e-3)
    assert atlas.query_entangled(2 * np.eye(6)[0], text) == records
    back = atlas.query_entangled(-np.eye(6)[0], -text)
    assert [(r["side"], r["prompt"]) for r in back] == [("towards", "round"), ("away", "old")]
    assert len(atlas.query_entangled(np.eye(6)[0], OTHER, top=1)) == 2


def test_phrases_that_say_what_the_edit_is_about_are_not_entangled():
    rows = ROWS.copy()
    rows[0] = unit(0.1, -1, 1, 2)
    text = unit(0, 0, 0.6, 1)  # a cosine of .4 with old
    sides = [r["prompt"] for r in table(rows=rows).query_entangled(np.eye(6)[0], text)]
    assert "old" not in sides and "round" in sides


def test_step_that_moves_nothing_entangles_nothing(atlas):
    assert atlas.query_entangled(np.eye(6)[1], RED) == []


@pytest.mark.parametrize("above", [True, False])
def test_meaning_is_asked_of_the_prepared_index_of_a_large_bank(monkeypatch, above):
    """FAISS from the threshold on, the exact search below it, and the same answers where all of
    the lists are probed."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(4096, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    texts = tuple(f"phrase {i}" for i in range(len(rows)))
    atlas, plain = (table(prompts=PromptBank(texts, rows)) for _ in range(2))
    monkeypatch.setattr(index, "LARGE", len(rows) + (not above))
    monkeypatch.setattr(index, "_PROBED", 1)
    probed = []
    search = index.PromptIndex._probe
    monkeypatch.setattr(index.PromptIndex, "_probe", lambda *a: probed.append(1) or search(*a))
    atlas.phrase_index.prepare()
    assert atlas.query_prompts("b4.conv1:0", 30) == plain.query_prompts("b4.conv1:0", 30)
    assert bool(probed) == above


@pytest.mark.parametrize(
    ("cosine", "alike"), [(0.95, False), (0.989, False), (0.991, True), (0.9999, True)]
)
def test_texts_are_near_equal_from_a_cosine_of_99_hundredths_on(cosine, alike):
    one = np.array([1, 0, 0], np.float32)
    other = np.array([cosine, math.sqrt(1 - cosine**2), 0], np.float32)
    found = queries.cosine_if_alike(one, other)
    assert found == pytest.approx(cosine, abs=1e-4) if alike else found is None


def test_the_same_text_is_not_near_equal_to_itself():
    one = np.array([0.6, 0.8], np.float32)
    assert queries.cosine_if_alike(one, one) is None
