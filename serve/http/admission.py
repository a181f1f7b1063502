"""So many requests at once, so many waiting for a place, and a quick no to the rest; none of it all for one caller."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import ceil
from typing import NamedTuple

from ..pipeline.errors import KEY_SHARE, OVERLOADED, APIError

_SMOOTHING = 0.2
"""The weight of the last request in how long one takes."""
_LONGEST = 60.0
"""Seconds that a client is asked to wait at most."""


class MemoryBudget:
    """What requests hold together: bytes, say. One caller holds a share of it at most."""

    def __init__(self, most: int, share: float = 1.0, least: int = 1, what: str = "the server holds") -> None:
        """`least` is what a caller may hold however small the share is."""
        self._held: Counter[str] = Counter()
        self._what = what
        self.resize(most, share, least)

    @property
    def held(self) -> int:
        """By everybody."""
        return self._held.total()

    def resize(self, most: int, share: float = 1.0, least: int = 1) -> None:
        """Another size; what is held stays held."""
        self._most = most
        self._most_each = max(least, int(most * share))

    @contextmanager
    def taken(self, caller: str = "") -> Iterator[Callable[[int], None]]:
        """Takes room as it is asked for, and gives it back at the end of a block. Raises Refused when there is none."""
        own = 0

        def take(more: int) -> None:
            nonlocal own
            if self.held + more > self._most:
                raise APIError(429, f"{self._what} as many requests as it can", code=OVERLOADED, retry_after=1.0)
            if self._held[caller] + more > self._most_each:
                raise APIError(
                    429, f"{self._what} as many requests of one key as it may", code=KEY_SHARE, retry_after=1.0
                )
            own += more
            self._held[caller] += more

        try:
            yield take
        finally:
            self._held[caller] -= own
            if not self._held[caller]:
                del self._held[caller]


class _Turn(NamedTuple):
    """A request that waits for a place."""

    caller: str
    comes: asyncio.Future[None]


class AdmissionQueue:
    """Places for requests, a share of them for each caller: whoever holds that share waits, and others pass by.

    Of those who wait, the caller with the fewest places is let in first; of one caller, who came first.
    """

    def __init__(
        self,
        concurrency: int,
        max_queue: int,
        queue_timeout: float,
        clock: Callable[[], float] = time.monotonic,
        share: float = 1.0,
    ) -> None:
        """`concurrency` requests run, `max_queue` more wait, each for `queue_timeout` seconds at most; of one caller no
        more than this share of either, and one in any case."""
        self.running = 0
        self._clock = clock
        self._queue: deque[_Turn] = deque()
        self._places: Counter[str] = Counter()
        self._held: float | None = None
        self.resize(concurrency, max_queue, queue_timeout, share)

    def resize(self, concurrency: int, max_queue: int, queue_timeout: float, share: float = 1.0) -> None:
        """Other limits, for all that comes from now on; who is in stays in."""
        self._concurrency, self._most_waiting, self._queue_timeout = concurrency, max_queue, queue_timeout
        self._most_places, self._most_turns = max(1, int(concurrency * share)), max(1, int(max_queue * share))
        self._hand_on()

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._queue)

    @asynccontextmanager
    async def place(self, caller: str = "") -> AsyncIterator[None]:
        """Wait for a place, and hold it for the length of a block. Raises Refused when too many wait, or too long."""
        await self._enter(caller)
        began = self._clock()
        try:
            yield
        finally:
            self._remember(self._clock() - began)
            self._leave(caller)

    async def _enter(self, caller: str) -> None:
        if self._has_place(caller):  # then nobody waits who could have it: whoever leaves hands their place on
            self._take(caller)
            return
        if len(self._queue) >= self._most_waiting:
            raise self._busy(f"{self.running} running, {self.waiting} waiting")
        if (own := sum(turn.caller == caller for turn in self._queue)) >= self._most_turns:
            raise self._busy(f"{self._places[caller]} running and {own} waiting are of one key", KEY_SHARE)
        turn = _Turn(caller, asyncio.get_running_loop().create_future())
        self._queue.append(turn)
        try:
            await asyncio.wait([turn.comes], timeout=self._queue_timeout)
        except asyncio.CancelledError:
            if turn.comes.done():  # the place came together with the end of the one who waited for it
                self._leave(caller)
            else:
                self._queue.remove(turn)
            raise
        if not turn.comes.done():
            self._queue.remove(turn)
            raise self._busy(f"no place became free in {self._queue_timeout:g} s")

    def _has_place(self, caller: str) -> bool:
        return self.running < self._concurrency and self._places[caller] < self._most_places

    def _take(self, caller: str) -> None:
        self.running += 1
        self._places[caller] += 1

    def _leave(self, caller: str) -> None:
        self.running -= 1
        self._places[caller] -= 1
        if not self._places[caller]:
            del self._places[caller]
        self._hand_on()

    def _hand_on(self) -> None:
        """Let in who may have a place that is free."""
        while turns := [turn for turn in self._queue if self._has_place(turn.caller)]:
            first = min(turns, key=lambda turn: self._places[turn.caller])
            self._queue.remove(first)
            self._take(first.caller)
            first.comes.set_result(None)

    def _remember(self, seconds: float) -> None:
        self._held = seconds if self._held is None else self._held + _SMOOTHING * (seconds - self._held)

    def _busy(self, why: str, code: str = OVERLOADED) -> APIError:
        """Try again when all who wait now will have had their turn, as long as requests take lately."""
        wait = min(_LONGEST, max(1.0, (self._held or 0.0) * (self.waiting + 1) / self._concurrency))
        return APIError(429, f"the server is busy: {why}; try again in {ceil(wait)} s", code=code, retry_after=wait)
