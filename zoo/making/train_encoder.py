"""Trains the embedded photo encoder: `python zoo/making/train_encoder.py`. Resumable.

As `styleatlas encoder train avatars --steps 10000 --batch 16 --learning-rate 6e-4 --images 16000
--passes 2 --pixels 0` does, and beside what the generator draws on drawings, half of every batch:
the generator learned to draw them from the codes of their values, which are their latents. None of
the drawings that benchmarks report is among them.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from avatars import draw_labels
from measure import held_out
from torch import Tensor
from train_generator import CODES, one_hot
from training import WORK, ZOO

from styleatlas import Atlas, load_encoder, load_generator
from styleatlas.engine.evaluation.drawings import Drawings
from styleatlas.engine.models.own_encoder import write_own_encoder
from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.engine.pictures.sheet import save_png
from styleatlas.engine.steering.lookup import LookUp
from styleatlas.precompute.encoder_images import Pictures
from styleatlas.precompute.encoder_reports import reconstructions, training_text
from styleatlas.precompute.encoder_reports import training_record as record_of
from styleatlas.precompute.encoder_settings import EncoderSettings
from styleatlas.precompute.encoder_state import EncoderTrainingFile
from styleatlas.precompute.encoders import EncoderTrainer
from styleatlas.precompute.training import train
from styleatlas.store.registry import EMBEDDED

PICTURES, SEED = 6_000, 20_000_003


def fresh_labels(count: int) -> Tensor:
    """Attributes of drawings that no benchmark reports, (count, attributes)."""
    reported = set(map(tuple, held_out().tolist()))
    drawn = draw_labels(count + len(reported), torch.Generator().manual_seed(SEED))
    return torch.tensor([row for row in drawn.tolist() if tuple(row) not in reported][:count])


@torch.no_grad()
def pictures(atlas: Atlas, count: int) -> Pictures:
    """Drawings, and where the look-up begins them."""
    encoder = load_encoder(EMBEDDED.name, "cpu")
    drawings = Drawings(EMBEDDED.drawings)
    pixels, embeddings = [], []
    labels = fresh_labels(count)
    for part in labels.split(250):
        images = drawings.draw(part)
        pixels.append(to_bytes(images))
        embeddings.append(encoder.images(images).float())
    start = LookUp(atlas.samples).find(torch.cat(embeddings).numpy()).w
    return Pictures(torch.cat(pixels), torch.from_numpy(start), one_hot(labels) @ CODES)


@click.command()
@click.option("--steps", default=10_000, show_default=True)
@click.option("--batch", default=16, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--output", type=Path, default=ZOO / "encoder.safetensors", show_default=True)
def main(steps: int, batch: int, threads: int, output: Path) -> None:
    torch.set_num_threads(threads)
    atlas = Atlas.open(EMBEDDED.name)
    settings = EncoderSettings(
        steps=steps,
        batch=batch,
        learning_rate=6e-4,
        images=16_000,
        passes=2,
        pixels=0,
    )
    trainer = EncoderTrainer(
        load_generator(EMBEDDED.name, "cpu"),
        atlas.samples,
        settings,
        pictures=pictures(atlas, PICTURES),
    )

    def report(trainer: EncoderTrainer) -> None:
        row = trainer.log[-1]
        if row.validated:
            told = {name: round(value, 4) for name, value in row._asdict().items()}
            click.echo(str(told), err=True)

    WORK.mkdir(parents=True, exist_ok=True)
    with EncoderTrainingFile(WORK / output.name) as place:
        encoder = train(trainer, place, report, click.echo)
        write_own_encoder(output, encoder)
        save_png(reconstructions(trainer, encoder), WORK / "encoder.png")
        place.remove()
    click.echo(training_text(str(output), EMBEDDED.name, record_of(encoder, str(place.log_path))))


if __name__ == "__main__":
    main()
