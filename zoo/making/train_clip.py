"""Trains the embedded CLIP on rendered avatars: `python zoo/making/train_clip.py`. Resumable.

Two stages, as in locked-image tuning (Zhai et al. 2022). First the image tower learns the
attributes against one free vector per value, at a batch of images alone. Then the text tower
learns to reach the image embeddings, which no longer move, from words: a caption should be equally
close to every avatar it is true of and closer to these than to others, and among one wording of
each value of an attribute the true one should win, which is the zero-shot question itself. A
caption that says nothing of an avatar is true of every one.

Atlases hold what the image tower sees. `--texts` takes it, and the text tower to begin with, from
the weights that ship, and trains the text tower alone: atlases stay valid but for their banks.
"""

from __future__ import annotations

import json
import random
import re

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
from bpe import learn_merges, write_merges
from captions import (
    ATTRIBUTE_WEIGHT,
    NOUNS,
    SINGLE,
    compose,
    draw_caption,
    holds,
    zero_shot,
)
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from training import WORK, ZOO, Run, corrupt, cosine
from wordings import Caption, draw_wording, wording_of

from styleatlas.store.registry import EMBEDDED

CONTEXT = 32
BATCH = 64  # images a step of the first stage
# Captions a step of the second, PLAIN of them in plain words, against POOL of the CACHE embedded
# images.
CAPTIONS, PLAIN = 96, 28
NOTHING = 0.33  # of the others: say nothing of an avatar
EMPTY = 3.0  # times as much is a caption worth that says nothing
APART = 0.3  # the cosine of two such captions of unknown words, at most
POOL, CACHE = 512, 24_576
IMAGE_STEPS, TEXT_STEPS = 1_800, 1_300
CACHE_SEED = 1
MERGES = 640
FOLDER = ZOO / "clip"
WEIGHTS = FOLDER / "open_clip_model.safetensors"


def tokenizer() -> SimpleTokenizer:
    path = FOLDER / "bpe.txt.gz"
    if not path.exists():
        random.seed(0)
        words = [w for _ in range(40_000) for w in re.findall(r"[a-z]+", draw_caption()[0].lower())]
        FOLDER.mkdir(parents=True, exist_ok=True)
        write_merges(learn_merges(words, MERGES), path)
    return SimpleTokenizer(bpe_path=str(path), context_length=CONTEXT)


def configuration(vocabulary: int) -> dict[str, object]:
    return {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32},
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": vocabulary,
            "width": 128,
            "heads": 4,
            "layers": 2,
        },
    }


def value_captions(attribute: str) -> list[str]:
    """One wording of each value: as people write them, or plain ones in one frame of words."""
    if random.random() < 0.6:
        return [wording_of(attribute, value) for value in ATTRIBUTES[attribute]]
    noun, template = random.choice(NOUNS), random.choice(EMBEDDED.templates)
    texts = []
    for value in ATTRIBUTES[attribute]:
        phrase = random.choice(SINGLE[attribute, value])
        bare = random.random() < 0.2
        texts.append(template.format(phrase.text) if bare else compose([phrase], noun, template))
    return texts


def image_loss(vision: Tensor, prototypes: Tensor, scale: Tensor, labels: Tensor) -> Tensor:
    """Weighted cross-entropy of each attribute's value. vision (n, D); prototypes (values, D)."""
    logits = scale.exp().clamp(max=50) * F.normalize(vision, dim=1) @ prototypes.t()
    loss, seen = logits.new_zeros(()), visible(labels)
    for i, (name, part) in enumerate(zip(NAMES, logits.split(SIZES, 1), strict=True)):
        wrong = F.cross_entropy(part[seen[:, i]], labels[seen[:, i], i])
        loss = loss + wrong * ATTRIBUTE_WEIGHT[name]
    return loss / len(NAMES)


def short_caption(tokenize: SimpleTokenizer) -> Caption:
    """A caption as people write them, of those that are read to their end."""
    while True:
        caption = draw_wording(NOTHING)
        if len(tokenize.encode(caption.text)) + 2 <= CONTEXT:
            return caption


def text_loss(model: CLIP, tokenize: SimpleTokenizer, vision: Tensor, labels: Tensor) -> Tensor:
    """vision (n, D) unit embeddings of avatars with labels (n, attributes)."""
    captions = [Caption(*draw_caption(), foreign=False) for _ in range(PLAIN)]
    captions += [short_caption(tokenize) for _ in range(CAPTIONS - PLAIN)]
    values = [text for name in NAMES for text in value_captions(name)]
    texts = encode_text(model, tokenize([caption.text for caption in captions] + values))
    scale = model.logit_scale

    true = torch.stack([holds(caption.phrases, labels) for caption in captions])  # (captions, n)
    some = true.any(1)
    target = true[some].float()
    logits = scale.exp().clamp(max=50) * texts[:CAPTIONS][some] @ vision.t()
    target = target / target.sum(1, keepdim=True)
    # Less the entropy of the target, the loss reads as distance from optimum.
    entropy = torch.special.entr(target).sum(1)
    loss = F.cross_entropy(logits, target, reduction="none") - entropy
    weight = torch.tensor([1.0 if caption.phrases else EMPTY for caption in captions])[some]
    loss = (weight * loss).sum() / len(captions)
    # Words that mean nothing go apart where no image differs, and little of them is left where
    # images do.
    foreign = texts[:CAPTIONS][torch.tensor([caption.foreign for caption in captions])]
    cosines = foreign @ foreign.t()
    loss = loss + 0.5 * F.relu(cosines - APART).mean()
    return loss + image_loss(vision, texts[CAPTIONS:], scale, labels)


def encode_text(model: CLIP, tokens: Tensor) -> Tensor:
    """open_clip's text tower on parts of like length, cut to the longest; causal, so equal."""
    order = (tokens != 0).sum(1).argsort()
    parts = [_encoded(model, tokens[part]) for part in order.chunk(4)]
    return torch.cat(parts)[order.argsort()]


def _encoded(model: CLIP, tokens: Tensor) -> Tensor:
    length = int((tokens != 0).sum(1).max())
    tokens = tokens[:, :length]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(x)), tokens.argmax(1)]
    return F.normalize(x @ model.text_projection, dim=1)


@torch.no_grad()
def embed(model: CLIP, images: Tensor) -> Tensor:
    """Unit image embeddings by the tower as it will be used (running statistics)."""
    training = model.visual.training
    model.visual.eval()
    vision = torch.cat([model.visual(part) for part in images.split(256)])
    model.visual.train(training)
    return F.normalize(vision, dim=1)


def export(model: CLIP) -> None:
    """open_clip's folder layout: a configuration and the weights, which are stored in half. Halves
    that were read stay as they were."""
    weights = {k: v.detach().half().contiguous() for k, v in model.state_dict().items()}
    save_file(weights, WEIGHTS)
    config = {
        "model_cfg": configuration(model.vocab_size),
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    }
    (FOLDER / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")


def train_images(model: CLIP, render: AvatarRenderer, steps: int) -> Run:
    prototypes = nn.Parameter(torch.randn(sum(SIZES), model.visual.output_dim))
    holder = nn.ParameterDict({"prototypes": prototypes, "scale": nn.Parameter(torch.tensor(2.5))})
    model.visual.to(memory_format=torch.channels_last)
    parameters = [*model.visual.parameters(), *holder.parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.99), weight_decay=0.02)
    run = Run("clip-images", {"model": model, "heads": holder, "optimizer": optimizer})
    held_out = draw_labels(1000, torch.Generator().manual_seed(10_000_019))
    test = render(held_out)
    model.visual.train()
    while run.step < steps:
        generator = torch.Generator().manual_seed(run.step)
        labels = draw_labels(BATCH, generator)
        images = corrupt(render(labels), generator).contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = cosine(run.step / steps, 2e-3, 1e-5)
        vectors = F.normalize(holder["prototypes"], dim=1)
        loss = image_loss(model.visual(images), vectors, holder["scale"], labels)
        step(loss, optimizer, parameters)
        run.advance()
        if run.step % 250 == 0:
            right = embed(model, test) @ vectors.detach().t()
            chosen = torch.stack([part.argmax(1) for part in right.split(SIZES, 1)], 1)
            figures = by_attribute(chosen == held_out, held_out)
            report("image tower", run, loss, figures)
    run.save()
    return run


def train_texts(model: CLIP, tokenize: SimpleTokenizer, render: AvatarRenderer, steps: int) -> Run:
    parameters = [p for n, p in model.named_parameters() if not n.startswith("visual.")]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.02)
    run = Run("clip-texts", {"model": model, "optimizer": optimizer})
    generator = torch.Generator().manual_seed(CACHE_SEED)
    cache_labels = draw_labels(CACHE, generator)
    parts = cache_labels.split(512)
    cache = torch.cat([embed(model, corrupt(render(part), generator)) for part in parts])
    held_out = draw_labels(1000, torch.Generator().manual_seed(10_000_019))
    test = embed(model, render(held_out))

    @torch.no_grad()
    def words(texts: list[str]) -> Tensor:
        return encode_text(model, tokenize(texts))

    while run.step < steps:
        random.seed(run.step)
        chosen = torch.randperm(CACHE, generator=torch.Generator().manual_seed(run.step))[:POOL]
        for group in optimizer.param_groups:
            group["lr"] = cosine(run.step / steps, 1e-3, 1e-5)
        loss = text_loss(model, tokenize, cache[chosen], cache_labels[chosen])
        step(loss, optimizer, parameters)
        run.advance()
        if run.step % 250 == 0:
            report("text tower", run, loss, zero_shot(words, test, held_out))
    run.save()
    export(model)
    return run


def step(loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def report(stage: str, run: Run, loss: Tensor, figures: dict[str, float]) -> None:
    words = " ".join(f"{k} {v:.3f}" for k, v in figures.items())
    print(f"{stage} {run.step} {run.seconds:.0f}s loss {loss.item():.3f} {words}", flush=True)


@click.command()
@click.option("--image-steps", default=IMAGE_STEPS, show_default=True)
@click.option("--text-steps", default=TEXT_STEPS, show_default=True)
@click.option("--texts", is_flag=True, help="Go on with the text tower of the shipped weights.")
@click.option("--threads", default=1, show_default=True)
def main(image_steps: int, text_steps: int, texts: bool, threads: int) -> None:
    torch.set_num_threads(threads)
    tokenize = tokenizer()
    torch.manual_seed(0)
    model = CLIP(**configuration(tokenize.vocab_size))  # type: ignore[arg-type]
    render = AvatarRenderer(WORK / "layers.npz")
    if texts:
        model.load_state_dict(load_file(WEIGHTS))
    else:
        first = train_images(model, render, image_steps)
        print(f"minutes, images: {first.seconds / 60:.1f}")
    second = train_texts(model, tokenize, render, text_steps)
    print(f"minutes, texts: {second.seconds / 60:.1f}")


if __name__ == "__main__":
    main()
