"""encoder train, with a tiny StyleGAN2 of random weights."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image

from styleatlas.engine.models.load import load_generator
from styleatlas.engine.models.own_encoder import read_own_encoder
from styleatlas.precompute.encoder_state import EncoderTrainingFile
from styleatlas.precompute.encoders import EncoderTrainer

QUICK = ("--steps", 4, "--batch", 2, "--passes", 2, "--learning-rate", 1e-4)


@pytest.fixture
def train(run, tiny_path, checkpoint):
    """Train an encoder; a later option replaces an earlier one."""

    def train(*options: object):
        return run("encoder", "train", tiny_path, "--generator", checkpoint, *QUICK, *options)

    return train


def test_train_writes_an_encoder_a_log_and_a_sheet(train, checkpoint, tmp_path):
    path, shown = tmp_path / "e.safetensors", tmp_path / "e.png"
    result = train("-o", path, "--seed", 5, "--sheet", shown)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{path}: inverts crops of tiny from the mean, in 2 passes\n")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "e.csv", shown, path]
    with (tmp_path / "e.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["0", "1", "2", "3", "4"]
    about = read_own_encoder(path, load_generator(checkpoint, "cpu")).about
    assert about.settings["seed"] == 5 and about.passes == 2 and about.samples is None
    with Image.open(shown) as picture:
        assert picture.size > (8, 8)


def test_info_tells_whose_it_is_and_what_validation_measured(train, run, checkpoint, tmp_path):
    path = tmp_path / "e.safetensors"
    assert train("-o", path).exit_code == 0
    record = json.loads(run("info", path, "--json").stdout)
    assert (record["kind"], record["family"]) == ("photo encoder", "StyleAtlas's own")
    identity = load_generator(checkpoint, "cpu").identity
    assert record["generator"]["sha256"] == identity.sha256 and record["passes"] == 2
    assert record["measured"]["of_steps"] == 4 and record["samples"] is None
    assert "StyleAtlas's own" in run("info", path).stdout


def test_train_as_json_tells_output_settings_and_figures(train, tmp_path):
    path = tmp_path / "e.safetensors"
    record = json.loads(train("-o", path, "--pixels", 0, "--json").stdout)
    assert record["output"] == str(path) and record["log"] == str(tmp_path / "e.csv")
    assert record["settings"]["pixels"] == 0 and record["measured"]["of_steps"] == 4
    assert record["start"] == "mean" and record["side"] == 8


def test_interrupted_training_goes_on_with_the_same_command(train, tmp_path, monkeypatch):
    path = tmp_path / "e.safetensors"
    advance = EncoderTrainer.advance

    def interrupted(self: EncoderTrainer) -> None:
        if self.log[-1].step == 2:
            raise KeyboardInterrupt
        advance(self)

    monkeypatch.setattr(EncoderTrainer, "advance", interrupted)
    result = train("-o", path)
    assert result.exit_code == 130 and not path.exists()
    assert "interrupted: 2 of 4 steps are kept" in result.stderr
    monkeypatch.setattr(EncoderTrainer, "advance", advance)
    other = train("-o", path, "--pixels", 3)
    assert other.exit_code == 1 and "settings.pixels is 4.0 there and 3.0 here" in other.stderr
    result = train("-o", path)
    assert result.exit_code == 0 and "resuming: 2 of 4 steps are done" in result.stderr
    assert not (tmp_path / "e.safetensors.work").exists()


def test_second_training_to_one_output_is_refused_at_once(train, tmp_path):
    path = tmp_path / "e.safetensors"
    with EncoderTrainingFile(path):
        result = train("-o", path)
    assert result.exit_code == 1 and "another run is at work here" in result.stderr


def test_train_refuses_what_it_cannot_do(refused, tiny_path, checkpoint, tmp_path):
    for options, message in {
        ("-o", tmp_path / "e.pt"): "must end in .safetensors",
        ("-o", tmp_path / "no" / "e.safetensors"): "does not exist; create it first",
        ("-o", tmp_path / "e.safetensors", "--steps", 0): "steps 0: must lie between",
        ("-o", tmp_path / "e.safetensors", "--passes", 99): "passes 99: must lie between 1 and 20",
        ("-o", tmp_path / "e.safetensors", "--sheet", tmp_path / "e.gif"): "written as PNG",
        ("-o", tmp_path / "e.safetensors", "--lpips", "none.pth"): "no such file",
    }.items():
        told = refused("encoder train", tiny_path, "--generator", checkpoint, *options)
        assert message in told
