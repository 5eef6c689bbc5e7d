"""Samples: unedited images, each with its latent w and its CLIP embedding.

They are how an atlas knows what a generator shows and how often. The latents come in chunks, each
from a stream of its own, so that a sample is the same however many there are; so an atlas can be
given more of them later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine.models.protocols import Generator, JointEncoder
from ..engine.models.sampling import one_hot_labels, w_shape
from ..engine.steering.samples import SampleMap
from ..engine.steering.texts import encode_with
from ..prompts.nonsense import nonsense
from ..store.errors import OptionError
from ..store.features import FeatureSource
from ..store.sample_set import SampleSet
from .affine import affine_map, styles_of
from .blocks import Arrays, RunBlocks, WorkBlock
from .features import readings_of
from .plan import Plan
from .samples import PULLED_PSI, SAMPLE_PSI, RenderedBlock
from .streams import Stream

_PROVEN = 64  # latents that the map from w to styles is proven on
_NONSENSE = 129  # prompts; each but the first makes a difference with the one before
_CHUNK = 1_000  # latents of one stream; another number would give other samples

Rendered = TypeVar("Rendered", bound=RenderedBlock)


@dataclass(frozen=True, eq=False)
class Drawing:
    """The latents of a run's samples, and what is known of them before any is rendered.

    Args:
        w, label: of all samples, float16 (N, w_dim) and int32 (N,).
        centre: the average w, float32 (w_dim,).
        known: the first of the samples, where an atlas has them already.
    """

    w: NDArray[np.float16]
    label: NDArray[np.int32]
    centre: NDArray[np.float32]
    known: SampleSet | None = None

    @classmethod
    def of(
        cls,
        generator: Generator,
        samples: int,
        seed: int,
        label: int | None,
        known: SampleSet | None = None,
    ) -> Drawing:
        """The first so many samples of a seed, those of `known` among them.

        Raises:
            OptionError: a class that the generator does not have, w whose rows are not alike, or
                `known` are other samples.
        """
        w, labels = sample_latents(generator, samples, seed, label)
        centre = average_w(generator)
        if known is not None:
            n = len(known)
            same = n <= samples and np.array_equal(known.label, labels[:n])
            # They were perhaps drawn on another device, which rounds otherwise.
            if not same or not np.allclose(known.w, w[:n], rtol=0.01, atol=0.01 * known.w.std()):
                raise OptionError(
                    f"samples: the atlas has {n} that are not the first of seed {seed}, so more of "
                    "them cannot be drawn; choose another -o"
                )
            w[:n] = known.w
        return cls(w, labels, centre, known)

    def measure(
        self,
        generator: Generator,
        encoder: JointEncoder,
        plan: Plan,
        run: RunBlocks,
        sources: Mapping[str, FeatureSource],
    ) -> SampleSet:
        """All samples: those that are known, and what `run` returns of the blocks of the plan; and
        what their scores are along prompts that mean nothing.

        Args:
            sources: who reads the features that all of them have.
        """
        w = self.w.astype(np.float32)
        before = self.known
        known = {} if before is None else before.readings
        read = [arrays for _, arrays in run(_filled(plan.features, w), plan.first_features)]
        if before is not None and not (plan.samples or plan.pulled):
            return replace(before, readings=readings_of(sources, known, read)) if read else before
        psi = PULLED_PSI if before is None else before.pulled_psi
        nearer = self.centre + np.float32(psi) * (w - self.centre)
        sampled = _kept(run(_filled(plan.samples, w), plan.first_samples), read)
        pulled = run(_filled(plan.pulled, nearer), plan.first_pulled)
        unknown = np.zeros(0, np.float32)
        samples = SampleSet(
            w=self.w,
            label=self.label,
            embedding=_joined(None if before is None else before.embedding, sampled),
            pulled=_joined(None if before is None else before.pulled, pulled),
            pulled_psi=psi,
            centre=self.centre,
            null_gain=unknown,
            null_spread=unknown,
            **self._styles(generator, w),
        )
        samples = replace(samples, readings=readings_of(sources, known, read))
        gain, spread = SampleMap(samples).chance(meaningless(encoder))
        return replace(samples, null_gain=gain, null_spread=spread)

    def _styles(self, generator: Generator, w: NDArray[np.float32]) -> dict[str, Any]:
        """The map from w to styles, or the styles where there is none."""
        if self.known is not None and self.known.weight is not None and self.known.bias is not None:
            return {"weight": self.known.weight, "bias": self.known.bias}
        found = affine_map(generator, w[:_PROVEN])
        if found is not None and self.known is None:
            return {"weight": found[0], "bias": found[1]}
        return {"styles": styles_of(generator, w).astype(np.float16)}


def meaningless(encoder: JointEncoder) -> NDArray[np.float64]:
    """Text differences (K, D) between prompts that mean nothing."""
    embedded = encode_with(encoder)(nonsense(_NONSENSE))
    embedded = embedded / np.linalg.norm(embedded, axis=1, keepdims=True)
    return np.diff(embedded.astype(np.float64), axis=0)


def _filled(blocks: Sequence[Rendered], w: NDArray[np.float32]) -> list[Rendered]:
    """The blocks with their latents out of those of all samples (N, w_dim)."""
    return [replace(block, w=w[block.first : block.last]) for block in blocks]


def _kept(
    blocks: Iterable[tuple[WorkBlock, Arrays]], read: list[Arrays]
) -> Iterator[tuple[WorkBlock, Arrays]]:
    """The blocks as they come, of which all but the embeddings is put into `read`."""
    for block, arrays in blocks:
        read.append({name: values for name, values in arrays.items() if name != "embedding"})
        yield block, arrays


def _joined(
    known: NDArray[np.float16] | None, blocks: Iterable[tuple[WorkBlock, Arrays]]
) -> NDArray[np.float16]:
    """Unit embeddings (n, D) of the known ones and of the blocks, as an atlas keeps them."""
    parts = [] if known is None else [known]
    for _, arrays in blocks:
        embedding = arrays["embedding"]
        lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
        parts.append((embedding / lengths).astype(np.float16))
    return np.concatenate(parts)


@torch.inference_mode()
def sample_latents(
    generator: Generator, samples: int, seed: int, label: int | None = None
) -> tuple[NDArray[np.float16], NDArray[np.int32]]:
    """w (N, w_dim) of the first N samples of a seed, at psi 1 and as an atlas keeps them, and their
    classes (N,), which are -1 where the generator has none.

    A conditional generator gives images of class `label`, or of random classes.

    Raises:
        OptionError: a class that the generator does not have, or w whose rows are not alike.
    """
    latents, labels = [], []
    for chunk in range(-(-samples // _CHUNK)):
        random = Stream.SAMPLES.random(seed, chunk)
        z = torch.from_numpy(random.standard_normal((_CHUNK, generator.z_dim), np.float32))
        classes = np.full(_CHUNK, -1, np.int32)
        if generator.c_dim:
            classes = random.integers(generator.c_dim, size=_CHUNK).astype(np.int32)
            classes = classes if label is None else np.full_like(classes, label)
        c = one_hot_labels(generator, classes.tolist(), label)
        w = generator.map(z.to(generator.device), c, truncation=SAMPLE_PSI)
        latents.append(_row(w).astype(np.float16))
        labels.append(classes)
    if not samples:
        return np.zeros((0, w_shape(generator)[1]), np.float16), np.zeros(0, np.int32)
    return np.concatenate(latents)[:samples], np.concatenate(labels)[:samples]


@torch.inference_mode()
def average_w(generator: Generator) -> NDArray[np.float32]:
    """What truncation pulls towards, (w_dim,)."""
    z = torch.zeros(1, generator.z_dim, device=generator.device)
    w = _row(generator.map(z, one_hot_labels(generator, [0], None), truncation=0.0))  # (1, w_dim)
    return w.reshape(-1)


def _row(w: torch.Tensor) -> NDArray[np.float32]:
    """The row (n, w_dim) that all rows of w (n, num_ws, w_dim) are."""
    if not torch.equal(w, w[:, :1].expand_as(w)):
        raise OptionError(
            "samples: the layers of this generator take different w, which samples do not keep; "
            "leave them out: --samples 0"
        )
    row: NDArray[np.float32] = w[:, 0].float().cpu().numpy()
    return row
