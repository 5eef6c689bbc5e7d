"""OpenAI's archives: read without running them, and equal to open_clip's own loading of them.

The weights are random; the sizes of ViT-B/32 and RN50, the types and the layout are OpenAI's: a
traced TorchScript archive of mostly float16 weights with three sizes beside them.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from styleatlas import load_encoder
from styleatlas.engine.checkpoints.clip_file import OPENAI_SIZES
from styleatlas.engine.models.clip import OpenClipEncoder
from styleatlas.store.errors import CheckpointError, OptionError, PromptError

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
SMALL_TEXT = TEXT | {"width": 64, "heads": 1, "layers": 2}
MODELS: dict[str, dict[str, Any]] = {
    "ViT-B-32": {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
        "text_cfg": TEXT,
    },
    "RN50": {
        "embed_dim": 1024,
        "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64},
        "text_cfg": TEXT,
    },
    "small-ViT": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 3, "width": 128, "patch_size": 8},
        "text_cfg": SMALL_TEXT,
    },
    "small-RN": {
        "embed_dim": 20,
        "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8},
        "text_cfg": SMALL_TEXT,
    },
}
OF_REAL_SIZE = ["ViT-B-32", pytest.param("RN50", marks=pytest.mark.long)]
SMALL = ["small-ViT", "small-RN"]
TEXTS = ["a face", "a smiling face", "Ein Gesicht, lächelnd!", "a dog " * 37]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def waves(count: int, side: int, seed: int) -> np.ndarray:
    """Smooth pictures of other frequencies and phases: uint8 (count, side, side, 3)."""
    random = np.random.default_rng(seed)
    frequencies = random.normal(0, 10, (count, 2, 1, 1, 3))
    y, x = np.mgrid[:side, :side, :1][:2] / side
    phases = random.uniform(0, 2 * np.pi, (count, 1, 1, 3))
    values = np.sin(frequencies[:, 0] * x + frequencies[:, 1] * y + phases)
    return ((values + 1) * 127.5).round().astype(np.uint8)


def as_images(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def openai_model(config: dict[str, Any]) -> Any:
    """A CLIP as OpenAI's archives hold it, with random weights that tell pictures apart."""
    from open_clip.model import CLIP, convert_weights_to_lp

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = CLIP(**config, quick_gelu=True, cast_dtype=torch.float16)
        norms = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.BatchNorm2d)
        }
        for name, norm in norms.items():
            norm.momentum = 1.0  # the statistics of one batch, as a trained network has them
            # Small residuals: at full size random blocks amplify rounding to no end.
            norm.weight.fill_(0.3 if name.endswith("bn3") else 1)
        if norms:
            side = config["vision_cfg"]["image_size"]
            model.train().visual(as_images(waves(2, side, 1)) * 2)
    convert_weights_to_lp(model.eval())
    mask = model.attn_mask
    del model.attn_mask  # a constant of OpenAI's traces
    model.attn_mask = mask
    sizes = {"input_resolution": config["vision_cfg"]["image_size"], **config["text_cfg"]}
    for name in ("input_resolution", "context_length", "vocab_size"):
        if hasattr(model, name):
            delattr(model, name)
        model.register_buffer(name, torch.tensor(sizes[name]))
    return model.requires_grad_(False)


def save_archive(model: Any, path: Path) -> None:
    side = int(model.input_resolution)
    inputs = {
        "encode_image": (torch.zeros(1, 3, side, side, dtype=torch.float16),),
        "encode_text": (torch.zeros(1, 77, dtype=torch.long),),
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.jit.trace_module(model, inputs, check_trace=False).save(str(path))


@dataclass(frozen=True)
class Archive:
    """An archive, and what open_clip makes of `pixels` and `TEXTS` with it."""

    name: str
    path: Path
    pixels: np.ndarray
    images: torch.Tensor
    texts: torch.Tensor


@pytest.fixture(scope="module")
def write_archive(tmp_path_factory) -> Any:
    from open_clip import image_transform, load_openai_model, tokenize

    written: dict[str, Archive] = {}

    def write(name: str) -> Archive:
        if name in written:
            return written[name]
        path = tmp_path_factory.mktemp("openai") / f"{name}.pt"
        save_archive(openai_model(MODELS[name]), path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.*")
            known = load_openai_model(str(path), precision="fp32", device="cpu").eval()
        side = MODELS[name]["vision_cfg"]["image_size"]
        pixels = waves(3, side, 0)
        pipeline = image_transform(side, is_train=False)
        with torch.inference_mode():
            inputs = torch.stack([pipeline(Image.fromarray(picture)) for picture in pixels])
            images = known.encode_image(inputs, normalize=True).clone()
            texts = known.encode_text(tokenize(TEXTS), normalize=True).clone()
        written[name] = Archive(name, path, pixels, images, texts)
        return written[name]

    return write


def load_without_running(source: str | os.PathLike[str], **options: Any) -> OpenClipEncoder:
    """Load an encoder while PyTorch's own readers, which run what a file asks for, are shut."""

    def run(*args: object, **kwargs: object) -> None:
        raise AssertionError("a file was given to PyTorch's own reader")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.jit, "load", run)
        patch.setattr(torch, "load", run)
        return load_encoder(source, "cpu", **options)


@pytest.fixture(scope="module")
def encoders(write_archive) -> Any:
    loaded: dict[str, OpenClipEncoder] = {}

    def load(name: str) -> OpenClipEncoder:
        if name not in loaded:
            loaded[name] = load_without_running(write_archive(name).path)
        return loaded[name]

    return load


@pytest.mark.parametrize("name", [*OF_REAL_SIZE, *SMALL])
def test_archive_gives_the_embeddings_of_open_clips_own_loading(name, write_archive, encoders):
    known, encoder = write_archive(name), encoders(name)
    images = encoder.images(as_images(known.pixels))
    assert float((images - known.images).abs().max()) < 1e-5
    assert float((encoder.texts(TEXTS) - known.texts).abs().max()) < 1e-5
    # The pictures and the texts do differ by more than that.
    for vectors in (images, known.texts):
        assert float((vectors @ vectors.T - torch.eye(len(vectors))).max()) < 0.99


@pytest.mark.parametrize("name", [*OF_REAL_SIZE, *SMALL])
def test_sizes_of_an_archive_follow_from_its_tensors(name, encoders):
    config, encoder = MODELS[name], encoders(name)
    record = encoder.identity.clip_record()
    assert record.pop("sha256") == encoder.identity.sha256 and record.pop("configuration")
    assert record == {
        "name": name,
        "width": config["embed_dim"],
        "image_size": config["vision_cfg"]["image_size"],
        "context_length": 77,
        "activation": "QuickGELU",
    }
    assert encoder.preprocessing.mean == MEAN and encoder.preprocessing.std == STD
    assert (encoder.preprocessing.interpolation, encoder.preprocessing.resize_mode) == (
        "bicubic",
        "shortest",
    )
    assert all(p.dtype == torch.float32 for p in encoder.model.parameters())


@pytest.mark.parametrize("name", OF_REAL_SIZE)
def test_bfloat16_keeps_the_direction_of_float32s_embeddings(name, write_archive, encoders):
    """At the real sizes, but with random weights."""
    known, whole = write_archive(name), encoders(name)
    reduced = OpenClipEncoder(
        whole.model,
        whole.tokenizer,
        whole.preprocessing,
        whole.identity,
        whole.device,
        "bfloat16",
    )
    for exact, rounded in (
        (known.images[:2], reduced.images(as_images(known.pixels[:2]))),
        (known.texts[:2], reduced.texts(TEXTS[:2])),
    ):
        assert rounded.dtype == torch.float32
        assert torch.allclose(rounded.norm(dim=1), torch.ones(len(rounded)), atol=1e-6)
        assert float((exact * rounded).sum(1).min()) > 0.9995
        assert not torch.allclose(exact, rounded, atol=1e-6)


def test_gradients_in_bfloat16_point_where_those_in_float32_do(write_archive, encoders):
    known, whole = write_archive("small-ViT"), encoders("small-ViT")
    reduced = load_without_running(known.path, precision="bfloat16")
    assert reduced.identity == whole.identity
    gradients = []
    for encoder in (whole, reduced):
        images = as_images(known.pixels).requires_grad_()
        encoder.images(images)[:, 0].sum().backward()
        gradients.append(images.grad.flatten())
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.99


def test_an_autocast_around_the_call_does_not_change_float32(write_archive, encoders):
    images = as_images(write_archive("small-ViT").pixels)
    encoder = encoders("small-ViT")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder.images(images), encoder.images(images))
        inside = encoder.images(images)
    assert torch.allclose(inside, encoder.images(images), atol=1e-6)


@pytest.mark.parametrize("precision", ["half", "fp16", "", "float64"])
def test_unknown_precision_is_refused_by_name(precision, write_archive):
    with pytest.raises(
        OptionError, match=f"precision '{precision}': unknown; use one of float32, bfl"
    ):
        load_encoder(write_archive("small-ViT").path, "cpu", precision)


def test_float16_on_a_cpu_is_refused(write_archive):
    with pytest.raises(OptionError, match=r"'float16': is for GPUs, .*; choose bfloat16"):
        load_encoder(write_archive("small-ViT").path, "cpu", "float16")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_embeddings_on_a_gpu_are_those_of_the_cpu(precision, write_archive, encoders):
    known = write_archive("ViT-B-32")
    encoder = load_encoder(known.path, "cuda", precision)
    for exact, found in (
        (known.images, encoder.images(as_images(known.pixels).cuda())),
        (known.texts, encoder.texts(TEXTS)),
    ):
        assert found.is_cuda and found.dtype == torch.float32
        assert float((exact * found.cpu()).sum(1).min()) > 0.9995


def archived_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict of an archive as its users take it out: with OpenAI's three sizes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        return dict(torch.jit.load(str(path)).state_dict())


@pytest.fixture(params=["small-ViT", "small-RN"])
def small(request, write_archive) -> Archive:
    return write_archive(request.param)


def test_same_weights_have_one_identity_in_whatever_file(small, encoders, tmp_path):
    state = archived_state(small.path)
    assert {"input_resolution", "context_length", "vocab_size"} <= state.keys()
    floats = {k: t.float() if t.is_floating_point() else t for k, t in state.items()}
    torch.save(state, tmp_path / "state.pt")
    torch.save(state, tmp_path / "stream.pt", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": state, "epoch": 3, "name": "run"}, tmp_path / "training.pt")
    parallel = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": parallel}, tmp_path / "parallel.bin")
    save_file(state, tmp_path / "half.safetensors")
    save_file(floats, tmp_path / "misleading.pt")
    archive = encoders(small.name)
    for path in sorted(tmp_path.iterdir()):
        encoder = load_without_running(path)
        assert encoder.identity.name == path.stem
        assert encoder.identity.sha256 == archive.identity.sha256, path
        assert encoder.identity.sizes == archive.identity.sizes
        images = encoder.images(as_images(small.pixels))
        assert float((images - small.images).abs().max()) < 1e-5


def test_counters_of_batch_normalisation_may_be_missing(write_archive, tmp_path):
    known = write_archive("small-RN")
    state = archived_state(known.path)
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    assert len(counters) > 10
    torch.save({k: t for k, t in state.items() if k not in counters}, tmp_path / "without.pt")
    images = load_without_running(tmp_path / "without.pt").images(as_images(known.pixels))
    assert float((images - known.images).abs().max()) < 1e-5


def test_model_by_its_published_name_comes_from_the_cache_and_is_the_archive(
    write_archive, encoders, hub
):
    """The cache is laid out here as huggingface_hub lays it out; open_clip's own tables and
    download find the file in it."""
    known = write_archive("ViT-B-32")
    state = archived_state(known.path)
    weights = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    folder = hub("timm/vit_base_patch32_clip_224.openai")
    save_file(weights, folder / "open_clip_model.safetensors")
    encoder = load_without_running("ViT-B-32/openai")
    assert encoder.identity == replace(encoders("ViT-B-32").identity, name="ViT-B-32/openai")
    # Equal too: open_clip's table alone would have given these weights a plain GELU.
    images = encoder.images(as_images(known.pixels))
    assert float((images - known.images).abs().max()) < 1e-5


def test_archive_in_a_named_architecture_keeps_its_activation(write_archive):
    known = write_archive("ViT-B-32")
    encoder = load_without_running(f"ViT-B-32={known.path}")
    assert encoder.identity.name == "ViT-B-32"
    assert float((encoder.images(as_images(known.pixels)) - known.images).abs().max()) < 1e-5


def test_text_over_77_tokens_is_refused_by_the_limit(encoders):
    encoder = encoders("small-ViT")
    assert encoder.texts(["dog " * 75]).shape == (1, 24)
    message = 'prompt \'dog .*: takes 78 tokens of the 77 that CLIP "small-ViT" reads; shorten it'
    with pytest.raises(PromptError, match=message):
        encoder.texts(["a face", "dog " * 76])


def refused(source: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_without_running(source)
    assert "\n" not in str(caught.value)
    assert str(source) in str(caught.value)


def test_bare_state_dict_of_no_known_sizes_is_refused_with_what_describes_it(small, tmp_path):
    state = archived_state(small.path)
    del state["vocab_size"]
    torch.save(state, tmp_path / "bare.pt")
    message = "shapes of no model of open_clip's, and does not say its activation; put an open_clip"
    refused(tmp_path / "bare.pt", message)


@pytest.mark.parametrize("name", OF_REAL_SIZE)
def test_bare_state_dict_is_told_by_its_shapes_and_read_by_the_name_that_the_refusal_gives(
    name, write_archive, encoders, tmp_path
):
    """The name that gives OpenAI's activation comes first: the other would change every value."""
    known, path = write_archive(name), tmp_path / "bare.pt"
    state = archived_state(known.path)
    torch.save({key: state[key] for key in state if key not in OPENAI_SIZES}, path)
    refused(
        path,
        f"has the shapes of {name}, which do not show its activation; name it {name}/openai={path} "
        f"if it comes from OpenAI's CLIP, with QuickGELU, {name}={path} if it was trained with",
    )
    encoder = load_without_running(f"{name}/openai={path}")
    assert encoder.identity == replace(encoders(name).identity, name="bare")
    assert float((encoder.texts(TEXTS) - known.texts).abs().max()) < 1e-5
    plain = load_without_running(f"{name}={path}")
    assert float((plain.texts(TEXTS) - known.texts).abs().max()) > 1e-4
    assert plain.identity.differences(encoder.identity) == ["its activation"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("visual.conv1.weight", "is not one of OpenAI's CLIPs .'visual.conv1.weight'.; name its"),
        ("positional_embedding", "is not one of OpenAI's CLIPs .'positional_embedding'."),
        ("visual.transformer.resblocks.1.ln_1.bias", "missing visual.transformer.resblocks.1.ln_1"),
    ],
)
def test_state_dict_without_a_tensor_is_refused_by_its_name(name, message, write_archive, tmp_path):
    state = archived_state(write_archive("small-ViT").path)
    del state[name]
    torch.save(state, tmp_path / "less.pt")
    refused(tmp_path / "less.pt", message)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("visual.conv1.weight", (128, 3, 8, 4), r"visual.conv1.weight has shape \(128, 3, 8, 4\)"),
        ("visual.conv1.weight", (128,), "is not one of OpenAI's CLIPs"),
        ("visual.positional_embedding", (3_000_000, 1), "image_size is .*whole number up to 4096"),
        ("positional_embedding", (5000, 64), "context_length is 5000, must be .* up to 4096"),
        ("positional_embedding", (77, 32), "is no CLIP configuration that can be built"),
        ("ln_final.weight", (0,), r"ln_final.weight has shape \(0,\) where \(64,\) is needed"),
        ("text_projection", (64, 25), r"text_projection|visual.proj"),
    ],
)
def test_tensor_of_a_wrong_shape_is_refused(name, shape, message, write_archive, tmp_path):
    state = archived_state(write_archive("small-ViT").path)
    state[name] = torch.zeros(shape)
    torch.save(state, tmp_path / "other.pt")
    refused(tmp_path / "other.pt", message)


def test_weights_that_are_not_finite_are_refused(write_archive, tmp_path):
    state = archived_state(write_archive("small-ViT").path)
    state["ln_final.weight"][3] = torch.inf
    torch.save(state, tmp_path / "broken.pt")
    refused(tmp_path / "broken.pt", "ln_final.weight holds NaN or infinity")


class Harmful:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_file_that_asks_to_run_something_is_refused_and_runs_nothing(tmp_path):
    path, marker = tmp_path / "evil.pt", tmp_path / "ran"
    torch.save({"visual.proj": torch.zeros(2, 2), "x": Harmful(marker)}, path)
    refused(path, "mkdir")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"visual.proj": 3}, "visual.proj is 3 where a tensor is needed"),
        ({3: torch.zeros(2)}, "holds a dict and no weights by name"),
        ([torch.zeros(2)], "holds a list and no weights by name"),
        ({}, "holds no weights"),
        ({"steps": torch.zeros(2, dtype=torch.int64)}, "holds no weights"),
    ],
)
def test_file_without_weights_is_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "other.pt")
    refused(tmp_path / "other.pt", message)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"not a checkpoint at all", b"{" * 9, b"\x80\x02."]
)
def test_file_that_is_no_checkpoint_is_refused(content, tmp_path):
    (tmp_path / "other.pt").write_bytes(content)
    refused(tmp_path / "other.pt", "other.pt: ")


def test_truncated_archive_is_refused(write_archive, tmp_path):
    content = write_archive("small-ViT").path.read_bytes()
    for length in (len(content) // 2, len(content) - 10):
        (tmp_path / "cut.pt").write_bytes(content[:length])
        refused(tmp_path / "cut.pt", "cut.pt: ")
