from __future__ import annotations

from pathlib import Path

import pytest

from styleatlas import Atlas
from styleatlas.store import registry
from styleatlas.store.errors import CheckpointError, OptionError
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.registry import (
    BUNDLES,
    EMBEDDED,
    FACES,
    FETCHED,
    Fetched,
    bundle_of,
    find_bundle,
    names_with,
    see_alike,
    told_with,
)
from styleatlas.store.weights import GROUPS, WEIGHTS

ROOT = Path(registry.__file__).parents[1]


def test_everything_a_bundle_names_ships_or_is_fetched():
    for bundle in BUNDLES.values():
        parts = {name: value for name, value in vars(bundle).items() if isinstance(value, Path)}
        assert all(path.exists() for path in parts.values())
        assert (bundle.vocabulary is None) == (not bundle.templates)
        if isinstance(bundle.generator, Fetched):
            weights = WEIGHTS[bundle.generator.weights]
            files = {path.name for path in weights.files} | {weights.converted}
            assert bundle.generator.file in files and bundle.name in GROUPS
    whole = (EMBEDDED.generator, EMBEDDED.clip, EMBEDDED.atlas, EMBEDDED.vocabulary)
    assert all(isinstance(path, Path) for path in whole) and EMBEDDED.templates[0] == "{}"


def test_names_are_told_of_those_that_have_a_part():
    assert names_with("generator") == ("avatars", "faces")
    assert told_with("generator") == "`avatars` or `faces`"
    assert names_with("clip") == names_with("atlas") == names_with("judge") == ("avatars",)


def test_a_part_that_a_bundle_lacks_is_refused_with_what_to_do():
    assert EMBEDDED.part("clip") == EMBEDDED.clip
    with pytest.raises(OptionError, match="atlas: `faces` has none yet; `styleatlas precompute f"):
        FACES.part("atlas")
    with pytest.raises(OptionError, match="CLIP: `faces` has none; name a CLIP's file"):
        FACES.part("clip")


def test_a_generator_lies_where_it_was_fetched_to_and_is_asked_for_before(monkeypatch, tmp_path):
    monkeypatch.setenv("STYLEATLAS_MODELS", str(tmp_path))
    with pytest.raises(CheckpointError, match="faces: not fetched yet; `styleatlas models fetch f"):
        FACES.part("generator")
    folder = tmp_path / "mobile-stylegan-2021.7.21.1"
    folder.mkdir()
    (folder / "generator.safetensors").write_bytes(b"")
    assert FACES.part("generator") == folder / "generator.safetensors"


def test_a_name_is_found_and_a_path_is_not():
    assert find_bundle("avatars") is EMBEDDED
    for other in ("avatars.h5", "./avatars", Path("models/avatars"), ""):
        assert find_bundle(other) is None


def test_a_model_knows_its_bundle_by_name():
    for name, bundle in (("avatars", EMBEDDED), ("ffhq", None)):
        assert bundle_of(ModelIdentity(name, "0" * 64, {})) is bundle


def test_clips_of_one_image_tower_are_those_that_ship_and_shipped():
    before, shipped = EMBEDDED.same_images[0], Atlas.open(EMBEDDED.atlas).fingerprint.clip.sha256
    assert EMBEDDED.same_images[-1] == shipped != before
    assert see_alike(before, shipped) and see_alike(shipped, before)
    assert not see_alike(shipped, "0" * 64) and not see_alike("0" * 64, "0" * 64)


def test_an_atlas_is_opened_by_name():
    assert Atlas.open("avatars").fingerprint == Atlas.open(EMBEDDED.atlas).fingerprint


@pytest.mark.parametrize("room", ["engine", "precompute", "prompts", "store"])
def test_no_room_but_the_registry_knows_the_name(room):
    files = [path for path in (ROOT / room).rglob("*.py") if EMBEDDED.name in path.read_text()]
    assert files == ([ROOT / "store" / "registry.py"] if room == "store" else [])


@pytest.mark.parametrize("name", FETCHED)
def test_a_name_of_fetched_weights_is_a_file_of_them_and_of_no_bundle(name):
    weights, file = FETCHED[name]
    assert file in {Path(member).name for member in WEIGHTS[weights].members}
    assert name not in BUNDLES
