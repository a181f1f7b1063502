"""Questions from a JSON Lines file: `question`, `answer`, optional `id`, `context`, `subquestions`, `solution`."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .question import Question


def read(path: Path) -> list[Question]:
    """Every question of a file. Raises ConfigError naming the file, and the line where one is malformed."""
    return [_question(row, f"{path}:{number}", f"{path.stem}/{number}") for number, row in objects(path)]


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The line number and the object of every line that is not blank."""
    try:
        lines = _text(path).split("\n")  # splitlines() would also split inside a text, at U+2028
    except FileNotFoundError:
        raise ConfigError(f"no file {path}") from None
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{path}:{number} is not JSON: {error.msg} at column {error.colno}") from None
            if not isinstance(row, dict):
                raise ConfigError(f"{path}:{number} is not a JSON object")
            yield number, row


def _text(path: Path) -> str:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            return stream.read()
    return path.read_text(encoding="utf-8")


def text(row: dict[str, Any], key: str, where: str) -> str:
    """The text (or number, as text) under a key that must be there."""
    value = row.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where} has no {key!r}" if value in (None, "") else f"{where}: {key!r} is not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{where}: {key!r} holds half a character (a lone surrogate)") from None
    return value


def _question(row: dict[str, Any], where: str, default_id: str) -> Question:
    subquestions = row.get("subquestions") or []
    if not isinstance(subquestions, list) or not all(isinstance(s, str) for s in subquestions):
        raise ConfigError(f"{where}: 'subquestions' is not a list of texts")
    return Question(
        id=default_id if row.get("id") is None else text(row, "id", where),
        text=text(row, "question", where),
        answer=text(row, "answer", where),
        context=text(row, "context", where) if row.get("context") else "",
        subquestions=tuple(subquestions),
        solution=text(row, "solution", where) if row.get("solution") else "",
    )
