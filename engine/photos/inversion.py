"""From crops to latents: by look-up in an atlas's samples, or by an encoder of photos, and by
refinement from there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...store.atlas import Atlas
from ...store.cache import InversionCache
from ...store.errors import CheckpointError, OptionError
from ...store.progress import Progress, Report
from ..models.draft import Draft
from ..models.features import FACES, UNITS, Features, load_features
from ..models.generator import StyleGANGenerator
from ..models.memory import Batches
from ..models.own_encoder import OwnEncoder
from ..models.perceptual import Perceptual, load_perceptual
from ..models.preprocess import from_bytes
from ..models.protocols import Generator, JointEncoder, PhotoEncoder
from ..models.sampling import batch_size, w_from_seeds
from .begin import Beginning, Beginnings
from .measure import measure_of
from .photo import Pixels
from .refine import RATE, Refined, Refinement, Spread, draft_of
from .refine_state import RefinementFile
from .remembered import FIGURES, Arrays, Remembered
from .settings import Begin, InvertSettings

__all__ = ["Inversion", "InvertSettings", "Inverter"]

LOSS = "vgg"
"""The LPIPS that refinements make small."""
FOLLOWING_RATE = RATE / 3
"""Of crops that begin near where they end; the usual rate's first steps would lead away again."""
_SEEDS = 2_000  # images that tell what a generator draws, where an atlas has no samples
_TRIED = 16  # crops, by which the time of many is estimated


@dataclass(frozen=True, eq=False)
class Inversion:
    """What n crops came to.

    Args:
        styles: float32 (n, C), on the generator's device.
        w: float32 (n, num_ws, w_dim), on the same; None in space s.
        label: their classes, int32 (n,); -1 where the generator is not conditional.
        farther: the share of samples that lie farther from the others than the crop does, float32
            (n,), see `LookedUp`; NaN without samples.
        cosine: of CLIP's embeddings of crop and render, float32 (n,).
        distance, first_distance: of the render and of that of the start from the crop, by
            `measure`, float32 (n,).
        measure: what that is, as people are told it.
        start: where they began, as `InvertSettings` has it.
        steps: of the refinement, that were made for each.
        path: styles on the way, float32 (n, k, C) on the CPU, the start first; k is 0 where they
            were not asked for.
    """

    styles: Tensor
    w: Tensor | None
    label: NDArray[np.int32]
    farther: NDArray[np.float32]
    cosine: NDArray[np.float32]
    distance: NDArray[np.float32]
    first_distance: NDArray[np.float32]
    measure: str
    start: Begin
    steps: tuple[int, ...]
    path: Tensor

    def __len__(self) -> int:
        return len(self.styles)


class Inverter:
    """Inverts crops of photos for one generator.

    Args:
        generator: that is to draw them.
        atlas: of it, whose samples tell where to begin; without samples the average w does.
        encoder: the atlas's CLIP.
        features: what of a crop is read beside CLIP's embedding. What the samples were read by
            other networks of is left out, and so is what they were not read of.
        perceptual: LPIPS, which refinements make small; pixels and CLIP where there is none, or
            images are too small for it.
        cache: where inversions are remembered.
        photo_encoder: of the generator, where there is one: what it says is where crops begin,
            unless settings say otherwise.

    Attributes:
        measure: what refinements make small.
        notes: what it goes without, as sentences for people.
    """

    def __init__(
        self,
        generator: Generator,
        atlas: Atlas,
        encoder: JointEncoder,
        features: Features | None = None,
        perceptual: Perceptual | None = None,
        cache: InversionCache | None = None,
        notes: Sequence[str] = (),
        photo_encoder: PhotoEncoder | None = None,
    ) -> None:
        self._generator, self._atlas, self._encoder = generator, atlas, encoder
        self.features = features
        readers = () if features is None else features.readers
        self.measure = measure_of(generator.image_size, encoder, perceptual, readers)
        self._beginnings = Beginnings(generator, atlas.samples, encoder, features, photo_encoder)
        read = {} if features is None else features.sources
        about = {
            "clip": encoder.identity.key,
            "features": {name: read[name].to_json() for name in self._beginnings.names},
            "measure": [self.measure.name, *(x.key for x in self.measure.identities)],
        }
        self._remembered = Remembered(generator, atlas, about, cache)
        self._batches = Batches(batch_size(generator), generator.device)
        told = [*notes, *(photo_encoder.notes if photo_encoder is not None else ())]
        if isinstance(photo_encoder, OwnEncoder):
            told += photo_encoder.notes_beside(atlas.samples)
        if others := self._beginnings.others:
            told.append(
                f"{' and '.join(others)}: were read of the samples by other weights, so crops are "
                "looked up without; draw the atlas again to use them"
            )
        self.notes = tuple(told)

    @classmethod
    def of(
        cls,
        generator: Generator,
        atlas: Atlas,
        encoder: JointEncoder,
        *,
        cache: bool | Path = True,
        photo_encoder: PhotoEncoder | None = None,
    ) -> Inverter:
        """With all that this machine has: the readers of faces where the samples were read by them,
        LPIPS, and a cache if that is wanted: the user's, or a folder; `notes` say what is
        lacking."""
        notes: list[str] = []
        read = set() if atlas.samples is None else set(atlas.samples.readings)
        features = None
        if read & UNITS.keys():
            try:
                features = load_features(FACES, generator)
            except CheckpointError as error:
                notes.append(f"looked up by CLIP alone: {error}")
        perceptual = None
        try:
            perceptual = load_perceptual([LOSS], generator.device)
        except CheckpointError as error:
            notes.append(f"refined by pixels and CLIP: {error}")
        folder = cache if isinstance(cache, Path) else None
        remembered = InversionCache(folder) if cache else None
        return cls(
            generator, atlas, encoder, features, perceptual, remembered, notes, photo_encoder
        )

    def new(self, crops: Sequence[Pixels], settings: InvertSettings) -> int:
        """How many of the crops are not remembered."""
        settings = self._settled(crops, settings)
        return sum(self._known(crop, settings) is None for crop in crops)

    def estimate(self, count: int, settings: InvertSettings) -> float:
        """Seconds that so many crops take, at most, but for what is remembered: by the time of a
        start, and of a step of the refinement."""
        settings, tried = self._beginnings.settled(settings), min(count, _TRIED)
        grey = np.full((*self._generator.image_size, 3), 128, np.uint8)
        images = self._images([grey] * tried)
        begun = time.perf_counter()
        start = self._beginnings.find(images[:1], settings)
        self._seen(self._generator.styles(start.w), images[:1])
        seconds = count * (time.perf_counter() - begun)
        if settings.steps == 0:
            return seconds
        refinement = self._refinement(images, start.w.expand(tried, -1, -1), settings, 0)
        return seconds + refinement.estimate() * count / tried

    def invert(
        self,
        crops: Sequence[Pixels],
        settings: InvertSettings,
        report: Report = lambda progress: None,
        state: Path | None = None,
        frames: int = 0,
    ) -> Inversion:
        """The latents of crops.

        Args:
            crops: uint8 (H, W, 3) of the generator's size each, sRGB.
            state: a file that will be written of what comes of it: beside it a refinement keeps
                where it stands (`StateFile`), and goes on from there.
            frames: how many steps of the way to keep for a film, at most; then nothing that is
                remembered is taken.

        Raises:
            OptionError: crops of another size, no samples to look up in, no such photo encoder, or
                a class that none of them is of.
            DeviceMemoryError: a single image does not fit.
            ResumeError: the state is of other work, damaged, or in use.
            OutputError: it cannot be written.
        """
        settings = self._settled(crops, settings)
        keys = [self._remembered.key(crop, settings) for crop in crops]
        found = [None if frames else self._known(crop, settings) for crop in crops]
        left = [i for i, one in enumerate(found) if one is None]
        path = torch.zeros(len(crops), 0, self._generator.layout.size)
        if left:
            work = _Work(
                self._images([crops[i] for i in left]), [keys[i] for i in left], settings, frames
            )
            made, path = self._made(work, report, state)
            for i, one in zip(left, made, strict=True):
                found[i] = one
                self._remembered.keep(keys[i], one)
        return self._together([one for one in found if one is not None], settings, path)

    def follow(
        self, crop: Pixels, anchor: Tensor, step: Tensor | None, settings: InvertSettings
    ) -> tuple[Refined, Tensor]:
        """A crop that is much like one before it, as that of a video's next frame: refined from the
        step where that one ended, at a lower rate.

        Args:
            anchor: w (1, num_ws, w_dim) that steps are counted from, and pulled to.
            step: of the crop before, as this returned it; None of the anchor's own.
            settings: with the number of steps.

        Returns:
            What it came to, and the step to it from the anchor.
        """
        settings = self._settled([crop], settings)
        refinement = Refinement(
            self._generator,
            self.measure,
            self._images([crop]),
            anchor,
            self._spread,
            settings.space,
            settings.steps,
            draft=self._draft,
            start=step,
            rate=FOLLOWING_RATE,
        )
        return refinement.run(), refinement.state["best_step"]

    def _known(self, crop: Pixels, settings: InvertSettings) -> Arrays | None:
        """What is remembered of a crop; of one that the generator was tuned to, its pivot, unless
        the settings ask for something else."""
        tuning = self._generator.tuning if isinstance(self._generator, StyleGANGenerator) else None
        pivot = None if tuning is None else tuning.pivot_of(crop)
        usual = settings.start == "look-up" and not settings.steps
        if pivot is None or not usual or settings.label not in (None, pivot.label):
            return self._remembered.find(self._remembered.key(crop, settings))
        images = self._images([crop])
        w = torch.from_numpy(pivot.w)[None].to(self._generator.device)
        styles = self._generator.styles(w)
        cosine, distance = self._seen(styles, images)
        begun = self._beginnings.find(images, replace(settings, label=None))
        return {
            "styles": styles[0].cpu().numpy(),
            "w": pivot.w,
            "label": np.array([pivot.label], np.int32),
            **{"farther": begun.farther, "cosine": cosine, "distance": distance},
            **{"first_distance": distance, "steps": np.zeros(1, np.int32)},
        }

    def _made(self, work: _Work, report: Report, state: Path | None) -> tuple[list[Arrays], Tensor]:
        """The arrays of an inversion (`Remembered`) of each crop, and the way to them."""
        images, settings = work.images, work.settings
        begun = self._batches.over(
            len(images), lambda first, last: self._beginnings.find(images[first:last], settings)
        )
        start = Beginning.joined(list(begun))
        styles = self._generator.styles(start.w)
        w: Tensor | None = start.w
        cosine, distance = self._all_seen(styles, images)
        first, steps = distance, np.zeros(len(images), np.int32)
        path = torch.zeros(len(images), 0, styles.shape[1])
        if settings.steps != 0:
            refined = self._refined(work, start.w, report, state)
            styles, path, w = refined.styles, refined.path, refined.w
            cosine = self._all_seen(styles, images)[0]
            distance, steps = refined.distance.numpy(), refined.steps.numpy().astype(np.int32)
        told = {
            **{"label": start.label, "farther": start.farther, "cosine": cosine},
            **{"distance": distance, "first_distance": first, "steps": steps},
        }
        kept = start.w if w is None else w
        made = [
            {
                "styles": styles[row].cpu().numpy(),
                "w": kept[row].cpu().numpy(),
                **{name: values[row : row + 1] for name, values in told.items()},
            }
            for row in range(len(images))
        ]
        return made, path

    def _refined(self, work: _Work, w: Tensor, report: Report, state: Path | None) -> Refined:
        """From where they start, w (n, num_ws, w_dim)."""
        refinement = self._refinement(work.images, w, work.settings, work.frames)

        def tell(done: int) -> None:
            figures = (f"distance {refinement.distance:.3f}",)
            total = refinement.total
            report(
                Progress(done, total, refinement.made, label="invert", figures=figures, spare=True)
            )

        if state is None:
            return refinement.run(tell)
        plan = {"crops": work.keys, "frames": work.frames}
        with RefinementFile(state) as file:
            file.take_up(refinement, plan)
            refined = refinement.run(tell, file.offer)
            file.remove()
        return refined

    def _refinement(
        self, images: Tensor, w: Tensor, settings: InvertSettings, frames: int
    ) -> Refinement:
        return Refinement(
            self._generator,
            self.measure,
            images,
            w,
            self._spread,
            settings.space,
            settings.steps,
            frames,
            self._draft,
        )

    @cached_property
    def _draft(self) -> Draft | None:
        return draft_of(self._generator)

    @cached_property
    def _spread(self) -> Spread:
        """By the samples of the atlas, or else by some more."""
        samples = self._atlas.samples
        if samples is None:
            w = w_from_seeds(self._generator, range(_SEEDS), 1.0)[:, 0]
        else:
            w = torch.from_numpy(samples.w.astype(np.float32))
        return Spread.of(w, torch.from_numpy(self._atlas.style_std))

    def _all_seen(
        self, styles: Tensor, crops: Tensor
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of renders of styles (n, C) and crops (n, 3, H, W): the cosine of CLIP's embeddings, and
        their distance, (n,) each."""
        parts = self._batches.over(
            len(crops), lambda first, last: self._seen(styles[first:last], crops[first:last])
        )
        cosine, distance = zip(*parts, strict=True)
        return np.concatenate(cosine), np.concatenate(distance)

    @torch.no_grad()
    def _seen(
        self, styles: Tensor, crops: Tensor
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        images = self._generator.render(styles)
        one, other = (self._encoder.images(x).float() for x in (images, crops))
        measured = self.measure.distance(self.measure.seen(images), self.measure.seen(crops))
        return F.cosine_similarity(one, other).cpu().numpy(), measured.float().cpu().numpy()

    def _images(self, crops: Sequence[Pixels]) -> Tensor:
        """Crops as networks see them, (n, 3, H, W) in [-1, 1]."""
        return from_bytes(torch.from_numpy(np.stack(crops)).to(self._generator.device))

    def _settled(self, crops: Sequence[Pixels], settings: InvertSettings) -> InvertSettings:
        """With where they start, once that and the crops are known to fit."""
        height, width = self._generator.image_size
        for crop in crops:
            if crop.dtype != np.uint8 or crop.shape != (height, width, 3):
                raise OptionError(
                    f"crop: is {crop.dtype} {crop.shape}; this generator draws {width} x {height} "
                    "pixels, give uint8 RGB of that size"
                )
        if not len(crops):
            raise OptionError("crops: are none; give one at least")
        return self._beginnings.settled(settings)

    def _together(
        self, made: Sequence[Arrays], settings: InvertSettings, path: Tensor
    ) -> Inversion:
        device = self._generator.device
        joined = {name: np.stack([one[name] for one in made]) for name in made[0]}
        w = None if settings.space == "s" else torch.from_numpy(joined["w"]).to(device)
        told = {name: joined[name][:, 0] for name in FIGURES if name != "steps"}
        return Inversion(
            torch.from_numpy(joined["styles"]).to(device),
            w,
            measure=self.measure.name,
            start=settings.start or "look-up",
            path=path,
            steps=tuple(joined["steps"][:, 0].tolist()),
            **told,
        )


class _Work(NamedTuple):
    """What is to be computed: crops (n, 3, H, W), what each is remembered by, and how."""

    images: Tensor
    keys: Sequence[str]
    settings: InvertSettings
    frames: int
