"""invert: photos to latents in a file."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas import load_generator
from styleatlas.engine.models.latents import read_latents
from styleatlas.engine.models.photo_encoders import load_photo_encoder
from styleatlas.store.fingerprint import ModelIdentity

from ..checkpoint_files import random_tensors, rosinality_state, small_stylegan2
from ..encoder_files import avatars_encoder, encoder_file, encoder_state
from .edit_calls import GLASSES, pixels

INVERT = ("invert", "avatars", "--steps", "0")


def held_by(path) -> dict[str, np.ndarray]:
    with np.load(path) as held:
        return dict(held)


@pytest.fixture
def people(drawings, tmp_path):
    (tmp_path / "friends").mkdir()
    drawings(3).save(tmp_path / "me.png")
    drawings(4).save(tmp_path / "friends" / "ann.jpg", quality=95)
    drawings(5).save(tmp_path / "friends" / "bob.png")
    return tmp_path / "me.png", tmp_path / "friends"


def test_latents_are_kept_with_names_crops_and_quality(answer, people, tmp_path):
    out = tmp_path / "people.npz"
    text = answer(*INVERT, *people, "-o", out)
    assert text.startswith(f"{out}: 3 latents\n{people[0]}, whole picture: 160 pixels wide; ")
    held = held_by(out)
    assert held["names"].tolist() == ["me", "ann", "bob"]
    assert held["w_plus"].shape[0] == 3 and held["w_plus"].ndim == 3
    assert held["quads"].tolist() == [[[0, 0], [0, 160], [160, 160], [160, 0]]] * 3
    for name in ("farther", "cosine", "distance", "steps"):
        assert held[name].shape == (3,)
    assert (held["cosine"] > 0.9).all() and not held["steps"].any()
    read = read_latents(out, load_generator("avatars", "cpu"))
    assert read.names == ("me", "ann", "bob") and read.spaces == ("w+",)


def test_latents_are_edited_by_their_names(answer, people, tmp_path):
    out = tmp_path / "people.npz"
    answer(*INVERT, *people, "-o", out)
    answer("edit", "avatars", "--latent", out, *GLASSES, "-o", tmp_path / "edited")
    names = sorted(path.name for path in (tmp_path / "edited").iterdir())
    assert names == ["ann.png", "bob.png", "me.png"]
    whole = np.asarray(Image.open(people[0]).resize((64, 64), Image.Resampling.BOX)).astype(int)
    assert np.abs(pixels(tmp_path / "edited" / "me.png") - whole).mean() < 20


def test_styles_are_kept_of_style_space(answer, people, tmp_path):
    out = tmp_path / "me.npz"
    answer(*INVERT, people[0], "--space", "s", "-o", out)
    held = held_by(out)
    assert "w_plus" not in held and held["styles"].shape[0] == 1


def test_a_sheet_shows_crops_and_renders(answer, people, tmp_path):
    sheet = tmp_path / "sheet.png"
    answer(*INVERT, *people, "-o", tmp_path / "p.npz", "--sheet", sheet)
    with Image.open(sheet) as picture:
        assert picture.height > 3 * picture.width / 2 - 200
        cells = np.asarray(picture.convert("RGB"))
    side = 192
    crop, drawn = cells[-side:, -2 * side : -side].astype(int), cells[-side:, -side:].astype(int)
    assert np.abs(crop - drawn).mean() < 12


def test_photos_that_fail_are_left_out_and_told(run, people, tmp_path):
    (people[1] / "zoe.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "p.npz"
    told = run(*INVERT, *people, "-o", out)
    assert told.exit_code == 1 and held_by(out)["names"].tolist() == ["me", "ann", "bob"]
    assert told.stderr.splitlines()[0].startswith(f"{people[1] / 'zoe.png'}: cannot be read")
    assert told.stderr.endswith(
        "1 of 4 photos could not be inverted, and are left out; see above\n"
    )


def test_where_none_can_be_inverted_nothing_is_written(refused, run, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    out = tmp_path / "p.npz"
    said = refused("invert", *INVERT[1:], tmp_path / "a.png", "-o", out)
    assert said == f"{tmp_path / 'a.png'}: is empty; copy it anew"
    told = run(*INVERT, tmp_path / "a.png", tmp_path / "b.png", "-o", out)
    assert told.exit_code == 1 and told.stdout == "" and not out.exists()
    assert told.stderr.splitlines()[-1].endswith("none of the 2 could be inverted; see above")


def test_what_cannot_serve_is_told_before_the_work(refused, run, people, tmp_path):
    own = ("invert", *INVERT[1:], people[0])
    assert "end the name in .npz" in refused(*own, "-o", tmp_path / "p.pt")
    assert "--face: a strength is of an edit" in refused(
        *own, "--face", "1:2", "-o", tmp_path / "p.npz"
    )
    told = run("invert", "avatars", "-o", tmp_path / "p.npz")
    assert told.exit_code == 2


def test_json_tells_how_near_each_came(answer, people, tmp_path):
    told = json.loads(answer(*INVERT, *people, "--json", "-o", tmp_path / "p.npz"))
    assert [row["face"] for row in told["photos"]] == ["whole picture"] * 3
    assert told["failed"] == [] and told["photos"][0]["distance"] > 0


def test_film_shows_the_way_beside_the_crop(run, people, tmp_path):
    film = tmp_path / "way.gif"
    call = ("invert", "avatars", "--steps", "12", people[0], "-o", tmp_path / "me.npz")
    for more in ((), ("--film", film)):  # what is remembered has no way to show: it is made again
        assert run(*call, *more).exit_code == 0
    with Image.open(film) as shown:
        frames = []
        for number in range(shown.n_frames):
            shown.seek(number)
            frames.append(np.asarray(shown.convert("RGB")).astype(int))
    assert frames[0].shape == (64, 128, 3) and len(frames) > 10
    crop, drawn = np.split(np.stack(frames), 2, 2)
    assert np.abs(crop - crop[0]).mean() < 2, "the crop stays"
    apart = np.abs(drawn - crop[0]).mean((1, 2, 3))
    last = len(frames) // 2
    assert apart[last] < 0.8 * apart[0], "and the render comes nearer"


def test_film_of_no_steps_is_refused(refused, people, tmp_path):
    film = tmp_path / "way.gif"
    line = refused(*INVERT, people[0], "-o", tmp_path / "me.npz", "--film", film)
    assert "a film of one photo shows its refinement; leave --steps 0 out" in line
    assert not film.exists() and not (tmp_path / "me.npz").exists()


def test_film_of_several_photos_goes_from_one_inversion_to_the_next(answer, people, tmp_path):
    film, sheet = tmp_path / "between.mp4", tmp_path / "sheet.png"
    answer(*INVERT, *people, "-o", tmp_path / "p.npz", "--film", film, "--sheet", sheet)
    with av.open(str(film)) as shown:
        decoded = [frame.to_ndarray(format="rgb24").astype(int) for frame in shown.decode(video=0)]
    frames = np.stack(decoded)
    assert frames.shape == (120, 64, 64, 3)
    steps = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    apart = [np.abs(frames[i] - frames[j]).mean() for i, j in ((0, 40), (40, 80), (80, 0))]
    assert min(apart) > 8, "three people"
    assert steps.max() < 0.2 * min(apart), "and an even way"
    assert np.abs(frames[119] - frames[0]).mean() < 3, "that ends where it begins"


def test_an_encoder_of_photos_tells_where_latents_lie(answer, run, people, tmp_path):
    encoder = avatars_encoder(tmp_path / "restyle.pt")
    out, looked = tmp_path / "me.npz", tmp_path / "looked.npz"
    text = answer(*INVERT, people[0], "--encoder", encoder, "-o", out)
    assert text.rstrip().endswith("by the photo encoder")
    generator = load_generator("avatars", "cpu")
    wanted = load_photo_encoder(encoder, generator)
    held = held_by(out)
    assert ModelIdentity.from_json(str(held["photo_encoder"])) == wanted.identity
    photo = Image.open(people[0]).convert("RGB")
    crop = torch.from_numpy(np.array(photo.resize((64, 64), Image.Resampling.BOX)))
    near = wanted.encode(crop.permute(2, 0, 1)[None] / 127.5 - 1, torch.empty(0))
    assert np.abs(held["w_plus"] - near.numpy()).max() < 0.05 * np.abs(near.numpy()).max()
    assert read_latents(out, generator).spaces == ("w+",)
    answer(*INVERT, people[0], "-o", looked)
    assert "photo_encoder" not in held_by(looked)
    told = run(
        "invert", "avatars", people[0], "--encoder", encoder, "--steps", 5, "-o", out, "--json"
    )
    (refined,) = json.loads(told.stdout)["photos"]
    begun = json.loads(answer(*INVERT, people[0], "--encoder", encoder, "-o", out, "--json"))
    assert (refined["start"], refined["steps"]) == ("encoder", 5)
    assert refined["distance"] < begun["photos"][0]["distance"]


def test_an_encoder_of_another_generator_is_refused(refused, people, tmp_path):
    config = small_stylegan2()
    state = encoder_state("Encoder4Editing", config.num_ws, config.w_dim)
    path, out = tmp_path / "e4e.pt", tmp_path / "me.npz"
    decoder = rosinality_state(config, random_tensors(config))
    encoder_file(path, "Encoder4Editing", state, decoder, torch.ones(config.w_dim))
    said = refused(*INVERT, people[0], "--encoder", path, "-o", out)
    assert 'the encoder was trained with "the decoder in e4e.pt"' in said
    assert 'this generator is "avatars"' in said and not out.exists()
    said = refused(*INVERT, people[0], "--encoder", tmp_path / "none.pt", "-o", out)
    assert said == f"{tmp_path / 'none.pt'}: no such file; check the path"
