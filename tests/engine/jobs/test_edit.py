from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from styleatlas.engine.editor import Editor
from styleatlas.engine.jobs import edit as jobs
from styleatlas.engine.jobs.edit import Output, produce, run
from styleatlas.engine.jobs.images import Images
from styleatlas.engine.models.sampling import w_from_seeds
from styleatlas.engine.pictures.recipe import read_recipe
from styleatlas.engine.steering.direction import Choice
from styleatlas.engine.steering.edits import Edit
from styleatlas.engine.steering.request import EditRequest
from styleatlas.store.errors import InputError, OptionError, OutputError

from ...near import assert_near

SEVEN, TWELVE = (Edit("a picture", f"a picture channel{k}") for k in (7, 12))
FEW = Choice(channels=2)


@pytest.fixture
def editor(countable_atlas, generator, encoder) -> Editor:
    return Editor(countable_atlas, generator, encoder)


@pytest.fixture
def images(generator) -> Images:
    return Images.of_seeds(generator, [4, 5, 9], 0.7, None)


@pytest.mark.parametrize(
    ("edits", "grid", "alphas", "labels"),
    [
        ((SEVEN,), False, (2.0,), ["alpha 2"]),
        ((SEVEN, TWELVE), False, (0.0, -2.5), ["alpha 0", "alpha -2.5"]),
        ((SEVEN,), False, None, ["after"]),
        ((SEVEN, TWELVE), True, (1.0,), [SEVEN.target, TWELVE.target]),
        ((SEVEN, TWELVE), True, None, [SEVEN.target, TWELVE.target]),
        ((SEVEN,), True, (1.0, 2.0), [f"{SEVEN.target}, alpha 1", f"{SEVEN.target}, alpha 2"]),
    ],
)
def test_columns_are_alphas_of_all_edits_or_of_each(editor, images, edits, grid, alphas, labels):
    job = EditRequest(edits, FEW, "direction", alphas, grid=grid)
    columns = run(editor, images, job)
    assert [column.label for column in columns] == labels
    assert len(columns) == job.columns
    assert {len(column.result.directions) for column in columns} == {1 if grid else len(edits)}


@pytest.mark.parametrize(
    ("change", "by_table"),
    [
        ({}, False),
        ({"choice": FEW}, False),  # how many channels the table moves, if it does
        ({"method": "direction"}, True),
        ({"alphas": (2.0,)}, True),
        ({"choice": Choice(keep=("something else",))}, True),
        ({"choice": Choice(layers=("conv",))}, True),
        ({"choice": Choice(exclude=("b8.conv0:1",))}, True),
        ({"edits": (SEVEN, TWELVE)}, True),
        ({"edits": (SEVEN, TWELVE), "grid": True}, False),
        ({"edits": (replace(SEVEN, weight=2.0),)}, True),
        ({"edits": (replace(SEVEN, weight=-1.0),)}, False),
        ({"method": "mapper"}, False),
        ({"method": "optimize", "edits": (SEVEN, TWELVE), "grid": True}, False),
    ],
    ids=str,
)
def test_auto_is_the_table_alone_where_only_the_table_can_do_as_told(
    editor, images, monkeypatch, change, by_table
):
    job = replace(EditRequest((SEVEN,), Choice(), "auto"), **change)
    asked = []

    def beyond_the_table(self, subject, edit, request):
        asked.append((request.method, edit, request.choice, torch.equal(subject.w, images.w)))
        return self.apply(subject, self.direction(edit.neutral, edit.target))

    monkeypatch.setattr(Editor, "_by_ways", beyond_the_table)
    run(editor, images, job)
    expected = [] if by_table else [(job.method, e.forward(), job.choice, True) for e in job.edits]
    assert asked == expected


@pytest.mark.parametrize("method", ["mapper", "optimize"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alphas": (2.0,)}, "has no alpha; leave it out"),
        ({"choice": FEW}, "chooses no channels and keeps no prompt; leave out rule, beta"),
        ({"choice": Choice(keep=("something else",))}, "keeps no prompt"),
        ({"edits": (SEVEN, TWELVE)}, "makes one edit at a time; say it in one prompt, or ask for"),
    ],
)
def test_job_that_a_method_cannot_do_is_refused(method, change, message):
    with pytest.raises(OptionError, match=f"method {method}: .*{message}"):
        replace(EditRequest((SEVEN,), Choice(), method), **change)


def test_columns_of_several_alphas_share_their_directions(editor, images):
    first, second = run(editor, images, EditRequest((SEVEN,), FEW, "auto", (1.0, 2.0)))
    assert first.result.directions[0] is second.result.directions[0]


def test_columns_are_measured_once_clip_is_there_and_not_for_their_own_sake(
    countable_atlas, generator, encoder, images
):
    loaded = []

    def load():
        loaded.append(encoder)
        return encoder

    editor = Editor(countable_atlas, generator, load)
    (column,) = run(editor, images, EditRequest((SEVEN,), FEW, "direction", (2.0,)))
    assert column.shifts is None and not loaded
    (column,) = run(editor, images, EditRequest((SEVEN,), FEW, "direction"))
    assert loaded and len(column.shifts) == 1 and len(column.shifts[0].along) == 3


def test_many_images_are_edited_as_few_are(editor, images, monkeypatch):
    job = EditRequest((SEVEN, TWELVE), FEW, "direction", (2.0,), grid=True)
    known = run(editor, images, job)
    for module in ("jobs.edit", "models.subject", "table"):
        monkeypatch.setattr(f"styleatlas.engine.{module}.batch_size", lambda generator: 2)
    for column, other in zip(run(editor, images, job), known, strict=True):
        assert_near(column.result.images, other.result.images)


def test_images_know_where_they_come_from(images, generator, tmp_path):
    assert images.names == ("seed 4", "seed 5", "seed 9")
    assert images.inputs == {"seeds": [4, 5, 9]}
    some = images.at([2, 0])
    assert some.inputs == {"seeds": [9, 4]} and some.names == ("seed 9", "seed 4")
    assert torch.equal(some.styles, images.styles[[2, 0]])
    assert torch.equal(some.w, images.w[[2, 0]])
    assert torch.equal(generator.styles(images.w), images.styles)
    np.savez(tmp_path / "me.npz", styles=images.styles.numpy())
    of_file = Images.of_file(generator, tmp_path / "me.npz", 0.7, None)
    assert of_file.names == ("me 1", "me 2", "me 3")
    assert of_file.w is None and of_file.at([1]).w is None
    told = {"latents": of_file.file, "spaces": ["s"]}
    assert of_file.inputs == {**told, "places": [0, 1, 2]}
    last = of_file.at([1, 2]).at([1])
    assert last.inputs == {**told, "places": [2]}
    again = of_file.only(last.inputs, "me.npz")
    assert again.names == ("me 3",) and torch.equal(again.styles, images.styles[[2]])


def test_pictures_of_before_are_never_made_of_a_file_that_is_read_otherwise_now(
    generator, tmp_path
):
    """A file of one image's w+ was once taken for num_ws images."""
    w = w_from_seeds(generator, [1], 0.7).numpy()[0]
    np.save(tmp_path / "me.npy", w)
    path = tmp_path / "me.npy"
    one, many = (Images.of_file(generator, path, 0.7, None, space) for space in ("w+", "w"))
    assert one.spaces == ("one w+",) and many.spaces == ("w",)
    before = {"latents": one.file, "places": [0]}
    with pytest.raises(
        InputError, match=r"me.npy: is taken for one w\+, and was for w as the pict"
    ):
        one.only(before, "me.npy")
    assert torch.equal(many.only(before, "me.npy").w, many.w[:1])
    assert torch.equal(one.only(one.inputs, "me.npy").w, one.w)
    with pytest.raises(
        InputError, match=r"me.npy: is taken for w, and was for one w\+ as the pict"
    ):
        many.only(one.inputs, "me.npy")


def test_images_of_another_file_or_of_no_file_are_refused(images):
    of_file = replace(images, origins=(0, 1, 2), file="0" * 64)
    for inputs in ({"seeds": [0]}, {"latents": "1" * 64, "places": [0]}, {}):
        with pytest.raises(InputError, match=r"me.npz: is not what the picture was made of"):
            of_file.only(inputs, "me.npz")
    with pytest.raises(InputError, match="is not what the picture was made of"):
        images.only({"latents": None, "places": [0]}, "me.npz")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("o.png", "sheet"), ("o.PNG", "sheet"), ("o.jpg", "sheet"), ("o", "folder")),
        *(("o.gif", "film"), ("o.WEBP", "film"), ("o.mp4", "film"), ("there.png", "folder")),
    ],
)
def test_kind_of_output_is_told_by_its_name(tmp_path, name, kind):
    (tmp_path / "there.png").mkdir()
    assert Output(tmp_path / name).kind == kind


@pytest.mark.parametrize(
    ("name", "change", "error", "message"),
    [
        ("o.jpg", {}, OutputError, "end the name in .png"),
        ("none/o.png", {}, OutputError, "create it first"),
        ("o.gif", {"before": True}, OptionError, "film: begins with the images as they were"),
        ("o.png", {"alphas": (1.0,) * 600_000}, OptionError, "too large for one picture"),
        ("o", {"alphas": (1.0,) * 2_000_000}, OptionError, "too large for one picture"),
    ],
)
def test_job_that_cannot_be_written_is_refused_before_it_renders(
    editor, images, tmp_path, name, change, error, message
):
    job = replace(EditRequest((SEVEN, TWELVE), FEW, "direction"), **change)
    before = editor.generator.images_rendered
    with pytest.raises(error, match=message):
        Output(tmp_path / name).require(editor, images, job)
    assert editor.generator.images_rendered == before and not list(tmp_path.iterdir())


def test_job_gives_its_record_its_styles_and_its_recipe(editor, images, tmp_path):
    job = EditRequest((SEVEN, TWELVE), FEW, "direction", (0.0, 2.0))
    record, styles = produce(editor, images, job, Output(tmp_path / "o.png"))
    assert torch.equal(styles[:3], images.styles) and len(styles) == 6
    step = sum(torch.from_numpy(d.delta(2.0)) for d in editor.directions(job.edits, FEW)[0])
    assert torch.allclose(styles[3:], images.styles + step, atol=1e-6)
    assert len(record["images"]) == 2 * 2 * 3
    recipe = read_recipe(tmp_path / "o.png")
    assert recipe.edits == tuple((e.neutral, e.target, e.weight) for e in job.edits)
    assert recipe.request() == job
    assert recipe.seeds == (4, 5, 9) and recipe.inputs == {"seeds": [4, 5, 9]}


def test_every_picture_of_a_folder_has_a_recipe_of_its_own(editor, images, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "batch_size", lambda generator: 2)
    job = EditRequest((SEVEN,), FEW, "direction", (0.0, 2.0), before=True)
    record, styles = produce(editor, images, job, Output(tmp_path / "o"))
    inputs = [read_recipe(tmp_path / "o" / f"{name}.png").inputs for name in images.names]
    assert inputs == [{"seeds": [4]}, {"seeds": [5]}, {"seeds": [9]}]
    assert torch.equal(styles[:3], images.styles)
    assert len(record["images"]) == 6 and len(record["edits"]) == 1


def test_film_renders_the_way_there_alone(editor, images, tmp_path):
    before = editor.generator.images_rendered
    produce(
        editor,
        images,
        EditRequest((SEVEN,), FEW, "direction", (2.0,)),
        Output(tmp_path / "o.gif", 1, 10),
    )
    # There; the edit, and CLIP's before.
    assert editor.generator.images_rendered - before == 3 * (6 + 2)
    assert (tmp_path / "o.gif").exists()
