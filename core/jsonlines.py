"""Rows of data files: JSON Lines, plain or gzipped, and JSON lists; and the values in a row, checked."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import ConfigError

Row = dict[str, Any]


def objects(path: Path) -> Iterator[tuple[int, Row]]:
    """The line number and the object of every line that is not blank. Raises ConfigError naming file and line."""
    for number, line in enumerate(contents(path).split("\n"), 1):  # splitlines() would also split at U+2028
        if line.strip():
            yield number, _object(_parsed(line, f"{path}:{number}"), f"{path}:{number}")


def listed(path: Path) -> Iterator[tuple[int, Row]]:
    """The same of a file that is one JSON list; other files are read line by line."""
    if ".jsonl" in path.suffixes:
        yield from objects(path)
        return
    found = _parsed(contents(path), str(path))
    if not isinstance(found, list):
        raise ConfigError(f"{path} is not a JSON list")
    for number, row in enumerate(found, 1):
        yield number, _object(row, f"{path}, entry {number},")


def readable(text: str) -> Iterator[Row]:
    """The objects in the lines of a text that somebody may still be writing; other lines are passed over."""
    for line in text.split("\n"):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


def contents(path: Path) -> str:
    """The text of a file, plain or gzipped. Raises ConfigError when it cannot be read."""
    try:
        if path.suffix == ".gz":
            return _unpacked(path).decode()
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no file {path}") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:  # a NUL in a path is a ValueError
        raise ConfigError(f"cannot read {path}: {error}") from error


_ALWAYS, _TIMES = 256 * 2**20, 100
"""What a packed file may hold: so many bytes, or so many times its own size. Text is packed tenfold, zeros a
thousandfold."""


def _unpacked(path: Path) -> bytes:
    most = max(_ALWAYS, _TIMES * path.stat().st_size)
    with gzip.open(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ConfigError(f"{path} unpacks to more than {most:,} bytes, {_TIMES} times its size: it is no data set")
    return content


def text(row: Row, key: str, where: str) -> str:
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


def texts(row: Row, key: str, where: str) -> tuple[str, ...]:
    """The texts of a list under a key; none where it is absent or null."""
    found = row.get(key)
    found = [] if found is None else found
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ConfigError(f"{where}: {key!r} is not a list of texts")
    return tuple(found)


def _parsed(source: str, where: str) -> Any:
    try:
        return json.loads(source)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} is not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ConfigError(f"{where} is not JSON that can be read: it is nested too deeply") from None
    except ValueError:  # Python's own limit
        raise ConfigError(f"{where} is not JSON that can be read: it holds a number of thousands of digits") from None


def _object(found: Any, where: str) -> Row:
    if not isinstance(found, dict):
        raise ConfigError(f"{where} is not a JSON object")
    return found
