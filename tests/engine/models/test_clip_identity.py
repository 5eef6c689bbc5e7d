"""Which CLIP it is: all that its embeddings depend on counts, and nothing else does."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from styleatlas import load_encoder
from styleatlas.engine.models.clip import OpenClipEncoder
from styleatlas.engine.models.preprocess import preprocess as prepare
from styleatlas.store.errors import FingerprintError
from styleatlas.store.fingerprint import Fingerprint, ModelIdentity

VISION = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 8}
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
MODEL: dict[str, Any] = {"embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT}

Made = Callable[..., OpenClipEncoder]


@pytest.fixture
def made(tmp_path) -> Made:
    """Encoders of the same weights, in folders that describe them in their own ways."""
    from open_clip.model import CLIP

    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = CLIP(**MODEL).state_dict()

    def make(model: dict[str, Any], preprocess: dict[str, Any] | None = None) -> OpenClipEncoder:
        folder = tmp_path / f"clip{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        config = {"model_cfg": model, "preprocess_cfg": preprocess or {}}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        save_file(weights, folder / "open_clip_model.safetensors")
        encoder = load_encoder(folder, "cpu")
        assert isinstance(encoder, OpenClipEncoder)
        return encoder

    return make


def changed(section: str, **values: Any) -> dict[str, Any]:
    return MODEL | {section: MODEL[section] | values}


PICTURE = torch.linspace(-1, 1, 3 * 40 * 50).reshape(1, 3, 40, 50).sin()


def prepared(encoder: OpenClipEncoder) -> torch.Tensor:
    return prepare(PICTURE, encoder.preprocessing)


@pytest.mark.parametrize(
    ("model", "preprocess", "difference"),
    [
        (MODEL | {"quick_gelu": True}, {}, "its activation"),
        (changed("vision_cfg", head_width=16), {}, "its layers"),
        (changed("text_cfg", heads=4), {}, "its layers"),
        (changed("text_cfg", norm_kwargs={"eps": 0.1}), {}, "its layers"),
        (changed("text_cfg", no_causal_mask=True), {}, "its layers"),
        (MODEL, {"mean": [0.5, 0.5, 0.5]}, "its preparation of images"),
        (MODEL, {"std": [0.5, 0.5, 0.5]}, "its preparation of images"),
        (MODEL, {"interpolation": "bilinear"}, "its preparation of images"),
        (MODEL, {"resize_mode": "squash"}, "its preparation of images"),
        (changed("text_cfg", tokenizer_kwargs={"clean": "whitespace"}), {}, "its tokenizer"),
    ],
)
def test_same_weights_with_other_embeddings_are_another_clip(made, model, preprocess, difference):
    one, other = made(MODEL), made(model, preprocess)
    texts = ["A face", "a dog"]
    moved = max(
        float((one.texts(texts) - other.texts(texts)).abs().max()),
        float((one.images(PICTURE) - other.images(PICTURE)).abs().max()),
        # Of what was cut to a square by the CLIP's own way, which `images` leaves nothing to cut.
        float((prepared(one) - prepared(other)).abs().max()),
    )
    assert moved > 1e-5, "so the two may not stand for each other"
    assert one.identity.sha256 == other.identity.sha256
    assert one.identity.differences(other.identity) == [difference]
    assert one.identity.key != other.identity.key
    atlas = Fingerprint(ModelIdentity("g", "0" * 64, {}), one.identity, {})
    message = f"of the same weights, but not the same in {difference}; load the atlas's CLIP"
    with pytest.raises(FingerprintError, match=message):
        atlas.require_clip(other.identity)
    atlas.require_clip(made(MODEL).identity)


def test_another_vocabulary_of_the_same_length_is_another_clip(clip_folder, tmp_path):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    merges = b"#version: letters\nd o\nc e</w>"
    (folder / "bpe.txt.gz").write_bytes(gzip.compress(merges, mtime=0))
    one, other = load_encoder(clip_folder, "cpu"), load_encoder(folder, "cpu")
    assert not torch.allclose(one.texts(["a dog"]), other.texts(["a dog"]), atol=1e-4)
    assert one.identity.differences(other.identity) == ["its tokenizer"]


@pytest.mark.parametrize(
    ("model", "preprocess"),
    [
        (MODEL | {"quick_gelu": False}, {}),
        (changed("vision_cfg", mlp_ratio=4, patch_dropout=0.5, ls_init_value=None), {}),
        (changed("text_cfg", pad_id=0, pool_type="argmax", act_kwargs=None), {}),
        (changed("vision_cfg", timm_pool="avg", output_tokens=False), {}),
        (MODEL, {"size": 32, "interpolation": "bicubic", "resize_mode": "shortest"}),
        (
            MODEL,
            {
                "mean": [0.48145466, 0.4578275, 0.40821073],
                "std": (0.26862954, 0.26130258, 0.27577711),
                "fill_color": 0,
            },
        ),
    ],
)
def test_one_clip_described_in_several_ways_is_one(made, model, preprocess):
    one, other = made(MODEL), made(model, preprocess)
    assert other.identity == replace(one.identity, name=other.identity.name)
    assert torch.equal(one.texts(["a face"]), other.texts(["a face"]))
    assert torch.equal(one.images(PICTURE), other.images(PICTURE))


def test_identity_of_weights_alone_as_it_was_before_is_accepted(made):
    quick, plain = made(MODEL | {"quick_gelu": True}), made(MODEL)
    sizes = {"width": 12, "image_size": 32, "context_length": 20}
    before = ModelIdentity("clip", quick.identity.sha256, sizes)
    for encoder in (quick, plain):
        Fingerprint(before, before, {}).require_clip(encoder.identity)
    assert "not proven" in before.clip_record()["configuration"]
    assert quick.identity.clip_record()["activation"] == "QuickGELU"
    assert plain.identity.clip_record()["activation"] == "GELU"
    other = replace(before, sizes=sizes | {"image_size": 64})
    assert other.differences(quick.identity) == ["its image_size"]
