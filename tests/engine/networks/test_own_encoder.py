"""The network of a generator's own photo encoder."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from styleatlas.engine.networks.own_encoder import OwnEncoderConfig, OwnEncoderNetwork, averaged
from styleatlas.store.errors import OptionError

SMALL = OwnEncoderConfig(side=16, w_dim=5, widths=(3, 4, 6), hidden=7)


def network(seed: int = 0) -> OwnEncoderNetwork:
    torch.manual_seed(seed)
    made = OwnEncoderNetwork(SMALL)
    torch.nn.init.normal_(made.step.weight)
    return made


def plain(state: dict[str, torch.Tensor], seen: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """The same written out, a layer a line."""

    def leaky(x):
        return torch.where(x > 0, x, 0.2 * x)

    x = leaky(F.conv2d(seen, state["stem.weight"], state["stem.bias"], padding=1))
    for i in range(2):
        at = {name: state[f"blocks.{i}.{name}"] for name in ("conv0.weight", "conv0.bias")}
        y = leaky(F.conv2d(x, at["conv0.weight"], at["conv0.bias"], padding=1))
        weight, bias = state[f"blocks.{i}.conv1.weight"], state[f"blocks.{i}.conv1.bias"]
        y = leaky(F.conv2d(y, weight, bias, padding=1)[:, :, ::2, ::2])
        quarters = (
            x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]
        ) / 4
        skip = torch.einsum("oi,nihw->nohw", state[f"blocks.{i}.skip.weight"][..., 0, 0], quarters)
        x = (y + skip) / 2**0.5
    shift = (w - state["centre"]) / state["scale"]
    hidden = x.flatten(1) @ state["seen.weight"].T + state["seen.bias"]
    hidden = leaky(hidden + shift @ state["at.weight"].T + state["at.bias"])
    return state["scale"] * (hidden @ state["step.weight"].T + state["step.bias"])


def test_network_is_what_its_paper_and_docstring_say():
    made = network()
    made.centre.normal_()
    made.scale.fill_(0.3)
    seen, w = torch.randn(3, 6, 16, 16), torch.randn(3, 5)
    with torch.no_grad():
        torch.testing.assert_close(made(seen, w), plain(made.state_dict(), seen, w))


def test_untrained_network_goes_nowhere():
    seen, w = torch.randn(3, 6, 16, 16), torch.randn(3, 5)
    assert torch.equal(OwnEncoderNetwork(SMALL)(seen, w), torch.zeros(3, 5))


def test_image_does_not_depend_on_those_beside_it():
    seen, w = torch.randn(4, 6, 16, 16), torch.randn(4, 5)
    made = network()
    torch.testing.assert_close(made(seen, w)[2:3], made(seen[2:3], w[2:3]))


def test_shapes_are_those_of_the_network():
    found = {name: tuple(x.shape) for name, x in OwnEncoderNetwork(SMALL).state_dict().items()}
    assert SMALL.shapes() == found and found["seen.weight"] == (7, 6 * 16)


@pytest.mark.parametrize(
    ("size", "side", "stages"),
    [((64, 64), 64, 5), ((1024, 1024), 128, 6), ((8, 8), 8, 2), ((96, 48), 64, 5), ((5, 5), 8, 2)],
)
def test_network_grows_with_the_images_up_to_128_pixels(size, side, stages):
    config = OwnEncoderConfig.of(size, 512)
    assert config.side == side and len(config.widths) == stages


def test_network_of_the_avatars_fits_into_two_megabytes_of_halves():
    shapes = OwnEncoderConfig.of((64, 64), 256).shapes()
    assert 2 * sum(torch.Size(shape).numel() for shape in shapes.values()) < 2_000_000


def test_images_are_averaged_to_the_square():
    images = torch.arange(2 * 3 * 16 * 32.0).reshape(2, 3, 16, 32)
    wanted = images.reshape(2, 3, 8, 2, 8, 4).mean((3, 5))
    torch.testing.assert_close(averaged(images, 8), wanted)
    square = images[..., :16]
    assert torch.equal(averaged(square, 16), square)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"side": 24}, "side must be a power of two, 8 to 256"),
        ({"side": 512}, "side must be a power of two"),
        ({"side": True}, "side must be a power of two"),
        ({"widths": (3, 4)}, "widths must be 3 whole numbers, 1 to 1024"),
        ({"widths": (3, 4, 0)}, "widths must be 3 whole numbers"),
        ({"widths": (3, 4, 10**9)}, "widths must be 3 whole numbers"),
        ({"hidden": 0}, "hidden must be 1 to 1024"),
        ({"w_dim": 10**6}, "w_dim must be 1 to 8192"),
    ],
)
def test_numbers_out_of_range_are_refused(changed, message):
    whole = {"side": 16, "w_dim": 5, "widths": (3, 4, 6), "hidden": 7}
    with pytest.raises(OptionError, match=message):
        OwnEncoderConfig(**{**whole, **changed})
