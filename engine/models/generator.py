"""A StyleGAN network as the `Generator` that people and the sweep hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ...store.errors import OptionError
from ...store.fingerprint import ModelIdentity, weights_sha256
from ...store.layout import Layer, StyleLayout
from ..checkpoints.checkpoint import GeneratorCheckpoint, GeneratorConfig
from ..checkpoints.tuned_file import TunedCheckpoint
from ..checkpoints.tuning import Tuning
from ..networks.mobile_stylegan import MobileStyleGAN, MobileStyleGANConfig
from ..networks.prefix import Prefix, prefix, resume
from ..networks.style import NoiseMode
from ..networks.stylegan2 import StyleGAN2, StyleGAN2Config
from ..networks.stylegan3 import StyleGAN3
from .precision import Precision, reduced_dtype

AVERAGE = "mapping.w_avg"


Network = StyleGAN2 | StyleGAN3 | MobileStyleGAN


class StyleGANGenerator:
    """`Generator` over a network of any family; the layout is derived from the network.

    `average` (w_dim,) is what truncation pulls towards, if not the average w of the network.
    `source` is the file that it was read from, None where that has a registered name; `tuning`
    what it was tuned from and to, where its file says so.
    """

    def __init__(
        self,
        network: Network,
        identity: ModelIdentity,
        precision: Precision = "float32",
        notes: tuple[str, ...] = (),
        average: Tensor | None = None,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.identity, self.precision, self.notes = identity, precision, notes
        self.source: Path | None = None
        self.tuning: Tuning | None = None
        self.average: Tensor = network.mapping.w_avg if average is None else average
        network.synthesis.reduced_dtype = reduced_dtype(precision)
        self.device = network.mapping.w_avg.device
        self.z_dim, self.c_dim = network.config.z_dim, network.config.c_dim
        self._layers = network.config.styled_layers()
        self.layout = StyleLayout.of(
            (layer.name, layer.kind, layer.resolution, layer.size) for layer in self._layers
        )
        self.rows = tuple(layer.row for layer in self._layers)
        self.image_size = network.config.image_size

    @classmethod
    def of(
        cls, checkpoint: GeneratorCheckpoint, name: str, device: torch.device, precision: Precision
    ) -> StyleGANGenerator:
        """Build the network of a checkpoint on a device, for rendering only.

        Raises:
            OptionError: an unknown precision.
        """
        reduced_dtype(precision)  # refuses an unknown one before the work
        network = build(checkpoint.config)
        network.load_state_dict(checkpoint.tensors)
        network = network.to(device).requires_grad_(False)
        network.synthesis.freeze()
        made = cls(network, checkpoint.identity(name), precision, checkpoint.notes)
        made.tuning = checkpoint.tuning if isinstance(checkpoint, TunedCheckpoint) else None
        return made

    def __repr__(self) -> str:
        height, width = self.image_size
        what, size = type(self.network).__name__, f"{width} px"
        if height != width:
            size = f"{height} px high, {width} px wide"
        return f"<{what} {self.identity.name}: {size}, on {self.device}>"

    def map(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """z (n, z_dim), c (n, c_dim) -> w (n, num_ws, w_dim); see `Generator.map`.

        Raises:
            OptionError: a latent or label of another shape, a label that is missing or not asked
                for, or a cutoff beyond the rows of w.
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            shape = tuple(z.shape)
            raise OptionError(
                f"latent z: has shape {shape}; this generator takes (n, {self.z_dim})"
            )
        self._require_label(c, len(z))
        rows = self.network.config.num_ws
        if truncation_cutoff is not None and not 0 <= truncation_cutoff <= rows:
            raise OptionError(f"truncation cutoff {truncation_cutoff}: must be 0 to {rows}")
        w = self.network.mapping(z, c)[:, None].expand(-1, rows, -1)  # (n, num_ws, w_dim)
        truncated = self.average + truncation * (w - self.average)
        cutoff = rows if truncation_cutoff is None else truncation_cutoff
        return torch.cat([truncated[:, :cutoff], w[:, cutoff:]], 1)

    def with_average(self, average: Tensor) -> StyleGANGenerator:
        """The same network, shared, with another average w, (w_dim,), and the identity of the
        weights with that one."""
        average = average.to(self.device, torch.float32)
        weights = {**self.network.state_dict(), AVERAGE: average}
        sha256 = weights_sha256((name, weight.cpu().numpy()) for name, weight in weights.items())
        identity = replace(self.identity, sha256=sha256)
        made = StyleGANGenerator(self.network, identity, self.precision, self.notes, average)
        made.source, made.tuning = self.source, self.tuning
        return made

    def styles(self, w: Tensor) -> Tensor:
        """w (n, num_ws, w_dim) -> (n, C); see `Generator.styles`."""
        return torch.cat([self._affine(layer.name)(w[:, layer.row]) for layer in self._layers], 1)

    def render(self, styles: Tensor, noise: NoiseMode = "const") -> Tensor:
        """styles (n, C) -> (n, image channels, H, W); see `Generator.render`.

        Raises:
            OptionError: styles of another width.
        """
        image: Tensor = self.network.synthesis(self.by_layer(styles), noise)
        return image

    def prefix(self, styles: Tensor, layer: Layer) -> Prefix:
        """styles (n, C) rendered up to a layer; see `Generator.prefix`.

        Raises:
            OptionError: styles of another width, or StyleGAN3's input.
        """
        return prefix(self.network, self.by_layer(styles), list(self.layout).index(layer))

    def resume(self, styles: Tensor, layer: Layer) -> ResumedRender:
        """styles (n, C) rendered up to a layer; see `Generator.resume`.

        Raises:
            OptionError: styles of another width.
        """
        return ResumedRender(self, styles, layer)

    def by_layer(self, styles: Tensor) -> tuple[Tensor, ...]:
        """styles (n, C) -> (n, size) for each layer.

        Raises:
            OptionError: styles of another width.
        """
        if styles.ndim != 2 or styles.shape[1] != self.layout.size:
            raise OptionError(
                f"styles: have shape {tuple(styles.shape)}; "
                f"this generator takes (n, {self.layout.size})"
            )
        parts: tuple[Tensor, ...] = styles.split([layer.size for layer in self.layout], 1)
        return parts

    def _affine(self, layer: str) -> nn.Module:
        return self.network.synthesis.get_submodule(f"{layer}.affine")

    def _require_label(self, c: Tensor | None, n: int) -> None:
        if not self.c_dim and c is not None:
            raise OptionError("label c: this generator is not conditional and takes none")
        if self.c_dim and (c is None or c.shape != (n, self.c_dim)):
            found = "is missing" if c is None else f"has shape {tuple(c.shape)}"
            raise OptionError(
                f"label c: {found}; this generator is conditional and takes ({n}, {self.c_dim}), "
                "one-hot for a class"
            )


class ResumedRender:
    """`Resumed` over a `StyleGANGenerator`."""

    def __init__(self, generator: StyleGANGenerator, styles: Tensor, layer: Layer) -> None:
        self._generator, self._layer = generator, layer
        self._number = list(generator.layout).index(layer)
        self._before = styles[:, : layer.start].detach()
        self._finish = resume(generator.network, generator.by_layer(styles), self._number)

    @torch.inference_mode()
    def render(self, styles: Tensor) -> Tensor:
        """styles (k * n, C) -> (k * n, image channels, H, W); see `Resumed.render`."""
        later = self._generator.by_layer(styles)[self._number :]
        times, rest = divmod(len(styles), len(self._before))
        if rest:
            raise OptionError(
                f"styles: are {len(styles)}, no multiple of the {len(self._before)} that were "
                "rendered; give as many for each"
            )
        if not torch.equal(styles[:, : self._layer.start], self._before.repeat(times, 1)):
            raise OptionError(
                f"styles: differ before layer {self._layer.name} from those that were rendered; "
                "resume at the first layer that changes"
            )
        return self._finish(later)


def build(config: GeneratorConfig) -> Network:
    """The network a configuration describes, with random weights."""
    if isinstance(config, MobileStyleGANConfig):
        return MobileStyleGAN(config)
    return StyleGAN2(config) if isinstance(config, StyleGAN2Config) else StyleGAN3(config)
