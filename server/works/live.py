"""A live session, as its worker holds it: the images stay, and what does not change is kept."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...engine.editor import Editor
from ...engine.jobs.images import Images
from ...engine.models.subject import Batch
from ...engine.pictures.films import tiled
from ...engine.steering.direction import Choice
from ...engine.steering.edits import Edit
from ...store.errors import OptionError
from ...store.layout import Layer

MOST_IMAGES = 16
_MOVING = 512
"""Pixels of the longer side of a frame while something moves."""
_ENCODED: Mapping[str, dict[str, Any]] = {
    "webp": {"quality": 85, "method": 1},  # 0 to 6: how long it looks for fewer bytes
    "jpeg": {"quality": 85},
}


@dataclass(frozen=True)
class Encoded:
    """A frame: a picture's bytes, what they are, and what there is to tell of it."""

    content: bytes
    type: str
    whole: bool
    status: dict[str, Any]


class Session:
    """Images that are edited while somebody looks.

    Args:
        start: one of `seeds` and `latents` (then `path` is their file); `truncation`, `label`,
            and the `format` of frames, webp or jpeg.

    Raises:
        StyleAtlasError: images that there are not, or too many.
    """

    def __init__(self, editor: Editor, start: Mapping[str, Any], path: Path | None) -> None:
        generator, psi, label = editor.generator, start.get("truncation", 0.7), start.get("label")
        images = (
            Images.of_seeds(generator, start["seeds"], psi, label)
            if path is None
            else Images.of_file(generator, path, psi, label)
        )
        if len(images.names) > MOST_IMAGES:
            raise OptionError(f"images: are {len(images.names)}; a session has {MOST_IMAGES}")
        self._format = start.get("format", "webp")
        if self._format not in _ENCODED:
            raise OptionError(f"format {self._format!r}: is none of {', '.join(_ENCODED)}")
        self._editor = editor
        self._start = images.styles.to(generator.device)
        self._rendering = Rendering(editor, self._start)
        self._last: tuple[tuple[bool, Tensor], Encoded] | None = None

    @torch.inference_mode()
    def frame(self, message: Mapping[str, Any]) -> Encoded:
        """The images edited as a message says: `edits`, each with `neutral`, `target` and `alpha`;
        what to `keep`, which `layers` move; and whether it is still `moving`.

        Raises:
            StyleAtlasError: an edit that there is no direction for, or a value out of its range.
        """
        styles, whole = self._styles(message), not message.get("moving", False)
        if self._last is not None:
            (last_whole, last), encoded = self._last
            if last_whole >= whole and torch.equal(last, styles):
                return encoded
        images, changed = self._rendering.of(styles)
        encoded = self._encoded(images, whole, changed)
        self._last = (encoded.whole, styles), encoded
        return encoded

    def _styles(self, message: Mapping[str, Any]) -> Tensor:
        choice = Choice(
            layers=tuple(message.get("layers", ())), keep=tuple(message.get("keep", ()))
        )
        styles = self._start
        for edit in message.get("edits", ()):
            alpha = float(edit["alpha"])
            pair = Edit(edit["neutral"], edit["target"])
            (direction,), _ = self._editor.directions([pair], choice)  # which keeps them
            if alpha:
                styles = styles + torch.from_numpy(direction.delta(alpha)).to(styles)
        return styles

    def _encoded(self, images: Tensor, whole: bool, changed: Layer | None) -> Encoded:
        picture = tiled(images)
        longer = max(picture.size)
        if not whole and longer > _MOVING:
            picture = picture.reduce(-(-longer // _MOVING))
        else:
            whole = True  # it is as large as it gets
        file = io.BytesIO()
        picture.convert("RGB").save(file, self._format.upper(), **_ENCODED[self._format])
        layer = None if changed is None else changed.name
        status = {"width": picture.width, "height": picture.height, "changed": layer}
        return Encoded(file.getvalue(), f"image/{self._format}", whole, status)


class Rendering:
    """Renders images again and again, from the first layer on that differs from the last time.

    Where another layer is the first, what is before it is rendered anew, which takes no longer than
    a whole render; a slider that moves on then gets by with what lies behind its own first layer.

    Args:
        styles: the images at first, (n, C).
    """

    def __init__(self, editor: Editor, styles: Tensor) -> None:
        self._generator, self._layout = editor.generator, editor.atlas.layout
        self._base = Batch(editor.generator, styles)
        self._shown, self._images = styles, self._base.images
        self._layer: Layer | None = None

    def of(self, styles: Tensor) -> tuple[Tensor, Layer | None]:
        """Images (n, channels, H, W) of styles (n, C), and the first layer that differs from those
        of the last time; None where none does."""
        changed = (styles != self._shown).any(0).nonzero()
        if not len(changed):
            return self._images, None
        layer, _ = self._layout.locate(int(changed[0]))
        if layer != self._layer:
            self._base, self._layer = Batch(self._generator, self._shown), layer
        self._images = self._base.render(styles, layer)
        self._shown = styles
        return self._images, layer
