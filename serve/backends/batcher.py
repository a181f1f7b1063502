"""Natural batching: while one batch is worked on, what comes in waits, and then goes together, at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from math import ceil
from typing import Generic, TypeVar

from ...core.errors import ModelError
from ..pipeline.errors import OVERLOADED, APIError

Item = TypeVar("Item")
Result = TypeVar("Result")
OnBatch = Callable[[int, float], None]
"""Told how many items went together and how many seconds they took, in the thread that did the work."""


def unmeasured(size: int, seconds: float) -> None:
    """Nobody wants to know."""


class Batcher(Generic[Item, Result]):
    """One thread that works on batches; to be used from one event loop.

    Nothing waits for company: an item that finds the thread idle goes with what came in the same turn of the loop.
    Nor does an item that cannot be worked on take its company along: a batch that fails is tried again in halves.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], list[Result]],
        most: int,
        max_queue: int,
        on_batch: OnBatch = unmeasured,
    ) -> None:
        """`most` items are worked on together, and `max_queue` wait at most; more are refused."""
        self._work = work
        self._most = most
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._queue: dict[asyncio.Future[Result], Item] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._runner: asyncio.Task[None] | None = None
        self._working = False
        self._closed = False
        self._seconds = 1.0

    @property
    def queued(self) -> int:
        """Items that wait."""
        return len(self._queue)

    async def submit(self, item: Item) -> Result:
        """The result of an item. Raises Refused when too many wait, and whatever the work on it raises.

        Whoever is cancelled while the item waits takes it along.
        """
        (result,) = await self.put([item])
        return result

    def put(self, items: Sequence[Item]) -> asyncio.Future[list[Result]]:
        """Queue several items, all or none; their results are to be awaited. Raises Refused at once, as `submit`."""
        if self._closed:
            raise ModelError("the model is being shut down")
        if self.queued + len(items) > self._max_queue + (0 if self._working else self._most):
            raise APIError(429, "too many requests wait for the model", code=OVERLOADED, retry_after=self._wait())
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Result]] = [loop.create_future() for _ in items]
        for future, item in zip(futures, items, strict=True):
            self._queue[future] = item
            future.add_done_callback(self._leave)
        if self._runner is None:
            self._runner = loop.create_task(self._run())
        return asyncio.gather(*futures)

    async def close(self) -> None:
        """Finish what has begun, fail what waits, and end the thread."""
        self._closed = True
        for future in list(self._queue):
            if not future.done():
                future.set_exception(ModelError("the model was shut down before it came to this request"))
        try:
            if self._runner is not None:
                await asyncio.wait([self._runner])
        finally:
            self._thread.shutdown(wait=False)

    def _wait(self) -> float:
        """Seconds that those who wait will take, if batches go on as the last one did."""
        return self._seconds * ceil((self.queued + 1) / self._most)

    def _leave(self, future: asyncio.Future[Result]) -> None:
        self._queue.pop(future, None)

    async def _run(self) -> None:
        try:
            while batch := self._next():
                await self._together(batch)
        finally:
            self._runner = None
            for future in list(self._queue):  # there are some only when the loop itself is ending
                future.cancel()

    def _next(self) -> dict[asyncio.Future[Result], Item]:
        """Those that have waited longest. One that was given up has left the queue, or is about to."""
        waiting = [future for future in self._queue if not future.done()][: self._most]
        return {future: self._queue.pop(future) for future in waiting}

    async def _together(self, batch: dict[asyncio.Future[Result], Item]) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def wake(_: Future[list[Result | Exception]]) -> None:
            with suppress(RuntimeError):  # the loop may have been closed meanwhile
                loop.call_soon_threadsafe(over.set)

        working = self._thread.submit(self._timed, list(batch.values()))
        self._working = True
        try:
            working.add_done_callback(wake)
            await over.wait()
            _settle(list(batch), working)
        finally:
            self._working = False
            for future in batch:
                future.cancel()  # whom the end of the loop left without a result

    def _timed(self, items: list[Item]) -> list[Result | Exception]:
        started = time.perf_counter()
        try:
            return self._each(items)
        finally:
            self._seconds = time.perf_counter() - started
            self._on_batch(len(items), self._seconds)

    def _each(self, items: list[Item]) -> list[Result | Exception]:
        """The result of every item, or what was raised instead of it."""
        try:
            results = self._work(items)
            if len(results) != len(items):
                raise RuntimeError(f"{len(items)} items went in, and {len(results)} results came out")
        except Exception as error:  # noqa: BLE001  # whatever it is, it may be about one item alone
            if len(items) == 1:
                return [error]
            half = len(items) // 2
            return [*self._each(items[:half]), *self._each(items[half:])]
        return [*results]


def _settle(waiting: Sequence[asyncio.Future[Result]], working: Future[list[Result | Exception]]) -> None:
    """Give everyone who still waits the result, or what was raised instead of it."""
    error = working.exception()
    results = [error] * len(waiting) if error else working.result()
    for future, result in zip(waiting, results, strict=True):
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(_raisable(result))
        else:
            future.set_result(result)


def _raisable(error: BaseException) -> Exception:
    """What an event loop survives: one that ends a thread, or an iteration, would end the loop or be refused by it."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = RuntimeError(f"the work on a batch ended by {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped
