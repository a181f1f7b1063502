"""Files that cannot be written: a full disk, a limit, a folder that may not be changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ConfigError

_FOREIGN = ("os error", "inline_container", "iostream error", "No space left", "File too large", "Disk quota")
"""What the errors of safetensors and torch say when a file cannot be written; they have no number."""


def reason_not_written(error: BaseException) -> str | None:
    """Why a file could not be written, when this is what an error means; None for other errors."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else str(error)
    text = " ".join(str(error).split())
    known = not isinstance(error, ConfigError) and any(word in text for word in _FOREIGN)
    return f"{text[:160]} (is the disk full?)" if known else None


def missing(path: Path) -> list[Path]:
    """A path and the folders above it, as far as there are none yet; the innermost first."""
    found = []
    for each in (path, *path.parents):
        if each.exists():
            break
        found.append(each)
    return found


def remove_made(made: list[Path], is_worthless: Callable[[Path], bool]) -> None:
    """Remove what this process made (`missing`, before it made it), and the folders above, if it is worth nothing."""
    if not made or (made[0].exists() and not is_worthless(made[0])):
        return
    if made[0].is_dir():
        shutil.rmtree(made[0], ignore_errors=True)
    for file in made[0].parent.glob(f"{made[0].name}*") if made[0].is_file() else ():  # and what SQLite has beside one
        file.unlink()
    for above in made[1:]:
        try:
            above.rmdir()
        except OSError:  # somebody else has put something there
            return


@contextmanager
def new_folder(folder: Path, is_worthless: Callable[[Path], bool]) -> Iterator[None]:
    """A folder that is made if need be; a failure leaves none that was made for nothing."""
    made = missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        remove_made(made, is_worthless)
        raise
