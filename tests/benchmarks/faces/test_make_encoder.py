"""What the joint encoder of faces is trained by, without any weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "faces"))

import make_encoder


def test_a_mirror_image_looks_the_other_way(monkeypatch):
    monkeypatch.setitem(make_encoder.ATTRIBUTES, "turn", ("left", "front", "right"))
    values = torch.tensor([[0.7, 0.2, 0.1]])
    assert torch.equal(make_encoder.mirrored("turn", values), torch.tensor([[0.1, 0.2, 0.7]]))
    assert torch.equal(make_encoder.mirrored("smile", values), values)


@pytest.mark.long
def test_texts_in_parts_are_embedded_as_open_clip_does(tmp_path):
    tokenize = make_encoder.tokenizer(tmp_path)
    model = make_encoder.new_model(tokenize).eval()
    tokens = tokenize(["a face", "a smiling man without glasses", "blond hair", "a", "x y z w"])
    with torch.no_grad():
        wanted = F.normalize(model.encode_text(tokens), dim=1)
        found = make_encoder.encode(model, tokens)
    assert found.numpy() == pytest.approx(wanted.numpy(), abs=1e-5)


def test_the_loss_is_nothing_where_every_value_is_foretold():
    wanted = {
        name: F.one_hot(torch.tensor([0, 1]), len(values)).float()
        for name, values in make_encoder.ATTRIBUTES.items()
    }
    logits = 50 * torch.cat(list(wanted.values()), 1)
    worth = {name: torch.ones_like(values[0]) for name, values in wanted.items()}
    assert make_encoder.values_loss(logits, wanted, worth).item() == pytest.approx(0, abs=1e-6)
    assert make_encoder.values_loss(-logits, wanted, worth).item() > 10


def test_a_rare_value_counts_more_and_all_pictures_together_as_many():
    likely = torch.tensor([[1.0, 0.0]] * 16 + [[0.0, 1.0]])
    worth = make_encoder.worths({"hat": likely})["hat"]
    assert (worth[1] / worth[0]).item() == pytest.approx(4)
    assert (likely @ worth).mean().item() == pytest.approx(1)


def test_training_goes_on_from_what_was_kept(tmp_path):
    path = tmp_path / "part.pt"
    layer, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    make_encoder.keep(path, make_encoder.snapshot({"layer": layer}, 7, 1.5))
    assert make_encoder.resumed(path, {"layer": other}) == (7, 1.5)
    assert torch.equal(layer.weight, other.weight)
    assert make_encoder.resumed(tmp_path / "none.pt", {"layer": other}) == (0, 0.0)


def test_a_stage_ends_at_its_time_and_keeps_its_state(tmp_path):
    path = tmp_path / "part.pt"
    make_encoder.Deadline(1000).check("texts", path, {"step": 3})
    assert not path.exists()
    with pytest.raises(SystemExit) as ended:
        make_encoder.Deadline(-1).check("texts", path, {"step": 3})
    assert ended.value.code == 0
    assert torch.load(path, weights_only=True) == {"step": 3}
