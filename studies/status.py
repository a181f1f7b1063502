"""How a run stands and what it has spent, read from its directory; the run may be at work meanwhile."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from ..core import documents
from ..core.errors import ConfigError
from ..core.jsonlines import readable
from ..eval.run_dir import RunDirectory
from ..lm.recorder import Spend
from ..lm.store.ledger import ModelSpend
from ..lm.store.store import Store


@dataclass(frozen=True)
class Status:
    """What the log of a run says."""

    running: bool
    """Whether a process is at work in the directory."""
    stages: tuple[dict[str, Any], ...]
    """The last that was said of each stage, in the order in which they began."""

    def __str__(self) -> str:
        lines = ["at work" if self.running else "nobody is at work"]
        return "\n".join([*lines, *map(_line, self.stages)])


def status(run: Path) -> Status:
    """Raises ConfigError when there is no such run."""
    RunDirectory(run).check()
    stages: dict[str, dict[str, Any]] = {}
    log = RunDirectory(run).log
    for line in readable(log.read_text(encoding="utf-8", errors="replace")) if log.is_file() else ():
        if event := _event(line):
            stages[event["stage"]] = {**stages.get(event["stage"], {}), **event}
    return Status(_is_locked(RunDirectory(run).lock), tuple(stages.values()))


class _Event(documents.Shape):
    """What is read of a line of the log."""

    stage: str
    event: str
    done: int = 0
    wanted: int = 0
    dollars: tuple[float, float] | None = Field(default=None, strict=False)
    projected: float | None = None
    retries: dict[str, int] = Field(default_factory=dict)
    seconds: float = 0.0


def _event(line: dict[str, Any]) -> dict[str, Any] | None:
    """A line about a stage; None for another, and for one that is damaged."""
    if "stage" not in line:
        return None
    try:
        documents.checked(_Event, line, "log.jsonl")
    except ConfigError:
        return None
    return line


@dataclass(frozen=True)
class RunCost:
    """What a run has spent."""

    spend: Spend
    accounts: tuple[ModelSpend, ...]
    outcomes: dict[str, int]
    """How attempts ended."""

    def __str__(self) -> str:
        lines = [f"spent {self.spend}"]
        for a in self.accounts:
            counts = [f"{a.attempts:,} attempts", f"{a.stored:,} stored", f"{a.failed:,} failed"]
            counts += [f"{a.unknown:,} of unknown cost"] if a.unknown else []
            counts += [f"{a.unpriced:,} without a price"] if a.unpriced else []
            lines.append(f"{a.model or 'models of your own'}: {', '.join(counts)}; {a.spend}")
        failures = [f"{count:,} x {outcome}" for outcome, count in self.outcomes.items() if outcome != "stored"]
        return "\n".join([*lines, *([f"failures: {', '.join(failures)}"] if failures else [])])


def cost(run: Path) -> RunCost:
    """Raises ConfigError when there is no such run, or it has bought nothing. Nothing need be writable."""
    path = RunDirectory(run).study.store or RunDirectory(run).store
    if not path.is_file():
        raise ConfigError(f"{run} has asked for nothing yet")
    with Store.reading(path) as store:
        return RunCost(store.spend(), tuple(store.ledger.accounts()), store.ledger.outcomes())


def _is_locked(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _line(stage: dict[str, Any]) -> str:
    state = {"start": "begun", "progress": "under way", "end": "done"}.get(stage["event"], stage["event"])
    parts = [f"{stage['stage']}: {state}"]
    if stage.get("wanted"):
        parts.append(f"{stage.get('done', 0):,} of {stage['wanted']:,}")
    if stage.get("dollars") and stage["dollars"][1]:
        parts.append(str(Spend(stage["dollars"][0], stage["dollars"][1] - stage["dollars"][0])))
        parts += [f"about ${stage['projected']:.4f} in the end"] if stage.get("projected") is not None else []
    parts += [f"{cause}: {count} times" for cause, count in stage.get("retries", {}).items()]
    parts += [f"{stage.get('seconds', 0):.1f} s"] if stage["event"] == "end" else []
    return ", ".join(parts)
