"""The object people hold: an atlas with its generator, and CLIP where it is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..store.atlas import Atlas
from ..store.errors import OptionError
from ..store.layout import LayerKind
from .direction import DEFAULT_BETA, DEFAULT_KINDS, Direction, find_direction
from .protocols import Generator, JointEncoder
from .sampling import render_batches
from .texts import TextEmbedder

DEFAULT_ALPHA = 5.5
MAX_ALPHA = 100.0


@dataclass(frozen=True, eq=False)
class EditResult:
    """What an edit made.

    Args:
        images: (n, channels, H, W), nominally in [-1, 1].
        styles: the edited styles (n, C).
        before: the styles (n, C) it started from.
        direction: the step, at alpha 1.
        alpha: how many such steps were taken.
        way: how the edit was found; today always "direction".
        why: the reason in words.
    """

    images: Tensor
    styles: Tensor
    before: Tensor
    direction: Direction
    alpha: float
    way: str
    why: str


@dataclass(frozen=True, eq=False)
class ClipShift:
    """What CLIP sees of an edit, a number an image (n,).

    Args:
        along: how far the image embedding moved along the text direction, -2 to 2.
        similarity: cosine of its movement with the text direction, -1 to 1 (the directional
            similarity of StyleGAN-NADA, Gal et al. 2021).
    """

    along: NDArray[np.float32]
    similarity: NDArray[np.float32]


class Editor:
    """Edits styles by pairs of prompts.

    Args:
        atlas: the generator's atlas.
        generator: the generator it was drawn with.
        encoder: the CLIP it was drawn with, or a function that loads it, called only for prompts
            that are neither in the bank nor in the cache, and to measure results.

    Raises:
        FingerprintError: the atlas belongs to another generator or CLIP.
    """

    def __init__(
        self,
        atlas: Atlas,
        generator: Generator,
        encoder: JointEncoder | Callable[[], JointEncoder],
    ) -> None:
        atlas.fingerprint.require_generator(generator.identity)
        self.atlas = atlas
        self.generator = generator
        if callable(encoder):
            self.texts = TextEmbedder(atlas, encoder)
        else:
            atlas.fingerprint.require_clip(encoder.identity)
            self.texts = TextEmbedder(atlas, lambda: encoder)

    def direction(
        self,
        neutral: str,
        target: str,
        *,
        beta: float | None = None,
        channels: int | None = None,
        kinds: tuple[LayerKind, ...] = DEFAULT_KINDS,
    ) -> Direction:
        """The direction from one prompt to another; beta is 0.15 unless it or a number of
        channels is given. See `find_direction` for the errors."""
        if beta is None and channels is None:
            beta = DEFAULT_BETA
        text = self.texts.direction(neutral, target)
        return find_direction(
            self.atlas,
            text,
            neutral=neutral,
            target=target,
            beta=beta,
            channels=channels,
            kinds=kinds,
        )

    @torch.inference_mode()
    def apply(
        self, styles: Tensor, direction: Direction, alpha: float = DEFAULT_ALPHA
    ) -> EditResult:
        """Moves styles (n, C) by alpha steps along a direction and renders them.

        Raises:
            OptionError: alpha is not finite or beyond +-100.
        """
        if not abs(alpha) <= MAX_ALPHA:
            raise OptionError(f"alpha {alpha:g}: must lie between -{MAX_ALPHA:g} and {MAX_ALPHA:g}")
        before = styles.to(self.generator.device)
        delta = torch.from_numpy(direction.delta(alpha)).to(before)
        after = before + delta
        images = torch.cat(list(render_batches(self.generator, after)))
        known, least = len(direction.channels), direction.beta
        why = f"channels of the atlas with a relevance of at least {least:.3f}: {known}"
        return EditResult(images, after, before, direction, alpha, "direction", why)

    def edit(
        self,
        styles: Tensor,
        *,
        neutral: str,
        target: str,
        alpha: float = DEFAULT_ALPHA,
        beta: float | None = None,
        channels: int | None = None,
        kinds: tuple[LayerKind, ...] = DEFAULT_KINDS,
    ) -> EditResult:
        """`direction`, then `apply`: styles (n, C) as `neutral` becomes `target`."""
        direction = self.direction(neutral, target, beta=beta, channels=channels, kinds=kinds)
        return self.apply(styles, direction, alpha)

    @torch.inference_mode()
    def measure(self, result: EditResult) -> ClipShift:
        """What CLIP sees of an edit; loads CLIP's image tower when first called."""
        encoder = self.texts.encoder
        before = torch.cat(
            [encoder.images(part) for part in render_batches(self.generator, result.before)]
        )
        moved = encoder.images(result.images) - before  # (n, D)
        text = torch.from_numpy(result.direction.text).to(moved)
        along = moved @ text
        similarity = along / moved.norm(dim=1).clamp(min=1e-8)
        return ClipShift(along.cpu().numpy(), similarity.cpu().numpy())
