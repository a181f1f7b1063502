"""Running a study: collect, distil both phases, evaluate every cell; each stage goes on where it was interrupted.

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
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, Self, get_args

from .. import prompts as templates
from ..decompose import Decomposition, PromptedDecomposer, none
from ..decompose.controls import direct, empty, gold, shuffled, truncated
from ..distill import student, traces
from ..distill.collect import collect
from ..distill.examples import decompositions, solutions
from ..distill.held_out import held_out
from ..distill.imported import TracesSource
from ..distill.processes import is_first
from ..distill.recipes import Training
from ..distill.traces import Trace
from ..lm import Engine, Model, Sampling, Store
from ..lm.environment import current, prepare
from ..lm.local import Here
from ..lm.prices import AnyPrice, by_share
from ..lm.settings import SharePriceSettings
from ..lm.store import is_empty
from ..lm.weights import model_directory, weights_hash
from ..solve import PromptedSolver, Solution
from ..solve.checks import CHECKS
from ..solve.interactive import Asker, InteractiveSolver, Worked
from ..tasks import Question, sources
from ..tasks.errors import ConfigError, DivconError
from ..tasks.overlap import Overlap, fingerprint, overlaps
from ..tasks.writing import missing, reason_not_written, remove_made
from . import (
    devices,
    environments,
    freshness,
    inputs,
    names,
    phases,
    provenance,
    reconstruction,
    requests,
    results,
    vote,
)
from .compose import AnyDecomposing, Asking, Changed, Decomposing, Ranking, Row, Solving, compose
from .coverage import with_gold
from .progress import Progress, Stage
from .study import Study, differences, dump, flat, stored
from .teaching import check_methods, teach, teach_ranker


class Run:
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
        self.progress = progress or Progress(directory / "log.jsonl")
        self._llm_engine = llm
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
                    _lock(opened.enter_context((self.directory / ".lock").open("w")), self.directory)
                    self._remember()
                self._reader()
                self.base  # noqa: B018  # an engine that is not installed is found now, and not after the training
                if wanted := self._methods_to_teach():
                    check_methods(wanted)
            except OSError as error:
                raise ConfigError(f"cannot write to {self.directory}: {error.strerror}") from error
            self.store.verify()
            opened.enter_context(CHECKS.remembering(self.store))
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
        return self._opened.enter_context(Store(self.study.store or self.directory / "store.sqlite"))

    @cached_property
    def train_questions(self) -> list[Question]:
        return sources.load(self.study.train)

    @cached_property
    def tests(self) -> dict[str, list[Question]]:
        return {name: sources.load(source) for name, source in self.study.tests.items()}

    # -- stages ------------------------------------------------------------------------------------------------------

    def collect(self) -> list[Trace]:
        """The teacher's traces on the training questions; those already there are read."""
        path = self.directory / "traces" / "traces.jsonl"
        if traces.exist(path):
            return traces.read(path, self._origin())
        self._check_tests()
        collected = self._imported or self._sampled()
        traces.write(collected, path, self._origin())
        right = sum(trace.verdict == "right" for trace in collected)
        self.progress.event("collected", traces=len(collected), right=right)
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
        self._tell_devices("llm")
        return collected

    def stage(self, title: str, model: Model) -> AbstractContextManager[Stage]:
        """A part of the run in which a model is asked. What a model on this machine works under is kept."""
        begin = partial(self.remember, title) if isinstance(model.engine, Here) else _nothing
        return self.progress.stage(title, model.vitals, begin)

    def remember(self, stage: str) -> None:
        """Keep what a stage that is about to generate or train works under; say so when it is not what it was."""
        now = current()
        if differs := environments.remember(self.directory, stage, now):
            self.progress.event("environment changed", stage=stage, differs=differs)
            self.progress.say(
                f"{stage}: goes on under another environment than this run began with ({'; '.join(differs)}); "
                "samples and students from here on are not those it would have got there"
            )

    def _tell_devices(self, *models: str) -> None:
        """Keep what these models ran on: their seconds are that device's."""
        given = {"llm"} if self._llm_engine else set()
        ran = {name: None if name in given else self.study.model(name) for name in models}
        devices.remember(self.directory, ran)

    def distill_decomposer(self) -> dict[str, Any]:
        """The decomposer's student, trained unless it is there; what its card says."""
        return teach(self, "decomposer", self.study.distill.decomposer, self.directory / "decomposer", self.study.seed)

    def distill_solver(self) -> dict[str, Any]:
        """The solver's student, trained unless it is there; what its card says."""
        return teach(self, "solver", self.study.distill.solver, self.directory / "solver", self.study.seed)

    def distill_ranker(self) -> dict[str, Any]:
        """The ranker, trained unless it is there; what its card says."""
        return teach_ranker(self, self.directory / "ranker")

    def evaluate(self) -> list[Row]:
        """Every cell of the grid on every test, and `results.parquet`."""
        reader = self._reader()
        self._check_tests()
        self._distil_variants()
        if self.study.grid.asks("rank"):
            self.distill_ranker()
        with self.store.watching() as wanted:
            rows = compose(self.tests, self._decomposings(), self._solvings(), self._judge)
        shared = self.overlaps()  # raises for damaged traces, before a file is replaced
        self._tell_devices("llm", "student", *self.study.models)
        requests.write(len(wanted), rows, self.directory)
        self._write_data()
        provenance.write(self._provenance(), self.directory)
        results.write(rows, self.directory / "results.parquet", shared)
        if reader:
            with self.progress.stage(f"read: {reader.path}", begin=partial(self.remember, "read")) as advance:
                kept = results.read(self.directory / "results.parquet")
                reconstruction.keep(kept, replace(reader, advance=advance), self.directory / reconstruction.FILE)
        files = [*_EVALUATED, *([reconstruction.FILE] if reader else [])]
        freshness.write(self.directory / freshness.EVALUATED, self._inputs(), [self.directory / name for name in files])
        return rows

    def is_evaluated(self) -> bool:
        """Whether the results are those that `evaluate` would write again."""
        record = self.directory / freshness.EVALUATED
        return record.is_file() and freshness.is_current(record, self._inputs())

    def _inputs(self) -> str:
        decisive = {key for key in flat(self.study) if not is_operational(key)}
        return inputs.of_results(self, self._llm_engine, decisive)

    def _reader(self) -> reconstruction.Reader | None:
        """The model that rebuilds questions, where the config names one. Raises ConfigError when it is not there."""
        path = self.study.grid.reader
        return reconstruction.Reader.at(path, self.store, self.study.student.device) if path else None

    def _recipe(self, role: student.Role) -> Training:
        recipes = self.study.distill
        return recipes.decomposer if role == "decomposer" else recipes.solver

    def _own(self, role: student.Role, name: str) -> dict[str, Any]:
        """In what a student of the grid differs from its role's recipe."""
        recipe = self._recipe(role)
        return {key: value for key, value in names.differs(role, name).items() if getattr(recipe, key) != value}

    def _variants(self, role: student.Role) -> dict[str, dict[str, Any]]:
        """The grid's students of a role that differ from its recipe, and in what."""
        of_role = self.study.grid.decomposers if role == "decomposer" else self.study.grid.solvers
        return {name: own for name in of_role if names.is_student(name) and (own := self._own(role, name))}

    def _methods_to_teach(self) -> list[str]:
        """The methods of the grid's solvers that are not there yet."""
        own = {self.directory / names.folder("solver", name): own for name, own in self._variants("solver").items()}
        return [of["method"] for folder, of in own.items() if "method" in of and student.read(folder) is None]

    def _distil_variants(self) -> None:
        roles: tuple[student.Role, ...] = ("decomposer", "solver")
        for role in roles:
            recipe = self._recipe(role)
            for name, own in self._variants(role).items():
                of_its_own = type(recipe).model_validate(recipe.model_dump() | own)
                teach(self, role, of_its_own, self.directory / names.folder(role, name), self.study.seed)

    # -- the values that the grid is made of -------------------------------------------------------------------------

    @cached_property
    def llm(self) -> Model:
        settings = self.study.llm
        engine = self._llm_engine or settings.open(self.study.max_usd)
        return Model("llm", engine, self.store, self.study.seed, price=settings.rates())

    @cached_property
    def base(self) -> Model:
        """The student before it has learned anything."""
        students = 2 + sum(len(self._variants(role)) for role in get_args(student.Role))
        return Model("base", self.study.student.open(adapters=students), self.store, self.study.seed)

    @cached_property
    def _student_price(self) -> AnyPrice | None:
        if isinstance(self.study.student.price, SharePriceSettings):
            return by_share(self.llm.price, self.base.footprint, self.llm.footprint)
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
            price=self._student_price,
            suffix=student.suffix(facts),
        )
        if student.is_adapter(directory):
            return replace(model, adapter=directory)
        return replace(model, engine=settings.model_copy(update={"path": str(directory)}).open())

    def decomposer(self, model: Model) -> PromptedDecomposer:
        """The study's decomposing prompt in front of a model, greedy."""
        return phases.decomposer(self.study, model)

    def solver(self, model: Model) -> PromptedSolver:
        """The study's solving prompts in front of a model, greedy."""
        return phases.solver(self.study, model)

    def model(self, name: str, role: student.Role) -> Model:
        """The model of a name (`eval/names.py`) in a role."""
        if names.is_student(name):
            folder = names.folder(role, name) if self._own(role, name) else role
            return replace(self.distilled(self.directory / folder), name=name)
        if name in self.study.models:
            return self._own_models[name]
        return self.llm if name == "llm" else replace(self.base, price=self._student_price)

    @cached_property
    def _own_models(self) -> dict[str, Model]:
        """The models that the study adds to its grid."""
        return {
            name: Model(name, settings.open(self.study.max_usd), self.store, self.study.seed, price=settings.rates())
            for name, settings in self.study.models.items()
        }

    def _check_tests(self) -> None:
        """Raise ConfigError for tests that cannot be asked what the grid asks."""
        self._refuse_overlap()
        self._with_gold  # noqa: B018  # refused now, and not after the training

    @cached_property
    def _with_gold(self) -> frozenset[str]:
        return with_gold(self.tests, self.study.grid.decomposers)

    def _refuse_overlap(self) -> None:
        """Raise ConfigError when a test question is a training question, unless that is allowed."""
        found = self._shared_with(self.train_questions)
        same = [f"{name} of {test}" for (test, name), overlap in found.items() if overlap == "exact"]
        if same and not self.study.allow_overlap:
            raise ConfigError(
                f"{len(same)} test questions are training questions too, such as {same[0]}; "
                "take other questions, or set allow_overlap=true"
            )

    def overlaps(self) -> results.Overlaps:
        """What each test question shares with the questions that each student has learned from."""
        by_role = {role: self._shared_with(questions) for role, questions in self._taught().items()}
        return {key: {role: found[key] for role, found in by_role.items()} for key in by_role["solver"]}

    def _taught(self) -> dict[student.Role, list[Question]]:
        """The questions that each student has learned from; all training questions as long as there are no traces."""
        path = self.directory / "traces" / "traces.jsonl"
        if not traces.exist(path):
            return {"decomposer": self.train_questions, "solver": self.train_questions}
        collected, recipes = traces.read(path), self.study.distill
        asked, solved = collected, collected
        if recipes.decomposer.method == "kd":
            asked = decompositions(collected, self.study.decompose.limit, recipes.decomposer.data)
        if recipes.solver.method == "kd":
            solved = solutions(collected, recipes.solver.data)
        return {"decomposer": [t.question for t in asked], "solver": [t.question for t in solved]}

    def _shared_with(self, train: Sequence[Question]) -> dict[tuple[str, str], Overlap]:
        return {
            (test, question.id): overlap
            for test, questions in self.tests.items()
            for question, overlap in zip(questions, overlaps(train, questions), strict=True)
        }

    def _data(self) -> dict[str, dict[str, Any]]:
        """Which questions the results stand on: where they came from, how many, and a hash of their contents."""
        asked = {"train": (self.study.train, self.train_questions)}
        asked |= {f"test: {name}": (self.study.tests[name], questions) for name, questions in self.tests.items()}
        return {
            name: {
                **source.model_dump(mode="json", exclude_none=True),
                **source.origin(),
                "questions": len(questions),
                "sha256": fingerprint(questions),
            }
            for name, (source, questions) in asked.items()
        }

    def _write_data(self) -> None:
        part = self.directory / "data.part"
        part.write_text(json.dumps(self._data(), indent=2) + "\n", encoding="utf-8")
        part.replace(self.directory / "data.json")

    def _provenance(self) -> dict[str, Any]:
        """What the results were made with."""
        asked = {*map(names.asked, self.study.grid.decomposers), *self.study.grid.solvers} - {None}
        models = {"llm": self.llm} if "llm" in asked else {}
        models |= {name: model for name, model in self._own_models.items() if name in asked} if asked - {"llm"} else {}
        if asked - {"llm", *self.study.models}:
            models["student"] = replace(self.base, price=self._student_price)
        return provenance.record(
            {name: templates.load(name).sha256 for name in self._prompts},
            {name: model.engine.identity(None)._asdict() for name, model in models.items()},
            {name: model.price for name, model in models.items()},
        )

    @property
    def _prompts(self) -> list[str]:
        """The templates that the grid is asked with."""
        of, decomposers = self.study.prompts, self.study.grid.decomposers
        used = [of.decompose, of.solve, of.single_stage] + [of.direct] * ("none-direct" in decomposers)
        return used + [of.next, of.step, of.finish] * any(names.interactive(name) for name in decomposers)

    def _judge(self, test: str, question: Question, subquestions: Sequence[str]) -> bool | None:
        return self.study.tests[test].judge(question, subquestions)

    def _decomposings(self) -> list[AnyDecomposing]:
        return [self._decomposing(name) for name in self.study.grid.decomposers]

    def _decomposing(self, name: str) -> AnyDecomposing:
        if asks := names.interactive(name):
            return self._interactive(name, asks)
        if name == "gold":
            return Decomposing(name, None, None, gold, self._with_gold)
        if name in _FREE:
            return Decomposing(name, None, None, _FREE[name])
        if control := names.control(name):
            of = self._asking("llm")
            change = shuffled(self.study.seed) if control.change == "shuffled" else truncated(control.most)
            return Changed(name, of.footprint, of.price, of, change)
        return self._asking(name)

    def _asking(self, name: str) -> Decomposing:
        """A decomposer that is a model."""
        model = self.model(name, "decomposer")
        watched = _WatchedDecomposer(self.decomposer(model), partial(self.stage, f"decompose: {name}", model))
        return Decomposing(name, model.footprint, model.price, watched)

    def _interactive(self, name: str, asks: str) -> Asking:
        """A decomposer that hears each answer before it asks on; gold sub-questions come one after the other."""
        if asks == "gold":
            return Asking(name, None, None, Decomposing("gold", None, None, gold, self._with_gold))
        model = self.model(asks, "decomposer")
        return Asking(name, model.footprint, model.price, phases.asker(self.study, model))

    def _solvings(self) -> list[Solving]:
        grid = self.study.grid
        found = []
        for name in grid.solvers:
            model = self.model(name, "solver")
            greedy = self.solver(model)
            sampled = Sampling(grid.temperature, grid.top_p, self.study.solve.max_tokens)
            voting = replace(greedy, sampling=sampled, samples=grid.samples, logprobs=self.study.asks_logprobs)
            labels = tuple(dict.fromkeys(f"{self._rule(name)}@{grid.samples}" for name in grid.votes))
            for votes, solver in [(("greedy",), greedy), *([(labels, voting)] if grid.samples else [])]:
                title = f"solve: {name}, {_called(votes)}"
                watched = _WatchedSolver(solver, partial(self.stage, title, model))
                stepwise = phases.interactive(self.study, solver) if name in grid.interactive else None
                ranking = self._ranking() if "@" in votes[0] and grid.asks("rank") else None
                one_by_one = None
                if stepwise:
                    one_by_one = _WatchedInteractive(stepwise, partial(self.stage, f"{title}, one by one", model))
                found.append(Solving(name, model.footprint, model.price, votes, watched, ranking, one_by_one))
        return found

    def _rule(self, name: str) -> str:
        """The formula's name where one was learned."""
        if name != vote.LEARNED:
            return name
        return f"rank_1_plus_{held_out(self.directory / 'ranker').slope:g}"

    def _ranking(self) -> Ranking:
        from ..distill.scoring import Scorer  # torch takes seconds to import

        scorer = Scorer(self.directory / "ranker", self.store, self.study.student.device)
        return Ranking("ranker", scorer.footprint, self._student_price, scorer)

    # -- what belongs to what --------------------------------------------------------------------------------------

    def prompts(self, role: str) -> dict[str, str]:
        """The templates that a role is asked with, and their hashes."""
        of = self.study.prompts
        used = [of.decompose] if role == "decomposer" else [of.solve, of.single_stage]
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
        if facts["prompts"] != self.prompts(facts["role"]):
            raise ConfigError(f"{directory} was distilled under other prompts; remove it to train again")

    def _remember(self) -> None:
        """Keep the resolved config. Another one is taken over only where nothing was made under the old one yet."""
        path = self.directory / "config.yaml"
        if not path.is_file():
            if {entry.name for entry in self.directory.iterdir()} - {".lock"}:
                raise ConfigError(
                    f"{self.directory} is neither empty nor a run directory; give another --run directory"
                )
        elif fixed := [key for key in differences(stored(self.directory), self.study) if self._is_fixed(key)]:
            raise ConfigError(
                f"{self.directory} was begun under another config (it differs in {', '.join(fixed)}); "
                "give another --run directory, or the old settings"
            )
        text = dump(self.study)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            part = path.with_suffix(".part")
            part.write_text(text, encoding="utf-8")
            part.replace(path)

    def _is_fixed(self, key: str) -> bool:
        """Whether something that follows from a setting was made already."""
        if is_operational(key):
            return False
        first, _, rest = key.partition(".")
        role, _, setting = rest.partition(".")
        if key in _OF_THE_GRID:
            first = "grid"
        made = {
            # Methods that are compared have a recipe in common, and each a method of its own.
            "distill": self._follow(role, setting),
            "methods": ["methods"] if rest == "role" else [],
            "grid": [] if rest in ("stops", "reader") else ["results.parquet"],
            "tests": ["results.parquet"],
            "models": ["results.parquet"],
        }.get(first, ["traces/traces.json", "decomposer*", "solver*", "ranker", "results.parquet"])
        return any(any(self.directory.glob(name)) for name in made)

    def _follow(self, role: str, setting: str) -> list[str]:
        """What is made by a setting of a recipe."""
        made = [f"{role}*"] if setting == "method" or role == "ranker" else [f"{role}*", "methods"]
        return [*made, "ranker"] if role == "solver" and self.study.distill.ranker.own else made


_Stage = Callable[[], AbstractContextManager[Stage]]
"""Begins a part of a run."""


def _nothing() -> None:
    """Of a model that works elsewhere, nobody here knows what it works under."""


@dataclass(frozen=True)
class _WatchedDecomposer:
    decomposer: PromptedDecomposer
    stage: _Stage

    def __call__(self, questions: Sequence[Question]) -> list[Decomposition]:
        with self.stage() as advance:
            return replace(self.decomposer, advance=advance)(questions)


@dataclass(frozen=True)
class _WatchedSolver:
    solver: PromptedSolver
    stage: _Stage

    def __call__(self, questions: Sequence[Question], decompositions: Sequence[Decomposition]) -> list[list[Solution]]:
        with self.stage() as advance:
            return replace(self.solver, advance=advance)(questions, decompositions)


@dataclass(frozen=True)
class _WatchedInteractive:
    solver: InteractiveSolver
    stage: _Stage

    def __call__(self, questions: Sequence[Question], asker: Asker) -> list[Worked]:
        with self.stage() as advance:
            watched = replace(self.solver, solver=replace(self.solver.solver, advance=advance))
            return watched(questions, asker)


def _called(votes: Sequence[str]) -> str:
    """What a stage that samples for these votes is called."""
    return votes[0] if len(votes) == 1 else f"{votes[0]} and {len(votes) - 1} other votes"


_EVALUATED = ("results.parquet", "data.json", "devices.json", "provenance.json", requests.REQUESTS)
"""What an evaluation writes."""

_FREE = {"none": none, "none-direct": direct, "empty": empty}
"""Decomposers that ask nobody, on every test."""

OPERATIONAL = frozenset(
    {
        *("batch", "device", "at_once", "cache", "context", "concurrency", "requests_per_minute", "tokens_per_minute"),
        *("timeout", "attempts", "timeouts", "together", "batch", "poll", "api_key_env", "max_usd", "store"),
        "reproducible",
    }
)
"""Settings that decide how models are run and not what they say; they may change in the middle of a run."""


_OF_THE_GRID = frozenset(f"prompts.{name}" for name in ("direct", "next", "step", "finish"))
"""Prompts that neither the teacher nor a student is asked with before the grid is."""


def is_operational(key: str) -> bool:
    """Whether a setting, by its dotted name, decides only how models are run."""
    first, _, rest = key.partition(".")
    if first == "models":
        rest = rest.partition(".")[2]
    return (rest or first) in OPERATIONAL


def _is_worthless(directory: Path) -> bool:
    """Whether a run's directory holds nothing that was collected, trained or measured."""
    files = [path for path in directory.rglob("*") if not path.is_dir()]
    stores = [path for path in files if path.name == "store.sqlite"]
    rest = {path.name for path in files} - {".lock", "config.yaml", "config.part", "log.jsonl"}
    return all(name.startswith("store.sqlite") for name in rest) and all(map(is_empty, stores))


def _lock(file: IO[str], directory: Path) -> None:
    """Hold a lock until the file is closed, which the system does when the process ends, however it ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"another divcon is at work in {directory}") from None
    file.write(str(os.getpid()))
    file.flush()
