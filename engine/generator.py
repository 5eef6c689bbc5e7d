"""A StyleGAN2 network as the `Generator` that people and the sweep hold."""

from __future__ import annotations

import torch
from torch import Tensor

from ..store.errors import OptionError
from ..store.fingerprint import ModelIdentity
from ..store.layout import StyleLayout
from .networks.stylegan2 import StyleGAN2
from .protocols import NoiseMode


class StyleGAN2Generator:
    """`Generator` over a StyleGAN2 network; the layout is derived from the network."""

    def __init__(self, network: StyleGAN2, identity: ModelIdentity) -> None:
        self.network = network.eval().requires_grad_(False)
        self.identity = identity
        self.device = network.mapping.w_avg.device
        self.z_dim = network.mapping.z_dim
        self._layers = network.synthesis.styled_layers()
        self.layout = StyleLayout.of(
            (layer.name, layer.kind, layer.resolution, layer.module.affine.weight.shape[0])
            for layer in self._layers
        )

    def map(
        self, z: Tensor, *, truncation: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor:
        """z (n, z_dim) -> w (n, num_ws, w_dim); see `Generator.map`.

        Raises:
            OptionError: a latent of another width, or a cutoff beyond the rows of w.
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            shape = tuple(z.shape)
            raise OptionError(
                f"latent z: has shape {shape}; this generator takes (n, {self.z_dim})"
            )
        rows = self.network.num_ws
        if truncation_cutoff is not None and not 0 <= truncation_cutoff <= rows:
            raise OptionError(f"truncation cutoff {truncation_cutoff}: must be 0 to {rows}")
        mapping = self.network.mapping
        w = mapping(z)[:, None].expand(-1, rows, -1)  # (n, num_ws, w_dim)
        truncated = mapping.w_avg + truncation * (w - mapping.w_avg)
        cutoff = rows if truncation_cutoff is None else truncation_cutoff
        return torch.cat([truncated[:, :cutoff], w[:, cutoff:]], 1)

    def styles(self, w: Tensor) -> Tensor:
        """w (n, num_ws, w_dim) -> (n, C); see `Generator.styles`."""
        return torch.cat([layer.module.affine(w[:, layer.row]) for layer in self._layers], 1)

    def render(self, styles: Tensor, noise: NoiseMode = "const") -> Tensor:
        """styles (n, C) -> (n, image channels, H, H); see `Generator.render`.

        Raises:
            OptionError: styles of another width.
        """
        if styles.ndim != 2 or styles.shape[1] != self.layout.size:
            raise OptionError(
                f"styles: have shape {tuple(styles.shape)}; "
                f"this generator takes (n, {self.layout.size})"
            )
        parts = styles.split([layer.size for layer in self.layout], 1)
        image: Tensor = self.network.synthesis(parts, noise)
        return image
