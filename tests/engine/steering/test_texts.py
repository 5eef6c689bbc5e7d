"""Where a prompt's embedding comes from: the bank, then the cache, then CLIP."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas.engine.editor import Editor
from styleatlas.engine.steering.texts import TextEmbedder
from styleatlas.store import cache
from styleatlas.store.errors import AtlasFormatError, PromptError


class Loader:
    """A function that loads an encoder and counts its calls."""

    def __init__(self, encoder) -> None:
        self.encoder, self.calls = encoder, 0

    def __call__(self):
        self.calls += 1
        return self.encoder


@pytest.fixture
def loader(encoder) -> Loader:
    return Loader(encoder)


def embeddings_by(encoder, prompt: str) -> np.ndarray:
    """What the templates of the countable atlas make of a prompt."""
    sentences = encoder.texts([prompt, f"look at {prompt}"]).numpy().mean(0)
    return sentences / np.linalg.norm(sentences)


def remembered() -> list[Path]:
    return sorted(cache.user_cache_path("styleatlas").rglob("*.f4"))


def test_prompts_of_the_bank_are_looked_up_without_loading_clip(countable_atlas, loader):
    texts = TextEmbedder(countable_atlas, loader)
    texts.direction("a picture", " A PICTURE\tchannel7 ")
    assert np.array_equal(texts.embed("something else"), countable_atlas.prompts.embeddings[3])
    assert loader.calls == 0
    assert remembered() == []


def test_other_prompts_load_clip_once_and_use_the_templates_of_the_bank(countable_atlas, loader):
    texts = TextEmbedder(countable_atlas, loader)
    for prompt in ("a new one", "a newer one"):
        assert texts.embed(prompt) == pytest.approx(embeddings_by(loader.encoder, prompt), abs=1e-6)
    assert loader.calls == 1


def test_clip_that_is_loaded_for_a_render_can_be_differentiated_later(countable_atlas, encoder):
    made = []

    def load():
        made.append(torch.zeros(1))
        return encoder

    with torch.inference_mode():
        _ = TextEmbedder(countable_atlas, load).encoder
    assert not made[0].is_inference()


def test_editor_loads_clip_only_for_prompts_it_does_not_know(countable_atlas, generator, loader):
    editor = Editor(countable_atlas, generator, loader)
    editor.direction("a picture", "a picture channel7")
    assert loader.calls == 0
    editor.direction("a picture", "a brand new channel7")
    assert loader.calls == 1


def test_prompt_is_remembered_between_runs(countable_atlas, loader):
    first = TextEmbedder(countable_atlas, loader).embed("a new one")
    again = TextEmbedder(countable_atlas, loader).embed("A  New one ")
    assert np.array_equal(again, first)
    assert loader.calls == 1
    assert loader.encoder.texts_read == ["a new one", "look at a new one"]


def test_other_templates_and_other_clips_remember_apart(
    countable_atlas, draw, generator, encoder, make_encoder, loader
):
    TextEmbedder(countable_atlas, loader).embed("a new one")
    for other in (
        draw(generator, encoder, templates=("{}",), images=1),
        draw(generator, make_encoder(seed=1), images=1),
    ):
        same_clip = other.fingerprint.clip == encoder.identity
        fresh = Loader(encoder if same_clip else make_encoder(seed=1))
        TextEmbedder(other, fresh).embed("a new one")
        assert fresh.calls == 1


def with_clip(atlas, **changes):
    """The same atlas, drawn by a CLIP of which the identity differs in these sizes, or lacks those
    that are None."""
    origin = atlas.fingerprint
    sizes = {**origin.clip.sizes, **changes}
    sizes = {name: size for name, size in sizes.items() if size is not None}
    clip = dataclasses.replace(origin.clip, sizes=sizes)
    return dataclasses.replace(atlas, fingerprint=dataclasses.replace(origin, clip=clip))


def moved(encoder):
    """As by another activation, every text lies elsewhere."""
    texts = encoder.texts
    encoder.texts = lambda found: texts(found).flip(1)
    return encoder


def test_clip_of_the_same_weights_and_another_activation_remembers_apart(
    countable_atlas, loader, make_encoder
):
    """Once its embedding was handed to the other: the cache knew the weights alone."""
    TextEmbedder(countable_atlas, loader).embed("a new one")
    atlas = with_clip(countable_atlas, quick_gelu=1)
    quick = moved(make_encoder())
    quick.identity = atlas.fingerprint.clip
    found = TextEmbedder(atlas, lambda: quick).embed("a new one")
    assert found == pytest.approx(embeddings_by(quick, "a new one"), abs=1e-6)
    assert np.abs(found - embeddings_by(loader.encoder, "a new one")).max() > 0.1


def test_atlas_of_before_remembers_what_the_clip_at_hand_is(countable_atlas, make_encoder):
    """It was drawn by one of several: nothing that another of them left may be handed on."""
    before = with_clip(countable_atlas, quick_gelu=None, network=None, tokenizer=None)
    assert not before.fingerprint.clip.configuration
    found = {}
    for quick in (0, 1):
        encoder = moved(make_encoder()) if quick else make_encoder()
        sizes = encoder.identity.sizes | {"quick_gelu": quick}
        encoder.identity = dataclasses.replace(encoder.identity, sizes=sizes)
        for _ in range(2):
            loader = Loader(encoder)
            found[quick] = TextEmbedder(before, loader).embed("a new one")
            assert found[quick] == pytest.approx(embeddings_by(encoder, "a new one"), abs=1e-6)
            assert loader.calls == 1
    assert np.abs(found[0] - found[1]).max() > 0.1
    assert len(remembered()) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"",
        lambda data: bytes(len(data)),
        lambda data: b"\xff" * len(data),
        lambda data: (np.frombuffer(data, "<f4") * 2).tobytes(),
    ],
    ids=["truncated", "longer", "empty", "zeros", "nan", "not unit"],
)
def test_damaged_cache_file_is_passed_over_and_written_again(countable_atlas, loader, damage):
    first = TextEmbedder(countable_atlas, loader).embed("a new one")
    (path,) = remembered()
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    assert np.array_equal(TextEmbedder(countable_atlas, loader).embed("a new one"), first)
    assert loader.calls == 2
    assert path.read_bytes() == sound


def test_cache_folder_that_cannot_be_used_is_left_alone(
    countable_atlas, loader, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(cache, "user_cache_path", lambda name: tmp_path / "file")
    TextEmbedder(countable_atlas, loader).embed("a new one")
    assert (tmp_path / "file").read_text() == "no folder"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_atlas_without_templates_embeds_the_bare_prompt(countable_atlas, encoder):
    origin = dataclasses.replace(countable_atlas.fingerprint, settings={})
    texts = TextEmbedder(dataclasses.replace(countable_atlas, fingerprint=origin), lambda: encoder)
    assert texts.embed("a new one") == pytest.approx(encoder.texts(["a new one"])[0].numpy())


@pytest.mark.parametrize(
    ("neutral", "target", "message"),
    [
        ("", "a picture", "prompt: is empty"),
        ("a picture", " ", "prompt: is empty"),
        ("a picture", "A  picture", 'target: "A picture" is the neutral prompt itself'),
        ("a new one", "one a new", "target: means the same to CLIP"),
        ("a picture", "w " * 11, "takes 13 tokens of the 12"),
        ("a picture", "x" * 1025, "longer than 1024 bytes"),
    ],
)
def test_prompts_that_give_no_direction_are_refused(
    countable_atlas, loader, neutral, target, message
):
    with pytest.raises(PromptError, match=message):
        TextEmbedder(countable_atlas, loader).direction(neutral, target)


def test_prompt_that_was_refused_is_not_remembered(countable_atlas, loader):
    with pytest.raises(PromptError):
        TextEmbedder(countable_atlas, loader).embed("w " * 11)
    assert remembered() == []


@pytest.mark.parametrize(
    "templates",
    [[], "{}", None, [1], ["a photo"], ["{} {}"], ["{:>999999999}"], ["{0.__class__}"], ["{}}"]],
)
def test_templates_that_might_do_anything_when_filled_in_are_refused(
    countable_atlas, loader, templates
):
    origin = countable_atlas.fingerprint
    spoilt = dataclasses.replace(origin, settings={**origin.settings, "templates": templates})
    texts = TextEmbedder(dataclasses.replace(countable_atlas, fingerprint=spoilt), loader)
    with pytest.raises(AtlasFormatError, match=r"templates must be texts with one \{\} each"):
        texts.embed("words of no bank")
