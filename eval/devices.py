"""On which devices a run's models answered, sitting by sitting: what a second in its results is a second of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..core import documents
from ..core.files import atomic_write
from ..lm.local.weights import device_name, resolved_device
from ..lm.settings import LocalSettings, OpenAISettings, VLLMSettings
from .run_dir import RunDirectory

SERVER = "a server"
"""Whose device nobody here knows."""
UNKNOWN = "unknown"
"""Of an engine that the config does not name."""


def remember(run: Path, ran: Mapping[str, LocalSettings | OpenAISettings | None]) -> None:
    """Add what models of these settings run on here, by the models' names; None is an engine of somebody's own."""
    known = read(run)
    for name, settings in ran.items():
        known[name] = list(dict.fromkeys([*known.get(name, []), _device(settings)]))
    atomic_write(RunDirectory(run).devices, json.dumps(known, indent=2) + "\n")


def join(run: Path, other: Path) -> None:
    """Add what models ran on in another directory."""
    known = read(run)
    for name, ran in read(other).items():
        known[name] = list(dict.fromkeys([*known.get(name, []), *ran]))
    if known:
        atomic_write(RunDirectory(run).devices, json.dumps(known, indent=2) + "\n")


def read(run: Path) -> dict[str, list[str]]:
    """Every device that a model may have answered on, by the model's name; empty for runs that did not keep it.

    Raises ConfigError when the file is damaged.
    """
    kept: dict[str, list[str]] = (
        documents.read_optional(dict[str, list[str]], RunDirectory(run).devices, "remove it") or {}
    )
    return kept


def _device(settings: LocalSettings | OpenAISettings | None) -> str:
    if settings is None:
        return UNKNOWN
    if isinstance(settings, OpenAISettings) or (isinstance(settings, VLLMSettings) and settings.served):
        return SERVER
    return device_name(resolved_device(settings.device))
