"""Measures the embedded models as they ship: `python zoo/making/measure.py`.

Over 1,000 held-out renders: zero-shot accuracy of CLIP and accuracy of the judge, of every
attribute where it can be seen. Over 1,000 generated avatars (psi 0.7): how often each value occurs
as the judge reads it, relative to its share in the data, and how often the generator drew what its
latent stands for. Writes `figures.json` and a grid of generated avatars beside the models.
"""

from __future__ import annotations

import json

import click
import torch
from avatars import ATTRIBUTES, NAMES, AvatarRenderer, code, column, draw_labels, visible
from captions import compose
from torch import Tensor
from train_clip import SINGLE, by_attribute
from train_generator import labels_of_latent
from training import WORK, ZOO

from styleatlas import load_encoder, load_generator, zoo
from styleatlas.engine.pictures import save_png, sheet
from styleatlas.engine.sampling import latents_from_seeds, render_batches
from styleatlas.prompts.embed import embed_prompts
from styleatlas.prompts.sets import AVATAR_TEMPLATES
from styleatlas.zoo.judge import Judge

COUNT = 1000


def judged(judge: Judge, images: Tensor) -> Tensor:
    """The judge's reading as labels (n, attributes)."""
    reading = judge.read(images)
    columns = [torch.tensor([code(name, value) for value in reading[name]]) for name in NAMES]
    return torch.stack(columns, 1)


def share(labels: Tensor, attribute: str, value: str) -> float:
    """The share of a value among the avatars that show the attribute."""
    i = column(attribute)
    seen = visible(labels)[:, i]
    return float((labels[seen, i] == code(attribute, value)).float().mean())


def percent(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(100 * value, 1) for name, value in figures.items()}


@torch.inference_mode()
def main() -> None:
    judge, encoder, generator = Judge(), load_encoder(zoo.NAME), load_generator(zoo.NAME)
    render = AvatarRenderer(WORK / "layers.npz")
    labels = draw_labels(COUNT, torch.Generator().manual_seed(10_000_019))
    images = render(labels)

    embeddings = torch.cat([encoder.images(part) for part in images.split(250)])
    columns = []
    for name, values in ATTRIBUTES.items():
        prompts = [compose([SINGLE[name, value][0]], "face", "{}") for value in values]
        texts = embed_prompts(prompts, AVATAR_TEMPLATES, lambda t: encoder.texts(t).numpy())
        columns.append((embeddings @ torch.from_numpy(texts).t()).argmax(1))
    zero_shot = by_attribute(torch.stack(columns, 1) == labels, labels)

    z = latents_from_seeds(range(COUNT), generator.z_dim)
    styles = generator.styles(generator.map(z, truncation=0.7))
    generated = torch.cat(list(render_batches(generator, styles)))
    read, meant = judged(judge, generated), labels_of_latent(z)
    shares = {}
    data = draw_labels(100_000, torch.Generator().manual_seed(3))
    for name, values in ATTRIBUTES.items():
        for value in values:
            drawn, wanted = share(read, name, value), share(data, name, value)
            shares[f"{name}: {value}"] = round(drawn / wanted, 2)
    figures = {
        "clip_zero_shot_percent": percent(zero_shot),
        "judge_percent": percent(by_attribute(judged(judge, images) == labels, labels)),
        "generator_draws_what_the_latent_means_percent": percent(
            by_attribute(read == meant, meant)
        ),
        "generator_share_relative_to_data": shares,
    }
    (ZOO / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    save_png(sheet([generated[i : i + 16] for i in range(0, 128, 16)]), ZOO / "samples.png")
    click.echo(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
