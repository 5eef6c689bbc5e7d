"""Of `gpu.py`: how fast it is there, beside what the device reaches at all."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from generators import macs
from gpu_place import (
    Place,
    Rows,
    apart,
    encoder_of,
    generator_of,
    styles_of,
    tf32,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from styleatlas.engine.fallbacks.moves import Start
from styleatlas.engine.fallbacks.optimise import Optimisation
from styleatlas.engine.fallbacks.optimise_settings import OptimiseSettings
from styleatlas.engine.models.captured import CapturedRender
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.memory import Batches
from styleatlas.engine.models.precision import pick_precision
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.protocols import Generator
from styleatlas.engine.pictures.films import tiled
from styleatlas.engine.pictures.sheet import scaled_down
from styleatlas.precompute.estimate import estimate
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.prompts.sets import prompt_set
from styleatlas.server.works.live import Rendering, of_moving

BATCHES = (1, 8, 32)
AIMS = {"samples": 60, "table": 1800}
"""Seconds, of FFHQ-1024 on a card of an H100's class."""


@torch.inference_mode()
def peaks(place: Place) -> Rows:
    """TFLOP/s of a matrix product, GB/s of copies, microseconds of a launch."""
    side = side_of(place)
    for name, told in matmul_peaks(place, side).items():
        yield {"matmul": side, "precision": name, "TFLOP/s": told}
    yield {"copy on the device": "float32", "GB/s": copy_peak(place)}
    size = (4 if place.quick else 64) * 2**20
    here = torch.empty(size, dtype=torch.uint8)
    there = torch.empty(size, dtype=torch.uint8, device=place.device)
    ways = {
        "to the device": lambda: there.copy_(here),
        "from the device": lambda: here.copy_(there),
    }
    for way, run in ways.items():
        yield {"copy": f"{way}, pageable", "GB/s": round(size / place.seconds(run) / 1e9, 2)}
    if place.cuda:
        pinned = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        run = partial(pinned.copy_, there, non_blocking=True)
        yield {"copy": "from the device, pinned", "GB/s": round(size / place.seconds(run) / 1e9, 2)}
    one = torch.zeros(1, device=place.device)
    many = place.seconds(lambda: [one.add_(1) for _ in range(100)])
    yield {"launch": "one number added to", "us": round(1e4 * many, 2)}


def side_of(place: Place) -> int:
    """Rows and columns of the matrix product."""
    return 512 if place.quick or not place.cuda else 8192


@cache
def _matmul(device: torch.device, dtype: torch.dtype, allowed: bool, side: int) -> float:
    place = Place(device, False, time.monotonic() + 5)
    x = torch.randn(side, side, device=device).to(dtype)
    with tf32(allowed), torch.inference_mode():
        return 2 * side**3 / place.seconds(lambda: x @ x) / 1e12


def matmul_peaks(place: Place, side: int) -> dict[str, float]:
    """By precision."""
    return {
        name: round(_matmul(place.device, getattr(torch, precision), allowed, side), 3)
        for name, (precision, allowed) in place.precisions().items()
    }


@torch.inference_mode()
def copy_peak(place: Place) -> float:
    """GB/s that are read and written."""
    numbers = (1 if place.quick else 64) * 2**20
    x = torch.zeros(numbers, device=place.device)
    y = torch.empty_like(x)
    return round(8 * numbers / place.seconds(lambda: y.copy_(x)) / 1e9, 2)


def speed(place: Place) -> Rows:
    """Images a second by batch and precision. Multiplications are those of the learned convolutions
    against the matrix product of that precision; bytes are the features that styled layers take in
    and put out, each once, against the copy."""
    products, copied = matmul_peaks(place, side_of(place)), copy_peak(place)
    for batch in (1, 2) if place.quick else BATCHES:
        for name in place.generators:
            for precision, (kind, allowed) in place.precisions().items():
                if place.left < 0:
                    yield {"left out": f"from batch {batch} of {name}, {precision}, on"}
                    return
                with torch.inference_mode(), tf32(allowed):
                    generator = generator_of(place, name, kind)
                    styles = styles_of(generator, batch)
                    run = partial(generator.render, styles)
                    gibibytes = place.gibibytes(run)
                    seconds = place.seconds(run)
                    traffic = moved(generator, styles)
                work = 2 * batch * macs(generator.network.config)
                yield {
                    "model": name,
                    "precision": precision,
                    "batch": batch,
                    "images/s": round(batch / seconds, 2),
                    "ms": round(1000 * seconds, 3),
                    "of matmul": round(work / seconds / 1e12 / products[precision], 3),
                    "of copy": round(traffic / seconds / 1e9 / copied, 3),
                    "GiB": gibibytes,
                }


def moved(generator: StyleGANGenerator, styles: Tensor) -> int:
    """Bytes of the features that styled layers take in and put out in a render."""
    total = 0

    def note(module: nn.Module, given: tuple[Any, ...], made: Tensor) -> None:
        nonlocal total
        total += sum(x.numel() * x.element_size() for x in (given[0], made))

    layers = [layer for layer in generator.network.synthesis.modules() if hasattr(layer, "affine")]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    generator.render(styles)
    for hook in hooks:
        hook.remove()
    return total


def clip(place: Place) -> Rows:
    """Embeddings a second of images of 256 px, with their preprocessing."""
    products = matmul_peaks(place, side_of(place))
    for name in ("ViT-B/32", "ViT-L/14"):
        for precision, (kind, allowed) in place.precisions().items():
            encoder = encoder_of(place, name, kind)
            for batch in (1, 2) if place.quick else (1, 32, 256):
                if place.left < 0:
                    yield {"left out": f"from {name}, {precision}, batch {batch} on"}
                    return
                images = torch.rand(batch, 3, 256, 256, device=place.device) * 2 - 1
                run = partial(encoder.images, images)
                with torch.inference_mode(), tf32(allowed):
                    with FlopCounterMode(display=False) as counter:
                        run()
                    gibibytes, seconds = place.gibibytes(run), place.seconds(run)
                rate = counter.get_total_flops() / seconds / 1e12
                yield {
                    "model": name,
                    "precision": precision,
                    "batch": batch,
                    "embeddings/s": round(batch / seconds, 1),
                    "ms": round(1000 * seconds, 3),
                    "of matmul": round(rate / products[precision], 3),
                    "GiB": gibibytes,
                }


def atlas(place: Place) -> Rows:
    """What `precompute --dry-run` says of FFHQ-1024 with a ViT-B/32: 1,000 samples (and as many at
    psi .7), and a screened table of 100 images."""
    precision = pick_precision(None, place.device)
    generator = generator_of(place, place.large, precision)
    encoder = encoder_of(place, "ViT-B/32", precision)
    settings = PrecomputeSettings(samples=1000)
    if place.quick:
        settings = replace(settings, samples=8, images=2, statistics=64)
    told = estimate(generator, encoder, prompt_set("ffhq"), settings, workers=1)
    spent = told["seconds"]
    seconds = {
        "prompts": spent.get("prompts", 0.0),
        "samples": spent.get("samples", 0.0),
        "table": round(spent.get("slopes", 0.0) + spent.get("sweep", 0.0), 1),
    }
    for name, value in seconds.items():
        yield {"projected s": name, "precision": precision, "s": value, "aim s": AIMS.get(name)}
    peak = told["peak_memory_bytes"]
    yield {"renders": told["renders"], "peak GiB": peak and round(peak / 2**30, 2), "s": spent}


@torch.inference_mode()
def live(place: Place) -> Rows:
    """A frame of a live edit at 1,024 px, its parts, and what plays it back."""
    precision = pick_precision(None, place.device)
    whole = generator_of(place, place.large, precision)
    moving = of_moving(whole)
    for name, generator in {"whole": whole, "while it moves": moving}.items():
        for what, run in _frames(place, generator, styles_of(whole, 1)).items():
            yield {"frame": name, "what": what, "ms": round(1000 * place.seconds(run), 3)}
    images = whole.render(styles_of(whole, 1))
    for what, run in _frame_parts(place, images).items():
        yield {"part of a frame": what, "ms": round(1000 * place.seconds(run, 0.2), 3)}


def _frames(place: Place, generator: Generator, styles: Tensor) -> dict[str, Callable[[], object]]:
    middle = list(generator.layout)[len(generator.layout) // 2]
    step = torch.zeros_like(styles)
    step[:, middle.start] = 1
    session, moves = Rendering(generator, styles), itertools.count(1)
    runs: dict[str, Callable[[], object]] = {
        "render": lambda: generator.render(styles),
        f"from {middle.name}": lambda: session.of(styles + next(moves) % 7 * step),
    }
    if place.cuda:
        runs["played back"] = partial(CapturedRender(generator), styles)
    return runs


def _frame_parts(place: Place, images: Tensor) -> dict[str, Callable[[], object]]:
    picture, small = tiled(images), tiled(scaled_down(images, 512))

    def encoded(kind: str, picture: Any, **options: Any) -> None:
        picture.convert("RGB").save(io.BytesIO(), kind, **options)

    parts: dict[str, Callable[[], object]] = {
        "scaled to 512 px": lambda: scaled_down(images, 512),
        "floats to the CPU": lambda: images.cpu(),
        "bytes to the CPU": lambda: to_bytes(images).cpu(),
        "a picture of it": lambda: tiled(images),
        "WebP, 512 px": partial(encoded, "WEBP", small, quality=85, method=1),
        "WebP": partial(encoded, "WEBP", picture, quality=85, method=1),
        "JPEG": partial(encoded, "JPEG", picture, quality=85),
        "PNG": partial(encoded, "PNG", picture),
    }
    if place.cuda:
        pixels = to_bytes(images)
        pinned = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=True)
        parts["bytes to the CPU, pinned"] = lambda: pinned.copy_(
            to_bytes(images), non_blocking=True
        )
    return parts


def optimise(place: Place) -> Rows:
    """Steps a second of an optimisation in style space, by StyleCLIP's losses and ours."""
    precision = pick_precision(None, place.device)
    encoder = encoder_of(place, "ViT-B/32", precision)
    target, neutral = encoder.texts(["a smiling face", "a face"]).clone().split(1)
    for name in dict.fromkeys((place.small, place.large)):
        generator = generator_of(place, name, precision)
        for rows in (1, 4):
            if place.left < 0:
                return
            styles, sigma = styles_of(generator, rows), torch.ones(generator.layout.size)
            start = Start(styles, target.expand(rows, -1), neutral.expand(rows, -1))
            steps = 2 if place.quick else 20
            settings = OptimiseSettings(steps=steps, identity=0, patience=steps)

            def run(start: Start = start, settings: OptimiseSettings = settings) -> None:
                Optimisation(generator, encoder, start, sigma, settings).run()  # noqa: B023

            gibibytes = place.gibibytes(run)
            seconds = place.seconds(run, 0.1)
            yield {
                "optimised": name,
                "precision": precision,
                "rows": rows,
                "steps/s": round(steps / seconds, 2),
                "GiB": gibibytes,
            }


@torch.inference_mode()
def memory(place: Place) -> Rows:
    """A batch that does not fit: halved until it does, with the pictures of one at a time."""
    if not place.cuda:
        yield {"left out": "needs a GPU, whose memory can be made short"}
        return
    generator = generator_of(place, place.small, "float32")
    styles = styles_of(generator, 64)
    one = place.gibibytes(lambda: generator.render(styles[:1])) or 0.0
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info(place.device)
    held = torch.cuda.memory_reserved(place.device)
    share = min(1.0, (held + 12 * one * 2**30) / total)
    torch.cuda.set_per_process_memory_fraction(share, place.device)
    try:
        batches = Batches(len(styles), place.device)
        made = batches.over(len(styles), lambda a, b: generator.render(styles[a:b]).cpu())
        images = torch.cat(list(made))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, place.device)
    row = apart(images[:4], torch.cat([generator.render(x).cpu() for x in styles[:4].split(1)]))
    yield {"asked for at once": len(styles), "came to": batches.size, "GiB of one": one, **row}


@torch.inference_mode()
def profile(place: Place) -> Rows:
    """Where the time of a render goes: the twelve longest kinds of kernels, or of operators."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if place.cuda else [])]
    precision = pick_precision(None, place.device)
    key = "self_device_time_total" if place.cuda else "self_cpu_time_total"
    for name in [place.large, *(x for x in place.generators if x.startswith("StyleGAN3-T"))]:
        generator = generator_of(place, name, precision)
        for batch in (1, 8):
            styles = styles_of(generator, batch)
            seconds = place.seconds(partial(generator.render, styles), 0.1)
            with profiled(activities=activities) as trace:
                generator.render(styles)
                place.wait()
            told = [x for x in trace.key_averages() if getattr(x, key) > 0]
            told.sort(key=lambda x: -getattr(x, key))
            busy = sum(getattr(x, key) for x in told) / 1e6
            yield {
                "render of": name,
                "batch": batch,
                "ms": round(1000 * seconds, 3),
                "busy ms": round(1000 * busy, 3),
                "calls": sum(x.count for x in told),
                "longest": [[x.key[:90], x.count, round(getattr(x, key))] for x in told[:12]],
            }


@torch.inference_mode()
def layouts(place: Place) -> Rows:
    """A StyleGAN2 with features as the library lays them out, and as PyTorch does; with libraries
    that try their algorithms out; and the filter behind a doubling in several ways."""
    precision = pick_precision(None, place.device)
    styles = styles_of(generator_of(place, place.large, precision), 1)
    for batch in (1, 8):
        generator = generator_of(place, place.large, precision)
        run = partial(generator.render, styles.repeat(batch, 1))
        times = {"channels last": place.seconds(run)}
        with tried_out():
            times["channels last, tried out"] = place.seconds(run)
        generator.network.synthesis.to(memory_format=torch.contiguous_format)
        with usual_layout(generator):
            times["as PyTorch does"] = place.seconds(run)
            with tried_out():
                times["as PyTorch does, tried out"] = place.seconds(run)
        for name, seconds in times.items():
            yield {"layout": name, "batch": batch, "ms": round(1000 * seconds, 3)}
    yield from _filters(place, getattr(torch, precision))


@contextmanager
def usual_layout(generator: StyleGANGenerator) -> Iterator[None]:
    """Features in PyTorch's own order in memory."""
    synthesis = generator.network.synthesis
    start = synthesis.start
    synthesis.start = lambda n: _contiguous(start(n))
    try:
        yield
    finally:
        del synthesis.start


def _contiguous(features: Any) -> Any:
    return features._replace(x=features.x.contiguous())


@contextmanager
def tried_out() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _filters(place: Place, dtype: torch.dtype) -> Rows:
    """4 x 4 taps over 64 channels of 512 px."""
    side, taps = (64 if place.quick else 512), torch.tensor([1.0, 3.0, 3.0, 1.0])
    row = (taps / 4).to(place.device, dtype)
    x = torch.randn(1, 64, side + 1, side + 1, device=place.device).to(dtype)
    last = x.contiguous(memory_format=torch.channels_last)
    square = torch.outer(row, row).expand(64, 1, -1, -1).contiguous()
    along = [row.view(shape).expand(64, 1, -1, -1).contiguous() for shape in ((1, -1), (-1, 1))]

    def twice(x: Tensor) -> Tensor:
        y = F.conv2d(x, along[0], padding=(0, 1), groups=64)
        return F.conv2d(y, along[1], padding=(1, 0), groups=64)

    ways: dict[str, Callable[[], Tensor]] = {
        "4 x 4, channels last": partial(F.conv2d, last, square, padding=1, groups=64),
        "4 x 4": partial(F.conv2d, x, square, padding=1, groups=64),
        "4, then 4, channels last": partial(twice, last),
        "4, then 4": partial(twice, x),
    }
    for name, run in ways.items():
        row_ = apart(run().float(), ways["4 x 4"]().float().cpu())
        yield {"filter": name, "ms": round(1000 * place.seconds(run, 0.1), 4), "rms": row_["rms"]}


@torch.inference_mode()
def compiled(place: Place) -> Rows:
    """`torch.compile` of a whole synthesis against the operators as they are."""
    precision = pick_precision(None, place.device)
    generator = generator_of(place, place.small, precision)
    styles = styles_of(generator, 1)
    backend = "aot_eager" if place.quick else "inductor"
    run = torch.compile(generator.render, backend=backend)
    start = time.perf_counter()
    found = run(styles)
    place.wait()
    yield {
        "compiled": place.small,
        "by": backend,
        "s to compile": round(time.perf_counter() - start, 1),
        **apart(found, generator.render(styles).cpu()),
    }
    for batch in (1,) if place.quick else (1, 8):
        if place.left < 0:
            return
        many = styles.repeat(batch, 1)
        ways = {"compiled": partial(run, many), "as it is": partial(generator.render, many)}
        for name, call in ways.items():
            yield {"render": name, "batch": batch, "ms": round(1000 * place.seconds(call), 3)}
