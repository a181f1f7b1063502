"""What a person sees while a run works."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from divcon.lm.engine import EngineStatus
from divcon.lm.model import ModelStatus
from divcon.lm.recorder import Spend
from divcon.studies import progress
from divcon.studies.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_without_a_terminal(tmp_path: Path) -> None:
    out = io.StringIO()
    with Progress(tmp_path / "log.jsonl", out).stage("solve") as advance:
        advance(3, 10)
        advance(10, 10)
    assert out.getvalue().startswith("solve: 10 of 10, 3 kept from before, ")
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["event"] for event in events] == ["start", "end"] and events[0]["stage"] == "solve"


def test_a_live_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with Progress(out=out).stage("solve") as advance:
        advance(10, 10)
    assert "solve" in out.getvalue() and "10/10" in out.getvalue() and "\x1b[" in out.getvalue()


def test_a_stage_that_fails_is_not_logged_as_ended(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with pytest.raises(RuntimeError), Progress(log, io.StringIO()).stage("solve"):
        raise RuntimeError
    assert [json.loads(line)["event"] for line in log.read_text(encoding="utf-8").splitlines()] == ["start"]


def test_a_stage_that_buys_tells_what_it_spends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LOGGED", 0.0)
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    spent = iter([Spend(1.0, 0.0), Spend(1.5, 0.25), Spend(2.0, 0.0), Spend(2.0, 0.0)])
    out = io.StringIO()
    watch = lambda: ModelStatus(next(spent), EngineStatus(3, {"status 429": 2}))  # noqa: E731
    with Progress(tmp_path / "log.jsonl", out).stage("collect", watch) as advance:
        advance(0, 10, 0)
        advance(5, 10, 500)
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["event"] for event in events] == ["start", "progress", "progress", "end"]
    assert events[2]["dollars"] == [2.0, 2.0] and events[2]["projected"] == 3.0
    assert events[1]["retries"] == {"status 429": 2} and events[1]["at_once"] == 3
    assert "$2.0000, about $3.0000 in the end, 3 at once, status 429: 2 times" in out.getvalue()
