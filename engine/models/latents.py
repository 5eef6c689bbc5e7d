"""Styles and latents in files: what an edit starts from and what it leaves, as NumPy arrays."""

from __future__ import annotations

import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...store.errors import AtlasFormatError, FingerprintError, InputError
from ...store.fingerprint import ModelIdentity
from ...store.output import STYLES, replacing
from ..inert.objects import InertTensor, escaped
from ..inert.torchfile import read_torch
from .protocols import Generator
from .sampling import one_hot_labels, require_truncation, w_shape

MAX_IMAGES = 100_000
MAX_BYTES = 2**30
_MAX_IDENTITY_LETTERS = 10_000
_UNNAMED = "arr_0"  # as numpy.savez calls it
_KINDS = (".npz", ".npy", ".pt")
_NUMPY_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError)

ArrayName = Literal["styles", "w", "z"]
ARRAY_NAMES: tuple[ArrayName, ...] = ("styles", "w", "z")
"""What an array may hold, by its name in an .npz; where there are several, the first counts."""


@dataclass(frozen=True, eq=False)
class Latents:
    """What a file or a folder of them held.

    Args:
        styles: (n, C), on the generator's device.
        w: of the same images, (n, num_ws, w_dim); None where a file holds styles alone.
        names: what people call each: the name of its file, with a number where it holds several.
        sha256: of the files' bytes, one after the other.
    """

    styles: Tensor
    w: Tensor | None
    names: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class _Source:
    """An array in a file, told but not read; `name` is None where it has none of its own."""

    place: str
    shape: tuple[int, ...]
    name: ArrayName | None
    load: Callable[[], NDArray[Any]]


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
) -> Latents:
    """The styles of a file of latents from anybody, or of all such files of a folder in the order
    of their names.

    An .npz holds an array `styles` (n, C), `w` (n, num_ws, w_dim) or (n, w_dim), or `z` (n, z_dim);
    an .npy, or a .pt of one tensor, holds one whose shape says which it is. Truncation psi and the
    class `label` are for z alone. No code of a file runs, and no array is read before its size and
    type are known to be sound.

    Raises:
        InputError: no such file, none in the folder, or one that is not sound or does not suit the
            generator.
        FingerprintError: the file names another generator.
        CheckpointError: a .pt that is not sound.
        OptionError: a truncation or a class out of its range.
    """
    require_truncation(truncation)
    files = _files(Path(path))
    digest = hashlib.sha256()
    styles: list[Tensor] = []
    ws: list[Tensor | None] = []
    names: list[str] = []
    for file in files:
        part, w = _read(file, generator, truncation, label)
        ws.append(w)
        with file.open("rb") as content:
            while block := content.read(2**20):
                digest.update(block)
        styles.append(part)
        alone = len(part) == 1
        names += [file.stem] if alone else [f"{file.stem} {i}" for i in range(1, len(part) + 1)]
        if len(names) > MAX_IMAGES:
            raise InputError(f"{path}: holds more than {MAX_IMAGES} latents; split it")
    known = [w for w in ws if w is not None]
    all_w = torch.cat(known) if len(known) == len(ws) else None
    return Latents(torch.cat(styles), all_w, tuple(names), digest.hexdigest())


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [file for file in path.iterdir() if file.suffix.lower() in _KINDS and file.is_file()]
    if not files:
        raise InputError(f"{path}: holds no .npz, .npy or .pt file; name a folder of latents")
    return sorted(files, key=lambda file: file.name)


def _read(
    path: Path, generator: Generator, truncation: float, label: int | None
) -> tuple[Tensor, Tensor | None]:
    """Styles (n, C) of one file, and w where it holds w or z."""
    kind = path.suffix.lower()
    if kind not in _KINDS:
        raise InputError(f"{path}: latents are read from .npz, .npy and .pt; convert it to one")
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    if kind == ".pt":
        return _styles(_tensor(path), generator, truncation, label)
    try:
        if kind == ".npy":
            return _styles(
                _array(str(path), None, lambda: path.open("rb")), generator, truncation, label
            )
        with zipfile.ZipFile(path) as archive:
            return _styles(_member(path, archive, generator), generator, truncation, label)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be read ({reason}); check the file") from error
    except _NUMPY_ERRORS as error:
        what = f"{type(error).__name__}: {str(error).splitlines()[0][:100]}" if str(error) else ""
        raise InputError(f"{path}: is no sound NumPy file ({what}); save it again") from error


def latents_record(path: Path) -> dict[str, Any]:
    """What an .npz of styles or latents holds, as JSON values; no array is read.

    Raises:
        InputError: it is no sound .npz.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
            arrays = []
            for name, entry in members.items():
                with archive.open(entry) as file:
                    shape, dtype = _header(file)
                size = " x ".join(map(str, shape)) or "1"
                arrays.append({"array": escaped(name), "shape": size, "type": dtype.name})
            record: dict[str, Any] = {"kind": "styles or latents", "path": str(path)}
            if "generator" in members:
                named = _named_generator(path, archive.open(members["generator"]))
                record["generator"] = {"name": named.name, "sha256": named.sha256, **named.sizes}
            return {**record, "arrays": arrays}
    except (OSError, *_NUMPY_ERRORS) as error:
        raise InputError(f"{path}: is no sound NumPy file; save it again") from error


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an .npz by name."""
    members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    for entry in members.values():
        # NumPy knows these two alone; others may take any memory to unpack.
        packed = entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if packed or entry.flag_bits & 0x1:
            raise InputError(f"{path}: is encrypted or packed as NumPy packs none; save it again")
    return members


def _member(path: Path, archive: zipfile.ZipFile, generator: Generator) -> _Source:
    """The array of an .npz that counts, once the generator it names is known to be this one."""
    members = _members(path, archive)
    if "generator" in members:
        _require_generator(path, archive.open(members["generator"]), generator.identity)
    for name in (*ARRAY_NAMES, None):
        member = name or _UNNAMED
        if member in members:
            return _array(f"{path}, array {member}", name, partial(archive.open, members[member]))
    found = ", ".join(escaped(name) for name in list(members)[:4]) or "nothing"
    raise InputError(f"{path}: holds {found}; name the array styles, w or z")


def _named_generator(path: Path, file: IO[bytes]) -> ModelIdentity:
    """The generator that an .npz says it is of."""
    with file:
        shape, dtype = _header(file)
        if shape != () or dtype.kind != "U" or dtype.itemsize > 4 * _MAX_IDENTITY_LETTERS:
            raise InputError(f"{path}, array generator: is no text; leave it out")
        text = file.read(dtype.itemsize).decode("utf-32-be" if dtype.str[0] == ">" else "utf-32-le")
    try:
        return ModelIdentity.from_json(text.rstrip("\0"))
    except AtlasFormatError as error:
        raise InputError(f"{path}, array generator: {error}; leave it out") from error


def _require_generator(path: Path, file: IO[bytes], identity: ModelIdentity) -> None:
    named = _named_generator(path, file)
    if named.sha256 != identity.sha256:
        raise FingerprintError(
            f"{path}: is of the generator {named}, this generator is {identity}; load the "
            "generator it is of"
        )


def _array(place: str, name: ArrayName | None, opened: Callable[[], IO[bytes]]) -> _Source:
    with opened() as file:
        shape, dtype = _header(file)
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise InputError(f"{place}: has type {dtype}; latents are floats of at most 64 bits")
    _require_size(place, shape, dtype.itemsize)

    def load() -> NDArray[Any]:
        with opened() as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array

    return _Source(place, shape, name, load)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array that begins here; ValueError if there is none."""
    try:
        return _parsed_header(file)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile):
        raise
    except Exception as error:  # NumPy hands on whatever Python's parser makes of it
        raise ValueError(f"its header cannot be read, {error}") from error


def _parsed_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"the version {version} of its header holds no plain arrays")
    shape, _, dtype = read(file)
    return shape, dtype


def _tensor(path: Path) -> _Source:
    """The one tensor of a file of torch.save, such as StyleCLIP's latents.pt."""
    record = read_torch(path)
    if not isinstance(record, InertTensor) or not record.dtype.is_floating_point:
        raise InputError(f"{path}: holds no single tensor of floats; save latents (n, ...) alone")
    _require_size(str(path), record.shape, record.dtype.itemsize)
    return _Source(str(path), record.shape, None, lambda: record.load().float().numpy())


def _require_size(place: str, shape: tuple[int, ...], itemsize: int) -> None:
    if any(length < 1 for length in shape) or len(shape) not in (2, 3):
        raise InputError(f"{place}: has shape {shape}; latents have (n, ...), n at least 1")
    if shape[0] > MAX_IMAGES:
        raise InputError(f"{place}: holds {shape[0]} latents, more than {MAX_IMAGES}; split it")
    if math.prod(shape) * itemsize > MAX_BYTES:
        raise InputError(f"{place}: takes more than {MAX_BYTES} bytes in memory; split it")


def _styles(
    source: _Source, generator: Generator, truncation: float, label: int | None
) -> tuple[Tensor, Tensor | None]:
    """Styles (n, C) and w, float32, once the shape is known to suit the generator."""
    name = _name(source, generator)
    with np.errstate(over="ignore"):  # infinity, which is refused
        values = source.load().astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{source.place}: holds NaN or infinity; compute it again")
    latents = torch.from_numpy(values).to(generator.device)
    if name == "styles":
        return latents, None
    if name == "w":
        rows = latents if latents.ndim == 3 else latents[:, None]
        w = rows.expand(-1, w_shape(generator)[0], -1)
        return generator.styles(w), w
    if generator.c_dim and label is None:
        raise InputError(
            f"{source.place}: holds z, and this generator is conditional; name a class, or give w"
        )
    labels = one_hot_labels(generator, [0] * len(latents), label)
    w = generator.map(latents, labels, truncation=truncation)
    return generator.styles(w), w


def _name(source: _Source, generator: Generator) -> ArrayName:
    """What an array holds, by its name or else by its shape."""
    rows, width = w_shape(generator)
    shapes: dict[ArrayName, tuple[tuple[int, ...], ...]] = {
        "styles": ((generator.layout.size,),),
        "w": ((rows, width), (width,)),
        "z": ((generator.z_dim,),),
    }
    fitting = [name for name in ARRAY_NAMES if source.shape[1:] in shapes[name]]
    if source.name is None and len(fitting) > 1:
        raise InputError(
            f"{source.place}: has shape {source.shape}, which may be {' or '.join(fitting)}; "
            "save it in an .npz under that name"
        )
    wanted = ARRAY_NAMES if source.name is None else (source.name,)
    for name in wanted:
        if name in fitting:
            return name
    told = ", ".join(
        f"{name} (n, {', '.join(map(str, shape))})" for name in wanted for shape in shapes[name]
    )
    raise InputError(
        f"{source.place}: has shape {source.shape}; this generator takes {told}; check which "
        "generator it is of"
    )
