"""Networks that tell who an image shows: a bundle's own, as safetensors, dlib's, as face-api keeps
it, and face recognisers from the files in which they are published, state dicts by torch.save.

Which of these a file of torch.save holds is told by its tensors. Nothing in a file is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ...store.errors import CheckpointError
from ...store.fingerprint import weights_sha256
from ...store.registry import told_with
from ..inert.torchfile import read_torch
from ..networks.attributes import IdentityNetwork
from ..networks.dlib_resnet import DlibResNet
from ..networks.irse import IRSE50
from ..networks.resnet_face import ResNetFace18
from .checkpoint import excerpt, require_same_shapes
from .native import read_safetensors
from .tensors import load_tensors, without_parallel
from .tfjs_file import read_tfjs

FaceNetwork = IRSE50 | ResNetFace18
SUPPORTED = (
    "face recognisers are read from ArcFace's model_ir_se50.pth and arcface-pytorch's "
    "resnet18_110.pth"
)


def read_face_network(path: Path) -> tuple[FaceNetwork, str]:
    """The network in a file with its weights, float32, on the CPU, and their sha256.

    `model_ir_se50.pth` is IR-SE50, `resnet18_110.pth` resnet_face18, with or without squeeze and
    excitation. Names may begin with `module.`, as DataParallel saves them; the counters of batch
    normalisation, `num_batches_tracked`, may be absent and are not part of the identity.

    Raises:
        CheckpointError: there is no such file, it is unreadable, or its tensors are not those of
            one of these networks: a missing, surplus or misshapen one, one that is not of floats
            or not finite.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file; check the path, or name {told_with('identity')}, `clip`, "
            "`dlib` or `off`"
        )
    content = read_torch(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds {excerpt(content)}, no state dict; {SUPPORTED}")
    state = {str(name): value for name, value in without_parallel(content).items()}
    network = _unloaded(path, state)
    wanted = network.state_dict()
    counters = {name for name in wanted if name.endswith(".num_batches_tracked")}
    weights = {name: tensor for name, tensor in wanted.items() if name not in counters}
    found = load_tensors(path, {k: value for k, value in state.items() if k not in counters})
    require_same_shapes(path, weights, found)
    counted = {name: torch.zeros((), dtype=wanted[name].dtype) for name in counters}
    network.load_state_dict(found | counted, assign=True)
    return network, weights_sha256((name, tensor.numpy()) for name, tensor in found.items())


def read_identity_network(path: Path) -> tuple[IdentityNetwork, str]:
    """A bundle's network with its weights, float32, on the CPU, and their sha256.

    Raises:
        CheckpointError: the file is unreadable, or its tensors are not those of the network.
    """
    _, tensors = read_safetensors(path)
    network = IdentityNetwork().eval()
    require_same_shapes(path, network.state_dict(), tensors)
    network.load_state_dict(tensors)
    return network, weights_sha256((name, tensor.numpy()) for name, tensor in tensors.items())


def read_dlib_network(path: Path) -> tuple[DlibResNet, str]:
    """dlib's network from face-api's `face_recognition_model.bin` and the manifest beside it,
    float32, on the CPU, and the sha256 of its tensors.

    Raises:
        CheckpointError: one of the files is missing or unreadable, or they hold other tensors.
    """
    found = read_tfjs(path)
    with torch.device("meta"):
        network = DlibResNet()
    layers = [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    wanted = {"fc": network.fc.detach()}
    for layer in layers:
        outputs, inputs, height, width = network.get_parameter(f"{layer}.weight").shape
        wanted |= dict.fromkeys(_dlib_names(layer), torch.empty(outputs, device="meta"))
        kernel = torch.empty(height, width, inputs, outputs, device="meta")
        wanted[_dlib_names(layer)[0]] = kernel
    require_same_shapes(path, wanted, found)
    state = {"fc": found["fc"]}
    for layer in layers:
        kernel, bias, scale, shift = (found[name] for name in _dlib_names(layer))
        state[f"{layer}.weight"] = (kernel * scale).permute(3, 2, 0, 1).contiguous()
        state[f"{layer}.bias"] = bias * scale + shift
    network.load_state_dict(state, assign=True)
    return network, weights_sha256((name, tensor.numpy()) for name, tensor in found.items())


def _dlib_names(layer: str) -> tuple[str, str, str, str]:
    """What face-api calls the kernel and bias of a convolution, and the scale and shift of its
    channels that follow."""
    name = layer.removeprefix("units.").replace(".", "/")
    return (
        f"{name}/conv/filters",
        f"{name}/conv/bias",
        f"{name}/scale/weights",
        f"{name}/scale/biases",
    )


def _unloaded(path: Path, state: Mapping[str, object]) -> FaceNetwork:
    """The network whose names a state dict has, without memory for its weights."""
    with torch.device("meta"):
        if {"input_layer.0.weight", "output_layer.3.weight"} <= state.keys():
            return IRSE50()
        if "fc5.weight" in state:
            return ResNetFace18(excitation=any(".se." in name for name in state))
    names = ", ".join(excerpt(name) for name in list(state)[:4])
    raise CheckpointError(
        f"{path}: holds no face recogniser but a dict of {names or 'nothing'}; {SUPPORTED}"
    )
