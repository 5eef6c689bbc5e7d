"""From a generator and a CLIP to an atlas."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from ..engine.models.draft import Draft
from ..engine.models.features import Features
from ..engine.models.protocols import Generator, JointEncoder
from ..engine.models.sampling import w_shape
from ..engine.steering.texts import encode_with
from ..prompts.embed import build_bank
from ..prompts.sets import PromptSet
from ..store.atlas import Atlas
from ..store.bank import PromptBank
from ..store.errors import OptionError
from ..store.fingerprint import Fingerprint, digest, view_of
from ..store.records import Record
from ..store.shards import Run, WorkFolder
from ..store.version import LIBRARY
from .agreement import agreement, require_agreement
from .blocks import Models, Setup
from .drawing import Drawing
from .executors import InThisProcess
from .features import sources_of, widths_of
from .methods import MEASURE_METHODS
from .plan import Plan
from .probes import Probes
from .refit import refit
from .samples import SAMPLE_PSI
from .scheduler import RunProgress, Scheduler
from .settings import PrecomputeSettings, settled
from .statistics import composite_styles
from .worker import LocalWorker, RemoteWorker, Sources

_OF_ROWS = ("images", "probes", "strength", "refit")  # which say nothing where there are none


def open_work(
    atlas: str | os.PathLike[str],
    generator: Generator,
    encoder: JointEncoder,
    prompts: PromptSet,
    settings: PrecomputeSettings,
    features: Features | None = None,
) -> WorkFolder:
    """The work folder beside the file that this atlas will be written to.

    Raises:
        OptionError: settings that the generator cannot satisfy.
        ResumeError, OutputError: a folder that cannot be taken up or made, or a disk without room
            for it and the atlas.
    """
    settings = settled(generator, encoder, prompts, settings)
    plan = settings.plan(generator, encoder.width, widths_of(features))
    shapes = plan.shapes(len(prompts.phrases), encoder.width)
    texts = json.dumps([prompts.phrases, prompts.templates]).encode()
    run = Run(
        with_readers(fingerprint_of(generator, encoder, settings), features),
        prompts=hashlib.sha256(texts).hexdigest(),
        blocks=len(shapes),
        library=LIBRARY,
    )
    sizes = len(prompts.phrases), encoder.width, w_shape(generator)[1], generator.layout.size
    return WorkFolder(atlas, run, shapes, plan.atlas_bytes(*sizes))


def precompute(
    generator: Generator,
    encoder: JointEncoder,
    prompts: PromptSet,
    settings: PrecomputeSettings,
    report: Callable[[RunProgress], None],
    work: WorkFolder | None = None,
    executor: Executor | None = None,
    sources: Sources | None = None,
    embedded: Callable[[int], None] = lambda phrases: None,
    features: Features | None = None,
) -> Atlas:
    """Draws the atlas of a generator as a CLIP sees it, and with `features` what those read of its
    samples.

    With `work`, from `open_work` with the same arguments, finished blocks are kept and those that
    were kept are not drawn again; the arrays are the same, bit for bit on one device.

    With an `executor` from `open_executor`, other processes draw the blocks; they load the models
    from `sources`, readers of features, too. Without, they are drawn here.

    `embedded` is told how many more prompts are; `report` is called once all of them are, and
    after each block.

    Raises:
        OptionError: settings that the generator or the prompts cannot satisfy, or a draft that
            shows CLIP other things than whole images do.
        PromptError: a phrase that CLIP cannot read.
        OutputError: a block that cannot be kept.
        WorkerError: a process at work was lost.
        FingerprintError: a process loaded other models.
        DeviceMemoryError: not even one image fits into the device's memory.
    """
    settings = settled(generator, encoder, prompts, settings)
    plan = settings.plan(generator, encoder.width, widths_of(features))
    resumed = work.done if work else frozenset[int]()
    # The bank first: a phrase that cannot be embedded should not cost a sweep.
    bank = _bank(encoder, prompts, work, embedded)
    probes = Probes.of(bank.embeddings, settings.products(encoder.width), settings.seed)
    drawn = (settings.truncation, settings.seed, settings.label)
    drawing = None
    if settings.samples:
        drawing = Drawing.of(generator, settings.samples, settings.seed, settings.label)
    method = MEASURE_METHODS[settings.table]
    mean, std = method.statistics(generator, settings.statistics, *drawn)
    styles = pool = np.zeros((0, generator.layout.size), np.float32)
    if len(plan.channels):
        styles = method.images(generator, settings.images, *drawn).cpu().numpy()
    if settings.refit:
        pool = composite_styles(generator, *drawn).cpu().numpy()
    setup = Setup(styles, mean, (settings.strength * std).astype(np.float32), probes, pool)
    worker = worker_of(generator, encoder, setup, executor, sources, features)
    place = executor or InThisProcess()
    scheduler = Scheduler(place, worker, work, report, plan.renders, plan.costs, resumed)
    found: dict[str, Any] = {}
    if isinstance(generator, Draft):
        found["agreement"] = _agreement(generator, bank, plan, scheduler, work)
    samples = None
    if drawing:  # first: they are of use alone, and come in a fraction of the time
        readers = sources_of(features)
        samples = drawing.measure(generator, encoder, plan, scheduler.run, readers)
    table, told = method.measure(plan, setup, scheduler.run)
    fingerprint = fingerprint_of(generator, encoder, settings)
    details = {**fingerprint.settings, **found, **told, "templates": list(prompts.templates)}
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
        samples=samples,
    )
    return refit(atlas, plan, settings.seed, scheduler.run) if settings.refit else atlas


def _agreement(
    draft: Draft, bank: PromptBank, plan: Plan, scheduler: Scheduler, work: WorkFolder | None
) -> Record:
    """How a draft agrees with whole images; one that is refused leaves no work behind."""
    found = agreement(bank, scheduler.run(plan.agreement, plan.first_agreement))
    try:
        require_agreement(draft, found)
    except OptionError:
        if work:
            work.finish()
        raise
    return found


def worker_of(
    generator: Generator,
    encoder: JointEncoder,
    setup: Setup,
    executor: Executor | None,
    sources: Sources | None,
    features: Features | None,
) -> LocalWorker | RemoteWorker:
    """Who works on the blocks of a run where an executor puts them.

    Raises:
        OptionError: other processes without sources.
    """
    if executor is None or isinstance(executor, InThisProcess):
        return LocalWorker(Models(generator, encoder, features), setup)
    if sources is None:
        raise OptionError("executor: other processes need sources to load the models from")
    read = sources_of(features)
    return RemoteWorker(sources, generator.identity, encoder.identity, setup, read)


def _bank(
    encoder: JointEncoder,
    prompts: PromptSet,
    work: WorkFolder | None,
    embedded: Callable[[int], None],
) -> PromptBank:
    """The prompts as CLIP reads them: block 0, which takes a real CLIP minutes on a CPU."""
    kept = work.load(0) if work else None
    if kept is not None:
        return PromptBank(prompts.phrases, kept["embedding"].astype(np.float32))
    encode = encode_with(encoder)
    bank = build_bank(prompts.phrases, prompts.templates, encode, encoder.width, embedded)
    if work:
        work.save(0, {"embedding": bank.embeddings.astype(np.float64)})
    return bank


def fingerprint_of(
    generator: Generator, encoder: JointEncoder, settings: PrecomputeSettings
) -> Fingerprint:
    """What decides the blocks of a run."""
    details = asdict(settings)
    if settings.table == "none":
        details = {name: value for name, value in details.items() if name not in _OF_ROWS}
    if settings.samples:
        details["sample_psi"] = SAMPLE_PSI
    else:  # as all runs were before there were samples, whose folders say nothing of them
        del details["samples"]
    if settings.takes_slopes:
        details["probes"] = settings.products(encoder.width)
    details |= {"precision": generator.precision, "clip_precision": encoder.precision}
    if isinstance(generator, Draft):
        details["draft"] = generator.side
    if view := view_of(generator.identity):
        details["view"] = view
    return Fingerprint(generator.identity, encoder.identity, details)


def with_readers(fingerprint: Fingerprint, features: Features | None) -> Fingerprint:
    """The same for a run that reads features: an atlas says of each beside it who read it."""
    if features is None:
        return fingerprint
    read = {name: digest(source.fields()) for name, source in features.sources.items()}
    return replace(fingerprint, settings={**fingerprint.settings, "features": read})
