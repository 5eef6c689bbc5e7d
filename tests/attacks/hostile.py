"""Makes checkpoint files that try to harm their reader, and the sound ones they are made from.

Everything is made at run time: no hostile file lies in the repository. A payload that ran would
leave the canary: a file, an environment variable or an imported module.
"""

from __future__ import annotations

import argparse
import collections
import io
import os
import pathlib
import pickle
import struct
import sys
import tempfile
import types
import warnings
import zipfile
from contextlib import contextmanager

import numpy as np
import torch

CANARY = pathlib.Path(tempfile.gettempdir()) / f"styleatlas-canary-{os.getpid()}"
CANARY_VARIABLE = "STYLEATLAS_CANARY"
CANARY_MODULE = "styleatlas_canary_module"
PAYLOAD = (
    f"import os\nos.environ[{CANARY_VARIABLE!r}] = 'ran'\n"
    f"with open({str(CANARY)!r}, 'w') as file: file.write('ran')\nimport {CANARY_MODULE}\n"
)
COMMAND = f"echo ran > {CANARY}"


# A pickle by hand: each function gives the opcodes that push one object.


def pickled(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def binary(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(raw)) + raw


def constant(value: object) -> bytes:
    """Plain data, pickled."""
    return pickle.dumps(value, 2)[2:-1]


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def list_of(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def dict_of(*items: bytes) -> bytes:
    return b"}(" + b"".join(items) + b"u"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def name_on_stack(module: str, attribute: str) -> bytes:
    return text(module) + text(attribute) + b"\x93"


def call(function: bytes, *args: bytes) -> bytes:
    return function + tuple_of(*args) + b"R"


def new(kind: bytes, *args: bytes) -> bytes:
    return kind + tuple_of(*args) + b"\x81"


def build(target: bytes, state: bytes) -> bytes:
    return target + state + b"b"


# The names checkpoints use

ORDERED_DICT = name("collections", "OrderedDict")
REBUILD = name("torch._utils", "_rebuild_tensor_v2")
LOAD_FROM_BYTES = name("torch.storage", "_load_from_bytes")
FLOATS = name("torch", "FloatStorage")
NAMESPACE = name("argparse", "Namespace")
PERSISTENT = name("torch_utils.persistence", "_reconstruct_persistent_obj")
NUMPY_RECONSTRUCT = name("numpy.core.multiarray", "_reconstruct")
NUMPY_SCALAR = name("numpy.core.multiarray", "scalar")
NUMPY_ARRAY = name("numpy", "ndarray")
DTYPE_STATE = (3, "<", None, None, None, -1, -1, 0)


def storage_stream(length: int = 4, *, declared: int | None = None, stored: int | None = None):
    """What pickling a float storage gives to `_load_from_bytes`."""
    declared = length if declared is None else declared
    identifier = tuple_of(
        text("storage"), FLOATS, text("7"), text("cpu"), number(declared), constant(None)
    )
    return stream(
        pickled(identifier + b"Q", 2),
        {"7": (length if stored is None else stored, bytes(4 * length))},
    )


def stream(
    content: bytes,
    storages: dict[str, tuple[int, bytes]],
    *,
    magic: int = 0x1950A86A20F9469CFC6C,
    version: int = 1001,
    little_endian: object = True,
    keys: list[str] | None = None,
) -> bytes:
    """torch.save's older form around a pickle."""
    parts = [pickle.dumps(magic, 2), pickle.dumps(version, 2)]
    parts += [pickle.dumps({"protocol_version": version, "little_endian": little_endian}, 2)]
    parts += [content, pickle.dumps(list(storages) if keys is None else keys, 2)]
    parts += [struct.pack("<q", count) + raw for count, raw in storages.values()]
    return b"".join(parts)


def storage(length: int = 4) -> bytes:
    return call(LOAD_FROM_BYTES, binary(storage_stream(length)))


def tensor(size: object, stride: object, offset: object = 0, source: bytes | None = None) -> bytes:
    """A tensor over a storage of four floats, or another."""
    source = storage() if source is None else source
    hooks = call(ORDERED_DICT)
    args = (constant(offset), constant(size), constant(stride), constant(False), hooks)
    return call(REBUILD, source, *args)


def numpy_type(code: str = "f4", state: object = DTYPE_STATE) -> bytes:
    made = call(name("numpy", "dtype"), text(code), constant(False), constant(True))
    return made if state is None else build(made, constant(state))


def numpy_array(shape: object, dtype: bytes, raw: bytes, kind: bytes = NUMPY_ARRAY) -> bytes:
    shell = call(NUMPY_RECONSTRUCT, kind, constant((0,)), binary(b"b"))
    state = tuple_of(number(1), constant(shape), dtype, constant(False), binary(raw))
    return build(shell, state)


def network(state: bytes = b"}", source: str = PAYLOAD, **changes: bytes) -> bytes:
    """One network of NVIDIA's; `changes` replace entries of its description."""
    entries = {
        "type": text("class"),
        "version": number(6),
        "module_src": text(source),
        "class_name": text("Generator"),
        "state": state,
    }
    described = {**entries, **changes}
    return call(PERSISTENT, dict_of(*(text(k) + v for k, v in described.items() if v)))


# Sound files, written by the libraries themselves


class _Network:
    """Pickles as the networks of NVIDIA's snapshots do."""

    def __init__(self, class_name: str, **state: object) -> None:
        self.meta = {
            "type": "class",
            "version": 6,
            "module_src": PAYLOAD,
            "class_name": class_name,
            "state": state,
        }

    def __reduce__(self):
        from torch_utils.persistence import _reconstruct_persistent_obj

        return _reconstruct_persistent_obj, (self.meta,)


@contextmanager
def _throwaway_modules():
    """The modules NVIDIA's code would be in, for as long as pickle looks them up."""

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("nothing may call this")

    class EasyDict(dict):
        pass

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    EasyDict.__module__ = "dnnlib.util"
    EasyDict.__qualname__ = "EasyDict"
    modules = {
        key: types.ModuleType(key)
        for key in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")
    }
    modules["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj
    modules["dnnlib.util"].EasyDict = EasyDict
    with modules_of(modules):
        yield EasyDict


@contextmanager
def modules_of(modules: dict[str, types.ModuleType]):
    sys.modules.update(modules)
    try:
        yield
    finally:
        for key in modules:
            del sys.modules[key]


def snapshot(protocol: int = 4) -> bytes:
    """A small pickle in the layout of NVIDIA's snapshots; its source text is the payload."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(3, 2, generator=generator))
    affine = _Network("FullyConnectedLayer", _parameters={"weight": weight}, in_features=2)
    layers = collections.OrderedDict(affine=affine)
    state = {"_modules": layers, "_init_args": (2,), "z_dim": np.int64(2), "gain": np.float32(0.5)}
    buffers = {"w_avg": torch.randn(2, generator=generator), "steps": torch.tensor(3)}
    mapping = _Network("MappingNetwork", **state, _buffers=buffers, names={"w_avg"})
    ema = _Network(
        "Generator", _modules={"mapping": mapping}, filter=np.arange(6.0).reshape(2, 3).T
    )
    with _throwaway_modules() as easy_dict:
        settings = easy_dict(path="/data", use_labels=True, xflip=None)
        content = {"G": None, "D": None, "G_ema": ema, "training_set_kwargs": settings}
        return pickle.dumps(content, protocol)


def tensorflow_snapshot(protocol: int = 4) -> bytes:
    """A small pickle in the layout of the TensorFlow StyleGAN2."""
    dnnlib, tflib, network = (
        types.ModuleType(key) for key in ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network")
    )

    class Network:
        pass

    Network.__module__, Network.__qualname__ = "dnnlib.tflib.network", "Network"
    network.Network = Network
    made = []
    for label in ("G", "D", "Gs"):
        made.append(Network())
        made[-1].__dict__ = {
            "version": 4,
            "name": label,
            "static_kwargs": {"num_channels": 3},
            "components": {},
            "build_module_src": PAYLOAD,
            "build_func_name": "G_main",
            "variables": [("dlatent_avg", np.arange(4, dtype=np.float32))],
        }
    with modules_of({"dnnlib": dnnlib, "dnnlib.tflib": tflib, "dnnlib.tflib.network": network}):
        return pickle.dumps(tuple(made), protocol)


def saved(content: object, *, legacy: bool = False) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def training_save() -> dict[str, object]:
    """A small training checkpoint, with everything that other readers refuse."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(4, 6, generator=generator)
    layer = torch.nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(whole[:2, :3])
        layer.bias.zero_()
    return {
        "g_ema": layer.state_dict(),
        "views": [whole, whole[1:3], whole.t()],
        "half": whole[0].half(),
        "mask": whole[0] > 0,
        "parameter": layer.weight,
        "empty": torch.empty(0, 3),
        "latent_avg": np.arange(3, dtype=np.float32),
        "args": argparse.Namespace(size=8, path="data", nested=argparse.Namespace(seed=None)),
        "folder": pathlib.Path("runs", "1"),
    }


class _Printer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.register_buffer("steps", torch.tensor(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        print("the code of a checkpoint ran")
        return self.layer(x)


def scripted() -> bytes:
    """A TorchScript archive whose code prints."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; CLIP's files remain
        module = torch.jit.script(_Printer())
        module.layer.weight.data.fill_(0.5)
        module.layer.bias.data.fill_(0.25)
        torch.jit.save(module, buffer)
    return buffer.getvalue()


# Zip files by hand


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {entry.filename: file.read(entry) for entry in file.infolist()}


def zipped(content: dict[str, bytes], **changes: object) -> bytes:
    """A zip of stored members, the attributes of all its entries changed by `changes`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for key, raw in content.items():
            entry = zipfile.ZipInfo(key)
            for attribute, value in changes.items():
                setattr(entry, attribute, value)
            file.writestr(entry, raw)
    return buffer.getvalue()


def archive(content: bytes, storages: dict[str, bytes] | None = None, **extra: bytes) -> bytes:
    """torch.save's zip form around a pickle; `extra` are members of the archive's folder."""
    inside = {"data.pkl": content, "byteorder": b"little", "version": b"3\n", **extra}
    inside |= {f"data/{key}": raw for key, raw in (storages or {}).items()}
    return zipped({f"archive/{key}": raw for key, raw in inside.items()})


def zip_storage(length: int = 4, key: str = "0", kind: bytes = FLOATS) -> bytes:
    """The persistent identifier of a storage, resolved."""
    return tuple_of(text("storage"), kind, text(key), text("cuda:0"), number(length)) + b"Q"
