"""A CLIP in open_clip's layout: what it computes, and folders that do not hold one."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from styleatlas import load_encoder
from styleatlas.store.errors import CheckpointError, PromptError


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


def test_embeddings_are_those_of_open_clips_own_pipeline(letters):
    from open_clip.transform import image_transform
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (24, 37, 3), dtype=np.uint8)
    pipeline = image_transform(16, is_train=False, mean=(0.5,) * 3, std=(0.25,) * 3)
    with torch.inference_mode():
        known = letters.model.encode_image(pipeline(Image.fromarray(pixels))[None], normalize=True)
        known_text = letters.model.encode_text(letters.tokenizer(["a face"]), normalize=True)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    assert float((letters.images(images) - known).abs().max()) < 0.01
    assert torch.allclose(letters.texts(["a face"]), known_text, atol=1e-6)


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
    assert rounded.identity.sizes == {"width": 12, "image_size": 16, "context_length": 20}


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
