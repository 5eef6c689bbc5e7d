"""Unedited images of a generator, as an atlas holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import as_array, require_range, require_unit, row_norms
from .errors import AtlasFormatError, OptionError
from .features import Feature, FeatureSource, feature_path


@dataclass(frozen=True, eq=False)
class SampleSet:
    """N images as the generator draws them, in D dimensions of CLIP's space, and how a step in w
    moves its C style channels.

    Args:
        w: their latents at psi 1, one row each, which all rows of w are, float16 (N, w_dim).
        label: their classes, at least 0; -1 where the generator is not conditional, int32 (N,).
        embedding: of the images, unit vectors, float16 (N, D).
        pulled: embeddings of the images of the first M latents, once more at the psi `pulled_psi`,
            unit vectors, float16 (M, D).
        pulled_psi: the truncation psi of those, 0 to less than 1.
        centre: the average w, which truncation pulls towards, float32 (w_dim,).
        null_gain, null_spread: what chance does: for K text differences that mean nothing, the gain
            of two groups of the samples' scores over one, at least 0, and the standard deviation of
            the scores for a text difference of length 1; float32 (K,).
        weight, bias: style = weight @ w + bias, float32 (C, w_dim) and (C,); None where the
            generator's styles are not affine in w.
        styles: of the images, float16 (N, C), where weight and bias are None; None elsewhere.
        readings: what networks read of the images, by name; `features` are their numbers alone.

    Raises:
        AtlasFormatError: a wrong shape, type or range, no sample, or not exactly one of the affine
            map and the styles; names the dataset it would be in the file.
        AtlasCorruptError: NaN, infinity, or embeddings that are not unit vectors. A feature may be
            NaN in whole rows.
    """

    w: NDArray[np.float16]
    label: NDArray[np.int32]
    embedding: NDArray[np.float16]
    pulled: NDArray[np.float16]
    pulled_psi: float
    centre: NDArray[np.float32]
    null_gain: NDArray[np.float32]
    null_spread: NDArray[np.float32]
    weight: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    styles: NDArray[np.float16] | None = None
    readings: Mapping[str, Feature] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._set("w", np.float16, (None, None))
        n, w_dim = self.w.shape
        if not n or not w_dim:
            raise AtlasFormatError(
                f"/samples/w: has shape {self.w.shape}, which is no sample; leave samples out"
            )
        self._set("label", np.int32, (n,))
        self._set("embedding", np.float16, (n, None))
        self._set("pulled", np.float16, (None, self.embedding.shape[1]))
        self._set("centre", np.float32, (w_dim,))
        self._set("null_gain", np.float32, (None,))
        self._set("null_spread", np.float32, (len(self.null_gain),))
        require_range("/samples/label", self.label, -1, np.inf)
        for name in ("null_gain", "null_spread"):
            require_range(f"/samples/{name}", getattr(self, name), 0, np.inf)
        if len(self.pulled) > n:
            raise AtlasFormatError(
                f"/samples/pulled: holds {len(self.pulled)} of {n} samples; give those of the first"
            )
        psi = float(as_array("/samples/pulled_psi", [self.pulled_psi], np.float64, (1,))[0])
        if not 0 <= psi < 1:
            raise AtlasFormatError(
                f"/samples/pulled_psi: is {psi:g}, must lie between 0 and less than 1"
            )
        object.__setattr__(self, "pulled_psi", psi)
        for name in ("embedding", "pulled"):
            require_unit(f"/samples/{name}", row_norms(getattr(self, name)))
        self._check_styles(n, w_dim)
        read = {name: self.readings[name].checked(name, n) for name in sorted(self.readings)}
        object.__setattr__(self, "readings", read)

    def __len__(self) -> int:
        return len(self.w)

    def __repr__(self) -> str:
        pulled = f"{len(self.pulled):,} of them also at psi {self.pulled_psi:g}"
        read = f", with {', '.join(self.readings)}" if self.readings else ""
        return f"<SampleSet: {len(self):,} samples, {pulled}{read}>"

    @property
    def features(self) -> dict[str, NDArray[np.float32]]:
        """What networks read of the N images, by name, F numbers each: float32 (N, F), a row of NaN
        where a reader found nothing; empty where nothing was read.

        With `precompute --features faces`: `identity` (N, 128), dlib's, of which two less than .6
        apart (L2) are of one person; `expression` (N, 7) and `gender` (N, 2), probabilities; `age`
        (N, 1), years; `landmarks` (N, 10), x and y of five points in shares of the image's side,
        from its upper left corner. `readings[name].source` says what each number is, and which
        weights read it from which part of the image.
        """
        return {name: feature.values for name, feature in self.readings.items()}

    @property
    def sha256(self) -> str:
        """Of all that a look-up learns from: latents, classes, embeddings and features."""
        digest = hashlib.sha256()
        for array in (self.w, self.label, self.embedding, *self.features.values()):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def style_directions(self, w_steps: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """How far steps in w (k, w_dim), the same in all rows of it, move every style channel:
        float32 (k, C).

        Raises:
            OptionError: steps of another shape.
            AtlasFormatError: the generator's styles are not affine in w.
        """
        if self.weight is None:
            raise AtlasFormatError(
                "/samples/weight: is not there, because this generator's styles are not affine in "
                "w; find steps of styles from /samples/styles"
            )
        steps = np.asarray(w_steps)
        if steps.ndim != 2 or steps.shape[1] != self.w.shape[1] or steps.dtype.kind != "f":
            raise OptionError(
                f"steps in w: are {steps.dtype} {steps.shape}; give numbers of shape (k, "
                f"{self.w.shape[1]})"
            )
        moved: NDArray[np.float32] = steps.astype(np.float32) @ self.weight.T
        return moved

    def styles_of(self, numbers: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """The styles (n, C) of some of the samples, by their numbers, float32."""
        if self.weight is None or self.bias is None:
            kept: NDArray[np.float32] = np.asarray(self.styles, np.float32)[numbers]
            return kept
        moved: NDArray[np.float32] = self.w[numbers].astype(np.float32) @ self.weight.T
        return moved + self.bias

    def require_sizes(self, channels: int, width: int) -> None:
        """Raise AtlasFormatError unless these are samples of a generator of so many style channels,
        and embedded in so many dimensions."""
        styles = self.weight.T if self.weight is not None else self.styles
        found = 0 if styles is None else styles.shape[1]
        if found != channels:
            where = "styles" if self.weight is None else "weight"
            raise AtlasFormatError(
                f"/samples/{where}: has {found} channels, but the layout has {channels}; take the "
                "samples of this generator"
            )
        if self.embedding.shape[1] != width:
            raise AtlasFormatError(
                f"/samples/embedding: has width {self.embedding.shape[1]}, but "
                f"/prompts/embedding has {width}; take the samples as this CLIP sees them"
            )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The datasets of the file, by path."""
        arrays = {f"/samples/{name}": getattr(self, name) for name in _NAMES}
        arrays["/samples/pulled_psi"] = np.array([self.pulled_psi])
        arrays |= {feature_path(name): values for name, values in self.features.items()}
        return {path: array for path, array in arrays.items() if array is not None}

    def sources(self) -> dict[str, str]:
        """Who read the features, as JSON, by the path of the dataset."""
        return {feature_path(name): x.source.to_json() for name, x in self.readings.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], sources: Mapping[str, str]) -> SampleSet | None:
        """What `arrays` and `sources` gave; None where no samples are among them."""
        found: dict[str, Any] = {name: arrays.get(f"/samples/{name}") for name in _NAMES}
        if found["w"] is None:
            return None
        psi = as_array("/samples/pulled_psi", arrays["/samples/pulled_psi"], np.float64, (1,))
        readings = {}
        for path, text in sources.items():
            try:
                source = FeatureSource.from_json(text)
            except AtlasFormatError as error:
                raise AtlasFormatError(f"{path}, attribute source: {error}") from error
            readings[path.rsplit("/", 1)[-1]] = Feature(arrays[path], source)
        return cls(**found, pulled_psi=float(psi[0]), readings=readings)

    def _set(self, name: str, dtype: type[np.generic], shape: tuple[int | None, ...]) -> None:
        array = as_array(f"/samples/{name}", getattr(self, name), dtype, shape)
        object.__setattr__(self, name, array)

    def _check_styles(self, n: int, w_dim: int) -> None:
        if self.styles is not None:
            if self.weight is not None or self.bias is not None:
                raise AtlasFormatError(
                    "/samples/styles: stands beside the affine map that styles follow from; leave "
                    "out one of them"
                )
            self._set("styles", np.float16, (n, None))
            return
        if self.weight is None or self.bias is None:
            name = "weight" if self.weight is None else "bias"
            raise AtlasFormatError(f"/samples/{name}: is missing; give weight and bias, or styles")
        self._set("weight", np.float32, (None, w_dim))
        self._set("bias", np.float32, (len(self.weight),))


_NAMES = (
    *("w", "label", "embedding", "pulled", "centre", "null_gain", "null_spread"),
    *("weight", "bias", "styles"),
)
