"""The embedded pair drawn by real worker processes and a real Ray cluster, some of which die."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest

from styleatlas.engine.models.load import load_encoder, load_generator
from styleatlas.precompute.build import open_work, precompute
from styleatlas.precompute.executors import InThisProcess, open_executor
from styleatlas.precompute.scheduler import RunProgress
from styleatlas.precompute.settings import PrecomputeSettings
from styleatlas.precompute.worker import Sources
from styleatlas.prompts.sets import PromptSet
from styleatlas.store.atlas import Atlas
from styleatlas.store.errors import FingerprintError, WorkerError

from ..near import assert_atlases_near

THINGS = ("face", "hat", "beard", "smile", "glasses", "shirt", "dog", "car", "bald head", "crown")
PHRASES = tuple(f"{colour} {thing}" for colour in ("red", "blue", "big") for thing in THINGS)
PROMPTS = PromptSet(PHRASES, ("{}",))
SOURCES = Sources("avatars", "avatars")
JACOBIAN = PrecomputeSettings(images=6, table="jacobian", probes=16, statistics=100, samples=0)
SCREENED = PrecomputeSettings(images=2, table="screened", statistics=100, samples=0)


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    """One image of slopes, 64 pairs of a sweep: more blocks than workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("styleatlas.precompute.plan._MAX_SLOPE_IMAGES", 1)
        patch.setattr("styleatlas.precompute.plan._MAX_PAIRS", 64)
        yield


@pytest.fixture(scope="module")
def models() -> tuple:
    """The embedded pair."""
    return load_generator("avatars", "cpu"), load_encoder("avatars", "cpu")


@pytest.fixture(scope="module")
def drawn_here(models) -> Callable[[PrecomputeSettings], Atlas]:
    known: dict[PrecomputeSettings, Atlas] = {}

    def draw(settings: PrecomputeSettings) -> Atlas:
        if settings not in known:
            with InThisProcess() as here:
                known[settings] = precompute(
                    *models, PROMPTS, settings, silent, executor=here, sources=SOURCES
                )
        return known[settings]

    return draw


def silent(progress: RunProgress) -> None:
    pass


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with open_executor(2, None, "cpu") as executor:
        yield executor


# Processes on this machine


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(JACOBIAN, id="jacobian"),
        pytest.param(SCREENED, id="screened", marks=pytest.mark.long),
    ],
)
def test_two_workers_draw_the_atlas_of_one_process(models, drawn_here, pool, settings):
    calls: list[RunProgress] = []
    atlas = precompute(*models, PROMPTS, settings, calls.append, executor=pool, sources=SOURCES)
    assert_atlases_near(atlas, drawn_here(settings))
    assert calls[-1].blocks == calls[-1].of_blocks >= 7
    assert calls[-1].renders == calls[-1].of_renders


def test_worker_that_loads_another_model_is_refused(models, pool, checkpoint):
    other = Sources(str(checkpoint), "avatars")
    with pytest.raises(FingerprintError, match=r'^workers: one loaded "?tiny.* where the run has'):
        precompute(*models, PROMPTS, JACOBIAN, silent, executor=pool, sources=other)


def test_run_whose_worker_is_killed_keeps_its_blocks_and_resumes(
    models, drawn_here, pool, tmp_path
):
    """The last test of the pool, which does not outlive it."""
    settings, path = JACOBIAN, tmp_path / "a.h5"

    def kill_one(progress: RunProgress) -> None:
        if progress.blocks == 3:  # the bank and two more
            multiprocessing.active_children()[-1].kill()

    arguments = (*models, PROMPTS, settings)
    with (
        pytest.raises(WorkerError, match=r"was killed.*the same command resumes"),
        open_work(path, *arguments) as work,
    ):
        precompute(*arguments, kill_one, work, pool, SOURCES)
    kept = len(list(Path(f"{path}.work").glob("block-*")))
    assert 3 <= kept < 1 + 6
    calls: list[RunProgress] = []
    with open_work(path, *arguments) as work:
        atlas = precompute(*arguments, calls.append, work)
        work.finish()
    assert calls[0].resumed == kept and len(calls) == 1 + 7 - kept
    assert_atlases_near(atlas, drawn_here(settings))


# Ray


NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture
def ray(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # keeps no token in the user's home
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return pytest.importorskip("ray", reason="needs Ray")


@pytest.mark.alone
@pytest.mark.long
def test_cluster_that_loses_a_node_at_work_draws_the_atlas_of_one_process(ray, models, drawn_here):
    from ray._private.state import available_resources_per_node
    from ray.cluster_utils import Cluster

    settings = PrecomputeSettings(images=16, table="jacobian", probes=16, statistics=100, samples=0)
    often = {"health_check_period_ms": 500}
    head = {"include_dashboard": False, "_system_config": often, **NODE}
    cluster = Cluster(True, head_node_args=head)
    doomed, killed = cluster.add_node(**NODE), []

    def kill_node(progress: RunProgress) -> None:
        if progress.blocks >= 5 and not killed:
            deadline = time.monotonic() + 300
            while available_resources_per_node()[doomed.node_id].get("CPU", 0) >= 1:
                assert time.monotonic() < deadline, "it never was at work"
            cluster.remove_node(doomed, allow_graceful=False)
            killed.append(progress.blocks)

    try:
        with open_executor(1, cluster.address, None) as executor:
            atlas = precompute(
                *models, PROMPTS, settings, kill_node, executor=executor, sources=SOURCES
            )
    finally:
        cluster.shutdown()
    assert killed and killed[0] < 14, "in the middle"
    assert_atlases_near(atlas, drawn_here(settings))
