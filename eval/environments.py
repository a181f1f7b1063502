"""Under which environments a run's stages generated and trained: what its bytes are the bytes of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from ..lm.environment import Environment
from ..tasks.errors import ConfigError

FILE = "environments.json"


class Used(NamedTuple):
    """One environment, and the stages that worked under it."""

    environment: Environment
    stages: tuple[str, ...]


_FORM = TypeAdapter(tuple[Used, ...])


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
    try:
        return _FORM.validate_json((run / FILE).read_bytes())
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        raise ConfigError(f"{run / FILE} cannot be read; remove it, and go on without what it said") from error


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
    part = (run / FILE).with_suffix(".part")
    part.write_bytes(_FORM.dump_json(used, indent=2) + b"\n")
    part.replace(run / FILE)
