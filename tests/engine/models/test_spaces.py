"""What arrays of latents are taken for: the rules of docs/latents.md, line by line."""

from __future__ import annotations

import pytest

from styleatlas.engine.models.spaces import (
    SPACES,
    Reading,
    Sizes,
    choose,
    readings,
    spaces_of_file,
)
from styleatlas.store.errors import InputError

APART = Sizes(z_dim=5, w_dim=6, rows=4, layers=(("a", 3), ("b", 8), ("c", 2)))
"""z, w, w+ and S of different sizes."""
USUAL = Sizes(z_dim=512, w_dim=512, rows=18, layers=(("a", 512), ("b", 512), ("c", 32)))
"""As FFHQ's: z is as wide as w."""


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((2, 18, 512), ["w+ of 2 images"]),
        ((18, 512), ["w+ of one image", "w of 18 images", "z of 18 images"]),
        ((2, 1, 18, 512), ["w+ of 2 images"]),
        ((3, 512), ["w of 3 images", "z of 3 images"]),
        ((18, 1, 512), ["w of 18 images", "z of 18 images"]),
        ((1, 512), ["w of one image", "z of one image"]),
        ((512,), ["w of one image", "z of one image"]),
        ((2, 1056), ["s of 2 images"]),
        ((1056,), ["s of one image"]),
        ((1, 3, 512), []),
        ((2, 17, 512), []),
        ((2, 2, 512), []),
        ((0, 512), []),
        ((), []),
    ],
)
def test_shape_says_all_that_it_can_be(shape, told):
    assert list(map(str, readings(shape, USUAL))) == told


def test_s_with_a_row_a_layer_is_read_where_it_is_called_so():
    assert readings((2, 3, 8), APART) == []
    assert readings((2, 3, 8), APART, padded=True) == [Reading("s", (2, 3, 8), True)]
    assert choose("x", (1, 3, 8), APART, named=("s",)).space == "s"
    assert choose("x", (1, 3, 8), APART, asked="s").space == "s"
    assert choose("x", (1, 3, 8), APART, file=("s",)).space == "s"


@pytest.mark.parametrize(
    ("shape", "how", "space", "count"),
    [
        ((3, 5), {}, "z", 3),
        ((3, 6), {}, "w", 3),
        ((4, 6), {"named": ("w+",)}, "w+", 1),
        ((4, 6), {"asked": "w"}, "w", 4),
        ((4, 6), {"asked": "w+"}, "w+", 1),
        ((4, 6), {"one": True}, "w+", 1),
        ((4, 6), {"file": ("w+",)}, "w+", 1),
        ((4, 6), {"named": ("w", "w+"), "asked": "w"}, "w", 4),
        ((3, 6), {"one": True}, "w", 3),
        ((3, 6), {"file": ("z",)}, "w", 3),  # a file's name decides between what is left alone
    ],
)
def test_name_option_and_place_decide(shape, how, space, count):
    found = choose("x", shape, APART, **how)
    assert (found.space, found.shape[0]) == (space, count)


@pytest.mark.parametrize(
    ("shape", "how", "message"),
    [
        ((18, 512), {}, r"w\+ of one image, w of 18 images or z of 18 images; say which by --late"),
        (
            (18, 512),
            {"named": ("w", "w+")},
            r"may be w\+ of one image or w of 18 images; say which",
        ),
        ((18, 512), {"file": ("w", "w+")}, r"may be w\+ of one image or w of 18 images; say which"),
        ((3, 512), {}, "may be w of 3 images or z of 3 images; say which by --latent-space w or z"),
        ((512,), {"one": True}, "may be w of one image or z of one image; say which"),
        (
            (1, 18, 512),
            {"asked": "w"},
            r"has shape \(1, 18, 512\), which can be w\+ of one image, and --latent-space says w;",
        ),
        (
            (1, 17, 512),
            {"asked": "w+"},
            r"has shape \(1, 17, 512\); this generator takes w\+ \(n, 18, 51",
        ),
        (
            (18, 512),
            {"named": ("s",)},
            r"has shape \(18, 512\); this generator takes s \(n, 1056\)",
        ),
        (
            (3, 512),
            {"named": ("z",), "asked": "w"},
            "is z by its name, and --latent-space says w;",
        ),
    ],
)
def test_what_is_left_open_or_does_not_fit_is_refused(shape, how, message):
    with pytest.raises(InputError, match=rf"^x\.npy: .*{message}"):
        choose("x.npy", shape, USUAL, **how)


@pytest.mark.parametrize(
    ("stem", "spaces"),
    [
        ("z", ("z",)),
        ("photo_wp", ("w+",)),
        ("me w+", ("w+",)),
        ("w_plus", ("w+",)),
        ("W-plus_2", ("w+",)),
        ("projected_w", ("w", "w+")),
        ("S", ("s",)),
        ("styles.2", ("s",)),
        ("latents", ()),
        ("photo_01", ()),
        ("wolf", ()),
    ],
)
def test_name_of_a_file_says_what_is_in_it(stem, spaces):
    assert spaces_of_file(stem) == tuple(space for space in SPACES if space in spaces)
