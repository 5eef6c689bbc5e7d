"""The whole trip with a generator of 128 x 64 pixels, and what CLIP and pictures make of grey and
RGBA: from a pickle to an atlas, edits, films and answers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image

from styleatlas.cli import main
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.models.load import load_encoder, load_generator
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.store.atlas import Atlas

from ..checkpoint_files import modules_of, nvidia_pickle
from ..near import assert_pixels_near
from .edit_calls import pixels

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import plain_stylegan

HIGH = StyleGAN2Config(
    z_dim=6,
    w_dim=8,
    mapping_layers=2,
    channels={4: 8, 8: 8, 16: 6, 32: 6, 64: 4, 128: 4},
    constant=(4, 2),
)
SMALL = StyleGAN2Config(z_dim=6, w_dim=8, mapping_layers=2, channels={4: 8, 8: 6, 16: 4})
WAY = ("--neutral", "a face", "--target", "a face with glasses")


def pickle_of(folder: Path, make_network, config: StyleGAN2Config) -> Path:
    network = make_network(config=config)
    tensors = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    path = folder / "human.pkl"
    return nvidia_pickle(path, tensors, modules_of(config), content=lambda s: {"G_ema": s["G_ema"]})


def draw(generator: Path, *options: object) -> Path:
    """The atlas of a generator, as the embedded CLIP sees it."""
    path = generator.with_suffix(".h5")
    fixed = ["precompute", generator, "--clip", "avatars", "--statistics", 50]
    told = CliRunner().invoke(main, [str(a) for a in (*fixed, *options, "-o", path)])
    assert told.exit_code == 0, told.output
    return path


@pytest.fixture(scope="module")
def human(tmp_path_factory, make_network) -> Path:
    return pickle_of(tmp_path_factory.mktemp("human"), make_network, HIGH)


@pytest.fixture(scope="module")
def atlas(human) -> Path:
    return draw(human, "--table", "sweep", "--images", 1, "--samples", 48)


@pytest.fixture
def call(run, human, atlas, tmp_path):
    """Call a command of the atlas, which must succeed, into a file; returns its path."""

    def call(command: str, name: str, *options: object) -> Path:
        path = tmp_path / name
        models = ("--generator", human, "--clip", "avatars")
        told = run(*command.split(), atlas, *models, *options, "-o", path)
        assert told.exit_code == 0, told.output
        return path

    return call


def test_info_tells_height_and_width_before_and_after(answer, human, atlas):
    record = json.loads(answer("info", human, "--json"))
    assert (record["height"], record["width"], record["pictures"]) == (128, 64, "RGB")
    known = json.loads(answer("info", atlas, "--json"))
    assert known["generator"]["height"] == 128
    assert known["generator"]["width"] == 64
    assert known["settings"]["view"] == "whole"


def test_samples_are_seen_whole_on_a_square_of_clips_mean(human, atlas):
    samples = Atlas.open(atlas).samples
    generator, clip = load_generator(human, "cpu"), load_encoder("avatars", "cpu")
    with torch.inference_mode():
        images = generator.render(torch.from_numpy(samples.styles_of(np.arange(4))))
        assert images.shape == (4, 3, 128, 64)
        settings = clip.preprocessing
        mean, std = (torch.tensor(x)[:, None, None] for x in (settings.mean, settings.std))
        seen = F.pad(((images.clamp(-1, 1) + 1) / 2 - mean) / std, (32, 32))
        size = (settings.size, settings.size)
        seen = F.interpolate(seen, size, mode="bicubic", antialias=True, align_corners=False)
        wanted = F.normalize(clip.model.encode_image(seen).float(), dim=1)
        middle = seen[:, :, 16:48, 16:48].repeat(1, 1, 2, 2)  # what a crop might have left
        cut = F.normalize(clip.model.encode_image(middle), dim=1)
    found = torch.from_numpy(samples.embedding[:4].astype("f4"))
    assert float((found * wanted).sum(1).min()) > 0.999
    assert float((found * cut).sum(1).max()) < 0.999, "the test can tell"


def test_edit_writes_the_render_of_the_plain_formula(call, human, tmp_path):
    folder = call(
        "edit", "folder", *WAY, "--alpha", 3, "--seed", "1,2", "--styles", tmp_path / "s.npz"
    )
    checkpoint = read_checkpoint(human)
    network = load_generator(human, "cpu").network
    with np.load(tmp_path / "s.npz") as file:
        styles = torch.from_numpy(file["styles"])
    layers = styles.split([layer.size for layer in checkpoint.config.styled_layers()], 1)
    with torch.inference_mode():
        wanted = to_bytes(plain_stylegan.stylegan2(network, layers)).numpy()
    assert wanted.shape == (2, 128, 64, 3)
    for seed, image in zip((1, 2), wanted, strict=True):
        assert_pixels_near(pixels(folder / f"seed {seed}.png"), image)


def test_sheets_films_and_recipes_keep_the_aspect(call):
    sheet = call("edit", "a.png", *WAY, "--alpha", "2,4", "--before", "--seed", "1-3")
    height, width = pixels(sheet).shape[:2]
    scale = 2  # brings the shorter side to the least for labels, 96 pixels
    assert 0 < height - 3 * 128 * scale < 60 and 0 < width - 3 * 64 * scale < 120
    again = call("edit", "b.png", "--from-picture", sheet)
    assert_pixels_near(pixels(again), pixels(sheet))
    film = call("edit", "a.gif", *WAY, "--alpha", 4, "--seed", "1-3", "--seconds", 0.5, "--fps", 8)
    with Image.open(film) as moving:
        assert moving.size == (2 * 64, 2 * 128) and moving.n_frames == 4


def test_samples_and_channels_are_shown_in_their_aspect(call, atlas):
    samples = pixels(call("query samples", "samples.png", *WAY))
    rows = round(samples.shape[0] / (128 * 2))
    assert samples.shape[0] == rows * 128 * 2 and samples.shape[1] > 8 * 64 * 2
    label = Atlas.open(atlas).layout.label(0)
    shown = pixels(call("sheet", "sheet.png", label, "--seed", "1,2", "--steps", "0,9"))
    assert 0 < shown.shape[0] - 2 * 128 < 60 and shown.shape[1] - 2 * 64 > 100


def test_report_shows_channels_in_their_aspect(run, human, atlas, tmp_path):
    page = tmp_path / "page.html"
    told = run("report", atlas, "--generator", human, "-o", page)
    assert told.exit_code == 0, told.output
    assert page.read_text().count("data:image/png;base64,") > 0


@pytest.mark.parametrize("by", ["table", "images"])
def test_optimisation_moves_pictures_of_any_aspect(run, human, atlas, tmp_path, by):
    options = ("--atlas", atlas) if by == "table" else ()
    fixed = (*WAY, "--clip", "avatars", "--steps", 2, "--crops", 1, "--seed", 1)
    told = run("optimize", human, *fixed, *options, "-o", tmp_path / "o.png")
    assert told.exit_code == 0, told.output
    height, width = pixels(tmp_path / "o.png").shape[:2]
    assert 0 < height - 128 * 2 < 60 and width == 2 * 64 * 2


def test_converted_generator_opens_the_atlas_of_its_pickle(answer, run, human, atlas, tmp_path):
    path = tmp_path / "human.safetensors"
    told = answer("convert", human, path)
    tensors = len(read_checkpoint(path).tensors)
    assert told == f"{path}: stylegan2, 128 px high, 64 px wide, {tensors} tensors\n"
    options = ("--generator", path, "--clip", "avatars", *WAY, "--alpha", 1)
    assert run("edit", atlas, *options, "-o", tmp_path / "o.png").exit_code == 0


def test_atlas_whose_pictures_clip_saw_otherwise_is_refused(refused, human, atlas, tmp_path):
    known = Atlas.open(atlas)
    settings = dict(known.fingerprint.settings)
    for view, told in ((None, "as they are"), ("centre", "'centre'")):
        settings["view"] = view
        other = tmp_path / f"{view}.h5"
        replace(known, fingerprint=replace(known.fingerprint, settings=settings)).write(other)
        options = ("--generator", human, "--clip", "avatars", *WAY, "-o", tmp_path / "o.png")
        said = refused("edit", other, *options)
        assert f"CLIP was shown the pictures {told}, and is now shown them 'whole'" in said


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (4, "RGBA")])
def test_grey_and_transparent_pictures_make_the_whole_trip(
    run, tmp_path, make_network, channels, mode
):
    config = replace(SMALL, image_channels=channels)
    generator = pickle_of(tmp_path, make_network, config)
    atlas = draw(generator, "--table", "none", "--samples", 48)
    view = Atlas.open(atlas).fingerprint.settings.get("view")
    assert view == ("over white" if channels == 4 else None)
    options = ("--generator", generator, "--clip", "avatars", *WAY, "--alpha", 2, "--seed", "1-3")
    for name in ("a.png", "b.gif", "folder"):
        told = run("edit", atlas, *options, "-o", tmp_path / name)
        assert told.exit_code == 0, told.output
    with Image.open(tmp_path / "a.png") as sheet, Image.open(tmp_path / "b.gif") as film:
        assert sheet.mode == mode
        assert min(film.convert("RGB").getpixel((31, 31))) > 245, "the place left over"
    with Image.open(tmp_path / "folder" / "seed 2.png") as picture:
        assert picture.mode == mode and picture.size == (16, 16)


@pytest.mark.parametrize("command", ["precompute", "optimize"])
def test_images_of_other_channels_are_refused_before_any_work(
    refused, answer, make_network, tmp_path, command
):
    config = replace(SMALL, image_channels=5)
    generator = pickle_of(tmp_path, make_network, config)
    options = () if command == "precompute" else WAY
    out = tmp_path / ("o.h5" if command == "precompute" else "o.png")
    said = refused(command, generator, "--clip", "avatars", *options, "-o", out)
    assert said == (
        f"{generator}: makes images of 5 channels, of which there are no pictures; generators are "
        "taken that make grey (1), RGB (3) or RGBA (4)"
    )
    assert json.loads(answer("info", generator, "--json"))["pictures"].startswith("none: neither")
