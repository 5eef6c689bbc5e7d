"""Who tells whether an edit succeeded: never the CLIP that drew the atlas alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

from ...store.atlas import Atlas
from ...store.errors import CheckpointError, FingerprintError, OptionError
from ...store.registry import Bundle, find_bundle
from ..models.load import load_encoder
from ..models.protocols import JointEncoder
from ..networks.attributes import IMAGE_SHAPE, AttributeNetwork
from .drawings import Drawings
from .scores import Predictions
from .suite import Attributes, Suite

Reading = dict[str, list[str]]
"""Attribute -> the value of each of n images."""


@dataclass(frozen=True, eq=False)
class Look:
    """What a judge saw of n images.

    Args:
        predictions: the values of its attributes, (n, A).
        features: what it saw them by, each (n, channels, H, W), any number of sizes.
        embeddings: unit, float32 (n, D), of a judge that knows texts too.
    """

    predictions: Predictions
    features: tuple[Tensor, ...]
    embeddings: NDArray[np.float32] | None = None


class Judge(Protocol):
    """Reads the values of attributes from images; `name` is what people call it."""

    name: str

    @property
    def drawings(self) -> Drawings | None:
        """Of what it reads, the same attributes in the same order, where the truth can be drawn."""
        ...

    @property
    def attributes(self) -> Attributes:
        """Each attribute with the values it tells apart."""
        ...

    def look(self, images: Tensor) -> Look:
        """Images (n, channels, H, W) in [-1, 1].

        Raises:
            OptionError: it cannot read such images.
        """
        ...

    def direction(self, neutral: str, target: str) -> NDArray[np.float32] | None:
        """The unit direction (D,) between prompts among its embeddings, if it knows texts."""
        ...


class AttributeJudge:
    """The classifier of attributes that belongs to a bundle, on the CPU; it knows no texts.

    Its file is safetensors: the weights of an `AttributeNetwork`, and in the metadata `attributes`,
    JSON that maps each attribute to its values.

    Raises:
        OptionError: the bundle has no judge.
        CheckpointError: its drawings cannot be read, or are of other attributes or another size.
    """

    def __init__(self, bundle: Bundle) -> None:
        if bundle.judge is None:
            raise OptionError(f"judge {bundle.name}: has none; judge by a CLIP")
        self.name = bundle.name
        with safe_open(bundle.judge, framework="pt") as file:
            self.attributes: dict[str, list[str]] = json.loads(file.metadata()["attributes"])
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        self._network = AttributeNetwork(sum(len(v) for v in self.attributes.values())).eval()
        self._network.load_state_dict(state)
        self.drawings = None if bundle.drawings is None else self._fitting(bundle.drawings)

    @torch.inference_mode()
    def read(self, images: Tensor) -> Reading:
        """Images (n, 3, 64, 64) in [-1, 1] -> the value of every attribute of each."""
        scores = torch.cat([self._network(part.cpu()) for part in images.split(256)])
        return self._named(self._chosen(scores))

    @torch.inference_mode()
    def look(self, images: Tensor) -> Look:
        """See `Judge.look`; the features are those after each convolution, and what is seen is what
        its drawings show, all where it has none."""
        if images.shape[1:] != IMAGE_SHAPE:
            shape = " x ".join(map(str, images.shape[1:]))
            raise OptionError(
                f"judge {self.name}: reads images of 3 x 64 x 64, not of {shape}; "
                "judge them by a CLIP"
            )
        at, features = images.cpu().float(), []
        for layer in self._network.features:
            at = layer(at)
            if isinstance(layer, nn.ReLU):
                features.append(at)
        chosen = self._chosen(self._network.head(at.flatten(1)))
        return Look(Predictions(chosen.astype(np.int16), self._visible(chosen)), tuple(features))

    def direction(self, neutral: str, target: str) -> None:
        """It knows no texts."""

    def _fitting(self, path: Path) -> Drawings:
        drawings = Drawings(path)
        read = {name: tuple(values) for name, values in self.attributes.items()}
        same = list(drawings.attributes.items()) == list(read.items())
        if not same or drawings.side != IMAGE_SHAPE[1]:
            raise CheckpointError(
                f"{path}: draws other attributes, or at another size, than judge {self.name} "
                "reads; write it again for this judge"
            )
        return drawings

    def _visible(self, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        if self.drawings is None:
            return np.ones(chosen.shape, bool)
        return self.drawings.visible(chosen)

    def _chosen(self, scores: Tensor) -> NDArray[np.int64]:
        """The number of each attribute's likeliest value, (n, A)."""
        parts = scores.split([len(values) for values in self.attributes.values()], 1)
        return np.stack([part.argmax(1).numpy() for part in parts], 1)

    def _named(self, chosen: NDArray[np.int64]) -> Reading:
        return {
            name: [values[i] for i in column]
            for (name, values), column in zip(self.attributes.items(), chosen.T, strict=True)
        }


class ClipJudge:
    """A CLIP that tells values apart by their phrases: the mean embedding of a value's phrases that
    lies nearest to the image's."""

    drawings = None

    def __init__(self, encoder: JointEncoder, suite: Suite) -> None:
        self.name = encoder.identity.name
        self.attributes = {name: tuple(v) for name, v in suite.phrases.items()}
        self._encoder = encoder
        self._embedded: dict[tuple[str, ...], Tensor] = {}
        self._values = [
            torch.stack([self._embed(texts) for texts in values.values()])  # (values, D)
            for values in suite.phrases.values()
        ]

    @torch.inference_mode()
    def look(self, images: Tensor) -> Look:
        """See `Judge.look`; the only feature is the embedding, and every attribute is seen."""
        embeddings = self._encoder.images(images.to(self._encoder.device)).float()
        chosen = [(embeddings @ values.t()).argmax(1) for values in self._values]
        numbers = torch.stack(chosen, 1).cpu().numpy().astype(np.int16)
        return Look(
            Predictions(numbers, np.ones(numbers.shape, bool)),
            (embeddings[:, :, None, None],),
            embeddings.cpu().numpy(),
        )

    def direction(self, neutral: str, target: str) -> NDArray[np.float32]:
        """See `Judge.direction`."""
        difference = self._embed((target,)) - self._embed((neutral,))
        direction: NDArray[np.float32] = F.normalize(difference, dim=0).cpu().numpy()
        return direction

    @torch.inference_mode()
    def _embed(self, texts: tuple[str, ...]) -> Tensor:
        """The unit mean (D,) of texts, each embedded once."""
        if texts not in self._embedded:
            mean = self._encoder.texts(list(texts)).float().mean(0)
            self._embedded[texts] = F.normalize(mean, dim=0)
        return self._embedded[texts]


def judge_for(source: str, atlas: Atlas, suite: Suite, device: str | None = None) -> Judge:
    """The judge of a registered bundle by its name, or a CLIP that `load_encoder` takes.

    Raises:
        FingerprintError: it is the CLIP that drew the atlas, which edits are made to please.
        CheckpointError, OptionError: it cannot be loaded.
    """
    if bundle := find_bundle(source):
        return AttributeJudge(bundle)
    encoder = load_encoder(source, device)
    if encoder.identity.sha256 == atlas.fingerprint.clip.sha256:
        raise FingerprintError(
            f"judge {encoder.identity}: is the CLIP that drew the atlas, and edits are made to "
            "please it; judge them by another one"
        )
    return ClipJudge(encoder, suite)


def feature_distance(a: Look, b: Look) -> NDArray[np.float32]:
    """How different a judge's features of two times n images are, (n,), 0 to 4.

    The squared distance of the unit features at every position, averaged over positions and then
    over layers: the form of LPIPS (Zhang et al. 2018, equation 1) without its learned weights, on
    this judge instead of a network trained on photographs. Of embeddings it is 2 - 2 cosine.
    """
    layers = [
        (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1).mean((1, 2))
        for x, y in zip(a.features, b.features, strict=True)
    ]
    distance: NDArray[np.float32] = torch.stack(layers).mean(0).float().cpu().numpy()
    return distance
