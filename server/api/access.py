"""Who may ask, how much, and from where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Access:
    """What the door is told.

    Args:
        token: that programs send as Bearer; None where anybody is let in who reaches the address.
        hosts: names that a request may be for, beside localhost and addresses.
        root_path: what a proxy puts before every path.
        rate: requests a second that a client is served in the long run.
        burst: requests that it may send at once.
        body: bytes of a request, but for photos.
        photo: bytes of a photo.
        body_seconds: for a request to come in whole.
        log_prompts: whether the log tells what was asked for.
    """

    token: str | None = None
    hosts: tuple[str, ...] = ()
    root_path: str = ""
    rate: float = 50.0
    burst: int = 200
    body: int = 2**18
    photo: int = 2**25
    body_seconds: float = 60.0
    log_prompts: bool = False
