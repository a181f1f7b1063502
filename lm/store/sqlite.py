"""Opening an SQLite file that several processes write."""

from __future__ import annotations

import sqlite3
import time


def write_ahead(db: sqlite3.Connection, wait: float) -> None:
    """Switch to WAL. SQLite does not wait for its lock here, whatever the timeout: it refuses at once."""
    patience = time.monotonic() + wait
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > patience:
                raise
            time.sleep(0.01)
