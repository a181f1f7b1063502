"""Decompositions that were made before: one memory of them, for an event loop and for threads."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

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


class DecompositionCache:
    """Decompositions that were made, by who wanted them; for several threads at once."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        """`most` is how many are remembered; the one not asked for longest is forgotten first."""
        self._most = most
        self._lock = threading.Lock()
        self._there: OrderedDict[_Key, DecomposeResult] = OrderedDict()

    def __len__(self) -> int:
        return len(self._there)

    def get(self, wanted: DecomposeRequest, caller: str = "") -> DecomposeResult | None:
        """What was made for a caller; None where that is not remembered."""
        key = (caller, wanted)
        with self._lock:
            if key in self._there:
                self._there.move_to_end(key)
            return self._there.get(key)

    def keep(self, wanted: DecomposeRequest, made: DecomposeResult, caller: str = "") -> None:
        """Remember what was made for a caller."""
        with self._lock:
            self._there[caller, wanted] = made
            while len(self._there) > self._most:
                self._there.popitem(last=False)


class BatchedDecomposer:
    """For an event loop: what is wanted at once is made in batches, and each once for all who wait for it."""

    def __init__(self, batcher: Batcher[DecomposeRequest, DecomposeResult], most: int) -> None:
        """`most` decompositions are remembered."""
        self._batcher = batcher
        self._cache = DecompositionCache(most)
        self._coming: dict[_Key, asyncio.Task[DecomposeResult]] = {}

    def __len__(self) -> int:
        """Decompositions that are remembered."""
        return len(self._cache)

    async def __call__(self, wanted: DecomposeRequest, seconds: float, caller: str = "") -> CachedResult:
        """Raises TimeoutError after so many seconds, and whatever the decomposer does; others may still wait for it."""
        if (made := self._cache.get(wanted, caller)) is not None:
            return CachedResult(made, was_there=True)
        key = (caller, wanted)
        task = self._coming.get(key)
        is_coming = task is not None
        if task is None:
            task = self._coming[key] = asyncio.create_task(self._batcher.submit(wanted))
            task.add_done_callback(lambda done: self._came(key, done))
        return CachedResult(await asyncio.wait_for(asyncio.shield(task), seconds), was_there=is_coming)

    def _came(self, key: _Key, done: asyncio.Task[DecomposeResult]) -> None:
        del self._coming[key]
        if not done.cancelled() and done.exception() is None:
            caller, wanted = key
            self._cache.keep(wanted, done.result(), caller)


class BlockingDecomposer:
    """For threads: what one call wants is made together, one call at a time."""

    def __init__(self, make: Make, most: int = _REMEMBERED) -> None:
        """`most` decompositions are remembered."""
        self._make = make
        self._cache = DecompositionCache(most)
        self._at_work = threading.Lock()

    def __call__(self, wanted: Sequence[DecomposeRequest]) -> list[CachedResult]:
        """The decompositions, in order; of equal ones the first was made, and the others were there.

        Raises whatever the decomposer does, and remembers nothing of that call.
        """
        with self._at_work:
            there = {each: one for each in dict.fromkeys(wanted) if (one := self._cache.get(each)) is not None}
            new = [each for each in dict.fromkeys(wanted) if each not in there]
            made = dict(zip(new, self._make(new), strict=True)) if new else {}
            for each, one in made.items():
                self._cache.keep(each, one)
        found = []
        for each in wanted:
            found.append(CachedResult(there[each] if each in there else made[each], was_there=each in there))
            there.setdefault(each, found[-1].made)
        return found


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
