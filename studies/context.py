"""A study at work in its directory: the settings, the store, the models, and the teacher's traces.

A run directory is all there is:

    config.yaml  store.sqlite  traces/traces.jsonl  decomposer/  solver/  data.json  devices.json  provenance.json
    requests.json  environments.json  results.parquet  reconstruction.parquet  SHA256SUMS  evaluated.json  report/
    report.json  log.jsonl
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, Self, get_args

from .. import prompts as templates
from ..core.errors import ConfigError, DivconError
from ..core.files import atomic_write, is_unfinished
from ..core.write_failures import missing, reason_not_written, remove_made
from ..decompose.decomposition import Stage
from ..decompose.prompted import PromptedDecomposer
from ..distill import student
from ..distill.method_catalogue import check_methods
from ..distill.recipes import Training
from ..distill.traces import trace as traces
from ..distill.traces.collect import collect, collect_single
from ..distill.traces.source import TracesSource
from ..distill.traces.trace import Trace
from ..distill.training.distributed import is_first
from ..eval import devices, environments
from ..eval.analysis import reconstruction
from ..eval.config import Study, differences, dump
from ..eval.grid.gold_coverage import with_gold
from ..eval.grid_spec import LLM, SolverSpec, UseModel, UseStudent, check_format
from ..eval.run_dir import RunDirectory
from ..lm.cost.prices import AnyPrice, prorated
from ..lm.engine import Engine
from ..lm.local.environment import current, prepare
from ..lm.local.model_dir import LocalEngine
from ..lm.local.weights import model_directory, weights_hash
from ..lm.model import Model
from ..lm.settings import SharePriceSettings
from ..lm.store.store import Store, is_empty
from ..solve.grading.sympy_pool import EQUIVALENCE
from ..solve.prompted import PromptedSolver
from ..tasks import sources
from ..tasks.contamination import Overlap, overlaps
from ..tasks.question import Question
from . import prompting
from .progress import Progress
from .progress import Stage as ProgressStage
from .prompt_lengths import check_contexts


class StudyContext:
    """A study and the directory it leaves everything in. Use it as a context manager: it holds the directory's lock."""

    def __init__(
        self,
        study: Study,
        directory: Path,
        *,
        llm: Engine | None = None,
        progress: Progress | None = None,
    ) -> None:
        """`llm` takes the place of the engine that the config names (an engine of your own, or a scripted one)."""
        self.study = study
        self.directory = directory
        self.files = RunDirectory(directory)
        self.progress = progress or Progress(self.files.log)
        self.llm_engine = llm
        self._opened = ExitStack()
        self._made: list[Path] = []
        self._made_store: list[Path] = []

    def __enter__(self) -> Self:
        """Raises ConfigError when the directory cannot be written, is in use, or belongs to another config, and when
        `reproducible` comes after torch was loaded.
        """
        prepare(reproducible=self.study.reproducible)
        with self._opened as opened:
            opened.push(self._refused)
            try:
                self._made = missing(self.directory)
                self._made_store = missing(self.study.store) if self.study.store else []
                self.directory.mkdir(parents=True, exist_ok=True)
                if is_first():  # of several processes that train together, the first
                    _lock(opened.enter_context(self.files.lock.open("w")), self.directory)
                    self._remember()
                self.reader()
                self.base  # noqa: B018  # an engine that is not installed is found now, and not after the training
                if wanted := self._methods_to_teach():
                    check_methods(wanted)
            except OSError as error:
                raise ConfigError(f"cannot write to {self.directory}: {error.strerror}") from error
            self.store.verify()
            opened.enter_context(EQUIVALENCE.remembering(self.store))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._opened.__exit__(kind, error, trace)

    def _refused(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        """After a failure, and when all is closed: no directory is left that was made for nothing.

        Raises ConfigError in place of what a full disk, or a file that cannot be read or written, has raised.
        """
        if error is None:
            return
        if is_first():
            remove_made(self._made, _is_worthless)
            remove_made(self._made_store, is_empty)
        if not isinstance(error, DivconError) and (why := reason_not_written(error)) is not None:
            where = getattr(error, "filename", None) or self.directory
            kept = (
                f"; what {self.directory} holds is kept, and the same command goes on"
                if self.directory.exists()
                else ""
            )
            raise ConfigError(f"{where}: {why}{kept}") from error

    @cached_property
    def store(self) -> Store:
        """Open from its first use until the run is left, or cannot be entered."""
        return self._opened.enter_context(Store(self.study.store or self.files.store))

    @cached_property
    def train_questions(self) -> list[Question]:
        return sources.load(self.study.train)

    @cached_property
    def tests(self) -> dict[str, list[Question]]:
        return {name: sources.load(source) for name, source in self.study.tests.items()}

    def collect(self) -> list[Trace]:
        """The teacher's traces on the training questions; those already there are read."""
        path = self.files.traces
        if traces.exist(path):
            return traces.read(path, self._origin())
        self.check_tests()
        collected = self._imported or self._sampled()
        traces.write(collected, path, self._origin())
        right = sum(trace.verdict == "right" for trace in collected)
        self.progress.event("collected", traces=len(collected), right=right)
        return collected

    def collect_single(self) -> list[Trace]:
        """The teacher's single-stage solutions of the training questions; those already there are read."""
        path, origin = self.files.single_traces, f"{self._origin()} single stage"
        if traces.exist(path):
            return traces.read(path, origin)
        self.check_tests()
        collected = [trace for trace in self._imported if not trace.subquestions] or self._sampled_single()
        traces.write(collected, path, origin)
        right = sum(trace.verdict == "right" for trace in collected)
        self.progress.event("collected single-stage", traces=len(collected), right=right)
        return collected

    def _sampled_single(self) -> list[Trace]:
        if isinstance(self.study.train, TracesSource):
            raise ConfigError("these traces hold no single-stage solution, and there is no teacher to ask for one")
        with self.stage("collect: teacher's single-stage solutions", self.llm) as advance:
            solver = replace(self.solver(self.llm), advance=advance)
            collected = collect_single(self.train_questions, solver, self.study.collect)
        self.keep_devices("llm")
        return collected

    @cached_property
    def _imported(self) -> list[Trace]:
        """The traces that the study is given instead of a teacher; none where there is a teacher to ask."""
        return self.study.train.traces() if isinstance(self.study.train, TracesSource) else []

    def _sampled(self) -> list[Trace]:
        with self.stage("collect: teacher's traces", self.llm) as advance:
            decomposer, solver = self.decomposer(self.llm), self.solver(self.llm)
            collected = collect(
                self.train_questions,
                replace(decomposer, advance=advance),
                replace(solver, advance=advance),
                self.study.collect,
            )
        self.keep_devices("llm")
        return collected

    def stage(self, title: str, model: Model) -> AbstractContextManager[ProgressStage]:
        """A part of the run in which a model is asked. What a model on this machine works under is kept."""
        begin = partial(self.remember, title) if isinstance(model.engine, LocalEngine) else _nothing
        return self.progress.stage(title, model.status, begin)

    def remember(self, stage: str) -> None:
        """Keep what a stage that is about to generate or train works under; say so when it is not what it was."""
        now = current()
        if differs := environments.remember(self.directory, stage, now):
            self.progress.event("environment changed", stage=stage, differs=differs)
            self.progress.say(
                f"{stage}: goes on under another environment than this run began with ({'; '.join(differs)}); "
                "samples and students from here on are not those it would have got there"
            )

    def keep_devices(self, *models: str) -> None:
        """Keep what these models ran on: their seconds are that device's."""
        given = {"llm"} if self.llm_engine else set()
        ran = {name: None if name in given else self.study.model(UseModel(name)) for name in models}
        devices.remember(self.directory, ran)

    def reader(self) -> reconstruction.ReconstructionModel | None:
        """The model that rebuilds questions, where the config names one. Raises ConfigError when it is not there."""
        path = self.study.grid.reader
        return reconstruction.ReconstructionModel.at(path, self.store, self.study.student.device) if path else None

    def recipe(self, spec: UseStudent) -> Training:
        """What a student of the grid is distilled by."""
        recipe = self.study.distill.recipe(spec.track)
        return type(recipe).model_validate(recipe.model_dump() | spec.recipe_changes)

    def folder(self, spec: UseStudent) -> Path:
        """Where a student of the grid lies: one that changes nothing in its track's recipe shares that student."""
        is_plain = self.recipe(spec) == self.recipe(spec.plain)
        return self.directory / (spec.plain if is_plain else spec).folder

    def students(self, role: student.Role) -> dict[Path, UseStudent]:
        """The grid's students of a role, by their folders."""
        grid = self.study.grid
        of_role = grid.decomposer_specs if role == "decomposer" else grid.solver_specs
        return {self.folder(spec): spec for spec in of_role if isinstance(spec, UseStudent)}

    def _methods_to_teach(self) -> list[str]:
        """The methods of the grid's solvers that are not there yet."""
        return [
            self.recipe(spec).method for folder, spec in self.students("solver").items() if student.read(folder) is None
        ]

    @cached_property
    def llm(self) -> Model:
        settings = self.study.llm
        engine = self.llm_engine or settings.open(self.study.max_usd)
        return Model("llm", engine, self.store, self.study.seed, price=settings.rates(), thinking=settings.thinking)

    @cached_property
    def base(self) -> Model:
        """The student before it has learned anything."""
        students = 2 + sum(len(self.students(role)) for role in get_args(student.Role))
        engine = self.study.student.open(adapters=students)
        return Model("base", engine, self.store, self.study.seed, thinking=self.study.student.thinking)

    @cached_property
    def student_price(self) -> AnyPrice | None:
        if isinstance(self.study.student.price, SharePriceSettings):
            return prorated(self.llm.price, self.base.footprint, self.llm.footprint)
        return self.study.student.rates()

    def distilled(self, directory: Path) -> Model:
        """A student: an adapter on the shared base, or a whole model. Raises ConfigError when it is absent."""
        if (facts := student.read(directory)) is None:
            raise ConfigError(f"no student in {directory}; distil it first")
        self.check(directory, facts)
        settings = self.study.student
        model = replace(
            self.base,
            name="distilled",
            price=self.student_price,
            suffix=student.suffix(facts),
        )
        if student.is_adapter(directory):
            return replace(model, adapter=directory)
        return replace(model, engine=settings.model_copy(update={"path": str(directory)}).open())

    def decomposer(self, model: Model) -> PromptedDecomposer:
        """The study's decomposing prompt in front of a model, greedy."""
        return prompting.decomposer(self.study, model)

    def solver(self, model: Model) -> PromptedSolver:
        """The study's solving prompts in front of a model, greedy."""
        return prompting.solver(self.study, model)

    def model(self, spec: SolverSpec) -> Model:
        """A model of the grid."""
        if isinstance(spec, UseStudent):
            return replace(self.distilled(self.folder(spec)), name=str(spec))
        if spec.name in self.study.models:
            return self.own_models[spec.name]
        return self.llm if spec == LLM else replace(self.base, price=self.student_price)

    @cached_property
    def own_models(self) -> dict[str, Model]:
        """The models that the study adds to its grid."""
        return {
            name: Model(
                name,
                settings.open(self.study.max_usd),
                self.store,
                self.study.seed,
                price=settings.rates(),
                thinking=settings.thinking,
            )
            for name, settings in self.study.models.items()
        }

    def stages_taught(self, solver: SolverSpec) -> frozenset[Stage] | None:
        """The prompts that a solver has learned to be asked with; of imported traces most decide. None is any."""
        taught = self.study.stages_taught(solver)
        if taught != frozenset({"solve"}) or not self._imported:
            return taught
        followed = sum(bool(one.subquestions) for one in self._imported)
        return frozenset({"solve" if 2 * followed >= len(self._imported) else "single_stage"})

    def check_tests(self) -> None:
        """Raise ConfigError for tests that cannot be asked what the grid asks."""
        self._refuse_overlap()
        for solver in self.study.grid.solver_specs:
            check_format(solver, self.stages_taught(solver), self.study.grid.decomposer_specs)
        self.with_gold  # noqa: B018  # refused now, and not after the training
        if not self.files.results.exists():  # what was asked once did fit, and needs no tokenizer now
            check_contexts(self.study, self.train_questions, self.tests, llm_is_given=self.llm_engine is not None)

    @cached_property
    def with_gold(self) -> frozenset[str]:
        return with_gold(self.tests, self.study.grid.decomposer_specs)

    def _refuse_overlap(self) -> None:
        """Raise ConfigError when a test question is a training question, unless that is allowed."""
        found = self.shared_with(self.train_questions)
        same = [f"{name} of {test}" for (test, name), overlap in found.items() if overlap == "exact"]
        if same and not self.study.allow_overlap:
            raise ConfigError(
                f"{len(same)} test questions are training questions too, such as {same[0]}; "
                "take other questions, or set allow_overlap=true"
            )

    def shared_with(self, train: Sequence[Question]) -> dict[tuple[str, str], Overlap]:
        return {
            (test, question.id): overlap
            for test, questions in self.tests.items()
            for question, overlap in zip(questions, overlaps(train, questions), strict=True)
        }

    def prompts(self, role: str, target: str = "") -> dict[str, str]:
        """The templates that a role's student is asked with, and their hashes; `target` is its recipe's."""
        of = self.study.prompts
        single = of.direct if target == "direct" else of.single_stage
        used = {"decomposer": [of.decompose], "solver": [of.solve, of.single_stage], "single": [single]}[role]
        return {name: templates.load(name).sha256 for name in used}

    def _origin(self) -> str:
        """A hash of what the traces are collected from: the questions, the prompts and the teacher."""
        if isinstance(self.study.train, TracesSource):
            return self.study.train.fingerprint()
        asked = [(q.id, q.prompt, q.answer) for q in self.train_questions]
        used = self.prompts("decomposer") | self.prompts("solver")
        parts = [asked, sorted(used.items()), list(self.llm.engine.identity(None))]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def check(self, directory: Path, facts: dict[str, Any]) -> None:
        """Raise ConfigError when a student lost its weights, or was taught on another base or other prompts."""
        student.check(directory, facts, weights_hash(model_directory(self.study.student.path)))
        if facts["prompts"] != self.prompts(facts["role"], facts["recipe"].get("target", "")):
            raise ConfigError(f"{directory} was distilled under other prompts; remove it to train again")

    def _remember(self) -> None:
        """Keep the resolved config. Another one is taken over only where nothing was made under the old one yet."""
        path = self.files.config
        if not path.is_file():
            if any(entry.name != ".lock" and not is_unfinished(entry.name) for entry in self.directory.iterdir()):
                raise ConfigError(
                    f"{self.directory} is neither empty nor a run directory; give another --run directory"
                )
        elif fixed := [k for k in differences(self.files.study, self.study) if self.files.made_from(k, self.study)]:
            raise ConfigError(
                f"{self.directory} was begun under another config (it differs in {', '.join(fixed)}); "
                "give another --run directory, or the old settings"
            )
        text = dump(self.study)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            atomic_write(path, text)


def _nothing() -> None:
    """Of a model that works elsewhere, nobody here knows what it works under."""


def _is_worthless(directory: Path) -> bool:
    """Whether a run's directory holds nothing that was collected, trained or measured."""
    files = [path for path in directory.rglob("*") if not path.is_dir()]
    stores = [path for path in files if path.name == "store.sqlite"]
    rest = {path.name for path in files} - {".lock", "config.yaml", "log.jsonl"}
    return all(name.startswith("store.sqlite") or is_unfinished(name) for name in rest) and all(map(is_empty, stores))


def _lock(file: IO[str], directory: Path) -> None:
    """Hold a lock until the file is closed, which the system does when the process ends, however it ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"another divcon is at work in {directory}") from None
    file.write(str(os.getpid()))
    file.flush()
