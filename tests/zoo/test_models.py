"""The embedded models are trained models: what they can do is measured here."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.engine.evaluation.drawings import Drawings
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.models.photo_encoders import load_photo_encoder
from styleatlas.engine.models.sampling import (
    latents_from_seeds,
    render_batches,
    styles_from_seeds,
    w_shape,
)
from styleatlas.engine.steering.lookup import LookUp
from styleatlas.precompute.build import precompute
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.file import verify
from styleatlas.store.registry import EMBEDDED


@pytest.fixture(scope="module")
def generator():
    return load_generator("avatars", "cpu")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("avatars", "cpu")


@pytest.fixture(scope="module")
def atlas():
    return Atlas.open(EMBEDDED.atlas)


def test_the_embedded_models_stay_small():
    files = [EMBEDDED.generator, EMBEDDED.judge, *EMBEDDED.clip.iterdir()]
    assert sum(file.stat().st_size for file in files) <= 12e6


def test_the_photo_encoder_draws_drawings_nearer_than_the_look_up(
    atlas, generator, encoder, held_out
):
    """Drawings of which it saw none."""
    images = held_out[0][:24]
    own = load_photo_encoder("avatars", generator)
    assert own.identity.name == "avatars" and own.notes_beside(atlas.samples) == []
    assert EMBEDDED.photo_encoder.stat().st_size <= 2e6
    found = torch.from_numpy(LookUp(atlas.samples).find(encoder.images(images).numpy()).w)
    start = found[:, None].expand(-1, w_shape(generator)[0], -1)
    apart = [
        float((generator.render(generator.styles(w)) - images).abs().mean())
        for w in (start, own.encode(images, start))
    ]
    assert apart[1] < 0.9 * apart[0]


def test_a_stack_of_layers_is_the_whole_drawing(renderer, held_out):
    from avatars import render_whole

    images, labels = held_out
    for image, label in zip(images[:8], labels[:8], strict=True):
        difference = np.abs((image.numpy() + 1) / 2 - render_whole(label.numpy()))
        # Pixels where two edges meet blend differently; there are few of them.
        assert difference.mean() < 2 / 255
        assert (difference.max(0) > 8 / 255).mean() < 0.06


def test_the_shipped_drawings_are_those_that_the_models_learned_from(held_out):
    from avatars import visible

    images, labels = held_out
    drawings = Drawings(EMBEDDED.drawings)
    # Every part is stored in steps of 1/255, and up to eight of them lie over one another.
    assert (drawings.draw(labels[:50]) - images[:50]).abs().max() / 2 < 2.5 / 255
    np.testing.assert_array_equal(drawings.visible(labels.numpy()), visible(labels).numpy())


def test_clip_names_the_attributes_of_avatars_it_never_saw(encoder, held_out):
    from captions import zero_shot

    images, labels = held_out
    accuracy = zero_shot(encoder.texts, encoder.images(images), labels)
    for name in ("glasses", "hair colour", "hair", "facial hair"):
        assert accuracy[name] >= 0.95, name
    assert accuracy["mouth"] >= 0.80


def test_the_judge_reads_avatars_it_never_saw(held_out):
    from avatars import ATTRIBUTES, by_attribute
    from measure import judged

    images, labels = held_out
    judge = AttributeJudge(EMBEDDED)
    assert judge.attributes == {name: list(values) for name, values in ATTRIBUTES.items()}
    accuracy = by_attribute(judged(judge, images) == labels, labels)
    assert min(accuracy.values()) >= 0.97, accuracy


def test_the_generator_draws_every_value_of_every_attribute(generator):
    from avatars import ATTRIBUTES, draw_labels

    z = latents_from_seeds(range(1000), generator.z_dim)
    with torch.inference_mode():
        styles = generator.styles(generator.map(z, truncation=0.7))
        reading = AttributeJudge(EMBEDDED).read(torch.cat(list(render_batches(generator, styles))))
    data = draw_labels(20_000, torch.Generator().manual_seed(3))
    for i, (name, values) in enumerate(ATTRIBUTES.items()):
        for v, value in enumerate(values):
            share = (data[:, i] == v).float().mean().item()
            assert reading[name].count(value) / 1000 >= share / 3, (name, value)


def test_the_shipped_atlas_is_sound_and_belongs_to_the_shipped_models(atlas, generator, encoder):
    assert all(check.ok for check in verify(EMBEDDED.atlas))
    atlas.fingerprint.require_generator(generator.identity)
    atlas.fingerprint.require_clip(encoder.identity)
    assert atlas.layout == generator.layout
    assert (atlas.images == 100).all()
    assert len(atlas.prompts) >= 300
    assert set(atlas.kinds) == {"conv", "rgb"}
    assert len(atlas.channels) == atlas.layout.size


@pytest.mark.long
def test_the_table_foretells_what_an_image_it_never_saw_does(atlas, generator, encoder):
    """Consistency is the length of the mean unit delta, so it is also what the unit delta of one
    more image should have in common with the row."""
    settings = PrecomputeSettings(images=1, table="sweep", seed=5, statistics=1000, samples=0)
    small = precompute(generator, encoder, PromptSet((), ("{}",)), settings, lambda *_: None)
    strong = np.argsort(-atlas.consistency * atlas.strength)[:100]
    cosines = (small.rows[strong] * atlas.rows[strong]).sum(1)
    assert abs(cosines.mean() - atlas.consistency[strong].mean()) < 0.1


@pytest.mark.parametrize(
    ("target", "attribute", "values"),
    [
        ("a face with glasses", "glasses", ("round", "square")),
        ("a face with a beard", "facial hair", ("beard",)),
        ("a face with purple hair", "hair colour", ("purple",)),
    ],
)
def test_an_edit_makes_what_its_prompt_says(atlas, generator, encoder, target, attribute, values):
    styles = styles_from_seeds(generator, range(1, 61), 0.7)
    judge = AttributeJudge(EMBEDDED)
    before = judge.look(generator.render(styles)).predictions
    at, names = list(judge.attributes).index(attribute), judge.attributes[attribute]
    has = np.isin(before.values[:, at], [names.index(value) for value in values])
    styles = styles[torch.from_numpy(before.seen[:, at] & ~has)]
    editor = Editor(atlas, generator, encoder)
    result = editor.edit(styles, neutral="a face", target=target, method="direction")
    after = judge.read(result.images)[attribute]
    assert sum(value in values for value in after) / len(after) >= 0.7
    assert editor.measure(result)[0].along.mean() > 0.1


def test_an_edit_by_alpha_and_prompts_of_the_bank_imports_neither_open_clip_nor_a_compiler(
    tmp_path,
):
    code = (
        "import sys\n"
        "from styleatlas.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "assert 'torch' in sys.modules\n"
        "loaded = {'open_clip', 'torchvision', 'torch._dynamo'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    picture = tmp_path / "edit.png"
    arguments = ["edit", "avatars", "--edit", "a face -> a smiling face", "--alpha", "4"]
    subprocess.run(
        [sys.executable, "-c", code, *arguments, "-o", str(picture)], check=True, timeout=600
    )
    assert picture.stat().st_size > 0
