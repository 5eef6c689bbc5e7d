from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from styleatlas import load_encoder, load_generator
from styleatlas.engine.models.memory import Batches
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.precompute.batches import MeasuredBatches, fitting
from styleatlas.store.errors import DeviceMemoryError

from ..near import assert_near

CPU_ALLOCATOR = (
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 1099511627776 bytes. Error code 12 (Cannot allocate memory)"
)
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError(CPU_ALLOCATOR),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]
KINDS = ["CUDA", "Python", "CPU allocator", "cuBLAS", "cuDNN"]
PHRASES = tuple(f"word{i}" for i in range(9))


def batches_of(generator, size: int) -> Batches:
    return Batches(size, generator.device)


@given(st.integers(0, 200), st.integers(1, 70))
def test_ranges_make_up_the_whole_in_order(make_generator, count, size):
    ranges = list(batches_of(make_generator(), size).over(count, lambda *ends: ends))
    assert [n for first, last in ranges for n in range(first, last)] == list(range(count))
    assert all(1 <= last - first <= size for first, last in ranges)
    assert len(ranges) == -(-count // size)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=KINDS)
def test_range_that_does_not_fit_is_done_again_in_halves_and_so_is_all_that_follows(
    generator, error
):
    tried = []

    def work(first: int, last: int) -> tuple[int, int]:
        tried.append((first, last))
        if last > 8 and last - first > 3:
            raise error
        return first, last

    batches = batches_of(generator, 8)
    done = list(batches.over(20, work))
    assert tried[:4] == [(0, 8), (8, 16), (8, 12), (8, 10)], "the first is not done again"
    assert done == [(0, 8), (8, 10), (10, 12), (12, 14), (14, 16), (16, 18), (18, 20)]
    assert batches.size == 2
    assert list(batches.over(4, lambda *ends: ends)) == [(0, 2), (2, 4)]


def test_range_shorter_than_a_batch_is_not_tried_twice_at_its_own_length(generator):
    tried = []

    def work(first: int, last: int) -> tuple[int, int]:
        tried.append((first, last))
        if last - first > 2:
            raise MemoryError
        return first, last

    done = list(batches_of(generator, 64).over(5, work))
    assert [n for first, last in done for n in range(first, last)] == [0, 1, 2, 3, 4]
    assert len(tried) == len(set(tried))


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no")]
)
def test_other_errors_pass_through_at_once(generator, error):
    tried = []

    def work(first: int, last: int) -> None:
        tried.append((first, last))
        raise error

    with pytest.raises(type(error)) as e:
        list(batches_of(generator, 8).over(20, work))
    assert e.value is error
    assert tried == [(0, 8)]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=KINDS)
def test_image_that_does_not_fit_alone_is_an_error_with_a_mend(generator, error):
    def work(first: int, last: int) -> None:
        raise error

    with pytest.raises(DeviceMemoryError, match=r"^cpu: a single image .*another --device$") as e:
        list(batches_of(generator, 8).over(20, work))
    assert e.value.__cause__ is error


class Cramped:
    """A generator's render that holds no more than some images."""

    def __init__(self, generator, most: int) -> None:
        self.render, self.most, self.failures = generator.render, most, 0

    def __call__(self, styles: torch.Tensor, noise: str = "const") -> torch.Tensor:
        if len(styles) > self.most:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.render(styles, noise)


@pytest.mark.parametrize("method", ["sweep", "screened", "jacobian", "reference-torch"])
def test_generator_short_of_memory_gives_the_same_table(generator, encoder, draw, method):
    settings = {"table": method, "images": 40}
    whole = draw(generator, encoder, PHRASES, **settings)
    generator.render = cramped = Cramped(generator, 3)
    atlas = draw(generator, encoder, PHRASES, **settings)
    # 8 images (slopes) or both sides of 16 (sweeps) are halved until they fit, and stay so.
    assert 2 <= cramped.failures <= 10
    for name in ("rows", "consistency", "strength"):
        assert np.allclose(getattr(atlas, name), getattr(whole, name), atol=1e-6), name


@pytest.mark.parametrize("method", ["sweep", "jacobian"])
def test_generator_without_memory_for_one_image_is_an_error(generator, encoder, draw, method):
    generator.render = Cramped(generator, 0)
    with pytest.raises(DeviceMemoryError, match="a single image"):
        draw(generator, encoder, PHRASES, table=method)


GIB = 2**30


@pytest.mark.parametrize(
    ("side", "taken", "free", "wanted"),
    [
        (1024, GIB, 10 * GIB, 7),  # seven tenths of what is free
        (1024, GIB, 300 * GIB, 16),  # more would pass 2^31 numbers in a layer
        (512, GIB // 4, 300 * GIB, 64),
        (64, 2**20, 300 * GIB, 256),
        (8192, GIB, 300 * GIB, 1),
        (256, 10 * GIB, GIB, 1),
    ],
)
def test_gpu_takes_what_fits_and_no_more_than_keeps_it_busy(side, taken, free, wanted):
    assert fitting(side * side, taken, free) == wanted


@pytest.mark.gpu
def test_gpu_measures_how_many_images_fit():
    generator = load_generator("avatars", "cuda")
    batches = MeasuredBatches(generator)
    assert batches.size == 1
    styles = styles_from_seeds(generator, 40, 0.7)
    with torch.inference_mode():
        parts = batches.over(40, lambda first, last: generator.render(styles[first:last]))
        sizes = [len(part) for part in parts]
    assert sizes == [1, 39] and batches.size == 256


@pytest.mark.gpu
def test_what_a_gpu_has_no_memory_for_is_done_in_halves():
    device = torch.device("cuda")
    quarter = torch.cuda.mem_get_info()[0] // 4

    def work(first: int, last: int) -> int:
        return torch.empty((last - first) * quarter, dtype=torch.uint8, device=device).numel()

    batches = Batches(8, device)
    assert sum(batches.over(8, work)) == 8 * quarter
    assert batches.size == 2
    with pytest.raises(DeviceMemoryError, match=r"^cuda: a single image .*another --device$"):
        list(batches.over(1, lambda first, last: work(0, 8)))


@pytest.mark.gpu
def test_table_of_a_gpu_is_that_of_a_cpu(draw):
    tables = []
    for device in ("cpu", "cuda"):
        models = load_generator("avatars", device), load_encoder("avatars", device)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            tables.append(draw(*models, PHRASES, table="sweep", images=2))
    assert_near(tables[1].strength, tables[0].strength, 5e-3)
    live = tables[0].strength > np.percentile(tables[0].strength, 50)
    cosines = (tables[0].rows[live] * tables[1].rows[live]).sum(1)
    assert cosines.min() > 0.99
