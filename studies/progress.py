"""Showing how far a run is: a live panel on a terminal, plain lines otherwise, and every step in `log.jsonl`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from ..core.terminal import echo, json_text, visible
from ..lm.model import ModelStatus

_EVERY = 10.0
"""Seconds between two plain lines of one stage."""
_LOGGED = 2.0
"""Seconds between two lines of one stage in the log, and two looks at what was spent."""

Watch = Callable[[], ModelStatus]


def _nothing() -> None:
    """Before a stage whose beginning concerns nobody."""


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
                out.write(json_text(line) + "\n")

    def say(self, text: str) -> None:
        """Tell the person something that is no progress."""
        echo(text, file=self._out)

    @contextmanager
    def stage(self, name: str, watch: Watch | None = None, begin: Callable[[], None] = _nothing) -> Iterator[Stage]:
        """A part of the run: yields what its worker calls as work is done; `watch` tells how its buying goes.

        `begin` is called once, before the first work that is not there already.
        """
        state = Stage(name, watch, self, begin)
        self.event("start", stage=name)
        with self._bar(state) if self._out.isatty() else self._lines(state) as shown:
            state.show = shown
            yield state
        self.event("end", stage=name, **state.facts(), seconds=round(state.seconds, 3))

    @contextmanager
    def _bar(self, state: Stage) -> Iterator[Callable[[], None]]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description:<36}", markup=False), BarColumn(bar_width=24), MofNCompleteColumn())
        ends = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[details]}", markup=False))
        with Bars(*columns, *ends, console=Console(file=self._out)) as bars:
            task = bars.add_task(visible(state.name), total=None, details="")
            yield lambda: bars.update(
                task,
                description=visible(state.title),
                completed=state.done,
                total=state.wanted,
                details=visible(state.details()),
            )

    @contextmanager
    def _lines(self, state: Stage) -> Iterator[Callable[[], None]]:
        last = time.perf_counter()

        def show() -> None:
            nonlocal last
            if time.perf_counter() - last >= _EVERY:
                last = time.perf_counter()
                said = [f"{state.title}: {state.done} of {state.wanted}", state.details(), state.left()]
                self.say(", ".join(filter(None, said)))

        yield show
        kept = f", {state.kept} kept from before" if state.kept else ""
        self.say(f"{state.title}: {state.done} of {state.wanted}{kept}, {state.seconds:.1f} s")


@dataclass
class Stage:
    """How far one stage is."""

    name: str
    watch: Watch | None
    progress: Progress
    begin: Callable[[], None] = _nothing
    show: Callable[[], None] = lambda: None
    done: int = 0
    wanted: int = 0
    kept: int = 0
    """Done before the stage began."""
    tokens: int = 0
    """Generated in it."""
    note: str = ""
    """What it is like at the moment, in its own words."""
    decomposer: str = ""
    """Whose decompositions are solved in it."""

    def __post_init__(self) -> None:
        self._started = self._logged = time.perf_counter()
        self._seen = self._begun = False
        self._status = self._before = self.watch() if self.watch else None

    def __call__(self, finished: int, wanted: int, tokens: int = 0) -> None:
        self.done, self.wanted, self.tokens = finished, wanted, tokens
        if not self._seen:
            self.kept, self._seen = finished, True
        if finished < wanted and not self._begun:
            self._begun = True
            self.begin()
        if time.perf_counter() - self._logged >= _LOGGED:
            self._logged = time.perf_counter()
            self._status = self.watch() if self.watch else None
            self.progress.event("progress", stage=self.name, **self.facts())
        self.show()

    @property
    def title(self) -> str:
        return f"{self.name}, decomposer {self.decomposer}" if self.decomposer else self.name

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def left(self) -> str:
        """How long the rest takes, if it goes on as before; empty where that cannot be told."""
        fresh = self.done - self.kept
        return f"about {duration(self.seconds / fresh * (self.wanted - self.done))} left" if fresh > 0 else ""

    @property
    def projected(self) -> float | None:
        """Dollars at the end of the stage, if the rest costs what this part did."""
        if not (self._status and self._before) or self.done <= self.kept:
            return None
        each = (self._status.spend.known - self._before.spend.known) / (self.done - self.kept)
        return self._status.spend.known + each * (self.wanted - self.done)

    def facts(self) -> dict[str, object]:
        """What the log says."""
        facts: dict[str, object] = {"done": self.done, "wanted": self.wanted, "kept": self.kept, "tokens": self.tokens}
        if self.decomposer:
            facts["decomposer"] = self.decomposer
        if self._status:
            spend, status = self._status
            facts |= {"dollars": [spend.known, spend.most], "projected": self.projected}
            facts |= {"at_once": status.at_once, "retries": dict(status.retries)}
        return facts

    def details(self) -> str:
        """What a person reads beside how far it is."""
        parts = [self.note] if self.note else []
        parts += [f"{self.tokens / self.seconds:,.0f} tokens/s"] if self.tokens else []
        if self._status and self._status.spend.most:
            parts.append(str(self._status.spend))
            parts += [f"about ${self.projected:.4f} in the end"] if self.projected is not None else []
        if self._status and self._status.status.at_once:
            parts.append(f"{self._status.status.at_once} at once")
        if self._status:
            parts += [f"{cause}: {count} times" for cause, count in self._status.status.retries.items()]
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """In the units that a person waits in."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
