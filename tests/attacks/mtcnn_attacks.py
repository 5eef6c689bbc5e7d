"""Hostile files in the place of MTCNN's first; the others are never come to."""

from __future__ import annotations

from pathlib import Path

import torch

from styleatlas.engine.checkpoints.mtcnn_file import read_mtcnn
from styleatlas.engine.networks.mtcnn import OutputNetwork, ProposalNetwork, RefineNetwork

from . import hostile as h
from .pickle_attacks import Attack


def read_first(path: Path) -> object:
    return read_mtcnn(path, path, path)


def read_beside(path: Path) -> object:
    """Reads it beside two sound ones."""
    others = [path.with_name(f"sound-{name}.pt") for name in ("rnet", "onet")]
    for other, network in zip(others, (RefineNetwork(), OutputNetwork()), strict=True):
        if not other.exists():
            torch.save(network.state_dict(), other)
    networks, _ = read_mtcnn(path, *others)
    return networks[0].state_dict()


def sound() -> bytes:
    return h.saved(state())


def state(**changes: object) -> dict[str, object]:
    return {**ProposalNetwork().state_dict(), **changes}


def lacking(name: str) -> bytes:
    return h.saved({key: value for key, value in state().items() if key != name})


def nested() -> object:
    """A list in a list, 300 deep."""
    deep: list[object] = []
    for _ in range(300):
        deep = [deep]
    return deep


MTCNN = {
    name: Attack(make, message, read_first)
    for name, make, message in [
        (
            "os.system among MTCNN's tensors",
            lambda: h.archive(h.pickled(h.call(h.name("os", "system"), h.text(h.COMMAND)), 2), {}),
            r"asks for the Python object os\.system",
        ),
        (
            "module in place of MTCNN's state",
            lambda: h.saved(ProposalNetwork()),
            r"asks for the Python object styleatlas\.engine\.networks\.mtcnn\.ProposalNetwork",
        ),
        ("MTCNN of a list", lambda: h.saved([torch.zeros(2)]), "holds a list, no state dict"),
        (
            "MTCNN of text",
            lambda: h.saved(state(**{"conv1.bias": "x" * 5000})),
            r"conv1\.bias is 'x+' where a tensor is needed",
        ),
        (
            "MTCNN of lists in lists",
            lambda: h.saved(state(**{"conv1.bias": nested()})),
            "nests more than 200 deep",
        ),
        (
            "MTCNN of whole numbers",
            lambda: h.saved(state(**{"conv1.bias": torch.zeros(10, dtype=torch.int64)})),
            r"conv1\.bias has type torch\.int64 where a float is needed",
        ),
        (
            "MTCNN of NaN",
            lambda: h.saved(state(**{"conv1.bias": torch.full((10,), float("nan"))})),
            "NaN or infinity",
        ),
        (
            "MTCNN without a tensor",
            lambda: lacking("conv4_2.bias"),
            r"missing conv4_2\.bias",
        ),
        (
            "MTCNN with a tensor more",
            lambda: h.saved(state(**{"conv5.weight": torch.zeros(1)})),
            r"surplus conv5\.weight",
        ),
        (
            "MTCNN of another shape",
            lambda: h.saved(state(**{"conv1.weight": torch.zeros(10, 1, 3, 3)})),
            r"conv1\.weight has shape \(10, 1, 3, 3\)",
        ),
        (
            "MTCNN that claims more than its file",
            lambda: h.saved(state(**{"conv1.bias": torch.zeros(1).expand(10**9)})),
            "a tensor reaches beyond its storage of 1 elements",
        ),
        (
            "MTCNN that breaks off",
            lambda: sound()[:-4000],
            "is a truncated or foreign zip file",
        ),
        (
            "MTCNN's second network for its first",
            lambda: h.saved(RefineNetwork().state_dict()),
            r"surplus dense4\.bias",
        ),
    ]
}
