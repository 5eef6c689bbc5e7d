"""How to train an encoder."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.checkpoints.own_encoder_file import MOST_PASSES
from ..engine.models.sampling import MAX_SEED
from ..store.errors import OptionError
from .mapper_settings import MAX_BATCH, MAX_STEPS, MAX_WEIGHT


@dataclass(frozen=True)
class EncoderSettings:
    """What decides an encoder, beside its generator, samples and the networks of its losses.

    Args:
        steps: at most so many, 1 to 100,000.
        batch: images a step, 1 to 1,024.
        learning_rate: at its highest, above 0.
        images: so many are drawn once and learned from again and again, 1 to 100,000; None: every
            step draws its own. With one pass and losses of latents alone, nothing is drawn then.
        passes: how often it looks at how the generator draws what it found, 1 to 20.
        pixels: weight of the mean absolute difference of pixels, 0 to 1,000; 0 with no LPIPS and
            no identity loss learns from latents alone, which takes a fraction of the time.
        lpips, identity: weights of these losses, where there are any.
        seed: of weights and images, 0 to 2^32 - 1.
        validate_every: steps from one validation to the next.
        patience: validations without a gain before the training ends early.

    Raises:
        OptionError: a value out of its range.
    """

    steps: int = 2_000
    batch: int = 16
    learning_rate: float = 1e-3
    images: int | None = None
    passes: int = 3
    pixels: float = 4.0
    lpips: float = 0.8
    identity: float = 0.1
    seed: int = 0
    validate_every: int = 100
    patience: int = 50

    def __post_init__(self) -> None:
        bounds = {"steps": MAX_STEPS, "batch": MAX_BATCH, "validate_every": MAX_STEPS}
        for name, most in {**bounds, "patience": MAX_STEPS, "passes": MOST_PASSES}.items():
            if not 1 <= getattr(self, name) <= most:
                raise OptionError(f"{name} {getattr(self, name)}: must lie between 1 and {most}")
        if self.images is not None and not 1 <= self.images <= MAX_STEPS:
            raise OptionError(f"images {self.images}: must lie between 1 and {MAX_STEPS}")
        for name in ("pixels", "lpips", "identity"):
            if not 0 <= getattr(self, name) <= MAX_WEIGHT:
                raise OptionError(
                    f"{name} {getattr(self, name):g}: must lie between 0 and {MAX_WEIGHT:g}"
                )
        if not 0 < self.learning_rate <= 1:
            raise OptionError(f"learning rate {self.learning_rate:g}: must lie above 0 and up to 1")
        if not 0 <= self.seed <= MAX_SEED:
            raise OptionError(f"seed {self.seed}: must lie between 0 and {MAX_SEED}")
