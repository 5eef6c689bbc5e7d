"""Atlases of tables that other programs drew."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from styleatlas import Choice, load_encoder
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.steering.direction import find_direction
from styleatlas.precompute.imported import Table, imported_atlas
from styleatlas.precompute.reports import imported_doubt, imported_text
from styleatlas.store.errors import FingerprintError, InputError
from styleatlas.store.fingerprint import ModelIdentity

from .. import table_files as files
from ..checkpoint_files import small_stylegan2, small_stylegan3
from ..conftest import CountableEncoder, CountableGenerator, sha256_of

TEMPLATES = ("{}",)


@pytest.fixture(scope="module")
def encoder(clip_folder):
    return load_encoder(clip_folder, "cpu")


@pytest.fixture(scope="module")
def write(make_network):
    """A random generator."""

    def write(config, seed=0):
        identity = ModelIdentity(f"random {seed}", sha256_of(f"{config} {seed}"), {})
        return StyleGANGenerator(make_network(seed, config), identity)

    return write


@pytest.fixture(scope="module")
def two(write):
    return write(small_stylegan2())


@pytest.fixture(scope="module")
def three(write):
    return write(small_stylegan3())


@pytest.fixture(scope="module")
def styleclip(two, encoder, tmp_path_factory):
    return files.styleclip_files(tmp_path_factory.mktemp("styleclip"), two, encoder)


@pytest.fixture(scope="module")
def editing(three, encoder, tmp_path_factory):
    return files.stylegan3_editing_files(tmp_path_factory.mktemp("editing"), three, encoder)


def step(atlas, text, beta):
    choice = Choice(rule="paper", beta=beta)
    found = find_direction(atlas, text, neutral="a", target="b", choice=choice)
    return found.delta(1.0)


def texts(width):
    drawn = np.random.default_rng(3).normal(size=(5, width))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("layers", [None, 3])
def test_edits_by_styleclips_table_are_those_of_its_formula(layers, two, encoder, tmp_path):
    """Of all convolutions, and of the first of them alone, as the one for FFHQ is."""
    table, statistics = files.styleclip_files(tmp_path, two, encoder, layers)
    atlas = imported_atlas(Table(table, (statistics,)), two, encoder, TEMPLATES)
    rows, (_, std) = np.load(table), pickle.loads(statistics.read_bytes())
    conv = [number for number, layer in enumerate(two.layout) if layer.kind == "conv"][:layers]
    for text in texts(encoder.width):
        wanted = [np.zeros(layer.size) for layer in two.layout]
        parts = files.plain_edit(rows, text, [std[number] for number in conv], 0.2)
        for number, part in zip(conv, parts, strict=True):
            wanted[number] = part
        found = step(atlas, text, 0.2)
        np.testing.assert_allclose(found, np.concatenate(wanted), rtol=1e-5, atol=1e-7)
        assert np.count_nonzero(found) > 1


def test_edits_by_stylegan3_editings_table_are_its_own_in_raw_styles(editing, three, encoder):
    """Its styles of toRGB are stored after their gain, so a step in ours is that much larger; rows
    of the input are left out, and count for nothing."""
    table, statistics = editing
    atlas = imported_atlas(Table(table, (statistics,)), three, encoder, TEMPLATES)
    assert atlas.fingerprint.settings["statistics_of"]["toRGB"] == "after its gain"
    assert atlas.fingerprint.settings["input_left_out"] == 4
    assert sorted(set(atlas.kinds)) == ["conv", "rgb"]
    rows, (_, _, std) = np.load(table), pickle.loads(statistics.read_bytes())
    rows[three.layout["input"].slice] = 0
    for text in texts(encoder.width):
        wanted = files.plain_edit(rows, text, list(std.values()), 0.1)
        for number, layer in enumerate(three.layout):
            if layer.kind == "rgb":
                wanted[number] = wanted[number] * np.sqrt(layer.size)
        found = step(atlas, text, 0.1)
        np.testing.assert_allclose(found, np.concatenate(wanted), rtol=1e-5, atol=1e-7)


def test_what_is_known_of_a_table_is_told_and_nothing_else(styleclip, two, encoder):
    table, statistics = styleclip
    atlas = imported_atlas(Table(table, (statistics,)), two, encoder, TEMPLATES)
    settings = atlas.fingerprint.settings
    assert settings["table"] == "imported"
    assert settings["table_file"]["name"] == "fs3.npy"
    found = settings["statistics_of"]
    assert "S_mean_std" in found
    assert found["toRGB"] == "as it is"
    assert found["psi"] == pytest.approx([0.7, 0.7], abs=0.04)
    assert found["sigma_off"] < 0.1
    assert "images, seeds and step of the table" in settings["unknown"]
    assert {"images", "seed", "truncation", "strength"}.isdisjoint(settings)
    assert atlas.rows_alone
    [record] = atlas.query_channels(texts(encoder.width)[0], top=1)
    assert (record["consistency"], record["strength"], record["expected"]) == (None, None, None)
    assert len(atlas.prompts) == 0
    assert imported_doubt(atlas) is None
    assert "cosine with the table's rows" in imported_text("a.h5", atlas)


def test_table_of_pictures_that_are_not_square_says_how_clip_sees_them_here(
    make_network, encoder, tmp_path
):
    """StyleCLIP's scripts left it to CLIP's own crop; what is measured is of the whole."""
    network = make_network(0, small_stylegan2(constant=(4, 2)))
    identity = ModelIdentity("human", sha256_of("human"), {"height": 16, "width": 8})
    human = StyleGANGenerator(network, identity)
    table, statistics = files.styleclip_files(tmp_path, human, encoder)
    atlas = imported_atlas(Table(table, (statistics,)), human, encoder, TEMPLATES)
    settings = atlas.fingerprint.settings
    assert settings["view"] == "whole"
    assert settings["unknown"][-1] == (
        "whether CLIP was shown the pictures whole when the table was drawn"
    )
    atlas.require_generator(identity, human.layout)


def test_psi_that_differs_by_layer_is_told_as_a_range(styleclip, two, encoder, tmp_path):
    table, statistics = styleclip
    mean, std = pickle.loads(statistics.read_bytes())
    wide = files._statistics(two, 1.0)
    half = len(mean) // 2
    both = [[*part[:half], *other[half:]] for part, other in zip((mean, std), wide, strict=True)]
    path = tmp_path / "S_mean_std"
    path.write_bytes(pickle.dumps(both))
    atlas = imported_atlas(Table(table, (path,)), two, encoder, TEMPLATES)
    told = atlas.fingerprint.settings["statistics_of"]["psi"]
    assert told == pytest.approx([0.7, 1.0], abs=0.05)


def test_statistics_of_convolutions_alone_leave_torgb_to_the_generator(
    styleclip, two, encoder, tmp_path
):
    table, statistics = styleclip
    kinds = [layer.kind for layer in two.layout]
    content = [
        [part for kind, part in zip(kinds, parts, strict=True) if kind == "conv"]
        for parts in pickle.loads(statistics.read_bytes())
    ]
    path = tmp_path / "S_mean_std"
    path.write_bytes(pickle.dumps(content))
    atlas = imported_atlas(Table(table, (path,)), two, encoder, TEMPLATES)
    conv = two.layout.kinds == "conv"
    np.testing.assert_array_equal(atlas.style_std[conv], np.concatenate(content[1]))
    lacking = atlas.fingerprint.settings["statistics_of"]["lacking"]
    assert lacking == [layer.name for layer in two.layout if layer.kind == "rgb"]


def test_flat_statistics_are_those_of_the_layers(styleclip, two, encoder, tmp_path):
    table, statistics = styleclip
    parts = [np.concatenate(part) for part in pickle.loads(statistics.read_bytes())]
    paths = (tmp_path / "S_mean.npy", tmp_path / "S_std.npy")
    for path, part in zip(paths, parts, strict=True):
        np.save(path, part)
    atlas = imported_atlas(Table(table, paths), two, encoder, TEMPLATES)
    np.testing.assert_array_equal(atlas.style_mean, parts[0])
    np.testing.assert_array_equal(atlas.style_std, parts[1])


def test_without_statistics_the_generators_own_count(styleclip, two, encoder):
    """As global_torch has them, which keeps none."""
    atlas = imported_atlas(Table(styleclip[0]), two, encoder, TEMPLATES)
    _, std = pickle.loads(styleclip[1].read_bytes())
    np.testing.assert_allclose(atlas.style_std, np.concatenate(std), rtol=0.15)
    assert atlas.fingerprint.settings["truncation"] == 0.7
    assert "the generator's own at psi 0.7" in imported_text("a.h5", atlas)


def test_rows_of_another_number_are_refused_naming_both(styleclip, two, encoder, tmp_path):
    rows = np.load(styleclip[0])
    np.save(tmp_path / "fs3.npy", rows[:-1])
    conv = int((two.layout.kinds == "conv").sum())
    message = f"has {conv - 1} rows, and .* has {two.layout.size} style channels, {conv} of them of"
    with pytest.raises(InputError, match=message):
        imported_atlas(Table(tmp_path / "fs3.npy"), two, encoder, TEMPLATES)


def test_statistics_of_other_layers_are_refused(styleclip, editing, two, encoder):
    with pytest.raises(InputError, match=r"s_stats: has \d+ layers of \d+ channels, and the gen"):
        imported_atlas(Table(styleclip[0], (editing[1],)), two, encoder, TEMPLATES)


def test_statistics_of_another_generator_of_these_layers_are_refused(write, styleclip, encoder):
    other = write(small_stylegan2(), seed=5)
    with pytest.raises(FingerprintError, match=r"S_mean_std: its means are [\d.]+ sigma"):
        imported_atlas(Table(*styleclip[:1], styleclip[1:]), other, encoder, TEMPLATES)


def test_rows_of_another_width_are_refused_naming_clip(styleclip, two):
    with pytest.raises(InputError, match=r"rows of 12 numbers, and .* sees in 28 dimensions"):
        imported_atlas(Table(styleclip[0]), two, CountableEncoder(), TEMPLATES)


def test_table_of_another_clip_of_that_width_is_doubted(tmp_path):
    """The generator fits, and so does the number of CLIP's dimensions."""
    generator = CountableGenerator()
    for seed, doubted in ((0, False), (1, True)):
        table, statistics = files.styleclip_files(tmp_path, generator, CountableEncoder(seed=seed))
        files_of = Table(table, (statistics,))
        atlas = imported_atlas(files_of, generator, CountableEncoder(), TEMPLATES)
        assert (imported_doubt(atlas) is not None) is doubted
        check = atlas.fingerprint.settings["measured_anew"]
        assert check["channels"] == 7
        if not doubted:  # but for the gated channel, which is of either sign by the image
            assert check["cosine"] == pytest.approx(1, abs=0.05)
            assert check["cosine_of_others"] == pytest.approx(0, abs=0.05)


def test_imported_atlas_is_the_same_when_read_again(styleclip, two, encoder, tmp_path):
    table, statistics = styleclip
    atlas = imported_atlas(Table(table, (statistics,)), two, encoder, TEMPLATES)
    atlas.write(tmp_path / "a.h5")
    again = type(atlas).open(tmp_path / "a.h5")
    assert again.fingerprint == atlas.fingerprint
    assert json.dumps(again.fingerprint.settings)
    np.testing.assert_array_equal(again.rows, atlas.rows)
