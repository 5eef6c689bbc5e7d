"""Trains the judge on rendered avatars: `python zoo/making/train_judge.py`. Resumable.

Half of every batch is blurred, faded, stained or grainy, so that a smear does not pass for a
feature only because the judge never saw one.
"""

from __future__ import annotations

import json

import click
import torch
import torch.nn.functional as F
from avatars import (
    ATTRIBUTES,
    NAMES,
    SIZES,
    AvatarRenderer,
    by_attribute,
    draw_labels,
    visible,
)
from safetensors.torch import save_file
from torch import Tensor
from training import WORK, ZOO, Run, corrupt, cosine

from styleatlas.engine.networks.attributes import AttributeNetwork

BATCH, STEPS = 96, 1_500
HARD = {"mouth": 2.0, "eyes": 2.0, "facial hair": 1.5, "glasses": 1.5}


def judge_loss(scores: Tensor, labels: Tensor) -> Tensor:
    loss, seen = scores.new_zeros(()), visible(labels)
    for i, (name, part) in enumerate(zip(NAMES, scores.split(SIZES, 1), strict=True)):
        wrong = F.cross_entropy(part[seen[:, i]], labels[seen[:, i], i], label_smoothing=0.02)
        loss = loss + wrong * HARD.get(name, 1.0)
    return loss / len(NAMES)


@torch.inference_mode()
def accuracy(network: AttributeNetwork, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Share of right values of each attribute, over the avatars that show it."""
    network.eval()
    scores = torch.cat([network(part) for part in images.split(256)])
    network.train()
    chosen = torch.stack([part.argmax(1) for part in scores.split(SIZES, 1)], 1)
    return by_attribute(chosen == labels, labels)


@click.command()
@click.option("--steps", default=STEPS, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = AttributeNetwork(sum(SIZES)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=0.02)
    run = Run("judge", {"network": network, "optimizer": optimizer})
    render = AvatarRenderer(WORK / "layers.npz")
    generator = torch.Generator().manual_seed(10_000_019)
    held_out = draw_labels(1000, generator)
    crisp = render(held_out)
    # The first half of the doubled batch is the one that is corrupted.
    smeared = corrupt(torch.cat([crisp, crisp]), generator)[: len(crisp)]
    network.train()
    while run.step < steps:
        generator = torch.Generator().manual_seed(run.step)
        labels = draw_labels(BATCH, generator)
        images = corrupt(render(labels), generator).contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = cosine(run.step / steps, 2e-3, 1e-5)
        loss = judge_loss(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        run.advance()
        if run.step % 250 == 0:
            figures = accuracy(network, crisp, held_out)
            words = " ".join(f"{k} {v:.3f}" for k, v in figures.items())
            print(f"judge {run.step} {run.seconds:.0f}s loss {loss.item():.3f} {words}", flush=True)
    run.save()
    state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    metadata = {"attributes": json.dumps({k: list(v) for k, v in ATTRIBUTES.items()})}
    ZOO.mkdir(parents=True, exist_ok=True)
    save_file(state, ZOO / "judge.safetensors", metadata=metadata)
    report = {
        "crisp": accuracy(network, crisp, held_out),
        "corrupted": accuracy(network, smeared, held_out),
        "minutes": round(run.seconds / 60, 1),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
