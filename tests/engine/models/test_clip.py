"""A CLIP in open_clip's layout: what it computes, and folders that do not hold one."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from styleatlas import load_encoder
from styleatlas.engine.models.clip import OpenClipEncoder, count_tokens
from styleatlas.engine.models.clip_network import MOST_VOCABULARY
from styleatlas.store.errors import CheckpointError, PromptError

from ...near import assert_near


@pytest.fixture
def letters(clip_folder):
    return load_encoder(clip_folder, "cpu")


@pytest.fixture
def copied(clip_folder, tmp_path) -> Path:
    """A copy of the folder, to spoil."""
    return Path(shutil.copytree(clip_folder, tmp_path / "clip"))


def refused(folder: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoder(folder, "cpu")
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_texts_and_images_become_unit_vectors(letters):
    images = torch.rand(3, 3, 40, 30) * 2 - 1
    for vectors in (letters.texts(["a face", "a hat"]), letters.images(images)):
        assert vectors.shape[1] == letters.width == 12
        assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-6)
    assert not torch.isclose(*letters.texts(["a face", "a hat"])).all()
    grey = letters.images(images[:, :1])
    assert torch.allclose(grey, letters.images(images[:, :1].repeat(1, 3, 1, 1)), atol=1e-6)


@pytest.mark.parametrize("size", [(24, 24), (24, 37), (37, 12)])
def test_embeddings_are_those_of_open_clips_own_pipeline(letters, size):
    """Of the whole picture: one that is not square lies on a square of the mean's colour."""
    from open_clip.transform import image_transform
    from PIL import Image

    (height, width), side = size, max(size)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    square = Image.new("RGB", (side, side), (128, 128, 128))
    square.paste(Image.fromarray(pixels), ((side - width) // 2, (side - height) // 2))
    pipeline = image_transform(16, is_train=False, mean=(0.5,) * 3, std=(0.25,) * 3)
    with torch.inference_mode():
        known = letters.model.encode_image(pipeline(square)[None], normalize=True)
        known_text = letters.model.encode_text(letters.tokenizer(["a face"]), normalize=True)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    assert float((letters.images(images) - known).abs().max()) < 0.01
    assert torch.allclose(letters.texts(["a face"]), known_text, atol=1e-6)


def with_text_tower(letters: OpenClipEncoder, text_cfg: dict[str, Any]) -> OpenClipEncoder:
    """The same tokenizer with a random CLIP whose text tower is described otherwise."""
    from open_clip.model import CLIP

    vision = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8}
    text = {"context_length": 20, "vocab_size": 516, "width": 16, "heads": 2, "layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIP(12, vision, text | text_cfg)
    known = (letters.tokenizer, letters.preprocessing, letters.identity, letters.device)
    return OpenClipEncoder(model, *known)


def lengths_seen(encoder: OpenClipEncoder, texts: list[str]) -> tuple[list[int], float]:
    """The lengths the text tower worked on, and how far the vectors are from the uncut ones."""
    tokens = encoder.tokenizer(texts)
    with torch.inference_mode():
        known = encoder.model.encode_text(tokens, normalize=True)
    seen: list[int] = []
    tower = encoder.model.transformer
    with tower.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1])):
        difference = (encoder.texts(texts) - known).abs().max()
    return seen, float(difference)


@pytest.mark.parametrize(
    "text_cfg",
    [
        {},
        {"pool_type": "eos", "eos_id": 515},
        {"pool_type": "eos", "eos_id": 3},  # never there: open_clip then reads the first token
        {"layers": 3, "proj_bias": True},
        {"proj_type": "none"},
    ],
)
def test_texts_are_read_to_the_end_of_the_longest_only_and_exactly_so(letters, text_cfg):
    encoder = with_text_tower(letters, text_cfg)
    for texts in (["a face"], ["x", "a face", "x x x"], ["a face", "x " * 18]):
        seen, difference = lengths_seen(encoder, texts)
        longest = max(count_tokens(encoder.tokenizer, text) for text in texts)
        assert seen == [1 if text_cfg.get("eos_id") == 3 else longest]
        assert difference < 1e-6


@pytest.mark.parametrize("text_cfg", [{"no_causal_mask": True}, {"pool_type": "last"}])
def test_tower_that_looks_past_the_end_sees_the_whole_context(letters, text_cfg):
    seen, difference = lengths_seen(with_text_tower(letters, text_cfg), ["a face", "x"])
    assert seen == [20] and difference < 1e-6


def test_gradient_flows_from_the_embedding_to_the_image(letters):
    images = (torch.rand(1, 3, 40, 40) - 0.5).requires_grad_()
    letters.images(images)[:, 0].sum().backward()
    assert images.grad.isfinite().all() and (images.grad != 0).any()


def test_text_longer_than_the_context_is_refused_and_the_longest_is_not(letters):
    assert letters.texts(["x " * 18]).shape == (1, 12)
    with pytest.raises(PromptError, match='takes 21 tokens of the 20 that CLIP "letters0" reads'):
        letters.texts(["short", "x " * 19])


def test_identity_knows_the_weights_and_not_the_storage_type(letters, copied):
    path = copied / "open_clip_model.safetensors"
    tensors = load_file(path)
    save_file({key: tensor.half().float() for key, tensor in tensors.items()}, path)
    rounded = load_encoder(copied, "cpu")
    save_file({key: tensor.half() for key, tensor in tensors.items()}, path)
    assert load_encoder(copied, "cpu").identity == rounded.identity
    assert rounded.identity.sha256 != letters.identity.sha256
    sizes = {"width": 12, "image_size": 16, "context_length": 20}
    assert rounded.identity.sizes == sizes | rounded.identity.configuration


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        "{}",
        '{"model_cfg": {}, "preprocess_cfg": {"mean": [0], "std": [1]}}',
        '{"model_cfg": {"embed_dim": 4}, "preprocess_cfg": {}}',
    ],
)
def test_configuration_that_describes_no_clip_is_refused(copied, config):
    (copied / "open_clip_config.json").write_text(config)
    refused(copied, "open_clip_config.json: is no CLIP configuration that can be built")


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "open_clip_model.pt"])
def test_weights_by_torch_save_are_the_same_clip(letters, copied, name):
    path = copied / "open_clip_model.safetensors"
    torch.save(load_file(path), copied / name)
    path.unlink()
    encoder = load_encoder(copied, "cpu")
    assert encoder.identity.sha256 == letters.identity.sha256
    assert_near(encoder.texts(["a face"]), letters.texts(["a face"]))


def test_safetensors_are_read_before_any_other_weights(letters, copied):
    (copied / "open_clip_pytorch_model.bin").write_bytes(b"never opened")
    assert load_encoder(copied, "cpu").identity.sha256 == letters.identity.sha256


def test_file_beside_its_configuration_is_a_clip_too(letters, copied):
    (copied / "open_clip_model.safetensors").rename(copied / "mine.weights")
    encoder = load_encoder(copied / "mine.weights", "cpu")
    assert encoder.identity.name == "mine"
    assert encoder.identity.sha256 == letters.identity.sha256
    assert encoder.preprocessing == letters.preprocessing
    assert_near(encoder.texts(["a face"]), letters.texts(["a face"]))


def changed(folder: Path, section: str, **values: Any) -> None:
    """Change values of a section of the configuration: of `model_cfg` at "", or of one in it."""
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    model = config["model_cfg"]
    target = {"": model, "preprocess_cfg": config["preprocess_cfg"]}.get(section)
    target = model[section] if target is None else target
    target.update(values)
    path.write_text(json.dumps(config))


def test_preprocessing_that_is_not_named_is_that_of_openais_clip(copied):
    path = copied / "open_clip_config.json"
    config = json.loads(path.read_text())
    del config["preprocess_cfg"]
    path.write_text(json.dumps(config))
    settings = load_encoder(copied, "cpu").preprocessing
    assert settings.mean == (0.48145466, 0.4578275, 0.40821073)
    assert settings.std == (0.26862954, 0.26130258, 0.27577711)
    assert (settings.interpolation, settings.resize_mode) == ("bicubic", "shortest")


def test_one_number_is_the_mean_of_all_colours(copied):
    changed(copied, "preprocess_cfg", mean=0.25, std=1)
    settings = load_encoder(copied, "cpu").preprocessing
    assert (settings.mean, settings.std) == ((0.25,) * 3, (1.0,) * 3)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("mean", [0.5, 0.5], "mean must be three numbers"),
        ("mean", "grey", "mean must be three numbers"),
        ("std", [0.5, 0.5, None], "std must be three numbers"),
        ("std", [0.5, 0.5, float("nan")], "std must be three numbers"),
        ("std", [0.5, 0, 0.5], r"std is \[0.5, 0.0, 0.5\], must be above 0"),
        ("resize_mode", "longest", "resize_mode is longest, must be shortest or squash"),
        ("interpolation", "nearest", "interpolation is nearest, must be bicubic or bilinear"),
    ],
)
def test_preprocessing_that_is_not_supported_is_refused_by_its_key(copied, key, value, message):
    changed(copied, "preprocess_cfg", **{key: value})
    refused(copied, message)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("vision_cfg", {"layers": 10**9}, "it has more layers than the 38 tensors of its weights"),
        ("vision_cfg", {"layers": [10**9, 1]}, "it has more layers than the 38 tensors"),
        ("text_cfg", {"layers": 10**9}, "it has more layers than the 38 tensors"),
        ("vision_cfg", {"image_size": 10**9}, "image_size is 1000000000, must be a whole number"),
        ("vision_cfg", {"image_size": [16, 8]}, "image_size is a list, must be a whole number"),
        (
            "vision_cfg",
            {"image_size": 4096, "patch_size": 1, "width": 4096, "pos_embed_type": "sin_cos_2d"},
            "its grid of patches is larger than its weights",
        ),
        ("vision_cfg", {"width": 10**6}, r"visual.class_embedding has shape \(16,\) where"),
        ("text_cfg", {"context_length": 10**9}, "context_length is 1000000000, must be a whole"),
        ("text_cfg", {"context_length": 4096}, r"positional_embedding has shape \(20, 16\) where"),
        ("text_cfg", {"vocab_size": 10**9}, r"token_embedding.weight has shape \(516, 16\) where"),
        ("text_cfg", {"heads": 0}, "is no CLIP configuration that can be built"),
        ("text_cfg", {"unknown": 0}, "is no CLIP configuration that can be built"),
        ("", {"embed_dim": 10**12}, "embed_dim is 1000000000000, must be a whole number"),
        ("", {"text_cfg": []}, "text_cfg is a list, must be an object"),
        ("", {"multimodal_cfg": {"layers": 10**9}}, "it has more layers than the 38 tensors"),
        ("", {"__class__": 1}, "is no CLIP configuration that can be built"),
    ],
)
def test_configuration_of_a_network_its_weights_do_not_hold_builds_nothing(
    copied, section, values, message, monkeypatch
):
    from open_clip.model import CLIP

    build = CLIP.__init__

    def build_on_meta_only(self, *args, **keywords):
        assert torch.empty(0).device.type == "meta"
        build(self, *args, **keywords)

    monkeypatch.setattr(CLIP, "__init__", build_on_meta_only)
    changed(copied, section, **values)
    refused(copied, message)


def test_tokenizer_setting_that_could_run_code_is_refused(copied):
    changed(copied, "text_cfg", tokenizer_kwargs={"clean": "lower", "trust_remote_code": True})
    refused(copied, r"tokenizer_kwargs may hold clean, language, strip_sep_token")


def test_vocabulary_that_is_damaged_is_refused(copied):
    (copied / "bpe.txt.gz").write_bytes(b"no gzip")
    refused(copied, "its tokenizer cannot be loaded")


def test_vocabulary_that_unpacks_to_too_much_is_refused(copied):
    (copied / "bpe.txt.gz").write_bytes(gzip.compress(bytes(MOST_VOCABULARY + 1)))
    refused(copied, "bpe.txt.gz: unpacks to more than 32 MiB")


@pytest.mark.parametrize("name", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_missing_file_of_a_clip_is_named(copied, name):
    (copied / name).unlink()
    refused(copied, name)


def test_weights_of_another_clip_are_refused(copied):
    path = copied / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["embed_dim"] = 8
    path.write_text(json.dumps(config))
    refused(copied, r"text_projection has shape \(16, 12\) where \(16, 8\) is needed")


def test_vocabulary_of_another_clip_is_refused(copied):
    merges = "#version: other\nf a\nc e</w>\nx y"
    (copied / "bpe.txt.gz").write_bytes(gzip.compress(merges.encode()))
    refused(copied, "its vocabulary has 517 tokens and its model 516; put the model's own")
