"""MobileStyleGAN against others that run its graphs: `python benchmarks/mobile_stylegan.py FOLDER`.

FOLDER holds the graphs of the package random-face. In one run and in turn, the best of the rounds
counts; threads wait without spinning, as those of the commands do. Measured are: ours, by rows;
ours, with whole features, as it computes where gradients are asked for; the plain formulation of
`plain_stylegan.py`; OpenVINO, where it can be imported; with --reference a Python file whose class
IR(xml, bin) runs a graph. The last column is the largest difference of the image from the plain
one, in its standard deviations.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the commands do; before PyTorch comes

import click
import plain_stylegan
import torch
from generators import MATMUL, MOBILE, machine, macs, memory_of
from torch import Tensor

from styleatlas.engine.checkpoints.openvino import SYNTHESIS
from styleatlas.engine.models.load import load_generator
from styleatlas.store.records import text_table

Run = Callable[[], Tensor]


def openvino_run(folder: Path, w: Tensor) -> Run | None:
    """The graph by OpenVINO in float32, on as many threads as PyTorch; None where it is missing."""
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino

    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(folder / SYNTHESIS), "CPU", settings)
    given = w.numpy()
    return lambda: torch.from_numpy(next(iter(model(given).values())))


def reference_run(script: Path, folder: Path, w: Tensor) -> Run:
    """The graph by another program's class."""
    spec = importlib.util.spec_from_file_location("reference", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    graph = module.IR(str(folder / SYNTHESIS), str((folder / SYNTHESIS).with_suffix(".bin")))
    return lambda: graph(w)


def whole_run(generator, styles: Tensor) -> Run:
    def run() -> Tensor:
        with torch.enable_grad():
            return generator.render(styles)

    return run


@torch.no_grad()
def measure(folder: Path, reference: Path | None, rounds: int) -> list[dict[str, object]]:
    """One row a program."""
    generator = load_generator(folder, "cpu")
    w = generator.map(torch.randn(1, 512, generator=torch.Generator().manual_seed(0)))
    styles = generator.styles(w)
    runs: dict[str, Run] = {
        "ours": lambda: generator.render(styles),
        "ours, whole": whole_run(generator, styles),
        "plain": lambda: plain_stylegan.mobile_stylegan(
            generator.network, generator.by_layer(styles)
        ),
    }
    if found := openvino_run(folder, w[:, 0].contiguous()):
        runs["OpenVINO"] = found
    if reference:
        runs["reference"] = reference_run(reference, folder, w[:, 0].contiguous())
    memory, images = {}, {}
    for name, run in runs.items():
        memory[name], images[name] = memory_of(run, "cpu")
    square = torch.randn(MATMUL, MATMUL)
    runs["matmul"] = lambda: square @ square
    wall = dict.fromkeys(runs, float("inf"))
    busy = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start, work = time.perf_counter(), time.process_time()
            run()
            busy[name] = min(busy[name], time.process_time() - work)
            wall[name] = min(wall[name], time.perf_counter() - start)
    peak, deviation = MATMUL**3 / wall["matmul"], images["plain"].std()
    return [
        {
            "program": name,
            "images/s": f"{1 / wall[name]:.2f}",
            "times plain": f"{wall['plain'] / wall[name]:.2f}",
            "CPU seconds": f"{busy[name]:.2f}",
            "of matmul's peak": f"{macs(MOBILE) / wall[name] / peak:.0%}",
            "GiB": f"{memory[name]:.2f}",
            "difference": f"{float((image - images['plain']).abs().max() / deviation):.1e}",
        }
        for name, image in images.items()
    ]


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--reference", type=click.Path(path_type=Path, exists=True))
@click.option("--rounds", default=7, show_default=True)
@click.option("--threads", type=int, help="Of PyTorch and OpenVINO.")
def main(folder: Path, reference: Path | None, rounds: int, threads: int | None) -> None:
    if threads:
        torch.set_num_threads(threads)
    rows = measure(folder, reference, rounds)
    click.echo(f"{machine('cpu')}\n\n{text_table(rows)}")


if __name__ == "__main__":
    main()
