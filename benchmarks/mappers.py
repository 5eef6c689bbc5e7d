"""What mappers come to on the embedded pair: `python benchmarks/mappers.py`.

Trains one for every prompt and lets the judge, which had no part in it, read images of seeds that
played no part either. Success: of the avatars that lacked what the prompt asks for, how many have
all of it; preservation: of their other attributes that can be seen before and after, how many are
read as they were; identity: the cosine of the identity network's embeddings.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from generators import machine

from styleatlas import load_encoder, load_generator
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.fallbacks.mapper import Mapper
from styleatlas.engine.jobs.mapper import applied_sheet, apply_mapper
from styleatlas.engine.models.identity import load_identity
from styleatlas.engine.models.sampling import styles_from_seeds, w_from_seeds
from styleatlas.engine.pictures.sheet import save_png
from styleatlas.precompute.mapper_settings import TrainSettings
from styleatlas.precompute.mapper_state import TrainingFile
from styleatlas.precompute.mappers import Trainer
from styleatlas.precompute.training import train
from styleatlas.store.records import text_table
from styleatlas.store.registry import EMBEDDED

NEUTRAL = "a face"
WANTED = {
    "a smiling face": {"mouth": ["smiling"]},
    "a face with a moustache": {"facial hair": ["moustache"]},
    "a winking face": {"eyes": ["wink"]},
    "a pale face with purple hair": {"skin": ["light"], "hair colour": ["purple"]},
    "a surprised face with a hat": {"eyes": ["surprised"], "hair": ["hat"]},
    "a screaming face in a turban on a yellow background": {
        "mouth": ["open"],
        "hair": ["turban"],
        "background": ["yellow"],
    },
}


def scored(judge: AttributeJudge, before: torch.Tensor, after: torch.Tensor, prompt: str) -> dict:
    """What the judge sees of images (n, 3, 64, 64)."""
    names = list(judge.attributes)
    one, other = judge.look(before).predictions, judge.look(after).predictions
    columns = [names.index(name) for name in WANTED[prompt]]
    values = [
        [judge.attributes[name].index(value) for value in wanted]
        for name, wanted in WANTED[prompt].items()
    ]

    def has(predictions: Any) -> np.ndarray:
        pairs = zip(columns, values, strict=True)
        return np.all(
            [np.isin(predictions.values[:, c], v) & predictions.seen[:, c] for c, v in pairs], 0
        )

    lacks = one.seen[:, columns].all(1) & ~has(one)
    others = [i for i in range(len(names)) if i not in columns]
    both = (one.seen & other.seen)[:, others][lacks]
    kept = (one.values == other.values)[:, others][lacks] & both
    return {
        "lacked": int(lacks.sum()),
        "success": round(100 * float(has(other)[lacks].mean()), 1),
        "preservation": round(100 * float(kept.sum() / both.sum()), 1),
    }


def trained(
    generator: Any, encoder: Any, prompt: str, settings: TrainSettings, identity: Any
) -> Mapper:
    trainer = Trainer(generator, encoder, NEUTRAL, prompt, settings, identity)
    with (
        tempfile.TemporaryDirectory() as folder,
        TrainingFile(Path(folder) / "m.safetensors") as place,
    ):
        return train(trainer, place)


@click.command()
@click.option("--seeds", default=100, show_default=True, help="Images the judge looks at.")
@click.option("--steps", default=TrainSettings.steps, show_default=True)
@click.option("--l2", default=TrainSettings.l2, show_default=True)
@click.option("--learning-rate", default=TrainSettings.learning_rate, show_default=True)
@click.option("--directional", default=TrainSettings.directional, show_default=True)
@click.option("--identity", default="off", show_default=True, help="off, clip or avatars.")
@click.option("--seed", default=0, show_default=True, help="Of the trainings.")
@click.option("--strength", "strengths", multiple=True, type=float, default=(1.0,))
@click.option("--sheets", type=click.Path(path_type=Path), help="A folder for a PNG a prompt.")
@click.option("--json", "as_json", is_flag=True)
def main(
    seeds: int,
    identity: str,
    strengths: tuple[float, ...],
    sheets: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a mapper for each of six prompts and judge it."""
    generator, encoder = load_generator(EMBEDDED.name, "cpu"), load_encoder(EMBEDDED.name, "cpu")
    judge, people = (
        AttributeJudge(EMBEDDED),
        load_identity(EMBEDDED.name, encoder, generator.device),
    )
    settings = replace(TrainSettings(), **options)
    numbers = range(1, seeds + 1)
    w, styles = (f(generator, numbers, 0.7) for f in (w_from_seeds, styles_from_seeds))
    before = generator.render(styles)
    records = []
    for prompt in WANTED:
        start = time.perf_counter()
        kept = load_identity(identity, encoder, generator.device)
        mapper = trained(generator, encoder, prompt, settings, kept)
        seconds = time.perf_counter() - start
        for strength in strengths:
            made = apply_mapper(mapper, generator, styles, w, strength)
            with torch.inference_mode():
                same = (people.embed(before) * people.embed(made.images)).sum(1).mean()
            records.append(
                {
                    "prompt": prompt,
                    "strength": strength,
                    **scored(judge, before, made.images, prompt),
                    "identity": round(float(same), 3),
                    "seconds": round(seconds),
                }
            )
            click.echo(json.dumps(records[-1]), err=True)
        if sheets:
            sheets.mkdir(exist_ok=True)
            names = [f"seed {seed}" for seed in numbers[:8]]
            few = [apply_mapper(mapper, generator, styles[:8], w[:8], s) for s in strengths]
            picture = applied_sheet(generator, styles[:8], names, few, before=True)
            save_png(picture, sheets / f"{prompt.replace(' ', '-')}.png")
    for strength in strengths:
        those = [record for record in records if record["strength"] == strength]
        figures = ("success", "preservation", "identity", "seconds")
        means = {name: round(float(np.mean([r[name] for r in those])), 3) for name in figures}
        lacked = sum(record["lacked"] for record in those)
        records.append({"prompt": "mean", "strength": strength, "lacked": lacked, **means})
    if as_json:
        click.echo(json.dumps({"machine": machine("cpu"), "settings": options, "prompts": records}))
    else:
        click.echo(f"{machine('cpu')}\n{options}, identity {identity}\n\n{text_table(records)}")


if __name__ == "__main__":
    main()
