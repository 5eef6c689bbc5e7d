"""Renders that are played back. What a GPU records cannot be had on a CPU; what goes on around it
can: there `recorded` gives what a recording is, the same work on the same memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from styleatlas.engine.models.captured import CapturedRender, recorded
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.store.fingerprint import ModelIdentity

from ...near import assert_near


def random_styles(generator, n: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return 1 + torch.randn(n, generator.layout.size, generator=random).to(generator.device)


@pytest.fixture
def recordings(monkeypatch) -> list[torch.device]:
    """The devices of all recordings so far."""
    made = []

    def on_a_cpu(work, device):
        made.append(device)
        images = work().clone()
        return lambda: images.copy_(work()), images

    monkeypatch.setattr("styleatlas.engine.models.captured.recorded", on_a_cpu)
    return made


def test_render_that_is_played_back_is_the_render(stylegan2, recordings):
    played = CapturedRender(stylegan2)
    for seed, n in enumerate((1, 2, 1, 3, 2, 1)):
        styles = random_styles(stylegan2, n, seed)
        assert_near(played(styles), stylegan2.render(styles))
    assert len(recordings) == 3, "one for each number of images"


def test_images_stay_when_others_are_played_back(stylegan2, recordings):
    played = CapturedRender(stylegan2)
    first, second = (random_styles(stylegan2, 1, seed) for seed in (0, 1))
    images = played(first)
    kept = images.clone()
    assert not torch.allclose(played(second), kept)
    assert torch.equal(images, kept)


def test_styles_that_change_after_the_recording_change_nothing_in_it(stylegan2, recordings):
    played, styles = CapturedRender(stylegan2), random_styles(stylegan2, 1)
    wanted = stylegan2.render(styles)
    played(styles)
    again = styles.clone()
    styles.zero_()
    assert_near(played(again), wanted)


def test_images_have_no_gradient(stylegan2, recordings):
    styles = random_styles(stylegan2, 1).requires_grad_()
    assert not CapturedRender(stylegan2)(styles).requires_grad


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_graph_of_a_gpu_is_the_render(make_network, precision):
    network = make_network().cuda()
    network.synthesis.freeze()
    generator = StyleGANGenerator(network, ModelIdentity("tiny", "0" * 64, {}), precision)
    played = CapturedRender(generator)
    with torch.inference_mode():
        for seed, n in enumerate((1, 2, 1, 2)):
            styles = random_styles(generator, n, seed)
            assert_near(played(styles), generator.render(styles), 1e-4)


@pytest.mark.gpu
def test_graph_reads_what_lies_in_its_memory_when_it_is_played_back():
    with torch.inference_mode():
        x = torch.ones(3, device="cuda")
        play, made = recorded(lambda: 2 * x, x.device)
        x.fill_(5)
        play()
        assert made.tolist() == [10, 10, 10]
