"""Hostile pickles: what each is made of and how it is refused. `README.md` says what each tries."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from styleatlas.engine.inert.allowed import NVIDIA_GLOBALS, TENSORFLOW_GLOBALS
from styleatlas.engine.inert.torchfile import read_torch
from styleatlas.engine.inert.unpickle import read_pickle

from . import hostile as h


def read_nvidia(path: Path) -> object:
    return read_pickle(path, NVIDIA_GLOBALS)


def read_tensorflow(path: Path) -> object:
    return read_pickle(path, TENSORFLOW_GLOBALS)


class Attack(NamedTuple):
    make: Callable[[], bytes]
    message: str
    read: Callable[[Path], object] = read_nvidia


def code(body: bytes, protocol: int = 4) -> Callable[[], bytes]:
    """A pickle of these opcodes."""
    return lambda: h.pickled(body, protocol)


def torch_zip(body: bytes, storages: dict[str, bytes] | None = None, **extra: bytes):
    """A zip by torch.save around a pickle of these opcodes."""
    return lambda: h.archive(h.pickled(body, 2), storages, **extra)


# Calling, importing, reaching through names

NAMES = "which is not supported and was not loaded; only tensors, plain cont"
EXECUTION = {
    "os.system": Attack(
        code(h.call(h.name(os.system.__module__, "system"), h.text(h.COMMAND))),
        rf"asks for the Python object {os.system.__module__}\.system, {NAMES}",
    ),
    "dotted name": Attack(
        code(h.call(h.name_on_stack("torch._utils", "torch.hub.os.system"), h.text(h.COMMAND))),
        r"asks for the Python object torch\._utils\.torch\.hub\.os\.system",
    ),
    "builtins.eval": Attack(
        code(h.call(h.name("builtins", "eval"), h.text(f"exec({h.PAYLOAD!r})"))),
        r"asks for the Python object builtins\.eval",
    ),
    "import of a module": Attack(
        code(h.name(h.CANARY_MODULE, "attribute")),
        r"asks for the Python object styleatlas_canary_module\.attribute",
    ),
    "name on many lines": Attack(
        code(h.name_on_stack("os\nrefused: no\r\x1b[2K", "system" * 1000)),
        r"asks for the Python object os\\nrefused: no\\r\\x1b\[2K\.systemsys",
    ),
    "name without an end": Attack(code(b"c" + b"a" * 10**6), "holds a name without an end"),
    "name that is not text": Attack(code(h.number(1) + h.number(2) + b"\x93"), "not text"),
    "INST": Attack(code(b"(" + h.text(h.COMMAND) + b"iposix\nsystem\n"), "opcode INST is not sup"),
    "OBJ": Attack(code(b"(" + h.ORDERED_DICT + b"o"), "opcode OBJ is not supported"),
    "EXT1": Attack(code(b"\x82\x01"), "opcode EXT1 is not supported"),
    "EXT2": Attack(code(b"\x83\x01\x01"), "opcode EXT2 is not supported"),
    "EXT4": Attack(code(b"\x84\x01\x01\x01\x01"), "opcode EXT4 is not supported"),
    "PERSID": Attack(code(b"Pstorage\n"), "opcode PERSID is not supported"),
    "BINPERSID in a plain pickle": Attack(
        code(h.constant(("storage", 1)) + b"Q"), "refers to data outside the pickle"
    ),
    "out-of-band buffer": Attack(code(b"\x97", 5), "opcode NEXT_BUFFER is not supported"),
    "text opcodes": Attack(code(b"I" + b"9" * 10**6 + b"\n"), "opcode INT is not supported"),
    "call of a number": Attack(code(h.call(h.number(1))), "calls an object of type int"),
    "call of a storage type": Attack(
        torch_zip(h.call(h.FLOATS, h.number(10**12))),
        r"calls torch\.FloatStorage, which is only a name",
        read_torch,
    ),
    "instance of a function": Attack(
        code(h.new(h.REBUILD)),
        r"makes an instance of torch\._utils\._rebuild_tensor_v2, which is only a name",
    ),
    "keyword arguments": Attack(
        torch_zip(h.NAMESPACE + b")" + h.constant({"a": 1}) + b"\x92"),
        "makes an object with keyword arguments",
        read_torch,
    ),
    "copyreg with another class": Attack(
        code(
            h.call(
                h.name("copyreg", "_reconstructor"),
                h.name("numpy", "dtype"),
                h.name("builtins", "object"),
                b"N",
            )
        ),
        r"gives copyreg\._reconstructor arguments it never has",
        read_tensorflow,
    ),
    "copyreg with another base": Attack(
        code(
            h.call(
                h.name("copyreg", "_reconstructor"),
                h.name("dnnlib.tflib.network", "Network"),
                h.name("builtins", "set"),
                b"N",
            )
        ),
        r"gives copyreg\._reconstructor arguments it never has",
        read_tensorflow,
    ),
    "Namespace in a Namespace": Attack(
        torch_zip(
            h.build(
                h.new(h.NAMESPACE),
                h.dict_of(
                    h.text("inner"),
                    h.build(
                        h.new(h.NAMESPACE),
                        h.dict_of(h.text("function"), h.name("builtins", "eval")),
                    ),
                ),
            )
        ),
        r"data\.pkl, byte \d+: asks for the Python object builtins\.eval",
        read_torch,
    ),
    "whole module": Attack(
        torch_zip(h.build(h.new(h.name("src.mapper", "Mapper")), b"}")),
        r"asks for the Python object src\.mapper\.Mapper",
        read_torch,
    ),
    "TorchScript class in a plain file": Attack(
        torch_zip(h.new(h.name("__torch__.os", "system"))),
        r"asks for the Python object __torch__\.os\.system",
        read_torch,
    ),
}

# Changing this process by giving a state to what is allowed

STATES = {
    "state of a function": Attack(
        code(h.build(h.REBUILD, h.constant((None, {"__defaults__": (1,), "__code__": 2})))),
        r"gives a state to torch\._utils\._rebuild_tensor_v2, which is only a name",
    ),
    "state of a class": Attack(
        code(h.build(h.ORDERED_DICT, h.constant({"update": None}))),
        r"gives a state to collections\.OrderedDict, which is only a name",
    ),
    "slots of a Namespace": Attack(
        torch_zip(h.build(h.new(h.NAMESPACE), h.constant((None, {"__class__": "x"})))),
        r"gives argparse\.Namespace a state that is not a dict",
        read_torch,
    ),
    "second state": Attack(
        torch_zip(h.build(h.build(h.new(h.NAMESPACE), b"}"), b"}")),
        r"gives argparse\.Namespace a second state",
        read_torch,
    ),
    "attribute that is not text": Attack(
        torch_zip(h.build(h.new(h.NAMESPACE), h.constant({1: 2}))),
        r"gives argparse\.Namespace an attribute that is not text",
        read_torch,
    ),
    "state of a tensor": Attack(
        code(h.build(h.tensor((2,), (1,)), h.constant({"_storage": 1}))),
        "gives a state to an object of type InertTensor",
    ),
    "state of a dict's slots": Attack(
        code(h.build(h.call(h.ORDERED_DICT), h.constant((None, {"a": 1})))),
        "gives a state to an object of type dict",
    ),
    "items for a function": Attack(
        code(h.REBUILD + h.text("__defaults__") + b"Ns"),
        "puts items of a dict into something else",
    ),
    "items for a tuple": Attack(code(b")Na"), "puts items of a list into something else"),
}

# Right callables, wrong arguments

WRONG = "arguments it never has"
ARGUMENTS = {
    "OrderedDict of a number": Attack(code(h.call(h.ORDERED_DICT, h.number(10**12))), WRONG),
    "OrderedDict of no pairs": Attack(code(h.call(h.ORDERED_DICT, h.constant(["ab"]))), WRONG),
    "EasyDict of a number": Attack(
        code(h.call(h.name("dnnlib.util", "EasyDict"), h.number(1))), WRONG
    ),
    "set of a number": Attack(code(h.call(h.name("builtins", "set"), h.number(1))), WRONG),
    "bytes of a number": Attack(code(h.call(h.name("builtins", "bytes"), h.number(10**12))), WRONG),
    "encode to a codec": Attack(
        code(h.call(h.name("_codecs", "encode"), h.text("x"), h.text("zlib"))), WRONG
    ),
    "encode beyond latin-1": Attack(
        code(h.call(h.name("_codecs", "encode"), h.text("€"), h.text("latin1"))), WRONG
    ),
    "tensor without storage": Attack(code(h.tensor((1,), (1,), source=h.number(1))), WRONG),
    "tensor with hooks": Attack(
        code(
            h.call(
                h.REBUILD,
                h.storage(),
                *map(h.constant, (0, (1,), (1,), False, {1: "hook"})),
            )
        ),
        WRONG,
    ),
    "tensor to be negated": Attack(
        code(
            h.call(
                h.REBUILD,
                h.storage(),
                *map(h.constant, (0, (1,), (1,), False, {}, {"neg": True})),
            )
        ),
        WRONG,
    ),
    "parameter of a number": Attack(
        code(
            h.call(
                h.name("torch._utils", "_rebuild_parameter"),
                *map(h.constant, (1, True, {})),
            )
        ),
        WRONG,
    ),
    "arguments that are no tuple": Attack(code(h.ORDERED_DICT + b"]R"), WRONG),
    "network without source": Attack(code(h.network(module_src=b"")), WRONG),
    "network that is a function": Attack(code(h.network(type=h.text("function"))), WRONG),
    "network whose state is a list": Attack(code(h.network(state=b"]")), WRONG),
    "network with more": Attack(code(h.network(hook=h.text("x"))), WRONG),
    "Network with arguments": Attack(
        code(h.new(h.name("dnnlib.tflib.network", "Network"), h.text("x"))), WRONG, read_tensorflow
    ),
    "Namespace with arguments": Attack(
        torch_zip(h.call(h.NAMESPACE, h.number(1))), WRONG, read_torch
    ),
    "path of numbers": Attack(
        torch_zip(h.call(h.name("pathlib", "PosixPath"), h.number(1))), WRONG, read_torch
    ),
    "size of text": Attack(
        torch_zip(h.call(h.name("torch", "Size"), h.text("x"))), "torch.Size must be", read_torch
    ),
    "device of a number": Attack(
        torch_zip(h.call(h.name("torch", "device"), h.number(1))), WRONG, read_torch
    ),
    "TorchScript list of a number": Attack(
        torch_zip(h.call(h.name("torch.jit._pickle", "build_intlist"), h.number(1))),
        WRONG,
        read_torch,
    ),
    "TorchScript tag without a type": Attack(
        torch_zip(h.call(h.name("torch.jit._pickle", "restore_type_tag"), b"]")),
        WRONG,
        read_torch,
    ),
    "bytearray(10**12)": Attack(
        code(h.call(h.name("builtins", "bytearray"), h.number(10**12))),
        r"asks for the Python object builtins\.bytearray",
    ),
}

# Tensors and arrays that lie

REACH = "a tensor reaches beyond its storage of 4 elements"
TENSORS = {
    "size beyond the storage": Attack(code(h.tensor((5,), (1,))), REACH),
    "offset beyond the storage": Attack(code(h.tensor((2,), (1,), 3)), REACH),
    "empty tensor far away": Attack(code(h.tensor((0,), (1,), 5)), REACH),
    "stride beyond the storage": Attack(code(h.tensor((2, 2), (3, 1))), REACH),
    "sizes that overflow": Attack(
        code(h.tensor((2**32, 2**32), (0, 0))), "multiplies to more than any file holds"
    ),
    "empty tensor of absurd sizes": Attack(
        code(h.tensor((0, 2**40, 2**40), (1, 1, 1))), "multiplies to more than any file holds"
    ),
    "stride 0": Attack(code(h.tensor((10**9,), (0,))), REACH),
    "overlapping view": Attack(code(h.tensor((3, 2), (1, 1))), REACH),
    "negative offset": Attack(code(h.tensor((1,), (1,), -1)), "the offset of a tensor must be"),
    "negative stride": Attack(code(h.tensor((2,), (-1,), 3)), "the stride of a tensor must be"),
    "negative size": Attack(code(h.tensor((-1,), (1,))), "the size of a tensor must be"),
    "offset that is a bool": Attack(code(h.tensor((1,), (1,), True)), "the offset of a tensor"),
    "size that is a list": Attack(code(h.tensor([1], (1,))), "the size of a tensor must be"),
    "nine axes": Attack(code(h.tensor((1,) * 9, (1,) * 9)), "must be at most 8 integers"),
    "more sizes than strides": Attack(code(h.tensor((1, 1), (1,))), "as many strides as sizes"),
    "one storage described many times": Attack(
        code(
            h.call(h.LOAD_FROM_BYTES, h.binary(h.storage_stream(10_000)))
            + b"q\x010"
            + h.tuple_of(*[h.tensor((10_000,), (1,), source=b"h\x01")] * 17)
        ),
        "describes tensors of over 16 times the file's size",
    ),
    "one stream read many times": Attack(
        code(
            h.binary(h.storage_stream(10_000))
            + b"q\x010"
            + h.tuple_of(*[h.call(h.LOAD_FROM_BYTES, b"h\x01")] * 3)
        ),
        "reads the same bytes over and over",
    ),
    "encoding one text many times": Attack(
        code(
            h.text("x" * 10**5)
            + b"q\x010"
            + h.tuple_of(*[h.call(h.name("_codecs", "encode"), b"h\x01", h.text("latin1"))] * 9)
        ),
        "reads the same bytes over and over",
    ),
    "array of objects": Attack(
        lambda: pickle.dumps(np.array(["x", None], dtype=object), 2),
        "holds a numpy type 'O8', which is not a plain number; only b1, i1,",
    ),
    "array of structures": Attack(
        lambda: pickle.dumps(np.zeros(2, dtype=[("a", "f4")]), 2), "holds a numpy type 'V4'"
    ),
    "array of texts": Attack(lambda: pickle.dumps(np.array(["x"]), 2), "holds a numpy type 'U1'"),
    "big-endian array": Attack(
        lambda: pickle.dumps(np.zeros(2, ">f4"), 2), "gives the numpy type f4 a state it never has"
    ),
    "numpy type with fields": Attack(
        code(h.numpy_type("f4", (3, "<", None, ("a",), {"a": 1}, 4, 4, 27))),
        "gives the numpy type f4 a state it never has",
    ),
    "numpy type without a state": Attack(
        code(h.numpy_type(state=None)), "holds an array or type whose content never came"
    ),
    "array without a state": Attack(
        code(h.call(h.NUMPY_RECONSTRUCT, h.NUMPY_ARRAY, h.constant((0,)), h.binary(b"b"))),
        "holds an array or type whose content never came",
    ),
    "array of another class": Attack(
        code(h.numpy_array((1,), h.numpy_type(), bytes(4), h.name("dnnlib.util", "EasyDict"))),
        WRONG,
    ),
    "array of too few bytes": Attack(
        code(h.numpy_array((10**6,), h.numpy_type(), bytes(4))),
        "gives 4 bytes for a numpy array of 4000000",
    ),
    "array of unknown type": Attack(
        code(h.numpy_array((1,), h.numpy_type(state=None), bytes(4))),
        "gives a numpy array a state it never has",
    ),
    "array of negative shape": Attack(
        code(h.numpy_array((-1, -1), h.numpy_type(), bytes(4))), "the shape of a numpy array must"
    ),
    "scalar of too few bytes": Attack(
        code(h.call(h.NUMPY_SCALAR, h.numpy_type(), h.binary(b"x"))), WRONG
    ),
    "scalar that is an object": Attack(
        code(h.call(h.NUMPY_SCALAR, h.numpy_type("O8"), h.name("builtins", "eval"))),
        "holds a numpy type 'O8'",
    ),
}

# Bombs: small files that would cost much

BOMBS = {
    "list in itself": Attack(code(b"]q\x00h\x00a"), "nests more than 200 deep or holds itself"),
    "dict in itself": Attack(code(b"}q\x00K\x01h\x00s"), "nests more than 200 deep or holds"),
    "wide list in itself": Attack(
        code(b"]q\x00(" + b"h\x00" * 10**5 + b"e"), "unfolds to more than 2000000 parts"
    ),
    "Namespace in itself": Attack(
        torch_zip(h.build(h.new(h.NAMESPACE) + b"q\x00", b"}" + h.text("me") + b"h\x00s")),
        "nests more than 200 deep or holds itself",
        read_torch,
    ),
    "deep tuples": Attack(code(b")" + b"\x85" * 10**5), "nests more than 200 deep"),
    "deep lists": Attack(code(b"]" * 10**5 + b"a" * (10**5 - 1)), "nests more than 200 deep"),
    "deep marks": Attack(code(b"(" * 10**5), "nests more than 500 marks"),
    "billion laughs": Attack(
        code(
            b"]q\x000"
            + b"".join(b"](" + b"h%c" % i * 10 + b"eq%c0" % (i + 1) for i in range(12))
            + b"h\x0c"
        ),
        "unfolds to more than 2000000 parts",
    ),
    "opcode flood": Attack(code(b"N0" * 600_000 + b"N"), "takes more than 1000000 steps to read"),
    "flood of sets": Attack(code(b"\x8f" * 1_100_000), "takes more than 1000000 steps to read"),
    "copies of one list": Attack(
        code(
            h.list_of(*[b"K\x01"] * 10**5)
            + b"q\x000("
            + h.call(h.name("builtins", "set"), b"h\x00") * 100
            + b"t"
        ),
        "takes more than 1000000 steps to read",
    ),
    "huge integer": Attack(code(h.number(1 << 8_000_000)), r"an integer of 10000\d\d bytes, at mo"),
    "integer of negative length": Attack(
        code(b"\x8b\xff\xff\xff\xff"), "an integer of -1 bytes, at most 64 are read"
    ),
    "colliding keys": Attack(
        code(h.dict_of(*(h.number(i * (2**61 - 1)) + b"N" for i in range(10, 50_000)))),
        "uses a very large integer as a key",
    ),
    "tuples as keys": Attack(code(h.dict_of(h.constant(((1, 2), 3)), b"N")), "uses a tuple as a"),
    "list as a key": Attack(code(h.dict_of(b"]", b"N")), "uses a list as a key"),
    "list in a set": Attack(code(b"\x8f(]\x90"), "uses a list as a key"),
    "duplicate keys": Attack(
        code(h.dict_of(h.text("a"), b"N", h.text("a"), b"N")), "gives a dict the same key twice"
    ),
    "key without a value": Attack(code(h.dict_of(h.text("a"))), "a key without a value"),
    "text of 4 GiB": Attack(code(b"X\xff\xff\xff\xff"), "is truncated"),
    "bytes of 16 EiB": Attack(code(b"\x8e" + b"\xff" * 8), "is truncated"),
    "frame of 16 EiB": Attack(code(b"\x95" + b"\xff" * 8), "is truncated"),
    "text that is not UTF-8": Attack(code(b"X\x01\0\0\0\xff"), "holds text that is not UTF-8"),
    "surrogates": Attack(code(b"X\x03\0\0\0\xed\xa0\x80"), "holds text that is not UTF-8"),
    "empty stack": Attack(code(b"R"), "takes from an empty stack"),
    "missing mark": Attack(code(b"t"), "takes up to a mark that is not there"),
    "memo of nothing": Attack(code(b"h\x07"), "recalls object 7, which it never stored"),
    "two objects": Attack(code(b"NN"), "ends with an unfinished object"),
    "second pickle": Attack(lambda: h.pickled(b"N") * 2, "goes on after its end at byte 4"),
    "second header": Attack(code(b"\x80\x04N"), "opcode PROTO is not supported"),
    "protocol 0": Attack(lambda: b"cos\nsystem\n(S'x'\ntR.", "is no pickle of protocol 2 to 5"),
    "protocol 6": Attack(code(b"N", 6), "is no pickle of protocol 2 to 5"),
}
