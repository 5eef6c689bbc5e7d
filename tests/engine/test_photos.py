"""Photos of one's own by the front door."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import styleatlas
from styleatlas import Editor
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.photos.inversion import InvertSettings
from styleatlas.engine.photos.read import read_photo
from styleatlas.store.cache import inversions
from styleatlas.store.errors import InputError, OptionError, OutputError

from ..near import assert_near

GLASSES = {"neutral": "a face", "target": "a face with glasses"}
START = InvertSettings(steps=0)


@pytest.fixture(scope="module")
def editor() -> Editor:
    return styleatlas.load("avatars", device="cpu")


@pytest.fixture
def drawing(editor, tmp_path):
    """Files of avatars, as large as people keep them."""

    def drawing(seed: int, name: str, side: int = 160):
        with torch.inference_mode():
            styles = styleatlas.styles_from_seeds(editor.generator, [seed], 0.7)
            image = Image.fromarray(to_bytes(editor.generator.render(styles)).numpy()[0])
        image.resize((side, side), Image.Resampling.LANCZOS).save(tmp_path / name)
        return tmp_path / name

    return drawing


def test_a_photo_is_edited_and_goes_back_where_it_was(editor, drawing, tmp_path):
    path = drawing(3, "me.png")
    result = editor.edit(photo=path, **GLASSES, invert=START)
    assert result.status == ("reached",) and result.images.shape == (1, 3, 64, 64)
    (one,) = result.photos
    assert one.cut.name == "me" and one.cut.alignment.place == "whole picture"
    assert_near(one.inversion, editor.generator.render(result.before)[0], 1e-4)
    assert torch.equal(one.edit, result.images[0])
    result.save(tmp_path / "out.png")
    before, after = read_photo(path), read_photo(tmp_path / "out.png")
    made = one.pasted()
    assert np.array_equal(after.pixels, made.photo)
    left, top, right, bottom = made.box
    outside = np.ones(before.shape, bool)
    outside[top:bottom, left:right] = made.mask == 0
    changed = np.abs(after.pixels.astype(int) - before.pixels).max(2)
    assert not changed[outside].any()
    # Where the eyes of avatars are, and not at the collar.
    assert changed[60:100, 40:120].mean() > 10 and changed[140:].max() < 10


def test_what_invert_made_is_edited_again_and_again(editor, drawing):
    found = editor.invert([drawing(3, "a.png"), read_photo(drawing(4, "b.png"))], settings=START)
    assert len(found) == 2 and repr(found) == "<Inverted: 2 crops (a, b)>"
    assert editor.invert(found) is found
    glasses = editor.edit(photo=found, **GLASSES)
    sad = editor.edit(photo=found, neutral="a face", target="a sad face")
    assert torch.equal(glasses.before, sad.before)
    assert torch.equal(glasses.before, found.inversion.styles)
    assert [one.cut.name for one in glasses.photos] == ["a", "b"]
    single = editor.edit(photo=drawing(3, "a.png"), **GLASSES, invert=START)
    assert_near(single.before[0], glasses.before[0], 1e-3)
    with pytest.raises(OptionError, match="photos: are 2"):
        glasses.save("never.png")


def test_every_way_to_edit_takes_photos(editor, drawing):
    path = drawing(5, "me.png")
    own = {"photo": path, "invert": START}
    both = editor.edit(**own, edits=["a face -> a face with glasses", "a face -> a sad face"])
    assert len(both.edits) == 2 and len(both.photos) == 1
    assert editor.edit(**own, **GLASSES, alpha=0.5).alphas[0, 0] == pytest.approx(0.5)
    kept = editor.edit(**own, **GLASSES, keep=["a face with a hat"])
    assert kept.keep == ("a face with a hat",)


def test_a_part_is_named_by_its_corner_and_width(editor, drawing):
    path = drawing(3, "me.png", 200)
    wide = Image.new("RGB", (320, 260), "white")
    wide.paste(Image.open(path), (70, 40))
    wide.save(path)
    (cut,) = editor.invert(path, align=(70, 40, 200), settings=START).cuts
    assert cut.alignment.place == "box 70,40,200" and cut.side == 200
    with pytest.raises(InputError, match="is 320 x 260, and the generator's pictures are 64 x 64"):
        editor.invert(path, settings=START)


def test_inversions_are_remembered_unless_unwanted(drawing, tmp_path):
    editor, path = styleatlas.load("avatars", device="cpu"), drawing(6, "me.png")
    editor.invert(path, settings=START, cache=False)
    editor.invert(path, settings=START, cache=str(tmp_path / "elsewhere"))
    assert inversions() == []
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
    editor.invert(path, settings=START)
    assert len(inversions()) == 1


def test_what_does_not_serve_is_told_by_name(editor, drawing, tmp_path):
    path = drawing(3, "me.png")
    own = {**GLASSES, "invert": START}
    wrong = [
        ({"photo": path, "seeds": 1}, "give one of seeds, styles, latents and photo"),
        ({"photo": 3}, "photo: is"),
        ({"photo": []}, "photo: is"),
        ({"photo": [path, 3]}, "photo: is"),
        ({"photo": path, "align": "left"}, "align: is"),
        ({"photo": path, "face": 2}, "are not aligned by faces"),
        ({"photo": path, "invert": {"steps": 0}}, "invert: is"),
        ({"photo": path, "faces": 2}, "did you mean face"),
    ]
    for options, message in wrong:
        with pytest.raises(OptionError, match=message):
            editor.edit(**{**own, **options})
    with pytest.raises(InputError, match="no such file"):
        editor.edit(photo=tmp_path / "none.jpg", **own)
    with pytest.raises(OutputError, match="photos are written as"):
        editor.edit(photo=path, **own).save(tmp_path / "out.gif")
