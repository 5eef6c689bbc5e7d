"""What a further edit costs beside its bare render: `python benchmarks/edit.py`.

One image, in one process. Each figure is the median of many calls, taken in turn with what it is
compared to. The generators beside the embedded one, and their atlases, have random numbers: only
their sizes count.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
import torch
from generators import GENERATORS, machine

from styleatlas import Atlas, Editor, load_encoder, load_generator
from styleatlas.engine.models.generator import StyleGANGenerator, build
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.models.subject import Subject
from styleatlas.engine.steering.direction import Choice, Direction
from styleatlas.store.bank import PromptBank
from styleatlas.store.fingerprint import Fingerprint, ModelIdentity
from styleatlas.store.layout import StyleLayout
from styleatlas.store.records import text_table
from styleatlas.store.registry import EMBEDDED

PAIR = ("a face", "a face with glasses")
ALPHA = 4.0
WIDTH, PHRASES = 512, 4000


def medians(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds a call, all of them called in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if i:  # the first warms up
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(taken) for name, taken in times.items()}


def random_atlas(layout: StyleLayout, identity: ModelIdentity) -> Atlas:
    """An atlas of every channel of a layout, at the width of ViT-B/32."""
    random = np.random.default_rng(0)
    channels = layout.size

    def units(count: int) -> np.ndarray:
        rows = random.normal(size=(count, WIDTH)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    texts = (*PAIR, *(f"phrase {i}" for i in range(PHRASES - 2)))
    return Atlas(
        layout=layout,
        style_mean=np.zeros(channels, np.float32),
        style_std=np.ones(channels, np.float32),
        channels=np.arange(channels),
        rows=units(channels),
        consistency=np.full(channels, 0.5, np.float32),
        strength=np.ones(channels, np.float32),
        images=np.full(channels, 100, np.int32),
        prompts=PromptBank(texts, units(PHRASES)),
        fingerprint=Fingerprint(identity, ModelIdentity("random", "0" * 64, {}), {}),
        created="2026-11-22T00:00:00+00:00",
        library="benchmark",
    )


def embedded() -> Editor:
    return Editor(
        Atlas.open(EMBEDDED.atlas),
        load_generator(EMBEDDED.name),
        lambda: load_encoder(EMBEDDED.name),
    )


def of_size(name: str) -> Editor:
    identity = ModelIdentity(name, "1" * 64, {})
    torch.manual_seed(0)
    generator = StyleGANGenerator(build(GENERATORS[name]), identity)
    generator.network.synthesis.freeze()
    atlas = random_atlas(generator.layout, identity)
    return Editor(atlas, generator, lambda: load_encoder(EMBEDDED.name))


def edit_record(name: str, editor: Editor, layers: tuple[str, ...], rounds: int) -> dict[str, Any]:
    """A further edit of one image, beside the render of what it changes and a whole render."""
    styles = styles_from_seeds(editor.generator, [1], 0.7)
    subject, choice = Subject(editor.generator, styles), Choice(layers=layers)
    direction = editor.direction(*PAIR, choice)
    layer, _ = editor.atlas.layout.locate(int(direction.channels.min()))
    edited = styles + torch.from_numpy(direction.delta(ALPHA))
    whole = editor.generator.render
    partial = whole if layer.start == 0 else editor.generator.resume(styles, layer).render

    def further() -> None:
        editor.apply(subject, editor.direction(*PAIR, choice), ALPHA)

    with torch.inference_mode():
        calls = {"whole": lambda: whole(edited), "partial": lambda: partial(edited)}
        taken = medians({**calls, "edit": further}, rounds)
    return {
        "edit of": name,
        "layers": ",".join(layers) or "all",
        "changes from": layer.name,
        "whole_render_ms": taken["whole"],
        "partial_render_ms": taken["partial"],
        "further_edit_ms": taken["edit"],
        "beyond_partial_ms": taken["edit"] - taken["partial"],
        "of_partial": taken["edit"] / taken["partial"],
    }


def direction_record(name: str, editor: Editor, rounds: int) -> dict[str, Any]:
    """From two prompts of the bank to a direction, beside the product of all rows with a text."""
    atlas = editor.atlas
    rows = torch.from_numpy(atlas.rows)
    text = torch.from_numpy(editor.texts.direction(*PAIR))

    def direct() -> Direction:
        return editor.direction(*PAIR)

    taken = medians({"product": lambda: rows @ text, "direction": direct}, rounds)
    return {
        "direction of": name,
        "rows": " x ".join(map(str, atlas.rows.shape)),
        "direction_ms": taken["direction"],
        "product_ms": taken["product"],
    }


@click.command()
@click.option("--rounds", default=30, show_default=True, help="Calls of each thing that is timed.")
@click.option("--json", "as_json", is_flag=True)
def main(rounds: int, as_json: bool) -> None:
    """Time further edits and directions."""
    pair, large = embedded(), of_size("StyleGAN2 256")
    edits = [
        edit_record("avatars", pair, (), rounds),
        edit_record("avatars", pair, ("b64.*",), rounds),
        edit_record("StyleGAN2 256", large, (), rounds),
        edit_record("StyleGAN2 256", large, ("b128.*", "b256.*"), rounds),
        edit_record("StyleGAN2 256", large, ("b256.torgb",), rounds),
    ]
    sizes = {"avatars": pair, "StyleGAN2 1024": of_size("StyleGAN2 1024")}
    directions = [direction_record(name, editor, 10 * rounds) for name, editor in sizes.items()]
    told = machine("cpu")
    if as_json:
        click.echo(json.dumps({"machine": told, "edits": edits, "directions": directions}))
        return
    click.echo(f"{told}\n\n{text_table(edits)}\n\n{text_table(directions)}")


if __name__ == "__main__":
    main()
