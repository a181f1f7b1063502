"""Who may ask: API keys in a file, of which only hashes are kept.

The file is one JSON document, so that one that is cut short is malformed and never a shorter list. Only its owner may
have any permission on it: who can write it can let themselves in.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import logging
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from ...core import documents
from ...core.config import check
from ...core.errors import ConfigError
from ...core.settings import Settings

PREFIX = "dc-"
"""What every key begins with, so that people and scanners for secrets know one when they see it."""

_NAME = r"^[A-Za-z0-9._-]{1,64}$"
_LOOK = 1.0
"""Seconds between two looks at whether the file has changed."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """Who asks, and how much they may."""

    name: str
    requests_per_minute: float | None
    """None is no limit."""
    dollars_per_day: float | None
    """In a day by UTC; None is no limit."""
    metrics: bool = False
    """Whether they may read everybody's figures."""

    def __str__(self) -> str:
        limits = []
        if self.requests_per_minute is not None:
            limits.append(f"{self.requests_per_minute:g} requests a minute")
        if self.dollars_per_day is not None:
            limits.append(f"${self.dollars_per_day:g} a day")
        return f"{self.name}: {', '.join(limits) or 'no limits'}{', metrics' * self.metrics}"


ANYONE = Caller("anyone", None, None, metrics=True)
"""Who asks a server that has no keys and that only this machine can reach."""


class Keys:
    """The keys in a file, as it is now: it is read again when it changes, so that a removed key is out at once.

    A file that has become bad changes nothing: the keys of before stay, and the log says why.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigError when the file is missing or malformed, or others than its owner have permissions on it."""
        self._path = path
        self._clock = clock
        self._stamp = _stamp(path)  # taken before reading: what changes meanwhile is read again
        self._entries = _read(path).keys
        self._look_at = clock() + _LOOK
        self._complaint = ""

    @classmethod
    def read(cls, path: Path, clock: Callable[[], float] = time.monotonic) -> Self:
        """The keys in this file. Raises ConfigError as above."""
        return cls(path, clock)

    @property
    def callers(self) -> tuple[Caller, ...]:
        """Everybody who has a key."""
        return tuple(entry.caller for entry in self._entries)

    def caller(self, presented: str | None) -> Caller | None:
        """Whose key this is; None when it is nobody's."""
        self._refresh()
        if not presented:
            return None
        digest = _hash(presented)
        found = None
        for entry in self._entries:  # all of them, always: how long it takes tells nothing
            if hmac.compare_digest(entry.sha256, digest):
                found = entry.caller
        return found

    def __str__(self) -> str:
        return "\n".join(map(str, self.callers)) or "no keys"

    def reload(self) -> None:
        """The file is read now if it has changed, and a complaint is logged again."""
        self._look_at, self._complaint = self._clock(), ""
        self._refresh()

    def _refresh(self) -> None:
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK
        stamp = _stamp(self._path)
        if stamp is not None and stamp == self._stamp:
            return
        try:
            self._entries = _read(self._path).keys
        except ConfigError as error:  # looked at again in a second, though it may not change: it may become readable
            if str(error) != self._complaint:
                _LOG.warning("the keys of before stay in force: %s", error)
            self._complaint, self._stamp = str(error), None
        else:
            self._complaint, self._stamp = "", stamp


def add(path: Path, caller: Caller) -> str:
    """Make a key and return it; the file, made where there is none, has its hash, and nothing has the key itself."""
    if not re.fullmatch(_NAME, caller.name):
        raise ConfigError(
            f"{caller.name!r} cannot name a key; use 1 to 64 letters, digits, dots, hyphens and underscores"
        )
    key = PREFIX + secrets.token_urlsafe(32)
    entry = check(_Entry, {**asdict(caller), "sha256": _hash(key)}, f"the limits of {caller.name}")
    path = _resolved(path)
    with _alone(path.parent):
        entries = _read(path).keys if path.exists() else ()
        if any(other.name == caller.name for other in entries):
            raise ConfigError(f"{path} has a key {caller.name!r}; remove that one first, or choose another name")
        _write(path, (*entries, entry))
    return key


def remove(path: Path, name: str) -> None:
    """The key of this name is in the file no more, and opens no running server a second later."""
    path = _resolved(path)
    with _alone(path.parent):
        entries = _read(path).keys
        names = [entry.name for entry in entries]
        if name not in names:
            raise ConfigError(f"{path} has no key {name!r}; it has {', '.join(names) or 'none'}")
        _write(path, [entry for entry in entries if entry.name != name])


def bearer(header: str | None) -> str | None:
    """The key in an `Authorization` header; None without one."""
    found = re.fullmatch(r"\s*bearer\s+(\S+)\s*", header or "", flags=re.IGNORECASE)
    return found[1] if found else None


class _Entry(Settings):
    name: str = Field(pattern=_NAME)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    requests_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    dollars_per_day: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    metrics: bool = False

    @property
    def caller(self) -> Caller:
        return Caller(self.name, self.requests_per_minute, self.dollars_per_day, self.metrics)


class _Document(Settings):
    keys: tuple[_Entry, ...]

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [entry.name for entry in self.keys]
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise ValueError(f"two keys have the name {twice!r}")
        return self


def _hash(key: str) -> str:
    """Of 256 random bits a plain hash cannot be turned back; a slow one is for passwords, which can be guessed."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _resolved(path: Path) -> Path:
    """Where a file is, or will be: a link stays a link. Raises ConfigError when there can be no such file."""
    try:
        path = path.resolve()
        if not path.is_file() and os.path.lexists(path):
            raise ConfigError(f"{path} is no file that keys could be kept in; name another")
        path.exists()  # it raises for what resolve lets through: a name too long, a file among the folders
    except OSError as error:
        raise ConfigError(f"no keys can be kept in {path}: {error.strerror or error}") from error
    except (RuntimeError, ValueError) as error:  # a loop of links, a NUL
        raise ConfigError(f"no keys can be kept in {str(path)!r}: {error}") from error
    return path


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What differs once a file, or its permissions, have changed; None when there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # a NUL in the path
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def _read(path: Path) -> _Document:
    try:
        if not path.is_file():
            raise ConfigError(f"no key file {path}; make one with: divcon keys add {path} NAME")
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise ConfigError(f"{path} is open to others than its owner (mode {mode:04o}); chmod 600 {path}")
            text = file.read()
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        values = documents.from_json(text, str(path), finite=False)  # the shape says which numbers may be which
    except ConfigError as error:
        raise ConfigError(f"{error}; restore it, or move it away and make new keys") from error
    return check(_Document, values, str(path))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One change at a time: of two at once one would be lost, and a key that was removed would live on."""
    try:
        held = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):  # some file systems of a network cannot lock a folder
                fcntl.flock(held, fcntl.LOCK_EX)
            yield
            with suppress(OSError):  # and some cannot do this: a removed key stays removed, whatever happens
                os.fsync(held)
        finally:
            os.close(held)
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror or error}") from error


def _write(path: Path, entries: Sequence[_Entry]) -> None:
    listed = [entry.model_dump(exclude_none=True) for entry in entries]
    number, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 from its first moment
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            _give(file.fileno(), path)
            file.write(json.dumps({"keys": listed}, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _give(number: int, path: Path) -> None:
    """Leave the file with its owner: root may change it for a server that could not read it any more."""
    if path.exists() and (owner := path.stat()).st_uid != os.geteuid():
        os.fchown(number, owner.st_uid, owner.st_gid)
