"""What people and machines are told and shown of the training of an encoder."""

from __future__ import annotations

import torch
from PIL import Image

from ..engine.models.own_encoder import OwnEncoder
from ..engine.pictures.sheet import cell_size, sheet
from ..store.progress import Progress
from ..store.records import Record
from .encoders import EncoderTrainer
from .training import progress_of

SHOWN = 12
"""Held-out images of a sheet."""


def training_progress(trainer: EncoderTrainer) -> Progress:
    """How far a training is, as it is shown; machines are told of every validation."""
    return progress_of(trainer, latents="validation_latents", pixels="validation_pixels")


def training_record(encoder: OwnEncoder, log: str) -> Record:
    """What came out of a training: the encoder's own record in short, and where the log lies."""
    about = encoder.about
    return {
        "log": log,
        "generator": about.generator.name,
        "start": "mean" if about.samples is None else "look-up",
        "passes": about.passes,
        "side": encoder.side,
        "settings": about.settings,
        "measured": about.measured,
    }


def training_text(name: str, atlas: str, record: Record) -> str:
    """The same of the encoder written to `name`, and what to try next, for people."""
    measured = record["measured"]
    lines = [
        f"{name}: inverts crops of {record['generator']} from the {record['start']}, "
        f"in {record['passes']} passes",
        f"  the best of {measured['of_steps']} steps is {measured['step']}; on "
        f"{measured['images']} held-out images, half of them spoilt as photographs are:",
        f"  of w's variance {100 * measured['latents_before']:.1f} % are missed before and "
        f"{100 * measured['latents']:.1f} % after, pixels are {measured['pixels_before']:.4f} and "
        f"{measured['pixels']:.4f} apart, of 1",
        f"  log of the training: {record['log']}",
        f"next: styleatlas invert {atlas} PHOTO --encoder {name} -o photo.npz --sheet photo.png",
    ]
    return "\n".join(lines)


@torch.no_grad()
def reconstructions(trainer: EncoderTrainer, encoder: OwnEncoder) -> Image.Image:
    """Held-out images, a row each: as they are, as the encoder is shown them, where they begin and
    where each pass leads; generated ones first, then pictures, every second as a bad photograph."""
    batch = trainer.held_out
    chosen = torch.linspace(0, len(batch) - 1, min(SHOWN, len(batch))).round().long().unique()
    ways = trainer.passes(encoder.network, batch, encoder.about.passes)
    columns = [batch.images, batch.seen, *(drawn for _, drawn in ways)]
    labels = ("image", "seen", "start", *(f"pass {i + 1}" for i in range(len(ways) - 1)))
    size = (encoder.side, encoder.side)
    _, scale = cell_size(size, len(chosen), len(columns))
    rows = [[column[i].cpu().clamp(-1, 1) for column in columns] for i in chosen.tolist()]
    return sheet(rows, [str(i + 1) for i in chosen.tolist()], labels, scale)
