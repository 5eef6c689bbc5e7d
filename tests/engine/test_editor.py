"""The Editor on the countable pair, where every step can be computed, and on the embedded one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas import Atlas, load_encoder, load_generator
from styleatlas.engine import table
from styleatlas.engine.editor import Editor
from styleatlas.engine.fallbacks import ways
from styleatlas.engine.fallbacks.ways import Fallbacks
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.models.subject import Subject
from styleatlas.engine.steering.direction import Choice, Direction
from styleatlas.engine.steering.edits import Edit
from styleatlas.store.errors import FingerprintError, OptionError
from styleatlas.store.registry import EMBEDDED

from ..near import assert_near

PAIR = {"neutral": "a picture", "target": "a picture channel7"}
FAR = {"neutral": "a picture", "target": "a picture channel12"}  # that CLIP gives 3 % to 60 %
GLASSES = {"neutral": "a face", "target": "a face with glasses"}
BLONDE = {"neutral": "a face", "target": "a face with blonde hair"}


@pytest.fixture
def editor(countable_atlas, generator, encoder) -> Editor:
    return Editor(countable_atlas, generator, encoder)


@pytest.fixture
def styles(generator) -> torch.Tensor:
    return styles_from_seeds(generator, [1, 2, 3], 0.7)


@pytest.fixture(scope="module")
def avatars() -> Editor:
    atlas = Atlas.open(EMBEDDED.atlas)
    return Editor(atlas, load_generator("avatars", "cpu"), load_encoder("avatars", "cpu"))


@pytest.fixture(scope="module")
def faces(avatars) -> torch.Tensor:
    return styles_from_seeds(avatars.generator, range(1, 25), 0.7)


def no_encoder():
    raise AssertionError("CLIP was asked for")


def logits(probability):
    return np.log(probability / (1 - probability))


@pytest.mark.parametrize(
    ("target", "channel"), [("a picture channel7", 7), ("a picture channel12", 12)]
)
def test_prompt_moves_the_channel_it_names_forwards(editor, target, channel):
    direction = editor.direction("a picture", target, Choice(channels=1))
    assert direction.channels.tolist() == [channel]
    assert direction.steps == pytest.approx(editor.atlas.style_std[[channel]])
    back = editor.direction(target, "a picture", Choice(channels=1))
    assert_near(back.steps, -direction.steps)


def test_choice_of_edit_is_that_of_its_direction(editor, styles):
    choice = {"beta": 0.02, "layers": ("conv",), "exclude": ("b8.conv0:1",), "rule": "paper"}
    (direction,) = editor.edit(styles, **PAIR, alpha=1, **choice).directions
    expected = editor.direction(*PAIR.values(), Choice(**choice))
    assert_near(direction.delta(1), expected.delta(1))
    assert direction.beta == 0.02
    assert not np.array_equal(direction.delta(1), editor.direction(*PAIR.values()).delta(1))


def test_edit_adds_alpha_steps_and_renders_the_sum(editor, generator, styles):
    result = editor.edit(styles, **PAIR, alpha=2.5)
    (direction,) = result.directions
    assert torch.equal(result.before, styles)
    delta = torch.from_numpy(direction.delta(1.0))
    assert torch.allclose(result.styles, styles + 2.5 * delta, atol=1e-7)
    assert_near(result.images, generator.render(result.styles))
    assert result.alphas.tolist() == [[2.5]] * 3 and result.alphas.dtype == np.float32
    assert result.counter == () and result.counter_alphas.shape == (3, 0)
    assert result.ways == ("direction",) * 3 and result.tried == ({},) * 3
    count, least = len(direction.channels), direction.beta
    assert result.why == f"{count} channels of the table with a score of at least {least:.3f}"


def test_several_edits_add_up_each_times_its_weight(editor, generator, styles):
    directions, weights = editor.directions([Edit(*PAIR.values(), 2), Edit(*FAR.values(), -0.5)])
    result = editor.apply(styles, directions, 3.0, weights)
    there, back = editor.direction(*PAIR.values()), editor.direction(*FAR.values())
    delta = torch.from_numpy(6 * there.delta(1.0) - 1.5 * back.delta(1.0))
    assert torch.allclose(result.styles, styles + delta, atol=1e-6)
    assert_near(result.images, generator.render(result.styles))
    assert result.alphas.tolist() == [[6, 1.5]] * 3


def test_negative_alpha_goes_the_other_way(editor, styles):
    there, back = (editor.edit(styles, **PAIR, alpha=alpha) for alpha in (3, -3))
    assert torch.allclose(there.styles - styles, styles - back.styles, atol=1e-6)
    assert (there.styles[:, 7] > styles[:, 7]).all()


def test_alpha_zero_leaves_the_image_as_it_was(editor, generator, styles):
    assert torch.equal(editor.edit(styles, **PAIR, alpha=0).images, generator.render(styles))


@pytest.mark.parametrize("alpha", [4.0, None])
def test_styles_given_are_not_changed(editor, styles, alpha):
    before = styles.clone()
    editor.edit(styles, **FAR, alpha=alpha)
    assert torch.equal(styles, before)


@pytest.mark.parametrize("alpha", [4.0, None])
def test_more_images_than_a_batch_are_edited_in_order(editor, styles, alpha):
    many, few = (editor.edit(x, **FAR, alpha=alpha) for x in (styles.repeat(40, 1), styles))
    assert torch.allclose(many.images, few.images.repeat(40, 1, 1, 1), atol=1e-5)
    assert many.alphas == pytest.approx(np.tile(few.alphas, (40, 1)), abs=1e-4)


def test_fixed_alpha_and_prompts_of_the_bank_load_no_clip(countable_atlas, generator, styles):
    editor = Editor(countable_atlas, generator, no_encoder)
    editor.edit(styles, **PAIR, alpha=2.0, keep=("a picture channel12",))
    editor.apply(styles, editor.directions([Edit(*PAIR.values(), -1), Edit(*FAR.values())])[0], 1.0)
    with pytest.raises(AssertionError, match="CLIP was asked for"):
        editor.edit(styles, **PAIR, method="direction")


@pytest.mark.parametrize("probability", [0.6, 0.9, 0.998])
def test_every_image_gets_the_probability_asked_for_and_little_more(
    editor, generator, styles, probability
):
    result = editor.edit(styles, **FAR, method="direction", probability=probability)
    (shift,) = editor.measure(result)
    assert (shift.probability >= probability).all()
    way = logits(probability) - logits(shift.before)
    beyond = logits(shift.probability) - logits(probability)
    assert ((beyond <= 0.15 * way + 0.01) | (result.alphas[:, 0] <= 1)).all()
    assert len(set(result.alphas[:, 0])) == 3, "each its own"
    assert_near(result.images, generator.render(result.styles))


def test_probability_is_found_with_at_most_five_renders_an_image(editor, generator, styles):
    directions, _ = editor.directions([Edit(*PAIR.values()), Edit(*FAR.values())])
    before = generator.images_rendered
    editor.apply(styles, directions)
    assert generator.images_rendered - before <= (1 + 5) * len(styles)


def test_weights_multiply_what_was_found(editor, generator, styles):
    directions, _ = editor.directions([Edit(*PAIR.values()), Edit(*FAR.values())])
    once = editor.apply(styles, directions, probability=0.9)
    twice = editor.apply(styles, directions, weights=[2, 0.5], probability=0.9)
    assert np.allclose(twice.alphas, once.alphas * [2, 0.5], atol=1e-6)
    assert torch.allclose(twice.images, generator.render(twice.styles), atol=1e-6)


def test_subject_renders_what_edits_share_once_and_gives_the_same_images(
    editor, generator, styles, monkeypatch
):
    resumed: list[str] = []
    whole = generator.resume

    def resume(styles, layer):
        resumed.append(layer.name)
        return whole(styles, layer)

    monkeypatch.setattr(generator, "resume", resume)
    subject = Subject(generator, styles)
    late = editor.direction(*PAIR.values(), Choice(layers=("b8.*",)))
    for alpha in (1.0, -2.0, 4.0):
        result = editor.apply(subject, late, alpha)
        assert_near(result.images, generator.render(result.styles))
    assert resumed == ["b8.conv0"]
    later = editor.direction(*FAR.values(), Choice(layers=("b8.torgb",)))
    assert_near(editor.apply(subject, later, 2.0).images, editor.apply(styles, later, 2.0).images)
    assert resumed[1] == "b8.torgb"


def test_subject_has_its_images_rendered_once(editor, generator, styles):
    subject = Subject(generator, styles)
    before = generator.images_rendered
    assert torch.equal(subject.images, generator.render(styles))
    for _ in range(2):
        editor.edit(subject, **PAIR, method="direction", probability=0.5)  # they all are there
    assert generator.images_rendered - before == 2 * len(styles)


@pytest.mark.parametrize("alpha", [100.5, -101, float("nan"), float("inf")])
def test_alpha_out_of_range_is_refused(editor, styles, alpha):
    with pytest.raises(OptionError, match=f"alpha {alpha:g}: must lie between -100 and 100"):
        editor.edit(styles, **PAIR, alpha=alpha)


@pytest.mark.parametrize("probability", [0.49, 0, -1, 1, 1.5, float("nan")])
def test_probability_out_of_range_is_refused(editor, styles, probability):
    message = rf"probability {probability:g}: must be at least 0\.5 and below 1"
    with pytest.raises(OptionError, match=message):
        editor.edit(styles, **PAIR, method="direction", probability=probability)


def test_directions_are_remembered_the_last_ones(editor, monkeypatch):
    monkeypatch.setattr(table, "_MOST_KNOWN", 2)
    choices = [Choice(channels=k) for k in (1, 2, 3)]
    first, second, third = (editor.direction(**PAIR, choice=choice) for choice in choices)
    assert editor.direction(**PAIR, choice=choices[2]) is third
    assert editor.direction(**PAIR, choice=choices[1]) is second
    assert editor.direction(**PAIR, choice=choices[0]) is not first


def test_edit_without_a_direction_is_refused(editor, styles):
    with pytest.raises(OptionError, match="edit: has no direction; give at least one pair"):
        editor.apply(styles, [])


@pytest.mark.parametrize("weights", [[], [2.0], [1.0, 2.0, 3.0]])
def test_weights_that_are_not_one_a_direction_are_refused(editor, styles, weights):
    directions, _ = editor.directions([Edit(*PAIR.values()), Edit(*FAR.values())])
    with pytest.raises(OptionError, match=f"weights: are {len(weights)}; give 2, one a direct"):
        editor.apply(styles, directions, 2.0, weights)


def test_atlas_of_another_generator_is_refused_with_both_fingerprints(
    countable_atlas, make_generator, encoder
):
    other = make_generator(seed=1)
    with pytest.raises(FingerprintError) as caught:
        Editor(countable_atlas, other, encoder)
    for identity in (countable_atlas.fingerprint.generator, other.identity):
        assert f'"{identity.name}" ({identity.sha256[:12]})' in str(caught.value)


def test_atlas_of_another_clip_is_refused_with_both_fingerprints(
    countable_atlas, generator, make_encoder, styles
):
    other = make_encoder(seed=1)
    lazy = Editor(countable_atlas, generator, lambda: other)
    for refused in (
        lambda: Editor(countable_atlas, generator, other),
        lambda: lazy.direction("a picture", "words of no bank"),
        lambda: lazy.edit(styles, **PAIR, method="direction"),
    ):
        with pytest.raises(FingerprintError) as caught:
            refused()
        for identity in (countable_atlas.fingerprint.clip, other.identity):
            assert f'"{identity.name}" ({identity.sha256[:12]})' in str(caught.value)


def test_measure_gives_the_movement_along_the_text_and_its_cosine(editor, encoder, styles):
    channel, alpha, step = 7, 1.5, 0.4
    direction = Direction(
        **PAIR,
        text=encoder.effect(channel).astype(np.float32),
        channels=np.array([channel]),
        scores=np.ones(1, np.float32),
        steps=np.array([step], np.float32),
        beta=0.5,
        size=14,
    )
    (shift,) = editor.measure(editor.apply(styles, direction, alpha))
    before = styles[:, channel].double().numpy()
    after = before + alpha * step
    along = (np.sin(after) - np.sin(before)) / np.sqrt(encoder.channels)
    assert shift.along == pytest.approx(along, abs=1e-6)
    assert shift.similarity == pytest.approx(along / encoder.length(alpha * step / 2), abs=1e-6)
    assert (shift.similarity < 0.999).all(), "the text must not be parallel to the movement"
    assert shift.kept == {}


def test_measure_gives_the_softmax_of_the_two_prompts_before_and_after(editor, encoder, styles):
    result = editor.edit(styles, **FAR, alpha=1.5)
    (shift,) = editor.measure(result)
    texts = np.stack([editor.atlas.embedding(FAR[name]) for name in ("neutral", "target")])
    for images, found in (
        (editor.generator.render(styles), shift.before),
        (result.images, shift.probability),
    ):
        both = np.exp(encoder.logit_scale * encoder.images(images).numpy() @ texts.T)
        assert found == pytest.approx(both[:, 1] / both.sum(1), abs=1e-4)
    assert (shift.probability > shift.before).all()


def test_measure_gives_the_movement_along_each_thing_kept(editor, encoder, styles):
    result = editor.edit(styles, **FAR, alpha=2.0, keep=("a picture channel7",))
    (shift,) = editor.measure(result)
    moved = encoder.images(result.images) - encoder.images(editor.generator.render(styles))
    along = moved.numpy() @ editor.atlas.direction("a picture", "a picture channel7")
    assert shift.kept["a picture channel7"] == pytest.approx(along, abs=1e-6)
    assert list(shift.kept) == ["a picture channel7"]


def test_measure_of_an_edit_that_moved_nothing_is_zero(editor, styles):
    (shift,) = editor.measure(editor.edit(styles, **PAIR, alpha=0))
    assert not shift.along.any() and not shift.similarity.any()
    assert np.array_equal(shift.probability, shift.before)


@pytest.mark.parametrize("probability", [0.9, 0.998])
def test_avatars_get_glasses_by_the_table_to_the_probability_or_to_what_is_possible(
    avatars, faces, probability
):
    styles, direction = faces[:8], avatars.direction(*GLASSES.values(), Choice(source="table"))
    result = avatars.apply(styles, direction, probability=probability)
    (shift,) = avatars.measure(result)
    reached = shift.probability >= probability - 1e-6
    goal, start, at = (logits(p) for p in (probability, shift.before, shift.probability))
    scan = [avatars.apply(styles, direction, float(alpha)) for alpha in range(11)]
    best = logits(np.max([avatars.measure(x)[0].probability for x in scan], 0))
    assert (reached | (at - start >= 0.9 * (best - start))).all(), "what any alpha brings"
    assert reached.all() or (best < goal)[~reached].all(), "some alpha reaches it"
    assert (result.alphas >= 0).all() and (result.alphas <= 10).all()
    assert reached.all() == (probability == 0.9), "both cases are seen"


def test_images_are_the_renders_of_the_styles_and_styles_the_sum_of_the_steps(avatars, faces):
    keep = ("a bald face", "a face with a hat")
    result = avatars.edit(faces[:6], **BLONDE, method="direction", keep=keep, source="table")
    assert (result.images - avatars.generator.render(result.styles)).abs().max() <= 1e-4
    assert torch.equal(result.before, faces[:6])
    steps = (*result.directions, *result.counter)
    alphas = np.concatenate([result.alphas, result.counter_alphas], 1)
    delta = sum(np.outer(alphas[:, i], step.delta(1.0)) for i, step in enumerate(steps))
    assert [step.target for step in result.counter] == ["a bald face", "a face with a hat"]
    assert (result.counter_alphas < 0).any() and (result.counter_alphas > 0).any()
    assert (result.styles - result.before).numpy() == pytest.approx(delta, abs=1e-5)


def test_avatar_that_is_there_already_stays_as_it_is(avatars, faces):
    result = avatars.edit(faces[:8], **GLASSES, method="direction", probability=0.9)
    (shift,) = avatars.measure(result)
    there = shift.before >= 0.9
    assert 0 < there.sum() < 8
    assert np.array_equal(result.alphas[:, 0] == 0, there)
    before = avatars.generator.render(faces[:8])
    assert_near(result.images[there], before[there])
    assert torch.equal(result.styles[there], faces[:8][there])


@pytest.mark.parametrize("source", ["table", "samples"])
def test_alphas_are_the_same_whether_clip_was_loaded_before_or_not(avatars, faces, source):
    later = Editor(avatars.atlas, avatars.generator, lambda: avatars.texts.encoder)
    direction = avatars.direction(*GLASSES.values(), Choice(source=source))
    known, found = (editor.apply(faces[:4], direction) for editor in (avatars, later))
    assert known.alphas.any()
    assert np.array_equal(found.alphas, known.alphas) and found.status == known.status


def test_avatars_in_a_batch_are_edited_as_one_by_one(avatars, faces):
    together = avatars.edit(faces[:5], **GLASSES, method="direction", probability=0.95)
    alone = [
        avatars.edit(faces[i : i + 1], **GLASSES, method="direction", probability=0.95)
        for i in range(5)
    ]
    assert together.alphas == pytest.approx(np.concatenate([x.alphas for x in alone]), abs=1e-3)
    assert torch.allclose(together.images, torch.cat([x.images for x in alone]), atol=1e-3)


def test_several_edits_of_avatars_all_reach_their_goals(avatars, faces):
    targets = ("a face with glasses", "a smiling face", "a face with a beard")
    directions, _ = avatars.directions([Edit("a face", target) for target in targets])
    result = avatars.apply(faces[:8], directions, probability=0.9)
    reached = np.stack([shift.probability for shift in avatars.measure(result)])
    assert (reached >= 0.9 - 1e-6).all(), reached


def test_subject_of_avatars_gives_whole_renders(avatars, faces):
    subject = Subject(avatars.generator, faces[:3])
    direction = avatars.direction(*GLASSES.values(), Choice(layers=("b32.*", "b64.*")))
    for alpha in (-3.0, 5.0):
        result = avatars.apply(subject, direction, alpha)
        assert torch.allclose(result.images, avatars.generator.render(result.styles), atol=1e-4)


def test_keep_at_least_halves_the_movement_of_what_the_table_keeps(avatars, faces):
    by_table = {**BLONDE, "method": "direction", "source": "table"}
    free = avatars.edit(faces, **by_table)
    keeping = avatars.edit(faces, **by_table, keep=("a bald face",))
    embed = avatars.texts.encoder.images
    before = embed(avatars.generator.render(faces))
    bald = torch.from_numpy(avatars.texts.direction("a face", "a bald face"))
    drifts = [((embed(x.images) - before) @ bald).abs().mean() for x in (free, keeping)]
    assert drifts[1] <= 0.5 * drifts[0]
    probabilities = [avatars.measure(x)[0].probability.mean() for x in (free, keeping)]
    assert probabilities[1] >= probabilities[0] - 0.05, "the edit is made all the same"


# what becomes of images


def test_avatar_that_has_glasses_is_told_so_and_stays(avatars, faces):
    result = avatars.edit(seeds=range(1, 9), **GLASSES, method="direction")
    there = np.array([status == "already_there" for status in result.status])
    assert 0 < there.sum() < 8 and set(result.status) <= {"already_there", "reached"}
    assert torch.equal(result.styles[there], result.before[there])
    assert (result.alphas[:, 0] == 0).tolist() == there.tolist()
    again = avatars.edit(result.styles, **GLASSES, method="direction")
    assert again.status == ("already_there",) * 8
    assert torch.equal(again.styles, result.styles), "an edit made twice is made once"


def test_alpha_far_too_large_is_told_and_gone(avatars):
    result = avatars.edit(seeds=range(1, 5), **GLASSES, alpha=8.0)
    assert result.status == ("out_of_range",) * 4
    (direction,) = result.directions
    delta = torch.from_numpy(direction.delta(8.0))
    assert torch.allclose(result.styles, result.before + delta, atol=1e-4)


@pytest.mark.parametrize("source", ["samples", "table"])
@pytest.mark.parametrize("alpha", [100.0, -100.0])
def test_alpha_far_too_large_either_way_is_told_by_samples_and_by_the_table(avatars, alpha, source):
    lazy = Editor(avatars.atlas, avatars.generator, no_encoder)
    seeds = [2, 5]  # who wear glasses
    far = lazy.edit(seeds=seeds, **GLASSES, alpha=alpha, source=source)
    assert far.status == ("out_of_range",) * 2
    near = lazy.edit(seeds=seeds, **GLASSES, alpha=np.sign(alpha) * 0.2, source=source)
    assert near.status == (None,) * 2


def test_given_alpha_takes_off_only_what_is_there_without_a_look(avatars):
    lazy = Editor(avatars.atlas, avatars.generator, no_encoder)
    seeds = range(1, 41)
    has = np.array(
        [
            status == "already_there"
            for status in avatars.edit(seeds=seeds, **GLASSES, method="direction").status
        ]
    )
    off = lazy.edit(seeds=seeds, **GLASSES, alpha=-1.0)
    left = np.array([status == "already_there" for status in off.status])
    assert (left == (off.alphas[:, 0] == 0)).all()
    assert np.mean(left != has) > 0.85


def test_an_anti_face_gets_the_alpha_that_takes_it_where_faces_with_the_thing_are(avatars):
    """Those at psi -0.7 lie as far from the average one as those at 0.7, so their goal is one."""
    goals = []
    for psi in (0.7, -0.7):
        subject = avatars.subject(seeds=range(1, 9), truncation=psi)
        (batch,) = subject.batches()
        found = avatars.goals(batch, (avatars.direction(*GLASSES.values()),), None)
        goals.append((found.goal, found.there))
    assert np.array_equal(goals[0], goals[1])
    edited = avatars.edit(seeds=range(1, 9), **GLASSES, truncation=-0.7, method="direction")
    done = [status in ("reached", "already_there") for status in edited.status]
    assert sum(done) >= 6, edited.status


def test_status_of_a_given_alpha_is_what_clip_sees_where_it_is_there(avatars):
    lazy = Editor(avatars.atlas, avatars.generator, no_encoder)
    assert lazy.edit(seeds=[3, 4], **GLASSES, alpha=1.0).status == (None, None)
    assert lazy.edit(seeds=[3], **GLASSES, alpha=8.0).status == ("out_of_range",)
    none, some = (avatars.edit(seeds=[1, 3], **GLASSES, alpha=alpha) for alpha in (0.0, 1.2))
    assert none.status == ("already_there", "not_reached")
    assert some.status[1] == "reached"


def test_image_of_the_table_shows_its_target_from_enough_on(editor, styles):
    result = editor.edit(styles, **FAR, method="direction", source="table")
    assert set(result.status) == {"reached"}
    less = editor.edit(styles, **FAR, alpha=0.0)
    assert less.status == ("not_reached",) * 3


def test_nonsense_is_announced_before_anything_is_rendered_and_not_optimised(avatars, monkeypatch):
    told: list[int] = []
    rendered = []
    render = avatars.generator.render
    fallbacks = Fallbacks(announce=lambda line: told.append(len(rendered)) or lines.append(line))
    lines: list[str] = []
    editor = Editor(avatars.atlas, avatars.generator, avatars.texts.encoder, fallbacks=fallbacks)
    monkeypatch.setattr(
        type(avatars.generator),
        "render",
        lambda self, *a, **k: rendered.append(1) or render(*a, **k),
    )
    monkeypatch.setattr(ways, "Optimisation", None)
    result = editor.edit(seeds=[1, 2], neutral="a face", target="a zebra")
    assert result.status == ("unsupported",) * 2 and result.ways == ("direction",) * 2
    assert told == [0, 0] and rendered
    assert "are nearly the same to CLIP" in lines[0]
    assert lines[1].startswith('"a zebra": none of the 4,000 samples stands out')


def test_what_the_edit_is_about_cannot_be_kept(avatars):
    with pytest.raises(OptionError, match="keep: says what the edit is about"):
        avatars.edit(seeds=[3], **GLASSES, method="direction", keep=("a face with glasses",))


def test_negative_weight_takes_a_thing_off(avatars):
    glasses = avatars.edit(seeds=range(1, 9), **GLASSES, method="direction")
    removed = avatars.edit(glasses.styles, edits=[Edit(*GLASSES.values(), -1)], method="direction")
    evidence = avatars.direction(*GLASSES.values()).evidence
    text = avatars.direction(*GLASSES.values())
    seen = avatars.seen(removed.images, [text])[:, 0]
    assert (seen < evidence.levels(0.7).there).mean() >= 0.75
    assert set(removed.status) <= {"reached", "not_reached", "out_of_range"}
    assert removed.status.count("reached") >= 6


@pytest.mark.parametrize(
    ("target", "number"),
    [
        ("a sad bald face with sunglasses", 3),
        ("someone wearing shades", 1),
        ("a face with a hat", 1),
    ],
)
def test_prompt_of_several_things_is_taken_apart_and_of_one_is_not(avatars, target, number):
    parts = avatars.parts(Edit("a face", target))
    assert len(parts) == number
    assert number > 1 or parts == (Edit("a face", target),)
