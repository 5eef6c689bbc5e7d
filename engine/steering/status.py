"""What became of each image of an edit. Without torch."""

from __future__ import annotations

from typing import Literal, get_args

Status = Literal["reached", "already_there", "not_reached", "out_of_range", "unsupported"]
STATUSES: tuple[Status, ...] = get_args(Status)

WORDS: dict[Status, str] = {
    "reached": "shows the target",
    "already_there": "showed the target already; without a given alpha it stays as it was",
    "not_reached": "does not show the target to CLIP",
    "out_of_range": "is, or would have to go, beyond what the generator draws",
    "unsupported": "edited by guess: the samples show nothing that the prompt names",
}
"""What each means, in the words of an image."""

_ORDER: tuple[Status, ...] = (
    "unsupported",
    "out_of_range",
    "not_reached",
    "reached",
    "already_there",
)


def together(statuses: list[Status]) -> Status:
    """The status of an image with several edits: that of the one that fared worst."""
    return min(statuses, key=_ORDER.index)
