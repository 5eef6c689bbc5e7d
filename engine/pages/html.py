"""Pages of HTML, each one file that loads nothing, by the templates beside this module."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from .svg import fit

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def page(
    template: str,
    title: str,
    name: str,
    sections: Mapping[str, str],
    figures: Mapping[str, object],
    **values: Any,
) -> str:
    """A page, `title` and the `name` of what it is about, by a template that extends `page.html`.

    Args:
        sections: headings by the names of the template's blocks, in order.
        figures: what stands on top, in numbers.
        values: what else the template takes, of which all but `Markup` is escaped. It needs a
            `footer`.
    """
    style = (TEMPLATES / "page.css").read_text("utf-8")
    text = (
        _environment()
        .get_template(template)
        .render(
            title=title,
            name=name,
            sections=sections,
            figures=figures,
            style=Markup(style),
            policy=_policy(style),
            **values,
        )
    )
    return fit(text)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # only those who write pages

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = _number
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    return environment


def _number(value: object) -> str:
    """A number for people, a dash where there is none, and a text as it is."""
    if value is None:
        return "\u2013"
    if isinstance(value, str):
        return value
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def _policy(style: str) -> str:
    """What a browser may do: show this style and the pictures inside the page, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
