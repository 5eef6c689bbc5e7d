"""The names each kind of checkpoint may use, and the inert data that stands for each call.

A handler takes the place of the callable: it checks every argument and returns data of ours. The
tables are exact (module, name) pairs; a name with dots in it never matches.
"""

from __future__ import annotations

from typing import Any

import torch

from .arrays import (
    NUMPY_ARRAY,
    numpy_array,
    numpy_buffer,
    numpy_objects,
    numpy_scalar,
    numpy_type,
    numpy_type_or_objects,
)
from .machine import Allowed, Global, Machine, Symbol
from .objects import InertObject, InertTensor, Storage, checked_lengths
from .stream import read_stream

PERSISTENT_KEYS = {"type", "version", "module_src", "class_name", "state"}


def _ordered_dict(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> dict[Any, Any]:
    filled: dict[Any, Any] = {}
    if args:
        if len(args) != 1 or type(args[0]) is not list:
            raise machine.refuse_arguments(symbol)
        machine.spend(len(args[0]))
        if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in args[0]):
            raise machine.refuse_arguments(symbol)
        machine.insert(filled, [pair[0] for pair in args[0]], [pair[1] for pair in args[0]])
    return filled


def _easy_dict(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> dict[Any, Any]:
    if not args:
        return {}
    if len(args) != 1 or type(args[0]) is not dict:
        raise machine.refuse_arguments(symbol)
    machine.spend(len(args[0]))
    return dict(args[0])


def _set(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> set[Any]:
    if not args:
        return set()
    if len(args) != 1 or type(args[0]) is not list:
        raise machine.refuse_arguments(symbol)
    machine.spend(len(args[0]))
    machine.require_plain(args[0])
    return set(args[0])


def _empty_bytes(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> bytes:
    """How protocol 2 writes b""."""
    if args:
        raise machine.refuse_arguments(symbol)
    return b""


def _encode(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> bytes:
    """How protocol 2 writes other bytes."""
    if len(args) != 2 or type(args[0]) is not str or type(args[1]) is not str:
        raise machine.refuse_arguments(symbol)
    if args[1] != "latin1":
        raise machine.refuse_arguments(symbol)
    machine.copy_bytes(len(args[0]))
    try:
        return args[0].encode("latin1")
    except UnicodeEncodeError as error:
        raise machine.refuse_arguments(symbol) from error


def _record(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> InertObject:
    """An object without arguments, whose state comes next."""
    if args:
        raise machine.refuse_arguments(symbol)
    return InertObject(symbol.kind)


def _path(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> InertObject:
    machine.spend(len(args))
    if not all(type(part) is str for part in args):
        raise machine.refuse_arguments(symbol)
    return InertObject(symbol.kind, args)


def _reconstructor(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> object:
    """How protocol 1 makes an instance: (class, object, None)."""
    if (
        len(args) != 3
        or type(args[0]) is not Symbol
        or args[0].rule.new is None
        or type(args[1]) is not Symbol
        or args[1].rule is not OBJECT
        or args[2] is not None
    ):
        raise machine.refuse_arguments(symbol)
    return args[0].rule.new(machine, args[0], ())


def _persistent_object(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> InertObject:
    """A network of NVIDIA's: its source text is dropped unread, its attributes are the state."""
    meta = args[0] if len(args) == 1 else None
    if (
        type(meta) is not dict
        or meta.keys() != PERSISTENT_KEYS
        or meta["type"] != "class"
        or type(meta["version"]) is not int
        or type(meta["module_src"]) is not str
        or type(meta["class_name"]) is not str
        or type(meta["state"]) is not dict
    ):
        raise machine.refuse_arguments(symbol)
    state = {key: value for key, value in meta.items() if key != "module_src"}
    return InertObject("torch_utils.persistence", (), state)


# Tensors


def _storage(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> Storage:
    """A storage by itself, as the file torch.save would have written for it."""
    if len(args) != 1 or type(args[0]) is not bytes:
        raise machine.refuse_arguments(symbol)
    machine.copy_bytes(len(args[0]))
    place = f"{machine.place}storage at byte {machine.position}, "
    found = read_stream(memoryview(args[0]), machine.path, STORAGES, machine.budget, place)
    if type(found) is not Storage:
        raise machine.refuse_arguments(symbol)
    return found


def _tensor(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> InertTensor:
    """(storage, offset, size, stride)"""
    if len(args) != 4 or type(args[0]) is not Storage:
        raise machine.refuse_arguments(symbol)
    try:
        record = InertTensor(*args)
    except ValueError as error:
        raise machine.refuse(str(error)) from error
    machine.describe(record.nbytes)
    return record


def _tensor_v2(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> InertTensor:
    """(storage, offset, size, stride, requires_grad, hooks[, metadata]); none of the last counts,
    but for metadata, which may ask for the conjugate or the negative."""
    if (
        len(args) not in (6, 7)
        or type(args[4]) is not bool
        or (args[5] is not None and (type(args[5]) is not dict or args[5]))
        or (len(args) == 7 and args[6] is not None and (type(args[6]) is not dict or args[6]))
    ):
        raise machine.refuse_arguments(symbol)
    return _tensor(machine, symbol, args[:4])


def _parameter(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> InertTensor:
    """(tensor, requires_grad, hooks)"""
    if (
        len(args) != 3
        or type(args[0]) is not InertTensor
        or type(args[1]) is not bool
        or type(args[2]) is not dict
        or args[2]
    ):
        raise machine.refuse_arguments(symbol)
    return args[0]


def _size(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> tuple[int, ...]:
    try:
        return checked_lengths(args[0] if len(args) == 1 else None, "torch.Size")
    except ValueError as error:
        raise machine.refuse(str(error)) from error


def _device(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> InertObject:
    if [type(part) for part in args[:3]] not in ([str], [str, int]):
        raise machine.refuse_arguments(symbol)
    return InertObject(symbol.kind, args)


def _typed_list(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> list[Any]:
    """TorchScript's lists of one type."""
    if len(args) != 1 or type(args[0]) is not list:
        raise machine.refuse_arguments(symbol)
    return args[0]


def _typed_container(machine: Machine, symbol: Symbol, args: tuple[Any, ...]) -> Any:
    """TorchScript's containers with their type beside them: (container, type)."""
    if len(args) != 2 or type(args[0]) not in (list, dict) or type(args[1]) is not str:
        raise machine.refuse_arguments(symbol)
    return args[0]


# The tables

OBJECT = Global()
MODULE = Global(new=_record)

STORAGES: Allowed = {
    ("torch", "FloatStorage"): Global(dtype=torch.float32),
    ("torch", "HalfStorage"): Global(dtype=torch.float16),
    ("torch", "DoubleStorage"): Global(dtype=torch.float64),
    ("torch", "BFloat16Storage"): Global(dtype=torch.bfloat16),
    ("torch", "LongStorage"): Global(dtype=torch.int64),
    ("torch", "IntStorage"): Global(dtype=torch.int32),
    ("torch", "ShortStorage"): Global(dtype=torch.int16),
    ("torch", "CharStorage"): Global(dtype=torch.int8),
    ("torch", "ByteStorage"): Global(dtype=torch.uint8),
    ("torch", "BoolStorage"): Global(dtype=torch.bool),
    ("torch.storage", "UntypedStorage"): Global(dtype=torch.uint8),
}

_PLAIN: Allowed = {
    ("collections", "OrderedDict"): Global(call=_ordered_dict),
    ("builtins", "set"): Global(call=_set),
    ("__builtin__", "set"): Global(call=_set),
    ("builtins", "bytes"): Global(call=_empty_bytes),
    ("__builtin__", "bytes"): Global(call=_empty_bytes),
    ("_codecs", "encode"): Global(call=_encode),
    ("dnnlib.util", "EasyDict"): Global(call=_easy_dict, new=_easy_dict),
    ("numpy", "dtype"): Global(call=numpy_type),
    ("numpy", "ndarray"): NUMPY_ARRAY,
    ("numpy.core.multiarray", "_reconstruct"): Global(call=numpy_array),
    ("numpy._core.multiarray", "_reconstruct"): Global(call=numpy_array),
    ("numpy.core.multiarray", "scalar"): Global(call=numpy_scalar),
    ("numpy._core.multiarray", "scalar"): Global(call=numpy_scalar),
}

_TENSORS: Allowed = {
    ("torch._utils", "_rebuild_tensor"): Global(call=_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Global(call=_tensor_v2),
    ("torch._utils", "_rebuild_parameter"): Global(call=_parameter),
}

_MODULES: Allowed = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Global(call=_persistent_object),
}

NVIDIA_GLOBALS: Allowed = {
    **_PLAIN,
    **_TENSORS,
    **_MODULES,
    ("torch.storage", "_load_from_bytes"): Global(call=_storage),
}
"""For `*.pkl` of stylegan2-ada-pytorch and stylegan3."""

ARRAY_GLOBALS: Allowed = {
    **_PLAIN,
    **_TENSORS,
    ("torch.storage", "_load_from_bytes"): Global(call=_storage),
}
"""For pickles of plain containers with arrays or tensors in them, such as StyleCLIP's."""

TENSORFLOW_GLOBALS: Allowed = {
    **_PLAIN,
    ("dnnlib.tflib.network", "Network"): Global(new=_record),
    ("copyreg", "_reconstructor"): Global(call=_reconstructor),
    ("copy_reg", "_reconstructor"): Global(call=_reconstructor),
    ("builtins", "object"): OBJECT,
    ("__builtin__", "object"): OBJECT,
}
"""For `*.pkl` of the TensorFlow StyleGAN2."""

TORCH_GLOBALS: Allowed = {
    **_PLAIN,
    **_TENSORS,
    **STORAGES,
    ("torch", "Size"): Global(call=_size),
    ("torch", "device"): Global(call=_device),
    ("argparse", "Namespace"): Global(call=_record, new=_record),
    **{
        (module, name): Global(call=_path)
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath")
    },
    **{
        ("torch.jit._pickle", f"build_{kind}list"): Global(call=_typed_list)
        for kind in ("int", "bool", "double", "tensor")
    },
    ("torch.jit._pickle", "restore_type_tag"): Global(call=_typed_container),
}
"""For files of torch.save and torch.jit.save."""

_LIGHTNING: Allowed = {  # what a checkpoint of PyTorch Lightning's is told apart by
    ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"): Global(),
    ("pytorch_lightning.utilities.parsing", "AttributeDict"): Global(
        call=_easy_dict, new=_easy_dict
    ),
}

GENERATOR_GLOBALS: Allowed = {**TORCH_GLOBALS, **_MODULES, **_LIGHTNING}
"""For generators by torch.save, among them NVIDIA's modules as a whole, as tuning saves them."""

LATENT_GLOBALS: Allowed = {
    **TORCH_GLOBALS,
    ("torch.storage", "_load_from_bytes"): Global(call=_storage),
    ("numpy", "dtype"): Global(call=numpy_type_or_objects),
    **{
        (f"numpy.{core}.multiarray", "_reconstruct"): Global(call=numpy_objects)
        for core in ("core", "_core")
    },
    **{
        (f"numpy.{core}.numeric", "_frombuffer"): Global(call=numpy_buffer)
        for core in ("core", "_core")
    },
}
"""For latents and styles in pickles, and in .npy files of objects, which are pickles, too."""

MAPPER_GLOBALS: Allowed = {
    **TORCH_GLOBALS,
    ("torch.nn.modules.container", "Sequential"): Global(new=_record),
    ("src.mapper.mapper", "LatentMapper"): Global(new=_record),
    ("src.mapper.layers_group", "LayersGroup"): Global(new=_record),
    ("src.mapper.layers_group", "PixelNorm"): Global(new=_record),
    ("src.mapper.layer", "MapperLayer"): Global(new=_record),
}
"""For latent mappers, among them those that xomyakes/styleclip-gan3 saves as whole modules."""
