"""Edits of the embedded pair at one alpha and beta, by which methods are compared: the ten prompts
that defaults were tuned on. How good edits are is told by `styleatlas evaluate` with others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styleatlas import Editor
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.evaluation.scores import count_edit, share
from styleatlas.engine.models.protocols import Generator
from styleatlas.engine.models.sampling import render_batches, styles_from_seeds
from styleatlas.engine.steering.direction import Choice
from styleatlas.store.registry import EMBEDDED

NEUTRAL = "a face"
ALPHA, BETA = 5.5, 0.15
# Prompt -> the attribute it sets and the values that count as success.
EDITS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a face with glasses": ("glasses", ("round", "square")),
    "a face with sunglasses": ("glasses", ("sunglasses",)),
    "a face with a beard": ("facial hair", ("beard",)),
    "a smiling face": ("mouth", ("smiling",)),
    "a face with purple hair": ("hair colour", ("purple",)),
    "a face with blonde hair": ("hair colour", ("blonde",)),
    "a bald face": ("hair", ("bald",)),
    "a face with a hat": ("hair", ("hat",)),
    "a face with dark skin": ("skin", ("dark",)),
    "a face with a blue background": ("background", ("blue",)),
}


class Avatars:
    """Avatars of seeds 1 to n, and what the judge reads of them before and after edits."""

    def __init__(self, generator: Generator, seeds: int) -> None:
        self._judge = AttributeJudge(EMBEDDED)
        self._styles = styles_from_seeds(generator, range(1, seeds + 1), 0.7)
        with torch.inference_mode():
            self.images = torch.cat(list(render_batches(generator, self._styles)))
        self._before = self._judge.look(self.images).predictions

    def edited(
        self, editor: Editor, alpha: float, **choice: Any
    ) -> Iterator[tuple[dict[str, Any], Tensor]]:
        """Figures and images of every edit; `choice` is what `Choice` takes."""
        for target, (attribute, values) in EDITS.items():
            direction = editor.direction(NEUTRAL, target, Choice(**choice))
            images = editor.apply(self._styles, direction, alpha).images
            names = self._judge.attributes[attribute]
            counts = count_edit(
                self._before,
                self._judge.look(images).predictions,
                list(self._judge.attributes).index(attribute),
                np.array([names.index(value) for value in values]),
            )
            once = np.ones((1, len(images)))
            success = share(once, counts.won[None], counts.absent[None])[0, 0]
            preservation = share(once, counts.same[None], counts.shown[None])[0, 0]
            right = share(once, counts.right[None], counts.absent[None])[0, 0]
            yield (
                {
                    "target": target,
                    "channels": len(direction.channels),
                    "absent": int(counts.absent.sum()),
                    "success": round(float(success), 1),
                    "preservation": round(float(preservation), 1),
                    "fully_right": round(float(right), 1),
                },
                images,
            )


def mean(records: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, float]:
    """Of some of the figures."""
    return {key: round(sum(r[key] for r in records) / len(records), 1) for key in keys}
