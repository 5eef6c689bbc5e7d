"""Trains the identity network on drawings: `python zoo/making/train_identity.py`. Resumable.

The cosine of any two avatars of a batch is to be the share of identity attributes in which they
agree: 1 for the same avatar whatever its mood, glasses, clothes and background, and a shaved
beard costs a part, not all. A batch holds every identity twice. Half of it is blurred, faded,
stained or grainy, as for the judge.
"""

from __future__ import annotations

import click
import torch
from avatars import AvatarRenderer, column, draw_labels, visible
from safetensors.torch import save_file
from torch import Tensor
from training import WORK, ZOO, Run, corrupt, cosine

from styleatlas.engine.networks.attributes import IdentityNetwork

BATCH, STEPS = 96, 1_800
IDENTITY = ("hair", "hair colour", "skin", "facial hair")
COLUMNS = [column(attribute) for attribute in IDENTITY]


def identities(labels: Tensor) -> Tensor:
    """Labels (n, attributes) -> what makes the identity (n, 4); -1 is a hair colour that cannot
    be seen."""
    return labels.where(visible(labels), -1)[:, COLUMNS]


def agreement(a: Tensor, b: Tensor) -> Tensor:
    """The share of identity attributes in which avatars agree: labels (n, attributes) and
    (m, attributes) -> (n, m), 0 to 1."""
    return (identities(a)[:, None] == identities(b)[None]).float().mean(2)


def draw_pairs(pairs: int, generator: torch.Generator) -> Tensor:
    """Avatars (2 * pairs, attributes) in random order, each identity twice, all else drawn anew."""
    labels = draw_labels(2 * pairs, generator)
    labels[pairs:, COLUMNS] = labels[:pairs, COLUMNS]
    return labels[torch.randperm(2 * pairs, generator=generator)]


def identity_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Squared error of the cosines of a batch; the few pairs of one identity count as much as
    all the others together."""
    wrong = (embeddings @ embeddings.t() - agreement(labels, labels)).square()
    itself = torch.eye(len(labels), dtype=torch.bool)
    same = (agreement(labels, labels) == 1) & ~itself
    return wrong[same].mean() + wrong[~same & ~itself].mean()


@torch.inference_mode()
def errors(network: IdentityNetwork, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Root mean squared error of the cosines of one identity, and of all others."""
    network.eval()
    embeddings = torch.cat([network(part) for part in images.split(256)])
    network.train()
    wanted = agreement(labels, labels)
    wrong = (embeddings @ embeddings.t() - wanted).square()
    same = (wanted == 1) & ~torch.eye(len(labels), dtype=torch.bool)
    return float(wrong[same].mean().sqrt()), float(wrong[wanted < 1].mean().sqrt())


@click.command()
@click.option("--steps", default=STEPS, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = IdentityNetwork().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=0.02)
    run = Run("identity", {"network": network, "optimizer": optimizer})
    render = AvatarRenderer(WORK / "layers.npz")
    generator = torch.Generator().manual_seed(10_000_019)
    held_out = draw_pairs(500, generator)
    crisp = render(held_out)
    # The first half of the doubled batch is the one that is corrupted.
    smeared = corrupt(torch.cat([crisp, crisp]), generator)[: len(crisp)]
    network.train()
    while run.step < steps:
        generator = torch.Generator().manual_seed(run.step)
        labels = draw_pairs(BATCH // 2, generator)
        images = corrupt(render(labels), generator).contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = cosine(run.step / steps, 2e-3, 1e-5)
        loss = identity_loss(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        run.advance()
        if run.step % 150 == 0:
            words = [f"step {run.step}", f"{run.seconds:.0f}s", f"loss {loss.item():.4f}"]
            for name, batch in (("crisp", crisp), ("corrupted", smeared)):
                same, others = errors(network, batch, held_out)
                words.append(f"{name}: same {same:.3f} others {others:.3f}")
            print(*words, flush=True)
    run.save()
    state = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    save_file(state, ZOO / "identity.safetensors")
    print(f"{run.seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()
