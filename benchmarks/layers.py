"""What toRGB is worth, and what is left without it: `python benchmarks/layers.py`.

StyleCLIP's builders sweep convolutions alone; an atlas has toRGB's channels, too. So the same
edits of the embedded pair at psi 0.7 are made with all channels, with the convolutions alone, and
with toRGB alone: by samples, by the table with alphas found, and by the table with StyleCLIP's rule
(beta 0.1) at alpha 4 and 5.5. With `--reference`, tables of

\b
    styleatlas precompute avatars --clip avatars --reference-compat torch --seed 5 \\
        --statistics 100000 --samples 0 -o torch.h5

stand beside them. The figures are those of `styleatlas evaluate`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.commands.options import seeds_option
from styleatlas.commands.progress import progress_shown
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.evaluation.run import evaluate
from styleatlas.engine.evaluation.suite import read_suite
from styleatlas.engine.evaluation.summary import evaluation_record, spread
from styleatlas.engine.evaluation.variants import PAPER_BETA, Variant
from styleatlas.engine.steering.direction import Choice
from styleatlas.store.records import Record, text_table
from styleatlas.store.registry import EMBEDDED

PROMPTS = Path(__file__).parent / "prompts"
LISTS = sorted(path.stem for path in PROMPTS.glob("*.json"))
TOLD = ("success", "preservation", "fully_right", "damaged", "hit")
LAYERS = {"all": (), "conv": ("conv",), "rgb": ("rgb",)}
PAPER_ALPHAS = (4.0, 5.5)


def ways(editor: Editor, references: dict[str, Atlas]) -> Iterator[Variant]:
    for name, layers in LAYERS.items():
        yield Variant(f"samples, {name}", editor, Choice(layers=layers))
    for name, layers in LAYERS.items():
        yield Variant(f"table, {name}", editor, Choice(source="table", layers=layers))
    for name in ("all", "conv"):
        paper = Choice(rule="paper", beta=PAPER_BETA, layers=LAYERS[name])
        yield Variant(f"StyleCLIP's rule, {name}", editor, paper, PAPER_ALPHAS)
    for name, atlas in references.items():
        other = Editor(atlas, editor.generator, editor.texts.encoder)
        yield Variant(name, other, Choice(source="table"))
        paper = Choice(rule="paper", beta=PAPER_BETA)
        yield Variant(f"{name}, StyleCLIP's rule", other, paper, PAPER_ALPHAS)


def means(record: Record) -> list[Record]:
    """A row a way and alpha: the means over the prompts."""
    return [
        {
            "way": way["way"],
            "alpha": _told(point["alpha"]),
            **{f"{key} %": spread(point[key]) for key in TOLD},
        }
        for way in record["ways"]
        for point in way["points"]
    ]


def by_prompt(record: Record) -> list[Record]:
    """A row a prompt: the success of every way with alphas found, in percent."""
    rows: dict[str, Record] = {}
    for edit in record["edits"]:
        if edit["alpha"] is None:
            row = rows.setdefault(edit["target"], {"target": edit["target"]})
            row[edit["way"]] = edit["success"]
    return list(rows.values())


def _told(alpha: float | None) -> str:
    return "found" if alpha is None else f"{alpha:g}"


@click.command(help=__doc__)
@click.option("--prompts", type=click.Choice(LISTS), default="reporting", show_default=True)
@seeds_option("1-60")
@click.option("--reference", "files", multiple=True, metavar="ATLAS", help="One table or more.")
@click.option("--json", "as_json", is_flag=True, help="The whole record instead of tables.")
def main(prompts: str, seeds: tuple[int, ...], files: tuple[str, ...], as_json: bool) -> None:
    generator, encoder = load_generator(EMBEDDED.name, "cpu"), load_encoder(EMBEDDED.name, "cpu")
    editor = Editor(Atlas.open(EMBEDDED.atlas), generator, encoder)
    references = {Path(file).stem: Atlas.open(file) for file in files}
    suite, judge = read_suite(PROMPTS / f"{prompts}.json"), AttributeJudge(EMBEDDED)
    variants = list(ways(editor, references))
    with progress_shown() as shown:
        evaluation = evaluate(editor, judge, suite, seeds, 0.7, report=shown, variants=variants)
    record = evaluation_record(evaluation)
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    click.echo(text_table(means(record)))
    click.echo("\nsuccess, %\n\n" + text_table(by_prompt(record)))


if __name__ == "__main__":
    main()
