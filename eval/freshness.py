"""Whether a finished stage would come to the same again: told by contents, of what it was made from and what it made.

A stage leaves a record: a hash of all that it was made from (its inputs, this code, the libraries that grade and draw),
and the hash of every file that it wrote. When one of them differs, the stage is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..core.files import atomic_write
from .run_dir import RunDirectory

_LIBRARIES = ("divcon", "matplotlib", "numpy", "scipy", "pyarrow", "math-verify", "sympy", "genai-prices")
_CODE = frozenset({".py", ".md", ".yaml", ".js", ".css", ".csv", ".json", ".jsonl"})
"""The endings of files that this package is made of; shipped weights are hashed where they are used."""


def digest(*parts: Any) -> str:
    """SHA-256 of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def hashed(file: Path) -> str | None:
    """SHA-256 of a file; None where there is none that can be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


@cache
def software() -> dict[str, str]:
    """What makes results and reports beside their inputs: this code, and the libraries that grade, count and draw."""
    root = Path(__file__).parent.parent
    files = sorted(
        Path(folder, name)
        for folder, _, names in os.walk(root, followlinks=True)
        for name in names
        if Path(name).suffix in _CODE
    )
    code = digest([(file.relative_to(root).as_posix(), hashed(file)) for file in files])
    return {"code": code, **{name: _version(name) for name in _LIBRARIES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def write(record: Path, inputs: str, files: Iterable[Path]) -> None:
    """Keep what a stage was made from, and hashes of the files that it left below the record's folder."""
    made = {file.relative_to(record.parent).as_posix(): hashed(file) for file in files}
    text = json.dumps({"inputs": inputs, "files": made}, indent=1) + "\n"
    atomic_write(record, text)


def is_current(record: Path, inputs: str) -> bool:
    """Whether a stage was made from these inputs, and every file that it left is as it was left."""
    try:
        kept = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(kept, dict) or kept.get("inputs") != inputs or not isinstance(kept.get("files"), dict):
        return False
    return all(found is not None and hashed(record.parent / name) == found for name, found in kept["files"].items())


_READ = frozenset({".json", ".jsonl", ".yaml", ".parquet"})
"""What a report reads of a run directory."""
_UNREAD = frozenset(
    artifact.name
    for artifact in (
        *(RunDirectory.report, RunDirectory.methods, RunDirectory.checkpoints, RunDirectory.tensorboard),
        *(RunDirectory.log, RunDirectory.evaluated, RunDirectory.reported),
    )
)


def of_report(run: Path, axis: str) -> str:
    """Of a run's report against a kind of cost."""
    files = {path.relative_to(run).as_posix(): path for path in run.rglob("*") if path.suffix in _READ}
    read = {name: hashed(path) for name, path in files.items() if not _is_unread(name)}
    return digest(software(), axis, run.resolve().name, read)


def _is_unread(name: str) -> bool:
    first = name.partition("/")[0]
    return first in _UNREAD or first.startswith((".", "store.sqlite"))
