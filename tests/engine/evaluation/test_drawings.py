"""What images of known attributes look like, and the nearest of them."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.engine.checkpoints.native import read_safetensors
from styleatlas.engine.evaluation.drawings import MAX_BYTES, Drawings
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.store.errors import CheckpointError, OptionError
from styleatlas.store.registry import EMBEDDED


@pytest.fixture(scope="module")
def drawings():
    return Drawings(EMBEDDED.drawings)


def some_values(drawings, count, seed=0):
    random = np.random.default_rng(seed)
    sizes = [len(values) for values in drawings.attributes.values()]
    return np.stack([random.integers(0, size, count) for size in sizes], 1)


def pair():
    """Squares of 4 pixels: a grey or white background, and a red dot in a corner, or none, over a
    thin blue column, or none; where there is a column, the dot counts as hidden."""
    about = {
        "side": 4,
        "attributes": {"sky": ["grey", "white"], "dot": ["no", "yes"], "column": ["no", "yes"]},
        "background": {"attribute": "sky", "colours": ["#808080", "#ffffff"]},
        "parts": [
            {
                "name": "column",
                "attributes": ["column"],
                "looks": [0, 1],
                "corners": [[0, 0], [0, 1]],
            },
            {"name": "dot", "attributes": ["dot"], "looks": [0, 1], "corners": [[0, 0], [3, 3]]},
        ],
        "hidden": [{"attribute": "dot", "where": {"column": ["yes"]}}],
    }
    nothing = torch.zeros(4, 1, 1, dtype=torch.uint8)
    blue = torch.tensor([0, 0, 51, 51], dtype=torch.uint8)[:, None, None].repeat(1, 4, 1)
    red = torch.tensor([255, 0, 0, 255], dtype=torch.uint8)[:, None, None].repeat(1, 1, 1)
    tensors = {"column.0": nothing, "column.1": blue, "dot.0": nothing.clone(), "dot.1": red}
    return about, tensors


def written(path, about, tensors):
    save_file(tensors, path, {"drawings": json.dumps(about)})
    return path


def test_parts_are_laid_over_the_background_bottom_to_top(tmp_path):
    made = Drawings(written(tmp_path / "pair", *pair()))
    image = (made.draw(torch.tensor([[1, 1, 1]]))[0] + 1) / 2
    expected = torch.ones(3, 4, 4)
    expected[:2, :, 1] = 0.8  # a fifth of blue over white
    expected[:, 3, 3] = torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(image, expected)
    np.testing.assert_array_equal(
        made.visible(np.array([[0, 1, 0], [0, 1, 1]])), [[True] * 3, [True, False, True]]
    )


def test_drawing_without_noise_is_found_from_any_start(tmp_path):
    made = Drawings(written(tmp_path / "pair", *pair()))
    every = np.array(list(itertools.product(range(2), repeat=3)))
    for start in every:
        found = made.nearest(made.draw(torch.from_numpy(every)), np.repeat(start[None], 8, 0))
        np.testing.assert_array_equal(found.values, every)
        np.testing.assert_allclose(found.distance, 0, atol=1e-6)


def test_region_is_what_an_attribute_changes_and_a_margin(tmp_path):
    made = Drawings(written(tmp_path / "pair", *pair()))
    (region,) = made.region(np.array([[0, 0, 0]]), 1, [1], 1)
    expected = np.zeros((4, 4), bool)
    expected[2:, 2:] = True
    np.testing.assert_array_equal(region, expected)
    (region,) = made.region(np.array([[0, 1, 0]]), 1, [1], 1)
    assert not region.any()


def test_no_change_of_a_single_attribute_brings_a_drawing_nearer(drawings):
    generator, judge = load_generator(EMBEDDED.name, "cpu"), AttributeJudge(EMBEDDED)
    with torch.inference_mode():
        images = generator.render(styles_from_seeds(generator, range(1, 21), 0.7))
    found = drawings.nearest(images, judge.look(images).predictions.values)
    np.testing.assert_allclose(found.distance, drawings.distance(images, found.values))
    for column, values in enumerate(drawings.attributes.values()):
        for value in range(len(values)):
            other = found.values.copy()
            other[:, column] = value
            assert (drawings.distance(images, other) >= found.distance - 1e-6).all()


def test_of_no_images_nothing_is_found(drawings):
    none = np.zeros((0, len(drawings.attributes)), np.int16)
    found = drawings.nearest(torch.zeros(0, 3, 64, 64), none)
    assert found.values.shape == none.shape and found.distance.shape == (0,)
    assert drawings.region(none, 0, [1], 3).shape == (0, 64, 64)


@pytest.mark.parametrize("count", [6, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("target", "missed"),
    [(None, 0.02), ("a face with an afro", 0.02), ("a face with red hair", 0.1)],
)
def test_hardly_a_change_of_two_attributes_brings_a_drawing_nearer(drawings, count, target, missed):
    """Against exhaustive search over all pairs of attributes, around what was found, of images as
    they are and of edited ones. What is missed is the colour of hair together with what bears it,
    in images between two of them."""
    generator, judge = load_generator(EMBEDDED.name, "cpu"), AttributeJudge(EMBEDDED)
    styles = styles_from_seeds(generator, range(1001, 1001 + count), 0.7)
    if target is not None:
        editor = Editor(Atlas.open(EMBEDDED.atlas), generator, load_encoder(EMBEDDED.name, "cpu"))
        styles = editor.edit(styles, neutral="a face", target=target, method="direction").styles
    with torch.inference_mode():
        images = generator.render(styles)
    found = drawings.nearest(images, judge.look(images).predictions.values)
    sizes = [len(values) for values in drawings.attributes.values()]
    least = found.distance.copy()
    for a, b in itertools.combinations(range(len(sizes)), 2):
        for values in np.ndindex(sizes[a], sizes[b]):
            other = found.values.copy()
            other[:, [a, b]] = values
            least = np.minimum(least, drawings.distance(images, other))
    assert (least < found.distance - 1e-6).mean() <= missed
    farther = found.distance / least - 1
    assert (farther > 0.05).mean() <= 0.02 and farther.max() < 0.2


def test_images_and_values_that_no_drawing_has_are_refused(drawings):
    start = some_values(drawings, 1)
    with pytest.raises(OptionError, match="images: are 3 x 8 x 8, drawings 3 x 64 x 64"):
        drawings.nearest(torch.zeros(1, 3, 8, 8), start)
    with pytest.raises(OptionError, match=r"shape \(1, 2\); give a column for each of hair"):
        drawings.nearest(torch.zeros(1, 3, 64, 64), start[:, :2])
    start[0, 2] = 3
    with pytest.raises(OptionError, match="one of 'skin' is unknown; give 0 to 2"):
        drawings.draw(torch.from_numpy(start))


def spoilt(name):
    about, tensors = pair()
    if name == "no side":
        del about["side"]
    elif name == "huge side":
        about["side"] = 10**9
    elif name == "missing look":
        del tensors["dot.1"]
    elif name == "out of the square":
        about["parts"][1]["corners"][1] = [3, 4]
    elif name == "too wide":
        tensors["dot.1"] = tensors["dot.1"].repeat(1, 1, 2)
    elif name == "floats":
        tensors["dot.1"] = tensors["dot.1"].float()
    elif name == "few looks":
        about["parts"][0]["looks"] = [0]
    elif name == "unknown look":
        about["parts"][0]["looks"] = [0, 2]
    elif name == "unknown attribute":
        about["parts"][0]["attributes"] = ["nose"]
    elif name == "colour":
        about["background"]["colours"][0] = "grey"
    elif name == "many looks":
        about["attributes"] = {f"{i}": ["a"] * 64 for i in range(8)} | about["attributes"]
        about["parts"][0]["attributes"] = [f"{i}" for i in range(8)]
    elif name == "many corners":
        about["parts"][1]["corners"] *= 1000
    elif name == "hidden by nothing":
        about["hidden"][0]["where"] = {}
    elif name == "a list":
        about = [about]
    return about, tensors


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no side", "needs 'side'"),
        ("huge side", "side is out of its range"),
        ("missing look", "needs 'dot.1'"),
        ("out of the square", "a corner is out of its range"),
        ("too wide", "tensor 'dot.1' reaches out of the square"),
        ("floats", "tensor 'dot.1' is not uint8"),
        ("few looks", "part 'column' needs a look for every combination"),
        ("unknown look", "a look is out of its range"),
        ("unknown attribute", "'nose'"),
        ("colour", "background needs a colour #rrggbb"),
        ("many looks", "looks, which is too many"),
        ("many corners", "part 'dot' has more corners than looks"),
        ("hidden by nothing", "a rule of hidden has no values"),
        ("a list", "metadata `drawings`"),
    ],
)
def test_spoilt_file_is_refused_with_the_place(tmp_path, name, reason):
    path = written(tmp_path / "spoilt", *spoilt(name))
    with pytest.raises(CheckpointError) as refusal:
        Drawings(path)
    message = str(refusal.value)
    assert str(path) in message and reason in message and "\n" not in message


def test_file_of_something_else_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="has no metadata `drawings`"):
        Drawings(EMBEDDED.judge)
    with pytest.raises(CheckpointError, match="no such file"):
        Drawings(tmp_path / "nothing")
    (tmp_path / "large").write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(CheckpointError, match="is larger than 16 MiB"):
        Drawings(tmp_path / "large")
    _, tensors = read_safetensors(EMBEDDED.drawings)
    save_file(tensors, tmp_path / "bare", {"drawings": "{"})
    with pytest.raises(CheckpointError, match="metadata `drawings`"):
        Drawings(tmp_path / "bare")
