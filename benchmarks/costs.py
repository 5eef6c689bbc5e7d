"""What the parts of a sweep and of slopes cost, measured on samples, for `precompute.py`.

A layer's channels cost the same, so some channels of every layer, each counted with the size of
its layer, stand for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import plain_stylegan
import torch
import torch.nn.functional as F
from generators import GENERATORS, vit_b_32
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from styleatlas import load_encoder
from styleatlas.engine.checkpoints.checkpoint import GeneratorCheckpoint
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.models.clip import OpenClipEncoder
from styleatlas.engine.models.draft import Draft, reaching
from styleatlas.engine.models.generator import StyleGANGenerator, build
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.protocols import Generator, JointEncoder
from styleatlas.precompute.blocks import Models, Setup
from styleatlas.precompute.plan import slope_blocks, sweep_blocks
from styleatlas.precompute.probes import Probes
from styleatlas.precompute.relevance import screened_count
from styleatlas.precompute.slopes import SlopesBlock
from styleatlas.precompute.statistics import image_styles, style_statistics
from styleatlas.precompute.sweep import SweepBlock
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.registry import EMBEDDED

Key = TypeVar("Key", bound=Hashable)
Seconds = dict[str, float]

CPU = torch.device("cpu")
TRUNCATION, SIGMAS, LATENTS = 0.7, 5, 1000
DRAFT = ", drafts"
"""Behind a generator's name: of the smallest images that its CLIP can make do with."""


@dataclass(frozen=True, eq=False)
class MeasuredModels:
    """A generator, its weights as the plain formulation takes them, a CLIP, and what a sweep
    starts from: styles (n, C), centre and step (C,)."""

    generator: Generator
    stored: nn.Module
    encoder: JointEncoder
    styles: Tensor
    centre: Tensor
    step: Tensor

    @property
    def channels(self) -> NDArray[np.int64]:
        """Those that precompute measures."""
        return reaching(self.generator).indices("conv", "rgb")

    @property
    def loaded(self) -> Models:
        """As blocks take them."""
        return Models(self.generator, self.encoder)

    def setup(self, probes: Probes) -> Setup:
        """Of blocks."""
        styles, centre, step = (x.numpy() for x in (self.styles, self.centre, self.step))
        return Setup(styles, centre, step, probes, pool=styles[:0])

    def plain(self, styles: Tensor) -> Tensor:
        """Styles (n, C) -> images, by the formulation of most ports."""
        sizes = [layer.size for layer in self.generator.layout]
        return plain_stylegan.stylegan2(self.stored, styles.split(sizes, 1))


@cache
@torch.inference_mode(False)  # slopes need tensors that autograd may save
def load_models(name: str) -> MeasuredModels:
    """The embedded pair by its name, or a generator of `generators.py` with a ViT-B/32, both of
    random weights."""
    if name.endswith(DRAFT):
        whole = load_models(name.removesuffix(DRAFT))
        return replace(whole, generator=Draft.for_clip(whole.generator, whole.encoder))
    torch.manual_seed(0)
    if name == EMBEDDED.name:
        checkpoint, encoder = read_checkpoint(EMBEDDED.generator), load_encoder(name, "cpu")
    else:
        config = GENERATORS[name]
        checkpoint = GeneratorCheckpoint.of(
            Path(name), config, build(config).state_dict(), "styleatlas"
        )
        sizes = {"width": 512, "image_size": 224, "context_length": 77}
        identity = ModelIdentity("ViT-B/32", "0" * 64, sizes)
        model, preprocessing = vit_b_32("cpu")
        encoder = OpenClipEncoder(model, None, preprocessing, identity, CPU)
    generator = StyleGANGenerator.of(checkpoint, name, CPU, "float32")
    stored = build(checkpoint.config).requires_grad_(False)
    stored.load_state_dict(checkpoint.tensors)
    mean, std = map(torch.from_numpy, style_statistics(generator, LATENTS, TRUNCATION, 0))
    styles = image_styles(generator, 128, TRUNCATION, 0)
    return MeasuredModels(generator, stored, encoder, styles, mean, SIGMAS * std)


def pil_loop(
    render: Callable[[Tensor], Tensor],
    embed: Callable[[Tensor], Tensor],
    models: MeasuredModels,
    channels: NDArray[np.int64],
    images: int,
) -> Tensor:
    """A re-implementation of the sweep of StyleCLIP's public builders: for each channel and image
    two renders of one image each, each embedded on its own. Returns unit rows (k, D)."""
    rows = []
    for flat in channels.tolist():
        units = []
        for style in models.styles[:images].split(1):
            ends = []
            for sign in (1, -1):
                moved = style.clone()
                moved[:, flat] = models.centre[flat] + sign * models.step[flat]
                ends.append(embed(render(moved)))
            units.append(F.normalize(ends[0] - ends[1], dim=1))
        rows.append(torch.cat(units).mean(0))
    return F.normalize(torch.stack(rows), dim=1)


def pil_embedding(encoder: OpenClipEncoder, images: Tensor) -> Tensor:
    """One image (1, 3, H, W) in [-1, 1] -> (1, D), through 8 bits and Pillow, as a CLIP's own
    pipeline does it."""
    settings = encoder.preprocessing
    picture = Image.fromarray(to_bytes(images)[0].numpy())
    size, short = settings.size, min(picture.size)
    if short != size:
        width, height = (size * side // short for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (round((side - size) / 2) for side in picture.size)
    picture = picture.crop((left, top, left + size, top + size))
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (settings.mean, settings.std))
    return F.normalize(encoder.model.encode_image(((pixels - mean) / std)[None]), dim=1)


def fastest(runs: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, float]:
    """Seconds of each run, the best of rounds in which all are run in turn."""
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for key, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[key] = min(seconds[key], time.perf_counter() - start)
    return seconds


@dataclass(frozen=True)
class Sample:
    """How much of a sweep is measured.

    Args:
        channels: of each layer.
        images: of our sweep, as many as it renders at once.
        every: the loops, with one image, take the first and every so many-th layer.
    """

    channels: int
    images: int
    every: int = 1


SAMPLES = {
    EMBEDDED.name: Sample(channels=4, images=16),
    "StyleGAN2 256": Sample(channels=1, images=4),
    "StyleGAN2 1024": Sample(channels=1, images=1, every=8),
}


@dataclass(frozen=True)
class SweepCosts:
    """Seconds by layer: of a pair of the two loops, of our prefix (an image), and of our pair
    after it; and how far the rows of the sample lie apart. There is no loop over drafts."""

    models: MeasuredModels
    loop: Seconds
    loop_our_render: Seconds
    prefix: Seconds
    pair: Seconds
    rows_apart: dict[str, float]

    def loop_pair(self, our_render: bool = False) -> float:
        """Seconds of a pair of a loop, over all channels."""
        seconds = self.loop_our_render if our_render else self.loop
        sizes = {name: self.models.generator.layout[name].size for name in seconds}
        total = sum(seconds[name] * size for name, size in sizes.items())
        return total / sum(sizes.values())

    def sweep(self, channels: NDArray[np.int64], images: int) -> float:
        """Seconds of our sweep, projected over the blocks of the plan."""
        layout, total = self.models.generator.layout, 0.0
        for block in sweep_blocks(layout, channels, images):
            names = [layout.locate(flat)[0].name for flat in block.channels.tolist()]
            once = sum(self.prefix[name] for name in set(names))
            total += block.count * (once + sum(self.pair[name] for name in names))
        return total


@cache
@torch.inference_mode()
def sweep_costs(name: str, most_images: int, rounds: int) -> SweepCosts:
    """Measures the sample of a generator, of `most_images` at most."""
    models, sample = load_models(name), SAMPLES[name.removesuffix(DRAFT)]
    images = min(sample.images, most_images)
    generator, encoder = models.generator, models.encoder
    embed = partial(pil_embedding, encoder)
    layers = [layer for layer in reaching(generator) if layer.kind != "input"]
    runs: dict[tuple[str, str], Callable[[], object]] = {}
    parts = {}
    for number, layer in enumerate(layers):
        count = min(sample.channels, layer.size)
        parts[layer.name] = np.linspace(layer.start, layer.slice.stop - 1, count).astype(np.int64)
        chosen = parts[layer.name]
        if number % sample.every == 0 and not isinstance(generator, Draft):
            loop = (embed, models, chosen, 1)
            runs["loop", layer.name] = partial(pil_loop, models.plain, *loop)
            runs["loop_our_render", layer.name] = partial(pil_loop, generator.render, *loop)
        runs["prefix", layer.name] = partial(generator.prefix, models.styles[:images], layer)
        runs["sweep", layer.name] = partial(_sweep, models, chosen, images)
    seconds = fastest(runs, rounds)
    costs: dict[str, Seconds] = {key: {} for key in ("loop", "loop_our_render", "prefix", "pair")}
    for (what, layer_name), spent in seconds.items():
        count = len(parts[layer_name])
        if what == "sweep":
            after = max(0.0, spent - seconds["prefix", layer_name])
            costs["pair"][layer_name] = after / (count * images)
        else:
            costs[what][layer_name] = spent / (images if what == "prefix" else count)
    compared = [parts[name] for name in costs["loop"]]
    apart = _rows_apart(models, np.concatenate(compared)) if compared else {}
    return SweepCosts(models, **costs, rows_apart=apart)


def _sweep(models: MeasuredModels, channels: NDArray[np.int64], images: int) -> Tensor:
    """Unit rows (k, D) of our sweep."""
    setup = models.setup(Probes.of(np.zeros((0, models.encoder.width), "f4"), 0, 0))
    sums = SweepBlock(channels, 0, images).run(models.loaded, setup)
    return F.normalize(torch.from_numpy(sums["unit"]), dim=1)


def _rows_apart(models: MeasuredModels, channels: NDArray[np.int64]) -> dict[str, float]:
    """Between our rows and those of the plain loop, on one image: the largest difference of any
    component and the median cosine, with the loop's images as they are and as 8 bits."""
    ours = _sweep(models, channels, 1)
    exact = pil_loop(models.plain, models.encoder.images, models, channels, 1)
    rounded = pil_loop(models.plain, partial(pil_embedding, models.encoder), models, channels, 1)
    apart = {}
    for name, rows in (("", exact), (", 8 bit", rounded)):
        apart[f"most apart{name}"] = float((ours - rows).abs().max())
        apart[f"cosine{name}"] = float((ours * rows).sum(1).median())
    return apart


@dataclass(frozen=True)
class SlopeCosts:
    """Seconds an image: of the render and its embedding with gradients recorded, and of one
    vector-Jacobian product."""

    start: float
    product: float

    def slopes(self, images: int, products: int) -> float:
        """Seconds of so many products an image."""
        return images * (self.start + products * self.product)


@cache
def slope_costs(name: str, products: int, rounds: int) -> SlopeCosts:
    """Measured on blocks of `products` and of twice as many."""
    models = load_models(name)
    width, channels = models.encoder.width, models.channels
    images = slope_blocks(models.generator.layout, channels, 128, 1)[0].count

    def work(count: int) -> object:
        probes = Probes(np.eye(count, width, dtype="f4"), np.zeros((0, width), "f4"), 0, 0)
        block = SlopesBlock(channels, 0, images, count)
        return block.run(models.loaded, models.setup(probes))

    few, many = fastest({n: partial(work, n) for n in (products, 2 * products)}, rounds).values()
    product = (many - few) / products
    return SlopeCosts((few - products * product) / images, product / images)


def method_seconds(sweep: SweepCosts, slopes: SlopeCosts, images: int) -> Seconds:
    """Seconds of all blocks of each method, projected from measured parts. The channels that
    `screened` sweeps are taken to lie evenly."""
    channels, width = sweep.models.channels, sweep.models.encoder.width
    where = np.linspace(0, len(channels) - 1, screened_count(len(channels))).astype(int)
    swept = sweep.sweep(channels[where], images)
    full, some = slopes.slopes(images, width), slopes.slopes(images, 32)
    return {
        "sweep": sweep.sweep(channels, images),
        "jacobian, all components": full,
        "jacobian, 32 probes": some,
        "screened, 32 probes": some + swept,
        "screened, all components": full + swept,
    }
