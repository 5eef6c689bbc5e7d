"""Hostile latent mappers: StyleCLIP's dict and the whole modules of xomyakes/styleclip-gan3."""

from __future__ import annotations

import os
from pathlib import Path

from styleatlas.engine.checkpoints.mapper_file import summarise_mapper

from . import hostile as h
from .pickle_attacks import Attack, torch_zip

MODULE = h.name("src.mapper.mapper", "LatentMapper")
GROUP = h.name("src.mapper.layers_group", "LayersGroup")
SYSTEM = os.system.__module__


def module(*parts: bytes) -> bytes:
    """A mapper of which these are the parts: names and objects in turn."""
    return h.build(h.new(MODULE), h.dict_of(h.text("_modules"), h.dict_of(*parts)))


def mapper(state: bytes, opts: bytes = b"}") -> bytes:
    """What StyleCLIP's training saves."""
    return h.dict_of(
        h.text("state_dict"), h.dict_of(h.text("mapper.x"), state), h.text("opts"), opts
    )


def read(path: Path) -> object:
    return summarise_mapper(path)


MAPPERS = {
    name: Attack(torch_zip(body), message, read)
    for name, body, message in [
        (
            "os.system among a mapper's options",
            mapper(b"N", h.call(h.name(SYSTEM, "system"), h.text(h.COMMAND))),
            rf"asks for the Python object {SYSTEM}\.system",
        ),
        (
            "class beside a mapper's",
            module(h.text("fine_mapper"), h.new(h.name("src.mapper.layer", "os"))),
            r"asks for the Python object src\.mapper\.layer\.os",
        ),
        (
            "mapper with arguments",
            h.new(MODULE, h.text("x")),
            r"gives src\.mapper\.mapper\.LatentMapper arguments it never has",
        ),
        (
            "call of a mapper's class",
            h.call(MODULE),
            r"calls src\.mapper\.mapper\.LatentMapper, which is only a name",
        ),
        (
            "mapper without a state",
            module(h.text("fine_mapper"), h.new(GROUP)),
            r"another kind of module where fine_mapper should be src\.mapper\.layers_group",
        ),
        (
            "mapper of text",
            mapper(h.text("x" * 1000)),
            r"has an unknown tensor mapper\.x; mappers are read from",
        ),
    ]
}
