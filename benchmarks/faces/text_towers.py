"""Which text tower understands what: `python benchmarks/faces/text_towers.py --work FOLDER
--minilm FILES`.

Of FOLDER, which `make_encoder.py` filled, the image tower and the own text tower as trained; beside
them MiniLM's sentence encoder, frozen, with a small head that learns here from the same captions
and pictures by the same loss; and the own tower with MiniLM before it, which puts the nearest
saying in place of a text that holds a word no caption uses. FILES holds MiniLM's
`model.safetensors` and `tokenizer.json`; the package `tokenizers` is needed. What was done is kept
in FOLDER, and the command ends after `--minutes`: run it again until it prints the table.

    told         labels of 351 pictures that the nearest of plain texts names, as `make_encoder.py`
                 tells them; the mean of the attributes, and of the means over their values
    plain AUC    of a label along (plain text - "a face")
    AUC          of a label along (wording - neutral), by `face_wordings.json`, in words of which
                 no caption states anything; how many are above .8, and how many are the wrong
                 way round (below .5) though the scores spread, by more than .5, as below
    named        wordings whose scores of the pictures go most with those of a plain text of theirs
    spread       how far the pictures' scores spread along wordings and along nonsense, which means
                 nothing of a face, in median spreads along plain texts; nonsense above .5
    wider        how often a wording spreads further than nonsense
"""

from __future__ import annotations

import functools
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from attributes import ATTRIBUTES as READ
from attributes import agreement
from face_captions import DATA, Caption, Writer, meaningless_words
from make_encoder import (
    ATTRIBUTES,
    CAPTIONS,
    TEXT_STEPS,
    Deadline,
    as_seen,
    captions_loss,
    embedded,
    held_out,
    keep,
    loaded,
    new_model,
    rate,
    resumed,
    snapshot,
    stepped,
    tokenizer,
)  # fmt: skip
from minilm import WIDTH, SentenceEncoder
from numpy.typing import NDArray
from torch import Tensor, nn

from styleatlas.store.records import text_table

WORDINGS = json.loads((Path(__file__).parent / "face_wordings.json").read_text("utf-8"))
POOL, ROUNDS = 20_000, 40  # captions, and rounds of one wording a value, that heads learn from
HIDDEN = 512
FAR = 0.35  # a word is foreign to a head that spares near ones whose cosines are all below
LIKE = 0.45  # a saying takes the place of a text whose cosine with it is no less
FRAMES = {
    "is": "a {} face", "has": "a face with {}", "wears": "a person wearing {}", "at": "a face {}",
    "people": "a {}", "verbs": "a person {}",
}  # fmt: skip
CONNECTING = {
    "a", "an", "the", "of", "with", "without", "who", "is", "in", "by", "at", "and", "wearing",
}  # fmt: skip

Texts = Callable[[Sequence[str]], Tensor]
"""Texts to unit embeddings (n, d)."""


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


def sayings() -> list[str]:
    """Texts that state a value each, as the captions have them."""
    return [
        frame.format(text.replace("{his}", "the").split("/")[-1])
        for name in ATTRIBUTES
        for key, kinds in DATA["attributes"][name].items()
        if set(key.split("|")) <= set(ATTRIBUTES[name])
        for kind, frame in FRAMES.items()
        for text in kinds.get(kind, ())
    ]


def words_of(text: str) -> set[str]:
    return set(re.findall("[a-z]+", text.lower())) - CONNECTING


def far_words(sentence: Texts) -> list[str]:
    """Words that mean nothing, but for those that MiniLM takes for neighbours of a saying."""
    words = meaningless_words()
    nearest = (sentence(words) @ sentence(sayings()).t()).amax(1)
    return [word for word, near in zip(words, nearest.tolist(), strict=True) if near < FAR]


def by_sayings(own: Texts, sentence: Texts) -> Texts:
    """The own tower, given the nearest saying for a text with a word of no caption; "a face" where
    none is near."""
    said = sayings()
    embeddings, known = sentence(said), words_of(json.dumps(DATA))

    def put(text: str) -> str:
        if words_of(text) <= known:
            return text
        near, number = (sentence([text]) @ embeddings.t())[0].max(0)
        return said[int(number)] if near >= LIKE else "a face"

    return lambda texts: own([put(text) for text in texts])


def drawn(writer: Writer) -> tuple[list[Caption], list[str]]:
    """The pool of captions, and the rounds of wordings, a value each."""
    random.seed(0)
    captions = [writer.draw() for _ in range(POOL)]
    values = (
        caption.text for _ in range(ROUNDS) for a in ATTRIBUTES for caption in writer.wordings(a)
    )
    return captions, list(values)


def pool_embeddings(path: Path, texts: list[str], sentence: Texts, deadline: Deadline) -> Tensor:
    """(n, 384), kept at `path` for as long as the texts are the same."""
    kept = torch.load(path, weights_only=True) if path.exists() else {}
    parts = kept["parts"] if kept.get("texts") == texts else []
    while (done := sum(len(part) for part in parts)) < len(texts):
        parts.append(sentence(texts[done : done + 4000]))
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
    right = [
        like.attribute == wording.attribute and set(like.values) <= set(wording.values)
        for like, wording in zip(nearest, asked, strict=True)
    ]
    unit = float(np.median(scores(texts, vision, known).std(1)))
    some, none = (scores(texts, vision, which).std(1) / unit for which in (asked, nothing))
    for wording, value, spread, like in zip(asked, held, some, nearest, strict=True):
        print(
            f"{name}: {wording.phrase!r} [{'|'.join(wording.values)}] AUC {value:.2f}, "
            f"spread {spread:.2f}, most like {like.phrase!r}"
        )
    for wording, spread in zip(nothing, none, strict=True):
        print(f"{name}: {wording.phrase!r} spread {spread:.2f}")
    beside = (texts([w.phrase for w in nothing]) @ texts(["a face"]).t())[:, 0].numpy()
    labels = told(texts, vision, rows)
    print(f"{name}: " + ", ".join(f"{k} {r:.3f} ({b:.3f})" for k, (r, b) in labels.items()))
    wider = auc(np.concatenate([some, none]), np.arange(len(some) + len(none)) < len(some))
    return {
        "text tower": name,
        "told": f"{np.mean([r for r, _ in labels.values()]):.3f}",
        "balanced": f"{np.mean([b for _, b in labels.values()]):.3f}",
        "plain AUC": f"{np.mean(plain):.3f}",
        "AUC": f"{np.mean(held):.3f}",
        "above .8": f"{sum(v > 0.8 for v in held)}/{len(held)}",
        "wrong way": f"{sum((np.array(held) < 0.5) & (some > 0.5))}/{len(held)}",
        "named": f"{sum(right)}/{len(held)}",
        "spread": f"{np.median(some):.2f}",
        "nonsense": f"{np.median(none):.2f}",
        "above .5": f"{sum(none > 0.5)}/{len(none)}",
        "wider": f"{wider:.2f}",
        "cosine to a face": " to ".join(f"{x:.2f}" for x in np.percentile(beside, [10, 50, 90])),
    }


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


@torch.no_grad()
def headed(head: Head, sentence: Texts, texts: Sequence[str]) -> Tensor:
    return head(sentence(texts))  # type: ignore[no-any-return]


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
    parts, rows = held_out(work)
    seen = torch.cat([embedded(model.visual, as_seen(part)) for part in parts])
    sentence = SentenceEncoder(minilm).texts

    @torch.no_grad()
    def own(texts: Sequence[str]) -> Tensor:
        return F.normalize(model.encode_text(tokenize(list(texts))), dim=1)

    towers: dict[str, Texts] = {
        "own": own,
        "own, by MiniLM's nearest saying": by_sayings(own, sentence),
    }
    spent = dict.fromkeys(towers, own_seconds)
    for name, foreign, hidden in (
        ("MiniLM, linear", None, 0),
        ("MiniLM, hidden", None, HIDDEN),
        ("MiniLM, hidden, near words spared", far_words(sentence), HIDDEN),
    ):
        captions, values = drawn(Writer(ATTRIBUTES, foreign))
        texts = [*(caption.text for caption in captions), *values]
        pool = pool_embeddings(
            work / f"minilm-{'far' if foreign else 'same'}.pt", texts, sentence, deadline
        )
        path = work / f"head-{'far' if foreign else 'same'}-{'hidden' if hidden else 'linear'}.pt"
        head, spent[name] = train_head(
            path, hidden, captions, pool, vision, probabilities, deadline
        )
        towers[name] = functools.partial(headed, head, sentence)
    table = [report(name, texts, seen, rows) for name, texts in towers.items()]
    fast = milliseconds(towers)
    for row in table:
        name = str(row["text tower"])
        row |= {"ms a text": f"{fast[name]:.1f}", "learnt, s": f"{spent[name]:.0f}"}
    print(text_table(table))


if __name__ == "__main__":
    main()
