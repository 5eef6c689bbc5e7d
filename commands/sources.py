"""What commands work with, opened as their options name it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .options import threads_asked
from .sink import note

if TYPE_CHECKING:
    from ..engine.jobs.images import Images
    from ..engine.models.precision import Precision
    from ..engine.models.protocols import Generator, JointEncoder
    from ..engine.models.spaces import Space
    from ..engine.steering.texts import TextEmbedder
    from ..store.atlas import Atlas


def open_atlas(source: str) -> Atlas:
    from ..store.atlas import Atlas

    return Atlas.open(source)


def open_texts(source: str, clip: str | None) -> tuple[Atlas, TextEmbedder]:
    """An atlas, and what embeds prompts as it does."""
    from ..engine.steering.texts import TextEmbedder

    atlas = open_atlas(source)
    return atlas, TextEmbedder(atlas, encoder_loader(atlas, clip, None))


def encoder_loader(
    atlas: Atlas, clip: str | None, device: str | None
) -> Callable[[], JointEncoder]:
    """Loads the CLIP named, or else the one whose name the atlas knows, when it is called."""

    def load() -> JointEncoder:
        from ..engine.models.load import clip_of

        return clip_of(atlas, clip, device)

    return load


def open_generator(
    atlas: Atlas, generator: str | None, device: str | None, tuned: bool = False
) -> Generator:
    """The generator named, or else the one whose name the atlas knows; see
    `load_named_generator`. One that was `tuned` from it is taken for it."""
    from ..engine.models.load import generator_of

    _take_threads()
    found = _noted(generator_of(atlas, generator, device, tuned))
    _tell_moved(atlas, found)
    return found


def taken_as_tuned(atlas: Atlas, generator: Generator) -> Generator:
    """A generator as one that was tuned from the atlas's own; a note says how far it moved.

    Raises:
        FingerprintError: it has other layers, or another w.
    """
    from ..engine.models.load import generator_as_drawn

    found = generator_as_drawn(atlas, generator, tuned=True)
    _tell_moved(atlas, found)
    return found


def _tell_moved(atlas: Atlas, generator: Generator) -> None:
    if generator.identity.tuned_from is not None:
        from ..engine.models.tuned import moved

        note(f"{generator.identity.name}: {moved(atlas, generator)}")


def load_named_generator(
    generator: str, device: str | None, precision: Precision = "float32"
) -> Generator:
    """The generator named; all that is computed from here on takes as many threads as --threads
    says."""
    from ..engine.models.load import load_generator

    _take_threads()
    return _noted(load_generator(generator, device, precision))


def _noted(generator: Generator) -> Generator:
    """The same, once what is to be said of its file is said."""
    for text in generator.notes:
        note(f"note: generator {generator.identity.name} {text}")
    return generator


def _take_threads() -> None:
    if (threads := threads_asked()) is not None:
        from ..engine.models.threads import use_threads

        use_threads(threads)


def starting_images(
    model: Generator,
    seeds: tuple[int, ...],
    latent: Path | None,
    truncation: float,
    label: int | None,
    space: Space | None,
) -> Images:
    """What edits start from: the latents of a file or folder if one is named, of that space, else
    of seeds."""
    from ..engine.jobs.images import Images

    if latent is None:
        return Images.of_seeds(model, seeds, truncation, label)
    return Images.of_file(model, latent, truncation, label, space)
