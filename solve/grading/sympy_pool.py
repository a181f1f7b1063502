"""Whether two expressions are equal, by computer algebra: processes that may be killed, and what they once found out.

A check costs milliseconds or, from a hostile expression, everything; its outcome never changes. So it runs in a
process with hard limits (`checker`), on all processors, and is remembered: in this process always, in a store when
there is one.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from ...core.errors import ModelError
from . import sympy_worker

Pair = tuple[str, str]

_CHUNK = 32
"""Pairs a request. Golds repeat within one, and each is read once."""
_FAREWELL = 0.5
"""Seconds."""
_RULES = 3
"""Raise it when `checker` comes to other verdicts."""


class Memo(Protocol):
    """Where checks are remembered."""

    def checked(self, keys: Sequence[str]) -> dict[str, bool | None]: ...
    def keep_checked(self, found: Mapping[str, bool | None]) -> None: ...


class EquivalencePool:
    """Compares expressions; started when first asked, stopped with the interpreter."""

    def __init__(self, workers: int | None = None) -> None:
        self._idle = [_Worker() for _ in range(workers or _processors())]
        self._known: dict[Pair, bool | None] = {}
        self._memos: list[Memo] = []
        self._lock = threading.Lock()

    def __call__(self, pairs: Sequence[Pair]) -> list[bool | None]:
        """Whether the two of each pair are equal; None where the check hit its limit. Symmetric."""
        with self._lock:
            asked = [(a, b) if a <= b else (b, a) for a, b in pairs]
            missing = [pair for pair in dict.fromkeys(asked) if pair not in self._known]
            if missing:
                self._known |= self._recalled(missing)
            return [self._known[pair] for pair in asked]

    @contextmanager
    def remembering(self, memo: Memo) -> Iterator[None]:
        """Within this block, look checks up in a store, and keep them there."""
        self._memos.append(memo)
        try:
            yield
        finally:
            self._memos.remove(memo)

    def forget(self) -> None:
        """Drop what this process remembers; stores keep what they have."""
        self._known.clear()

    def abandon(self) -> None:
        """After a fork: the processes are the parent's, and this one will start its own."""
        for worker in self._idle:
            worker.abandon()
        self._lock = threading.Lock()
        self._memos = []

    def close(self) -> None:
        """End the processes; the next check starts them again."""
        for worker in self._idle:
            worker.close()

    def _recalled(self, pairs: Sequence[Pair]) -> dict[Pair, bool | None]:
        if not self._memos:
            return self._checked(pairs)
        memo = self._memos[-1]
        keys = {pair: _key(pair) for pair in pairs}
        kept = memo.checked(list(keys.values()))
        found = {pair: kept[key] for pair, key in keys.items() if key in kept}
        fresh = self._checked([pair for pair in pairs if pair not in found])
        memo.keep_checked({keys[pair]: same for pair, same in fresh.items()})
        return found | fresh

    def _checked(self, pairs: Sequence[Pair]) -> dict[Pair, bool | None]:
        """Ask the workers, each with a chunk at a time."""
        if not pairs:
            return {}
        chunks = [pairs[i : i + _CHUNK] for i in range(0, len(pairs), _CHUNK)]
        with ThreadPoolExecutor(len(self._idle)) as threads:
            answered = threads.map(self._ask, chunks)
            return {
                pair: same
                for chunk, found in zip(chunks, answered, strict=True)
                for pair, same in zip(chunk, found, strict=True)
            }

    def _ask(self, chunk: Sequence[Pair]) -> list[bool | None]:
        worker = self._idle.pop()
        try:
            return worker.ask(chunk)
        finally:
            self._idle.append(worker)


class _Worker:
    """A checker process, started when it is first needed and again when it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._requests = 0

    def ask(self, pairs: Sequence[Pair]) -> list[bool | None]:
        """The outcome of every pair. Raises ModelError when the process cannot work at all."""
        found: list[bool | None] = []
        ended = 0
        while len(found) < len(pairs):
            was_read, outcomes = self._exchange(pairs[len(found) :])
            found += outcomes
            ended = 0 if outcomes else ended + 1
            if not outcomes:
                self.close()
            if ended > 1 and not was_read:
                raise ModelError("the process that compares answers ends at once; is math-verify installed?")
            if ended > 1:
                found.append(None)  # it takes the process with it, whatever is done
                ended = 0
        return found

    def _exchange(self, pairs: Sequence[Pair]) -> tuple[bool, list[bool | None]]:
        """Whether the request was read, and the outcomes up to the first pair that somebody died of."""
        self._requests += 1
        was_read = False
        found: list[bool | None] = []
        process = self._running()
        assert process.stdin and process.stdout
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps([self._requests, pairs]).encode() + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                reply = json.loads(line)
                if reply is None and was_read:
                    found.append(None)
                    break
                if reply is None or reply[0] != self._requests:
                    continue  # about something that was asked before
                was_read = True
                found += reply[1:]
                if len(found) == len(pairs):
                    break
        return was_read, found

    def close(self) -> None:
        """End the process: it ends with its input, unless it is computing; that is not waited for."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with suppress(subprocess.TimeoutExpired, BrokenPipeError):
            process.communicate(timeout=_FAREWELL)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def abandon(self) -> None:
        """Close this side's ends; the process belongs to somebody else."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.returncode = 0  # it is not ours to wait for
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # -P: beside the script lie modules that are not meant for it. A session of its own: an interrupt is not
            # meant for it either, and its children can be ended with it.
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(Path(sympy_worker.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self._process


def _processors() -> int:
    """How many this process may use; more than eight would spend memory on little."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(8, allowed or 1)


def _key(pair: Pair) -> str:
    return hashlib.sha256(json.dumps([_method(), *pair]).encode()).hexdigest()


@cache
def _method() -> str:
    """What a verdict depends on beside the pair."""
    libraries = [f"{name} {version(name)}" for name in ("math-verify", "latex2sympy2_extended", "sympy")]
    return f"{', '.join(libraries)}, rules {_RULES}, {sympy_worker.SECONDS} s"


EQUIVALENCE = EquivalencePool()
"""What all graders share."""
atexit.register(EQUIVALENCE.close)
os.register_at_fork(after_in_child=EQUIVALENCE.abandon)
