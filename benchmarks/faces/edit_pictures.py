"""Pictures of the edits that `face_edits.py measure` made: pairs for a blind eye, and sheets."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from edit_tables import lacks, lines_of, read_edits
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from styleatlas.engine.models.preprocess import to_bytes
from styleatlas.store.errors import OptionError
from styleatlas.store.output import replacing
from styleatlas.store.records import Record

SIDE, QUALITY = 512, 88
"""Of the pictures that are kept."""
PAIR_SIDE, PAIRS_A_SHEET, PAIRS_A_ROW = 320, 10, 2
SHEET_QUALITY = 75
MARGIN = 22  # pixels above pictures, for words


def keep(folder: Path, name: str, seeds: Sequence[int], images: Tensor) -> None:
    """Images (n, 3, H, H) in [-1, 1] as `pictures/NAME/SEED.webp`."""
    place = folder / "pictures" / name
    place.mkdir(parents=True, exist_ok=True)
    small = images.float().clamp(-1, 1)
    if small.shape[2] > SIDE:
        small = F.adaptive_avg_pool2d(small, SIDE)
    for seed, pixels in zip(seeds, to_bytes(small).cpu().numpy(), strict=True):
        with replacing(place / f"{seed}.webp") as file:
            Image.fromarray(pixels).save(file, format="WEBP", quality=QUALITY)


def picture(folder: Path, name: str, seed: int, side: int) -> Image.Image:
    path = folder / "pictures" / name / f"{seed}.webp"
    if not path.is_file():
        raise OptionError(f"{path}: is missing; measure this edit of this seed first")
    with Image.open(path) as found:
        return found.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def write_pairs(folder: Path, name: str, count: int, seed: int) -> str:
    """Sheets of pairs A and B of images that lacked the thing, in `pairs/NAME`, in an order and
    with sides that were drawn by lot; which is the edited one stands in `pairs/NAME.key.csv`
    alone. Returns where they lie."""
    way_edit = {edit.name: edit for edit in read_edits()}
    edit = way_edit[name.split("--", 1)[1]]
    unedited = {line["seed"]: line for line in lines_of(folder / "unedited.jsonl")}
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        raise OptionError(f"{path}: is missing; measure this edit first")
    after = {line["seed"]: line for line in lines_of(path) if "error" not in line}
    seeds = [s for s in after if lacks(edit, unedited[s], after[s])]
    lot = random.Random(seed)
    lot.shuffle(seeds)
    chosen = [(s, lot.choice("AB")) for s in seeds[:count]]
    place = folder / "pairs" / name
    place.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(chosen), PAIRS_A_SHEET):
        some = chosen[start : start + PAIRS_A_SHEET]
        with replacing(place / f"{1 + start // PAIRS_A_SHEET:02d}.jpg") as file:
            _pairs(folder, name, some, start + 1).save(file, format="JPEG", quality=92)
    key = folder / "pairs" / f"{name}.key.csv"
    with replacing(key) as file:
        lines = ["pair,edited,seed", *(f"{i},{e},{s}" for i, (s, e) in enumerate(chosen, 1))]
        file.write("\n".join(lines).encode() + b"\n")
    return (
        f"{len(chosen)} pairs in {place}; which of A and B shows more of this: "
        f'"{edit.target}"? Answer A, B or neither in a file of columns pair, answer; the key, not '
        f"to be read before, is {key}"
    )


def _pairs(folder: Path, name: str, pairs: Sequence[tuple[int, str]], first: int) -> Image.Image:
    gap, side = 24, PAIR_SIDE
    rows = -(-len(pairs) // PAIRS_A_ROW)
    sheet = Image.new("RGB", (PAIRS_A_ROW * (2 * side + gap), rows * (side + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (seed, edited) in enumerate(pairs):
        x, y = i % PAIRS_A_ROW * (2 * side + gap), i // PAIRS_A_ROW * (side + MARGIN)
        for j, letter in enumerate("AB"):
            shown = picture(folder, name if letter == edited else "unedited", seed, side)
            sheet.paste(shown, (x + j * side, y + MARGIN))
            draw.text((x + j * side + 4, y + 3), f"{first + i} {letter}", "black", _font())
    return sheet


def counted(answers: Path, key: Path) -> Record:
    """How many of the pairs of a key were told rightly, by a file of answers."""
    told = {row["pair"]: row["answer"].strip() for row in _rows(answers, "pair", "answer")}
    edited = {row["pair"]: row["edited"] for row in _rows(key, "pair", "edited")}
    if unknown := sorted(set(told) - set(edited)):
        raise OptionError(f"{answers}: answers pair {unknown[0]}, which the key has not")
    if wrong := sorted(set(told.values()) - {"A", "B", "neither"}):
        raise OptionError(f"{answers}: answers {wrong[0]!r}; say A, B or neither")
    right = sum(told.get(pair) == letter for pair, letter in edited.items())
    neither = sum(answer == "neither" for answer in told.values())
    return {
        "pairs": len(edited),
        "edited one named": right,
        "other one named": len(told) - right - neither,
        "neither": neither,
        "not answered": len(edited) - len(told),
        "right %": 100 * right / len(edited),
    }


def _rows(path: Path, *columns: str) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not set(columns) <= set(rows[0]):
        raise OptionError(f"{path}: lacks columns {', '.join(columns)}, or rows")
    return rows


def write_sheets(
    folder: Path, way: str, target: Path, seeds: Sequence[int], side: int
) -> dict[str, int]:
    """A sheet of each edit of a way that was made, before above after, as `EDIT.webp`; the bytes
    that each takes."""
    target.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for edit in read_edits():
        name = f"{way}--{edit.name}"
        if not (folder / "pictures" / name).is_dir():
            continue
        sheet = Image.new("RGB", (len(seeds) * side, 2 * side))
        for i, seed in enumerate(seeds):
            for j, shown in enumerate(("unedited", name)):
                sheet.paste(picture(folder, shown, seed, side), (i * side, j * side))
        path = target / f"{edit.name}.webp"
        with replacing(path) as file:
            sheet.save(file, format="WEBP", quality=SHEET_QUALITY, method=6)
        sizes[path.name] = path.stat().st_size
    return sizes


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=16)
