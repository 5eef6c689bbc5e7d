"""The ways of editing that an evaluation compares."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...store.atlas import Atlas
from ..editor import Editor
from ..steering.direction import Choice

SAMPLE_ALPHAS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
"""Of directions by samples, whose alpha 1 leads from who lacks a thing to who has it."""
ALPHAS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.5, 7.5, 10.0)
FEWER_ALPHAS = (2.0, 4.0, 7.0, 10.0)
"""For what is known to fail: tables without a meaning."""
DEFAULT, TABLE, PAPER = "default", "table", "paper"
PAPER_BETA = 0.1
"""What the paper's rule is tried with, which leaves beta to whoever edits."""


@dataclass(frozen=True, eq=False)
class Variant:
    """A way of editing.

    Args:
        name: what people call it.
        editor: holds the table it takes directions from.
        choice: how it chooses channels.
        alphas: the strengths to try, rising; empty to let the editor find one for every image.
    """

    name: str
    editor: Editor
    choice: Choice
    alphas: tuple[float, ...] = ()

    @property
    def columns(self) -> tuple[float | None, ...]:
        """What `Editor.apply` is to take as alpha, one after the other."""
        return self.alphas or (None,)


def compared_variants(editor: Editor, reference: Atlas | None = None) -> list[Variant]:
    """The default way, first, and what it is compared with: the same at fixed alphas, the table
    alone, where the default goes by samples, the paper's rule, and tables without a meaning; the
    paper's rule on a `reference` atlas of the same models, where there is one.

    Raises:
        FingerprintError: the reference belongs to another generator or CLIP.
    """
    paper, by_table = Choice(rule="paper", beta=PAPER_BETA), Choice(source="table")
    sampled = editor.atlas.samples is not None
    generator, encoder = editor.generator, editor.texts.encoder
    shuffled, drawn = (
        Editor(table, generator, encoder)
        for table in (shuffled_rows(editor.atlas), random_rows(editor.atlas))
    )
    variants = [
        Variant(DEFAULT, editor, Choice()),
        Variant("default, fixed alpha", editor, Choice(), SAMPLE_ALPHAS if sampled else ALPHAS),
        *([Variant(TABLE, editor, by_table)] if sampled else []),
        Variant(PAPER, editor, paper, ALPHAS),
    ]
    if reference is not None:
        variants.append(Variant("reference", Editor(reference, generator, encoder), paper, ALPHAS))
    return [
        *variants,
        Variant("shuffled rows", shuffled, by_table, FEWER_ALPHAS),
        Variant("random rows", drawn, by_table, FEWER_ALPHAS),
    ]


def shuffled_rows(atlas: Atlas, seed: int = 0) -> Atlas:
    """The atlas with its rows dealt out anew among the channels that have one; consistency and
    strength stay where they are."""
    live = np.flatnonzero(atlas.consistency > 0)
    rows = atlas.rows.copy()
    rows[live] = rows[np.random.default_rng(seed).permutation(live)]
    return replace(atlas, rows=rows)


def random_rows(atlas: Atlas, seed: int = 0) -> Atlas:
    """The atlas with random unit vectors as its rows; consistency and strength stay."""
    live = np.flatnonzero(atlas.consistency > 0)
    drawn = np.random.default_rng(seed).normal(size=(len(live), atlas.rows.shape[1]))
    rows = np.zeros_like(atlas.rows)
    rows[live] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return replace(atlas, rows=rows)
