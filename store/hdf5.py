"""The boundary to HDF5: everything read from an untrusted file passes here or is refused.

Format 1 allows plain contiguous datasets of fixed-size elements only. Then what a dataset
declares is what the file holds, so a reader never needs more memory than the file is long, and
no filter, link or second file is ever followed.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import AtlasCorruptError, AtlasError, AtlasFormatError, StyleAtlasError
from .features import feature_path, require_name
from .output import replacing
from .paths import require_file
from .schema import (
    FEATURES,
    FORMAT,
    FORMAT_VERSION,
    MAX_ATTRIBUTE_BYTES,
    MAX_FEATURES,
    MAX_TEXT_BYTES,
    SAMPLE_FIELDS,
    TEXT_ATTRIBUTES,
    Field,
    check_shapes,
    fields_of,
)

# Object headers of HDF5 1.10 and later carry checksums of their own: a flipped byte in the
# metadata is found by HDF5, one in the data by our sha256.
_LIBVER = ("v110", "v110")

# What h5py raises, depending on where a damaged file hurts it.
_H5PY_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, OverflowError,
                MemoryError)  # fmt: skip

_MEND = "copy the file again or draw it with `styleatlas precompute`"


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[Reader]:
    """Open the atlas file at ``path``; every StyleAtlasError inside leaves as an AtlasError.

    The errors name ``path`` first and then the place inside the file.
    """
    name = os.fspath(path)
    require_atlas_file(name)
    try:
        with _open(name) as file:
            yield Reader(file, os.path.getsize(name))
    except StyleAtlasError as error:
        kind = type(error) if isinstance(error, AtlasError) else AtlasFormatError
        raise kind(f"{name}: {error}") from error


def require_atlas_file(path: str | os.PathLike[str]) -> None:
    """Raise AtlasFormatError unless there is a file that may be an atlas."""
    mend = "check the path, or draw it: `styleatlas precompute`"
    require_file(path, AtlasFormatError, mend)
    if not h5py.is_hdf5(os.fspath(path)):
        raise AtlasFormatError(
            f"{path}: is not an HDF5 file, so it is not an atlas; check the path"
        )


def _open(name: str) -> h5py.File:
    with _translated("file"):
        return h5py.File(name, "r", locking="best-effort")


class Reader:
    """Checked access to an open atlas file of ``file_size`` bytes."""

    def __init__(self, file: h5py.File, file_size: int) -> None:
        self._file = file
        self._file_size = file_size

    def attributes(self) -> dict[str, str]:
        """The text attributes of the root, once format and version are known to be ours."""
        if _text_attribute(self._file, "/", "format") != FORMAT:
            raise AtlasFormatError(f"attribute format: is not {FORMAT!r}, so this is no atlas")
        version = self._version()
        if version > FORMAT_VERSION:
            raise AtlasFormatError(
                f"attribute format_version: is {version}, this StyleAtlas reads up to "
                f"{FORMAT_VERSION}; upgrade styleatlas"
            )
        if version != FORMAT_VERSION:
            raise AtlasFormatError(f"attribute format_version: {version} never existed; {_MEND}")
        return {name: _text_attribute(self._file, "/", name) for name in TEXT_ATTRIBUTES}

    def fields(self) -> tuple[Field, ...]:
        """The datasets that this file must hold: those of samples where it has any of them."""
        with _translated("/samples"):
            link = self._file.get("samples", getlink=True)
            if link is None:
                return fields_of(())
            if not isinstance(link, h5py.HardLink):
                raise AtlasFormatError("/samples: is a link; an atlas must hold its data itself")
            group = self._file["samples"]
            if not isinstance(group, h5py.Group):
                raise AtlasFormatError(f"/samples: is not a group; {_MEND}")
            paths = [x.path for x in SAMPLE_FIELDS if x.path.split("/")[-1] in group]
            return fields_of([*paths, *_features(group)] if paths else ())

    def sources(self) -> dict[str, str]:
        """Who read every feature of the samples, by the path of its dataset."""
        fields = [field for field in self.fields() if field.path.startswith(FEATURES)]
        return {x.path: _text_attribute(self._dataset(x), x.path, "source") for x in fields}

    def array(self, field: Field) -> NDArray[Any]:
        """One dataset, its checksum proven; text comes as fixed-length bytes."""
        return _read(field, self._dataset(field))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All datasets by path; nothing is read before all their shapes are known to be sound."""
        fields = self.fields()
        datasets = {field: self._dataset(field) for field in fields}
        check_shapes(fields, {field.path: dataset.shape for field, dataset in datasets.items()})
        if sum(map(_size, datasets.values())) > self._file_size:
            raise AtlasFormatError(
                f"datasets: together declare more bytes than the file holds; {_MEND}"
            )
        return {field.path: _read(field, dataset) for field, dataset in datasets.items()}

    def _version(self) -> int:
        place = "attribute format_version"
        with _translated(place):
            if "format_version" not in self._file.attrs:
                raise AtlasFormatError(f"{place}: is missing; {_MEND}")
            attribute = self._file.attrs.get_id("format_version")
            if attribute.dtype.kind not in "iu" or attribute.shape != ():
                raise AtlasFormatError(f"{place}: must be one integer; {_MEND}")
            return int(self._file.attrs["format_version"])

    def _dataset(self, field: Field) -> h5py.Dataset:
        with _translated(field.path):
            dataset = _follow(self._file, field.path)
            _check_dtype(field, dataset.dtype)
            self._check_storage(field.path, dataset)
            return dataset

    def _check_storage(self, place: str, dataset: h5py.Dataset) -> None:
        properties = dataset.id.get_create_plist()
        if properties.get_layout() != h5py.h5d.CONTIGUOUS or properties.get_external_count():
            raise AtlasFormatError(
                f"{place}: must be stored contiguously in this file, not chunked, compressed, "
                "virtual or external; write it with Atlas.write"
            )
        if dataset.shape is None:
            raise AtlasFormatError(f"{place}: has no shape; {_MEND}")
        size, offset = _size(dataset), dataset.id.get_offset() or 0
        if dataset.id.get_storage_size() != size or offset + size > self._file_size:
            raise AtlasFormatError(
                f"{place}: declares {size} bytes, but the file does not hold them; {_MEND}"
            )


def write_contents(
    path: str | os.PathLike[str],
    attributes: Mapping[str, str],
    arrays: Mapping[str, NDArray[Any]],
    sources: Mapping[str, str],
) -> None:
    """Write an atlas file in one step: afterwards ``path`` is the old file or the whole new one.

    Args:
        attributes: every name of ``TEXT_ATTRIBUTES``.
        arrays: one of the right type for every field of `fields_of`, by path; text by
            :func:`encode_texts`.
        sources: who read each of the features among them, by path.

    Raises:
        AtlasFormatError: contents beyond the limits of the format.
        OutputError: the file cannot be written.
    """
    fields = fields_of(arrays)
    check_shapes(fields, {field.path: arrays[field.path].shape for field in fields})
    for field in fields:
        _check_dtype(field, arrays[field.path].dtype)
    # HDF5 crashes the process when the disk fills up under it, so it writes to memory.
    image = io.BytesIO()
    with h5py.File(image, "w", libver=_LIBVER) as file:
        _put_text_attribute(file, "format", FORMAT)
        file.attrs.create("format_version", FORMAT_VERSION, dtype="<i4")
        for name in TEXT_ATTRIBUTES:
            _put_text_attribute(file, name, attributes[name])
        for field in fields:
            dataset = file.create_dataset(field.path, data=arrays[field.path])
            _put_text_attribute(dataset, "sha256", _sha256(arrays[field.path]))
            if field.path in sources:
                _put_text_attribute(dataset, "source", sources[field.path])
    with replacing(path) as output:
        output.write(image.getbuffer())


def encode_texts(texts: Sequence[str]) -> NDArray[np.bytes_]:
    """Texts as UTF-8, padded with NUL to the length of the longest, at least one byte: (n,)."""
    encoded = [text.encode() for text in texts]
    length = max(map(len, encoded), default=1)
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", length))


def decode_texts(place: str, array: NDArray[np.bytes_]) -> list[str]:
    """The inverse of :func:`encode_texts`; AtlasFormatError if ``array`` is not UTF-8."""
    try:
        return [encoded.decode() for encoded in array.tolist()]
    except UnicodeDecodeError as error:
        raise AtlasFormatError(f"{place}: is not UTF-8 ({error}); {_MEND}") from error


@contextmanager
def _translated(place: str) -> Iterator[None]:
    try:
        yield
    except _H5PY_ERRORS as error:
        raise AtlasFormatError(
            f"{place}: cannot be read ({_first_line(error)}); {_MEND}"
        ) from error


def _features(samples: h5py.Group) -> list[str]:
    """The paths of all that is in the group of features, where samples have one."""
    name = FEATURES.split("/")[-1]
    link = samples.get(name, getlink=True)
    if link is None:
        return []
    if not isinstance(link, h5py.HardLink):
        raise AtlasFormatError(f"{FEATURES}: is a link; an atlas must hold its data itself")
    group = samples[name]
    if not isinstance(group, h5py.Group):
        raise AtlasFormatError(f"{FEATURES}: is not a group; {_MEND}")
    if len(group) > MAX_FEATURES:
        raise AtlasFormatError(f"{FEATURES}: holds {len(group)}, more than {MAX_FEATURES}")
    for inner in group:
        require_name(inner)
    return [feature_path(inner) for inner in group]


def _follow(file: h5py.File, path: str) -> h5py.Dataset:
    node = file
    for part in path.strip("/").split("/"):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise AtlasFormatError(f"{path}: is missing; {_MEND}")
        if not isinstance(link, h5py.HardLink):
            raise AtlasFormatError(f"{path}: is a link; an atlas must hold its data itself")
        node = node[part]
    if not isinstance(node, h5py.Dataset):
        raise AtlasFormatError(f"{path}: is not a dataset; {_MEND}")
    return node


def _read(field: Field, dataset: h5py.Dataset) -> NDArray[Any]:
    stated = _text_attribute(dataset, field.path, "sha256")
    with _translated(field.path):
        array: NDArray[Any] = dataset[()]
    if _sha256(array) != stated:
        raise AtlasCorruptError(f"{field.path}: does not match its sha256; {_MEND}")
    return array


def _sha256(array: NDArray[Any]) -> str:
    return hashlib.sha256(array.data).hexdigest()


def _size(dataset: h5py.Dataset) -> int:
    count: int = math.prod(dataset.shape)
    return count * int(dataset.dtype.itemsize)


def _check_dtype(field: Field, dtype: np.dtype[Any]) -> None:
    if field.dtype == "text":
        if not _is_text(dtype) or dtype.itemsize > MAX_TEXT_BYTES:
            raise AtlasFormatError(
                f"{field.path}: must be fixed-length UTF-8 of at most {MAX_TEXT_BYTES} bytes"
            )
    elif dtype != np.dtype(field.dtype):
        raise AtlasFormatError(f"{field.path}: is {dtype}, must be {np.dtype(field.dtype)}")


def _is_text(dtype: np.dtype[Any]) -> bool:
    info = h5py.check_string_dtype(dtype)
    return info is not None and info.length is not None and info.encoding == "utf-8"


def _text_attribute(owner: h5py.Group | h5py.Dataset, path: str, name: str) -> str:
    place = f"attribute {name}" if path == "/" else f"{path}, attribute {name}"
    with _translated(place):
        if name not in owner.attrs:
            raise AtlasFormatError(f"{place}: is missing; {_MEND}")
        attribute = owner.attrs.get_id(name)
        small = attribute.dtype.itemsize <= MAX_ATTRIBUTE_BYTES
        if not (_is_text(attribute.dtype) and attribute.shape == () and small):
            raise AtlasFormatError(
                f"{place}: must be one fixed-length UTF-8 text of at most "
                f"{MAX_ATTRIBUTE_BYTES} bytes"
            )
        return bytes(owner.attrs[name]).decode()


def _put_text_attribute(owner: h5py.Group | h5py.Dataset, name: str, text: str) -> None:
    encoded = text.encode()
    if len(encoded) > MAX_ATTRIBUTE_BYTES:
        raise AtlasFormatError(
            f"attribute {name}: has {len(encoded)} bytes, more than {MAX_ATTRIBUTE_BYTES}; "
            "shorten it"
        )
    owner.attrs.create(name, encoded, dtype=h5py.string_dtype("utf-8", len(encoded)))


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
