"""Where `gpu.py` measures, and the models that it measures."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from generators import GENERATORS, stylegan2_config
from torch import Tensor, nn

from styleatlas.engine.checkpoints.checkpoint import GeneratorConfig
from styleatlas.engine.models.clip import OpenClipEncoder
from styleatlas.engine.models.generator import StyleGANGenerator, build
from styleatlas.engine.models.precision import Precision
from styleatlas.engine.models.preprocess import Preprocessing
from styleatlas.engine.networks.mobile_stylegan import MobileStyleGANConfig
from styleatlas.engine.networks.stylegan3 import stylegan3_config
from styleatlas.store.fingerprint import ModelIdentity

Row = dict[str, Any]
Rows = Iterator[Row]

PRECISIONS: Mapping[str, tuple[Precision, bool]] = {
    "float32": ("float32", False),
    "float32, TF32": ("float32", True),
    "bfloat16": ("bfloat16", False),
    "float16": ("float16", False),
}
"""What a row is called: the precision of models, and whether TF32 is allowed."""
# Root mean square of the difference from float32 on a CPU, over the deviation of what is compared.
TOLERATED = {"float32": 1e-4, "float32, TF32": 0.01, "bfloat16": 0.05, "float16": 0.01}
QUICK: dict[str, GeneratorConfig] = {
    "StyleGAN2 64": stylegan2_config(64, 1024),
    "MobileStyleGAN 64": MobileStyleGANConfig(
        z_dim=64, w_dim=64, mapping_layers=2, channels={4: 64, 8: 64, 16: 64, 32: 32}
    ),
    "StyleGAN3-T 32": stylegan3_config(resolution=32, channel_base=1024, channel_max=32),
}
QUICK_CLIP = {"ViT-B/32": (64, 2, 32, 64, 2), "ViT-L/14": (64, 3, 14, 64, 2)}
CLIPS = {"ViT-B/32": (768, 12, 32, 512, 8), "ViT-L/14": (1024, 24, 14, 768, 12)}
"""Width, layers and patch of the image tower, width and heads of the text tower."""


@dataclass(frozen=True)
class Place:
    """Where and how long a part is measured."""

    device: torch.device
    quick: bool
    until: float

    @classmethod
    def of(cls, device: str, quick: bool, seconds: float) -> Place:
        """With so many seconds from now on."""
        return cls(torch.device(device), quick, time.monotonic() + seconds)

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - time.monotonic()

    @property
    def generators(self) -> dict[str, GeneratorConfig]:
        return QUICK if self.quick else GENERATORS

    @property
    def large(self) -> str:
        """FFHQ's, or what stands for it."""
        return "StyleGAN2 64" if self.quick else "StyleGAN2 1024"

    @property
    def small(self) -> str:
        return "StyleGAN2 64" if self.quick else "StyleGAN2 256"

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, run: Callable[[], object], most: float = 0.4) -> float:
        """Of a call: the best of three groups of calls, which take `most` seconds together or a
        call each. Two calls warm up."""
        spent = 0.0
        for _ in range(2):
            start = time.perf_counter()
            run()
            self.wait()
            spent = time.perf_counter() - start
        times = max(1, int(min(most, max(self.left, 0)) / 3 / max(spent, 1e-6)))
        best = float("inf")
        for _ in range(3 if self.left > 0 else 1):
            start = time.perf_counter()
            for _ in range(times):
                run()
            self.wait()
            best = min(best, (time.perf_counter() - start) / times)
        return best

    def gibibytes(self, run: Callable[[], object]) -> float | None:
        """At the peak of a call, on top of what was held before; None on a CPU."""
        if not self.cuda:
            return None
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        run()
        return round((torch.cuda.max_memory_allocated(self.device) - before) / 2**30, 3)

    def precisions(self) -> dict[str, tuple[Precision, bool]]:
        """Those that there are here."""
        names = PRECISIONS if self.cuda else ("float32", "bfloat16")
        return {name: PRECISIONS[name] for name in names}


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Lets float32 products and convolutions use TF32, or not."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = allowed
    try:
        yield
    finally:
        for place, was in zip(places, before, strict=True):
            place.allow_tf32 = was


def clean_up() -> None:
    """Gives back what a part that failed held."""
    models.cache_clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@cache
@torch.inference_mode(False)
def models(name: str, quick: bool) -> nn.Module:
    """A network of random weights on the CPU, with noise and biases that count."""
    torch.manual_seed(0)
    network = build((QUICK if quick else GENERATORS)[name])
    for key, parameter in network.synthesis.named_parameters():
        if key.endswith("noise_strength"):
            parameter.data.fill_(0.1)
        elif key.endswith("bias") and "affine" not in key:
            parameter.data.normal_(std=0.1)
    return network.requires_grad_(False)


def generator_of(place: Place, name: str, precision: Precision) -> StyleGANGenerator:
    """That network on the device, as `load_generator` prepares one."""
    stored = models(name, place.quick)
    network = build(stored.config)
    network.load_state_dict(stored.state_dict())
    network = network.requires_grad_(False).to(place.device)
    network.synthesis.freeze()
    return StyleGANGenerator(network, ModelIdentity(name, "0" * 64, {}), precision)


def styles_of(generator: StyleGANGenerator, n: int) -> Tensor:
    """Styles (n, C) such as seeds give, the same on every device."""
    random = torch.Generator().manual_seed(0)
    return (1 + torch.randn(n, generator.layout.size, generator=random)).to(generator.device)


def encoder_of(place: Place, name: str, precision: Precision) -> OpenClipEncoder:
    """A CLIP of random weights with CLIP's own tokenizer."""
    from open_clip import SimpleTokenizer
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from open_clip.model import CLIP

    width, layers, patch, text_width, heads = (QUICK_CLIP if place.quick else CLIPS)[name]
    vision = {"image_size": 224, "patch_size": patch, "width": width, "layers": layers}
    text = {"context_length": 77, "vocab_size": 49408, "width": text_width, "heads": heads}
    torch.manual_seed(0)
    model = CLIP(text_width, vision, text | {"layers": min(layers, 12)}, quick_gelu=True)
    sizes = {"width": text_width, "image_size": 224, "context_length": 77}
    preprocessing = Preprocessing(224, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    identity = ModelIdentity(name, "0" * 64, sizes)
    return OpenClipEncoder(
        model, SimpleTokenizer(), preprocessing, identity, place.device, precision
    )


def apart(found: Tensor, wanted: Tensor) -> Row:
    """Root mean square and largest difference, over the deviation of what is wanted."""
    difference = found.detach().cpu().double() - wanted.double()
    spread = float(wanted.double().std())
    return {
        "rms": float(f"{float(difference.square().mean().sqrt()) / spread:.2e}"),
        "largest": float(f"{float(difference.abs().max()) / spread:.2e}"),
    }


def judged(row: Row, precision: str) -> Row:
    """Whether a difference is what the precision accounts for."""
    return row | {"within": row["rms"] <= TOLERATED[precision]}
