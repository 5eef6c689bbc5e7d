"""What is said of photos."""

from __future__ import annotations

from styleatlas.engine.jobs.photo_words import (
    crop_line,
    doubts_of_edit,
    doubts_of_inversion,
    photo_lines,
)

GOOD = {
    "photo": "me.jpg",
    "face": "face 1",
    "pixels": 700.0,
    "farther": 0.4,
    "distance": 0.3,
    "measure": "LPIPS (vgg)",
    "start": "look-up",
    "steps": 80,
    "kept": 0.5,
    "cut": 0.01,
    "identity": 0.4,
    "identity_edited": 0.3,
}


def test_of_what_came_out_well_nothing_is_doubted():
    for row in (GOOD, {**GOOD, "identity": None, "identity_edited": None, "farther": None}):
        assert not [*doubts_of_inversion(row, 1024), *doubts_of_edit(row)]


def test_every_doubt_names_a_mend():
    (soft,) = doubts_of_inversion({**GOOD, "pixels": 300.0}, 1024)
    assert soft.startswith("has 300 pixels where the generator draws 1024")
    assert "a larger copy" in soft
    (far,) = doubts_of_inversion({**GOOD, "farther": 0.001}, 1024)
    assert "0.1 % of them lie farther" in far and "--sheet" in far
    (other,) = doubts_of_inversion({**GOOD, "identity": 0.71}, 1024)
    assert "drawn as another person (dlib's distance 0.71" in other and "--steps" in other
    (changed,) = doubts_of_edit({**GOOD, "identity_edited": 0.66})
    assert "another person after the edit (dlib's distance 0.66" in changed and "--alpha" in changed
    (cut,) = doubts_of_edit({**GOOD, "cut": 0.2})
    assert "by 51 of 255 levels" in cut and "--mask" in cut


def test_a_crop_is_told_in_a_line():
    assert crop_line(GOOD) == (
        "me.jpg, face 1: 700 pixels wide; LPIPS (vgg) 0.300 after 80 steps; dlib's distance 0.40, "
        "by the edit 0.30; 50 % of the photo's detail kept where it changed"
    )
    bare = {**GOOD, "steps": 0, **dict.fromkeys(("kept", "cut", "identity", "identity_edited"))}
    assert crop_line(bare) == "me.jpg, face 1: 700 pixels wide; LPIPS (vgg) 0.300 by look-up"
    begun = crop_line({**bare, "start": "encoder"})
    assert begun == "me.jpg, face 1: 700 pixels wide; LPIPS (vgg) 0.300 by the photo encoder"


def test_a_folder_tells_how_many_first():
    record = {"photos": [GOOD, {**GOOD, "face": "face 2"}], "kept": 3, "failed": [{}], "list": "l"}
    first, *rest = photo_lines(record)
    assert first == "1 photo edited, 3 there already, 1 failed; l" and len(rest) == 2
    assert list(photo_lines({"photos": [GOOD]})) == [crop_line(GOOD)]
