"""Mappers in files of StyleCLIP, of xomyakes/styleclip-gan3 and of our own, sound and spoilt."""

from __future__ import annotations

import json
import math
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from styleatlas.engine.checkpoints.checkpoint import GeneratorCheckpoint
from styleatlas.engine.checkpoints.mapper_checkpoint import header_to_json
from styleatlas.engine.checkpoints.mapper_file import METADATA_KEY
from styleatlas.engine.fallbacks.mapper import MapperRecord, list_mappers, read_mapper
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.networks.mapper import LatentMapper, MapperConfig, MapperGroup
from styleatlas.store.errors import CheckpointError, FingerprintError

from ...checkpoint_files import (
    Config,
    random_tensors,
    rosinality_state,
    small_stylegan2,
    small_stylegan3,
)
from ...memory import growth_of

TWO = small_stylegan2(channels={4: 7, 8: 5, 16: 4, 32: 3, 64: 2})  # 10 rows of width 6
THREE = small_stylegan3(num_layers=9, resolution=64)  # 11 rows of width 6
ROWS = {"course": (0, 4), "medium": (4, 8), "fine": (8, 10)}
ROWS_OF_THREE = {"coarse": (0, 5), "medium": (5, 8), "fine": (8, 11)}


def generator_of(config: Config, seed: int = 0, name: str = "small") -> StyleGANGenerator:
    checkpoint = GeneratorCheckpoint.of(
        Path("small"), config, random_tensors(config, seed), "styleatlas"
    )
    return StyleGANGenerator.of(checkpoint, name, torch.device("cpu"), "float32")


@pytest.fixture(scope="module")
def two() -> StyleGANGenerator:
    return generator_of(TWO)


@pytest.fixture(scope="module")
def three() -> StyleGANGenerator:
    return generator_of(THREE)


def network_state(place: str, width: int = 6, depth: int = 4) -> dict[str, torch.Tensor]:
    """One of StyleCLIP's mappers, as its state dict names it."""
    random = np.random.default_rng(list(place.encode()))
    state = {}
    for layer in range(1, depth + 1):
        for part, shape in (("weight", (width, width)), ("bias", (width,))):
            values = random.normal(size=shape) * 100
            state[f"mapper.{place}.mapping.{layer}.{part}"] = torch.from_numpy(values).float()
    return state


def levels_state(*levels: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for level in levels:
        state |= network_state(f"{level}_mapping")
    return state


def decoder_state(seed: int = 0) -> dict[str, torch.Tensor]:
    state = rosinality_state(TWO, random_tensors(TWO, seed))
    return {f"decoder.{name}": tensor for name, tensor in state.items()}


OPTS = {"description": "a mohawk", "learning_rate": 0.5, "no_fine_mapper": False, "device": "cuda"}


def styleclip_file(path: Path, state: dict[str, torch.Tensor], opts: object = OPTS) -> Path:
    torch.save({"state_dict": state, "opts": opts}, path)
    return path


def formula(state: dict[str, torch.Tensor], place: str, x: torch.Tensor) -> torch.Tensor:
    """StyleCLIP's network in double precision: pixel norm over axis 1, then equalised layers."""
    x = x / torch.sqrt((x**2).mean(dim=1, keepdim=True) + 1e-8)
    for layer in range(1, 5):
        weight = state[f"mapper.{place}.mapping.{layer}.weight"].double() * 0.01
        bias = state[f"mapper.{place}.mapping.{layer}.bias"].double() * 0.01
        x = F.leaky_relu(F.linear(x, weight / math.sqrt(weight.shape[1]), bias), 0.2) * 2**0.5
    return x


def latents(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape))


def residual(path: Path, generator: StyleGANGenerator, x: torch.Tensor) -> torch.Tensor:
    return read_mapper(path, generator).network.double()(x)


def assert_equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def refused(path: Path, generator: StyleGANGenerator, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_mapper(path, generator)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert said.isprintable()
    assert len(said) < len(str(path)) + 600


# StyleCLIP's files


@pytest.mark.parametrize("off", [(), ("course",), ("medium",), ("fine",), ("course", "fine")])
def test_mapper_by_levels_computes_what_styleclip_does(two, tmp_path, off):
    state = levels_state(*[level for level in ROWS if level not in off])
    w = latents(3, 10, 6)
    expected = torch.zeros_like(w)
    for level, (start, stop) in ROWS.items():
        if level not in off:
            expected[:, start:stop] = 0.1 * formula(state, f"{level}_mapping", w[:, start:stop])
    assert_equal(residual(styleclip_file(tmp_path / "x.pt", state), two, w), expected)


def test_single_mapper_computes_what_styleclip_does(two, tmp_path):
    state = network_state("mapping")
    w = latents(2, 10, 6)
    expected = 0.1 * formula(state, "mapping", w)
    assert_equal(residual(styleclip_file(tmp_path / "x.pt", state), two, w), expected)


@pytest.mark.parametrize("with_rgb", [True, False])
def test_mapper_in_style_space_computes_what_styleclip_does(two, tmp_path, with_rgb):
    state: dict[str, torch.Tensor] = {}
    numbers = [i for i in range(len(two.layout)) if with_rgb or i % 3 != 1]  # StyleCLIP's own rule
    for number in reversed(numbers):  # the order in a file says nothing
        state |= network_state(f"mapper_{number}", two.layout.layers[number].size)
    styles = latents(3, two.layout.size)
    expected = torch.zeros_like(styles)
    for number in numbers:
        part = two.layout.layers[number].slice
        expected[:, part] = 0.1 * formula(state, f"mapper_{number}", styles[:, part])
    path = styleclip_file(tmp_path / "x.pt", state)
    assert_equal(residual(path, two, styles), expected)
    config = read_mapper(path, two).network.config
    assert [group.name for group in config.groups] == [two.layout.layers[i].name for i in numbers]


def test_same_names_for_stylegan3_split_elsewhere(three, tmp_path):
    state = levels_state(*ROWS)
    w = latents(2, 11, 6)
    parts = [
        0.1 * formula(state, f"{level}_mapping", w[:, start:stop])
        for level, (start, stop) in zip(ROWS, ROWS_OF_THREE.values(), strict=True)
    ]
    found = residual(styleclip_file(tmp_path / "x.pt", state), three, w)
    assert_equal(found, torch.cat(parts, 1))


def test_options_become_target_and_settings(two, tmp_path):
    odd = {
        "path": Path("/a"),
        "list": [1],
        "nan": math.nan,
        "long": "x" * 5000,
        "none": None,
    }
    plain = {**OPTS, "none": None}
    state = levels_state("course")
    for opts in (OPTS | odd, Namespace(**OPTS, **odd)):
        about = read_mapper(styleclip_file(tmp_path / "x.pt", state, opts), two).about
        assert (about.target, about.neutral, about.settings) == ("a mohawk", "", plain)
        assert (about.generator, about.clip, about.created) == (None, None, "")
        assert about.library == "StyleCLIP"
    for opts in (None, {}, {"description": 7}, {"description": "a\x00b"}):
        assert not read_mapper(styleclip_file(tmp_path / "x.pt", state, opts), two).about.target


def test_state_dict_alone_and_other_keys_are_read(two, tmp_path):
    path = tmp_path / "x.pt"
    torch.save(levels_state("fine") | {"latent_avg": torch.zeros(6)}, path)
    assert [group.name for group in read_mapper(path, two).network.config.groups] == ["fine"]
    torch.save({"state_dict": levels_state("fine")}, path, _use_new_zipfile_serialization=False)
    assert read_mapper(path, two).network.config.groups == (MapperGroup("fine", 8, 10),)


def test_mapper_of_several_gpus_is_the_same(two, tmp_path):
    """DataParallel saves `module.` before every name."""
    state = levels_state("course", "medium", "fine") | decoder_state()
    path = tmp_path / "x.pt"
    one = read_mapper(styleclip_file(path, state), two)
    parallel = {f"module.{name}": tensor for name, tensor in state.items()}
    other = read_mapper(styleclip_file(path, parallel), two)
    assert other.about == one.about
    x = latents(2, 10, 6)
    assert torch.equal(other.network.double()(x), one.network.double()(x))


def test_decoder_tells_the_generator_whatever_its_average(two, tmp_path):
    """The file lacks the average w, which counts for a generator's identity."""
    path = styleclip_file(tmp_path / "x.pt", levels_state("course") | decoder_state())
    assert read_mapper(path, two).about.generator == two.identity
    other = generator_of(TWO, seed=1, name="other")
    with pytest.raises(FingerprintError) as caught:
        read_mapper(path, other)
    assert 'trained with "the decoder in x.pt" (' in str(caught.value)
    assert f"this generator is {other.identity}" in str(caught.value)


def test_generator_of_another_width_is_refused_by_its_decoder(tmp_path):
    path = styleclip_file(tmp_path / "x.pt", levels_state("course") | decoder_state())
    wider = generator_of(small_stylegan2(w_dim=8), name="wider")
    with pytest.raises(FingerprintError, match='this generator is "wider"'):
        read_mapper(path, wider)


def test_decoder_that_is_no_generator_leaves_the_shapes_to_tell(two, tmp_path):
    spoilt = decoder_state()
    spoilt["decoder.conv1.conv.weight"] = torch.zeros(1)
    path = styleclip_file(tmp_path / "x.pt", levels_state("course") | spoilt)
    assert read_mapper(path, two).about.generator is None
    path = styleclip_file(tmp_path / "x.pt", network_state("course_mapping", 512))
    refused(
        path, two, r"course_mapping\.mapping\.1\.weight has shape \(512, 512\), .* need \(6, 6\)"
    )


def changed(**changes: object) -> dict[str, object]:
    """A mapper by levels with some tensors replaced, and without those whose new value is None."""
    names = {name.replace("__", "."): value for name, value in changes.items()}
    return {k: v for k, v in (levels_state(*ROWS) | names).items() if v is not None}


COURSE = "mapper__course_mapping__mapping__"
BAD_STATES: dict[str, tuple[dict[str, object], str]] = {
    "no bias": (changed(**{f"{COURSE}2__bias": None}), "lacks weight or bias of layer 2 of group"),
    "no first layer": (
        changed(**{f"{COURSE}1__bias": None, f"{COURSE}1__weight": None}),
        "lacks weight or bias of layer 1 of group coarse",
    ),
    "one network deeper": (
        changed(**{f"{COURSE}5__bias": torch.zeros(6), f"{COURSE}5__weight": torch.zeros(6, 6)}),
        "has networks of different depths",
    ),
    "unknown tensor": (changed(mapper__attention=torch.zeros(1)), r"unknown tensor mapper\.atten"),
    "a line of its own": (
        changed(**{"mapper.\n": torch.zeros(1)}),
        r"unknown tensor 'mapper\.\\n'",
    ),
    "another bias": (changed(**{f"{COURSE}2__bias": torch.zeros(7)}), r"2\.bias has shape \(7,\)"),
    "whole numbers": (
        changed(**{f"{COURSE}2__bias": torch.zeros(6).int()}),
        r"2\.bias has type torch\.int32 where a float is needed",
    ),
    "text": (changed(**{f"{COURSE}2__bias": "x"}), r"2\.bias is x where a tensor is needed"),
    "NaN": (changed(**{f"{COURSE}2__bias": torch.full((6,), math.nan)}), "holds NaN or infinity"),
    "infinity": (
        changed(**{f"{COURSE}2__bias": torch.full((6,), 1e99, dtype=torch.float64)}),
        "holds NaN or infinity",
    ),
    "two kinds": (
        levels_state(*ROWS) | network_state("mapping"),
        "mixes networks of the kinds level, single",
    ),
    "layer of styles too far": (
        network_state("mapper_14", 2),
        "is of a layer 14 of styles that this generator does not have",
    ),
    "layer of styles twice": (
        network_state("mapper_0", 7) | network_state("mapper_00", 7),
        "groups must be apart",
    ),
    "no tensors": ({"decoder.x": torch.zeros(1)}, "no latent mapper; mappers are read from"),
    "33 layers": (network_state("mapping", depth=33), "depth must be 1 to 32"),
}


@pytest.mark.parametrize("name", BAD_STATES)
def test_mapper_that_styleclip_did_not_write_is_refused(two, tmp_path, name):
    state, message = BAD_STATES[name]
    refused(styleclip_file(tmp_path / "x.pt", state), two, message)


def test_mapper_of_rows_or_styles_that_are_not_there_is_refused(three, tmp_path):
    small = generator_of(small_stylegan2())
    path = styleclip_file(tmp_path / "x.pt", levels_state(*ROWS))
    refused(path, small, "edits w from row 8 on, and this generator has 6")
    path = styleclip_file(tmp_path / "x.pt", network_state("mapper_0", 4))
    refused(path, three, "is of a layer 0 of styles that this generator does not have")


# Modules pickled whole


class _PixelNorm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class _MapperLayer(nn.Module):
    def __init__(self, dim: int, lr_mul: float = 0.01) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, dim) / lr_mul)
        self.bias = nn.Parameter(torch.randn(dim))
        self.scale, self.lr_mul = lr_mul / math.sqrt(dim), lr_mul

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = (x @ self.weight.T) * self.scale + self.bias * self.lr_mul
        return F.leaky_relu(y, 0.2) * math.sqrt(2)


class _LayersGroup(nn.Module):
    def __init__(self, dim: int, depth: int = 4) -> None:
        super().__init__()
        self.latent_dim, self.num_layers = dim, depth
        self.mapper = nn.Sequential(_PixelNorm(), *[_MapperLayer(dim) for _ in range(depth)])


class _LatentMapper(nn.Module):
    def __init__(self, dim: int = 6, levels: tuple[str, ...] = tuple(ROWS_OF_THREE)) -> None:
        super().__init__()
        self.latent_dim = dim
        for level in ROWS_OF_THREE:
            setattr(self, f"edit_{level}", level in levels)
            if level in levels:
                setattr(self, f"{level}_mapper", _LayersGroup(dim))


FOREIGN_CLASSES = {
    "src.mapper.mapper.LatentMapper": _LatentMapper,
    "src.mapper.layers_group.LayersGroup": _LayersGroup,
    "src.mapper.layers_group.PixelNorm": _PixelNorm,
    "src.mapper.layer.MapperLayer": _MapperLayer,
}


@contextmanager
def foreign_classes() -> Iterator[None]:
    """The classes of that project's modules, importable during a dump only."""
    names = {name.rpartition(".")[0] for name in FOREIGN_CLASSES} | {"src", "src.mapper"}
    assert not names & sys.modules.keys()
    sys.modules |= {name: ModuleType(name) for name in names}
    before = {kind: (kind.__module__, kind.__qualname__) for kind in FOREIGN_CLASSES.values()}
    for place, kind in FOREIGN_CLASSES.items():
        kind.__module__, _, kind.__qualname__ = place.rpartition(".")
        setattr(sys.modules[kind.__module__], kind.__qualname__, kind)
    try:
        yield
    finally:
        for kind, (module, name) in before.items():
            kind.__module__, kind.__qualname__ = module, name
        for name in names:
            del sys.modules[name]


def module_file(
    path: Path, spoil: Callable[[_LatentMapper], object] = lambda module: None, **options: object
) -> tuple[Path, _LatentMapper]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = _LatentMapper(**options)
    spoil(module)
    with foreign_classes():
        torch.save(module, path)
    return path, module


@pytest.mark.parametrize("levels", [tuple(ROWS_OF_THREE), ("medium",), ("coarse", "fine")])
def test_pickled_module_computes_what_it_did_and_imports_nothing(three, tmp_path, levels):
    path, module = module_file(tmp_path / "x.pt", levels=levels)
    w = latents(2, 11, 6)
    expected = torch.zeros_like(w)
    module.double()
    for level in levels:
        start, stop = ROWS_OF_THREE[level]
        with torch.no_grad():
            expected[:, start:stop] = getattr(module, f"{level}_mapper").mapper(w[:, start:stop])
    modules = set(sys.modules)
    found = read_mapper(path, three)
    assert set(sys.modules) == modules
    assert "src" not in sys.modules
    # Its scale is a double of its own, not ours: so equal but for rounding.
    torch.testing.assert_close(found.network.double()(w), expected, rtol=1e-10, atol=1e-10)
    assert found.network.config.scale == 1
    assert found.about == MapperRecord(library="styleclip-gan3")


def without_layers(module: _LatentMapper) -> None:
    for level in ROWS_OF_THREE:
        del getattr(module, f"{level}_mapper").mapper[1:]


def first_layer(module: _LatentMapper) -> _MapperLayer:
    return module.coarse_mapper.mapper[1]


BAD_MODULES: dict[str, tuple[Callable[[_LatentMapper], object], str]] = {
    "no layers": (without_layers, "has no layers, or layers of different learning rates"),
    "nothing": (
        lambda m: m.coarse_mapper.mapper.__delitem__(slice(None)),
        "the norm of coarse_mapp",
    ),
    "no norm": (lambda m: m.coarse_mapper.mapper.__delitem__(0), "the norm of coarse_mapper"),
    "two norms": (
        lambda m: m.coarse_mapper.mapper.__setitem__(2, _PixelNorm()),
        r"another kind of module where coarse_mapper\.2 should be src\.mapper\.layer\.MapperLayer",
    ),
    "another part": (lambda m: m.add_module("extra", _PixelNorm()), "has an unknown part extra"),
    "part without a network": (
        lambda m: m.coarse_mapper.__delattr__("mapper"),
        "where coarse_mapper should be torch.nn.modules.container.Sequential",
    ),
    "another scale": (
        lambda m: setattr(first_layer(m), "scale", 1.0),
        r"layer coarse_mapper\.1 whose scale is not lr_mul / sqrt",
    ),
    "scale of text": (lambda m: setattr(first_layer(m), "scale", "1"), "whose scale is not lr_mul"),
    "no bias": (
        lambda m: m.coarse_mapper.mapper[1].__delattr__("bias"),
        r"has a layer coarse_mapper\.1 without weight and bias",
    ),
    "learning rates that differ": (
        lambda m: m.coarse_mapper.mapper.__setitem__(1, _MapperLayer(6, 0.1)),
        "layers of different learning rates",
    ),
    "NaN": (lambda m: first_layer(m).bias.data.fill_(math.nan), "holds NaN or infinity"),
}


@pytest.mark.parametrize("name", BAD_MODULES)
def test_module_of_another_make_is_refused(three, tmp_path, name):
    spoil, message = BAD_MODULES[name]
    refused(module_file(tmp_path / "x.pt", spoil)[0], three, message)


def test_module_of_another_width_is_refused(three, tmp_path):
    path, _ = module_file(tmp_path / "x.pt", dim=8)
    refused(path, three, r"coarse_mapper\.1\.weight has shape \(8, 8\), .* need \(6, 6\)")


def test_module_with_layers_of_other_classes_is_refused(three, tmp_path):
    path, _ = module_file(tmp_path / "x.pt", lambda m: m.add_module("extra", nn.Linear(2, 2)))
    refused(path, three, r"asks for the Python object torch\.nn\.modules\.linear\.Linear")


def test_library_lists_foreign_mappers_unread(tmp_path):
    state = levels_state("course", "fine") | decoder_state()
    styleclip_file(tmp_path / "mohawk.pt", state)
    styleclip_file(tmp_path / "styles.pt", network_state("mapper_3", 5), None)
    module_file(tmp_path / "whole.pt")
    told = {x["name"]: (x["target"], x["space"], x["groups"]) for x in list_mappers(tmp_path)}
    assert told == {
        "mohawk.pt": ("a mohawk", "w+", ["coarse", "fine"]),
        "styles.pt": ("", "s", ["style 3"]),
        "whole.pt": ("", "w+", ["coarse", "medium", "fine"]),
    }


# Files of our own

OWN = MapperConfig(shape=(10, 6), groups=(MapperGroup("coarse", 0, 4),), depth=2)
RECORD = MapperRecord(
    library="styleatlas test", target="a hat", created="2026-11-22T05:40:00+00:00"
)
HEADER = json.loads(header_to_json(OWN, RECORD))


def own_file(path: Path, header: object = HEADER, **tensors: torch.Tensor | None) -> Path:
    state = LatentMapper(OWN).state_dict() | {k.replace("__", "."): t for k, t in tensors.items()}
    text = header if isinstance(header, str) else json.dumps(header)
    save_file({k: t for k, t in state.items() if t is not None}, path, {METADATA_KEY: text})
    return path


def header_with(place: str, value: object) -> dict[str, object]:
    """The header with one value replaced, or removed where it is `...`."""
    header = json.loads(json.dumps(HEADER))
    *way, last = place.split(".")
    target = header
    for step in way:
        target = target[step]
    target[last] = value
    if value is ...:
        del target[last]
    return header


def test_own_file_is_read(two, tmp_path):
    assert read_mapper(own_file(tmp_path / "x.safetensors"), two).about == RECORD


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("version", 2, "is a mapper of version 2, and this library reads version 1; update"),
        ("version", ..., "'version'"),
        ("surprise", 1, "surprise is no field of a mapper"),
        ("network", [], "does not describe a latent mapper"),
        ("network.depth", 0, "depth must be 1 to 32"),
        ("network.shape", 6, "does not describe a latent mapper"),
        ("network.shape", [10, 10**12], "shape must be"),
        ("network.groups", [{"name": "coarse"}], "does not describe a latent mapper"),
        ("network.groups", None, "does not describe a latent mapper"),
        ("network.scale", "0.1", "scale must be a number"),
        ("network.surprise", 1, "unexpected keyword argument 'surprise'"),
        ("record.target", "a\nhat\x1b", "holds control characters"),
        ("record.target", 7, "target: must be a text"),
        ("record.created", "soon", "created: must be ISO 8601"),
        ("record.library", "a\nb", "library: must be a printable text"),
        ("record.settings", [1], "does not describe a latent mapper"),
        ("record.generator", {"name": "x"}, "does not describe a latent mapper"),
        ("record.generator", {"name": "\n" * 10**5, "sha256": "x", "sizes": {}}, r"identity '\\+n"),
        ("record.clip", "x", "does not describe a latent mapper"),
        ("record.clip", ..., "'clip'"),
    ],
)
def test_damaged_header_is_refused(two, tmp_path, place, value, message):
    path = own_file(tmp_path / "x.safetensors", header_with(place, value))
    refused(path, two, message)
    assert [set(entry) for entry in list_mappers(tmp_path)] == [{"name", "problem"}]


def test_name_of_a_model_cannot_write_lines_of_its_own(two, tmp_path):
    model = {"name": "a\n\x1b[2J" * 1000, "sha256": "0" * 64, "sizes": {}}
    path = own_file(tmp_path / "x.safetensors", header_with("record.generator", model))
    with pytest.raises(FingerprintError, match=r"trained with \"a\\n\\x1b\[2Ja") as caught:
        read_mapper(path, two)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[]", "7", "{", "null", "NaN", '{"version": NaN}', "9" * 9999, "x" * 2**21],
    ids=lambda text: text[:2],
)
def test_header_that_is_no_json_object_is_refused(two, tmp_path, text):
    refused(own_file(tmp_path / "x.safetensors", text), two, "does not describe a latent mapper")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"groups__0__1__bias": None}, r"missing groups\.0\.1\.bias"),
        ({"surprise": torch.zeros(1)}, "surplus surprise"),
        ({"groups__0__1__bias": torch.zeros(7)}, r"has shape \(7,\) where \(6,\) is needed"),
        ({"groups__0__1__bias": torch.zeros(6).int()}, "has type torch.int32 where a float"),
        ({"groups__0__1__bias": torch.full((6,), math.inf)}, "holds NaN or infinity"),
        (
            {"groups__0__1__bias": torch.full((6,), 1e99, dtype=torch.float64)},
            "holds NaN or infinity",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(two, tmp_path, tensors, message):
    refused(own_file(tmp_path / "x.safetensors", **tensors), two, message)


def test_header_that_claims_a_giant_network_allocates_nothing(two, tmp_path):
    path = own_file(tmp_path / "x.safetensors", header_with("network.hidden", 1_000_000))
    message = r"bias has shape \(6,\) where \(1000000,\) is needed"
    assert growth_of(lambda: refused(path, two, message)) < 100e6


@pytest.mark.parametrize("keep", [0, 4, 8, 9, 100, -1])
def test_truncated_file_is_refused(two, tmp_path, keep):
    path = own_file(tmp_path / "x.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, two, "is empty|is no file of torch.save|is not a readable safetensors file")


def test_what_is_no_mapper_is_refused(two, tmp_path):
    path = tmp_path / "x"
    save_file({"x": torch.zeros(1)}, path)
    refused(path, two, "holds tensors of another program, no latent mapper")
    save_file({"x": torch.zeros(1)}, path, {"styleatlas": "{}"})
    refused(path, two, "holds a generator, no latent mapper")
    for content, what in (
        ([1], "a list"),
        ({}, "a dict"),
        (Namespace(x=1), "an object of argparse.Namespace"),
    ):
        torch.save(content, path)
        refused(path, two, f"holds {what}, no latent mapper")
    path.write_bytes(b"\x80\x04N.")
    refused(path, two, "is no file of torch.save or safetensors")
    refused(tmp_path, two, "is no regular file")
    refused(tmp_path / "none", two, "no such file")


class Harm:
    def __reduce__(self) -> object:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("place", ["opts", "state_dict", "module"])
def test_pickle_that_runs_code_is_refused(two, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pt"
    if place == "module":
        module_file(path, lambda module: setattr(module, "harm", Harm()))
    else:
        torch.save({"state_dict": levels_state("fine"), "opts": OPTS} | {place: Harm()}, path)
    refused(
        path, two, rf"asks for the Python object {os.mkdir.__module__}\.mkdir, which is not supp"
    )
    assert not (tmp_path / "harm").exists()
