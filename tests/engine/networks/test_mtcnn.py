"""MTCNN's networks are the paper's: compared with loops over places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas.engine.networks.mtcnn import OutputNetwork, ProposalNetwork, RefineNetwork

from ...near import assert_near
from .plain_layers import convolution, maximum, softmax


def random_network(kind):
    """With slopes and biases that differ from channel to channel."""
    network = kind().eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.startswith("prelu") or name.endswith("bias"):
            parameter.normal_(std=0.3)
    return network, {k: v.double().numpy() for k, v in network.state_dict().items()}


def rectified(x, slope):
    slope = slope.reshape(-1, *[1] * (x.ndim - 1))
    return np.where(x > 0, x, slope * x)


def step(state, x, i):
    x = convolution(x, state[f"conv{i}.weight"], state[f"conv{i}.bias"])
    return rectified(x, state[f"prelu{i}.weight"])


def dense(state, name, x):
    return state[f"{name}.weight"] @ x + state[f"{name}.bias"]


def flat(x):
    """Width first, then height, then channel."""
    channels, height, width = x.shape
    return np.array(
        [x[c, y, z] for z in range(width) for y in range(height) for c in range(channels)]
    )


@pytest.mark.parametrize("size", [(12, 12), (13, 17)])
def test_proposals_are_those_of_every_window(size):
    network, state = random_network(ProposalNetwork)
    images = torch.rand(2, 3, *size) * 2 - 1
    scores, moves = network(images)
    for i, image in enumerate(images.double().numpy()):
        x = step(state, step(state, maximum(step(state, image, 1), 2), 2), 3)
        logits = convolution(x, state["conv4_1.weight"], state["conv4_1.bias"])
        likely = np.exp(logits[1]) / np.exp(logits).sum(0)
        assert_near(scores[i], likely.astype(np.float32))
        wanted = convolution(x, state["conv4_2.weight"], state["conv4_2.bias"])
        assert_near(moves[i], wanted.astype(np.float32))


def test_windows_are_refined():
    network, state = random_network(RefineNetwork)
    windows = torch.rand(2, 3, 24, 24) * 2 - 1
    scores, moves = network(windows)
    for i, window in enumerate(windows.double().numpy()):
        x = maximum(step(state, maximum(step(state, window, 1), 3), 2), 3)
        x = flat(step(state, x, 3))
        x = rectified(dense(state, "dense4", x), state["prelu4.weight"])
        assert float(scores[i]) == pytest.approx(softmax(dense(state, "dense5_1", x))[1], rel=1e-5)
        assert_near(moves[i], dense(state, "dense5_2", x).astype(np.float32))


def test_points_are_all_x_then_all_y():
    network, state = random_network(OutputNetwork)
    windows = torch.rand(2, 3, 48, 48) * 2 - 1
    scores, moves, points = network(windows)
    for i, window in enumerate(windows.double().numpy()):
        x = maximum(step(state, maximum(step(state, window, 1), 3), 2), 3)
        x = flat(step(state, maximum(step(state, x, 3), 2), 4))
        x = rectified(dense(state, "dense5", x), state["prelu5.weight"])
        assert float(scores[i]) == pytest.approx(softmax(dense(state, "dense6_1", x))[1], rel=1e-5)
        assert_near(moves[i], dense(state, "dense6_2", x).astype(np.float32))
        wanted = dense(state, "dense6_3", x).reshape(2, 5).T
        assert_near(points[i], np.ascontiguousarray(wanted, np.float32))
