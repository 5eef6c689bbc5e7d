"""Who foretells better what an edit by samples does to CLIP's embedding: `python
benchmarks/foretold.py`.

The step of each edit of `benchmarks/edits.py`, at alpha 1, of unedited images of the embedded pair.
Where their embeddings went on average is compared with what the table adds up of its channels and
with what the samples' regression of embeddings on w foretells; so are the 20 phrases that either
names as moving most beside the edit.
"""

from __future__ import annotations

import json
from typing import Any

import click
import numpy as np
import torch
from edits import EDITS, NEUTRAL
from numpy.typing import NDArray

import styleatlas
from styleatlas.engine.models.sampling import render_batches, styles_from_seeds
from styleatlas.engine.steering.sampled import foretold_shift
from styleatlas.store.queries import NEAR, expected_shift
from styleatlas.store.records import text_table

TOP = 20


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@click.command()
@click.option("--seeds", default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(seeds: int, as_json: bool) -> None:
    editor = styleatlas.load("avatars")
    atlas, generator, encoder = editor.atlas, editor.generator, editor.texts.encoder
    phrases = atlas.phrases.embeddings

    def seen(styles: torch.Tensor) -> NDArray[np.float32]:
        images = render_batches(generator, styles)
        return torch.cat([encoder.images(part) for part in images]).mean(0).numpy()

    records = []
    for psi in (0.7, 1.0):
        styles = styles_from_seeds(generator, range(1, seeds + 1), psi)
        found: dict[str, list[tuple[float, float, int]]] = {"table": [], "samples": []}
        for target in EDITS:
            direction = editor.direction(NEUTRAL, target)
            foretold = None
            if direction.source == "samples" and editor.samples is not None:
                foretold = foretold_shift(editor.samples, direction.delta(1.0))
            if foretold is None:
                continue
            with torch.inference_mode():
                step = torch.from_numpy(direction.delta(1.0))
                moved = seen(styles + step) - seen(styles)
            other = np.abs(phrases @ direction.text) <= NEAR

            def most(
                shift: NDArray[Any],
                text: NDArray[Any] = direction.text,
                other: NDArray[Any] = other,
            ) -> set[int]:
                unit = shift / np.linalg.norm(shift)
                beyond = np.abs(phrases @ unit - phrases @ text * float(unit @ text))
                return set(np.argsort(-np.where(other, beyond, -1))[:TOP].tolist())

            told = {"table": expected_shift(atlas, direction.delta(1.0)), "samples": foretold}
            for name, shift in told.items():
                length = float(np.linalg.norm(shift) / np.linalg.norm(moved))
                common = len(most(shift) & most(moved))
                found[name].append((cosine(shift, moved), length, common))
        for name, values in found.items():
            cosines, lengths, common = np.array(values).T
            records.append(
                {
                    "psi": psi,
                    "foretold_by": name,
                    "edits": len(values),
                    "mean_cosine": round(float(cosines.mean()), 3),
                    "lowest": round(float(cosines.min()), 3),
                    "mean_length": round(float(lengths.mean()), 3),
                    f"of_{TOP}_phrases": round(float(common.mean()), 1),
                }
            )
    click.echo(json.dumps(records, indent=2) if as_json else text_table(records))


if __name__ == "__main__":
    main()
