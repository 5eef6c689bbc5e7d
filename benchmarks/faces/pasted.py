"""Ways to put an edit back into a photo, where it is known what should have come out.

    python benchmarks/faces/pasted.py ATLAS --clip CLIP --pictures FOLDER

A face of a seed is laid into a larger picture, turned, with other colours and grain: the photo. Its
inversion is the face of a w that lies a little beside, .15 or .4 standard deviations of the
atlas's samples; the edit moves the styles of both alike, so that the photo's edited face, laid in
the same way, is what should come out. A turned head is a step of w along which MTCNN's nose moves
between the eyes, found on `--poses` samples of the atlas.

For each way: LPIPS (AlexNet) of the crop's box at 512 pixels a side and the mean distance inside
the mask, of 255, to what should have come out, and by how much gradients differ from those of it
where the mask rises. With --pictures each is written, beside the photo and what should have come
out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from styleatlas import Editor
from styleatlas.engine.models.landmarks import load_face_finder
from styleatlas.engine.models.perceptual import load_perceptual
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.protocols import Generator
from styleatlas.engine.models.sampling import render_batches, w_from_seeds
from styleatlas.engine.photos import paste as module

Picture = NDArray[np.uint8]
CPU = torch.device("cpu")
TARGETS = {
    "smile": "a smiling face",
    "hair": "a face with long hair",
    "glasses": "a face with glasses",
}
BESIDE = (0.15, 0.4)
TURN = 0.45
"""Distances between the eyes that the nose moves by, towards the middle."""
TRUNCATION = 0.7
CAST = ((0.95, 1.0), (1.0, 0.96), (1.08, 0.9))
"""Exponent and factor of red, green and blue in the photo."""
GRAIN = 3.0
ALL = {"alike": lambda old, new: old.new_ones(1, *old.shape[1:])}
NONE = {"alike": lambda old, new: old.new_zeros(1, *old.shape[1:])}
WAYS: Mapping[str, Mapping[str, object]] = {
    "difference": ALL,
    "replaced": NONE | {"membrane": lambda values, known, reach: np.zeros_like(values)},
    "gradients": NONE | {"_REACH": np.inf},
    "backdrops in the edit's light": {"backdrop_light": lambda old, new, edges: 0 * old},
    "as it is": {},
}
"""What is put in place of parts of `paste`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("atlas")
    parser.add_argument("--clip")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 8, 11, 15])
    parser.add_argument("--side", type=float, default=900.0, help="of the crop in the photo")
    parser.add_argument("--poses", type=int, default=200)
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    editor = Editor(given.atlas, encoder=given.clip)
    lpips = load_perceptual(["alex"], CPU)
    found: dict[tuple[str, float, str], list[tuple[float, float, float]]] = {}
    for name, beside, seed, photo, wanted, crop, renders in cases(
        editor, given.seeds, given.side, given.poses
    ):
        pictures = {"photo": photo, "wanted": wanted}
        for way, parts in WAYS.items():
            with mock.patch.multiple(module, **parts) if parts else nullcontext():
                pasted = module.paste(photo, crop, *renders)
            pictures[way] = pasted.photo
            row = distances(lpips, pasted, photo, wanted)
            found.setdefault((name, beside, way), []).append(row)
            if way == "as it is":
                print(
                    f"{name} {beside} seed {seed}: kept {pasted.kept:.2f}, {row[0]:.3f}", flush=True
                )
        if given.pictures:
            given.pictures.mkdir(parents=True, exist_ok=True)
            for way, picture in pictures.items():
                file = f"{name}-{beside}-{seed}-{way.replace(' ', '-')}.png"
                Image.fromarray(picture).save(given.pictures / file)
    print("| edit | w beside by | " + " | ".join(WAYS) + " |")
    for name, beside in dict.fromkeys(key[:2] for key in found):
        rows = [np.mean(found[name, beside, way], 0) for way in WAYS]
        cells = " | ".join(f"{a:.3f}, {b:.1f}, {c:.2f}" for a, b, c in rows)
        print(f"| {name} | {beside} | {cells} |")


def cases(
    editor: Editor, seeds: list[int], side: float, poses: int
) -> Iterator[tuple[str, float, int, Picture, Picture, NDArray[np.float64], tuple[Tensor, Tensor]]]:
    """Edit, how far w lies beside, seed, photo, what should come out, the crop in it, and the
    renders of inversion and edit; seeds that an edit leaves as they are have none."""
    generator, samples = editor.generator, editor.atlas.samples
    if samples is None:
        raise SystemExit("atlas: has no samples")
    spread = torch.from_numpy(np.asarray(samples.w, np.float32).std(0))
    w = w_from_seeds(generator, seeds, TRUNCATION)
    noise = torch.randn(len(seeds), 1, w.shape[2], generator=torch.Generator().manual_seed(1))
    styles = generator.styles(w)
    steps = {}
    for name, target in TARGETS.items():
        result = editor.edit(seeds=seeds, neutral="a face", target=target, truncation=TRUNCATION)
        steps[name] = result.styles - result.before
    nose, axis = poses_of(generator, w, np.asarray(samples.w[:poses], np.float32))
    turned = generator.styles(w - TURN * torch.from_numpy(np.sign(nose))[:, None, None] * axis)
    steps["turn"] = turned - styles
    beside = {by: generator.styles(w + by * spread * noise) for by in BESIDE}
    crop = square(0.8 * side, 0.75 * side, side, 10)
    for name, step in steps.items():
        rows = [i for i in range(len(seeds)) if bool(step[i].any())]
        for by, inverted in beside.items():
            for i in rows:
                before, after, old, new = (
                    rendered(generator, s[i : i + 1])
                    for s in (styles, styles + step, inverted, inverted + step)
                )
                photo, wanted = (laid(x, crop, side) for x in (before, after))
                yield name, by, seeds[i], photo, wanted, crop, (old, new)


@torch.inference_mode()
def rendered(generator: Generator, styles: Tensor) -> Tensor:
    """One image (3, S, S)."""
    return torch.cat(list(render_batches(generator, styles)))[0].clamp(-1, 1)


def poses_of(
    generator: Generator, w: Tensor, samples: NDArray[np.float32]
) -> tuple[NDArray[np.float32], Tensor]:
    """Where the nose is between the eyes of each w (n,), and the step of w that moves it by 1: a
    ridge regression, along the samples' covariance."""
    finder, width = load_face_finder(CPU), samples.shape[1]

    def nose(rows: Tensor) -> NDArray[np.float32]:
        places = []
        for row in rows:
            image = rendered(generator, generator.styles(row[None]))[None]
            faces = finder.find(
                [to_bytes(F.interpolate(image, (256, 256), mode="area"))[0].numpy()]
            )
            points = faces[0][0].points if faces[0] else None
            eyes = points[:2, 0] if points is not None else None
            far = np.nan if eyes is None else (points[2, 0] - eyes.mean()) / (eyes[1] - eyes[0])
            places.append(far)
        return np.array(places, np.float32)

    places = nose(torch.from_numpy(samples)[:, None].expand(-1, w.shape[1], -1))
    w0, y = samples[np.isfinite(places)], places[np.isfinite(places)]
    w0, y = w0 - w0.mean(0), y - y.mean()
    covariance = w0.T @ w0 / len(w0)
    ridge = 0.05 * np.trace(covariance) / width * np.eye(width)
    slope = np.linalg.solve(covariance + ridge, w0.T @ y / len(w0))
    step = covariance @ slope
    return nose(w), torch.from_numpy((step / (step @ slope)).astype(np.float32))


def square(x: float, y: float, side: float, degrees: float) -> NDArray[np.float64]:
    """Corners of a crop around (x, y)."""
    angle = np.deg2rad(degrees)
    across = np.array([np.cos(angle), np.sin(angle)]) * side / 2
    down = np.array([-across[1], across[0]])
    corners = (-across - down, -across + down, across + down, across - down)
    return np.array([x, y]) + np.stack(corners)


def laid(image: Tensor, crop: NDArray[np.float64], side: float) -> Picture:
    """The photo: an image (3, S, S) in the crop, mirrored around it, in other colours, with
    grain. By Pillow, which is not what is measured."""
    size = image.shape[-1]
    levels = ((image + 1) / 2).permute(1, 2, 0).numpy()
    cast = np.stack([levels[..., i] ** power * by for i, (power, by) in enumerate(CAST)], 2) * 255
    wide = np.pad(cast, ((size, size), (size, size), (0, 0)), "symmetric")
    picture = Image.fromarray(wide.round().astype(np.uint8))
    fine = min(size, round(side))
    picture = picture.resize((3 * fine, 3 * fine), Image.Resampling.LANCZOS)
    across, down = ((crop[i] - crop[0]) * fine / side**2 for i in (3, 1))
    rows = [(*v, fine - v @ crop[0]) for v in (across, down)]
    width, height = round(1.6 * side), round(1.5 * side)
    photo = picture.transform(
        (width, height), Image.Transform.AFFINE, (*rows[0], *rows[1]), Image.Resampling.BICUBIC
    )
    grain = np.random.default_rng(0).normal(0, GRAIN, (height, width, 3))
    return (np.asarray(photo) + grain).clip(0, 255).round().astype(np.uint8)


def distances(
    lpips: object, pasted: module.Pasted, photo: Picture, wanted: Picture
) -> tuple[float, float, float]:
    left, top, right, bottom = pasted.box
    where, mask = (slice(top, bottom), slice(left, right)), pasted.mask
    one, old, new = (x[where].astype(np.float32) for x in (pasted.photo, photo, wanted))
    goal = old + mask[..., None] * (new - old)
    pair = torch.from_numpy(np.stack([one, goal])).permute(0, 3, 1, 2) / 127.5 - 1
    small = F.interpolate(pair, (512, 512), mode="bilinear", antialias=True, align_corners=False)
    with torch.inference_mode():
        far = float(lpips.distance(small[:1], small[1:]))  # type: ignore[attr-defined]
    inside = float((np.abs(one - new).mean(2) * mask).sum() / mask.sum())
    off = F.avg_pool2d(pair[:1] - pair[1:], 5, 1, 2)[0].numpy() * 127.5
    slopes = sum(np.abs(np.gradient(off, axis=i)).mean(0) for i in (1, 2))
    rising = (mask > 0.02) & (mask < 0.9)
    return far, inside, float(slopes[rising].mean())


if __name__ == "__main__":
    main()
