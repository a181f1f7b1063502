"""What a person sees while a run works."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from divcon.eval.progress import Progress


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
