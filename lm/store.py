"""Everything bought is kept: one SQLite file, a row a sample, and a row an attempt written before it is sent.

A sample is committed before it is reported, together with the attempt that made it, so a killed run loses nothing it
has paid for, and the next one buys only what is missing. An attempt without an outcome was in flight when the process
died: nobody knows whether it was billed.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from ..tasks.errors import ConfigError
from .completion import Completion, Draw, Request, Usage

FORMAT = 2
"""The version of the tables below. 1 had no table `checked`, and gets it; other formats are refused."""

_TABLES = """
CREATE TABLE request (
  id    INTEGER PRIMARY KEY,
  body  TEXT NOT NULL UNIQUE            -- JSON: messages and sampling parameters, as asked
);
CREATE TABLE sample (
  key                TEXT PRIMARY KEY,
  request            INTEGER NOT NULL REFERENCES request,
  text               TEXT NOT NULL,
  finish             TEXT NOT NULL,
  prompt_tokens      INTEGER NOT NULL,
  completion_tokens  INTEGER NOT NULL,
  cached_tokens      INTEGER NOT NULL,
  seconds            REAL NOT NULL,
  logprobs           TEXT               -- JSON array, or NULL
) WITHOUT ROWID;
CREATE TABLE attempt (
  id        INTEGER PRIMARY KEY,
  key       TEXT NOT NULL,
  started   REAL NOT NULL,              -- Unix time
  finished  REAL,
  outcome   TEXT                        -- 'stored', or why it failed; NULL while nobody knows
);
CREATE INDEX attempt_key ON attempt (key);
"""
_CHECKED = """
CREATE TABLE checked (
  key   TEXT PRIMARY KEY,
  same  INTEGER                         -- whether two expressions are equal; NULL when the check hit its limit
) WITHOUT ROWID;
"""

_KEYS_A_QUERY = 500


class Store:
    """An open store. One process writes to it at a time, a thread after the other; others may read meanwhile (WAL)."""

    def __init__(self, path: Path | str = ":memory:") -> None:
        """Open, or create, the store at `path`. Raises ConfigError when it cannot be opened or is something else."""
        try:
            if path != ":memory:":
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._create()
        except (sqlite3.DatabaseError, OSError) as error:
            raise ConfigError(f"cannot open the store {path}: {error}") from error

    def _create(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == FORMAT:
            return
        if version == 1:
            self._db.executescript(f"BEGIN; {_CHECKED} PRAGMA user_version={FORMAT}; COMMIT;")
            return
        if version or self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise sqlite3.DatabaseError(f"it has format {version}, this divcon writes format {FORMAT}")
        self._db.executescript(f"BEGIN; {_TABLES} {_CHECKED} PRAGMA user_version={FORMAT}; COMMIT;")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def __len__(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM sample").fetchone()[0]
        return count

    def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        """The samples that are here, by key."""
        found: dict[str, Completion] = {}
        for some in _portions(keys):
            rows = self._db.execute(
                "SELECT key, text, finish, prompt_tokens, completion_tokens, cached_tokens, seconds, logprobs "
                f"FROM sample WHERE key IN ({','.join('?' * len(some))})",
                some,
            )
            for key, text, finish, prompt, completion, cached, seconds, logprobs in rows:
                usage = Usage(prompt, completion, cached, seconds)
                found[key] = Completion(text, finish, usage, tuple(json.loads(logprobs)) if logprobs else None)
        return found

    def begin(self, draws: Sequence[Draw]) -> list[int]:
        """Write down that these draws are about to be sent; the attempts' ids, in order."""
        with self._transaction():
            started = time.time()
            insert = "INSERT INTO attempt (key, started) VALUES (?, ?) RETURNING id"
            return [self._db.execute(insert, (draw.key, started)).fetchone()[0] for draw in draws]

    def settle(self, attempts: Sequence[int], finished: Sequence[tuple[Draw, Completion]]) -> None:
        """Keep what came back and close its attempts, all or nothing."""
        with self._transaction():
            for draw, completion in finished:
                self._keep(draw, completion)
            self._close(attempts, "stored")

    def fail(self, attempts: Sequence[int], outcome: str) -> None:
        """Close attempts that brought nothing, and say why."""
        with self._transaction():
            self._close(attempts, outcome)

    def unsettled(self) -> int:
        """How many attempts have an unknown outcome."""
        count: int = self._db.execute("SELECT count(*) FROM attempt WHERE outcome IS NULL").fetchone()[0]
        return count

    def checked(self, keys: Sequence[str]) -> dict[str, bool | None]:
        """The comparisons of answers that are here, by key; None is one that hit its limit."""
        found: dict[str, bool | None] = {}
        for some in _portions(keys):
            rows = self._db.execute(f"SELECT key, same FROM checked WHERE key IN ({','.join('?' * len(some))})", some)
            found |= {key: None if same is None else bool(same) for key, same in rows}
        return found

    def keep_checked(self, found: Mapping[str, bool | None]) -> None:
        """Keep comparisons of answers."""
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO checked VALUES (?, ?)", found.items())

    def _keep(self, draw: Draw, completion: Completion) -> None:
        body = _body(draw.request)
        self._db.execute("INSERT OR IGNORE INTO request (body) VALUES (?)", (body,))
        usage = completion.usage
        self._db.execute(
            "INSERT OR IGNORE INTO sample SELECT ?, id, ?, ?, ?, ?, ?, ?, ? FROM request WHERE body = ?",
            (
                draw.key,
                completion.text,
                completion.finish,
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.cached_tokens,
                usage.seconds,
                json.dumps(completion.logprobs) if completion.logprobs is not None else None,
                body,
            ),
        )

    def _close(self, attempts: Sequence[int], outcome: str) -> None:
        now = time.time()
        update = "UPDATE attempt SET finished = ?, outcome = ? WHERE id = ?"
        self._db.executemany(update, [(now, outcome, attempt) for attempt in attempts])

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when the block raises."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + _KEYS_A_QUERY] for start in range(0, len(keys), _KEYS_A_QUERY))


def _body(request: Request) -> str:
    sampling = request.sampling
    return json.dumps(
        {
            "messages": [{"role": role, "content": content} for role, content in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "stop": list(sampling.stop),
        },
        ensure_ascii=False,
    )
