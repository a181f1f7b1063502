"""The ledger: every attempt at buying a sample, what it may cost at worst, and what it did cost.

An attempt is written before it is sent, with the dollars it may cost at worst, and settled after. What was sent and
never settled (the process died, the connection broke in the middle of an answer) may have been billed: nobody here
knows, so it counts at its worst. Spending is therefore a range: [known, known + unknown].
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...core.errors import ConfigError
from ..cost.prices import Quote
from ..recorder import Batch, Charge, Lease, Spend

TABLES = """
CREATE TABLE attempt (
  id        INTEGER PRIMARY KEY,
  key       TEXT NOT NULL,              -- of the sample
  model     TEXT NOT NULL,              -- what was asked, and where
  started   REAL NOT NULL,              -- Unix time
  finished  REAL,
  outcome   TEXT,                       -- 'stored', or why it failed; NULL while nobody knows
  reserved  REAL,                       -- dollars at worst; NULL without a price
  dollars   REAL,                       -- what it cost; NULL while nobody knows, or without a price
  price     TEXT                        -- JSON: dollars per million tokens, and where they come from
);
CREATE INDEX attempt_key ON attempt (key);
CREATE TABLE batch (
  token     TEXT PRIMARY KEY,
  model     TEXT NOT NULL,
  number    TEXT,                       -- the server's; NULL while nobody knows
  attempts  TEXT NOT NULL,              -- JSON: attempts by key
  requests  TEXT,                       -- JSON: rows of `request` by key
  started   REAL,                       -- Unix time
  owner     TEXT                        -- the process that submits it
);
CREATE TABLE lease (
  key      TEXT PRIMARY KEY,
  owner    TEXT NOT NULL,               -- the process that is buying the sample
  expires  REAL NOT NULL                -- Unix time
) WITHOUT ROWID;
"""


_KEYS_A_QUERY = 500


class BudgetError(ConfigError):
    """The next request might pass the budget. Nothing was sent; a larger budget goes on from here."""


def this_process() -> str:
    """A name for what holds a lease: one that others on this machine can see to be dead."""
    return f"{platform.node()}/{os.getpid()}/{secrets.token_hex(4)}"


def _has_died(owner: str) -> bool:
    """Whether a process of this machine has ended; its leases need not be waited for."""
    node, _, rest = owner.partition("/")
    number = rest.partition("/")[0]
    if node != platform.node() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def is_at_work_elsewhere(owner: str | None) -> bool:
    """Whether a name is that of another process, which may be alive."""
    mine = this_process().rpartition("/")[0]
    return owner is not None and owner.rpartition("/")[0] != mine and not _has_died(owner)


class ModelSpend(NamedTuple):
    """What one model was paid, and for what."""

    model: str
    attempts: int
    stored: int
    failed: int
    unknown: int
    """Attempts without an outcome, and those that may have been billed for nothing."""
    unpriced: int
    """Attempts without a price."""
    spend: Spend


class Ledger:
    """The attempts in an open store; every method belongs into one of its transactions."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def begin(self, keys: Sequence[str], model: str, quote: Quote | None) -> list[int]:
        """Write down that these samples are about to be asked for; the attempts' ids, in order."""
        dollars, price = quote or (None, None)
        row = (model, time.time(), dollars, price)
        insert = "INSERT INTO attempt (key, model, started, reserved, price) VALUES (?, ?, ?, ?, ?) RETURNING id"
        return [self._db.execute(insert, (key, *row)).fetchone()[0] for key in keys]

    def afford(self, dollars: float, budget: float) -> None:
        """Raise BudgetError when this much more, at worst, might pass the budget."""
        spend = self.spend()
        if spend.most + dollars > budget:
            raise BudgetError(
                f"the budget of ${budget:.2f} might be passed: spent {spend}, and the next request may cost "
                f"${dollars:.4f}; raise max_usd to go on from here"
            )

    def claim(self, keys: Sequence[str], lease: Lease) -> list[str]:
        """Take the leases that are free or one's own; the keys of the others."""
        now = time.time()
        portions = (keys[i : i + _KEYS_A_QUERY] for i in range(0, len(keys), _KEYS_A_QUERY))
        held = [(key, owner) for some in portions for key, owner in self._leases(some, now) if owner != lease.owner]
        dead = {owner for _, owner in held if _has_died(owner)}
        busy = [key for key, owner in held if owner not in dead]
        taken = set(busy)
        rows = [(key, lease.owner, now + lease.seconds) for key in keys if key not in taken]
        self._db.executemany("INSERT OR REPLACE INTO lease VALUES (?, ?, ?)", rows)
        return busy

    def open_batch(self, token: str, model: str, attempts: dict[str, int], requests: dict[str, int]) -> None:
        row = (token, model, json.dumps(attempts), json.dumps(requests), time.time(), this_process())
        self._db.execute("INSERT INTO batch VALUES (?, ?, NULL, ?, ?, ?, ?)", row)

    def name_batch(self, token: str, number: str) -> None:
        self._db.execute("UPDATE batch SET number = ? WHERE token = ?", (number, token))

    def close_batch(self, token: str) -> bool:
        """Whether it was still open; another process may have closed it."""
        return bool(self._db.execute("DELETE FROM batch WHERE token = ?", (token,)).rowcount)

    def batches(self, model: str) -> list[Batch]:
        """What a model was asked by batches that have not been collected, the oldest first."""
        rows = self._db.execute(
            "SELECT token, number, attempts, requests, started, owner FROM batch WHERE model = ? ORDER BY rowid",
            (model,),
        )
        return [
            Batch(token, number, json.loads(attempts), json.loads(requests or "{}"), started, owner)
            for token, number, attempts, requests, started, owner in rows
        ]

    def has_batches(self) -> bool:
        """Whether a batch has not been collected."""
        return self._db.execute("SELECT 1 FROM batch LIMIT 1").fetchone() is not None

    def release(self, keys: Sequence[str]) -> None:
        self._db.executemany("DELETE FROM lease WHERE key = ?", [(key,) for key in keys])

    def close(self, attempts: Sequence[int], outcome: str, charges: Sequence[Charge]) -> None:
        """Write down how attempts ended, and what they cost."""
        now = time.time()
        rows = [(now, outcome, *charge, attempt) for attempt, charge in zip(attempts, charges, strict=True)]
        self._db.executemany(
            "UPDATE attempt SET finished = ?, outcome = ?, dollars = ?, reserved = max(reserved, ?) WHERE id = ?", rows
        )

    def unsettled(self) -> int:
        """How many attempts have no outcome."""
        count: int = self._db.execute("SELECT count(*) FROM attempt WHERE outcome IS NULL").fetchone()[0]
        return count

    def spend(self) -> Spend:
        known, unknown = self._db.execute(
            "SELECT total(dollars), total(CASE WHEN dollars IS NULL THEN reserved END) FROM attempt"
        ).fetchone()
        return Spend(known, unknown)

    def accounts(self) -> list[ModelSpend]:
        """What each model was paid."""
        rows = self._db.execute(
            "SELECT model, count(*), total(outcome = 'stored'), total(outcome <> 'stored'), "
            "total(outcome IS NULL OR (dollars IS NULL AND reserved IS NOT NULL)), total(price IS NULL), "
            "total(dollars), total(CASE WHEN dollars IS NULL THEN reserved END) FROM attempt GROUP BY model"
        )
        return [
            ModelSpend(model, n, int(stored), int(failed), int(unknown), int(unpriced), Spend(known, most))
            for model, n, stored, failed, unknown, unpriced, known, most in rows
        ]

    def outcomes(self) -> dict[str, int]:
        """How often attempts ended in each way."""
        return dict(
            self._db.execute("SELECT outcome, count(*) FROM attempt WHERE outcome IS NOT NULL GROUP BY outcome")
        )

    def merge(self) -> None:
        """Take over the attempts of an attached store `other`: new ones, and what became of those known already.

        The same attempt is one of the same sample, model and time.
        """
        same = "mine.key = theirs.key AND mine.model = theirs.model AND mine.started = theirs.started"
        self._db.execute(
            "UPDATE main.attempt AS mine SET finished = theirs.finished, outcome = theirs.outcome, "
            "reserved = theirs.reserved, dollars = theirs.dollars FROM other.attempt AS theirs "
            f"WHERE {same} AND mine.outcome IS NULL AND theirs.outcome IS NOT NULL"
        )
        columns = "key, model, started, finished, outcome, reserved, dollars, price"
        self._db.execute(
            f"INSERT INTO main.attempt ({columns}) SELECT {columns} FROM other.attempt AS theirs "
            f"WHERE NOT EXISTS (SELECT 1 FROM main.attempt AS mine WHERE {same})"
        )

    def bought_twice(self) -> list[str]:
        """The samples that more than one attempt brought, by key: two stores that were merged had both bought them."""
        return [
            key
            for (key,) in self._db.execute(
                "SELECT key FROM attempt WHERE outcome = 'stored' GROUP BY key HAVING count(*) > 1 ORDER BY key"
            )
        ]

    def _leases(self, keys: Sequence[str], now: float) -> Iterator[tuple[str, str]]:
        marks = ",".join("?" * len(keys))
        return self._db.execute(f"SELECT key, owner FROM lease WHERE key IN ({marks}) AND expires > ?", (*keys, now))
