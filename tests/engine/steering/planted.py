"""Samples of a generator whose attributes are known: who has what, the step to it in style space,
and the prompts that name it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from styleatlas.engine.steering.samples import SampleMap
from styleatlas.store.bank import PromptBank
from styleatlas.store.features import Feature, FeatureSource
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.sample_set import SampleSet

Array = NDArray[np.float64]

W, CHANNELS, WIDTH = 24, 80, 48
PULLED_PSI = 0.7
STEP = 5.0  # of an attribute in w, whose other numbers have a standard deviation of 1
SHOWN = 0.35  # of an embedding of length 1, by an attribute
SAID = 0.4  # of a prompt, the same
_NONSENSE = 128


@dataclass(frozen=True)
class World:
    """Samples with planted attributes.

    Args:
        has: how much each sample has of each attribute, (N, A); 0 or 1 unless it is graded.
        codes: the step of each in w, (A, W).
        words: the unit direction of each in CLIP's space, (A, WIDTH).
        plain: the unit embedding of a prompt that says nothing.
        samples: what an atlas would keep.
    """

    has: Array
    codes: Array
    words: Array
    plain: Array
    samples: SampleSet

    def prompt(self, *attributes: int) -> NDArray[np.float32]:
        """The embedding of a prompt that names attributes, or none, (WIDTH,)."""
        said = self.plain + SAID * self.words[list(attributes)].sum(0)
        return (said / np.linalg.norm(said)).astype(np.float32)

    def reading(self, **numbers: Array) -> World:
        """The same, of whose samples a network read these numbers, (N,) each; NaN is not found."""
        values = np.stack([*numbers.values()], 1).astype(np.float32)
        reader = ModelIdentity("reader", "0" * 64, {})
        source = FeatureSource(reader, tuple(numbers), "share", (0.0, 0.0, 1.0, 1.0))
        readings = {"read": Feature(values, source)}
        return replace(self, samples=replace(self.samples, readings=readings))

    def step(self, attribute: int) -> Array:
        """Of an attribute, in style space, (CHANNELS,)."""
        assert self.samples.weight is not None
        return self.samples.weight.astype(np.float64) @ self.codes[attribute]

    def map(self, *phrases: int) -> SampleMap:
        """The samples, asked with a bank of phrases that name one attribute each."""
        if not phrases:
            return SampleMap(self.samples, plain=self.prompt())
        around = np.stack([self.prompt(number) - self.prompt() for number in phrases])
        around /= np.linalg.norm(around, axis=1, keepdims=True)
        bank = PromptBank(tuple(named(number) for number in phrases), around.astype(np.float32))
        return SampleMap(self.samples, bank, self.prompt())

    def moved(self, step: NDArray[np.floating]) -> Array:
        """How many times each attribute a step in style space (CHANNELS,) brings, (A,)."""
        assert self.samples.weight is not None
        in_w = np.linalg.lstsq(self.samples.weight.astype(np.float64), step, rcond=None)[0]
        return in_w @ self.codes.T / STEP**2


def named(attribute: int) -> str:
    return f"thing {attribute}"


def world(
    has: Sequence[Array],
    separation: float = 6.0,
    seed: int = 0,
    classes: int = 0,
    shown: Sequence[float] | None = None,
) -> World:
    """Samples that have attributes `has` (A arrays (N,)). `separation` is how far apart groups lie
    in scores, in standard deviations; `classes` of a conditional generator differ in their mean;
    `shown` is how much CLIP sees of each attribute, 1 if not given."""
    random = np.random.default_rng(seed)
    many = np.stack(has, 1).astype(np.float64)
    n, a = many.shape
    codes = STEP * np.linalg.qr(random.normal(size=(W, W)))[0][:a]
    basis = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0].T
    words, plain, others = basis[:a], basis[a], basis[a + 1 :]
    weight = random.normal(size=(CHANNELS, W)) / np.sqrt(W)
    label = random.integers(classes, size=n) if classes else np.full(n, -1)
    w = random.normal(size=(n, W)) + many @ codes
    amounts = np.ones(a) if shown is None else np.array(shown)
    noise = random.normal(size=(n, WIDTH)) / separation
    embedding = plain + SHOWN * ((many * amounts) @ words + noise)
    if classes:  # a class lies along the attributes, too, and each has another share of them
        w += 4 * random.normal(size=(classes, W))[label]
        embedding += SHOWN * random.normal(size=(classes, WIDTH))[label]
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    samples = SampleSet(
        w=w.astype(np.float16),
        label=label.astype(np.int32),
        embedding=embedding.astype(np.float16),
        pulled=embedding[: n // 2].astype(np.float16),
        pulled_psi=PULLED_PSI,
        centre=np.zeros(W, np.float32),
        null_gain=np.zeros(0, np.float32),
        null_spread=np.zeros(0, np.float32),
        weight=weight.astype(np.float32),
        bias=random.normal(size=CHANNELS).astype(np.float32),
    )
    nothing = random.normal(size=(_NONSENSE, len(others))) @ others
    nothing = plain + SAID * nothing / np.linalg.norm(nothing, axis=1, keepdims=True)
    nothing /= np.linalg.norm(nothing, axis=1, keepdims=True)
    gain, spread = SampleMap(samples).chance(nothing - plain)
    samples = replace(samples, null_gain=gain, null_spread=spread)
    return World(many, codes, words, plain, samples)


def some(share: float, count: int = 4_000, seed: int = 1) -> Array:
    """Who of `count` has a thing that this share of them has, (count,)."""
    has = np.arange(count) < round(share * count)
    return np.random.default_rng(seed).permutation(has).astype(np.float64)


def alike(has: Array, rate: float, seed: int = 2) -> Array:
    """Who has another thing that comes with the one with this correlation, as often as it."""
    random = np.random.default_rng(seed)
    drawn = random.random(len(has)) < has.mean()
    return np.where(random.random(len(has)) < rate, has, drawn).astype(np.float64)
