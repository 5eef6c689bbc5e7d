"""The domain of the embedded models: avatars with independent, nameable attributes.

The drawings are the `avataaars` style by Pablo Stanley (free for personal and commercial use) as
shipped by `dicebear-styles`. Every part of an avatar is rasterised once, alone, as a transparent
layer; an avatar is the stack of its layers. The stack differs from a render of the whole drawing
only in the blend of pixels where two edges meet, and a batch of labelled avatars costs
milliseconds instead of seconds.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, reduce
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
import torch
from dicebear import Avatar, Style
from PIL import Image
from torch import Tensor

RESOLUTION = 64
# The square of the 280 x 280 canvas that is kept: x, y, side. The head and a strip of clothes.
CROP = (36, 2, 208)
HAT_COLOUR = "#e8505b"

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "hair": ("bald", "short", "long", "afro", "bun", "hat", "turban"),
    "hair colour": ("black", "brown", "blonde", "red", "grey", "purple"),
    "skin": ("light", "tan", "dark"),
    "glasses": ("none", "round", "square", "sunglasses"),
    "facial hair": ("none", "moustache", "beard"),
    "mouth": ("smiling", "serious", "sad", "open"),
    "eyes": ("open", "happy", "surprised", "wink"),
    "clothes": ("white", "black", "green", "orange"),
    "background": ("blue", "green", "pink", "yellow", "grey"),
}
# Logits added before the argmax that draws a value: 0.6 makes "none" about twice as frequent.
BIAS: dict[tuple[str, str], float] = {("glasses", "none"): 0.6, ("facial hair", "none"): 0.6}

TOP = {
    "short": "shortFlat",
    "long": "straightAndStrand",
    "afro": "fro",
    "bun": "bun",
    "hat": "hat",
    "turban": "turban",
}
HAIR_COLOUR = {
    "black": "#1f1a1a",
    "brown": "#7a4526",
    "blonde": "#e6c35c",
    "red": "#c93305",
    "grey": "#d5d5d8",
    "purple": "#8a3fc0",
}
SKIN = {"light": "#ffdbb4", "tan": "#d08b5b", "dark": "#614335"}
GLASSES = {"round": "round", "square": "prescription02", "sunglasses": "kurt"}
FACIAL_HAIR = {"moustache": "moustacheMagnum", "beard": "beardMedium"}
MOUTH = {"smiling": "smile", "serious": "serious", "sad": "sad", "open": "screamOpen"}
EYES = {"open": "default", "happy": "happy", "surprised": "surprised", "wink": "wink"}
CLOTHES = {"white": "#f4f4f4", "black": "#262e33", "green": "#3f9d5a", "orange": "#f58a32"}
BACKGROUND = {
    "blue": "#65b5f6",
    "green": "#9fe6a0",
    "pink": "#ffafc5",
    "yellow": "#fff2a0",
    "grey": "#c4c8cc",
}
NAMES = tuple(ATTRIBUTES)
SIZES = tuple(len(values) for values in ATTRIBUTES.values())


def column(attribute: str) -> int:
    """The column of an attribute in a label array."""
    return NAMES.index(attribute)


def code(attribute: str, value: str) -> int:
    """The integer that stands for a value in a label array."""
    return ATTRIBUTES[attribute].index(value)


@cache
def _definition() -> dict[str, Any]:
    text = files("dicebear_styles").joinpath("avataaars.json").read_text("utf-8")
    definition: dict[str, Any] = json.loads(text)
    return definition


def _rasterise(style: Style, supersample: int, options: dict[str, Any]) -> np.ndarray:
    """Draws the head crop of an avatar: float32 (4, 64, 64), premultiplied RGBA in [0, 1]."""

    svg = Avatar(style, {"seed": "styleatlas", **options}).to_string()
    x, y, side = CROP
    canvas = _definition()["canvas"]["width"]
    scale = RESOLUTION * supersample / side
    png = resvg_py.svg_to_bytes(svg_string=svg, width=round(canvas * scale))
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    # Premultiplied before any resampling, so that transparent pixels lend no colour to edges.
    rgba = np.asarray(image, np.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    left, top, size = round(x * scale), round(y * scale), RESOLUTION * supersample
    crop = np.zeros((size, size, 4), np.float32)
    part = rgba[top : top + size, left : left + size]
    crop[: part.shape[0], : part.shape[1]] = part
    crop = crop.reshape(RESOLUTION, supersample, RESOLUTION, supersample, 4).mean((1, 3))
    return np.ascontiguousarray(crop.transpose(2, 0, 1))


_OFF = {"topProbability": 0, "accessoriesProbability": 0, "facialHairProbability": 0}


def _options(values: dict[str, str]) -> dict[str, Any]:
    """The dicebear options that draw an avatar with these attribute values."""
    options: dict[str, Any] = {
        **_OFF,
        "skinColor": [SKIN[values["skin"]]],
        "clothesVariant": ["shirtCrewNeck"],
        "clothesColor": [CLOTHES[values["clothes"]]],
        "mouthVariant": [MOUTH[values["mouth"]]],
        "eyesVariant": [EYES[values["eyes"]]],
        "eyebrowsVariant": ["defaultNatural"],
        "hairColor": [HAIR_COLOUR[values["hair colour"]]],
        "facialHairColor": [HAIR_COLOUR[values["hair colour"]]],
        "hatColor": [HAT_COLOUR],
        "accessoriesColor": ["#262e33"],
    }
    for part, variants, attribute in (
        ("top", TOP, "hair"),
        ("accessories", GLASSES, "glasses"),
        ("facialHair", FACIAL_HAIR, "facial hair"),
    ):
        if values[attribute] in variants:
            options[f"{part}Variant"] = [variants[values[attribute]]]
            options[f"{part}Probability"] = 100
    return options


def render_whole(
    labels: np.ndarray, supersample: int = 4, others: Mapping[str, Any] | None = None
) -> np.ndarray:
    """One avatar drawn in a single pass, the slow way: float32 (3, 64, 64) in [0, 1]. `others` are
    options of dicebear's in place of those that the labels mean, for what no avatar has."""
    values = {name: ATTRIBUTES[name][int(v)] for name, v in zip(NAMES, labels, strict=True)}
    rgba = _rasterise(_style(None), supersample, {**_options(values), **(others or {})})
    background = _colour(BACKGROUND[values["background"]])[:, None, None]
    return rgba[:3] + (1 - rgba[3:]) * background


def _colour(text: str) -> np.ndarray:
    return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255


# Canvas element -> the attributes that decide what it looks like. Bottom to top, as in the drawing.
PARTS: dict[str, tuple[str, ...]] = {
    "body": ("skin", "clothes"),
    "mouth": ("mouth",),
    "nose": (),
    "eyes": ("eyes",),
    "eyebrows": (),
    "top": ("hair", "hair colour"),
    "facialHair": ("facial hair", "hair colour"),
    "accessories": ("glasses",),
}


@cache
def _style(part: str | None) -> Style:
    """The drawing with one part alone, or whole. Parsing takes seconds, so it is done once."""
    definition = dict(_definition())
    elements = definition["canvas"]["elements"]
    if part == "body":
        elements = [e for e in elements if e["type"] != "component" or e["name"] == "clothes"]
    elif part is not None:
        elements = [e for e in elements if e["name"] == part]
    definition["canvas"] = {**definition["canvas"], "elements": elements}
    return Style(definition)


def _draw_layer(part: str, attributes: tuple[str, ...]) -> np.ndarray:
    style, images = _style(part), []
    for key in np.ndindex(*(len(ATTRIBUTES[a]) for a in attributes)):
        values = {name: ATTRIBUTES[name][0] for name in NAMES}
        values |= {a: ATTRIBUTES[a][k] for a, k in zip(attributes, key, strict=True)}
        images.append(_rasterise(style, 4, _options(values)))
    return np.stack(images)


@dataclass(frozen=True)
class Layer:
    """All looks of a group of parts: `images` (n, 4, 64, 64) premultiplied, chosen by labels."""

    attributes: tuple[str, ...]
    images: Tensor

    def pick(self, labels: Tensor) -> Tensor:
        """labels (n, attributes) -> (n, 4, 64, 64)."""
        index = torch.zeros(len(labels), dtype=torch.long)
        for attribute in self.attributes:
            index = index * len(ATTRIBUTES[attribute]) + labels[:, column(attribute)]
        return self.images[index]

    def under(self, top: Layer) -> Layer:
        """Every look of this layer with every look of `top` laid over it."""
        below, above = self.images[:, None], top.images[None]
        stacked = above + (1 - above[:, :, 3:]) * below
        return Layer(self.attributes + top.attributes, stacked.flatten(0, 1))


# Parts flattened into one layer; the more looks a group has, the more memory and the fewer passes.
_GROUPS = (("body", "mouth", "nose", "eyes", "eyebrows"), ("top",), ("facialHair", "accessories"))


class AvatarRenderer:
    """Draws batches of labelled avatars from layers rasterised once (and kept in `cache`)."""

    def __init__(self, cache: Path) -> None:
        if not cache.exists():
            cache.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(cache, **{part: _draw_layer(part, a) for part, a in PARTS.items()})
        with np.load(cache, allow_pickle=False) as arrays:
            parts = {part: Layer(a, torch.from_numpy(arrays[part])) for part, a in PARTS.items()}
        self.layers = [reduce(Layer.under, (parts[p] for p in group)) for group in _GROUPS]
        colours = np.stack([_colour(c) for c in BACKGROUND.values()])
        self.background = torch.from_numpy(colours)  # (values, 3)

    def __call__(self, labels: Tensor) -> Tensor:
        """labels (n, attributes) integers -> images (n, 3, 64, 64) in [-1, 1]."""
        image = self.background[labels[:, column("background")], :, None, None]
        for layer in self.layers:
            rgba = layer.pick(labels)
            image = rgba[:, :3] + (1 - rgba[:, 3:]) * image
        return image * 2 - 1


def visible(labels: Tensor) -> Tensor:
    """Which attributes of each avatar can be seen at all: (n, attributes) bool. Hair has a colour
    where there is any (a beard counts); sunglasses hide the eyes."""
    seen = torch.ones_like(labels, dtype=torch.bool)
    hair, beard = labels[:, column("hair")], labels[:, column("facial hair")]
    covered = [code("hair", value) for value in ("bald", "hat", "turban")]
    bare = torch.isin(hair, torch.tensor(covered))
    seen[:, column("hair colour")] = ~bare | (beard == code("facial hair", "beard"))
    sunglasses = labels[:, column("glasses")] == code("glasses", "sunglasses")
    seen[:, column("eyes")] = ~sunglasses
    return seen


def by_attribute(right: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy of each attribute where it can be seen; right (n, attributes) bool."""
    seen = visible(labels)
    return {name: float(right[seen[:, i], i].float().mean()) for i, name in enumerate(NAMES)}


def draw_labels(n: int, generator: torch.Generator) -> Tensor:
    """Attribute values drawn independently, with the shares of the data: (n, attributes)."""
    columns = []
    for name, values in ATTRIBUTES.items():
        bias = torch.tensor([BIAS.get((name, v), 0.0) for v in values])
        noise = torch.randn(n, len(values), generator=generator)
        columns.append((noise + bias).argmax(1))
    return torch.stack(columns, 1)
