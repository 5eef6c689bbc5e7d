"""What directions by samples hang on: `python benchmarks/samples.py COMMAND`.

All of the embedded pair at psi 0.7. Edits are measured as `styleatlas evaluate` does, on the list
of prompts and the seeds named, every way of one table on the same images.

    kinds        prompts that are known, and prompts without a meaning, by what samples call them
    counts       edits by fewer and more samples
    noise        edits and kinds where CLIP tells images less well apart
    planted      edits by samples in which beards and glasses go together
    psi          images that have a thing, at several psi: recognised, and left alone
    speed        seconds of a direction, over those of the matrix product of its size
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.commands.options import seeds_option
from styleatlas.commands.progress import progress_shown
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.evaluation.run import evaluate
from styleatlas.engine.evaluation.suite import Suite, read_suite
from styleatlas.engine.evaluation.summary import evaluation_record
from styleatlas.engine.evaluation.variants import Variant
from styleatlas.engine.models.protocols import Generator, JointEncoder
from styleatlas.engine.models.sampling import batch_size
from styleatlas.engine.steering.direction import Choice, Direction
from styleatlas.engine.steering.edits import Edit
from styleatlas.engine.steering.evidence import KINDS
from styleatlas.engine.steering.mixture import fit_mixture
from styleatlas.engine.steering.samples import SampleMap
from styleatlas.precompute.drawing import meaningless, sample_latents
from styleatlas.store.bank import PromptBank
from styleatlas.store.records import Record, text_table
from styleatlas.store.registry import EMBEDDED
from styleatlas.store.sample_set import SampleSet

PROMPTS = Path(__file__).parent / "prompts"
LISTS = sorted(path.stem for path in PROMPTS.glob("*.json"))
PSI = 0.7
TOLD = ("success", "preservation", "fully_right", "damaged", "hit")

prompts_option = click.option(
    "--prompts", type=click.Choice(LISTS), default="tuning", show_default=True
)


class NoisyEncoder:
    """A CLIP that tells images less well apart: noise is added to the embedding of each, the same
    for the same pixels."""

    def __init__(self, encoder: JointEncoder, sigma: float) -> None:
        self._encoder, self._sigma = encoder, sigma
        self.identity, self.device = encoder.identity, encoder.device
        self.precision, self.width = encoder.precision, encoder.width
        self.image_size, self.logit_scale = encoder.image_size, encoder.logit_scale

    def images(self, images: Tensor) -> Tensor:
        embedded = self._encoder.images(images)
        seeds = (images.double().flatten(1) * 1e3).round().sum(1).long().tolist()
        noise = [_noise(seed, self.width) for seed in seeds]
        return torch.nn.functional.normalize(embedded + self._sigma * torch.stack(noise), dim=1)

    def texts(self, texts: list[str]) -> Tensor:
        return self._encoder.texts(texts)


def _noise(seed: int, width: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(abs(seed)).standard_normal(width, np.float32))


def models() -> tuple[Generator, JointEncoder, Atlas]:
    atlas = Atlas.open(EMBEDDED.atlas)
    return load_generator(EMBEDDED.name, "cpu"), load_encoder(EMBEDDED.name, "cpu"), atlas


@torch.inference_mode()
def embedded(
    generator: Generator, encoder: JointEncoder, w: NDArray[np.float32]
) -> NDArray[np.float16]:
    """Unit embeddings of the images of latents (n, w_dim)."""
    rows, parts = generator.map(torch.zeros(1, generator.z_dim)).shape[1], []
    for part in torch.from_numpy(w).split(batch_size(generator)):
        styles = generator.styles(part[:, None].expand(-1, rows, -1))
        parts.append(encoder.images(generator.render(styles)))
    return torch.cat(parts).numpy().astype(np.float16)


def drawn(
    generator: Generator, encoder: JointEncoder, known: SampleSet, w: NDArray[np.float32]
) -> SampleSet:
    """The samples of other latents, or as another encoder sees them; `known` has the rest."""
    centre = known.centre
    near = centre + np.float32(known.pulled_psi) * (w[: len(known.pulled)] - centre)
    return replace(
        known,
        w=w.astype(np.float16),
        label=np.full(len(w), -1, np.int32),
        embedding=embedded(generator, encoder, w),
        pulled=embedded(generator, encoder, near),
    )


def first(samples: SampleSet, count: int) -> SampleSet:
    return replace(
        samples,
        w=samples.w[:count],
        label=samples.label[:count],
        embedding=samples.embedding[:count],
        pulled=samples.pulled[:count],
    )


def edits(ways: Sequence[Variant], suite: Suite, seeds: Sequence[int]) -> list[Record]:
    """A row a way: the figures of its edits."""
    with progress_shown() as shown:
        judge = AttributeJudge(EMBEDDED)
        evaluation = evaluate(ways[0].editor, judge, suite, seeds, PSI, report=shown, variants=ways)
    record = evaluation_record(evaluation)
    return [
        {"way": way["way"], **{f"{key} %": point[key]["value"] for key in TOLD}}
        for way in record["ways"]
        for point in way["points"]
    ]


def suite_of(prompts: str) -> Suite:
    return read_suite(PROMPTS / f"{prompts}.json")


def kinds_of(editor: Editor, pairs: Sequence[tuple[str, str]]) -> Record:
    """Percent of pairs of prompts of each kind."""
    known = editor.samples
    assert known is not None
    found = []
    for neutral, target in pairs:
        embedded = editor.texts.embed(neutral), editor.texts.embed(target)
        found.append(known.evidence(*embedded).kind)
    return {f"{kind} %": round(100 * found.count(kind) / len(found), 1) for kind in KINDS}


def pairs_of(prompts: str) -> list[tuple[str, str]]:
    return [(trial.neutral, trial.target) for trial in suite_of(prompts).trials]


def nonsense() -> list[tuple[str, str]]:
    lines = (PROMPTS / "nonsense.txt").read_text("utf-8").splitlines()
    return [("a face", line) for line in lines if line.strip() and not line.startswith("#")]


@click.group(help=__doc__)
def main() -> None:
    torch.set_num_threads(1)


@main.command()
def kinds() -> None:
    generator, encoder, atlas = models()
    editor = Editor(atlas, generator, encoder)
    bank = [("a face", text) for text in atlas.prompts.texts if text != "a face"]
    lists = {"phrases of the bank": bank, "without a meaning": nonsense()}
    lists |= {name: pairs_of(name) for name in LISTS}
    rows = [{"list": k, "prompts": len(v), **kinds_of(editor, v)} for k, v in lists.items()]
    click.echo(text_table(rows))


@main.command()
@prompts_option
@seeds_option("5001-5040")
@click.option("--more", default=16_000, show_default=True, help="The most samples.")
def counts(prompts: str, seeds: tuple[int, ...], more: int) -> None:
    generator, encoder, atlas = models()
    assert atlas.samples is not None
    w, _ = sample_latents(generator, more, seed=1)  # others than the atlas's own
    all_of_them = drawn(generator, encoder, atlas.samples, w.astype(np.float32))
    ways = []
    for count in (500, 1000, 2000, 4000, more):
        editor = Editor(replace(atlas, samples=first(all_of_them, count)), generator, encoder)
        ways.append(Variant(f"{count:,} samples", editor, Choice(source="samples")))
    ways.append(Variant("table", Editor(atlas, generator, encoder), Choice(source="table")))
    click.echo(text_table(edits(ways, suite_of(prompts), seeds)))


@main.command()
@prompts_option
@seeds_option("5001-5040")
@click.option("--separation", "wanted", multiple=True, type=float, default=(3.0, 2.0, 1.3))
def noise(prompts: str, seeds: tuple[int, ...], wanted: tuple[float, ...]) -> None:
    generator, encoder, atlas = models()
    samples = atlas.samples
    assert samples is not None
    suite, w = suite_of(prompts), samples.w.astype(np.float32)
    plain = Editor(atlas, generator, encoder)
    texts = np.stack(
        [
            plain.texts.embed(t).astype(np.float64) - plain.texts.embed(n)
            for n, t in pairs_of(prompts)
        ]
    )
    clean, drawn_noise = samples.embedding.astype(np.float32), np.random.default_rng(0)
    added = drawn_noise.standard_normal(clean.shape, np.float32)

    def separation(sigma: float) -> float:
        noisy = clean + sigma * added
        noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
        return statistics.median(fit_mixture(noisy @ text).separation for text in texts)

    ways, rows = [], []
    for goal in wanted:
        low, high = 0.0, 0.5
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if separation(middle) > goal else (low, middle)
        blurred = NoisyEncoder(encoder, low)
        seen = drawn(generator, blurred, samples, w)
        gain, spread = SampleMap(seen).chance(meaningless(encoder))
        seen = replace(seen, null_gain=gain, null_spread=spread)
        editor = Editor(replace(atlas, samples=seen), generator, blurred)
        for name, pairs in ((prompts, pairs_of(prompts)), ("without a meaning", nonsense())):
            rows.append({"separation": goal, "list": name, **kinds_of(editor, pairs)})
        ways.append(Variant(f"separation {goal:g}", editor, Choice(source="samples")))
    click.echo(text_table(rows) + "\n")
    for way in ways:  # each is seen by a CLIP of its own
        click.echo(text_table(edits([way], suite, seeds)))


@main.command()
@seeds_option("5001-5060")
@click.option("--pool", default=16_000, show_default=True, help="Samples to choose from.")
def planted(seeds: tuple[int, ...], pool: int) -> None:
    """A beard, by 4,000 samples in which beards and glasses go together."""
    generator, encoder, atlas = models()
    assert atlas.samples is not None
    w, _ = sample_latents(generator, pool, seed=1)
    latents, judge = w.astype(np.float32), AttributeJudge(EMBEDDED)
    beard, glasses = _read(generator, judge, latents)
    trial = {"target": "a face with a beard", "attribute": "facial hair", "values": ["beard"]}
    suite = suite_of("tuning")
    suite = replace(suite, trials=tuple(t for t in suite.trials if t.target == trial["target"]))
    rows = []
    for share in (0.0, 0.6, 0.9, 1.0):
        chosen = _together(beard, glasses, share, 4000)
        seen = drawn(generator, encoder, atlas.samples, latents[chosen])
        held = Editor(replace(atlas, samples=seen), generator, encoder)
        bare = PromptBank(("a face",), atlas.embedding("a face")[None])
        plain = Editor(replace(atlas, samples=seen, prompts=bare), generator, encoder)
        for name, editor, choice in (
            ("nothing held", plain, Choice(source="samples")),
            ("by itself", held, Choice(source="samples")),
            ("--keep", held, Choice(source="samples", keep=("a face with glasses",))),
        ):
            way = Variant(f"{share:g}, {name}", editor, choice)
            (row,) = edits([way], suite, seeds)
            direction = editor.direction("a face", trial["target"], choice)
            row["glasses changed %"] = _changed(editor, judge, direction, seeds)
            row["held"] = ", ".join(direction.held)[:40]
            row["inseparable"] = ", ".join(direction.inseparable)[:30]
            rows.append(row)
    click.echo(text_table(rows))


@torch.inference_mode()
def _read(
    generator: Generator, judge: AttributeJudge, w: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Who has a beard, and who glasses, as the judge reads images."""
    rows = generator.map(torch.zeros(1, generator.z_dim)).shape[1]
    beard, glasses = [], []
    for part in torch.from_numpy(w).split(batch_size(generator)):
        reading = judge.read(generator.render(generator.styles(part[:, None].expand(-1, rows, -1))))
        beard += [value == "beard" for value in reading["facial hair"]]
        glasses += [value != "none" for value in reading["glasses"]]
    return np.array(beard), np.array(glasses)


def _together(
    a: NDArray[np.bool_], b: NDArray[np.bool_], correlation: float, count: int
) -> NDArray[np.intp]:
    """So many samples, half of them with either, in which both correlate."""
    random, found = np.random.default_rng(0), []
    for x, y in ((1, 1), (0, 0), (1, 0), (0, 1)):
        part = 0.25 * (1 + correlation if x == y else 1 - correlation)
        of_both = np.flatnonzero((a == x) & (b == y))
        found.append(random.permutation(of_both)[: round(part * count)])
    return np.concatenate(found)


def _changed(
    editor: Editor, judge: AttributeJudge, direction: Direction, seeds: Sequence[int]
) -> float:
    """Percent of images without a beard whose glasses change."""
    subject = editor.subject(seeds=seeds, truncation=PSI)
    before = judge.read(subject.images)
    after = judge.read(editor.apply(subject, direction).images)
    lacking = [i for i in range(len(seeds)) if before["facial hair"][i] != "beard"]
    changed = [before["glasses"][i] != after["glasses"][i] for i in lacking]
    return round(100 * float(np.mean(changed)), 1)


@main.command()
@prompts_option
@seeds_option("5001-5060")
def psi(prompts: str, seeds: tuple[int, ...]) -> None:
    """Of images that the judge sees to have the thing, how many are recognised and left alone; of
    those that lack it, how many are taken to have it."""
    generator, encoder, atlas = models()
    editor, judge = Editor(atlas, generator, encoder), AttributeJudge(EMBEDDED)
    rows = []
    for at in (0.5, PSI, 1.0):
        known = there = lacking = mistaken = 0
        subject = editor.subject(seeds=seeds, truncation=at)
        look = judge.look(subject.images).predictions
        for trial in suite_of(prompts).trials:
            edit = Edit(trial.neutral, trial.target)
            result = editor.edit(subject, edits=[edit], method="direction")
            column = list(judge.attributes).index(trial.attribute)
            values = judge.attributes[trial.attribute]
            wanted = [values.index(value) for value in trial.values]
            has, seen = np.isin(look.values[:, column], wanted), look.seen[:, column]
            still = np.array([status == "already_there" for status in result.status])
            known, there = known + int((has & seen).sum()), there + int((has & seen & still).sum())
            lacking += int((~has & seen).sum())
            mistaken += int((~has & seen & still).sum())
        rows.append(
            {
                "psi": at,
                "have it": known,
                "left alone %": round(100 * there / known, 1),
                "lack it": lacking,
                "left alone, too %": round(100 * mistaken / lacking, 1),
            }
        )
    click.echo(text_table(rows))


@main.command()
@click.option("--rounds", default=15, show_default=True)
def speed(rounds: int) -> None:
    """Of random numbers: 10,000 samples in 512 dimensions, 9,088 channels, 1,000 phrases."""
    random = np.random.default_rng(0)

    def unit(*shape: int) -> NDArray[np.float32]:
        drawn = random.standard_normal(shape, np.float32)
        return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)

    codes = random.random((10_000, 8)) < 0.2
    w = random.standard_normal((10_000, 512), np.float32)
    w[:, :8] += 4 * codes
    embedding = 0.05 * unit(10_000, 512) + codes @ unit(8, 512) + 1
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    samples = SampleSet(
        w=w.astype(np.float16),
        label=np.full(10_000, -1, np.int32),
        embedding=embedding.astype(np.float16),
        pulled=embedding[:1000].astype(np.float16),
        pulled_psi=0.7,
        centre=np.zeros(512, np.float32),
        null_gain=np.zeros(8, np.float32),
        null_spread=np.ones(8, np.float32),
        weight=random.standard_normal((9088, 512), np.float32),
        bias=np.zeros(9088, np.float32),
    )
    bank = PromptBank(tuple(f"phrase {i}" for i in range(1000)), unit(1000, 512))
    start = time.perf_counter()
    known = SampleMap(samples, bank.centred(), bank.embeddings.mean(0))
    prompts = unit(rounds + 1, 512)
    known.step(prompts[0], prompts[1])
    ready = time.perf_counter() - start
    wide = embedding.astype(np.float32)
    taken: dict[str, list[float]] = {"direction": [], "evidence": [], "product": []}
    for i in range(rounds):
        pair = prompts[i], prompts[i + 1]
        for name, work in (
            ("direction", lambda pair=pair: known.step(*pair)),
            ("evidence", lambda pair=pair: known.evidence(*pair)),
            ("product", lambda pair=pair: (pair[0] @ wide.T) @ known.moved @ samples.weight.T),
        ):
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    told = {
        "direction / product": medians["direction"] / medians["product"],
        "evidence / product": medians["evidence"] / medians["product"],
        "product, ms": 1e3 * medians["product"],
        "first of a process / product": ready / medians["product"],
    }
    click.echo(json.dumps({key: round(value, 2) for key, value in told.items()}, indent=2))


if __name__ == "__main__":
    main()
