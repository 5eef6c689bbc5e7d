"""Mappers as people hold them: their networks, groups, records and libraries."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from styleatlas.engine.fallbacks.mapper import (
    Mapper,
    MapperRecord,
    find_mapper,
    list_mappers,
    read_mapper,
    write_mapper,
)
from styleatlas.engine.models.load import load_generator
from styleatlas.engine.networks.mapper import LatentMapper, MapperConfig, MapperGroup, split_groups
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.engine.networks.stylegan3 import stylegan3_config
from styleatlas.store import registry
from styleatlas.store.errors import (
    AtlasFormatError,
    CheckpointError,
    FingerprintError,
    OptionError,
    OutputError,
    PromptError,
)
from styleatlas.store.fingerprint import UNRECORDED, ModelIdentity
from styleatlas.store.layout import StyleLayout
from styleatlas.store.registry import EMBEDDED, Bundle

from ...near import assert_near

GROUPS = (MapperGroup("coarse", 0, 2), MapperGroup("fine", 3, 4))
CONFIG = MapperConfig(shape=(4, 6), groups=GROUPS)
CLIP = ModelIdentity("clip", "c" * 64, {})
OTHER = ModelIdentity("other", "0" * 64, {})


def random_mapper(
    config: MapperConfig, record: MapperRecord | None = None, seed: int = 0
) -> Mapper:
    """A mapper that moves, unlike an untrained one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = LatentMapper(config)
        for parameter in network.parameters():
            parameter.data.normal_(std=1 / config.lr)
    return Mapper(network.requires_grad_(False), record or MapperRecord(library="test"))


def mapper_of(generator, /, seed: int = 0, **record) -> Mapper:
    """A mapper in w+ for a generator of the tests."""
    fields = {
        "library": "styleatlas test",
        "neutral": "a face",
        "target": "a sad face",
        "clip": CLIP,
        "settings": {"steps": 3},
    }
    fields |= {"generator": generator.identity, "created": "2026-11-22T05:40:00+00:00", **record}
    groups = split_groups(generator.layout, generator.rows)
    shape = tuple(generator.map(torch.zeros(1, generator.z_dim)).shape[1:])
    config = MapperConfig(shape=shape, groups=groups, hidden=3, depth=2)
    return random_mapper(config, MapperRecord(**fields), seed)


def latents(n: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(n, *shape)))


def by_hand(mapper: LatentMapper, group: int, x: np.ndarray, axis: int | None) -> np.ndarray:
    """The network of one group, in numpy."""
    if axis is not None:
        x = x / np.sqrt(np.square(x).mean(axis, keepdims=True) + 1e-8)
    state = {name: tensor.numpy() for name, tensor in mapper.state_dict().items()}
    for layer in range(mapper.config.depth):
        weight, bias = (state[f"groups.{group}.{layer}.{part}"] for part in ("weight", "bias"))
        x = x @ weight.T * (mapper.config.lr / math.sqrt(weight.shape[1])) + bias * mapper.config.lr
        x = np.where(x > 0, x, 0.2 * x) * math.sqrt(2)
    return x


# The network


@pytest.mark.parametrize(("norm", "axis"), [("features", 2), ("rows", 1), ("none", None)])
def test_groups_of_rows_are_mapped_and_the_rest_is_left(norm, axis):
    config = replace(CONFIG, norm=norm, hidden=5, scale=0.3)
    mapper = random_mapper(config).network.double()
    w = latents(3, 4, 6)
    residual = mapper(w).numpy()
    for group, (start, stop) in enumerate([(0, 2), (3, 4)]):
        expected = 0.3 * by_hand(mapper, group, w[:, start:stop].numpy(), axis)
        np.testing.assert_allclose(residual[:, start:stop], expected, 1e-12, 1e-12)
    assert (residual[:, 2] == 0).all()


def test_groups_of_channels_are_mapped_and_the_rest_is_left():
    groups = (MapperGroup("b4.conv1", 0, 3), MapperGroup("b8.conv0", 5, 9))
    mapper = random_mapper(MapperConfig(shape=(10,), groups=groups)).network.double()
    styles = latents(3, 10)
    residual = mapper(styles).numpy()
    for group, (start, stop) in enumerate([(0, 3), (5, 9)]):
        expected = 0.1 * by_hand(mapper, group, styles[:, start:stop].numpy(), 1)
        np.testing.assert_allclose(residual[:, start:stop], expected, 1e-12, 1e-12)
    assert (residual[:, [3, 4, 9]] == 0).all()


def test_untrained_mapper_changes_nothing_and_can_learn():
    mapper = LatentMapper(CONFIG)
    w = latents(2, 4, 6).float()
    residual = mapper(w)
    assert not residual.any()
    (residual - 1).square().sum().backward()
    for group in mapper.groups:
        assert group[-1].weight.grad.abs().sum() > 0
    # An equalised layer begins with outputs of the size of its inputs.
    hidden = mapper.groups[0][0](torch.randn(1000, 6))
    assert 0.2 < hidden.std() < 5


def test_gradients_are_those_of_the_formula():
    mapper = random_mapper(replace(CONFIG, norm="rows")).network.double()
    w = latents(1, 4, 6).requires_grad_()
    assert torch.autograd.gradcheck(mapper, w)


@pytest.mark.parametrize(
    "config",
    [CONFIG, replace(CONFIG, hidden=9, depth=1), MapperConfig(shape=(10,), groups=GROUPS, depth=3)],
)
def test_shapes_are_those_of_the_network(config):
    state = LatentMapper(config).state_dict()
    assert config.shapes() == {name: tuple(tensor.shape) for name, tensor in state.items()}


def test_latents_of_another_shape_are_refused():
    with pytest.raises(OptionError, match=r"have shape \(2, 5, 6\); this mapper takes \(n, 4, 6\)"):
        LatentMapper(CONFIG)(torch.zeros(2, 5, 6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (4, 6, 2)}, "shape must be"),
        ({"shape": ()}, "shape must be"),
        ({"shape": (4, 0)}, "shape must be"),
        ({"shape": (4, 10**9)}, "shape must be"),
        ({"shape": (4, 6.0)}, "shape must be"),
        ({"norm": "batch"}, "norm must be features or none, or in w+"),
        ({"norm": ["rows"]}, "norm must be"),
        ({"norm": "rows", "shape": (4,)}, "norm must be"),
        ({"depth": 0}, "depth must be 1 to 32"),
        ({"depth": True}, "depth must be 1 to 32"),
        ({"hidden": 0}, "hidden must be"),
        ({"scale": 0}, "scale must be a number from 1e-06 to 1e"),
        ({"scale": math.nan}, "scale must be a number from 1e-06 to 1e"),
        ({"scale": 10**400}, "scale must be a number from 1e-06 to 1e"),
        ({"lr": "0.01"}, "lr must be a number from 1e-06 to 1e"),
        ({"groups": ()}, "groups must be 1 to 256 of them"),
        ({"groups": GROUPS[::-1]}, "groups must be apart, rising and within 0 to 4"),
        ({"groups": (MapperGroup("all", 0, 5),)}, "groups must be apart"),
        ({"groups": (MapperGroup("all", -1, 2),)}, "groups must be apart"),
        ({"groups": (MapperGroup("all", 2, 2),)}, "groups must be apart"),
        ({"groups": (MapperGroup("all", 0.0, 2),)}, "groups must be apart"),
        ({"groups": (GROUPS[0], MapperGroup("next", 1, 3))}, "groups must be apart"),
        ({"groups": (GROUPS[0], MapperGroup("coarse", 2, 3))}, "groups must be of different names"),
        ({"groups": (MapperGroup("", 0, 2),)}, "a group's name must be"),
        ({"groups": (MapperGroup(7, 0, 2),)}, "a group's name must be"),
    ],
    ids=str,
)
def test_impossible_configuration_is_refused(change, message):
    with pytest.raises(OptionError, match=f"^mapper: {message.replace('+', '.')}"):
        replace(CONFIG, **change)


# Groups by the generator's layers


def groups_of(config) -> dict[str, tuple[int, int]]:
    layers = config.styled_layers()
    layout = StyleLayout.of((x.name, x.kind, x.resolution, x.size) for x in layers)
    found = split_groups(layout, [layer.row for layer in layers])
    return {group.name: (group.start, group.stop) for group in found}


def stylegan2(resolution: int, **changes) -> StyleGAN2Config:
    channels = {4 * 2**i: 4 for i in range(resolution.bit_length() - 2)}
    return StyleGAN2Config(z_dim=4, w_dim=4, mapping_layers=1, channels=channels, **changes)


def test_groups_at_1024_pixels_are_those_of_styleclip():
    found = groups_of(stylegan2(1024))
    assert found == {"coarse": (0, 4), "medium": (4, 8), "fine": (8, 18)}


def test_row_of_a_block_without_torgb_counts_for_the_next_block():
    found = groups_of(stylegan2(1024, architecture="resnet"))
    assert found == {"coarse": (0, 3), "medium": (3, 7), "fine": (7, 18)}


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [
        (64, {"coarse": (0, 4), "medium": (4, 8), "fine": (8, 10)}),
        (32, {"coarse": (0, 4), "medium": (4, 8)}),
        (8, {"coarse": (0, 4)}),
    ],
)
def test_groups_at_other_sizes_have_no_empty_ones(resolution, expected):
    assert groups_of(stylegan2(resolution)) == expected


@pytest.mark.parametrize("options", [{}, {"channel_base": 65536, "channel_max": 1024}])
def test_groups_of_stylegan3_are_those_in_use(options):
    found = groups_of(stylegan3_config(resolution=1024, **options))
    assert found == {"coarse": (0, 5), "medium": (5, 8), "fine": (8, 16)}


def test_generator_tells_the_row_of_each_layer(make_network, stylegan2):
    w = torch.randn(1, 4, 6)
    before = stylegan2.styles(w)
    for row in range(4):
        moved = w.clone()
        moved[:, row] += 1
        changed = (stylegan2.styles(moved) != before)[0]
        for layer, fed in zip(stylegan2.layout, stylegan2.rows, strict=True):
            assert bool(changed[layer.slice].any()) == (fed == row), layer.name


# Editing


def test_edit_in_w_moves_the_styles_of_w(stylegan2):
    mapper = mapper_of(stylegan2)
    w = stylegan2.map(torch.randn(2, 6))
    styles = stylegan2.styles(w)
    edited = mapper.edited(stylegan2, styles, w)
    assert_near(edited, stylegan2.styles(w + mapper.network(w)))
    half = mapper.edited(stylegan2, styles, w, 0.5)
    torch.testing.assert_close(half, (styles + edited) / 2)  # the affine maps are affine
    assert_near(mapper.edited(stylegan2, styles, w, 0.0), styles)


def test_edit_in_style_space_needs_no_w(generator):
    config = MapperConfig(shape=(generator.layout.size,), groups=(MapperGroup("b4.conv1", 2, 5),))
    mapper = random_mapper(config)
    styles = generator.styles(generator.map(torch.randn(3, 5)))
    edited = mapper.edited(generator, styles, None, -2.0)
    assert_near(edited, styles - 2 * mapper.network(styles))
    assert torch.equal(edited[:, 5:], styles[:, 5:])


def test_edit_without_what_it_needs_is_refused(stylegan2):
    mapper = mapper_of(stylegan2)
    styles = torch.zeros(1, stylegan2.layout.size)
    with pytest.raises(OptionError, match=r"are of styles alone; a mapper in w\+ needs w"):
        mapper.edited(stylegan2, styles, None)
    for strength in (math.nan, math.inf):
        with pytest.raises(OptionError, match=f"strength {strength}: must be a finite number"):
            mapper.edited(stylegan2, styles, torch.zeros(1, 4, 6), strength)


# Records


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"settings": {"x": math.nan}}, AtlasFormatError, "settings"),
        ({"measured": {"x": object()}}, AtlasFormatError, "measured"),
        ({"created": "yesterday"}, AtlasFormatError, "created"),
        ({"created": "2026-11-22T05:40:00+02:00"}, AtlasFormatError, "created"),
        ({"library": ""}, AtlasFormatError, "library"),
        ({"target": 7}, AtlasFormatError, "target: must be a text"),
        ({"target": "a\x00face"}, PromptError, "control characters"),
        ({"neutral": "x" * 2000}, PromptError, "shorten it"),
    ],
)
def test_impossible_record_is_refused(fields, error, message):
    with pytest.raises(error, match=message):
        MapperRecord(**{"library": "test", **fields})


def test_foreign_models_are_refused_by_name(stylegan2):
    record = mapper_of(stylegan2).about
    record.require_generator(stylegan2.identity)
    record.require_generator(replace(OTHER, tuned_from=stylegan2.identity.sha256))
    record.require_clip(CLIP)
    MapperRecord(library="test").require_generator(OTHER)
    MapperRecord(library="test").require_clip(OTHER)
    tiny = stylegan2.identity.sha256[:12]
    with pytest.raises(FingerprintError, match=rf'with "tiny" \({tiny}\), this generator is "o'):
        record.require_generator(OTHER)
    with pytest.raises(FingerprintError, match=r'with "clip" \(c{12}\), this CLIP is "other"'):
        record.require_clip(OTHER)


# Files of our own


def test_written_mapper_is_read_bit_for_bit(stylegan2, tmp_path):
    path = tmp_path / "sad.safetensors"
    mapper = mapper_of(stylegan2, measured={"shift": 0.125})
    write_mapper(path, mapper)
    found = read_mapper(path, stylegan2)
    assert found.about == mapper.about
    assert found.network.config == mapper.network.config
    assert not found.network.training
    assert not any(parameter.requires_grad for parameter in found.network.parameters())
    wanted = mapper.network.state_dict()
    state = found.network.state_dict()
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)
    write_mapper(tmp_path / "again.safetensors", found)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_mapper_of_another_generator_is_refused(stylegan2, generator, tmp_path):
    path = tmp_path / "x.safetensors"
    write_mapper(path, mapper_of(stylegan2))
    with pytest.raises(FingerprintError, match=r'trained with "tiny" .* this generator is "co'):
        read_mapper(path, generator)
    write_mapper(path, mapper_of(stylegan2, generator=None))  # only shapes are left to tell
    with pytest.raises(CheckpointError, match=r"takes latents of shape \(4, 6\), .* are \(2, 5\)"):
        read_mapper(path, generator)


def test_mapper_that_cannot_be_kept_is_refused(stylegan2, tmp_path):
    mapper = mapper_of(stylegan2)
    with pytest.raises(OutputError, match=r"must end in \.safetensors"):
        write_mapper(tmp_path / "x.pt", mapper)
    with pytest.raises(OutputError, match="settings take more than"):
        write_mapper(tmp_path / "x.safetensors", mapper_of(stylegan2, settings={"x": "x" * 2**20}))
    mapper.network.groups[0][0].bias[0] = math.nan
    with pytest.raises(CheckpointError, match=r"groups\.0\.0\.bias holds NaN"):
        write_mapper(tmp_path / "x.safetensors", mapper)
    assert not list(tmp_path.iterdir())


def test_mapper_of_the_embedded_generator_edits_its_pictures(tmp_path):
    generator = load_generator(EMBEDDED.name, "cpu")
    path = tmp_path / "x.safetensors"
    write_mapper(path, mapper_of(generator))
    mapper = read_mapper(path, generator)
    assert [group.name for group in mapper.network.config.groups] == ["coarse", "medium", "fine"]
    w = generator.map(torch.randn(1, generator.z_dim, generator=torch.manual_seed(0)))
    styles = generator.styles(w)
    images = generator.render(mapper.edited(generator, styles, w))
    assert images.isfinite().all()
    assert not torch.equal(images, generator.render(styles))


# Libraries


@pytest.fixture
def library(stylegan2, tmp_path):
    """A folder with two mappers of one prompt, one of another, and what is no mapper."""
    folder = tmp_path / "mappers"
    folder.mkdir()
    write_mapper(folder / "old.safetensors", mapper_of(stylegan2))
    newer = mapper_of(stylegan2, created="2026-11-23T05:40:00Z", neutral="A  Face")
    write_mapper(folder / "new.safetensors", newer)
    write_mapper(folder / "glad.safetensors", mapper_of(stylegan2, target="a glad face"))
    save_file({"x": torch.zeros(1)}, folder / "other.safetensors")
    (folder / "page.pt").write_text("<html>")
    (folder / "README.md").write_text("no mapper")
    return folder


def test_library_is_listed_without_reading_tensors(library, stylegan2, monkeypatch):
    def read(*args, **options):
        raise AssertionError("tensors were read")

    monkeypatch.setattr("styleatlas.engine.checkpoints.mapper_file.read_safetensors", read)
    listed = list_mappers(library)
    names = ["glad.safetensors", "new.safetensors", "old.safetensors", "other.safetensors"]
    assert [entry["name"] for entry in listed] == [*names, "page.pt"]
    assert listed[0] == {
        "name": "glad.safetensors",
        "bytes": (library / "glad.safetensors").stat().st_size,
        "target": "a glad face",
        "neutral": "a face",
        "created": "2026-11-22T05:40:00+00:00",
        "space": "w+",
        "groups": ["coarse"],
        "generator": {"name": "tiny", "sha256": stylegan2.identity.sha256[:12]},
        "clip": {"name": "clip", "sha256": "c" * 12, "configuration": UNRECORDED},
    }
    assert [entry.keys() for entry in listed[3:]] == [{"name", "problem"}] * 2
    assert "holds tensors of another program, no latent mapper" in listed[3]["problem"]
    assert "is no file of torch.save or safetensors" in listed[4]["problem"]
    json.dumps(listed, allow_nan=False)


def test_newest_mapper_of_the_prompt_and_the_models_is_found(library, stylegan2):
    found = find_mapper(library, stylegan2.identity, CLIP, "a face", " A sad  face")
    assert found == library / "new.safetensors"
    found.unlink()
    found = find_mapper(library, stylegan2.identity, CLIP, "a face", "a sad face")
    assert found == library / "old.safetensors"
    assert find_mapper(library, stylegan2.identity, CLIP, "a face", "a sad") is None
    assert find_mapper(library, OTHER, CLIP, "a face", "a sad face") is None
    tuned = replace(OTHER, tuned_from=stylegan2.identity.sha256)
    assert find_mapper(library, tuned, CLIP, "a face", "a sad face") == found
    assert find_mapper(library, stylegan2.identity, OTHER, "a face", "a sad face") is None


def test_mapper_of_a_clip_that_saw_images_alike_is_found(library, stylegan2, monkeypatch):
    shipped = Bundle("tiny", *[library] * 4, ("{}",), same_images=(CLIP.sha256, OTHER.sha256))
    monkeypatch.setattr(registry, "BUNDLES", {"tiny": shipped})
    found = find_mapper(library, stylegan2.identity, OTHER, "a face", "a sad face")
    assert found == library / "new.safetensors"
    assert find_mapper(library, OTHER, OTHER, "a face", "a sad face") is None


def test_library_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no such folder of mappers"):
        list_mappers(tmp_path / "none")
    with pytest.raises(CheckpointError, match="no such folder of mappers"):
        find_mapper(tmp_path / "none", OTHER, CLIP, "a", "b")
