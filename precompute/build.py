"""From a generator and a CLIP to an atlas."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from ..engine.models.protocols import Generator, JointEncoder
from ..engine.models.sampling import MAX_SEED, one_hot_labels, require_truncation
from ..engine.steering.texts import encode_with
from ..prompts.embed import build_bank
from ..prompts.sets import PromptSet
from ..store.atlas import Atlas
from ..store.bank import PromptBank
from ..store.errors import OptionError
from ..store.fingerprint import Fingerprint
from ..store.shards import Run, Shapes, WorkFolder
from ..store.version import LIBRARY
from .bench import Bench, RemoteBench, Setup, Sources
from .crew import Crew, Progress
from .executors import InThisProcess
from .plan import WorkBlock, composite_blocks, reference_channels, slope_blocks, sweep_blocks
from .refit import refit, require_composites
from .slopes import Probes, require_probes
from .statistics import composite_styles, image_styles, require_samples, style_statistics
from .tables import Table, audit, screened, screened_count, sloped_table, swept_table

Method = Literal["screened", "sweep", "jacobian", "reference"]

MAX_IMAGES = 100_000
MAX_STRENGTH = 50.0
SCREENING_PROBES = 32
"""Of the screened method, where no other number is given."""


@dataclass(frozen=True)
class Settings:
    """What decides the content of an atlas, beside its models and prompts.

    Args:
        images: images each channel is measured on, 1 to 100,000.
        method: `sweep` moves every channel to both sides of its mean; `jacobian` takes slopes;
            `screened` takes slopes, sweeps the strongest tenth of the channels and audits the
            rest; `reference` is the sweep of StyleCLIP's public builders with its faults.
        probes: directions of CLIP's space that slopes are taken along, at least 8; None: all
            (`jacobian`), or 32 (`screened`; all if there are fewer prompts).
        strength: how many standard deviations a channel moves to either side, above 0 to 50.
        truncation: psi of the images and of the statistics, 0 to 2.
        samples: latents behind the style statistics, at least 2.
        seed: of the latents, 0 to 2^32 - 1.
        label: the class of all images of a conditional generator; None: classes at random.
        refit: how many composite directions the rows are refitted from, 1 to 20,000; None: rows
            stay as the method measured them.

    Raises:
        OptionError: a value out of its range, or probes for a method that takes no slopes.
    """

    images: int = 100
    method: Method = "screened"
    probes: int | None = None
    strength: float = 5.0
    truncation: float = 0.7
    samples: int = 10_000
    seed: int = 0
    label: int | None = None
    refit: int | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            known = ", ".join(get_args(Method))
            raise OptionError(f"method {self.method!r}: unknown; use one of {known}")
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
        if self.probes is not None:
            if not self.takes_slopes:
                raise OptionError(
                    f"probes {self.probes}: the method {self.method} takes no slopes; leave them "
                    "out, or use jacobian or screened"
                )
            require_probes(self.probes)
        if self.refit is not None:
            require_composites(self.refit)

    @property
    def takes_slopes(self) -> bool:
        """Whether any channel is measured by slopes."""
        return self.method in ("jacobian", "screened")

    def products(self, width: int) -> int:
        """Vector-Jacobian products an image, for a CLIP of so many dimensions."""
        return min(width, self.probes or (SCREENING_PROBES if self.method == "screened" else width))


@dataclass(frozen=True, eq=False)
class Plan:
    """The blocks of a run, after the prompt bank, which is block 0.

    Args:
        channels: the flat indices of all rows, ascending (R,).
        slopes: blocks of derivatives, numbered from 1.
        sweep: blocks of the sweep, numbered after them. Those of the screened method have the
            right sizes, but their channels are known once the slopes are.
        composites: blocks of composites, numbered last. Their steps are known once the table is.
    """

    channels: np.ndarray[Any, np.dtype[np.int64]]
    slopes: list[WorkBlock]
    sweep: list[WorkBlock]
    composites: list[WorkBlock] = field(default_factory=list)

    @classmethod
    def of(cls, generator: Generator, width: int, settings: Settings) -> Plan:
        """What `settings` ask for of a generator and a CLIP of `width` dimensions.

        Raises:
            OptionError: the generator has no channels to measure.
        """
        layout, images = generator.layout, settings.images
        channels = layout.indices("conv", "rgb")
        if settings.method == "reference":
            channels = reference_channels(layout)
        if not len(channels):
            raise OptionError("this generator has no style channels of convolutions")
        slopes, sweep = [], []
        if settings.takes_slopes:
            slopes = slope_blocks(layout, channels, images, settings.products(width))
        if settings.method == "screened":
            sweep = sweep_blocks(layout, channels[: screened_count(len(channels))], images)
        elif settings.method == "sweep":
            sweep = sweep_blocks(layout, channels, images)
        elif settings.method == "reference":
            sweep = sweep_blocks(layout, channels, images, "reference")
        return cls(channels, slopes, sweep, composite_blocks(layout, channels, settings.refit or 0))

    @property
    def renders(self) -> list[int]:
        """What every block costs, by its number."""
        return [0, *(block.renders for block in self._blocks)]

    def shapes(self, phrases: int, width: int) -> list[Shapes]:
        """Of the arrays of every block, by its number."""
        shapes: list[Shapes] = [{"embedding": (phrases, width)}]
        for block in self._blocks:
            if block.kind == "composites":
                shapes.append({"moves": (block.images, width)})
                continue
            k = len(block.channels)
            names = ["length", "inside", "outside"] if block.kind == "slopes" else ["length"]
            shapes.append({"unit": (k, width), **dict.fromkeys(names, (k,))})
        return shapes

    @property
    def _blocks(self) -> list[WorkBlock]:
        """All of them, the first numbered 1."""
        return [*self.slopes, *self.sweep, *self.composites]


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
    settings = settled(generator, encoder, prompts, settings)
    shapes = Plan.of(generator, encoder.width, settings).shapes(len(prompts.phrases), encoder.width)
    texts = json.dumps([prompts.phrases, prompts.templates]).encode()
    run = Run(
        _fingerprint(generator, encoder, settings),
        prompts=hashlib.sha256(texts).hexdigest(),
        blocks=len(shapes),
        library=LIBRARY,
    )
    return WorkFolder(atlas, run, shapes)


def precompute(
    generator: Generator,
    encoder: JointEncoder,
    prompts: PromptSet,
    settings: Settings,
    report: Callable[[Progress], None],
    work: WorkFolder | None = None,
    executor: Executor | None = None,
    sources: Sources | None = None,
) -> Atlas:
    """Draws the atlas of a generator as a CLIP sees it.

    With `work`, from `open_work` with the same arguments, finished blocks are kept and those that
    were kept are not drawn again; the arrays are the same, bit for bit on one device.

    With an `executor` from `open_executor`, other processes draw the blocks; they load the models
    from `sources`. Without, they are drawn here.

    `report` is called once the prompts are embedded and after each block.

    Raises:
        OptionError: settings that the generator or the prompts cannot satisfy.
        PromptError: a phrase that CLIP cannot read.
        OutputError: a block that cannot be kept.
        WorkerError: a process at work was lost.
        FingerprintError: a process loaded other models.
        DeviceMemoryError: not even one image fits into the device's memory.
    """
    settings = settled(generator, encoder, prompts, settings)
    plan = Plan.of(generator, encoder.width, settings)
    resumed = work.done if work else frozenset[int]()
    # The bank first: a phrase that cannot be embedded should not cost a sweep.
    bank = _bank(encoder, prompts, work)
    probes = None
    if settings.takes_slopes:
        products = settings.products(encoder.width)
        probes = Probes.of(bank.embeddings, products, settings.seed)
    drawn = (settings.truncation, settings.seed, settings.label)
    mean, std = style_statistics(generator, settings.samples, *drawn)
    styles = image_styles(generator, settings.images, *drawn).cpu().numpy()
    pool = composite_styles(generator, *drawn).cpu().numpy() if settings.refit else None
    setup = Setup(styles, mean, (settings.strength * std).astype(np.float32), probes, pool)
    if executor is None or isinstance(executor, InThisProcess):
        bench: Bench | RemoteBench = Bench(generator, encoder)
    elif sources is None:
        raise OptionError("executor: other processes need sources to load the models from")
    else:
        bench = RemoteBench(sources, generator.identity, encoder.identity)
    crew = Crew(
        executor or InThisProcess(), partial(bench, setup), work, report, plan.renders, resumed
    )
    table, found = _measure(plan, crew, settings, encoder.width, probes, generator)
    fingerprint = _fingerprint(generator, encoder, settings)
    details = {**fingerprint.settings, **found, "templates": list(prompts.templates)}
    atlas = Atlas(
        layout=generator.layout,
        style_mean=mean,
        style_std=std,
        channels=table.channels,
        rows=table.rows.astype(np.float32),
        consistency=table.consistency.astype(np.float32),
        strength=table.strength.astype(np.float32),
        images=np.full(len(table.channels), settings.images, np.int32),
        prompts=bank,
        fingerprint=replace(fingerprint, settings=details),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        library=LIBRARY,
    )
    if not plan.composites:
        return atlas
    first = len(plan.renders) - len(plan.composites)
    return refit(atlas, plan.composites, settings.seed, lambda blocks: crew.run(blocks, first))


def settled(
    generator: Generator, encoder: JointEncoder, prompts: PromptSet, settings: Settings
) -> Settings:
    """`settings` as these models and prompts allow: all directions of CLIP's space where no number
    of probes is asked for and there are too few prompts to choose them by.

    Raises:
        OptionError: the models cannot satisfy the settings.
    """
    one_hot_labels(generator, [], settings.label)
    if settings.takes_slopes and "float16" in (generator.precision, encoder.precision):
        raise OptionError(
            f"precision float16: its gradients vanish, which the method {settings.method} needs; "
            "take bfloat16, or --method sweep"
        )
    if not settings.takes_slopes or settings.probes or len(prompts.phrases) >= SCREENING_PROBES:
        return settings
    return replace(settings, probes=encoder.width)


def _measure(
    plan: Plan,
    crew: Crew,
    settings: Settings,
    width: int,
    probes: Probes | None,
    generator: Generator,
) -> tuple[Table, dict[str, Any]]:
    """The table, and what was found out about it."""
    images, after = settings.images, 1 + len(plan.slopes)
    if probes is None:
        blocks = crew.run(plan.sweep, after)
        return swept_table(plan.channels, images, width, blocks), {}
    slopes = sloped_table(plan.channels, images, width, probes, crew.run(plan.slopes, 1))
    if settings.method == "jacobian":
        return slopes, {}
    strongest, audited = screened(slopes, settings.seed)
    chosen = np.union1d(strongest, audited)
    blocks = crew.run(sweep_blocks(generator.layout, chosen, images), after)
    swept = swept_table(chosen, images, width, blocks)
    found = {"swept": len(chosen), "audit": audit(slopes, swept, strongest, probes)}
    return slopes.replaced(swept), found


def _bank(encoder: JointEncoder, prompts: PromptSet, work: WorkFolder | None) -> PromptBank:
    """The prompts as CLIP reads them: block 0, which takes a real CLIP minutes on a CPU."""
    kept = work.load(0) if work else None
    if kept is not None:
        return PromptBank(prompts.phrases, kept["embedding"].astype(np.float32))
    bank = build_bank(prompts.phrases, prompts.templates, encode_with(encoder), encoder.width)
    if work:
        work.save(0, {"embedding": bank.embeddings.astype(np.float64)})
    return bank


def _fingerprint(generator: Generator, encoder: JointEncoder, settings: Settings) -> Fingerprint:
    """What decides the blocks of a run."""
    details = asdict(settings)
    if settings.takes_slopes:
        details["probes"] = settings.products(encoder.width)
    details |= {"precision": generator.precision, "clip_precision": encoder.precision}
    return Fingerprint(generator.identity, encoder.identity, details)
