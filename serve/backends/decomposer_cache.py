"""Decompositions that were made before, or are being made: each is made once for all who ask for it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from ...core.errors import ConfigError
from ...decompose.decomposition import Decomposer
from ...tasks.question import Question
from ..pipeline.sanitize import sanitize
from ..pipeline.types import CachedResult, DecomposeRequest, DecomposeResult
from .batcher import Batcher

Make = Callable[[Sequence[DecomposeRequest]], list[DecomposeResult]]
_REMEMBERED = 10_000
_Key = tuple[str, DecomposeRequest]
"""A caller, and what they want: that a question was asked before is not for others to know."""


class _Claim(NamedTuple):
    """What somebody who wants a decomposition waits for."""

    coming: Future[DecomposeResult]
    is_new: bool
    """Whether whoever claimed it is to make it."""


class DecompositionCache:
    """What was made, and what is being made; for several threads at once."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        """`most` is how many are remembered; the one not asked for longest is forgotten first."""
        self._most = most
        self._lock = threading.Lock()
        self._there: OrderedDict[_Key, Future[DecomposeResult]] = OrderedDict()
        self._coming: dict[_Key, Future[DecomposeResult]] = {}

    def __len__(self) -> int:
        return len(self._there)

    def claim(self, wanted: DecomposeRequest, caller: str = "") -> _Claim:
        """A decomposition, or the task of making it: then its future is to be settled, whatever comes of it."""
        key = (caller, wanted)
        with self._lock:
            if (there := self._there.get(key)) is not None:
                self._there.move_to_end(key)
                return _Claim(there, is_new=False)
            if (coming := self._coming.get(key)) is not None:
                return _Claim(coming, is_new=False)
            new = self._coming[key] = Future()
        new.add_done_callback(lambda done: self._settled(key, done))
        return _Claim(new, is_new=True)

    def _settled(self, key: _Key, done: Future[DecomposeResult]) -> None:
        with self._lock:
            del self._coming[key]
            if done.cancelled() or done.exception() is not None:
                return
            self._there[key] = done
            while len(self._there) > self._most:
                self._there.popitem(last=False)


class BatchedDecomposer:
    """For an event loop: what is wanted at once is made in batches."""

    def __init__(self, batcher: Batcher[DecomposeRequest, DecomposeResult], most: int) -> None:
        """`most` decompositions are remembered."""
        self._batcher = batcher
        self._cache = DecompositionCache(most)
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Decompositions that are remembered."""
        return len(self._cache)

    async def __call__(self, wanted: DecomposeRequest, seconds: float, caller: str = "") -> CachedResult:
        """Raises TimeoutError after so many seconds, and whatever the decomposer does; others may still wait for it."""
        coming, is_new = self._cache.claim(wanted, caller)
        if coming.done() and not is_new:
            return CachedResult(coming.result(), was_there=True)
        if is_new:
            task = asyncio.create_task(self._make(wanted, coming))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        made = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(coming)), seconds)
        return CachedResult(made, was_there=not is_new)

    async def _make(self, wanted: DecomposeRequest, coming: Future[DecomposeResult]) -> None:
        try:
            coming.set_result(await self._batcher.submit(wanted))
        except asyncio.CancelledError:
            coming.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # for whoever waits
            coming.set_exception(error)


class BlockingDecomposer:
    """For threads: what one call wants is made together, one call at a time."""

    def __init__(self, make: Make, most: int = _REMEMBERED) -> None:
        """`most` decompositions are remembered."""
        self._make = make
        self._cache = DecompositionCache(most)
        self._at_work = threading.Lock()

    def __call__(self, wanted: Sequence[DecomposeRequest]) -> list[CachedResult]:
        """The decompositions, in order. Raises whatever the decomposer does."""
        claims = {each: self._cache.claim(each) for each in dict.fromkeys(wanted)}
        new = {each: claim.coming for each, claim in claims.items() if claim.is_new}
        if new:
            self._settle(new)
        return [CachedResult(claims[each].coming.result(), was_there=not claims[each].is_new) for each in wanted]

    def _settle(self, new: dict[DecomposeRequest, Future[DecomposeResult]]) -> None:
        try:
            with self._at_work:
                made = self._make(list(new))
            for coming, one in zip(new.values(), made, strict=True):
                coming.set_result(one)
        except BaseException as error:
            for coming in new.values():
                if not coming.done():
                    coming.set_exception(error)
            raise


def decomposer_of(decomposer: Decomposer) -> Make:
    """A decomposer of one's own, as one that is opened from a directory."""

    def make(wanted: Sequence[DecomposeRequest]) -> list[DecomposeResult]:
        if any(each.history is not None for each in wanted):
            raise ConfigError("a decomposer of your own asks all its sub-questions at once: mode cannot be interactive")
        made = decomposer([Question("asked", each.question, answer="") for each in wanted])
        return [
            DecomposeResult(sanitize(one.subquestions, most=each.limit), one.kind, _id(each), one.usage)
            for each, one in zip(wanted, made, strict=True)
        ]

    return make


def _id(wanted: DecomposeRequest) -> str:
    return f"dec-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:24]}"
