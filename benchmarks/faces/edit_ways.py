"""The ways of editing that `face_edits.py` compares, by the names of its rows.

A new row is a function from `Models` to a `Way`, and a line in `WAYS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.engine.fallbacks.ways import Fallbacks
from styleatlas.engine.models.draft import Draft
from styleatlas.engine.models.protocols import Generator, JointEncoder
from styleatlas.engine.models.subject import Subject
from styleatlas.engine.result import EditResult
from styleatlas.store.bank import PromptBank
from styleatlas.store.errors import OptionError

Way = Callable[[Subject, str, str], EditResult]
"""Images, a neutral prompt and a target -> what the edit made of them."""


class Models:
    """What the ways share, loaded when it is first needed.

    Args:
        atlas: of the bundle `faces`.
        clip: the encoder that it was drawn with.
        mappers: a folder of trained mappers, for the rows `default` and `mapper`.
        alpha, beta: of the row `styleclip`.
    """

    def __init__(self, atlas: Path, clip: str, mappers: Path, alpha: float, beta: float) -> None:
        self.atlas = Atlas.open(atlas)
        self.alpha, self.beta = alpha, beta
        self._clip, self._fallbacks = clip, Fallbacks(mappers=mappers)

    @cached_property
    def generator(self) -> Generator:
        """Of images of 512 px, the means of 2 x 2 pixels of the whole ones: judges see 256."""
        return Draft(load_generator("faces", "cpu"), 512)

    @cached_property
    def encoder(self) -> JointEncoder:
        return load_encoder(self._clip, "cpu")

    @cached_property
    def editor(self) -> Editor:
        return self._editor(self.atlas)

    @cached_property
    def bare(self) -> Editor:
        """Over the same atlas without phrases, among which what comes along would be looked for and
        held."""
        text = "a face"
        bank = PromptBank((text,), self.editor.texts.embed(text)[None])
        return self._editor(replace(self.atlas, prompts=bank))

    def require_table(self) -> None:
        if not len(self.atlas.channels):
            raise OptionError("atlas: has no table of channels; leave out the rows that need one")

    def _editor(self, atlas: Atlas) -> Editor:
        return Editor(atlas, self.generator, self.encoder, fallbacks=self._fallbacks)


def _by(editor: Editor, **options: Any) -> Way:
    """As `Editor.edit` does it with these options."""
    return lambda subject, neutral, target: editor.edit(
        subject, neutral=neutral, target=target, **options
    )


def _of_table(models: Models, **options: Any) -> Way:
    models.require_table()
    return _by(models.editor, method="direction", **options)


_SAMPLES = {"method": "direction", "source": "samples"}

WAYS: dict[str, Callable[[Models], Way]] = {
    "default": lambda models: _by(models.editor),
    "default-bare": lambda models: _by(models.bare),
    "firm": lambda models: _by(models.editor, probability=0.99),
    "samples": lambda models: _by(models.editor, **_SAMPLES),
    "samples-bare": lambda models: _by(models.bare, **_SAMPLES),
    "table": lambda models: _of_table(models, source="table"),
    "styleclip": lambda models: _of_table(
        models, rule="paper", beta=models.beta, alpha=models.alpha
    ),
    "optimise": lambda models: _by(models.editor, method="optimize"),
    "mapper": lambda models: _by(models.editor, method="mapper"),
}
"""`default`: what the editor does by itself, with the table too where the atlas has one; `bare`:
nothing that comes along in the samples is held; `firm`: a search that is content later;
`styleclip`: its rule of global directions at one alpha; `optimise`: from where the direction
ends."""
