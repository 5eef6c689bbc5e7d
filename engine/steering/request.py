"""What one edit is asked for, whoever asks: the command, Python, or a picture's recipe. Without
torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, Literal, get_args

from ...store.errors import OptionError, require_number, wrong_type
from .direction import Choice
from .edits import Edit

EditMethod = Literal["auto", "direction", "mapper", "optimize"]
Way = Literal["direction", "mapper", "optimize"]
"""By which an image was edited in the end."""
METHODS: tuple[EditMethod, ...] = get_args(EditMethod)

_CHOICE = {part.name for part in fields(Choice)}


@dataclass(frozen=True)
class EditRequest:
    """Edits, and how they are to be made and shown.

    Args:
        edits: made together, or each by itself in a grid.
        choice: of their channels.
        method: how; with alphas, with something to keep or for several edits made together `auto`
            is the table's direction.
        alphas: a column each; None for one column of automatic alphas.
        probability: that automatic alphas are to reach; by the atlas's samples if not given.
        betas: a row of every image each, in place of the beta of the choice.
        grid: a column for each edit by itself.
        before: a column more, of the images as they were.
        truncation: psi of images that are drawn from seeds or z.
        label: their class, of a conditional generator.

    Raises:
        OptionError: no edit, an unknown method, one that cannot follow the rest, or a probability
            beside alphas.
    """

    edits: tuple[Edit, ...]
    choice: Choice = field(default_factory=Choice)
    method: EditMethod = "auto"
    alphas: tuple[float, ...] | None = None
    probability: float | None = None
    betas: tuple[float, ...] | None = None
    grid: bool = False
    before: bool = False
    truncation: float = 0.7
    label: int | None = None

    def __post_init__(self) -> None:
        if not self.edits:
            raise OptionError("edit: there is none; give a neutral prompt and a target")
        if self.method not in METHODS:
            raise OptionError(
                f"method {self.method!r}: is unknown; use one of {', '.join(METHODS)}"
            )
        for alpha in self.alphas or ():
            require_number("alpha", alpha)
        if self.betas is not None and (not self.betas or self.choice.beta is not None):
            raise OptionError("beta: is given once and as a list; give one of them")
        for beta in self.betas or ():
            self.choice_at(beta)  # refuses one that is not
        require_number("truncation", self.truncation)
        if self.probability is not None:
            require_number("probability", self.probability)
            if self.alphas is not None:
                raise OptionError(
                    "probability: is what alphas are found by, and alpha is given; leave one out"
                )
        if self.label is not None and type(self.label) is not int:
            raise wrong_type("class", self.label, "a whole number")
        if self.method in ("auto", "direction"):
            return
        if self.alphas is not None:
            raise OptionError(f"method {self.method}: has no alpha; leave it out")
        if self.choice != Choice() or self.betas is not None:
            raise OptionError(
                f"method {self.method}: chooses no channels and keeps no prompt; leave out rule, "
                "beta, channels, layers, source, what to exclude and what to keep"
            )
        if len(self.edits) > 1 and not self.grid:
            raise OptionError(
                f"method {self.method}: makes one edit at a time; say it in one prompt, or ask for "
                "a grid"
            )

    def changed(self, **options: Any) -> EditRequest:
        """The same request with other values of its fields, or of those of its `choice`."""
        chosen = {name: value for name, value in options.items() if name in _CHOICE}
        others = {name: value for name, value in options.items() if name not in _CHOICE}
        return replace(self, choice=replace(self.choice, **chosen), **others)

    def choice_at(self, beta: float | None) -> Choice:
        """The choice of a row: with one of the betas, or as it is."""
        return self.choice if beta is None else replace(self.choice, beta=beta)

    def by_table(self, edits: Sequence[Edit]) -> bool:
        """Whether edits made together are the table's without a question."""
        if self.method != "auto":
            return self.method == "direction"
        alone = len(edits) == 1 and edits[0].weight == 1
        bound = self.choice.keep or self.choice.layers or self.choice.exclude
        return self.alphas is not None or bool(bound) or not alone

    @property
    def columns(self) -> int:
        """How many edited images stand beside each other."""
        return (len(self.edits) if self.grid else 1) * len(self.alphas or (None,))

    @property
    def rows(self) -> int:
        """How many rows of edited images an image has."""
        return len(self.betas or (None,))


def edits_of(
    neutral: str | None, target: str | None, edits: Sequence[Edit | str] = ()
) -> tuple[Edit, ...]:
    """A pair of prompts, if there is one, and more edits, some of them as
    "a face -> a sad face : 1.5".

    Raises:
        OptionError: half a pair, or something else than prompts and edits.
    """
    for name, text in (("neutral", neutral), ("target", target)):
        if text is not None and not isinstance(text, str):
            raise wrong_type(name, text, "a prompt")
    if (neutral is None) != (target is None):
        missing = "neutral" if neutral is None else "target"
        raise OptionError(f"{missing}: is not given; neutral and target belong together")
    pair = [] if neutral is None or target is None else [Edit(neutral, target)]
    more = [edits] if isinstance(edits, str | Edit) else edits
    if not isinstance(more, Sequence):
        raise wrong_type("edits", edits, 'a list of edits, such as "a face -> a sad face"')
    read = [Edit.parse(edit) if isinstance(edit, str) else edit for edit in more]
    for edit in read:
        if not isinstance(edit, Edit):
            raise wrong_type("edits", edit, 'an Edit, or a text as "a face -> a sad face"')
    return (*pair, *read)


def choice_of(options: Mapping[str, Any], others: Iterable[str]) -> Choice:
    """A choice of channels by the names of its fields; `others` are names that somebody may have
    meant.

    Raises:
        OptionError: an unknown name, or a value out of its range.
    """
    for name in options:
        if name not in _CHOICE:
            near = get_close_matches(name, [*_CHOICE, *others], n=1)
            mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(_CHOICE))}"
            raise OptionError(f"option {name!r}: is unknown; {mend}")
    return Choice(**options)
