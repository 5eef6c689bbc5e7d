"""What people give to the Editor: what means something works, the rest is told by name."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import styleatlas
from styleatlas import Atlas, Choice, Editor, StyleAtlasError
from styleatlas.engine.models.latents import read_latents, write_styles
from styleatlas.engine.models.sampling import w_from_seeds
from styleatlas.engine.steering.edits import Edit
from styleatlas.store.errors import OptionError, OutputError
from styleatlas.store.registry import EMBEDDED

from ..near import assert_near

PAIR = {"neutral": "a face", "target": "a face with glasses"}
FIXED = {**PAIR, "alpha": 3.0}


@pytest.fixture(scope="module")
def editor() -> Editor:
    return styleatlas.load("avatars", device="cpu")


@pytest.fixture(scope="module")
def styles(editor) -> torch.Tensor:
    return styleatlas.styles_from_seeds(editor.generator, [1, 2], 0.7)


@pytest.fixture(scope="module")
def edited(editor):
    return editor.edit(seeds=[1, 2], **FIXED)


@pytest.mark.gpu
def test_editor_on_a_gpu_takes_what_lies_on_the_cpu_and_edits_as_there(editor, styles, edited):
    on_gpu = styleatlas.load("avatars", device="cuda")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for result in (on_gpu.edit(styles=styles, **FIXED), on_gpu.edit(seeds=[1, 2], **FIXED)):
            assert result.status == edited.status
            assert_near(result.images.cpu(), edited.images, 1e-3)
        again = on_gpu.edit(styles=styles.cuda(), **FIXED)
    assert_near(again.images.cpu(), edited.images, 1e-3)


@pytest.mark.gpu
def test_generator_and_clip_may_lie_on_two_devices(styles, edited):
    generator = styleatlas.load_generator("avatars", "cuda")
    clip = styleatlas.load_encoder("avatars", "cpu")
    apart = styleatlas.load(atlas="avatars", generator=generator, clip=clip)
    result = apart.edit(styles=styles, **PAIR)
    together = styleatlas.load("avatars", device="cpu").edit(styles=styles, **PAIR)
    assert result.status == together.status


def test_exports_are_these():
    assert set(styleatlas.__all__) == {
        *("Atlas", "Choice", "EditResult", "Editor", "StyleAtlasError"),
        *("load", "load_encoder", "load_generator", "styles_from_seeds"),
    }
    for name in styleatlas.__all__:
        assert getattr(styleatlas, name).__name__ == name


def test_import_and_atlas_stay_free_of_torch():
    code = (
        "import sys, styleatlas\n"
        "atlas = styleatlas.Atlas.open('avatars')\n"
        "atlas.query_channels('a face', 'a smiling face')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_seeds_styles_and_latents_name_the_same_images(editor, styles, edited, tmp_path):
    w = editor.subject(seeds=range(1, 3)).w
    write_styles(tmp_path / "s.npz", styles, editor.generator)
    ways = [
        {"styles": styles},
        {"latents": w},
        {"latents": w[:, 0].numpy()},
        {"latents": tmp_path / "s.npz"},
        {"latents": str(tmp_path / "s.npz")},
        {"latents": read_latents(tmp_path / "s.npz", editor.generator)},
        {"styles": editor.subject(seeds=(1, 2))},
    ]
    for images in ways:
        assert_near(editor.edit(**images, **FIXED).styles, edited.styles)
    for seed in (2, np.int64(2), np.array(2), np.array([2]), iter([2]), (n for n in (2,))):
        assert_near(editor.edit(seeds=seed, **FIXED).styles, edited.styles[1:])


def test_styles_may_be_arrays_lists_of_any_float_and_one_image(editor, styles, edited):
    for given in (styles.numpy(), styles.tolist(), styles.double(), styles.double().numpy()):
        assert_near(editor.edit(given, **FIXED).styles, edited.styles)
    half = editor.edit(styles.half(), **FIXED)
    assert half.styles.dtype == torch.float32 and (half.styles - edited.styles).abs().max() < 0.01
    assert_near(editor.edit(styles[0], **FIXED).styles, edited.styles[:1])


def test_edits_may_be_texts(editor, styles):
    several = editor.edit(styles, edits=["a face -> a sad face : 2", Edit("a face", "a bald face")])
    assert [edit.target for edit in several.edits] == ["a sad face", "a bald face"]
    assert several.ways == ("direction",) * 2


WRONG: dict[str, tuple[dict, str]] = {
    "no images": ({"seeds": None}, "images: give one of seeds, styles and latents"),
    "two": ({"styles": [[0.0]]}, "images: give one of seeds, styles and latents"),
    "texts": ({"seeds": "1-8"}, "seeds: is of type str; give whole numbers, such as range"),
    "no seed": ({"seeds": []}, "seeds: is empty; give at least one"),
    "no range": ({"seeds": range(0)}, "seeds: is empty; give at least one"),
    "bytes": ({"seeds": b"3"}, "seeds: is of type bytes; give whole numbers"),
    "float seed": ({"seeds": [1.0]}, "seeds: is of type list; give whole numbers"),
    "array": ({"seeds": np.array(1.5)}, "seeds: is of type ndarray; give whole numbers"),
    "part of a seed": ({"seeds": [1.7]}, "seeds: is of type list; give whole numbers"),
    "half pair": ({"target": None}, "target: is not given; neutral and target belong together"),
    "number": ({"target": 3}, "target: is of type int; give a prompt"),
    "text alpha": ({"alpha": "2"}, "alpha: is of type str; give a number"),
    "alphas": ({"alpha": [1, 2]}, "alpha: is of type list; give a number"),
    "far": ({"alpha": 1e6}, "alpha 1e\\+06: must lie between -100 and 100"),
    "misspelt": ({"beat": 0.1}, "option 'beat': is unknown; did you mean beta\\?"),
    "misspelt 2": ({"metod": "auto"}, "option 'metod': is unknown; did you mean method\\?"),
    "unknown": ({"xyz": 1}, "option 'xyz': is unknown; there are beta, channels"),
    "beta": ({"beta": "low"}, "beta: is of type str; give a number"),
    "keep": ({"keep": "a hat"}, "keep: is one text; give a tuple of them"),
    "keep 2": ({"keep": [3]}, "keep: is of type list; give a tuple of texts"),
    "channels": ({"channels": 2.5}, "channels: is of type float; give a whole number"),
    "method": ({"method": "magic"}, "method 'magic': is unknown; use one of auto, direction"),
    "edits": ({"edits": [3]}, "edits: is of type int; give an Edit, or a text"),
    "class": ({"label": "cat"}, "class: is of type str; give a whole number"),
    "truncation": ({"truncation": "0.7"}, "truncation: is of type str; give a number"),
    "probability": (
        {"probability": True, "alpha": None},
        "probability: is of type bool; give a number",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_what_to_give(editor, name):
    change, message = WRONG[name]
    with pytest.raises(StyleAtlasError, match=f"^{message}"):
        editor.edit(**{"seeds": [1], **FIXED, **change})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 5)), r"styles: has shape \(2, 5\), this generator takes \(n, 1248\); check"),
        (np.zeros(7), r"styles: has shape \(7,\), this generator takes"),
        (np.zeros((0, 1248)), r"styles: has shape \(0, 1248\)"),
        (np.full((1, 1248), np.nan), "styles: holds NaN or infinity; compute it again"),
        ("styles.npz", r"styles: must be numbers \(n, 1248\), not of type str"),
        ([["a"]], r"styles: must be numbers \(n, 1248\), not of type list"),
    ],
)
def test_styles_that_do_not_fit_are_told_by_name(editor, given, message):
    with pytest.raises(OptionError, match=f"^{message}"):
        editor.edit(given, **FIXED)


@pytest.mark.parametrize(
    "change",
    [
        lambda styles: styles.to(torch.complex64),
        lambda styles: styles.numpy().astype("c8"),
        lambda styles: styles.to_sparse(),
        lambda styles: styles.to("meta"),
    ],
)
def test_styles_without_real_numbers_are_refused(editor, styles, change):
    with pytest.raises(OptionError, match=r"^styles: must be real numbers \(n, 1248\), not a com"):
        editor.edit(change(styles), **FIXED)


@pytest.mark.parametrize("kind", [torch.Tensor.clone, lambda styles: styles.numpy().copy()])
def test_result_keeps_what_it_started_from(editor, styles, kind):
    given = kind(styles)
    result = editor.edit(given, **FIXED)
    given[:] = 0
    assert torch.equal(result.before, styles)


def test_latents_that_may_be_one_image_or_many_are_told_so_and_taken_as_said(editor):
    """(num_ws, w_dim) is one image's w+, or w of num_ws images."""
    w = w_from_seeds(editor.generator, [1, 2], 0.7)
    one = editor.subject(latents=w[:1]).styles
    with pytest.raises(
        OptionError, match=r"^latents: has shape \(10, 256\), which may be w\+ of on"
    ):
        editor.edit(latents=w[0], **FIXED)
    assert torch.equal(editor.edit(latents=w[0], latent_space="w+", **FIXED).before, one)
    rows = w[:, 0].repeat(5, 1)
    many = editor.subject(latents=rows, latent_space="w")
    assert len(many) == 10 and torch.equal(many.w, rows[:, None].expand(-1, 10, -1))
    assert torch.equal(editor.subject(latents=rows[:3]).w, many.w[:3]), "as before, w"
    z = torch.randn(2, editor.generator.z_dim)
    of_z = editor.subject(latents=z, latent_space="z", truncation=-0.7)
    assert torch.equal(of_z.w, editor.generator.map(z, truncation=-0.7))
    assert torch.equal(editor.subject(latents=one, latent_space="s").styles, one)
    with pytest.raises(OptionError, match="latent space 'x': is unknown; use one of z, w, w"):
        editor.subject(latents=w, latent_space="x")


def test_latents_that_do_not_fit_are_told_by_name(editor):
    with pytest.raises(OptionError, match=r"^latents: has shape \(1, 3\); .* w\+ \(n, 10, 256\)"):
        editor.edit(latents=np.zeros((1, 3)), **FIXED)


def test_editor_takes_names_and_files(styles, edited):
    again = Editor("avatars", EMBEDDED.generator, device="cpu").edit(styles, **FIXED)
    assert_near(again.styles, edited.styles)
    by_parts = styleatlas.load(atlas=EMBEDDED.atlas, generator="avatars", clip="avatars")
    assert_near(by_parts.edit(styles, **FIXED).styles, edited.styles)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), "atlas: is of type int; give an Atlas, its file, or a registered name"),
        (("avatars", 3), "generator: is of type int; give a generator, its file"),
        (("avatars", "avatars", 3), "encoder: is of type int; give a CLIP, its file, or a name"),
        (("no such.h5",), "no such.h5: "),
        (("avatars", "no such.pkl"), "no such.pkl: no such file"),
    ],
)
def test_editor_of_something_else_is_told_by_name(arguments, message):
    with pytest.raises(StyleAtlasError, match=f"^{message}"):
        Editor(*arguments)


def test_load_wants_a_name_or_an_atlas():
    for given in ({}, {"name": "avatars", "atlas": "avatars"}):
        with pytest.raises(OptionError, match=r"^load: give a name"):
            styleatlas.load(**given)


def test_channels_are_asked_by_prompts_or_by_a_direction():
    atlas = Atlas.open("avatars")
    known = atlas.query_channels(atlas.direction("a face", "a smiling face"), top=3)
    assert atlas.query_channels("a face", "a smiling face", top=3) == known
    assert atlas.query_similar("a face", "a smiling face", 3)
    for given in (("a face",), (np.zeros(3),), ("a face", 5), (None,)):
        with pytest.raises(OptionError, match=r"^query_channels: give two prompts of the bank"):
            atlas.query_channels(*given)


def _styles(editor, seeds=1, truncation=0.7, label=None):
    return styleatlas.styles_from_seeds(editor.generator, seeds, truncation, label)


RAW = {
    "no truncation": (lambda e, d: _styles(e, truncation=None), "truncation: is None; give a num"),
    "no seeds": (lambda e, d: _styles(e, []), "seeds: is empty; give at least one"),
    "text seeds": (lambda e, d: _styles(e, ["a"]), "seeds: is of type list; give whole numbers"),
    "text class": (lambda e, d: _styles(e, label="x"), "class: is of type str; give a whole"),
    "subject": (lambda e, d: e.subject(seeds=1, truncation=None), "truncation: is None; give a"),
    "edits alone": (lambda e, d: e.edit(seeds=1, edits=3), "edits: is of type int; give a list"),
    "huge alpha": (lambda e, d: e.edit(seeds=1, **PAIR, alpha=10**400), "alpha: is too large"),
    "huge beta": (lambda e, d: e.edit(seeds=1, **PAIR, beta=10**400), "beta: is too large"),
    "both": (lambda e, d: e.edit(seeds=1, **FIXED, probability=0.9), "probability: is what alphas"),
    "both applied": (
        lambda e, d: e.apply(np.zeros((1, 1248)), d, 1.0, probability=0.9),
        "probability: is what alphas are found by, and alpha is given; leave one out",
    ),
    "save": (lambda e, d: e.edit(seeds=1, **FIXED).save(3), "path: is of type int; give a file n"),
    "channels top": (lambda e, d: e.atlas.query_channels(d.text, top="x"), "top: is of type str"),
    "apply styles": (lambda e, d: e.apply(np.zeros((1, 3)), d, 1.0), "styles: has shape"),
    "apply alpha": (lambda e, d: e.apply(np.zeros((1, 1248)), d, "2"), "alpha: is of type str"),
    "apply text": (lambda e, d: e.apply(np.zeros((1, 1248)), d.text, 1.0), "directions: is of"),
    "weights": (lambda e, d: e.apply(np.zeros((1, 1248)), d, 1.0, ["a"]), "weight: is of type str"),
    "direction": (lambda e, d: e.direction("a face", None), "target: is None; give a prompt"),
    "choice": (lambda e, d: e.direction("a face", "a hat", 5), "choice: is of type int"),
    "edits": (lambda e, d: e.edit(seeds=1, edits=None), "edits: is None; give a list"),
    "truncation": (lambda e, d: e.edit(seeds=1, **PAIR, truncation=None), "truncation: is None"),
    "atlas": (lambda e, d: Atlas.open(5), "atlas: is of type int; give a file, or a registered"),
    "generator": (lambda e, d: styleatlas.load_generator(5), "generator: is of type int"),
    "encoder": (lambda e, d: styleatlas.load_encoder(None), "clip: is None; give a file"),
    "compare": (lambda e, d: e.atlas.compare("avatars"), "other: is of type str; give an Atlas"),
    "prompts": (lambda e, d: e.atlas.query_prompts(5), "channel: is of type int; give a channel"),
    "top": (lambda e, d: e.atlas.query_prompts("b4.conv1", "x"), "top: is of type str; give a"),
    "bank": (lambda e, d: e.atlas.direction("a face", None), "target: is None; give a prompt"),
    "step": (lambda e, d: e.atlas.query_entangled("a", d.text), "step: is of type str"),
}


@pytest.mark.parametrize("name", RAW)
def test_whatever_is_called_with_something_else_says_what_to_give(editor, name):
    call, message = RAW[name]
    with pytest.raises(StyleAtlasError, match=f"^{message}"):
        call(editor, editor.direction(*PAIR.values()))


def test_picture_of_a_result_is_clipped_and_saved(edited, tmp_path):
    picture = edited.pil()
    assert picture.size == (128, 64) and edited.images.abs().max() > 1
    wanted = ((edited.images.clamp(-1, 1) + 1) * 127.5).round().byte()
    row = torch.cat([*wanted], 2).permute(1, 2, 0).cpu().numpy()
    assert np.abs(np.asarray(picture, int) - row).max() <= 1
    edited.save(tmp_path / "o.png")
    with (
        Image.open(tmp_path / "o.png") as saved,
        Image.open(io.BytesIO(edited._repr_png_())) as png,
    ):
        assert np.array_equal(np.asarray(saved), np.asarray(picture))
        assert np.array_equal(np.asarray(png), np.asarray(picture))
    with pytest.raises(OutputError, match=r"o\.jpg"):
        edited.save(tmp_path / "o.jpg")


@pytest.mark.parametrize("way", [FIXED, PAIR, {**PAIR, "method": "direction"}])
def test_tensors_of_a_result_can_be_changed(editor, styles, tmp_path, way):
    write_styles(tmp_path / "s.npz", styles, editor.generator)
    for images in ({"seeds": [1]}, {"styles": styles}, {"latents": tmp_path / "s.npz"}):
        result = editor.edit(**images, **way)
        result.images.clamp_(-1, 1)
        result.before.add_(0)
        assert result.styles.requires_grad_(True).requires_grad


def test_everything_people_print_is_one_short_line(editor, edited):
    assert repr(editor.atlas) == (
        "<Atlas of avatars by avatars: 1,248 of 1,248 channels, 425 prompts, 4,000 samples>"
    )
    assert repr(editor) == f"<Editor of avatars by avatars: {editor.atlas!r}>"
    assert repr(editor.generator) == "<StyleGAN2 avatars: 64 px, on cpu>"
    assert repr(edited) == (
        "<EditResult of 2 images: 'a face' -> 'a face with glasses' (2 by direction, 2 "
        "out_of_range)>"
    )


def test_choice_is_what_find_direction_takes(editor):
    assert editor.direction(*PAIR.values(), Choice(channels=5)).channels.shape == (5,)
