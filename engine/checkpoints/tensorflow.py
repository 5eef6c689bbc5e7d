"""Generators in the pickles of the first StyleGAN2, whose networks TensorFlow computed.

Such a file is a tuple of three networks, G, D and Gs, the averaged generator; people keep Gs alone,
too. A network is its name, the keyword arguments it was made with, and its variables, spread over
components. Of the arguments only those count that change what the variables compute; forks add
many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from ...store.errors import CheckpointError
from ..inert.objects import InertObject
from ..networks.stylegan2 import SQUARE, Architecture, StyleGAN2Config
from .checkpoint import LARGEST_RESOLUTION, GeneratorCheckpoint, excerpt, is_real
from .tensors import load_tensors

NETWORK = "dnnlib.tflib.network.Network"
SCOPES = {"G_mapping": "mapping", "G_synthesis": "synthesis"}


def find_network(path: Path, content: object) -> tuple[InertObject, str] | None:
    """The averaged generator among the networks of a file, alone or in a tuple, a list or a dict,
    and the name of it that is not the average, or an empty one; None where there are no networks.

    Raises:
        CheckpointError: there are networks, and none of them is a generator.
    """
    named: list[tuple[object, object]]
    if isinstance(content, Mapping):
        named = list(content.items())
    else:
        items = content if isinstance(content, list | tuple) else [content]
        named = [((item.state or {}).get("name"), item) for item in items if _is_network(item)]
    networks = [(str(name), item) for name, item in named if _is_network(item)]
    if not networks:
        return None
    generators = [(name, network) for name, network in networks if _is_generator(network)]
    if not generators:
        raise _refusal(path, f"is missing: none of its {len(networks)} networks is a generator")
    averaged = [(name, network) for name, network in generators if name == "Gs"]
    name, network = (averaged or generators)[-1]
    return network, name if name == "G" else ""


def _is_generator(network: InertObject) -> bool:
    """Whether it has a synthesis network, as a component or among its own variables."""
    listed = (network.state or {}).get("variables")
    pairs = listed if isinstance(listed, list) else []
    names = [pair[0] for pair in pairs if isinstance(pair, tuple | list) and pair]
    own = any(isinstance(name, str) and name.startswith("G_synthesis/") for name in names)
    return own or "synthesis" in _components(network)


def read_tensorflow(path: Path, network: InertObject) -> GeneratorCheckpoint:
    """The generator that a network of TensorFlow's is.

    Raises:
        CheckpointError: our network does not compute what it computes.
    """
    described = dict(_variables(path, network))
    if any("StyleMod" in name for name in described):
        raise _refusal(path, "is a StyleGAN of 2018, not a StyleGAN2")
    arguments = _arguments(network)
    for name in ("nonlinearity", "mapping_nonlinearity"):
        value = arguments.get(name, "lrelu")
        if not isinstance(value, str) or value != "lrelu":
            raise _refusal(path, f"has {name} {excerpt(value)}, not lrelu")
    if arguments.get("normalize_latents", True) is not True:
        raise _refusal(path, "does not normalise its latents")
    if any("Label" in name for name in described):
        raise _refusal(path, "takes labels, which only PyTorch checkpoints may")
    described.pop("lod", None)  # a level of detail that StyleGAN2 no longer uses
    variables = Variables(path, load_tensors(path, described))
    tensors = _mapping(variables)
    channels, architecture = _synthesis(variables, tensors, _low_pass(path, arguments))
    variables.require_all_taken()
    z_dim, w_dim = tensors["mapping.fc0.weight"].shape[1], len(tensors["mapping.w_avg"])
    hidden = len(tensors["mapping.fc0.bias"])
    constant = tensors["synthesis.b4.const"].shape[1:]
    config = StyleGAN2Config(
        z_dim=z_dim,
        w_dim=w_dim,
        mapping_layers=sum(name.startswith("mapping.fc") for name in tensors) // 2,
        mapping_lr=_number(path, arguments, "mapping_lrmul", 0.01),
        layer_features=None if hidden == w_dim else hidden,
        channels=channels,
        constant=(constant[0], constant[1]),
        image_channels=len(tensors[f"synthesis.b{max(channels)}.torgb.bias"]),
        architecture=architecture,
        use_noise="synthesis.b4.conv1.noise_strength" in tensors,
        conv_clamp=_number(path, arguments, "conv_clamp", None),
        filter_taps=len(tensors["synthesis.b4.resample_filter"]),
    )
    checkpoint = GeneratorCheckpoint.of(path, config, tensors, "tensorflow")
    _require_size(path, arguments, config)
    return checkpoint


class Variables:
    """The variables of a network; what nobody takes is not understood."""

    def __init__(self, path: Path, tensors: dict[str, Tensor]) -> None:
        self.path = path
        self.left = tensors

    def take(self, name: str, axes: int) -> Tensor:
        """The variable of this name with so many axes, none of them empty."""
        tensor = self.left.pop(name, None)
        if tensor is None:
            raise _refusal(self.path, f"has no variable {name}")
        if tensor.ndim != axes or not tensor.numel():
            raise _refusal(
                self.path, f"has {name} of shape {tuple(tensor.shape)}, not of {axes} axes"
            )
        return tensor

    def dense(self, name: str, bias: str = "bias", weight: str = "weight") -> dict[str, Tensor]:
        """A fully connected layer, stored as (in, out)."""
        return {
            "weight": self.take(f"{name}/{weight}", 2).t(),
            "bias": self.take(f"{name}/{bias}", 1),
        }

    def conv(self, name: str) -> Tensor:
        """A convolution's weight, stored as (height, width, in, out)."""
        return self.take(f"{name}/weight", 4).permute(3, 2, 0, 1)

    def styled(self, name: str) -> dict[str, Tensor]:
        """A modulated convolution; its style's bias is stored without the 1 it is added to."""
        affine = self.dense(name, "mod_bias", "mod_weight")
        return {
            "weight": self.conv(name),
            "bias": self.take(f"{name}/bias", 1),
            "affine.weight": affine["weight"],
            "affine.bias": affine["bias"] + 1,
        }

    def require_all_taken(self) -> None:
        if self.left:
            names = ", ".join(excerpt(name) for name in sorted(self.left)[:3])
            raise _refusal(self.path, f"has variables that StyleGAN2 does not have ({names})")


def _mapping(variables: Variables) -> dict[str, Tensor]:
    tensors = {"mapping.w_avg": variables.take("dlatent_avg", 1)}
    i = 0
    while i == 0 or f"mapping/Dense{i}/weight" in variables.left:
        layer = variables.dense(f"mapping/Dense{i}")
        tensors |= {f"mapping.fc{i}.{part}": tensor for part, tensor in layer.items()}
        i += 1
    return tensors


def _synthesis(
    variables: Variables, tensors: dict[str, Tensor], low_pass: Tensor
) -> tuple[dict[int, int], Architecture]:
    """Add the synthesis network to `tensors`; its widths and its architecture."""
    scopes = {4 * 2**i: scope for i, scope in enumerate(_scopes(variables))}
    last = max(scopes)
    architecture: Architecture = "orig"
    if last > 4 and f"{scopes[8]}/Skip/weight" in variables.left:
        architecture = "resnet"
    elif f"{scopes[4]}/ToRGB/weight" in variables.left:
        architecture = "skip"
    # A fork may build it without: then no variable is of noise, whatever its arguments say.
    use_noise = any("noise" in name for name in variables.left)
    channels = {}
    for side, scope in scopes.items():
        block = f"synthesis.b{side}"
        found = {"resample_filter": low_pass}
        if side == 4:
            found["const"] = variables.take(f"{scope}/Const/const", 4)[0]
            convs = {"conv1": "Conv"}
        else:
            convs = {"conv0": "Conv0_up", "conv1": "Conv1"}
        for ours, theirs in convs.items():
            layer = variables.styled(f"{scope}/{theirs}")
            # Noise 0 is that of 4x4; every later resolution has two.
            index = 2 * (side.bit_length() - 1) - (5 if ours == "conv0" else 4)
            if use_noise:
                layer["noise_strength"] = variables.take(f"{scope}/{theirs}/noise_strength", 0)
                layer["noise_const"] = variables.take(f"synthesis/noise{index}", 4)[0, 0]
            layer["resample_filter"] = low_pass
            if ours == "conv0":
                layer["weight"] = layer["weight"].flip(2, 3)
            found |= {f"{ours}.{part}": tensor for part, tensor in layer.items()}
        if architecture == "skip" or side == last:
            rgb = variables.styled(f"{scope}/ToRGB")
            found |= {f"torgb.{part}": tensor for part, tensor in rgb.items()}
        if architecture == "resnet" and side > 4:
            found["skip.weight"] = variables.conv(f"{scope}/Skip").flip(2, 3)
            found["skip.resample_filter"] = low_pass
        tensors |= {f"{block}.{part}": tensor for part, tensor in found.items()}
        channels[side] = len(found["conv1.bias"])
    return channels, architecture


def _scopes(variables: Variables) -> list[str]:
    """Where the variables of each block stand: under 4x4 and its doubles, or under those of the
    size that a fork's pictures start from, such as 5x3."""
    starts = (name.removesuffix("/Const/const") for name in variables.left)
    found = (re.fullmatch(r"synthesis/([1-9]\d{0,3})x([1-9]\d{0,3})", name) for name in starts)
    one, other = next(((int(match[1]), int(match[2])) for match in found if match), SQUARE)
    scopes: list[str] = []
    while not scopes or f"synthesis/{one}x{other}/Conv1/weight" in variables.left:
        scopes.append(f"synthesis/{one}x{other}")
        one, other = 2 * one, 2 * other
    if 4 * 2 ** (len(scopes) - 1) > LARGEST_RESOLUTION:
        raise _refusal(variables.path, f"makes pictures of more than {LARGEST_RESOLUTION} pixels")
    return scopes


def _require_size(path: Path, arguments: Mapping[str, Any], config: StyleGAN2Config) -> None:
    """Refuse a network that says of its pictures another size than its tensors lead to, by the
    arguments of forks for pictures that are not square."""
    height, width = config.image_size
    first_height, first_width = config.constant
    doublings = len(config.channels) - 1
    wanted = {"resolution_h": {height}, "resolution_w": {width}}
    wanted |= {"min_h": {first_height}, "min_w": {first_width}}
    wanted["res_log2"] = {doublings, doublings + 2}  # of the image over the constant, or over 1
    for name, values in wanted.items():
        said = _number(path, arguments, name, min(values))
        if said not in values:
            raise _refusal(
                path,
                f"has {name} {said:g}, but its variables make pictures of {height} x {width} "
                f"from a constant of {first_height} x {first_width}",
            )


def _variables(path: Path, network: InertObject) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """The variables of a network and its components, by scope and name."""
    seen = set()
    for prefix, part in {"": network, **_components(network)}.items():
        listed = (part.state or {}).get("variables")
        if not isinstance(listed, list):
            raise _refusal(path, f"has no list of variables in {prefix or 'itself'}")
        for item in listed:
            if (
                not isinstance(item, tuple | list)
                or len(item) != 2
                or not isinstance(item[0], str)
                or not isinstance(item[1], np.ndarray)
            ):
                raise _refusal(path, "has a variable that is no pair of a name and an array")
            name = item[0].removesuffix(":0")
            scope, _, rest = name.partition("/")
            if rest and scope in SCOPES:  # the names of the whole network's graph
                name = f"{SCOPES[scope]}/{rest}"
            elif prefix:
                name = f"{prefix}/{name}"
            if name in seen:
                raise _refusal(path, f"has the variable {excerpt(name)} twice")
            seen.add(name)
            yield name, item[1]


def _components(network: InertObject) -> dict[str, InertObject]:
    components = (network.state or {}).get("components")
    items: Iterable[tuple[Any, Any]] = components.items() if isinstance(components, dict) else ()
    return {name: part for name, part in items if isinstance(name, str) and _is_network(part)}


def _arguments(network: InertObject) -> dict[str, Any]:
    """The keyword arguments of a network and its components."""
    merged: dict[str, Any] = {}
    for part in (*_components(network).values(), network):
        found = (part.state or {}).get("static_kwargs")
        merged |= found if isinstance(found, dict) else {}
    return merged


def _low_pass(path: Path, arguments: Mapping[str, Any]) -> Tensor:
    """The filter of up-sampling, (taps, taps) with sum 1."""
    kernel = arguments.get("resample_kernel")
    kernel = [1, 3, 3, 1] if kernel is None else kernel
    kernel = kernel.tolist() if isinstance(kernel, np.ndarray) else kernel
    is_list = isinstance(kernel, list | tuple) and 2 <= len(kernel) <= 64
    if not is_list or not all(is_real(tap) for tap in kernel):
        raise _refusal(path, "has a resample_kernel that is no list of 2 to 64 numbers")
    taps = torch.tensor([float(tap) for tap in kernel])
    return torch.outer(taps, taps) / taps.sum() ** 2


def _number(path: Path, arguments: Mapping[str, Any], name: str, default: Any) -> Any:
    value = arguments.get(name)
    value = value.item() if isinstance(value, np.generic) else value
    if value is None:
        return default
    if not is_real(value):
        raise _refusal(path, f"has {name} {excerpt(value)}, not a number")
    return float(value)


def _is_network(item: object) -> TypeGuard[InertObject]:
    return isinstance(item, InertObject) and item.kind == NETWORK


def _refusal(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: its generator Gs {what}; only StyleGAN2 of NVIDIA's TensorFlow code can be read"
    )
