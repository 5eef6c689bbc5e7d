"""A byte-pair vocabulary small enough for a small CLIP, in the file format of CLIP's tokenizer."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path


def learn_merges(words: Iterable[str], merges: int) -> list[tuple[str, str]]:
    """Byte-pair encoding (Sennrich et al. 2016) of lower-case ASCII words; the last symbol of a
    word carries `</w>`, as CLIP's tokenizer has it."""
    counts = Counter(words)
    split = {word: (*word[:-1], word[-1] + "</w>") for word in counts}
    learned: list[tuple[str, str]] = []
    while len(learned) < merges:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in split.items():
            for pair in pairwise(symbols):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        learned.append(best)
        split = {word: _merge(symbols, best) for word, symbols in split.items()}
    return learned


def _merge(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    i = 0
    while i < len(symbols):
        if symbols[i : i + 2] == pair:
            merged.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return tuple(merged)


def write_merges(merges: list[tuple[str, str]], path: Path) -> None:
    """One merge a line after a header line, gzipped without a time stamp."""
    text = "#version: styleatlas avatars\n" + "\n".join(" ".join(pair) for pair in merges)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
