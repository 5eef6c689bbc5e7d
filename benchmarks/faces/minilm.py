"""MiniLM's sentence encoder, all-MiniLM-L6-v2 (Apache-2.0), from the files that were fetched.

The network is BERT's (Devlin et al. 2018, arXiv 1810.04805), 6 layers of width 384: learnt
positions, post-norm, exact GELU. A sentence is the mean of its tokens' states, at unit length
(Reimers and Gurevych 2019, arXiv 1908.10084).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

WIDTH, HEADS, LAYERS, INNER = 384, 12, 6, 1536
EPS = 1e-12
LONGEST = 128  # tokens, of which the first and the last are marks


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.wide, self.narrow = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.attended, self.done = (nn.LayerNorm(WIDTH, eps=EPS) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (n, length, 384); mask (n, 1, 1, length), true where there is a token."""
        q, k, v = (
            part(x).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.attended(x + self.out(heads.transpose(1, 2).flatten(2)))
        return self.done(x + self.narrow(F.gelu(self.wide(x))))  # type: ignore[no-any-return]


class MiniLM(nn.Module):
    def __init__(self, vocabulary: int = 30_522, positions: int = 512) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, WIDTH)
        self.positions = nn.Embedding(positions, WIDTH)
        self.kinds = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=EPS)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens (n, length), mask of the same shape, 1 for a token and 0 behind the last; unit
        embeddings (n, 384)."""
        x = self.words(tokens) + self.positions.weight[: tokens.shape[1]] + self.kinds.weight[0]
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, mask.bool()[:, None, None])
        weight = mask[:, :, None].to(x.dtype)
        return F.normalize((x * weight).sum(1) / weight.sum(1), dim=1)


NAMES = {
    "words.": "embeddings.word_embeddings.",
    "positions.": "embeddings.position_embeddings.",
    "kinds.": "embeddings.token_type_embeddings.",
    "norm.": "embeddings.LayerNorm.",
    "layers.": "encoder.layer.",
    ".query.": ".attention.self.query.",
    ".key.": ".attention.self.key.",
    ".value.": ".attention.self.value.",
    ".out.": ".attention.output.dense.",
    ".attended.": ".attention.output.LayerNorm.",
    ".wide.": ".intermediate.dense.",
    ".narrow.": ".output.dense.",
    ".done.": ".output.LayerNorm.",
}
"""Parts of this network's names, and what they are called in the file."""


def stored_name(name: str) -> str:
    for part, stored in NAMES.items():
        if part.startswith(".") or name.startswith(part):
            name = name.replace(part, stored, 1)
    return name


class SentenceEncoder:
    """Texts to unit vectors of 384, by the fetched files of a folder; needs `tokenizers`."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer  # an optional package

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(LONGEST)
        self._tokenizer.enable_padding()
        self.network = MiniLM().eval()
        stored = load_file(folder / "model.safetensors")
        weights = {name: stored[stored_name(name)] for name in self.network.state_dict()}
        self.network.load_state_dict(weights)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings (n, 384), in the order given; texts of like length go together."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found = torch.empty(len(texts), WIDTH)
        for start in range(0, len(order), 64):
            part = order[start : start + 64]
            read = self._tokenizer.encode_batch([texts[i] for i in part])
            tokens, mask = (
                torch.tensor(rows)
                for rows in zip(*((r.ids, r.attention_mask) for r in read), strict=True)
            )
            found[part] = self.network(tokens, mask)
        return found
