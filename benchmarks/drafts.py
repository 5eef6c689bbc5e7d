"""What `precompute --draft` saves, how drafts agree with whole images, and what edits suffer.

`python benchmarks/drafts.py speed GENERATOR` and `python benchmarks/drafts.py edits`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from generators import GENERATORS, machine, macs
from numpy.typing import NDArray
from torch import Tensor

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.commands.options import seeds_option
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.evaluation.run import evaluate
from styleatlas.engine.evaluation.suite import read_suite
from styleatlas.engine.evaluation.summary import evaluation_record
from styleatlas.engine.evaluation.variants import DEFAULT, Variant
from styleatlas.engine.models.draft import Draft
from styleatlas.engine.models.generator import StyleGANGenerator, build
from styleatlas.engine.models.protocols import Generator, JointEncoder
from styleatlas.engine.models.sampling import styles_from_seeds, w_shape
from styleatlas.engine.networks.draft import draft_configs
from styleatlas.engine.networks.stylegan2 import StyleGAN2Config
from styleatlas.engine.steering.direction import Choice
from styleatlas.engine.steering.samples import SampleMap
from styleatlas.engine.steering.texts import encode_with
from styleatlas.precompute.agreement import COMPARED, AgreementBlock, agreement
from styleatlas.precompute.blocks import Models, Setup
from styleatlas.precompute.drawing import meaningless
from styleatlas.precompute.probes import Probes
from styleatlas.precompute.slopes import SlopesBlock
from styleatlas.prompts.embed import build_bank
from styleatlas.prompts.sets import prompt_set
from styleatlas.store.fingerprint import ModelIdentity
from styleatlas.store.records import Record, text_table
from styleatlas.store.registry import EMBEDDED

PRODUCTS = 4  # vector-Jacobian products of the one image that slopes are taken at
PROJECTED = "StyleGAN2 1024"
TUNING = Path(__file__).parent / "prompts" / "tuning.json"

See = Callable[[Tensor, Tensor], Tensor]
"""Whole images and their styles -> what CLIP is shown."""


def opened(name: str) -> Generator:
    """A generator by its name or file, or one of random weights."""
    if name not in GENERATORS:
        return load_generator(name, "cpu")
    torch.manual_seed(0)
    network = build(GENERATORS[name])
    network.synthesis.freeze()
    return StyleGANGenerator(network, ModelIdentity(f"{name} of random weights", "0" * 64, {}))


def best_in_turn(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least seconds of each, after one run that does not count."""
    seconds = dict.fromkeys(runs, float("inf"))
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def speeds(draft: Draft, models: dict[str, Models], rounds: int) -> list[Record]:
    """Images, or slopes, a second of either."""
    styles = styles_from_seeds(draft, range(4), 1.0)
    encoder = models["draft"].encoder
    eye = torch.eye(encoder.width).numpy()
    one = styles[:1].numpy()
    setup = Setup(one, one[0], one[0] * 0 + 1, Probes(eye[:PRODUCTS], eye[PRODUCTS:], 0, 0), one)
    channels = draft.reaching.indices("conv", "rgb")
    slopes = SlopesBlock(channels, 0, 1, PRODUCTS)

    @torch.inference_mode()
    def rendered(generator: Generator, seen: bool) -> None:
        images = generator.render(styles)
        if seen:
            encoder.images(images)

    rows = []
    for what, count, work in (
        ("renders", len(styles), lambda x: rendered(x.generator, seen=False)),
        ("renders seen by CLIP", len(styles), lambda x: rendered(x.generator, seen=True)),
        ("slopes", PRODUCTS, lambda x: slopes.run(x, setup)),
    ):
        runs = {name: (lambda x=x, work=work: work(x)) for name, x in models.items()}
        seconds = best_in_turn(runs, rounds)
        row: Record = {"": what}
        row |= {f"{name} a second": round(count / took, 2) for name, took in seconds.items()}
        rows.append(row | {"times": round(seconds["whole"] / seconds["draft"], 2)})
    return rows


def share_left_out(config: StyleGAN2Config, side: int) -> float:
    """Of the multiplications of a render, those that its draft of this side does without."""
    drafts = draft_configs(config)
    smaller = drafts[side]
    assert isinstance(smaller, StyleGAN2Config)
    return 1 - macs(smaller) / macs(config)


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@click.argument("generator", default="StyleGAN2 256")
@click.option("--clip", default="avatars", show_default=True)
@click.option("--side", type=int, help="Of the draft, if not the least that CLIP need not enlarge.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def speed(generator: str, clip: str, side: int | None, rounds: int, as_json: bool) -> None:
    """Renders and slopes a second, whole and as drafts, and how far both agree.

    GENERATOR is a file, a registered name, or "StyleGAN2 256", "StyleGAN2 512": those of the
    published widths with random weights. Both are timed in turn; the best of the rounds counts. The
    embedded CLIP of avatars sees 64 px and knows drawings: with it, figures of agreement stand in
    for those of a CLIP that knows photographs.
    """
    whole, encoder = opened(generator), load_encoder(clip, "cpu")
    draft = Draft.for_clip(whole, encoder) if side is None else Draft(whole, side)
    models = {"whole": Models(whole, encoder), "draft": Models(draft, encoder)}
    rows = speeds(draft, models, rounds)
    prompts = prompt_set(encoder.identity.name)
    bank = build_bank(prompts.phrases, ("{}",), encode_with(encoder), encoder.width)
    styles = styles_from_seeds(draft, [1], 1.0).numpy()
    nothing = Setup(styles, styles[0], styles[0], Probes.of(bank.embeddings, 0, 0), styles)
    block = AgreementBlock(0, COMPARED)
    found = agreement(bank, [(block, block.run(models["draft"], nothing))])
    record: Record = {
        "machine": machine("cpu"),
        "generator": whole.identity.name,
        "clip": encoder.identity.name,
        "whole_px": max(whole.image_size),
        "draft_px": draft.side,
        "clip_px": encoder.image_size,
        "channels_that_reach_it": f"{draft.reaching.size} of {draft.layout.size}",
        "speeds": rows,
        "agreement": found,
    }
    for name in sorted({generator, PROJECTED} & GENERATORS.keys()):
        drawn = 256 if name == PROJECTED else draft.side
        left_out = share_left_out(GENERATORS[name], drawn)
        record[f"{name}: multiplications above {drawn} px"] = f"{left_out:.0%}"
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    for key, value in record.items():
        click.echo(f"\n{text_table(value)}\n" if key == "speeds" else f"{key}: {value}")


def shrunk(side: int) -> See:
    return lambda images, _: F.interpolate(
        images, (side, side), mode="bicubic", antialias=True, align_corners=False
    )


def noisy(sigma: float) -> See:
    random = torch.Generator().manual_seed(0)
    return lambda images, _: images + sigma * torch.randn(images.shape, generator=random)


def ways_of_seeing(generator: Generator) -> dict[str, See]:
    """What CLIP is shown of the embedded generator in place of whole images, by name."""
    draft = Draft(generator, 32)
    partial = Draft(generator, 32, bytes(len(draft.fitted)))
    return {
        "whole": lambda images, _: images,
        **{f"shrunk to {side} px": shrunk(side) for side in (40, 32, 28, 24, 16)},
        **{f"noise of {sigma:g}": noisy(sigma) for sigma in (0.14, 0.3)},
        "partial image, 32 px": lambda _, styles: partial.render(styles),
        "draft, 32 px": lambda _, styles: draft.render(styles),
    }


@torch.inference_mode()
def seen(
    generator: Generator, encoder: JointEncoder, see: See, w: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Embeddings (n, D) of latents (n, w_dim)."""
    rows, parts = w_shape(generator)[0], []
    for part in torch.from_numpy(w).split(64):
        styles = generator.styles(part[:, None].expand(-1, rows, -1))
        parts.append(encoder.images(see(generator.render(styles), styles)).numpy())
    return np.concatenate(parts)


@main.command()
@seeds_option("5001-5020")
def edits(seeds: tuple[int, ...]) -> None:
    """Edits of the tuning prompts by the embedded atlas with samples that were seen otherwise.

    What is edited is rendered whole. The embedded CLIP sees 64 px, so that all that is smaller
    stands for drafts that show too little.
    """
    generator, encoder = load_generator(EMBEDDED.name, "cpu"), load_encoder(EMBEDDED.name, "cpu")
    atlas = Atlas.open(EMBEDDED.name)
    samples, nothing_meant = atlas.samples, meaningless(encoder)
    assert samples is not None
    w = samples.w.astype(np.float32)
    nearer = samples.centre + np.float32(samples.pulled_psi) * (
        w[: len(samples.pulled)] - samples.centre
    )
    suite, judge = read_suite(TUNING), AttributeJudge(EMBEDDED)
    rows: list[Record] = []
    whole = None
    for name, see in ways_of_seeing(generator).items():
        found = seen(generator, encoder, see, w)
        whole = found if whole is None else whole
        pulled = seen(generator, encoder, see, nearer).astype(np.float16)
        other = replace(samples, embedding=found.astype(np.float16), pulled=pulled)
        gain, spread = SampleMap(other).chance(nothing_meant)
        other = replace(other, null_gain=gain, null_spread=spread)
        editor = Editor(replace(atlas, samples=other), generator, encoder)
        evaluation = evaluate(
            editor, judge, suite, seeds, 0.7, variants=[Variant(DEFAULT, editor, Choice())]
        )
        (point,) = evaluation_record(evaluation)["ways"][0]["points"]
        both = {"whole": whole[:COMPARED], "draft": found[:COMPARED]}
        figures = agreement(atlas.prompts, [(AgreementBlock(0, COMPARED), both)])
        del figures["samples"]
        told = {f"{key} %": round(point[key]["value"], 1) for key in ("success", "fully_right")}
        rows.append({"CLIP saw": name, **figures, **told, "leak": point["leak"]["value"]})
        click.echo(json.dumps(rows[-1]), err=True)
    click.echo(text_table(rows))


if __name__ == "__main__":
    main()
