"""Styles and latents in files: what an edit starts from and what it leaves, as NumPy arrays."""

from __future__ import annotations

import hashlib
import itertools
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...store.errors import InputError, OptionError
from ...store.output import STYLES, replacing
from ..inert.objects import escaped
from .inputs import numbers
from .latent_files import (
    MAX_IMAGES,
    NUMPY_ERRORS,
    Leaf,
    header,
    leaves_of,
    members,
    named_generator,
    unsound,
)
from .protocols import Generator
from .sampling import one_hot_labels, require_truncation, w_shape
from .spaces import Reading, Sizes, Space, choose, require_space, spaces_of_file

_KINDS = (".npz", ".npy", ".pt")


@dataclass(frozen=True, eq=False)
class Latents:
    """What a file or a folder of them held.

    Args:
        styles: (n, C), on the generator's device.
        w: of the same images, (n, num_ws, w_dim); None where a file holds styles alone.
        names: what people call each, all different: what the file calls it, or else the name of
            the file, with a number where it holds several.
        sha256: of the files' bytes, one after the other.
        spaces: what the files' arrays were taken for, each once; `one w+` of one without an axis
            for images.
    """

    styles: Tensor
    w: Tensor | None
    names: tuple[str, ...]
    sha256: str
    spaces: tuple[str, ...]


def write_styles(
    path: str | os.PathLike[str],
    styles: Tensor,
    generator: Generator,
    seeds: Sequence[int] | None = None,
) -> None:
    """Writes styles (n, C) as an .npz, whole or not at all: `styles` float32 (n, C); `generator`,
    its identity as JSON; `layers` and `sizes`, the layout of C; `seeds` int64 (n,) where known.

    Raises:
        OutputError: another file name extension, or the file cannot be written.
    """
    require_styles_file(path)
    arrays: dict[str, Any] = {
        "styles": styles.detach().float().cpu().numpy(),
        "generator": np.array(generator.identity.to_json()),
        "layers": np.array([layer.name for layer in generator.layout]),
        "sizes": np.array([layer.size for layer in generator.layout], dtype=np.int64),
    }
    if seeds is not None:
        arrays["seeds"] = np.array(seeds, dtype=np.int64)
    with replacing(path) as file:
        # Without allow_pickle, which NumPy 1.26 takes for one more array.
        np.savez(file, **arrays)


def require_styles_file(path: str | os.PathLike[str]) -> None:
    """Raise OutputError unless `path` names an .npz file that can be written; called before the
    work, so that none is lost."""
    STYLES.require(path)


@torch.no_grad()
def read_latents(
    path: str | os.PathLike[str],
    generator: Generator,
    *,
    truncation: float = 1.0,
    label: int | None = None,
    space: Space | None = None,
) -> Latents:
    """The styles of a file of latents from anybody, or of all such files of a folder in the order
    of their names.

    What an array is taken for is told by `spaces.py`, which arrays a file holds by
    `latent_files.py`; docs/latents.md lists both. Truncation psi and the class `label` are for z
    alone. No code of a file runs, and no array is read before its size and type are known to be
    sound.

    Args:
        space: of all arrays, where their names and shapes leave it open.

    Raises:
        InputError: no such file, none in the folder, or one that is not sound, does not suit the
            generator, or may be several things.
        FingerprintError: the file names another generator.
        CheckpointError: a pickle or a .pt that is not sound.
        OptionError: a truncation, a class or a space out of its range.
    """
    require_truncation(truncation)
    require_space(space)
    sizes = sizes_of(generator)
    digest = hashlib.sha256()
    styles: list[Tensor] = []
    ws: list[Tensor | None] = []
    names: list[str] = []
    spaces: list[str] = []
    for file in _files(Path(path)):
        leaves = leaves_of(file, sizes, generator.identity, space)
        said = spaces_of_file(file.stem)
        read = [
            choose(x.place, x.shape, sizes, asked=space, named=x.named, file=said, one=x.one)
            for x in leaves
        ]
        names += _named(file.stem, leaves, read)
        if len(names) > MAX_IMAGES:
            raise InputError(f"{path}: holds more than {MAX_IMAGES} latents; split it")
        spaces += [reading.space if reading.batched else f"one {reading.space}" for reading in read]
        for place, kind, values in _together(file, leaves, read, sizes):
            part, w = placed(place, values, kind, generator, truncation, label)
            styles.append(part)
            ws.append(w)
        with file.open("rb") as content:
            while block := content.read(2**20):
                digest.update(block)
    known = [w for w in ws if w is not None]
    all_w = torch.cat(known) if len(known) == len(ws) else None
    return Latents(
        torch.cat(styles),
        all_w,
        _distinct(names),
        digest.hexdigest(),
        tuple(dict.fromkeys(spaces)),
    )


@torch.no_grad()
def latents_of(
    values: Any,
    generator: Generator,
    space: Space | None,
    truncation: float,
    label: int | None,
) -> tuple[Tensor, Tensor | None]:
    """Styles (n, C) of latents given as an array, which are w or w+ if no space is named, and w
    (n, num_ws, w_dim) where they tell it.

    Raises:
        OptionError: no numbers, or of a shape that does not suit the generator or leaves open what
            it is.
    """
    require_space(space)
    sizes = sizes_of(generator)
    wanted: tuple[Space, ...] = ("w+", "w") if space is None else (space,)
    given = numbers("latents", values, " or ".join(map(sizes.of, wanted)))
    try:
        reading = choose("latents", tuple(given.shape), sizes, named=wanted)
        flat = given.numpy(force=True).reshape(reading.shape)
        if reading.space == "s":
            flat = _unpadded("latents", flat, sizes)
        return placed(
            "latents", torch.from_numpy(flat), reading.space, generator, truncation, label
        )
    except InputError as error:
        raise OptionError(str(error)) from error


def sizes_of(generator: Generator) -> Sizes:
    """What tells the latents of a generator."""
    rows, width = w_shape(generator)
    layers = tuple((layer.name, layer.size) for layer in generator.layout)
    return Sizes(generator.z_dim, width, rows, layers)


def placed(
    place: str,
    values: Tensor,
    space: Space,
    generator: Generator,
    truncation: float,
    label: int | None,
) -> tuple[Tensor, Tensor | None]:
    """Styles (n, C) of latents (n, ...) of a space, and w (n, num_ws, w_dim) where they tell it."""
    latents = values.to(generator.device)
    if space == "s":
        return latents, None
    if space in ("w", "w+"):
        rows = latents if latents.ndim == 3 else latents[:, None]
        w = rows.expand(-1, w_shape(generator)[0], -1)
        return generator.styles(w), w
    if generator.c_dim and label is None:
        raise InputError(
            f"{place}: holds z, and this generator is conditional; name a class, or give w"
        )
    labels = one_hot_labels(generator, [0] * len(latents), label)
    w = generator.map(latents, labels, truncation=truncation)
    return generator.styles(w), w


def _together(
    path: Path, leaves: Sequence[Leaf], read: Sequence[Reading], sizes: Sizes
) -> Iterator[tuple[str, Space, Tensor]]:
    """The numbers of a file, float32 (n, ...), those of one space behind one another at once, with
    the place of the first and the space."""
    pairs = zip(leaves, read, strict=True)
    for space, group in itertools.groupby(pairs, key=lambda pair: pair[1].space):
        of_space = list(group)
        try:
            parts = [_values(leaf, reading, sizes) for leaf, reading in of_space]
        except NUMPY_ERRORS as error:
            raise unsound(path, error) from error
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{path}: cannot be read ({reason}); check it") from error
        yield of_space[0][0].place, space, torch.from_numpy(np.concatenate(parts))


def _values(leaf: Leaf, reading: Reading, sizes: Sizes) -> NDArray[np.float32]:
    """One array as it is read, float32 (n, ...)."""
    with np.errstate(over="ignore"):  # infinity, which is refused
        values = leaf.load().astype(np.float32).reshape(reading.shape)
    if not np.isfinite(values).all():
        raise InputError(f"{leaf.place}: holds NaN or infinity; compute it again")
    return _unpadded(leaf.place, values, sizes) if reading.space == "s" else values


def _unpadded(place: str, values: NDArray[np.float32], sizes: Sizes) -> NDArray[np.float32]:
    """S (n, C); of S with a row a layer without the zeros that fill the rows up."""
    if values.ndim == 2:
        return values
    rows = list(zip(values.swapaxes(0, 1), sizes.layers, strict=True))  # (n, widest) each
    for row, (name, size) in rows:
        if row[:, size:].any():
            raise InputError(
                f"{place}: holds more than {size} numbers of the layer {name} of s; check "
                "which generator it is of"
            )
    return np.concatenate([row[:, :size] for row, (_, size) in rows], axis=1)


def _named(stem: str, leaves: Sequence[Leaf], read: Sequence[Reading]) -> Iterator[str]:
    """What people call each image of a file."""
    total = sum(reading.shape[0] for reading in read)
    number = 0
    for leaf, reading in zip(leaves, read, strict=True):
        count = reading.shape[0]
        for i in range(1, count + 1):
            number += 1
            if len(leaf.images) == count:
                yield leaf.images[i - 1]
            elif leaf.image is not None:
                yield leaf.image if count == 1 else f"{leaf.image} {i}"
            else:
                yield stem if total == 1 else f"{stem} {number}"


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names, numbered where one is there twice."""
    seen: set[str] = set()
    found = []
    for name in names:
        free = name
        for number in itertools.count(2):
            if free not in seen:
                break
            free = f"{name} ({number})"
        seen.add(free)
        found.append(free)
    return tuple(found)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [file for file in path.iterdir() if file.suffix.lower() in _KINDS and file.is_file()]
    if not files:
        raise InputError(f"{path}: holds no .npz, .npy or .pt file; name a folder of latents")
    return sorted(files, key=lambda file: file.name)


def latents_record(path: Path) -> dict[str, Any]:
    """What an .npz of styles or latents holds, as JSON values; no array is read.

    Raises:
        InputError: it is no sound .npz.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = members(path, archive)
            arrays = []
            for name, entry in found.items():
                with archive.open(entry) as file:
                    shape, dtype = header(file)
                size = " x ".join(map(str, shape)) or "1"
                arrays.append({"array": escaped(name), "shape": size, "type": dtype.name})
            record: dict[str, Any] = {"kind": "styles or latents", "path": str(path)}
            if "generator" in found:
                named = named_generator(path, archive.open(found["generator"]))
                record["generator"] = {"name": named.name, "sha256": named.sha256, **named.sizes}
            return {**record, "arrays": arrays}
    except (OSError, *NUMPY_ERRORS) as error:
        raise InputError(f"{path}: is no sound NumPy file; save it again") from error
