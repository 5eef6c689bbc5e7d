"""How far a tuned generator may move before its parent's atlas no longer fits.

The avatars' generator with noise on all weights of its layers, edited by the avatars' atlas.

    python benchmarks/tuned.py

A line a noise, in standard deviations of each tensor: how far the styles moved, by the atlas's
samples and by its statistics, and of each target how many of 12 images show it and the median
directional similarity.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from styleatlas import Atlas, Editor, load_encoder
from styleatlas.engine.checkpoints.checkpoint import GeneratorCheckpoint
from styleatlas.engine.checkpoints.read import read_checkpoint
from styleatlas.engine.models.generator import StyleGANGenerator, build
from styleatlas.engine.models.tuned import moved
from styleatlas.store.registry import EMBEDDED

NOISE = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0)
TARGETS = ("a smiling face", "a face with glasses", "a face with a beard")
SEEDS = range(1, 13)


def noisy(parent: GeneratorCheckpoint, share: float | None) -> StyleGANGenerator:
    """The generator with so much noise on its weights; None: with weights drawn anew."""
    torch.manual_seed(1)
    tensors = dict(parent.tensors)
    drawn = build(parent.config).state_dict()
    for name, tensor in parent.tensors.items():
        if share is None:
            tensors[name] = drawn.get(name, tensor)
        elif name.startswith("synthesis.") and name.endswith(".weight"):
            tensors[name] = tensor + share * tensor.std() * torch.randn(tensor.shape)
    checkpoint = GeneratorCheckpoint.of(Path("noisy"), parent.config, tensors, parent.dialect)
    return StyleGANGenerator.of(checkpoint, f"noise {share}", torch.device("cpu"), "float32")


def main() -> None:
    torch.set_num_threads(1)
    atlas, encoder = Atlas.open(EMBEDDED.name), load_encoder(EMBEDDED.name, "cpu")
    parent = read_checkpoint(EMBEDDED.generator)
    for share in (*NOISE, None):
        generator = noisy(parent, share)
        editor = Editor(atlas, generator, encoder, tuned=True)
        far = [moved(known, generator).sigma for known in (atlas, replace(atlas, samples=None))]
        cells = []
        for target in TARGETS:
            result = editor.edit(seeds=SEEDS, neutral="a face", target=target, method="direction")
            shown = sum(status in ("reached", "already_there") for status in result.status)
            cells.append(f"{shown:>2} {np.median(editor.measure(result)[0].similarity):.2f}")
        name = "anew" if share is None else f"{share:g}"
        print(f"{name:>5}  {far[0]:.3f}  {far[1]:.3f}  {'  '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
