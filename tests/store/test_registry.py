from __future__ import annotations

from pathlib import Path

import pytest

from styleatlas import Atlas
from styleatlas.store import registry
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.registry import (
    BUNDLES,
    EMBEDDED,
    FETCHED,
    NAMES,
    bundle_of,
    find_bundle,
    see_alike,
)
from styleatlas.store.weights import WEIGHTS

ROOT = Path(registry.__file__).parents[1]


def test_everything_a_bundle_names_is_there():
    for bundle in BUNDLES.values():
        files = (bundle.generator, bundle.clip, bundle.atlas, bundle.vocabulary)
        assert all(path.exists() for path in files)
        more = (bundle.judge, bundle.identity, bundle.suite)
        assert all(path is None or path.is_file() for path in more)
        assert bundle.templates[0] == "{}" and f"`{bundle.name}`" in NAMES


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
