"""Which way an edit goes: the table's direction, a trained mapper, or optimisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...store.errors import DirectionError, OptionError
from ...store.records import duration
from ..editor import Editor, EditResult, Way
from ..fallbacks.mapper import find_mapper, read_mapper
from ..fallbacks.moves import Start
from ..fallbacks.optimise import OnProgress, Optimisation
from ..fallbacks.optimise_settings import OptimiseSettings
from ..models.identity import Identity, load_identity, usual_identity
from ..models.sampling import render_batches
from ..models.subject import Subject
from ..steering.alpha import DEFAULT_PROBABILITY
from ..steering.direction import Choice, Direction
from ..steering.edits import Edit
from ..steering.request import EditMethod

ENOUGH = 0.97
"""CLIP's probability of a target, of its least likely part where it has several, from which on
`auto` is content with an image; less, where alphas are to reach less."""
LONG = 10.0
"""Seconds of work that are announced."""


@dataclass(frozen=True, eq=False)
class Fallbacks:
    """What there is beside the table.

    Args:
        mappers: a folder of mappers, which need not exist.
        identity: loads what the identity loss of an optimisation sees; None for none.
        settings: of an optimisation.
        announce: told in a line what takes more than 10 seconds, before it begins.
        report: told of every step of an optimisation.
    """

    mappers: Path
    identity: Callable[[], Identity | None] = lambda: None
    settings: OptimiseSettings = field(default_factory=OptimiseSettings)
    announce: Callable[[str], None] = lambda line: None
    report: OnProgress = lambda done, means: None


def default_identity(editor: Editor) -> Identity | None:
    """The usual one for the generator; see `usual_identity`."""
    source = usual_identity(editor.generator)
    return load_identity(source, editor.texts.encoder, editor.generator.device)


def edit_by(
    method: EditMethod,
    editor: Editor,
    styles: Tensor | Subject,
    w: Tensor | None,
    edit: Edit,
    fallbacks: Fallbacks,
    choice: Choice | None = None,
    probability: float = DEFAULT_PROBABILITY,
) -> EditResult:
    """Styles (n, C) as an edit says, by a method, every image for itself.

    `auto` takes the table's direction. Where CLIP then sees the target, or the least likely of its
    parts, with less than `ENOUGH`, or than `probability` if that is less, it tries a mapper trained
    for these prompts, if there is one, and where that is not enough either, an optimisation; it
    keeps whatever CLIP saw best. `optimize` optimises every image. An optimisation begins at the
    table's result where there is one; the other methods take their way alone.

    Args:
        w: of the same images, (n, num_ws, w_dim), for mappers and optimisation in w.

    Raises:
        DirectionError: the table knows no direction, and the method is `direction`.
        OptionError: there is no mapper for the prompts, and the method is `mapper`; an edit of
            another weight than 1, which only the table can follow.
        FingerprintError, CheckpointError: a mapper that does not belong here.
    """
    if method == "direction":
        parts = editor.parts(edit)
        directions, weights = editor.directions(parts, choice)
        return editor.apply(styles, directions, None, weights, probability)
    if edit.weight != 1:
        raise OptionError(
            f"weight {edit.weight:g}: only directions have one; choose --method direction"
        )
    return _Attempt(editor, styles, w, edit, fallbacks, probability).result(method, choice)


class _Attempt:
    """Ways tried one after the other on n images; the best so far of each is kept."""

    def __init__(
        self,
        editor: Editor,
        styles: Tensor | Subject,
        w: Tensor | None,
        edit: Edit,
        fallbacks: Fallbacks,
        probability: float,
    ) -> None:
        self._editor, self._generator, self._edit = editor, editor.generator, edit
        self._fallbacks, self._w, self._probability = fallbacks, w, probability
        self._given = styles
        before = styles.styles if isinstance(styles, Subject) else styles
        self._before = before.to(self._generator.device).clone()
        self._parts = editor.parts(edit)
        self._styles = self._before.clone()
        self._begun = self._before
        self._seen = np.full(len(before), -np.inf)
        self._ways: list[Way] = ["direction"] * len(before)
        self._tried: list[dict[Way, float]] = [{} for _ in range(len(before))]

    def result(self, method: EditMethod, choice: Choice | None) -> EditResult:
        found: EditResult | None = None
        why = []
        if method in ("auto", "optimize"):
            try:
                steps, weights = self._editor.directions(self._parts, choice)
                found = self._editor.apply(self._given, steps, None, weights, self._probability)
                why.append(found.why)
                self._begun = found.styles.clone()
                if method == "auto":
                    self._take("direction", self._every(), found.styles)
            except DirectionError as error:
                why.append(f"no direction: {error}")
        if method == "mapper" or (method == "auto" and len(self._open())):
            why += self._by_mapper(method)
        if method == "optimize" or (method == "auto" and len(self._open())):
            rows = self._every() if method == "optimize" else self._open()
            why.append(self._optimise(rows))
        return self._outcome(found, "; ".join(why))

    def _every(self) -> NDArray[np.int64]:
        return np.arange(len(self._seen))

    def _open(self) -> NDArray[np.int64]:
        """The images that are not there yet."""
        return np.flatnonzero(self._seen < min(ENOUGH, self._probability))

    def _mapper_path(self) -> Path | None:
        folder, editor, edit = self._fallbacks.mappers, self._editor, self._edit
        if not folder.is_dir():
            return None
        clip = editor.atlas.fingerprint.clip
        return find_mapper(folder, self._generator.identity, clip, edit.neutral, edit.target)

    def _by_mapper(self, method: EditMethod) -> list[str]:
        """Tries a mapper on what is open or, if the method asks for one, on all; tells of it."""
        path = self._mapper_path()
        if path is None and method == "mapper":
            edit = f'"{self._edit.neutral}" -> "{self._edit.target}"'
            raise OptionError(
                f"mapper: none in {self._fallbacks.mappers} is trained for {edit} with these "
                "models; train one with `styleatlas mapper train`, or choose another --method"
            )
        if path is None:
            return []
        mapper = read_mapper(path, self._generator)
        if method == "auto" and self._w is None and mapper.network.config.space == "w+":
            return [f"no w for the mapper {path.name}"]
        rows = self._every() if method == "mapper" else self._open()
        w = None if self._w is None else self._w[rows]
        with torch.inference_mode():
            self._take("mapper", rows, mapper.edited(self._generator, self._before[rows], w))
        return [f"{len(rows)} of {len(self._seen)} images by the mapper {path.name}"]

    def _optimise(self, rows: NDArray[np.int64]) -> str:
        editor, settings = self._editor, self._fallbacks.settings
        embedded = (editor.texts.embed(text) for text in (self._edit.target, self._edit.neutral))
        target, neutral = (torch.from_numpy(x).expand(len(rows), -1) for x in embedded)
        start = Start(
            self._before[rows],
            target,
            neutral,
            None if self._w is None else self._w[rows],
            self._begun[rows],
        )
        optimisation = Optimisation(
            self._generator,
            editor.texts.encoder,
            start,
            torch.from_numpy(editor.atlas.style_std),
            settings,
            self._fallbacks.identity(),
        )
        seconds = optimisation.estimate()
        if seconds > LONG:
            self._fallbacks.announce(
                f"optimising {len(rows)} of {len(self._seen)} images: about {duration(seconds)}; "
                "--method direction does without"
            )
        self._take("optimize", rows, optimisation.run(self._fallbacks.report).styles)
        return f"{len(rows)} of {len(self._seen)} images optimised in {settings.space}"

    @torch.inference_mode()
    def _take(self, way: Way, rows: NDArray[np.int64], styles: Tensor) -> None:
        """Measures what a way came to on some rows, and keeps it where CLIP sees more."""
        chances = self._probabilities(styles)
        better = chances > self._seen[rows]
        for row, chance, wins in zip(rows.tolist(), chances.tolist(), better, strict=True):
            self._tried[row][way] = round(chance, 4)
            if wins:
                self._ways[row] = way
        kept = rows[better]
        self._seen[kept] = chances[better]
        self._styles[torch.from_numpy(kept)] = styles[torch.from_numpy(np.flatnonzero(better))]

    def _probabilities(self, styles: Tensor) -> NDArray[np.float64]:
        """CLIP's probability of the target against the neutral prompt, of the least likely part:
        (n,)."""
        encoder = self._editor.texts.encoder
        renders = render_batches(self._generator, styles)
        seen = torch.cat([encoder.images(images) for images in renders])
        texts = np.stack([self._editor.difference(part) for part in self._parts])  # (E, D)
        logits = encoder.logit_scale * (seen.double().cpu().numpy() @ texts.T)
        chances: NDArray[np.float64] = (1 / (1 + np.exp(-logits))).min(1)
        return chances

    @torch.inference_mode()
    def _outcome(self, found: EditResult | None, why: str) -> EditResult:
        images = torch.cat(list(render_batches(self._generator, self._styles)))
        by_table = np.array([way == "direction" for way in self._ways])[:, None]
        tried: tuple[Mapping[Way, float], ...] = tuple(self._tried)
        if found is None:
            blank = tuple(self._blank(part) for part in self._parts)
            zeros = np.zeros((len(by_table), len(blank)), np.float32)
            found = EditResult(
                images, self._styles, self._before, blank, zeros, (), zeros[:, :0], (), (), ""
            )
        return replace(
            found,
            images=images,
            styles=self._styles,
            alphas=found.alphas * by_table,
            counter_alphas=found.counter_alphas * by_table,
            ways=tuple(self._ways),
            tried=tried,
            why=why,
        )

    def _blank(self, part: Edit) -> Direction:
        """The text direction of an edit that no channel was asked for."""
        none = np.zeros(0, np.float32)
        return Direction(
            neutral=part.neutral,
            target=part.target,
            text=self._editor.texts.direction(part.neutral, part.target),
            channels=np.zeros(0, np.int64),
            scores=none,
            steps=none,
            beta=1.0,
            size=self._editor.atlas.layout.size,
        )
