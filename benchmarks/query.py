"""How long a question takes from a cold start: `python benchmarks/query.py`.

Times the whole process of `styleatlas query channels`, in turn with an interpreter that imports
numpy and h5py and nothing else, which no answer from an atlas can do without. The ratio is that of
the medians.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

import click

FLOOR = [sys.executable, "-c", "import numpy, h5py"]
PROMPTS = ["--neutral", "a face", "--target", "a face with a beard"]
MOST = 2.0  # times the floor


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


@click.command()
@click.option("--atlas", default="avatars", show_default=True)
@click.option("--rounds", default=21, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(atlas: str, rounds: int, as_json: bool) -> None:
    ask = [sys.executable, "-m", "styleatlas.cli", "query", "channels", atlas, *PROMPTS]
    for command in (FLOOR, ask):  # fills the disk's cache and writes the bytecode
        seconds(command)
    pairs = [(seconds(FLOOR), seconds(ask)) for _ in range(rounds)]
    floor, query = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = query / floor
    if as_json:
        click.echo(json.dumps({"floor_s": floor, "query_s": query, "ratio": ratio}, indent=2))
    else:
        click.echo(f"numpy and h5py {floor:.3f} s, query {query:.3f} s, ratio {ratio:.2f}")
    if ratio > MOST:
        raise click.ClickException(f"the query takes more than {MOST:g} times the imports")


if __name__ == "__main__":
    main()
