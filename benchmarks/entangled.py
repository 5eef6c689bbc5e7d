"""Whether `query entangled` tells the truth: `python benchmarks/entangled.py`.

Edits of the embedded pair as in `benchmarks/edits.py`. For every value of every attribute but the
one edited, the judge tells by how much its share among the avatars rose or fell, of those that show
the attribute before and after; the atlas told beforehand, by whichever of its halves the query
asks, how far the edit moves images towards the phrase of that value. Three readings of that are
compared with what the judge saw, and so is the movement that CLIP saw itself, which no prediction
from its space is likely to pass.
"""

from __future__ import annotations

import json
from typing import Any

import click
import numpy as np
import torch
from edits import EDITS, NEUTRAL
from numpy.typing import NDArray
from scipy.stats import spearmanr

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.evaluation.scores import Predictions
from styleatlas.engine.evaluation.suite import read_suite
from styleatlas.engine.models.sampling import render_batches, styles_from_seeds
from styleatlas.engine.steering.sampled import foretold_shift
from styleatlas.store.queries import expected_shift
from styleatlas.store.records import text_table
from styleatlas.store.registry import EMBEDDED

# Attribute -> value -> its phrase.
PHRASES = {
    attribute: {value: phrases[0] for value, phrases in values.items()}
    for attribute, values in read_suite(EMBEDDED.suite).phrases.items()
}
FEWEST = 20  # avatars that show an attribute before and after
CHANGED = 0.05  # of the avatars


def rises(before: Predictions, after: Predictions, attribute: str) -> dict[str, float]:
    """How much the share of each value of an attribute rose; none if too few show it."""
    at = list(PHRASES).index(attribute)
    seen = before.seen[:, at] & after.seen[:, at]
    if seen.sum() < FEWEST:
        return {}
    was, now = before.values[seen, at], after.values[seen, at]
    return {
        value: float(((now == number).astype(int) - (was == number)).mean())
        for number, value in enumerate(PHRASES[attribute])
    }


def readings(atlas: Atlas, shift: NDArray[Any], text: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """How far a shift (D,) moves images towards each phrase, as three formulas have it."""
    phrases, along = atlas.phrases.embeddings, shift / np.linalg.norm(shift)
    moves, explained = phrases @ along, (phrases @ text) * (along @ text)
    natural = atlas.responses.T @ atlas.responses  # (D, D)
    spread = np.sqrt(np.einsum("nd,nd->n", phrases @ natural, phrases))
    return {
        "cosine": moves,
        "cosine less explained": moves - explained,
        "in natural deviations": phrases @ shift / spread,
    }


@click.command()
@click.option("--seeds", default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(seeds: int, as_json: bool) -> None:
    atlas, generator, encoder = (
        Atlas.open(EMBEDDED.atlas),
        load_generator("avatars"),
        load_encoder("avatars"),
    )
    editor, judge = Editor(atlas, generator, encoder), AttributeJudge(EMBEDDED)
    styles = styles_from_seeds(generator, range(1, seeds + 1), 0.7)
    with torch.inference_mode():
        images = torch.cat(list(render_batches(generator, styles)))
        start = encoder.images(images)
    before = judge.look(images).predictions
    told: dict[str, list[float]] = {}
    seen: list[float] = []
    for target, (edited, _) in EDITS.items():
        direction = editor.direction(NEUTRAL, target)
        images = editor.apply(styles, direction).images
        with torch.inference_mode():
            moved = (encoder.images(images) - start).mean(0).numpy()
        shift = None
        if direction.source == "samples" and editor.samples is not None:
            shift = foretold_shift(editor.samples, direction.delta(1.0))
        if shift is None:
            shift = expected_shift(atlas, direction.delta(1.0))
        answers = readings(atlas, shift, direction.text)
        answers["cosine of what CLIP saw"] = readings(atlas, moved, direction.text)["cosine"]
        after = judge.look(images).predictions
        for attribute in PHRASES.keys() - {edited}:
            for value, rise in rises(before, after, attribute).items():
                seen.append(rise)
                at = atlas.prompts.texts.index(PHRASES[attribute][value])
                for name, answer in answers.items():
                    told.setdefault(name, []).append(float(answer[at]))
    rose = np.array(seen)
    changed = np.abs(rose) > CHANGED
    records = [
        {
            "reading": name,
            "values": len(rose),
            "rank_correlation": round(float(spearmanr(values, rose)[0]), 3),
            "changed": int(changed.sum()),
            "of_changed": round(float(spearmanr(np.array(values)[changed], rose[changed])[0]), 3),
        }
        for name, values in told.items()
    ]
    click.echo(json.dumps(records, indent=2) if as_json else text_table(records))


if __name__ == "__main__":
    main()
