"""The ways of editing beside each other: `python benchmarks/methods.py`.

The embedded pair, ten prompts, seeds 1 to n at psi 0.7: five prompts that the table answers well,
and five of many parts or unusual words. Each is edited by direction, mapper, optimisation and auto,
prompt by prompt, so that times are of the same minutes. The judge reads every avatar before and
after; no way of editing knows it. The embedded identity network, which an optimisation has among
its losses, tells how much it is the same person still. Mappers are trained first, as `mapper train`
does by default, and found again by a further run. A last table tells what optimisation gains by
starting at the direction's result.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from generators import machine
from numpy.typing import NDArray
from torch import Tensor

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.commands.progress import progress_shown
from styleatlas.engine.editor import EditResult
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.evaluation.scores import EditCounts, Predictions, rounded, share
from styleatlas.engine.evaluation.summary import plain
from styleatlas.engine.fallbacks.mapper import summarise_mapper, write_mapper
from styleatlas.engine.fallbacks.moves import Start
from styleatlas.engine.fallbacks.optimise import LOSSES, Optimisation
from styleatlas.engine.fallbacks.optimise_settings import OptimiseSettings
from styleatlas.engine.fallbacks.ways import Fallbacks
from styleatlas.engine.models.identity import Identity, load_identity, usual_identity
from styleatlas.engine.models.sampling import render_batches, w_from_seeds
from styleatlas.engine.models.subject import Subject
from styleatlas.engine.pictures.sheet import save_png, sheet
from styleatlas.engine.steering.edits import Edit
from styleatlas.engine.steering.request import EditMethod
from styleatlas.precompute.mapper_reports import training_progress
from styleatlas.precompute.mapper_settings import TrainSettings
from styleatlas.precompute.mapper_state import TrainingFile
from styleatlas.precompute.mappers import Trainer
from styleatlas.precompute.training import train
from styleatlas.store.records import text_table
from styleatlas.store.registry import EMBEDDED

Record = dict[str, Any]
Wanted = Mapping[str, tuple[str, ...]]
"""Attribute -> the values that count as success."""

NEUTRAL = "a face"
TRUNCATION = 0.7
KNOWN: dict[str, Wanted] = {
    "a face with glasses": {"glasses": ("round", "square")},
    "a smiling face": {"mouth": ("smiling",)},
    "a bald face": {"hair": ("bald",)},
    "a face with a hat": {"hair": ("hat",)},
    "a face with red hair": {"hair colour": ("red",)},
}
HARD: dict[str, Wanted] = {
    "a face with a moustache": {"facial hair": ("moustache",)},
    "a winking face with grey hair": {"eyes": ("wink",), "hair colour": ("grey",)},
    "a pale face with purple hair": {"skin": ("light",), "hair colour": ("purple",)},
    "a screaming face in a turban on a yellow background": {
        "mouth": ("open",),
        "hair": ("turban",),
        "background": ("yellow",),
    },
    "a gloomy man with a top knot and whiskers": {
        "mouth": ("sad",),
        "hair": ("bun",),
        "facial hair": ("moustache", "beard"),
    },
}
PROMPTS = {**KNOWN, **HARD}
GROUPS = {"all": PROMPTS, "known": KNOWN, "hard": HARD}
WAYS: tuple[EditMethod, ...] = ("direction", "mapper", "optimize", "auto")
FIGURES = ("success", "preservation", "fully_right", "identity", "seconds_per_image")
SHOWN = 8  # seeds of a sheet
STARTS = ("image", "direction")  # of an optimisation
CLIMBED, REACHED = 16, 0.99  # seeds, and CLIP's probability, of the measure of the warm start


class Avatars:
    """Avatars of seeds 1 to n, and what is seen of them before and after edits."""

    def __init__(self, editor: Editor, identity: Identity, seeds: int) -> None:
        self._judge, self._identity = AttributeJudge(EMBEDDED), identity
        self.w = w_from_seeds(editor.generator, range(1, seeds + 1), TRUNCATION)
        with torch.inference_mode():
            self.styles = editor.generator.styles(self.w)
            self.images = torch.cat(list(render_batches(editor.generator, self.styles)))
            self._people = identity.embed(self.images)  # (n, D)
        self._before = self._judge.look(self.images).predictions

    @property
    def likeness(self) -> float:
        """The mean identity similarity of two of them: what an edit into anybody would have."""
        cosines = self._people @ self._people.t()
        return float(cosines[~torch.eye(len(cosines), dtype=torch.bool)].mean())

    def seen(self, images: Tensor, wanted: Wanted) -> Record:
        """Success, preservation, the share that is fully right and identity similarity after an
        edit, all of them of the images that lacked what it is to bring."""
        attributes = self._judge.attributes
        numbers = {
            list(attributes).index(name): [attributes[name].index(value) for value in values]
            for name, values in wanted.items()
        }
        counts = counted(self._before, self._judge.look(images).predictions, numbers)
        once = np.ones((1, len(images)))
        with torch.inference_mode():
            cosines = (self._identity.embed(images) * self._people).sum(1).numpy()
        lacking = cosines[counts.absent]
        return {
            "lacking": len(lacking),
            "success": rounded(share(once, counts.won[None], counts.absent[None])[0, 0]),
            "preservation": rounded(share(once, counts.same[None], counts.shown[None])[0, 0]),
            "fully_right": rounded(share(once, counts.right[None], counts.absent[None])[0, 0]),
            "identity": rounded(lacking.mean(), 4) if len(lacking) else None,
        }


def counted(
    before: Predictions, after: Predictions, wanted: Mapping[int, Sequence[int]]
) -> EditCounts:
    """Counts an edit that is to bring one of the wanted values of every attribute, as `count_edit`
    does for one. Lacking are images that show all of these attributes, and have not all as wanted;
    won are those of them that show and have all afterwards."""
    asked = list(wanted)

    def has(predictions: Predictions) -> NDArray[np.bool_]:
        reads = [np.isin(predictions.values[:, i], values) for i, values in wanted.items()]
        return np.all(reads, 0) & predictions.seen[:, asked].all(1)

    lacking = before.seen[:, asked].all(1) & ~has(before)
    others = ~np.isin(np.arange(before.values.shape[1]), asked)
    both = before.seen & after.seen & others & lacking[:, None]
    same = both & (before.values == after.values)
    return EditCounts(lacking, lacking & has(after), same.sum(1), both.sum(1))


def trained(editor: Editor, target: str, settings: TrainSettings, folder: Path) -> float:
    """Sees to it that a mapper of these settings lies in a folder: the seconds of its training."""
    path = folder / f"{slug(target)}.safetensors"
    encoder = editor.texts.encoder
    trainer = Trainer(editor.generator, encoder, NEUTRAL, target, settings)
    if path.exists():
        record = summarise_mapper(path).record
        if replace(record, measured={}, created="") == trainer.record:
            return float(record.measured["seconds"])
    click.echo(f'training a mapper for "{target}"', err=True)
    with TrainingFile(path) as place, progress_shown() as shown:
        mapper = train(trainer, place, lambda trainer: shown(training_progress(trainer)))
        write_mapper(path, mapper)
        place.remove()
    return float(mapper.about.measured["seconds"])


def compared(
    editor: Editor, avatars: Avatars, target: str, training: float
) -> tuple[list[Record], list[EditResult]]:
    """A prompt by every way: its figures and what it made."""
    records, results = [], []
    for way in WAYS:
        start = time.perf_counter()
        edit = Edit(NEUTRAL, target)
        subject = Subject(editor.generator, avatars.styles, avatars.w)
        result = editor.edit(subject, edits=[edit], method=way)
        seconds = time.perf_counter() - start
        records.append(
            {
                "prompt": target,
                "way": way,
                **avatars.seen(result.images, PROMPTS[target]),
                "seconds_per_image": rounded(seconds / len(result.images), 4),
                "training_seconds": training if way == "mapper" else None,
                "taken": by_way(Counter(result.ways)),
            }
        )
        results.append(result)
        click.echo(f'{way} of "{target}": {seconds:.1f} s', err=True)
    return records, results


def means(records: Sequence[Record]) -> list[Record]:
    """Of every way, over the prompts of each group that have a figure; images are added up."""
    found = []
    for group, prompts in GROUPS.items():
        for way in WAYS:
            rows = [r for r in records if r["way"] == way and r["prompt"] in prompts]
            taken: Counter[str] = sum((Counter(row["taken"]) for row in rows), Counter())
            averages = {key: mean([row[key] for row in rows]) for key in FIGURES}
            training = mean([row["training_seconds"] for row in rows])
            lacking = sum(row["lacking"] for row in rows)
            head = {"prompts": group, "way": way, "lacking": lacking}
            found.append({**head, **averages, "training_seconds": training, "taken": by_way(taken)})
    return found


def by_way(taken: Counter[str]) -> dict[str, int]:
    """How many images took which way, in the order of the ways."""
    return {way: taken[way] for way in WAYS if taken[way]}


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that are known, if any."""
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def compared_sheet(avatars: Avatars, results: Sequence[EditResult], path: Path) -> None:
    """A row a seed, a column before and by each way; which one auto took stands to the left."""
    columns = [avatars.images, *(result.images for result in results)]
    rows = [list(images) for images in zip(*(column[:SHOWN] for column in columns), strict=True)]
    auto = results[WAYS.index("auto")].ways[:SHOWN]
    names = [f"seed {seed}, auto by {way}" for seed, way in enumerate(auto, 1)]
    save_png(sheet(rows, names, ["before", *WAYS]), path)


@dataclass(frozen=True, eq=False)
class Climb:
    """An optimisation of n images from one start.

    Args:
        steps: before CLIP first saw the target in each, (n,); infinite where it never did.
        seconds: the same of one image, without what came before the optimisation.
        beforehand: seconds an image of the direction that it started from.
    """

    steps: NDArray[np.float64]
    seconds: NDArray[np.float64]
    beforehand: float


def climbs(editor: Editor, avatars: Avatars, identity: Identity, target: str) -> dict[str, Climb]:
    """Optimisations that start at the images, and at the direction's result."""
    styles, texts = avatars.styles[:CLIMBED], editor.texts
    begun = time.perf_counter()
    by_table = editor.edit(styles, neutral=NEUTRAL, target=target, method="direction").styles
    beforehand = (time.perf_counter() - begun) / len(styles)
    prompts = (torch.from_numpy(texts.embed(x)).expand(len(styles), -1) for x in (target, NEUTRAL))
    cold = Start(styles, *prompts)
    sigma, settings = torch.from_numpy(editor.atlas.style_std), OptimiseSettings()
    found = {}
    begins = ((cold, 0.0), (replace(cold, warm=by_table), beforehand))
    for name, (start, spent) in zip(STARTS, begins, strict=True):
        optimisation = Optimisation(
            editor.generator, texts.encoder, start, sigma, settings, identity
        )
        begun = time.perf_counter()
        curves = optimisation.run().curves[:, :, LOSSES.index("probability")].numpy()
        step_seconds = (time.perf_counter() - begun) / np.isfinite(curves).sum()
        there = curves >= REACHED
        steps = np.where(there.any(1), there.argmax(1), np.inf)
        found[name] = Climb(steps, steps * step_seconds, spent)
    return found


def climb_record(prompts: str, start: str, found: Sequence[Climb]) -> Record:
    """Medians over the images of some prompts that got there."""
    steps = np.concatenate([climb.steps for climb in found])
    seconds = np.concatenate([climb.seconds for climb in found])
    whole = np.concatenate([climb.seconds + climb.beforehand for climb in found])
    there = np.isfinite(steps)
    medians = {"steps": steps, "seconds": seconds, "with_direction": whole}
    return {
        "prompts": prompts,
        "start": start,
        "images": len(steps),
        "at_once": int((steps == 0).sum()),
        "never": int((~there).sum()),
        **{k: rounded(np.median(v[there]), 4) if there.any() else None for k, v in medians.items()},
    }


def starts(climbed: Mapping[str, Mapping[str, Climb]]) -> list[Record]:
    """Of every prompt and of all of them, either start."""
    return [
        climb_record(prompts, start, [climbed[target][start] for target in targets])
        for prompts, targets in (*((target, [target]) for target in climbed), ("all", climbed))
        for start in STARTS
    ]


def warm_up(editor: Editor, avatars: Avatars) -> None:
    """One image by every way, and every prompt embedded."""
    subject = Subject(editor.generator, avatars.styles[:1], avatars.w[:1])
    for target in PROMPTS:
        editor.parts(Edit(NEUTRAL, target))
    for way in WAYS:
        editor.edit(subject, neutral=NEUTRAL, target=next(iter(PROMPTS)), method=way)


def slug(target: str) -> str:
    return re.sub(r"\W+", "-", target)


def text(found: Record, out: Path) -> str:
    """All of it for people."""
    return "\n\n".join(
        [
            f"{found['machine']}; {found['seeds']} seeds",
            told(found["ways"]),
            told(found["prompts"]),
            "identity: of two different avatars it is "
            f"{plain(found['identity_of_others'], 3)}; 1 is the same",
            f"optimisation until CLIP's probability is {REACHED:g}, from either start (medians)",
            told_starts(found["starts"]),
            f"sheets and results.json: {out}",
        ]
    )


def told(records: Sequence[Record]) -> str:
    """The figures of edits as a table."""
    return text_table(
        [
            {
                **{key: row[key] for key in ("prompt", "prompts", "way") if key in row},
                "lacking": row["lacking"],
                "success %": plain(row["success"], 1),
                "preservation %": plain(row["preservation"], 1),
                "fully right %": plain(row["fully_right"], 1),
                "identity": plain(row["identity"], 3),
                "s/image": plain(row["seconds_per_image"], 3),
                "training s": plain(row["training_seconds"], 0),
                "taken": ", ".join(f"{way} {count}" for way, count in row["taken"].items()),
            }
            for row in records
        ]
    )


def told_starts(records: Sequence[Record]) -> str:
    """The figures of starts as a table."""
    heads = {"steps": ("steps", 1), "seconds": ("s", 2), "with_direction": ("s with direction", 2)}
    keys = ("prompts", "start", "images", "at_once", "never")
    return text_table(
        [
            {key: row[key] for key in keys}
            | {head: plain(row[key], digits) for key, (head, digits) in heads.items()}
            for row in records
        ]
    )


@click.command(help=__doc__)
@click.option("--seeds", type=click.IntRange(1), default=100, show_default=True)
@click.option("--train-steps", type=int, help="Of each mapper; the default of training if not set.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("build/methods"), show_default=True
)
@click.option("--json", "as_json", is_flag=True)
def main(seeds: int, train_steps: int | None, out: Path, as_json: bool) -> None:
    encoder = load_encoder(EMBEDDED.name)
    mappers = out / "mappers"
    generator = load_generator(EMBEDDED.name)
    identity = load_identity(usual_identity(generator), encoder, generator.device)
    fallbacks = Fallbacks(mappers, lambda: identity)
    editor = Editor(Atlas.open(EMBEDDED.atlas), generator, encoder, fallbacks=fallbacks)
    mappers.mkdir(parents=True, exist_ok=True)
    settings = TrainSettings()
    if train_steps is not None:
        settings = replace(settings, steps=train_steps)
    training = {target: trained(editor, target, settings, mappers) for target in PROMPTS}
    avatars = Avatars(editor, identity, seeds)
    warm_up(editor, avatars)
    records: list[Record] = []
    climbed: dict[str, dict[str, Climb]] = {}
    for target in PROMPTS:
        figures, results = compared(editor, avatars, target, training[target])
        records += figures
        compared_sheet(avatars, results, out / f"{slug(target)}.png")
    for target in HARD:
        climbed[target] = climbs(editor, avatars, identity, target)
        click.echo(f'starts of "{target}" compared', err=True)
    found = {
        "machine": machine("cpu"),
        "seeds": seeds,
        "identity_of_others": rounded(avatars.likeness, 4),
        "ways": means(records),
        "prompts": records,
        "starts": starts(climbed),
    }
    (out / "results.json").write_text(json.dumps(found, indent=2) + "\n")
    click.echo(json.dumps(found, indent=2) if as_json else text(found, out))


if __name__ == "__main__":
    main()
