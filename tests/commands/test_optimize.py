"""optimize on the embedded pair: sheets, films, and what happens when it is interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleatlas.engine.jobs import optimise as optimise_job
from styleatlas.engine.jobs.optimise_state import OptimisationFile
from styleatlas.store import work

PAIR = ("--neutral", "a face", "--target", "a bald face")


@pytest.fixture
def optimize(run):
    """Optimise seeds 2 and 3 for four steps; a later option replaces an earlier one."""

    def optimize(*options: object, prompts: tuple[str, ...] = PAIR):
        few = ("--steps", 4, "--seed", "2-3")
        return run("optimize", "avatars", "--clip", "avatars", *prompts, *few, *options)

    return optimize


@pytest.fixture
def interrupted(optimize, monkeypatch):
    """An optimisation to `path` that ends by Ctrl-C after three steps, its state kept, all of it
    or the tensors named."""

    def interrupted(path: Path, *names: str) -> Path:
        monkeypatch.setattr(work, "SAVE_SECONDS", 0.0)
        offer, steps = OptimisationFile.offer, []

        def stopping(place, state):
            offer(place, {name: state[name] for name in names or state})
            steps.append(state)
            if len(steps) == 3:
                raise KeyboardInterrupt

        with monkeypatch.context() as once:
            once.setattr(OptimisationFile, "offer", stopping)
            result = optimize("-o", path)
        assert result.exit_code == 130 and "the same command resumes" in result.stderr
        state = path.with_name(f"{path.name}.work")
        assert sorted(path.parent.glob(f"{path.name}*")) == [state]
        return state

    return interrupted


def test_interruption_before_anything_is_kept_says_so(optimize, monkeypatch, tmp_path):
    def stopping(place, state):
        raise KeyboardInterrupt

    monkeypatch.setattr(OptimisationFile, "offer", stopping)
    result = optimize("-o", tmp_path / "o.png")
    assert result.exit_code == 130 and "interrupted: nothing was kept yet" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_sheet_has_a_row_an_image_and_a_column_a_target(optimize, tmp_path):
    path = tmp_path / "o.png"
    result = optimize("--target", "a face with a hat", "--json", "-o", path)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["output"] == str(path) and record["settings"]["space"] == "s"
    assert record["settings"]["l2"] == 0.001
    told = [(row["target"], row["image"]) for row in record["images"]]
    names = ["seed 2", "seed 3"]
    assert told == [(t, n) for t in ("a bald face", "a face with a hat") for n in names]
    for row in record["images"]:
        assert row["stopped"] == "steps" and row["steps"] == 4 and 0 <= row["best_step"] < 4
        assert row["probability"] > row["before"]
    with Image.open(path) as picture:
        assert picture.width > 3 * 96 and picture.height > 2 * 96
    assert sorted(tmp_path.iterdir()) == [path]
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert lines and {"done", "of", "loss", "clip", "l2", "probability"} <= lines[0].keys()


def test_summary_tells_steps_and_probabilities(optimize, tmp_path):
    result = optimize("-o", tmp_path / "o.png")
    assert '"a bald face": from the images as they are, 4 steps (mean)' in result.stdout


def test_styles_are_kept_and_taken_back_by_edit(optimize, run, tmp_path):
    styles = tmp_path / "o.npz"
    assert optimize("-o", tmp_path / "o.png", "--styles", styles).exit_code == 0
    with np.load(styles) as arrays:
        assert arrays["styles"].shape == (2, 1248) and arrays["seeds"].tolist() == [2, 3]
    result = optimize("--latent", styles, "--space", "w", "-o", tmp_path / "w.png")
    assert result.exit_code != 0
    again = ("--steps", 1, "--latent", styles, "-o", tmp_path / "again.png")
    assert run("optimize", "avatars", "--clip", "avatars", *PAIR, *again).exit_code == 0
    in_w = (*again, "--space", "w")
    refused = run("optimize", "avatars", "--clip", "avatars", *PAIR, *in_w)
    assert refused.exit_code == 1 and "space w: needs w" in refused.stderr


def test_film_goes_from_the_image_along_its_way_and_back(optimize, tmp_path):
    path = tmp_path / "way.webp"
    way = ("--learning-rate", 0.5, "--seconds", 1, "--fps", 8)
    assert optimize("-o", path, *way).exit_code == 0
    with Image.open(path) as film:
        frames = []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB"), np.float32))
    assert frames[0].shape == (64, 128, 3) and len(frames) > 2  # WebP joins equal ones
    far = [float(np.abs(frame - frames[0]).mean()) for frame in frames]
    assert max(far) > 0.5 and far[-1] < max(far)


@pytest.mark.parametrize("space", ["s", "w", "w+"])
def test_atlas_lets_it_begin_at_the_directions_result(optimize, tmp_path, space):
    options = ("--space", space, "--steps", 1, "--json", "-o", tmp_path / "o.png")
    cold = json.loads(optimize(*options).stdout)
    warm = json.loads(optimize(*options, "--atlas", "avatars").stdout)
    assert (cold["begun_at_direction"], warm["begun_at_direction"]) == (
        {"a bald face": False},
        {"a bald face": True},
    )
    for before, after in zip(cold["images"], warm["images"], strict=True):
        assert after["probability"] > 0.9 > before["probability"]


def test_interrupted_optimisation_goes_on_to_the_same_picture(optimize, interrupted, tmp_path):
    whole, path = tmp_path / "whole.png", tmp_path / "o.png"
    assert optimize("-o", whole).exit_code == 0
    work = interrupted(path)
    result = optimize("-o", path)
    assert result.exit_code == 0 and "resuming: 6 of 8 steps are done" in result.stderr
    assert path.read_bytes() == whole.read_bytes() and not work.exists()


def test_state_of_an_earlier_library_is_taken_up(optimize, interrupted, tmp_path, monkeypatch):
    path, known = tmp_path / "o.png", optimise_job.LIBRARY
    monkeypatch.setattr(optimise_job, "LIBRARY", "styleatlas 0.0.1")
    interrupted(path)
    monkeypatch.setattr(optimise_job, "LIBRARY", known)
    result = optimize("-o", path)
    assert result.exit_code == 0 and "resuming: 6 of 8 steps are done" in result.stderr


def test_state_of_before_that_knows_clip_by_its_weights_alone_is_taken_up(
    optimize, interrupted, tmp_path, monkeypatch
):
    plan = optimise_job._plan

    def before(*arguments):
        values = plan(*arguments)
        assert values.pop("clip_configuration")["quick_gelu"] == 0
        return values

    with monkeypatch.context() as once:
        once.setattr(optimise_job, "_plan", before)
        interrupted(tmp_path / "o.png")
    result = optimize("-o", tmp_path / "o.png")
    assert result.exit_code == 0 and "resuming: 6 of 8 steps are done" in result.stderr


def test_second_optimisation_to_one_output_is_refused_at_once(optimize, tmp_path):
    path = tmp_path / "o.png"
    place = OptimisationFile(path)
    result = optimize("-o", path)
    refused = f"{path}.work: another run is at work here; wait for it or end it, or choose another"
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"styleatlas optimize: {refused} -o")
    with place:
        pass
    assert optimize("-o", path).exit_code == 0
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--target", "a face with a hat"), "targets is"),
        (("--learning-rate", 0.2), "settings is"),
        (("--seed", "4-5"), "images is"),
        (("--identity", "off"), "identity is"),
    ],
)
def test_state_of_another_optimisation_is_refused_and_kept(
    optimize, interrupted, tmp_path, options, told
):
    work = interrupted(tmp_path / "o.png")
    content = work.read_bytes()
    result = optimize(*options, "-o", tmp_path / "o.png")
    assert result.exit_code == 1 and "is of another optimisation" in result.stderr
    assert told in result.stderr and work.read_bytes() == content


@pytest.mark.parametrize("at", [3, 200, -1])
def test_damaged_state_is_refused_in_one_line(optimize, interrupted, tmp_path, at):
    work = interrupted(tmp_path / "o.png")
    content = bytearray(work.read_bytes())
    content[at] ^= 0x5A
    work.write_bytes(content)
    result = optimize("-o", tmp_path / "o.png")
    assert result.exit_code == 1 and not (tmp_path / "o.png").exists()
    last = result.stderr.splitlines()[-1]
    assert "delete" in last and ".work" in last


def test_state_of_another_shape_is_refused(optimize, interrupted, tmp_path):
    interrupted(tmp_path / "o.png", "step")
    result = optimize("-o", tmp_path / "o.png")
    assert result.exit_code == 1 and "cannot be resumed" in result.stderr


@pytest.mark.parametrize("identity", ["off", "clip", "avatars"])
def test_identity_is_chosen_by_name(optimize, tmp_path, identity):
    options = ("--identity", identity, "--identity-weight", 1, "--json", "-o", tmp_path / "o.png")
    record = json.loads(optimize(*options).stdout)
    losses = [row["identity"] for row in record["images"] if row["best_step"]]
    assert all(loss == 0 for loss in losses) if identity == "off" else any(losses)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-o", "o.jpg"), "o.jpg"),
        (("-o", "o.gif", "--target", "a face with a hat"), "film: shows one target"),
        (("-o", "o.png", "--freeze", "conv,rgb"), "freeze: leaves no layer"),
        (("-o", "o.png", "--freeze", "b9.conv"), "b9.conv"),
        (("-o", "o.png", "--steps", 0), "steps 0: must be"),
        (("-o", "o.png", "--identity", "nobody.pth"), "nobody.pth"),
        (("-o", "o.png", "--device", "tpu"), "device"),
    ],
)
def test_bad_input_is_explained_in_one_line(optimize, tmp_path, monkeypatch, options, told):
    monkeypatch.chdir(tmp_path)
    result = optimize(*options)
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1
    assert told in result.stderr and not list(tmp_path.iterdir())


def test_diverged_image_is_told(optimize, tmp_path, monkeypatch):
    optimise = optimise_job.optimise

    def diverged(*arguments, **options):
        record, styles = optimise(*arguments, **options)
        record["images"][0]["stopped"] = "diverged"
        return record, styles

    monkeypatch.setattr(optimise_job, "optimise", diverged)
    result = optimize("-o", tmp_path / "o.png")
    assert 'seed 2, "a bald face": diverged at step 4' in result.stdout


def test_without_a_neutral_prompt_the_loss_is_styleclips_own(run, optimize, tmp_path):
    few = ("--steps", 4, "--seed", "2-3", "--identity", "off", "--l2", 0, "-o", tmp_path / "o.png")
    alone = ("optimize", "avatars", "--clip", "avatars", "--target", "a bald face", *few)
    result = run(*alone, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["neutral"] is record["settings"]["directional"] is None
    for row in record["images"]:
        assert row["loss"] == row["clip"] and row["directional"] == 0
        assert row["cosine"] > row["before"] and "probability" not in row
        # The cosine told is that of the loss.
        assert row["cosine"] == pytest.approx(1 - row["clip"], abs=2e-3)
    assert all("probability" not in json.loads(line) for line in result.stderr.splitlines())
    with_neutral = json.loads(optimize(*few, "--directional", 0, "--json").stdout)
    assert [row["clip"] for row in with_neutral["images"]] == pytest.approx(
        [row["clip"] for row in record["images"]], abs=1e-3
    )
    assert "cosine with CLIP" in run(*alone).stdout


@pytest.mark.parametrize("option", [("--directional", 1), ("--atlas", "avatars")])
def test_what_leads_from_a_neutral_prompt_needs_one(run, tmp_path, option):
    alone = ("optimize", "avatars", "--clip", "avatars", "--target", "a bald face")
    result = run(*alone, *option, "-o", tmp_path / "o.png")
    assert result.exit_code == 2
    assert f"{option[0]} leads from a neutral prompt; give --neutral" in result.stderr


def test_identity_that_is_off_has_no_weight(optimize, tmp_path):
    options = ("--steps", 1, "--json", "-o", tmp_path / "o.png")
    off = json.loads(optimize(*options, "--identity", "off").stdout)
    usual = json.loads(optimize(*options).stdout)
    assert off["settings"]["identity"] is None and usual["settings"]["identity"] == 0.005
