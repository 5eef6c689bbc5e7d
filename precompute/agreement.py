"""Whether a draft shows CLIP what whole images show it, measured before it is used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine.models.draft import Draft
from ..engine.models.protocols import Generator
from ..store.bank import PromptBank
from ..store.errors import OptionError
from ..store.layout import StyleLayout
from ..store.records import Record
from ..store.shards import Shapes
from .batches import MeasuredBatches
from .blocks import Arrays, Models, Setup, WorkBlock
from .samples import SAMPLE_PSI
from .statistics import styled
from .streams import Stream

COMPARED = 64
"""Samples that are seen both ways."""
LEAST = 0.97
"""Below this median, of cosines or of correlations, a draft is refused; see docs/methods.md."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AgreementBlock(WorkBlock):
    """Embeds whole images and drafts of some samples, the same in every run of a generator: its
    arrays are `whole` and `draft`, (n, D) each.

    Args:
        label: the class of all of a conditional generator; None: classes at random.
    """

    kind: ClassVar[str] = "agreement"
    counted: ClassVar[Literal["images", "composites", "samples"]] = "samples"

    first: int
    last: int
    label: int | None = None

    @property
    def renders(self) -> int:
        return 2 * self.count

    def cost(self, layout: StyleLayout) -> float:
        return self.renders

    def shapes(self, width: int) -> Shapes:
        return {"whole": (self.count, width), "draft": (self.count, width)}

    @torch.inference_mode()
    def run(self, models: Models, setup: Setup) -> Arrays:
        draft, encoder = models.generator, models.encoder
        if not isinstance(draft, Draft):
            raise OptionError(f"agreement: {draft!r} is no draft; give one")
        styles = self._styles(draft)

        def seen(generator: Generator) -> Floats:
            def part(first: int, last: int) -> Tensor:
                return encoder.images(generator.render(styles[first:last])).double().cpu()

            parts = MeasuredBatches(generator).over(self.count, part)
            return torch.cat(list(parts)).numpy()

        return {"whole": seen(draft.whole), "draft": seen(draft)}

    def _styles(self, generator: Generator) -> Tensor:
        random = Stream.AGREEMENT.random(0)
        z = random.standard_normal((COMPARED, generator.z_dim), np.float32)
        classes = random.integers(max(1, generator.c_dim), size=COMPARED)
        some = slice(self.first, self.last)
        drawn = classes[some].tolist() if generator.c_dim else []
        return styled(generator, z[some], drawn, SAMPLE_PSI, self.label)


def agreement(bank: PromptBank, blocks: Iterable[tuple[AgreementBlock, Arrays]]) -> Record:
    """How alike CLIP sees whole images and drafts, from what blocks found: the cosines of both
    embeddings of a sample around the mean of the whole images', and for every phrase of the bank
    the correlation of both scores over the samples; of each the median and the lowest tenth."""
    both = [(arrays["whole"], arrays["draft"]) for _, arrays in blocks]
    whole, draft = (np.concatenate(parts) for parts in zip(*both, strict=True))
    mean = whole.mean(0)  # of both: a shift of all drafts is one of their faults
    cosines = _cosines(whole - mean, draft - mean, 1)
    phrases = bank.centred().embeddings.astype(np.float64)  # (P, D)
    scores = [(seen - seen.mean(0)) @ phrases.T for seen in (whole, draft)]
    return {
        "samples": len(whole),
        **_told("cosine", cosines),
        **_told("correlation", _cosines(scores[0], scores[1], 0)),
    }


def require_agreement(draft: Draft, found: Record) -> None:
    """Raise OptionError where a draft is too far from the whole images."""
    if min(found["median_cosine"], found["median_correlation"]) >= LEAST:
        return
    raise OptionError(
        f"draft of {draft.side} px: CLIP sees other things in it than in whole images: "
        f"{agreement_text(found)}; both medians must be {LEAST:g} or more; leave out --draft"
    )


def agreement_text(found: Record) -> str:
    """What `agreement` found, in words."""
    return (
        f"over {found.get('samples')} samples the median cosine is {found.get('median_cosine')} "
        f"(lowest tenth {found.get('lowest_tenth_cosine')}), the median correlation of phrases' "
        f"scores {found.get('median_correlation')} ({found.get('lowest_tenth_correlation')})"
    )


def _cosines(a: Floats, b: Floats, axis: int) -> Floats:
    lengths = np.linalg.norm(a, axis=axis) * np.linalg.norm(b, axis=axis)
    products: Floats = (a * b).sum(axis)
    cosines: Floats = np.divide(products, lengths, where=lengths > 0, out=np.zeros_like(products))
    return cosines


def _told(name: str, values: Floats) -> Record:
    known = values if len(values) else np.zeros(1)
    return {
        f"median_{name}": round(float(np.median(known)), 4),
        f"lowest_tenth_{name}": round(float(np.quantile(known, 0.1)), 4),
    }
