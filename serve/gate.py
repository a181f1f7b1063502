"""So many requests at once, so many waiting for a place, and a quick no to the rest."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import ceil

from .errors import Refused

_SMOOTHING = 0.2
"""The weight of the last request in how long one takes."""
_LONGEST = 60.0
"""Seconds that a client is asked to wait at most."""


class Room:
    """Bytes that requests hold together."""

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most

    @contextmanager
    def taken(self) -> Iterator[Callable[[int], None]]:
        """Takes room as it is asked for, and gives it back at the end of a block. Raises Refused when there is none."""
        own = 0

        def take(more: int) -> None:
            nonlocal own
            if self.held + more > self._most:
                raise Refused(429, "the server holds as many requests as it can", retry_after=1.0)
            own += more
            self.held += more

        try:
            yield take
        finally:
            self.held -= own


class Gate:
    """Places for requests; who waits for one is let in first come, first served."""

    def __init__(
        self, at_once: int, waiting: int, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`at_once` requests run, `waiting` more wait, each for `patience` seconds at most."""
        self.running = 0
        self._at_once = at_once
        self._most_waiting = waiting
        self._patience = patience
        self._clock = clock
        self._queue: deque[asyncio.Future[None]] = deque()
        self._held: float | None = None

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._queue)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and hold it for the length of a block. Raises Refused when too many wait, or too long."""
        await self._enter()
        began = self._clock()
        try:
            yield
        finally:
            self._remember(self._clock() - began)
            self._leave()

    async def _enter(self) -> None:
        if self.running < self._at_once:  # then nobody waits: whoever leaves hands their place on
            self.running += 1
            return
        if len(self._queue) >= self._most_waiting:
            raise self._busy(f"{self.running} running, {self.waiting} waiting")
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await asyncio.wait([turn], timeout=self._patience)
        except asyncio.CancelledError:
            if turn.done():  # the place came together with the end of the one who waited for it
                self._leave()
            else:
                self._queue.remove(turn)
            raise
        if not turn.done():
            self._queue.remove(turn)
            raise self._busy(f"no place became free in {self._patience:g} s")

    def _leave(self) -> None:
        """Hand a place on to whoever has waited longest."""
        if self._queue:
            self._queue.popleft().set_result(None)
        else:
            self.running -= 1

    def _remember(self, seconds: float) -> None:
        self._held = seconds if self._held is None else self._held + _SMOOTHING * (seconds - self._held)

    def _busy(self, why: str) -> Refused:
        """Try again when all who wait now will have had their turn, as long as requests take lately."""
        wait = min(_LONGEST, max(1.0, (self._held or 0.0) * (self.waiting + 1) / self._at_once))
        return Refused(429, f"the server is busy: {why}; try again in {ceil(wait)} s", retry_after=wait)
