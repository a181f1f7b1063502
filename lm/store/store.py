"""Everything bought is kept: one SQLite file, a row a sample, and a row an attempt written before it is sent.

A sample is committed before it is reported, together with the attempt that made it, so a killed run loses nothing it
has paid for, and the next one buys only what is missing. An attempt without an outcome was in flight when the process
died: nobody knows whether it was billed.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from ...core.errors import ConfigError
from ..recorder import Attempt, Batch, Charge, Finished, Purchase, Reserved, Spend
from ..types import Completion, Message, Request, SampleRequest, Sampling, Usage
from . import ledger
from .ledger import Ledger
from .sqlite import write_ahead

FORMAT = 6
"""The version of the tables; a store of format 5 is brought up to it, and others are refused."""
_BEFORE = 5
_SAMPLES = """
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
  logprobs           TEXT,              -- JSON array, or NULL
  reasoning_tokens   INTEGER NOT NULL DEFAULT 0,
  certainty          REAL,
  reasoning          TEXT               -- apart from the text, or NULL
) WITHOUT ROWID;
"""
_CHECKED = """
CREATE TABLE checked (
  key   TEXT PRIMARY KEY,
  same  INTEGER                         -- whether two expressions are equal; NULL when the check hit its limit
) WITHOUT ROWID;
"""
_SCORES = """
CREATE TABLE score (
  key    TEXT PRIMARY KEY,
  score  REAL,                          -- a ranker's, of a solution; NULL when it was too long
  tokens INTEGER NOT NULL,              -- that it read
  seconds REAL NOT NULL
) WITHOUT ROWID;
"""


class StoredScore(NamedTuple):
    """What a ranker says to a solution, and what reading it took."""

    score: float | None
    """In (0, 1); None of one that is too long for it."""
    usage: Usage


_COLUMNS = (
    "text, finish, prompt_tokens, completion_tokens, cached_tokens, seconds, reasoning_tokens, "
    "logprobs, certainty, reasoning"
)
"""Of a sample, what a completion is made of."""
_MERGE = (
    "INSERT OR IGNORE INTO main.request (body) SELECT body FROM other.request",
    f"INSERT OR IGNORE INTO main.sample (key, request, {_COLUMNS}) SELECT s.key, mine.id, {_COLUMNS} "
    "FROM other.sample s JOIN other.request theirs ON theirs.id = s.request "
    "JOIN main.request mine ON mine.body = theirs.body",
    "INSERT OR IGNORE INTO main.checked SELECT * FROM other.checked",
    "INSERT OR IGNORE INTO main.score SELECT * FROM other.score",
)
"""What an attached store `other` holds that is not here, but for its attempts."""
_KEYS_A_QUERY = 500
_WAIT = 60.0
"""Seconds to wait for another process that is writing."""


def is_empty(path: Path) -> bool:
    """Whether a file is a store that nothing was ever kept in."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return not any(db.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in tables)
    except sqlite3.Error:
        return False


class Store:
    """An open store. Several processes may have it open: one writes at a time, others read meanwhile (WAL)."""

    def __init__(self, path: Path | str = ":memory:", read_only: str | None = None, base: Path | None = None) -> None:
        """Open, or create, the store at `path`. Raises ConfigError when it cannot be opened or is something else.

        `read_only` is an SQLite address of the same file, by which nothing is written. What the store `base` holds is
        found here too, and nothing is written there.
        """
        self._path = path
        self._bases = ExitStack()
        is_file = path != ":memory:"
        address = Path(path).resolve().as_uri() if is_file else str(path)
        self._read_address = read_only or f"{address}?mode=ro"
        try:
            if read_only is None and is_file:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                read_only or address, isolation_level=None, timeout=_WAIT, check_same_thread=False, uri=True
            )
        except (sqlite3.DatabaseError, OSError) as error:
            raise ConfigError(f"cannot open the store {path}: {error}") from error
        try:
            if read_only is None:
                self._prepare()
            elif self._version() != FORMAT:
                raise sqlite3.DatabaseError("it has another format")
            if base is not None:
                self._attach(base, "base", self._bases)
        except BaseException as error:
            self.close()
            if not isinstance(error, sqlite3.DatabaseError | OSError | ConfigError):
                raise
            raise ConfigError(f"cannot open the store {path}: {error.__cause__ or error}") from error
        self.ledger = Ledger(self._db)
        self._wanted: set[str] | None = None
        self._schemas = ("main",) if base is None else ("main", "base")

    def _prepare(self) -> None:
        """Make the file ready to be written by several processes, with the tables of this format."""
        if (version := self._version()) not in (0, _BEFORE, FORMAT):
            raise sqlite3.DatabaseError(f"it has format {version}, this divcon writes format {FORMAT}")
        write_ahead(self._db, _WAIT)
        self._db.execute("PRAGMA synchronous=FULL")
        self._create()

    def _attach(self, other: Path, name: str, kept: ExitStack) -> None:
        """Make another store's tables readable under a name; `kept` closes what that needs. Raises ConfigError."""
        store = kept.enter_context(type(self).reading(other))
        try:
            self._db.execute(f"ATTACH DATABASE ? AS {name}", (store._read_address,))
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"cannot open the store {other}: {error}") from error

    def _version(self) -> int:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        return int(version)

    @classmethod
    @contextmanager
    def reading(cls, path: Path) -> Iterator[Self]:
        """The store at `path`, to be looked at, also where nothing can be written."""
        with ExitStack() as kept:
            store = cls._looked_at(path, kept)
            kept.callback(store.close)
            yield store

    @classmethod
    def _looked_at(cls, path: Path, kept: ExitStack) -> Self:
        """Opened as usual; else for reading alone; else a copy, which `kept` removes.

        SQLite writes where it reads a log without its index, and we do where there are no tables yet.
        """
        log = path.with_name(f"{path.name}-wal")
        try:
            return cls(path)
        except ConfigError as error:
            refused = error
        try:
            unlogged = "&immutable=1" if not log.exists() or not log.stat().st_size else ""
            return cls(path, f"{path.resolve().as_uri()}?mode=ro{unlogged}")
        except (ConfigError, OSError):
            pass
        try:
            folder = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="divcon-")))
            for file in filter(Path.exists, (path, log)):
                shutil.copyfile(file, folder / file.name)
            return cls(folder / path.name)
        except (ConfigError, OSError):
            raise refused from None

    @contextmanager
    def recording_keys(self) -> Iterator[set[str]]:
        """The key of every sample that is looked for within, whether or not it is here yet."""
        wanted: set[str] = set()
        self._wanted = wanted
        try:
            yield wanted
        finally:
            self._wanted = None

    def _create(self) -> None:
        with self._transaction():  # another process may be creating it too
            version = self._version()
            if version == FORMAT:
                return
            if version == _BEFORE:
                self._db.execute("ALTER TABLE sample ADD COLUMN reasoning TEXT")
                self._db.execute(f"PRAGMA user_version={FORMAT}")
                return
            empty = not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version or not empty:
                raise sqlite3.DatabaseError("it is the database of another program")
            for statement in (_SAMPLES + ledger.TABLES + _CHECKED + _SCORES).split(";\n"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version={FORMAT}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()
        self._bases.close()

    def __len__(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM sample").fetchone()[0]
        return count

    def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        """The samples that are here, by key."""
        if self._wanted is not None:
            self._wanted.update(keys)
        found: dict[str, Completion] = {}
        for key, text, finish, *usage, listed, self_certainty, reasoning in self._select(_COLUMNS, "sample", keys):
            logprobs = tuple(json.loads(listed)) if listed else None
            # What was kept before reasoning was, stands in the text.
            make = Completion.read if reasoning is None else Completion
            found[key] = make(text, finish, Usage(*usage), logprobs, self_certainty, reasoning)
        return found

    def _select(self, columns: str, table: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The rows of a table that have these keys, each with its key in front."""
        for schema in self._schemas:
            for some in _portions(keys):
                marks = ",".join("?" * len(some))
                yield from self._db.execute(f"SELECT key, {columns} FROM {schema}.{table} WHERE key IN ({marks})", some)

    def begin(self, draws: Sequence[SampleRequest]) -> list[Attempt]:
        """Record that these samples are about to be generated; one attempt each, in order."""
        with self._transaction():
            return list(map(Attempt, draws, self.ledger.begin([draw.key for draw in draws], "", None)))

    def reserve(self, draws: Sequence[SampleRequest], purchase: Purchase) -> Reserved:
        """Record that these samples are about to be bought, but for those that another process has, or is buying.

        Raises BudgetError when the budget might be passed; nothing is written then.
        """
        model, lease, quote, budget, token = purchase
        by_key = {draw.key: draw for draw in draws}
        with self._transaction():
            stored = {key for key, *_ in self._select("finish", "sample", list(by_key))}
            busy = set(self.ledger.claim([key for key in by_key if key not in stored], lease))
            free = [draw for key, draw in by_key.items() if key not in stored | busy]
            if quote and budget is not None and free:
                self.ledger.afford(quote.dollars * len(free), budget)
            numbers = self.ledger.begin([draw.key for draw in free], model, quote)
            attempts = list(map(Attempt, free, numbers))
            if token and attempts:
                of_batch = {attempt.draw.key: attempt.number for attempt in attempts}
                self.ledger.open_batch(token, model, of_batch, self._requests(free))
        found = self.get(list(stored)) if stored else {}
        return Reserved(
            attempts,
            [(by_key[key], made) for key, made in found.items()],
            [by_key[key] for key in by_key if key in busy],
        )

    def batches(self, model: str) -> list[Batch]:
        """The batches of a model that have not been collected."""
        return self.ledger.batches(model)

    def name_batch(self, token: str, number: str) -> None:
        """Write down the server's number of a batch."""
        with self._transaction():
            self.ledger.name_batch(token, number)

    def batch_draws(self, batch: Batch) -> dict[str, SampleRequest]:
        """What a batch asked for, by key, as far as it is kept: the messages and the sampling."""
        bodies = "SELECT id, body FROM request WHERE id IN (SELECT value FROM json_each(?))"
        rows = self._db.execute(bodies, (json.dumps(list(set(batch.requests.values()))),))
        found = {number: _request(body) for number, body in rows}
        return {key: SampleRequest(found[number], 0, key) for key, number in batch.requests.items() if number in found}

    def close_batch(self, batch: Batch, got: Finished, charges: Mapping[str, Charge], outcome: str) -> None:
        """Keep what a batch brought, close all its attempts and give up their leases, all or nothing.

        `charges` are by key, `outcome` is that of attempts that brought nothing. A batch that another process has
        closed meanwhile stays as it is.
        """
        stored = {draw.key for draw, _ in got}
        with self._transaction():
            if not self.ledger.close_batch(batch.token):
                return
            for draw, completion in got:
                self._keep(draw, completion)
            for ended, keys in (("stored", stored), (outcome, batch.attempts.keys() - stored)):
                self.ledger.close([batch.attempts[key] for key in keys], ended, [charges[key] for key in keys])
            self.ledger.release(list(batch.attempts))

    def settle(self, made: Sequence[tuple[Attempt, Completion]], charges: Sequence[Charge] | None = None) -> Finished:
        """Keep what came back, close its attempts and give up its leases, all or nothing; an unknown charge is None."""
        finished = [(attempt.draw, completion) for attempt, completion in made]
        with self._transaction():
            for draw, completion in finished:
                self._keep(draw, completion)
            self._close([attempt for attempt, _ in made], "stored", charges)
            self.ledger.release([draw.key for draw, _ in finished])
        return finished

    def fail(
        self, attempts: Sequence[Attempt], cause: str, charges: Sequence[Charge] | None = None, *, release: bool = True
    ) -> None:
        """Close attempts that brought nothing, and say why; `release` gives the samples up for other processes."""
        with self._transaction():
            self._close(attempts, cause, charges)
            if release:
                self.ledger.release([attempt.draw.key for attempt in attempts])

    def _close(self, attempts: Sequence[Attempt], outcome: str, charges: Sequence[Charge] | None) -> None:
        unknown = [Charge(None)] * len(attempts)
        self.ledger.close([attempt.number for attempt in attempts], outcome, unknown if charges is None else charges)

    def merge(self, other: Path) -> int:
        """Take over what another store holds: samples, comparisons, scores, and every attempt with what it cost.

        How many samples were new. A store that was merged before brings only what has changed in it. Its leases and
        open batches stay behind. Raises ConfigError when it cannot be read.
        """
        if not other.is_file():
            raise ConfigError(f"no store {other}")
        if self._path != ":memory:" and other.samefile(self._path):
            raise ConfigError(f"{other} is the store that the others are merged into")
        before = len(self)
        with ExitStack() as kept:
            self._attach(other, "other", kept)
            kept.callback(self._db.execute, "DETACH DATABASE other")
            with self._transaction():
                for statement in _MERGE:
                    self._db.execute(statement)
                self.ledger.merge()
        return len(self) - before

    def unsettled(self) -> int:
        """How many attempts have an unknown outcome."""
        return self.ledger.unsettled()

    def spend(self) -> Spend:
        """The dollars of all attempts."""
        return self.ledger.spend()

    def verify(self) -> None:
        """Raise ConfigError when the file is damaged."""
        try:
            (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            found = str(error)
        if found != "ok":
            raise ConfigError(f"the store {self._path} is damaged ({found}); restore it, or move it away to begin anew")

    def checked(self, keys: Sequence[str]) -> dict[str, bool | None]:
        """The comparisons of answers that are here, by key; None is one that hit its limit."""
        rows = self._select("same", "checked", keys)
        return {key: None if same is None else bool(same) for key, same in rows}

    def keep_checked(self, found: Mapping[str, bool | None]) -> None:
        """Keep comparisons of answers."""
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO checked VALUES (?, ?)", found.items())

    def scores(self, keys: Sequence[str]) -> dict[str, StoredScore]:
        """The rankers' scores that are here, by key."""
        rows = self._select("score, tokens, seconds", "score", keys)
        return {key: StoredScore(score, Usage(tokens, seconds=seconds)) for key, score, tokens, seconds in rows}

    def keep_scores(self, found: Mapping[str, StoredScore]) -> None:
        """Keep rankers' scores."""
        rows = [(key, of.score, of.usage.prompt_tokens, of.usage.seconds) for key, of in found.items()]
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO score VALUES (?, ?, ?, ?)", rows)

    def _requests(self, draws: Sequence[SampleRequest]) -> dict[str, int]:
        """The numbers of what is asked for, by key; what is new is written down."""
        numbers: dict[Request, int] = {}
        for request in dict.fromkeys(draw.request for draw in draws):
            body = _body(request)
            self._db.execute("INSERT OR IGNORE INTO request (body) VALUES (?)", (body,))
            (numbers[request],) = self._db.execute("SELECT id FROM request WHERE body = ?", (body,)).fetchone()
        return {draw.key: numbers[draw.request] for draw in draws}

    def _keep(self, draw: SampleRequest, completion: Completion) -> None:
        body = _body(draw.request)
        self._db.execute("INSERT OR IGNORE INTO request (body) VALUES (?)", (body,))
        usage = completion.usage
        self._db.execute(
            "INSERT OR IGNORE INTO sample SELECT ?, id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM request WHERE body = ?",
            (
                draw.key,
                completion.text,
                completion.finish,
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.cached_tokens,
                usage.seconds,
                json.dumps(completion.logprobs) if completion.logprobs is not None else None,
                usage.reasoning_tokens,
                completion.self_certainty,
                completion.reasoning,
                body,
            ),
        )

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db, self._path)


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when the block raises."""

    def __init__(self, db: sqlite3.Connection, path: Path | str) -> None:
        self._db = db
        self._path = path

    def __enter__(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            raise self._refusal(error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
            elif self._db.in_transaction:  # a full disk may have ended it already
                self._db.execute("ROLLBACK")
        except sqlite3.DatabaseError as failed:
            raise self._refusal(failed) from failed
        if isinstance(error, sqlite3.DatabaseError):
            raise self._refusal(error) from error

    def _refusal(self, error: sqlite3.DatabaseError) -> ConfigError:
        return ConfigError(f"cannot write to the store {self._path}: {error}; what it holds is kept")


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
            **({} if request.thinking is None else {"thinking": str(request.thinking)}),
        },
        ensure_ascii=False,
    )


def _request(body: str) -> Request:
    """The request of a body, without its template and whether log-probabilities were asked for."""
    found = json.loads(body)
    messages = tuple(Message(message["role"], message["content"]) for message in found["messages"])
    stop = tuple(found["stop"])
    return Request(messages, Sampling(found["temperature"], found["top_p"], found["max_tokens"], stop))
