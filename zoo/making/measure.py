"""Measures the embedded models as they ship: `python zoo/making/measure.py`.

Over 1,000 renders of avatars that no training drew: zero-shot accuracy of CLIP and accuracy of the
judge, of every attribute where it can be seen; cosines of the identity network between each of them
and the same one changed, drawn and generated. Over 1,000 generated avatars (psi 0.7): how often
each value occurs as the judge reads it, relative to its share in the data, and how often the
generator drew what its latent stands for. Writes `figures.json` and a grid of generated avatars
beside the models.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import click
import torch
import train_clip
import train_identity
import train_judge
from avatars import (
    ATTRIBUTES,
    NAMES,
    SIZES,
    AvatarRenderer,
    by_attribute,
    code,
    column,
    draw_labels,
    visible,
)
from captions import zero_shot
from torch import Tensor
from train_generator import CODES, labels_of_latent, one_hot
from train_identity import IDENTITY, draw_pairs, identities
from training import WORK, ZOO

from styleatlas import load_encoder, load_generator
from styleatlas.engine.checkpoints.identity_file import read_identity_network
from styleatlas.engine.evaluation.judges import AttributeJudge
from styleatlas.engine.models.sampling import latents_from_seeds, render_batches
from styleatlas.engine.networks.attributes import IdentityNetwork
from styleatlas.engine.pictures.sheet import sheet
from styleatlas.engine.steering.texts import encode_with
from styleatlas.prompts.embed import embed_prompts
from styleatlas.store.registry import EMBEDDED

COUNT = 1000
# Between the cosine of the same avatar, 1, and of one that differs in one of four attributes.
SAME_ABOVE = 0.875
# What the same avatar is seen with.
LOOKS = {
    "another mood": ("mouth", "eyes"),
    "other glasses": ("glasses",),
    "other clothes and background": ("clothes", "background"),
    "all of these": ("mouth", "eyes", "glasses", "clothes", "background"),
}


def held_out() -> Tensor:
    """The first avatars of a seed of their own that no training step of CLIP, of the judge or of
    the identity network drew. There are 483,840 avatars in all, so a seed alone does not keep them
    apart."""

    def draw(count: int, seed: int) -> Tensor:
        return draw_labels(count, torch.Generator().manual_seed(seed))

    drawn = [draw(train_clip.BATCH, step) for step in range(train_clip.IMAGE_STEPS)]
    drawn += [draw(train_judge.BATCH, step) for step in range(train_judge.STEPS)]
    drawn += [draw(train_clip.CACHE, train_clip.CACHE_SEED)]
    for step in range(train_identity.STEPS):
        generator = torch.Generator().manual_seed(step)
        drawn.append(draw_pairs(train_identity.BATCH // 2, generator))
    trained_on = set(map(tuple, torch.cat(drawn).tolist()))
    fresh = [row for row in draw(3 * COUNT, 10_000_019).tolist() if tuple(row) not in trained_on]
    return torch.tensor(fresh[:COUNT])


def judged(judge: AttributeJudge, images: Tensor) -> Tensor:
    """The judge's reading as labels (n, attributes)."""
    reading = judge.read(images)
    columns = [torch.tensor([code(name, value) for value in reading[name]]) for name in NAMES]
    return torch.stack(columns, 1)


def share(labels: Tensor, attribute: str, value: str) -> float:
    """The share of a value among the avatars that show the attribute."""
    i = column(attribute)
    seen = visible(labels)[:, i]
    return float((labels[seen, i] == code(attribute, value)).float().mean())


def changed(labels: Tensor, attributes: tuple[str, ...], generator: torch.Generator) -> Tensor:
    """The avatars with another value of each of these attributes."""
    other = labels.clone()
    for i in map(column, attributes):
        step = torch.randint(1, SIZES[i], (len(labels),), generator=generator)
        other[:, i] = (labels[:, i] + step) % SIZES[i]
    return other


def identity_figures(
    network: IdentityNetwork, draw: Callable[[Tensor], Tensor], labels: Tensor
) -> dict[str, float]:
    """Mean cosines of avatars with the same ones in other looks and with others, and how well
    the cosine tells the same, in another look altogether, from those that differ in one thing."""
    generator = torch.Generator().manual_seed(5)

    def embed(labels: Tensor) -> Tensor:
        return torch.cat([network(part) for part in draw(labels).split(250)])

    embedded = embed(labels)

    def cosines(others: Tensor) -> Tensor:
        return (embedded * embed(others)).sum(1)

    same = {
        name: cosines(changed(labels, attributes, generator)) for name, attributes in LOOKS.items()
    }
    one = {}
    for attribute in IDENTITY:
        others = changed(labels, (attribute,), generator)
        # A hat hides the colour of hair, so that more or less than one attribute may differ.
        one[f"another {attribute}"] = cosines(others)[shared(labels, others) == 0.75]
    others = labels.roll(1, 0)
    anybody = {"anybody else": cosines(others)[shared(labels, others) < 1]}
    a, b = same["all of these"], torch.cat(list(one.values()))
    right = ((a > SAME_ABOVE).float().mean() + (b <= SAME_ABOVE).float().mean()) / 2
    means = (same | one | anybody).items()
    return {name: round(float(values.mean()), 3) for name, values in means} | {
        "area under the curve": round(float((a[:, None] > b).float().mean()), 4),
        "right percent": round(100 * float(right), 1),
    }


def shared(a: Tensor, b: Tensor) -> Tensor:
    """The share of identity attributes in which each of n avatars agrees with another: (n,)."""
    return (identities(a) == identities(b)).float().mean(1)


def percent(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(100 * value, 1) for name, value in figures.items()}


@torch.inference_mode()
def main() -> None:
    judge, encoder = AttributeJudge(EMBEDDED), load_encoder(EMBEDDED.name, "cpu")
    generator = load_generator(EMBEDDED.name, "cpu")
    render = AvatarRenderer(WORK / "layers.npz")
    labels = held_out()
    images = render(labels)

    def words(texts: list[str]) -> Tensor:
        return torch.from_numpy(embed_prompts(texts, EMBEDDED.templates, encode_with(encoder)))

    embeddings = torch.cat([encoder.images(part) for part in images.split(250)])

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

    def generate(labels: Tensor) -> Tensor:
        average = generator.network.mapping.w_avg
        w = torch.lerp(average.expand(len(labels), -1), one_hot(labels) @ CODES, 0.7)
        w = w[:, None].expand(-1, generator.network.config.num_ws, -1)
        return torch.cat(list(render_batches(generator, generator.styles(w))))

    network, _ = read_identity_network(EMBEDDED.identity)
    figures = {
        "clip_zero_shot_percent": percent(zero_shot(words, embeddings, labels)),
        "judge_percent": percent(by_attribute(judged(judge, images) == labels, labels)),
        "identity_cosines_of_drawings": identity_figures(network, render, labels),
        "identity_cosines_of_generated": identity_figures(network, generate, labels),
        "generator_draws_what_the_latent_means_percent": percent(
            by_attribute(read == meant, meant)
        ),
        "generator_share_relative_to_data": shares,
    }
    (ZOO / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    shown = sheet([generated[i : i + 16] for i in range(0, 128, 16)])
    shown.save(ZOO / "samples.webp", quality=92, method=6)
    click.echo(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
