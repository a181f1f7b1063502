"""Replacing files as a whole: a failure leaves what was there as it was."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(*files: Path) -> Iterator[tuple[Path, ...]]:
    """Paths to write to instead of these files, with the same suffixes. They take the files' places in the end."""
    targets = [file.resolve() for file in files]  # what a link points to
    parts = tuple(target.with_name(f".{os.getpid()}.part.{target.name}") for target in targets)
    for target in targets:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    try:
        yield parts
        for part, target in zip(parts, targets, strict=True):
            part.replace(target)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def atomic_write(file: Path, content: str | bytes, *, sync: bool = False) -> None:
    """Write a file at once or not at all, text as UTF-8. With `sync` it is on the disk before it takes the place."""
    with replacing(file) as (part,), part.open("wb") as out:
        out.write(content.encode() if isinstance(content, str) else content)
        if sync:
            out.flush()
            os.fsync(out.fileno())


def is_unfinished(name: str) -> bool:
    """Whether a file of this name is what a killed process left of a write."""
    return _UNFINISHED.match(name) is not None


_UNFINISHED = re.compile(r"\.\d+\.part\.")


@contextmanager
def refilling(folder: Path) -> Iterator[Path]:
    """A new folder to write to; in the end its files take their places in `folder`, and no other file is touched.

    A file that holds the same already stays as it is.
    """
    folder = folder.resolve()
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        yield made
        folder.mkdir(exist_ok=True)
        for file in sorted(made.iterdir()):
            if not _same(file, folder / file.name):
                file.replace(folder / file.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _same(one: Path, other: Path) -> bool:
    if not other.is_file() or one.stat().st_size != other.stat().st_size:
        return False
    return one.read_bytes() == other.read_bytes()
