"""Identity networks: published layouts are read exactly, and gradients reach the image."""

from __future__ import annotations

import copy
import os

import pytest
import torch
import torch.nn.functional as F

from styleatlas import load_encoder
from styleatlas.engine.models.identity import crop_faces, load_identity
from styleatlas.store.errors import CheckpointError, OptionError

from ...near import assert_near

CPU = torch.device("cpu")
Shapes = dict[str, tuple[int, ...]]


# The layouts of the published files, written down apart from our networks.


def batch_norm(name: str, width: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def irse50_shapes() -> Shapes:
    shapes = {"input_layer.0.weight": (64, 3, 3, 3), **batch_norm("input_layer.1", 64)}
    shapes["input_layer.2.weight"] = (64,)
    widths = [64] * 3 + [128] * 4 + [256] * 14 + [512] * 3
    for i, (before, after) in enumerate(zip([64, *widths], widths, strict=False)):
        unit = f"body.{i}"
        if before != after:
            shapes[f"{unit}.shortcut_layer.0.weight"] = (after, before, 1, 1)
            shapes |= batch_norm(f"{unit}.shortcut_layer.1", after)
        shapes |= batch_norm(f"{unit}.res_layer.0", before)
        shapes[f"{unit}.res_layer.1.weight"] = (after, before, 3, 3)
        shapes[f"{unit}.res_layer.2.weight"] = (after,)
        shapes[f"{unit}.res_layer.3.weight"] = (after, after, 3, 3)
        shapes |= batch_norm(f"{unit}.res_layer.4", after)
        shapes[f"{unit}.res_layer.5.fc1.weight"] = (after // 16, after, 1, 1)
        shapes[f"{unit}.res_layer.5.fc2.weight"] = (after, after // 16, 1, 1)
    shapes |= batch_norm("output_layer.0", 512)
    shapes |= {"output_layer.3.weight": (512, 25088), "output_layer.3.bias": (512,)}
    return shapes | batch_norm("output_layer.4", 512)


def resnet_face18_shapes(excitation: bool) -> Shapes:
    shapes = {"conv1.weight": (64, 1, 3, 3), **batch_norm("bn1", 64), "prelu.weight": (1,)}
    widths = [64, 64, 128, 128, 256, 256, 512, 512]
    for i, (before, after) in enumerate(zip([64, *widths], widths, strict=False)):
        block = f"layer{i // 2 + 1}.{i % 2}"
        shapes |= batch_norm(f"{block}.bn0", before)
        shapes[f"{block}.conv1.weight"] = (before, before, 3, 3)
        shapes |= batch_norm(f"{block}.bn1", before)
        shapes[f"{block}.prelu.weight"] = (1,)
        shapes[f"{block}.conv2.weight"] = (after, before, 3, 3)
        shapes |= batch_norm(f"{block}.bn2", after)
        if excitation:
            few = after // 16
            shapes |= {f"{block}.se.fc.0.weight": (few, after), f"{block}.se.fc.0.bias": (few,)}
            shapes[f"{block}.se.fc.1.weight"] = (1,)
            shapes |= {f"{block}.se.fc.2.weight": (after, few), f"{block}.se.fc.2.bias": (after,)}
        if before != after:
            shapes[f"{block}.downsample.0.weight"] = (after, before, 1, 1)
            shapes |= batch_norm(f"{block}.downsample.1", after)
    shapes |= batch_norm("bn4", 512) | {"fc5.weight": (512, 32768), "fc5.bias": (512,)}
    return shapes | batch_norm("bn5", 512)


def random_state(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Half-precision tensors by which a network stays in a sane range, no two layers alike."""
    generator = torch.Generator().manual_seed(7)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
            continue
        values = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            values *= (2 / values[0].numel()) ** 0.5
        elif name.endswith("running_var"):
            values = 1 + 0.2 * values.tanh()
        else:
            values = 0.2 * values + (0.6 if name.endswith("weight") else 0)
        state[name] = values.half()
    return state


LAYOUTS = {
    "model_ir_se50": (irse50_shapes(), 397),
    "resnet18_110": (resnet_face18_shapes(False), 181),
    "resnet18_110_se": (resnet_face18_shapes(True), 221),
}
KINDS = [*LAYOUTS, "avatars", "clip"]


@pytest.fixture(scope="module")
def states():
    return {name: random_state(shapes) for name, (shapes, _) in LAYOUTS.items()}


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("avatars", "cpu")


@pytest.fixture(scope="module")
def identities(states, encoder, tmp_path_factory):
    """Every kind of identity network by its name."""
    folder = tmp_path_factory.mktemp("identity")
    found = {name: load_identity(name, encoder, CPU) for name in ("avatars", "clip")}
    for name, state in states.items():
        path = folder / f"{name}.pth"
        torch.save(state, path)
        found[name] = load_identity(str(path), encoder, CPU)
    return found


@pytest.fixture
def small(states, tmp_path, encoder):
    """Save a changed state of the network without excitation and load it."""

    def load(changes: dict[str, object] | None = None, prefix: str = "", without: str = "-"):
        path = tmp_path / "face.pth"
        state = states["resnet18_110"] | (changes or {})
        torch.save({prefix + k: v for k, v in state.items() if not k.endswith(without)}, path)
        return load_identity(str(path), encoder, CPU)

    return load


def pictures(n: int, side: int) -> torch.Tensor:
    """Smooth pictures (n, 3, side, side) in [-1, 1], no two alike."""
    noise = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(n + side))
    return F.interpolate(noise, side, mode="bicubic").tanh()


# The networks as formulas over a state dict.


def normed(state, name, x):
    mean, var, weight, bias = (
        state[f"{name}.{part}"].reshape(1, -1, *[1] * (x.ndim - 2))
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def irse_unit(state, name, x, stride):
    y = normed(state, f"{name}.res_layer.0", x)
    y = F.conv2d(y, state[f"{name}.res_layer.1.weight"], padding=1)
    y = F.prelu(y, state[f"{name}.res_layer.2.weight"])
    y = F.conv2d(y, state[f"{name}.res_layer.3.weight"], stride=stride, padding=1)
    y = normed(state, f"{name}.res_layer.4", y)
    weights = F.adaptive_avg_pool2d(y, 1)
    weights = F.conv2d(weights, state[f"{name}.res_layer.5.fc1.weight"]).relu()
    weights = F.conv2d(weights, state[f"{name}.res_layer.5.fc2.weight"]).sigmoid()
    shortcut = x[:, :, ::stride, ::stride]
    if f"{name}.shortcut_layer.0.weight" in state:
        shortcut = F.conv2d(x, state[f"{name}.shortcut_layer.0.weight"], stride=stride)
        shortcut = normed(state, f"{name}.shortcut_layer.1", shortcut)
    return y * weights + shortcut


def irse50(state, x):
    x = F.conv2d(x, state["input_layer.0.weight"], padding=1)
    x = F.prelu(normed(state, "input_layer.1", x), state["input_layer.2.weight"])
    for i in range(24):
        x = irse_unit(state, f"body.{i}", x, 2 if i in (0, 3, 7, 21) else 1)
    x = normed(state, "output_layer.0", x).reshape(len(x), -1)
    x = x @ state["output_layer.3.weight"].t() + state["output_layer.3.bias"]
    x = normed(state, "output_layer.4", x)
    return x / x.norm(dim=1, keepdim=True)


def face_block(state, name, x, stride):
    slope = state[f"{name}.prelu.weight"]
    y = F.conv2d(normed(state, f"{name}.bn0", x), state[f"{name}.conv1.weight"], padding=1)
    y = F.prelu(normed(state, f"{name}.bn1", y), slope)
    y = F.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1)
    y = normed(state, f"{name}.bn2", y)
    if f"{name}.se.fc.0.weight" in state:
        first, second = (
            (state[f"{name}.se.fc.{i}.weight"], state[f"{name}.se.fc.{i}.bias"]) for i in (0, 2)
        )
        weights = F.prelu(F.linear(y.mean((2, 3)), *first), state[f"{name}.se.fc.1.weight"])
        y = y * F.linear(weights, *second).sigmoid()[:, :, None, None]
    if f"{name}.downsample.0.weight" in state:
        x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
        x = normed(state, f"{name}.downsample.1", x)
    return F.prelu(y + x, slope)


def resnet_face18(state, grey):
    x = F.conv2d(grey, state["conv1.weight"], padding=1)
    x = F.max_pool2d(F.prelu(normed(state, "bn1", x), state["prelu.weight"]), 2)
    for layer in range(1, 5):
        x = face_block(state, f"layer{layer}.0", x, 1 if layer == 1 else 2)
        x = face_block(state, f"layer{layer}.1", x, 1)
    x = F.linear(normed(state, "bn4", x).reshape(len(x), -1), state["fc5.weight"])
    return normed(state, "bn5", x + state["fc5.bias"])


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_networks_have_the_tensors_of_the_published_files(identities, name):
    shapes, count = LAYOUTS[name]
    state = identities[name].network.state_dict()
    assert len(state) == count
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == shapes


def test_ir_se50_is_its_formula(identities, states):
    state = {name: tensor.float() for name, tensor in states["model_ir_se50"].items()}
    faces = pictures(2, 112)
    with torch.inference_mode():
        found, wanted = identities["model_ir_se50"].network(faces), irse50(state, faces)
    assert (wanted[0] @ wanted[1]).abs() < 0.99  # it tells pictures apart, so equality means much
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet18_110", "resnet18_110_se"])
def test_resnet_face18_is_its_formula_of_the_grey_picture_and_then_of_its_mirror(
    identities, states, name
):
    state = {key: tensor.float() for key, tensor in states[name].items()}
    faces = pictures(2, 128)
    red, green, blue = faces.unbind(1)
    grey = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    with torch.inference_mode():
        found = identities[name].network(faces)
        parts = [resnet_face18(state, x) for x in (grey, grey.flip(3))]
    assert (parts[0] - parts[1]).abs().max() > 0.01
    wanted = torch.cat(parts, 1)
    wanted /= wanted.norm(dim=1, keepdim=True)
    assert found.shape == (2, 1024)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_unit_vectors_of_frozen_weights(identities, encoder, kind):
    identity = identities[kind]
    embeddings = identity.embed(pictures(3, 64))
    width = {"model_ir_se50": 512, "avatars": 64, "clip": encoder.width}.get(kind, 1024)
    assert embeddings.shape == (3, width)
    assert embeddings.dtype == torch.float32
    assert not embeddings.requires_grad
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))
    assert identity.identity.sizes["width"] == width
    assert identity.name == kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_the_identity_loss_is_that_of_finite_differences(identities, kind):
    """Through the whole chain from the image on: no 8-bit step, no detached one."""
    identity, dtype, step, tolerance = identities[kind], torch.float64, 1e-6, 1e-4
    if kind == "clip":  # computes in float32 whatever the image
        dtype, step, tolerance = torch.float32, 3e-2, 0.05
    else:
        identity = copy.deepcopy(identity)
        identity.network.double()
    side = 64 if kind in ("avatars", "clip") else 96
    before, image = pictures(2, side).to(dtype).split(1)
    reference = identity.embed(before)
    image.requires_grad_()

    def loss(image: torch.Tensor) -> torch.Tensor:
        return 1 - (reference * identity.embed(image)).sum()

    (gradient,) = torch.autograd.grad(loss(image), image)
    slope = gradient.norm()
    assert slope > 1e-4
    with torch.no_grad():
        way = gradient / slope * step
        found = (loss(image + way) - loss(image - way)) / (2 * step)
    assert found.item() == pytest.approx(slope.item(), rel=tolerance)


def test_a_face_is_cropped_where_it_lies_in_an_aligned_picture():
    """Each pixel says where it is, so the crop can be read off; 1,024 pixels are four times 256."""
    for side in (1024, 256):
        at = (torch.arange(side) + 0.5) * 256 / side
        image = torch.stack([at[:, None].expand(side, side), at.expand(side, side), at.outer(at)])
        rows, columns, _ = crop_faces(image[None], 47)[0]  # 188 / 4
        wanted = torch.arange(47) * 4.0 + 2
        torch.testing.assert_close(rows[:, 0], 35 + wanted)
        torch.testing.assert_close(columns[0], 32 + wanted)


def test_a_picture_below_256_pixels_is_resized_without_leaving_out_any_of_it():
    small = pictures(1, 100)
    large = F.interpolate(small, 256, mode="bilinear", align_corners=False)
    assert_near(crop_faces(small, 112), crop_faces(large, 112))


@pytest.mark.parametrize("kind", ["model_ir_se50", "resnet18_110"])
@pytest.mark.parametrize("shape", [(2, 1, 64, 64), (2, 3, 64, 32), (3, 64, 64)])
def test_pictures_that_are_no_rgb_squares_are_refused(identities, kind, shape):
    with pytest.raises(OptionError, match=r"square RGB images.*choose clip or off"):
        identities[kind].embed(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 1, 64, 64), (2, 3, 128, 128), (3, 64, 64)])
def test_the_embedded_network_refuses_what_is_no_avatar(identities, shape):
    with pytest.raises(OptionError, match=r"images of \(n, 3, 64, 64\), not of shape"):
        identities["avatars"].embed(torch.zeros(shape))


def test_off_is_no_identity(encoder):
    assert load_identity("off", encoder, CPU) is None


def test_clip_is_the_encoder_itself(identities, encoder):
    images = pictures(2, 64)
    assert torch.equal(identities["clip"].embed(images), encoder.images(images))
    assert identities["clip"].identity == encoder.identity


def test_one_set_of_weights_has_one_identity_however_it_is_saved(small, states):
    single = {k: v.float() if v.ndim else v for k, v in states["resnet18_110"].items()}
    found = [
        small(),
        small(prefix="module."),
        small(without="num_batches_tracked"),
        small(changes=single),
    ]
    assert len({identity.identity.sha256 for identity in found}) == 1
    images = pictures(1, 64)
    first, *others = (identity.embed(images) for identity in found)
    for other in others:
        assert_near(other, first)
    changed = small({"bn5.bias": states["resnet18_110"]["bn5.bias"] + 1})
    assert changed.identity.sha256 != found[0].identity.sha256


@pytest.mark.parametrize(
    ("changes", "without", "message"),
    [
        ({}, "layer2.0.bn1.bias", "missing layer2.0.bn1.bias"),
        ({}, "fc5.weight", "holds no face recogniser but a dict of conv1.weight"),
        ({"fc6.weight": torch.zeros(2)}, "-", "surplus fc6.weight"),
        ({"fc5.num_batches_tracked": torch.zeros(2)}, "-", "surplus fc5.num_batches_tracked"),
        ({"layer1.0.se.fc.1.weight": torch.zeros(1)}, "-", "missing layer1.0.se.fc.0.bias"),
        ({"bn5.bias": torch.zeros(511)}, "-", r"bn5.bias has shape \(511,\) where \(512,\)"),
        ({"bn5.bias": torch.zeros(512, dtype=torch.int32)}, "-", "bn5.bias has type torch.int32"),
        ({"bn5.bias": torch.full((512,), torch.nan)}, "-", "bn5.bias holds NaN or infinity"),
        ({"prelu.weight": torch.tensor([torch.inf])}, "-", "prelu.weight holds NaN or infinity"),
        ({"bn5.bias": "text"}, "-", "bn5.bias is text where a tensor is needed"),
    ],
)
def test_a_file_of_other_tensors_is_refused_by_the_tensor(
    small, tmp_path, changes, without, message
):
    with pytest.raises(CheckpointError, match=message) as caught:
        small(changes, without=without)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'face.pth'}: ")
    assert "; " in said and "\n" not in said


def test_an_encoder_on_the_same_backbone_is_not_taken_for_the_recogniser(states, tmp_path, encoder):
    path = tmp_path / "encoder.pth"
    torch.save({k: v for k, v in states["model_ir_se50"].items() if k[:4] == "inpu"}, path)
    with pytest.raises(CheckpointError, match="holds no face recogniser but a dict of input_layer"):
        load_identity(str(path), encoder, CPU)


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_code_in_a_file_is_refused_and_not_run(states, tmp_path, encoder):
    path, canary = tmp_path / "hostile.pth", tmp_path / "ran"
    torch.save({"fc5.weight": Hostile(f"touch {canary}")}, path)
    with pytest.raises(CheckpointError, match=r"asks for the Python object .*system"):
        load_identity(str(path), encoder, CPU)
    assert not canary.exists()


def test_a_truncated_file_is_refused(states, tmp_path, encoder):
    path = tmp_path / "face.pth"
    torch.save(states["resnet18_110"], path)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:3], b""):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=f"^{path}: .*; "):
            load_identity(str(path), encoder, CPU)


def test_what_is_no_state_dict_or_no_file_is_refused(tmp_path, encoder):
    path = tmp_path / "face.pth"
    with pytest.raises(CheckpointError, match="no such file; check the path, or name `avatars`"):
        load_identity(str(path), encoder, CPU)
    torch.save(torch.zeros(3), path)
    with pytest.raises(CheckpointError, match=r"no state dict; face recognisers are read from"):
        load_identity(str(path), encoder, CPU)
