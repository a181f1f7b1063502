"""What a key may still do: so many requests in any minute, so many dollars in a day by UTC.

A request's dollars count at their worst from before it is sent, and as what they were once that is known. So requests
at once cannot pass the day's limit together, and what a crash leaves open stays counted at its worst.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil, isfinite
from pathlib import Path
from typing import Self

from ...core.errors import ConfigError
from ...lm.store.sqlite import write_ahead
from ..pipeline.errors import NO_QUOTA, RATE_LIMIT, APIError
from .keys import Caller

_MINUTE = 60.0
_DAY = 86400.0
_WAIT = 1.0
"""Seconds to wait for another process that is writing; the server answers nobody meanwhile."""
_BEGIN_AGAIN = 5.0
"""Seconds after which a client may try again when the file could not be written."""

_APPLICATION = 0x64766361
"""Tells this file from other SQLite files."""
_FORMAT = 1
_TABLE = """
CREATE TABLE spent (
  name     TEXT NOT NULL,               -- of the key
  day      TEXT NOT NULL,               -- by UTC
  dollars  REAL NOT NULL,               -- settled ones, and open ones at their worst
  PRIMARY KEY (name, day)
) WITHOUT ROWID
"""
_RESERVE = """
INSERT INTO spent VALUES (?1, ?2, ?3)
ON CONFLICT (name, day) DO UPDATE SET dollars = dollars + ?3 WHERE dollars + ?3 <= ?4
"""
_SETTLE = "UPDATE spent SET dollars = max(0.0, dollars + ?) WHERE name = ? AND day = ?"
_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class Reservation:
    """Dollars that count as spent until it is known what was."""

    name: str
    day: str
    worst: float
    is_open: bool
    """Whether there is anything left to settle."""


class Quotas:
    """What every key has used of its limits. Requests are remembered for a minute, dollars in a row a key and day.

    Servers that share a file share its dollars; requests a minute are each server's own, and forgotten when it stops.
    """

    def __init__(
        self,
        path: Path | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open, or create, the file; without one, dollars are forgotten when the server stops.

        `clock` says which day it is, `steady` measures minutes: the one may be set back, the other not. Raises
        ConfigError when the file is damaged, is something else or cannot be written.
        """
        self._clock = clock
        self._steady = steady
        self._minutes: defaultdict[str, _Minute] = defaultdict(_Minute)
        try:
            self._db = _open(path)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(
                f"cannot keep what keys have spent in {path}: {error}; restore that file, or name another"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def request(self, caller: Caller) -> None:
        """One more request of this caller is counted. Raises Refused, and counts nothing, when it is one too many."""
        limit = caller.requests_per_minute
        if limit is None:
            return
        wait = self._minutes[caller.name].wait(limit, self._steady())
        if wait > 0:
            raise APIError(
                429,
                f"the key {caller.name!r} may make {limit:g} requests a minute; try again in {ceil(wait)} s",
                code=RATE_LIMIT,
                retry_after=wait,
            )

    def reserve(self, caller: Caller, worst: float) -> Reservation:
        """These dollars count as spent today, for a request that is about to be sent and costs no more than that.

        Raises Refused, and counts nothing, when that might pass the day's limit, or cannot be written down. Of a
        caller without a limit nothing is written down.
        """
        limit, now = caller.dollars_per_day, self._clock()
        reservation = Reservation(caller.name, _day(now), worst, is_open=limit is not None)
        if limit is None:
            return reservation
        may_cost = f"this request may cost ${worst:.4f}, and the key {caller.name!r}"
        if not 0 <= worst <= limit:  # no day will be long enough; nor is there one for what is not a number
            message = f"{may_cost} may spend ${limit:g} a day; ask for fewer tokens"
            raise APIError(429, message, code=NO_QUOTA)
        if not self._written(reservation, limit):
            left = max(0.0, limit - self.spent(caller))
            message = f"{may_cost} has ${left:.4f} of ${limit:g} left until midnight UTC; ask for fewer tokens, or then"
            raise APIError(429, message, code=NO_QUOTA, retry_after=_DAY - now % _DAY)
        return reservation

    def cover(self, caller: Caller, reservation: Reservation, dollars: float) -> None:
        """At least these dollars count for a request, more than it was thought to cost.

        Raises Refused, and counts nothing more, when that might pass the limit of the day it was sent on.
        """
        limit, more = caller.dollars_per_day, dollars - reservation.worst
        if limit is None or not reservation.is_open or more <= 0:
            return
        if not more <= limit or not self._written(replace(reservation, worst=more), limit):
            message = (
                f"this request may cost ${dollars:.4f}, and the key {caller.name!r} has less left of ${limit:g} a day"
            )
            raise APIError(429, f"{message}; ask for fewer tokens", code=NO_QUOTA)
        reservation.worst = dollars

    def settle(self, reservation: Reservation, actual: float | None) -> None:
        """The request counts as what it cost, on the day it was sent; as its worst where nobody knows (None).

        Settling again changes nothing.
        """
        if not reservation.is_open:
            return
        reservation.is_open = False
        if actual is None or not isfinite(actual) or actual < 0:
            return
        try:
            self._db.execute(_SETTLE, (actual - reservation.worst, reservation.name, reservation.day))
        except sqlite3.Error as error:  # the client has its answer; the worst stays counted
            _LOG.warning("what the key %s has spent cannot be written down: %s", reservation.name, error)

    def spent(self, caller: Caller) -> float:
        """Dollars that count as spent today; nothing for a caller without a limit."""
        query = "SELECT dollars FROM spent WHERE name = ? AND day = ?"
        row = self._db.execute(query, (caller.name, _day(self._clock()))).fetchone()
        return float(row[0]) if row else 0.0

    def _written(self, asked: Reservation, limit: float) -> bool:
        """Whether there was room. One statement looks and writes, so that no other request can come in between."""
        try:
            return self._db.execute(_RESERVE, (asked.name, asked.day, asked.worst, limit)).rowcount == 1
        except sqlite3.Error as error:
            _LOG.error("what the key %s may spend cannot be written down: %s", asked.name, error)
            message = "what this key spends cannot be written down now, so nothing was sent"
            raise APIError(503, message, retry_after=_BEGIN_AGAIN) from error


class _Minute:
    """When the requests of the last minute came.

    A bucket that is refilled evenly would let twice as many through in a minute: all that it holds, and then what
    is refilled meanwhile. A time for each request keeps the promise, and there are never more than are allowed.
    """

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def wait(self, limit: float, now: float) -> float:
        """Count a request, and 0; or count nothing, and the seconds until there is room for one.

        So many whole requests in any minute; below one a minute, one in a longer while.
        """
        most, window = max(1, int(limit)), max(_MINUTE, _MINUTE / limit)
        while self._times and self._times[0] <= now - window:
            self._times.popleft()
        if len(self._times) >= most:
            return self._times[-most] + window - now
        self._times.append(now)
        return 0.0


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=_WAIT, check_same_thread=False)
    try:
        _create(db)
        write_ahead(db, _WAIT)
        # Whatever becomes of the process, a commit is with the system and stays. Only a machine that loses its power
        # may forget the last ones (never the rest), which is no reason to let every request wait for a disk.
        db.execute("PRAGMA synchronous=NORMAL")
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(f"it is damaged ({found})")
    except BaseException:
        db.close()
        raise
    return db


def _create(db: sqlite3.Connection) -> None:
    """An empty file gets its table; any other is ours, and can be written, or this raises and leaves it as it was."""
    db.execute("BEGIN IMMEDIATE")
    try:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, version, tables) == (0, 0, 0):
            db.execute(_TABLE)
            db.execute(f"PRAGMA application_id={_APPLICATION}")
        elif (application, version) != (_APPLICATION, _FORMAT):
            raise sqlite3.DatabaseError("it is a database of another kind")
        db.execute(f"PRAGMA user_version={_FORMAT}")  # a file that cannot be written lets transactions begin
    except BaseException:
        if db.in_transaction:  # a full disk may have ended it already
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _day(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).date().isoformat()
