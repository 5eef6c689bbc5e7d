"""What the rest of the program asks of a generator, of a CLIP and of an encoder of photos."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ...store.fingerprint import ModelIdentity
from ...store.layout import Layer, StyleLayout
from ..networks.style import NoiseMode
from .precision import Precision


class Generator(Protocol):
    """A StyleGAN generator opened at its style space.

    All tensors live on `device`; every method is differentiable and takes any batch size n.
    `rows` names the row of w that each layer of `layout` takes, `image_size` height and width in
    pixels, `notes` what its file lacks and what stands for it, as sentences for people.
    """

    layout: StyleLayout
    rows: tuple[int, ...]
    image_size: tuple[int, int]
    identity: ModelIdentity
    device: torch.device
    precision: Precision
    z_dim: int
    c_dim: int
    notes: tuple[str, ...]

    def map(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """Latents z (n, z_dim) -> w (n, num_ws, w_dim), pulled towards the average w by the
        truncation psi, on the first `truncation_cutoff` rows or on all. A conditional generator
        (c_dim > 0) takes labels c (n, c_dim), one-hot for a class; no other does."""
        ...

    def styles(self, w: Tensor) -> Tensor:
        """w (n, num_ws, w_dim) -> raw affine outputs (n, C) in the order of `layout`."""
        ...

    def render(self, styles: Tensor, noise: NoiseMode = "const") -> Tensor:
        """styles (n, C) -> images (n, channels, H, W), nominally in [-1, 1]."""
        ...

    def prefix(self, styles: Tensor, layer: Layer) -> Prefix:
        """styles (n, C) rendered up to a conv or rgb layer of `layout`, with constant noise and
        without gradients: where renders go on from that differ in that layer alone."""
        ...

    def resume(self, styles: Tensor, layer: Layer) -> Resumed:
        """styles (n, C) rendered up to a layer of `layout`, with constant noise and without
        gradients: where renders go on from that differ in that layer and after it. The layer
        that holds the first channel to change is `layout.locate(channel)[0]`."""
        ...


class Prefix(Protocol):
    """n images rendered up to a layer."""

    def render(self, channel: int, values: Tensor) -> Tensor:
        """The images with one channel of the layer, counted from its first, at each of k values,
        all else as it was: values (k,) -> (k * n, channels, H, W), the n images at the first value
        first."""
        ...


class Resumed(Protocol):
    """n images rendered up to a layer; their features are held as long as this is."""

    def render(self, styles: Tensor) -> Tensor:
        """styles (k * n, C), each n of which agree before the layer with the n that were rendered
        -> (k * n, channels, H, W). So with n = 1 all of a strip or a film share one image.

        Raises:
            OptionError: they do not agree, or their number is no multiple of n.
        """
        ...


class JointEncoder(Protocol):
    """A CLIP: images and texts as unit vectors in one space of `width` dimensions.

    `image_size` is the side in pixels of the square that it sees of an image, of any size.
    `logit_scale` is what its cosines are multiplied by to be the logits of a softmax over texts:
    the inverse of the temperature it was trained to, 100 for OpenAI's.
    """

    identity: ModelIdentity
    device: torch.device
    precision: Precision
    width: int
    image_size: int
    logit_scale: float

    def images(self, images: Tensor) -> Tensor:
        """Images (n, 1, 3 or 4, H, W) in [-1, 1], any size -> (n, width), on the device where the
        images are; differentiable. Grey is repeated, RGBA laid over white, and what is not square
        is seen whole, on a square."""
        ...

    def texts(self, texts: list[str]) -> Tensor:
        """Texts -> (n, width).

        Raises:
            PromptError: a text is longer than the context; the message names the limit.
        """
        ...


class PhotoEncoder(Protocol):
    """An encoder of photos for one generator: tells of a crop by which latent it is drawn.

    `side` is that of the square in pixels which it sees a crop at, `identity` what caches, recipes
    and files of latents keep of it, `notes` what there is to say of it, as sentences for people.
    Whoever makes one refuses a generator that it was not trained for.
    """

    identity: ModelIdentity
    side: int
    notes: tuple[str, ...]

    def encode(self, crops: Tensor, start: Tensor) -> Tensor:
        """Crops (n, 3, H, W) in [-1, 1], RGB, of the generator's size and on its device, and what
        the look-up found of each, or the average w, (n, num_ws, w_dim), which those that count from
        elsewhere pass over -> w+ of the same shape. Where it looks at what the generator draws in
        between, that is done here."""
        ...
