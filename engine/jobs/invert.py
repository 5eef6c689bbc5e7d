"""What one call of `invert` does: photos in, a file of latents out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...store.errors import InputError, OptionError
from ...store.fingerprint import ModelIdentity
from ...store.output import STYLES, replacing
from ...store.progress import Progress, Report
from ...store.records import Record
from ..editor import Editor
from ..models.preprocess import as_rgb, from_bytes
from ..models.protocols import Generator
from ..models.sampling import render_batches
from ..photos.photo import Pixels
from ..photos.photographs import Inverted
from ..pictures.films import require_film, tiled, tour, write_film, write_loop
from ..pictures.sheet import cell_size, save_png, scaled_down, sheet
from .photo_job import PhotoJob
from .photos import PhotoWork
from .tune import PhotoTuning

FRAMES, FPS = 40, 20.0
"""Of a film of the way, there, or from one photo to the next, and a second."""


def invert_photos(
    editor: Editor,
    job: PhotoJob,
    output: Path,
    shown: Path | None = None,
    film: Path | None = None,
    tuning: PhotoTuning | None = None,
    tell: Callable[[str], None] = lambda line: None,
    report: Report = lambda progress: None,
) -> Record:
    """Inverts photos into an .npz: `w_plus` float32 (n, num_ws, w_dim), or `styles` (n, C) of style
    space; `names` of the crops, and of each its `quads` float64 (n, 4, 2), corners in the photo's
    pixels; `farther`, `cosine`, `distance` and `steps`, (n,), see `crop_record`; and `generator`,
    its identity as JSON, and `photo_encoder`, that of what they begin by, where it is one. Photos
    that cannot be read, or show no such face, are told and left out.

    Args:
        shown: a PNG of crops beside how the generator draws them.
        film: of one photo's way from where a refinement begins to where it ends, and back; of
            several, from one's inversion to the next and back to the first.
        tuning: tunes the generator to the crops, too.

    Returns:
        The `photos` crop by crop, see `crop_record`, and which photos `failed`; and of a tuning how
        that went, `tuned`.

    Raises:
        InputError: none of the photos could be inverted.
        OptionError: a film of one photo and of no steps.
        OutputError: what cannot be written.
    """
    STYLES.require(output)
    size, several = editor.generator.image_size, len(job.photos) > 1
    if film is not None and several:
        require_film(film, 1, size, FRAMES * len(job.photos), FPS)
    elif film is not None:
        if job.settings.steps == 0:
            raise OptionError(
                f"{film}: a film of one photo shows its refinement; leave --steps 0 out, or name "
                "several photos"
            )
        require_film(film, 2, size, FRAMES + 1, FPS)
    work = PhotoWork(editor, job, tell)
    parts: dict[str, list[NDArray[Any]]] = {}
    names: list[str] = []
    rows: list[Record] = []
    failed: list[Record] = []
    cells: list[tuple[Any, ...]] = []  # pixels of the crop, then renders
    stops: list[Tensor] = []
    for done, path in enumerate(job.photos):
        try:
            place = None if several else output
            frames = 0 if film is None or several else FRAMES
            images, found, told = work.inverted(path, place, frames)
        except InputError as error:
            if not several:
                raise
            failed.append({"photo": path.name, "error": str(error)})
            tell(str(error))
            continue
        drawn = editor.subject(images.styles).images
        work.judge_inversions(found, drawn, told)
        if tuning is not None:
            tuning.add(found)
        for name, value in _arrays(found).items():
            parts.setdefault(name, []).append(value)
        names += images.names
        rows += told
        stops.append(images.styles.cpu())
        if film is not None and not several:
            require_film(film, 2 * len(found), size, FRAMES + 1, FPS)
            write_film(film, _frames(found, editor.generator), FPS)
        if shown is not None:
            cells += [
                (cut.pixels, image.cpu()) for cut, image in zip(found.cuts, drawn, strict=True)
            ]
        far = {"photos": done + 1, "of": len(job.photos)}
        report(Progress(done + 1, len(job.photos), part="photos", label="invert", record=far))
    if not rows:
        raise InputError(f"photos: none of the {len(failed)} could be inverted; see above")
    arrays = {name: np.concatenate(values) for name, values in parts.items()}
    _write(output, arrays, names, editor.generator, work.begun_by)
    record: Record = {"photos": rows, "failed": failed}
    if tuning is not None:
        record["tuned"] = tuning.run(tell, report)
    if shown is not None:
        if tuning is not None:
            cells = [(*cell, x.cpu()) for cell, x in zip(cells, tuning.images(), strict=True)]
        _show(shown, cells, names, size)
    if film is not None and several:
        _write_between(film, torch.cat(stops), editor.generator)
    return record


def _arrays(found: Inverted) -> dict[str, NDArray[Any]]:
    """What is kept of the crops of a photo."""
    made = found.inversion
    latents = {"styles": made.styles} if made.w is None else {"w_plus": made.w}
    return {
        **{name: tensor.cpu().numpy() for name, tensor in latents.items()},
        **{name: getattr(made, name) for name in ("farther", "cosine", "distance")},
        "steps": np.array(made.steps, np.int64),
        "quads": np.stack([cut.alignment.quad for cut in found.cuts]),
    }


def _write(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    names: Sequence[str],
    generator: Generator,
    begun_by: ModelIdentity | None,
) -> None:
    told: dict[str, Any] = {"names": np.array(names), **arrays}
    told["generator"] = np.array(generator.identity.to_json())
    if begun_by is not None:
        told["photo_encoder"] = np.array(begun_by.to_json())
    with replacing(path) as file:
        # Without allow_pickle, which NumPy 1.26 takes for one more array.
        np.savez(file, **told)


@torch.inference_mode()
def _frames(found: Inverted, generator: Generator) -> Iterator[Image.Image]:
    """Every crop beside its render on the way, tiled."""
    crops = [_seen(cut.pixels) for cut in found.cuts]
    made = found.inversion
    for styles in (*made.path.unbind(1), made.styles):
        drawn = as_rgb(
            torch.cat(list(render_batches(generator, styles.to(generator.device))))
        ).cpu()
        pairs = [image for pair in zip(crops, drawn, strict=True) for image in pair]
        yield tiled(torch.stack(pairs))


def _write_between(path: Path, stops: Tensor, generator: Generator) -> None:
    """From one inversion of styles (n, C) to the next and back to the first."""
    if len(stops) == 1:
        raise OptionError(f"{path}: a film goes between inversions, and there is one; name more")
    require_film(path, 1, generator.image_size, FRAMES * len(stops), FPS)
    write_loop(path, _between(stops, generator), FPS)


@torch.inference_mode()
def _between(stops: Tensor, generator: Generator) -> Iterator[Image.Image]:
    for stop, share in tour(len(stops), len(stops) * FRAMES / FPS, FPS):
        styles = torch.lerp(stops[stop], stops[(stop + 1) % len(stops)], share)
        yield tiled(generator.render(styles[None].to(generator.device)).cpu())


def _seen(crop: Pixels) -> Tensor:
    """A crop as an image (3, H, W) in [-1, 1]."""
    return from_bytes(torch.tensor(crop)[None])[0]


def _show(path: Path, cells: Sequence[Any], names: Sequence[str], size: tuple[int, int]) -> None:
    """Crops and renders beside each other, a row each."""
    columns = ("photo", "inversion", "tuned")[: len(cells[0])]
    side, scale = cell_size(size, len(cells), len(columns))
    rows = []
    for pixels, *images in cells:
        rows.append([scaled_down(one[None], side)[0] for one in (_seen(pixels), *images)])
    save_png(sheet(rows, names, columns, scale), path)
