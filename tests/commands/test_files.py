"""info, convert and verify, and the trip from a pickle to a picture."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas import Atlas, load_encoder, load_generator
from styleatlas.engine.checkpoints.nvidia_state import ASSUMED
from styleatlas.engine.checkpoints.photo_encoder_file import read_photo_encoder
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.checkpoints.states import NOT_AVERAGED
from styleatlas.engine.models.load import AVERAGE_OF_ATLAS
from styleatlas.engine.models.photo_encoders import load_photo_encoder
from styleatlas.store.registry import EMBEDDED

from ..checkpoint_files import (
    modules_of,
    nvidia_pickle,
    random_tensors,
    rosinality_state,
    small_stylegan2,
    small_stylegan3,
)
from ..encoder_files import encoder_file, encoder_state
from ..near import assert_pixels_near

CONDITIONAL = small_stylegan2(channels={4: 4, 8: 4}, c_dim=3)
PAIR = ("--neutral", "a picture", "--target", "a picture channel7")


@pytest.fixture(scope="module")
def write_pickle(tmp_path_factory):
    def write(config):
        path = tmp_path_factory.mktemp("pickle") / "network.pkl"
        tensors = random_tensors(config)
        for name in tensors:  # stored as training stores them, for a learning rate of 0.01
            if name.startswith("mapping.fc"):
                tensors[name] *= 100
        return nvidia_pickle(path, tensors, modules_of(config))

    return write


@pytest.fixture(scope="module")
def pickled(write_pickle):
    """A conditional StyleGAN2 as NVIDIA's code saves it."""
    return write_pickle(CONDITIONAL)


def photo_encoder_file(path: Path, average: torch.Tensor | None) -> Path:
    config = small_stylegan2()
    decoder = rosinality_state(config, random_tensors(config))
    state = encoder_state("Encoder4Editing", config.num_ws, config.w_dim)
    return encoder_file(path, "Encoder4Editing", state, decoder, average)


def test_info_tells_what_an_encoder_of_photos_is(answer, tmp_path):
    path = photo_encoder_file(
        tmp_path / "e4e.pt", random_tensors(small_stylegan2())["mapping.w_avg"]
    )
    told = json.loads(answer("info", path, "--json"))
    assert (told["kind"], told["family"], told["passes"]) == ("photo encoder", "e4e", 1)
    assert told["sees"] == "the photo, 256 x 256 px" and told["origin"] == "the average w"
    assert (told["num_ws"], told["w_dim"]) == (6, 6)
    assert told["sha256"] == read_photo_encoder(path).sha256()
    assert told["generator"]["sha256"] == read_checkpoint(path).sha256()
    assert told["generator"]["resolution"] == 16
    text = answer("info", path)
    assert "Encoder4Editing" in text and "non-commercial" in text
    photo_encoder_file(path, None)
    assert json.loads(answer("info", path, "--json"))["origin"] == "zero"


def test_convert_takes_the_generator_out_of_an_encoder_of_photos(answer, tmp_path):
    average = random_tensors(small_stylegan2())["mapping.w_avg"]
    path, out = photo_encoder_file(tmp_path / "e4e.pt", average), tmp_path / "g.safetensors"
    answer("convert", path, out)
    found = read_checkpoint(out)
    assert found.sha256() == read_checkpoint(path).sha256()
    assert torch.equal(found.tensors["mapping.w_avg"], average)
    assert load_photo_encoder(path, load_generator(out, "cpu")).notes == ()


def test_info_tells_what_a_checkpoint_is(run, write_pickle):
    path = write_pickle(small_stylegan3(c_dim=2))
    text = run("info", path).stdout
    for part in ("nvidia", "stylegan3", "config T", "L3_16_3", "input", "non-commercial"):
        assert part in text
    record = json.loads(run("info", path, "--json").stdout)
    assert (record["resolution"], record["conditional"], record["c_dim"]) == (16, True, 2)
    assert record["sha256"] == load_generator(path, "cpu").identity.sha256
    assert record["style_channels"] == load_generator(path, "cpu").layout.size


def test_what_a_state_dict_does_not_tell_is_said_where_it_is_read(run, pickled, tmp_path):
    config = small_stylegan2(conv_clamp=256.0)
    path, out = tmp_path / "network.pt", tmp_path / "network.safetensors"
    torch.save({"g": random_tensors(config)}, path)
    latest, assumed = NOT_AVERAGED.format("g"), ASSUMED.format("")
    record = json.loads(run("info", path, "--json").stdout)
    assert record["notes"] == [latest, assumed]
    assert json.loads(run("info", pickled, "--json").stdout)["notes"] == []
    assert f"notes             {latest}; {assumed}\n" in run("info", path).stdout
    assert "notes             -\n" in run("info", pickled).stdout
    result = run("convert", path, out)
    assert result.stderr == f"note: {path}: {latest}\nnote: {path}: {assumed}\n"
    assert load_generator(out, "cpu").network.config == config
    sheet = run("convert", path, out, "--quiet")
    assert (sheet.exit_code, sheet.stderr) == (0, "")


def test_edit_by_a_file_without_an_average_is_that_of_the_whole(run, tmp_path):
    read = read_checkpoint(EMBEDDED.generator)
    path = tmp_path / "exported.pt"
    torch.save({"g_ema": rosinality_state(read.config, read.tensors)}, path)
    pair = ("--neutral", "a face", "--target", "a smiling face", "--alpha", "0.5", "--seed", "3")
    one = run("edit", "avatars", *pair, "-o", tmp_path / "one.png")
    other = run("edit", "avatars", "--generator", path, *pair, "-o", tmp_path / "other.png")
    assert (one.exit_code, one.stderr) == (0, "")
    assert other.exit_code == 0, other.output
    assert other.stderr == f"note: generator exported {AVERAGE_OF_ATLAS}\n"
    images = [Image.open(tmp_path / name) for name in ("one.png", "other.png")]
    assert_pixels_near(*images)


def test_info_of_a_file_that_is_neither_says_what_it_found(refused, tmp_path):
    path = tmp_path / "picture.h5"
    Image.new("RGB", (4, 4)).save(path, format="PNG")
    assert refused("info", path).startswith(f"{path}: holds no recipe; name a picture that `edit`")
    path.write_bytes(b"\xff\xd8\xff\xe0JFIF")
    assert refused("info", path).startswith(f"{path}: is a picture; name the generator's checkpoi")


def test_converted_checkpoint_is_the_same_generator(run, pickled, tmp_path):
    path = tmp_path / "network.safetensors"
    result = run("convert", pickled, path)
    assert result.exit_code == 0, result.output
    tensors = len(random_tensors(CONDITIONAL))
    assert result.stdout == f"{path}: stylegan2, 8 px, {tensors} tensors\n"
    assert result.stderr == ""
    one, other = load_generator(pickled, "cpu"), load_generator(path, "cpu")
    assert one.identity.sha256 == other.identity.sha256
    assert one.network.config == other.network.config


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out.pt", "a converted checkpoint's name must end in .safetensors"),
        ("same.safetensors", "is read by the same command, and would be lost"),
        ("none/out.safetensors", "none does not exist; create it first"),
    ],
)
def test_convert_refuses_a_bad_place_before_it_reads(refused, pickled, tmp_path, output, message):
    source = tmp_path / "same.safetensors"
    source.write_bytes(pickled.read_bytes())
    assert message in refused("convert", source, tmp_path / output)


def test_convert_of_what_is_no_generator_writes_nothing(refused, clip_folder, tmp_path):
    source = clip_folder / "open_clip_model.safetensors"
    message = refused("convert", source, tmp_path / "out.safetensors")
    assert message.startswith(f"{source}: is a safetensors file of another program")


def test_precompute_reads_a_pickle_and_keeps_the_class(run, pickled, clip_folder, tmp_path):
    atlas = tmp_path / "a.h5"
    settings = ("--images", 2, "--samples", 0, "--statistics", 60, "-o", atlas)
    result = run("precompute", pickled, "--clip", clip_folder, *settings, "--class", 2)
    assert result.exit_code == 0, result.output
    origin = Atlas.open(atlas).fingerprint
    assert origin.settings["label"] == 2
    assert origin.generator == load_generator(pickled, "cpu").identity


def test_atlas_drawn_from_a_pickle_edits_with_the_converted_file(
    run, draw, make_encoder, pickled, tmp_path
):
    generator = load_generator(pickled, "cpu")
    atlas, converted = tmp_path / "a.h5", tmp_path / "network.safetensors"
    draw(generator, make_encoder(generator.layout.size), images=4).write(atlas)
    assert run("convert", pickled, converted).exit_code == 0

    def edited(generator, *options) -> np.ndarray:
        path = tmp_path / "out.png"
        chosen = ("--generator", generator, "--channels", 3, "--alpha", 5, *options, "-o", path)
        result = run("edit", atlas, *PAIR, *chosen)
        assert result.exit_code == 0, result.output
        with Image.open(path) as picture:
            return np.asarray(picture)

    classes = [edited(pickled, "--seed", 5, "--class", label) for label in (0, 1, 2)]
    assert_pixels_near(edited(converted, "--seed", 5, "--class", 2), classes[2])
    assert not np.array_equal(classes[0], classes[1])
    # Without a class the seed draws one, and the same one every time.
    drawn = edited(pickled, "--seed", 5)
    assert sum(np.array_equal(drawn, one) for one in classes) == 1
    assert np.array_equal(edited(pickled, "--seed", 5), drawn)


def test_class_that_the_generator_does_not_have_is_refused(
    refused, pickled, checkpoint, clip_folder, tmp_path
):
    options = (
        "--clip",
        clip_folder,
        "--images",
        1,
        "--samples",
        0,
        "--statistics",
        2,
        "-o",
        tmp_path / "a.h5",
    )
    message = refused("precompute", pickled, *options, "--class", 3)
    assert message == "class 3: this generator has classes 0 to 2"
    message = refused("precompute", checkpoint, *options, "--class", 0)
    assert message == "class 0: this generator is not conditional"


def test_info_shows_models_settings_and_layers(answer, countable_path, countable_atlas):
    text = answer("info", countable_path)
    for part in ("countable 0", "countable clip 0", "b8.torgb"):
        assert part in text
    assert re.search(r"^  table +sweep$", text, re.MULTILINE)
    assert '"' not in text and "'" not in text and "[" not in text
    record = json.loads(answer("info", countable_path, "--json"))
    assert record["swept_channels"] == 12
    assert record["clip"]["sha256"] == countable_atlas.fingerprint.clip.sha256


def test_verify_shows_every_check(answer, countable_path):
    lines = answer("verify", countable_path).splitlines()
    assert len(lines) == 15 and all(line.startswith("ok  ") for line in lines)
    checks = json.loads(answer("verify", countable_path, "--json"))
    assert all(check["ok"] for check in checks)
    assert checks[8]["name"] == "/relevance/rows"


@pytest.mark.parametrize("as_json", [False, True])
def test_verify_names_a_flipped_byte_in_one_line_and_exits_with_1(run, countable_path, as_json):
    with h5py.File(countable_path) as file:
        offset = file["/relevance/rows"].id.get_offset()
    damaged = bytearray(countable_path.read_bytes())
    damaged[offset + 100] ^= 1
    countable_path.write_bytes(damaged)
    result = run("verify", countable_path, *["--json"] * as_json)
    assert result.exit_code == 1
    start = f"styleatlas verify: {countable_path}: 1 of 14 checks failed, first /relevance/rows; "
    assert result.stderr.startswith(start) and result.stderr.count("\n") == 1
    if as_json:
        failed = [check["name"] for check in json.loads(result.stdout) if not check["ok"]]
        assert failed == ["/relevance/rows"]
    else:
        assert "FAIL  /relevance/rows  does not match its sha256" in result.stdout
        assert result.output.count("does not match its sha256") == 1


def test_verify_of_what_is_no_atlas_names_the_file_once(run, tmp_path):
    path = tmp_path / "none.h5"
    result = run("verify", path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"styleatlas verify: {path}: no such file; check the path")
    assert result.stderr.count(str(path)) == 1 and result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["style/std", "relevance/rows", "prompts/embedding"])
def test_nan_in_a_table_is_refused(refused, countable_path, name):
    with h5py.File(countable_path, "r+") as file:
        file[name][0] = np.nan
    assert f"/{name}: does not match its sha256" in refused("info", countable_path)


def test_registered_name_is_converted(run, tmp_path):
    path = tmp_path / "avatars.safetensors"
    result = run("convert", "avatars", path)
    assert result.exit_code == 0 and "stylegan2, 64 px" in result.stdout
    one, other = load_generator("avatars", "cpu"), load_generator(path, "cpu")
    assert one.identity.sha256 == other.identity.sha256


def test_info_of_a_picture_tells_its_recipe(draw_to, answer, tmp_path):
    path = tmp_path / "o.png"
    draw_to(path, *PAIR, "--beta", "0.05", "--alpha", "4", "--seed", "3,5")
    record = json.loads(answer("info", path, "--json"))
    assert (record["kind"], record["generator"]["name"]) == ("picture of edit", "tiny")
    assert record["inputs"] == {"seeds": [3, 5]} and record["options"]["alphas"] == [4]
    pair = {"neutral": "a picture", "target": "a picture channel7", "weight": 1}
    assert record["edits"] == [pair]
    text = answer("info", path)
    assert re.search(r"^  seeds +3; 5$", text, re.MULTILINE) and "a picture channel7" in text


def test_info_of_what_a_clip_of_before_made_says_what_is_not_proven(answer, run):
    """It was drawn when the identity of a CLIP was that of its weights alone."""
    archive = Path(__file__).parents[1] / "archive" / "0.1.0"
    said = "not recorded: that activation, preparation of images and tokenizer are the same is not"
    for name in ("atlas.h5", "mapper.safetensors", "edit.png"):
        assert said in answer("info", archive / name), name
    record = json.loads(answer("info", "avatars", "--json"))["clip"]
    assert record["activation"] == "GELU" and len(record["configuration"]) == 13
    assert "network" not in record, "digests are told as one"


def test_info_of_a_clip_says_where_its_weights_lie_and_how_to_name_it(answer, tmp_path):
    from open_clip.model import CLIP

    vision = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1}
    text = {"context_length": 9, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
    model = CLIP(8, vision, text, quick_gelu=True)
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "bare.pt")
    record = json.loads(answer("info", tmp_path / "bare.pt", "--json"))
    assert (record["kind"], record["place"]) == ("CLIP", "state_dict")
    assert (record["architecture"], record["activation"]) == (None, None)
    assert "shapes of no model of open_clip's, and does not say its activation" in record["use"]
    # What it shows is what open_clip's layout takes.
    config = {"model_cfg": record["model_cfg"] | {"quick_gelu": True}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    told = json.loads(answer("info", tmp_path / "bare.pt", "--json"))
    assert (told["activation"], told["use"]) == ("QuickGELU", str(tmp_path / "bare.pt"))
    torch.save(model, tmp_path / "whole.pt")
    whole, bare = (load_encoder(tmp_path / name, "cpu") for name in ("whole.pt", "bare.pt"))
    assert replace(whole.identity, name="bare") == bare.identity


def test_info_of_a_clip_that_is_not_read_says_why(refused, tmp_path):
    names = ("text_model.embeddings.token_embedding.weight", "vision_model.head.probe")
    content = {name: torch.zeros(2, 2) for name in (*names, "logit_scale", "logit_bias")}
    torch.save(content, tmp_path / "siglip.bin")
    assert "is a SigLIP of Hugging Face's transformers; SigLIP is read as open_clip" in refused(
        "info", tmp_path / "siglip.bin"
    )


def test_info_of_a_mapper_and_of_latents_says_what_they_are(answer, draw_to, tmp_path):
    archive = Path(__file__).parents[1] / "archive" / "0.1.0"
    record = json.loads(answer("info", archive / "mapper.safetensors", "--json"))
    assert record["kind"] == "mapper" and record["target"] and record["space"] == "w+"
    assert record["target"] in answer("info", archive / "mapper.safetensors")
    path = tmp_path / "o.npz"
    draw_to(tmp_path / "o.png", *PAIR, "--beta", "0.05", "--alpha", "4", "--styles", path)
    record = json.loads(answer("info", path, "--json"))
    assert (record["kind"], record["generator"]["name"]) == ("styles or latents", "tiny")
    shapes = {array["array"]: array["shape"] for array in record["arrays"]}
    assert shapes["styles"] == "1 x 23" and shapes["seeds"] == "1"
    assert "styles" in answer("info", path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"no archive"])
def test_info_of_a_damaged_npz_is_refused(refused, tmp_path, content):
    path = tmp_path / "o.npz"
    path.write_bytes(content)
    assert refused("info", path) == f"{path}: is no sound NumPy file; save it again"


@pytest.mark.parametrize("as_json", [False, True])
def test_verify_of_what_is_no_atlas_says_so_once(run, tmp_path, as_json):
    path = tmp_path / "bad.h5"
    path.write_text("no atlas")
    result = run("verify", path, *["--json"] * as_json)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("is not an HDF5 file") == result.stderr.count("\n") == 1
