"""The embedded identity network tells avatars apart by who they are, not by how they look today."""

from __future__ import annotations

import pytest
import torch

from styleatlas import load_generator
from styleatlas.engine.checkpoints.identity_file import read_identity_network
from styleatlas.store.registry import EMBEDDED


@pytest.fixture(scope="module")
def network():
    return read_identity_network(EMBEDDED.identity)[0]


@pytest.fixture(scope="module")
def figures(network, renderer, held_out):
    """The figures of the model card, over the avatars that no training saw."""
    from measure import identity_figures

    with torch.inference_mode():
        return identity_figures(network, renderer, held_out[1])


@pytest.mark.long
def test_the_same_avatar_stays_itself_in_another_mood_with_glasses_and_in_other_clothes(figures):
    from measure import LOOKS

    for name in LOOKS:
        assert figures[name] >= 0.98, name


@pytest.mark.long
def test_a_part_of_the_identity_costs_its_share_of_the_cosine(figures):
    from train_identity import IDENTITY

    for attribute in IDENTITY:
        assert figures[f"another {attribute}"] == pytest.approx(0.75, abs=0.05), attribute
    # Anybody else agrees in a quarter of the attributes by chance.
    assert figures["anybody else"] == pytest.approx(0.25, abs=0.05)


@pytest.mark.long
def test_the_same_avatar_is_told_from_one_that_differs_in_one_attribute(figures):
    assert figures["area under the curve"] >= 0.998
    assert figures["right percent"] >= 98


def test_a_smeared_avatar_is_still_itself(network, held_out):
    from training import corrupt

    images = held_out[0]
    both = corrupt(torch.cat([images, images]), torch.Generator().manual_seed(3))
    with torch.inference_mode():
        smeared, crisp = network(both).chunk(2)
    assert (smeared * crisp).sum(1).mean() >= 0.98


def test_a_beard_that_grows_never_brings_the_cosine_back_up(network):
    """A cosine that rose again on the way would reward an optimiser for more of the beard."""
    from avatars import code, column, draw_labels
    from train_generator import CODES, one_hot

    generator = load_generator("avatars", "cpu")
    shaved = draw_labels(40, torch.Generator().manual_seed(11))
    shaved[:, column("hair")] = code("hair", "short")
    shaved[:, column("facial hair")] = code("facial hair", "none")
    bearded = shaved.clone()
    bearded[:, column("facial hair")] = code("facial hair", "beard")
    average = generator.network.mapping.w_avg
    start, end = (torch.lerp(average, one_hot(x) @ CODES, 0.7) for x in (shaved, bearded))
    embedded = []
    with torch.inference_mode():
        for way in torch.linspace(0, 1, 6):
            w = torch.lerp(start, end, way)[:, None].expand(-1, generator.network.config.num_ws, -1)
            embedded.append(network(generator.render(generator.styles(w))))
    cosines = [(embedded[0] * later).sum(1).mean().item() for later in embedded]
    assert cosines == sorted(cosines, reverse=True)
    assert cosines[0] == pytest.approx(1) and cosines[-1] == pytest.approx(0.75, abs=0.06)


def test_the_identity_network_stays_small():
    assert EMBEDDED.identity.stat().st_size <= 0.5e6
