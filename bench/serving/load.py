"""Requests by the thousand: sockets that are kept open, and as little work for each request as Python allows.

What is measured is the server, so the generator must cost less than it does.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

Send = Callable[["Caller"], Awaitable[int]]
"""One request on a connection; its outcome is a status."""
GONE = 0
"""The outcome of a request whose connection ended first."""


class Load(NamedTuple):
    """What came of many requests."""

    seconds: float
    """From the first to the end of the last."""
    latencies: list[float]
    """Of each that got a reply, from when it was due."""
    late: float
    """How long after it was due a request was sent at most."""
    outcomes: Counter[int]

    @property
    def rate(self) -> float:
        return sum(self.outcomes.values()) / self.seconds


class Caller(asyncio.Protocol):
    """A connection that asks one thing after the other."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self.address = (str(place.hostname), int(place.port or 80))
        self.read = bytearray()
        self.waiting: asyncio.Future[int] | None = None
        self.transport: asyncio.Transport | None = None

    async def ask(self, request: bytes) -> int:
        """The status of the whole reply; GONE when the connection ended first. Opens it where it is not open."""
        if self.transport is None:
            await asyncio.get_running_loop().create_connection(lambda: self, *self.address)
        assert self.transport
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.waiting

    async def leave(self, request: bytes, after: float) -> int:
        """Ask, and go away without the answer."""
        try:
            return await asyncio.wait_for(self.ask(request), after)
        except TimeoutError:
            self.close()
            return GONE

    def close(self) -> None:
        if self.transport:
            self.transport.abort()
        self.transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.read.clear()
        self._done(GONE)

    def data_received(self, data: bytes) -> None:
        self.read += data
        end = self.read.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.read[:end]).lower()
        _, named, length = head.partition(b"\r\ncontent-length: ")
        whole = (
            len(self.read) - end - 4 >= int(length.partition(b"\r\n")[0]) if named else self.read.endswith(b"0\r\n\r\n")
        )
        if whole:
            self.read.clear()
            self._done(int(head[9:12]))

    def _done(self, status: int) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting and not waiting.done():
            waiting.set_result(status)


async def closed(url: str, sends: Iterable[Send], connections: int) -> Load:
    """So many connections, each of which sends its next request when it has its reply."""
    waiting = iter(sends)
    latencies: list[float] = []
    outcomes: Counter[int] = Counter()

    async def work(caller: Caller) -> None:
        for send in waiting:
            began = time.perf_counter()
            outcome = await send(caller)
            outcomes[outcome] += 1
            if outcome:
                latencies.append(time.perf_counter() - began)
        caller.close()

    began = time.perf_counter()
    await asyncio.gather(*(work(Caller(url)) for _ in range(connections)))
    return Load(time.perf_counter() - began, latencies, 0.0, outcomes)


async def scheduled(url: str, sends: Iterable[Send], rate: float) -> Load:
    """So many requests a second, each at its time, whether or not those before it have their replies."""
    free: list[Caller] = []
    latencies: list[float] = []
    outcomes: Counter[int] = Counter()
    late = 0.0
    began = time.perf_counter()

    async def one(send: Send, due: float) -> None:
        nonlocal late
        await asyncio.sleep(due - time.perf_counter())
        late = max(late, time.perf_counter() - due)
        caller = free.pop() if free else Caller(url)
        outcome = await send(caller)
        outcomes[outcome] += 1
        if outcome:
            latencies.append(time.perf_counter() - due)
        free.append(caller)

    await asyncio.gather(*(one(send, began + 0.1 + i / rate) for i, send in enumerate(sends)))
    for caller in free:
        caller.close()
    return Load(time.perf_counter() - began, latencies, late, outcomes)


def asking(request: bytes) -> Send:
    """The same request again and again."""
    return lambda caller: caller.ask(request)
