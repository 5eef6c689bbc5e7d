"""Inversions by look-up and by refinement, how near they come and how well they edit.

    python benchmarks/inversion.py avatars [--tuning] [--count N] [--lpips] [--encoder FILE]
        [--page PNG]
    python benchmarks/inversion.py faces ATLAS --clip CLIP [--photo PHOTO ...] [--pages FOLDER]

`avatars`: drawings that nothing was trained on (`drawn.py`), whose attributes are known. For the
nearest sample, the look-up, and refinements in w, w+ and style space from the mean and from the
look-up: how many come back with all attributes right as the judge reads them, L1 to the drawing,
and the ten edits of `edits.py` made of what came back: in how many the target attribute is right of
those that lacked it (hit), and how many other attributes are then not the drawing's (leak); beside
the same edits of images of seeds. Then how many steps it takes from the mean to come as near as
from the look-up. `--lpips` refines by LPIPS where its weights were fetched, which is slower.
`--tuning` takes other drawings, and refines with several pulls towards the start instead.
`--encoder` compares a photo encoder of one's own with the look-up instead, both alone and with
refinements from where they end.

`faces`: generated faces of seeds that are no samples, and photos; how far what comes back lies from
the crop by dlib's identity (L2; .6 is another person), LPIPS by AlexNet at 256 pixels and the five
points MTCNN finds (mean distance, % of the side). `--pages` takes a sheet of each: crop, look-up,
refined in each space.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.engine.models.features import Features
from styleatlas.engine.models.landmarks import load_face_finder
from styleatlas.engine.models.own_encoder import read_own_encoder
from styleatlas.engine.models.perceptual import Perceptual, load_perceptual
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.sampling import render_batches, styles_from_seeds
from styleatlas.engine.photos import refine
from styleatlas.engine.photos.align import align_faces, crop
from styleatlas.engine.photos.inversion import Inverter, InvertSettings
from styleatlas.engine.photos.measure import Measure, measure_of, reduced
from styleatlas.engine.photos.photo import Pixels
from styleatlas.engine.photos.read import read_photo
from styleatlas.engine.photos.refine import Refined, Refinement, Space, Spread
from styleatlas.engine.pictures.sheet import save_png, sheet
from styleatlas.engine.steering.lookup import LookUp
from styleatlas.store.records import Record, text_table
from styleatlas.store.registry import EMBEDDED

sys.path.insert(0, str(Path(__file__).parent))
from drawn import REPORTED, TUNED, Drawn, Models, held_out, nearest
from edits import EDITS, NEUTRAL

CPU = torch.device("cpu")
SPACES: tuple[Space, ...] = ("w", "w+", "s")
PLAN: tuple[tuple[str, Space, int | None], ...] = (
    *(("look-up", space, steps) for steps in (10, None) for space in SPACES),
    ("mean", "w", None),
    ("mean", "w+", None),
)
"""Where refinements begin, what they move, and for how many steps."""
BESIDE_ENCODER: tuple[tuple[str, Space, int | None], ...] = tuple(
    (start, space, steps)
    for space, steps in (("w", 10), ("w+", 10), ("w+", None))
    for start in ("look-up", "encoder")
)
PULLS, TUNING_STEPS = (0.0, 0.1, 0.3, 1.0), 40
SEED, TRUNCATION = 50_001, 0.7
FACES = range(90_001, 90_011)
SIDE = 512  # of the pictures of a sheet of faces


class Trial:
    """Drawings to be inverted, where they begin, and what measures them."""

    def __init__(self, values: NDArray[np.int64], lpips: bool, by: Path | None = None) -> None:
        self.models = Models()
        self.atlas = Atlas.open(EMBEDDED.name)
        samples = self.atlas.samples
        assert samples is not None
        self.truth = Drawn(self.models, values)
        perceptual = load_perceptual(["vgg"], CPU) if lpips else None
        generator, encoder = self.models.generator, self.models.encoder
        self.measure: Measure = measure_of(generator.image_size, encoder, perceptual)
        query, w = self.models.embed(self.truth.images), samples.w.astype(np.float32)
        self.starts = {
            "nearest sample": self._rows(nearest(samples.embedding.astype(np.float32), w, query)),
            "look-up": self._rows(LookUp(samples).find(query).w),
            "mean": self._rows(np.repeat(samples.centre[None], len(values), 0)),
        }
        if by is not None:
            own = read_own_encoder(by, generator)
            self.starts["encoder"] = own.encode(self.truth.images, self.starts["look-up"])
        self._spread = Spread.of(torch.from_numpy(w), torch.from_numpy(self.atlas.style_std))
        self._editor = Editor(self.atlas, generator, encoder)

    def refined(
        self, start: str, space: Space, steps: int | None, trace: dict[int, list[float]]
    ) -> Refined:
        """`trace` is told the distance of each drawing after each number of steps."""
        work = Refinement(
            self.models.generator,
            self.measure,
            self.truth.images,
            self.starts[start],
            self._spread,
            space,
            steps,
        )

        def note(state: dict[str, Tensor]) -> None:
            for row, made in enumerate(state["steps"].tolist()):
                told = trace.setdefault(row, [])
                if made > len(told):
                    told.append(float(state["distance"][row]))

        return work.run(save=note)

    def scored(self, styles: Tensor) -> Record:
        """How near the images come to the drawings, and what becomes of them by edits."""
        truth = self.truth
        images = rendered(self.models, styles)
        return {**truth.compared(images), **self.edited(styles, truth.values, truth.seen)}

    def edited(
        self, styles: Tensor, values: NDArray[np.integer], seen: NDArray[np.bool_]
    ) -> Record:
        """Edits of images of known attributes (n, A), those that are seen."""
        names = list(self.models.judge.attributes)
        hits, kept, shown = [], 0, 0
        for target, (attribute, wanted) in EDITS.items():
            column = names.index(attribute)
            numbers = [self.models.judge.attributes[attribute].index(x) for x in wanted]
            lacking = ~np.isin(values[:, column], numbers) | ~seen[:, column]
            edit = self._editor.edit(styles, neutral=NEUTRAL, target=target, method="direction")
            read = self.models.judge.look(edit.images.clamp(-1, 1)).predictions
            hit = np.isin(read.values[:, column], numbers) & read.seen[:, column]
            hits.append(hit[lacking])
            both = seen & read.seen & lacking[:, None]
            both[:, column] = False
            kept += int((both & (read.values == values)).sum())
            shown += int(both.sum())
        return {
            "hit %": round(100 * float(np.concatenate(hits).mean()), 1),
            "leak %": round(100 * (1 - kept / shown), 2),
        }

    def of_seeds(self, count: int) -> Record:
        """The same edits of images that the generator draws by itself."""
        styles = styles_from_seeds(self.models.generator, range(SEED, SEED + count), TRUNCATION)
        read = self.models.judge.look(rendered(self.models, styles)).predictions
        return self.edited(styles, read.values, read.seen)

    def _rows(self, w: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(w)[:, None].repeat(1, self.models.rows, 1)


@torch.inference_mode()
def rendered(models: Models, styles: Tensor) -> Tensor:
    return torch.cat(list(render_batches(models.generator, styles))).clamp(-1, 1)


def equal_steps(nearer: dict[int, list[float]], farther: dict[int, list[float]], at: int) -> str:
    """After how many steps of the one way half of the drawings are as near as after `at` of the
    other."""
    needed = [
        next((i for i, d in enumerate(farther[row]) if d <= told[min(at, len(told) - 1)]), None)
        for row, told in nearer.items()
    ]
    never = len(farther[0]) + 10**6
    middle = float(np.median([never if n is None else n for n in needed]))
    return "never" if middle > 10**5 else f"{middle:.0f}"


@click.group()
def main() -> None:
    torch.set_num_threads(1)


@main.command()
@click.option("--tuning", is_flag=True, help="Other drawings, by which pulls were chosen.")
@click.option("--count", type=int, default=200, show_default=True, help="Of drawings.")
@click.option("--lpips", is_flag=True, help="Refine by LPIPS (VGG16).")
@click.option("--encoder", "by", type=Path, help="A photo encoder of one's own.")
@click.option("--page", type=Path, help="PNG: drawings, look-up and refined.")
def avatars(tuning: bool, count: int, lpips: bool, by: Path | None, page: Path | None) -> None:
    trial = Trial(held_out()[TUNED if tuning else REPORTED].numpy()[:count], lpips, by)
    generator = trial.models.generator
    rows: list[Record] = [{"way": "images of seeds", **dict.fromkeys(
        ("steps", "all right %", "attributes %", "L1"), ""), **trial.of_seeds(count)}]  # fmt: skip
    for name, w in trial.starts.items():
        if name != "mean":
            rows.append({"way": name, "steps": 0, **trial.scored(generator.styles(w))})
    click.echo(text_table(rows))
    traces: dict[tuple[str, Space], dict[int, list[float]]] = {}
    begun_by = [name for name in ("look-up", "encoder") if name in trial.starts]
    labels, shown = ["drawing", *begun_by], [trial.truth.images]
    shown += [rendered(trial.models, generator.styles(trial.starts[name])) for name in begun_by]
    ways = PLAN if by is None else BESIDE_ENCODER
    plan = [(*way, refine.PULL[way[1]]) for way in ways]
    if tuning:
        plan = [("look-up", space, TUNING_STEPS, pull) for space in SPACES for pull in PULLS]
    for start, space, steps, pull in plan:
        trace: dict[int, list[float]] = {}
        begun = time.perf_counter()
        with mock.patch.dict(refine.PULL, {space: pull}):
            found = trial.refined(start, space, steps, trace)
        seconds = time.perf_counter() - begun
        row = {
            "way": f"{space} from the {start}, pull {pull:g}",
            "steps": f"auto, {found.steps.float().mean():.0f}" if steps is None else steps,
            **trial.scored(found.styles),
            "distance": f"{found.distance.mean():.4f}",
            "ms a step": round(1000 * seconds / float(found.steps.sum())),
        }
        rows.append(row)
        click.echo(str(row), err=True)
        if steps is None:
            traces[start, space] = trace
            labels.append(f"{space} from the {start}")
            shown.append(rendered(trial.models, found.styles))
    click.echo(f"\nby {trial.measure.name}\n" + text_table(rows))
    for far, near in (("mean", "look-up"), ("look-up", "encoder")):
        for space in SPACES:
            if (far, space) in traces and (near, space) in traces:
                told = ", ".join(
                    f"{at}: {equal_steps(traces[near, space], traces[far, space], at)}"
                    for at in (0, 5, 10, 20)
                )
                click.echo(f"{space}, steps from the {far} for so many from the {near}: {told}")
    if page is not None:
        lines = [list(images[part : part + 12]) for part in (0, 12, 24) for images in shown]
        save_png(sheet(lines, labels * 3, scale=2), page)


@main.command()
@click.argument("atlas")
@click.option("--clip", required=True, help="That the atlas was drawn with.")
@click.option("--photo", "photos", multiple=True, type=Path, help="The largest face of each.")
@click.option("--count", type=int, default=len(FACES), show_default=True, help="Generated faces.")
@click.option("--steps", type=int, help="Of refinements; until the distance stops paying.")
@click.option("--space", "spaces", multiple=True, type=click.Choice(SPACES), default=("w", "w+"))
@click.option("--lpips-alone", is_flag=True, help="Leave identity out of the loss.")
@click.option("--pages", type=Path, help="A folder for sheets.")
def faces(
    atlas: str,
    clip: str,
    photos: Sequence[Path],
    count: int,
    steps: int | None,
    spaces: Sequence[Space],
    lpips_alone: bool,
    pages: Path | None,
) -> None:
    generator, encoder = load_generator("faces", "cpu"), load_encoder(clip, "cpu")
    inverter = Inverter.of(generator, Atlas.open(atlas), encoder, cache=False)
    for note in inverter.notes:
        click.echo(note, err=True)
    features = inverter.features
    assert features is not None
    if lpips_alone:
        inverter.measure = measure_of(generator.image_size, encoder, load_perceptual(["vgg"], CPU))
    alex = load_perceptual(["alex"], CPU)
    rows: list[Record] = []
    for name, pixels in crops(generator, photos, count):
        shown: list[Tensor] = [seen(pixels)]
        for space in (None, *spaces):
            settings = InvertSettings(space or "w", steps=0 if space is None else steps)
            begun = time.perf_counter()
            found = inverter.invert([pixels], settings)
            seconds = time.perf_counter() - begun
            with torch.inference_mode():
                shown.append(generator.render(found.styles).clamp(-1, 1))
            rows.append(
                {
                    "face": name,
                    "way": space or "look-up",
                    "steps": found.steps[0],
                    **apart(features, alex, shown[0], shown[-1]),
                    "distance": round(float(found.distance[0]), 3),
                    "farther": round(float(found.farther[0]), 2),
                    "s": round(seconds),
                }
            )
            click.echo(str(rows[-1]), err=True)
        if pages is not None:
            pages.mkdir(parents=True, exist_ok=True)
            line = [reduced(image, SIDE)[0] for image in shown]
            save_png(sheet([line], [name], ("crop", "look-up", *spaces)), pages / f"{name}.png")
    click.echo(text_table(rows))
    for kind in ("generated", "photo"):
        for way in ("look-up", *spaces):
            of = [r for r in rows if r["way"] == way and str(r["face"]).startswith(kind)]
            if of:
                figures = {
                    key: round(float(np.mean([row[key] for row in of])), 3)
                    for key in ("steps", "identity L2", "LPIPS alex", "points %")
                }
                click.echo(f"{kind}, {way}, mean of {len(of)}: {figures}")


def crops(generator, photos: Sequence[Path], count: int) -> Iterator[tuple[str, Pixels]]:
    """Each with a name for people."""
    for path in photos:
        photo = read_photo(path)
        (face,) = align_faces(photo, load_face_finder(CPU))[:1]
        yield f"photo {path.stem}", crop(photo, face.quad, generator.image_size)
    for seed in FACES[:count]:
        with torch.inference_mode():
            image = generator.render(styles_from_seeds(generator, [seed], TRUNCATION))
        yield f"generated {seed}", to_bytes(image)[0].numpy()


def seen(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


@torch.inference_mode()
def apart(features: Features, alex: Perceptual, one: Tensor, other: Tensor) -> Record:
    """How far two faces (1, 3, H, H) lie apart."""
    a, b = features.read(one), features.read(other)
    points = np.hypot(*(a["landmarks"] - b["landmarks"]).reshape(-1, 2).T).mean()
    return {
        "identity L2": round(float(np.linalg.norm(a["identity"] - b["identity"])), 3),
        "LPIPS alex": round(float(alex.distance(*(reduced(x, 256) for x in (one, other)))), 3),
        "points %": round(100 * float(points), 2),
    }


if __name__ == "__main__":
    main()
