"""Atlas files: format 1, as docs/atlas-format.md states it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from .atlas_data import AtlasData
from .bank import PromptBank
from .errors import AtlasError, StyleAtlasError
from .fingerprint import Fingerprint, ModelIdentity, from_json, to_json
from .hdf5 import Reader, decode_texts, encode_texts, reading, write_contents
from .layout import StyleLayout
from .sample_set import SampleSet
from .schema import FIELDS

Kind = TypeVar("Kind", bound=AtlasData)


def read_atlas(path: str | os.PathLike[str], kind: type[Kind]) -> Kind:
    """Read an atlas as an object of this kind; every error is an AtlasError that names the file and
    the place in it."""
    with reading(path) as reader:
        return _build(reader, kind)


def is_other_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file that does not begin as an atlas does, with HDF5's signature."""
    try:
        with Path(path).open("rb") as file:
            return file.read(8) != b"\x89HDF\r\n\x1a\n"
    except (OSError, ValueError):
        return False


def write_atlas(atlas: AtlasData, path: str | os.PathLike[str]) -> None:
    """Write ``atlas``; the same atlas always gives the same bytes."""
    layers = atlas.layout.layers
    attributes = {
        "created": atlas.created,
        "library": atlas.library,
        "settings": to_json("attribute settings", dict(atlas.fingerprint.settings)),
        "generator": atlas.fingerprint.generator.to_json(),
        "clip": atlas.fingerprint.clip.to_json(),
    }
    arrays = {
        "/layout/name": encode_texts([layer.name for layer in layers]),
        "/layout/kind": encode_texts([layer.kind for layer in layers]),
        "/layout/resolution": np.array([layer.resolution for layer in layers], dtype="<i4"),
        "/layout/size": np.array([layer.size for layer in layers], dtype="<i4"),
        "/style/mean": atlas.style_mean,
        "/style/std": atlas.style_std,
        "/relevance/channel": atlas.channels,
        "/relevance/rows": atlas.rows,
        "/relevance/consistency": atlas.consistency,
        "/relevance/strength": atlas.strength,
        "/relevance/images": atlas.images,
        "/prompts/text": encode_texts(atlas.prompts.texts),
        "/prompts/embedding": atlas.prompts.embeddings,
    }
    sources: dict[str, str] = {}
    if atlas.samples is not None:
        arrays |= atlas.samples.arrays()
        sources = atlas.samples.sources()
    write_contents(path, attributes, arrays, sources)


@dataclass(frozen=True)
class Check:
    """One thing :func:`verify` proved, or failed to, and why."""

    name: str
    ok: bool
    detail: str


def verify(path: str | os.PathLike[str]) -> list[Check]:
    """Prove every dataset's presence, type and checksum, and, where all are sound, that together
    they are an atlas.

    An atlas that is not sound gives failing checks, never an exception.
    """
    try:
        with reading(path) as reader:
            checks = [_check("attributes", reader.attributes, "format, version and texts")]
            fields = FIELDS
            try:
                fields = reader.fields()
            except AtlasError as error:  # of the samples; all else can still be proven
                checks.append(Check("/samples", False, str(error).removeprefix("/samples: ")))
            for field in fields:
                prove = partial(reader.array, field)
                checks.append(_check(field.path, prove, f"{field}, sha256 matches"))
            if all(check.ok for check in checks):  # else it would fail by the same again
                build = partial(_build, reader, AtlasData)
                checks.append(_check("contents", build, "shapes, ranges, unit rows"))
            return checks
    except AtlasError as error:
        return [Check("file", False, str(error).removeprefix(f"{os.fspath(path)}: "))]


def _check(name: str, prove: Callable[[], object], detail: str) -> Check:
    try:
        prove()
    except StyleAtlasError as error:
        detail = str(error).removeprefix(f"{name}: ").removeprefix(f"{name}, ")
        return Check(name, False, detail)
    return Check(name, True, detail)


def _build(reader: Reader, kind: type[Kind]) -> Kind:
    attributes = reader.attributes()
    arrays = reader.arrays()
    layout = StyleLayout.of(
        zip(
            decode_texts("/layout/name", arrays["/layout/name"]),
            decode_texts("/layout/kind", arrays["/layout/kind"]),
            arrays["/layout/resolution"].tolist(),
            arrays["/layout/size"].tolist(),
            strict=True,
        )
    )
    texts = decode_texts("/prompts/text", arrays["/prompts/text"])
    return kind(
        layout=layout,
        style_mean=arrays["/style/mean"],
        style_std=arrays["/style/std"],
        channels=arrays["/relevance/channel"],
        rows=arrays["/relevance/rows"],
        consistency=arrays["/relevance/consistency"],
        strength=arrays["/relevance/strength"],
        images=arrays["/relevance/images"],
        prompts=PromptBank(tuple(texts), arrays["/prompts/embedding"]),
        fingerprint=Fingerprint(
            generator=ModelIdentity.from_json(attributes["generator"]),
            clip=ModelIdentity.from_json(attributes["clip"]),
            settings=from_json("attribute settings", attributes["settings"]),
        ),
        created=attributes["created"],
        library=attributes["library"],
        samples=SampleSet.of(arrays, reader.sources()),
    )
