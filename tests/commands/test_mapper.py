"""mapper train, apply and list, with a tiny StyleGAN2 and a tiny CLIP, both of random weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleatlas.commands.mapper import mapper_train
from styleatlas.engine.fallbacks.mapper import find_mapper, read_mapper
from styleatlas.engine.models.load import load_generator
from styleatlas.engine.models.sampling import w_from_seeds
from styleatlas.engine.steering import texts
from styleatlas.precompute.mapper_settings import TrainSettings
from styleatlas.precompute.mapper_state import TrainingFile
from styleatlas.precompute.mappers import Trainer
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.library import MAPPERS_VARIABLE, library_folder
from styleatlas.store.registry import EMBEDDED

PAIR = ("--neutral", "face", "--target", "a cafe")
QUICK = ("--steps", 4, "--batch", 2, "--l2", 0)


@pytest.fixture(autouse=True)
def library(monkeypatch, tmp_path) -> Path:
    """No test sees or leaves anything in the user's own library."""
    folder = tmp_path / "library"
    monkeypatch.setenv(MAPPERS_VARIABLE, str(folder))
    short = PromptSet(("a", "face"), ("{}", "a {}"))
    monkeypatch.setattr(texts, "prompt_set", lambda name: short)
    return folder


@pytest.fixture
def train(run, checkpoint, clip_folder):
    """Train a mapper; a later option replaces an earlier one."""

    def train(*options: object):
        return run("mapper", "train", checkpoint, "--clip", clip_folder, *PAIR, *QUICK, *options)

    return train


@pytest.fixture
def trained(train, tmp_path) -> Path:
    path = tmp_path / "cafe.safetensors"
    assert train("-o", path).exit_code == 0
    return path


def test_train_writes_a_mapper_and_a_log(train, checkpoint, tmp_path):
    path = tmp_path / "m.safetensors"
    result = train("-o", path, "--seed", 5, "--groups", "coarse,fine", "--truncation", 0.6)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f'{path}: "face" -> "a cafe"\n')
    assert [json.loads(line)["step"] for line in result.stderr.splitlines()] == [4]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "m.csv", path]
    with (tmp_path / "m.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["0", "1", "2", "3", "4"]
    about = read_mapper(path, load_generator(checkpoint, "cpu")).about
    wanted = {"seed": 5, "groups": ["coarse", "fine"], "truncation": 0.6, "identity_network": None}
    assert {name: about.settings[name] for name in wanted} == wanted
    assert (about.neutral, about.target) == ("face", "a cafe")


def test_train_as_json_tells_output_settings_and_figures(train, tmp_path):
    path = tmp_path / "m.safetensors"
    record = json.loads(train("-o", path, "--identity", "clip", "--json").stdout)
    assert record["output"] == str(path) and record["log"] == str(tmp_path / "m.csv")
    assert record["settings"]["identity_network"]["name"] == "clip"
    assert record["measured"]["of_steps"] == 4 and record["groups"] == ["coarse"]


def test_mapper_without_a_name_goes_where_its_prompts_find_it(
    train, run, checkpoint, library, tmp_path
):
    record = json.loads(train("--json").stdout)
    path = Path(record["output"])
    assert path.parent == library == library_folder() and path.name.startswith("a-cafe-tiny-")
    generator = load_generator(checkpoint, "cpu")
    about = read_mapper(path, generator).about
    assert find_mapper(library, generator.identity, about.clip, "face", "a cafe") == path
    for name in (path.name, path.stem):
        out = tmp_path / "x.png"
        result = run("mapper", "apply", name, "--generator", checkpoint, "-o", out)
        assert result.exit_code == 0, result.output


def test_second_training_to_one_output_is_refused_at_once(train, tmp_path):
    path = tmp_path / "m.safetensors"
    with TrainingFile(path):
        result = train("-o", path)
    assert result.exit_code == 1 and result.stderr == (
        f"styleatlas mapper train: {path}.work: another run is at work here; wait for it or end "
        "it, or choose another -o\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_interrupted_training_goes_on_with_the_same_command(train, trained, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    advance = Trainer.advance

    def interrupted(self: Trainer) -> None:
        if self.log[-1].step == 2:
            raise KeyboardInterrupt
        advance(self)

    monkeypatch.setattr(Trainer, "advance", interrupted)
    result = train("-o", path)
    assert result.exit_code == 130 and result.stdout == ""
    work = tmp_path / "m.safetensors.work"
    kept = f"interrupted: 2 of 4 steps are kept in {work}: the same command resumes"
    assert kept in result.stderr and not path.exists()
    monkeypatch.setattr(Trainer, "advance", advance)
    other = train("-o", path, "--l2", 3)
    assert other.exit_code == 1
    assert "settings.l2 is 0.0 there and 3.0 here" in other.stderr
    result = train("-o", path)
    assert result.exit_code == 0 and "resuming: 2 of 4 steps are done" in result.stderr
    assert not work.exists()
    from safetensors.numpy import load_file

    one, other = load_file(path), load_file(trained)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_train_takes_given_latents(train, checkpoint, tmp_path):
    generator = load_generator(checkpoint, "cpu")
    np.savez(tmp_path / "w.npz", w=w_from_seeds(generator, range(12), 1.0).numpy())
    result = train("--latents", tmp_path / "w.npz", "-o", tmp_path / "m.safetensors", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert len(record["settings"]["latents"]) == 64 and record["measured"]["images"] == 1


def test_train_refuses_what_it_cannot_do(refused, checkpoint, clip_folder, tmp_path):
    generator = load_generator(checkpoint, "cpu")
    styles = np.zeros((3, generator.layout.size), np.float32)
    np.savez(tmp_path / "s.npz", styles=styles)
    for options, message in {
        ("-o", tmp_path / "m.pt"): "must end in .safetensors",
        ("-o", tmp_path / "no" / "m.safetensors"): "does not exist; create it first",
        ("--steps", 0): "steps 0: must lie between",
        ("--groups", "broad"): "must be some of coarse, medium, fine",
        ("--latents", tmp_path / "s.npz"): "holds styles alone",
        ("--identity", tmp_path / "no.pth"): "no such file",
        ("--target", "face"): "is the neutral prompt itself",
    }.items():
        arguments = ("--clip", clip_folder, *PAIR, *QUICK, *options)
        assert message in refused("mapper train", checkpoint, *arguments)


def test_train_states_the_defaults_that_hold():
    known = vars(TrainSettings())
    given = {param.name: param for param in mapper_train.params}
    names = ("steps", "batch", "learning_rate", "l2", "directional", "truncation", "seed")
    assert {name: given[name].default for name in names} == {name: known[name] for name in names}
    assert given["groups"].default == ",".join(known["groups"])


def test_apply_shows_a_row_an_image_and_a_column_a_strength(run, trained, checkpoint, tmp_path):
    out, kept = tmp_path / "x.png", tmp_path / "x.npz"
    arguments = ("mapper", "apply", trained, "--generator", checkpoint, "--seed", "1-3")
    options = ("--strength", "0,1", "--before", "--styles", kept, "-o", out)
    result = run(*arguments, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout == f'{out}: 3 x 2 images, "face" -> "a cafe"\n' and result.stderr == ""
    with Image.open(out) as picture:
        assert picture.width > 3 * 96 and picture.height > 3 * 96
    styles = np.load(kept)["styles"]
    generator = load_generator(checkpoint, "cpu")
    w = w_from_seeds(generator, [1, 2, 3], 0.7)
    before = generator.styles(w)
    mapper = read_mapper(trained, generator)
    np.testing.assert_allclose(styles[:3], before.numpy(), atol=1e-6)
    np.testing.assert_allclose(
        styles[3:], mapper.edited(generator, before, w).numpy(), rtol=1e-5, atol=1e-6
    )
    assert not np.allclose(styles[3:], styles[:3])


def test_apply_takes_a_tuned_generator_only_when_told(
    run, refused, trained, make_network, write_checkpoint, tmp_path
):
    tuned = write_checkpoint(tmp_path / "tuned.safetensors", make_network(1))
    fixed = (trained, "--generator", tuned, "-o", tmp_path / "x.png")
    assert "if this one was tuned from it, take it by --tuned" in refused("mapper apply", *fixed)
    told = run("mapper", "apply", *fixed, "--tuned")
    assert told.exit_code == 0, told.output


def test_apply_as_json_tells_the_mapper_and_every_image(run, trained, checkpoint, tmp_path):
    generator = load_generator(checkpoint, "cpu")
    np.savez(tmp_path / "w.npz", w=w_from_seeds(generator, [4, 5], 0.7).numpy())
    options = ("--latent", tmp_path / "w.npz", "--strength", "0,2", "-o", tmp_path / "x.png")
    arguments = ("mapper", "apply", trained, "--generator", checkpoint, *options, "--json")
    record = json.loads(run(*arguments).stdout)
    assert record["mapper"]["file"] == str(trained) and record["mapper"]["target"] == "a cafe"
    images = [(image["image"], image["strength"]) for image in record["images"]]
    assert images == [("w 1", 0), ("w 2", 0), ("w 1", 2), ("w 2", 2)]
    moved = [image["moved"] for image in record["images"]]
    assert moved[:2] == [0, 0] and min(moved[2:]) > 0


def test_apply_refuses_what_it_cannot_do(refused, run, trained, checkpoint, tmp_path):
    generator = load_generator(checkpoint, "cpu")
    np.savez(tmp_path / "s.npz", styles=np.zeros((3, generator.layout.size), np.float32))
    known = ("--generator", checkpoint)
    out = ("-o", tmp_path / "x.png")
    assert "name its file by --generator" in refused("mapper apply", trained, *out)
    other = refused("mapper apply", trained, "--generator", EMBEDDED.name, *out)
    assert "mapper and generator do not belong together" in other
    for options, message in {
        ("--latent", tmp_path / "s.npz"): "a mapper in w+ needs w",
        ("--strength", "nan"): "strength nan: must be a finite number",
        ("-o", tmp_path / "x.gif"): "end the name in .png",
        ("--styles", tmp_path / "x.npy"): "end the name in .npz",
    }.items():
        assert message in refused("mapper apply", trained, *known, *out, *options)
    assert "no mapper of that name in" in refused("mapper apply", "none", *known, *out)
    latent = ("--latent", tmp_path / "s.npz", "--seed", 1)
    assert run("mapper", "apply", trained, *known, *out, *latent).exit_code == 2


def test_list_tells_what_mappers_say_of_themselves(run, trained, library, tmp_path):
    (tmp_path / "broken.pt").write_bytes(b"no mapper")
    result = run("mapper", "list", tmp_path)
    assert result.exit_code == 0
    header, row, problem = result.stdout.splitlines()
    assert header.split()[:4] == ["name", "target", "neutral", "generator"]
    assert row.startswith("cafe.safetensors  a cafe  face") and "coarse" in row
    assert problem.startswith(f"{tmp_path / 'broken.pt'}: ")
    listed = json.loads(run("mapper", "list", tmp_path, "--json").stdout)
    assert [entry["name"] for entry in listed] == ["broken.pt", "cafe.safetensors"]
    assert run("mapper", "list").stdout == f"{library}: no mappers\n"
    assert json.loads(run("mapper", "list", "--json").stdout) == []


def test_list_refuses_a_folder_that_is_not_there(refused, tmp_path):
    assert "no such folder; check the path" in refused("mapper list", tmp_path / "none")
