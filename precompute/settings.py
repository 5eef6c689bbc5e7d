"""What decides the content of an atlas, beside its models and prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..engine.models.draft import Draft, reaching
from ..engine.models.protocols import Generator, JointEncoder
from ..engine.models.sampling import MAX_SEED, one_hot_labels, require_truncation
from ..prompts.sets import PromptSet
from ..store.errors import OptionError
from .composites import require_composites
from .methods import MEASURE_METHODS, SCREENING_PROBES, TableName
from .plan import Plan, agreement_blocks, composite_blocks, pulled_blocks, sample_blocks
from .probes import require_probes
from .samples import pulled_count, require_samples
from .statistics import require_statistics

MAX_IMAGES = 100_000
MAX_STRENGTH = 50.0


@dataclass(frozen=True)
class PrecomputeSettings:
    """What decides the content of an atlas, beside its models and prompts.

    Args:
        images: images each channel is measured on, 1 to 100,000.
        table: how channels are measured: `sweep` moves each to both sides of its mean; `jacobian`
            takes slopes; `screened` takes slopes, sweeps the strongest tenth of the channels and
            audits the rest; `reference-tensorflow` and `reference-torch` are the sweeps of
            StyleCLIP's public builders with their faults; `none` measures nothing, for an atlas of
            samples alone.
        probes: directions of CLIP's space that slopes are taken along, at least 8; None: all
            (`jacobian`), or 32 (`screened`; all if there are fewer prompts).
        strength: how many standard deviations a channel moves to either side, above 0 to 50.
        truncation: psi of the images and of the statistics, -2 to 2.
        statistics: latents behind the style statistics, at least 2.
        samples: unedited images that the atlas keeps, 0 to 100,000.
        seed: of the latents, 0 to 2^32 - 1.
        label: the class of all images of a conditional generator; None: classes at random.
        refit: how many composite directions the rows are refitted from, 1 to 20,000; None: rows
            stay as they were measured.

    Raises:
        OptionError: a value out of its range, probes for a table without slopes, or neither table
            nor samples.
    """

    images: int = 100
    table: TableName = "screened"
    probes: int | None = None
    strength: float = 5.0
    truncation: float = 0.7
    statistics: int = 10_000
    samples: int = 4_000
    seed: int = 0
    label: int | None = None
    refit: int | None = None

    def __post_init__(self) -> None:
        known = list(MEASURE_METHODS)
        if self.table not in known:
            raise OptionError(f"table {self.table!r}: unknown; use one of {', '.join(known)}")
        if not 1 <= self.images <= MAX_IMAGES:
            raise OptionError(f"images {self.images}: must lie between 1 and {MAX_IMAGES}")
        if not 0 < self.strength <= MAX_STRENGTH:
            raise OptionError(
                f"strength {self.strength:g}: must lie above 0 and up to {MAX_STRENGTH:g} sigma"
            )
        require_truncation(self.truncation)
        require_statistics(self.statistics)
        require_samples(self.samples)
        if self.table == "none" and not self.samples:
            raise OptionError("table none, samples 0: is an atlas of nothing; give one of them")
        if not 0 <= self.seed <= MAX_SEED:
            raise OptionError(f"seed {self.seed}: must lie between 0 and {MAX_SEED}")
        if self.probes is not None:
            if not self.takes_slopes:
                others = sorted(name for name in known if MEASURE_METHODS[name].takes_slopes)
                raise OptionError(
                    f"probes {self.probes}: the table {self.table} takes no slopes; leave them "
                    f"out, or use {' or '.join(others)}"
                )
            require_probes(self.probes)
        if self.refit is not None:
            if self.table == "none":
                raise OptionError(f"refit {self.refit}: there are no rows to refit with table none")
            require_composites(self.refit)

    @property
    def takes_slopes(self) -> bool:
        """Whether any channel is measured by slopes."""
        return MEASURE_METHODS[self.table].takes_slopes

    def products(self, width: int) -> int:
        """Vector-Jacobian products an image, for a CLIP of so many dimensions."""
        return MEASURE_METHODS[self.table].products(width, self.probes)

    def plan(
        self, generator: Generator, width: int, features: Mapping[str, int] | None = None
    ) -> Plan:
        """What these ask for of a generator and a CLIP of `width` dimensions, and of what is read
        of samples: by name, how many numbers. Of a draft, only channels that reach it are measured,
        and how well it agrees with whole images.

        Raises:
            OptionError: the generator has no channels to measure, or there are no samples to read.
        """
        if features and not self.samples:
            raise OptionError("features: are read of samples, of which there are none; give some")
        layout = reaching(generator)
        plan = MEASURE_METHODS[self.table].plan(layout, self.images, self.products(width))
        if not len(plan.channels) and self.table != "none":
            raise OptionError("this generator has no style channels of convolutions")
        return replace(
            plan,
            samples=sample_blocks(layout, 0, self.samples, features or {}),
            pulled=pulled_blocks(layout, 0, pulled_count(self.samples)),
            composites=composite_blocks(layout, plan.channels, self.refit or 0),
            agreement=(
                agreement_blocks(generator.layout, self.label)
                if isinstance(generator, Draft)
                else ()
            ),
        )


def settled(
    generator: Generator, encoder: JointEncoder, prompts: PromptSet, settings: PrecomputeSettings
) -> PrecomputeSettings:
    """`settings` as these models and prompts allow: all directions of CLIP's space where no number
    of probes is asked for and there are too few prompts to choose them by.

    Raises:
        OptionError: the models cannot satisfy the settings.
    """
    one_hot_labels(generator, [], settings.label)
    if settings.takes_slopes and "float16" in (generator.precision, encoder.precision):
        raise OptionError(
            f"precision float16: its gradients vanish, which the table {settings.table} needs; "
            "take bfloat16, or --table sweep"
        )
    if not settings.takes_slopes or settings.probes or len(prompts.phrases) >= SCREENING_PROBES:
        return settings
    return replace(settings, probes=encoder.width)
