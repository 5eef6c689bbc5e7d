"""Training of photo encoders: what is learned, what is logged, what an interruption leaves."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from styleatlas.engine.models.identity import ClipIdentity
from styleatlas.engine.models.own_encoder import read_own_encoder, write_own_encoder
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.precompute.encoder_images import HELD_OUT, Pictures
from styleatlas.precompute.encoder_reports import (
    reconstructions,
    training_progress,
    training_record,
    training_text,
)
from styleatlas.precompute.encoder_settings import EncoderSettings
from styleatlas.precompute.encoder_state import EncoderTrainingFile, Row
from styleatlas.precompute.encoders import EncoderTrainer
from styleatlas.precompute.training import train
from styleatlas.store.errors import OptionError, ResumeError

SETTINGS = EncoderSettings(steps=120, batch=8, validate_every=40, passes=2, learning_rate=3e-3)
QUICK = replace(SETTINGS, steps=6, validate_every=3)
SHORT = replace(SETTINGS, steps=80)
"""As few as learn something."""


@pytest.fixture(scope="module")
def samples(draw):
    from ..conftest import CountableEncoder, CountableGenerator

    return draw(CountableGenerator(), CountableEncoder(), samples=200).samples


@pytest.fixture
def trainer(generator, samples):
    """Makes trainers on the countable generator."""

    def make(settings: EncoderSettings = QUICK, **arguments) -> EncoderTrainer:
        return EncoderTrainer(generator, settings=settings, **{"samples": samples, **arguments})

    return make


@pytest.fixture
def place(tmp_path):
    """Where a trainer's state and log are."""
    made: list[EncoderTrainingFile] = []

    def make() -> EncoderTrainingFile:
        if made:
            made[-1].__exit__()
        made.append(EncoderTrainingFile(tmp_path / "e.safetensors"))
        return made[-1]

    return make


def same(one, other) -> bool:
    ours, theirs = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def stop_at(step: int):
    def report(trainer: EncoderTrainer) -> None:
        if trainer.log[-1].step == step:
            raise KeyboardInterrupt

    return report


def pictures_of(generator, count: int = HELD_OUT + 20) -> Pictures:
    w = generator.map(torch.randn(count, 5, generator=torch.Generator().manual_seed(2)))
    images = generator.render(generator.styles(w))
    unknown = torch.full((count, 5), torch.nan)
    return Pictures(to_bytes(images), torch.zeros(count, 5), unknown)


# What is learned


def test_trained_encoder_comes_nearer_than_where_it_begins(trainer, place, generator, tmp_path):
    training = trainer(SETTINGS, samples=None)
    encoder = train(training, place())
    w = generator.map(torch.from_numpy(np.random.default_rng(9).normal(size=(30, 5))).float())
    crops, start = generator.render(generator.styles(w)), torch.zeros_like(w)
    found = encoder.encode(crops, start)
    assert (found - w).square().mean() < 0.5 * (start - w).square().mean()
    measured = encoder.about.measured
    assert measured["latents"] < 0.7 * measured["latents_before"]
    assert measured["loss"] < training.log[0].validation_loss
    write_own_encoder(tmp_path / "e.safetensors", encoder)
    again = read_own_encoder(tmp_path / "e.safetensors", generator)
    assert same(again, encoder) and again.about == encoder.about
    assert again.about.samples is None


def test_record_tells_what_it_learned_from(trainer, samples, generator, encoder):
    record = trainer(identity=ClipIdentity(encoder)).record
    assert record.generator == generator.identity and record.samples == samples.sha256
    assert record.settings["identity_network"]["name"] == encoder.identity.name
    assert record.settings["lpips_network"] is None and record.settings["steps"] == 6
    assert trainer(samples=None).record.samples is None


def test_loss_is_the_weighted_sum_of_its_logged_parts(trainer, encoder):
    chosen = replace(QUICK, pixels=3.0, identity=0.5)
    training = trainer(chosen, identity=ClipIdentity(encoder))
    training.begin()
    while not training.finished:
        training.advance()
    for row in training.log[1:]:
        assert row.loss == pytest.approx(
            row.latents + 3 * row.pixels + 0.5 * row.identity, rel=1e-5
        )
        assert row.lpips == 0 < row.identity
    assert [row.step for row in training.log if row.validated] == [0, 3, 6]


def test_parts_are_the_share_of_variance_and_the_difference_of_pixels(trainer, samples, generator):
    training = trainer()
    training.begin()
    held_out, row = training.held_out, training.log[0]
    w = samples.w.astype(np.float32)
    missed = np.square(held_out.start.numpy() - w[-HELD_OUT:]).mean() / w.std(0).mean() ** 2
    assert row.validation_latents == pytest.approx(missed, rel=1e-4)
    drawn = generator.render(generator.styles(held_out.start[:, None].repeat(1, 2, 1)))
    true = generator.render(generator.styles(torch.from_numpy(w[-HELD_OUT:, None]).repeat(1, 2, 1)))
    apart = (drawn - true.clamp(-1, 1)).abs().mean() / 2
    assert row.validation_pixels == pytest.approx(float(apart), rel=1e-4)


def test_without_losses_of_images_none_is_drawn_for_them(trainer, generator):
    counts = []
    for pixels in (0.0, 1.0):
        training = trainer(replace(QUICK, pixels=pixels))
        training.begin()
        before = generator.images_rendered
        training.advance()
        first = generator.images_rendered - before
        training.advance()
        counts.append((first, generator.images_rendered - before - first))
        assert training.log[-1].latents > 0
    # 8 images of a batch: as they are, at the start, after the first pass where it is the second's
    # turn, and after the pass whose turn it is.
    assert counts == [(2 * 8, 3 * 8), (3 * 8, 4 * 8)]


def test_images_that_are_kept_are_drawn_once(trainer, generator):
    training = trainer(replace(QUICK, images=20, passes=1, pixels=0.0, validate_every=6))
    training.begin()
    training.advance()
    before = generator.images_rendered
    for _ in range(4):
        training.advance()
    assert generator.images_rendered == before
    seen = torch.cat([training._images.batch(0, step, 8).w for step in range(40)])
    assert len(seen.unique(dim=0)) == 20
    with pytest.raises(OptionError, match="images 0: must lie between 1 and 100000"):
        replace(QUICK, images=0)


def test_pictures_without_latents_are_learned_by_their_pixels(trainer, generator):
    chosen = replace(QUICK, steps=2, validate_every=2)
    training = trainer(chosen, pictures=pictures_of(generator))
    batch = training._images.batch(0, 0, 8)
    assert batch.w.isnan().all(1).tolist() == [False] * 4 + [True] * 4
    assert len(training.held_out) == 2 * HELD_OUT
    training.begin()
    training.advance()
    gradients = [p.grad for p in training._network.parameters()]
    assert all(bool(x.isfinite().all()) for x in gradients)
    assert math.isfinite(training.log[-1].latents)
    assert training.record.settings["pictures"] == pictures_of(generator).sha256()
    for wrong in ((torch.zeros(9, 8, 8, 3), 9), (torch.zeros(40, 8, 8, 3, dtype=torch.uint8), 4)):
        with pytest.raises(OptionError, match="pictures: "):
            Pictures(wrong[0], torch.zeros(wrong[1], 5), torch.zeros(wrong[1], 5))


def test_half_of_the_held_out_images_are_spoilt_and_never_learned_from(trainer):
    training = trainer()
    held_out = training.held_out
    changed = (held_out.seen != held_out.images).flatten(1).any(1)
    assert not changed[1::2].any() and changed[::2].float().mean() > 0.5
    drawn = torch.cat([training._images.batch(0, step, 8).w for step in range(6)])
    together = torch.cat([held_out.w, drawn])
    assert len(together.unique(dim=0)) == len(together)


def test_training_that_learns_nothing_is_an_error_and_leaves_no_state(trainer, place):
    training = trainer(replace(QUICK, learning_rate=1.0))
    where = place()
    with pytest.raises(OptionError, match="no validation was better than where images begin"):
        train(training, where)
    assert not where.path.exists() and where.log_path.exists()


def test_half_precision_cannot_be_trained(trainer, generator):
    generator.precision = "float16"
    with pytest.raises(OptionError, match="precision float16: its gradients vanish"):
        trainer()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "steps 0: must lie between 1 and 100000"),
        ("batch", 5000, "batch 5000: must lie between 1 and 1024"),
        ("passes", 21, "passes 21: must lie between 1 and 20"),
        ("pixels", -1.0, "pixels -1: must lie between 0 and 1000"),
        ("lpips", math.nan, "lpips nan: must lie between 0 and 1000"),
        ("learning_rate", 2.0, "learning rate 2: must lie above 0 and up to 1"),
        ("seed", -1, "seed -1: must lie between 0"),
        ("patience", 0, "patience 0: must lie between 1"),
    ],
)
def test_settings_out_of_range_are_refused(field, value, message):
    with pytest.raises(OptionError, match=message):
        EncoderSettings(**{field: value})


# What is kept


def test_interrupted_training_resumes_to_the_same_bits(trainer, place):
    whole = train(trainer(SHORT, samples=None), place())
    place().remove()
    for step in (7, 40, 61):
        where = place()
        with pytest.raises(KeyboardInterrupt):
            train(trainer(SHORT, samples=None), where, stop_at(step))
        assert where.kept == step
    told: list[str] = []
    where = place()
    resumed = train(trainer(SHORT, samples=None), where, tell=told.append)
    assert told == ["resuming: 61 of 80 steps are done"] and same(resumed, whole)
    with where.log_path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(i) for i in range(81)]
    assert [row["validation_latents"] != "" for row in rows] == [i % 40 == 0 for i in range(81)]


def test_state_of_another_training_is_refused_naming_the_difference(
    trainer, place, make_generator, samples, generator
):
    with pytest.raises(KeyboardInterrupt):
        train(trainer(), place(), stop_at(2))
    others = {
        r"settings.pixels is 4.0 there and 1.0 here": trainer(replace(QUICK, pixels=1.0)),
        r'samples is "[0-9a-f]+" there and null here': trainer(samples=None),
        r"settings.pictures is null there": trainer(pictures=pictures_of(generator)),
        r'generator is "countable 0" \(.*\) there and "countable 1"': EncoderTrainer(
            make_generator(1), samples, QUICK
        ),
    }
    for message, other in others.items():
        with pytest.raises(ResumeError, match=f"is of another training: {message}"):
            train(other, place())


def test_damaged_state_is_refused_with_the_mend(trainer, place):
    where = place()
    with pytest.raises(KeyboardInterrupt):
        train(trainer(), where, stop_at(2))
    content = bytearray(where.path.read_bytes())
    content[-40] ^= 1
    where.path.write_bytes(content)
    with pytest.raises(ResumeError, match=r"cannot be resumed \(.*\); delete it to start afresh"):
        train(trainer(), place())


# What is told


def test_progress_text_and_sheet_show_what_came_of_it(trainer, place):
    told = []
    training = trainer(SHORT, samples=None)
    encoder = train(training, place(), lambda t: told.append(training_progress(t)))
    assert [x.record["step"] for x in told if x.record] == [40, 80]
    assert told[-1].done == told[-1].total == 80
    record = training_record(encoder, "e.csv")
    assert record["start"] == "mean" and record["passes"] == 2 and record["side"] == 8
    text = training_text("e.safetensors", "avatars", record)
    assert "inverts crops of countable 0 from the mean, in 2 passes" in text
    assert f"{100 * record['measured']['latents']:.1f} % after" in text
    width, height = reconstructions(training, encoder).size
    assert width > 5 * 8 and height > 12 * 8


def test_log_has_a_column_a_figure():
    assert Row(0)._fields[:3] == ("step", "loss", "latents") and not Row(0).validated
