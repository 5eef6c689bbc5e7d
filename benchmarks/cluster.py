"""An atlas of FFHQ-1024 on 64 GPUs, simulated: `python benchmarks/cluster.py`.

The plan of blocks and the scheduler are the real ones; the executor is a simulated Ray cluster of
nodes of 8 GPUs, on which a clock of its own runs from event to event. A block takes its cost in
whole renders, times the seconds of one on one GPU (`--render`: what `benchmarks/gpu.py` measures),
times how far blocks of its kind are from their costs: ratios that are measured here first, on
blocks of the embedded pair in this process. What cannot be measured here is assumed, and told
with the answer: START, DETECTED and DRIVER.

Scenarios: all GPUs alike; stragglers, one GPU in twenty at a third of the speed; lost nodes, two of
eight, at a third and at two thirds of the way, whose blocks begin anew elsewhere.
"""

from __future__ import annotations

import heapq
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import click
import numpy as np
from costs import load_models
from generators import GENERATORS, machine
from numpy.typing import NDArray

from styleatlas import Atlas
from styleatlas.precompute import plan as planner
from styleatlas.precompute import scheduler
from styleatlas.precompute.blocks import WorkBlock
from styleatlas.precompute.drawing import sample_latents
from styleatlas.precompute.plan import Plan
from styleatlas.precompute.probes import Probes
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.precompute.sweep import SweepBlock
from styleatlas.store.layout import StyleLayout
from styleatlas.store.records import text_table
from styleatlas.store.registry import EMBEDDED

Record = dict[str, Any]
Ratios = Mapping[str, NDArray[np.float64]]

NODES, GPUS = 8, 8  # GPUs of each node
START = 30.0  # seconds until a process has its models
DETECTED = 30.0  # seconds until Ray knows that a node is gone
DRIVER = 0.01  # seconds that the scheduler takes over each block: Ray, and a file that is kept
SLOW, SLOWNESS = 20, 3.0  # one GPU in so many takes so many times as long
MEASURED = 4  # blocks of each kind, an eighth of each
WIDTH = 512
LARGE = "StyleGAN2 1024"
SIZES = (0.25, 1.0, 4.0)
"""Of blocks, in times what the plan has."""
AHEAD = (64, 128, scheduler._AHEAD)
"""Blocks given out before the first of them is handed on; the last is the scheduler's own."""


@dataclass(frozen=True)
class Scenario:
    """What goes wrong: whether some GPUs are slow, and when nodes are lost, in shares of what the
    run takes without."""

    name: str
    slow: bool = False
    lost: tuple[float, ...] = ()


SCENARIOS = (
    Scenario("all alike"),
    Scenario("stragglers", slow=True),
    Scenario("lost nodes", lost=(1 / 3, 2 / 3)),
    Scenario("both", slow=True, lost=(1 / 3, 2 / 3)),
)


@dataclass(eq=False)
class Task:
    future: Future[Any]
    block: WorkBlock
    seconds: float


@dataclass(eq=False)
class Gpu:
    node: int
    slowness: float
    started: bool = False
    gone: bool = False
    task: Task | None = None
    since: float = 0.0


class Cluster(Executor):
    """A simulated Ray: a free GPU takes the first task that waits.

    Args:
        scenario: what goes wrong.
        without: the seconds that the run takes where nothing does.
        render: seconds of a whole render with its embedding.

    Attributes:
        now: seconds since the start.
        worked, wasted: GPU-seconds at the usual speed of what was finished and what was lost.
    """

    def __init__(
        self, scenario: Scenario, without: float, layout: StyleLayout, render: float, ratios: Ratios
    ) -> None:
        self._gpus = [
            Gpu(number // GPUS, SLOWNESS if scenario.slow and number % SLOW == 0 else 1.0)
            for number in range(NODES * GPUS)
        ]
        self._layout, self._render, self._ratios = layout, render, ratios
        self._random = np.random.default_rng(0)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._waiting: deque[Task] = deque()
        self.now = self.worked = self.wasted = 0.0
        for node, share in enumerate(scenario.lost):
            self._at(share * without, lambda node=node: self._lose(node))

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        (block,) = args
        self._busy(DRIVER)
        ratio = float(self._random.choice(self._ratios[block.kind]))
        seconds = block.cost(self._layout) * self._render * ratio
        task = Task(Future(), block, seconds)
        self._waiting.append(task)
        self._give_out()
        return task.future

    def wait(self, futures: Collection[Future[Any]], return_when: str) -> tuple[set[Any], set[Any]]:
        """In place of that of `concurrent.futures`: time passes until one of them is done."""
        while not (done := {future for future in futures if future.done()}):
            self._next()
        return done, set(futures) - done

    def _busy(self, seconds: float) -> None:
        """Time that the scheduler takes, in which the GPUs go on."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self._next()
        self.now = until

    def _next(self) -> None:
        when, _, happens = heapq.heappop(self._events)
        self.now = max(self.now, when)
        happens()

    def _at(self, when: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._count), happens))

    def _give_out(self) -> None:
        for gpu in self._gpus:
            if self._waiting and not gpu.gone and gpu.task is None:
                self._begin(gpu, self._waiting.popleft())

    def _begin(self, gpu: Gpu, task: Task) -> None:
        gpu.task, gpu.since = task, self.now + (0.0 if gpu.started else START)
        gpu.started = True
        self._at(gpu.since + task.seconds * gpu.slowness, lambda: self._finish(gpu, task))

    def _finish(self, gpu: Gpu, task: Task) -> None:
        if gpu.gone:
            return
        gpu.task = None
        self.worked += task.seconds
        task.future.set_result({})
        self._give_out()

    def _lose(self, node: int) -> None:
        """A node, with what it is at; that comes back once it is known."""
        lost: list[Task] = []
        for gpu in self._gpus:
            if gpu.node != node:
                continue
            gpu.gone = True
            if gpu.task is not None:
                lost.append(gpu.task)
                self.wasted += max(0.0, self.now - gpu.since) / gpu.slowness

        def known() -> None:
            self._waiting.extendleft(lost)
            self._give_out()

        self._at(self.now + DETECTED, known)


def simulated(
    plan: Plan, scenario: Scenario, without: float, render: float, ratios: Ratios
) -> tuple[Cluster, dict[str, float]]:
    """The cluster at the end, and when the samples and the table were there."""
    cluster = Cluster(scenario, without, plan.layout, render, ratios)
    ends = {}
    with mock.patch.object(scheduler, "wait", cluster.wait):
        run = scheduler.Scheduler(
            cluster,
            lambda block: {},
            None,
            lambda progress: None,
            plan.renders,
            plan.costs,
            frozenset(),
        ).run
        for name, parts in (
            ("samples", ((plan.samples, plan.first_samples), (plan.pulled, plan.first_pulled))),
            ("table", ((plan.slopes, plan.first_slopes), (plan.sweep, plan.first_sweep))),
        ):
            for blocks, first in parts:  # each begins when the one before is done
                deque(run(blocks, first), maxlen=0)
            ends[name] = cluster.now
    return cluster, ends


def planned(size: float) -> Plan:
    """The plan of FFHQ-1024 with blocks of so many times their size."""
    layers = GENERATORS[LARGE].styled_layers()
    layout = StyleLayout.of((x.name, x.kind, x.resolution, x.size) for x in layers)
    pairs, pixels = planner._PAIR_PIXELS, planner._SLOPE_PIXELS
    with (
        mock.patch.object(planner, "_PAIR_PIXELS", int(pairs * size)),
        mock.patch.object(planner, "_SLOPE_PIXELS", int(pixels * size)),
    ):
        generator: Any = SimpleNamespace(layout=layout, c_dim=0)
        return PrecomputeSettings().plan(generator, WIDTH)


def measured_ratios() -> dict[str, NDArray[np.float64]]:
    """Seconds of the processor of blocks of the embedded pair, an eighth of each, over their costs,
    of each kind divided by the median: how far from its cost a block of that kind is."""
    models = load_models(EMBEDDED.name)
    plan = PrecomputeSettings().plan(models.generator, models.encoder.width)
    probes = Probes.of(Atlas.open(EMBEDDED.atlas).prompts.embeddings, 32, 0)
    setup = models.setup(probes)
    w = sample_latents(models.generator, plan.samples[-1].last, 0)[0].astype(np.float32)
    found = {}
    for blocks in (plan.samples, plan.pulled, plan.slopes, plan.sweep):
        chosen = np.linspace(0, len(blocks) - 1, min(MEASURED, len(blocks))).astype(int)
        some = [_eighth(blocks[i], w) for i in sorted(set(chosen.tolist()))]
        shares = []
        for number, block in enumerate([some[0], *some]):
            start = time.process_time()
            block.run(models.loaded, setup)
            spent = time.process_time() - start
            if number:  # the first warms up
                shares.append(spent / block.cost(plan.layout))
        ratios = np.array(shares)
        found[some[0].kind] = ratios / np.median(ratios)
    return found


def _eighth(block: Any, w: NDArray[np.float32]) -> Any:
    """Of its channels where it has many for each image, else of its images, with their latents."""
    if isinstance(block, SweepBlock):
        return replace(block, channels=block.channels[: max(1, len(block.channels) // 8)])
    last = block.first + max(1, block.count // 8)
    latents = {"w": w[block.first : last]} if hasattr(block, "w") else {}
    return replace(block, last=last, **latents)


def scenarios(render: float, ratios: Ratios) -> list[Record]:
    """A record for each size of blocks, for how many are given out ahead, and each scenario."""
    cases = [(size, AHEAD[-1]) for size in SIZES] + [(1.0, ahead) for ahead in AHEAD[:-1]]
    records = []
    for size, ahead in cases:
        plan, without = planned(size), 0.0
        for scenario in SCENARIOS:
            with mock.patch.multiple(scheduler, _AHEAD=ahead, _HELD=ahead):
                cluster, ends = simulated(plan, scenario, without, render, ratios)
            without = without or ends["table"]
            records.append(
                {
                    "blocks": f"{size:g} x",
                    "of them": len(plan.blocks),
                    "ahead": ahead,
                    "scenario": scenario.name,
                    "samples s": round(ends["samples"], 1),
                    "all s": round(ends["table"], 1),
                    "least s": round(START + cluster.worked / (NODES * GPUS), 1),
                    "GPU s lost": round(cluster.wasted, 1),
                }
            )
    return records


@click.command(help=__doc__)
@click.option(
    "--render",
    default=0.02,
    show_default=True,
    help="Seconds of a render of 1,024 px with its embedding on one GPU; assumed if not given.",
)
@click.option("--json", "as_json", is_flag=True)
def main(render: float, as_json: bool) -> None:
    ratios = measured_ratios()
    records = scenarios(render, ratios)
    spread = {
        kind: [round(float(x), 2) for x in (found.min(), found.max())]
        for kind, found in ratios.items()
    }
    assumed = {"render s": render, "start s": START, "detected s": DETECTED, "driver s": DRIVER}
    answer = {"ratios on": machine("cpu"), "blocks over their cost": spread, "assumed": assumed}
    if as_json:
        click.echo(json.dumps({**answer, "rows": records}, indent=2))
        return
    click.echo(f"{answer}\n\n{text_table(records)}")


if __name__ == "__main__":
    main()
