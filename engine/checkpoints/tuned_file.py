"""A generator that was tuned to photos, as the small difference from the one it was tuned from.

The file is safetensors. Its metadata holds, under the key `styleatlas-tuned`, what `tuning.py`
describes. Tensors: `w`, float32 (n, num_ws, w_dim), the latents of the photos' crops; for every
weight that was tuned `difference/NAME`, int8 of its shape, and `scale/NAME`, float32 (outputs,):
the product is added to the parent's weight. Where the average w is not that of the parent's file,
`average`, float32 (w_dim,).

Whole numbers times a scale, and one addition: the same bits on every machine, so that the weights
have one identity. How near that comes to the weights before, `benchmarks/tuning.py forms` tells.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...store.cache import remembered_place
from ...store.errors import AtlasFormatError, CheckpointError, OutputError
from ...store.fingerprint import ModelIdentity
from ...store.output import replacing
from ...store.paths import require_checkpoint
from ...store.registry import find_bundle
from .checkpoint import GeneratorCheckpoint, excerpt
from .native import read_safetensors
from .tuning import Tuning

METADATA_KEY = "styleatlas-tuned"
AVERAGE = "mapping.w_avg"
_LEVELS = 127  # of int8, either way


@dataclass(frozen=True, kw_only=True)
class TunedCheckpoint(GeneratorCheckpoint):
    """A generator's file that is a difference from another: the whole weights, and what it tells
    of the `tuning`."""

    tuning: Tuning

    def identity(self, name: str) -> ModelIdentity:
        """See `GeneratorCheckpoint.identity`; atlases of the parent are taken for it."""
        return replace(super().identity(name), tuned_from=self.tuning.tuned_from)


@dataclass(frozen=True, eq=False)
class Difference:
    """What is added to weights, by their names: int8 of the weight's shape, and float32 (outputs,)
    that it is multiplied by."""

    levels: Mapping[str, Tensor]
    scales: Mapping[str, Tensor]

    @classmethod
    def of(cls, differences: Mapping[str, Tensor]) -> Difference:
        """The nearest to float32 tensors (outputs, ...): each output's largest is kept."""
        levels, scales = {}, {}
        for name, difference in differences.items():
            x = difference.detach().cpu().float().contiguous()
            scale = x.flatten(1).abs().amax(1) / _LEVELS
            safe = torch.where(scale > 0, scale, 1)
            levels[name] = (x / _along(safe, x)).round().clamp(-_LEVELS, _LEVELS).to(torch.int8)
            scales[name] = scale
        return cls(levels, scales)

    def added_to(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of which these have the names and shapes, with what is added."""
        whole = dict(tensors)
        for name, levels in self.levels.items():
            step = levels.float() * _along(self.scales[name], levels)
            whole[name] = tensors[name] + step
        return whole


def write_tuned(
    path: Path, tuning: Tuning, difference: Difference, average: Tensor | None = None
) -> None:
    """Write a tuned generator's file, over nothing that is there.

    Raises:
        OutputError: there is a file already, or it cannot be written; nothing half-written is left
            behind.
    """
    require_new(path)
    w = torch.stack([torch.from_numpy(pivot.w) for pivot in tuning.pivots])
    tensors = {"w": w.float().contiguous()}
    if average is not None:
        tensors["average"] = average.cpu().float().contiguous()
    for name, levels in difference.levels.items():
        tensors[f"difference/{name}"] = levels
        tensors[f"scale/{name}"] = difference.scales[name]
    content = save(tensors, {METADATA_KEY: tuning.to_json()})
    with replacing(path) as file:
        file.write(content)


def require_new(path: Path) -> None:
    """Raise OutputError where there is a file already."""
    if os.path.lexists(path):
        raise OutputError(f"{path}: is there already; delete it, or name another --tune")


def read_tuned(
    path: Path,
    metadata: Mapping[str, str],
    tensors: Mapping[str, Tensor],
    read_parent: Callable[[Path], GeneratorCheckpoint],
) -> TunedCheckpoint:
    """The whole generator of a file that `write_tuned` wrote.

    Its parent is the registered one of its name, or the file of its name beside it, or the one that
    lay where it was tuned from on this machine: the first that has the weights.

    Args:
        metadata, tensors: of the file.
        read_parent: reads one that is no difference itself.

    Raises:
        CheckpointError: the file is not sound; its parent cannot be found or read, or has other
            weights.
    """
    tuning, difference, average = _content(path, metadata, tensors)
    place = _place(path, tuning)
    parent = read_parent(place)
    _require_fit(path, difference, average, parent)
    whole = difference.added_to(parent.tensors)
    if average is not None:
        whole[AVERAGE] = average
    made = GeneratorCheckpoint.of(path, parent.config, whole, parent.dialect, parent.notes)
    if made.sha256() != tuning.sha256:
        if parent.sha256() != tuning.parent.sha256:
            raise CheckpointError(
                f"{path}: was tuned from the generator {tuning.parent}, and {place} is another "
                f"({parent.sha256()[:12]}); {_mend(tuning)}"
            )
        raise CheckpointError(f"{path}: its weights are not those it names; it is damaged, copy it "
                              "again")  # fmt: skip
    _require_latents(path, tuning, parent)
    return TunedCheckpoint(made.config, made.tensors, made.dialect, made.notes, tuning=tuning)


def read_tuning(path: Path) -> Tuning | None:
    """What such a file tells of itself, without its parent; None of any other file.

    Raises:
        CheckpointError: the file is not sound.
    """
    try:
        with safe_open(path, framework="pt") as file:
            if METADATA_KEY not in (file.metadata() or {}):
                return None
    except (SafetensorError, OSError, ValueError, RuntimeError):
        return None
    return _content(path, *read_safetensors(path))[0]


def _content(
    path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> tuple[Tuning, Difference, Tensor | None]:
    w = tensors.get("w")
    if w is None or w.dtype != torch.float32 or w.ndim != 3 or not w.isfinite().all():
        raise _unsound(path, "w must be finite float32 (photos, num_ws, w_dim)")
    try:
        tuning = Tuning.from_json(metadata[METADATA_KEY], w.numpy())
    except (AtlasFormatError, ValueError, TypeError, LookupError) as error:
        raise _unsound(path, excerpt(str(error)[:60])) from error
    levels, scales = {}, {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if kind == "difference" and tensor.dtype == torch.int8 and tensor.ndim > 0:
            levels[name] = tensor
        elif kind == "scale" and tensor.dtype == torch.float32 and tensor.isfinite().all():
            scales[name] = tensor
        elif key not in ("w", "average"):
            raise _unsound(path, f"{excerpt(key)} is no such tensor")
    if levels.keys() != scales.keys():
        raise _unsound(path, "every difference must have a scale, and every scale a difference")
    return tuning, Difference(levels, scales), tensors.get("average")


def _require_fit(
    path: Path, difference: Difference, average: Tensor | None, parent: GeneratorCheckpoint
) -> None:
    """Before anything is added: shapes as in the parent, so that nothing is larger than that."""
    known = parent.tensors
    for name, levels in difference.levels.items():
        if name not in known or known[name].shape != levels.shape:
            raise _unsound(path, f"{excerpt(name)} is no weight of its parent, or of another shape")
        if difference.scales[name].shape != levels.shape[:1]:
            raise _unsound(path, f"the scale of {excerpt(name)} has another length")
    if average is not None and (
        average.dtype != torch.float32 or average.shape != known[AVERAGE].shape
    ):
        raise _unsound(path, "average must be float32 (w_dim,)")


def _require_latents(path: Path, tuning: Tuning, parent: GeneratorCheckpoint) -> None:
    wanted = (parent.config.num_ws, parent.config.w_dim)
    for pivot in tuning.pivots:
        if pivot.w.shape != wanted:
            raise _unsound(path, f"its latents have shape {pivot.w.shape}, of w+ it is {wanted}")
        if not (pivot.label == -1 or pivot.label < parent.config.c_dim):
            raise _unsound(path, "a crop has a class that the generator lacks")


def _place(path: Path, tuning: Tuning) -> Path:
    """Where the parent lies."""
    if tuning.file is None:
        bundle = find_bundle(tuning.parent.name)
        if bundle is None:
            raise _unsound(path, f"{excerpt(tuning.parent.name)} is no registered generator")
        return bundle.part("generator")
    beside = path.parent / tuning.file
    if beside.exists():
        require_checkpoint(beside)
        return beside
    remembered = remembered_place(tuning.parent.sha256)
    if remembered is None:
        raise CheckpointError(
            f"{path}: holds only the difference from the generator {tuning.parent}; {_mend(tuning)}"
        )
    require_checkpoint(remembered)
    return remembered


def _mend(tuning: Tuning) -> str:
    if tuning.file is None:
        return "it goes with another version of StyleAtlas; tune anew"
    return f"put that one, or a link to it, beside it as {excerpt(tuning.file)}"


def _unsound(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: is no sound file of a tuned generator ({what}); get it again, or tune anew"
    )


def _along(outputs: Tensor, like: Tensor) -> Tensor:
    """A number an output, beside a tensor (outputs, ...)."""
    return outputs.view(-1, *[1] * (like.ndim - 1))
