"""The edits that an evaluation tries, and the words for what a judge can see. Without torch.

A suite is a JSON file in UTF-8:

    {"neutral": "a face",
     "attributes": {"mouth": {"smiling": ["a smiling face"], "sad": ["a sad face"]}},
     "edits": [{"target": "a sad face", "attribute": "mouth", "values": ["sad"]}]}

An edit may name a `neutral` of its own, and phrases of `attributes` to `keep`. What a suite leaves
out it takes from another, the `base` that it may name by a path from its own folder:

    {"base": "faces.json",
     "edits": [{"target": "someone in a bad mood", "attribute": "mouth", "values": ["sad"]}]}
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...store.bank import normalise_prompt
from ...store.errors import InputError, OptionError, PromptError
from ..steering.edits import meant_as_one

MAX_BYTES = 2**22
_SUITE_KEYS = {"neutral", "attributes", "edits"}
_EDIT_KEYS = {"target", "attribute", "values"}
_EDIT_OPTIONS = {"neutral", "keep"}

Attributes = Mapping[str, Sequence[str]]
"""Each attribute with its values."""


@dataclass(frozen=True)
class Trial:
    """An edit and how to tell that it succeeded.

    Args:
        neutral, target: the prompts.
        attribute: what it changes.
        values: which values of the attribute count as success.
        keep: phrases to keep in the evaluation of `--keep`; none to keep what drifts most.
    """

    neutral: str
    target: str
    attribute: str
    values: tuple[str, ...]
    keep: tuple[str, ...] = ()

    @property
    def meant(self) -> tuple[str, str]:
        """Its prompts as an edit reads them, see `as_meant`.

        Raises:
            OptionError: they mean several edits.
        """
        edit = meant_as_one(self.neutral, self.target)
        return edit.neutral, edit.target


@dataclass(frozen=True)
class Suite:
    """Trials, and the phrases of every value of every attribute.

    Raises:
        InputError: nothing to try, a trial that is there twice or asks for what is unknown, a
            phrase that is no prompt.
    """

    phrases: Mapping[str, Mapping[str, tuple[str, ...]]]
    trials: tuple[Trial, ...]

    def __post_init__(self) -> None:
        if not self.trials:
            raise InputError("edits: there are none; name at least one")
        for attribute, values in self.phrases.items():
            if len(values) < 2:
                raise InputError(f"attribute {attribute!r}: needs at least two values to tell from")
        known = self.all_phrases()
        for text in [*known, *(text for t in self.trials for text in (t.neutral, t.target))]:
            try:
                normalise_prompt(text)
            except PromptError as error:
                raise InputError(str(error)) from error
        seen = set()
        for trial in self.trials:
            pair = (normalise_prompt(trial.neutral), normalise_prompt(trial.target))
            if pair in seen:
                raise InputError(f"edit {trial.target!r}: is there twice; remove one")
            seen.add(pair)
            try:
                _ = trial.meant
            except OptionError as error:
                raise InputError(f"edit {error}") from error
            self._require_known(trial, known)

    def all_phrases(self) -> tuple[str, ...]:
        """Of every value of every attribute, in order."""
        values = [texts for by_value in self.phrases.values() for texts in by_value.values()]
        return tuple(text for texts in values for text in texts)

    def attribute_of(self, phrase: str) -> str:
        """The attribute that has a phrase of `all_phrases`."""
        return next(
            name
            for name, values in self.phrases.items()
            if any(phrase in texts for texts in values.values())
        )

    def require(self, attributes: Attributes) -> None:
        """Raise InputError unless a judge that tells `attributes` apart can judge every trial, and
        what it may see change has a phrase."""
        for trial in self.trials:
            values = attributes.get(trial.attribute, ())
            if missing := [value for value in trial.values if value not in values]:
                known = ", ".join(values) or f"of {', '.join(attributes)} alone"
                raise InputError(
                    f"edit {trial.target!r}: the judge knows no {trial.attribute!r} "
                    f"{missing[0]!r}; it knows {known}"
                )
        for attribute, values in attributes.items():
            for value in values:
                if not self.phrases.get(attribute, {}).get(value):
                    raise InputError(
                        f"attributes: {attribute!r} has no phrase for {value!r}, which the judge "
                        "may see; add one"
                    )

    def _require_known(self, trial: Trial, phrases: tuple[str, ...]) -> None:
        values = self.phrases.get(trial.attribute)
        if values is None:
            raise InputError(
                f"edit {trial.target!r}: unknown attribute {trial.attribute!r}; "
                f"use one of {', '.join(self.phrases)}"
            )
        for value in trial.values:
            if value not in values:
                raise InputError(
                    f"edit {trial.target!r}: {trial.attribute!r} has no value {value!r}; "
                    f"use one of {', '.join(values)}"
                )
        for text in trial.keep:
            if text not in phrases:
                raise InputError(
                    f"edit {trial.target!r}: keep {text!r} is no phrase of the attributes; add it"
                )


def read_suite(path: str | os.PathLike[str]) -> Suite:
    """Reads a suite.

    Raises:
        InputError: the file cannot be read or is no suite; names the file, the place and the mend.
    """
    value = _loaded(path)
    try:
        return _suite(_completed(value, Path(path).parent))
    except InputError as error:
        raise InputError(f"{Path(path).name}: {error}") from error


def _completed(value: Any, folder: Path) -> Any:
    """What a file of a folder holds, with what it leaves out to its base."""
    if not isinstance(value, dict) or "base" not in value:
        return value
    base = folder / _text("base", value["base"])
    lent = _object(f"base {base.name}", _loaded(base))
    if "base" in lent:
        raise InputError(f"base {base.name}: has a base itself; name that one")
    return lent | {key: field for key, field in value.items() if key != "base"}


def _loaded(path: str | os.PathLike[str]) -> Any:
    """The JSON of a file."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason}); check the path") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: is larger than {MAX_BYTES // 2**20} MiB; split it")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid JSON ({error}); mend it") from error


def _suite(value: Any) -> Suite:
    fields = _object("the file", value, _SUITE_KEYS)
    neutral = _text("neutral", fields["neutral"])
    phrases = {
        attribute: {
            word: _texts(f"attributes, {attribute!r}, {word!r}", texts)
            for word, texts in _object(f"attributes, {attribute!r}", values).items()
        }
        for attribute, values in _object("attributes", fields["attributes"]).items()
    }
    edits = fields["edits"]
    if not isinstance(edits, list):
        raise InputError(f"edits: must be a list, not {_named(edits)}")
    trials = tuple(_trial(number, edit, neutral) for number, edit in enumerate(edits, 1))
    return Suite(phrases, trials)


def _trial(number: int, value: Any, neutral: str) -> Trial:
    place = f"edit {number}"
    fields = _object(place, value, _EDIT_KEYS, _EDIT_OPTIONS)
    return Trial(
        neutral=_text(f"{place}, neutral", fields.get("neutral", neutral)),
        target=_text(f"{place}, target", fields["target"]),
        attribute=_text(f"{place}, attribute", fields["attribute"]),
        values=_texts(f"{place}, values", fields["values"]),
        keep=_texts(f"{place}, keep", fields["keep"]) if "keep" in fields else (),
    )


def _object(
    place: str, value: Any, needed: set[str] | None = None, allowed: set[str] | None = None
) -> dict[str, Any]:
    """A JSON object; of exactly the keys `needed`, and `allowed` ones, where they are given."""
    if not isinstance(value, dict):
        raise InputError(f"{place}: must be an object, not {_named(value)}")
    if needed is not None:
        if missing := needed - value.keys():
            raise InputError(f"{place}: lacks {', '.join(sorted(missing))}")
        if unknown := value.keys() - needed - (allowed or set()):
            raise InputError(f"{place}: has an unknown {sorted(unknown)[0]!r}; remove it")
    return value


def _text(place: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{place}: must be a text, not {_named(value)}")
    return value


def _texts(place: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{place}: must be a list of texts, at least one")
    return tuple(_text(place, text) for text in value)


def _named(value: Any) -> str:
    """What JSON calls a value."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")
