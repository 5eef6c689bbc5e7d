"""From a generator and a CLIP to an atlas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone

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
from .plan import plan_blocks
from .statistics import image_styles, require_samples, style_statistics
from .sweep import sweep_block

MAX_IMAGES = 100_000
MAX_STRENGTH = 50.0


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


def precompute(
    generator: Generator,
    encoder: JointEncoder,
    prompts: PromptSet,
    settings: Settings,
    progress: Callable[[int, int], None],
) -> Atlas:
    """Draws the atlas of a generator as a CLIP sees it.

    `progress(done, total)` is called after every block, in pairs of renders.

    Raises:
        OptionError: settings that the generator cannot satisfy.
        PromptError: a phrase that CLIP cannot read.
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
    done, total = 0, sum(block.pairs for block in blocks)
    for block in blocks:
        sums = sweep_block(generator, encoder, block, styles, centre, step)
        where = np.searchsorted(channels, block.channels)
        unit[where] += sums.unit
        length[where] += sums.length
        done += block.pairs
        progress(done, total)

    rows = unit / settings.images
    consistency = np.linalg.norm(rows, axis=1)
    rows = np.divide(rows, consistency[:, None], where=consistency[:, None] > 0, out=rows)
    details = {"method": "sweep", **asdict(settings), "templates": list(prompts.templates)}
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
        library=f"styleatlas {__version__}",
    )
