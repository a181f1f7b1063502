"""What models, servers and files say reaches a terminal as text."""

from __future__ import annotations

import ast
import io
import json
import logging
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given, settings
from hypothesis import strategies as st

from divcon import commands as calls
from divcon.cli import main
from divcon.core.errors import ConfigError, ModelError
from divcon.core.terminal import json_text, libraries_visible, visible
from divcon.serve.http.server import log_to_stderr
from divcon.studies.progress import Progress

from ..paths import ROOT

TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=40) | st.text(
    st.sampled_from(
        "ab[/]\n\t\r\x00\x07\x1b\x7f\x9b\x9d\xad\u061c\u200b\u200d\u2028\u2029\u202e\u2066\ufeff\U000e0041\ud800"
    )
)
TITLE = "\x1b]0;owned\x07\x9b31m\u202ereversed\u2066 [bold]x[/bold] :smile: \ud800\x7f\u2028\U000e0041\r"
"""Sets a title and a colour, turns what is read around, and hides some of it."""
ACTS = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def is_text(shown: str) -> bool:
    return all(unicodedata.category(c) not in ACTS for c in shown if c not in "\n\t")


@given(TEXTS)
@example(TITLE)
def test_nothing_that_acts_is_left_and_nothing_else_is_touched(text: str) -> None:
    shown = visible(text)
    assert is_text(shown) and visible(shown) == shown
    shown.encode()
    if is_text(text):
        assert shown == text


@given(TEXTS)
@example(TITLE)
def test_json_is_printable_ascii_and_the_data_are_unchanged(text: str) -> None:
    shown = json_text({"text": text, text: 1}, indent=1)
    assert shown.isascii() and is_text(shown)
    assert json.loads(shown) == {"text": text, text: 1}


# -- every command -----------------------------------------------------------------------------------------------------


def commands(group: click.Group = main, *words: str) -> list[list[str]]:
    """Every command with words that it takes."""
    found: list[list[str]] = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, *words, name)
        elif name != "serve":
            given = [p for p in command.params if isinstance(p, click.Argument) or p.required]
            asked = [w for p in given for w in ([p.opts[0], "x"] if isinstance(p, click.Option) else ["x"])]
            found.append([*words, name, *asked])
    return found


COMMANDS = commands()


class Says(SimpleNamespace):
    """A value whose text is what the command prints."""

    def __str__(self) -> str:
        return str(self.text)

    def as_json(self) -> dict[str, str]:
        return {"text": self.text}


def ran(words: list[str], act: Callable[..., object]) -> Result:
    """A command whose work is done by `act`."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in vars(calls).items():
            if callable(value) and getattr(value, "__module__", "") == calls.__name__:
                patched.setattr(calls, name, act)
        return CliRunner().invoke(main, words)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_prints_text(words: list[str]) -> None:
    @given(TEXTS)
    @example(TITLE)
    @settings(max_examples=10)
    def prints(text: str) -> None:
        outcome = ran(words, lambda *_, **__: Says(text=text))
        assert outcome.exit_code == 0 and is_text(outcome.output), outcome.output
        assert outcome.stdout == f"{visible(text)}\n"

    prints()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", [ConfigError, ModelError, OSError, click.UsageError])
def test_every_commands_error_is_text(words: list[str], kind: Callable[[str], Exception]) -> None:
    def fails(*_: object, **__: object) -> None:
        raise kind(TITLE)

    outcome = ran(words, fails)
    assert outcome.exit_code in (1, 2) and is_text(outcome.output)
    assert outcome.stderr.splitlines()[-1].endswith(visible(TITLE))


@pytest.mark.parametrize("words", [["compare", "r", "a", "b", "--json"], ["traces", "stats", "f", "--json"]])
def test_json_stays_valid_and_unchanged(words: list[str]) -> None:
    outcome = ran(words, lambda *_, **__: Says(text=TITLE))
    assert is_text(outcome.output) and json.loads(outcome.stdout) == {"text": TITLE}


@pytest.mark.parametrize("words", [[TITLE], ["data", TITLE], ["status", "run", f"--{TITLE}"], [f"--{TITLE}"]])
def test_what_a_user_mistypes_is_shown_as_text(words: list[str]) -> None:
    outcome = CliRunner().invoke(main, words)
    assert outcome.exit_code == 2 and is_text(outcome.output)


def test_a_question_that_types_for_the_user_is_shown(tmp_path: Path) -> None:
    title = TITLE.replace("\ud800", "")  # half a character is refused where it is read
    row = {"question": f"How many pears? {title}", "answer": f"7{title}", "id": title}
    (tmp_path / "q.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    outcome = CliRunner().invoke(main, ["data", "show", "jsonl", str(tmp_path / "q.jsonl")])
    assert outcome.exit_code == 0 and is_text(outcome.output) and "How many pears? \\x1b]0;owned" in outcome.stdout


# -- what runs beside them ---------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("out", [io.StringIO, Terminal])
def test_progress_is_text_and_no_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Callable[[], io.StringIO]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "400")
    shown = out()
    with Progress(tmp_path / "log.jsonl", shown).stage(f"solve {TITLE}") as stage:
        stage.note = TITLE
        stage(1, 2)
    text = shown.getvalue()
    assert "\x1b]" not in text and "[bold]x[/bold] :smile:" in text
    assert not {"\x9b", "\u202e", "\u2066", "\ud800", "\x7f", "\u2028", "\U000e0041"} & set(text)
    log = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    assert is_text(log) and json.loads(log.splitlines()[0])["stage"] == f"solve {TITLE}"


def test_what_libraries_warn_of_and_log_is_text(caplog: pytest.LogCaptureFixture) -> None:
    with libraries_visible():
        shown = warnings.formatwarning(TITLE, UserWarning, "file.py", 1)
        logging.getLogger("some.library").warning("of a name: %s", TITLE)
    assert "\\x1b]0;owned" in shown and is_text(shown)
    assert "\\x1b]0;owned" in caplog.text and is_text(caplog.text)


def test_a_servers_log_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("divcon.serve", "uvicorn.error"):  # as they were before, after the test
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "propagate", True)
        monkeypatch.setattr(logger, "level", logger.level)
    log_to_stderr()
    (handler,) = logging.getLogger("divcon.serve").handlers
    facts: Any = ({"status": 200, "model": TITLE},)
    for args, message in ((facts, "request"), ((), TITLE)):
        record = logging.LogRecord("divcon.serve", logging.INFO, "", 0, message, args, None)
        line = handler.format(record)
        assert is_text(line) and TITLE in json.loads(line).values()


# -- the law -----------------------------------------------------------------------------------------------------------

FOLDERS = ("configs", "prompts", "tasks", "lm", "decompose", "solve", "distill", "eval", "serve", "divcon")


def test_nothing_prints_but_the_terminals_module() -> None:
    """`rich` draws the bar of a run's progress, from text that is visible."""
    for file in (file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")):
        where = file.relative_to(ROOT).as_posix()
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            match node:
                case (
                    ast.Call(func=ast.Name(id="print"))
                    | ast.Attribute(value=ast.Name(id="click"), attr="echo" | "secho")
                ):
                    assert where == "core/terminal.py", f"{where}:{node.lineno} prints by itself"
                case ast.ImportFrom(module=str(module)) if module.partition(".")[0] == "rich":
                    assert where == "studies/progress.py", f"{where}:{node.lineno} draws by itself"
                case ast.Attribute(
                    value=ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr"), attr="write"
                ):
                    raise AssertionError(f"{where}:{node.lineno} writes to the terminal")
