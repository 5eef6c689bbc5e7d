from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from styleatlas.engine.pictures.recipe import AtlasIdentity, Recipe, png_text, read_recipe
from styleatlas.engine.pictures.sheet import save_png
from styleatlas.store.errors import InputError
from styleatlas.store.fingerprint import ModelIdentity

PICTURE = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))


@pytest.fixture
def recipe(countable_atlas) -> Recipe:
    return Recipe(
        generator=countable_atlas.fingerprint.generator,
        clip=countable_atlas.fingerprint.clip,
        atlas=AtlasIdentity.of(countable_atlas),
        edits=(("a face", "笑顔 \ud800 \0 👩🏽‍🦰", 1.0), ("x", "y", -0.25)),
        options={"alphas": [0, 2.5], "beta": None, "rule": "relevance", "measure": True},
        inputs={"seeds": [1, 2], "truncation": 0.7, "label": None},
    )


def test_recipe_comes_back_from_the_png_as_it_went_in(recipe, tmp_path):
    save_png(PICTURE, tmp_path / "one.png", recipe)
    assert read_recipe(tmp_path / "one.png") == recipe
    with Image.open(tmp_path / "one.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(PICTURE))
        assert json.loads(picture.text["styleatlas"])["inputs"]["seeds"] == [1, 2]


def test_same_recipe_gives_the_same_bytes_and_lists_may_be_tuples(recipe, tmp_path):
    again = replace(recipe, inputs={"truncation": 0.7, "seeds": (1, 2), "label": None})
    assert again == recipe
    save_png(PICTURE, tmp_path / "one.png", recipe)
    save_png(PICTURE, tmp_path / "two.png", again)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_identity_of_an_atlas_is_that_of_its_numbers(countable_atlas, countable_path):
    identity = AtlasIdentity.of(countable_atlas)
    assert AtlasIdentity.of(type(countable_atlas).open(countable_path)) == identity
    other = replace(countable_atlas, strength=countable_atlas.strength * 1.01)
    assert AtlasIdentity.of(other).sha256 != identity.sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "is of version '2', this StyleAtlas reads version 1; upgrade it"),
        ({"version": True}, "is of version 'True'"),
        ({"version": None}, "is of version 'None'"),
        ({"edits": None}, "edits must be a list"),
        ({"edits": [["a", "b"]]}, "edits must be a list of .neutral, target, weight"),
        ({"edits": [["a", "b", "1"]]}, "edits must be"),
        ({"edits": [["a", "b", True]]}, "edits must be"),
        ({"edits": ["abc"]}, "edits must be"),
        ({"options": []}, "options must be an object"),
        ({"options": {"deep": [[[[[]]]]]}}, "options must be an object of JSON values"),
        ({"inputs": {"seeds": 10**400}}, "inputs must be an object of JSON values"),
        ({"library": 3}, "library must be a text"),
        ({"more": 3}, "has an unknown 'more'"),
        ({"generator": 3}, "generator must be an object"),
        ({"generator": {"name": "g", "sha256": "0", "sizes": {}}}, "sha256 must be 64"),
        ({"generator": {"name": "g"}}, ", generator: lacks 'sha256'"),
        ({"atlas": {"created": 3, "sha256": "0" * 64}}, "atlas must be a text as created"),
        ({"atlas": {"created": "", "sha256": "x"}}, "atlas must be 64 lower-case hex digits"),
    ],
)
def test_recipe_that_is_not_sound_is_refused(recipe, change, message):
    parts = json.loads(recipe.to_json()) | change
    with pytest.raises(InputError, match=f"^recipe.*{message}"):
        Recipe.from_json(json.dumps(parts))


@pytest.mark.parametrize("name", ["version", "edits", "atlas", "inputs"])
def test_missing_field_is_named(recipe, name):
    parts = json.loads(recipe.to_json())
    del parts[name]
    with pytest.raises(InputError, match=name):
        Recipe.from_json(json.dumps(parts))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 100_000, "1e999", '{"version": NaN}', "9" * 5000, " " * 2_000_000]
)
def test_text_that_is_no_recipe_is_refused(text):
    with pytest.raises(InputError, match=r"^recipe: "):
        Recipe.from_json(text)


def test_infinite_weight_of_a_file_is_refused(recipe):
    with pytest.raises(InputError, match="edits must be"):
        Recipe.from_json(recipe.to_json().replace("-0.25", "1e999"))


def test_recipe_too_large_to_read_again_is_not_written(recipe):
    with pytest.raises(InputError, match="takes more than 1048576 bytes; ask for fewer seeds"):
        replace(recipe, inputs={"seeds": list(range(300_000))})


def png(*chunks: tuple[bytes, bytes], side: int = 1) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in (header, *chunks, (b"IDAT", b"no pixels"), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        data += struct.pack(">I", len(content)) + kind + content + checksum
    return data


def text_chunk(text: bytes, packed: bool = False) -> tuple[bytes, bytes]:
    content = zlib.compress(text) if packed else text
    return b"iTXt", b"styleatlas\0" + bytes([packed]) + b"\0\0\0" + content


def test_recipe_is_read_without_the_pixels_however_many_the_picture_claims(recipe, tmp_path):
    chunk = text_chunk(recipe.to_json().encode(), packed=True)
    (tmp_path / "one.png").write_bytes(png(chunk, side=2**31 - 1))
    assert read_recipe(tmp_path / "one.png") == recipe


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no sound PNG file"),
        (b"GIF89a", "is no sound PNG file"),
        (b"\x89PNG\r\n\x1a\n", "no sound PNG|damaged"),
        (png(), "holds no recipe; name a picture that `edit` wrote"),
        (png(text_chunk(b"{}")), "recipe: is of version 'None'"),
        (png(text_chunk(b"\xff\xfe")), "no recipe|JSON"),
        (png(text_chunk(bytes(2**27), packed=True)), "no sound PNG|no recipe"),
        (png((b"iTXt", b"styleatlas")), "holds no recipe"),
        (png(text_chunk(b"{}"))[:60], "no sound PNG|damaged|no recipe"),
        (png((b"IHDR", b"")), "no sound PNG|damaged|no recipe"),
    ],
    ids=lambda value: None if isinstance(value, str) else f"{len(value)} bytes",
)
def test_hostile_png_is_refused_by_name(content, message, tmp_path):
    (tmp_path / "one.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"one\.png: .*({message})"):
        read_recipe(tmp_path / "one.png")


def test_missing_png_is_told(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: cannot be read \(No such file"):
        read_recipe(tmp_path / "none.png")


def test_text_chunk_is_plain_and_in_front_of_the_pixels(recipe, tmp_path):
    info = png_text(recipe)
    assert isinstance(info, PngImagePlugin.PngInfo)
    save_png(PICTURE, tmp_path / "one.png", recipe)
    data = (tmp_path / "one.png").read_bytes()
    assert data.index(b"iTXtstyleatlas\0") < data.index(b"IDAT")
    assert recipe.to_json().encode("ascii") in data


def test_model_identity_is_kept_with_its_sizes(recipe):
    read = Recipe.from_json(recipe.to_json())
    assert isinstance(read.generator, ModelIdentity) and read.generator == recipe.generator


def test_probability_beside_alphas_which_never_counted_is_passed_over(recipe):
    both = replace(
        recipe, options={"alphas": [1.0, 2.0], "probability": 0.9}, edits=[("a", "b", 1)]
    )
    request = both.request()
    assert request.alphas == (1.0, 2.0) and request.probability is None


def test_edits_are_replayed_as_they_were_however_they_would_be_written_today(recipe):
    kept = (("a face:1", "b -> c in 16", 9.0), ("a", "b : 2", 1.0))
    request = replace(recipe, edits=kept, options={}).request()
    assert tuple((edit.neutral, edit.target, edit.weight) for edit in request.edits) == kept
