"""Which direction an edit takes: by samples, by the table, or by both. Without torch."""

from __future__ import annotations

import numpy as np

from ...store.atlas import Atlas
from ...store.errors import DirectionError, OptionError
from .direction import Choice, Direction, find_direction, without
from .sampled import direction_by_samples, with_table
from .samples import SampleMap
from .texts import TextEmbedder


def choose_direction(
    atlas: Atlas,
    known: SampleMap | None,
    texts: TextEmbedder,
    neutral: str,
    target: str,
    choice: Choice,
) -> Direction:
    """The direction from one prompt to another; see `Choice.source`.

    Args:
        known: the samples of the atlas; None where it has none.
        texts: embeds prompts as the atlas does.

    Raises:
        DirectionError: no channel moves towards the target.
        OptionError: samples are asked for where the atlas has none, or what is to be kept is what
            the edit is about.
        LayoutError: a layer or channel that the generator does not have.
        PromptError: a prompt that cannot be embedded, or two that mean the same.
    """
    text = texts.direction(neutral, target)
    kept = [texts.direction(neutral, prompt) for prompt in choice.keep]
    if kept:
        without(text, np.stack(kept))  # refuses to keep what the edit is about
    of_table = choice.source == "table" or choice.rule != "reliable" or choice.beta is not None
    sampled = None
    if known is not None and not of_table:
        sampled = direction_by_samples(
            atlas,
            known,
            (texts.embed(neutral), texts.embed(target)),
            neutral=neutral,
            target=target,
            choice=choice,
            kept=[texts.embed(prompt) for prompt in choice.keep],
        )
        few = sampled.evidence is not None and sampled.evidence.few
        if choice.source == "samples" or not len(atlas.channels) or not few:
            return sampled
    elif choice.source == "samples":
        raise OptionError(
            "source samples: this atlas has none; draw some with `styleatlas precompute --samples`"
        )
    try:
        table = find_direction(
            atlas,
            text,
            neutral=neutral,
            target=target,
            choice=choice,
            kept=np.stack(kept) if kept else None,
        )
    except DirectionError:
        if sampled is None:
            raise
        return sampled
    return table if sampled is None else with_table(sampled, table, atlas)
