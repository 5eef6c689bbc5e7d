"""The card of an atlas: what it was drawn with, as text that does nothing."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from styleatlas.engine.jobs import card_picture
from styleatlas.engine.jobs.card import MARK, card, require_licence
from styleatlas.engine.jobs.card_picture import samples_picture
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.pictures import sheet
from styleatlas.store.errors import OptionError
from styleatlas.store.hub_names import HubName

PLACE = HubName("me/countable", "atlas.h5")


def named(atlas, generator: str, clip: str):
    origin = atlas.fingerprint
    models = {
        "generator": replace(origin.generator, name=generator),
        "clip": replace(origin.clip, name=clip),
    }
    return replace(atlas, fingerprint=replace(origin, **models))


def test_a_card_tells_where_an_atlas_comes_from(countable_atlas):
    text = card(countable_atlas, PLACE, "cc0-1.0", None, None)
    origin = countable_atlas.fingerprint
    assert text.startswith('---\nlibrary_name: styleatlas\nlicense: "cc0-1.0"\ntags:\n')
    assert text.count(MARK) == 1 and "# countable: an atlas for StyleAtlas" in text
    assert f"| generator | `{origin.generator.name}` |" in text
    assert f"| generator: sha256 | `{origin.generator.sha256}` |" in text
    assert f"| clip: sha256 | `{origin.clip.sha256}` |" in text
    assert (
        "| setting: images | `24` |" in text
        and f"| created | `{countable_atlas.created}` |" in text
    )
    assert "styleatlas edit hf://me/countable/atlas.h5 --generator GENERATOR --clip CLIP" in text
    assert "The licence of the atlas is `cc0-1.0`." in text and "How good" not in text


def test_models_that_are_known_by_name_need_no_options(countable_atlas):
    generator, clip = "hf://me/faces/g.pkl@v1", "ViT-B-32/openai"
    text = card(named(countable_atlas, generator, clip), PLACE, None, None, "Samples")
    assert "styleatlas edit hf://me/countable/atlas.h5 --neutral" in text
    assert 'base_model:\n- "me/faces"\n' in text and "![Samples](samples.png)" in text
    assert "license:" not in text


def test_what_a_file_says_of_itself_is_neither_markup_nor_metadata(countable_atlas):
    hostile = '</td><script>x</script>`|\n---\nlicense: mit\n# <img src="http://x">'
    text = card(named(countable_atlas, hostile, "hf://me/../x"), PLACE, None, None, None)
    assert text.count("\n---\n") == 1 and "base_model" not in text
    (row,) = (line for line in text.splitlines() if line.startswith("| generator | "))
    assert row.count("`") == 2 and row.count("|") == 3 and "license: mit" in row
    assert all(line.count("`") % 2 == 0 for line in text.splitlines() if hostile[:9] in line)


@pytest.mark.parametrize("licence", ["", "MIT", "a b", "x: y", "x\n", "x" * 60, "-x"])
def test_a_licence_is_an_identifier(licence):
    with pytest.raises(OptionError, match="is no identifier such as apache"):
        require_licence(licence)


def test_licences_that_the_hub_knows_and_none_are_taken():
    for licence in (None, "mit", "apache-2.0", "cc-by-nc-4.0", "bigscience-openrail-m", "other"):
        require_licence(licence)


def pixels(content: bytes, side: int) -> np.ndarray:
    """The nine samples of a picture, (9, side, side, 3), without its labels."""
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.height == 3 * side and picture.info == {}
        cells = np.asarray(picture)[:, -3 * side :].reshape(3, side, 3, side, 3)
    return cells.swapaxes(1, 2).reshape(9, side, side, 3)


def test_the_picture_shows_nine_seeds_as_they_are_drawn(generator, monkeypatch):
    monkeypatch.setattr(sheet, "_USUAL_SIDE", 8)
    wanted = to_bytes(generator.render(styles_from_seeds(generator, range(1, 10), 0.7))).numpy()
    assert (pixels(samples_picture(generator), 8) == wanted).all()


def test_large_images_are_shrunk_for_the_picture(generator, monkeypatch):
    monkeypatch.setattr(sheet, "_USUAL_SIDE", 8)
    monkeypatch.setattr(card_picture, "_SIDE", 6)
    assert pixels(samples_picture(generator), 6).any()
