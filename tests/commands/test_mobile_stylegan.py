"""The whole trip with a MobileStyleGAN: from graphs or a student to an atlas, edits and latents."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from styleatlas.cli import main
from styleatlas.engine.models.load import load_generator
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.store.atlas import Atlas

from ..checkpoint_files import random_tensors, small_mobile_stylegan
from ..mobile_files import lightning_state, openvino_folder
from ..near import assert_near, assert_pixels_near
from .edit_calls import pixels

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import plain_stylegan

CONFIG = small_mobile_stylegan(channels={4: 16, 8: 12, 16: 8}, mapping_lr=1.0)
WAY = ("--neutral", "a face", "--target", "a face with glasses")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("graphs") / "faces"
    tensors = random_tensors(CONFIG)
    for name in tensors:
        if "noise_strength" in name:
            tensors[name].fill_(0.1)
    return openvino_folder(folder, CONFIG, tensors)


@pytest.fixture(scope="module")
def converted(graphs) -> Path:
    path = graphs.with_suffix(".safetensors")
    told = CliRunner().invoke(main, ["convert", str(graphs), str(path)])
    assert told.exit_code == 0, told.output
    assert "note: " in told.output and "has no average w" in told.output
    assert f"{path}: mobile_stylegan, 32 px, " in told.output
    return path


@pytest.fixture(scope="module")
def atlas(converted) -> Path:
    """Of both kinds of contents, as the embedded CLIP sees it."""
    path = converted.with_suffix(".h5")
    fixed = ["precompute", converted, "--clip", "avatars", "--statistics", 50, "--table", "sweep"]
    told = CliRunner().invoke(
        main, [str(a) for a in (*fixed, "--images", 1, "--samples", 64, "-o", path)]
    )
    assert told.exit_code == 0, told.output
    return path


@pytest.fixture
def call(run, graphs, atlas, tmp_path):
    """Call a command of the atlas, with the graphs it was not drawn from but descends of."""

    def call(command: str, name: str, *options: object) -> Path:
        path = tmp_path / name
        models = ("--generator", graphs, "--clip", "avatars")
        told = run(*command.split(), atlas, *models, *options, "-o", path)
        assert told.exit_code == 0, told.output
        return path

    return call


def test_info_tells_what_graphs_and_students_are(answer, graphs, tmp_path):
    record = json.loads(answer("info", graphs, "--json"))
    assert (record["family"], record["dialect"]) == ("mobile_stylegan", "openvino")
    assert (record["resolution"], record["num_ws"]) == (32, 8)
    static = {layer.name: torch.ones(layer.size) for layer in CONFIG.styled_layers()}
    student = tmp_path / "student.ckpt"
    torch.save({"state_dict": lightning_state(CONFIG, random_tensors(CONFIG), static)}, student)
    record = json.loads(answer("info", student, "--json"))
    assert (record["family"], record["dialect"]) == ("mobile_stylegan", "mobile_stylegan")


def test_samples_hold_the_map_from_w_to_styles(atlas, converted):
    samples, generator = Atlas.open(atlas).samples, load_generator(converted, "cpu")
    w = torch.from_numpy(samples.w[:5].astype("f4"))[:, None]
    wanted = generator.styles(w.expand(-1, CONFIG.num_ws, -1))
    assert_near(samples.styles_of(np.arange(5)), wanted.numpy(), 1e-3)  # of float16


def test_edit_writes_the_render_of_the_plain_formula(call, converted, tmp_path):
    folder = call(
        "edit", "folder", *WAY, "--alpha", 3, "--seed", "1,2", "--styles", tmp_path / "s.npz"
    )
    generator = load_generator(converted, "cpu")
    with np.load(tmp_path / "s.npz") as file:
        styles = generator.by_layer(torch.from_numpy(file["styles"]))
    with torch.inference_mode():
        wanted = to_bytes(plain_stylegan.mobile_stylegan(generator.network, styles)).numpy()
    assert wanted.shape == (2, 32, 32, 3)
    for seed, image in zip((1, 2), wanted, strict=True):
        assert_pixels_near(pixels(folder / f"seed {seed}.png"), image)


def test_channels_of_every_kind_are_shown_on_a_sheet(call):
    labels = ("b8.up:5", "b16.conv2:1", "b16.torgb:3")
    shown = pixels(call("sheet", "sheet.png", *labels, "--seed", "1,2"))
    assert shown.shape[0] > 3 * CONFIG.resolution


def test_rows_of_w_plus_are_edited(call, converted, tmp_path):
    generator = load_generator(converted, "cpu")
    w = generator.map(torch.randn(2, CONFIG.z_dim))
    w[:, 3] += 1
    np.save(tmp_path / "w+.npy", w.numpy())
    styles = tmp_path / "s.npz"
    latent = ("--latent", tmp_path / "w+.npy", "--latent-space", "w+")
    call("edit", "folder", *WAY, *latent, "--alpha", 0, "--styles", styles)
    with np.load(styles) as file:
        assert_near(file["styles"], generator.styles(w).numpy())


@pytest.mark.parametrize("by", ["table", "images"])
def test_optimisation_moves_styles_by_their_gradients(run, graphs, atlas, tmp_path, by):
    options = ("--atlas", atlas) if by == "table" else ()
    fixed = (*WAY, "--clip", "avatars", "--steps", 2, "--crops", 1, "--seed", 1)
    told = run("optimize", graphs, *fixed, *options, "-o", tmp_path / "o.png")
    assert told.exit_code == 0, told.output
    assert pixels(tmp_path / "o.png").any()
