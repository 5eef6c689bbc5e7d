"""A prompt bank that is larger than memory, for `bank.py --disk`: its rows and an inverted file of
them on disk, made in chunks, so that an interrupted run goes on where it was.

Phrases are a subject with three things of the avatars' vocabulary, drawn by their first two things
and then with every third, embedded by the embedded CLIP's text tower: what phrases begin with is
computed once for all that begin with it, which is checked against the tower as it is. Everything
is measured in seconds of this process, by one thread.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from faiss.contrib.ondisk import merge_ondisk
from generators import memory_of
from numpy.typing import NDArray
from torch import Tensor, nn

from styleatlas.engine.models.clip import OpenClipEncoder

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Record = dict[str, Any]

PREFIXES = 460  # of a chunk, about 100,000 phrases
TRAINED_ON = 10  # chunks, a million rows
TOP, CANDIDATES = 100, 500
PROBES = (8, 16, 32, 64, 128, 256)
ALIKE = 1e-5  # of two ways to one embedding
CHECKED = 64


class Composed:
    """Phrases such as "a young face with long hair, glasses and a beard", in chunks that are each a
    sample of all of them."""

    def __init__(self, subjects: Sequence[str], things: Sequence[str]) -> None:
        self.subjects, self.things = tuple(subjects), tuple(things)
        self._pairs = list(combinations(range(len(things)), 2))
        self._order = np.random.default_rng(0).permutation(len(subjects) * len(self._pairs))

    @property
    def rows(self) -> int:
        """Of a chunk."""
        return PREFIXES * (len(self.things) - 2)

    def chunks_for(self, rows: int) -> int:
        """How many chunks have so many rows or a few more."""
        chunks = -(-rows // self.rows)
        if chunks * PREFIXES > len(self._order):
            raise SystemExit(
                f"{rows:,} rows: there are no more than {len(self._order):,} beginnings"
            )
        return chunks

    def beginnings(self, chunk: int) -> Iterator[tuple[str, list[str]]]:
        """What phrases begin with, and how each of them ends."""
        for number in self._order[chunk * PREFIXES : (chunk + 1) * PREFIXES].tolist():
            subject, pair = divmod(number, len(self._pairs))
            one, other = self._pairs[pair]
            begin = f"{self.subjects[subject]} with {self.things[one]}, {self.things[other]} and"
            yield begin, [thing for i, thing in enumerate(self.things) if i not in (one, other)]

    def texts(self, chunk: int) -> list[str]:
        """Of all rows, in their order."""
        return [f"{begin} {end}" for begin, ends in self.beginnings(chunk) for end in ends]


class SharedBeginnings:
    """A causal text tower of open_clip's that reads what many texts begin with once."""

    def __init__(self, encoder: OpenClipEncoder) -> None:
        self._model = encoder.model
        self._encode = cache(encoder.tokenizer.encode)
        self._blocks = list(encoder.model.transformer.resblocks)
        first, last = encoder.tokenizer.all_special_ids
        self._first, self._last = [first], [last]

    @torch.inference_mode()
    def embed(self, begin: str, ends: Sequence[str]) -> Floats:
        """Unit embeddings (n, D) of the texts that begin so and end each so."""
        known = torch.tensor([self._first + self._encode(begin)])
        x = self._model.token_embedding(known) + self._model.positional_embedding[: known.shape[1]]
        past = []
        for block in self._blocks:
            x, keys = _attended(block, x, None)
            past.append(keys)
        found = np.empty((len(ends), self._model.text_projection.shape[1]), np.float32)
        by_length: dict[int, list[int]] = {}
        tokens = [self._encode(end) + self._last for end in ends]
        for i, told in enumerate(tokens):
            by_length.setdefault(len(told), []).append(i)
        for length, chosen in by_length.items():
            places = slice(known.shape[1], known.shape[1] + length)
            x = self._model.token_embedding(torch.tensor([tokens[i] for i in chosen]))
            x = x + self._model.positional_embedding[places]
            for block, keys in zip(self._blocks, past, strict=True):
                x, _ = _attended(block, x, keys, last=block is self._blocks[-1])
            out = self._model.ln_final(x[:, -1]) @ self._model.text_projection
            found[chosen] = F.normalize(out, dim=1).numpy()
        return found


Keys = tuple[Tensor, Tensor]


def _attended(
    block: nn.Module, x: Tensor, past: Keys | None, last: bool = False
) -> tuple[Tensor, Keys]:
    """x (n, length, width) through a block, behind what was before: its keys and values
    (1, heads, before, d); and its own with them. Of the last token alone, where that is all."""
    attention = block.attn
    joined = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = joined.unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    before = 0
    if past is not None:
        before = past[0].shape[2]
        key = torch.cat([past[0].expand(len(x), -1, -1, -1), key], 2)
        value = torch.cat([past[1].expand(len(x), -1, -1, -1), value], 2)
    seen = torch.ones(x.shape[1], before + x.shape[1], dtype=torch.bool).tril(before)
    if last:
        x, query, seen = x[:, -1:], query[:, :, -1:], seen[-1:]
    heads = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    x = x + attention.out_proj(heads.transpose(1, 2).flatten(2))
    return x + block.mlp(block.ln_2(x)), (key, value)


class DiskBank:
    """The rows of a bank and an index of them in a folder.

    Args:
        folder: whatever of them is there already is taken.
        rows: how many, at least.
        encoder: the embedded CLIP.
    """

    def __init__(
        self, folder: Path, rows: int, phrases: Composed, encoder: OpenClipEncoder
    ) -> None:
        self._phrases, self._encoder = phrases, encoder
        self.chunks = phrases.chunks_for(rows)
        self.rows = self.chunks * phrases.rows
        self._folder, self._index = folder, folder / f"index-{self.chunks}"
        self._index.mkdir(parents=True, exist_ok=True)
        # As many as the library's own has: the root of the rows.
        self.lists = 2 ** round(np.log2(self.rows) / 2)

    def make(self, say: Callable[[str], None]) -> None:
        """Everything that is not there yet."""
        for chunk in range(self.chunks):
            if not self._rows(chunk).exists():
                self._timed(f"embed {chunk}", lambda chunk=chunk: self._embed(chunk))
                say(f"embedded chunk {chunk + 1} of {self.chunks}")
        if self.opened_file.exists():
            return
        if not (trained := self._index / "trained.faiss").exists():
            self._timed("train", lambda: self._train(trained))
            say(f"trained {self.lists} lists")
        for chunk in range(self.chunks):
            if not self._part(chunk).exists():
                self._timed(f"add {chunk}", lambda chunk=chunk: self._add(trained, chunk))
        say("added all chunks")
        self._timed("merge", lambda: self._merge(trained))

    @property
    def opened_file(self) -> Path:
        """What FAISS opens; the lists lie beside it."""
        return self._index / "index.faiss"

    def told(self) -> Record:
        """Seconds of the stages and bytes of the files."""
        spent = json.loads(self._times.read_text())

        def seconds(stage: str, most: int | None = None) -> float:
            chosen = [taken for name, taken in spent.items() if name.split()[0] == stage]
            return round(sum(chosen[:most]), 1)

        lists = self._index / "lists.ivfdata"
        return {
            "rows": self.rows,
            "lists": self.lists,
            "embed s": seconds("embed", self.chunks),
            "train s": seconds(f"{self._index.name}/train"),
            "add s": seconds(f"{self._index.name}/add"),
            "merge s": seconds(f"{self._index.name}/merge"),
            "GiB a stage takes": round(spent["peak"], 2),
            "rows MiB": sum(self._rows(c).stat().st_size for c in range(self.chunks)) >> 20,
            "lists MiB": lists.stat().st_size >> 20,
            "quantiser MiB": round(self.opened_file.stat().st_size / 2**20, 1),
        }

    def exact(self, asked: Floats, top: int) -> Ints:
        """The nearest of all rows (k, top), chunk by chunk."""
        scores = np.zeros((len(asked), 0), np.float32)
        ids = np.zeros((len(asked), 0), np.int64)
        for chunk in range(self.chunks):
            found = asked @ self._centred(chunk).T
            last = max(0, found.shape[1] - top)
            best = np.argpartition(found, last, axis=1)[:, last:]
            scores = np.hstack([scores, np.take_along_axis(found, best, 1)])
            ids = np.hstack([ids, best + chunk * self._phrases.rows])
            best = np.argsort(-scores, axis=1)[:, :top]
            scores, ids = (np.take_along_axis(x, best, 1) for x in (scores, ids))
        return ids

    def opened(self) -> Any:
        """The index, its lists left on disk."""
        return faiss.read_index(str(self.opened_file))

    def rescored(self, query: Floats, found: Ints, top: int) -> Ints:
        """The candidates of one question in the order of their exact scores."""
        ids = np.sort(found[found >= 0])
        chunks, places = np.divmod(ids, self._phrases.rows)
        rows = np.concatenate([self._memory[c][places[chunks == c]] for c in np.unique(chunks)])
        scores = self._apart(rows) @ query
        return ids[np.argsort(-scores, kind="stable")[:top]]

    def forget(self) -> None:
        """Lets the system drop what it holds of the files in memory."""
        for path in (*self._index.iterdir(), *(self._rows(c) for c in range(self.chunks))):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    @cached_property
    def _memory(self) -> list[NDArray[np.float16]]:
        return [np.load(self._rows(chunk), mmap_mode="r") for chunk in range(self.chunks)]

    @cached_property
    def _mean(self) -> Floats:
        sample = range(min(TRAINED_ON, self.chunks))
        means = [np.load(self._rows(chunk)).mean(0, dtype=np.float64) for chunk in sample]
        return np.mean(means, 0).astype(np.float32)

    def _apart(self, rows: NDArray[np.float16]) -> Floats:
        """Unit directions from the mean of the rows that the lists were trained on."""
        moved = rows.astype(np.float32) - self._mean
        return moved / np.linalg.norm(moved, axis=1, keepdims=True)

    def _centred(self, chunk: int) -> Floats:
        return self._apart(np.load(self._rows(chunk)))

    def _rows(self, chunk: int) -> Path:
        return self._folder / f"rows-{chunk:04}.npy"

    def _part(self, chunk: int) -> Path:
        return self._index / f"part-{chunk:04}.faiss"

    @property
    def _times(self) -> Path:
        return self._folder / "seconds.json"

    def _timed(self, stage: str, work: Callable[[], None]) -> None:
        """Its seconds are kept, those of other indexes apart, and the most memory of any."""
        start = time.process_time()
        grown, _ = memory_of(work, "cpu")  # type: ignore[arg-type]
        spent = json.loads(self._times.read_text()) if self._times.exists() else {"peak": 0}
        key = stage if stage.startswith("embed") else f"{self._index.name}/{stage}"
        spent[key] = time.process_time() - start
        spent["peak"] = max(spent["peak"], grown)
        _write(self._times, lambda path: path.write_text(json.dumps(spent)))

    def _embed(self, chunk: int) -> None:
        tower = SharedBeginnings(self._encoder)
        rows = np.concatenate([tower.embed(*one) for one in self._phrases.beginnings(chunk)])
        chosen = np.random.default_rng(chunk).choice(len(rows), CHECKED, replace=False)
        texts = self._phrases.texts(chunk)
        whole = self._encoder.texts([texts[i] for i in chosen]).numpy()
        if (apart := float(np.abs(whole - rows[chosen]).max())) > ALIKE:
            raise SystemExit(f"the tower says otherwise than its parts: {apart:.1e}")
        _write(self._rows(chunk), lambda path: np.save(path, rows.astype(np.float16)))

    def _train(self, path: Path) -> None:
        sample = [self._centred(chunk) for chunk in range(min(TRAINED_ON, self.chunks))]
        rows = np.concatenate(sample)
        kind = f"IVF{self.lists}_HNSW32,SQ8"
        index: Any = faiss.index_factory(rows.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = 8
        index.train(rows)
        _write(path, lambda path: faiss.write_index(index, str(path)))

    def _add(self, trained: Path, chunk: int) -> None:
        index = faiss.read_index(str(trained))
        quantiser(index).hnsw.efSearch = 64
        rows, first = self._centred(chunk), chunk * self._phrases.rows
        index.add_with_ids(rows, np.arange(first, first + len(rows)))
        _write(self._part(chunk), lambda path: faiss.write_index(index, str(path)))

    def _merge(self, trained: Path) -> None:
        index = faiss.read_index(str(trained))
        parts = [self._part(chunk) for chunk in range(self.chunks)]
        merge_ondisk(index, [str(part) for part in parts], str(self._index / "lists.ivfdata"))
        _write(self.opened_file, lambda path: faiss.write_index(index, str(path)))
        for part in parts:
            part.unlink()


def quantiser(index: Any) -> Any:
    """What finds the lists to look in."""
    return faiss.downcast_index(index.quantizer)


def searched(bank: DiskBank, asked: Floats) -> list[Record]:
    """Recall against the exact answer and milliseconds of the processor for a question, by how many
    lists are read; the first time through, when nothing is in memory, by the clock."""
    truth = bank.exact(asked, TOP)
    bank.forget()
    index = bank.opened()
    centres = index.quantizer.reconstruct_n(0, index.nlist)
    records = []
    for probes in PROBES:
        index.nprobe = probes
        quantiser(index).hnsw.efSearch = 2 * probes
        start = time.perf_counter()
        grown, (found, best) = memory_of(partial(_asked, bank, index, asked), "cpu")
        first = (time.perf_counter() - start) / len(asked)
        taken = {
            "ms": partial(_asked, bank, index, asked),
            "ms to find the lists": partial(_lists, index, asked),
            "ms, all exact": partial(_flat, centres, asked, probes),
        }
        records.append(
            {
                "lists read": probes,
                "recall@10": _recall(best, truth, 10),
                "recall@100": _recall(best, truth, 100),
                "recall@10 by 8 bits": _recall(found, truth, 10),
                **{name: round(1000 * _seconds(run, asked), 3) for name, run in taken.items()},
                "ms, first time": round(1000 * first, 1) if probes == PROBES[0] else None,
                "MiB": round(1024 * grown, 1),
            }
        )
    return records


def _seconds(work: Callable[[], object], asked: Floats) -> float:
    """Of the processor for a question, the least of three rounds."""
    least = float("inf")
    for _ in range(3):
        start = time.process_time()
        work()
        least = min(least, time.process_time() - start)
    return least / len(asked)


def _asked(bank: DiskBank, index: Any, asked: Floats) -> tuple[list[Ints], list[Ints]]:
    """What 8 bits and exact scores find, question by question."""
    found = [index.search(query[None], CANDIDATES)[1][0] for query in asked]
    return found, [bank.rescored(*pair, TOP) for pair in zip(asked, found, strict=True)]


def _lists(index: Any, asked: Floats) -> None:
    """Finds the lists alone, by the graph."""
    for query in asked:
        index.quantizer.search(query[None], index.nprobe)


def _flat(centres: Floats, asked: Floats, probes: int) -> None:
    """The same by comparing all of their centres."""
    for query in asked:
        faiss.knn(query[None], centres, probes, faiss.METRIC_INNER_PRODUCT)


def _recall(found: list[Ints], truth: Ints, top: int) -> float:
    pairs = zip(found, truth, strict=True)
    return round(float(np.mean([len(set(a[:top]) & set(b[:top])) / top for a, b in pairs])), 3)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """A file whole or not at all."""
    beside = path.with_name(f"new-{path.name}")
    write(beside)
    beside.replace(path)
