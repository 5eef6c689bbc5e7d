"""Names on the Hub wherever a command takes a generator, a CLIP, an atlas or a mapper."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import styleatlas
from styleatlas import Atlas
from styleatlas.engine.networks.resnet_face import ResNetFace18
from styleatlas.engine.steering import texts
from styleatlas.prompts.sets import PromptSet
from styleatlas.store import hub as module
from styleatlas.store.hub import cached, kept
from styleatlas.store.hub_names import read_name

from ..encoder_files import avatars_encoder
from ..hub import TOKEN, Hub, commit_of, files_below, hub_of
from ..near import assert_near, assert_pixels_near
from .edit_calls import ALPHA, EASY, PAIR, pixels

TINY, ATLAS = "hf://me/tiny/tiny.safetensors", "hf://me/tiny/tiny.h5"
CLIP = "hf://me/clip/open_clip_model.safetensors"
FACES = ("--neutral", "a face", "--target", "a bald face")
DRAW = ("--images", "1", "--samples", "0", "--statistics", "50", "--table", "sweep", "--quiet")


@pytest.fixture
def hub(monkeypatch, tmp_path_factory, checkpoint, tiny_path, clip_folder) -> Iterator[Hub]:
    with hub_of(monkeypatch, tmp_path_factory.mktemp("hub")) as hub:
        files = {"tiny.safetensors": checkpoint, "tiny.h5": tiny_path}
        contents = {name: path.read_bytes() for name, path in files.items()}
        hub.repository("me/tiny").commit(contents)
        of_clip = {path.name: path.read_bytes() for path in clip_folder.iterdir()}
        hub.repository("me/clip").commit(of_clip)
        yield hub


@pytest.fixture
def off_the_network(monkeypatch, hub):
    """From here on; and as if this were another process."""

    def off() -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr(module, "_seen", {})
        hub.host.asked.clear()

    return off


def test_an_edit_by_names_on_the_hub_is_that_by_files(run, hub, tiny_path, checkpoint, tmp_path):
    def edited(atlas: object, generator: object) -> np.ndarray:
        path = tmp_path / "out.png"
        fixed = (*PAIR, *EASY, *ALPHA, "--generator", generator, "-o", path)
        done = run("edit", atlas, *fixed)
        assert done.exit_code == 0, done.output
        return pixels(path)

    assert_pixels_near(edited(ATLAS, TINY), edited(tiny_path, checkpoint))


def test_an_atlas_knows_its_models_by_name_and_commit(run, answer, hub, tmp_path, off_the_network):
    own = tmp_path / "own.h5"
    done = run("precompute", TINY, "--clip", CLIP, *DRAW, "-o", own)
    assert done.exit_code == 0, done.output
    origin = Atlas.open(own).fingerprint
    assert origin.generator.name == f"{TINY}@{commit_of(1)}"
    assert origin.clip.name == f"{CLIP}@{commit_of(1)}"
    # Its files are the ones of then, though the branch has gone on, and need no network.
    hub.repository("me/tiny").commit({"tiny.safetensors": b"another"})
    off_the_network()
    path = tmp_path / "out.png"
    pair = ("--neutral", "a", "--target", "face", "--alpha", "1", "--beta", "0.01")
    answer("edit", own, *pair, "-o", path)
    assert path.is_file() and hub.host.asked == []
    editor = styleatlas.load(own)
    assert editor.generator.identity == origin.generator
    assert editor.texts.encoder.identity.sha256 == origin.clip.sha256


def test_a_whole_repository_is_a_clip(hub):
    for source in ("hf://me/clip", "hf-hub:me/clip"):
        encoder = styleatlas.load_encoder(source, "cpu")
        assert encoder.identity.name == f"hf://me/clip@{commit_of(1)}"
        by_file = styleatlas.load_encoder(CLIP, "cpu")
        assert encoder.identity.sha256 == by_file.identity.sha256
        assert encoder.identity.configuration == by_file.identity.configuration


def test_a_clips_own_vocabulary_comes_with_it(hub, clip_folder):
    here = styleatlas.load_encoder(clip_folder, "cpu").identity
    for source in ("hf://me/clip", CLIP):
        assert styleatlas.load_encoder(source, "cpu").identity.configuration == here.configuration


def test_files_of_the_hub_are_described_converted_and_proven(run, answer, hub, tmp_path):
    assert json.loads(answer("info", TINY, "--json"))["family"] == "stylegan2"
    assert json.loads(answer("info", ATLAS, "--json"))["kind"] == "atlas"
    assert "FAIL" not in answer("verify", ATLAS)
    assert answer("convert", TINY, tmp_path / "own.safetensors")
    for sheet in ((TINY, "--seed", "1"), (ATLAS, "b4.conv1:1", "--generator", TINY)):
        assert run("sheet", *sheet, "-o", tmp_path / "sheet.png").exit_code == 0


def test_a_file_of_the_hub_is_a_strangers(refused, hub, tmp_path):
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    hub.repository("me/bad").commit({"network.pkl": pickle.dumps({"G_ema": Code()})})
    told = refused("info", "hf://me/bad/network.pkl")
    assert "network.pkl" in told and not (tmp_path / "ran").exists()


def test_what_is_not_there_is_one_line_before_anything_heavy(refused, hub, process, tmp_path):
    out = ("-o", tmp_path / "x.png")
    for source in ("hf://me/tiny/x.h5", "hf://me/nothing/x.h5", "hf://me/tiny/tiny.h5@v9"):
        told = refused("edit", source, *PAIR, *out)
        assert told.startswith(f"{source}: ") and "; " in told
    done = process("edit", "hf://me/nothing/x.h5", *PAIR, *out)
    message, imported = done.stderr.splitlines()
    assert done.returncode == 1 and "the Hub shows no repository me/nothing; check the n" in message
    assert imported == "imported:"


def test_a_process_takes_the_hub_of_its_environment(process, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.repository("me/tiny").private = True
    done = process("models", "fetch", TINY)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stderr + done.stdout
    assert done.stdout.startswith(f"{TINY}@{commit_of(1)}: ")
    agents = {told["user-agent"] for _, _, told in hub.host.asked}
    assert all(x.startswith("styleatlas/") and "torch/" not in x for x in agents), agents
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.host.asked.clear()
    assert process("info", TINY).returncode == 0 and hub.host.asked == []


def test_models_of_the_hub_are_fetched_listed_found_and_removed(run, answer, refused, hub):
    before = answer("models", "list")
    pinned = f"{TINY}@{commit_of(1)}"
    assert "not fetched; `styleatlas models fetch" in refused("models path", TINY)
    done = run("models", "fetch", TINY, "hf://me/tiny/tiny.h5")
    path = cached(read_name(TINY)).path
    assert done.exit_code == 0 and done.stdout.splitlines()[0] == f"{pinned}: {path}"
    assert answer("models", "path", TINY) == answer("models", "path", pinned) == f"{path}\n"
    told = answer("models", "list")
    assert told.startswith(before.rstrip("\n")) and f"{pinned}: 0.0 MB\n  {path}" in told
    record = json.loads(answer("models", "list", "--json"))[-1]
    assert record["name"] == pinned and record["state"] == "fetched"
    assert record["bytes"] == path.stat().st_size
    assert answer("models", "remove", TINY) == f"{pinned}: removed, 0.0 MB\n"
    assert answer("models", "remove", TINY) == f"{TINY}: is not there\n"
    assert answer("models", "remove", "hf://me/tiny").startswith(f"{ATLAS}@{commit_of(1)}: removed")
    assert answer("models", "list") == before and not path.exists()


@pytest.mark.parametrize("name", [TINY, "hf://me/tiny"])
@pytest.mark.parametrize("revision", ["main", "v1"])
def test_a_branch_or_a_tag_names_what_is_removed_of_it(answer, run, hub, name, revision):
    repository = hub.repository("me/tiny")
    repository.branches["v1"] = commit_of(1)
    run("models", "fetch", f"{TINY}@v1")
    repository.commit({"tiny.safetensors": b"another"})
    run("models", "fetch", f"{TINY}@main")
    first, second = f"{TINY}@{commit_of(1)}", f"{TINY}@{commit_of(2)}"
    assert [str(one.name) for one in kept()] == [first, second]
    gone, left = (first, second) if revision == "v1" else (second, first)
    assert answer("models", "remove", f"{name}@next") == f"{name}@next: is not there\n"
    assert answer("models", "remove", f"{name}@{revision}") == f"{gone}: removed, 0.0 MB\n"
    assert [str(one.name) for one in kept()] == [left]


def test_the_cache_tells_of_them_and_forgets_them_when_asked(run, answer, hub):
    assert answer("cache", "list").endswith("files of the Hub: 0, 0.0 MB\n")
    run("models", "fetch", TINY, ATLAS)
    (one, _) = json.loads(answer("cache", "list", "--json"))["hub"]
    assert one["name"] == f"{ATLAS}@{commit_of(1)}"
    answer("cache", "clear")
    assert len(kept()) == 2
    assert answer("cache", "clear", "hub").startswith("files of the Hub: 2 removed, 0.")
    assert kept() == []


@pytest.mark.parametrize("name", ["hf://me", "hf://me/tiny/../x", "nothing"])
def test_a_name_that_is_none_is_wrong_usage(run, hub, name):
    done = run("models", "fetch", name)
    assert done.exit_code == 2 and hub.host.asked == []


def test_an_atlas_on_the_hub_stays_as_it_is(refused, run, hub, tmp_path):
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("x\n")
    told = refused("prompts add", ATLAS, phrases)
    assert told == f"{ATLAS}: lies on the Hub and stays as it is; add -o OUT.h5"


def test_a_mapper_on_the_hub_is_that_of_the_file(
    run, hub, checkpoint, clip_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(texts, "prompt_set", lambda name: PromptSet(("a", "face"), ("{}",)))
    path, out = tmp_path / "mapper.safetensors", tmp_path / "out.png"
    few = (*PAIR, "--clip", clip_folder, "--steps", "4", "--batch", "2", "--l2", "0", "--quiet")
    done = run("mapper", "train", checkpoint, *few, "-o", path)
    assert done.exit_code == 0, done.output
    hub.repository("me/tiny").commit({path.name: path.read_bytes()})
    found = []
    for mapper, generator in ((path, checkpoint), (f"hf://me/tiny/{path.name}", TINY)):
        done = run("mapper", "apply", mapper, "--generator", generator, "--seed", "1", "-o", out)
        assert done.exit_code == 0, done.output
        found.append(pixels(out))
    assert_pixels_near(*found)


def test_a_mapper_that_is_none_is_called_by_its_name(refused, hub):
    hub.repository("me/tiny").commit({"mapper.safetensors": b"none"})
    out = ("--seed", "1", "-o", "x.png")
    assert "mapper.safetensors" in refused("mapper apply", "hf://me/tiny/mapper.safetensors", *out)


def test_a_face_recogniser_on_the_hub_is_that_of_the_file(run, hub, tmp_path):
    path, name = tmp_path / "resnet18_110.pth", "hf://me/face/resnet18_110.pth"
    torch.save(ResNetFace18(excitation=False).half().state_dict(), path)
    hub.repository("me/face").commit({path.name: path.read_bytes()})
    few = ("--steps", "2", "--seed", "2", "--identity-weight", "1", "--json")
    found = []
    for source in (path, name):
        options = (*few, "--identity", source, "-o", tmp_path / "out.png")
        done = run("optimize", "avatars", "--clip", "avatars", *FACES, *options)
        assert done.exit_code == 0, done.output
        found.append([image["identity"] for image in json.loads(done.stdout)["images"]])
    assert_near(*np.array(found))
    assert any(found[0]) and [str(one.name) for one in kept()] == [f"{name}@{commit_of(1)}"]


def test_nothing_of_a_refused_file_stays_in_the_cache(refused, hub, tmp_path_factory):
    hub.trouble = lambda handler, content: handler.send_error(500)
    assert "the Hub answers 500" in refused("info", TINY)
    assert kept() == [] and cached(read_name(TINY)) is None
    folder = Path(module._cache())
    assert [name for name in files_below(folder) if "refs/" not in name] == []


def test_an_encoder_of_photos_on_the_hub_is_that_of_the_file(run, hub, tmp_path):
    encoder, photo = avatars_encoder(tmp_path / "restyle.pt"), tmp_path / "me.png"
    hub.repository("me/encoder").commit({"restyle.pt": encoder.read_bytes()})
    Image.new("RGB", (64, 64), "teal").save(photo)
    found = []
    for source in (encoder, "hf://me/encoder/restyle.pt"):
        fixed = ("--steps", 0, "--no-cache", "-o", tmp_path / "me.npz")
        done = run("invert", "avatars", photo, "--encoder", source, *fixed)
        assert done.exit_code == 0, done.output
        found.append(np.load(tmp_path / "me.npz")["w_plus"])
    assert_near(*found)
