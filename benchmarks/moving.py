"""Edits of videos: short ones made here, and how much what comes of them flickers.

    python benchmarks/moving.py make (avatars | faces | astronaut) VIDEO [--atlas A --clip C]
    python benchmarks/moving.py edit VIDEO FOLDER --edit TEXT [--atlas A --clip C] [--steps N]

`make` draws a video, and beside it the corners of the true crop in each frame (`VIDEO.npz`):
`avatars`, a drawing that turns into another and back before stripes that wander; `faces`, a
generated face that turns to a side and narrows its eyes twice, held by an unsteady hand, of which
the picture is mirrored beyond its edges; `astronaut`, scikit-image's, past which the camera goes,
and nearer.

`edit` edits it by `edit_video` with and without the smoothing of the crop, of latents and of the
strength, and tells of each (less is steadier):

- outside: mean absolute difference of frames in a row outside of the crop, in the source's own;
- LPIPS inside (by AlexNet at 256 pixels, where its weights are there): of frames in a row, in the
  crop, in the source's own;
- edit: mean absolute change from frame to frame of what the edit adds, in the crop and where it
  adds more than 12 levels on average, in % of what it adds there.

Strips of frames in a row, source above edited, lie in the folder, and inversions, which another run
of the same video, atlas and steps takes.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from unittest import mock

import av
import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from styleatlas import Editor, load
from styleatlas.engine.editor import load as load_editor
from styleatlas.engine.jobs import videos
from styleatlas.engine.jobs.photo_job import PhotoJob, file_sha256
from styleatlas.engine.models.landmarks import load_face_finder
from styleatlas.engine.models.perceptual import load_perceptual
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.photos.align import crop_to_photo, face_quad
from styleatlas.engine.photos.inversion import InvertSettings
from styleatlas.engine.photos.resample import resampled
from styleatlas.engine.steering.edits import Edit
from styleatlas.engine.steering.request import EditRequest
from styleatlas.engine.videos.ledger import Ledger
from styleatlas.engine.videos.read import frames_of, open_video
from styleatlas.engine.videos.smooth import Smoothing, smoothed
from styleatlas.store.errors import CheckpointError
from styleatlas.store.records import Record, text_table

Frames = list[NDArray[np.uint8]]
FPS, SEED = 12, 7
BOX = (80, 60, 256)
TURN, BLINK = "a face -> a face turned to the left", "a face -> a face with closed eyes"
BLINKS, BLINK_SECONDS = (0.5, 1.4), 0.09
ALL = Smoothing()
VARIANTS = {
    "as it is": ALL,
    "crop not": ALL._replace(crop=0.0),
    "latents not": ALL._replace(latents=0.0),
    "strength not": ALL._replace(strength=0.0),
    "nothing": Smoothing(0.0, 0.0, 0.0),
}
SIDE, SHOWN, CHANGED = 256, 8, 12


@click.group()
def main() -> None:
    """Edits of videos, and how much they flicker."""


def models(atlas: str | None, clip: str | None) -> Editor:
    return load("avatars") if atlas is None else load_editor(atlas=atlas, clip=clip)


@main.command()
@click.argument("what", type=click.Choice(["avatars", "faces", "astronaut"]))
@click.argument("video", type=Path)
@click.option("--atlas")
@click.option("--clip")
@click.option("--photo", type=Path, help="The astronaut's picture.")
@click.option("--count", default=24, show_default=True, help="Frames.")
@click.option("--seed", default=SEED, show_default=True)
@click.option("--grain", default=0.0, help="Noise in each frame, levels of 255.")
def make(
    what: str,
    video: Path,
    atlas: str | None,
    clip: str | None,
    photo: Path | None,
    count: int,
    seed: int,
    grain: float,
) -> None:
    """Draw a video."""
    if what == "avatars":
        frames, quads = of_avatars(count)
    elif what == "faces":
        frames, quads = of_face(models(atlas, clip), seed, count)
    else:
        with Image.open(photo or "astronaut.png") as picture:
            frames, quads = of_photo(np.asarray(picture.convert("RGB")), count)
    noise = np.random.default_rng(1)
    with av.open(str(video), "w") as film:
        stream = film.add_stream("libx264", FPS, options={"crf": "10"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, FPS)
        for drawn in frames:
            grained = drawn + grain * noise.standard_normal(drawn.shape)
            pixels = grained.round().clip(0, 255).astype(np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        film.mux(stream.encode(None))
    np.savez(video.with_suffix(".npz"), quads=np.stack(quads))


def of_avatars(count: int) -> tuple[Frames, list[NDArray[np.float64]]]:
    editor = load("avatars")
    one, other = editor.subject(seeds=[3, 5]).styles
    x, y = np.meshgrid(np.arange(480), np.arange(360))
    left, top, side = BOX
    frames, quads = [], []
    for i in range(count):
        share = 0.15 - 0.15 * np.cos(2 * np.pi * i / count)
        drawn = drawing(editor, torch.lerp(one, other, share)).resize((side, side))
        stripes = 120 + 60 * np.sin((x + 2 * y + 5 * i) / 15)
        frame = np.repeat(stripes[..., None], 3, 2).astype(np.uint8)
        frame[top : top + side, left : left + side] = np.asarray(drawn)
        frames.append(frame)
        quads.append(square(left, top, side))
    return frames, quads


def of_face(editor: Editor, seed: int, count: int) -> tuple[Frames, list[NDArray[np.float64]]]:
    subject = editor.subject(seeds=[seed])
    turn, blink = (
        (editor.edit(subject, edits=[edit], method="direction", alpha=1).styles - subject.styles)[0]
        for edit in (TURN, BLINK)
    )
    seconds = np.arange(count) / FPS
    hand = shaken(count)
    frames, quads = [], []
    for i, now in enumerate(seconds):
        turned = np.sin(np.pi * now / seconds[-1]) * 0.8
        shut = sum(np.exp(-0.5 * ((now - at) / BLINK_SECONDS) ** 2) for at in BLINKS)
        picture = drawing(editor, subject.styles[0] + turned * turn + min(1.0, shut) * blink)
        pixels = np.asarray(picture)
        padded = np.pad(pixels, ((256, 256), (256, 256), (0, 0)), mode="symmetric")
        side = pixels.shape[0]
        middle = np.array([256 + side / 2, 256 + side / 2]) + 8 * hand[i]
        window = square(*(middle - 0.5625 * side), 1.125 * side)
        frames.append(cut(padded, window, 720))
        quads.append(seen_in(square(256, 256, side), window, 720))
    return frames, quads


def of_photo(pixels: NDArray[np.uint8], count: int) -> tuple[Frames, list[NDArray[np.float64]]]:
    (faces,) = load_face_finder(torch.device("cpu")).find([pixels])
    face, hand = face_quad(faces[0].points), shaken(count)
    frames, quads = [], []
    for i in range(count):
        share = i / (count - 1)
        side = 420 - 100 * share
        corner = np.array([20, 0]) + share * np.array([70, 10]) + 1.5 * (1 + hand[i])
        window = square(*corner, side)
        frames.append(cut(pixels, window, 480))
        quads.append(seen_in(face, window, 480))
    return frames, quads


def shaken(count: int) -> NDArray[np.float64]:
    """How an unsteady hand moves, (n, 2), about 1 large."""
    times = np.arange(count) / FPS
    noise = np.random.default_rng(0).standard_normal((count, 2))
    found = smoothed(times, noise, 0.2)
    return found / np.abs(found).max()


@torch.inference_mode()
def drawing(editor: Editor, styles: torch.Tensor) -> Image.Image:
    return Image.fromarray(to_bytes(editor.generator.render(styles[None]))[0].cpu().numpy())


def square(x: float, y: float, side: float) -> NDArray[np.float64]:
    return np.array([[x, y], [x, y + side], [x + side, y + side], [x + side, y]], np.float64)


def cut(pixels: NDArray[np.uint8], window: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    return resampled(pixels, crop_to_photo(window, (side, side)), (side, side))


def seen_in(
    quad: NDArray[np.float64], window: NDArray[np.float64], side: int
) -> NDArray[np.float64]:
    return (quad - window[0]) * side / (window[3, 0] - window[0, 0])


@main.command()
@click.argument("video", type=Path)
@click.argument("folder", type=Path)
@click.option("--edit", "text", required=True)
@click.option("--atlas")
@click.option("--clip")
@click.option("--steps", type=int)
@click.option("--variant", "variants", multiple=True, type=click.Choice(list(VARIANTS)))
def edit(
    video: Path,
    folder: Path,
    text: str,
    atlas: str | None,
    clip: str | None,
    steps: int | None,
    variants: tuple[str, ...],
) -> None:
    """Edit a video with and without each smoothing."""
    editor = models(atlas, clip)
    folder.mkdir(parents=True, exist_ok=True)
    align = BOX if atlas is None else "face"
    job = PhotoJob((video,), align, settings=InvertSettings(steps=steps), cache=False)
    request = EditRequest((Edit.parse(text),))
    quads = np.load(video.with_suffix(".npz"))["quads"]
    source = read(video)
    own = flicker(source, source, quads)[:2]
    samples = editor.atlas.samples
    assert samples is not None
    asks = f"{samples.sha256} {file_sha256(video)} {steps}".encode()
    of_what = hashlib.sha256(asks).hexdigest()[:12]
    rows: list[Record] = []
    for name in variants or VARIANTS:
        smoothing = VARIANTS[name]
        out = folder / f"{name.replace(' ', '-')}.mp4"
        begun = time.time()
        kept = folder / f"crop-{smoothing.crop:g}-{of_what}.kept"
        if kept.exists():
            settled = job.settled(editor.photo_encoder)
            copy_inversions(kept, out, videos._plan(editor, settled, asked(request), smoothing))
        with mock.patch.object(Ledger, "remove", lambda ledger: None):
            record = videos.edit_video(
                editor,
                job,
                request,
                out,
                tell=lambda line: print(line, file=sys.stderr),
                smoothing=smoothing,
            )
        work = out.with_name(f"{out.name}.work")
        if kept.exists():
            work.unlink()
        else:
            shutil.move(work, kept)
        edited = read(out)
        found = flicker(source, edited, quads)
        strip(source, edited, quads, folder / f"{name.replace(' ', '-')}.png")
        alphas = [image["alpha"] for image in record["images"]]
        rows.append(
            {
                "smoothed": name,
                "outside": found[0] / own[0],
                "LPIPS inside": found[1] / own[1],
                "edit, %": 100 * found[2],
                "distance": record["video"]["distance"][0],
                "alphas": f"{min(alphas):.2f} to {max(alphas):.2f}",
                "s": round(time.time() - begun),
            }
        )
        print(record["video"], file=sys.stderr)
    print(text_table(rows))


def asked(request: EditRequest) -> EditRequest:
    return request.changed(method="direction")


def copy_inversions(kept: Path, out: Path, plan: dict[str, object]) -> None:
    """A new work file with the inversions of another."""
    known = out.with_name(f"{out.name}.from")
    shutil.copy(kept, known.with_name(f"{known.name}.work"))
    old = read_plan(kept)
    with Ledger(known, old) as there, Ledger(out, plan) as here:
        for kind in (b"face", b"ends", b"crop", b"late"):
            for record in there.all(kind):
                here.add(kind, record)
        there.path.unlink()


def read_plan(path: Path) -> dict[str, object]:
    import json

    from styleatlas.engine.videos.ledger import _HEAD, _MAGIC

    with path.open("rb") as file:
        file.read(len(_MAGIC))
        _, size, _ = _HEAD.unpack(file.read(_HEAD.size))
        return json.loads(file.read(size))


def read(path: Path) -> NDArray[np.uint8]:
    return np.stack([frame.pixels for frame in frames_of(open_video(path))])


def flicker(
    source: NDArray[np.uint8], edited: NDArray[np.uint8], quads: NDArray[np.float64]
) -> tuple[float, float, float]:
    """See above; the first two not yet in the source's own."""
    apart, shown, added = [], [], []
    for i, quad in enumerate(quads):
        crops = [cut(frames[i], quad, SIDE).astype(np.float32) for frames in (source, edited)]
        shown.append(crops[1])
        added.append(crops[1] - crops[0])
        if i:
            low, high = (
                np.minimum(quads[i - 1].min(0), quad.min(0)),
                np.maximum(quads[i - 1].max(0), quad.max(0)),
            )
            outside = np.ones(source.shape[1:3], bool)
            left, top = np.maximum(np.floor(low), 0).astype(int)
            right, bottom = np.ceil(high).astype(int)
            outside[top:bottom, left:right] = False
            step = np.abs(edited[i].astype(int) - edited[i - 1]).mean(2)
            apart.append(step[outside].mean())
    there = np.abs(np.stack(added)).max(3).mean(0) > CHANGED  # (SIDE, SIDE)
    if not there.any():
        return float(np.mean(apart)), lpips(shown), 0.0
    changes = [np.abs(b - a)[there].mean() for a, b in pairwise(added)]
    size = np.mean([np.abs(one)[there].mean() for one in added])
    return float(np.mean(apart)), lpips(shown), float(np.mean(changes) / size)


def lpips(crops: list[NDArray[np.float32]]) -> float:
    """Of crops in a row, on average; NaN without its weights."""
    try:
        network = load_perceptual(["alex"], torch.device("cpu"))
    except CheckpointError:
        return float("nan")
    seen = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        embedded = torch.cat([network.embed(one[None]) for one in seen])
    return float((embedded[1:] - embedded[:-1]).square().sum(1).mean())


def strip(
    source: NDArray[np.uint8],
    edited: NDArray[np.uint8],
    quads: NDArray[np.float64],
    path: Path,
) -> None:
    """Frames in a row from the middle, source above edited."""
    first = max(0, len(source) // 2 - SHOWN // 2)
    rows = [
        np.concatenate([cut(frames[i], quads[i], SIDE) for i in range(first, first + SHOWN)], 1)
        for frames in (source, edited)
    ]
    Image.fromarray(np.concatenate(rows)).save(path)


if __name__ == "__main__":
    main()
