from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleatlas.store.errors import AtlasFormatError, CheckpointError, FingerprintError
from styleatlas.store.fingerprint import (
    UNRECORDED,
    Fingerprint,
    ModelIdentity,
    digest,
    todays_settings,
    weights_sha256,
)
from styleatlas.store.registry import EMBEDDED

AVATARS = ModelIdentity("avatars", "a1" * 32, {"z": 32, "channels": 512})
FFHQ = ModelIdentity("ffhq", "f0" * 32, {"z": 512})
GOLDEN = "3cea65d2f63659eef3794deda56c6de0784007cef1b336ce3b3a76d700c31113"


def tensors() -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        (f"b{i}.weight", rng.normal(size=(2, i + 1)).astype(np.float16)) for i in range(5)
    ]  # fmt: skip


@given(st.permutations(range(5)))
def test_weights_hash_does_not_depend_on_order(order):
    listed = tensors()
    assert weights_sha256(listed[i] for i in order) == weights_sha256(listed)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f8"])
def test_weights_hash_does_not_depend_on_storage_type(dtype):
    stored = [(name, tensor.astype(dtype)) for name, tensor in tensors()]
    assert weights_sha256(stored) == weights_sha256(tensors())


def test_weights_hash_does_not_depend_on_memory_order():
    assert weights_sha256([("w", np.asfortranarray(np.eye(3)[:2]))]) == weights_sha256(
        [("w", np.ascontiguousarray(np.eye(3)[:2]))]
    )


@pytest.mark.parametrize(
    "changed",
    [
        [("w", np.zeros((2, 3)))],
        [("v", np.zeros((3, 2)))],
        [("w", np.full((3, 2), 1e-30))],
        [("w", np.zeros((3, 2))), ("b", np.zeros(0))],
    ],
)
def test_weights_hash_depends_on_names_shapes_and_values(changed):
    assert weights_sha256(changed) != weights_sha256([("w", np.zeros((3, 2)))])


def test_weights_hash_is_the_documented_one():
    # Golden: changing it would orphan every atlas in the world.
    assert weights_sha256([("b", np.arange(3)), ("a", np.ones((1, 2)))]) == GOLDEN


def test_weights_hash_refuses_nothing_and_repeats():
    with pytest.raises(CheckpointError, match="holds no tensors"):
        weights_sha256([])
    with pytest.raises(CheckpointError, match="tensor w: occurs twice"):
        weights_sha256([("w", np.ones(1)), ("w", np.ones(1))])


def test_identity_survives_json():
    assert ModelIdentity.from_json(AVATARS.to_json()) == AVATARS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"name": "a", "sha256": "00", "sizes": {}}',
        '{"name": "", "sha256": "%s", "sizes": {}}' % ("0" * 64),
        '{"name": 1, "sha256": "%s", "sizes": {}}' % ("0" * 64),
        '{"name": "a", "sha256": 1, "sizes": {}}',
        '{"name": "a", "sha256": "%s", "sizes": {"z": 1.5}}' % ("0" * 64),
        '{"name": "a", "sha256": "%s", "sizes": {"z": NaN}}' % ("0" * 64),
        '{"name": "a", "sha256": "%s", "sizes": {}, "more": 1}' % ("0" * 64),
    ],
)  # fmt: skip
def test_identity_refuses_other_json(text):
    with pytest.raises(AtlasFormatError, match="model identity"):
        ModelIdentity.from_json(text)


def test_matching_models_are_accepted_whatever_their_name():
    fingerprint = Fingerprint(AVATARS, FFHQ, {})
    fingerprint.require_generator(ModelIdentity("renamed", AVATARS.sha256, {}))
    fingerprint.require_clip(FFHQ)


def test_mismatched_generator_names_both_sides_and_the_mend():
    with pytest.raises(FingerprintError) as caught:
        Fingerprint(AVATARS, FFHQ, {}).require_generator(FFHQ)
    assert str(caught.value) == (
        'atlas and generator do not belong together: the atlas was drawn with "avatars" '
        '(a1a1a1a1a1a1), this generator is "ffhq" (f0f0f0f0f0f0); load the atlas\'s generator '
        "or draw an atlas for this one with `styleatlas precompute`"
    )


def test_refusal_names_the_option_for_tuned_generators_where_the_layers_agree():
    with pytest.raises(FingerprintError, match=r"if this one was tuned from it.* --tuned"):
        Fingerprint(AVATARS, FFHQ, {}).require_generator(FFHQ, alike=True)


def test_tuned_generator_is_accepted_by_the_hash_of_its_parent():
    tuned = ModelIdentity("photo", "0" * 64, {}, AVATARS.sha256)
    Fingerprint(AVATARS, FFHQ, {}).require_generator(tuned)
    assert ModelIdentity.from_json(tuned.to_json()) == tuned
    assert "tuned_from" not in AVATARS.to_json()  # as earlier versions read it
    with pytest.raises(FingerprintError):
        Fingerprint(FFHQ, FFHQ, {}).require_generator(tuned)
    with pytest.raises(AtlasFormatError, match="must be 64 lower-case hex digits"):
        ModelIdentity("photo", "0" * 64, {}, "avatars")


def test_mismatched_clip_names_both_sides_and_the_mend():
    with pytest.raises(FingerprintError) as caught:
        Fingerprint(AVATARS, FFHQ, {}).require_clip(AVATARS)
    assert str(caught.value) == (
        'atlas and CLIP do not belong together: the atlas was drawn with "ffhq" (f0f0f0f0f0f0), '
        'this CLIP is "avatars" (a1a1a1a1a1a1); load the atlas\'s CLIP or draw an atlas with '
        "this one by `styleatlas precompute --clip`"
    )


TOLD = {"width": 12, "quick_gelu": 1, "network": 5, "preprocessing": 6, "tokenizer": 7}


def clip_with(**changes: int) -> ModelIdentity:
    return ModelIdentity("clip", "c" * 64, TOLD | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quick_gelu": 0}, "its activation"),
        ({"network": 0}, "its layers"),
        ({"preprocessing": 0, "tokenizer": 0}, "its preparation of images and its tokenizer"),
        ({"width": 13}, "its width"),
    ],
)
def test_clip_of_the_same_weights_and_another_configuration_is_refused_by_what_differs(
    changes, words
):
    with pytest.raises(FingerprintError) as caught:
        Fingerprint(AVATARS, clip_with(), {}).require_clip(clip_with(**changes))
    assert str(caught.value) == (
        'atlas and CLIP do not belong together: the atlas was drawn with "clip" (cccccccccccc), '
        f'this CLIP is "clip" (cccccccccccc), of the same weights, but not the same in {words}; '
        "load the atlas's CLIP or draw an atlas with this one by `styleatlas precompute --clip`"
    )


def test_clip_that_tells_no_configuration_is_told_by_its_weights():
    before = ModelIdentity("clip", "c" * 64, {"width": 12})
    for one, other in ((before, clip_with()), (clip_with(), before), (before, before)):
        Fingerprint(AVATARS, one, {}).require_clip(other)
    assert before.key == "c" * 64 and clip_with().key not in (before.key, clip_with(network=4).key)
    assert before.clip_record()["configuration"] == UNRECORDED
    assert ModelIdentity.from_json(clip_with().to_json()) == clip_with()


def test_digest_is_the_same_for_the_same_object_and_fits_any_reader_of_json():
    assert digest({"a": 1, "b": [2.0]}) == digest({"b": [2.0], "a": 1}) < 2**52
    assert digest({"a": 1}) == 0xF9D86028C6E0D != digest({"a": 2})


def test_clip_of_the_same_image_tower_asks_for_the_prompts_alone():
    before, now = (ModelIdentity("avatars", sha256, {}) for sha256 in EMBEDDED.same_images)
    with pytest.raises(FingerprintError) as caught:
        Fingerprint(FFHQ, before, {}).require_clip(now)
    assert str(caught.value) == (
        f"atlas and CLIP do not belong together: the atlas was drawn with {before}, this CLIP is "
        f"{now}; they see images alike: embed the atlas's prompts anew with `styleatlas prompts "
        "renew ATLAS --clip avatars`"
    )


def test_settings_are_what_a_file_would_give_back():
    settings = Fingerprint(AVATARS, FFHQ, {"shape": (1, 2)}).settings
    assert settings == {"shape": [1, 2]}


@pytest.mark.parametrize("value", [float("nan"), object(), b"bytes"])
def test_settings_that_json_cannot_hold_are_refused(value):
    with pytest.raises(AtlasFormatError, match=r"settings: .*use JSON values only"):
        Fingerprint(AVATARS, FFHQ, {"value": value})


@pytest.mark.parametrize(
    ("settings", "today"),
    [
        ({"method": "sweep", "samples": 10}, {"table": "sweep", "statistics": 10}),
        ({"table": "sweep", "statistics": 10, "samples": 7}, None),
        ({"table": "sweep", "statistics": 10}, None),
        ({}, None),
    ],
)
def test_settings_are_read_under_the_names_of_today(settings, today):
    assert todays_settings(settings) == (settings if today is None else today)
