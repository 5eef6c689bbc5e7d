"""All networks that features of faces are read by, put where fetched ones would lie, with numbers
made up by a formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from styleatlas.engine.networks.face_api import AgeGenderNetwork, DenseNetwork
from styleatlas.engine.networks.mtcnn import OutputNetwork, ProposalNetwork, RefineNetwork
from styleatlas.store.weights import WEIGHTS

from .dlib_files import Weights, as_fetched, dlib_weights, write_tfjs

BRIGHT = 0.6
"""The mean of a window in [-1, 1] from which MTCNN's first network sees a face in it."""
POINTS = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]])
"""Where MTCNN's last network sees them, in shares of its square, whatever it is shown."""


def tensors_of(network: nn.Module, spread: float = 1.0) -> Weights:
    """Random tensors in the names and the order of axes of face-api's files."""
    named: Weights = {}
    for name, tensor in network.state_dict().items():
        layer, _, part = name.replace(".", "/").rpartition("/")
        values = spread * np.random.default_rng(len(named)).normal(size=tensor.shape)
        values = values.astype(np.float32)
        if part == "bias":
            named[f"{layer.removesuffix('/pointwise')}/bias"] = values
        elif layer.endswith("/depthwise"):
            named[f"{layer}_filter"] = values.transpose(2, 3, 0, 1)
        elif layer.endswith("/pointwise"):
            named[f"{layer}_filter"] = values.transpose(2, 3, 1, 0)
        elif values.ndim == 4:
            named[f"{layer}/filters"] = values.transpose(2, 3, 1, 0)
        else:
            named[f"{layer}/weights"] = values.T
    return named


def put_features(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, faces: bool = True, spread: float = 0.1
) -> None:
    """Puts made-up weights where all that `styleatlas models fetch faces` fetches for features
    would lie, with `folder` as the one of all weights.

    Args:
        faces: whether MTCNN sees faces, where all of a window is bright, or none anywhere.
        spread: of the numbers of expression, age and gender.
    """
    as_fetched(folder, monkeypatch, dlib_weights())
    models = {"face_expression": DenseNetwork(7), "age_gender": AgeGenderNetwork()}
    for name, network in models.items():
        path = WEIGHTS["face-api"].folder / f"{name}_model.bin"
        write_tfjs(path, tensors_of(network, spread))
    mtcnn = WEIGHTS["mtcnn"].folder
    mtcnn.mkdir(parents=True, exist_ok=True)
    names = {
        "pnet": (ProposalNetwork(), "conv4_1"),
        "rnet": (RefineNetwork(), "dense5_1"),
        "onet": (OutputNetwork(), "dense6_1"),
    }
    for file, (network, head) in names.items():
        state = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
        state[f"{head}.bias"] = torch.tensor([0.0, 5.0 if faces else -5.0])
        if file == "pnet":  # the means of ever larger squares, brightest where it is 1
            for layer, inputs in (("conv1", 3), ("conv2", 1), ("conv3", 1)):
                state[f"{layer}.weight"][0, :inputs] = 1 / (9 * inputs)
            # So steep that windows are equally likely faces, whatever rounding does, or none.
            state["conv4_1.weight"][1, 0] = 4000
            state["conv4_1.bias"][1] = -4000 * BRIGHT if faces else -1e4
        if file == "onet":  # whose points are all x, then all y
            state["dense6_3.bias"] = torch.from_numpy(POINTS.T.ravel()).float()
        torch.save(state, mtcnn / f"{file}.pt")
