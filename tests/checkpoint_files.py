"""Writes generators as the files their authors' programs write, byte layout included.

A generator here is its configuration and the state dict under NVIDIA's names. The formulas are
not those of the readers, so that a mistake does not cancel out.
"""

from __future__ import annotations

import json
import pickle
import sys
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styleatlas.engine.checkpoints.checkpoint import expected_shapes
from styleatlas.engine.networks.mobile_stylegan import MobileStyleGANConfig
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.engine.networks.stylegan3 import StyleGAN3Config, stylegan3_config

GOLDENS = Path(__file__).parent / "goldens"
Config = StyleGAN2Config | StyleGAN3Config | MobileStyleGANConfig

BUFFERS = {
    *("resample_filter", "noise_const", "w_avg", "transform", "freqs", "phases"),
    *("magnitude_ema", "up_filter", "down_filter"),
}
GUARD = "raise AssertionError('the source text of {} was run')\n"


def small_stylegan2(**changes: Any) -> StyleGAN2Config:
    """A StyleGAN2 of 16 x 16 pixels, other z and w, widths that differ."""
    fields: dict[str, Any] = {"z_dim": 5, "w_dim": 6, "mapping_layers": 3}
    return StyleGAN2Config(**{**fields, "channels": {4: 7, 8: 5, 16: 4}, **changes})


def small_mobile_stylegan(**changes: Any) -> MobileStyleGANConfig:
    """A MobileStyleGAN of 32 x 32 pixels, other z and w, widths that differ."""
    fields: dict[str, Any] = {"z_dim": 5, "w_dim": 6, "mapping_layers": 3}
    return MobileStyleGANConfig(**{**fields, "channels": {4: 12, 8: 8, 16: 5}, **changes})


def small_stylegan3(**changes: Any) -> StyleGAN3Config:
    """A StyleGAN3 of 16 x 16 pixels and 4 layers."""
    fields: dict[str, Any] = {"z_dim": 5, "w_dim": 6, "resolution": 16, "num_layers": 3}
    fields |= {"channel_base": 128, "channel_max": 8, "margin_size": 4, "num_critical": 1}
    return stylegan3_config(**{**fields, **changes})


def random_tensors(config: Config, seed: int = 0) -> dict[str, Tensor]:
    """A state dict for `config` without any two tensors alike."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in expected_shapes(config).items():
        tensors[name] = torch.randn(shape, generator=generator)
        if name.endswith("resample_filter"):
            row = torch.tensor([1.0, 3.0, 3.0, 1.0]) if shape[0] == 4 else torch.ones(shape[0])
            tensors[name] = torch.outer(row, row) / row.sum() ** 2
    return tensors


def golden(name: str) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """The state dict, the module attributes and the other entries of a golden."""
    with np.load(GOLDENS / f"{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    state = {
        key.removeprefix("sd/"): torch.from_numpy(array)
        for key, array in arrays.items()
        if key.startswith("sd/")
    }
    attributes = json.loads(str(arrays.get("module_attrs", "{}")))
    return state, attributes, arrays


# NVIDIA's pickles


def nvidia_pickle(
    path: Path,
    tensors: Mapping[str, Tensor],
    modules: Mapping[str, Mapping[str, Any]],
    *,
    protocol: int = 4,
    ordered: bool = True,
    content: Callable[[dict[str, Any]], Any] = dict,
) -> Path:
    """A whole snapshot: G, D, G_ema, the training set's arguments and the augmentation.

    Args:
        modules: class name and plain attributes by dotted module name, as in the goldens or from
            `modules_of`.
        ordered: OrderedDicts inside the modules, as older versions of PyTorch have them.
        content: from the whole snapshot to what the file shall hold.
    """
    with _throwaway_modules() as (persistent, easy_dict):
        snapshot = _snapshot(persistent, easy_dict, tensors, modules, ordered)
        path.write_bytes(pickle.dumps(content(snapshot), protocol=protocol))
    return path


def nvidia_module(
    path: Path,
    tensors: Mapping[str, Tensor],
    modules: Mapping[str, Mapping[str, Any]],
    content: Callable[[dict[str, Any]], Any] = lambda snapshot: snapshot["G_ema"],
    *,
    legacy: bool = False,
) -> Path:
    """The same modules by torch.save, as PTI and HyperStyle keep a tuned generator."""
    with _throwaway_modules() as (persistent, easy_dict):
        snapshot = _snapshot(persistent, easy_dict, tensors, modules, True)
        torch.save(content(snapshot), path, _use_new_zipfile_serialization=not legacy)
    return path


def _snapshot(
    persistent: Any,
    easy_dict: type[dict[str, Any]],
    tensors: Mapping[str, Tensor],
    modules: Mapping[str, Mapping[str, Any]],
    ordered: bool,
) -> dict[str, Any]:
    """What the training of NVIDIA's code saves, by name."""
    noise = _network(
        persistent,
        {"b4.conv.weight": torch.randn(2, 2, 3, 3)},
        {name: {"class_name": "Discriminator", "attrs": {}} for name in ("", "b4", "b4.conv")},
        ordered,
    )
    dataset = easy_dict(class_name="training.dataset.ImageFolderDataset", resolution=16)
    return {
        "G": _network(persistent, {k: t * 2 for k, t in tensors.items()}, modules, ordered),
        "D": noise,
        "G_ema": _network(persistent, tensors, modules, ordered),
        "augment_pipe": noise,
        "training_set_kwargs": dataset,
    }


def modules_of(config: Config) -> dict[str, dict[str, Any]]:
    """Class name and plain attributes of every module, in the goldens' form."""
    modules = {"": _module("Generator", z_dim=config.z_dim, img_resolution=config.resolution)}
    modules["mapping"] = _module(
        "MappingNetwork",
        z_dim=config.z_dim,
        c_dim=config.c_dim,
        w_dim=config.w_dim,
        num_layers=config.mapping_layers,
        embed=None,
    )
    shapes = expected_shapes(config)
    for i in range(config.mapping_layers):
        inputs = shapes[f"mapping.fc{i}.weight"][1]
        modules[f"mapping.fc{i}"] = _dense("lrelu", inputs, config.mapping_lr)
    if config.c_dim:
        modules["mapping.embed"] = _dense("linear", config.c_dim, 1)
        del modules["mapping"]["attrs"]["embed"]
    networks = _stylegan2_modules if isinstance(config, StyleGAN2Config) else _stylegan3_modules
    modules |= networks(config)
    for layer in config.styled_layers():
        modules[f"synthesis.{layer.name}.affine"] = _dense("linear", config.w_dim, 1)
    return modules


def _stylegan2_modules(config: StyleGAN2Config) -> dict[str, dict[str, Any]]:
    size = config.last
    modules = {
        "synthesis": _module(
            "SynthesisNetwork",
            img_resolution=config.resolution,
            img_channels=config.image_channels,
        )
    }
    first_fp16 = max(2 ** (size.bit_length() - config.num_fp16_res), 8)
    for side, width in config.channels.items():
        block = f"synthesis.b{side}"
        modules[block] = _module(
            "SynthesisBlock",
            resolution=side,
            architecture=config.architecture,
            use_fp16=config.num_fp16_res > 0 and side >= first_fp16,
        )
        for name in ["conv1"] if side == 4 else ["conv0", "conv1"]:
            modules[f"{block}.{name}"] = _module(
                "SynthesisLayer",
                resolution=side,
                up=2 if name == "conv0" else 1,
                use_noise=config.use_noise,
                activation="lrelu",
                conv_clamp=config.conv_clamp,
                padding=1,
                act_gain=np.sqrt(2),  # a scalar of NumPy's, as there
            )
        if config.architecture == "skip" or side == size:
            modules[f"{block}.torgb"] = _module(
                "ToRGBLayer", conv_clamp=config.conv_clamp, weight_gain=1 / np.sqrt(width)
            )
        if config.architecture == "resnet" and side > 4:
            modules[f"{block}.skip"] = _module("Conv2dLayer", activation="linear", up=2, bias=None)
    return modules


def _stylegan3_modules(config: StyleGAN3Config) -> dict[str, dict[str, Any]]:
    modules = {
        "synthesis": _module(
            "SynthesisNetwork",
            img_resolution=config.resolution,
            img_channels=config.image_channels,
            output_scale=config.output_scale,
            layer_names=[layer.name for layer in config.layers],
        ),
        "synthesis.input": _module(
            "SynthesisInput",
            channels=config.input.channels,
            size=np.array([config.input.size] * 2),
            sampling_rate=config.input.sampling_rate,
            bandwidth=np.float64(config.input.bandwidth),
        ),
    }
    for layer in config.layers:
        modules[f"synthesis.{layer.name}"] = _module(
            "SynthesisLayer",
            is_torgb=layer.is_torgb,
            use_fp16=layer.reduced,
            in_channels=layer.in_channels,
            out_channels=layer.out_channels,
            in_size=np.array([layer.in_size] * 2),
            out_size=np.array([layer.out_size] * 2),
            in_sampling_rate=layer.in_rate,
            out_sampling_rate=layer.out_rate,
            in_cutoff=np.float64(layer.in_cutoff),
            out_cutoff=layer.out_cutoff,
            in_half_width=layer.in_half_width,
            out_half_width=layer.out_half_width,
            conv_kernel=layer.kernel,
            conv_clamp=layer.clamp,
            up_factor=layer.up_factor,
            up_taps=layer.up_taps,
            down_factor=layer.down_factor,
            down_taps=layer.down_taps,
            down_radial=layer.down_radial,
            padding=[*layer.padding, *layer.padding],
        )
        if layer.up_taps == 1:
            modules[f"synthesis.{layer.name}"]["no_buffers"] = ["up_filter", "down_filter"]
    return modules


def _module(class_name: str, **attributes: Any) -> dict[str, Any]:
    return {"class_name": class_name, "attrs": attributes}


def _dense(activation: str, inputs: int, lr: float) -> dict[str, Any]:
    gains = {"weight_gain": lr / np.sqrt(inputs), "bias_gain": lr}
    return _module("FullyConnectedLayer", activation=activation, **gains)


@contextmanager
def _throwaway_modules() -> Iterator[tuple[Any, type[dict[str, Any]]]]:
    """`torch_utils.persistence` and `dnnlib`, importable during a dump only."""
    names = ["torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util"]
    names += ["dnnlib.tflib", "dnnlib.tflib.network"]
    modules = {name: ModuleType(name) for name in names}

    def _reconstruct_persistent_obj(meta: object) -> None:
        raise AssertionError("a test unpickled with Python's own machine")

    class EasyDict(dict[str, Any]):
        pass

    class Network:
        def __init__(self, state: dict[str, Any]) -> None:
            self.__dict__.update(state)

    for owner, thing in {
        "torch_utils.persistence": _reconstruct_persistent_obj,
        "dnnlib.util": EasyDict,
        "dnnlib.tflib.network": Network,
    }.items():
        thing.__module__, thing.__qualname__ = owner, thing.__name__
        setattr(modules[owner], thing.__name__, thing)
    sys.modules |= modules
    try:
        yield modules, EasyDict
    finally:
        for name in names:
            del sys.modules[name]


class _Persistent:
    """Pickles as NVIDIA's networks do: one call with the class name, its source and the state."""

    def __init__(self, reconstruct: Any, class_name: str, state: dict[str, Any]) -> None:
        self.reconstruct = reconstruct
        self.meta = {
            "type": "class",
            "version": 6,
            "module_src": GUARD.format(class_name),
            "class_name": class_name,
            "state": state,
        }

    def __reduce__(self) -> Any:
        return self.reconstruct, (self.meta,), None


def _network(
    modules_in_place: Any,
    tensors: Mapping[str, Tensor],
    modules: Mapping[str, Mapping[str, Any]],
    ordered: bool,
) -> _Persistent:
    kind = OrderedDict if ordered else dict
    states: dict[str, dict[str, Any]] = {}
    for place, module in modules.items():
        states[place] = {
            "training": False,
            "_parameters": kind(),
            "_buffers": kind(dict.fromkeys(module.get("no_buffers", []))),
            "_non_persistent_buffers_set": set(),
            "_backward_hooks": kind(),
            "_forward_hooks": kind(),
            "_modules": kind(),
            **module["attrs"],
            "_init_args": (),
            "_init_kwargs": {"resolution": 99, "up": 99},
        }
    for name, tensor in tensors.items():
        place, _, own = name.rpartition(".")
        if own in BUFFERS:
            states[place]["_buffers"][own] = tensor
        else:
            states[place]["_parameters"][own] = torch.nn.Parameter(tensor)
    reconstruct = modules_in_place["torch_utils.persistence"]._reconstruct_persistent_obj
    objects = {
        place: _Persistent(reconstruct, modules[place]["class_name"], state)
        for place, state in states.items()
    }
    for place in modules:
        parent, _, own = place.rpartition(".")
        if place:
            states[parent]["_modules"][own] = objects[place]
    return objects[""]


# TensorFlow's pickles


def tensorflow_pickle(
    path: Path,
    config: StyleGAN2Config,
    tensors: Mapping[str, Tensor],
    *,
    flat: bool = False,
    protocol: int = 4,
    start: tuple[int, int] = (4, 4),
    content: Callable[[Any, Any, Any], Any] = lambda g, d, average: (g, d, average),
    **arguments: Any,
) -> Path:
    """The tuple (G, D, Gs) of the first StyleGAN2; G has twice the variables of Gs.

    Args:
        start: what the first scope is called by, for forks that call it by another size.
        flat: all variables in the top network under their full names, not in components.
        content: from G, D and Gs to what the file shall hold.
        arguments: more of the keyword arguments that the network was made with.
    """
    variables = tensorflow_variables(config, tensors, start)
    with _throwaway_modules() as (modules, easy_dict):
        make = modules["dnnlib.tflib.network"].Network
        arguments = {
            "num_channels": config.image_channels,
            "resolution": config.resolution,
            "label_size": 0,
            "func_name": "G_main",
            **arguments,
        }

        def network(name: str, listed: dict[str, Any], components: Any) -> Any:
            return make(
                {
                    "version": 4,
                    "name": name,
                    "static_kwargs": easy_dict(arguments),
                    "components": easy_dict(components),
                    "build_module_src": GUARD.format(name),
                    "build_func_name": "G_main",
                    "variables": list(listed.items()),
                }
            )

        def generator(name: str, variables: dict[str, Any]) -> Any:
            def below(scope: str) -> dict[str, Any]:
                return {
                    name.removeprefix(scope): array
                    for name, array in variables.items()
                    if name.startswith(scope)
                }

            own = {name: array for name, array in variables.items() if "/" not in name}
            own["lod"] = np.zeros((), "f4")
            parts = {
                "synthesis": network("G_synthesis", below("G_synthesis/"), {}),
                "mapping": network("G_mapping", below("G_mapping/"), {}),
            }
            return network(name, variables if flat else own, {} if flat else parts)

        latest = generator("G", {name: np.asarray(array * 2) for name, array in variables.items()})
        other = network("D", {"4x4/Conv/weight": np.zeros((3, 3, 2, 2), "f4")}, {})
        average = generator("Gs", variables)
        path.write_bytes(pickle.dumps(content(latest, other, average), protocol=protocol))
    return path


def tensorflow_variables(
    config: StyleGAN2Config, tensors: Mapping[str, Tensor], start: tuple[int, int] = (4, 4)
) -> dict[str, np.ndarray[Any, Any]]:
    """The variables of a StyleGAN2 under the names of TensorFlow's graph."""
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    found = {"dlatent_avg": arrays["mapping.w_avg"]}
    for i in range(config.mapping_layers):
        found[f"G_mapping/Dense{i}/weight"] = arrays[f"mapping.fc{i}.weight"].T
        found[f"G_mapping/Dense{i}/bias"] = arrays[f"mapping.fc{i}.bias"]
    one, other = start
    found[f"G_synthesis/{one}x{other}/Const/const"] = arrays["synthesis.b4.const"][None]
    noise = 0
    names = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB", "skip": "Skip"}
    for side in config.channels:
        for ours, theirs in names.items():
            here = f"synthesis.b{side}.{ours}"
            scope = f"G_synthesis/{one * side // 4}x{other * side // 4}"
            there = f"{scope}/{theirs}"
            if side == 4 and ours == "conv1":
                there = f"{scope}/Conv"
            if f"{here}.weight" not in arrays:
                continue
            weight = arrays[f"{here}.weight"]
            if ours in ("conv0", "skip"):
                weight = weight[:, :, ::-1, ::-1]
            found[f"{there}/weight"] = np.einsum("oihw->hwio", weight)
            if ours == "skip":
                continue
            found[f"{there}/mod_weight"] = np.einsum("iw->wi", arrays[f"{here}.affine.weight"])
            found[f"{there}/mod_bias"] = arrays[f"{here}.affine.bias"] - 1
            found[f"{there}/bias"] = arrays[f"{here}.bias"]
            if ours != "torgb" and config.use_noise:
                found[f"{there}/noise_strength"] = arrays[f"{here}.noise_strength"]
                noise_const = arrays[f"{here}.noise_const"]
                found[f"G_synthesis/noise{noise}"] = noise_const[None, None]
                noise += 1
    return {name: np.array(array, "f4") for name, array in found.items()}


# rosinality's files


def rosinality_file(
    path: Path,
    state: Mapping[str, Tensor],
    latent_avg: Tensor | None = None,
    *,
    legacy: bool = False,
    **more: Any,
) -> Path:
    """A save of that project's training: `g_ema` among others, an argparse.Namespace included."""
    other = {name: torch.zeros(3) for name in state}
    content = {"g": other, "d": {}, "g_ema": dict(state), **more}
    content |= {"g_optim": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 0.002}]}}
    content |= {"args": Namespace(size=16, path="here", channel_multiplier=2), "ada_aug_p": 0.0}
    if latent_avg is not None:
        content["latent_avg"] = latent_avg
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def rosinality_state(config: StyleGAN2Config, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A StyleGAN2's state dict in rosinality's names; `latent_avg` is not in it."""
    state = {}
    for i in range(config.mapping_layers):
        for part in ("weight", "bias"):
            state[f"style.{i + 1}.{part}"] = tensors[f"mapping.fc{i}.{part}"]
    state["input.input"] = tensors["synthesis.b4.const"][None]
    convs = ["conv1", *(f"convs.{i}" for i in range(2 * len(config.channels) - 2))]
    rgbs = ["to_rgb1", *(f"to_rgbs.{i}" for i in range(len(config.channels) - 1))]
    layers = [layer for layer in config.styled_layers() if layer.kind == "conv"]
    for i, (layer, theirs) in enumerate(zip(layers, convs, strict=True)):
        ours = f"synthesis.{layer.name}"
        state[f"{theirs}.conv.weight"] = tensors[f"{ours}.weight"][None]
        state[f"{theirs}.conv.modulation.weight"] = tensors[f"{ours}.affine.weight"]
        state[f"{theirs}.conv.modulation.bias"] = tensors[f"{ours}.affine.bias"]
        state[f"{theirs}.noise.weight"] = tensors[f"{ours}.noise_strength"][None]
        state[f"{theirs}.activate.bias"] = tensors[f"{ours}.bias"]
        state[f"noises.noise_{i}"] = tensors[f"{ours}.noise_const"][None, None]
        if layer.name.endswith("conv0"):
            state[f"{theirs}.conv.blur.kernel"] = tensors[f"{ours}.resample_filter"] * 4
    layers = [layer for layer in config.styled_layers() if layer.kind == "rgb"]
    for layer, theirs in zip(layers, rgbs, strict=True):
        ours = f"synthesis.{layer.name}"
        state[f"{theirs}.bias"] = tensors[f"{ours}.bias"][None, :, None, None]
        state[f"{theirs}.conv.weight"] = tensors[f"{ours}.weight"][None]
        state[f"{theirs}.conv.modulation.weight"] = tensors[f"{ours}.affine.weight"]
        state[f"{theirs}.conv.modulation.bias"] = tensors[f"{ours}.affine.bias"]
        if theirs != "to_rgb1":
            block = layer.name.partition(".")[0]
            kernel = tensors[f"synthesis.{block}.resample_filter"] * 4
            state[f"{theirs}.upsample.kernel"] = kernel
    return state
