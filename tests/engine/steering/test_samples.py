"""What samples say, of attributes that were planted in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from styleatlas.engine.steering import companions
from styleatlas.engine.steering.evidence import Levels
from styleatlas.engine.steering.samples import SampleMap

from ...near import assert_near
from .planted import PULLED_PSI, SHOWN, World, alike, named, some, world

COUNT = 4_000
OTHER = some(0.4, COUNT, 9)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def length(world: World, step: np.ndarray) -> float:
    """Of a step along the planted one of attribute 0, in its length."""
    planted = world.step(0)
    return float(step @ planted / (planted @ planted))


def prompts(world: World) -> tuple[np.ndarray, np.ndarray]:
    return world.prompt(), world.prompt(0)


def difference(world: World, target: int = 0) -> np.ndarray:
    return world.prompt(target).astype(np.float64) - world.prompt()


# what kind a thing is


@pytest.mark.parametrize(
    ("share", "kind"),
    [
        *((0.5, "two-state"), (0.2, "two-state"), (0.05, "two-state"), (0.95, "two-state")),
        *((0.02, "two-state"), (0.008, "rare"), (0.992, "always there"), (0.0, "unknown")),
        (1.0, "unknown"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_kind_and_share_of_a_planted_thing_are_found(share, kind, seed):
    planted = world([some(share, COUNT, seed), OTHER], seed=seed)
    found = planted.map().evidence(*prompts(planted))
    assert found.kind == kind
    if kind != "unknown":
        assert found.share == pytest.approx(share, rel=0.2)
        assert found.separation == pytest.approx(6, rel=0.25)
    assert found.few == (kind in ("rare", "always there"))


def test_a_dozen_images_of_thousands_are_found_as_rare_more_often_than_not():
    kinds = []
    for seed in range(5):
        planted = world([some(0.003, COUNT, seed + 20), OTHER], seed=seed)
        kinds.append(planted.map().evidence(*prompts(planted)).kind)
    assert kinds.count("rare") >= 3 and "unknown" not in kinds


@pytest.mark.parametrize("shape", ["normal", "even"])
def test_thing_that_spreads_without_groups_is_graded(shape):
    random = np.random.default_rng(3)
    amount = random.normal(size=COUNT) / 2 if shape == "normal" else 2 * random.random(COUNT)
    planted = world([amount])
    found = planted.map().step(planted.prompt(), planted.prompt(0))
    assert found.evidence.kind == "graded"
    assert cosine(found.step, planted.step(0)) > 0.99
    tenth, ninetieth = np.quantile(amount, (0.1, 0.9))
    assert length(planted, found.step) == pytest.approx(ninetieth - tenth, rel=0.15)


def test_prompt_by_which_clip_sees_hardly_any_difference_is_unknown():
    """Its scores are the same but for their size, which is a twentieth of what phrases bring."""
    planted = world([np.random.default_rng(5).normal(size=COUNT)])
    said = planted.prompt(0) - planted.prompt()
    known = SampleMap(planted.samples, plain=planted.prompt(), said=said[None])
    assert known.evidence(*prompts(planted)).kind == "graded"
    hardly = planted.prompt() + 0.05 * (planted.prompt(0) - planted.prompt())
    assert known.evidence(planted.prompt(), hardly).kind == "unknown"
    assert planted.map().evidence(planted.prompt(), hardly).kind == "graded"


def test_of_opposites_the_nearer_half_has_one():
    """As of men and women; of what few images have most of, beside a prompt that says nothing, a
    tenth has it."""
    amount = np.random.default_rng(5).normal(size=COUNT)
    planted = world([amount, -amount])
    said = planted.prompt(0) - planted.prompt()
    known = SampleMap(planted.samples, plain=planted.prompt(), said=said[None])
    one, other = planted.prompt(0), planted.prompt(1)
    for pair, half in (
        ((other, one), True),
        ((one, other), True),
        ((planted.prompt(), one), False),
    ):
        found = known.evidence(*pair)
        assert found.kind == "graded"
        have = (known.scores(pair[1].astype(np.float64) - pair[0])[0] >= found.far.there).mean()
        assert have == pytest.approx(0.5 if half else 0.1, abs=0.03)


def test_two_things_that_have_nothing_to_do_with_each_other_are_no_opposites():
    generator = np.random.default_rng(5)
    planted = world([generator.normal(size=COUNT), generator.normal(size=COUNT)])
    said = planted.prompt(0) - planted.prompt()
    known = SampleMap(planted.samples, plain=planted.prompt(), said=said[None])
    pair = planted.prompt(1), planted.prompt(0)
    found = known.evidence(*pair)
    have = (known.scores(pair[1].astype(np.float64) - pair[0])[0] >= found.far.there).mean()
    assert have == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("separation", [6.0, 2.0])
def test_posterior_says_who_has_it(separation):
    has = some(0.2)
    planted = world([has, OTHER], separation)
    sure = planted.map().posterior(difference(planted))
    assert sure.shape == (COUNT,) and sure.min() >= 0 and sure.max() <= 1
    assert sure[has == 1].mean() > 0.9 and sure[has == 0].mean() < 0.03


# the step


@pytest.mark.parametrize("share", [0.5, 0.2, 0.05])
@pytest.mark.parametrize("separation", [6.0, 3.0, 2.0, 1.3])
def test_step_is_the_planted_one_however_noisy_the_scores_are(share, separation):
    """What doubt takes off the length is put back, to within 7 %."""
    planted = world([some(share), OTHER], separation)
    found = planted.map().step(planted.prompt(), planted.prompt(0))
    assert found.evidence.kind == "two-state" and found.step.dtype == np.float32
    assert cosine(found.step, planted.step(0)) > 0.98
    assert length(planted, found.step) == pytest.approx(1, abs=0.07)
    assert abs(planted.moved(found.step)[1]) < 0.06, "the other stays as it is"


@pytest.mark.parametrize(("share", "least"), [(0.02, 0.95), (0.008, 0.85), (0.99, 0.93)])
def test_step_of_few_is_rougher_but_of_the_right_length(share, least):
    planted = world([some(share), OTHER])
    found = planted.map().step(planted.prompt(), planted.prompt(0))
    assert cosine(found.step, planted.step(0)) > least
    assert length(planted, found.step) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("separation", [3.0, 2.0, 1.3])
def test_step_of_few_and_noisy_is_never_far_too_long(separation):
    planted = world([some(0.01), OTHER], separation)
    found = planted.map().step(planted.prompt(), planted.prompt(0))
    assert np.linalg.norm(found.step) < 1.3 * np.linalg.norm(planted.step(0))


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_step_is_never_empty(share):
    planted = world([some(share)])
    found = planted.map().step(planted.prompt(), planted.prompt(0))
    assert found.step.any() and np.isfinite(found.step).all()


def test_channels_that_may_not_move_stay():
    planted = world([some(0.3)])
    allowed = np.arange(len(planted.step(0))) % 2 == 0
    free = planted.map().step(planted.prompt(), planted.prompt(0)).step
    found = planted.map().step(planted.prompt(), planted.prompt(0), allowed=allowed).step
    assert found[allowed].any() and not found[~allowed].any()
    both = (found != 0) & (free != 0)
    assert_near(found[both], free[both])


def test_channels_that_only_chance_moves_are_left_out():
    planted = world([some(0.3)])
    weight = planted.samples.weight.copy()
    code = planted.codes[0] / np.linalg.norm(planted.codes[0])
    weight[::2] -= np.outer(weight[::2] @ code, code).astype(np.float32)  # they do not see it
    mute = replace(planted, samples=replace(planted.samples, weight=weight))
    moved = mute.map().step(mute.prompt(), mute.prompt(0)).step != 0
    assert moved[::2].mean() < 0.05 and moved[1::2].mean() > 0.9


# what comes along


@pytest.mark.parametrize("count", [COUNT, 6_000])
@pytest.mark.parametrize("rate", [0.6, 0.9])
def test_what_comes_along_is_held_still_by_its_phrase(rate, count):
    """Of more than 4,000 samples the first tell what comes along, and all how it is held."""
    has = some(0.3, count)
    planted = world([has, alike(has, rate)])
    drags = planted.map().step(planted.prompt(), planted.prompt(0))
    held = planted.map(1).step(planted.prompt(), planted.prompt(0))
    assert planted.moved(drags.step)[1] > 0.5 and drags.held == ()
    assert abs(planted.moved(held.step)[1]) < 0.05
    assert planted.moved(held.step)[0] == pytest.approx(1, abs=0.1)
    assert held.held == (named(1),) and held.inseparable == ()


@pytest.mark.parametrize(("count", "told"), [(COUNT, True), (1_000, False)])
def test_what_hardly_comes_along_is_held_where_samples_are_enough_to_tell_it_from_chance(
    count, told
):
    has = some(0.3, count)
    other = alike(has, 0.07, seed=3)
    assert 0.06 < np.corrcoef(has, other)[0, 1] < 0.09
    planted = world([has, other])
    found = planted.map(1).step(planted.prompt(), planted.prompt(0))
    assert found.held == ((named(1),) if told else ())


@pytest.mark.parametrize("rate", [0.0, 0.6, 0.9])
def test_what_is_named_to_keep_is_held_still(rate):
    has = some(0.3)
    planted = world([has, alike(has, rate)])
    keep = [("the other", planted.prompt(1))]
    found = planted.map().step(planted.prompt(), planted.prompt(0), keep)
    assert abs(planted.moved(found.step)[1]) < 0.06
    assert planted.moved(found.step)[0] == pytest.approx(1, abs=0.1)
    assert found.held == ("the other",)


def test_what_always_comes_along_is_named_and_not_held():
    has = some(0.3)
    planted = world([has, has])
    neutral, target = planted.prompt(), planted.prompt(0)
    by_phrase = planted.map(1).step(neutral, target)
    by_name = planted.map().step(neutral, target, [("the other", planted.prompt(1))])
    assert (by_phrase.held, by_phrase.inseparable) == ((), (named(1),))
    assert (by_name.held, by_name.inseparable) == ((), ("the other",))
    for found in (by_phrase, by_name):
        assert planted.moved(found.step) == pytest.approx([1, 1], abs=0.1)


@pytest.fixture
def says(monkeypatch):
    """What is read of samples is said by the phrase of the second thing."""
    monkeypatch.setattr(companions, "SAID_OF_READINGS", {"read": (named(1), "a phrase unknown")})


@pytest.mark.parametrize("rate", [0.6, 0.9])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_comes_along_is_held_still_by_what_a_network_reads_of_it(rate, sign, says):
    """Either way: what grows with the thing and what falls; and though it reads much wrong."""
    has = some(0.3)
    planted = world([has, alike(has, rate)])
    noise = np.random.default_rng(3).normal(size=len(has))
    years = 40 + sign * 10 * (planted.has[:, 1] + 2 * noise)
    years[:50] = np.nan
    neutral, target = planted.prompt(), planted.prompt(0)
    dragged = planted.map(0).step(neutral, target)
    found = planted.reading(years=years).map(0, 1).step(neutral, target)
    assert found.held == ("read: years",) and found.inseparable == ()
    assert abs(planted.moved(dragged.step)[1]) > 0.5
    assert abs(planted.moved(found.step)[1]) < 0.2
    assert planted.moved(found.step)[0] == pytest.approx(1, abs=0.2)


def test_what_a_network_reads_of_the_target_itself_is_not_held(says):
    has = some(0.3)
    planted = world([has, alike(has, 0.6)])
    noise = np.random.default_rng(3).normal(size=len(has))
    read = planted.reading(thing=planted.has[:, 1] + 0.2 * noise).map(0, 1)
    neutral, target = planted.prompt(), planted.prompt(1)
    for step in (read.step(neutral, target), read.step(target, neutral)):
        assert "read: thing" not in step.held
    assert read.step(neutral, target).held == (named(0),)


def test_readings_that_words_do_not_tell_of_or_found_nowhere_are_not_held(says):
    has = some(0.3)
    planted = world([has, alike(has, 0.9)])
    neutral, target = planted.prompt(), planted.prompt(0)
    read, lost = planted.reading(years=planted.has[:, 1]), planted.reading(years=has * np.nan)
    for found in (read.map(0), lost.map(0)):
        step = found.step(neutral, target)
        assert step.held == () and planted.moved(step.step)[1] > 0.5


def test_other_things_that_do_not_come_along_cost_nothing():
    planted = world([some(0.3), some(0.3, seed=4), some(0.2, seed=5)])
    alone, among = (
        m.step(planted.prompt(), planted.prompt(0)) for m in (planted.map(), planted.map(1, 2))
    )
    assert among.held == () and among.inseparable == ()
    assert_near(among.step, alone.step)


def test_phrase_that_means_the_target_is_not_held():
    """Round glasses come with reading glasses: held still, there would be none."""
    planted = world([some(0.3), OTHER])
    found = planted.map(0, 1).step(planted.prompt(), planted.prompt(0))
    assert found.held == () and length(planted, found.step) == pytest.approx(1, abs=0.05)


def test_phrase_nearer_to_the_target_from_the_banks_mean_than_from_the_neutral_is_not_held():
    """Every part is in the whole: the neutral prompt says another thing that hides it."""
    whole = some(0.5)
    part = whole * some(0.5, seed=3)
    planted = world([part, whole, some(0.5, seed=8)], shown=[1, 1, 0])
    means = planted.plain + 0.2 * (planted.words[0] + 0.8 * planted.words[1])
    target = (means / np.linalg.norm(means)).astype(np.float32)
    away = planted.plain + 0.6 * planted.words[2]
    neutral = (away / np.linalg.norm(away)).astype(np.float32)
    phrase = planted.map(1)
    line = (target - neutral) / np.linalg.norm(target - neutral)
    assert abs(phrase._phrases.embeddings[0] @ line) < 0.35, "which alone would hold it"
    assert phrase.step(neutral, target).held == ()


@pytest.mark.parametrize("phrases", [(), (0, 1)])
def test_from_one_thing_to_another_takes_off_the_one_and_puts_on_the_other(phrases):
    planted = world([some(0.3), some(0.25, seed=7)])
    found = planted.map(*phrases).step(planted.prompt(0), planted.prompt(1))
    assert planted.moved(found.step) == pytest.approx([-1, 1], abs=0.06)


# conditional generators, and those whose styles are not affine


def test_classes_do_not_leak_into_the_step():
    planted = world([some(0.3), OTHER], classes=3)
    label = planted.samples.label
    assert set(label) == {0, 1, 2}
    found = planted.map().step(planted.prompt(), planted.prompt(0))
    assert cosine(found.step, planted.step(0)) > 0.98
    assert length(planted, found.step) == pytest.approx(1, abs=0.05)


def test_styles_in_place_of_an_affine_map_give_the_same_step():
    planted = world([some(0.3), OTHER])
    kept = planted.samples
    styles = (kept.w.astype(np.float32) @ kept.weight.T + kept.bias).astype(np.float16)
    of_styles = replace(kept, weight=None, bias=None, styles=styles)
    one, other = (
        SampleMap(samples, plain=planted.prompt()).step(planted.prompt(), planted.prompt(0))
        for samples in (kept, of_styles)
    )
    assert one.evidence == other.evidence
    # Styles are kept to three digits, by which a channel at the edge may pass or not.
    least = 0.1 * np.abs(one.step).max()
    assert np.abs(other.step - one.step).max() < least


def test_samples_that_are_all_alike_are_no_error():
    planted = world([some(0.3)])
    samples = replace(planted.samples, w=np.ones_like(planted.samples.w))
    found = SampleMap(samples, plain=planted.prompt()).evidence(*prompts(planted))
    assert found.kind == "two-state", "images differ all the same"


# levels, psi, and how far one can go


def test_levels_are_what_either_group_is_seen_with():
    has = some(0.3)
    planted = world([has, OTHER])
    text = difference(planted)
    scores = planted.samples.embedding.astype(np.float64) @ text
    far = planted.map().evidence(*prompts(planted)).far
    ones, zeros = scores[has == 1], scores[has == 0]
    assert far.lower == pytest.approx(zeros.mean(), abs=0.05 * SHOWN)
    assert far.lower < far.there < ones.mean() < far.goal < np.quantile(ones, 0.9)
    assert (ones >= far.there).mean() > 0.9 and (zeros >= far.there).mean() < 0.01


def test_levels_lie_on_the_line_through_both_psis():
    planted = world([some(0.3)])
    pulled = planted.samples.pulled.astype(np.float32) + 0.1 * planted.words[0].astype("f4")
    pulled /= np.linalg.norm(pulled, axis=1, keepdims=True)
    samples = replace(planted.samples, pulled=pulled.astype(np.float16))
    found = SampleMap(samples, plain=planted.prompt()).evidence(*prompts(planted))
    assert found.near_psi == PULLED_PSI
    assert found.near.goal > found.far.goal + 0.02
    for psi, levels in ((PULLED_PSI, found.near), (1.0, found.far)):
        assert vars(found.levels(psi)) == pytest.approx(vars(levels))
    middle = [(getattr(found.near, x) + getattr(found.far, x)) / 2 for x in vars(Levels(0, 0, 0))]
    assert list(vars(found.levels((1 + PULLED_PSI) / 2)).values()) == pytest.approx(middle)
    assert found.levels(-0.7) == found.levels(0.7), "as far from the average one"


@pytest.mark.parametrize("share", [0.3, 0.0])
def test_samples_of_one_psi_alone_have_its_levels_everywhere(share):
    planted = world([some(share)])
    samples = replace(planted.samples, pulled=planted.samples.pulled[:0])
    found = SampleMap(samples, plain=planted.prompt()).evidence(*prompts(planted))
    assert vars(found.levels(0.5)) == pytest.approx(vars(found.far))


@pytest.mark.parametrize("psi", [0.3, 0.5, 0.7, 1.0])
def test_psi_of_styles_is_the_one_they_were_drawn_at(psi):
    planted = world([some(0.3)])
    kept = planted.samples
    w = kept.w[:200].astype(np.float32)
    mean = kept.w.astype(np.float32).mean(0)
    styles = (mean + psi * (w - mean)) @ kept.weight.T + kept.bias
    found = planted.map().psi_of(styles)
    assert found.shape == (200,) and found.min() >= 0.3 and found.max() <= 1
    assert np.median(found) == pytest.approx(psi, abs=0.06)


def test_reach_is_about_the_way_to_the_samples_that_have_it_and_a_step_beyond():
    has = some(0.3)
    planted = world([has])
    kept, known = planted.samples, planted.map()
    step = known.step(planted.prompt(), planted.prompt(0)).step
    styles = kept.w.astype(np.float32) @ kept.weight.T + kept.bias
    reach = known.reach(step, styles)
    assert reach.shape == (COUNT,) and reach.min() >= 0
    without, having = np.median(reach[has == 0]), np.median(reach[has == 1])
    assert without - having == pytest.approx(1, abs=0.15), "one step apart"
    assert 2 < without < 3.2
    assert_near(known.reach(2 * step, styles[:1]) - 1, (reach[:1] - 1) / 2, 1e-3)
    assert known.reach(step, styles[:1] + 100 * step)[0] == 0


def test_styles_tell_who_has_it_without_a_look():
    has = some(0.3)
    planted = world([has, OTHER])
    w = planted.samples.w.astype(np.float32)
    styles = w @ planted.samples.weight.T + planted.samples.bias
    found = planted.map().shown_by(styles, difference(planted))
    assert found[has == 1].mean() > 0.95 and found[has == 0].mean() < 0.02
    bare = replace(planted.samples, weight=None, bias=None, styles=styles.astype(np.float16))
    assert (SampleMap(bare).shown_by(styles[:3], difference(planted)) == 0.5).all()
