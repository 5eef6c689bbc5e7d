"""What is the same but for rounding.

Sums come in another order on another processor and by another batch, stride, alignment or count of
threads, so bits are compared only where one computation is repeated as it was, or where nothing is
computed; everything else by these two.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleatlas.store.atlas import Atlas

Floats = Tensor | NDArray[np.floating]


def assert_near(found: Floats, wanted: Floats, share: float = 1e-5) -> None:
    """Two arrays of one shape and type whose values differ by at most `share` of the largest one.

    A hundred units in the last place of a float32, of which sums of some hundred products take a
    few and a generator's dozen layers some tens.
    """
    wanted = torch.as_tensor(wanted)
    bound = share * float(wanted.abs().max()) if wanted.numel() else 0.0
    torch.testing.assert_close(torch.as_tensor(found), wanted, rtol=0, atol=bound)


def assert_pixels_near(found: object, wanted: object) -> None:
    """Two pictures of 8 bits of one size, whose values differ by at most one: what lies between
    two of them falls to either side."""
    one, other = np.asarray(found), np.asarray(wanted)
    assert one.dtype == other.dtype == np.uint8 and one.shape == other.shape
    assert np.abs(one.astype(np.int16) - other).max() <= 1


def assert_atlases_near(found: Atlas, wanted: Atlas) -> None:
    """Two atlases of the same channels and prompts whose numbers are near, and that were drawn by
    the same models and settings.

    Rows and their numbers by half a percent: a slope changes by a thousandth where a value falls to
    the other side of an activation's kink. And by more where an embedding hardly moves, so that
    rounding, some units in the last place of the embedding, is much of its direction.
    """
    for name in ("channels", "images"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
    for name in ("style_mean", "style_std"):
        assert_near(getattr(found, name), getattr(wanted, name))
    assert_near(found.strength, wanted.strength, 5e-3)
    allowed = 5e-3 + 3e-6 / np.maximum(wanted.strength, 1e-9)
    assert (np.abs(found.rows - wanted.rows).max(1) / allowed).max() <= 1
    assert (np.abs(found.consistency - wanted.consistency) / allowed).max() <= 1
    assert found.prompts.texts == wanted.prompts.texts
    assert_near(found.prompts.embeddings, wanted.prompts.embeddings)
    one, other = dict(found.fingerprint.settings), dict(wanted.fingerprint.settings)
    # What the audit found is rounded to four places, so that it may fall to either side.
    assert one.pop("audit", {}) == pytest.approx(other.pop("audit", {}), abs=1.5e-4)
    assert replace(found.fingerprint, settings=one) == replace(wanted.fingerprint, settings=other)
