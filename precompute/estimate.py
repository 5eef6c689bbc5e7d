"""What a run will cost, before it begins: its plan, and seconds from a short calibration."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..engine.models.protocols import Generator, JointEncoder
from ..engine.steering.texts import encode_with
from ..prompts.embed import embed_prompts
from ..prompts.sets import PromptSet
from ..store.layout import Layer
from .bench import Bench, Setup
from .build import Plan, Settings, settled
from .plan import COMPOSITE_IMAGES, WorkBlock
from .slopes import Probes
from .statistics import image_styles

_PHRASES = 8  # that are embedded on trial
_PRODUCTS = 2
_COMPOSITES = 8


def estimate(
    generator: Generator,
    encoder: JointEncoder,
    prompts: PromptSet,
    settings: Settings,
    workers: int,
) -> dict[str, Any]:
    """The plan of a run and what it takes on this device.

    Measured: the embedding of a few phrases, one channel of some layers on a batch of images, a
    few vector-Jacobian products, and a few composites. All else is arithmetic from these, so that
    the seconds are right to a factor rather than to a percent.

    Raises:
        OptionError: settings that the generator cannot satisfy.
    """
    settings = settled(generator, encoder, prompts, settings)
    plan = Plan.of(generator, encoder.width, settings)
    shapes = plan.shapes(len(prompts.phrases), encoder.width)
    seconds = {
        "prompts": _prompt_seconds(encoder, prompts),
        "slopes": _slope_seconds(generator, encoder, plan, settings) / workers,
        "sweep": _sweep_seconds(generator, encoder, plan, settings) / workers,
        "composites": _composite_seconds(generator, encoder, plan, settings) / workers,
    }
    pairs = sum(block.renders for block in plan.sweep) // 2
    composites = sum(block.renders for block in plan.composites)
    products = sum(block.renders for block in plan.slopes)
    kept = sum(8 * int(np.prod(shape)) for block in shapes for shape in block.values())
    rows = 4 * encoder.width * (len(plan.channels) + len(prompts.phrases))
    return {
        "method": settings.method,
        "channels": len(plan.channels),
        "images": settings.images,
        "blocks": len(shapes),
        "renders": 2 * pairs + composites,
        "vector_jacobian_products": products,
        "seconds": {name: round(value, 1) for name, value in seconds.items() if value},
        "seconds_in_all": round(sum(seconds.values()), 1),
        "device": str(generator.device),
        "workers": workers,
        "work_folder_bytes": kept,
        "atlas_bytes": rows,
        "peak_memory_bytes": _peak_memory(generator.device),
    }


def _prompt_seconds(encoder: JointEncoder, prompts: PromptSet) -> float:
    some = prompts.phrases[:: max(1, len(prompts.phrases) // _PHRASES)][:_PHRASES]
    if not some:
        return 0.0
    encode = encode_with(encoder)
    taken = _seconds(lambda: embed_prompts(some, prompts.templates, encode), encoder.device)
    return taken * len(prompts.phrases) / len(some)


def _slope_seconds(
    generator: Generator, encoder: JointEncoder, plan: Plan, settings: Settings
) -> float:
    if not plan.slopes:
        return 0.0
    block = plan.slopes[0]
    eye = np.eye(encoder.width, dtype=np.float32)
    trial = Probes(eye[:_PRODUCTS], eye[_PRODUCTS:], 0, settings.seed)
    run = _runner(generator, encoder, settings, block.images, trial)
    taken = _seconds(lambda: run(block), generator.device)
    return taken / (_PRODUCTS * block.images) * sum(block.renders for block in plan.slopes)


def _sweep_seconds(
    generator: Generator, encoder: JointEncoder, plan: Plan, settings: Settings
) -> float:
    """By one channel of the first, the middle and the last layer of each kind, and a line through
    them: the later a layer, the less is rendered after it."""
    if not plan.sweep:
        return 0.0
    first = plan.sweep[0]
    run = _runner(generator, encoder, settings, first.images, None)
    total, channels = 0.0, 0
    for kind in ("conv", "rgb"):
        layers = [layer for layer in generator.layout if layer.kind == kind]
        layers = [layer for layer in layers if layer.start in plan.channels]
        if not layers:
            continue
        tried = sorted({0, len(layers) // 2, len(layers) - 1})
        taken = [_pair_seconds(run, layers[i], first, generator.device) for i in tried]
        sizes = np.array([layer.size for layer in layers])
        total += float(sizes @ np.interp(np.arange(len(layers)), tried, taken))
        channels += int(sizes.sum())
    return total / channels * sum(block.renders for block in plan.sweep) / 2


def _composite_seconds(
    generator: Generator, encoder: JointEncoder, plan: Plan, settings: Settings
) -> float:
    if not plan.composites:
        return 0.0
    whole = plan.composites[0]
    tried = min(_COMPOSITES, whole.images)
    steps = np.zeros((tried, len(plan.channels)), np.float32)  # which take as long as any others
    block = replace(whole, last=tried, renders=2 * COMPOSITE_IMAGES * tried, steps=steps)
    run = _runner(generator, encoder, settings, COMPOSITE_IMAGES * tried, None)
    taken = _seconds(lambda: run(block), generator.device)
    return taken / block.renders * sum(block.renders for block in plan.composites)


def _pair_seconds(
    run: Callable[[WorkBlock], object], layer: Layer, like: WorkBlock, device: torch.device
) -> float:
    """Seconds of a pair in a block of as many images: two channels against one, so that what they
    share does not count."""

    def block(channels: int) -> WorkBlock:
        flat = np.arange(layer.start, layer.start + channels)
        return WorkBlock(like.kind, flat, like.first, like.last, 2 * channels * like.images)

    if layer.size == 1:
        return _seconds(lambda: run(block(1)), device) / like.images
    one, two = (_seconds(lambda n=n: run(block(n)), device) for n in (1, 2))  # type: ignore[misc]
    return max(two - one, two / 4) / like.images


def _runner(
    generator: Generator,
    encoder: JointEncoder,
    settings: Settings,
    images: int,
    probes: Probes | None,
) -> Callable[[WorkBlock], object]:
    styles = image_styles(generator, images, settings.truncation, settings.seed, settings.label)
    flat = styles.cpu().numpy()
    setup = Setup(flat, flat.mean(0), flat.std(0), probes, pool=flat)
    bench = Bench(generator, encoder)
    return lambda block: bench(setup, block)


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
