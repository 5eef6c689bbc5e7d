"""How well edits of the embedded pair work, by the judge: `python benchmarks/edits.py`.

For each prompt and 200 seeds at one alpha and one beta: success is the share of the avatars
without the attribute that have it after the edit; preservation is the mean share of the other
attributes that stay as they were, over all of them and over those the edit succeeded on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from styleatlas import Atlas, Editor, load_encoder, load_generator, zoo
from styleatlas.engine.direction import KINDS
from styleatlas.engine.editor import DEFAULT_ALPHA, DEFAULT_BETA
from styleatlas.engine.pictures import save_png, sheet
from styleatlas.engine.protocols import Generator
from styleatlas.engine.reports import table
from styleatlas.engine.sampling import render_batches, styles_from_seeds
from styleatlas.zoo.judge import Judge, Reading, shown

NEUTRAL = "a face"
# Prompt -> the attribute it sets and the values that count as success.
EDITS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a face with glasses": ("glasses", ("round", "square")),
    "a face with sunglasses": ("glasses", ("sunglasses",)),
    "a face with a beard": ("facial hair", ("beard",)),
    "a smiling face": ("mouth", ("smiling",)),
    "a face with purple hair": ("hair colour", ("purple",)),
    "a face with blonde hair": ("hair colour", ("blonde",)),
    "a bald face": ("hair", ("bald",)),
    "a face with a hat": ("hair", ("hat",)),
    "a face with dark skin": ("skin", ("dark",)),
    "a face with a blue background": ("background", ("blue",)),
}


def score(
    before: Reading, after: Reading, attribute: str, values: tuple[str, ...]
) -> dict[str, float]:
    """Success and preservation in percent; attributes hidden before or after do not count."""
    count = len(after[attribute])
    absent = [
        i
        for i in range(count)
        if before[attribute][i] not in values and attribute in shown(before, i)
    ]
    won = [i for i in absent if after[attribute][i] in values]

    def kept(chosen: list[int]) -> float:
        same = [
            before[name][i] == after[name][i]
            for i in chosen
            for name in (shown(before, i) & shown(after, i)) - {attribute}
        ]
        return 100 * sum(same) / max(1, len(same))

    return {
        "absent": len(absent),
        "success": round(100 * len(won) / max(1, len(absent)), 1),
        "preservation": round(kept(absent), 1),
        "where_won": round(kept(won), 1),
    }


class Avatars:
    """Avatars of seeds 1 to n, and what the judge reads of them before and after edits."""

    def __init__(self, generator: Generator, seeds: int) -> None:
        self._judge = Judge()
        self._styles = styles_from_seeds(generator, range(1, seeds + 1), 0.7)
        with torch.inference_mode():
            self.images = torch.cat(list(render_batches(generator, self._styles)))
        self._before = self._judge.read(self.images)

    def edited(
        self, editor: Editor, alpha: float, **choice: Any
    ) -> Iterator[tuple[dict[str, Any], Tensor]]:
        """Figures and images of every edit; `choice` is what `Editor.direction` takes."""
        for target, (attribute, values) in EDITS.items():
            direction = editor.direction(NEUTRAL, target, **choice)
            images = editor.apply(self._styles, direction, alpha).images
            figures = score(self._before, self._judge.read(images), attribute, values)
            yield {"target": target, "channels": len(direction.channels), **figures}, images


def mean(records: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, float]:
    """Of some of the figures."""
    return {key: round(sum(r[key] for r in records) / len(records), 1) for key in keys}


@click.command()
@click.option("--atlas", default=str(zoo.ATLAS), help="An atlas of the embedded pair.")
@click.option("--seeds", default=200, show_default=True)
@click.option("--alpha", default=DEFAULT_ALPHA, show_default=True)
@click.option("--beta", default=DEFAULT_BETA, show_default=True)
@click.option("--kinds", type=click.Choice(list(KINDS)), default="all", show_default=True)
@click.option("--sheets", type=click.Path(path_type=Path), help="Folder for before/after sheets.")
@click.option("--json", "as_json", is_flag=True)
def main(
    atlas: str,
    seeds: int,
    alpha: float,
    beta: float,
    kinds: str,
    sheets: Path | None,
    as_json: bool,
) -> None:
    generator = load_generator(zoo.NAME)
    editor = Editor(Atlas.open(atlas), generator, lambda: load_encoder(zoo.NAME))
    avatars = Avatars(generator, seeds)
    records = []
    for record, images in avatars.edited(editor, alpha, beta=beta, kinds=KINDS[kinds]):
        records.append(record)
        if sheets is not None:
            sheets.mkdir(parents=True, exist_ok=True)
            name = record["target"].replace(" ", "-") + ".png"
            save_png(sheet([avatars.images[:12], images[:12]], scale=2), sheets / name)
    means = mean(records, ("success", "preservation", "where_won"))
    records.append({"target": "mean", "channels": "", "absent": "", **means})
    click.echo(json.dumps(records, indent=2) if as_json else table(records))


if __name__ == "__main__":
    main()
