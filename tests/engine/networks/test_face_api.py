"""face-api's networks: compared with loops over places."""

from __future__ import annotations

import numpy as np
import torch

from styleatlas.engine.networks.face_api import AgeGenderNetwork, DenseNetwork

from ...near import assert_near
from .plain_layers import convolution, depthwise, maximum, padded


def random_network(network):
    network = network.eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(std=0.1)
    return network, {k: v.double().numpy() for k, v in network.state_dict().items()}


def shown(crop):
    """A crop in [-1, 1] as face-api feeds it: from 0 to 255 less a mean, by 255."""
    mean = np.array([122.782, 117.001, 104.298])[:, None, None]
    return ((crop.double().numpy() + 1) * 127.5 - mean) / 255


def separable(state, name, x, stride=1):
    x = padded(x, 0, 1) if stride == 2 else padded(x, 1, 1)
    x = depthwise(x, state[f"{name}.depthwise.weight"], stride)
    return convolution(x, state[f"{name}.pointwise.weight"], state[f"{name}.pointwise.bias"])


def full(state, name, x, stride):
    return convolution(x, state[f"{name}.weight"], state[f"{name}.bias"], stride)


def relu(x):
    return np.maximum(x, 0)


def test_dense_network():
    network, state = random_network(DenseNetwork(5))
    crop = torch.rand(1, 3, 112, 112) * 2 - 1
    x = shown(crop[0])
    for i in range(4):
        name = f"dense{i}"
        if i == 0:
            first = full(state, f"{name}.conv0", padded(x, 0, 1), 2)
        else:
            first = separable(state, f"{name}.conv0", x, 2)
        a = relu(first)
        b = separable(state, f"{name}.conv1", a)
        c = separable(state, f"{name}.conv2", relu(a + b))
        d = separable(state, f"{name}.conv3", relu(a + b + c))
        x = relu(a + b + c + d)
    assert x.shape == (256, 7, 7)
    wanted = state["fc.weight"] @ x.mean((1, 2)) + state["fc.bias"]
    assert_near(network(crop)[0], wanted.astype(np.float32), 1e-4)


def reduced(state, name, x, first=False):
    y = separable(state, f"{name}.separable_conv0", x if first else relu(x))
    y = separable(state, f"{name}.separable_conv1", relu(y))
    return maximum(y, 3) + full(state, f"{name}.expansion_conv", x, 2)


def test_age_and_gender_network():
    network, state = random_network(AgeGenderNetwork())
    crop = torch.rand(1, 3, 112, 112) * 2 - 1
    x = relu(full(state, "entry_flow.conv_in", padded(shown(crop[0]), 0, 1), 2))
    x = reduced(state, "entry_flow.reduction_block_0", x, first=True)
    x = reduced(state, "entry_flow.reduction_block_1", x)
    for i in range(2):
        y = x
        for j in range(3):
            y = separable(state, f"middle_flow.main_block_{i}.separable_conv{j}", relu(y))
        x = x + y
    x = reduced(state, "exit_flow.reduction_block", x)
    x = relu(separable(state, "exit_flow.separable_conv", x)).mean((1, 2))
    assert x.shape == (512,)
    ages, genders = network(crop)
    age = state["fc.age.weight"] @ x + state["fc.age.bias"]
    gender = state["fc.gender.weight"] @ x + state["fc.gender.bias"]
    assert_near(ages[0], age.astype(np.float32), 1e-4)
    assert_near(genders[0], gender.astype(np.float32), 1e-4)
