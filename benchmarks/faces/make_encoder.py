"""Makes the joint encoder of faces: `python benchmarks/faces/make_encoder.py --work FOLDER`.

Everything is made of pictures of the bundle `faces`, which show nobody, in six stages. A stage that
was done is skipped, and each ends after `--minutes`: run the command again until it says that all
is done.

    render    4,000 pictures, 256 px
    read      what the readers of `attributes.py` tell of them, as probabilities
    images    the image tower learns the attributes, against one free vector a value
    texts     the text tower learns to reach the images, which no longer move, from captions
    check     how often it agrees with the labels of 351 other pictures, by words alone
    export    a folder in open_clip's layout beside this script

Captions are true of many pictures, and so each is drawn to all that it is true of, by what was
read of them. Small and made for one generator, it knows nothing but those attributes.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import time
from collections.abc import Iterable
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from attributes import ATTRIBUTES as READ
from attributes import CHECKS, ENTERED, Attributes, agreement, labelled
from face_captions import DATA, Caption, Writer, truth
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file
from torch import Tensor, nn

from styleatlas import load_encoder, load_generator, styles_from_seeds
from styleatlas.prompts.sets import TEMPLATES, VOCABULARY
from styleatlas.zoo.making.bpe import learn_merges, write_merges

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "encoder"
# Stubble is too rare to be learnt, and without it `beard` says the same.
ATTRIBUTES = {name: READ[name].values for name in ENTERED if name != "facial hair"}
FIRST_SEED, SHARDS, SHARD = 100_001, 16, 250
SIDE, SEEN = 256, 128  # pixels that are kept, and that the image tower sees
BATCH, EPOCHS = 64, 18
CAPTIONS, TEXT_STEPS = 160, 1_000
CONTEXT, MERGES = 32, 900
EMPTY = 3.0  # times as much is a caption worth that states nothing
APART = 0.3  # the cosine of two such captions of unknown words, at most
LIKELY = 0.5  # a caption is true of the pictures of which it is likelier than that
CPU = torch.device("cpu")


class Deadline:
    """The end of what one call of the script may take."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def check(self, stage: str, path: Path | None = None, state: object = None) -> None:
        """End the program when the time is over; `state` is kept at `path` before."""
        if time.monotonic() > self.end:
            if path is not None:
                keep(path, state)
            print(f"{stage}: goes on when this is run again", flush=True)
            raise SystemExit(0)


def keep(path: Path, state: object) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def psi_of(seed: int) -> float:
    return 0.7 if seed % 3 == 0 else 1.0


def rendered(seeds: Iterable[int], psi: float | None = None) -> np.ndarray:
    """Pictures of seeds (n, 256, 256, 3), uint8."""
    generator = load_generator("faces")
    pictures = []
    for seed in seeds:
        with torch.inference_mode():
            x = generator.render(styles_from_seeds(generator, [seed], psi or psi_of(seed)))
            x = F.adaptive_avg_pool2d(x, SIDE)[0].clamp(-1, 1)
        pictures.append(((x.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy())
    return np.stack(pictures)


def as_images(pictures: np.ndarray) -> Tensor:
    """(n, H, W, 3) uint8 -> (n, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)
    os.replace(temporary, path)


def shards(work: Path, kind: str) -> list[Path]:
    suffix = "npy" if kind == "images" else "npz"
    return [work / f"{kind}-{k:03d}.{suffix}" for k in range(SHARDS)]


def render(work: Path, deadline: Deadline) -> None:
    for k, path in enumerate(shards(work, "images")):
        if not path.exists():
            deadline.check("render")
            first = FIRST_SEED + SHARD * k
            temporary = path.with_suffix(".tmp.npy")
            np.save(temporary, rendered(range(first, first + SHARD)))
            os.replace(temporary, path)
            print(f"render: {path.name}", flush=True)
    path = work / "images-check.npz"
    if not path.exists():
        deadline.check("render")
        write_arrays(path, low=rendered(range(1, 61), 0.7), high=rendered(range(61, 121), 1.0))
    path = work / "images-rare.npz"
    if not path.exists():
        deadline.check("render")
        seeds = [int(row["seed"]) for row in labelled(HERE / CHECKS[1])]
        write_arrays(path, high=rendered(seeds, 1.0))


def read(work: Path, deadline: Deadline) -> None:
    reader: Attributes | None = None
    for source, path in zip(shards(work, "images"), shards(work, "read"), strict=True):
        if not path.exists():
            deadline.check("read")
            reader = reader or Attributes()
            parts = [reader.read(part) for part in as_images(np.load(source)).split(25)]
            found = {name: np.concatenate([p[name] for p in parts]) for name in ATTRIBUTES}
            write_arrays(path, **found)
            print(f"read: {path.name}", flush=True)


def as_seen(pictures: np.ndarray) -> Tensor:
    """Pictures (n, H, H, 3) as the image tower sees them, (n, 3, 128, 128); uint8, both."""
    x = as_images(pictures)
    x = F.interpolate(x, (SEEN, SEEN), mode="bicubic", antialias=True, align_corners=False)
    return ((x.clamp(-1, 1) + 1) * 127.5).round().byte()


def loaded(work: Path) -> tuple[Tensor, dict[str, Tensor]]:
    """The pictures as the image tower sees them, (n, 3, 128, 128) uint8, and their attributes'
    probabilities, (n, values)."""
    parts = [as_seen(np.load(path)) for path in shards(work, "images")]
    found = [np.load(path) for path in shards(work, "read")]
    joined = {name: np.concatenate([part[name] for part in found]) for name in ATTRIBUTES}
    return torch.cat(parts), {k: torch.from_numpy(v).float() for k, v in joined.items()}


def mirrored(attribute: str, values: Tensor) -> Tensor:
    """The probabilities (n, values) of an attribute, of the pictures' mirror images."""
    if attribute != "turn":
        return values
    names = ATTRIBUTES[attribute]
    swap = {"left": "right", "right": "left"}
    return values[:, [names.index(swap.get(name, name)) for name in names]]


def tokenizer(work: Path) -> SimpleTokenizer:
    path = work / "bpe.txt.gz"
    if not path.exists():
        random.seed(0)
        writer = Writer(ATTRIBUTES)
        texts = (writer.draw().text.lower() for _ in range(40_000))
        words = [word for text in texts for word in re.findall(r"[a-z]+", text)]
        write_merges(learn_merges(words, MERGES), path)
    return SimpleTokenizer(bpe_path=str(path), context_length=CONTEXT)


def configuration(vocabulary: int) -> dict[str, object]:
    text = {"context_length": CONTEXT, "vocab_size": vocabulary, "width": 128, "heads": 4}
    vision = {"image_size": SEEN, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32}
    return {"embed_dim": 128, "vision_cfg": vision, "text_cfg": {**text, "layers": 2}}


def new_model(tokenize: SimpleTokenizer) -> CLIP:
    torch.manual_seed(0)
    return CLIP(**configuration(tokenize.vocab_size))  # type: ignore[arg-type]


def rate(progress: float, first: float) -> float:
    """A learning rate with a linear warm-up and a cosine to nothing."""
    return first * min(progress / 0.04, 0.5 * (1 + math.cos(math.pi * progress)) + 1e-3)


def varied(images: Tensor) -> Tensor:
    """Pictures (n, 3, H, W) in [-1, 1], each a little shifted, turned, scaled and otherwise lit."""
    n = len(images)
    angle, scale = 0.06 * torch.randn(n), 1 + 0.05 * torch.randn(n)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
    shift = 0.04 * torch.randn(n, 2, 1)
    theta = torch.cat([rotation * scale[:, None, None], shift], 2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    gain, bias = 1 + 0.08 * torch.randn(n, 1, 1, 1), 0.05 * torch.randn(n, 3, 1, 1)
    return moved * gain + bias


def worths(probabilities: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a picture of each value counts, by its attribute's probabilities (n, values): as the
    inverse square root of how frequent the value is, else what is rare would not be learnt. The
    mean over the pictures is 1."""
    roots = {name: likely.mean(0).sqrt() for name, likely in probabilities.items()}
    return {name: 1 / (root * root.sum()) for name, root in roots.items()}


def values_loss(logits: Tensor, wanted: dict[str, Tensor], worth: dict[str, Tensor]) -> Tensor:
    """The mean over attributes of the divergence from what was read; logits (n, all values)."""
    parts = logits.split([len(values) for values in ATTRIBUTES.values()], 1)
    losses = []
    for name, part in zip(ATTRIBUTES, parts, strict=True):
        likely = wanted[name]
        apart = F.cross_entropy(part, likely, reduction="none") - torch.special.entr(likely).sum(1)
        losses.append((likely @ worth[name] * apart).mean())
    return torch.stack(losses).mean()


def train_images(work: Path, deadline: Deadline) -> None:
    """The image tower by soft labels, against a free vector for each value."""
    done, path = work / "images.pt", work / "images-training.pt"
    if done.exists():
        return
    pictures, probabilities = loaded(work)
    worth = worths(probabilities)
    tower = new_model(tokenizer(work)).visual.to(memory_format=torch.channels_last).train()
    count = sum(len(values) for values in ATTRIBUTES.values())
    heads = nn.ParameterDict(
        {"vectors": nn.Parameter(torch.randn(count, 128)), "scale": nn.Parameter(torch.tensor(2.5))}
    )
    parameters = [*tower.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.99), weight_decay=0.05)
    state = {"tower": tower, "heads": heads, "optimizer": optimizer}
    epoch, seconds = resumed(path, state)
    steps = len(pictures) // BATCH
    while epoch < EPOCHS:
        start = time.monotonic()
        torch.manual_seed(epoch)
        total = 0.0
        for step, chosen in enumerate(torch.randperm(len(pictures)).split(BATCH)[:steps]):
            images = pictures[chosen].float() / 127.5 - 1
            wanted = {name: values[chosen] for name, values in probabilities.items()}
            if torch.rand(()) < 0.5:
                images = images.flip(3)
                wanted = {name: mirrored(name, values) for name, values in wanted.items()}
            images = varied(images).contiguous(memory_format=torch.channels_last)
            for group in optimizer.param_groups:
                group["lr"] = rate((epoch + (step + 1) / steps) / EPOCHS, 2e-3)
            vectors = F.normalize(heads["vectors"], dim=1)
            logits = heads["scale"].exp().clamp(max=50) * F.normalize(tower(images), dim=1)
            loss = values_loss(logits @ vectors.t(), wanted, worth)
            total += stepped(loss, optimizer, parameters)
        epoch, seconds = epoch + 1, seconds + time.monotonic() - start
        print(f"images: epoch {epoch}, {seconds:.0f} s, loss {total / steps:.4f}", flush=True)
        deadline.check("images", path, snapshot(state, epoch, seconds))
    keep(done, snapshot({"tower": tower}, epoch, seconds))


def snapshot(state: dict[str, object], step: int, seconds: float) -> dict[str, object]:
    parts = {name: item.state_dict() for name, item in state.items()}  # type: ignore[attr-defined]
    return {"state": parts, "step": step, "seconds": seconds}


def resumed(path: Path, state: dict[str, object]) -> tuple[int, float]:
    """Loads what was kept; the steps and seconds that were done."""
    if not path.exists():
        return 0, 0.0
    saved = torch.load(path, weights_only=True)
    for name, item in state.items():
        item.load_state_dict(saved["state"][name])  # type: ignore[attr-defined]
    return saved["step"], saved["seconds"]


def stepped(
    loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]
) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    return loss.item()


@torch.no_grad()
def embedded(tower: nn.Module, pictures: Tensor) -> Tensor:
    """Unit embeddings (n, 128) of pictures (n, 3, 128, 128), uint8."""
    tower.eval()
    parts = [tower(part.float() / 127.5 - 1) for part in pictures.split(100)]
    return F.normalize(torch.cat(parts), dim=1)


def encode(model: CLIP, tokens: Tensor) -> Tensor:
    """open_clip's text tower on parts of like length, cut to the longest; causal, so equal."""
    order = (tokens != 0).sum(1).argsort()
    parts = []
    for part in order.chunk(4):
        length = int((tokens[part] != 0).sum(1).max())
        cut = tokens[part, :length]
        x = model.token_embedding(cut) + model.positional_embedding[:length]
        x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
        x = model.ln_final(x)[torch.arange(len(x)), cut.argmax(1)]
        parts.append(F.normalize(x @ model.text_projection, dim=1))
    return torch.cat(parts)[order.argsort()]


def texts_loss(
    model: CLIP,
    tokenize: SimpleTokenizer,
    writer: Writer,
    vision: Tensor,
    probabilities: dict[str, Tensor],
) -> Tensor:
    """vision (n, 128) unit embeddings of pictures with these probabilities."""
    captions = [short(writer, tokenize) for _ in range(CAPTIONS)]
    values = [caption.text for name in ATTRIBUTES for caption in writer.wordings(name)]
    texts = encode(model, tokenize([caption.text for caption in captions] + values))
    return captions_loss(captions, texts, model.logit_scale, vision, probabilities)


def captions_loss(
    captions: list[Caption],
    texts: Tensor,
    logit_scale: Tensor,
    vision: Tensor,
    probabilities: dict[str, Tensor],
) -> Tensor:
    """texts (n, 128) unit embeddings: of the captions, then of one wording of each value."""
    scale = logit_scale.exp().clamp(max=50)
    likely = torch.stack([truth(caption, probabilities, ATTRIBUTES) for caption in captions])
    target = likely * (likely > LIKELY)  # (captions, n)
    some = target.sum(1) > 0
    target = target[some] / target[some].sum(1, keepdim=True)
    logits = scale * texts[: len(captions)][some] @ vision.t()
    # Less the entropy of the target, the loss reads as distance from the optimum.
    loss = F.cross_entropy(logits, target, reduction="none") - torch.special.entr(target).sum(1)
    weight = torch.tensor([1.0 if caption.phrases else EMPTY for caption in captions])[some]
    total = (weight * loss).sum() / len(captions)
    # Words that mean nothing go apart where no image differs, and little of them is left where
    # images do.
    foreign = texts[: len(captions)][torch.tensor([caption.foreign for caption in captions])]
    total = total + 0.5 * F.relu(foreign @ foreign.t() - APART).mean()
    logits = scale * vision @ texts[len(captions) :].t()
    return total + values_loss(logits, probabilities, worths(probabilities))


def short(writer: Writer, tokenize: SimpleTokenizer) -> Caption:
    """A caption that is read to its end."""
    while True:
        caption = writer.draw()
        if len(tokenize.encode(caption.text)) + 2 <= CONTEXT:
            return caption


def train_texts(work: Path, deadline: Deadline) -> None:
    done, path = work / "texts.pt", work / "texts-training.pt"
    if done.exists():
        return
    tokenize, writer = tokenizer(work), Writer(ATTRIBUTES)
    model = new_model(tokenize)
    resumed(work / "images.pt", {"tower": model.visual})
    pictures, probabilities = loaded(work)
    vision = embedded(model.visual, pictures)
    parameters = [p for n, p in model.named_parameters() if not n.startswith("visual.")]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.02)
    state = {"model": model, "optimizer": optimizer}
    step, seconds = resumed(path, state)
    start = time.monotonic()
    while step < TEXT_STEPS:
        random.seed(step)
        chosen = torch.from_numpy(np.random.default_rng(step).permutation(len(vision))[:2000])
        some = {name: values[chosen] for name, values in probabilities.items()}
        for group in optimizer.param_groups:
            group["lr"] = rate((step + 1) / TEXT_STEPS, 1e-3)
        loss = texts_loss(model, tokenize, writer, vision[chosen], some)
        value = stepped(loss, optimizer, parameters)
        step += 1
        if step % 100 == 0:
            passed = seconds + time.monotonic() - start
            print(f"texts: step {step}, {passed:.0f} s, loss {value:.4f}", flush=True)
        deadline.check("texts", path, snapshot(state, step, seconds + time.monotonic() - start))
    keep(done, snapshot({"model": model}, step, seconds + time.monotonic() - start))


def export(work: Path) -> None:
    """open_clip's layout: a configuration, the vocabulary, and the weights, stored in half."""
    tokenize = tokenizer(work)
    model = new_model(tokenize)
    resumed(work / "texts.pt", {"model": model})
    FOLDER.mkdir(exist_ok=True)
    weights = {k: v.detach().half().contiguous() for k, v in model.state_dict().items()}
    save_file(weights, FOLDER / "open_clip_model.safetensors")
    half = [0.5, 0.5, 0.5]
    config = {
        "model_cfg": configuration(tokenize.vocab_size),
        "preprocess_cfg": {"mean": half, "std": half},
    }
    (FOLDER / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (FOLDER / "bpe.txt.gz").write_bytes((work / "bpe.txt.gz").read_bytes())
    phrases, sentences = Writer(ATTRIBUTES).vocabulary(), dict.fromkeys(DATA["templates"])
    for file, lines in ((VOCABULARY, phrases), (TEMPLATES, sentences)):
        (FOLDER / file).write_text("\n".join(lines) + "\n", "utf-8")


def held_out(work: Path) -> tuple[list[np.ndarray], list[dict[str, str]]]:
    """The labelled pictures, (n, 256, 256, 3) uint8 in parts, and their labels, in that order."""
    check, rare = (np.load(work / f"images-{name}.npz") for name in ("check", "rare"))
    rows = [row for name in CHECKS for row in labelled(HERE / name)]
    return [check["low"], check["high"], rare["high"]], rows


def check(work: Path) -> None:
    """How often the nearest of plain texts, one a value, is that of the label."""
    encoder = load_encoder(str(FOLDER))
    pictures, rows = held_out(work)
    vision = torch.cat([encoder.images(as_images(part)) for part in pictures])
    writer = Writer(ATTRIBUTES)
    print(f"{'attribute':12} {'n':>4} {'right':>6} {'mean of values':>15} {'commonest':>10}")
    for name, values in ATTRIBUTES.items():
        texts = [writer.plainest(name, value) for value in values]
        told = (vision @ encoder.texts(texts).t()).argmax(1).numpy()
        labels = READ[name].labels(rows)
        told, labels = told[labels >= 0], labels[labels >= 0]
        right, each = agreement(labels, told)
        most = np.bincount(labels).max() / len(labels)
        share = f"{right:6.1%} {each:15.1%} {most:10.1%}"
        print(f"{name:12} {len(labels):4} {share}  {' | '.join(texts)}")


@click.command()
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Keeps what is done.")
@click.option("--minutes", default=9.0, show_default=True, help="End after about that time.")
@click.option("--threads", default=2, show_default=True)
def main(work: Path, minutes: float, threads: int) -> None:
    torch.set_num_threads(threads)
    work.mkdir(parents=True, exist_ok=True)
    deadline = Deadline(minutes)
    render(work, deadline)
    read(work, deadline)
    train_images(work, deadline)
    train_texts(work, deadline)
    export(work)
    check(work)
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    spent = [torch.load(work / f"{stage}.pt", weights_only=True)["seconds"] for stage in
             ("images", "texts")]  # fmt: skip
    print(f"all is done: {size / 1e6:.1f} MB; trained {spent[0]:.0f} s and {spent[1]:.0f} s")


if __name__ == "__main__":
    main()
