"""A small sound atlas, and the same atlas as a file to damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from styleatlas.store.atlas import Atlas
from styleatlas.store.bank import PromptBank
from styleatlas.store.fingerprint import Fingerprint, ModelIdentity
from styleatlas.store.layout import StyleLayout
from styleatlas.store.sample_set import SampleSet
from styleatlas.store.schema import FEATURES


def _unit(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    rows = rng.normal(size=(n, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _fields(seed: int = 0, rows: int = 7, prompts: int = 3, width: int = 8) -> dict:
    rng = np.random.default_rng(seed)
    layout = StyleLayout.of(
        [("b4.conv1", "conv", 4, 6), ("b4.torgb", "rgb", 4, 3), ("b8.conv0", "conv", 8, 5)]
    )
    return {
        "layout": layout,
        "style_mean": rng.normal(size=layout.size),
        "style_std": rng.random(layout.size),
        "channels": np.sort(rng.permutation(layout.size)[:rows]),
        "rows": _unit(rng, rows, width),
        "consistency": rng.random(rows),
        "strength": rng.random(rows),
        "images": np.full(rows, 100),
        "prompts": PromptBank(
            tuple(f"a face with hat {i} — ünïcode" for i in range(prompts)),
            _unit(rng, prompts, width),
        ),
        "fingerprint": Fingerprint(
            ModelIdentity("avatars", "a" * 64, {"z": 32}),
            ModelIdentity("tiny clip", "b" * 64, {"width": width}),
            {"method": "sweep", "seed": seed, "ratio": 0.7, "nested": {"list": [1, None]}},
        ),
        "created": "2026-11-22T05:40:00+00:00",
        "library": "styleatlas 0.1.0",
    }


def _samples(
    seed: int = 0,
    count: int = 9,
    pulled: int = 4,
    width: int = 8,
    channels: int = 14,
    w_dim: int = 5,
) -> dict:
    rng = np.random.default_rng([seed, 1])
    return {
        "w": rng.normal(size=(count, w_dim)).astype("f2"),
        "label": np.full(count, -1, "i4"),
        "embedding": _unit(rng, count, width).astype("f2"),
        "pulled": _unit(rng, pulled, width).astype("f2"),
        "pulled_psi": 0.7,
        "centre": rng.normal(size=w_dim).astype("f4"),
        "null_gain": rng.random(6).astype("f4"),
        "null_spread": rng.random(6).astype("f4"),
        "weight": rng.normal(size=(channels, w_dim)).astype("f4"),
        "bias": rng.normal(size=channels).astype("f4"),
    }


@pytest.fixture(scope="session")
def make_samples() -> Callable[..., SampleSet]:
    """Build samples of the small atlas; whole numbers (seed, count, pulled, width, channels, w_dim)
    size them, the rest replaces."""

    def make(**changes: object) -> SampleSet:
        sizes = {name: value for name, value in changes.items() if isinstance(value, int)}
        rest = {name: value for name, value in changes.items() if name not in sizes}
        return SampleSet(**{**_samples(**sizes), **rest})

    return make


@pytest.fixture(scope="session")
def sampled_atlas(make_atlas, make_samples) -> Atlas:
    """The small atlas with samples."""
    return make_atlas(samples=make_samples())


@pytest.fixture(scope="session")
def kept_atlas(make_atlas, make_samples) -> Atlas:
    """The same with the styles of the samples in place of the map that they follow from."""
    styles = np.random.default_rng(2).normal(size=(9, 14)).astype("f2")
    return make_atlas(samples=make_samples(weight=None, bias=None, styles=styles))


@pytest.fixture(scope="session")
def make_atlas() -> Callable[..., Atlas]:
    """Build an atlas; whole numbers (seed, rows, prompts, width) size it, the rest replaces."""

    def make(**changes: object) -> Atlas:
        sizes = {name: value for name, value in changes.items() if isinstance(value, int)}
        rest = {name: value for name, value in changes.items() if name not in sizes}
        return Atlas(**{**_fields(**sizes), **rest})

    return make


@pytest.fixture(scope="session")
def atlas(make_atlas) -> Atlas:
    return make_atlas()


@pytest.fixture
def atlas_path(atlas: Atlas, tmp_path: Path) -> Path:
    path = tmp_path / "atlas.h5"
    atlas.write(path)
    return path


@pytest.fixture
def damage(atlas_path: Path) -> Callable[[Callable[[h5py.File], None]], Path]:
    """Let a function edit the atlas file through h5py, and return the path."""

    def edit(change: Callable[[h5py.File], None]) -> Path:
        with h5py.File(atlas_path, "r+") as file:
            change(file)
        return atlas_path

    return edit


def same_samples(one: SampleSet | None, other: SampleSet | None) -> bool:
    if one is None or other is None:
        return one is other
    found, known = one.arrays(), other.arrays()
    return found.keys() == known.keys() and all(
        found[path].dtype == known[path].dtype
        and np.array_equal(found[path], known[path], equal_nan=path.startswith(FEATURES))
        for path in found
    )


@pytest.fixture(scope="session")
def same_atlas() -> Callable[[Atlas, Atlas], bool]:
    def same(one: Atlas, other: Atlas) -> bool:
        plain = ("layout", "fingerprint", "created", "library")
        arrays = ("style_mean", "style_std", "channels", "rows", "consistency", "strength",
                  "images")  # fmt: skip
        return (
            all(getattr(one, name) == getattr(other, name) for name in plain)
            and all(np.array_equal(getattr(one, n), getattr(other, n)) for n in arrays)
            and one.prompts.texts == other.prompts.texts
            and np.array_equal(one.prompts.embeddings, other.prompts.embeddings)
            and same_samples(one.samples, other.samples)
        )

    return same
