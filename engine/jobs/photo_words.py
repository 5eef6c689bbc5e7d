"""What is said of photos, their inversions and edits, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...store.records import Record, counted, decimal, printable
from ..models.identity import SAME_PERSON

if TYPE_CHECKING:
    from ..photos.cuts import Cut
    from ..photos.inversion import Inversion

FAR = 0.02
"""Of the samples: fewer lie farther than a crop that they hardly tell of."""
SOFT = 0.5
"""Of the generator's pixels: a crop that has fewer of the photo's is soft."""
BEGUN = {
    "look-up": "by look-up",
    "encoder": "by the photo encoder",
    "mean": "at the average latent",
}
"""By `InvertSettings.start`: how an inversion that was not refined came about."""
CUT = 0.1
"""Of 255: from where on a change that ends at the crop's edge shows (docs/photos.md)."""


def crop_record(cut: Cut, inversion: Inversion, i: int) -> Record:
    """How a crop came out: where it lies (`face`), how many `pixels` of the photo it is wide, the
    share of samples that lie `farther`, None without them, the `cosine` of CLIP's embeddings, the
    `distance` by what the inversion measures, its `start` as `InvertSettings` has it, and the
    `steps` it took from there; and what is known later, None until then: `kept` and `cut` of
    `Pasted`, and dlib's distances of the face that the generator draws from the photo's,
    `identity`, and from that after the edit, `identity_edited`."""
    farther = float(inversion.farther[i])
    return {
        "photo": printable(cut.photo.path, lines=False),
        "face": cut.alignment.place,
        "pixels": round(cut.side, 1),
        "farther": None if np.isnan(farther) else decimal(farther),
        "cosine": decimal(inversion.cosine[i]),
        "distance": decimal(inversion.distance[i]),
        "measure": inversion.measure,
        "start": inversion.start,
        "steps": inversion.steps[i],
        **dict.fromkeys(("kept", "cut", "identity", "identity_edited")),
    }


def doubts_of_inversion(row: Record, side: int) -> Iterator[str]:
    """Of a crop that the generator draws `side` pixels wide.

    Args:
        row: its record, see `crop_record`.
    """
    pixels = row["pixels"]
    if pixels < SOFT * side:
        yield (
            f"has {pixels:.0f} pixels where the generator draws {side}, so what is put back is "
            "soft; take a larger copy of the photo"
        )
    if row["farther"] is not None and row["farther"] < FAR:
        yield (
            f"is unlike the samples of the atlas ({100 * row['farther']:.1f} % of them lie "
            "farther from the rest), so what is drawn of it may be something else: look at "
            "--sheet; another --align, light or crop may help"
        )
    who = row["identity"]
    if who is not None and who > SAME_PERSON:
        yield (
            f"is drawn as another person (dlib's distance {who:.2f}, of one person it is below "
            f"{SAME_PERSON:g}); look at --sheet, and try more --steps or --space w+"
        )


def doubts_of_edit(row: Record) -> Iterator[str]:
    """Of an edit that was put back."""
    who, cut = row["identity_edited"], row["cut"]
    if who is not None and who > SAME_PERSON:
        yield (
            f"shows another person after the edit (dlib's distance {who:.2f}, of one person it is "
            f"below {SAME_PERSON:g}); a smaller --alpha changes less"
        )
    if cut is not None and cut > CUT:
        yield (
            f"changes by {255 * cut:.0f} of 255 levels at the crop's edge, so it may show; a "
            "smaller --alpha, or a --mask, keeps the edit inside"
        )


def photo_lines(record: Record) -> Iterator[str]:
    """What became of photos: how many, where several were asked for; then a line a crop."""
    if "list" in record:
        done = len({row["photo"] for row in record["photos"]})
        parts = [f"{counted(done, 'photo')} edited"]
        parts += [f"{record['kept']:,} there already"] if record["kept"] else []
        parts += [f"{len(record['failed']):,} failed"] if record["failed"] else []
        yield f"{', '.join(parts)}; {record['list']}"
    if "video" in record:
        yield video_line(record["video"])
    for row in record["photos"]:
        yield crop_line(row)


def video_line(told: Record) -> str:
    """What became of a video's frames."""
    parts = [f"{told['edited']:,} of {counted(told['frames'], 'frame')} edited"]
    parts.append(f"{told['seconds']:.1f} s")
    low, high = told["pixels"]
    parts.append(f"the crop {low:.0f} to {high:.0f} pixels wide")
    mean, most = told["distance"]
    parts.append(f"distance {mean:.3f} on average, {most:.3f} at most")
    return f"{told['file']}: {'; '.join(parts)}; its first crop:"


def tuned_line(record: Record) -> str:
    """How a tuning came out, see `PhotoTuning.run`, and how its file is used."""
    size = record["bytes"] / 2**20
    kept = (record["directions_at_photos"], record["directions_elsewhere"])
    return (
        f"{record['path']}: a tuned generator, {size:.1f} MiB; {record['measure']} "
        f"{record['before']:.3f} to {record['distance']:.3f} after "
        f"{counted(record['steps'], 'step')}; its styles moved by {record['moved_sigma']:.2g} "
        f"sigma, directions do the same to the photos by a cosine of {kept[0]:.2f}, to other "
        f"images of {kept[1]:.2f}; edit with --generator {record['path']}"
    )


def crop_line(row: Record) -> str:
    """How a crop came out."""
    parts = [f"{row['pixels']:.0f} pixels wide"]
    steps = BEGUN[row["start"]] if not row["steps"] else f"after {counted(row['steps'], 'step')}"
    parts.append(f"{row['measure']} {row['distance']:.3f} {steps}")
    if row["identity"] is not None:
        parts.append(f"dlib's distance {row['identity']:.2f}")
        if row["steps"] and "identity" in row["measure"]:
            parts[-1] += ", which was made small"
        if row["identity_edited"] is not None:
            parts[-1] += f", by the edit {row['identity_edited']:.2f}"
    if row["kept"] is not None:
        parts.append(f"{100 * row['kept']:.0f} % of the photo's detail kept where it changed")
    return f"{row['photo']}, {row['face']}: {'; '.join(parts)}"
