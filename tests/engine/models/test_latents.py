from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.latents import read_latents, write_styles
from styleatlas.store.errors import (
    CheckpointError,
    FingerprintError,
    InputError,
    OptionError,
    OutputError,
)
from styleatlas.store.fingerprint import ModelIdentity

from ...checkpoint_files import small_stylegan2
from ...near import assert_near

ROWS, W, Z, C = 4, 6, 5, 23


@pytest.fixture
def model(make_network) -> StyleGANGenerator:
    """A generator whose z, w, w+ and styles all differ in shape."""
    network = make_network(
        config=small_stylegan2(z_dim=Z, w_dim=W, mapping_layers=2, channels={4: 5, 8: 4})
    )
    built = StyleGANGenerator(network, ModelIdentity("tiny", "1" * 64, {}))
    assert built.layout.size == C
    return built


@pytest.fixture
def rows() -> torch.Tensor:
    """w of two images, of which every layer has its own: (2, num_ws, w_dim)."""
    return torch.randn(2, ROWS, W, generator=torch.Generator().manual_seed(3))


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def zipped(path: Path, name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)
    return path


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    """An .npy file that ends behind its header."""
    padded = text.encode("latin1") + b"\n"
    return b"\x93NUMPY" + version + len(padded).to_bytes(2, "little") + padded


def claims(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    return header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}")


def test_written_styles_come_back_bit_by_bit_with_all_that_others_need(model, tmp_path):
    styles = torch.randn(3, C)
    write_styles(tmp_path / "a.npz", styles, model, [7, 8, 2**32 - 1])
    read = read_latents(tmp_path / "a.npz", model)
    assert torch.equal(read.styles, styles) and read.styles.dtype == torch.float32
    assert read.names == ("a 1", "a 2", "a 3")
    assert read.sha256 == hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert set(file) == {"styles", "generator", "layers", "sizes", "seeds"}
        assert file["layers"].tolist() == [layer.name for layer in model.layout]
        assert file["sizes"].sum() == C and file["seeds"].tolist() == [7, 8, 2**32 - 1]
    write_styles(tmp_path / "b.npz", styles, model, [7, 8, 2**32 - 1])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_styles_of_another_generator_are_refused_with_both_names(model, make_generator, tmp_path):
    other = make_generator()
    write_styles(tmp_path / "a.npz", torch.zeros(1, 14), other)
    with pytest.raises(FingerprintError, match=r'a\.npz: is of .* "countable 0" .* is "tiny" \(11'):
        read_latents(tmp_path / "a.npz", model)


def test_all_spaces_lead_to_the_styles_that_the_generator_gives(model, rows, tmp_path):
    def read(**arrays: torch.Tensor) -> torch.Tensor:
        path = npz(tmp_path / "a.npz", **{name: value.numpy() for name, value in arrays.items()})
        return read_latents(path, model, truncation=0.5).styles

    wanted = model.styles(rows)
    assert torch.equal(read(styles=wanted), wanted)
    # What is read lies elsewhere in memory and in other strides.
    assert_near(read(w=rows), wanted)
    assert_near(read(w=rows.double()), wanted)
    assert_near(read(arr_0=rows), wanted)
    everywhere = rows[:, :1].expand(-1, ROWS, -1)
    assert_near(read(w=rows[:, 0]), model.styles(everywhere))
    z = torch.randn(3, Z)
    assert_near(read(z=z), model.styles(model.map(z, truncation=0.5)))
    assert_near(read(z=z[:2], w=rows), wanted)  # the later space counts


def test_w_is_kept_where_the_file_tells_it(model, rows, tmp_path):
    def read(**arrays: torch.Tensor) -> torch.Tensor | None:
        path = npz(tmp_path / "a.npz", **{name: value.numpy() for name, value in arrays.items()})
        return read_latents(path, model, truncation=0.5).w

    assert torch.equal(read(w=rows), rows)
    assert torch.equal(read(w=rows[:, 0]), rows[:, :1].expand(-1, ROWS, -1))
    z = torch.randn(3, Z)
    assert_near(read(z=z), model.map(z, truncation=0.5))
    assert read(styles=model.styles(rows), w=rows) is None, "it may be of other images"
    folder = tmp_path / "folder"
    folder.mkdir()
    npz(folder / "1.npz", w=rows.numpy())
    npz(folder / "2.npz", z=z.numpy())
    both = read_latents(folder, model, truncation=0.5).w
    assert_near(both, torch.cat([rows, model.map(z, truncation=0.5)]))
    npz(folder / "3.npz", styles=model.styles(rows).numpy())
    assert read_latents(folder, model).w is None


def test_plain_arrays_are_told_by_their_shape(model, rows, tmp_path):
    wanted = model.styles(rows)
    plain = {"styles": wanted, "w+": rows, "w": rows[:, 0], "z": torch.randn(2, Z)}
    for name, values in plain.items():
        np.save(tmp_path / f"{name}.npy", values.numpy())
    assert torch.equal(read_latents(tmp_path / "styles.npy", model).styles, wanted)
    assert_near(read_latents(tmp_path / "w+.npy", model).styles, wanted)
    everywhere = rows[:, :1].expand(-1, ROWS, -1)
    assert_near(read_latents(tmp_path / "w.npy", model).styles, model.styles(everywhere))
    of_z = model.styles(model.map(plain["z"]))
    assert_near(read_latents(tmp_path / "z.npy", model).styles, of_z)
    np.save(tmp_path / "f.npy", np.asfortranarray(rows.numpy().astype(">f8")))
    assert_near(read_latents(tmp_path / "f.npy", model).styles, wanted)


def test_plain_array_that_may_be_z_or_w_is_refused(stylegan2, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 6), np.float32))
    with pytest.raises(
        InputError,
        match=r"a\.npy: has shape \(3, 6\), which may be w of 3 images or z of 3 images; sa",
    ):
        read_latents(tmp_path / "a.npy", stylegan2)
    npz(tmp_path / "a.npz", z=np.zeros((3, 6), np.float32))
    assert len(read_latents(tmp_path / "a.npz", stylegan2).styles) == 3


def test_tensor_of_torch_save_is_read_as_styleclip_keeps_latents(model, rows, tmp_path):
    torch.save(rows.half(), tmp_path / "latents.pt")
    read = read_latents(tmp_path / "latents.pt", model)
    assert_near(read.styles, model.styles(rows.half().float()))
    for content in ({"w": rows}, [rows], rows.requires_grad_(), torch.nn.Parameter(rows)):
        torch.save(content, tmp_path / "latents.pt")
        assert_near(read_latents(tmp_path / "latents.pt", model).w, rows.detach())
    torch.save(rows.long(), tmp_path / "latents.pt")
    with pytest.raises(InputError, match=r"latents\.pt: has type torch\.int64; latents are floats"):
        read_latents(tmp_path / "latents.pt", model)
    (tmp_path / "latents.pt").write_bytes(b"\x80\x02cos\nsystem\n.")
    with pytest.raises(CheckpointError, match=r"latents\.pt"):
        read_latents(tmp_path / "latents.pt", model)


def test_folder_is_taken_in_the_order_of_names(model, rows, tmp_path):
    np.save(tmp_path / "b.npy", rows.numpy())
    npz(tmp_path / "a.npz", w=rows[:1].numpy())
    torch.save(rows[1:], tmp_path / "c.pt")
    (tmp_path / "notes.txt").write_text("not latents")
    read = read_latents(tmp_path, model)
    assert read.names == ("a", "b 1", "b 2", "c")
    assert_near(read.styles, model.styles(rows[[0, 0, 1, 1]]))
    content = b"".join((tmp_path / name).read_bytes() for name in ("a.npz", "b.npy", "c.pt"))
    assert read.sha256 == hashlib.sha256(content).hexdigest()


def test_folder_of_too_many_latents_is_refused(model, rows, tmp_path, monkeypatch):
    monkeypatch.setattr("styleatlas.engine.models.latents.MAX_IMAGES", 3)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", rows.numpy())
    with pytest.raises(InputError, match="holds more than 3 latents; split it"):
        read_latents(tmp_path, model)


def test_z_of_a_conditional_generator_needs_a_class(make_network, tmp_path):
    network = make_network(config=small_stylegan2(c_dim=3, embed_features=4, layer_features=9))
    model = StyleGANGenerator(network, ModelIdentity("conditional", "2" * 64, {}))
    z = torch.randn(2, model.z_dim)
    npz(tmp_path / "a.npz", z=z.numpy())
    with pytest.raises(InputError, match="array z: holds z, and this generator is conditional"):
        read_latents(tmp_path / "a.npz", model)
    labels = torch.eye(3)[[1, 1]]
    found = read_latents(tmp_path / "a.npz", model, label=1).styles
    assert_near(found, model.styles(model.map(z, labels)))
    with pytest.raises(OptionError, match="class 3: this generator has classes 0 to 2"):
        read_latents(tmp_path / "a.npz", model, label=3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"q": np.zeros(1)}, r"holds q; name the array s, w\+, w or z"),
        (
            {"w": np.zeros((1, 5, W))},
            r"array w: has shape \(1, 5, 6\); .* takes w \(n, 6\), w\+ \(n, 4, 6\)",
        ),
        ({"styles": np.zeros((1, W))}, r"array styles: has shape \(1, 6\); .* takes s \(n, 23\)"),
        (
            {"arr_0": np.zeros((1, 9))},
            r"array arr_0: has .* takes z \(n, 5\), w \(n, 6\), w\+ \(n, 4, 6\), s",
        ),
        ({"w": np.zeros((0, W))}, r"array w: has shape \(0, 6\); latents have"),
        ({"w": np.zeros(())}, r"array w: has shape \(\); latents have"),
        ({"w": np.zeros((2, 2, W))}, r"array w: has shape \(2, 2, 6\); this generator takes"),
        ({"s": np.ones((1, 5, 5))}, r"array s: holds more than 4 numbers of the layer b8\.conv1"),
        ({"w": np.zeros((1, W), np.int64)}, "array w: has type int64; latents are floats"),
        ({"w": np.full((1, W), np.nan)}, "array w: holds NaN or infinity; compute it again"),
        ({"w": np.full((1, W), 1e300)}, "array w: holds NaN or infinity"),
        ({"w": np.array({}, dtype=object)}, "array w: holds dict where latents should be"),
        ({"w": np.zeros((1, W)), "generator": np.zeros(3)}, "array generator: is no text; leave"),
        ({"w": np.zeros((1, W)), "generator": np.array("{}")}, "array generator: model identity"),
    ],
)
def test_unsuitable_array_is_refused_by_file_and_name(arrays, message, model, tmp_path):
    with pytest.raises(InputError, match=rf"a\.npz(, |: ){message}"):
        read_latents(npz(tmp_path / "a.npz", **arrays), model)


HEADERS = {
    "cut": (claims((2, W)), "is no sound NumPy file"),
    "huge": (claims((100_000, 2**40)), "takes more than 1073741824 bytes"),
    "many": (claims((100_001, W)), "holds 100001 latents, more than 100000; split it"),
    "negative": (claims((-1, W)), "latents have"),
    "wide floats": (claims((1, W), "<f16"), "latents are floats of at most 64 bits"),
    "no shape": (header("{'descr': '<f4'}"), "is no sound NumPy file"),
    "no dict": (header("3"), "is no sound NumPy file"),
    "nested": (header("(" * 9000), "is no sound NumPy file"),
    "long": (header("[" + "1," * 20_000 + "]"), "is no sound NumPy file"),
    "strange type": (header("{'descr': [(), 3], 'fortran_order': 0, 'shape': ()}"), "sound NumPy"),
    "code": (header("__import__('os').system('touch /tmp/x')"), "is no sound NumPy file"),
    "unclosed": (header("{'descr': '''"), "is no sound NumPy file"),
    "version": (header("", b"\x09\x00"), "is no sound NumPy file"),
    "empty": (b"", "is no sound NumPy file"),
}


@pytest.mark.parametrize("kind", [".npy", ".npz"])
@pytest.mark.parametrize("name", HEADERS)
def test_hostile_array_is_refused_before_it_is_read(name, kind, model, tmp_path):
    content, message = HEADERS[name]
    path = tmp_path / f"a{kind}"
    if kind == ".npy":
        path.write_bytes(content)
    else:
        zipped(path, "w.npy", content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # NumPy's, on headers of Python 2
        with pytest.raises(InputError, match=rf"a\{kind}.*{message}"):
            read_latents(path, model)


def test_hostile_zip_is_refused(model, tmp_path):
    sound = io.BytesIO()
    np.save(sound, np.zeros((1, W), np.float32))
    with pytest.raises(InputError, match="is encrypted or packed as NumPy packs none"):
        read_latents(zipped(tmp_path / "a.npz", "w.npy", sound.getvalue(), zipfile.ZIP_LZMA), model)
    for content in (b"", b"PK\3\4", b"PK" + sound.getvalue()):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz: is no sound NumPy file"):
            read_latents(tmp_path / "a.npz", model)
    whole = bytearray(zipped(tmp_path / "a.npz", "w.npy", sound.getvalue()).read_bytes())
    whole[60:64] = bytes(4)
    (tmp_path / "a.npz").write_bytes(whole)
    with pytest.raises(InputError, match=r"a\.npz: is no sound NumPy file"):
        read_latents(tmp_path / "a.npz", model)


def test_place_that_holds_no_latents_is_told(model, tmp_path):
    with pytest.raises(InputError, match=r"none\.npz: no such file; check the path"):
        read_latents(tmp_path / "none.npz", model)
    with pytest.raises(InputError, match=r"holds no \.npz, \.npy or \.pt file; name"):
        read_latents(tmp_path, model)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"a\.png: latents are read from \.npz, \.npy, \.pt and pickles"
    ):
        read_latents(tmp_path / "a.png", model)
    with pytest.raises(OutputError, match=r"a\.npy: styles are written as NumPy's \.npz"):
        write_styles(tmp_path / "a.npy", torch.zeros(1, C), model)
    with pytest.raises(OptionError, match="truncation 3: must lie between -2 and 2"):
        read_latents(tmp_path, model, truncation=3)


def test_countable_generator_reads_its_own_styles(generator, tmp_path):
    styles = generator.styles(generator.map(torch.randn(2, 5)))
    write_styles(tmp_path / "a.npz", styles, generator)
    assert torch.equal(read_latents(tmp_path / "a.npz", generator).styles, styles)
