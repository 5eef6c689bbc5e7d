"""Generators tuned to photos, beside inversions alone: how near they come, how well they edit.

    python benchmarks/tuning.py avatars [--space w+] [--steps 350] [--page PNG]
    python benchmarks/tuning.py forms [--page PNG]
    python benchmarks/tuning.py faces ATLAS --clip CLIP --photo PHOTO [--steps N] [--page PNG]

`avatars`: eight drawings with what no avatar has (needs `styleatlas[zoo]`), each inverted and the
generator tuned to it alone: LPIPS by AlexNet and L1 to the drawing, and the edits of `edits.py`
that the drawing leaves room for. What each ought to be is drawn, too: of the edited images, how
many show the target to the judge (hit), how many of the drawing's other attributes are read
otherwise (leak), and LPIPS and L1 to the drawing that they ought to be. The judge was never shown
such drawings: its readings of the right ones stand beside.

`forms`: what the difference takes in bytes in several forms, and what is lost by them.

`faces`: a photo, inverted in w and in w+, each with and without tuning: LPIPS by AlexNet at 256
pixels and dlib's distance from the photo, and edits by the judges of `faces/judges.py`: whether the
target is read, how many other attributes change, damage, LPIPS and dlib's distance from before the
edit. What is made small is LPIPS by VGG16 and dlib's distance: neither is an independent judge.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.engine.checkpoints.tuned_file import Difference
from styleatlas.engine.jobs.tune import PhotoTuning
from styleatlas.engine.models.draft import Draft
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.perceptual import Perceptual, load_perceptual
from styleatlas.engine.models.preprocess import from_bytes
from styleatlas.engine.models.sampling import w_from_seeds
from styleatlas.engine.photos import tune
from styleatlas.engine.photos.inversion import Inverter, InvertSettings
from styleatlas.engine.photos.measure import reduced
from styleatlas.engine.photos.photographs import Inverted
from styleatlas.engine.pictures.sheet import save_png, sheet
from styleatlas.store.records import Record, text_table

sys.path.insert(0, str(Path(__file__).parent))
from drawn import Models, held_out
from edits import EDITS, NEUTRAL

HERE = Path(__file__).parent
CPU = torch.device("cpu")
SIDE = 512  # of the pictures of a sheet of faces
FIGURES = (
    *("LPIPS", "L1", "hit", "leak", "edit LPIPS", "edit L1", "s", "tuning steps"),
    *("at photo", "elsewhere"),
)
FACE_EDITS = ("serious", "old", "man", "blond", "black-hair", "glasses")


def part(name: str, variant: str, colour: str = "") -> dict[str, Any]:
    more = {"hatColor": [colour]} if colour else {}
    return {f"{name}Variant": [variant], f"{name}Probability": 100, **more}


# What is drawn in place of which attributes, none of it in any avatar.
OTHERS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "winter hat": (part("top", "winterHat02", "#3b6fb6"), ("hair", "hair colour")),
    "scarf": ({}, ("clothes",)),
    "headscarf": (part("top", "hijab", "#8a3fc0"), ("hair", "hair colour")),
    "dreadlocks": (part("top", "dreads01"), ("hair",)),
    "eyepatch": (part("accessories", "eyepatch"), ("glasses", "eyes")),
    "long beard": (part("facialHair", "beardMajestic"), ("facial hair",)),
    "heart eyes": (part("eyes", "hearts"), ("eyes",)),
    "blazer": (part("clothes", "blazerAndShirt"), ("clothes",)),
}


@dataclass(frozen=True, eq=False)
class Other:
    """A drawing (3, 64, 64) in [-1, 1], and its attributes (A,)."""

    name: str
    labels: np.ndarray
    image: Tensor

    @classmethod
    def of(cls, name: str, labels: np.ndarray) -> Other:
        from avatars import render_whole

        pixels = render_whole(labels, others=OTHERS[name][0])
        if name == "scarf":
            pixels = scarved(pixels)
        return cls(name, labels, torch.from_numpy(np.ascontiguousarray(pixels)).float() * 2 - 1)

    def edited(self, column: int, value: int) -> Tensor:
        """The same, of another value of an attribute."""
        labels = self.labels.copy()
        labels[column] = value
        return Other.of(self.name, labels).image


def scarved(pixels: np.ndarray) -> np.ndarray:
    """With a striped scarf about the neck, (3, 64, 64) in [0, 1]."""
    large = Image.fromarray((pixels.transpose(1, 2, 0) * 255).round().astype(np.uint8))
    large = large.resize((512, 512), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(large)
    draw.polygon([(150, 400), (362, 400), (386, 462), (256, 480), (126, 462)], "#c02020")
    draw.rectangle((290, 440, 346, 511), "#c02020")
    for x in range(150, 370, 48):
        draw.polygon([(x, 400), (x + 18, 400), (x + 12, 474), (x - 6, 474)], "#f4f4f4")
    small = large.resize((64, 64), Image.Resampling.BOX)
    return np.asarray(small, np.float32).transpose(2, 0, 1) / 255


def others() -> Iterator[Other]:
    """Each of a drawing of its own that nothing was trained on."""
    rows = held_out().numpy()
    for number, name in enumerate(OTHERS):
        yield Other.of(name, rows[7 * number])


class Avatars:
    """What draws, sees and judges; and the edits of a drawing."""

    def __init__(self) -> None:
        self.models = Models()
        self.atlas = Atlas.open("avatars")
        self.names = list(self.models.judge.attributes)
        self.alex = load_perceptual(["alex"], CPU)

    def editor(self, generator: StyleGANGenerator) -> Editor:
        return Editor(self.atlas, generator, self.models.encoder)

    def edits(self, other: Other) -> Iterator[tuple[str, int, list[int]]]:
        """Targets, each with the column of its attribute and the values that are it."""
        values = {n: list(x) for n, x in self.models.judge.attributes.items()}
        for target, (attribute, wanted) in EDITS.items():
            column = self.names.index(attribute)
            numbers = [values[attribute].index(x) for x in wanted]
            if attribute not in OTHERS[other.name][1] and other.labels[column] not in numbers:
                yield target, column, numbers

    def judged(self, other: Other, image: Tensor, column: int, numbers: list[int]) -> Record:
        """How near an edited image (1, 3, 64, 64) is to what it ought to be, and what is read."""
        wanted = torch.stack([other.edited(column, number) for number in numbers])
        apart = self.alex.distance(image.expand_as(wanted), wanted)
        best = int(apart.argmin())
        read = self.models.judge.look(image).predictions
        known = [
            i
            for i, name in enumerate(self.names)
            if i != column and name not in OTHERS[other.name][1] and read.seen[0, i]
        ]
        return {
            "hit": float(read.values[0, column] in numbers),
            "leak": float(np.mean([read.values[0, i] != other.labels[i] for i in known])),
            "edit LPIPS": float(apart[best]),
            "edit L1": float((image[0] - wanted[best]).abs().mean() / 2),
        }


@click.group()
def main() -> None:
    torch.set_num_threads(1)


def found_by(editor: Editor, crop: Tensor, settings: InvertSettings, folder: Path) -> Inverted:
    """By way of a file, as a user's."""
    path = folder / "crop.png"
    levels = ((crop + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(path)
    return editor.invert(path, align="none", settings=settings, cache=False)


def tuned_to(
    editor: Editor, found: Inverted, path: Path, steps: int
) -> tuple[StyleGANGenerator, Record]:
    """The generator as its file gives it, and how the tuning went."""
    begun = time.perf_counter()
    if path.exists():
        made = load_generator(path, "cpu")
        assert isinstance(made, StyleGANGenerator) and made.tuning is not None
        return made, {**made.tuning.told, "bytes": path.stat().st_size}
    tuning = PhotoTuning(editor, path, steps)
    tuning.add(found)
    record = tuning.run(lambda line: None, lambda progress: None)
    record["s"] = time.perf_counter() - begun
    made = load_generator(path, "cpu")
    assert isinstance(made, StyleGANGenerator)
    return made, record


@main.command()
@click.option("--space", "spaces", multiple=True, default=("w", "w+"))
@click.option("--steps", type=int, default=tune.STEPS, show_default=True)
@click.option("--count", type=int, default=len(OTHERS), show_default=True)
@click.option("--page", type=Path, help="PNG: drawings, and inverted, tuned and edited ones.")
def avatars(spaces: tuple[Any, ...], steps: int, count: int, page: Path | None) -> None:
    trial = Avatars()
    parent = trial.models.generator
    assert isinstance(parent, StyleGANGenerator)
    editor = trial.editor(parent)
    rows: list[Record] = []
    lines: list[list[Tensor]] = []
    for other in list(others())[:count]:
        rows += [
            {"way": "the right drawing", **trial.judged(other, image[None], column, numbers)}
            for _, column, numbers in trial.edits(other)
            for image in [other.edited(column, numbers[0])]
        ]
        for space in spaces:
            with tempfile.TemporaryDirectory() as folder:
                begun = time.perf_counter()
                found = found_by(editor, other.image, InvertSettings(space), Path(folder))
                seconds = time.perf_counter() - begun
                made, record = tuned_to(editor, found, Path(folder) / "t.safetensors", steps)
            shown = [other.image]
            for way, generator in ((space, parent), (f"{space}, tuned", made)):
                own = trial.editor(generator)
                told = {} if generator is parent else record
                with torch.inference_mode():
                    drawn = generator.render(found.inversion.styles).clamp(-1, 1)
                shown.append(drawn[0])
                near = {
                    "LPIPS": float(trial.alex.distance(drawn, other.image[None])),
                    "L1": float((drawn[0] - other.image).abs().mean() / 2),
                    "s": told.get("s", seconds),
                    "tuning steps": told.get("steps", 0),
                    "at photo": told.get("directions_at_photos", 1.0),
                    "elsewhere": told.get("directions_elsewhere", 1.0),
                }
                for target, column, numbers in trial.edits(other):
                    result = own.edit(
                        found.inversion.styles, neutral=NEUTRAL, target=target, method="direction"
                    )
                    image = result.images.clamp(-1, 1)
                    rows.append(
                        {"drawing": other.name, "way": way, "target": target, **near,
                         **trial.judged(other, image, column, numbers)}
                    )  # fmt: skip
                    if target in ("a smiling face", "a face with dark skin"):
                        shown.append(image[0])
            lines.append(shown)
            for way in (space, f"{space}, tuned"):
                of = [r for r in rows if r.get("drawing") == other.name and r["way"] == way]
                click.echo(f"{other.name}, {way}: {mean(of, FIGURES)}", err=True)
            click.echo(
                f"{other.name}, {space}: {record['before']} to {record['distance']} by "
                f"{record['measure']}, {record['steps']} steps, {record['bytes']:,} bytes",
                err=True,
            )
    summary = []
    for way in dict.fromkeys(row["way"] for row in rows):
        of = [row for row in rows if row["way"] == way]
        summary.append({"way": way, "edits": len(of), **mean(of, FIGURES)})
    click.echo(text_table(summary))
    per = []
    for name in OTHERS:
        for way in dict.fromkeys(row["way"] for row in rows if row.get("drawing") == name):
            of = [row for row in rows if row.get("drawing") == name and row["way"] == way]
            per.append({"drawing": name, "way": way, **mean(of, FIGURES[:7])})
    click.echo(text_table(per))
    if page is not None:
        width = max(map(len, lines))
        blank = torch.ones(3, 64, 64)
        padded = [line + [blank] * (width - len(line)) for line in lines]
        names = [f"{name}, {space}" for name in list(OTHERS)[:count] for space in spaces]
        save_png(sheet(padded, names, (), 2), page)


def mean(rows: list[Record], names: tuple[str, ...]) -> Record:
    """Of those that have one."""
    held = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: round(float(np.mean(x)), 4) if x else "" for name, x in held.items()}


@main.command()
@click.option("--drawing", default="scarf", show_default=True, type=click.Choice(list(OTHERS)))
@click.option("--steps", type=int, default=tune.STEPS, show_default=True)
def forms(drawing: str, steps: int) -> None:
    trial = Avatars()
    parent = trial.models.generator
    assert isinstance(parent, StyleGANGenerator)
    editor = trial.editor(parent)
    (other,) = [x for x in others() if x.name == drawing]
    with tempfile.TemporaryDirectory() as folder:
        found = found_by(editor, other.image, InvertSettings("w+"), Path(folder))
    measure = Inverter.of(parent, trial.atlas, trial.models.encoder, cache=False).measure
    assert found.inversion.w is not None
    crops = [cut.pixels for cut in found.cuts]
    differences = tune.Tuner(parent, measure, crops, found.inversion.w, [-1], steps).run()
    report_forms(parent, differences, found.inversion.w, trial.alex)


def report_forms(
    parent: StyleGANGenerator, differences: dict[str, Tensor], w: Tensor, alex: Perceptual
) -> None:
    """Bytes and losses of several forms of a difference."""
    state = {name: x.clone() for name, x in parent.network.state_dict().items()}
    at = torch.cat([w, w_from_seeds(parent, range(4), 0.7)])

    @torch.inference_mode()
    def drawn(form: dict[str, Tensor]) -> Tensor:
        parent.network.load_state_dict({n: x + form.get(n, 0) for n, x in state.items()})
        for module in parent.network.modules():
            if hasattr(module, "weight_energy"):
                module.weight_energy = None
        images = torch.cat([parent.render(parent.styles(one[None])) for one in at])
        parent.network.load_state_dict(state)
        return reduced(images, 256)

    exact, before = drawn(differences), drawn({})
    rows: list[Record] = []
    for name, (size, form) in {"none": (0, {}), **dict(all_forms(differences))}.items():
        images = drawn(form)
        rows.append(
            {
                "form": name,
                "bytes": size,
                "LPIPS of it": round(float(alex.distance(images, exact)[0]), 6),
                "levels": round(float((images - exact)[0].abs().mean() * 127.5), 4),
                "most levels": round(float((images - exact)[0].abs().max() * 127.5), 2),
            }
        )
    click.echo(text_table(rows))
    moved = float(alex.distance(exact, before)[1:].mean())
    click.echo(f"other images moved by LPIPS {moved:.5f}")


def all_forms(
    differences: dict[str, Tensor],
) -> Iterator[tuple[str, tuple[int, dict[str, Tensor]]]]:
    """Each with its bytes, and the difference that it stands for."""
    numbers = sum(x.numel() for x in differences.values())
    yield "float32", (4 * numbers, differences)
    yield "float16", (2 * numbers, {n: x.half().float() for n, x in differences.items()})
    found = Difference.of(differences)
    zeros = {n: torch.zeros_like(x) for n, x in differences.items()}
    rows = sum(len(x) for x in differences.values())
    yield "int8, a scale an output", (numbers + 4 * rows, found.added_to(zeros))
    for bits in (6, 4):
        top = 2 ** (bits - 1) - 1
        form = {}
        for name, x in differences.items():
            scale = x.flatten(1).abs().amax(1).clamp(min=1e-30)[:, None, None, None] / top
            form[name] = (x / scale).round() * scale
        yield f"{bits} bits, a scale an output", (numbers * bits // 8 + 4 * rows, form)
    for rank in (4, 16, 64):
        size, form = 0, {}
        for name, x in differences.items():
            u, s, v = torch.linalg.svd(x.flatten(1), full_matrices=False)
            u, s, v = u[:, :rank], s[:rank], v[:rank]
            form[name] = ((u * s).half().float() @ v.half().float()).view_as(x)
            size += 2 * (u.numel() + v.numel())
        yield f"rank {rank}, float16", (size, form)


@main.command()
@click.argument("atlas")
@click.option("--clip", required=True, help="That the atlas was drawn with.")
@click.option("--photo", required=True, type=Path)
@click.option("--space", "spaces", multiple=True, default=("w", "w+"))
@click.option("--steps", type=int, default=tune.STEPS, show_default=True)
@click.option("--rate", type=float, default=tune.RATE, show_default=True)
@click.option("--refine", type=int, help="Steps of the inversion.")
@click.option("--page", type=Path, help="PNG: the crop, and inverted, tuned and edited ones.")
@click.option(
    "--keep", type=Path, help="A folder of tuned generators; those that are there are taken."
)
def faces(
    atlas: str,
    clip: str,
    photo: Path,
    spaces: tuple[Any, ...],
    steps: int,
    rate: float,
    refine: int | None,
    page: Path | None,
    keep: Path | None,
) -> None:
    sys.path.insert(0, str(HERE / "faces"))
    from judges import Judges

    parent, encoder, opened = (
        load_generator("faces", "cpu"),
        load_encoder(clip, "cpu"),
        Atlas.open(atlas),
    )
    assert isinstance(parent, StyleGANGenerator)
    alex, judges, editor = load_perceptual(["alex"], CPU), Judges(), Editor(opened, parent, encoder)
    about = json.loads((HERE / "faces" / "face_edits.json").read_text())
    edits = [edit for edit in about["edits"] if edit["name"] in FACE_EDITS]
    rows: list[Record] = []
    lines: list[list[Tensor]] = []
    folder = keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    for space in spaces:
        begun = time.perf_counter()
        found = editor.invert(photo, settings=InvertSettings(space, steps=refine))
        seconds = time.perf_counter() - begun
        crop = from_bytes(torch.tensor(found.cuts[0].pixels)[None])
        with mock.patch.object(tune, "RATE", rate):
            made, record = tuned_to(editor, found, folder / f"{space}.safetensors", steps)
        click.echo(str(record), err=True)
        for way, generator in ((space, parent), (f"{space}, tuned", made)):
            told = {} if generator is parent else record
            with torch.inference_mode():
                drawn = generator.render(found.inversion.styles).clamp(-1, 1)
            there, own = (reduced(x, 256) for x in (crop, drawn))
            seen, before = judges.read(there), judges.read(own)
            near = {
                "way": way,
                "LPIPS": float(alex.distance(own, there)),
                "dlib": float(np.linalg.norm(before.identity - seen.identity)),
                "damage": float(before.damage[0]),
                "steps": told.get("steps", found.inversion.steps[0]),
                "s": told.get("s", seconds),
                "at photo": told.get("directions_at_photos", 1.0),
                "elsewhere": told.get("directions_elsewhere", 1.0),
            }
            line = [reduced(x, SIDE)[0] for x in (crop, drawn)]
            small = Editor(opened, Draft(generator, 512), encoder)
            for edit in edits:
                neutral = edit.get("neutral", about["neutral"])
                result = small.edit(
                    found.inversion.styles,
                    neutral=neutral,
                    target=edit["target"],
                    method="direction",
                )
                after = reduced(result.images.clamp(-1, 1), 256)
                read = judges.read(after)
                value = judges.attributes[edit["attribute"]][int(read.values[edit["attribute"]][0])]
                free = {edit["attribute"], *edit.get("follows", ())}
                others_ = [name for name in judges.attributes if name not in free]
                rows.append(
                    {
                        **near,
                        "edit": edit["name"],
                        "status": result.status[0],
                        "hit": float(value in edit["values"]),
                        "leak": float(
                            np.mean([read.values[n][0] != before.values[n][0] for n in others_])
                        ),
                        "edit damage": float(read.damage[0]),
                        "edit LPIPS": float(alex.distance(after, own)),
                        "edit dlib": float(np.linalg.norm(read.identity - before.identity)),
                        "dlib of photo": float(np.linalg.norm(read.identity - seen.identity)),
                    }
                )
                click.echo(str(rows[-1]), err=True)
                line.append(reduced(result.images.clamp(-1, 1), SIDE)[0])
            lines.append(line)
    click.echo(f"limit of damage {judges.limit:.2f}")
    figures = ("LPIPS", "dlib", "damage", "hit", "leak", "edit damage", "edit LPIPS", "edit dlib",
               "dlib of photo", "s", "steps", "at photo", "elsewhere")  # fmt: skip
    click.echo(
        text_table(
            [
                {"way": way, **mean([r for r in rows if r["way"] == way], figures)}
                for way in dict.fromkeys(row["way"] for row in rows)
            ]
        )
    )
    if page is not None:
        names = list(dict.fromkeys(row["way"] for row in rows))
        save_png(sheet(lines, names, ("photo", "drawn", *(e["name"] for e in edits))), page)


if __name__ == "__main__":
    main()
