"""JSON Lines, plain or packed, and the values in a row of data, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import packed
from .errors import ConfigError

Row = dict[str, Any]


def objects(path: Path) -> Iterator[tuple[int, Row]]:
    """The line number and the object of every line that is not blank. Raises ConfigError naming file and line."""
    for number, line in enumerate(packed.text(path).split("\n"), 1):  # splitlines() would also split at U+2028
        if line.strip():
            yield number, as_object(parsed(line, f"{path}:{number}"), f"{path}:{number}")


def readable(text: str) -> Iterator[Row]:
    """The objects in the lines of a text that somebody may still be writing; other lines are passed over."""
    for line in text.split("\n"):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


def text(row: Row, key: str, where: str) -> str:
    """The text under a key that must be there; a number as JSON prints it, `true` and `false` likewise."""
    value = row.get(key)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: {key!r} is {value}, which is no number")
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int | float):
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


def parsed(source: str, where: str) -> Any:
    try:
        return json.loads(source)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} is not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ConfigError(f"{where} is not JSON that can be read: it is nested too deeply") from None
    except ValueError:  # Python's own limit
        raise ConfigError(f"{where} is not JSON that can be read: it holds a number of thousands of digits") from None


def as_object(found: Any, where: str) -> Row:
    if not isinstance(found, dict):
        raise ConfigError(f"{where} is not a JSON object")
    return found
