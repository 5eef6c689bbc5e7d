"""Edits of photographic faces, judged by networks that did not steer them: `python
benchmarks/faces/face_edits.py measure --atlas faces.h5 --out FOLDER`.

    measure   make the edits of face_edits.json in several ways, and read what came of them
    table     what was read, as tables
    pairs     before-and-after pairs for an eye that does not know which is which
    count     what that eye answered
    sheets    a picture of each edit

`measure` writes a file of JSON lines, a line an image, for every way and edit, and skips those that
are there: a run that was ended goes on. The judges are those of `judges.py`, and dlib's distance
of people, LPIPS by AlexNet, 68 landmarks, and how far a picture is from unedited ones by features
that none of these attributes is read from.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import edit_pictures
import numpy as np
import torch
import torch.nn.functional as F
from edit_tables import Edit, flips, read_edits, summary, told
from edit_ways import WAYS, Models, Way
from judges import Judgement, Judges
from numpy.typing import NDArray
from torch import Tensor

from styleatlas.commands.options import seeds_option
from styleatlas.engine.models.perceptual import Perceptual, load_perceptual
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.models.sampling import w_from_seeds
from styleatlas.engine.models.subject import Subject
from styleatlas.store.errors import DirectionError, OptionError, StyleAtlasError
from styleatlas.store.output import replacing
from styleatlas.store.records import text_table

HERE = Path(__file__).parent
ENCODER = HERE / "encoder"
PSI = 0.7
SIDE = 256
"""Of pictures that are judged, in pixels."""
CHUNK = 10
"""Images that are edited and judged together."""
CPU = torch.device("cpu")
Line = dict[str, Any]

folder_option = click.option(
    "--out", "folder", type=click.Path(file_okay=False, path_type=Path), required=True
)
way_option = click.option("--way", type=click.Choice(list(WAYS)), default="default")


@dataclass(frozen=True, eq=False)
class Look:
    """What is read of n pictures (n, 3, 256, 256) in [-1, 1]; `picture` as LPIPS has them."""

    small: Tensor
    read: Judgement
    picture: Tensor


class Eyes:
    """All who look at pictures."""

    def __init__(self) -> None:
        self.judges = Judges()
        self._lpips: Perceptual = load_perceptual(["alex"], CPU)

    @torch.inference_mode()
    def look(self, small: Tensor) -> Look:
        return Look(small, self.judges.read(small), self._lpips.embed(small))

    def lines(self, seeds: Sequence[int], look: Look) -> list[Line]:
        """What is read of each, in plain numbers and words."""
        read, values = look.read, self.judges.attributes
        return [
            {
                "seed": seed,
                "values": {name: values[name][read.values[name][i]] for name in values},
                "years": _rounded(read.years[i]),
                "male": _rounded(read.male[i]),
                "damage": _rounded(read.damage[i]),
            }
            for i, seed in enumerate(seeds)
        ]

    def compared(self, before: Look, after: Look) -> list[Line]:
        """How far each picture went from the one it was."""
        one, other = before.read, after.read
        moved = np.linalg.norm(other.points - one.points, axis=2).mean(1)
        eyes = [one.points[:, i : i + 6].mean(1) for i in (36, 42)]
        figures = {
            "identity": np.linalg.norm(other.identity - one.identity, axis=1),
            "lpips": (after.picture - before.picture).square().sum(1).numpy(),
            "moved": moved / np.linalg.norm(eyes[1] - eyes[0], axis=1),
        }
        return [
            {name: _rounded(figure[i]) for name, figure in figures.items()}
            for i in range(len(moved))
        ]


def _rounded(value: float) -> float:
    return round(float(value), 4)


def smaller(images: Tensor, side: int) -> Tensor:
    """By means, and in 256 steps of light, as a picture in a file has them."""
    pixels = to_bytes(F.adaptive_avg_pool2d(images.float().clamp(-1, 1), side))
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


class Unedited:
    """The images of seeds as they are: w, their pictures, kept in the folder, and what was read of
    them and of their mirror images."""

    def __init__(self, folder: Path, models: Models, eyes: Eyes, seeds: Sequence[int]) -> None:
        self.seeds, self._models, self._eyes = tuple(seeds), models, eyes
        self._path = folder / "unedited.npz"
        self.pictures = self._kept()

    def parts(self, first: int) -> Iterator[tuple[slice, Subject, Look]]:
        """Of the first seeds, those that are edited together."""
        end = min(first, len(self.seeds))
        for start in range(0, end, CHUNK):
            rows = slice(start, min(start + CHUNK, end))
            yield rows, self._subject(self.seeds[rows]), self._eyes.look(self.images(rows))

    def images(self, rows: slice) -> Tensor:
        return torch.from_numpy(self.pictures[rows]).float() / 127.5 - 1

    def read(self) -> list[Line]:
        """A line a seed, with what is read of the mirror image under `mirrored`."""
        found = []
        for start in range(0, len(self.seeds), CHUNK):
            rows = slice(start, start + CHUNK)
            images, seeds = self.images(rows), self.seeds[rows]
            looks = [self._eyes.look(images), self._eyes.look(images.flip(-1))]
            plain, mirrored = (self._eyes.lines(seeds, look) for look in looks)
            for line, other, apart in zip(
                plain, mirrored, self._eyes.compared(*looks), strict=True
            ):
                found.append(line | {"mirrored": other, "identity": apart["identity"]})
        return found

    def _subject(self, seeds: Sequence[int]) -> Subject:
        generator = self._models.generator
        w = w_from_seeds(generator, seeds, PSI)
        return Subject(generator, generator.styles(w), w, PSI)

    def _kept(self) -> NDArray[np.uint8]:
        if self._path.is_file():
            with np.load(self._path, allow_pickle=False) as file:
                if tuple(file["seeds"].tolist()) == self.seeds:
                    return np.array(file["pictures"])
            raise OptionError(f"{self._path}: is of other seeds; choose another folder")
        parts = []
        with torch.inference_mode():
            for seed in self.seeds:
                (image,) = self._subject([seed]).images
                edit_pictures.keep(self._path.parent, "unedited", [seed], image[None])
                parts.append(smaller(image[None], SIDE))
        pictures = ((torch.cat(parts) + 1) * 127.5).round().byte().numpy()
        with replacing(self._path) as file:
            np.savez_compressed(file, pictures=pictures, seeds=np.array(self.seeds))
        return pictures


def write_lines(path: Path, lines: Sequence[Line]) -> None:
    """JSON lines, whole or not at all."""
    with replacing(path) as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines).encode())


def require_same_run(path: Path, settings: Line) -> None:
    """Writes what a folder's edits are made by, or refuses to go on with another."""
    if path.is_file():
        if json.loads(path.read_text("utf-8")) != settings:
            raise OptionError(f"{path}: was begun with other settings; choose another folder")
        return
    with replacing(path) as file:
        file.write(json.dumps(settings).encode() + b"\n")


def edited(
    way: Way, edit: Edit, unedited: Unedited, eyes: Eyes, folder: Path, name: str, first: int
) -> list[Line]:
    """What a way made of each image of the first seeds; one line with `error`
    where it finds no direction."""
    found: list[Line] = []
    for rows, subject, before in unedited.parts(first):
        seeds, start = unedited.seeds[rows], time.perf_counter()
        try:
            result = way(subject, edit.neutral, edit.target)
        except DirectionError as error:
            return [{"error": str(error)}]
        made = time.perf_counter()
        after = eyes.look(smaller(result.images, SIDE))
        apart, lines = eyes.compared(before, after), eyes.lines(seeds, after)
        judged = time.perf_counter()
        edit_pictures.keep(folder, name, seeds, result.images)
        for i, (line, figures) in enumerate(zip(lines, apart, strict=True)):
            found.append(
                line
                | figures
                | {
                    "status": result.status[i],
                    "way": result.ways[i],
                    "alpha": _rounded(result.alphas[i].sum()),
                    "seconds": _rounded((made - start) / len(seeds)),
                    "judging_seconds": _rounded((judged - made) / len(seeds)),
                }
            )
    return found


@click.group(help=__doc__)
def main() -> None:
    torch.set_num_threads(1)


@main.command(help="Make edits in several ways, and read what came of them.")
@click.option(
    "--atlas", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True
)
@click.option("--clip", default=str(ENCODER), help="That drew the atlas; the one beside this file.")
@folder_option
@seeds_option("1-100")
@click.option("--way", "ways", multiple=True, type=click.Choice(list(WAYS)), default=("default",))
@click.option("--edit", "names", multiple=True, help="Some of the file's edits by name.")
@click.option("--first", type=click.IntRange(1), help="Only so many of the seeds, for slow ways.")
@click.option("--mappers", type=click.Path(file_okay=False, path_type=Path))
@click.option("--alpha", default=4.0, show_default=True, help="Of styleclip.")
@click.option("--beta", default=0.1, show_default=True, help="Of styleclip.")
def measure(
    atlas: Path,
    clip: str,
    folder: Path,
    seeds: tuple[int, ...],
    ways: tuple[str, ...],
    names: tuple[str, ...],
    first: int | None,
    mappers: Path | None,
    alpha: float,
    beta: float,
) -> None:
    edits = [edit for edit in read_edits() if not names or edit.name in names]
    if unknown := set(names) - {edit.name for edit in edits}:
        raise click.BadParameter(f"there is no edit {', '.join(sorted(unknown))}")
    folder.mkdir(parents=True, exist_ok=True)
    models = Models(atlas, clip, mappers or folder / "mappers", alpha, beta)
    made = {way: WAYS[way](models) for way in ways}
    eyes = Eyes()
    require_same_run(
        folder / "run.json",
        {
            "atlas": sha256(atlas.read_bytes()).hexdigest(),
            "clip": models.atlas.fingerprint.clip.name,
            "psi": PSI,
            "alpha": alpha,
            "beta": beta,
            "damage_limit": _rounded(eyes.judges.limit),
        },
    )
    unedited = Unedited(folder, models, eyes, seeds)
    if not (folder / "unedited.jsonl").is_file():
        write_lines(folder / "unedited.jsonl", unedited.read())
    for name, way in made.items():
        for edit in edits:
            path = folder / f"{name}--{edit.name}.jsonl"
            if path.is_file():
                continue
            start = time.monotonic()
            try:
                lines = edited(way, edit, unedited, eyes, folder, path.stem, first or len(seeds))
            except OptionError as error:  # as of a mapper that was not trained yet
                click.echo(f"{path.stem}: left out ({error})", err=True)
                continue
            write_lines(path, lines)
            click.echo(f"{path.stem}: {time.monotonic() - start:.0f} s", err=True)


@main.command(help="What was read: an edit a line, then the attributes that changed.")
@folder_option
@click.option("--way", "ways", multiple=True, type=click.Choice(list(WAYS)))
@click.option("--json", "as_json", is_flag=True)
def table(folder: Path, ways: tuple[str, ...], as_json: bool) -> None:
    found = told(folder, ways or tuple(WAYS), read_edits())
    if as_json:
        for record in found:
            click.echo(json.dumps(record))
        return
    for way in dict.fromkeys(record["way"] for record in found):
        of_way = [record for record in found if record["way"] == way]
        shown = [{k: v for k, v in r.items() if k not in ("way", "flips")} for r in of_way]
        click.echo(f"{way}\n{text_table(shown)}\n")
        click.echo(f"changed beside it, %, as against mirror images\n{text_table(flips(of_way))}\n")
    click.echo(text_table(summary(found)))


@main.command(help="Pairs for an eye that does not know which picture is the edited one.")
@folder_option
@way_option
@click.option("--edit", "name", required=True)
@click.option("--count", default=30, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the order.")
def pairs(folder: Path, way: str, name: str, count: int, seed: int) -> None:
    click.echo(edit_pictures.write_pairs(folder, f"{way}--{name}", count, seed))


@main.command(help="How often the eye named the edited picture: ANSWERS has columns pair, answer.")
@click.argument("answers", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("key", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def count(answers: Path, key: Path) -> None:
    click.echo(text_table([edit_pictures.counted(answers, key)]))


@main.command(help="A sheet of each edit: before above, after below.")
@folder_option
@way_option
@click.option("--to", "target", type=click.Path(file_okay=False, path_type=Path), required=True)
@seeds_option("1-8")
@click.option("--side", default=256, show_default=True, help="Of a picture, in pixels.")
def sheets(folder: Path, way: str, target: Path, seeds: tuple[int, ...], side: int) -> None:
    sizes = edit_pictures.write_sheets(folder, way, target, seeds, side)
    click.echo(text_table([{"sheet": name, "kB": size // 1000} for name, size in sizes.items()]))
    click.echo(f"{sum(sizes.values()) / 1e6:.2f} MB in all")


if __name__ == "__main__":
    try:
        main()
    except StyleAtlasError as error:
        raise SystemExit(f"error: {error}") from error
