from __future__ import annotations

import numpy as np
import pytest

from styleatlas.engine.models.clip import count_tokens
from styleatlas.prompts import sets
from styleatlas.prompts.embed import SENTENCES, build_bank, embed_prompts, extended
from styleatlas.prompts.sets import (
    GENERAL_TEMPLATES,
    PromptSet,
    prompt_set,
    read_phrases,
    unknown,
)
from styleatlas.store.bank import normalise_prompt
from styleatlas.store.errors import PromptError
from styleatlas.store.registry import EMBEDDED


def encode(sentences: list[str]) -> np.ndarray:
    """Unit vectors that tell sentences of other lengths apart."""
    angles = np.array([len(sentence) / 10 for sentence in sentences])
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def test_prompt_is_the_unit_mean_of_its_templates():
    (row,) = embed_prompts(["a hat"], ["{}", "a photo of {}"], encode)
    angle = (5 + 16) / 2 / 10  # the mean of two unit vectors lies half way between them
    assert row == pytest.approx([np.cos(angle), np.sin(angle)])
    assert row.dtype == np.float32


def test_prompts_keep_their_order():
    rows = embed_prompts(["a hat", "a long beard"], ["{}"], encode)
    assert np.allclose(rows, encode(["a hat", "a long beard"]))


@pytest.mark.parametrize(("prompt", "message"), [(" ", "is empty"), ("a\0", "control characters")])
def test_what_is_no_prompt_is_refused_before_it_is_encoded(prompt, message):
    asked = []

    def never(sentences):
        asked.extend(sentences)
        return encode(sentences)

    with pytest.raises(PromptError, match=message):
        embed_prompts(["a hat"] * SENTENCES + [prompt], ["{}"], never)
    assert asked == []


@pytest.mark.parametrize("templates", [EMBEDDED.templates, GENERAL_TEMPLATES, ["{}"] * 300])
def test_prompts_are_encoded_together_and_come_out_as_they_do_alone(templates):
    prompts = ["a " + "h" * length for length in range(70)]
    sizes = []

    def counted(sentences):
        sizes.append(len(sentences))
        return encode(sentences)

    together = embed_prompts(prompts, templates, counted)
    alone = [embed_prompts([prompt], templates, encode)[0] for prompt in prompts]
    assert np.abs(together - alone).max() < 1e-6
    assert max(sizes) <= max(SENTENCES, len(templates))
    assert len(sizes) == -(-len(prompts) // max(1, SENTENCES // len(templates)))


def test_bank_holds_phrases_and_embeddings():
    bank = build_bank(["a hat", "a long beard"], ["{}"], encode, 2)
    assert bank.texts == ("a hat", "a long beard")
    assert np.allclose(bank.find("A Hat"), encode(["a hat"])[0])


def test_bank_without_phrases_has_the_width_of_clip():
    bank = build_bank((), ["{}"], encode, 7)
    assert (len(bank), bank.width) == (0, 7)


def test_bank_refuses_a_phrase_that_occurs_twice():
    with pytest.raises(PromptError, match="'a hat': occurs twice"):
        build_bank(["a hat", " A  hat"], ["{}"], encode, 2)


def test_extended_bank_keeps_its_rows_and_reports_every_batch():
    bank = build_bank(["a hat"], ["{}"], encode, 2)
    phrases = ["a " + "h" * length for length in range(1, SENTENCES + 9)]
    told = []
    longer = extended(bank, phrases, ["{}"], encode, told.append)
    assert longer.texts == ("a hat", *phrases)
    assert np.array_equal(longer.embeddings[0], bank.embeddings[0])
    assert np.allclose(longer.embeddings[1:], encode(phrases))
    assert told == [SENTENCES, 8]
    assert extended(bank, (), ["{}"], encode) is bank


def test_embedding_nothing_is_refused():
    with pytest.raises(PromptError, match="none to embed; name at least one"):
        embed_prompts([], ["{}"], encode)


def test_file_of_phrases_may_hold_comments_blank_lines_and_any_spacing(tmp_path):
    path = tmp_path / "more.txt"
    path.write_bytes("\ufeff# hats\r\n\r\n a  red\that \r\nune tête\n#\na # hat".encode())
    assert read_phrases(str(path)) == ("a red hat", "une tête", "a # hat")
    path.write_bytes(b"")
    assert read_phrases(str(path)) == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a hat\n\n# \xc3\xa9\n\xff", "more.txt, line 4: is not UTF-8; save the file"),
        (b"a hat\n\na\0b\n", "more.txt, line 3: prompt 'a.x00b': holds control characters"),
        (b"#\n" + b"h" * 1025, "more.txt, line 2: prompt 'h+'...: is longer than 1024 bytes"),
        (b"a hat\n" * 9, "more.txt: is larger than 0 MiB; split it"),
        (None, r"more.txt: cannot be read \(No such file or directory\); check the path"),
    ],
)
def test_file_that_holds_no_phrases_is_refused_by_name_and_line(
    tmp_path, monkeypatch, data, message
):
    path = tmp_path / "more.txt"
    if data is not None:
        path.write_bytes(data)
    if "larger" in message:
        monkeypatch.setattr(sets, "MAX_BYTES", 50)
    with pytest.raises(PromptError, match=message):
        read_phrases(str(path))


def test_unknown_phrases_come_once_in_their_order():
    phrases = ("a hat", "A scarf", "a face", "a  Hat", "a scarf")
    assert unknown(phrases, {"a face"}) == ("a hat", "A scarf")


def test_prompt_set_takes_phrases_that_it_does_not_hold():
    known = PromptSet(("A face", "a hat"), ("{}",))
    assert known.with_phrases(["a  Face", "a scarf", "a Scarf"]) == PromptSet(
        ("A face", "a hat", "a scarf"), ("{}",)
    )


@pytest.mark.parametrize(("name", "least"), [("avatars", 300), ("general", 2000)])
def test_vocabulary_has_many_phrases_that_differ(name, least):
    phrases = prompt_set(name).phrases
    assert len({normalise_prompt(phrase) for phrase in phrases}) == len(phrases) >= least
    assert all(phrase == " ".join(phrase.split()) for phrase in phrases)
    assert not any(phrase.startswith("#") for phrase in phrases)


def test_avatars_have_their_own_prompts_and_any_other_domain_the_general_ones():
    own, general = prompt_set("avatars"), prompt_set("general")
    assert own.templates == EMBEDDED.templates and general.templates == GENERAL_TEMPLATES
    assert "an avatar" in own.phrases and "a church" in general.phrases
    assert not {"a church"} & set(own.phrases)
    for domain in ("horses", "ViT-B-32/openai"):
        assert prompt_set(domain) == general


def test_folder_of_a_clip_that_holds_a_vocabulary_has_its_own_prompts(tmp_path):
    assert prompt_set("mine", str(tmp_path)) == prompt_set("general")
    (tmp_path / "vocabulary.txt").write_text("# of faces\na face\na  Face\na smile\n")
    assert prompt_set("mine", str(tmp_path)) == PromptSet(("a face", "a smile"), ("{}",))
    (tmp_path / "templates.txt").write_text("{}\na photo of {}\n")
    assert prompt_set("mine", str(tmp_path)).templates == ("{}", "a photo of {}")
    assert prompt_set("avatars", str(tmp_path)) == prompt_set("avatars")
    (tmp_path / "templates.txt").write_text("a photo of {0.__class__}\n")
    with pytest.raises(PromptError, match=r"templates\.txt.*no sentence with one {} in it"):
        prompt_set("mine", str(tmp_path))


@pytest.mark.parametrize("neutral", ["a face", "a person", "a cat", "a car", "a church", "a room"])
def test_general_vocabulary_holds_what_people_start_from(neutral):
    assert neutral in prompt_set("general").phrases


def test_general_phrases_fit_the_shortest_context_in_use_in_every_template():
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    longest = max(GENERAL_TEMPLATES, key=lambda template: count_tokens(tokenizer, template))
    for phrase in prompt_set("general").phrases:
        assert count_tokens(tokenizer, longest.format(phrase)) <= 16  # that of SigLIP's SO400M-14


@pytest.mark.parametrize("templates", [EMBEDDED.templates, GENERAL_TEMPLATES])
def test_templates_take_one_phrase_and_differ(templates):
    assert templates[0] == "{}"
    assert len({template.format("a hat") for template in templates}) == len(templates)
    assert all(template.count("{}") == 1 for template in templates)
