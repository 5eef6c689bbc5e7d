"""CLIPs by open_clip's names: what is found, what is read of its tables, what is refused.

Nothing is downloaded: small models lie in a cache laid out as huggingface_hub's.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from styleatlas import load_encoder
from styleatlas.engine.checkpoints import clip_source
from styleatlas.engine.checkpoints.clip_file import ClipWeights
from styleatlas.engine.checkpoints.clip_source import ClipSource, find_clip
from styleatlas.engine.models.clip import count_tokens
from styleatlas.engine.models.clip_network import read_preprocessing, read_sizes
from styleatlas.engine.models.preprocess import preprocess
from styleatlas.store.errors import CheckpointError, FetchError, OptionError, PromptError

VISION = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8}
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TINY: dict[str, Any] = {"embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT}
SQUASHED = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.25, 0.5, 0.75],
    "interpolation": "bilinear",
    "resize_mode": "squash",
}


def write_config(folder: Path, model: dict[str, Any], preprocess: dict[str, Any]) -> None:
    config = {"model_cfg": model, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def random_clip(config: dict[str, Any]) -> Any:
    from open_clip.model import CLIP

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CLIP(**config).eval()


def test_repository_on_the_hub_comes_from_the_cache(hub):
    import open_clip

    folder = hub("someone/tiny-clip")
    write_config(folder, TINY, SQUASHED)
    torch.save(random_clip(TINY).state_dict(), folder / "open_clip_pytorch_model.bin")
    encoder = load_encoder("hf-hub:someone/tiny-clip", "cpu")
    assert encoder.identity.name == f"hf://someone/tiny-clip@{'0' * 40}"
    sizes = {"width": 12, "image_size": 16, "context_length": 20}
    assert encoder.identity.sizes == sizes | encoder.identity.configuration
    assert encoder.preprocessing.mean == (0.5, 0.4, 0.3)
    assert encoder.preprocessing.std == (0.25, 0.5, 0.75)
    assert encoder.preprocessing.interpolation == "bilinear"
    assert encoder.preprocessing.resize_mode == "squash"
    known = open_clip.create_model("hf-hub:someone/tiny-clip").eval()
    tokenizer = open_clip.get_tokenizer("hf-hub:someone/tiny-clip")
    with torch.inference_mode():
        texts = known.encode_text(tokenizer(["a face", "a dog"]), normalize=True)
        images = known.encode_image(torch.zeros(1, 3, 16, 16), normalize=True)
    assert torch.allclose(encoder.texts(["a face", "a dog"]), texts, atol=1e-6)
    grey = torch.tensor([0.0, -0.2, -0.4])[None, :, None, None].expand(1, 3, 30, 16)
    assert torch.allclose(encoder.images(grey), images, atol=1e-6)


def test_safetensors_are_preferred_on_the_hub(hub):
    folder = hub("someone/tiny-clip")
    write_config(folder, TINY, {})
    save_file(random_clip(TINY).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"never opened")
    assert load_encoder("hf-hub:someone/tiny-clip", "cpu").width == 12


def refused(source: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        load_encoder(source, "cpu")
    assert "\n" not in str(caught.value)
    assert source in str(caught.value)


def test_repository_that_is_not_in_the_cache_says_to_connect(hub):
    message = "is not in the cache, and HF_HUB_OFFLINE keeps off the network; fetch it once without"
    refused("hf://someone/else", FetchError, message)


def test_weights_that_are_not_in_the_cache_say_to_connect_or_name_a_file(hub):
    message = (
        "could not be fetched .*; connect to the network once, "
        "or name a file: ViT-B-32/laion2b_s34b_b79k=FILE"
    )
    refused("ViT-B-32/laion2b_s34b_b79k", CheckpointError, message)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf-hub:clip", "is no name on the Hub, .*; write hf://OWNER/REPO/FILE"),
        (
            "ViT-B-32",
            r"names an architecture without weights; name ViT-B-32/openai, ViT-B-32/laion400m_e31, "
            r"ViT-B-32/laion400m_e32 \(and \d+ more\), or a file: ViT-B-32=FILE",
        ),
        ("ViT-B/32", "without weights; name ViT-B-32/openai"),
        ("ViT-S-32", "without weights; name a file: ViT-S-32=FILE"),
        ("ViT-B-33/openai", "no model 'ViT-B-33'; did you mean ViT-B-32?"),
        ("vit-b-32/openai", "no model 'vit-b-32'; did you mean ViT-B-32?"),
        ("RN5O", "no model 'RN5O'; did you mean RN50?"),
        ("zzz", "no model 'zzz'; see open_clip.list_models()"),
        ("ViT-B-32/opanai", "no weights 'opanai' of ViT-B-32; did you mean openai?"),
        ("ViT-B-32/zzz", r"no weights 'zzz' of ViT-B-32; it knows openai, .* more\)"),
        ("ViT-S-32/openai", "no weights 'openai' of ViT-S-32; it knows none"),
        ("ViT-B-33=file.pt", "no model 'ViT-B-33'; did you mean ViT-B-32?"),
        ("ViT-B-32/opanai=file.pt", "no weights 'opanai' of ViT-B-32; did you mean openai?"),
    ],
)
def test_name_that_open_clip_does_not_know_is_refused_with_the_nearest(source, message, hub):
    refused(source, OptionError, message.replace("?", r"\?"))


@pytest.mark.parametrize("source", ["nowhere/clip.pt", "./clip", "clip.safetensors", "/no/clip"])
def test_path_that_is_not_there_is_refused_as_a_path(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"clip.*: no such file or folder; check"):
        load_encoder(source, "cpu")


def test_file_of_a_named_architecture_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "clip.pt"
    with pytest.raises(CheckpointError, match=f"{path}: no such file; check the path"):
        load_encoder(f"ViT-B-32={path}", "cpu")


@pytest.fixture
def tables(monkeypatch, tmp_path):
    """What `find_clip` makes of a name, without reading weights."""

    def weights(path: Path) -> ClipWeights:
        return ClipWeights(Path(path), {})

    monkeypatch.setattr(clip_source, "read_clip_weights", weights)
    monkeypatch.setattr("open_clip.pretrained.download_pretrained", lambda settings: "cached")

    def find(source: str) -> ClipSource:
        return find_clip(source, "unused")

    return find


OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)


@pytest.mark.parametrize(
    ("source", "quick", "mean", "resize_mode", "interpolation"),
    [
        ("ViT-B-32/openai", True, OPENAI_MEAN, "shortest", "bicubic"),
        ("ViT-B-32/laion2b_s34b_b79k", False, OPENAI_MEAN, "shortest", "bicubic"),
        ("ViT-B-32/laion2b-s34b-b79k", False, OPENAI_MEAN, "shortest", "bicubic"),
        ("ViT-B/32/openai", True, OPENAI_MEAN, "shortest", "bicubic"),
        ("ViT-L-14/laion2b_s32b_b82k", False, (0.5,) * 3, "shortest", "bicubic"),
        ("ViT-H-14/dfn5b", True, OPENAI_MEAN, "squash", "bicubic"),
        ("ViT-B-16-SigLIP/webli", False, (0.5,) * 3, "squash", "bicubic"),
        ("ViT-L-14-CLIPA/datacomp1b", False, (0.485, 0.456, 0.406), "squash", "bilinear"),
        ("MobileCLIP-S1/datacompdr", False, (0.0,) * 3, "shortest", "bilinear"),
        # A file: by its tag, else by what all published weights of the model share.
        ("ViT-B-32=f.pt", False, OPENAI_MEAN, "shortest", "bicubic"),
        ("ViT-B-32-quickgelu=f.pt", True, OPENAI_MEAN, "shortest", "bicubic"),
        ("ViT-B-32/metaclip_400m=f.pt", True, OPENAI_MEAN, "shortest", "bicubic"),
        ("ViT-B-16-SigLIP=f.pt", False, (0.5,) * 3, "squash", "bicubic"),
        ("ViT-L-14=f.pt", False, OPENAI_MEAN, "shortest", "bicubic"),
        ("ViT-L-14/laion2b_s32b_b82k=f.pt", False, (0.5,) * 3, "shortest", "bicubic"),
    ],
)
def test_activation_and_preprocessing_are_those_the_weights_were_trained_with(
    source, quick, mean, resize_mode, interpolation, tables
):
    found = tables(source)
    sizes = read_sizes(found)
    settings = read_preprocessing(found, sizes["image_size"])
    assert bool(found.model.get("quick_gelu")) is quick
    assert settings.mean == pytest.approx(mean)
    assert (settings.resize_mode, settings.interpolation) == (resize_mode, interpolation)
    assert found.name == ("f" if "=" in source else source)


def test_every_published_model_has_sizes_and_preprocessing_that_are_supported(tables):
    import open_clip

    for model, tag in open_clip.list_pretrained():
        found = tables(f"{model}/{tag}")
        sizes = read_sizes(found)
        assert sizes["image_size"] >= 200 and sizes["context_length"] >= 16
        read_preprocessing(found, sizes["image_size"])


POOLED = {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "coca": TINY
    | {
        "custom_text": True,
        "vision_cfg": VISION | POOLED,
        "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": TEXT | {"attn_pooler_heads": 2},
    },
    "siglip": TINY
    | {
        "custom_text": True,
        "init_logit_bias": -10,
        "nonscalar_logit_scale": True,
        "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "avg"},
        "text_cfg": TEXT | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    },
    "resnet": TINY | {"vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}},
    "quick": TINY | {"quick_gelu": True},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_architectures_give_the_embeddings_of_open_clips_own_loading(name, tmp_path):
    import open_clip

    write_config(tmp_path, ARCHITECTURES[name], {})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = open_clip.create_model(f"local-dir:{tmp_path}").state_dict()
    # open_clip leaves a tensor of CoCa's decoder, which no embedding passes, as it finds it.
    state = {name: tensor.nan_to_num(0, 0, 0) for name, tensor in state.items()}
    torch.save(state, tmp_path / "open_clip_pytorch_model.bin")
    encoder = load_encoder(tmp_path, "cpu")
    known = open_clip.create_model(f"local-dir:{tmp_path}").eval()
    texts = ["a face", "a smiling face"]
    images = torch.rand(2, 3, encoder.image_size, encoder.image_size) * 2 - 1
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path}")(texts)
        inputs = preprocess(images, encoder.preprocessing)
        known_texts = known.encode_text(tokens, normalize=True)
        assert torch.allclose(encoder.texts(texts), known_texts, atol=1e-6)
        found, wanted = encoder.images(images), known.encode_image(inputs, normalize=True)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_weights_by_older_names_and_shapes_are_the_same_clip(tmp_path):
    """Text towers were once saved without a prefix, and the scale as a number without an axis."""
    import open_clip

    scales = {"init_logit_bias": -10, "nonscalar_logit_scale": True}
    write_config(tmp_path, TINY | scales | {"custom_text": True}, {})
    state = open_clip.create_model(f"local-dir:{tmp_path}").state_dict()
    save_file(state, tmp_path / "open_clip_model.safetensors")
    whole = load_encoder(tmp_path, "cpu")
    (tmp_path / "open_clip_model.safetensors").unlink()
    older = {name.removeprefix("text."): tensor for name, tensor in state.items()}
    older["logit_scale"], older["logit_bias"] = state["logit_scale"][0], state["logit_bias"][0]
    torch.save(older, tmp_path / "open_clip_model.pt")
    assert load_encoder(tmp_path, "cpu").identity == whole.identity


@pytest.mark.parametrize(
    "name", ["xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k", "ViT-B-16-SigLIP/webli"]
)
def test_model_that_needs_transformers_says_so(name, tables, monkeypatch):
    monkeypatch.setattr("styleatlas.engine.models.clip_network.find_spec", lambda name: None)
    with pytest.raises(
        OptionError, match=re.escape(f"CLIP '{name}': reads its texts by the package")
    ):
        load_encoder(name, "cpu")


class Words:
    """What `open_clip.tokenizer.HFTokenizer` wraps, with a token a word."""

    def __call__(self, text: str, add_special_tokens: bool = True) -> SimpleNamespace:
        special = 2 if add_special_tokens else 0
        return SimpleNamespace(input_ids=list(range(len(text.split()) + special)))


@pytest.mark.parametrize(("mode", "special"), [("", 2), ("clips", 3)])
def test_tokens_of_hugging_faces_tokenizers_are_counted_before_they_are_cut(mode, special):
    tokenizer = SimpleNamespace(
        tokenizer=Words(), clean_fn=lambda text: text.replace(",", " "), tokenizer_mode=mode
    )
    assert count_tokens(tokenizer, "one,two three") == 3 + special


@pytest.mark.transformers
def test_multilingual_model_reads_its_texts_by_transformers(hub):
    """A small XLM-RoBERTa with a vocabulary of words, both random, off the network."""
    import transformers
    from open_clip import create_model, get_tokenizer
    from open_clip.model import CustomTextCLIP
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = hub("someone/roberta")
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    words = {word: 4 + i for i, word in enumerate(["ein", "gesicht", "une", "tête", "hat"])}
    words_only = Tokenizer(models.WordLevel(special | words, unk_token="<unk>"))
    words_only.pre_tokenizer = pre_tokenizers.Whitespace()
    words_only.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words_only,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    ).save_pretrained(folder)
    transformers.XLMRobertaConfig(
        vocab_size=9,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    ).save_pretrained(folder)
    text = {
        "hf_model_name": "someone/roberta",
        "hf_tokenizer_name": "someone/roberta",
        "hf_pooler_type": "mean_pooler",
        "context_length": 12,
    }
    config = TINY | {"text_cfg": text}
    folder = hub("someone/multilingual")
    write_config(folder, config, {})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CustomTextCLIP(**(config | {"text_cfg": text | {"hf_model_pretrained": False}}))
    state = model.state_dict()
    # Older transformers saved these; open_clip leaves them out, and so must we.
    state["text.transformer.embeddings.position_ids"] = torch.arange(40)[None]
    torch.save(state, folder / "open_clip_pytorch_model.bin")

    encoder = load_encoder("hf-hub:someone/multilingual", "cpu")
    known = create_model("hf-hub:someone/multilingual").eval()
    tokenizer = get_tokenizer("hf-hub:someone/multilingual")
    texts = ["ein gesicht", "une tête hat"]
    with torch.inference_mode():
        embeddings = known.encode_text(tokenizer(texts), normalize=True)
    assert torch.allclose(encoder.texts(texts), embeddings, atol=1e-6)
    assert encoder.texts(["hat " * 10]).shape == (1, 12)
    with pytest.raises(PromptError, match="takes 13 tokens of the 12 that CLIP"):
        encoder.texts(["hat " * 11])
