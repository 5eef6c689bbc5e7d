"""Hostile CLIPs: whole modules, what trainings keep, and other names for the same weights."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from styleatlas.engine.checkpoints.clip_file import read_clip_weights

from . import hostile as h
from .pickle_attacks import Attack, torch_zip

CLIP = h.name("clip.model", "CLIP")
TOWER = h.name("clip.model", "VisionTransformer")
HEADS = h.name("torch.nn.modules.activation", "MultiheadAttention")
GELU = h.name("torch.nn.modules.activation", "GELU")
QUICK = h.name("open_clip.transformer", "QuickGELU")
SYSTEM = os.system.__module__


def module(kind: bytes, parts: bytes = b"}", values: bytes = b"}", *more: bytes) -> bytes:
    """A module of these modules, these parameters and further attributes: names and objects."""
    kept = (h.text("_modules"), parts, h.text("_parameters"), values, h.text("_buffers"), b"}")
    return h.build(h.new(kind), h.dict_of(*kept, *more))


def number() -> bytes:
    """A tensor of one number, over a storage in the zip."""
    return h.tensor((), (), source=h.zip_storage())


def clip(*parts: bytes, scale: bytes | None = None, more: tuple[bytes, ...] = ()) -> bytes:
    """What is taken for a whole CLIP, with these modules beside its image tower."""
    values = h.dict_of(h.text("logit_scale"), number() if scale is None else scale)
    weight = h.dict_of(h.text("proj"), number())
    tower = module(TOWER, b"}", weight, *more)
    return module(CLIP, h.dict_of(h.text("visual"), tower, *parts), values)


def shared(name: str, levels: int) -> bytes:
    """A module of which each level holds the one below twice, under long names."""
    body = module(TOWER, b"}", h.dict_of(h.text("w"), number()))
    for level in range(levels):
        put, get = b"q" + bytes([level]), b"h" + bytes([level])
        both = b"}(" + h.text(name) + body + put + h.text(f"{name}2") + get + b"u"
        body = module(TOWER, both)
    return body


def many(count: int) -> bytes:
    """A state dict of so many CLIPs."""
    state = {f"a{i}.{name}": torch.zeros(()) for i in range(count) for name in SEEN}
    return h.saved(state)


def renamed(**tensors: torch.Tensor) -> bytes:
    """A CLIP in the names of transformers with these in the place of others, or beside them."""
    state = {"logit_scale": torch.zeros(()), "vision_model.embeddings.class_embedding": ONES}
    names = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return h.saved({**state, "text_model.embeddings.token_embedding.weight": ONES, **names})


SEEN = ("logit_scale", "visual.proj")
ONES = torch.ones(2)
STORED = {"0": bytes(16)}


def read(path: Path) -> object:
    return read_clip_weights(path)


def whole(body: bytes, message: str) -> Attack:
    return Attack(torch_zip(body, STORED), message, read)


CLIPS = {
    "os.system beside a CLIP": whole(
        h.dict_of(
            h.text("state_dict"),
            h.dict_of(h.text("logit_scale"), number()),
            h.text("hyper_parameters"),
            h.call(h.name(SYSTEM, "system"), h.text(h.COMMAND)),
        ),
        rf"asks for the Python object {SYSTEM}\.system",
    ),
    "class beside a CLIP's": whole(
        clip(h.text("transformer"), h.new(h.name("clip.model", "os"))),
        r"asks for the Python object clip\.model\.os",
    ),
    "CLIP with arguments": whole(
        h.new(CLIP, h.text("x")), r"gives clip\.model\.CLIP arguments it never has"
    ),
    "call of a CLIP's class": whole(h.call(CLIP), r"calls clip\.model\.CLIP, which is only a name"),
    "CLIP without a state": whole(
        h.new(CLIP), r"holds an object of clip\.model\.CLIP, which is no module with modules"
    ),
    "CLIP of text": whole(
        clip(scale=h.text("x" * 1000)), r"logit_scale is 'x+' where a tensor is needed"
    ),
    "CLIP in itself": whole(
        h.build(
            h.new(CLIP) + b"q\0", h.dict_of(h.text("_modules"), h.dict_of(h.text("a"), b"h\0"))
        ),
        "nests more than 200 deep or holds itself",
    ),
    "modules that share their parts": whole(
        clip(h.text("transformer"), shared("a", 60)), "unfolds to more than 2000000 parts"
    ),
    "modules with long names": whole(
        clip(h.text("transformer"), shared("a" * 10_000, 10)),
        "names a part of a module by over 500 letters",
    ),
    "heads of text": whole(
        clip(h.text("attn"), module(HEADS, b"}", b"}", h.text("num_heads"), h.text("x" * 1000))),
        r"attn has 'x+' heads",
    ),
    "array in place of a name": whole(
        clip(more=(h.text("pool_type"), h.numpy_array((1,), h.numpy_type(), bytes(4)))),
        r"visual\.pool_type is a ndarray, not tok",
    ),
    "array among the colours": whole(
        clip(
            more=(
                h.text("image_mean"),
                h.numpy_array((3,), h.numpy_type(), bytes(12)),
            )
        ),
        r"visual\.preprocess_cfg has a ndarray as mean",
    ),
    "both activations": whole(
        clip(h.text("a"), module(GELU), h.text("b"), module(QUICK)), "both GELU and QuickGELU"
    ),
    "thousands of CLIPs": Attack(
        lambda: many(5000), r"holds 5000 CLIPs, such as a0 and a1; save the one", read
    ),
    "query without a key": Attack(
        lambda: renamed(text_model__encoder__layers__0__self_attn__q_proj__weight=ONES),
        "lacks a query, key or value",
        read,
    ),
    "query of another shape": Attack(
        lambda: renamed(
            **{
                f"text_model__encoder__layers__0__self_attn__{x}_proj__weight": torch.ones(n)
                for x, n in (("q", 2), ("k", 2), ("v", 3))
            }
        ),
        "lacks a query, key or value of one shape",
        read,
    ),
    "tensor of no CLIP": Attack(
        lambda: renamed(**{"vision_model__" + "x" * 5000: ONES}),
        r"has a tensor 'vision_model\.x+', which no CLIP of Hugging Face's transformers has",
        read,
    ),
    "directions without lengths": Attack(
        lambda: h.saved(dict.fromkeys((*SEEN, "a.theta"), ONES)), r"a\.theta has no lengths", read
    ),
    "lengths that do not fit": Attack(
        lambda: h.saved({**dict.fromkeys(SEEN, ONES), "a.theta": torch.ones(3, 2), "a.r": ONES}),
        r"a\.theta has no lengths",
        read,
    ),
    "positions of another length": Attack(
        lambda: h.saved(
            {
                **dict.fromkeys(SEEN, ONES),
                "positional_embedding": torch.ones(3, 2),
                "positional_embedding_res": torch.ones(2, 2),
            }
        ),
        "positional_embedding_res has not the shape",
        read,
    ),
}
