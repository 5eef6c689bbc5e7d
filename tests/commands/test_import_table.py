"""import-table: from files of other programs to edits."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from styleatlas import Atlas, load_encoder, load_generator

from .. import table_files as files
from .edit_calls import pixels

EDIT = ("--neutral", "a", "--target", "face")


@pytest.fixture(scope="module")
def styleclip(checkpoint, clip_folder, tmp_path_factory):
    """fs3.npy and S_mean_std of the tiny generator as the letters' CLIP sees it."""
    folder = tmp_path_factory.mktemp("styleclip")
    models = load_generator(checkpoint, "cpu"), load_encoder(clip_folder, "cpu")
    return files.styleclip_files(folder, *models)


@pytest.fixture
def models(checkpoint, clip_folder):
    return "--generator", checkpoint, "--clip", clip_folder, "--device", "cpu"


@pytest.fixture
def imported(run, styleclip, models, tmp_path):
    """Import the table and return the file and what was said."""
    table, statistics = styleclip

    def imported(*options: object):
        path = tmp_path / "imported.h5"
        told = run("import-table", table, "--stats", statistics, *models, *options, "-o", path)
        assert told.exit_code == 0, told.output
        return path, told

    return imported


def test_picture_by_an_imported_table_is_that_of_styleclips_formula(
    imported, run, styleclip, checkpoint, models, tmp_path
):
    """From the files to the pixels, with the user's own templates."""
    (tmp_path / "templates.txt").write_text("{}\na {}\n")
    path, told = imported("--templates", tmp_path / "templates.txt")
    assert told.stdout.startswith(
        f"{path}: 14 channels (conv) of 23, 0 of them without a direction"
    )
    options = (*models, *EDIT, "--rule", "paper", "--beta", "0.2", "--alpha", "3", "--seed", "5")
    kept = ("--styles", tmp_path / "o.npz", "-o", tmp_path / "o.png")
    assert run("edit", path, *options, *kept).exit_code == 0

    generator, encoder = load_generator(checkpoint, "cpu"), load_encoder(models[3], "cpu")
    means = []
    for prompt in ("face", "a"):
        seen = encoder.texts([prompt, f"a {prompt}"]).double().numpy()
        seen = seen / np.linalg.norm(seen, axis=1, keepdims=True)
        means.append(seen.mean(0) / np.linalg.norm(seen.mean(0)))
    text = (means[0] - means[1]) / np.linalg.norm(means[0] - means[1])
    _, std = pickle.loads(styleclip[1].read_bytes())
    conv = [number for number, layer in enumerate(generator.layout) if layer.kind == "conv"]
    steps = files.plain_edit(np.load(styleclip[0]), text, [std[number] for number in conv], 0.2)
    drawn = np.random.RandomState(5).randn(1, generator.z_dim).astype(np.float32)
    w = generator.map(files.torch.from_numpy(drawn), truncation=0.7)
    styles = generator.styles(w).numpy()
    for number, step in zip(conv, steps, strict=True):
        styles[:, list(generator.layout)[number].slice] += 3 * step
    np.testing.assert_allclose(np.load(tmp_path / "o.npz")["styles"], styles, rtol=1e-4, atol=1e-5)
    wanted = generator.render(files.torch.from_numpy(styles))[0].permute(1, 2, 0).numpy()
    bytes_ = np.clip((wanted + 1) * 127.5, 0, 255)
    assert np.abs(pixels(tmp_path / "o.png") - bytes_).max() <= 1


def test_info_says_what_is_known_and_what_is_not(imported, run):
    path, _ = imported()
    record = json.loads(run("info", path, "--json").stdout)
    assert record["settings"]["table"] == "imported"
    assert record["settings"]["table_file"]["name"] == "fs3.npy"
    assert any("images" in text for text in record["settings"]["unknown"])
    assert {layer["consistency"] for layer in record["layers"]} == {None}
    assert run("verify", path).exit_code == 0


def test_report_of_an_imported_table_claims_no_figures(imported, run, tmp_path):
    path, _ = imported()
    assert run("report", path, "-o", tmp_path / "r.html").exit_code == 0
    page = (tmp_path / "r.html").read_text()
    assert "imported" in page and "unknown" in page
    for section in ("spread", "channels"):
        assert f'id="{section}"' not in page
    assert 'id="layers"' in page


def test_bank_and_samples_are_added_as_to_any_atlas(imported, run, models, tmp_path):
    path, _ = imported()
    (tmp_path / "more.txt").write_text("face\na face\ncafe\n")
    clip = models[2:4]
    assert run("prompts", "add", path, tmp_path / "more.txt", *clip).exit_code == 0
    told = run("precompute", models[1], *clip, "--samples", "30", "--device", "cpu", "-o", path)
    assert told.exit_code == 0, told.output
    assert "14 channels of another program's table, 30 samples" in told.stdout
    atlas = Atlas.open(path)
    assert (len(atlas.samples), len(atlas.prompts), atlas.rows_alone) == (30, 3, True)
    asked = run("query", "prompts", path, "b4.conv1:0", "--json").stdout
    assert {record["confidence"] for record in json.loads(asked)} == {None}


def test_unfit_files_are_refused_before_a_model_is_loaded(refused, styleclip, models, tmp_path):
    table, statistics = styleclip
    out = ("-o", tmp_path / "o.h5")
    assert "holds a list, no table" in refused("import-table", statistics, *models, *out)
    assert "holds a ndarray; statistics are" in refused(
        "import-table", table, "--stats", table, *models, *out
    )
    (tmp_path / "bad.txt").write_text("no braces\n")
    bad = ("--templates", tmp_path / "bad.txt")
    assert "is no sentence with one {} in it" in refused("import-table", table, *bad, *models, *out)


def test_table_of_another_generator_is_refused_naming_both(refused, styleclip, models, tmp_path):
    rows = np.load(styleclip[0])
    np.save(tmp_path / "fs3.npy", np.concatenate([rows, rows]))
    message = refused("import-table", tmp_path / "fs3.npy", *models, "-o", tmp_path / "o.h5")
    assert "has 28 rows" in message and "has 23 style channels, 14 of them of conv" in message


def test_table_of_another_clip_gets_a_note(imported, run, styleclip, models, tmp_path):
    rows = np.load(styleclip[0])
    np.save(tmp_path / "fs3.npy", -rows)
    out = ("-o", tmp_path / "o.h5")
    told = run("import-table", tmp_path / "fs3.npy", *models, *out)
    assert told.exit_code == 0
    assert "hardly nearer to those measured anew" in told.stderr
    _, fitting = imported()
    assert "hardly nearer" not in fitting.stderr
