"""Training of mappers: what is learned, what is logged, and what an interruption leaves."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialised

from styleatlas.engine.fallbacks.mapper import read_mapper, write_mapper
from styleatlas.engine.models.identity import ClipIdentity
from styleatlas.engine.models.load import load_encoder, load_generator
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.steering import texts
from styleatlas.precompute.mapper_reports import training_progress, training_record, training_text
from styleatlas.precompute.mapper_settings import TrainSettings
from styleatlas.precompute.mapper_state import METADATA_KEY, Row, TrainingFile
from styleatlas.precompute.mappers import Trainer
from styleatlas.precompute.training import rate, train
from styleatlas.prompts.sets import PromptSet
from styleatlas.store import work
from styleatlas.store.errors import OptionError, OutputError, PromptError, ResumeError
from styleatlas.store.registry import EMBEDDED
from styleatlas.store.version import LIBRARY

NEUTRAL, TARGET = "a picture", "a picture channel3"
SETTINGS = TrainSettings(steps=30, batch=4, validate_every=10, l2=0.01)


@pytest.fixture(autouse=True)
def _short_templates(monkeypatch) -> None:
    """The countable CLIP reads ten words."""
    monkeypatch.setattr(texts, "prompt_set", lambda name: PromptSet((), ("{}",)))


@pytest.fixture
def trainer(generator, encoder):
    """Makes trainers on the countable pair."""

    def make(settings: TrainSettings = SETTINGS, **arguments) -> Trainer:
        named = {"neutral": NEUTRAL, "target": TARGET, **arguments}
        return Trainer(generator, encoder, settings=settings, **named)

    return make


@pytest.fixture
def place(tmp_path):
    """Where a trainer's state and log are."""
    made: list[TrainingFile] = []

    def make() -> TrainingFile:
        if made:
            made[-1].__exit__()
        made.append(TrainingFile(tmp_path / "a.safetensors"))
        return made[-1]

    return make


def weights(mapper) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in mapper.network.state_dict().items()}


def same(one, other) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(
        np.array_equal(ours[name], theirs[name]) for name in ours
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def stop_at(step: int):
    """A report that interrupts after so many steps."""

    def report(trainer: Trainer) -> None:
        if trainer.log[-1].step == step:
            raise KeyboardInterrupt

    return report


# What is learned


def test_trained_mapper_moves_images_to_the_target(trainer, place, generator, encoder, tmp_path):
    training = trainer()
    mapper = train(training, place())
    w = generator.map(torch.from_numpy(np.random.default_rng(9).normal(size=(20, 5))).float())
    before = generator.styles(w)
    after = mapper.edited(generator, before, w)
    target = torch.from_numpy(encoder.effect(3)).float()
    closer = (
        encoder.images(generator.render(after)) - encoder.images(generator.render(before))
    ) @ target
    assert float(closer.min()) > 0
    measured = mapper.about.measured
    assert measured["probability"] > measured["probability_before"]
    assert mapper.about.settings["steps"] == 30 and mapper.about.clip == encoder.identity
    write_mapper(tmp_path / "a.safetensors", mapper)
    assert same(read_mapper(tmp_path / "a.safetensors", generator), mapper)


def test_loss_is_the_weighted_sum_of_its_logged_parts(trainer, encoder):
    settings = replace(SETTINGS, directional=0.3, l2=0.2, identity=0.7)
    training = trainer(settings, identity=ClipIdentity(encoder))
    training.begin()
    while not training.finished:
        training.advance()
    for row in training.log[1:]:
        parts = [row.clip, 0.3 * row.directional, 0.2 * row.l2, 0.7 * row.identity]
        assert row.loss == pytest.approx(sum(parts), rel=1e-5)
    validated = [row for row in training.log if row.validated]
    assert [row.step for row in validated] == [0, 10, 20, 30]
    assert validated[0].validation_l2 == 0 and validated[0].validation_directional == 1
    assert validated[-1].validation_identity > 0


def test_best_validation_is_what_is_kept_and_the_rest_is_not_waited_for(trainer, monkeypatch):
    losses = iter([1.0, 0.5, 0.8, 0.7, 0.6])

    def validated(self: Trainer, row: Row) -> Row:
        parts = dict.fromkeys(("clip", "directional", "l2", "identity"), 0.0)
        named = {f"validation_{name}": value for name, value in parts.items()}
        return row._replace(**{**named, "validation_loss": next(losses), "probability": 0.5})

    monkeypatch.setattr(Trainer, "_validated", validated)
    training = trainer(replace(SETTINGS, steps=100, validate_every=2, patience=3))
    training.begin()
    best = None
    while not training.finished:
        training.advance()
        if training.log[-1].step == 2:
            state = training.state.network
            best = {name: tensor.clone() for name, tensor in state.items()}
    assert training.log[-1].step == 8, "three validations after the best"
    kept = training.made.network.state_dict()
    assert all(torch.equal(kept[name], best[name]) for name in best)
    assert training.made.about.measured["step"] == 2


def test_training_that_learns_nothing_is_an_error_and_leaves_no_state(trainer, place):
    training = trainer(replace(SETTINGS, l2=1000.0, learning_rate=1000.0))
    where = place()
    with pytest.raises(OptionError, match="no validation was better than before the first"):
        train(training, where)
    assert not where.path.exists() and len(rows_of(where.log_path)) == 31


def test_loss_that_is_not_finite_names_the_step_and_the_mend(trainer, place, encoder):
    training = trainer(replace(SETTINGS, learning_rate=500.0))
    where = place()
    images = encoder.images

    def failing(pictures):
        seen = images(pictures)
        return seen * math.nan if len(training.log) == 4 and seen.requires_grad else seen

    encoder.images = failing
    with pytest.raises(OptionError, match=r"loss of step 4 is not finite; lower --learning-r"):
        train(training, where)
    assert not where.path.exists() and len(rows_of(where.log_path)) == 4


def test_only_chosen_groups_move(stylegan2, make_encoder):
    chosen = replace(SETTINGS, steps=2, validate_every=2, groups=("coarse",))
    training = Trainer(stylegan2, make_encoder(23), NEUTRAL, TARGET, chosen)
    assert [group.name for group in training.config.groups] == ["coarse"]
    with pytest.raises(OptionError, match="groups fine: this generator has coarse"):
        Trainer(stylegan2, make_encoder(23), NEUTRAL, TARGET, replace(chosen, groups=("fine",)))


def test_steps_draw_other_latents_and_validation_draws_none_of_them(trainer):
    training = trainer()
    drawn = [training._latents(step) for step in range(3)]
    held_out = torch.cat([seen.w for seen in training._held_out])
    every = torch.cat([*drawn, held_out])[:, 0]
    assert len(held_out) == 32 and len({tuple(row.tolist()) for row in every}) == 3 * 4 + 32
    assert torch.equal(drawn[1], trainer()._latents(1))
    assert not torch.equal(drawn[1], trainer(replace(SETTINGS, seed=1))._latents(1))


def test_given_latents_are_split_and_used(trainer, generator):
    with torch.inference_mode():  # as what reads them works
        w = generator.map(torch.arange(100.0).reshape(20, 5) / 100)
    training = trainer(latents=w)
    held_out = torch.cat([seen.w for seen in training._held_out])
    assert torch.equal(held_out, w[-2:])
    used = {tuple(row.tolist()) for step in range(30) for row in training._latents(step)[:, 0]}
    assert used == {tuple(row.tolist()) for row in w[:-2, 0]}
    training.begin()
    training.advance()
    assert training.record.settings["latents"] != trainer(latents=w[1:]).record.settings["latents"]
    for wrong in (w[:1], w[:, 0]):
        with pytest.raises(OptionError, match="training takes w"):
            trainer(latents=wrong)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "steps 0: must lie between 1 and 100000"),
        ("batch", 5000, "batch 5000: must lie between 1 and 1024"),
        ("learning_rate", 0.0, "learning rate 0: must lie above 0"),
        ("learning_rate", math.nan, "learning rate nan: must lie above 0"),
        ("groups", (), "groups '': must be some of coarse, medium, fine"),
        ("groups", ("coarse", "broad"), "groups 'coarse,broad': must be some of"),
        ("l2", -1.0, "l2 -1: must lie between 0 and 1000"),
        ("identity", math.inf, "identity inf: must lie between 0 and 1000"),
        ("truncation", 3.0, "truncation 3: must lie between -2 and 2"),
        ("seed", -1, "seed -1: must lie between 0"),
        ("patience", 0, "patience 0: must lie between 1"),
    ],
)
def test_settings_out_of_range_are_refused(field, value, message):
    with pytest.raises(OptionError, match=message):
        TrainSettings(**{field: value})


def test_what_cannot_be_trained_is_refused(trainer, generator):
    with pytest.raises(PromptError, match="mean the same"):
        trainer(target=NEUTRAL)
    with pytest.raises(OptionError, match="class 3: this generator is not conditional"):
        trainer(replace(SETTINGS, label=3))
    generator.precision = "float16"
    with pytest.raises(OptionError, match="precision float16: its gradients vanish"):
        trainer()


def test_learning_rate_warms_up_and_ends_at_nothing():
    settings = TrainSettings(steps=100, learning_rate=3.0)
    rates = [rate(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.3) and max(rates) == rates[9]
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 0.01
    assert rate(TrainSettings(steps=1), 0) == 2.0


# What is kept


def test_interrupted_training_resumes_to_the_same_bits(trainer, place, tmp_path):
    whole = train(trainer(), place())
    place().remove()
    for step in (7, 10, 23):
        training = trainer()
        where = place()
        with pytest.raises(KeyboardInterrupt):
            train(training, where, stop_at(step))
        assert where.kept == step
        assert [row["step"] for row in rows_of(where.log_path)] == [str(i) for i in range(step + 1)]
    last = trainer()
    resumed = train(last, place())
    assert same(resumed, whole)
    rows = rows_of(place().log_path)
    assert [row["step"] for row in rows] == [str(i) for i in range(31)]
    assert [row["probability"] != "" for row in rows] == [i % 10 == 0 for i in range(31)]
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)


def test_interruption_within_a_step_keeps_what_was_kept_before(trainer, place, monkeypatch):
    monkeypatch.setattr(work, "SAVE_SECONDS", 0.0)
    training = trainer()
    where = place()
    note = Trainer._note

    def interrupted(self: Trainer, row: Row) -> None:
        if row.step == 5:  # the weights are those of step 5, the log still that of step 4
            raise KeyboardInterrupt
        note(self, row)

    monkeypatch.setattr(Trainer, "_note", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(training, where)
    assert where.kept == 4
    monkeypatch.setattr(Trainer, "_note", note)
    resumed = train(trainer(), place())
    where.remove()
    assert same(resumed, train(trainer(), place()))


def test_state_of_another_training_is_refused_naming_the_difference(
    trainer, place, make_generator, make_encoder, generator, encoder
):
    first = trainer()
    with pytest.raises(KeyboardInterrupt):
        train(first, place(), stop_at(3))
    kept = place().path.read_bytes()
    w = generator.map(torch.ones(20, 5))
    others = {
        r"settings.l2 is 0.01 there and 0.5 here": trainer(replace(SETTINGS, l2=0.5)),
        r'target is "a picture channel3" there and "a picture x" here': trainer(
            target="a picture x"
        ),
        r"settings.latents is null there": trainer(latents=w),
        r"settings.identity_network is null there": trainer(identity=ClipIdentity(encoder)),
        r'generator is "countable 0" \(.*\) there and "countable 1"': Trainer(
            make_generator(1), encoder, NEUTRAL, TARGET, SETTINGS
        ),
        r'CLIP is "countable clip 0" \(.*\).* there': Trainer(
            generator, make_encoder(seed=1), NEUTRAL, TARGET, SETTINGS
        ),
    }
    for message, other in others.items():
        with pytest.raises(ResumeError, match=f"is of another training: {message}.*delete"):
            train(other, place())
    assert place().path.read_bytes() == kept


def test_training_of_an_earlier_library_goes_on(trainer, place):
    first = trainer()
    first.record = replace(first.record, library="styleatlas 0.0.1")
    with pytest.raises(KeyboardInterrupt):
        train(first, place(), stop_at(3))
    told: list[str] = []
    mapper = train(trainer(), place(), tell=told.append)
    assert told == ["resuming: 3 of 30 steps are done"]
    assert mapper.about.library == LIBRARY


def test_state_as_0_1_0_wrote_it_is_taken_up(trainer, place):
    """With a digest of the header and of the whole content."""
    first, where = trainer(), place()
    with pytest.raises(KeyboardInterrupt):
        train(first, where, stop_at(3))
    with safe_open(where.path, "pt") as file:
        header = file.metadata()[METADATA_KEY]
    tensors = load_file(where.path)
    digest = hashlib.sha256(header.encode() + serialised(tensors)).hexdigest()
    where.path.write_bytes(serialised(tensors, {METADATA_KEY: header, "sha256": digest}))
    told: list[str] = []
    train(trainer(), place(), tell=told.append)
    assert told == ["resuming: 3 of 30 steps are done"]


# One that is at work, in a process of its own, until its input ends.
AT_WORK = """
import sys
from pathlib import Path
from styleatlas.precompute.mapper_state import TrainingFile
with TrainingFile(Path(sys.argv[1])):
    print("at work", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["finished", "killed"])
def test_second_training_to_one_output_is_refused_until_the_first_is_gone(tmp_path, end):
    output = tmp_path / "a.safetensors"
    command = [sys.executable, "-c", AT_WORK, str(output)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as first:
        assert first.stdout.readline() == "at work\n"
        with pytest.raises(ResumeError) as caught:
            TrainingFile(output)
        assert str(caught.value) == (
            f"{output}.work: another run is at work here; wait for it or end it, "
            "or choose another -o"
        )
        if end == "killed":
            first.kill()
    assert (tmp_path / "a.safetensors.work.lock").exists() == (end == "killed")
    with TrainingFile(output):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "bit", "other", "empty", "pickle"])
def test_damaged_state_is_refused_with_the_mend(trainer, place, damage):
    training = trainer()
    where = place()
    with pytest.raises(KeyboardInterrupt):
        train(training, where, stop_at(3))
    content = bytearray(where.path.read_bytes())
    if damage == "bit":
        content[-40] ^= 1
    spoilt = {
        "cut": bytes(content[:-100]),
        "bit": bytes(content),
        "other": EMBEDDED.generator.read_bytes(),
        "empty": b"",
        "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    }
    where.path.write_bytes(spoilt[damage])
    with pytest.raises(ResumeError, match=r"cannot be resumed \(.*\); delete it to start afresh"):
        train(trainer(), place())
    assert where.path.read_bytes() == spoilt[damage]


def test_what_killed_processes_left_half_written_is_removed(trainer, place, tmp_path):
    left = tmp_path / ".a.safetensors.work.0123abcd.tmp"
    other = tmp_path / ".b.safetensors.work.0123abcd.tmp"
    for path in (left, other):
        path.write_bytes(b"half")
    training = trainer()
    train(training, place())
    assert not left.exists() and other.exists()


def test_place_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    with pytest.raises(OutputError, match="does not exist; create it first"):
        TrainingFile(tmp_path / "no" / "a.safetensors")


# A child tells of every step, and is killed at one that was chosen beforehand, so that no kill
# depends on how fast the machine is; it saves more often than a training that takes its time.
KILLER = """
import importlib.util, json, os, random, signal, sys, time
from pathlib import Path
import torch
import torch.fx.experimental.symbolic_shapes  # imports that the first gradient and step take
torch.set_num_threads(1)
still = torch.zeros(1, requires_grad=True)
still.grad = torch.zeros(1)
torch.optim.Adam([still]).step()
spec = importlib.util.spec_from_file_location("countable", sys.argv[1])
countable = importlib.util.module_from_spec(spec)
spec.loader.exec_module(countable)
from styleatlas.engine.steering import texts
from styleatlas.engine.fallbacks.mapper import write_mapper
from styleatlas.precompute import mappers, training
from styleatlas.precompute.mapper_state import TrainingFile
from styleatlas.prompts.sets import PromptSet
from styleatlas.store import work

texts.prompt_set = lambda name: PromptSet((), ("{}",))
work.SAVE_SECONDS = 0.0
folder, kills = Path(sys.argv[2]), int(sys.argv[3])
output, STEPS = folder / "a.safetensors", 60

def run(pipe):
    settings = mappers.TrainSettings(steps=STEPS, batch=4, validate_every=10, l2=0.01)
    pair = countable.CountableGenerator(), countable.CountableEncoder()
    trainer = mappers.Trainer(*pair, "a picture", "a picture channel3", settings)

    def told(trainer):
        os.write(pipe, b".")
        time.sleep(0.002)

    with TrainingFile(output) as place:
        mapper = training.train(trainer, place, told)
        write_mapper(output, mapper)
        place.remove()

def start():
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            run(writes)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    os.close(writes)
    return child, os.fdopen(reads, "rb", 0)

def finish():
    child, pipe = start()
    with pipe:
        steps = len(pipe.readall())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return steps

def content():
    from safetensors.numpy import load_file
    return b"".join(array.tobytes() for _, array in sorted(load_file(output).items()))

finish()
whole = content()
moments, report = random.Random(4), []
while len(report) < kills:
    output.unlink()
    for _ in range(5):
        child, pipe = start()
        with pipe:
            for _ in range(moments.randrange(1, 15)):
                pipe.read(1)
            time.sleep(moments.uniform(0, 0.004))
            os.kill(child, signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break  # it was faster than the signal
        report.append((folder / "a.safetensors.work").exists())
    finish()
    assert content() == whole
    steps = [line.split(",")[0] for line in (folder / "a.csv").read_text().splitlines()]
    assert steps == ["step", *map(str, range(STEPS + 1))], steps
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["a.csv", "a.safetensors"], left
print(json.dumps(report))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.long)])
def test_training_killed_at_any_moment_ends_in_the_same_weights(tmp_path, kills):
    conftest = Path(__file__).parents[1] / "conftest.py"
    command = [sys.executable, "-c", KILLER, str(conftest), str(tmp_path), str(kills)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    print("killed with a state beside it:", report)
    assert len(report) >= kills and any(report)


# What is told


def test_machines_are_told_of_every_validation(trainer, place):
    told = []
    train(trainer(), place(), lambda trainer: told.append(training_progress(trainer)))
    assert [progress.done for progress in told] == list(range(31))
    assert {progress.total for progress in told} == {30}
    records = [progress.record for progress in told if progress.record]
    assert [record["step"] for record in records] == [10, 20, 30]
    keys = ["step", "of_steps", "loss", "validation_loss", "probability"]
    assert list(records[0]) == keys and records[0]["of_steps"] == 30
    assert told[4].figures[0] == "step 4/30" and told[4].figures[1].startswith("loss ")


def test_summary_tells_the_prompts_the_figures_and_what_to_try(trainer, place):
    training = trainer()
    mapper = train(training, place())
    record = training_record(mapper, "a.csv")
    assert json.loads(json.dumps(record))["measured"]["of_steps"] == 30
    text = training_text("a.safetensors", "g.pkl", record)
    assert '"a picture" -> "a picture channel3"' in text and "identity loss: off" in text
    assert "next: styleatlas mapper apply a.safetensors --generator g.pkl --seed 1-8" in text


# The embedded pair


def test_embedded_pair_learns_a_smile_in_a_few_steps(monkeypatch, tmp_path):
    from styleatlas.prompts.sets import prompt_set

    monkeypatch.setattr(texts, "prompt_set", prompt_set)
    generator, encoder = load_generator(EMBEDDED.name, "cpu"), load_encoder(EMBEDDED.name, "cpu")
    settings = TrainSettings(steps=25, batch=4)
    training = Trainer(generator, encoder, "a face", "a smiling face", settings)
    with TrainingFile(tmp_path / "a.safetensors") as where:
        mapper = train(training, where)
    measured = mapper.about.measured
    assert measured["probability"] > 0.6 > measured["probability_before"] + 0.1
    assert [group.name for group in mapper.network.config.groups] == ["coarse", "medium", "fine"]
    assert styles_from_seeds(generator, [1], 0.7).shape == (1, generator.layout.size)
