"""Renders that a GPU plays back from a recording, a CUDA graph: one call in place of some hundred
launches, which at a batch of one take longer than the GPU's work.

Written without a GPU and never run on one, so that nothing records by itself: `PLAYED_BACK` is the
one switch, to be set once `benchmarks/gpu.py` has shown on a card, in its parts `captured` and
`live`, that pictures are the same and that it pays.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .protocols import Generator

PLAYED_BACK = False
"""Whether live sessions on a GPU record their renders."""
_WARMING = 3  # renders before the one that is recorded, in which libraries choose their algorithms

Recording = tuple[Callable[[], None], Tensor]
"""What plays back, and where the result lies afterwards."""


class CapturedRender:
    """A generator's `render` with constant noise and without gradients, recorded for each number
    of images as it is first asked for.

    A recording holds the memory of its render as long as this is.

    Args:
        generator: on a GPU.
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._recorded: dict[int, tuple[Tensor, Recording]] = {}

    @torch.inference_mode()
    def __call__(self, styles: Tensor) -> Tensor:
        """styles (n, C), on its device -> images (n, channels, H, W), which no later call changes;
        see `Generator.render`."""
        known = self._recorded.get(len(styles))
        if known is None:
            given = styles.clone()
            known = given, recorded(lambda: self._generator.render(given), given.device)
            self._recorded[len(styles)] = known
        given, (play, images) = known
        given.copy_(styles)
        play()
        return images.clone()


def recorded(work: Callable[[], Tensor], device: torch.device) -> Recording:
    """Records what `work` has a GPU do: it must read and write the same memory each time, and wait
    for nothing."""
    with torch.cuda.device(device):
        apart = torch.cuda.Stream()
        apart.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(apart):
            for _ in range(_WARMING):
                work()
        torch.cuda.current_stream().wait_stream(apart)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = work()
    return graph.replay, result
