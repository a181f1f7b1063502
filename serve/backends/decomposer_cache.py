"""A decomposer for Python callers: remembers what it has made, and may be used by several threads at once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from ...core.errors import ConfigError
from ...decompose.decomposition import Decomposer
from ...tasks.question import Question
from ..pipeline.sanitize import sanitize
from ..pipeline.types import CachedResult, DecomposeRequest, DecomposeResult

Make = Callable[[Sequence[DecomposeRequest]], list[DecomposeResult]]
_REMEMBERED = 10_000


class DecomposerCache:
    """Decomposes each question once."""

    def __init__(self, make: Make, most: int = _REMEMBERED) -> None:
        """`most` decompositions are remembered; the oldest is forgotten first."""
        self._make = make
        self._most = most
        self._lock = threading.Lock()
        self._there: OrderedDict[DecomposeRequest, DecomposeResult] = OrderedDict()

    def __call__(self, wanted: Sequence[DecomposeRequest]) -> list[CachedResult]:
        """The decompositions, in order; those that are not there yet are made together."""
        with self._lock:
            new = [each for each in dict.fromkeys(wanted) if each not in self._there]
            made = dict(zip(new, self._make(new), strict=True)) if new else {}
            self._there.update(made)
            found = [CachedResult(self._there[each], was_there=each not in made) for each in wanted]
            while len(self._there) > self._most:
                self._there.popitem(last=False)
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
