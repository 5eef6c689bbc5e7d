"""What `invert --tune` does beside `invert`: the generator tuned to the photos, in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...store.cache import remember_place
from ...store.errors import OptionError
from ...store.fingerprint import ModelIdentity, weights_sha256
from ...store.output import TUNED
from ...store.progress import Progress, Report
from ...store.records import Record, counted, decimal, duration
from ...store.registry import names_with
from ..checkpoints.checkpoint import GeneratorCheckpoint
from ..checkpoints.tuned_file import (
    AVERAGE,
    Difference,
    TunedCheckpoint,
    require_new,
    write_tuned,
)
from ..checkpoints.tuning import MOST_CROPS, Pivot, Tuning, crop_sha256
from ..editor import Editor
from ..fallbacks.ways import LONG
from ..models.generator import StyleGANGenerator
from ..models.preprocess import from_bytes
from ..models.sampling import w_from_seeds
from ..models.tuned import directions_kept, main_axes, moved
from ..photos import tune
from ..photos.inversion import Inverter
from ..photos.measure import Measure
from ..photos.photo import Pixels
from ..photos.photographs import Inverted
from ..photos.refine_state import RefinementFile

OTHERS, MOST_LOOKED_AT = range(8_000_001, 8_000_005), 4
"""Seeds of other images than the photos, and photos, that directions are compared at."""


@dataclass(frozen=True, eq=False)
class Crop:
    """What a generator is tuned to.

    Args:
        name: as people call it.
        pixels: uint8 (H, W, 3), of the generator's size.
        label: its class, or -1.
        w: its pivot, (num_ws, w_dim).
    """

    name: str
    pixels: Pixels
    label: int
    w: Tensor


class PhotoTuning:
    """Takes the crops of photos as they are inverted, and then tunes the editor's generator to all.

    Args:
        output: the file to write, over nothing that is there.
        steps: of each crop, at most; `tune.STEPS` if not given.

    Raises:
        OptionError: a generator that nothing can be tuned from.
        OutputError: the file is there, or cannot be written.
    """

    def __init__(self, editor: Editor, output: Path, steps: int | None = None) -> None:
        TUNED.require(output)
        require_new(output)
        generator = editor.generator
        name = generator.identity.name
        if not isinstance(generator, StyleGANGenerator):
            raise OptionError(f"{name}: is no StyleGAN of a file, which alone is tuned")
        if generator.tuning is not None:
            raise OptionError(
                f"{name}: is itself tuned from {generator.tuning.parent}; tune that one, to all "
                "photos at once"
            )
        if generator.source is None and name not in names_with("generator"):
            raise OptionError(f"{name}: was read from no file; load the generator from one")
        self._editor, self._parent, self._output = editor, generator, output
        self._steps = tune.STEPS if steps is None else steps
        self._crops: list[Crop] = []
        self._tuned: StyleGANGenerator | None = None

    def add(self, found: Inverted) -> None:
        """Crops to tune to, with the latents that were found.

        Raises:
            OptionError: style space, in which there are no pivots, or too many crops.
        """
        made = found.inversion
        if made.w is None:
            raise OptionError("tune: needs latents of w or w+; leave out --space s")
        for row, cut in enumerate(found.cuts):
            self._crops.append(Crop(cut.name, cut.pixels, int(made.label[row]), made.w[row].cpu()))
        if len(self._crops) > MOST_CROPS:
            raise OptionError(f"tune: takes {MOST_CROPS:,} crops at most; name fewer photos")

    def run(self, tell: Callable[[str], None], report: Report) -> Record:
        """Tunes, and writes the file.

        Args:
            tell: told in a line what takes long, before it begins.

        Returns:
            What the file tells of how it went, and its own path and size.

        Raises:
            OptionError: a loss that is no number.
            OutputError: what cannot be written.
            ResumeError: a state that is there is of other work, or damaged.
        """
        editor, crops = self._editor, self._crops
        encoder = editor.texts.encoder
        measure = Inverter.of(self._parent, editor.atlas, encoder, cache=False).measure
        tuner = tune.Tuner(
            self._parent,
            measure,
            [crop.pixels for crop in crops],
            torch.stack([crop.w for crop in crops]),
            [crop.label for crop in crops],
            self._steps,
        )
        with RefinementFile(self._output, "tuning") as file:
            file.take_up(tuner, self._plan(measure))
            difference = Difference.of(self._moved(tuner, file, tell, report))
            told = self._written(tuner, measure, difference)
            file.remove()
        return {"path": str(self._output), "bytes": self._output.stat().st_size, **told}

    @torch.inference_mode()
    def images(self) -> Iterator[Tensor]:
        """The crops as the tuned generator draws them, each (channels, H, W)."""
        assert self._tuned is not None
        for crop in self._crops:
            w = crop.w[None].to(self._parent.device)
            yield self._tuned.render(self._tuned.styles(w))[0]

    def _plan(self, measure: Measure) -> Record:
        """All that decides the result."""
        latents = torch.stack([crop.w for crop in self._crops]).numpy().tobytes()
        return {
            "generator": self._parent.identity.key,
            "crops": [crop_sha256(crop.pixels) for crop in self._crops],
            "latents": hashlib.sha256(latents).hexdigest(),
            "measure": [measure.name, *(x.key for x in measure.identities)],
            "steps": self._steps,
        }

    def _moved(
        self,
        tuner: tune.Tuner,
        file: RefinementFile,
        tell: Callable[[str], None],
        report: Report,
    ) -> dict[str, Tensor]:
        """By how much each weight moves."""

        def show(done: int) -> None:
            seen = tuner.distance[torch.isfinite(tuner.distance)]
            figures = (f"distance {float(seen.mean()):.3f}",)
            record = {"steps": done, "of": tuner.total}
            report(
                Progress(done, tuner.total, tuner.made, "tune", "tune", figures, record, spare=True)
            )

        seconds = 0.0 if tuner.has_ended else tuner.estimate()
        if seconds > LONG:
            tell(f"tuning to {counted(len(self._crops), 'crop')}: at most {duration(seconds)}")
        try:
            return tuner.run(show, file.offer)
        except KeyboardInterrupt:
            if file.there:
                tell(f"interrupted: {file.path} keeps the state: the same command resumes")
            raise

    def _written(self, tuner: tune.Tuner, measure: Measure, difference: Difference) -> Record:
        """Writes the file, and returns what it tells of how it went."""
        whole, average = self._whole(difference)
        parent, own = self._identity(), self._parent.identity
        tuning = Tuning(
            parent, self._file, own.tuned_from or own.sha256, whole.sha256(), self._pivots(), {}
        )
        found = TunedCheckpoint(
            whole.config, whole.tensors, whole.dialect, whole.notes, tuning=tuning
        )
        self._tuned = StyleGANGenerator.of(
            found, self._output.stem, self._parent.device, self._parent.precision
        )
        told = self._told(tuner, self._tuned, measure)
        write_tuned(self._output, replace(tuning, told=told), difference, average)
        if self._parent.source is not None:
            remember_place(parent.sha256, self._parent.source)
        return told

    def _whole(self, difference: Difference) -> tuple[GeneratorCheckpoint, Tensor | None]:
        """The tuned weights, as the file will give them, and the average w where the parent's file
        has another one."""
        tensors = {name: x.cpu() for name, x in self._parent.network.state_dict().items()}
        average: Tensor | None = self._parent.average.cpu()
        if torch.equal(tensors[AVERAGE], self._parent.average.cpu()):
            average = None
        whole = difference.added_to(tensors)
        if average is not None:
            whole[AVERAGE] = average
        network = self._parent.network
        made = GeneratorCheckpoint.of(
            self._output, network.config, whole, "styleatlas", self._parent.notes
        )
        return made, average

    def _identity(self) -> ModelIdentity:
        """Of the weights that the difference is from, as they lie in the parent's file."""
        own = self._parent.identity
        state = self._parent.network.state_dict().items()
        sha256 = weights_sha256((name, x.cpu().numpy()) for name, x in state)
        return ModelIdentity(own.name, sha256, own.sizes)

    @property
    def _file(self) -> str | None:
        return None if self._parent.source is None else self._parent.source.absolute().name

    def _pivots(self) -> tuple[Pivot, ...]:
        return tuple(
            Pivot(x.name[:200], crop_sha256(x.pixels), x.label, x.w.float().numpy())
            for x in self._crops
        )

    @torch.inference_mode()
    def _told(self, tuner: tune.Tuner, tuned: StyleGANGenerator, measure: Measure) -> Record:
        """How it went: `steps` that were taken; mean `distance` of crops after it, and `before`, by
        `measure`; how far styles moved, `moved_sigma` (see `moved`); and whether directions do
        what they did, at photos and at other images (see `directions_kept`)."""
        editor, parent = self._editor, self._parent
        apart = np.zeros((len(self._crops), 2))
        for row, crop in enumerate(self._crops):
            pixels = torch.tensor(crop.pixels)[None].to(parent.device)
            seen = measure.seen(from_bytes(pixels))
            latent = crop.w[None].to(parent.device)
            for column, generator in enumerate((parent, tuned)):
                image = generator.render(generator.styles(latent))
                apart[row, column] = float(measure.distance(measure.seen(image), seen).mean())
        encoder, axes = editor.texts.encoder, main_axes(editor.atlas, parent)
        label = self._crops[0].label
        others = w_from_seeds(parent, OTHERS, 0.7, None if label < 0 else label)
        looked_at = torch.stack([crop.w for crop in self._crops[:MOST_LOOKED_AT]])
        drawn = tune.drawing(parent), tune.drawing(tuned)
        return {
            "steps": tuner.steps,
            "measure": measure.name,
            "before": decimal(apart[:, 0].mean()),
            "distance": decimal(apart[:, 1].mean()),
            "moved_sigma": decimal(moved(editor.atlas, tuned).sigma),
            "directions_at_photos": decimal(directions_kept(*drawn, encoder, axes, looked_at)),
            "directions_elsewhere": decimal(directions_kept(*drawn, encoder, axes, others)),
        }
