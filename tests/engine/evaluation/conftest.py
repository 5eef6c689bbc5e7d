"""An evaluation of the countable pair, made once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from styleatlas import Editor
from styleatlas.engine.evaluation.run import evaluate
from styleatlas.engine.evaluation.summary import evaluation_record

from .pixels import SEEDS, SUITE, PixelJudge


@pytest.fixture(scope="module")
def countable(countable_atlas, make_generator, make_encoder):
    editor = Editor(countable_atlas, make_generator(), make_encoder())
    still = replace(
        countable_atlas,
        rows=np.zeros_like(countable_atlas.rows),
        consistency=np.zeros_like(countable_atlas.consistency),
    )
    reports = []
    evaluation = evaluate(editor, PixelJudge(), SUITE, SEEDS, 1.0, still, reports.append)
    return evaluation, evaluation_record(evaluation), reports
