"""Where in a file a CLIP's weights lie: people save them bare, among what a training keeps, under
the name of whatever held the CLIP, or as the whole module.

A CLIP is known by its `logit_scale` beside an image tower. Whatever stands before that name stands
before all of its names, and what else there is does not belong to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from ...store.errors import CheckpointError
from ..inert.objects import InertObject, InertTensor
from .checkpoint import excerpt

MEND = "name a CLIP's own file"
SCALE = "logit_scale"
IMAGE_TOWERS = ("visual.", "vision_model.")
LONGEST_NAME = 500
# Of several CLIPs in a file, a student and its teacher say, the one that people mean: in order.
PLACES = ("", "state_dict", "model_state_dict", "model")
PREFIXES = ("", "module.", "model.", "module.model.", "model.module.", "clip.", "model.clip.")


@dataclass(frozen=True)
class FoundClip:
    """A CLIP's weights, unread, under its own names.

    Args:
        place: where in the file they lie, such as `state_dict, model.`; empty where they are bare.
        state: what stands under each name: tensors.
        modules: of a whole module, its parts by their names, itself under the empty one.
        scripted: it is a TorchScript archive.
        known: it is a CLIP by its names. Else it is all that there is, of an architecture that the
            user may know.
    """

    place: str
    state: Mapping[str, InertTensor | Tensor]
    modules: Mapping[str, InertObject] = field(default_factory=dict)
    scripted: bool = False
    known: bool = True


@dataclass(frozen=True)
class _Held:
    """Names and values at one place of a file, of which some may be a CLIP's."""

    place: str
    values: Mapping[str, object]
    modules: Mapping[str, InertObject] = field(default_factory=dict)

    def prefixes(self) -> list[str]:
        """What stands before the names of each CLIP here."""
        towers = {
            name.partition(tower)[0]
            for name in self.values
            for tower in IMAGE_TOWERS
            if tower in name
        }
        ends = (name.removesuffix(SCALE) for name in self.values if name.endswith(SCALE))
        return [end for end in ends if end in towers and (not end or end.endswith("."))]

    def below(self, path: Path, prefix: str) -> FoundClip:
        """The part under a prefix."""
        state = {}
        for name, value in self.values.items():
            if not name.startswith(prefix):
                continue
            if not isinstance(value, InertTensor | Tensor):
                raise CheckpointError(
                    f"{path}: {excerpt(name)} is {excerpt(value)} where a tensor is needed; {MEND}"
                )
            state[name.removeprefix(prefix)] = value
        modules = {
            name[len(prefix) :]: module
            for name, module in self.modules.items()
            if f"{name}.".startswith(prefix)
        }
        place = ", ".join(excerpt(part) for part in (self.place, prefix) if part)
        return FoundClip(place, state, modules)


def find_state(path: Path, content: object) -> FoundClip:
    """The CLIP in what a file holds, or, where none is known by its names, all that may be one.

    Raises:
        CheckpointError: there are no weights by name, or several CLIPs of which none is the one
            that people mean.
    """
    if isinstance(content, InertObject) and content.kind.startswith("__torch__."):
        state = dict(_scripted_tensors(path, content))
        return FoundClip("", state, scripted=True, known=SCALE in state)
    places = list(_places(path, content))
    found = [(held, prefix) for held in places for prefix in held.prefixes()]
    if not found:
        return _unknown(path, content)
    usual = [x for x in found if x[0].place in PLACES and x[1] in PREFIXES]
    if len(found) > 1 and not usual:
        names = [excerpt(f"{held.place}.{prefix}".strip(".")) for held, prefix in found[:2]]
        raise CheckpointError(
            f"{path}: holds {len(found)} CLIPs, such as {' and '.join(names)}; save the one "
            "that is meant by itself, as a state dict"
        )
    ranked = sorted(usual, key=lambda x: (PLACES.index(x[0].place), PREFIXES.index(x[1])))
    held, prefix = (ranked or found)[0]
    return held.below(path, prefix)


def _places(path: Path, content: object) -> Iterator[_Held]:
    if isinstance(content, InertObject):
        yield _held_by_module(path, "", content)
    if not isinstance(content, Mapping):
        return
    if all(isinstance(name, str) for name in content):
        yield _Held("", content)
    for name, value in content.items():
        if not isinstance(name, str):
            continue
        if isinstance(value, InertObject) and _is_module(value):
            yield _held_by_module(path, name, value)
        elif isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            yield _Held(name, value)


def _unknown(path: Path, content: object) -> FoundClip:
    """All the tensors, whose names may be those of an architecture that is named by the user."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise CheckpointError(f"{path}: holds {excerpt(content)} and no weights by name; {MEND}")
    parallel = all(name.startswith("module.") for name in content)
    found = _Held("", content).below(path, "module." if parallel and content else "")
    return replace(found, place="", known=False)


def _scripted_tensors(
    path: Path, module: InertObject, prefix: str = ""
) -> Iterator[tuple[str, InertTensor]]:
    """The tensors of a TorchScript module and of those inside it, by their dotted names."""
    for key, value in (module.state or {}).items():
        if isinstance(value, InertTensor):
            yield _joined(path, prefix, key), value
        elif isinstance(value, InertObject):
            yield from _scripted_tensors(path, value, _joined(path, prefix, key))


def _joined(path: Path, module: str, key: str) -> str:
    """The dotted name of what a module calls `key`. Modules may share parts and names: without an
    end to its length, a small file would make names of gigabytes."""
    name = f"{module}.{key}" if module else key
    if len(name) > LONGEST_NAME:
        raise CheckpointError(
            f"{path}: names a part of a module by over {LONGEST_NAME} letters; {MEND}"
        )
    return name


# Whole modules


def _is_module(value: InertObject) -> bool:
    return "_parameters" in (value.state or {})


def _held_by_module(path: Path, place: str, root: InertObject) -> _Held:
    """What the state dict of a module would hold, and the modules inside it."""
    modules = dict(_inside(path, "", root))
    values: dict[str, object] = {}
    for name, module in modules.items():
        passing = (module.state or {}).get("_non_persistent_buffers_set")
        passing = passing if isinstance(passing, set) else set()
        for kind in ("_parameters", "_buffers"):
            for key, value in _named(path, module, kind).items():
                if value is not None and not (kind == "_buffers" and key in passing):
                    values[_joined(path, name, key)] = value
    return _Held(place, values, modules)


def _inside(path: Path, name: str, module: InertObject) -> Iterator[tuple[str, InertObject]]:
    yield name, module
    for key, inner in _named(path, module, "_modules").items():
        if isinstance(inner, InertObject):
            yield from _inside(path, _joined(path, name, key), inner)


def _named(path: Path, module: InertObject, kind: str) -> Mapping[str, object]:
    """What a module keeps in one of its dicts."""
    found = (module.state or {}).get(kind)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise CheckpointError(
            f"{path}: holds {excerpt(module)}, which is no module with {kind[1:]}; {MEND}"
        )
    return found
