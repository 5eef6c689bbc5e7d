"""Which way an edit goes: on the countable pair, where it can be steered, and on avatars."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from styleatlas import Atlas, load_encoder, load_generator
from styleatlas.engine import table
from styleatlas.engine.editor import Editor
from styleatlas.engine.fallbacks import ways
from styleatlas.engine.fallbacks.mapper import Mapper, MapperRecord, write_mapper
from styleatlas.engine.fallbacks.optimise_settings import OptimiseSettings
from styleatlas.engine.fallbacks.ways import Fallbacks
from styleatlas.engine.models.identity import OFF, usual_identity
from styleatlas.engine.models.sampling import w_from_seeds
from styleatlas.engine.models.subject import Subject
from styleatlas.engine.networks.mapper import LatentMapper, MapperConfig, MapperGroup
from styleatlas.engine.result import EditResult
from styleatlas.engine.steering.direction import Choice, Source
from styleatlas.engine.steering.edits import Edit
from styleatlas.engine.steering.request import METHODS
from styleatlas.store.errors import DirectionError, OptionError
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.registry import EMBEDDED

from ..near import assert_near

SEVEN, TWELVE = (Edit("a picture", f"a picture channel{k}") for k in (7, 12))
POOR = Choice(channels=1, layers=("b4.torgb",))
"""Which says next to nothing of either. Of seeds 10 to 12 as they are CLIP gives SEVEN 0.999, 0.954
and 0.878, TWELVE less than a half."""
LITTLE = 0.3  # of channel 12, with which CLIP sees TWELVE in some of the three
FEW = OptimiseSettings(steps=8)
CHANNELS = 14


ENOUGH = 0.9


@pytest.fixture(autouse=True)
def _bar(monkeypatch) -> None:
    """What these images are made for, whatever the bar is elsewhere."""
    monkeypatch.setattr(table, "ENOUGH", ENOUGH)


@pytest.fixture
def editor(countable_atlas, generator, encoder) -> Editor:
    return Editor(countable_atlas, generator, encoder)


def edit_by(
    method: str,
    editor: Editor,
    styles: Tensor | Subject,
    w: Tensor | None,
    edit: Edit,
    fallbacks: Fallbacks,
    choice: Choice | None = None,
    probability: float | None = None,
) -> EditResult:
    """An edit of images; by a table of the layers of `choice` alone, if it names some, so that it
    stands in the way of no method."""
    choice = choice or Choice()
    atlas = only(editor.atlas, choice.layers) if choice.layers else editor.atlas
    options = vars(replace(choice, layers=())) if method in ("auto", "direction") else {}
    subject = styles if isinstance(styles, Subject) else Subject(editor.generator, styles, w)
    return Editor(atlas, editor.generator, editor.texts.encoder, fallbacks=fallbacks).edit(
        subject, edits=[edit], method=method, probability=probability, **options
    )


def only(atlas: Atlas, layers: tuple[str, ...]) -> Atlas:
    """The atlas of some layers."""
    kept = atlas.layout.matching(layers)[atlas.channels]
    names = ("channels", "rows", "consistency", "strength", "images")
    return replace(atlas, **{name: getattr(atlas, name)[kept] for name in names})


@pytest.fixture
def w(generator) -> Tensor:
    return w_from_seeds(generator, [10, 11, 12], 0.7)


@pytest.fixture
def styles(generator, w) -> Tensor:
    return generator.styles(w)


@pytest.fixture
def fallbacks(tmp_path) -> Fallbacks:
    return Fallbacks(tmp_path / "mappers", settings=FEW)


@pytest.fixture
def seen(editor) -> Callable[..., np.ndarray]:
    """CLIP's probability of an edit's target, (n,)."""

    def seen(styles: Tensor, edit: Edit) -> np.ndarray:
        logits = editor.texts.encoder.images(editor.generator.render(styles)).double().numpy()
        logits = editor.texts.encoder.logit_scale * (logits @ editor.difference(edit))
        return 1 / (1 + np.exp(-logits))

    return seen


@pytest.fixture
def starts(monkeypatch) -> list:
    """What every optimisation starts from."""
    made: list = []
    known = ways.Optimisation

    def optimisation(generator, encoder, start, *rest):
        made.append(start)
        return known(generator, encoder, start, *rest)

    monkeypatch.setattr(ways, "Optimisation", optimisation)
    return made


def constant(config: MapperConfig, residual: np.ndarray) -> LatentMapper:
    """A mapper of one layer that adds the same to all latents."""
    network = LatentMapper(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        before = np.where(residual > 0, residual, residual / 0.2) / math.sqrt(2)  # the leaky ReLU
        bias = torch.from_numpy(before / (config.scale * config.lr)).float()
        network.get_parameter("groups.0.0.bias").copy_(bias)
    return network.requires_grad_(False)


@pytest.fixture
def trained(editor, generator, fallbacks) -> Callable[..., Path]:
    """Write a mapper for TWELVE that adds `amount` to its channel; its record may say otherwise."""

    def trained(amount: float = 1.0, space: str = "s", name: str = "m", **record: object) -> Path:
        if space == "s":
            config = MapperConfig(
                shape=(CHANNELS,), groups=(MapperGroup("all", 0, CHANNELS),), depth=1
            )
            residual = amount * np.eye(CHANNELS)[12]
        else:
            config = MapperConfig(shape=(2, 5), groups=(MapperGroup("all", 0, 2),), depth=1)
            column = generator.matrix[:, 12].double().numpy()
            residual = amount * column / (column @ column)
        origin = editor.atlas.fingerprint
        about = {
            **{"library": "test", "neutral": TWELVE.neutral, "target": TWELVE.target},
            **{"generator": generator.identity, "clip": origin.clip},
            "created": "2026-11-22T05:40:00+00:00",
        }
        path = fallbacks.mappers / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        write_mapper(path, Mapper(constant(config, residual), MapperRecord(**about | record)))
        return path

    return trained


# auto


def test_auto_keeps_the_tables_images_and_falls_back_for_the_others_alone(
    editor, styles, w, fallbacks, seen, starts
):
    found = edit_by("auto", editor, styles, w, SEVEN, fallbacks, choice=POOR)
    table = edit_by("direction", editor, styles, w, SEVEN, fallbacks, choice=POOR)
    assert found.ways == ("direction", "direction", "optimize")
    assert torch.equal(found.styles[:2], table.styles[:2])
    assert torch.equal(found.before, styles)
    first, last = seen(table.styles, SEVEN), seen(found.styles, SEVEN)
    assert first[2] < ENOUGH < first[1] and last[2] > first[2]
    assert torch.allclose(found.images, editor.generator.render(found.styles), atol=1e-6)
    (start,) = starts
    assert torch.equal(start.styles, styles[2:]) and torch.equal(start.w, w[2:])
    assert torch.equal(start.warm, table.styles[2:])
    assert found.why == f"{table.why}; 1 of 3 images optimised in s"


def test_tried_holds_what_clip_saw_by_each_way_in_order(editor, styles, w, fallbacks, seen):
    found = edit_by("auto", editor, styles, w, SEVEN, fallbacks, choice=POOR)
    table = edit_by("direction", editor, styles, w, SEVEN, fallbacks, choice=POOR)
    first, last = seen(table.styles, SEVEN), seen(found.styles, SEVEN)
    assert [list(tried) for tried in found.tried] == [
        *(["direction"], ["direction"], ["direction", "optimize"]),
    ]
    assert [x["direction"] for x in found.tried] == pytest.approx(first.tolist(), abs=1e-4)
    assert found.tried[2]["optimize"] == pytest.approx(last[2], abs=1e-4)


def test_auto_is_content_with_the_table_where_clip_sees_enough(
    editor, styles, fallbacks, starts, trained
):
    trained()
    found = edit_by("auto", editor, styles, None, TWELVE, fallbacks)
    table = edit_by("direction", editor, styles, None, TWELVE, fallbacks)
    assert found.ways == ("direction",) * 3 and not starts
    assert torch.equal(found.styles, table.styles) and found.why == table.why
    assert_near(found.images, table.images)
    assert all(list(tried) == ["direction"] for tried in found.tried)


def test_auto_asks_for_no_more_than_the_probability_asked_for(editor, styles, w, fallbacks, starts):
    found = edit_by("auto", editor, styles, w, TWELVE, fallbacks, probability=0.6)
    assert not starts and found.ways == ("direction",) * 3
    assert all(0.6 <= tried["direction"] < ENOUGH for tried in found.tried)


def test_auto_without_a_direction_optimises_all_and_tells_why(editor, styles, w, fallbacks):
    choice = Choice(beta=0.99)
    found = edit_by("auto", editor, styles, w, TWELVE, fallbacks, choice)
    assert found.ways == ("optimize",) * 3
    assert found.why.startswith("no direction: no channel passes beta 0.99")
    assert found.why.endswith("; 3 of 3 images optimised in s")
    assert found.directions == () and found.alphas.shape == (3, 0)
    assert found.edits == (TWELVE,)
    (shift,) = editor.measure(found)
    assert (shift.probability > shift.before).all()


def test_what_clip_saw_best_is_kept(editor, styles, w, fallbacks, trained, monkeypatch):
    """Of three ways the mapper goes backwards, and the optimisation stays where it begins or goes
    astray."""
    trained(amount=-2.0)
    table = edit_by("direction", editor, styles, w, TWELVE, fallbacks, choice=POOR)

    def astray(self, *_):
        moved = table.styles.clone()
        moved[1, 12] += 0.8
        moved[[0, 2], 12] -= 0.8
        return type("Optimised", (), {"styles": moved})

    monkeypatch.setattr(ways.Optimisation, "run", astray)
    found = edit_by("auto", editor, styles, w, TWELVE, fallbacks, choice=POOR)
    assert found.ways == ("direction", "optimize", "direction")
    assert torch.equal(found.styles[[0, 2]], table.styles[[0, 2]])
    for tried, way in zip(found.tried, found.ways, strict=True):
        assert list(tried) == ["direction", "mapper", "optimize"]
        assert max(tried, key=tried.get) == way


def test_subject_is_edited_as_its_styles(editor, styles, w, fallbacks):
    subject = Subject(editor.generator, styles)
    found = edit_by("auto", editor, subject, w, SEVEN, fallbacks, choice=POOR)
    known = edit_by("auto", editor, styles, w, SEVEN, fallbacks, choice=POOR)
    assert torch.equal(found.styles, known.styles) and found.ways == known.ways


@pytest.mark.parametrize("method", METHODS)
def test_styles_given_are_not_changed(editor, styles, w, fallbacks, trained, method):
    trained()
    before, w_before = styles.clone(), w.clone()
    edit_by(method, editor, styles, w, TWELVE, fallbacks, choice=POOR)
    assert torch.equal(styles, before) and torch.equal(w, w_before)


# mappers


@pytest.mark.parametrize("space", ["s", "w+"])
def test_mapper_for_the_prompts_is_taken_before_an_optimisation(
    editor, generator, styles, w, fallbacks, trained, starts, seen, space
):
    path = trained(1.0, space)
    found = edit_by("auto", editor, styles, w, TWELVE, fallbacks, choice=POOR)
    assert found.ways == ("mapper",) * 3 and not starts
    assert found.styles[:, 12] == pytest.approx(styles[:, 12] + 1, abs=1e-4)
    assert found.why.endswith(f"; 3 of 3 images by the mapper {path.name}")
    assert not found.alphas.any()
    for tried, chance in zip(found.tried, seen(found.styles, TWELVE), strict=True):
        assert list(tried) == ["direction", "mapper"]
        assert tried["direction"] < ENOUGH <= tried["mapper"] == pytest.approx(chance, abs=1e-4)


def test_where_the_mapper_is_not_enough_an_optimisation_starts_from_the_table(
    editor, styles, w, fallbacks, trained, starts
):
    trained(LITTLE)
    found = edit_by("auto", editor, styles, w, TWELVE, fallbacks, choice=POOR)
    table = edit_by("direction", editor, styles, w, TWELVE, fallbacks, choice=POOR)
    by_mapper = [x["mapper"] for x in found.tried]
    assert min(by_mapper) < ENOUGH < max(by_mapper), "both cases are seen"
    open_ = [i for i, x in enumerate(by_mapper) if x < ENOUGH]
    assert [i for i, x in enumerate(found.tried) if "optimize" in x] == open_
    (start,) = starts
    assert torch.equal(start.warm, table.styles[open_])
    for way, tried in zip(found.ways, found.tried, strict=True):
        assert way == max(tried, key=tried.get)


FOREIGN = ModelIdentity("foreign", "f" * 64, {})


@pytest.mark.parametrize(
    "record",
    [
        *({"target": SEVEN.target}, {"neutral": "something else"}, {"clip": FOREIGN}),
        *({"generator": FOREIGN}, {"generator": None}, {"clip": None}, {"target": ""}),
    ],
    ids=lambda record: "".join(f"{name} {getattr(x, 'name', x)}" for name, x in record.items()),
)
def test_mapper_for_something_else_is_left_alone(editor, styles, w, fallbacks, trained, record):
    trained(**record)
    found = edit_by("auto", editor, styles, w, TWELVE, fallbacks, choice=POOR)
    assert all("mapper" not in tried for tried in found.tried)
    with pytest.raises(OptionError, match="is trained for"):
        edit_by("mapper", editor, styles, w, TWELVE, fallbacks)


def test_mapper_alone_edits_every_image_and_asks_no_table(
    editor, styles, w, fallbacks, trained, starts
):
    path = trained(0.3)
    found = edit_by("mapper", editor, styles, w, TWELVE, fallbacks)
    assert found.ways == ("mapper",) * 3 and not starts
    assert found.why == f"3 of 3 images by the mapper {path.name}"
    assert torch.allclose(found.styles[:, 12], styles[:, 12] + 0.3, atol=1e-5)
    assert all(list(tried) == ["mapper"] for tried in found.tried)
    assert not found.alphas.any() and found.counter == ()


@pytest.mark.parametrize("made", [False, True])
def test_mapper_that_is_not_there_is_told_with_its_folder_and_the_mend(
    editor, styles, w, fallbacks, made
):
    if made:
        fallbacks.mappers.mkdir()
    with pytest.raises(OptionError) as caught:
        edit_by("mapper", editor, styles, w, TWELVE, fallbacks)
    assert str(caught.value) == (
        f'mapper: none in {fallbacks.mappers} is trained for "a picture" -> "a picture channel12" '
        "with these models; train one with `styleatlas mapper train`, or choose another --method"
    )


# images of styles alone


def test_images_without_w_are_edited_in_style_space(editor, styles, w, fallbacks, trained):
    for method in ("auto", "optimize"):
        found, known = (
            edit_by(method, editor, styles, given, SEVEN, fallbacks, choice=POOR)
            for given in (None, w)
        )
        assert torch.equal(found.styles, known.styles) and "optimize" in found.ways
    trained(1.0, "s")
    assert edit_by("mapper", editor, styles, None, TWELVE, fallbacks).ways == ("mapper",) * 3


def test_mapper_in_w_is_passed_over_for_images_without_w_or_refused_by_name(
    editor, styles, fallbacks, trained
):
    path = trained(1.0, "w+")
    found = edit_by("auto", editor, styles, None, TWELVE, fallbacks, choice=POOR)
    assert f"; no w for the mapper {path.name}; " in found.why
    assert all(list(tried) == ["direction", "optimize"] for tried in found.tried)
    with pytest.raises(OptionError, match=r"styles alone; a mapper in w.* give seeds, z or w"):
        edit_by("mapper", editor, styles, None, TWELVE, fallbacks)


def test_optimisation_in_w_without_w_is_refused_with_the_mend(editor, styles, fallbacks):
    for space in ("w", "w+"):
        inside = replace(fallbacks, settings=replace(FEW, space=space))
        with pytest.raises(OptionError, match=r"space w\+?: needs w, .*; choose space s"):
            edit_by("optimize", editor, styles, None, TWELVE, inside)


# the other methods


def test_direction_never_falls_back(editor, styles, w, fallbacks, trained, starts):
    trained()
    found = edit_by("direction", editor, styles, w, TWELVE, fallbacks, POOR)
    (shift,) = editor.measure(found)
    assert (shift.probability < ENOUGH).any()
    assert found.ways == ("direction",) * 3 and found.tried == ({},) * 3
    with pytest.raises(DirectionError, match=r"no channel passes beta 0\.99"):
        edit_by("direction", editor, styles, w, TWELVE, fallbacks, Choice(beta=0.99))
    assert not starts


@pytest.mark.parametrize("space", ["s", "w", "w+"])
def test_optimisation_alone_starts_from_the_tables_result_of_every_image(
    editor, styles, w, fallbacks, starts, trained, seen, space
):
    trained()
    inside = replace(fallbacks, settings=replace(FEW, space=space))
    found = edit_by("optimize", editor, styles, w, TWELVE, inside)
    assert found.ways == ("optimize",) * 3
    table = edit_by("direction", editor, styles, w, TWELVE, fallbacks)
    assert found.why == f"{table.why}; 3 of 3 images optimised in {space}"
    (start,) = starts
    assert torch.equal(start.warm, table.styles) and torch.equal(start.styles, styles)
    assert all(list(tried) == ["optimize"] for tried in found.tried)
    assert (seen(found.styles, TWELVE) > seen(styles, TWELVE)).all()


@pytest.mark.parametrize("method", ["mapper", "optimize"])
def test_weight_is_for_directions(editor, styles, w, fallbacks, method):
    doubled = replace(TWELVE, weight=2.0)
    with pytest.raises(OptionError, match="weight 2: only directions have one; choose --method"):
        edit_by(method, editor, styles, w, doubled, fallbacks)
    found = edit_by("direction", editor, styles, w, doubled, fallbacks)
    once = edit_by("direction", editor, styles, w, TWELVE, fallbacks)
    assert found.alphas == pytest.approx(2 * once.alphas)
    auto = edit_by("auto", editor, styles, w, doubled, fallbacks)
    assert torch.equal(auto.styles, found.styles), "which is the direction, then"


# what is told, and what is loaded


@pytest.mark.parametrize(("limit", "lines"), [(0.0, 1), (math.inf, 0)])
def test_optimisation_is_announced_where_it_takes_long(
    editor, styles, w, fallbacks, monkeypatch, limit, lines
):
    monkeypatch.setattr(ways, "LONG", limit)
    told: list[str] = []
    telling = replace(fallbacks, announce=told.append)
    edit_by("auto", editor, styles, w, SEVEN, telling, choice=POOR)
    assert len(told) == lines
    for line in told:
        assert line.startswith("optimising 1 image: about 0 s; ")
        assert line.endswith("--method direction does without")
    edit_by("direction", editor, styles, w, SEVEN, telling, choice=POOR)
    edit_by("auto", editor, styles, w, TWELVE, telling)
    assert len(told) == lines, "nothing was optimised"


def test_optimisation_reports_its_steps_and_loads_identity_when_it_runs(
    editor, styles, w, fallbacks
):
    done: list[float] = []
    loaded: list[None] = []
    telling = replace(
        fallbacks,
        identity=lambda: loaded.append(None),
        report=lambda progress: done.append(progress.done),
    )
    edit_by("auto", editor, styles, w, TWELVE, telling)
    assert not done and not loaded
    edit_by("auto", editor, styles, w, SEVEN, telling, choice=POOR)
    assert done == list(range(FEW.steps + 1)) and len(loaded) == 1


# avatars


@pytest.fixture(scope="module")
def avatars() -> Editor:
    atlas = Atlas.open(EMBEDDED.atlas)
    return Editor(atlas, load_generator("avatars", "cpu"), load_encoder("avatars", "cpu"))


@pytest.fixture(scope="module")
def faces(avatars) -> tuple[Tensor, Tensor]:
    w = w_from_seeds(avatars.generator, range(1, 5), 0.7)
    return avatars.generator.styles(w), w


def by(
    method: str,
    avatars: Editor,
    faces: tuple[Tensor, Tensor],
    target: str,
    source: Source = "auto",
) -> EditResult:
    fallbacks, choice = Fallbacks(Path("none"), settings=FEW), Choice(source=source)
    return edit_by(method, avatars, *faces, Edit("a face", target), fallbacks, choice)


def test_avatars_that_do_not_wink_by_the_table_are_optimised_further(avatars, faces):
    found = by("auto", avatars, faces, "a winking face", "table")
    assert 0 < found.ways.count("optimize") < 4 and "mapper" not in found.ways
    table = by("direction", avatars, faces, "a winking face", "table")
    for i, (way, tried) in enumerate(zip(found.ways, found.tried, strict=True)):
        assert (tried["direction"] >= ENOUGH) == (way == "direction")
        assert torch.equal(found.styles[i], table.styles[i]) == (way == "direction")
        assert tried.get("optimize", 1) > tried["direction"]
    by_table = np.array([[way == "direction"] for way in found.ways])
    assert np.array_equal(found.alphas, table.alphas * by_table)
    assert found.alphas[by_table].any() and table.alphas[~by_table].any()
    (shift,) = avatars.measure(found)
    chances = [tried[way] for way, tried in zip(found.ways, found.tried, strict=True)]
    assert shift.probability == pytest.approx(chances, abs=2e-3)


def test_prompt_of_many_things_is_seen_as_its_least_likely_part_is(avatars, faces):
    found = by("auto", avatars, faces, "a sad face with an afro and a green shirt")
    table = by("direction", avatars, faces, "a sad face with an afro and a green shirt")
    assert len(table.directions) == len(found.directions) == 3
    least = np.min([shift.probability for shift in avatars.measure(table)], 0)
    assert [tried["direction"] for tried in found.tried] == pytest.approx(least, abs=2e-3)


def test_identity_of_the_embedded_generator_is_the_embedded_network(avatars, editor):
    assert usual_identity(avatars.generator) == EMBEDDED.name
    assert usual_identity(editor.generator) == OFF
