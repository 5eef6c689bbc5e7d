"""edit, with a real if tiny StyleGAN2: its sheets, and which channels it moves."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from styleatlas import load_generator
from styleatlas.engine.editor import Editor
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.pictures.sheet import sheet
from styleatlas.engine.steering.direction import Choice

from ..near import assert_pixels_near
from .edit_calls import ALPHA, EASY, PAIR, SEVEN, TWELVE, pixels


@pytest.fixture(scope="module")
def tiny_editor(tiny_atlas, checkpoint, make_encoder) -> Editor:
    return Editor(tiny_atlas, load_generator(checkpoint, "cpu"), make_encoder(23))


def render(editor: Editor, seed: int, target: str = PAIR[3], alpha: float = 4.0) -> Tensor:
    """What `edit` shows of a seed by the options `EASY`, (3, 8, 8)."""
    direction = editor.direction(PAIR[1], target, Choice(beta=0.05))
    styles = styles_from_seeds(editor.generator, [seed], 0.7)
    return editor.apply(styles, direction, alpha).images[0]


# sheets


def test_single_image_without_labels_is_the_render_itself(edit, tiny_editor):
    found = edit("--seed", "3")
    assert found.shape == (8, 8, 3)
    assert_pixels_near(found, np.asarray(sheet([[render(tiny_editor, 3)]])))
    assert not np.array_equal(found, edit("--seed", "3", "--alpha", "0")), "the edit must show"


def test_strip_has_a_row_a_seed_and_a_column_an_alpha_with_labels(edit, tiny_editor):
    rows = [[render(tiny_editor, seed, alpha=a) for a in (-2, 0, 2.5)] for seed in (1, 2, 3)]
    labels = ("seed 1", "seed 2", "seed 3"), ("alpha -2", "alpha 0", "alpha 2.5")
    found = edit("--seed", "1-3", "--alpha", "-2,0,2.5")
    assert_pixels_near(found, np.asarray(sheet(rows, *labels)))


def test_one_row_or_one_column_needs_labels_on_the_other_side_alone(edit, tiny_editor):
    row = [[render(tiny_editor, 5, alpha=a) for a in (0, 4)]]
    found = edit("--seed", "5", "--alpha", "0,4")
    assert_pixels_near(found, np.asarray(sheet(row, (), ("alpha 0", "alpha 4"))))
    column = [[render(tiny_editor, seed)] for seed in (5, 6)]
    found = edit("--seed", "5,6")
    assert_pixels_near(found, np.asarray(sheet(column, ("seed 5", "seed 6"))))


def test_before_is_a_first_column_of_the_images_as_they_were(edit, tiny_editor):
    row = [[render(tiny_editor, 5, alpha=0), render(tiny_editor, 5)]]
    found = edit("--seed", "5", "--before")
    assert_pixels_near(found, np.asarray(sheet(row, (), ("before", "alpha 4"))))


def test_grid_has_a_column_an_edit_and_alpha(draw_to, tiny_editor, tmp_path):
    targets, alphas = ("a picture channel7", "a picture channel12"), (2, 4)
    options = ("--edit", SEVEN, "--edit", TWELVE, "--grid", *EASY)
    text = draw_to(tmp_path / "o.png", *options, "--alpha", "2,4")
    row = [[render(tiny_editor, 1, target, alpha) for target in targets for alpha in alphas]]
    labels = [f"{target}, alpha {alpha}" for target in targets for alpha in alphas]
    assert_pixels_near(pixels(tmp_path / "o.png"), np.asarray(sheet(row, (), labels)))
    assert text.startswith(f"{tmp_path / 'o.png'}: 1 x 4 images\n")
    draw_to(tmp_path / "one.png", *options, *ALPHA)
    row = [[render(tiny_editor, 1, target) for target in targets]]
    assert_pixels_near(pixels(tmp_path / "one.png"), np.asarray(sheet(row, (), targets)))


def test_edits_are_combined_by_their_weights(draw_to, tiny_editor, tmp_path):
    styles = styles_from_seeds(tiny_editor.generator, [1], 0.7)
    choice = Choice(beta=0.05)
    steps = [tiny_editor.direction(PAIR[1], target, choice) for target in (PAIR[3], TWELVE[13:])]
    known = tiny_editor.apply(styles, steps, 3.0, [1.0, 0.5]).images[0]
    pair = (*PAIR, "--edit", f"{TWELVE} : 0.5")
    for name, edits in (("a", pair), ("b", ("--edit", SEVEN, "--edit", f"{TWELVE} : .5"))):
        text = draw_to(tmp_path / f"{name}.png", *edits, *EASY, "--alpha", 3)
        assert_pixels_near(pixels(tmp_path / f"{name}.png"), np.asarray(sheet([[known]])))
    assert '"a picture channel7": ' in text and text.endswith(" channels of the table, alpha 1.5\n")


def test_negative_weight_is_the_way_back(edit, draw_to, tmp_path):
    back = "a picture channel7 -> a picture : -1"
    draw_to(tmp_path / "back.png", "--edit", back, *EASY, *ALPHA)
    assert_pixels_near(pixels(tmp_path / "back.png"), edit())


def test_options_change_what_is_drawn(edit):
    plain = edit("--seed", "5")
    for options in (
        *(["--alpha", "-4"], ["--truncation", "1"], ["--layers", "rgb"], ["--seed", "6"]),
        *(["--rule", "paper"], ["--beta", "0.2"]),
    ):
        assert not np.array_equal(plain, edit("--seed", "5", *options)), options


# which channels


def channels(run, tiny_path, checkpoint, tmp_path, *options: object) -> list[str]:
    """Which channels an edit moves, by the styles it saves."""
    path = tmp_path / "o.npz"
    fixed = ("--generator", checkpoint, *PAIR, "--alpha", 1, "--styles", path)
    result = run("edit", tiny_path, *fixed, *options, "-o", tmp_path / "o.png")
    assert result.exit_code == 0, result.output
    generator = load_generator(checkpoint, "cpu")
    before = styles_from_seeds(generator, [1], 0.7).numpy()
    moved = np.flatnonzero((np.load(path)["styles"] != before).any(0))
    return [generator.layout.label(int(channel)) for channel in moved]


@pytest.fixture
def moved(run, tiny_path, checkpoint, tmp_path):
    return lambda *options: channels(run, tiny_path, checkpoint, tmp_path, *options)


def test_channels_takes_that_many(moved):
    assert len(moved("--channels", 3)) == 3


def test_layers_are_kinds_patterns_and_names(moved, refused_edit):
    assert {label.split(":")[0] for label in moved(*EASY, "--layers", "rgb")} == {
        "b4.torgb",
        "b8.torgb",
    }
    assert {label.split(":")[0] for label in moved(*EASY, "--layers", "b8.*")} <= {
        *("b8.conv0", "b8.conv1", "b8.torgb"),
    }
    some = moved(*EASY, "--layers", "b4.torgb, b8.conv1")
    assert {label.split(":")[0] for label in some} == {"b4.torgb", "b8.conv1"}
    assert "layer 'b16.conv9': this generator has none" in refused_edit("--layers", "b16.conv9")


def test_excluded_channels_stay(moved, refused_edit):
    every = moved(*EASY)
    rest = moved(*EASY, "--exclude-channels", f"{every[0]},{every[2]}")
    assert rest == [label for label in every if label not in (every[0], every[2])]
    assert "b8.conv9" in refused_edit("--exclude-channels", "b8.conv9:1")


def test_rule_decides_which_channels_move(moved):
    assert moved("--channels", 5, "--rule", "paper") != moved("--channels", 5)


def test_best_score_of_a_failed_edit_belongs_to_the_layers_asked_for(refused_edit):
    found = refused_edit("--beta", "0.99", "--layers", "rgb")
    assert ".torgb:" in found.partition("the best score is")[2]
