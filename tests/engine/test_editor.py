from __future__ import annotations

import numpy as np
import pytest
import torch

from styleatlas.engine.direction import Direction
from styleatlas.engine.editor import DEFAULT_BETA, Editor
from styleatlas.engine.sampling import styles_from_seeds
from styleatlas.store.errors import FingerprintError, OptionError

PAIR = {"neutral": "a picture", "target": "a picture channel7"}


@pytest.fixture
def editor(countable_atlas, generator, encoder) -> Editor:
    return Editor(countable_atlas, generator, encoder)


@pytest.fixture
def styles(generator) -> torch.Tensor:
    return styles_from_seeds(generator, [1, 2, 3], 0.7)


@pytest.mark.parametrize(
    ("target", "channel"), [("a picture channel7", 7), ("a picture channel12", 12)]
)
def test_prompt_moves_the_channel_it_names_forwards(editor, target, channel):
    direction = editor.direction("a picture", target, channels=1)
    assert direction.channels.tolist() == [channel]
    assert direction.steps == pytest.approx(editor.atlas.style_std[[channel]])
    back = editor.direction(target, "a picture", channels=1)
    assert np.array_equal(back.steps, -direction.steps)


def test_beta_is_the_default_where_neither_beta_nor_channels_is_given(editor):
    assert editor.direction(**PAIR).beta == DEFAULT_BETA
    assert np.array_equal(
        editor.direction(**PAIR).delta(1), editor.direction(**PAIR, beta=DEFAULT_BETA).delta(1)
    )


def test_edit_adds_alpha_steps_and_renders_the_sum(editor, generator, styles):
    result = editor.edit(styles, **PAIR, alpha=2.5)
    delta = torch.from_numpy(result.direction.delta(1.0))
    assert torch.equal(result.before, styles)
    assert torch.allclose(result.styles, styles + 2.5 * delta, atol=1e-7)
    assert torch.equal(result.images, generator.render(result.styles))
    assert result.alpha == 2.5 and result.way == "direction"
    least = result.direction.beta
    assert result.why == f"channels of the atlas with a relevance of at least {least:.3f}: 1"


def test_negative_alpha_goes_the_other_way(editor, styles):
    there, back = (editor.edit(styles, **PAIR, alpha=alpha) for alpha in (3, -3))
    assert torch.allclose(there.styles - styles, styles - back.styles, atol=1e-6)
    assert (there.styles[:, 7] > styles[:, 7]).all()


def test_alpha_zero_leaves_the_image_as_it_was(editor, generator, styles):
    assert torch.equal(editor.edit(styles, **PAIR, alpha=0).images, generator.render(styles))


def test_styles_given_are_not_changed(editor, styles):
    before = styles.clone()
    editor.edit(styles, **PAIR)
    assert torch.equal(styles, before)


def test_more_images_than_a_batch_are_edited_in_order(editor, generator, styles):
    many = styles.repeat(40, 1)
    result = editor.edit(many, **PAIR)
    assert torch.equal(result.images, editor.edit(styles, **PAIR).images.repeat(40, 1, 1, 1))


@pytest.mark.parametrize("alpha", [100.5, -101, float("nan"), float("inf")])
def test_alpha_out_of_range_is_refused(editor, styles, alpha):
    with pytest.raises(OptionError, match=f"alpha {alpha:g}: must lie between -100 and 100"):
        editor.edit(styles, **PAIR, alpha=alpha)


def test_atlas_of_another_generator_is_refused_with_both_fingerprints(
    countable_atlas, make_generator, encoder
):
    other = make_generator(seed=1)
    with pytest.raises(FingerprintError) as caught:
        Editor(countable_atlas, other, encoder)
    for identity in (countable_atlas.fingerprint.generator, other.identity):
        assert f'"{identity.name}" ({identity.sha256[:12]})' in str(caught.value)


def test_atlas_of_another_clip_is_refused_with_both_fingerprints(
    countable_atlas, generator, make_encoder
):
    other = make_encoder(seed=1)
    lazy = Editor(countable_atlas, generator, lambda: other)
    for refused in (
        lambda: Editor(countable_atlas, generator, other),
        lambda: lazy.direction("a picture", "words of no bank"),
    ):
        with pytest.raises(FingerprintError) as caught:
            refused()
        for identity in (countable_atlas.fingerprint.clip, other.identity):
            assert f'"{identity.name}" ({identity.sha256[:12]})' in str(caught.value)


def test_measure_gives_the_movement_along_the_text_and_its_cosine(editor, encoder, styles):
    channel, alpha, step = 7, 1.5, 0.4
    direction = Direction(
        neutral="",
        target="",
        text=encoder.effect(channel).astype(np.float32),
        channels=np.array([channel]),
        scores=np.ones(1, np.float32),
        steps=np.array([step], np.float32),
        beta=0.5,
        size=14,
    )
    shift = editor.measure(editor.apply(styles, direction, alpha))
    before = styles[:, channel].double().numpy()
    after = before + alpha * step
    along = (np.sin(after) - np.sin(before)) / np.sqrt(encoder.channels)
    assert shift.along == pytest.approx(along, abs=1e-6)
    assert shift.similarity == pytest.approx(along / encoder.length(alpha * step / 2), abs=1e-6)
    assert (shift.similarity < 0.999).all(), "the text must not be parallel to the movement"


def test_measure_of_an_edit_that_moved_nothing_is_zero(editor, styles):
    shift = editor.measure(editor.edit(styles, **PAIR, alpha=0))
    assert not shift.along.any() and not shift.similarity.any()
