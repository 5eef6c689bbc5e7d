"""What a person sees of the default edits: `python benchmarks/seen.py`.

The embedded pair at psi 0.7, by a list of prompts of `benchmarks/prompts/`, directions and alphas
found by the editor; `--source table` is what an atlas without samples does. Seeds 5001 and up are
for tuning, 1 to 200 for reporting. Told are the figures of `styleatlas evaluate`, which runs all
that the default is compared with as well.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.commands.options import seeds_option
from styleatlas.commands.progress import progress_shown
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.evaluation.run import evaluate
from styleatlas.engine.evaluation.suite import read_suite
from styleatlas.engine.evaluation.summary import evaluation_record, spread
from styleatlas.engine.evaluation.variants import DEFAULT, Variant
from styleatlas.engine.steering.direction import SOURCES, Choice, Source
from styleatlas.store.records import Record, text_table
from styleatlas.store.registry import EMBEDDED

PROMPTS = Path(__file__).parent / "prompts"
LISTS = sorted(path.stem for path in PROMPTS.glob("*.json"))
TOLD = ("success", "preservation", "fully_right", "damaged", "hit")


def row(figures: Record) -> Record:
    """Percent of each figure, and the leak."""
    return {
        "edit": f"{figures['neutral']} -> {figures['target']}",
        "images": figures["images_without"],
        **{f"{key} %": figures[key] for key in TOLD},
        "leak": figures["leak"],
    }


@click.command()
@click.option("--prompts", type=click.Choice(LISTS), default="tuning", show_default=True)
@seeds_option("5001-5060")
@click.option("--atlas", default=EMBEDDED.name, help="Another atlas of the embedded pair.")
@click.option(
    "--source", type=click.Choice(SOURCES), default="auto", help="Where directions come from."
)
@click.option("--json", "as_json", is_flag=True, help="The whole record instead of tables.")
def main(prompts: str, seeds: tuple[int, ...], atlas: str, source: Source, as_json: bool) -> None:
    generator, encoder = load_generator(EMBEDDED.name, "cpu"), load_encoder(EMBEDDED.name, "cpu")
    editor = Editor(Atlas.open(atlas), generator, encoder)
    suite, judge = read_suite(PROMPTS / f"{prompts}.json"), AttributeJudge(EMBEDDED)
    ways = [Variant(DEFAULT, editor, Choice(source=source))]
    with progress_shown() as shown:
        evaluation = evaluate(editor, judge, suite, seeds, 0.7, report=shown, variants=ways)
    record = evaluation_record(evaluation)
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    (point,) = record["ways"][0]["points"]
    figures = {f"{key} %": spread(point[key]) for key in TOLD} | {"leak": spread(point["leak"], 4)}
    unedited = spread(record["drawings"]["unedited_damaged"])
    click.echo(text_table([row(edit) for edit in record["edits"]]))
    click.echo("\n" + text_table([{"figure": key, "mean": told} for key, told in figures.items()]))
    click.echo(f"\nunedited images damaged: {unedited} %")


if __name__ == "__main__":
    main()
