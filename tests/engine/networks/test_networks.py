"""All families of networks against their plain formulation, and as `Generator`s."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from styleatlas import load_generator
from styleatlas.engine.checkpoints.checkpoint import GeneratorCheckpoint
from styleatlas.engine.checkpoints.native import write_generator
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.networks.mobile_stylegan import MobileStyleGANConfig
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.engine.networks.stylegan3 import StyleGAN3Config, stylegan3_config
from styleatlas.store.errors import OptionError
from styleatlas.store.fingerprint import ModelIdentity

from ...checkpoint_files import small_mobile_stylegan, small_stylegan2, small_stylegan3

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))
import plain_stylegan

from ...near import assert_near

RADIAL = {"conv_kernel": 1, "use_radial_filters": True}
CONFIGS = {
    "skip": small_stylegan2(),
    "resnet": small_stylegan2(architecture="resnet"),
    "orig": small_stylegan2(architecture="orig"),
    "binding clamp": small_stylegan2(conv_clamp=0.4),
    "resnet with a binding clamp": small_stylegan2(architecture="resnet", conv_clamp=0.4),
    "grey, 3 taps, no noise": small_stylegan2(
        architecture="orig", image_channels=1, filter_taps=3, use_noise=False
    ),
    "2 taps": small_stylegan2(filter_taps=2),
    "5 taps, resnet": small_stylegan2(architecture="resnet", filter_taps=5),
    "twice as high as wide": small_stylegan2(constant=(4, 2)),
    "3 x 5, resnet, 3 taps": small_stylegan2(
        constant=(3, 5), architecture="resnet", filter_taps=3, conv_clamp=0.4
    ),
    "conditional": small_stylegan2(c_dim=3, embed_features=4, layer_features=9),
    "wide": StyleGAN2Config(
        z_dim=4, w_dim=4, mapping_layers=1, channels={4: 3, 8: 2, 16: 2, 32: 2, 64: 1, 128: 64}
    ),
    "MobileStyleGAN": small_mobile_stylegan(),
    "MobileStyleGAN, grey, conditional": small_mobile_stylegan(
        channels={4: 4, 8: 4, 16: 8, 32: 4}, image_channels=1, c_dim=2
    ),
    "StyleGAN3-T": small_stylegan3(),
    "StyleGAN3-T of 14 layers": small_stylegan3(resolution=32, num_layers=14, num_critical=2),
    "StyleGAN3-R": small_stylegan3(**RADIAL),
    "StyleGAN3-T, other numbers": small_stylegan3(
        c_dim=2, margin_size=3, filter_size=4, conv_clamp=0.5, output_scale=0.7, image_channels=1
    ),
    "StyleGAN3 without oversampling": small_stylegan3(lrelu_upsampling=1),
    "StyleGAN3 without a clamp": small_stylegan3(conv_clamp=None, lrelu_upsampling=4),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def network(request, make_network):
    return make_network(config=request.param)


def generator_of(network) -> StyleGANGenerator:
    return StyleGANGenerator(network, ModelIdentity("random", "0" * 64, {}))


def random_styles(network, n: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [
        torch.randn(n, layer.size, generator=random) + 1 for layer in network.config.styled_layers()
    ]


def plain_image(network, styles: list[Tensor]) -> Tensor:
    formula = {
        StyleGAN2Config: plain_stylegan.stylegan2,
        StyleGAN3Config: plain_stylegan.stylegan3,
        MobileStyleGANConfig: plain_stylegan.mobile_stylegan,
    }[type(network.config)]
    return formula(network, styles)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("frozen", [False, True], ids=["as built", "frozen"])
def test_image_is_that_of_per_sample_weights_and_inserted_zeros(network, batch, frozen):
    network.double().requires_grad_(False)
    styles = [style.double() for style in random_styles(network, batch)]
    wanted = plain_image(network, styles)
    if frozen:
        network.synthesis.freeze()
    image = network.synthesis(styles)
    assert image.shape == (batch, network.config.image_channels, *network.config.image_size)
    assert float((image - wanted).abs().max()) <= 1e-6 * float(wanted.std())


def test_gradient_is_that_of_the_plain_formula(network):
    network.double().requires_grad_(False)
    styles = [style.double().requires_grad_() for style in random_styles(network, 2)]
    weights = torch.randn(plain_image(network, styles).shape, dtype=torch.float64)
    wanted = torch.autograd.grad((plain_image(network, styles) * weights).sum(), styles)
    found = torch.autograd.grad((network.synthesis(styles) * weights).sum(), styles)
    for gradient, same in zip(found, wanted, strict=True):
        assert torch.allclose(gradient, same, rtol=1e-5, atol=1e-7 * float(same.abs().max() + 1))


@pytest.mark.gpu
@pytest.mark.parametrize("batch", [1, 3])
def test_image_and_gradient_on_a_gpu_are_those_of_the_cpu(network, batch):
    network.requires_grad_(False)
    styles = random_styles(network, batch)
    weights = torch.randn(network.synthesis(styles).shape)
    found = []
    for device in ("cpu", "cuda"):
        network.to(device).synthesis.freeze()
        leaves = [style.to(device, copy=True).requires_grad_() for style in styles]
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            image = network.synthesis(leaves)
            gradients = torch.autograd.grad((image * weights.to(device)).sum(), leaves)
            with torch.inference_mode():
                again = network.synthesis([style.to(device) for style in styles])
        found.append([x.detach().cpu() for x in (image, again, *gradients)])
    for here, there in zip(*found, strict=True):
        assert_near(there, here, 1e-3)


@pytest.mark.parametrize("name", ["skip", "StyleGAN3-T", "MobileStyleGAN"])
def test_render_that_is_traced_and_compiled_is_the_render(name, make_network):
    """As far as a CPU can tell: traced as `torch.compile` does, and run by PyTorch's operators."""
    network = make_network(config=CONFIGS[name]).requires_grad_(False)
    network.synthesis.freeze()
    generator = generator_of(network)
    styles = torch.cat(random_styles(network, 2), 1)
    torch._dynamo.reset()
    assert_near(
        torch.compile(generator.render, backend="aot_eager")(styles), generator.render(styles)
    )


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["skip", "StyleGAN3-T", "MobileStyleGAN"])
def test_render_that_is_compiled_for_a_gpu_is_the_render(name, make_network):
    network = make_network(config=CONFIGS[name]).requires_grad_(False).cuda()
    network.synthesis.freeze()
    generator = generator_of(network)
    styles = torch.cat(random_styles(network, 2), 1).cuda()
    torch._dynamo.reset()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False), torch.inference_mode():
        assert_near(torch.compile(generator.render)(styles), generator.render(styles), 1e-3)


@pytest.mark.parametrize(
    "name", ["skip", "resnet with a binding clamp", "StyleGAN3-R", "MobileStyleGAN"]
)
def test_render_can_be_differentiated_twice(name, make_network):
    generator = generator_of(make_network(config=CONFIGS[name]).double())
    styles = torch.randn(1, generator.layout.size, dtype=torch.float64) + 1
    styles.requires_grad_()
    assert torch.autograd.gradcheck(generator.render, styles, fast_mode=True)
    # So small that no activation passes its kink, where a slope has no slope.
    assert torch.autograd.gradgradcheck(generator.render, styles, eps=1e-8, fast_mode=True)


# PyTorch's own forward-mode rules still go through what it deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", ["skip", "wide", "StyleGAN3-T", "MobileStyleGAN"])
def test_render_works_under_the_transforms_of_torch_func(name, make_network):
    network = make_network(config=CONFIGS[name]).double()
    generator = generator_of(network)
    styles = torch.cat(random_styles(network, 3), 1).double()
    images = generator.render(styles)

    def one(style: Tensor) -> Tensor:
        return generator.render(style[None])[0]

    # StyleGAN3 normalises styles over the batch, which demodulation undoes but for its epsilon.
    close = {"rtol": 1e-4, "atol": 1e-4 * float(images.std())}
    torch.testing.assert_close(torch.func.vmap(one)(styles), images, **close)
    step = torch.randn_like(styles[0])
    _, forward = torch.func.jvp(one, (styles[0],), (step,))
    _, pull = torch.func.vjp(one, styles[0])
    cotangents = torch.randn(2, *images[0].shape, dtype=torch.float64)
    (backward,) = torch.func.vmap(pull)(cotangents)
    products = (cotangents * forward).sum((1, 2, 3))
    torch.testing.assert_close(backward @ step, products, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["skip", "resnet", "StyleGAN3-T", "StyleGAN3-R"])
def test_batch_rendered_one_by_one_is_the_batch(name, make_network, monkeypatch):
    network = make_network(config=CONFIGS[name]).requires_grad_(False)
    styles = random_styles(network, 3)
    together = network.synthesis(styles)
    monkeypatch.setattr("styleatlas.engine.networks.style.LARGE", 1)
    whole = name.startswith("StyleGAN3")  # calls itself; a StyleGAN2 splits its batch at a block
    inside = network.synthesis if whole else network.synthesis.block(network.config.resolution)
    sizes: list[int] = []
    inside.register_forward_pre_hook(
        lambda _, given: sizes.append(len(given[0][0] if whole else given[2]))
    )
    one_by_one = network.synthesis(styles)
    assert sizes == [3, 1, 1, 1] if whole else set(sizes) == {1}
    assert torch.allclose(one_by_one, together, atol=1e-4 * float(together.std()))


@pytest.mark.parametrize("name", [name for name in CONFIGS if "14 layers" not in name])
def test_render_resumed_at_any_layer_is_the_whole_render(name, make_network):
    network = make_network(config=CONFIGS[name]).requires_grad_(False)
    network.synthesis.freeze()
    if name != "wide":  # which is large, and slow in double precision
        network.double()
    generator = generator_of(network)
    styles = torch.cat(random_styles(network, 2), 1).to(network.mapping.w_avg.dtype)
    for layer in generator.layout:
        if layer.kind == "input":
            continue
        values = torch.tensor([-3.0, 0.5]).to(styles)
        wanted = styles.repeat(2, 1)
        wanted[:, layer.slice.stop - 1] = values.repeat_interleave(2)
        with torch.inference_mode():
            image = generator.render(wanted)
        found = generator.prefix(styles, layer).render(layer.size - 1, values)
        # StyleGAN3 normalises styles over the batch, which demodulation undoes but for its epsilon.
        bound = 1e-4 if name == "wide" else 1e-6
        assert float((found - image).abs().max()) <= bound * float(image.std()), layer.name


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["skip", "StyleGAN3-T", "MobileStyleGAN"])
def test_render_resumed_in_reduced_precision_is_as_near_as_the_whole_render(
    name, precision, make_network
):
    network = make_network(config=CONFIGS[name]).requires_grad_(False)
    network.synthesis.freeze()
    generator = generator_of(network)
    styles = torch.cat(random_styles(network, 2), 1)
    for layer in generator.layout:
        if layer.kind == "input":
            continue
        changed = styles.clone()
        changed[:, layer.start] = -4
        network.synthesis.reduced_dtype = None
        with torch.inference_mode():
            exact = generator.render(changed)
        network.synthesis.reduced_dtype = getattr(torch, precision)
        found = generator.prefix(styles, layer).render(0, torch.tensor([-4.0]))
        bound = 0.05 if precision == "bfloat16" else 0.01
        assert float((found - exact).square().mean().sqrt() / exact.std()) < bound, layer.name


def test_render_cannot_resume_at_the_input(make_network):
    generator = generator_of(make_network(config=CONFIGS["StyleGAN3-T"]))
    with pytest.raises(OptionError, match="layer input: is not linear in its style"):
        generator.prefix(torch.ones(1, generator.layout.size), generator.layout["input"])


def test_images_of_a_batch_do_not_see_each_other(network):
    generator = generator_of(network)
    styles = torch.cat(random_styles(network, 3), 1)
    alone = torch.cat([generator.render(style) for style in styles.split(1)])
    together = generator.render(styles)
    assert torch.allclose(together, alone, atol=1e-4 * float(alone.std()))


@pytest.mark.parametrize(("precision", "bound"), [("bfloat16", 0.05), ("float16", 0.01)])
@pytest.mark.parametrize(
    "name", ["skip", "resnet with a binding clamp", "StyleGAN3-T", "StyleGAN3-R", "MobileStyleGAN"]
)
def test_reduced_precision_changes_the_image_little(name, precision, bound, make_network, tmp_path):
    network = make_network(config=CONFIGS[name])
    checkpoint = GeneratorCheckpoint.of(
        tmp_path, network.config, network.state_dict(), "styleatlas"
    )
    write_generator(tmp_path / "network.safetensors", checkpoint)
    styles = torch.cat(random_styles(network, 2), 1)
    whole, reduced = (
        load_generator(tmp_path / "network.safetensors", "cpu", p).render(styles)
        for p in ("float32", precision)
    )
    error = float((reduced - whole).square().mean().sqrt() / whole.std())
    assert reduced.dtype == torch.float32
    assert 0 < error < bound


def test_float16_survives_weights_and_styles_that_would_overflow_it(make_network, tmp_path):
    network = make_network(config=CONFIGS["skip"])
    for resolution in (8, 16):
        network.synthesis.block(resolution).conv1.weight.data *= 1e5
    checkpoint = GeneratorCheckpoint.of(
        tmp_path, network.config, network.state_dict(), "styleatlas"
    )
    styles = torch.cat(random_styles(network, 2), 1)
    styles[:, network.config.channels[4] * 2 :] *= 100
    images = [
        StyleGANGenerator.of(checkpoint, "large", torch.device("cpu"), precision).render(styles)
        for precision in ("float32", "float16")
    ]
    assert images[1].isfinite().all()
    assert torch.allclose(*images, atol=0.02 * float(images[0].std()))


def test_unknown_precision_is_refused(checkpoint):
    with pytest.raises(OptionError, match="precision 'half': unknown; use one of float32, bfl"):
        load_generator(checkpoint, "cpu", "half")


def test_random_noise_differs_from_call_to_call_and_const_noise_does_not(stylegan2):
    styles = stylegan2.styles(stylegan2.map(torch.ones(2, 6)))
    with torch.random.fork_rng():
        one, other = (stylegan2.render(styles, "random") for _ in range(2))
    assert not torch.isclose(one, other).all()
    assert torch.equal(stylegan2.render(styles), stylegan2.render(styles, "const"))


def test_noise_of_strength_zero_is_no_noise(make_network):
    network = make_network()
    for name, parameter in network.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.zero_()
    generator = generator_of(network)
    styles = generator.styles(generator.map(torch.ones(1, 6)))
    images = [generator.render(styles, noise) for noise in ("const", "random", "none")]
    assert torch.allclose(images[0], images[1], atol=1e-6)
    assert torch.allclose(images[0], images[2], atol=1e-6)


def test_label_changes_w_and_is_normalised(make_network):
    generator = generator_of(make_network(config=CONFIGS["conditional"]))
    z = torch.randn(2, 5)
    first, second, third = torch.eye(3)[:, None].expand(-1, 2, -1)
    assert not torch.allclose(generator.map(z, first), generator.map(z, second), atol=1e-3)
    # Both halves of the input have unit second moment, so that a biasless label's length is lost.
    generator.network.mapping.embed.bias.data.zero_()
    assert torch.allclose(generator.map(z, third), generator.map(z, 7 * third), atol=1e-5)


def test_label_that_is_missing_or_too_much_is_refused(make_network, stylegan2):
    conditional = generator_of(make_network(config=CONFIGS["conditional"]))
    message = r"is conditional and takes \(2, 3\), one-hot for a class"
    with pytest.raises(OptionError, match=f"label c: is missing; this generator {message}"):
        conditional.map(torch.zeros(2, 5))
    with pytest.raises(OptionError, match=rf"label c: has shape \(2, 4\); .* {message}"):
        conditional.map(torch.zeros(2, 5), torch.zeros(2, 4))
    with pytest.raises(OptionError, match="label c: this generator is not conditional"):
        stylegan2.map(torch.zeros(2, 6), torch.zeros(2, 3))


def test_input_of_another_shape_is_refused_with_the_shape_it_should_have(stylegan2):
    with pytest.raises(OptionError, match=r"latent z: has shape \(2, 5\); .* takes \(n, 6\)"):
        stylegan2.map(torch.zeros(2, 5))
    with pytest.raises(OptionError, match=r"latent z: has shape \(6,\)"):
        stylegan2.map(torch.zeros(6))
    with pytest.raises(OptionError, match=r"styles: have shape \(1, 22\); .* takes \(n, 23\)"):
        stylegan2.render(torch.zeros(1, 22))
    for cutoff in (-1, 5):
        with pytest.raises(OptionError, match=f"truncation cutoff {cutoff}: must be 0 to 4"):
            stylegan2.map(torch.zeros(1, 6), truncation_cutoff=cutoff)


def test_cutoff_at_the_ends_truncates_nothing_or_all(stylegan2):
    z = torch.randn(2, 6)
    nowhere, everywhere = (stylegan2.map(z, truncation=0.7, truncation_cutoff=n) for n in (0, 4))
    assert torch.allclose(nowhere, stylegan2.map(z), atol=1e-6)
    assert_near(everywhere, stylegan2.map(z, truncation=0.7))


def channels_of(config) -> tuple[int, int]:
    """All style channels, and those of convolutions."""
    layers = config.styled_layers()
    return sum(la.size for la in layers), sum(la.size for la in layers if la.kind == "conv")


def test_style_space_of_the_published_generators_has_the_published_size():
    widths = {4 * 2**i: min(32768 // (4 * 2**i), 512) for i in range(9)}
    ffhq = StyleGAN2Config(z_dim=512, w_dim=512, mapping_layers=8, channels=widths)
    assert channels_of(ffhq) == (9088, 6048)
    assert [la.row for la in ffhq.styled_layers()][-3:] == [15, 16, 17]
    small = replace(ffhq, channels={r: min(16384 // r, 512) for r in widths if r <= 256})
    assert channels_of(small)[1] == 4928
    t = stylegan3_config(resolution=1024)
    r = stylegan3_config(resolution=1024, channel_base=65536, channel_max=1024, **RADIAL)
    assert channels_of(t) == (4946 + 4, 4914)
    assert channels_of(r) == (9890 + 4, 9826)
    assert t.num_ws == r.num_ws == 16
