"""What of photos is edited, and how that is told where nobody says."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from styleatlas import Atlas
from styleatlas.engine.models.landmarks import Face
from styleatlas.engine.photos.align import face_quad
from styleatlas.engine.photos.cuts import cuts_of, require_align, usual_align
from styleatlas.store.errors import InputError, OptionError
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.registry import EMBEDDED, FACES

POINTS = np.array([[40.0, 50], [60, 50], [50, 60], [42, 74], [58, 74]])
PIXELS = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
SIZE = (32, 32)


class Finder:
    """Finds these faces, and counts how often it looks."""

    name, identity = "found", ModelIdentity("found", "0" * 64, {})

    def __init__(self, *points) -> None:
        self.points, self.looked = points, 0

    def find(self, pictures):
        self.looked += 1
        return [[Face(np.array([0.0, 0, 9, 9]), p, 0.9) for p in self.points] for _ in pictures]


def drawn_with(name: str, *features: str) -> SimpleNamespace:
    generator = SimpleNamespace(name=name)
    known = SimpleNamespace(features=dict.fromkeys(features)) if features else None
    return SimpleNamespace(fingerprint=SimpleNamespace(generator=generator), samples=known)


def test_bundles_say_how_photos_are_aligned_and_else_the_samples_do():
    assert FACES.alignment == "ffhq" and EMBEDDED.alignment is None
    assert usual_align(Atlas.open("avatars")) == "none"
    assert usual_align(drawn_with("faces")) == "face"
    assert usual_align(drawn_with("mine")) == "none"
    assert usual_align(drawn_with("mine", "age")) == "none"
    assert usual_align(drawn_with("mine", "age", "landmarks")) == "face"
    assert usual_align(drawn_with("avatars", "landmarks")) == "none"


def test_faces_are_cut_out_where_they_lie_and_named(make_photo):
    finder = Finder(POINTS, POINTS * 1.5, POINTS + 20)
    photo = replace(make_photo(PIXELS), path="some/where/me.x.png")
    cuts = cuts_of(photo, SIZE, "face", "all", lambda: finder)
    assert [cut.name for cut in cuts] == ["me.x, face 1", "me.x, face 2", "me.x, face 3"]
    for cut, points in zip(cuts, finder.points, strict=True):
        assert np.array_equal(cut.alignment.quad, face_quad(points))
        assert cut.pixels.shape == (*SIZE, 3)
        assert cut.side == pytest.approx(np.linalg.norm(np.diff(face_quad(points)[:2], axis=0)))
    (second,) = cuts_of(photo, SIZE, "face", 2, lambda: finder)
    assert second.name == "me.x" and second.alignment.place == "face 2"
    assert np.array_equal(second.pixels, cuts[1].pixels)
    third, first = cuts_of(photo, SIZE, "face", (3, 1), lambda: finder)
    assert [third.alignment.place, first.alignment.place] == ["face 3", "face 1"]
    assert np.array_equal(first.pixels, cuts[0].pixels)
    assert finder.looked == 3


def test_whole_pictures_and_parts_look_for_no_faces(make_photo):
    def nobody():
        raise AssertionError("looked for faces")

    square = make_photo(PIXELS[:100, :100])
    (whole,) = cuts_of(square, SIZE, "none", 1, nobody)
    assert whole.alignment.place == "whole picture" and whole.side == 100
    (part,) = cuts_of(make_photo(PIXELS), SIZE, (10, 20, 32), 1, nobody)
    assert np.array_equal(part.pixels, PIXELS[20:52, 10:42])
    for face in (2, "all", (1, 2)):
        with pytest.raises(OptionError, match="are not aligned by faces"):
            cuts_of(square, SIZE, "none", face, nobody)
    with pytest.raises(InputError, match="is 200 x 150, and the generator's pictures are 32 x 32"):
        cuts_of(make_photo(PIXELS), SIZE, "none", 1, nobody)


@pytest.mark.parametrize("face", [0, -1, True, "one", 1.0, None, (), (1, 0), (1, "all")])
def test_a_face_that_is_no_number_is_refused(make_photo, face):
    with pytest.raises(OptionError, match="face: is "):
        cuts_of(make_photo(PIXELS), SIZE, "face", face, lambda: Finder(POINTS))


def test_faces_that_are_not_there_and_one_twice_are_told(make_photo):
    photo = make_photo(PIXELS)
    with pytest.raises(InputError, match="one face was found in it, and face 3 asked for"):
        cuts_of(photo, SIZE, "face", (1, 3), lambda: Finder(POINTS))
    with pytest.raises(OptionError, match="face: names one twice"):
        cuts_of(photo, SIZE, "face", (2, 2), lambda: Finder(POINTS))
    with pytest.raises(InputError, match="no face was found in it"):
        cuts_of(photo, SIZE, "face", "all", Finder)


def test_ways_to_align():
    for align in ("face", "none", (1, 2, 3)):
        assert require_align(align) == align
    assert require_align([1, 2.5, 3]) == (1, 2.5, 3)
    for wrong in ("faces", "", (1, 2), 3, None, ["face"], {}):
        with pytest.raises(OptionError, match="align: is "):
            require_align(wrong)
