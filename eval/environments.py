"""Under which environments a run's stages generated and trained: what its bytes are the bytes of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..core import documents
from ..core.files import atomic_write
from ..lm.local.environment import Environment
from .run_dir import RunDirectory


@dataclass(frozen=True)
class Used:
    """One environment, and the stages that worked under it."""

    environment: Environment
    stages: tuple[str, ...]


def remember(run: Path, stage: str, now: Environment) -> list[str]:
    """Add a stage to those that worked under this environment; in what it differs from the last other one."""
    known = read(run)
    others = [used.environment for used in known if used.environment != now]
    if not any(used.environment == now and stage in used.stages for used in known):
        _write(run, _with(known, stage, now))
    return now.differences(others[-1]) if others else []


def read(run: Path) -> tuple[Used, ...]:
    """Every environment, in the order in which they came; none for runs that did not keep them.

    Raises ConfigError when the file holds something else.
    """
    file = RunDirectory(run).environments
    kept: list[Used] | None = documents.read_optional(list[Used], file, "remove it, and go on without what it said")
    return tuple(kept or ())


def caution(used: Sequence[Used]) -> str:
    """A sentence for a run whose parts were made under environments that compute different bytes; else empty."""
    differences = [d for one in used[1:] for d in one.environment.differences(used[0].environment)]
    if not differences:
        return ""
    return (
        f"Parts of this run were generated or trained under {len(used)} environments "
        f"({'; '.join(dict.fromkeys(differences))}). The same seed gives other samples and other students there, "
        "so no single machine reproduces these numbers."
    )


def _with(known: Sequence[Used], stage: str, now: Environment) -> tuple[Used, ...]:
    if all(used.environment != now for used in known):
        return (*known, Used(now, (stage,)))
    return tuple(
        Used(now, (*used.stages, stage)) if used.environment == now and stage not in used.stages else used
        for used in known
    )


def _write(run: Path, used: tuple[Used, ...]) -> None:
    atomic_write(RunDirectory(run).environments, json.dumps([asdict(each) for each in used], indent=2) + "\n")
