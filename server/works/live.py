"""A live session, as its worker holds it: the images stay, and what does not change is kept."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...engine.editor import Editor
from ...engine.jobs.images import Images
from ...engine.models.captured import PLAYED_BACK, CapturedRender
from ...engine.models.draft import Draft, draft_sides
from ...engine.models.protocols import Generator
from ...engine.models.subject import Batch, Subject
from ...engine.pictures.films import tiled
from ...engine.pictures.sheet import scaled_down
from ...engine.steering.direction import Choice, Direction
from ...engine.steering.edits import Edit, as_meant
from ...store.errors import OptionError
from ...store.layout import Layer
from ...store.records import Record, decimal

MOST_IMAGES = 16
_MOVING = 512
"""Pixels that a frame is wide and high at most while something moves."""
_ENCODED: Mapping[str, dict[str, Any]] = {
    "webp": {"quality": 85, "method": 1},  # 0 to 6: how long it looks for fewer bytes
    "jpeg": {"quality": 85},
}
_SMALL = 2**18
"""Pixels of a frame, up to which WebP without loss takes less time than with it; what is shown many
times as large as it is would show the loss."""
_LOSSLESS = {"lossless": True, "quality": 0, "method": 0}


def of_moving(generator: Generator) -> Generator:
    """What renders while something moves: the largest draft of a generator that is no larger than
    such frames are, where the generator is larger; else itself."""
    sides = [side for side in draft_sides(generator) if side <= _MOVING]
    large = max(generator.image_size) > _MOVING
    return Draft(generator, max(sides)) if large and sides else generator


@dataclass(frozen=True)
class Encoded:
    """A frame: a picture's bytes, what they are, and what there is to tell of it."""

    content: bytes
    type: str
    whole: bool
    status: Record


class Session:
    """Images that are edited while somebody looks.

    Args:
        moving: what renders while something moves; see `of_moving`.
        start: one of `seeds` and `latents` (then `path` is their file); `truncation`, `label`,
            and the `format` of frames, webp or jpeg.

    Attributes:
        small: whether it renders all of its images in one go.

    Raises:
        StyleAtlasError: images that there are not, or too many.
    """

    def __init__(
        self, editor: Editor, moving: Generator, start: Mapping[str, Any], path: Path | None
    ) -> None:
        generator, psi, label = editor.generator, start.get("truncation", 0.7), start.get("label")
        self._images = (
            Images.of_seeds(generator, start["seeds"], psi, label)
            if path is None
            else Images.of_file(generator, path, psi, label)
        )
        if (count := len(self._images.names)) > MOST_IMAGES:
            raise OptionError(f"images: are {count}; a session has at most {MOST_IMAGES}")
        self._format = start.get("format", "webp")
        if self._format not in _ENCODED:
            raise OptionError(f"format {self._format!r}: is none of {', '.join(_ENCODED)}")
        self._editor = editor
        styles = self._images.styles.to(generator.device)
        self._start = Batch(generator, styles, self._images.psi)
        # A CPU takes as long for all at once as one after the other, where others get their turns.
        size = 1 if styles.device.type == "cpu" else count
        self._renderings = [Rendering(moving, some) for some in styles.split(size)]
        self.small = len(self._renderings) == 1
        self._spared: dict[int, tuple[Direction, Tensor]] = {}
        self._last: tuple[Mapping[str, Any], Encoded] | None = None

    @torch.inference_mode()
    def frame(
        self, message: Mapping[str, Any], between: Callable[[], None] = lambda: None
    ) -> Encoded:
        """The images edited as a message says: `edits`, each with `neutral`, `target` and `alpha`;
        what to `keep`, which `layers` move, `beta`; and whether it is still `moving`. One that does
        not move is of the whole size, and `images` tells of each what an edit with that alpha does:
        its `status`, and each edit's `probability` and the one `before`.

        Args:
            between: called whenever some of the images of a moving frame are done, and others not.

        Raises:
            StyleAtlasError: an edit that there is no direction for, or a value out of its range.
        """
        asked = {key: value for key, value in message.items() if key != "number"}
        if self._last is not None and self._last[0] == asked:
            return self._last[1]
        directions, alphas = self._directions(message)
        if message.get("moving", False):
            images, layer = self._drawn(self._moved(directions, alphas), between)
            told: Record = {"changed": None if layer is None else layer.name}
            side = _MOVING // math.ceil(math.sqrt(len(images)))
            frame = self._encoded(scaled_down(images, side), False, told)
        else:
            images, told = self._edited(directions, alphas)
            frame = self._encoded(images, True, told)
        self._last = asked, frame
        return frame

    def _directions(self, message: Mapping[str, Any]) -> tuple[list[Direction], list[float]]:
        """Of the edits that go anywhere, all with positive alphas."""
        choice = Choice(
            beta=message.get("beta"),
            layers=tuple(message.get("layers") or ()),
            keep=tuple(message.get("keep") or ()),
        )
        edits = [
            pair
            for edit in message.get("edits", ())
            if edit["alpha"]
            for pair in as_meant(Edit(edit["neutral"], edit["target"], edit["alpha"]))
        ]
        return self._editor.directions(edits, choice)  # which remembers them

    def _edited(
        self, directions: Sequence[Direction], alphas: Sequence[float]
    ) -> tuple[Tensor, Record]:
        """The images as the edit leaves them, and what it says of each."""
        if not directions:
            return self._start.images, {"images": [{"image": name} for name in self._images.names]}
        subject = Subject(self._editor.generator, self._start.styles, psi=self._start.psi)
        result = self._editor.apply(subject, directions, 1.0, alphas)
        shifts = self._editor.measure(result)
        told = [
            {
                "image": name,
                "status": status,
                "before": [decimal(shift.before[i]) for shift in shifts],
                "probability": [decimal(shift.probability[i]) for shift in shifts],
            }
            for i, (name, status) in enumerate(zip(self._images.names, result.status, strict=True))
        ]
        return result.images, {"images": told}

    def _moved(self, directions: Sequence[Direction], alphas: Sequence[float]) -> Tensor:
        """The styles (n, C) of the same images."""
        styles = self._start.styles
        for direction, alpha in zip(directions, alphas, strict=True):
            known = self._spared.get(id(direction))
            if known is None:
                spared = torch.from_numpy(self._editor.spared(self._start, (direction,)))
                known = self._spared[id(direction)] = direction, (~spared).to(styles)
            step = torch.from_numpy(direction.delta(alpha)).to(styles)
            styles = styles + (known[1] * step if alpha > 0 else step)  # (n, 1) * (C,)
        return styles

    def _drawn(self, styles: Tensor, between: Callable[[], None]) -> tuple[Tensor, Layer | None]:
        """As `Rendering.of`, of all the images."""
        images, layers, at = [], [], 0
        for rendering in self._renderings:
            if at:
                between()
            some, layer = rendering.of(styles[at : at + rendering.count])
            images.append(some)
            layers += [layer] if layer else []
            at += rendering.count
        order = self._editor.generator.layout.layers
        return torch.cat(images), min(layers, key=order.index, default=None)

    def _encoded(self, images: Tensor, whole: bool, told: Record) -> Encoded:
        picture, file = tiled(images), io.BytesIO()
        small = self._format == "webp" and picture.width * picture.height <= _SMALL
        options = _LOSSLESS if small else _ENCODED[self._format]
        picture.convert("RGB").save(file, self._format.upper(), **options)
        status = {"width": picture.width, "height": picture.height, **told}
        return Encoded(file.getvalue(), f"image/{self._format}", whole, status)


class Rendering:
    """Renders images again and again, from the first layer on that differs from the last time.

    Where another layer is the first, what is before it is rendered anew, which takes no longer than
    a whole render; a slider that moves on then gets by with what lies behind its own first layer.

    Args:
        styles: the images at first, (n, C).
    """

    def __init__(self, generator: Generator, styles: Tensor) -> None:
        self._generator = generator
        self._base = Batch(generator, styles)
        played_back = PLAYED_BACK and generator.device.type == "cuda"
        self._played = CapturedRender(generator) if played_back else None
        self._shown, self._images = styles, self._base.images
        self.count = len(styles)
        self._layer: Layer | None = None

    def of(self, styles: Tensor) -> tuple[Tensor, Layer | None]:
        """Images (n, channels, H, W) of styles (n, C), and the first layer that differs from those
        of the last time; None where none does."""
        changed = (styles != self._shown).any(0).nonzero()
        if not len(changed):
            return self._images, None
        layer, _ = self._generator.layout.locate(int(changed[0]))
        if self._played is not None:
            self._images = self._played(styles)
        else:
            if layer != self._layer:
                self._base, self._layer = Batch(self._generator, self._shown), layer
            self._images = self._base.render(styles, layer)
        self._shown = styles
        return self._images, layer
