"""A generator's drafts: smaller images of the same styles, for a CLIP that sees no larger ones."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ...store.errors import OptionError
from ...store.layout import Layer, StyleLayout
from ..networks.draft import DraftConfig, added, draft_configs, draft_network, fit
from ..networks.style import NoiseMode
from .generator import ResumedRender, StyleGANGenerator
from .protocols import Generator, JointEncoder, Prefix
from .sampling import styles_from_seeds

FITTED_TO = 48
"""Images of seeds at psi 1; more made no better draft of the embedded generator."""


class Draft:
    """`Generator` of smaller images of the styles of another: what comes after is not computed.

    Layout, identity, styles and w are the whole generator's. `reaching` is the layout's first
    layers, those that the draft depends on: the others change nothing in it.

    That of a StyleGAN2 is fitted to whole images, which takes some tens of renders.

    Args:
        whole: the generator.
        side: of the images, the longer one, in pixels.
        fitted: what another draft of the same generator and size has found; see `fitted`.

    Raises:
        OptionError: it has no draft of that size.
    """

    def __init__(self, whole: Generator, side: int, fitted: bytes | None = None) -> None:
        config = _drafts(whole).get(side)
        if config is None or not isinstance(whole, StyleGANGenerator):
            raise OptionError(f"draft of {side} px: {_named(whole)} has none; leave it out")
        self.whole, self.side = whole, side
        self.layout, self.rows, self.identity = whole.layout, whole.rows, whole.identity
        self.device, self.precision, self.notes = whole.device, whole.precision, whole.notes
        self.z_dim, self.c_dim = whole.z_dim, whole.c_dim
        network = draft_network(whole.network, config)
        self._small = StyleGANGenerator(network, whole.identity, whole.precision)
        self._added = added(network)
        if fitted is None:
            fit(whole.network, network, self._images())
        elif self._added is not None:
            found = torch.frombuffer(bytearray(fitted), dtype=torch.float32).to(self.device)
            vector_to_parameters(found, self._added.parameters())
        self.image_size = self._small.image_size
        self.reaching = StyleLayout(self.layout.layers[: len(self._small.layout)])

    @classmethod
    def for_clip(cls, whole: Generator, encoder: JointEncoder) -> Draft:
        """The smallest draft that is at least as large as what a CLIP sees.

        Raises:
            OptionError: there is none that is smaller than the whole image.
        """
        fitting = [side for side in _drafts(whole) if side >= encoder.image_size]
        if not fitting:
            raise OptionError(
                f"draft: {_named(whole)} gives no image between its own {max(whole.image_size)} px "
                f"and the {encoder.image_size} px that CLIP sees, as MobileStyleGAN and StyleGAN2 "
                "with skip connections do where they are large enough; leave out --draft"
            )
        return cls(whole, min(fitting))

    @property
    def fitted(self) -> bytes:
        """What was fitted, for a draft in another process; nothing of a MobileStyleGAN's."""
        if self._added is None:
            return b""
        return parameters_to_vector(self._added.parameters()).cpu().numpy().tobytes()

    def __repr__(self) -> str:
        return f"<draft of {self.side} px of {self.whole!r}>"

    def map(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """See `Generator.map`."""
        return self.whole.map(z, c, truncation=truncation, truncation_cutoff=truncation_cutoff)

    def styles(self, w: Tensor) -> Tensor:
        """See `Generator.styles`: of all layers of the whole generator."""
        return self.whole.styles(w)

    def render(self, styles: Tensor, noise: NoiseMode = "const") -> Tensor:
        """styles (n, C) -> (n, image channels, H, W); see `Generator.render`.

        Raises:
            OptionError: styles of another width.
        """
        return self._small.render(self.reached_by(styles), noise)

    def prefix(self, styles: Tensor, layer: Layer) -> Prefix:
        """styles (n, C) rendered up to a layer; see `Generator.prefix`.

        Raises:
            OptionError: styles of another width, or a layer that the draft does not depend on.
        """
        if layer.start >= self.reaching.size:
            raise OptionError(
                f"layer {layer.name}: does not reach the draft of {self.side} px; leave it out"
            )
        return self._small.prefix(self.reached_by(styles), self._small.layout[layer.name])

    def resume(self, styles: Tensor, layer: Layer) -> ResumedDraft:
        """styles (n, C) rendered up to a layer; see `Generator.resume`.

        Raises:
            OptionError: styles of another width.
        """
        last = self.reaching.layers[-1]
        layer = layer if layer.start < self.reaching.size else last
        small = self._small.resume(self.reached_by(styles), self._small.layout[layer.name])
        return ResumedDraft(self, small)

    def _images(self) -> Iterator[tuple[Tensor, ...]]:
        """The styles of images to fit to, a layer each."""
        for seed in range(FITTED_TO):
            yield self.whole.by_layer(styles_from_seeds(self.whole, [seed], 1.0))

    def reached_by(self, styles: Tensor) -> Tensor:
        """Those of styles (n, C) that the draft depends on.

        Raises:
            OptionError: styles of another width.
        """
        self.whole.by_layer(styles)  # which refuses them
        return styles[:, : self.reaching.size]


class ResumedDraft:
    """`Resumed` over a `Draft`."""

    def __init__(self, draft: Draft, small: ResumedRender) -> None:
        self._draft, self._small = draft, small

    def render(self, styles: Tensor) -> Tensor:
        """styles (k * n, C) -> (k * n, image channels, H, W); see `Resumed.render`."""
        return self._small.render(self._draft.reached_by(styles))


def reaching(generator: Generator) -> StyleLayout:
    """The layers that a generator's images depend on: all, or the first ones of a draft."""
    return generator.reaching if isinstance(generator, Draft) else generator.layout


def draft_sides(generator: Generator) -> tuple[int, ...]:
    """Of the drafts that a generator has, the longer side of the image, ascending."""
    return tuple(_drafts(generator))


def _drafts(generator: Generator) -> dict[int, DraftConfig]:
    """By the longer side of the image, ascending."""
    if not isinstance(generator, StyleGANGenerator):
        return {}
    return draft_configs(generator.network.config)


def _named(generator: Generator) -> str:
    return f"the generator {generator.identity.name}"
