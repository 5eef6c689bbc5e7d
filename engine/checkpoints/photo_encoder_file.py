"""Encoders of photos from the files of pSp, e4e, ReStyle and stylegan3-editing.

Each is a dict by torch.save: `state_dict`, with the encoder's tensors below `encoder.` and the
generator's, which it was trained with, below `decoder.`; `opts`, a dict or an argparse.Namespace;
and `latent_avg` where latents count from the average w. What the tensors do not tell, whether later
rows are differences from the first, the option `encoder_type` tells. Nothing in a file is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...store.errors import CheckpointError
from ...store.fingerprint import ModelIdentity, weights_sha256
from ..inert.objects import InertObject, InertTensor
from ..inert.stream import MAGIC
from ..inert.torchfile import read_torch
from ..inert.unpickle import map_file
from ..networks.irse import REDUCTION, UNITS
from ..networks.photo_encoder import SIDE, PhotoEncoderConfig
from .checkpoint import LARGEST_SIZE, GeneratorCheckpoint, excerpt, is_whole, require_same_shapes
from .states import find_state, read_generator_state
from .tensors import below, load_tensors, without_parallel

SUPPORTED = "encoders of photos are read from the .pt of pSp, e4e, ReStyle and stylegan3-editing"
PASSES = 5
"""Of an encoder that looks at what the generator makes of its last answer."""
MOST_ROWS = 64
CARS_ROWS = slice(32, 224)
"""Of 256: what encoders of cars see, whose pictures are three quarters as high as wide."""

# Of opts.encoder_type: whether later rows read a pyramid, and whether they are differences.
_TYPES = {
    "GradualStyleEncoder": (True, False),
    "Encoder4Editing": (True, True),
    "BackboneEncoder": (False, False),
    "ProgressiveBackboneEncoder": (False, True),
}
_FIRST_UNITS = tuple(sum(UNITS[:stage]) for stage in range(len(UNITS)))


@dataclass(frozen=True, eq=False)
class PhotoEncoderCheckpoint:
    """The content of such a file.

    Args:
        config: of its network.
        tensors: float32, on the CPU, all weights of the network but its counters.
        origin: where latents count from, float32 (rows, w_dim).
        average: the average w in each row of w, the same; None where the file does not tell it.
        rows: of the square of `SIDE` pixels those that it sees.
        decoder: the tensors of the generator that it was trained with, unread; none in some files.
        encoder_type: as the file calls it.
    """

    config: PhotoEncoderConfig
    tensors: dict[str, Tensor]
    origin: Tensor
    average: Tensor | None
    rows: slice
    decoder: dict[str, object]
    encoder_type: str

    @property
    def family(self) -> str:
        """`pSp`, `e4e`, `ReStyle-pSp` or `ReStyle-e4e`."""
        name = "e4e" if self.config.deltas else "pSp"
        return name if self.passes == 1 else f"ReStyle-{name}"

    @property
    def passes(self) -> int:
        """How often the network is asked."""
        return 1 if self.config.channels == 3 else PASSES

    def sha256(self) -> str:
        """The identity of all that decides its answers."""
        seen = len(range(SIDE)[self.rows])
        weights = {**self.tensors, "latent_avg": self.origin}
        return weights_sha256(
            (f"{self.family}.{seen}.{name}", tensor.numpy()) for name, tensor in weights.items()
        )

    def identity(self, name: str) -> ModelIdentity:
        """What is remembered of the encoder that people know as `name`."""
        sizes = {"num_ws": self.config.rows, "w_dim": self.config.w_dim, "passes": self.passes}
        return ModelIdentity(name, self.sha256(), sizes)

    def generator(self, path: Path) -> GeneratorCheckpoint | None:
        """The generator that it was trained with, if the file at `path` holds it.

        Raises:
            CheckpointError: its tensors are not those of a network that can be built.
        """
        found = find_state(self.decoder)
        return None if found is None else read_generator_state(path, found[0], self.average)


def read_photo_encoder(path: Path) -> PhotoEncoderCheckpoint:
    """The encoder in a file.

    Raises:
        CheckpointError: there is no such file, or it holds no encoder that can be built; the
            message says what was found.
    """
    content, state = _content(path)
    if state is None:
        raise CheckpointError(
            f"{path}: holds {excerpt(content)}, no encoder of photos; {SUPPORTED}"
        )
    options = _options(content.get("opts"))
    kind, average = options.get("encoder_type"), content.get("latent_avg")
    if not isinstance(kind, str) or kind not in _TYPES:
        told = "missing" if kind is None else excerpt(kind)
        raise CheckpointError(
            f"{path}: its encoder is of a type that cannot be built (opts.encoder_type is {told}, "
            f"not one of {', '.join(_TYPES)}); {SUPPORTED}"
        )
    described = {name: x for name, x in below(state, "encoder.").items() if not _is_counter(name)}
    config = _config(path, described, *_TYPES[kind])
    wanted = {name: torch.empty(n, device="meta") for name, n in config.shapes().items()}
    tensors = load_tensors(path, {excerpt(name): value for name, value in described.items()})
    require_same_shapes(path, wanted, tensors)
    latents = None if average is None else _average(path, average, config)
    origin: Tensor | None = torch.zeros(config.rows, config.w_dim)
    if config.channels == 6 or options.get("start_from_latent_avg", average is not None) is True:
        origin = latents
    if origin is None:
        raise CheckpointError(
            f"{path}: its encoder counts from the average w, and the file has no latent_avg; get "
            "it from its source again"
        )
    dataset = options.get("dataset_type")
    cars = isinstance(dataset, str) and dataset.startswith("cars")
    return PhotoEncoderCheckpoint(
        config,
        {name: tensors[name].contiguous() for name in wanted},
        origin,
        latents,
        CARS_ROWS if cars else slice(0, SIDE),
        below(state, "decoder."),
        kind,
    )


def holds_photo_encoder(path: Path) -> bool:
    """Whether a file is one that `read_photo_encoder` is for, sound or not."""
    try:
        return _content(path)[1] is not None
    except CheckpointError:
        return False


def _content(path: Path) -> tuple[Mapping[Any, Any], dict[Any, Any] | None]:
    """What a file holds, and the state dict in it, if that has an encoder's tensors."""
    head = bytes(map_file(path)[:32])
    if not head.startswith(b"PK\x03\x04") and MAGIC.to_bytes(10, "little") not in head:
        raise CheckpointError(f"{path}: is no file of torch.save; {SUPPORTED}")
    content = read_torch(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: holds {excerpt(content)}, no encoder of photos; {SUPPORTED}"
        )
    state = content.get("state_dict", content)
    if isinstance(state, Mapping):
        names = without_parallel(state)
        if any(isinstance(name, str) and name.startswith("encoder.") for name in names):
            return content, names
    return content, None


def _options(opts: object) -> Mapping[Any, Any]:
    """The options of its training, a dict or a Namespace."""
    if isinstance(opts, InertObject):
        opts = opts.state
    return opts if isinstance(opts, Mapping) else {}


def _config(
    path: Path, described: Mapping[str, object], pyramid: bool, deltas: bool
) -> PhotoEncoderConfig:
    """The numbers of an encoder, by the shapes of its tensors."""
    rows = sum(name.startswith("styles.") and name.endswith(".linear.weight") for name in described)
    first = _shape(path, described, "input_layer.0.weight", 4)
    w_dim = _shape(path, described, "styles.0.linear.weight", 2)[0]
    units = (f"body.{number}.res_layer.1.weight" for number in _FIRST_UNITS)
    lower, middle, upper, top = (_shape(path, described, name, 4)[0] for name in units)
    if first[1] not in (3, 6):
        raise CheckpointError(
            f"{path}: its encoder sees {first[1]} channels; those are read that see a picture, 3, "
            f"or two, 6; {SUPPORTED}"
        )
    widths = (lower, middle, upper, top)
    sound = all(is_whole(width, REDUCTION, LARGEST_SIZE) for width in widths)
    if not (sound and 1 <= rows <= MOST_ROWS and w_dim <= LARGEST_SIZE):
        raise CheckpointError(
            f"{path}: its encoder has {rows} rows of {w_dim} and stages of "
            f"{', '.join(map(str, widths))} channels, where 1 to {MOST_ROWS} rows of up to "
            f"{LARGEST_SIZE} and {REDUCTION} to {LARGEST_SIZE} channels can be built; get it from "
            "its source again"
        )
    return PhotoEncoderConfig(rows, w_dim, first[1], pyramid, deltas, widths)


def _shape(path: Path, described: Mapping[str, object], name: str, axes: int) -> tuple[int, ...]:
    tensor = described.get(name)
    if not isinstance(tensor, InertTensor) or len(tensor.shape) != axes or not tensor.numel:
        raise CheckpointError(
            f"{path}: encoder.{name} is missing, or none of an encoder on IR-SE50; {SUPPORTED}"
        )
    return tensor.shape


def _average(path: Path, average: object, config: PhotoEncoderConfig) -> Tensor:
    """The average w in each row, of the shapes in which files have it."""
    found = load_tensors(path, {"latent_avg": average})["latent_avg"]
    shape = (config.rows, config.w_dim)
    known = ((config.w_dim,), (1, config.w_dim), shape, (1, *shape))
    if tuple(found.shape) not in known or not bool(found.isfinite().all()):
        raise CheckpointError(
            f"{path}: its latent_avg is of shape {tuple(found.shape)}, or not finite, where "
            f"{shape} or {shape[1:]} is needed; get it from its source again"
        )
    return found.reshape(-1, config.w_dim).expand(shape).contiguous()


def _is_counter(name: str) -> bool:
    """Whether it counts what batch normalisation was trained by."""
    return name.endswith(".num_batches_tracked")
