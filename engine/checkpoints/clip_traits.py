"""What the modules of a whole CLIP tell beside their weights: what no shape shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...store.errors import CheckpointError
from ..inert.objects import InertObject
from .checkpoint import excerpt, is_whole

QUICK = ("clip.model.QuickGELU", "open_clip.transformer.QuickGELU")
PLAIN = "torch.nn.modules.activation.GELU"
ATTENTION = ("MultiheadAttention", "AttentionPool2d")
NORMS = ("LayerNorm", "LayerNormFp32", "BatchNorm2d")
EPSILON = 1e-5
MOST_HEADS = 1024


@dataclass(frozen=True)
class Traits:
    """What a file tells of a CLIP beside its weights; all of it None, or empty, where it tells
    nothing.

    Args:
        quick_gelu: its activation is QuickGELU, or GELU.
        heads: of its attention, in the image tower and in the text tower.
        preprocess: open_clip's `preprocess_cfg`.
    """

    quick_gelu: bool | None = None
    heads: tuple[int, int] | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)


def read_traits(path: Path, modules: Mapping[str, InertObject]) -> Traits:
    """Of a CLIP of OpenAI's or open_clip's classes, itself under the empty name.

    Raises:
        CheckpointError: it computes otherwise than any CLIP that follows from its shapes.
    """
    states = {name: module.state or {} for name, module in modules.items()}
    root, visual = states.get("", {}), states.get("visual", {})
    for what, value, usual in (
        ("text_pool_type", root.get("text_pool_type", "argmax"), "argmax"),
        ("visual.pool_type", visual.get("pool_type", "tok"), "tok"),
        ("visual.global_average_pool", visual.get("global_average_pool", False), False),
        ("visual.final_ln_after_pool", visual.get("final_ln_after_pool", False), False),
    ):
        if type(value) is not type(usual) or value != usual:
            raise _another(path, f"{what} is {excerpt(value)}, not {excerpt(usual)}")
    buffers = root.get("_buffers") or {}
    if "attn_mask" in buffers and buffers["attn_mask"] is None:
        raise _another(path, "its text tower is not causal")
    for name, module in modules.items():
        epsilon = states[name].get("eps", EPSILON)
        if _class(module) in NORMS and not (type(epsilon) is float and epsilon == EPSILON):
            raise _another(path, f"{excerpt(name)} has eps {excerpt(epsilon)}")
    return Traits(
        quick_gelu=_activation(path, modules),
        heads=_heads(path, modules),
        preprocess=_preprocess(path, visual),
    )


def _activation(path: Path, modules: Mapping[str, InertObject]) -> bool | None:
    """Whether all activations are QuickGELU; False if all are GELU."""
    found = {name: module for name, module in modules.items() if module.kind in (*QUICK, PLAIN)}
    for name, module in found.items():
        form = (module.state or {}).get("approximate", "none")
        if type(form) is not str or form != "none":
            raise _another(path, f"{excerpt(name)} approximates by {excerpt(form)}")
    kinds = {module.kind in QUICK for module in found.values()}
    if len(kinds) > 1:
        raise _another(path, "it has both GELU and QuickGELU")
    return kinds.pop() if kinds else None


def _heads(path: Path, modules: Mapping[str, InertObject]) -> tuple[int, int] | None:
    found: dict[bool, set[Any]] = {True: set(), False: set()}
    for name, module in modules.items():
        if _class(module) in ATTENTION:
            heads = (module.state or {}).get("num_heads")
            if not is_whole(heads, 1, MOST_HEADS):
                raise _another(path, f"{excerpt(name)} has {excerpt(heads)} heads")
            found[name.startswith("visual.")].add(heads)
    if not all(found.values()):
        return None
    for heads in found.values():
        if len(heads) > 1:
            raise _another(path, f"one tower has {_listed(map(str, heads))} heads")
    return found[True].pop(), found[False].pop()


def _preprocess(path: Path, visual: Mapping[str, Any]) -> dict[str, Any]:
    """What open_clip leaves with the image tower of a CLIP that it made; once only two values."""
    told = visual.get("preprocess_cfg")
    if told is None:
        told = {"mean": visual.get("image_mean"), "std": visual.get("image_std")}
    if not isinstance(told, dict):
        raise _another(path, f"visual.preprocess_cfg is {excerpt(told)}")
    for name, value in told.items():
        if value is not None and type(value) not in (str, int, float, list, tuple):
            raise _another(path, f"visual.preprocess_cfg has {excerpt(value)} as {excerpt(name)}")
    return told


def _class(module: InertObject) -> str:
    return module.kind.rpartition(".")[2]


def _listed(words: Iterable[str]) -> str:
    return " and ".join(sorted(words))


def _another(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: holds a module that is not of a known architecture ({reason}); save its state "
        f"dict, and name its architecture as open_clip calls it: MODEL={path.name}"
    )
