"""Speed and memory of generators and CLIP at their real sizes: `python benchmarks/generators.py`.

Weights are random. Every generator is timed in turn with the plain formulation of
`plain_stylegan.py` on the same weights and styles, and with a large matrix product for the
machine's peak; the best of the rounds counts. Every row is a process of its own, for its memory.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import plain_stylegan
import torch
from torch import Tensor, nn

from styleatlas.engine.checkpoints.checkpoint import GeneratorConfig
from styleatlas.engine.models.generator import build
from styleatlas.engine.models.preprocess import Preprocessing, preprocess
from styleatlas.engine.networks.mobile_stylegan import MobileStyleGANConfig
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.engine.networks.stylegan3 import StyleGAN3Config, stylegan3_config
from styleatlas.store.records import text_table

Run = Callable[[], Tensor]

MATMUL = 2048  # rows and columns of the matrix product
RADIAL = {"conv_kernel": 1, "use_radial_filters": True}


def stylegan2_config(resolution: int, base: int) -> StyleGAN2Config:
    """StyleGAN2 of the published widths; 256 px has half of them, as the published ones have."""
    sizes = [4 * 2**i for i in range((resolution // 4).bit_length())]
    channels = {size: min(base // size, 512) for size in sizes}
    return StyleGAN2Config(z_dim=512, w_dim=512, mapping_layers=8, channels=channels)


MOBILE = MobileStyleGANConfig(
    z_dim=512,
    w_dim=512,
    mapping_layers=8,
    channels={**dict.fromkeys((4, 8, 16, 32, 64), 512), 128: 256, 256: 128, 512: 64},
)

GENERATORS: dict[str, GeneratorConfig] = {
    "StyleGAN2 256": stylegan2_config(256, 16384),
    "StyleGAN2 512": stylegan2_config(512, 32768),
    "StyleGAN2 1024": stylegan2_config(1024, 32768),
    "MobileStyleGAN 1024": MOBILE,
    "StyleGAN3-T 256": stylegan3_config(resolution=256, channel_base=16384),
    "StyleGAN3-R 256": stylegan3_config(
        resolution=256, channel_base=32768, channel_max=1024, **RADIAL
    ),
}
BATCHES = {
    "StyleGAN2 256": (1, 4, 8),
    "StyleGAN2 512": (1, 4),
    "StyleGAN2 1024": (1, 2),
    "MobileStyleGAN 1024": (1, 2),
    "StyleGAN3-T 256": (1, 2),
    "StyleGAN3-R 256": (1, 2),
    "ViT-B/32": (1, 8, 32),
}


def macs(config: GeneratorConfig) -> int:
    """Multiplications of a render's learned convolutions, the least that any formulation needs."""
    if isinstance(config, StyleGAN3Config):
        sides = [layer.in_size + layer.kernel - 1 for layer in config.layers]
        return sum(
            layer.in_channels * layer.out_channels * (layer.kernel * side) ** 2
            for layer, side in zip(config.layers, sides, strict=True)
        )
    if isinstance(config, MobileStyleGANConfig):
        return _mobile_macs(config)
    total, inputs = 0, 0
    for side, width in sorted(config.channels.items()):
        # A transposed convolution multiplies at the resolution of its input.
        total += 9 * inputs * width * (side // 2) ** 2 + 9 * width * width * side**2
        total += width * config.image_channels * side**2
        inputs = width
    return total


def _mobile_macs(config: MobileStyleGANConfig) -> int:
    (start, inputs), *blocks = sorted(config.channels.items())
    total = (9 * inputs * inputs) * start**2
    for side, width in blocks:
        inputs //= 4
        total += (9 * inputs + inputs * width + 9 * width + width * width) * side**2
        inputs = width
    return total + 4 * config.image_channels * inputs * config.last**2


def generator_runs(name: str, batch: int, device: str) -> tuple[dict[str, Run], float]:
    """Our formulation and the plain one, and the multiplications of a batch."""
    config = GENERATORS[name]
    network, stored = (build(config).requires_grad_(False).to(device) for _ in range(2))
    stored.load_state_dict(network.state_dict())
    network.synthesis.freeze()
    styles = [1 + torch.randn(batch, layer.size).to(device) for layer in config.styled_layers()]
    plain = {
        StyleGAN2Config: plain_stylegan.stylegan2,
        StyleGAN3Config: plain_stylegan.stylegan3,
        MobileStyleGANConfig: plain_stylegan.mobile_stylegan,
    }[type(config)]
    runs = {"ours": partial(network.synthesis, styles), "plain": partial(plain, stored, styles)}
    return runs, batch * macs(config)


def vit_b_32(device: str) -> tuple[nn.Module, Preprocessing]:
    """CLIP's ViT-B/32 with random weights, and how it takes its images."""
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from open_clip.model import CLIP

    vision = {"image_size": 224, "patch_size": 32, "width": 768, "layers": 12}
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
    model = CLIP(512, vision, text, quick_gelu=True).to(device).eval().requires_grad_(False)
    return model, Preprocessing(224, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)


def clip_runs(batch: int, device: str) -> tuple[dict[str, Run], float]:
    """A ViT-B/32 with our preprocessing of 256 px images."""
    from torch.utils.flop_counter import FlopCounterMode

    model, settings = vit_b_32(device)
    images = torch.rand(batch, 3, 256, 256, device=device) * 2 - 1

    def encode() -> Tensor:
        return model.encode_image(preprocess(images, settings))

    with FlopCounterMode(display=False) as counter:
        encode()
    return {"ours": encode}, counter.get_total_flops() / 2


def memory_of(run: Run, device: str) -> tuple[float, Tensor]:
    """Gibibytes at the peak of a run, on top of what was held before, and its result."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = run()
        return (torch.cuda.max_memory_allocated() - before) / 2**30, result
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak so far
    before = _status("VmRSS")
    result = run()
    return (_status("VmHWM") - before) / 2**30, result


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))


@torch.inference_mode()
def measure(name: str, batch: int, rounds: int, device: str) -> dict[str, object]:
    """One row of the table, in a process that has done nothing else."""
    torch.manual_seed(0)
    runs, work = (
        generator_runs(name, batch, device) if name in GENERATORS else clip_runs(batch, device)
    )
    first = {key: memory_of(run, device) for key, run in runs.items()}
    memory = {key: gibibytes for key, (gibibytes, _) in first.items()}
    if "plain" in runs:
        wanted, found = first["plain"][1], first["ours"][1]
        difference = float((found - wanted).abs().max() / wanted.std())
        if difference > 1e-3:
            raise SystemExit(f"{name}: the formulations differ by {difference:.1e} deviations")
    square = torch.randn(MATMUL, MATMUL, device=device)
    runs["matmul"] = lambda: square @ square
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for key, run in runs.items():
            start = time.perf_counter()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            seconds[key] = min(seconds[key], time.perf_counter() - start)
    peak = MATMUL**3 / seconds["matmul"]
    row: dict[str, object] = {
        "model": name,
        "batch": batch,
        "images/s": round(batch / seconds["ours"], 2),
        "GMAC an image": round(work / batch / 1e9, 1),
        "of matmul's peak": f"{work / seconds['ours'] / peak:.0%}",
        "matmul GFLOP/s": round(2 * peak / 1e9),
        "GiB": round(memory["ours"], 2),
        "plain images/s": "",
        "plain GiB": "",
        "times plain": "",
    }
    if "plain" in seconds:
        row["plain images/s"] = round(batch / seconds["plain"], 2)
        row["plain GiB"] = round(memory["plain"], 2)
        row["times plain"] = round(seconds["plain"] / seconds["ours"], 1)
    return row


def machine(device: str) -> str:
    """What the figures were seen on."""
    if device != "cpu":
        name = torch.cuda.get_device_name()
    else:
        cpus = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in cpus if line.startswith("model name"))
        name = f"{model}, {torch.get_num_threads()} threads"
    return f"{name}, {platform.system()}, PyTorch {torch.__version__}, float32"


@click.command(help=__doc__)
@click.option("--only", metavar="NAME", help="Only the models whose name contains this.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--row", hidden=True, help="One row as JSON: model and batch.")
def main(only: str | None, rounds: int, device: str, row: str | None) -> None:
    if row:
        name, batch = json.loads(row)
        print(json.dumps(measure(name, batch, rounds, device)))
        return
    rows = []
    for name, batches in BATCHES.items():
        for batch in batches if only is None or only in name else ():
            options = ["--row", json.dumps([name, batch]), "--rounds", str(rounds)]
            command = [sys.executable, __file__, *options, "--device", device]
            answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            rows.append(json.loads(answer))
            click.echo(f"{name}, batch {batch}: {rows[-1]['images/s']} images/s", err=True)
    click.echo(f"{machine(device)}\n\n{text_table(rows)}")


if __name__ == "__main__":
    main()
