"""From a generator and a CLIP to an atlas."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..engine.protocols import Generator, JointEncoder
from ..engine.sampling import MAX_SEED, require_truncation
from ..engine.texts import encode_with
from ..prompts.embed import build_bank
from ..prompts.sets import PromptSet
from ..store.atlas import Atlas
from ..store.errors import OptionError
from ..store.fingerprint import Fingerprint
from ..store.shards import Run, WorkFolder
from .plan import WorkBlock, plan_blocks
from .statistics import image_styles, require_samples, style_statistics
from .sweep import BlockSums, sweep_block

MAX_IMAGES = 100_000
MAX_STRENGTH = 50.0
_LIBRARY = f"styleatlas {__version__}"


@dataclass(frozen=True)
class Settings:
    """What decides the content of an atlas, beside its models and prompts.

    Args:
        images: images each channel is swept over, 1 to 100,000.
        strength: how many standard deviations a channel moves to either side, above 0 to 50.
        truncation: psi of the images and of the statistics, 0 to 2.
        samples: latents behind the style statistics, at least 2.
        seed: of the latents, 0 to 2^32 - 1.
        label: the class of all images of a conditional generator; None: classes at random.

    Raises:
        OptionError: a value out of its range.
    """

    images: int = 100
    strength: float = 5.0
    truncation: float = 0.7
    samples: int = 10_000
    seed: int = 0
    label: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.images <= MAX_IMAGES:
            raise OptionError(f"images {self.images}: must lie between 1 and {MAX_IMAGES}")
        if not 0 < self.strength <= MAX_STRENGTH:
            raise OptionError(
                f"strength {self.strength:g}: must lie above 0 and up to {MAX_STRENGTH:g} sigma"
            )
        require_truncation(self.truncation)
        require_samples(self.samples)
        if not 0 <= self.seed <= MAX_SEED:
            raise OptionError(f"seed {self.seed}: must lie between 0 and {MAX_SEED}")


def open_work(
    atlas: str | os.PathLike[str],
    generator: Generator,
    encoder: JointEncoder,
    prompts: PromptSet,
    settings: Settings,
) -> WorkFolder:
    """The work folder beside the file that this atlas will be written to.

    Raises:
        OptionError: settings that the generator cannot satisfy.
        ResumeError, OutputError: a folder that cannot be taken up or made.
    """
    blocks = plan_blocks(generator.layout, settings.images)
    texts = json.dumps([prompts.phrases, prompts.templates]).encode()
    run = Run(
        Fingerprint(generator.identity, encoder.identity, _details(settings)),
        prompts=hashlib.sha256(texts).hexdigest(),
        blocks=len(blocks),
        library=_LIBRARY,
    )
    return WorkFolder(atlas, run, [_shapes(block, encoder.width) for block in blocks])


def precompute(
    generator: Generator,
    encoder: JointEncoder,
    prompts: PromptSet,
    settings: Settings,
    progress: Callable[[int, int], None],
    work: WorkFolder | None = None,
) -> Atlas:
    """Draws the atlas of a generator as a CLIP sees it.

    With `work`, from `open_work` with the same arguments, finished blocks are kept and those that
    were kept are not drawn again; the arrays are the same, bit for bit on one device.

    `progress(done, total)` is called before the first block and after each, in pairs of renders.

    Raises:
        OptionError: settings that the generator cannot satisfy.
        PromptError: a phrase that CLIP cannot read.
        OutputError: a block that cannot be kept.
    """
    # The bank first: a phrase that cannot be embedded should not cost a sweep.
    bank = build_bank(prompts.phrases, prompts.templates, encode_with(encoder), encoder.width)
    blocks = plan_blocks(generator.layout, settings.images)
    drawn = (settings.truncation, settings.seed, settings.label)
    mean, std = style_statistics(generator, settings.samples, *drawn)
    styles = image_styles(generator, settings.images, *drawn)
    centre = torch.from_numpy(mean).to(generator.device)
    step = torch.from_numpy(settings.strength * std).to(generator.device)

    channels = np.unique(np.concatenate([block.channels for block in blocks]))
    unit = np.zeros((len(channels), encoder.width))
    length = np.zeros(len(channels))

    def sweep(block: WorkBlock) -> BlockSums:
        return sweep_block(generator, encoder, block, styles, centre, step)

    # Sums of floats depend on their order: blocks are added in that of the plan, always.
    for block, sums in _all_sums(blocks, sweep, progress, work):
        where = np.searchsorted(channels, block.channels)
        unit[where] += sums.unit
        length[where] += sums.length

    rows = unit / settings.images
    consistency = np.linalg.norm(rows, axis=1)
    rows = np.divide(rows, consistency[:, None], where=consistency[:, None] > 0, out=rows)
    details = {**_details(settings), "templates": list(prompts.templates)}
    return Atlas(
        layout=generator.layout,
        style_mean=mean,
        style_std=std,
        channels=channels,
        rows=rows.astype(np.float32),
        consistency=consistency.astype(np.float32),
        strength=(length / settings.images).astype(np.float32),
        images=np.full(len(channels), settings.images, np.int32),
        prompts=bank,
        fingerprint=Fingerprint(generator.identity, encoder.identity, details),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        library=_LIBRARY,
    )


def _details(settings: Settings) -> dict[str, Any]:
    """What decides the blocks of a run, beside its models."""
    return {"method": "sweep", **asdict(settings)}


def _all_sums(
    blocks: Sequence[WorkBlock],
    sweep: Callable[[WorkBlock], BlockSums],
    progress: Callable[[int, int], None],
    work: WorkFolder | None,
) -> Iterator[tuple[WorkBlock, BlockSums]]:
    """The sums of every block in the order of the plan, taken from the work folder or swept."""
    kept = work.done if work else frozenset()
    done, total = sum(blocks[number].pairs for number in kept), sum(b.pairs for b in blocks)
    progress(done, total)
    for number, block in enumerate(blocks):
        arrays = work.load(number) if work else None
        if arrays is not None:
            yield block, BlockSums(**arrays)
            continue
        sums = sweep(block)
        if work:
            work.save(number, {"unit": sums.unit, "length": sums.length})
        yield block, sums
        done += 0 if number in kept else block.pairs
        progress(done, total)


def _shapes(block: WorkBlock, width: int) -> dict[str, tuple[int, ...]]:
    """Of the arrays of `BlockSums`."""
    return {"unit": (len(block.channels), width), "length": (len(block.channels),)}
