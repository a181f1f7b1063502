"""The studies that ship with divcon."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def path(name: str) -> Path | None:
    """The file of a shipped study; None when there is none of that name."""
    file = _HERE / f"{name}.yaml"
    return file if file.is_file() else None


def spread(name: str) -> Path | None:
    """What several seeds of a shipped study came to; None where that was not shipped."""
    file = _HERE / f"{name}.spread.json"
    return file if file.is_file() else None


def names() -> list[str]:
    """The names of the shipped studies."""
    return sorted(file.stem for file in _HERE.glob("*.yaml"))
