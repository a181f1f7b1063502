"""Trainings that are kept when they are done, by what they stand on.

A stage's folder carries a hash of everything that decides its outcome: the base, the tokenizer, what is taught, the
recipe, the seed, the stage that it goes on from. So equal stages of several methods are trained once, an interrupted
course goes on where it was, and what was trained on another base or other replies is never taken for this.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ...core import checksums, documents
from ...core.errors import ConfigError
from ...lm.cost.flops import total
from ..student import TrainingReport
from .checkpoints import check_safetensors
from .distributed import is_first, wait_for_all
from .trainer import Fitted

Taught = tuple[Fitted, Callable[[Path], object]]
"""What a training was, and how to save what it made."""

_STAGE = "stage.json"
_LOG = logging.getLogger(__name__)


class StageCache:
    """The stages of one student."""

    def __init__(self, folder: Path) -> None:
        """`folder` may be shared with other students' stages."""
        self._folder = folder
        self._used: list[Path] = []

    def keep(self, name: str, facts: Mapping[str, Any], train: Callable[[Path], Taught]) -> Path:
        """The folder of a stage that stands on these facts, trained by `train` unless it is there.

        `train` is given a folder for its checkpoints, which no stage with other facts has.
        """
        key = digest(sorted(facts.items()))[:12]
        found = [path for path in sorted(self._folder.glob(f"*-{key}")) if (path / _STAGE).is_file()]
        out = next(filter(_is_whole, found), None)
        if out is None:
            out = self._train(name, key, train)
        if out not in self._used:
            self._used.append(out)
        return out

    def _train(self, name: str, key: str, train: Callable[[Path], Taught]) -> Path:
        """Kept at once or not at all."""
        checkpoints = self._folder / f".{name}-{key}.checkpoints"
        out, part = self._folder / f"{name}-{key}", self._folder / f".{name}-{key}.part"
        fitted, save = train(checkpoints)
        if is_first():
            shutil.rmtree(part, ignore_errors=True)
            save(part)
            files = checksums.hashes(part)
            told = {"stage": name, "trained": asdict(fitted.trained), "curve": fitted.curve, "files": files}
            (part / _STAGE).write_text(json.dumps(checksums.sealed(told)), encoding="utf-8")
            part.rename(out)
            shutil.rmtree(checkpoints, ignore_errors=True)
        wait_for_all()
        return out

    def finish(self, last: Path, out: Path) -> TrainingReport:
        """Leave the last stage's student in `out`, with the curves of all stages; what all of them cost."""
        wait_for_all()
        kept = {path: _read(path) for path in self._used}
        if is_first():
            shutil.copytree(last, out, ignore=shutil.ignore_patterns(_STAGE))
            curves = {stage.stage: stage.curve for stage in kept.values()}
            (out / "training.json").write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")
        each = [stage.trained for stage in kept.values()]
        return replace(
            kept[last].trained,
            dropped=sum(trained.dropped for trained in each),
            steps=sum(trained.steps for trained in each),
            tokens=sum(trained.tokens for trained in each),
            seconds=sum(trained.seconds for trained in each),
            peak_gib=max(trained.peak_gib for trained in each),
            flops=total([trained.flops for trained in each]),
            device=", ".join(dict.fromkeys(trained.device for trained in each)),
        )


class _Kept(BaseModel):
    """What stands in a stage's file."""

    stage: str
    trained: TrainingReport
    curve: list[dict[str, Any]]
    files: dict[str, str] = {}
    """SHA-256 of its files, by name; none of stages that were trained before hashes were kept."""


def _read(stage: Path) -> _Kept:
    """What a stage was. Raises ConfigError when one of its files is not what was written."""
    path, remedy = stage / _STAGE, f"remove {stage} to train it again"
    facts: dict[str, Any] = documents.read(dict[str, Any], path, remedy, finite=False)
    kept: _Kept = documents.checked(_Kept, facts, str(path))
    file = checksums.damaged(stage, kept.files) if checksums.is_whole(facts) else path
    if file is not None:
        raise ConfigError(f"{file} is damaged: it is not what was trained; {remedy}")
    return kept


def _is_whole(stage: Path) -> bool:
    """Whether a stage can be gone on from. One that is damaged is removed, and the log says that it begins again."""
    try:
        _read(stage)
        for file in stage.rglob("*.safetensors"):
            check_safetensors(file)
        for file in stage.rglob("*.json"):
            documents.from_json(documents.text(file), str(file), finite=False, foreign=True)
    except ConfigError as error:
        _LOG.warning("the training %s is damaged (%s): it begins again", stage.name, error)
        shutil.rmtree(stage)
        return False
    return True


def digest(values: Iterable[object]) -> str:
    """SHA-256 of values that are JSON."""
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()
