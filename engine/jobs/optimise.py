"""What one call of `optimize` does: images in, each optimised for every prompt, pictures out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...store.bank import one_line
from ...store.errors import DirectionError, OptionError
from ...store.progress import Report
from ...store.records import Record
from ...store.version import LIBRARY
from ..editor import Editor
from ..fallbacks.moves import Start
from ..fallbacks.optimise import LOSSES, Optimisation, Optimised, optimise_progress
from ..fallbacks.optimise_settings import OptimiseSettings
from ..models.identity import Identity
from ..models.probability import target_probability
from ..models.protocols import Generator, JointEncoder
from ..models.sampling import render_batches, styles_from_seeds
from ..pictures.films import MAX_FPS, require_film, tiled, trip, write_film
from ..pictures.sheet import require_png, require_sheet_size, save_png, sheet
from ..steering.texts import embed_prompts_of
from .images import Images
from .optimise_state import CLIP_CONFIGURATION, OptimisationFile

MOST_ROWS = 10_000
_SAMPLES = 1000  # seeds behind the standard deviations, where there is no atlas


@dataclass(frozen=True)
class OptimiseJob:
    """What to make, and where.

    Args:
        neutral, targets: the prompts; every image is optimised for each of the targets. Without a
            neutral one it goes towards the target alone, as in StyleCLIP.
        output: a PNG for a sheet, or a film's name.
        seconds, fps: of a film, there and back.

    Raises:
        PromptError: a text that cannot serve as a prompt.
    """

    neutral: str | None
    targets: tuple[str, ...]
    settings: OptimiseSettings
    output: Path
    seconds: float = 4.0
    fps: float = 20.0

    def __post_init__(self) -> None:
        if self.neutral is not None:
            object.__setattr__(self, "neutral", one_line("neutral", self.neutral))
        object.__setattr__(self, "targets", tuple(one_line("target", x) for x in self.targets))

    @property
    def film(self) -> bool:
        """Whether the way is to be shown."""
        return self.output.suffix.lower() in MAX_FPS

    @property
    def frames(self) -> int:
        """Steps of the way that a film shows."""
        return len(trip(1, self.seconds, self.fps)) - 1 if self.film else 0

    def require(self, generator: Generator, images: Images) -> None:
        """Raise unless the job can be made and written; called before any work.

        Raises:
            OutputError: another extension, or a place that cannot be written.
            OptionError: no target, too many rows, or a film of more than one target.
        """
        size, count = generator.image_size, len(images.names)
        if not self.targets:
            raise OptionError("target: there is none; name at least one")
        if count * len(self.targets) > MOST_ROWS:
            raise OptionError(f"optimize: takes at most {MOST_ROWS:,} images times targets")
        if self.film:
            if len(self.targets) > 1:
                raise OptionError("film: shows one target; name one, or write a .png")
            require_film(self.output, count, size, self.frames + 1, self.fps)
        else:
            require_png(self.output)
            require_sheet_size(count, 1 + len(self.targets), *size)


def optimise(
    generator: Generator,
    encoder: JointEncoder,
    images: Images,
    job: OptimiseJob,
    identity: Identity | None = None,
    editor: Editor | None = None,
    tell: Callable[[str], None] = lambda line: None,
    report: Report = lambda progress: None,
) -> tuple[Record, Tensor]:
    """Makes a job and writes it; an earlier process's state of the same job is taken up.

    Args:
        editor: of an atlas whose directions it begins at; without one it begins at the images.
        tell: told in a line what there is to know.
        report: told of every step.

    Returns:
        A record of what was made, and the styles (targets * n, C), target after target.

    Raises:
        ResumeError: `<output>.work` is of another optimisation, or damaged, or another process is
            at work on this output.
        OutputError: what cannot be written.
    """
    with OptimisationFile(job.output) as place:
        start, warm = _start(generator, encoder, images, job, editor, tell)
        sigma, frames, settings = _sigma(generator, editor), job.frames, job.settings
        optimisation = Optimisation(generator, encoder, start, sigma, settings, identity, frames)
        plan = _plan(generator, encoder, identity, start, sigma, job)
        if done := place.take_up(optimisation, plan):
            tell(f"resuming: {done:,} of {optimisation.total:,} steps are done")
        try:
            made = optimisation.run(
                lambda done, means: report(optimise_progress(optimisation, means)), place.offer
            )
        except KeyboardInterrupt:
            kept = f"{place.path} keeps the state: the same command resumes"
            tell(f"interrupted: {kept if place.there else 'nothing was kept yet'}")
            raise
        seen = _seen(generator, encoder, images, start, made)
        record = _record(images, job, made, warm, seen, identity)
        _write(generator, images, job, made)
        place.remove()
        return record, made.styles


def _start(
    generator: Generator,
    encoder: JointEncoder,
    images: Images,
    job: OptimiseJob,
    editor: Editor | None,
    tell: Callable[[str], None],
) -> tuple[Start, list[bool]]:
    """The rows, target after target, and which targets begin at a direction's result."""
    count = len(images.names)
    prompts = [*([] if job.neutral is None else [job.neutral]), *job.targets]
    if editor is None:
        embedded = embed_prompts_of(encoder, prompts)
    else:
        texts = [editor.texts.embed(text) for text in prompts]
        embedded = torch.stack([torch.from_numpy(text) for text in texts])
    begun, warm = [], []
    for target in job.targets:
        styles = images.styles
        if editor is not None and job.neutral is not None:
            try:
                styles = editor.edit(
                    images.styles, neutral=job.neutral, target=target, method="direction"
                ).styles
            except DirectionError as error:
                tell(f"{error}: it begins at the images as they are")
        warm.append(styles is not images.styles)
        begun.append(styles)
    repeated = len(job.targets)
    start = Start(
        images.styles.repeat(repeated, 1),
        embedded[-repeated:].repeat_interleave(count, 0),
        None if job.neutral is None else embedded[:1].expand(repeated * count, -1),
        None if images.w is None else images.w.repeat(repeated, 1, 1),
        torch.cat(begun),
    )
    return start, warm


def _sigma(generator: Generator, editor: Editor | None) -> Tensor:
    """The standard deviation of every style channel, by the atlas or by samples: (C,)."""
    if editor is not None:
        return torch.from_numpy(editor.atlas.style_std)
    return styles_from_seeds(generator, range(_SAMPLES), 0.7).std(0)


@torch.inference_mode()
def _seen(
    generator: Generator, encoder: JointEncoder, images: Images, start: Start, made: Optimised
) -> tuple[list[float], list[float]]:
    """CLIP's probability of each row's target against the neutral prompt, before and after; its
    cosine with the target where there is no neutral one."""
    before = torch.cat([encoder.images(x) for x in render_batches(generator, images.styles)])
    after = torch.cat([encoder.images(x) for x in render_batches(generator, made.styles)])
    repeated = before.repeat(len(after) // len(before), 1)
    if start.neutral is None:
        told = [(seen * start.target.to(after)).sum(1) for seen in (repeated, after)]
    else:
        difference = (start.target - start.neutral).to(after)
        told = [
            target_probability(seen, difference, encoder.logit_scale) for seen in (repeated, after)
        ]
    return told[0].tolist(), told[1].tolist()


def _record(
    images: Images,
    job: OptimiseJob,
    made: Optimised,
    warm: Sequence[bool],
    seen: tuple[Sequence[float], Sequence[float]],
    identity: Identity | None,
) -> Record:
    """What was made: for every image and target, the step it is of, why it ended, the losses there
    and the `probability` of the target, or its `cosine` where there is no neutral prompt. Settings
    of what took no part are null."""
    measure = "cosine" if job.neutral is None else "probability"
    rows = []
    for j, target in enumerate(job.targets):
        for i, name in enumerate(images.names):
            row = j * len(images.names) + i
            best = int(made.best[row])
            steps = int(torch.isfinite(made.curves[row, :, 0]).sum())
            losses = made.curves[row, best].tolist()
            figures = dict(zip(LOSSES[:-1], losses[:-1], strict=True))
            rows.append(
                {
                    "image": name,
                    "target": target,
                    "best_step": best,
                    "steps": steps,
                    "stopped": made.stopped[row],
                    **{key: round(value, 4) for key, value in figures.items()},
                    "before": round(seen[0][row], 4),
                    measure: round(seen[1][row], 4),
                }
            )
    settings = {
        **asdict(job.settings),
        "l2": job.settings.l2_weight,
        "identity": None if identity is None else job.settings.identity,
        "directional": None if job.neutral is None else job.settings.directional,
    }
    return {
        "neutral": job.neutral,
        "settings": settings,
        "begun_at_direction": dict(zip(job.targets, warm, strict=True)),
        "images": rows,
    }


def optimise_summary(record: Record) -> list[str]:
    """What an optimisation made, in lines for people."""
    lines = []
    for target, warm in record["begun_at_direction"].items():
        rows = [row for row in record["images"] if row["target"] == target]
        measure = "probability to" if "probability" in rows[0] else "cosine with"
        before, after = (
            sorted(row[key] for row in rows)[len(rows) // 2]
            for key in ("before", measure.split()[0])
        )
        steps = sum(row["steps"] for row in rows) / len(rows)
        begun = "from the direction's result" if warm else "from the images as they are"
        lines.append(
            f'"{target}": {begun}, {steps:.0f} steps (mean), {measure} CLIP {before:.3f} '
            f"before, {after:.3f} after (medians)"
        )
        for row in rows:
            if row["stopped"] == "diverged":
                lines.append(
                    f'{row["image"]}, "{target}": diverged at step {row["steps"]}, the best step '
                    "before it was kept; lower --learning-rate"
                )
    return lines


def _write(generator: Generator, images: Images, job: OptimiseJob, made: Optimised) -> None:
    """The sheet, a row an image and a column a target, or the film of the way."""
    with torch.inference_mode():
        before = torch.cat(list(render_batches(generator, images.styles)))
        if job.film:
            device = generator.device
            walked = (made.path[:, k].to(device) for k in range(made.path.shape[1]))
            ends = (images.styles, *walked)
            frames = (tiled(torch.cat(list(render_batches(generator, x)))) for x in ends)
            write_film(job.output, frames, job.fps)
            return
        after = torch.cat(list(render_batches(generator, made.styles)))
    count = len(images.names)
    columns = [before, *after.split(count)]
    rows = [[column[i] for column in columns] for i in range(count)]
    labels = images.names if count > 1 else ()
    save_png(sheet(rows, labels, ("before", *job.targets)), job.output)


def _plan(
    generator: Generator,
    encoder: JointEncoder,
    identity: Identity | None,
    start: Start,
    sigma: Tensor,
    job: OptimiseJob,
) -> dict[str, Any]:
    """All that decides the result."""
    digest = hashlib.sha256()
    for tensor in (start.styles, start.w, start.warm, start.target, start.neutral, sigma):
        if tensor is not None:
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return {
        "generator": generator.identity.sha256,
        "clip": encoder.identity.sha256,
        CLIP_CONFIGURATION: encoder.identity.configuration,
        "identity": None if identity is None else identity.identity.sha256,
        "neutral": job.neutral,
        "targets": list(job.targets),
        "settings": json.loads(json.dumps(asdict(job.settings))),
        "frames": job.frames,
        "images": digest.hexdigest(),
        "library": LIBRARY,
    }
