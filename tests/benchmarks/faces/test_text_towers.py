"""What text towers of faces are compared by, and MiniLM's network, without any weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "faces"))

import text_towers
from attributes import ATTRIBUTES
from face_captions import DATA
from minilm import HEADS, INNER, LAYERS, WIDTH, MiniLM, stored_name
from text_towers import Wording


def test_no_caption_states_anything_by_a_word_of_the_held_out_wordings():
    known = text_towers.words_of(json.dumps(DATA))
    for name, values in text_towers.WORDINGS["attributes"].items():
        for key, neutrals in values.items():
            allowed = ATTRIBUTES[name].values if name in ATTRIBUTES else DATA["attributes"][name]
            assert set(key.split("|")) <= set(allowed), (name, key)
            for neutral, phrases in neutrals.items():
                for phrase in phrases:
                    own = text_towers.words_of(phrase) - text_towers.words_of(neutral)
                    own -= {"face", "person", "under", "their", "amid"}
                    assert own, phrase
                    assert not own & known, phrase


def test_the_wordings_asked_are_those_of_attributes_that_are_learnt(monkeypatch):
    monkeypatch.setattr(text_towers, "ATTRIBUTES", {"hat": ("yes", "no")})
    assert {wording.attribute for wording in text_towers.wordings()} == {"hat"}
    assert Wording("hat", ("no",), "a person", "a person without a fedora") in (
        text_towers.wordings()
    )


def test_auc_counts_pairs_in_the_right_order_and_ties_half():
    has = np.array([True, True, False, False])
    assert text_towers.auc(np.array([3, 1, 1, 0], np.float32), has) == pytest.approx(3.5 / 4)
    assert np.isnan(text_towers.auc(np.zeros(4, np.float32), np.ones(4, np.bool_)))


def test_scores_are_those_of_the_phrase_less_its_neutral_one():
    known = {"a face": torch.tensor([1.0, 0.0]), "a hat": torch.tensor([0.6, 0.8])}

    def texts(asked: list[str]) -> Tensor:
        return torch.stack([known[text] for text in asked])

    vision = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = text_towers.scores(texts, vision, [Wording("hat", ("yes",), "a face", "a hat")])
    assert found == pytest.approx(np.array([[-0.4, 0.8]]))


def test_a_text_of_unknown_words_is_told_by_the_nearest_saying_if_one_is_near(monkeypatch):
    monkeypatch.setattr(text_towers, "sayings", lambda: ["a bearded face", "a hatted face"])
    directions = {
        "a bearded face": [1.0, 0.0, 0.0],
        "a hatted face": [0.0, 1.0, 0.0],
        "a face with a goatee": [0.6, 0.0, 0.8],
        "interest rates": [0.0, 0.1, 0.99],
    }
    given: list[str] = []

    def own(texts: list[str]) -> Tensor:
        given.extend(texts)
        return torch.zeros(len(texts), 1)

    texts = text_towers.by_sayings(own, lambda asked: torch.tensor([directions[t] for t in asked]))
    texts(["a face with a goatee", "interest rates", "a smiling man"])
    assert given == ["a bearded face", "a face", "a smiling man"]


def test_a_head_learns_to_reach_the_pictures_and_goes_on_from_what_was_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(text_towers, "TEXT_STEPS", 60)
    monkeypatch.setattr(text_towers, "ROUNDS", 1)
    torch.manual_seed(1)
    values = {name: F.one_hot(torch.arange(40) % len(values), len(values)).float()
              for name, values in text_towers.ATTRIBUTES.items()}  # fmt: skip
    count = sum(len(values) for values in text_towers.ATTRIBUTES.values())
    caption = text_towers.Caption("a face", ())
    pool = F.normalize(torch.randn(1 + count, WIDTH), dim=1)
    vision = F.normalize(torch.cat(list(values.values()), 1) @ torch.randn(count, 128), dim=1)
    deadline = text_towers.Deadline(1000)
    asked = (0, [caption], pool, vision, values)
    head, _ = text_towers.train_head(tmp_path / "head.pt", *asked, deadline)
    names = iter(head(pool[1:]).split([len(v) for v in text_towers.ATTRIBUTES.values()]))
    right = [
        ((vision @ next(names).t()).argmax(1) == v.argmax(1)).float().mean()
        for v in values.values()
    ]
    assert torch.stack(right).mean() > 0.9
    monkeypatch.setattr(text_towers, "captions_loss", None)  # nothing is learnt twice
    again, _ = text_towers.train_head(tmp_path / "head.pt", *asked, deadline)
    assert torch.equal(again.layers[0].weight, head.layers[0].weight)


def test_minilm_is_the_published_transformer_whatever_is_padded():
    torch.manual_seed(0)
    network = MiniLM(vocabulary=50, positions=16).eval()
    plain = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(
            WIDTH, HEADS, INNER, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True
        ),
        LAYERS,
        enable_nested_tensor=False,
    ).eval()
    for ours, theirs in zip(network.layers, plain.layers, strict=True):
        parts = (ours.query, ours.key, ours.value)
        joined = [torch.cat([getattr(part, kind) for part in parts]) for kind in ("weight", "bias")]
        theirs.self_attn.in_proj_weight.data, theirs.self_attn.in_proj_bias.data = joined
        pairs = ((theirs.self_attn.out_proj, ours.out), (theirs.linear1, ours.wide),
                 (theirs.linear2, ours.narrow))  # fmt: skip
        for to, source in pairs:
            to.load_state_dict(source.state_dict())
    tokens = torch.randint(1, 50, (2, 7))
    with torch.no_grad():
        x = network.words(tokens) + network.positions.weight[:7] + network.kinds.weight[0]
        wanted = F.normalize(plain(network.norm(x)).mean(1), dim=1)
        mask = torch.ones_like(tokens)
        assert network(tokens, mask).numpy() == pytest.approx(wanted.numpy(), abs=1e-5)
        padded, masked = (F.pad(x, (0, 3)) for x in (tokens, mask))
        assert network(padded, masked).numpy() == pytest.approx(wanted.numpy(), abs=1e-5)


def test_names_of_minilm_are_those_of_its_file():
    assert stored_name("words.weight") == "embeddings.word_embeddings.weight"
    assert stored_name("norm.bias") == "embeddings.LayerNorm.bias"
    first = "encoder.layer.3.attention."
    assert stored_name("layers.3.out.bias") == f"{first}output.dense.bias"
    assert stored_name("layers.3.attended.weight") == f"{first}output.LayerNorm.weight"
    assert stored_name("layers.5.done.bias") == "encoder.layer.5.output.LayerNorm.bias"
    assert stored_name("layers.0.wide.weight") == "encoder.layer.0.intermediate.dense.weight"
