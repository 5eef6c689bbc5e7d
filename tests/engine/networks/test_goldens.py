"""Whole generators against arrays of other implementations: NVIDIA's and rosinality's own code.

Each golden is written as the file its authors' program would write and read back as people do.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from styleatlas import load_generator
from styleatlas.engine.models.generator import StyleGANGenerator

from ...checkpoint_files import golden, nvidia_pickle, rosinality_file

# Layers of rosinality's network by the names of ours.
ROSINALITY = {"b4.conv1": "conv1", "b4.torgb": "to_rgb1"} | {
    f"b{8 * 2**i}.{ours}": theirs
    for i in range(4)
    for ours, theirs in (
        ("conv0", f"convs.{2 * i}"),
        ("conv1", f"convs.{2 * i + 1}"),
        ("torgb", f"to_rgbs.{i}"),
    )
}


@dataclass(frozen=True)
class Golden:
    generator: StyleGANGenerator
    arrays: dict[str, np.ndarray]
    meta: dict

    def styles(self, prefix: str) -> Tensor:
        """The styles of all layers, in the order of our layout."""
        parts = []
        for layer in self.generator.layout:
            key = f"{prefix}{ROSINALITY.get(layer.name, layer.name)}"
            parts.append(self.arrays[key if key in self.arrays else f"{prefix}{layer.name}.affine"])
        return torch.tensor(np.concatenate(parts, 1))

    def layer(self, name: str) -> str:
        """Our name of a layer of the golden."""
        return {theirs: ours for ours, theirs in ROSINALITY.items()}.get(name, name)


@pytest.fixture(scope="module", params=["sg2_skip_map8", "sg3_t", "ros_g_ema"])
def known(request, tmp_path_factory) -> Golden:
    path = tmp_path_factory.mktemp("golden") / "generator"
    state, attributes, arrays = golden(request.param)
    if request.param == "ros_g_ema":
        rosinality_file(path, state, torch.tensor(arrays["latent_avg"]))
    else:
        nvidia_pickle(path, state, attributes)
    return Golden(load_generator(path, "cpu"), arrays, json.loads(str(arrays["meta"])))


def assert_same_image(found: Tensor, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found.numpy() - wanted).max() <= 1e-4 * wanted.std()


def test_layout_is_the_execution_order(known):
    assert [layer.name for layer in known.generator.layout] == [
        known.layer(name) for name in known.meta["style_order"]
    ]


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        (["w_psi1"], {}),
        (["ws", "latent"], {"truncation": 0.7}),
        (["ws_cutoff3"], {"truncation": 0.7, "truncation_cutoff": 3}),
    ],
    ids=["psi 1", "psi 0.7", "psi 0.7 on 3 rows"],
)
def test_w_is_that_of_the_golden(known, keys, options):
    found = [known.arrays[key] for key in keys if key in known.arrays]
    if not found:
        pytest.skip("the golden has none")
    w = known.generator.map(torch.tensor(known.arrays["z"]), **options).numpy()
    wanted = found[0] if found[0].ndim == 3 else found[0][:, None]
    assert np.abs(w - wanted).max() <= 1e-5


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [(("ws", "latent"), "styles/"), (("wplus",), "wplus_styles/")],
    ids=["w", "w+"],
)
def test_styles_are_the_raw_affine_outputs_of_the_golden(known, keys, prefix):
    w = next(known.arrays[key] for key in keys if key in known.arrays)
    styles = known.generator.styles(torch.tensor(w))
    wanted = known.styles(prefix)
    assert styles.shape == wanted.shape == (2, known.generator.layout.size)
    assert float((styles - wanted).abs().max()) <= 1e-5


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("prefix", "noise", "image"),
    [
        ("styles/", "const", "img"),
        ("styles/", "none", "img_noise_none"),
        ("wplus_styles/", "const", "wplus_img"),
    ],
    ids=["w", "no noise", "w+"],
)
def test_image_is_that_of_the_golden(known, prefix, noise, image, batch):
    if image not in known.arrays:
        pytest.skip("the golden has none")
    parts = known.styles(prefix).split(batch)
    images = torch.cat([known.generator.render(styles, noise) for styles in parts])
    assert_same_image(images, known.arrays[image])


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("precision", "tf32", "bound"),
    [
        ("float32", False, 1e-4),
        ("float32", True, 0.01),
        ("bfloat16", False, 0.05),
        ("float16", False, 0.01),
    ],
    ids=["float32", "TF32", "bfloat16", "float16"],
)
def test_image_on_a_gpu_is_that_of_the_golden(known, precision, tf32, bound):
    network = copy.deepcopy(known.generator.network).cuda()
    generator = StyleGANGenerator(network, known.generator.identity, precision)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32), torch.inference_mode():
        found = generator.render(known.styles("styles/").cuda()).cpu()
    wanted = torch.tensor(known.arrays["img"])
    assert float((found - wanted).square().mean().sqrt() / wanted.std()) <= bound
    if bound == 1e-4:
        assert_same_image(found, known.arrays["img"])


def test_changed_channels_change_the_image_as_in_the_golden(known):
    assert known.meta["perturb"]
    for i, change in enumerate(known.meta["perturb"]):
        styles = known.styles("styles/")
        label = f"{known.layer(change['layer'])}:{change['channel']}"
        styles[:, known.generator.layout.parse(label)] += change["delta"]
        wanted = known.arrays[f"perturb{i}_img"]
        assert_same_image(known.generator.render(styles), wanted)
        assert np.abs(wanted - known.arrays["img"]).max() > 0.01 * wanted.std()
