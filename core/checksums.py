"""Whether files still hold what was written: SHA-256 of each, kept beside it, so that a flipped byte is found.

A folder's hashes lie in SHA256SUMS, as `sha256sum -c SHA256SUMS` reads it, or in a card of JSON that hashes itself too.
Files of which nobody kept a hash are read as they are: they were written before there were any.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import files
from .errors import ConfigError
from .files import atomic_write

FILE = "SHA256SUMS"
_SEAL = "sha256"


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to, puts what is there in place of `path` at once or not at all, and keeps its hash.

    A kill in between leaves the old file or the new one, perhaps without a hash, never with another file's.
    """
    with files.replacing(path) as (part,):
        yield part
        forget(path)
    keep(path)


def keep(path: Path) -> None:
    """Write a file's hash into its folder's SHA256SUMS."""
    _write(path.parent, _read(path.parent) | {path.name: file_hash(path)})


def keep_all(folder: Path, leave: str) -> None:
    """Write the hashes of a folder's files into its SHA256SUMS, but for those whose names begin with `leave`."""
    found = {name: value for name, value in hashes(folder).items() if name != FILE and not name.startswith(leave)}
    _write(folder, found)


def forget(path: Path) -> None:
    """Drop a file's hash, as it is about to be replaced."""
    kept = _read(path.parent)
    if kept.pop(path.name, None) is not None:
        _write(path.parent, kept)


def check(path: Path, remedy: str) -> None:
    """Raise ConfigError, with the remedy, when a file is not what its folder's SHA256SUMS says."""
    wanted = _read(path.parent).get(path.name)
    if wanted is not None and path.is_file() and file_hash(path) != wanted:
        raise ConfigError(
            f"{path} is damaged: it is not what was written there; {remedy} (if you changed it yourself, remove its "
            f"line from {FILE})"
        )


def check_all(folder: Path) -> bool:
    """Whether every file that a folder's SHA256SUMS names is there as it was written."""
    return damaged(folder, _read(folder)) is None


def hashes(folder: Path) -> dict[str, str]:
    """The hash of every file below a folder, by its path there."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file_hash(file) for file in files}


def damaged(folder: Path, wanted: Mapping[str, str]) -> Path | None:
    """The first file of a folder that is not there, or not what it was."""
    for name, value in wanted.items():
        file = folder / name
        if not file.is_file() or file_hash(file) != value:
            return file
    return None


def sealed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts that are to be JSON, with a hash of themselves."""
    plain = json.loads(json.dumps(facts))  # as a reader finds them
    return {**plain, _SEAL: _digest(plain)}


def is_whole(facts: Mapping[str, Any]) -> bool:
    """Whether facts are what was sealed; those that nobody sealed are."""
    return _SEAL not in facts or facts[_SEAL] == _digest(facts)


def _digest(facts: Mapping[str, Any]) -> str:
    text = json.dumps({name: value for name, value in facts.items() if name != _SEAL}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    split = (line.partition("  ") for line in lines)
    return {name: value for value, _, name in split if name}


def _write(folder: Path, kept: Mapping[str, str]) -> None:
    atomic_write(folder / FILE, "".join(f"{value}  {name}\n" for name, value in sorted(kept.items())))
