"""Hostile files of tuned generators: differences from a parent that they name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from styleatlas.engine.checkpoints.read import read_checkpoint

from .. import tuned_files as files
from .pickle_attacks import Attack

KNOWN = "synthesis__b8__conv1__weight"
CROP = {"name": "me", "sha256": files.DIGEST, "label": -1}
OTHER = {"name": "avatars", "sha256": "1" * 64, "sizes": {}}
NOBODY = {**OTHER, "name": "nobody"}


def told(**changes: object) -> Callable[[], bytes]:
    return lambda: files.content(changes)


def held(**tensors: torch.Tensor | None) -> Callable[[], bytes]:
    return lambda: files.content(None, **tensors)


def scale(value: float) -> torch.Tensor:
    return torch.full_like(files.sound()[1][f"scale/{files.WEIGHT}"], value)


TUNED = {
    name: Attack(make, message, read_checkpoint)
    for name, make, message in [
        (
            "parent in another folder",
            told(file="../../etc/passwd"),
            "file must be the name of a file, without folders",
        ),
        (
            "parent on another machine",
            told(file="\\\\host\\share\\g.pkl"),
            "file must be the name of a file, without folders",
        ),
        ("parent above", told(file=".."), "file must be the name of a file, without folders"),
        ("parent of itself", told(file="checkpoint"), "is itself tuned from another, and nothing"),
        ("parent that is not there", told(file="g.pkl"), r"put that one, .* beside it as g\.pkl"),
        ("parent of no name", told(parent=NOBODY), "nobody is no registered generator"),
        ("parent of other weights", told(parent=OTHER, sha256="2" * 64), "is another"),
        ("parent of no sizes", told(parent={"name": "avatars"}), "no sound file of a tuned"),
        ("parent that is a list", told(parent=[1]), "parent and told must be objects"),
        ("weights of another tuning", told(sha256="2" * 64), "are not those it names"),
        ("digest that is none", told(tuned_from="x"), "a sha256 must be 64 lower-case hex digits"),
        ("format of tomorrow", told(format=2), "format is 2, known is 1"),
        ("format that clears the screen", told(format="\x1b[2J"), r"format is '.x1b\[2J'"),
        ("entry that nobody knows", told(code="import os"), "must hold exactly crops, file"),
        ("tuning a hundred thousand deep", lambda: files.file("[" * 10**5), "is not valid JSON"),
        ("tuning that is no JSON", lambda: files.file("os.system"), "is not valid JSON"),
        ("tuning told in lists", told(told={"x": [[1]]}), "told must hold numbers and texts"),
        ("tuning told in a megabyte", told(told={"x": "x" * 2**20}), "1 to 500 letters"),
        ("more crops than pivots", told(crops=[CROP, CROP]), "crops must be a list, one of each"),
        ("crop of no name", told(crops=[{**CROP, "name": ""}]), "1 to 500 letters"),
        ("crop of a class beyond", told(crops=[{**CROP, "label": 7}]), "has a class that the"),
        ("crop of a huge class", told(crops=[{**CROP, "label": 10**30}]), "must be a class, or -1"),
        ("pivots of NaN", held(w=torch.full((1, 1, 1), torch.nan)), "w must be finite float32"),
        ("pivots of whole numbers", held(w=torch.zeros(1, 1, 1, dtype=torch.int8)), "w must be"),
        ("pivots of another width", held(w=torch.zeros(1, 2, 3)), r"latents have shape \(2, 3\)"),
        ("no pivots", held(w=None), "w must be finite float32"),
        ("tensor that nobody knows", held(code=torch.zeros(1)), "code is no such tensor"),
        (
            "difference of another shape",
            held(**{f"difference_{KNOWN}": torch.zeros(1, dtype=torch.int8)}),
            "is no weight of its parent, or of another shape",
        ),
        (
            "difference of no weight",
            held(difference_x=torch.zeros(1, dtype=torch.int8), scale_x=torch.zeros(1)),
            "x is no weight of its parent",
        ),
        (
            "difference of floats",
            held(**{f"difference_{KNOWN}": torch.zeros(1)}),
            r"difference/synthesis\.b8\.conv1\.weight is no such tensor",
        ),
        ("difference without a scale", held(**{f"scale_{KNOWN}": None}), "must have a scale"),
        (
            "scale of another length",
            held(**{f"scale_{KNOWN}": torch.zeros(1)}),
            "has another length",
        ),
        (
            "scale of no number",
            lambda: files.content(None, **{f"scale_{KNOWN}": scale(torch.nan)}),
            r"scale/synthesis\.b8\.conv1\.weight is no such tensor",
        ),
        (
            "scale beyond all numbers",
            lambda: files.content(None, **{f"scale_{KNOWN}": scale(3e38)}),
            "holds NaN or infinity",
        ),
        ("average of another length", held(average=torch.zeros(1)), r"average must be float32"),
        (
            "average of NaN",
            lambda: files.content(
                None, average=torch.full_like(files.parent().tensors["mapping.w_avg"], torch.nan)
            ),
            "holds NaN or infinity",
        ),
    ]
}
