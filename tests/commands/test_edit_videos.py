"""edit --photo of a video: one face through all of its frames, edited and put back."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas import load_generator, styles_from_seeds
from styleatlas.engine.jobs import videos
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.videos import follow
from styleatlas.engine.videos.ledger import Ledger
from styleatlas.engine.videos.read import frames_of, open_video

from .. import video_files as files
from .edit_calls import GLASSES

BOX = ("--align", "box " + ",".join(map(str, files.BOX)))
EDIT = ("edit", "avatars", *GLASSES, *BOX)
COUNT = 10


@pytest.fixture(scope="session")
def drawn():
    """A drawing that turns into another a little way and back."""
    generator = load_generator("avatars", "cpu")
    one, other = styles_from_seeds(generator, [3, 5], 0.7)
    shares = 0.3 * np.sin(np.linspace(0, np.pi, COUNT))
    with torch.inference_mode():
        styles = torch.stack([torch.lerp(one, other, float(share)) for share in shares])
        levels = to_bytes(generator.render(styles)).numpy()
    return files.moving([Image.fromarray(one) for one in levels])


@pytest.fixture
def video(drawn, tmp_path):
    return files.write(tmp_path / "me.mp4", drawn, sound="aac", fps=10)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(follow, "STEPS", 3)
    monkeypatch.setattr(videos, "GROUP", 4)


def pixels(path) -> np.ndarray:
    return np.stack([frame.pixels for frame in frames_of(open_video(path))]).astype(int)


def inside(frames: np.ndarray) -> np.ndarray:
    left, top, side = files.BOX
    return frames[:, top : top + side, left : left + side]


def test_a_video_is_edited_frame_by_frame_and_the_rest_is_as_it_was(run, video, tmp_path):
    out = tmp_path / "out.mp4"
    told = run(*EDIT, "--photo", video, "--steps", 4, "-o", out)
    assert told.exit_code == 0, told.output
    text = told.stdout
    assert text.startswith(f"{out}: me.mp4: 10 of 10 frames edited; 0.9 s; the crop 128 to 128")
    before, after = pixels(video), pixels(out)
    assert after.shape == before.shape
    change = np.abs(after - before).max(3)
    left, top, side = files.BOX
    eyes = np.s_[:, top + 50 : top + 78, left + 34 : left + 94]
    assert change[eyes].mean((1, 2)).min() > 10, "every frame has its glasses"
    around = np.ones(before.shape[1:3], bool)
    around[top : top + side, left : left + side] = False
    assert change[:, around].mean() < 3, "which is what encoding does"
    times = [[f.time * v.time_base for f in frames_of(v)] for v in map(open_video, (video, out))]
    assert times[0] == times[1]
    assert files.sound_of(out) == files.sound_of(video)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.mp4", "out.mp4"]


def test_as_json_it_tells_of_all_frames(answer, video, tmp_path):
    told = json.loads(
        answer(*EDIT, "--photo", video, "--steps", 0, "--json", "-o", tmp_path / "out.mp4")
    )
    film = told["video"]
    assert (film["frames"], film["edited"], film["left"], film["stretches"]) == (10, 10, 0, 1)
    assert film["pixels"] == [128, 128] and film["sounds"] == 1 and film["steps"] == 0
    assert film["key_frames"][0] == 1 and film["key_frames"][-1] == 10
    assert [image["image"] for image in told["images"]] == [
        f"frame {n}" for n in film["key_frames"]
    ]
    (first,) = told["photos"]
    assert first["face"] == "box 40,30,128" and first["kept"] is not None


def test_an_encoder_finds_every_frame(run, video, tmp_path):
    apart = []
    for name, begun in (("looked-up", ()), ("encoded", ("--encoder", "avatars"))):
        out = tmp_path / f"{name}.mp4"
        given = ("--photo", video, "--steps", 0, "--json", "-o", out, *begun)
        film = json.loads(run(*EDIT, *given).stdout)["video"]
        assert (film["frames"], film["edited"], film["steps"]) == (10, 10, 0)
        apart.append(film["distance"][0])
    assert apart[0] != apart[1] and max(apart) < 0.1


class KilledError(Exception):
    """Stands for a process that ends."""


@pytest.mark.parametrize(
    "after", [17, *(pytest.param(number, marks=pytest.mark.long) for number in (4, 26))]
)
def test_killed_anywhere_it_goes_on_to_the_same_film(after, run, video, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    command = (*EDIT, "--photo", video, "--steps", 4, "--no-cache")
    assert run(*command, "-o", whole).exit_code == 0
    add, made = Ledger.add, []

    def add_some(self, kind, content):
        if len(made) == after:
            raise KilledError
        made.append(kind)
        add(self, kind, content)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add", add_some)
        with pytest.raises(KilledError):
            run(*command, "-o", out)
    assert not out.exists() and (tmp_path / "out.mp4.work").exists()
    again = []

    def add_the_rest(self, kind, content):
        again.append(kind)
        add(self, kind, content)

    monkeypatch.setattr(Ledger, "add", add_the_rest)
    assert run(*command, "-o", out).exit_code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert len(again) + after == 1 + 10 + 1 + 1 + 10 + 3 + 3, "and makes nothing twice"
    assert not (tmp_path / "out.mp4.work").exists()


def test_interrupted_it_says_what_resumes(run, video, tmp_path, monkeypatch):
    def stop(self, crop):
        raise KeyboardInterrupt

    monkeypatch.setattr(follow.Follower, "go_on", stop)
    out = tmp_path / "out.mp4"
    result = run(*EDIT, "--photo", video, "--steps", 0, "-o", out)
    assert result.exit_code == 130
    assert f"interrupted: {out}.work keeps the state: the same command resumes" in result.stderr
    assert not out.exists() and (tmp_path / "out.mp4.work").exists()


def test_a_sheet_shows_frames(answer, video, tmp_path):
    look = tmp_path / "look.png"
    answer(*EDIT, "--photo", video, "--steps", 0, "-o", tmp_path / "o.mp4", "--sheet", look)
    with Image.open(look) as sheet:
        assert sheet.width > 3 * 64 and sheet.height > 3 * 64


def test_a_faces_frames_without_it_stay_as_they_are_and_are_told(run, drawn, tmp_path, monkeypatch):
    """By a finder that sees the drawing in all frames but some."""
    from styleatlas.engine.models.landmarks import Face

    left, top, side = files.BOX
    points = np.array([[0.35, 0.45], [0.65, 0.45], [0.5, 0.6], [0.38, 0.75], [0.62, 0.75]])
    asked = []

    class Finder:
        def find(self, pictures):
            asked.append(1)
            if 4 <= len(asked) <= 7:
                return [[]]
            place = points * side + [left, top]
            return [[Face(np.array([left, top, left + side, top + side]), place, 1.0)]]

    monkeypatch.setattr(videos, "load_face_finder", lambda device: Finder())
    video, out = files.write(tmp_path / "me.mp4", drawn, fps=10), tmp_path / "out.mp4"
    result = run(
        *("edit", "avatars", *GLASSES, "--align", "face", "--photo", video),
        *("--steps", 0, "--json", "-o", out),
    )
    assert result.exit_code == 0, result.output
    assert f"{video}: 4 frames of 10 without the face stay as they are\n" in result.stderr
    told = json.loads(result.stdout)["video"]
    assert (told["edited"], told["left"], told["stretches"]) == (6, 4, 2)
    change = inside(np.abs(pixels(out) - pixels(video))).mean((1, 2, 3))
    assert change[3:7].max() < 3 < change[[0, 9]].min()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "o.png"), r"o.png: an edited video is an MP4; end the name in \.mp4"),
        (("-o", "o.gif"), r"o.gif: an edited video is an MP4"),
        (("--alpha", "1,2"), "a video gets one edit; ask for one alpha"),
        (("--before",), "a video gets one edit"),
        (("--method", "optimize"), "method optimize: is of single images"),
        (("--mask", "mask.png"), "mask: stands still"),
        (("--face", "all"), "face: one is followed through"),
        (("--face", "1:2"), "face: one is followed through"),
        (("--space", "s"), "space s: frames of a video are followed in w or w+"),
        (("--styles", "o.npz"), "--styles: are not kept of a video"),
        (("--photo", "me.png"), "me.mp4: is a film, which is not read"),
    ],
    ids=str,
)
def test_what_does_not_go_with_a_video_is_refused(
    options, message, refused, video, drawings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    drawings(3).save("me.png")
    Image.new("L", (240, 180), 255).save("mask.png")
    said = refused(*EDIT, "--photo", video, "-o", "out.mp4", *options)
    assert re.search(message, said), said


def test_a_video_is_not_written_over(refused, video):
    said = refused(*EDIT, "--photo", video, "-o", video)
    assert said.startswith(f"{video}: is read by the same command, and would be lost")


def test_a_video_among_several_photos_of_a_folder_is_passed_over(answer, video, drawings, tmp_path):
    drawings(3).save(tmp_path / "me.png")
    out = tmp_path / "out"
    answer("edit", "avatars", *GLASSES, "--steps", 0, "--photo", tmp_path, "-o", out)
    assert sorted(path.name for path in out.iterdir()) == ["edits.csv", "me.png"]


def test_without_pyav_it_says_what_to_install(refused, video, tmp_path, monkeypatch):
    from styleatlas.engine.videos import read

    monkeypatch.setattr(read, "find_spec", lambda name: None)
    said = refused(*EDIT, "--photo", video, "-o", tmp_path / "out.mp4")
    assert said == (
        f"{video}: is a video, which PyAV reads; install it with `pip install 'styleatlas[video]'`"
    )
