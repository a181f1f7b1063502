"""How many calls are made at once, and how many a minute."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class AdaptiveConcurrency:
    """Calls at once: as many as allowed, half as many when the server is crowded, then slowly more again.

    Additive increase, multiplicative decrease, as TCP does it (Chiu and Jain, 1989).
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.running = 0
        self._allowed = float(most)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._halved = 0.0

    @property
    def allowed(self) -> int:
        """Calls that may be in flight now."""
        return max(1, int(self._allowed))

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and hold it for the length of a block."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self.running -= 1
            self._admit()

    def _admit(self) -> None:
        """Give free places to those who have waited longest."""
        while self._waiting and self.running < self.allowed:
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)

    def served(self) -> None:
        """A call came back: one more at once after as many calls as are allowed now."""
        self._allowed = min(float(self.most), self._allowed + 1.0 / self._allowed)
        self._admit()

    def crowded(self, now: float | None = None) -> None:
        """The server said that it is too much. What was in flight together is one complaint."""
        moment = time.monotonic() if now is None else now
        if moment - self._halved >= 1.0:
            self._halved = moment
            self._allowed = max(1.0, self._allowed / 2)


class RateLimiter:
    """At most so many units a minute, spread evenly, with what a few seconds allow at once."""

    def __init__(self, a_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """None is no limit."""
        self._a_second = None if a_minute is None else a_minute / 60
        self._clock = clock
        self._free_at = 0.0

    def wait(self, units: float = 1.0) -> float:
        """Book these units; how many seconds from now they may be used."""
        if self._a_second is None:
            return 0.0
        now = self._clock()
        start = max(self._free_at, now - _BURST)
        self._free_at = start + units / self._a_second
        return max(0.0, start - now)

    async def __call__(self, units: float = 1.0) -> None:
        if (seconds := self.wait(units)) > 0:
            await asyncio.sleep(seconds)


_BURST = 2.0
"""Seconds whose units may be used at once."""
