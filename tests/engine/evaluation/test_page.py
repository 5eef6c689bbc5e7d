"""What is written of an evaluation."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.engine.evaluation.files import require_folder, write_evaluation
from styleatlas.engine.evaluation.judges import (
    AttributeJudge,
)
from styleatlas.engine.evaluation.page import evaluation_html
from styleatlas.engine.evaluation.run import evaluate
from styleatlas.engine.evaluation.samples import sample_strips
from styleatlas.engine.evaluation.suite import read_suite
from styleatlas.engine.evaluation.summary import evaluation_record, summary_text
from styleatlas.store.errors import OutputError
from styleatlas.store.registry import EMBEDDED

from .pixels import SEEDS


def test_files_hold_the_figures_and_every_sample_strip(countable, tmp_path):
    evaluation, record, _ = countable
    strips = sample_strips(evaluation)
    require_folder(tmp_path / "new" / "quality")
    write_evaluation(record, evaluation_html(record, strips), tmp_path / "new" / "quality")
    folder = tmp_path / "new" / "quality"
    assert {path.name for path in folder.iterdir()} == {
        "evaluation.json",
        "evaluation.csv",
        "index.html",
    }
    assert json.loads((folder / "evaluation.json").read_text()) == record
    with (folder / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(way["points"]) for way in record["ways"]) * 2
    page = (folder / "index.html").read_text()
    assert page.count("data:image/png;base64,") == len(strips) == 2
    assert "default-src 'none'" in unescape(page)
    assert set(re.findall("https?:[^\"' ]*", page)) == {"http://www.w3.org/2000/svg"}


def test_strip_goes_from_the_worst_image_to_the_best(countable):
    evaluation, _, _ = countable
    outcome = evaluation.results[0].outcomes[0]
    counts = evaluation.tallies(outcome)
    for number, strip in enumerate(sample_strips(evaluation)):
        at = [SEEDS.index(seed) for seed in strip.seeds]
        assert len(at) == min(8, counts.absent[number].sum())
        assert counts.absent[number][at].all()
        assert list(strip.won) == sorted(strip.won)
        lacking = counts.absent[number]
        assert strip.won[0] == counts.won[number][lacking].all()
        np.testing.assert_allclose(strip.alphas, outcome.alphas[number, at])


def test_page_escapes_prompts_and_marks_misses(countable):
    _, record, _ = countable
    spoiled = json.loads(json.dumps(record))
    row = spoiled["edits"][0]
    row["target"], row["success"] = "<script>alert(1)</script>\x1b\ud800", 12.3
    spoiled["ways"][1]["way"] = "</svg><script>"
    page = evaluation_html(spoiled, sample_strips(countable[0]))
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "&lt;/svg&gt;&lt;script&gt;" in page
    assert "alert(1)&lt;/script&gt;\ufffd\ufffd" in page
    assert "<mark>12.3</mark>" in page


def test_text_names_every_way_with_its_interval(countable):
    _, record, _ = countable
    text = summary_text(record)
    for way in record["ways"]:
        assert f"\n{way['way']}  " in text
    assert "automatic" in text and " to " in text and "\nwith keep " in text


def test_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        require_folder(tmp_path / "file" / "quality")
    (tmp_path / "index.html").mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        require_folder(tmp_path)


def test_evaluation_of_avatars_is_the_same_every_time(tmp_path):
    generator, encoder = load_generator(EMBEDDED.name, "cpu"), load_encoder(EMBEDDED.name, "cpu")
    editor = Editor(Atlas.open(EMBEDDED.atlas), generator, encoder)
    suite = read_suite(EMBEDDED.suite)
    suite = replace(suite, trials=suite.trials[10:11])
    first, second = (
        evaluation_record(evaluate(editor, AttributeJudge(EMBEDDED), suite, (3, 4, 5)))
        for _ in range(2)
    )
    assert first == second
    assert first["ways"][0]["points"][0]["success"]["value"] > 50
