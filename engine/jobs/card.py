"""The card of an atlas on the Hub: a README.md that says what it was drawn with, how well edits by
it work, under which licence it is, and how to use it. Without torch.

Whatever a file says of itself stands in it as code, so that it is read as text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...store.atlas import Atlas
from ...store.describe import atlas_record
from ...store.errors import InputError, OptionError
from ...store.hub_names import HubName, is_hub, read_name
from ...store.records import printable
from ...store.registry import is_name
from ..pictures.recipe import AtlasIdentity

MARK = "<!-- Written by `styleatlas push`, which renews a card that has this line. -->"
PICTURE = "samples.png"
_LICENCE = re.compile(r"[a-z0-9](?:[a-z0-9.+-]{0,48}[a-z0-9+])?")
_MOST_BYTES = 2**24
_FIGURES = ("success", "preservation", "fully_right", "damaged")


def require_licence(licence: str | None) -> None:
    """Raise OptionError unless this may be an identifier of the Hub's licences."""
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise OptionError(
            f"licence {licence[:60]!r}: is no identifier such as apache-2.0, cc-by-nc-4.0 or other"
        )


def read_evaluation(path: Path, atlas: Atlas) -> dict[str, Any]:
    """The figures of the default way in an `evaluation.json`, or in the folder that `evaluate`
    wrote: `judge`, the number of `seeds` and `edits`, and of every figure value, low and high, in
    percent.

    Raises:
        InputError: it is none, or is of another atlas.
    """
    file = path / "evaluation.json" if path.is_dir() else path
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError(f"is longer than {_MOST_BYTES:,} bytes")
        told = json.loads(file.read_bytes())
        drawn, way = told["atlas"]["sha256"], told["ways"][0]
        point = way["points"][way["best"]]
        figures = {name: _figure(point[name]) for name in _FIGURES if point.get(name)}
        edits = len({(row["neutral"], row["target"]) for row in told["edits"]})
        found = {"judge": str(told["judge"]), "seeds": len(told["seeds"]), "edits": edits}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{file}: cannot be read as what `styleatlas evaluate` writes ("
            f"{' '.join(str(error).split())[:100] or type(error).__name__}); name its folder"
        ) from error
    if drawn != AtlasIdentity.of(atlas, "auto").sha256:
        raise InputError(f"{file}: is an evaluation of another atlas; evaluate this one")
    return {**found, **figures}


def _figure(told: dict[str, Any]) -> tuple[float, float | None, float | None]:
    value, low, high = (
        None if told[key] is None else float(told[key]) for key in ("value", "low", "high")
    )
    if value is None or not all(math.isfinite(x) for x in (value, low, high) if x is not None):
        raise ValueError("holds a figure that is no number")
    return value, low, high


def card(
    atlas: Atlas,
    place: HubName,
    licence: str | None,
    evaluation: dict[str, Any] | None,
    picture: str | None,
) -> str:
    """The Markdown of a card.

    Args:
        place: where the atlas will lie, with its file.
        licence: an identifier of the Hub's; None where it is not told.
        evaluation: what `read_evaluation` says.
        picture: what `PICTURE`, which lies beside it, shows; None where there is none.
    """
    title = place.repository.partition("/")[2]
    origin = atlas.fingerprint
    parts = [
        f"{_head(atlas, licence)}\n{MARK}",
        f"# {title}: an atlas for StyleAtlas",
        "An atlas maps every style channel of a StyleGAN generator to what it does as CLIP sees "
        "it, and may hold samples of what the generator draws, so that any prompt becomes an edit "
        "by a look-up. It holds neither the generator nor CLIP.",
    ]
    if picture is not None:
        parts.append(f"![{picture}]({PICTURE})")
    parts += ["## Use", _use(atlas, place), "## What it was drawn with", _drawn(atlas)]
    if evaluation is not None:
        parts += ["## How good its edits are", _measured(evaluation)]
    under = "is not stated" if licence is None else f"is `{licence}`"
    parts += [
        "## Licence",
        f"The licence of the atlas {under}. What is made by it is made by the generator "
        f"{_code(origin.generator.name)} and the CLIP {_code(origin.clip.name)}, too, whose own "
        "licences hold as well.",
    ]
    return "\n\n".join(parts) + "\n"


def _head(atlas: Atlas, licence: str | None) -> str:
    """The metadata that the Hub reads, as YAML, of which JSON's texts are a part."""
    lines = ["library_name: styleatlas"]
    if licence is not None:
        lines.append(f"license: {json.dumps(licence)}")
    base = [
        read_name(name).repository
        for name in (atlas.fingerprint.generator.name, atlas.fingerprint.clip.name)
        if is_hub(name) and _is_sound(name)
    ]
    if base:
        lines += ["base_model:", *(f"- {json.dumps(name)}" for name in dict.fromkeys(base))]
    lines += ["tags:", "- styleatlas", "- stylegan", "- clip", "- image-editing"]
    return "\n".join(["---", *lines, "---", ""])


def _is_sound(name: str) -> bool:
    try:
        read_name(name)
    except OptionError:
        return False
    return True


def _use(atlas: Atlas, place: HubName) -> str:
    origin = atlas.fingerprint
    options = ""
    if not is_name(origin.generator.name):
        options += " --generator GENERATOR"
    if not is_name(origin.clip.name) and "/" not in origin.clip.name:
        options += " --clip CLIP"
    where = "GENERATOR and CLIP are files of the models named below.\n\n" if options else ""
    return (
        f"{where}```sh\npip install styleatlas\nstyleatlas info {place}\n"
        f'styleatlas edit {place}{options} --neutral "a face" --target "a smiling face" \\\n'
        "    --seed 1-8 --before -o edits.png\n```"
    )


def _drawn(atlas: Atlas) -> str:
    record = atlas_record(atlas)
    rows = []
    for part in ("generator", "clip"):
        told = dict(record[part])
        rows.append((part, told.pop("name")))
        rows += [(f"{part}: {key}", value) for key, value in told.items()]
    kept = ("created", "library", "style_channels", "swept_channels", "samples", "prompts", "width")
    rows += [(key, record[key]) for key in kept]
    rows += [(f"features: {name}", told["source"]) for name, told in record["features"].items()]
    rows += [(f"setting: {key}", value) for key, value in record["settings"].items()]
    return _table(("what", "value"), [(_plain(key), _code(value)) for key, value in rows])


def _measured(evaluation: dict[str, Any]) -> str:
    rows = []
    for name in _FIGURES:
        if name in evaluation:
            value, low, high = evaluation[name]
            between = "" if low is None or high is None else f" ({low:.1f} to {high:.1f})"
            rows.append((name.replace("_", " "), f"{value:.1f} %{between}"))
    return (
        f"By `styleatlas evaluate`: {evaluation['edits']} edits of {evaluation['seeds']} seeds, "
        f"judged by {_code(evaluation['judge'])}; intervals hold 95 %. Success: of the images that "
        "lacked the attribute, how many have it; preservation: of all other attributes, how many "
        f"stayed.\n\n{_table(('figure', 'default way'), rows)}"
    )


def _table(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    lines = [head, ("---", "---"), *rows]
    return "\n".join(f"| {one} | {two} |" for one, two in lines)


def _code(value: object) -> str:
    """A value as code in a cell of a table, where nothing in it is Markdown or HTML."""
    text = value if isinstance(value, str) else json.dumps(value)
    text = printable(" ".join(text.split())[:300])
    return f"`{text.replace('`', chr(39)).replace('|', '/') or '-'}`"


def _plain(key: str) -> str:
    """A key, which may be a file's own: words alone."""
    return re.sub(r"[^\w:. -]", "", key)[:60].replace("_", " ")
