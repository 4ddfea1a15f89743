"""Who asks and who is given text in, who has asked in vain for so long that it goes first out.

Knows clients by name and the clock; nothing of engines, and not why somebody was given nothing: refused, cut off by a
newer request of its own, or late. Where one waits longest it is that one's turn (aging, as schedulers have it).
"""

from __future__ import annotations

import time
from collections.abc import Callable

LONG = 0.5  # seconds of asking in vain: some keys; with two, three times as many went without for two
LEFT = 5.0  # seconds without a request after which a client has left and begins anew
SOON = 0.25  # seconds after which text comes too late for somebody who types
_MANY = 4096  # clients remembered before those that left are forgotten


class Starvation:
    """Use it on one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._vain: dict[str, tuple[float, float]] = {}  # client → when it began to ask in vain, and asked last

    def starves(self, client: str) -> bool:
        """A client asks once more; whether it has done so in vain for long. Who gives no name never has."""
        if not client:
            return False
        now = self._clock()
        if len(self._vain) > _MANY:
            self._vain = {name: times for name, times in self._vain.items() if now - times[1] <= LEFT}
        since, last = self._vain.get(client, (now, now))
        if now - last > LEFT:
            since = now
        self._vain[client] = since, now
        return now - since >= LONG

    def feed(self, client: str, asked: float) -> None:
        """A client was given text for what it asked at that time of the clock."""
        if self._clock() - asked <= SOON:
            self._vain.pop(client, None)
