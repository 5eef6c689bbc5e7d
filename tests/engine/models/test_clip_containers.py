"""CLIPs as people save them: bare, among what a training keeps, as whole modules, reparametrised.

Every file is read as the CLIP that was saved, to the bit of its weights, and nothing of it is run.
"""

from __future__ import annotations

import json
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from styleatlas import load_encoder
from styleatlas.engine.checkpoints.clip_file import read_clip_weights
from styleatlas.engine.models.preprocess import preprocess
from styleatlas.store.errors import CheckpointError

VISION = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 64}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
MODEL: dict[str, Any] = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}
RESNET = MODEL | {"vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}}
TEXTS = ["a face", "a dog " * 37]


def clip(config: dict[str, Any] = MODEL, quick: bool = True, seed: int = 0) -> Any:
    from open_clip.model import CLIP

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CLIP(**config, quick_gelu=quick).eval().requires_grad_(False)


def describe(folder: Path, quick: bool = True) -> None:
    config = {"model_cfg": MODEL | {"quick_gelu": quick}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def require_same(path: Path, model: Any) -> None:
    """That the file is read as this model."""
    from open_clip import tokenize

    encoder = load_encoder(path, "cpu")
    side = encoder.image_size
    images = torch.linspace(-1, 1, 6 * side**2).mul(40).sin().reshape(2, 3, side, side)
    with torch.inference_mode():
        texts = model.encode_text(tokenize(TEXTS, encoder.context_length), normalize=True)
        pictures = model.encode_image(preprocess(images, encoder.preprocessing), normalize=True)
    assert float((encoder.texts(TEXTS) - texts).abs().max()) < 1e-6
    assert float((encoder.images(images) - pictures).abs().max()) < 1e-6


def prefixed(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in state.items()}


def training(state: dict[str, Any], key: str, **more: Any) -> dict[str, Any]:
    """A checkpoint of a training, with what else it keeps."""
    steps = {"exp_avg": torch.zeros(3), "step": torch.tensor(4.0)}
    optimizer = {"state": {0: steps}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return {"epoch": 10, "loss": 0.3, "optimizer_state_dict": optimizer, key: state, **more}


STATE = clip().state_dict()
OTHER = clip(seed=1).state_dict()
CONTAINERS: dict[str, tuple[str, Any]] = {
    "bare": ("", STATE),
    "model_state_dict": ("model_state_dict", training(STATE, "model_state_dict")),
    "state_dict": ("state_dict", training(STATE, "state_dict")),
    "model": ("model", training(STATE, "model")),
    "another name": ("clip_weights", training(STATE, "clip_weights")),
    "DataParallel": ("module.", prefixed("module.", STATE)),
    "open_clip's epoch": (
        "state_dict, module.",
        training(prefixed("module.", STATE), "state_dict"),
    ),
    "Lightning": ("state_dict, model.", {"state_dict": prefixed("model.", STATE)}),
    "Lightning beside a teacher": (
        "state_dict, model.",
        {
            "state_dict": {
                "sink_temp": torch.tensor(0.1),
                **prefixed("teacher.", OTHER),
                **prefixed("model.", STATE),
            },
            "hyper_parameters": {"model_name": "ViT-B/32"},
        },
    ),
    "in a larger module": (
        "state_dict, net.clip_model.",
        {
            "state_dict": prefixed("net.clip_model.", STATE)
            | {"head.weight": torch.zeros(3, 24), "net.logit_scale": torch.zeros(())}
        },
    ),
    "averaged beside trained": ("model", {"model_ema": OTHER, "model": STATE}),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_clip_is_found_among_what_a_training_saves(name, tmp_path):
    place, content = CONTAINERS[name]
    path = tmp_path / "clip.pt"
    torch.save(content, path)
    describe(tmp_path)
    assert read_clip_weights(path).place == place
    require_same(path, clip())


def test_prefixed_safetensors_are_read_like_torch_saves(tmp_path):
    save_file(prefixed("model.", STATE), tmp_path / "clip.safetensors")
    describe(tmp_path)
    require_same(tmp_path / "clip.safetensors", clip())


def test_several_clips_of_which_none_is_the_usual_are_refused_by_their_names(tmp_path):
    path = tmp_path / "clip.pt"
    torch.save({"state_dict": prefixed("student.", STATE) | prefixed("teacher.", OTHER)}, path)
    message = "holds 2 CLIPs, such as state_dict.student and state_dict.teacher; save the"
    with pytest.raises(CheckpointError, match=message):
        load_encoder(path, "cpu")


def test_half_precision_is_read_as_the_numbers_it_holds(tmp_path):
    torch.save(prefixed("module.", {k: t.half() for k, t in STATE.items()}), tmp_path / "clip.pt")
    describe(tmp_path)
    model = clip()
    model.load_state_dict({k: t.half().float() for k, t in STATE.items()})
    require_same(tmp_path / "clip.pt", model)


# Whole modules


class _Module(types.ModuleType):
    """OpenAI's `clip.model`, of classes that torch can save and nobody but it could load."""

    def __init__(self) -> None:
        super().__init__("clip.model")

    def rename(self, root: nn.Module) -> nn.Module:
        """Give the modules inside OpenAI's names for their classes."""
        for module in root.modules():
            kind = type(module)
            if kind.__module__.startswith("open_clip"):
                name = kind.__name__.replace("CustomResidual", "Residual")
                if not hasattr(self, name):
                    setattr(self, name, type(name, (kind,), {"__module__": "clip.model"}))
                module.__class__ = getattr(self, name)
        return root


def saved_by_openais_code(model: nn.Module, path: Path, wrap: Any = lambda model: model) -> None:
    modules = {"clip": types.ModuleType("clip"), "clip.model": _Module()}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        torch.save(wrap(modules["clip.model"].rename(model)), path)
    assert b"clip.model" in path.read_bytes() and b"open_clip" not in path.read_bytes()


@pytest.mark.parametrize("config", [MODEL, RESNET], ids=["ViT", "ResNet"])
def test_whole_module_of_openais_classes_needs_nothing_beside_it(config, tmp_path):
    path = tmp_path / "clip.pt"
    saved_by_openais_code(clip(config), path)
    require_same(path, clip(config))


def test_whole_module_inside_data_parallel_inside_a_training(tmp_path):
    path = tmp_path / "clip.pt"
    saved_by_openais_code(clip(), path, lambda m: {"epoch": 3, "model": nn.DataParallel(m)})
    assert read_clip_weights(path).place == "model, module."
    require_same(path, clip())


@pytest.mark.parametrize("quick", [True, False])
def test_whole_module_of_open_clip_tells_its_activation_and_its_heads(quick, tmp_path):
    config = MODEL | {"vision_cfg": VISION | {"head_width": 16}, "text_cfg": TEXT | {"heads": 4}}
    torch.save(clip(config, quick), tmp_path / "clip.pt")
    require_same(tmp_path / "clip.pt", clip(config, quick))
    assert load_encoder(tmp_path / "clip.pt", "cpu").identity.sizes["quick_gelu"] == quick


def test_whole_module_of_open_clip_tells_its_preprocessing(tmp_path):
    from open_clip.model import set_model_preprocess_cfg

    model = clip()
    told = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "resize_mode": "squash"}
    set_model_preprocess_cfg(model, told | {"size": 32, "interpolation": "bilinear"})
    torch.save(model, tmp_path / "clip.pt")
    found = load_encoder(tmp_path / "clip.pt", "cpu").preprocessing
    assert (found.mean, found.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert (found.resize_mode, found.interpolation) == ("squash", "bilinear")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"text_cfg": TEXT | {"no_causal_mask": True}}, "its text tower is not causal"),
        ({"text_cfg": TEXT | {"pool_type": "last"}}, "text_pool_type is last, not argmax"),
        ({"vision_cfg": VISION | {"pool_type": "avg"}}, "visual.pool_type is avg, not tok"),
        ({"text_cfg": TEXT | {"norm_kwargs": {"eps": 1e-3}}}, "ln_1 has eps 0.001"),
        (
            {"text_cfg": TEXT | {"act_kwargs": {"approximate": "tanh"}}},
            "mlp.gelu approximates by tanh",
        ),
    ],
)
def test_whole_module_that_computes_otherwise_is_refused(config, message, tmp_path):
    torch.save(clip(MODEL | config, quick=False), tmp_path / "clip.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoder(tmp_path / "clip.pt", "cpu")
    assert "save its state dict" in str(caught.value)


def test_whole_module_with_a_class_of_its_own_is_refused_by_its_name(tmp_path):
    model = clip()
    model.visual.head = nn.Bilinear(2, 2, 2)
    torch.save(model, tmp_path / "clip.pt")
    with pytest.raises(CheckpointError, match=r"asks for the Python object torch\..*\.Bilinear"):
        load_encoder(tmp_path / "clip.pt", "cpu")


def test_module_without_parts_is_refused(tmp_path):
    class Empty(nn.Module):
        pass

    Empty.__module__, Empty.__qualname__ = "clip.model", "CLIP"
    with pytest.MonkeyPatch.context() as patch:
        module = types.ModuleType("clip.model")
        module.CLIP = Empty
        patch.setitem(sys.modules, "clip", types.ModuleType("clip"))
        patch.setitem(sys.modules, "clip.model", module)
        empty = Empty()
        del empty.__dict__["_modules"]
        torch.save(empty, tmp_path / "clip.pt", pickle_module=pickle)
    with pytest.raises(CheckpointError, match="which is no module with modules"):
        load_encoder(tmp_path / "clip.pt", "cpu")


# Other parameters of the same network


def test_long_clip_takes_its_first_20_positions_from_one_tensor_and_the_rest_from_the_other(
    tmp_path,
):
    """As its text tower does: each of the two masked, then added."""
    config = MODEL | {"text_cfg": TEXT | {"context_length": 248}}
    model = clip(config)
    kept, stretched = torch.randn(2, 248, 64) / 10
    state = {
        **model.state_dict(),
        "positional_embedding": kept,
        "positional_embedding_res": stretched,
    }
    torch.save(state, tmp_path / "longclip.pt")
    first = torch.zeros(248, 1)
    first[:20] = 1
    model.positional_embedding.copy_(kept * first + stretched * (1 - first))
    require_same(tmp_path / "longclip.pt", model)
    assert load_encoder(tmp_path / "longclip.pt", "cpu").texts(["dog " * 246]).shape == (1, 24)


def test_long_clip_of_positions_that_disagree_is_refused(tmp_path):
    torch.save({**STATE, "positional_embedding_res": torch.zeros(248, 64)}, tmp_path / "clip.pt")
    with pytest.raises(CheckpointError, match="has not the shape of positional_embedding"):
        load_encoder(tmp_path / "clip.pt", "cpu")


def geometric(state: dict[str, Any]) -> dict[str, Any]:
    """Every layer of an MLP as lengths and directions, which need not be unit vectors."""
    found = {}
    for name, value in state.items():
        if name.endswith(("c_fc.weight", "c_proj.weight")):
            layer = name.removesuffix(".weight")
            found[f"{layer}.r"] = value.norm(dim=1, keepdim=True)
            found[f"{layer}.theta"] = 3 * value
        else:
            found[name] = value
    return found


def test_geometric_parametrisation_is_the_network_it_stands_for(tmp_path):
    torch.save(geometric(STATE), tmp_path / "gmp.pt")
    describe(tmp_path)
    require_same(tmp_path / "gmp.pt", clip())


@pytest.mark.parametrize("shape", [None, (5, 1), (256,)])
def test_geometric_parametrisation_without_its_lengths_is_refused(shape, tmp_path):
    state = geometric(STATE)
    name = "transformer.resblocks.0.mlp.c_fc.r"
    del state[name]
    if shape:
        state[name] = torch.ones(shape)
    torch.save(state, tmp_path / "gmp.pt")
    with pytest.raises(CheckpointError, match=r"c_fc\.theta has no lengths .*c_fc\.r of one"):
        load_encoder(tmp_path / "gmp.pt", "cpu")
