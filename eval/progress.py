"""Showing how far a run is: a live bar on a terminal, plain lines otherwise, and every step in `log.jsonl`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from ..lm.model import Advance

_EVERY = 10.0
"""Seconds between two plain lines of one stage."""


class Progress:
    """Tells a person, and a log file, what a run is doing."""

    def __init__(self, log: Path | None = None, out: TextIO | None = None) -> None:
        """Without `log` nothing is written; `out` is standard error."""
        self._log = log
        self._out = out or sys.stderr

    def event(self, name: str, **facts: object) -> None:
        """Add a line to the log."""
        if self._log is not None:
            line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": name, **facts}
            with self._log.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line, ensure_ascii=False) + "\n")

    def say(self, text: str) -> None:
        """Tell the person something that is no progress."""
        print(text, file=self._out, flush=True)  # this is the one place that prints

    @contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """A part of the run: yields what its worker calls with (done, all)."""
        started = time.perf_counter()
        self.event("start", stage=name)
        with self._bar(name) if self._out.isatty() else self._lines(name) as advance:
            yield advance
        self.event("end", stage=name, seconds=round(time.perf_counter() - started, 3))

    @contextmanager
    def _bar(self, name: str) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn())
        with Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(file=self._out)) as bars:
            task = bars.add_task(name, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)

    @contextmanager
    def _lines(self, name: str) -> Iterator[Advance]:
        started = last = time.perf_counter()
        first = state = (0, 0)
        seen = False

        def advance(done: int, total: int) -> None:
            nonlocal last, first, state, seen
            if not seen:
                first, seen = (done, total), True
            state = (done, total)
            if time.perf_counter() - last >= _EVERY:
                last = time.perf_counter()
                self.say(f"{name}: {done} of {total}")

        yield advance
        done, total = state
        kept = f", {first[0]} kept from before" if first[0] else ""
        self.say(f"{name}: {done} of {total}{kept}, {time.perf_counter() - started:.1f} s")
