"""Latents in the files of projectors, encoders and editors: what arrays a file holds, none of them
read yet."""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...store.errors import AtlasFormatError, FingerprintError, InputError
from ...store.fingerprint import ModelIdentity
from ..inert.allowed import LATENT_GLOBALS
from ..inert.objects import InertTensor, escaped
from ..inert.torchfile import read_torch
from ..inert.unpickle import read_pickle, unpickle
from .spaces import NAMES, SPACES, Sizes, Space, readings, say_which

MAX_IMAGES = 100_000
MAX_BYTES = 2**30
NUMPY_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError)
_MAX_IDENTITY_LETTERS = 10_000
_MAX_NAME_LETTERS = 255
_TORCH_STREAM = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # the number that torch.save once began with
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_ORDERED = re.compile(r"arr_\d+")
"""As numpy.savez calls arrays without a name."""

Numbers = NDArray[Any]


@dataclass(frozen=True)
class Leaf:
    """An array in a file, told but not read.

    Args:
        place: the file and its place in it, for messages.
        named: the spaces that its own name allows.
        image: the name of the image it is of, where the file tells one.
        images: the names of those it is of, where the file tells them.
        one: whether it stands for one image where it can.
        load: reads it.
    """

    place: str
    shape: tuple[int, ...]
    nbytes: int
    load: Callable[[], Numbers]
    named: tuple[Space, ...] = SPACES
    image: str | None = None
    one: bool = False
    images: tuple[str, ...] = ()


def leaves_of(path: Path, sizes: Sizes, identity: ModelIdentity, asked: Space | None) -> list[Leaf]:
    """The latents in a file of torch.save, NumPy or pickle, in order; `asked` as `choose` takes it.

    Raises:
        InputError, CheckpointError: it is unsound, or holds no latents of the generator.
        FingerprintError: it names another generator.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        with path.open("rb") as file:
            head = file.read(16)
        tree = _tree(path, head, identity)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check it") from error
    except NUMPY_ERRORS as error:
        raise unsound(path, error) from error
    found = _Walk(path, sizes, asked).leaves(tree)
    for leaf in found:
        _require_size(leaf)
    if sum(leaf.nbytes for leaf in found) > MAX_BYTES:
        raise InputError(f"{path}: takes more than {MAX_BYTES} bytes in memory; split it")
    if len(found) == 1 and head.startswith(b"PK") and _is_npz(path):
        return [replace(found[0], images=_image_names(path))]
    return found


def unsound(path: Path, error: Exception) -> InputError:
    """What NumPy could not make sense of."""
    first = escaped(str(error).splitlines()[0]) if str(error) else ""
    return InputError(
        f"{path}: is no sound NumPy file ({type(error).__name__}: {first}); save it again"
    )


def _tree(path: Path, head: bytes, identity: ModelIdentity) -> Any:
    """What a file holds, whose content tells its kind: leaves, inert tensors and arrays in plain
    containers."""
    if head.startswith(b"PK") and _is_npz(path):
        return _archive(path, identity)
    if head.startswith(b"PK") or head[2:].startswith(_TORCH_STREAM):
        return read_torch(path, LATENT_GLOBALS)
    if head.startswith(b"\x80"):
        return read_pickle(path, LATENT_GLOBALS)
    if head.startswith(b"\x93NUMPY"):
        with path.open("rb") as file:
            _, dtype = header(file)
            start = file.tell()
        if dtype.hasobject:
            return read_pickle(path, LATENT_GLOBALS, start)
        return _numbers(str(path), lambda: path.open("rb"))
    if path.suffix.lower() in (".npz", ".npy"):
        raise ValueError("it does not begin as one")
    raise InputError(
        f"{path}: latents are read from .npz, .npy, .pt and pickles; convert it to one"
    )


def _is_npz(path: Path) -> bool:
    """Whether a zip file is one of NumPy's, not torch.save's."""
    if path.suffix.lower() == ".npz":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except NUMPY_ERRORS:
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def _archive(path: Path, identity: ModelIdentity) -> dict[str, Any]:
    """The arrays of an .npz by name, once the generator it names is known to be this one."""
    with zipfile.ZipFile(path) as archive:
        found = members(path, archive)
        if "generator" in found:
            named = named_generator(path, archive.open(found.pop("generator")))
            if not identity.is_of(named):
                raise FingerprintError(
                    f"{path}: is of the generator {named}, this generator is {identity}; load the "
                    "generator it is of"
                )
        # Beside what is named as latents may stand anything, and is passed over.
        known = {name for name in found if name.lower() in NAMES and name != "arr_0"}
        tree: dict[str, Any] = {}
        for name in known or found:
            place = f"{path}, array {escaped(name)}"
            with archive.open(found[name]) as file:
                _, dtype = header(file)
                if dtype.hasobject:
                    tree[name] = _objects(path, place, file)
                    continue
            tree[name] = _numbers(place, partial(_member, path, found[name]))
    return tree


def _image_names(path: Path) -> tuple[str, ...]:
    """What an .npz calls its images, by an array `names` of texts (n,); none where it has no such
    one."""
    with zipfile.ZipFile(path) as archive:
        entry = members(path, archive).get("names")
        if entry is None:
            return ()
        with archive.open(entry) as file:
            shape, dtype = header(file)
        long = dtype.itemsize > 4 * _MAX_NAME_LETTERS
        if dtype.kind != "U" or len(shape) != 1 or shape[0] > MAX_IMAGES or long:
            return ()
        with archive.open(entry) as file:
            texts = np.lib.format.read_array(file, allow_pickle=False)
    return tuple(_names(texts.tolist()))


@contextmanager
def _member(path: Path, entry: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(entry) as file:
        yield file


def _objects(path: Path, place: str, file: IO[bytes]) -> Any:
    """The pickle in an array of objects of an .npz, which begins here."""
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(f"{place}: takes more than {MAX_BYTES} bytes in memory; split it")
    found, end = unpickle(content, path, LATENT_GLOBALS, place=f"{place.split(', ')[-1]}, ")
    if end != len(content):
        raise ValueError("it goes on after its end")
    return found


def _numbers(place: str, opened: Callable[[], AbstractContextManager[IO[bytes]]]) -> Leaf:
    """An array in NumPy's own form."""
    with opened() as file:
        shape, dtype = header(file)

    def load() -> Numbers:
        with opened() as file:
            array: Numbers = np.lib.format.read_array(file, allow_pickle=False)
        return array

    _require_floats(place, dtype)
    return Leaf(place, shape, math.prod(shape) * dtype.itemsize, load)


def _require_floats(place: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise InputError(f"{place}: has type {dtype}; latents are floats of at most 64 bits")


def _require_size(leaf: Leaf) -> None:
    if not leaf.shape or any(length < 1 for length in leaf.shape):
        raise InputError(
            f"{leaf.place}: has shape {leaf.shape}; latents have (n, ...), n at least 1"
        )
    if len(leaf.shape) > 1 and leaf.shape[0] > MAX_IMAGES:
        count = leaf.shape[0]
        raise InputError(f"{leaf.place}: holds {count} latents, more than {MAX_IMAGES}; split it")
    if leaf.nbytes > MAX_BYTES:
        raise InputError(f"{leaf.place}: takes more than {MAX_BYTES} bytes in memory; split it")


# NumPy's own forms


def members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an .npz by name."""
    found = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    for entry in found.values():
        # NumPy knows these two alone; others may take any memory to unpack.
        packed = entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if packed or entry.flag_bits & 0x1:
            raise InputError(f"{path}: is encrypted or packed as NumPy packs none; save it again")
    return found


def named_generator(path: Path, file: IO[bytes]) -> ModelIdentity:
    """The generator that an .npz says it is of."""
    with file:
        shape, dtype = header(file)
        if shape != () or dtype.kind != "U" or dtype.itemsize > 4 * _MAX_IDENTITY_LETTERS:
            raise InputError(f"{path}, array generator: is no text; leave it out")
        text = file.read(dtype.itemsize).decode("utf-32-be" if dtype.str[0] == ">" else "utf-32-le")
    try:
        return ModelIdentity.from_json(text.rstrip("\0"))
    except AtlasFormatError as error:
        raise InputError(f"{path}, array generator: {error}; leave it out") from error


def header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array that begins here; ValueError if there is none."""
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise ValueError(f"the version {version} of its header holds no plain arrays")
        shape, _, dtype = read(file)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile):
        raise
    except Exception as error:  # NumPy hands on whatever Python's parser makes of it
        raise ValueError(f"its header cannot be read, {error}") from error
    return shape, dtype


class _Walk:
    """From containers to leaves: which of their arrays are latents, and of which image."""

    def __init__(self, path: Path, sizes: Sizes, asked: Space | None) -> None:
        self.path, self.sizes, self.asked = path, sizes, asked

    def leaves(self, tree: Any) -> list[Leaf]:
        """Of a whole file."""
        if isinstance(tree, dict):
            return self._of_dict(tree)
        if isinstance(tree, list | tuple):
            return self._of_list(str(self.path), tree)
        return [self._leaf(str(self.path), tree)]

    def _of_dict(self, tree: Mapping[Any, Any]) -> list[Leaf]:
        names = {name.lower(): name for name in reversed(tree) if isinstance(name, str)}
        if {name for name, _ in self.sizes.layers} & tree.keys():
            return [self._by_name(str(self.path), tree)]
        if len(tree) > 1 and all(isinstance(n, str) and _ORDERED.fullmatch(n) for n in tree):
            return self._of_list(str(self.path), list(tree.values()))
        for known, spaces in NAMES.items():
            if known in names:
                name = names[known]
                place = f"{self.path}, array {escaped(name)}"
                found = self._value(place, tree[name])
                return [self._named(leaf, spaces) for leaf in found]
        if tree and all(isinstance(name, str) for name in tree) and self._are_images(tree):
            return self._by_image(tree)
        told = ", ".join(escaped(str(name)) for name in list(tree)[:4]) or "nothing"
        raise InputError(f"{self.path}: holds {told}; name the array s, w+, w or z")

    def _value(self, place: str, value: Any) -> list[Leaf]:
        if isinstance(value, list | tuple):
            return self._of_list(place, value)
        if isinstance(value, dict) and {name for name, _ in self.sizes.layers} & value.keys():
            return [self._by_name(place, value)]
        return [self._leaf(place, value)]

    def _named(self, leaf: Leaf, spaces: tuple[Space, ...]) -> Leaf:
        """A leaf below a name that says what it is; layers are S, whatever it says."""
        return leaf if leaf.named == ("s",) and "s" in spaces else replace(leaf, named=spaces)

    def _of_list(self, place: str, items: Sequence[Any]) -> list[Leaf]:
        """Arrays in a row: the layers of S in the generator's order, or an image each."""
        if not items:
            raise InputError(f"{place}: holds nothing; latents have (n, ...), n at least 1")
        parts = [self._leaf(f"{place}, number {i + 1}", item) for i, item in enumerate(items)]
        widths = [leaf.shape[-1] if leaf.shape else 0 for leaf in parts]
        layers = widths == [size for _, size in self.sizes.layers]
        spaces = [{r.space for r in readings(leaf.shape, self.sizes)} for leaf in parts]
        images = all(spaces)
        if layers and images and self.asked is None:
            told = [space for space in SPACES if space in {"s", *spaces[0]}]
            raise InputError(
                f"{place}: holds {len(parts)} arrays, which may be the layers of s or an image "
                f"each; {say_which(told)}"
            )
        if layers and (self.asked == "s" or not images):
            return [self._stacked(place, parts)]
        if not images and len(set(widths)) > 1:
            raise self._other_layers(place, widths)
        for leaf, found in zip(parts, spaces, strict=True):
            if found != spaces[0]:
                raise InputError(
                    f"{place}: holds arrays of several kinds, of shapes {parts[0].shape} and "
                    f"{leaf.shape}; save each kind by itself"
                )
        return [replace(leaf, one=True) for leaf in parts]

    def _by_name(self, place: str, tree: Mapping[Any, Any]) -> Leaf:
        """S, an array a layer by its name."""
        missing = [name for name, _ in self.sizes.layers if name not in tree]
        if missing:
            raise InputError(
                f"{place}: lacks the layer {missing[0]} of s, as {len(missing)} of "
                f"{len(self.sizes.layers)}; save all, toRGB's too"
            )
        names = [name for name, _ in self.sizes.layers]
        parts = [self._leaf(f"{place}, layer {name}", tree[name]) for name in names]
        widths = [leaf.shape[-1] if leaf.shape else 0 for leaf in parts]
        if widths != [size for _, size in self.sizes.layers]:
            raise self._other_layers(place, widths)
        return self._stacked(place, parts)

    def _other_layers(self, place: str, widths: Sequence[int]) -> InputError:
        wanted = [size for _, size in self.sizes.layers]
        return InputError(
            f"{place}: holds {len(widths)} arrays of widths {_short(widths)}, and s of this "
            f"generator has {len(wanted)} layers, toRGB's among them, of {_short(wanted)}; check "
            "which generator it is of, and save all layers"
        )

    def _stacked(self, place: str, parts: Sequence[Leaf]) -> Leaf:
        """S (n, C) of its layers, (n, c), (n, 1, c) or (c,) each."""
        counts = {math.prod(leaf.shape[:-1]) for leaf in parts}
        if len(counts) > 1 or any(len(leaf.shape) > 2 and leaf.shape[1] != 1 for leaf in parts):
            raise InputError(
                f"{place}: holds layers of {_short(sorted(counts))} images; save as many of each"
            )

        def load() -> Numbers:
            flat = [leaf.load().reshape(-1, leaf.shape[-1]) for leaf in parts]
            return np.concatenate(flat, axis=1)

        shape = (counts.pop(), self.sizes.channels)
        return Leaf(place, shape, sum(leaf.nbytes for leaf in parts), load, ("s",))

    def _are_images(self, tree: Mapping[str, Any]) -> bool:
        """Whether names are those of images: of picture files, or of something each that only w+
        looks like."""
        if all(name.lower().endswith(_PICTURES) for name in tree):
            return True
        return all(map(self._is_w_plus, tree.values()))

    def _is_w_plus(self, value: Any) -> bool:
        parts = value if isinstance(value, list) and value else [value]
        shapes = [getattr(part, "shape", ()) for part in parts]
        return all(shape[-2:] == (self.sizes.rows, self.sizes.w_dim) for shape in shapes)

    def _by_image(self, tree: Mapping[str, Any]) -> list[Leaf]:
        """An image a name: an array, the steps of an encoder, of which the last counts, the layers
        of S, or what rosinality's projector keeps of it."""
        images = _names(list(tree))
        if len(images) > MAX_IMAGES:
            raise InputError(f"{self.path}: holds more than {MAX_IMAGES} latents; split it")
        found = []
        for (name, value), image in zip(tree.items(), images, strict=True):
            place = f"{self.path}, {escaped(name)}"
            named = SPACES
            if isinstance(value, dict):
                if "latent" not in value:
                    raise InputError(f"{place}: holds no array `latent`; save it with one")
                value, named = value["latent"], ("w", "w+")
            leaves = self._value(place, value)
            leaf = leaves[-1]
            if leaf.named == SPACES:
                leaf = replace(leaf, named=named)
            found.append(replace(leaf, image=image, one=True))
        return found

    def _leaf(self, place: str, value: Any) -> Leaf:
        if isinstance(value, Leaf):
            return replace(value, place=place)
        if isinstance(value, InertTensor):
            if not value.dtype.is_floating_point:
                raise InputError(f"{place}: has type {value.dtype}; latents are floats")
            tensor = value
            return Leaf(place, value.shape, value.nbytes, lambda: tensor.load().float().numpy())
        if isinstance(value, np.ndarray):
            _require_floats(place, value.dtype)
            array = value
            return Leaf(place, value.shape, value.nbytes, lambda: array)
        what = "an empty entry" if value is None else type(value).__name__
        raise InputError(
            f"{place}: holds {what} where latents should be; save arrays or tensors of floats"
        )


def _names(keys: Sequence[str]) -> list[str]:
    """What to call images by names of anybody's: the last part of each path, without what a file
    name may not hold; all of it where that is not enough to tell them apart."""
    short = [_name(re.split(r"[/\\]", key)[-1]) for key in keys]
    if len(set(short)) == len(short):
        return short
    return [_name(key) for key in keys]


def _name(key: str) -> str:
    stem = key[: key.rindex(".")] if key.lower().endswith(_PICTURES) else key
    plain = "".join(letter if letter.isprintable() else "_" for letter in stem)
    return re.sub(r'[/\\:*?"<>|]', "_", plain).strip(". ")[:80] or "image"


def _short(values: Sequence[int]) -> str:
    told = ", ".join(map(str, values[:4]))
    return f"{told}, ..." if len(values) > 4 else told
