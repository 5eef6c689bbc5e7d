"""Who tells whether an edit succeeded: never the CLIP that drew the atlas alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ... import zoo
from ...store.atlas import Atlas
from ...store.errors import FingerprintError, OptionError
from ...zoo import judge as avatars
from ..models.load import load_encoder
from ..models.protocols import JointEncoder
from .scores import Sight
from .suite import Attributes, Suite


@dataclass(frozen=True, eq=False)
class Look:
    """What a judge saw of n images.

    Args:
        sight: the values of its attributes, (n, A).
        features: what it saw them by, each (n, channels, H, W), any number of sizes.
        embeddings: unit, float32 (n, D), of a judge that knows texts too.
    """

    sight: Sight
    features: tuple[Tensor, ...]
    embeddings: NDArray[np.float32] | None = None


class Judge(Protocol):
    """Reads the values of attributes from images; `name` is what people call it."""

    name: str

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


class AvatarJudge(avatars.Judge):
    """The embedded judge, trained on drawings of avatars alone."""

    name = zoo.NAME
    _SHAPE = (3, 64, 64)

    @torch.inference_mode()
    def look(self, images: Tensor) -> Look:
        """See `Judge.look`; the features are those after each convolution."""
        if images.shape[1:] != self._SHAPE:
            shape = " x ".join(map(str, images.shape[1:]))
            raise OptionError(
                f"judge {zoo.NAME}: reads avatars of 3 x 64 x 64, not images of {shape}; "
                "judge them by a CLIP"
            )
        at, features = images.cpu().float(), []
        for layer in self._network.features:
            at = layer(at)
            if isinstance(layer, nn.ReLU):
                features.append(at)
        scores = self._network.head(at.flatten(1))
        parts = scores.split([len(values) for values in self.attributes.values()], 1)
        chosen = np.stack([part.argmax(1).numpy() for part in parts], 1)  # (n, A)
        reading = {
            name: [values[i] for i in column]
            for (name, values), column in zip(self.attributes.items(), chosen.T, strict=True)
        }
        shown = [avatars.shown(reading, i) for i in range(len(images))]
        seen = np.array([[name in names for name in reading] for names in shown])
        return Look(Sight(chosen.astype(np.int16), seen), tuple(features))

    def direction(self, neutral: str, target: str) -> None:
        """It knows no texts."""


class ClipJudge:
    """A CLIP that tells values apart by their phrases: the mean embedding of a value's phrases that
    lies nearest to the image's."""

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
            Sight(numbers, np.ones(numbers.shape, bool)),
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
    """The embedded judge by the name `avatars`, or a CLIP that `load_encoder` takes.

    Raises:
        FingerprintError: it is the CLIP that drew the atlas, which edits are made to please.
        CheckpointError, OptionError: it cannot be loaded.
    """
    if source == zoo.NAME:
        return AvatarJudge()
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
