"""What a run will cost, before it begins: its plan, and seconds from a short calibration."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..engine.models.draft import Draft
from ..engine.models.features import Features
from ..engine.models.protocols import Generator, JointEncoder
from ..engine.models.sampling import w_shape
from ..engine.steering.texts import encode_with
from ..prompts.embed import embed_prompts
from ..prompts.sets import PromptSet
from ..store.layout import Layer
from ..store.shards import shapes_bytes
from .blocks import Models, Setup, WorkBlock
from .drawing import average_w
from .executors import require_workers
from .features import widths_of
from .plan import Plan
from .probes import Probes
from .samples import RenderedBlock
from .settings import PrecomputeSettings, settled
from .slopes import products_at_once
from .statistics import image_styles
from .sweep import SweepBlock

_PHRASES = 8  # that are embedded on trial
_PRODUCTS = 2
_COMPOSITES = 8

Trial = Callable[[WorkBlock], float]
"""The seconds that a block takes."""


def estimate(
    generator: Generator,
    encoder: JointEncoder,
    prompts: PromptSet,
    settings: PrecomputeSettings,
    workers: int,
    plan: Plan | None = None,
    features: Features | None = None,
) -> dict[str, Any]:
    """The plan of a run, that of the settings if not told otherwise, and what it takes on this
    device.

    Measured: the embedding of a few phrases, one channel of some layers on a batch of images, a
    few vector-Jacobian products, a batch of samples, and a few composites. All else is arithmetic
    from these, so that the seconds are right to a factor rather than to a percent.

    Raises:
        OptionError: settings that the generator cannot satisfy, or no worker.
    """
    require_workers(workers)
    settings = settled(generator, encoder, prompts, settings)
    plan = plan or settings.plan(generator, encoder.width, widths_of(features))
    phrases = len(prompts.phrases)
    shapes = plan.shapes(phrases, encoder.width)
    models = Models(generator, encoder, features)
    trial = _trial(models, plan, settings)
    seconds = {
        "prompts": _prompt_seconds(encoder, prompts),
        "agreement": _agreement_seconds(plan, trial) / workers,
        "samples": _sample_seconds(plan, trial, models) / workers,
        "features": _render_seconds(plan.features, trial, models) / workers,
        "slopes": _slope_seconds(plan, trial, _products(plan, models)) / workers,
        "sweep": _sweep_seconds(plan, trial) / workers,
        "composites": _composite_seconds(plan, trial) / workers,
    }
    return {
        "table": settings.table,
        "channels": len(plan.channels),
        "draft": generator.side if isinstance(generator, Draft) else None,
        "images": settings.images,
        "samples": sum(block.count for block in plan.samples),
        "features": [] if features is None else list(features.widths),
        "blocks": len(shapes),
        "renders": sum(
            _renders(blocks)
            for blocks in (
                *(plan.agreement, plan.samples, plan.pulled, plan.features),
                *(plan.sweep, plan.composites),
            )
        ),
        "vector_jacobian_products": _renders(plan.slopes),
        "seconds": {name: round(value, 1) for name, value in seconds.items() if value},
        "seconds_in_all": round(sum(seconds.values()), 1),
        "device": str(generator.device),
        "workers": workers,
        "work_folder_bytes": shapes_bytes(shapes),
        "atlas_bytes": plan.atlas_bytes(
            phrases, encoder.width, w_shape(generator)[1], generator.layout.size
        ),
        "peak_memory_bytes": _peak_memory(generator.device),
    }


def _prompt_seconds(encoder: JointEncoder, prompts: PromptSet) -> float:
    some = prompts.phrases[:: max(1, len(prompts.phrases) // _PHRASES)][:_PHRASES]
    if not some:
        return 0.0
    encode = encode_with(encoder)
    taken = _seconds(lambda: embed_prompts(some, prompts.templates, encode), encoder.device)
    return taken * len(prompts.phrases) / len(some)


def _agreement_seconds(plan: Plan, trial: Trial) -> float:
    if not plan.agreement:
        return 0.0
    one = replace(plan.agreement[0], last=1)
    return trial(one) / one.renders * _renders(plan.agreement)


def _sample_seconds(plan: Plan, trial: Trial, models: Models) -> float:
    if plan.samples and plan.samples[0].features:  # which those at a smaller psi have not
        parts = (plan.samples, plan.pulled)
        return sum(_render_seconds(blocks, trial, models) for blocks in parts)
    return _render_seconds([*plan.samples, *plan.pulled], trial, models)


def _render_seconds(blocks: Sequence[RenderedBlock], trial: Trial, models: Models) -> float:
    if not blocks:
        return 0.0
    whole, tried, seconds = blocks[0], 0, 0.0
    while tried < (fitting := min(models.renders.size, whole.count)):  # a GPU tells after the first
        tried = fitting
        w = np.repeat(average_w(models.generator)[None], tried, 0)  # which takes as long as others
        block = replace(whole, last=whole.first + tried, w=w)
        seconds = trial(block) / block.renders
    return seconds * _renders(blocks)


def _products(plan: Plan, models: Models) -> int:
    """How many of a block of slopes are tried: as many as go in one backward pass."""
    most = plan.slopes[0].products if plan.slopes else 0
    return min(most, max(_PRODUCTS, products_at_once(models.generator.device)))


def _slope_seconds(plan: Plan, trial: Trial, products: int) -> float:
    if not plan.slopes:
        return 0.0
    block = replace(plan.slopes[0], products=products)
    return trial(block) / block.renders * _renders(plan.slopes)


def _sweep_seconds(plan: Plan, trial: Trial) -> float:
    """By one channel of the first, the middle and the last layer of each kind, and a line through
    them: the later a layer, the less is rendered after it."""
    if not plan.sweep:
        return 0.0
    total, channels = 0.0, 0
    for kind in ("conv", "rgb"):
        layers = [layer for layer in plan.layout if layer.kind == kind]
        layers = [layer for layer in layers if layer.start in plan.channels]
        if not layers:
            continue
        tried = sorted({0, len(layers) // 2, len(layers) - 1})
        taken = [_pair_seconds(layers[i], plan.sweep[0], trial) for i in tried]
        sizes = np.array([layer.size for layer in layers])
        total += float(sizes @ np.interp(np.arange(len(layers)), tried, taken))
        channels += int(sizes.sum())
    return total / channels * _renders(plan.sweep) / 2


def _composite_seconds(plan: Plan, trial: Trial) -> float:
    if not plan.composites:
        return 0.0
    whole = plan.composites[0]
    tried = min(_COMPOSITES, whole.count)
    steps = np.zeros((tried, len(plan.channels)), np.float32)  # which take as long as any others
    block = replace(whole, last=tried, steps=steps)
    return trial(block) / block.renders * _renders(plan.composites)


def _pair_seconds(layer: Layer, like: SweepBlock, trial: Trial) -> float:
    """Seconds of a pair in a block of as many images: two channels against one, so that what they
    share does not count."""

    def taken(channels: int) -> float:
        return trial(replace(like, channels=np.arange(layer.start, layer.start + channels)))

    if layer.size == 1:
        return taken(1) / like.count
    one, two = taken(1), taken(2)
    return max(two - one, two / 4) / like.count


def _trial(models: Models, plan: Plan, settings: PrecomputeSettings) -> Trial:
    """Blocks as large as those of the plan, on the first images, with few probes."""
    measured = [*plan.slopes, *plan.sweep, *plan.composites]
    images = max((block.count for block in measured), default=1)
    drawn = (settings.truncation, settings.seed, settings.label)
    styles = image_styles(models.generator, images, *drawn).cpu().numpy()
    eye = np.eye(models.encoder.width, dtype=np.float32)
    products = _products(plan, models)
    probes = Probes(eye[:products], eye[products:], 0, settings.seed)
    setup = Setup(styles, styles.mean(0), styles.std(0), probes, pool=styles)
    device = models.generator.device
    return lambda block: _seconds(lambda: block.run(models, setup), device)


def _renders(blocks: Sequence[WorkBlock]) -> int:
    return sum(block.renders for block in blocks)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    work()  # the first call allocates and chooses algorithms
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _peak_memory(device: torch.device) -> int | None:
    """Of the calibration: of the GPU's memory, or of this process where the system tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
