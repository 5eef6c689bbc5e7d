"""The pickle machine gives back what Python's would, as inert data."""

from __future__ import annotations

import collections
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas.engine.inert.allowed import NVIDIA_GLOBALS, TENSORFLOW_GLOBALS
from styleatlas.engine.inert.objects import InertObject, InertTensor, Storage
from styleatlas.engine.inert.unpickle import read_pickle, unpickle
from styleatlas.store.errors import CheckpointError

from ...attacks import hostile

PROTOCOLS = [2, 3, 4, 5]
PLAIN = {
    "numbers": [0, 1, -1, 255, 256, 65536, -(2**31), 2**31, 2**200, -(2**200), 0.1, -math.inf],
    "texts": ["", "a", "é€😀", "x" * 300, "x" * 70_000],
    "bytes": [b"", b"a", bytes(range(256)), bytes(70_000)],
    "words": (None, True, False),
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "sets": [set(), {1, 2}, {"a", b"b", 1.5, None}],
    "dicts": {1: {"a": {}}, None: [], True + 1: (), 2.5: [[]], b"b": {}},
    "many": list(range(3000)),
}


def read(content: object, protocol: int, allowed=NVIDIA_GLOBALS):
    data = pickle.dumps(content, protocol)
    result, end = unpickle(data, Path("file.pkl"), allowed)
    assert end == len(data)
    return result


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_is_given_back(protocol):
    assert read(PLAIN, protocol) == PLAIN


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_shared_stays_shared(protocol):
    shared = [1]
    first, second = read([shared, {"a": shared}], protocol)
    assert second["a"] is first


def test_texts_of_python_2():
    """Opcodes BINSTRING and SHORT_BINSTRING, which Python 3 does not write."""
    content = b"]\x94(U\x03abc" + b"T" + (300).to_bytes(4, "little") + b"x" * 300 + b"e"
    data = hostile.pickled(content, 2)
    assert unpickle(data, Path("file.pkl"), {})[0] == pickle.loads(data) == ["abc", "x" * 300]


def test_start_and_end(tmp_path):
    data = b"before" + pickle.dumps(1) + pickle.dumps("two") + b"after"
    first, end = unpickle(data, Path("file.pkl"), {}, start=6)
    second, end = unpickle(data, Path("file.pkl"), {}, start=end)
    assert (first, second, data[end:]) == (1, "two", b"after")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ordered_dict_loses_its_attributes(protocol):
    ordered = collections.OrderedDict(b=1, a=2)
    ordered._metadata = {"version": 1}
    found = read(ordered, protocol)
    assert type(found) is dict
    assert list(found.items()) == [("b", 1), ("a", 2)]


def test_ordered_dict_of_pairs():
    content = hostile.call(hostile.ORDERED_DICT, hostile.constant([("a", 1), ["b", 2]]))
    assert unpickle(hostile.pickled(content), Path("x"), NVIDIA_GLOBALS)[0] == {"a": 1, "b": 2}


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f8"])
def test_numpy_arrays_and_scalars(dtype, protocol):
    array = (np.arange(24).reshape(2, 3, 4) % 5).astype(dtype)
    sent = [array, array.transpose(2, 0, 1), np.asfortranarray(array), array[:0], array[0, 0, 1:2]]
    for found, wanted in zip(read(sent, protocol), sent, strict=True):
        assert found.dtype == wanted.dtype
        assert not found.flags.writeable or not found.size
        np.testing.assert_array_equal(found, wanted)
    scalar = read(array[0, 0, 3], protocol)
    assert type(scalar) in (bool, int, float)
    assert scalar == array[0, 0, 3]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_snapshot(protocol, tmp_path):
    path = tmp_path / "snapshot.pkl"
    path.write_bytes(hostile.snapshot(protocol))
    content = read_pickle(path, NVIDIA_GLOBALS)
    assert content["training_set_kwargs"] == {"path": "/data", "use_labels": True, "xflip": None}
    generator = content["G_ema"]
    assert (generator.kind, generator.args) == ("torch_utils.persistence", ())
    assert generator.state["class_name"] == "Generator"
    assert "module_src" not in generator.state
    np.testing.assert_array_equal(
        generator.state["state"]["filter"], np.arange(6.0).reshape(2, 3).T
    )
    mapping = generator.state["state"]["_modules"]["mapping"].state["state"]
    assert (mapping["z_dim"], mapping["gain"], mapping["names"]) == (2, 0.5, {"w_avg"})
    assert mapping["_buffers"]["steps"].load() == torch.tensor(3)
    affine = mapping["_modules"]["affine"].state["state"]
    weight = affine["_parameters"]["weight"]
    assert (weight.shape, weight.dtype) == ((3, 2), torch.float32)
    wanted = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(weight.load(), wanted)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_tensorflow_snapshot(protocol, tmp_path):
    path = tmp_path / "stylegan2.pkl"
    path.write_bytes(hostile.tensorflow_snapshot(protocol))
    networks = read_pickle(path, TENSORFLOW_GLOBALS)
    assert [type(network) for network in networks] == [InertObject] * 3
    average = networks[2]
    assert (average.kind, average.state["name"]) == ("dnnlib.tflib.network.Network", "Gs")
    ((name, values),) = average.state["variables"]
    assert (name, values.tolist()) == ("dlatent_avg", [0, 1, 2, 3])


def test_network_by_the_older_constructor():
    content = hostile.call(
        hostile.name("copy_reg", "_reconstructor"),
        hostile.name("dnnlib.tflib.network", "Network"),
        hostile.name("__builtin__", "object"),
        b"N",
    )
    content = hostile.build(content, hostile.constant({"name": "Gs"}))
    network, _ = unpickle(hostile.pickled(content, 2), Path("x"), TENSORFLOW_GLOBALS)
    assert network.state == {"name": "Gs"}


def test_unknown_name_is_named_with_what_is_supported(tmp_path):
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(Path("x")))
    with pytest.raises(CheckpointError, match=r"pathlib.*Path, .*only tensors"):
        read_pickle(path, NVIDIA_GLOBALS)


def random_view(whole: torch.Tensor, chance: np.random.Generator) -> torch.Tensor:
    view = whole
    for _ in range(chance.integers(1, 5)):
        axis = int(chance.integers(view.ndim))
        kind = chance.integers(4)
        if kind == 0:
            view = view.transpose(0, axis)
        elif kind == 1 and view.shape[axis] > 2:
            view = view.narrow(axis, 1, view.shape[axis] - 2)
        elif kind == 2:
            view = view.select(axis, 0).unsqueeze(0) if view.shape[axis] else view
        else:
            view = view.unfold(axis, view.shape[axis], 1).squeeze(axis).contiguous()
    return view


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
)
def test_views_load_as_they_were(dtype):
    whole = (torch.arange(120).reshape(4, 5, 6) % 7).to(dtype)
    raw = memoryview(whole.view(torch.uint8).numpy().tobytes())
    chance = np.random.default_rng(0)
    for _ in range(50):
        view = random_view(whole, chance)
        if view.untyped_storage().data_ptr() != whole.untyped_storage().data_ptr():
            continue
        record = InertTensor(
            Storage(dtype, 120, raw), view.storage_offset(), tuple(view.shape), view.stride()
        )
        found = record.load()
        assert found.is_contiguous()
        assert found.dtype == record.dtype == dtype
        assert record.numel == view.numel()
        assert torch.equal(found, view)


def test_loaded_tensor_owns_its_memory():
    raw = bytearray(16)
    record = InertTensor(Storage(torch.float32, 4, memoryview(raw)), 0, (4,), (1,))
    record.load().fill_(1)
    assert raw == bytes(16)
    assert record.load().tolist() == [0, 0, 0, 0]


def test_bool_tensor_holds_only_0_and_1():
    record = InertTensor(Storage(torch.bool, 3, memoryview(b"\0\1\xfe")), 0, (3,), (1,))
    assert record.load().view(torch.uint8).tolist() == [0, 1, 1]


def test_records_show_themselves_in_one_line():
    assert repr(InertObject("a\nb")) == r"<InertObject a\nb>"
    record = InertTensor(Storage(torch.float16, 4), 0, (2, 2), (2, 1))
    assert repr(record) == "<InertTensor (2, 2) torch.float16>"
