"""The token, and what a browser has in its place: a link that works once, and a signed cookie."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

COOKIE = "styleatlas"
SESSION_SECONDS = 7 * 24 * 3600
LINK_SECONDS = 3600
MAX_LINKS = 100


class Keys:
    """What opens the door.

    A cookie is `until.nonce.signature`, signed by the token: it outlives a restart, and no longer
    opens once the token is another. Links are kept in memory, and are gone with the process.

    Args:
        token: the secret that programs send.
        now: seconds since 1970.
    """

    def __init__(self, token: str, now: Callable[[], float] = time.time) -> None:
        self._token, self._now = token.encode(), now
        self._links: dict[str, float] = {}  # until when each opens

    def opens(self, token: str) -> bool:
        """Whether this is the token; takes as long for any guess."""
        return hmac.compare_digest(self._digest(token), self._digest(self._token.decode()))

    def new_link(self) -> str:
        """A key that opens once, within an hour; the oldest of too many is given up."""
        self._forget()
        while len(self._links) >= MAX_LINKS:
            self._links.pop(next(iter(self._links)))
        key = secrets.token_urlsafe(24)
        self._links[key] = self._now() + LINK_SECONDS
        return key

    def redeem(self, key: str) -> str | None:
        """The cookie for a link's key, which from now on opens nothing; None for any other."""
        self._forget()
        if self._links.pop(key, None) is None:
            return None
        said = f"{int(self._now()) + SESSION_SECONDS}.{secrets.token_urlsafe(12)}"
        return f"{said}.{self._signature(said)}"

    def knows(self, cookie: str) -> bool:
        """Whether this is a cookie that was given here, and is not too old."""
        said, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(self._digest(signature), self._digest(self._signature(said))):
            return False
        return int(said.partition(".")[0]) > self._now()

    def _forget(self) -> None:
        now = self._now()
        self._links = {key: until for key, until in self._links.items() if until > now}

    def _signature(self, said: str) -> str:
        return hmac.new(self._token, f"cookie {said}".encode(), "sha256").hexdigest()

    @staticmethod
    def _digest(text: str) -> bytes:
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
