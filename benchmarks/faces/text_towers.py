"""Which text tower understands what: `python benchmarks/faces/text_towers.py --work FOLDER
--minilm FILES`.

Of FOLDER, which `make_encoder.py` filled, the image tower and the own text tower as trained; against
them MiniLM's sentence encoder, frozen, with a small head that learns here from the same captions
and pictures by the same loss. FILES holds its `model.safetensors` and `tokenizer.json`; the package
`tokenizers` is needed. What was done is kept in FOLDER, and the command ends after `--minutes`: run
it again until it prints the table.

    told         labels of 120 pictures that the nearest of plain texts names, as `make_encoder.py`
    AUC          of a label along (wording - neutral): `face_wordings.json`, in words that no caption
                 uses; `plain` are those of the plain texts along (text - "a face")
    named        wordings whose scores of the pictures go most with those of a plain text of theirs
    nonsense     how far the pictures' scores spread along (words - "a face"), where the words mean
                 nothing of a face, by the median spread along plain texts
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from attributes import ATTRIBUTES as READ
from attributes import agreement, labelled
from face_captions import DATA, Caption, Writer, meaningless_words
from make_encoder import (
    ATTRIBUTES, CAPTIONS, LABELS, TEXT_STEPS, Deadline, as_seen, captions_loss, embedded, keep,
    loaded, new_model, rate, resumed, snapshot, stepped, tokenizer,
)  # fmt: skip
from minilm import WIDTH, SentenceEncoder
from numpy.typing import NDArray
from torch import Tensor, nn

from styleatlas.store.records import text_table

WORDINGS = json.loads((Path(__file__).parent / "face_wordings.json").read_text("utf-8"))
POOL, ROUNDS = 20_000, 40  # captions, and rounds of one wording a value, that heads learn from
HIDDEN = 512
FAR = 0.35  # a word is foreign to MiniLM's head whose cosine with all sayings is below

Texts = Callable[[Sequence[str]], Tensor]
"""Texts to unit embeddings (n, 128)."""


@dataclass(frozen=True)
class Wording:
    """A phrase that states, against its neutral one, that an attribute has one of these values."""

    attribute: str
    values: tuple[str, ...]
    neutral: str
    phrase: str


def wordings() -> list[Wording]:
    """Those of `face_wordings.json` whose attribute the encoder learns."""
    return [
        Wording(name, tuple(key.split("|")), neutral, phrase)
        for name, values in WORDINGS["attributes"].items()
        for key, neutrals in values.items()
        for neutral, phrases in neutrals.items()
        for phrase in phrases
        if set(key.split("|")) <= set(ATTRIBUTES.get(name, ()))
    ]


def plain_wordings() -> list[Wording]:
    """The plain texts by which labels are told."""
    writer = Writer(ATTRIBUTES)
    return [
        Wording(name, (value,), "a face", writer.plainest(name, value))
        for name, values in ATTRIBUTES.items()
        for value in values
    ]


def auc(scores: NDArray[np.float32], has: NDArray[np.bool_]) -> float:
    """How often one that has it scores higher than one that has not; equal scores count half."""
    above = scores[has][:, None] - scores[~has]
    return float(((above > 0) + 0.5 * (above == 0)).mean()) if above.size else float("nan")


def far_words(sentence: SentenceEncoder) -> list[str]:
    """Words that mean nothing, but for those that MiniLM takes for neighbours of a saying."""
    said = [
        text.replace("{his}", "the").split("/")[0]
        for name in ATTRIBUTES
        for kinds in DATA["attributes"][name].values()
        for kind in ("is", "has", "wears", "verbs", "at", "people")
        for text in kinds.get(kind, ())
    ]
    words = meaningless_words()
    nearest = (sentence.texts(words) @ sentence.texts(said).t()).amax(1)
    return [word for word, near in zip(words, nearest.tolist(), strict=True) if near < FAR]


def drawn(writer: Writer) -> tuple[list[Caption], list[str]]:
    """The pool of captions, and the rounds of wordings, a value each."""
    random.seed(0)
    captions = [writer.draw() for _ in range(POOL)]
    values = (
        caption.text for _ in range(ROUNDS) for a in ATTRIBUTES for caption in writer.wordings(a)
    )
    return captions, list(values)


def pool_embeddings(
    path: Path, texts: list[str], sentence: SentenceEncoder, deadline: Deadline
) -> Tensor:
    """(n, 384), kept at `path` for as long as the texts are the same."""
    kept = torch.load(path, weights_only=True) if path.exists() else {}
    parts = kept["parts"] if kept.get("texts") == texts else []
    while (done := sum(len(part) for part in parts)) < len(texts):
        parts.append(sentence.texts(texts[done : done + 4000]))
        deadline.check(path.stem, path, {"texts": texts, "parts": parts})
    keep(path, {"texts": texts, "parts": parts})
    return torch.cat(parts)


class Head(nn.Module):
    """From sentence embeddings (n, 384) to the images' space, (n, 128); `hidden` units between."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        wide = [nn.Linear(WIDTH, hidden), nn.GELU()] if hidden else []
        self.layers = nn.Sequential(*wide, nn.Linear(hidden or WIDTH, 128))
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def forward(self, x: Tensor) -> Tensor:
        # At unit length an input's numbers are some 1/sqrt(384), of which little would be learnt.
        return F.normalize(self.layers(x * WIDTH**0.5), dim=1)


def train_head(
    path: Path,
    hidden: int,
    captions: list[Caption],
    pool: Tensor,
    vision: Tensor,
    probabilities: dict[str, Tensor],
    deadline: Deadline,
) -> tuple[Head, float]:
    """The head, and the seconds it learnt; pool (captions, then rounds, 384)."""
    head = Head(hidden)
    optimizer = torch.optim.AdamW(head.parameters(), betas=(0.9, 0.98), weight_decay=0.02)
    state: dict[str, object] = {"head": head, "optimizer": optimizer}
    step, seconds = resumed(path, state)
    rounds = pool[len(captions) :].unflatten(0, (ROUNDS, -1))
    start = time.monotonic()
    while step < TEXT_STEPS:
        numbers = np.random.default_rng(step)
        chosen = torch.from_numpy(numbers.permutation(len(vision))[:2000])
        some = {name: values[chosen] for name, values in probabilities.items()}
        drawn = numbers.integers(len(captions), size=CAPTIONS)
        for group in optimizer.param_groups:
            group["lr"] = rate((step + 1) / TEXT_STEPS, 1e-3)
        texts = head(torch.cat([pool[torch.from_numpy(drawn)], rounds[step % ROUNDS]]))
        loss = captions_loss(
            [captions[i] for i in drawn], texts, head.logit_scale, vision[chosen], some
        )
        value = stepped(loss, optimizer, list(head.parameters()))
        step += 1
        passed = seconds + time.monotonic() - start
        if step % 100 == 0:
            print(f"{path.stem}: step {step}, {passed:.0f} s, loss {value:.4f}", flush=True)
        deadline.check(path.stem, path, snapshot(state, step, passed))
        if step == TEXT_STEPS:
            keep(path, snapshot(state, step, passed))
            seconds = passed
    return head.eval(), seconds


def told(
    texts: Texts, vision: Tensor, rows: Sequence[dict[str, str]]
) -> dict[str, tuple[float, float]]:
    """For each attribute the share of labels that the nearest plain text names, and its mean over
    the values."""
    writer, found = Writer(ATTRIBUTES), {}
    for name, values in ATTRIBUTES.items():
        plain = texts([writer.plainest(name, value) for value in values])
        labels = READ[name].labels(rows)
        nearest = (vision @ plain.t()).argmax(1).numpy()
        found[name] = agreement(labels[labels >= 0], nearest[labels >= 0])
    return found


def scores(texts: Texts, vision: Tensor, asked: Sequence[Wording]) -> NDArray[np.float32]:
    """Of the pictures along (phrase - neutral), (wordings, n)."""
    phrase, neutral = (texts([getattr(w, part) for w in asked]) for part in ("phrase", "neutral"))
    return ((phrase - neutral) @ vision.t()).numpy()  # type: ignore[no-any-return]


def aucs(
    texts: Texts, vision: Tensor, rows: Sequence[dict[str, str]], asked: Sequence[Wording]
) -> list[float]:
    found = []
    for wording, along in zip(asked, scores(texts, vision, asked), strict=True):
        labels = READ[wording.attribute].labels(rows)
        numbers = [ATTRIBUTES[wording.attribute].index(value) for value in wording.values]
        found.append(auc(along[labels >= 0], np.isin(labels[labels >= 0], numbers)))
    return found


def named(texts: Texts, vision: Tensor, asked: Sequence[Wording]) -> list[Wording]:
    """For each wording the plain text whose scores of the pictures go most with its own."""
    plain = plain_wordings()
    together = np.corrcoef(scores(texts, vision, asked), scores(texts, vision, plain))
    return [plain[i] for i in together[: len(asked), len(asked) :].argmax(1)]


def report(
    name: str, texts: Texts, vision: Tensor, rows: Sequence[dict[str, str]]
) -> dict[str, object]:
    """One row of the table; every wording is printed."""
    known, asked = plain_wordings(), wordings()
    nothing = [Wording("", (), n, p) for n, phrases in WORDINGS["nothing"].items() for p in phrases]
    held, plain = (aucs(texts, vision, rows, which) for which in (asked, known))
    nearest = named(texts, vision, asked)
    right = [set(n.values) <= set(w.values) and n.attribute == w.attribute
             for n, w in zip(nearest, asked, strict=True)]  # fmt: skip
    unit = float(np.median(scores(texts, vision, known).std(1)))
    spreads = {w.phrase: float(s) / unit for group in (asked, nothing)
               for w, s in zip(group, scores(texts, vision, group).std(1), strict=True)}  # fmt: skip
    none = np.array([spreads[w.phrase] for w in nothing])
    some = np.array([spreads[w.phrase] for w in asked])
    beside = (texts([w.phrase for w in nothing]) @ texts(["a face"]).t())[:, 0]
    for wording, value, like in zip(asked, held, nearest, strict=True):
        print(f"{name}: {value:.2f} spread {spreads[wording.phrase]:.2f} {wording.phrase!r} "
              f"[{'|'.join(wording.values)}] most like {like.phrase!r}")  # fmt: skip
    print(f"{name}: " + ", ".join(f"{w.phrase!r} {spreads[w.phrase]:.2f}" for w in nothing))
    labels = told(texts, vision, rows)
    print(f"{name}: " + ", ".join(f"{k} {r:.3f} ({b:.3f})" for k, (r, b) in labels.items()))
    return {
        "text tower": name,
        "told": f"{np.mean([r for r, _ in labels.values()]):.3f}",
        "balanced": f"{np.mean([b for _, b in labels.values()]):.3f}",
        "plain AUC": f"{np.mean(plain):.3f}",
        "AUC": f"{np.mean(held):.3f}",
        "above .8": f"{sum(v > 0.8 for v in held)} of {len(held)}",
        "named": f"{sum(right)} of {len(held)}",
        "wordings' spread": f"{np.median(some):.2f}",
        "nonsense": f"{np.median(none):.2f}",
        "above .5": f"{sum(none > 0.5)} of {len(none)}",
        "wordings wider": f"{auc(np.concatenate([some, none]), np.arange(len(held) + len(none)) < len(held)):.2f}",
        "cosine to a face": f"{beside.median():.2f}",
    }  # fmt: skip


def milliseconds(towers: dict[str, Texts]) -> dict[str, float]:
    """A text, one at a time: the best of several rounds, towers in turn."""
    phrases = [wording.phrase for wording in wordings()][:20]
    best = dict.fromkeys(towers, float("inf"))
    for _ in range(5):
        for name, texts in towers.items():
            start = time.perf_counter()
            for phrase in phrases:
                texts([phrase])
            best[name] = min(best[name], 1000 * (time.perf_counter() - start) / len(phrases))
    return best


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--minilm", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", default=9.0, show_default=True, help="End after about that time.")
@click.option("--threads", default=1, show_default=True)
def main(work: Path, minilm: Path, minutes: float, threads: int) -> None:
    torch.set_num_threads(threads)
    deadline = Deadline(minutes)
    tokenize = tokenizer(work)
    model = new_model(tokenize).eval()
    _, own_seconds = resumed(work / "texts.pt", {"model": model})
    pictures, probabilities = loaded(work)
    vision = embedded(model.visual, pictures)
    with np.load(work / "images-check.npz") as stored:
        held_out = embedded(model.visual, as_seen(np.concatenate([stored["low"], stored["high"]])))
    sentence = SentenceEncoder(minilm)

    @torch.no_grad()
    def own(texts: Sequence[str]) -> Tensor:
        return F.normalize(model.encode_text(tokenize(list(texts))), dim=1)

    towers: dict[str, Texts] = {"own": own}
    spent = {"own": own_seconds}
    for pool_name, foreign in (("same", None), ("far", far_words(sentence))):
        captions, values = drawn(Writer(ATTRIBUTES, foreign))
        texts = [*(caption.text for caption in captions), *values]
        pool = pool_embeddings(work / f"minilm-{pool_name}.pt", texts, sentence, deadline)
        for kind, hidden in (("linear", 0), ("hidden", HIDDEN)):
            path = work / f"head-{pool_name}-{kind}.pt"
            head, seconds = train_head(
                path, hidden, captions, pool, vision, probabilities, deadline
            )
            name = f"MiniLM, {kind}" + (", near words spared" if foreign else "")
            towers[name] = lambda texts, head=head: head(sentence.texts(texts)).detach()
            spent[name] = seconds
    rows = labelled(LABELS)
    table = [report(name, texts, held_out, rows) for name, texts in towers.items()]
    fast = milliseconds(towers)
    for row in table:
        name = str(row["text tower"])
        row |= {"ms a text": f"{fast[name]:.1f}", "learnt, s": f"{spent[name]:.0f}"}
    print(text_table(table))


if __name__ == "__main__":
    main()
