"""How often a client may come: a bucket of tokens each, that fills at a steady rate."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CLIENTS = 10_000


def client_of(host: str | None) -> str:
    """Who an address belongs to: of IPv6 the network of 64 bits, of which one client has all."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return host or "unknown"
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


class Buckets:
    """How much each client has left. Those that came last are remembered.

    Args:
        rate: that fills a bucket, a second.
        burst: that a full one holds.
        now: seconds on a clock that never goes back.
    """

    def __init__(
        self, rate: float, burst: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._now = rate, burst, now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # and when

    def wait(self, client: str) -> float:
        """Takes one from a client's bucket: 0, or the seconds until there is one to take."""
        now = self._now()
        left, then = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        served = left >= 1
        self._left[client] = (left - served, now)
        if len(self._left) > MAX_CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if served else (1 - left) / self._rate

    def is_empty(self, client: str) -> bool:
        """Whether a client would have to wait; takes nothing."""
        left, then = self._left.get(client, (self._burst, self._now()))
        return left + (self._now() - then) * self._rate < 1
