"""Trains the embedded StyleGAN2 generator by regression: `python zoo/making/train_generator.py`.

The 40 values of the nine attributes have orthogonal codes in W. The mapping network learns the
code of an avatar whose values are the argmax of sections of a rotated latent; the synthesis network
learns to draw an avatar from its code. Both runs resume when started again.

Codes are disturbed while synthesis learns: scaled as by truncation, made noisy, moved part of the
way or past the way to another value. The avatar to draw is the one of the nearest code, so that a
generator of this kind is crisp between its training points, where edits go. An L1 penalty on
what a value's code does to a style channel makes channels answer to few values.
"""

from __future__ import annotations

import json
import math

import click
import torch
import torch.nn.functional as F
from avatars import ATTRIBUTES, BIAS, SIZES, AvatarRenderer
from safetensors.torch import save_file
from torch import Tensor, nn
from training import WORK, ZOO, Run, cosine

from styleatlas.engine.checkpoints.native import METADATA_KEY, config_to_json
from styleatlas.engine.networks.mapping import FullyConnected, Mapping
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config, Synthesis

Z_DIM, W_DIM, MAPPING_LAYERS = 64, 256, 4
CHANNELS = {4: 128, 8: 128, 16: 96, 32: 48, 64: 24}
CONFIG = StyleGAN2Config(z_dim=Z_DIM, w_dim=W_DIM, mapping_layers=MAPPING_LAYERS, channels=CHANNELS)
BATCH = 32
VALUES = sum(SIZES)
# The share of all training images spent at each resolution.
STAGES = ((16, 0.10), (32, 0.25), (64, 1.0))


def fixed(seed: int, rows: int, columns: int) -> Tensor:
    """A fixed matrix with orthonormal rows."""
    noise = torch.randn(columns, columns, generator=torch.Generator().manual_seed(seed))
    return torch.linalg.qr(noise).Q[:rows]


ROTATION = fixed(1, VALUES, Z_DIM)  # latent -> attribute scores
CODES = fixed(2, VALUES, W_DIM) * math.sqrt(W_DIM / len(SIZES))  # value -> code in W, unit variance
SCORE_BIAS = torch.tensor([BIAS.get((a, v), 0.0) for a in ATTRIBUTES for v in ATTRIBUTES[a]])


def labels_of(scores: Tensor) -> Tensor:
    """(n, values) -> (n, attributes): the best value of each attribute."""
    return torch.stack([part.argmax(1) for part in scores.split(SIZES, 1)], 1)


def one_hot(labels: Tensor) -> Tensor:
    """(n, attributes) -> (n, values)."""
    parts = [F.one_hot(labels[:, i], size) for i, size in enumerate(SIZES)]
    return torch.cat(parts, 1).float()


def labels_of_latent(z: Tensor) -> Tensor:
    """The avatar a latent stands for; its length does not matter, as in StyleGAN2."""
    z = z * torch.rsqrt(z.square().mean(1, keepdim=True))
    return labels_of(z @ ROTATION.t() + SCORE_BIAS)


def codes_to_labels(w: Tensor) -> Tensor:
    """The nearest code of each attribute."""
    return labels_of(w @ CODES.t())


def train_mapping(steps: int) -> Mapping:
    torch.manual_seed(0)
    mapping = Mapping(CONFIG)
    optimizer = torch.optim.Adam(mapping.parameters(), betas=(0.9, 0.99))
    run = Run("mapping", {"mapping": mapping, "optimizer": optimizer})
    while run.step < steps:
        generator = torch.Generator().manual_seed(run.step)
        z = torch.randn(2048, Z_DIM, generator=generator)
        target = one_hot(labels_of_latent(z)) @ CODES
        # 0.5: stored weights are 100 times the effective ones (learning rate 0.01).
        for group in optimizer.param_groups:
            group["lr"] = cosine(run.step / steps, 0.5, 0.005)
        loss = F.mse_loss(mapping(z), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        run.advance()
        if run.step % 500 == 0:
            z = torch.randn(4096, Z_DIM, generator=torch.Generator().manual_seed(10_000_019))
            with torch.no_grad():
                right = codes_to_labels(mapping(z)) == labels_of_latent(z)
            each = " ".join(f"{a:.3f}" for a in right.float().mean(0).tolist())
            print(
                f"mapping {run.step} {run.seconds:.0f}s mse {loss.item():.4f} "
                f"right {each} all {right.all(1).float().mean():.3f}",
                flush=True,
            )
    run.save()
    return mapping


def draw_codes(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Disturbed codes (n, values) and the labels they stand for."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, 1, generator=generator) * (high - low) + low

    scores = torch.randn(n, VALUES, generator=generator) + SCORE_BIAS
    labels = labels_of(scores)
    hot = one_hot(labels)
    mean = torch.cat([torch.full((size,), 1 / size) for size in SIZES])
    codes = mean + (hot - mean) * uniform(0.65, 1.15)
    codes = codes + 0.08 * torch.randn(codes.shape, generator=generator)
    # A third is on its way to another value of one attribute, or past it.
    other = labels.clone()
    which = torch.randint(len(SIZES), (n,), generator=generator)
    fresh = labels_of(torch.randn(n, VALUES, generator=generator))
    rows = torch.arange(n)
    other[rows, which] = fresh[rows, which]
    step = uniform(0.0, 1.8)
    step = torch.where((step - 0.5).abs() < 0.2, step.round(), step)  # no avatar half-way
    step = step * (torch.rand(n, 1, generator=generator) < 0.35)
    codes = codes + step * (one_hot(other) - hot)
    return codes, labels_of(codes)


def drawing_weight() -> Tensor:
    """How much each pixel counts, (1, 1, 64, 64): eyes, glasses and the mouth are small."""
    weight = torch.ones(64, 64)
    weight[28:43, 15:49] = 2.5
    weight[41:55, 21:43] = 4.0
    return (weight / weight.mean())[None, None]


def image_loss(image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted L1 of pixels and of their horizontal and vertical differences."""
    error = image - target
    loss = (error.abs() * weight).mean()
    for axis in (2, 3):
        inner = weight.narrow(axis, 1, weight.shape[axis] - 1)
        loss = loss + (error.diff(dim=axis).abs() * inner).mean()
    return loss


class Painter(nn.Module):
    """Synthesis with the affine maps in front of it: w (n, w_dim) -> image at a resolution."""

    def __init__(self, synthesis: Synthesis) -> None:
        super().__init__()
        self.synthesis = synthesis

    def affines(self) -> list[FullyConnected]:
        layers = [self.synthesis.get_submodule(layer.name) for layer in CONFIG.styled_layers()]
        return [layer.affine for layer in layers]

    def forward(self, w: Tensor, resolution: int) -> Tensor:
        styles = [affine(w) for affine in self.affines()]
        return self.synthesis.pyramid(styles, "none", resolution)[-1]

    def crowding(self) -> Tensor:
        """Mean absolute effect of a value's code on a style channel."""
        effects = [(a.weight @ CODES.t() / math.sqrt(W_DIM)).abs().mean() for a in self.affines()]
        return torch.stack(effects).mean()


def train_synthesis(images: int, sparsity: float) -> tuple[Synthesis, Run]:
    torch.manual_seed(0)
    synthesis = Synthesis(CONFIG).to(memory_format=torch.channels_last)
    average = Synthesis(CONFIG)
    average.load_state_dict(synthesis.state_dict())
    painter = Painter(synthesis)
    affine = [p for n, p in synthesis.named_parameters() if "affine" in n]
    rest = [p for n, p in synthesis.named_parameters() if "affine" not in n and "noise" not in n]
    groups = [{"params": affine, "scale": 3.0}, {"params": rest, "scale": 1.0}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    run = Run("synthesis", {"net": synthesis, "average": average, "optimizer": optimizer})
    render = AvatarRenderer(WORK / "layers.npz")
    weights = {r: F.avg_pool2d(drawing_weight(), 64 // r) for r, _ in STAGES}

    def objective(w: Tensor, target: Tensor, resolution: int) -> Tensor:
        loss = image_loss(painter(w, resolution), target, weights[resolution])
        return loss + sparsity * painter.crowding()

    compiled = torch.compile(objective)
    steps = images // BATCH
    while run.step < steps:
        progress = run.step / steps
        resolution = next(r for r, end in STAGES if progress < end)
        generator = torch.Generator().manual_seed(run.step)
        codes, labels = draw_codes(BATCH, generator)
        target = F.avg_pool2d(render(labels), 64 // resolution)
        target = target.contiguous(memory_format=torch.channels_last)
        lr = cosine(progress, 1e-2, 1e-4, warmup=0.005)
        for group in optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        loss = compiled(codes @ CODES, target, resolution)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            pairs = zip(average.parameters(), synthesis.parameters(), strict=True)
            keep = min(0.999, (1 + run.step) / (10 + run.step))
            for slow, fast in pairs:
                slow.lerp_(fast, 1 - keep)
        run.advance()
        if run.step % 250 == 0:
            print(
                f"synthesis {run.step} {run.seconds:.0f}s {resolution}px loss {loss.item():.4f} "
                f"crowding {painter.crowding().item():.4f}",
                flush=True,
            )
    run.save()
    return average, run


@torch.no_grad()
def export(mapping: Mapping, synthesis: Synthesis, report: dict[str, float]) -> None:
    """Weights in half precision with the JSON that rebuilds the network (`engine/checkpoints`)."""
    z = torch.randn(100_000, Z_DIM, generator=torch.Generator().manual_seed(7))
    mapping.w_avg.copy_(torch.cat([mapping(part) for part in z.split(10_000)]).mean(0))
    state = {f"mapping.{k}": v for k, v in mapping.state_dict().items()}
    state |= {f"synthesis.{k}": v for k, v in synthesis.state_dict().items()}
    ZOO.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.half().contiguous() for k, v in state.items()},
        ZOO / "generator.safetensors",
        metadata={METADATA_KEY: config_to_json(CONFIG)},
    )
    (WORK / "generator.json").write_text(json.dumps(report, indent=2))


@click.command()
@click.option("--images", default=230_000, show_default=True, help="Images synthesis learns from.")
@click.option("--mapping-steps", default=12_000, show_default=True)
@click.option("--sparsity", default=0.1, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(images: int, mapping_steps: int, sparsity: float, threads: int) -> None:
    torch.set_num_threads(threads)
    mapping = train_mapping(mapping_steps)
    synthesis, run = train_synthesis(images, sparsity)
    export(mapping, synthesis, {"images": run.step * BATCH, "minutes": round(run.seconds / 60, 1)})


if __name__ == "__main__":
    main()
