"""CLIPs of Hugging Face's transformers: equal to its own embeddings, or refused by what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from styleatlas import load_encoder
from styleatlas.engine.checkpoints.clip_file import read_clip_weights
from styleatlas.store.errors import CheckpointError

from ... import transformers_clip as theirs

NAMES = list(theirs.CONFIGS)
TOLERANCE = 1e-6


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture
def folder(tmp_path) -> Path:
    theirs.write(tmp_path / "clip", "quick")
    return tmp_path / "clip"


def require_golden(source: Path | str, name: str) -> None:
    encoder = load_encoder(source, "cpu")
    images = theirs.as_images(theirs.pictures())
    with np.load(theirs.GOLDEN) as golden:
        texts, pictures = (torch.from_numpy(golden[f"{name}.{x}"]) for x in ("texts", "images"))
    assert float((encoder.texts(theirs.TEXTS) - texts).abs().max()) < TOLERANCE
    assert float((encoder.images(images) - pictures).abs().max()) < TOLERANCE


def test_the_two_activations_differ_by_more_than_the_tolerance():
    with np.load(theirs.GOLDEN) as golden:
        for part in ("texts", "images"):
            difference = np.abs(golden[f"quick.{part}"] - golden[f"plain.{part}"]).max()
            assert difference > 1000 * TOLERANCE


def test_folder_gives_the_embeddings_of_transformers(name, tmp_path):
    theirs.write(tmp_path, name)
    require_golden(tmp_path, name)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / file).is_file()
    require_golden(tmp_path / "model.safetensors", name)


def test_older_files_of_torch_give_the_same(folder):
    state = load_file(folder / "model.safetensors")
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]  # once saved, too
    torch.save(state, folder / "pytorch_model.bin")
    whole = load_encoder(folder, "cpu").identity
    (folder / "model.safetensors").unlink()
    require_golden(folder, "quick")
    assert load_encoder(folder, "cpu").identity == whole


def test_processor_of_today_lies_in_a_file_of_its_own(tmp_path):
    theirs.write(tmp_path, "plain")
    old = tmp_path / "preprocessor_config.json"
    nested = {"image_processor": json.loads(old.read_text()), "processor_class": "CLIPProcessor"}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    old.unlink()
    require_golden(tmp_path, "plain")


def test_repository_on_the_hub_comes_from_the_cache(hub):
    folder = hub("someone/clip")
    theirs.write(folder, "plain")
    (folder / "vocab.json").write_text(json.dumps(vocabulary()))
    require_golden("hf-hub:someone/clip", "plain")
    name = load_encoder("hf-hub:someone/clip", "cpu").identity.name
    assert name == f"hf://someone/clip@{'0' * 40}"


def test_open_clips_layout_comes_first_where_a_folder_holds_both(folder, tmp_path):
    encoder = load_encoder(folder, "cpu")
    model = {
        "embed_dim": 12,
        "quick_gelu": True,
        "vision_cfg": {
            **{"image_size": 32, "patch_size": 8, "width": 24, "layers": 2, "head_width": 8},
            "mlp_ratio": 40.5 / 24,
        },
        "text_cfg": {"width": 16, "heads": 2, "layers": 2},
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    weights = read_clip_weights(folder / "model.safetensors").tensors
    torch.save(weights, folder / "open_clip_pytorch_model.bin")
    (folder / "model.safetensors").write_bytes(b"not read")
    assert load_encoder(folder, "cpu").identity == encoder.identity, "the same in both layouts"
    require_golden(folder, "quick")


def test_file_without_its_description_is_refused(folder):
    (folder / "config.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"transformers without its config\.json, which tells"
    ):
        load_encoder(folder / "model.safetensors", "cpu")


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (
            "",
            {"model_type": "siglip"},
            r"of the type siglip, not clip; SigLIP is read as open_clip",
        ),
        ("", {"model_type": "clip_text_model"}, "both towers are needed"),
        ("", {"model_type": "chinese_clip"}, "chinese_clip, not clip; name a CLIP in the layout"),
        ("", {"projection_dim": 512}, "projection_dim is 512, the weights have 12"),
        ("vision_config", {"hidden_size": 768}, "vision_config.hidden_size is 768, the weights"),
        ("vision_config", {"image_size": 224}, "vision_config.image_size is 224, the weights"),
        ("text_config", {"num_hidden_layers": 12}, "text_config.num_hidden_layers is 12, the we"),
        ("text_config", {"hidden_act": "gelu"}, "hidden_act is quick_gelu and gelu, must be quic"),
        ("text_config", {"hidden_act": ["gelu"]}, "hidden_act is quick_gelu and a list"),
        ("text_config", {"eos_token_id": 7}, "eos_token_id is 7, must be 49407"),
        ("text_config", {"num_attention_heads": 3}, "num_attention_heads is 3 for 16 channels"),
        ("text_config", {"num_attention_heads": 0}, "num_attention_heads is 0 for 16 channels"),
        ("text_config", {"layer_norm_eps": -1}, "text_config.layer_norm_eps is -1"),
        ("", {"text_config": 3}, "text_config is 3, must be an object"),
    ],
)
def test_description_of_something_else_is_refused_by_what_differs(section, values, message, folder):
    config = json.loads((folder / "config.json").read_text())
    (config[section] if section else config).update(values)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoder(folder, "cpu")
    assert str(caught.value).startswith(f"{folder / 'config.json'}: ")


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "{", '"clip"', "\x00"])
def test_description_that_is_no_object_is_refused(text, folder):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read as JSON"):
        load_encoder(folder, "cpu")


def test_description_of_gigabytes_is_not_read(folder):
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(CheckpointError, match="is longer than 33554432 bytes"):
        load_encoder(folder, "cpu")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"resample": 0}, "resample is 0, must be 2 or 3"),
        ({"do_resize": False}, "do_resize is False, must be True"),
        ({"rescale_factor": 1}, "rescale_factor is 1, must be 0.0039"),
        ({"crop_size": 64}, "crop_size must be the 32 pixels that the weights take"),
        ({"size": {"shortest_edge": 40}}, "images are not brought to 32 pixels by their shorter"),
        ({"do_center_crop": False}, "images are not brought to 32 pixels by their shorter"),
        ({"image_mean": [0.5]}, "mean must be three numbers"),
    ],
)
def test_preparation_that_no_clip_of_open_clips_has_is_refused(values, message, folder):
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(CheckpointError, match=message):
        load_encoder(folder, "cpu")


@pytest.mark.parametrize(
    ("values", "mean", "mode"),
    [
        ({"do_normalize": False}, (0.0, 0.0, 0.0), "shortest"),
        ({"size": {"height": 32, "width": 32}}, None, "squash"),
        ({"size": 32, "do_center_crop": False}, None, None),
        ({"size": {"height": 32, "width": 32}, "do_center_crop": False}, None, "squash"),
    ],
)
def test_preparation_is_read(values, mean, mode, folder):
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    if mode is None:
        with pytest.raises(CheckpointError, match="images are not brought"):
            load_encoder(folder, "cpu")
        return
    found = load_encoder(folder, "cpu").preprocessing
    assert found.resize_mode == mode
    assert found.mean == (mean or (0.48145466, 0.4578275, 0.40821073))


def vocabulary() -> dict[str, int]:
    """OpenAI's, under the names that transformers has for its two special tokens."""
    from open_clip.tokenizer import SimpleTokenizer

    special = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    return {special.get(word, word): i for word, i in SimpleTokenizer().encoder.items()}


@pytest.mark.parametrize("file", ["vocab.json", "tokenizer.json"])
def test_folder_with_another_vocabulary_is_refused(file, folder):
    def write(words: Any) -> None:
        content = words if file == "vocab.json" else {"model": {"vocab": words}}
        (folder / file).write_text(json.dumps(content))

    write(vocabulary())
    require_golden(folder, "quick")
    turned = [*vocabulary()]
    write({word: i for i, word in enumerate(turned[1000:] + turned[:1000])})
    with pytest.raises(CheckpointError, match="is another vocabulary than that of OpenAI's CLIP"):
        load_encoder(folder, "cpu")


def spoilt_states() -> Iterator[tuple[str, dict[str, torch.Tensor], str]]:
    query = "text_model.encoder.layers.1.self_attn.q_proj.weight"
    state = theirs.state()
    yield "no query", {k: t for k, t in state.items() if k != query}, "lacks a query, key or value"
    yield "another query", state | {query: torch.zeros(3, 16)}, "lacks a query, key or value"
    yield "more", state | {"vision_model.head.probe": torch.zeros(1)}, "vision_model.head.probe, wh"
    yield "SigLIP", state | {"logit_bias": torch.zeros(1)}, "is a SigLIP of Hugging Face's"
    yield "flat", state | {"visual_projection.weight": torch.zeros(12)}, "visual.proj has shape"


@pytest.mark.parametrize("spoilt", list(spoilt_states()), ids=lambda spoilt: spoilt[0])
def test_weights_that_are_not_a_clips_are_refused(spoilt, folder):
    _, state, message = spoilt
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_encoder(folder, "cpu")


def test_folder_of_weights_in_pieces_is_refused(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors or pytorch_model\.bin"):
        load_encoder(folder, "cpu")


@pytest.mark.transformers
def test_golden_is_what_transformers_gives(name):
    texts, images = theirs.by_transformers(name, theirs.pictures())
    with np.load(theirs.GOLDEN) as golden:
        assert np.abs(golden[f"{name}.texts"] - texts.numpy()).max() < TOLERANCE
        assert np.abs(golden[f"{name}.images"] - images.numpy()).max() < TOLERANCE


@pytest.mark.transformers
def test_pictures_of_other_sizes_are_prepared_as_transformers_does(name, tmp_path):
    """Up to what Pillow rounds to 8 bits on the way; see `preprocess`."""
    theirs.write(tmp_path, name)
    pixels = theirs.pictures(50)
    _, wanted = theirs.by_transformers(name, pixels)
    found = load_encoder(tmp_path, "cpu").images(theirs.as_images(pixels))
    assert float((found - wanted).abs().max()) < 0.01


@pytest.mark.transformers
def test_folder_that_transformers_saves_today_is_read(name, tmp_path):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    model = CLIPModel(CLIPConfig(**theirs.CONFIGS[name]))
    model.load_state_dict(theirs.state(), strict=False)
    model.save_pretrained(tmp_path)
    CLIPImageProcessor(**theirs.PREPARED[name]).save_pretrained(tmp_path)
    require_golden(tmp_path, name)
