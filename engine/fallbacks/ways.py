"""What makes an edit where the table knows no way: a mapper, or an optimisation.

Both have one shape: they are called with the images as they are, the styles that the ways before
came to, and the edit, and return styles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...store.errors import OptionError
from ...store.fingerprint import ModelIdentity
from ...store.library import library_folder
from ...store.progress import Report
from ...store.records import counted, duration
from ..models.identity import Identity
from ..models.protocols import Generator
from ..models.subject import Subject
from ..steering.edits import Edit
from ..steering.texts import TextEmbedder
from .mapper import find_mapper, read_mapper
from .moves import Start
from .optimise import Optimisation, optimise_progress
from .optimise_settings import OptimiseSettings

EditFunction = Callable[[Subject, Tensor, Edit], Tensor]
"""The images as they are, styles (n, C) that were come to before, and an edit -> styles (n, C)."""

LONG = 10.0
"""Seconds of work that are announced."""


@dataclass(frozen=True, eq=False)
class Fallbacks:
    """What there is beside the table.

    Args:
        mappers: a folder of mappers, which need not exist; the user's library if not given.
        identity: loads what the identity loss of an optimisation sees; the usual network of the
            generator if not given.
        settings: of an optimisation.
        announce: told in a line what takes more than 10 seconds, before it begins.
        report: told of the progress of an optimisation.
    """

    mappers: Path | None = None
    identity: Callable[[], Identity | None] | None = None
    settings: OptimiseSettings = field(default_factory=OptimiseSettings)
    announce: Callable[[str], None] = lambda line: None
    report: Report = lambda progress: None

    @property
    def folder(self) -> Path:
        """Of the mappers."""
        return library_folder() if self.mappers is None else self.mappers


class MapperWay:
    """The mapper of a folder that was trained with these models for the prompts of an edit."""

    def __init__(self, generator: Generator, clip: ModelIdentity, folder: Path) -> None:
        self._generator, self._clip, self._folder = generator, clip, folder

    def find(self, edit: Edit) -> Path | None:
        """Its file, if there is one."""
        if not self._folder.is_dir():
            return None
        generator = self._generator.identity
        return find_mapper(self._folder, generator, self._clip, edit.neutral, edit.target)

    def needs_w(self, path: Path) -> bool:
        """Whether the mapper in a file moves w, and not styles."""
        return read_mapper(path, self._generator).network.config.space == "w+"

    @torch.inference_mode()
    def __call__(self, subject: Subject, begun: Tensor, edit: Edit) -> Tensor:
        """See `EditFunction`.

        Raises:
            OptionError: there is no mapper for the prompts, or it needs a w that there is not.
            FingerprintError, CheckpointError: a mapper that does not belong here.
        """
        path = self.find(edit)
        if path is None:
            raise OptionError(
                f'mapper: none in {self._folder} is trained for "{edit.neutral}" -> '
                f'"{edit.target}" with these models; train one with `styleatlas mapper train`, or '
                "choose another --method"
            )
        mapper = read_mapper(path, self._generator)
        return mapper.edited(self._generator, subject.styles, subject.w)


class OptimiseWay:
    """An optimisation towards the target of an edit, from the styles that were come to before.

    Args:
        texts: embeds prompts, and holds the CLIP that sees images.
        sigma: the standard deviation of every style channel, (C,).
    """

    def __init__(
        self,
        generator: Generator,
        texts: TextEmbedder,
        sigma: Tensor,
        identity: Callable[[], Identity | None],
        fallbacks: Fallbacks,
    ) -> None:
        self._generator, self._texts, self._sigma = generator, texts, sigma
        self._identity, self._fallbacks = identity, fallbacks

    def __call__(self, subject: Subject, begun: Tensor, edit: Edit) -> Tensor:
        """See `EditFunction`.

        Raises:
            OptionError: a space that needs w, where there is none.
            DeviceMemoryError: a single image does not fit.
        """
        embedded = (self._texts.embed(text) for text in (edit.target, edit.neutral))
        target, neutral = (torch.from_numpy(x).expand(len(subject), -1) for x in embedded)
        start = Start(subject.styles, target, neutral, subject.w, begun)
        optimisation = Optimisation(
            self._generator,
            self._texts.encoder,
            start,
            self._sigma,
            self._fallbacks.settings,
            self._identity(),
        )
        seconds = optimisation.estimate()
        if seconds > LONG:
            self._fallbacks.announce(
                f"optimising {counted(len(subject), 'image')}: about {duration(seconds)}; "
                "--method direction does without"
            )
        report = self._fallbacks.report
        return optimisation.run(
            lambda done, means: report(optimise_progress(optimisation, means))
        ).styles
