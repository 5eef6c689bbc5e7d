"""Latents as projectors, encoders and editors write them, read for what they are."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.latents import Latents, read_latents
from styleatlas.store.errors import InputError
from styleatlas.store.fingerprint import ModelIdentity

from ...checkpoint_files import small_stylegan2
from ...near import assert_near

L, W, Z = 4, 6, 5


@pytest.fixture
def model(make_network) -> StyleGANGenerator:
    """A generator whose z, w, w+ and styles all differ in shape."""
    config = small_stylegan2(z_dim=Z, w_dim=W, mapping_layers=2, channels={4: 5, 8: 4})
    return StyleGANGenerator(make_network(config=config), ModelIdentity("tiny", "1" * 64, {}))


@pytest.fixture
def w() -> torch.Tensor:
    """w+ of three images, (3, num_ws, w_dim)."""
    return torch.randn(3, L, W, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def layers(model, w) -> list[np.ndarray]:
    """S of the images, an array (3, c) a layer."""
    styles = model.styles(w).numpy()
    return [styles[:, layer.slice] for layer in model.layout]


@pytest.fixture
def read(model, tmp_path):
    """Read what `write` writes to a file of that name."""

    def read(name: str, write, content: object, **options: object) -> Latents:
        path = tmp_path / name
        write(path, content)
        return read_latents(path, model, **options)

    return read


def pickled(path: Path, content: object, protocol: int = 4) -> None:
    path.write_bytes(pickle.dumps(content, protocol))


def objects(path: Path, content: object) -> None:
    """As np.save writes what is no array of numbers."""
    np.save(path, boxed(content), allow_pickle=True)


def boxed(content: object) -> np.ndarray:
    array = np.empty(len(content) if isinstance(content, list) else (), object)
    array[() if array.ndim == 0 else slice(None)] = content
    return array


# w+ of one photo


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("photo_01.npy", np.save),
        ("photo_01.npz", lambda path, x: np.savez(path, w=x)),
        ("photo_01.npz", lambda path, x: np.savez(path, dlatents=x)),
        ("photo_01.npz", lambda path, x: np.savez(path, latents=x)),
        ("photo_01.npz", lambda path, x: np.savez(path, x)),
        ("photo_01.pt", lambda path, x: torch.save(torch.from_numpy(x), path)),
        ("photo_01.pt", lambda path, x: torch.save({"latent": torch.from_numpy(x)}, path)),
        ("photo_01.pkl", pickled),
        ("photo_w.npy", np.save),
    ],
)
def test_photo_without_an_axis_for_images_is_never_taken_for_many_in_silence(
    name, write, model, w, read
):
    one = w[0].numpy()
    with pytest.raises(
        InputError, match=rf"{name}.*which may be w\+ of one image or w of 4 images"
    ):
        read(name, write, one)
    as_one, as_many = (read(name, write, one, space=space) for space in ("w+", "w"))
    assert_near(as_one.styles, model.styles(w[:1]))
    assert as_one.names == (name.split(".")[0],) and as_one.spaces == ("one w+",)
    assert_near(as_many.styles, model.styles(w[0][:, None].expand(-1, L, -1)))
    assert len(as_many.names) == 4 and as_many.spaces == ("w",)


@pytest.mark.parametrize("name", ["photo_wp.npy", "w_plus.npy", "me w+.npy"])
def test_name_that_says_w_plus_decides(name, model, w, read):
    assert_near(read(name, np.save, w[0].numpy()).styles, model.styles(w[:1]))


def test_one_vector_is_one_image(model, w, read):
    assert_near(read("a.npy", np.save, w[0, 0].numpy()).w, w[:1, :1].expand(-1, L, -1))
    z = np.arange(Z, dtype="f4")
    assert_near(read("a.npy", np.save, z).w, model.map(torch.from_numpy(z)[None]))
    styles = model.styles(w)
    assert_near(read("a.npy", np.save, styles[0].numpy()).styles, styles[:1])
    assert_near(read("a.npy", np.save, w[:, None].numpy()).w, w)
    assert_near(read("a.npy", np.save, w[:, :1].numpy()).w, w[:, :1].expand(-1, L, -1))


# encoders and projectors


def test_restyle_keeps_every_step_and_the_last_counts(w, read):
    steps = {f"img{i}.jpg": [0.1 * x, 0.5 * x, x] for i, x in enumerate(w.numpy())}
    found = read("latents.npy", objects, steps)
    assert_near(found.w, w)
    assert found.names == ("img0", "img1", "img2")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_hyperstyle_keeps_an_array_a_name(protocol, w, read):
    arrays = {f"b/{i}.png": x for i, x in enumerate(w.numpy())}
    for name, write in (
        ("latents.npy", objects),
        ("latents.pkl", lambda path, x: pickled(path, x, protocol)),
        ("latents.npy", lambda path, x: pickled(path, x, protocol)),
    ):
        found = read(name, write, arrays)
        assert_near(found.w, w)
        assert found.names == ("0", "1", "2")
    same = {f"{i}/a.png": x for i, x in enumerate(w.numpy())}
    assert read("latents.npy", objects, same).names == ("0_a", "1_a", "2_a")


@pytest.mark.parametrize("rows", [slice(None), 0])
def test_rosinality_keeps_image_latent_and_noise(rows, w, read):
    project = {
        f"faces/{i}.png": {
            "img": torch.zeros(3, 8, 8),
            "latent": x[rows],
            "noise": [torch.zeros(1, 1, 4, 4)],
        }
        for i, x in enumerate(w)
    }
    found = read("project.pt", lambda path, x: torch.save(x, path), project)
    assert_near(found.w, w if rows != 0 else w[:, :1].expand(-1, L, -1))
    assert found.names == ("0", "1", "2")


def test_pivot_of_pti_is_a_parameter_with_its_gradient(w, read):
    for pivot in (w[:1].clone().requires_grad_(), torch.nn.Parameter(w[:1])):
        found = read("0.pt", lambda path, x: torch.save(x, path), pivot)
        assert_near(found.w, w[:1])
        assert found.names == ("0",)


@pytest.mark.parametrize("content", [list, tuple, lambda w: [x[None] for x in w]])
def test_list_of_tensors_is_an_image_each(content, w, read):
    found = read("latents.pt", lambda path, x: torch.save(x, path), content(w))
    assert_near(found.w, w)
    assert found.names == ("latents 1", "latents 2", "latents 3")


def test_dlatents_of_tensorflow_and_others_by_their_name(model, w, read):
    for name in ("dlatents", "latents", "W", "wp", "latent_codes"):
        assert_near(read("a.npz", lambda path, x: np.savez(path, **x), {name: w.numpy()}).w, w)


# S


def test_layers_of_s_are_read_in_the_generators_order_or_by_their_names(model, w, layers, read):
    by_name = {layer.name: part for layer, part in zip(model.layout, layers, strict=True)}
    tensors = [torch.from_numpy(x) for x in layers]
    for name, write, content in (
        ("S", pickled, layers),
        ("S.pkl", pickled, layers),
        ("S.npy", objects, layers),
        ("S.pt", lambda path, x: torch.save(x, path), tensors),
        ("S.pt", lambda path, x: torch.save({"s": x}, path), tensors),
        ("S.npz", lambda path, x: np.savez(path, *x), layers),
        ("S.npz", lambda path, x: np.savez(path, **x), by_name),
        ("S.npz", lambda path, x: np.savez(path, s=boxed(x)), layers),
        ("S.pkl", pickled, dict(reversed(by_name.items()))),
        ("S.pkl", pickled, [x[:, None] for x in layers]),
    ):
        found = read(name, write, content)
        assert_near(found.styles, model.styles(w))
        assert found.w is None and found.spaces == ("s",)
    one = read(
        "S.pkl", pickled, {"a.png": [x[:1] for x in layers], "b.png": [x[1] for x in layers]}
    )
    assert_near(one.styles, model.styles(w[:2]))
    assert one.names == ("a", "b")


def test_s_of_stylemc_has_a_row_a_layer_filled_up_with_zeros(model, w, layers, read):
    widest = max(layer.size for layer in model.layout)
    padded = np.stack([np.pad(x, ((0, 0), (0, widest - x.shape[1]))) for x in layers], axis=1)
    found = read("a.npz", lambda path, x: np.savez(path, s=x), padded)
    assert_near(found.styles, model.styles(w))
    assert_near(read("s.npy", np.save, padded).styles, model.styles(w))


def test_s_of_another_generator_or_of_some_layers_is_refused_with_both(model, layers, read):
    conv = [x for layer, x in zip(model.layout, layers, strict=True) if layer.kind != "rgb"]
    sizes = ", ".join(str(layer.size) for layer in list(model.layout)[:4])
    with pytest.raises(
        InputError,
        match=rf"S\.pkl: holds {len(conv)} arrays of widths .*, and s of this generator has "
        rf"{len(layers)} layers, toRGB's among them, of {sizes}, \.\.\.; check which generator",
    ):
        read("S.pkl", pickled, conv)
    named = {layer.name: x for layer, x in zip(model.layout, layers, strict=True)}
    del named["b8.torgb"]
    with pytest.raises(InputError, match=r"lacks the layer b8\.torgb of s, as 1 of 5; save all"):
        read("S.pkl", pickled, named)
    layers[1] = layers[1][:1]
    with pytest.raises(InputError, match="holds layers of 1, 3 images; save as many of each"):
        read("S.pkl", pickled, layers)


def test_rows_that_may_be_layers_or_images_are_refused_and_taken_as_said(make_network, tmp_path):
    """Of a generator whose layers are all as wide as w."""
    config = small_stylegan2(z_dim=Z, w_dim=W, mapping_layers=2, channels={4: W, 8: W})
    model = StyleGANGenerator(make_network(config=config), ModelIdentity("even", "1" * 64, {}))
    rows = list(np.random.default_rng(0).normal(size=(len(model.layout), 1, W)).astype("f4"))
    pickled(tmp_path / "a.pkl", rows)
    with pytest.raises(InputError, match="may be the layers of s or an image each; say which by"):
        read_latents(tmp_path / "a.pkl", model)
    s = read_latents(tmp_path / "a.pkl", model, space="s").styles
    assert_near(s, torch.from_numpy(np.concatenate(rows, axis=1)))
    w = read_latents(tmp_path / "a.pkl", model, space="w").w
    assert_near(w, torch.from_numpy(np.stack(rows)).expand(-1, L, -1))


# names, and what is none of all this


def test_names_of_images_cannot_leave_the_folder_that_pictures_go_to(w, read):
    keys = ["../../etc/passwd", "a\\..\\b.jpg", "c\x1b[2J\n.png", "..", "d" * 500]
    arrays = {key: w[0].numpy() for key in keys}
    names = read("latents.pkl", pickled, arrays).names
    assert names == ("passwd", "b", "c_[2J_", "image", "d" * 80)
    twice = read("latents.pkl", pickled, {"...": w[0].numpy(), "..": w[1].numpy()}).names
    assert twice == ("image", "image (2)")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "holds nothing"),
        ({}, "holds nothing; name the array s, w"),
        ({"mean": np.zeros(W, "f4")}, "holds mean; name the array s, w"),
        ([np.zeros(W, "f4"), None], "number 2: holds an empty entry where latents should be"),
        ([np.zeros((1, W), "f4"), np.zeros((1, L, W), "f4")], "arrays of several kinds, of shapes"),
        ([[np.zeros(W, "f4")]], "number 1: holds list where latents should be"),
        ([np.zeros(W, "i8")], "number 1: has type int64; latents are floats"),
        ({"a.png": {"img": np.zeros(3, "f4")}}, r"a\.png: holds no array `latent`"),
        ({"a.png": np.full((L, W), np.nan, "f4")}, r"a\.png: holds NaN or infinity"),
        ({"w": {"a": 1}}, "array w: holds dict where latents should be"),
        ("text", "holds str where latents should be"),
    ],
)
def test_what_holds_no_latents_is_refused_by_its_place(content, message, read):
    with pytest.raises(InputError, match=rf"a\.pkl[:,] .*{message}"):
        read("a.pkl", pickled, content)


def test_more_than_fits_into_memory_is_refused(w, read, monkeypatch):
    monkeypatch.setattr("styleatlas.engine.models.latent_files.MAX_BYTES", 200)
    with pytest.raises(InputError, match="takes more than 200 bytes in memory; split it"):
        read("a.pkl", pickled, list(w.numpy()))
    with pytest.raises(InputError, match="takes more than 200 bytes in memory; split it"):
        read("a.npz", lambda path, x: np.savez(path, w=boxed(x)), [{"a": w.numpy()}] * 2)
    monkeypatch.setattr("styleatlas.engine.models.latent_files.MAX_IMAGES", 2)
    with pytest.raises(InputError, match="holds more than 2 latents; split it"):
        read("a.pkl", pickled, {f"{i}.png": x for i, x in enumerate(w[:, 0].numpy())})


def archived(path: Path, content: dict) -> None:
    np.savez(path, **content)


def test_an_archive_may_name_its_images(w, read):
    told = {"w_plus": w.numpy(), "names": np.array(["me", "../../etc/ann.jpg", "me"])}
    assert read("people.npz", archived, told).names == ("me", "_.._etc_ann", "me (2)")


@pytest.mark.parametrize(
    "names",
    [
        np.array(["a", "b"]),
        np.array([["a", "b", "c"]]),
        np.array("abc"),
        np.arange(3.0),
        np.array(["a", "b", "c"], object),
        np.array(["a", "b", "c" * 300]),
        np.array([b"a", b"b", b"c"]),
    ],
)
def test_names_that_are_none_are_passed_over(w, read, names):
    assert read("people.npz", archived, {"w_plus": w.numpy(), "names": names}).names == (
        *("people 1", "people 2", "people 3"),
    )
