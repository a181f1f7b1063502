"""Connections to SQLite files that are left open, found on any version of Python.

Python 3.13 warns of one that is closed by the garbage collector; earlier versions close it in silence.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest

_FRAMES = 8
"""That say where a connection was opened."""


@contextmanager
def all_closed() -> Iterator[None]:
    """Fail when a connection that was opened within is still open at the end."""
    opened: list[tuple[sqlite3.Connection, str]] = []
    connect = sqlite3.connect

    def recording(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        opened.append((connection, _where(sys._getframe(1))))
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", recording)
        yield
    left = [(connection, where) for connection, where in opened if is_open(connection)]
    for connection, _ in left:
        with suppress(sqlite3.ProgrammingError):  # it belongs to another thread
            connection.close()
    assert not left, "unclosed database, opened at " + "; and at ".join(where for _, where in left)


def is_open(connection: sqlite3.Connection) -> bool:
    """Whether nobody has closed it; may be asked in any thread."""
    try:
        connection.total_changes  # noqa: B018  # raises when it is closed
    except sqlite3.ProgrammingError:
        return False
    return True


def _where(frame: FrameType | None) -> str:
    lines: list[str] = []
    while frame is not None and len(lines) < _FRAMES:
        lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(lines)
