"""Opening a study in its run directory: the lock, the config that is kept there, and what a failure leaves behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from ..core.errors import ConfigError, DivconError
from ..core.files import atomic_write, is_unfinished
from ..core.write_failures import missing, reason_not_written, remove_made
from ..distill import student
from ..distill.method_catalogue import check_methods
from ..distill.training.distributed import is_first
from ..eval.analysis.reconstruction import ReconstructionModel
from ..eval.config import Study, differences, dump
from ..eval.run_dir import RunDirectory
from ..lm.engine import Engine
from ..lm.local.environment import prepare
from ..lm.store.store import Store, is_empty
from ..solve.grading.sympy_pool import EQUIVALENCE
from ..tasks.shard import Shard
from . import students
from .context import StudyContext
from .models import Models
from .origins import Origins
from .progress import Progress
from .questions import StudyQuestions
from .shard_budget import with_own_budget


@contextmanager
def open_study(
    study: Study,
    directory: Path,
    *,
    llm: Engine | None = None,
    progress: Progress | None = None,
    shard: Shard | None = None,
) -> Iterator[StudyContext]:
    """A study in the directory that it leaves everything in, which is locked meanwhile.

    `llm` takes the place of the engine that the config names (an engine of your own, or a scripted one). `shard` is
    the part of the questions that is asked; what it brings is kept in a folder of its own, which is locked in place of
    the directory. Raises
    ConfigError when the directory cannot be written, is in use, or belongs to another config, and when `reproducible`
    comes after torch was loaded. After a failure no directory is left that was made for nothing; where a disk is full,
    or a file cannot be read or written, the failure is a ConfigError that says so.
    """
    prepare(reproducible=study.reproducible)
    files = RunDirectory(directory)
    with _one_sentence(directory), _no_empty_directory(directory, study.store), ExitStack() as opened:
        try:
            context = _opened(study, files, opened, llm, progress, shard)
        except OSError as error:
            raise ConfigError(f"cannot write to {directory}: {error.strerror}") from error
        context.store.verify()
        opened.enter_context(EQUIVALENCE.remembering(context.store))
        yield context


@contextmanager
def _one_sentence(directory: Path) -> Iterator[None]:
    """Raises ConfigError where a disk is full, or a file cannot be read or written: libraries have errors of their own
    for it."""
    try:
        yield
    except DivconError:
        raise
    except Exception as error:
        if (why := reason_not_written(error)) is None:
            raise
        where = getattr(error, "filename", None) or directory
        kept = f"; what {directory} holds is kept, and the same command goes on" if directory.exists() else ""
        raise ConfigError(f"{where}: {why}{kept}") from error


@contextmanager
def _no_empty_directory(directory: Path, store: Path | None) -> Iterator[None]:
    """After a failure, remove what was made for nothing."""
    made, made_store = missing(directory), missing(store) if store else []
    succeeded = False
    try:
        yield
        succeeded = True
    finally:
        if not succeeded and is_first():
            remove_made(made, _is_worthless)
            remove_made(made_store, is_empty)


def _opened(
    study: Study,
    files: RunDirectory,
    opened: ExitStack,
    llm: Engine | None,
    progress: Progress | None,
    shard: Shard | None,
) -> StudyContext:
    """What is not there is found now, and not after the training: engines, the reader, methods."""
    own = files if shard is None else RunDirectory(files.shards / shard.folder)
    own.path.mkdir(parents=True, exist_ok=True)
    if is_first():  # of several processes that train together, the first
        _lock(opened.enter_context(own.lock.open("w")), own.path)
        _keep_config(study, files, rewrites=shard is None)
    store = opened.enter_context(_store(study, files, own, shard))
    if study.grid.reader:
        ReconstructionModel.at(study.grid.reader, store, study.student.device)
    models = Models(study if shard is None else with_own_budget(study, files, shard), files, store, llm)
    models.base  # noqa: B018  # for what it raises
    solvers = students.of_role(study, files, "solver").items()
    if wanted := [students.recipe(study, spec).method for folder, spec in solvers if student.read(folder) is None]:
        check_methods(wanted)
    questions = StudyQuestions(study, Origins(files), shard)
    progress = progress or Progress(own.log)
    return StudyContext(study, files, store, progress, questions, models, own if shard else None)


def _store(study: Study, files: RunDirectory, own: RunDirectory, shard: Shard | None) -> Store:
    """The study's; of a shard one of its own, in which what the study's holds already is found too."""
    bought = study.store or files.store
    if shard is None:
        return Store(bought)
    return Store(own.store, base=bought if bought.is_file() else None)


def _keep_config(study: Study, files: RunDirectory, *, rewrites: bool) -> None:
    """Keep the resolved config. Another one is taken over only where nothing was made under the old one yet.

    Unless it `rewrites`, one that differs in operational settings alone stays: shards may each have their own.
    """
    directory, path = files.path, files.config
    if not path.is_file():
        if any(
            entry.name not in (".lock", files.shards.name) and not is_unfinished(entry.name)
            for entry in directory.iterdir()
        ):
            raise ConfigError(f"{directory} is neither empty nor a run directory; give another --run directory")
    elif fixed := [
        key
        for key in differences(files.study, study)
        if files.made_from(key, study) and not Origins(files).moved(key, study)
    ]:
        raise ConfigError(
            f"{directory} was begun under another config (it differs in {', '.join(fixed)}); "
            "give another --run directory, or the old settings"
        )
    if path.is_file() and not rewrites and not differences(files.study, study):
        return
    Origins(files).keep(study)
    text = dump(study)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        atomic_write(path, text)


def _is_worthless(directory: Path) -> bool:
    """Whether a run's directory holds nothing that was collected, trained or measured."""
    files = [path for path in directory.rglob("*") if not path.is_dir()]
    stores = [path for path in files if path.name == "store.sqlite"]
    rest = {path.name for path in files} - {".lock", "config.yaml", "log.jsonl", "origins.json"}
    return all(name.startswith("store.sqlite") or is_unfinished(name) for name in rest) and all(map(is_empty, stores))


def _lock(file: IO[str], directory: Path) -> None:
    """Hold a lock until the file is closed, which the system does when the process ends, however it ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"another divcon is at work in {directory}") from None
    file.write(str(os.getpid()))
    file.flush()
