"""What toRGB is worth, and what is left without it: `python benchmarks/layers.py`.

StyleCLIP's builders sweep convolutions alone; an atlas has toRGB's channels, too. So the same
edits of the embedded pair at psi 0.7 are made with all channels, with convolutions alone and with
toRGB alone: by samples and by the table, alphas found, and by the table with StyleCLIP's rule, beta
0.1 and alpha 5.5. `--reference`, once or more, puts other tables of the pair beside them, as

\b
    styleatlas precompute avatars --clip avatars --reference-compat torch --seed 5 \\
        --statistics 100000 --samples 0 -o torch.h5

draws them. Success, preservation and fully right are those of `styleatlas evaluate`, with intervals
that hold 95 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.commands.options import seeds_option
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.evaluation.scores import (
    EditCounts,
    count_edit,
    interval,
    over_edits,
    resampled,
    share,
)
from styleatlas.engine.evaluation.suite import Suite, Trial, read_suite
from styleatlas.engine.evaluation.summary import spread
from styleatlas.engine.evaluation.variants import PAPER_BETA
from styleatlas.engine.models.sampling import render_batches, styles_from_seeds
from styleatlas.engine.steering.direction import Choice
from styleatlas.store.errors import DirectionError
from styleatlas.store.records import Record, text_table
from styleatlas.store.registry import EMBEDDED

PROMPTS = Path(__file__).parent / "prompts"
LISTS = sorted(path.stem for path in PROMPTS.glob("*.json"))
LAYERS = {"all": (), "conv": ("conv",), "rgb": ("rgb",)}
PSI, PAPER_ALPHA = 0.7, 5.5


@dataclass(frozen=True, eq=False)
class Way:
    """An editor, how it chooses channels, and alpha; None to find one for every image."""

    name: str
    editor: Editor
    choice: Choice
    alpha: float | None = None


def ways(editor: Editor, references: dict[str, Atlas]) -> Iterator[Way]:
    for name, layers in LAYERS.items():
        yield Way(f"samples, {name}", editor, Choice(layers=layers))
        yield Way(f"table, {name}", editor, Choice(source="table", layers=layers))
    for name in ("all", "conv"):
        paper = Choice(rule="paper", beta=PAPER_BETA, layers=LAYERS[name])
        yield Way(f"StyleCLIP's rule, {name}", editor, paper, PAPER_ALPHA)
    for table, atlas in references.items():
        other = Editor(atlas, editor.generator, editor.texts.encoder)
        has_rgb = np.isin(atlas.layout.indices("rgb"), atlas.channels).any()
        for name in ("conv", "all") if has_rgb else ("conv",):
            paper = Choice(rule="paper", beta=PAPER_BETA, layers=LAYERS[name])
            found = Choice(source="table", layers=LAYERS[name])
            yield Way(f"{table}, {name}", other, found)
            yield Way(f"StyleCLIP's rule, {table}, {name}", other, paper, PAPER_ALPHA)


class Judged:
    """The images of some seeds, and what the judge reads of them before and after edits."""

    def __init__(self, editor: Editor, suite: Suite, seeds: tuple[int, ...]) -> None:
        self.suite, self.judge = suite, AttributeJudge(EMBEDDED)
        self.styles = styles_from_seeds(editor.generator, seeds, PSI)
        with torch.inference_mode():
            self.images = torch.cat(list(render_batches(editor.generator, self.styles)))
        self.before = self.judge.look(self.images).predictions

    def edit(self, way: Way, trial: Trial) -> EditCounts:
        """What one edit did; nothing where no channel passes."""
        names = self.judge.attributes[trial.attribute]
        try:
            direction = way.editor.direction(trial.neutral, trial.target, way.choice)
        except DirectionError:
            after = self.before
        else:
            images = way.editor.apply(self.styles, direction, way.alpha).images
            after = self.judge.look(images).predictions
        wanted = np.array([names.index(value) for value in trial.values])
        attribute = list(self.judge.attributes).index(trial.attribute)
        return count_edit(self.before, after, attribute, wanted)

    def row(self, way: Way) -> tuple[Record, dict[str, float]]:
        """The means over the prompts, and the success of every prompt, in percent."""
        counts = [self.edit(way, trial) for trial in self.suite.trials]
        absent, won, right, same, shown = (
            np.stack([getattr(count, name) for count in counts])
            for name in ("absent", "won", "right", "same", "shown")
        )
        weights = resampled(len(self.styles))
        success = share(weights, won, absent)  # (B, E)
        told = {
            "success %": success,
            "preservation %": share(weights, same, shown),
            "fully right %": share(weights, right, absent),
        }
        figures = {key: spread(interval(over_edits(shares))) for key, shares in told.items()}
        alpha = "found" if way.alpha is None else f"{way.alpha:g}"
        each = zip(self.suite.trials, success[0].tolist(), strict=True)
        by_prompt = {trial.target: round(value, 1) for trial, value in each}
        return {"way": way.name, "alpha": alpha, **figures}, by_prompt


@click.command(help=__doc__)
@click.option("--prompts", type=click.Choice(LISTS), default="reporting", show_default=True)
@seeds_option("1-60")
@click.option("--reference", "files", multiple=True, metavar="ATLAS", help="A table beside them.")
def main(prompts: str, seeds: tuple[int, ...], files: tuple[str, ...]) -> None:
    generator, encoder = load_generator(EMBEDDED.name, "cpu"), load_encoder(EMBEDDED.name, "cpu")
    editor = Editor(Atlas.open(EMBEDDED.atlas), generator, encoder)
    suite = read_suite(PROMPTS / f"{prompts}.json")
    references = {Path(file).stem: Atlas.open(file) for file in files}
    judged = Judged(editor, suite, seeds)
    rows, each = [], {trial.target: {"target": trial.target} for trial in suite.trials}
    for way in ways(editor, references):
        row, by_prompt = judged.row(way)
        click.echo(f"{row}", err=True)
        rows.append(row)
        for target, value in by_prompt.items():
            each[target][way.name] = f"{value:.1f}"
    click.echo(text_table(rows))
    click.echo("\nsuccess, %\n\n" + text_table(list(each.values())))


if __name__ == "__main__":
    main()
