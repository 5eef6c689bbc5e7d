"""One thread against all, and how threads wait, by size: `python benchmarks/threads.py`.

What the defaults of `--threads` and of how threads wait are decided by. Every figure is a rate of
rendering over that of one thread that waits passively, of the same size and beside as many busy
processes, measured in turn in the same round: above 1 is faster. Weights are random. Each
measurement is a process of its own, because PyTorch reads how its threads wait as it is loaded.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from styleatlas.store.records import text_table

SIZES = (64, 128, 256)
POLICIES = ("PASSIVE", "ACTIVE")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")


def rate(size: int, batch: int, threads: int, seconds: float) -> float:
    """Images a second of a generator of random weights, in this process."""
    import torch
    from generators import stylegan2_config

    from styleatlas.engine.models.generator import build

    torch.set_num_threads(threads)
    config = stylegan2_config(size, 64 * size if size <= 128 else 16384)
    network = build(config).requires_grad_(False)
    network.synthesis.freeze()
    styles = [1 + torch.randn(batch, layer.size) for layer in config.styled_layers()]
    with torch.inference_mode():
        network.synthesis(styles)
        start, made = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            network.synthesis(styles)
            made += batch
    return made / (time.perf_counter() - start)


@contextmanager
def beside(busy: int) -> Iterator[None]:
    """While this lasts, so many processes compute without end."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(busy)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measured(size: int, batch: int, threads: int, policy: str, seconds: float) -> float:
    """The same, in a process whose threads wait as the policy says."""
    environment = {key: value for key, value in os.environ.items() if key not in WAITING}
    command = [sys.executable, __file__, "--measure", json.dumps([size, batch, threads, seconds])]
    environment["OMP_WAIT_POLICY"] = policy
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


@click.command()
@click.option("--busy", default=12, show_default=True, help="Processes beside, in the second half.")
@click.option("--rounds", default=5, show_default=True, help="Of all measurements; medians count.")
@click.option("--seconds", default=4.0, show_default=True, help="Of a measurement.")
@click.option("--batch", default=1, show_default=True, help="Images at a time.")
@click.option("--measure", hidden=True)
def main(busy: int, rounds: int, seconds: float, batch: int, measure: str | None) -> None:
    """Print the ratios, a row a size and a load."""
    if measure:
        click.echo(rate(*json.loads(measure)[:3], json.loads(measure)[3]))
        return
    cores = os.cpu_count() or 1
    ways = [(threads, policy) for threads in (1, cores) for policy in POLICIES]
    rows = []
    for load in (0, busy):
        for size in SIZES:
            ratios: dict[tuple[int, str], list[float]] = {way: [] for way in ways}
            base = []
            with beside(load):
                for _ in range(rounds):
                    found = {way: measured(size, batch, *way, seconds) for way in ways}
                    base.append(found[ways[0]])
                    for way in ways:
                        ratios[way].append(found[way] / found[ways[0]])
            told = {"px": size, "busy": load, "images/s, 1 PASSIVE": statistics.median(base)}
            medians = {way: statistics.median(values) for way, values in ratios.items()}
            rows.append(told | {f"{t} {policy}": medians[t, policy] for t, policy in ways[1:]})
            click.echo(json.dumps(rows[-1]), err=True)
    click.echo(f"{platform.processor() or platform.machine()}, {cores} cores, batch {batch}\n")
    click.echo(text_table(rows))


if __name__ == "__main__":
    main()
