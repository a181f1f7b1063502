"""Running a study: collect, distil both phases, evaluate every cell; each stage goes on where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .. import prompts as templates
from ..core.files import atomic_write
from ..decompose.controls import Change, gold, shuffled, truncated
from ..decompose.decomposition import Decomposition
from ..decompose.prompted import PromptedDecomposer
from ..distill import student
from ..distill.data.examples import decompositions, solutions
from ..distill.ranker.held_out import held_out
from ..distill.traces import trace
from ..eval import freshness
from ..eval.analysis import reconstruction
from ..eval.analysis.declined import warnings
from ..eval.config import flat, is_operational
from ..eval.grid import results, sample_counts
from ..eval.grid.evaluate import (
    AnyGridDecomposer,
    ControlGridDecomposer,
    GridDecomposer,
    GridRanker,
    GridSolver,
    InteractiveGridDecomposer,
    compose,
)
from ..eval.grid.rows import Results
from ..eval.grid_spec import (
    GREEDY,
    LLM,
    DecomposerSpec,
    GoldDecomposition,
    InteractiveAsker,
    InteractiveDecomposition,
    NoDecomposition,
    ShuffledDecomposition,
    SolverSpec,
    TruncatedDecomposition,
    UseModel,
    UseStudent,
    VoteSpec,
    decomposing_model,
    is_interactive,
)
from ..lm.types import Sampling
from ..solve.policy import Asker, InteractiveSolver, Transcript
from ..solve.prompted import PromptedSolver
from ..solve.solution import Solution
from ..solve.voting import rules
from ..tasks.contamination import fingerprint
from ..tasks.question import Question
from . import inputs, prompting, provenance
from .context import StudyContext
from .distil import distil, distil_ranker
from .progress import Stage


class Run(StudyContext):
    """The stages of a study."""

    def distill_decomposer(self) -> dict[str, Any]:
        """The decomposer's student, trained unless it is there; what its card says."""
        return distil(self, "decomposer", self.study.distill.decomposer, self.files.decomposer, self.study.seed)

    def distill_solver(self) -> dict[str, Any]:
        """The solver's student, trained unless it is there; what its card says."""
        return distil(self, "solver", self.study.distill.solver, self.files.solver, self.study.seed)

    def distill_single(self) -> dict[str, Any]:
        """The student of single-stage solutions, trained unless it is there; what its card says."""
        return distil(self, "single", self.study.distill.single, self.files.single, self.study.seed)

    def distill_ranker(self) -> dict[str, Any]:
        """The ranker, trained unless it is there; what its card says."""
        return distil_ranker(self, self.files.ranker)

    def evaluate(self) -> Results:
        """Every cell of the grid on every test, and `results.parquet`."""
        reader = self.reader()
        self.check_tests()
        self._distil_variants()
        if self.study.grid.asks("rank"):
            self.distill_ranker()
        with self.store.recording_keys() as wanted:
            made = compose(self.tests, self._decomposings(), self._solvings(), self._judge)
        rows = results.with_overlaps(made, self.overlaps())  # raises for damaged traces, before a file is replaced
        self.keep_devices("llm", "student", *self.study.models)
        sample_counts.write(len(wanted), rows, self.files.sample_counts)
        self._write_data()
        provenance.write(self._provenance(), self.directory)
        results.save(rows, self.files.results)
        for warning in warnings(rows.known):
            self.progress.say(f"warning: {warning}")
            self.progress.event("warning", text=warning)
        if reader:
            with self.progress.stage(f"read: {reader.path}", begin=partial(self.remember, "read")) as advance:
                reconstruction.keep(rows.known, replace(reader, advance=advance), self.files.reconstruction)
        of = self.files
        written = [of.results, of.data, of.devices, of.provenance, of.sample_counts]
        freshness.write(of.evaluated, self._inputs(), [*written, *([of.reconstruction] if reader else [])])
        return rows

    def is_evaluated(self) -> bool:
        """Whether the results are those that `evaluate` would write again."""
        record = self.files.evaluated
        return record.is_file() and freshness.is_current(record, self._inputs())

    def _inputs(self) -> str:
        decisive = {key for key in flat(self.study) if not is_operational(key)}
        return inputs.of_results(self, self.llm_engine, decisive)

    def _distil_variants(self) -> None:
        roles: tuple[student.Role, ...] = ("decomposer", "solver")
        for role in roles:
            for folder, spec in self.students(role).items():
                if folder in (self.files.decomposer, self.files.solver):
                    continue  # stages of their own
                distil(self, spec.track, self.recipe(spec), folder, self.study.seed)

    def overlaps(self) -> results.Overlaps:
        """What each test question shares with the questions that each student has learned from."""
        by_role = {role: self.shared_with(questions) for role, questions in self._taught().items()}
        return {key: {role: found[key] for role, found in by_role.items()} for key in by_role["solver"]}

    def _taught(self) -> dict[student.Role, list[Question]]:
        """The questions that each student has learned from; all training questions as long as there are no traces."""
        path = self.files.traces
        if not trace.exist(path):
            return {"decomposer": self.train_questions, "solver": self.train_questions}
        collected, recipes = trace.read(path), self.study.distill
        asked, solved = collected, collected
        if recipes.decomposer.method == "kd":
            asked = decompositions(collected, self.study.decompose.max_subquestions, recipes.decomposer.data)
        if recipes.solver.method == "kd":
            solved = solutions(collected, recipes.solver.data)
        if trace.exist(self.files.single_traces):
            solved = [*solved, *trace.read(self.files.single_traces)]
        return {"decomposer": [t.question for t in asked], "solver": [t.question for t in solved]}

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
        atomic_write(self.files.data, json.dumps(self._data(), indent=2) + "\n")

    def _provenance(self) -> dict[str, Any]:
        """What the results were made with."""
        grid = self.study.grid
        asked = {*map(decomposing_model, grid.decomposer_specs), *grid.solver_specs} - {None}
        own = {UseModel(name): name for name in self.study.models}
        models = {"llm": self.llm} if LLM in asked else {}
        if asked & own.keys():
            models |= {name: self.own_models[name] for spec, name in own.items() if spec in asked}
        if asked - {LLM, *own}:
            models["student"] = replace(self.base, price=self.student_price)
        return provenance.record(
            {name: templates.load(name).sha256 for name in self._prompts},
            {name: model.engine.identity(None)._asdict() for name, model in models.items()},
            {name: model.price for name, model in models.items()},
        )

    @property
    def _prompts(self) -> list[str]:
        """The templates that the grid is asked with."""
        of, decomposers = self.study.prompts, self.study.grid.decomposer_specs
        used = [of.decompose, of.solve, of.single_stage] + [of.direct] * (NoDecomposition("direct") in decomposers)
        return used + [of.next, of.step, of.finish] * any(map(is_interactive, decomposers))

    def _judge(self, test: str, question: Question, subquestions: Sequence[str]) -> bool | None:
        return self.study.tests[test].judge(question, subquestions)

    def _decomposings(self) -> list[AnyGridDecomposer]:
        return list(map(self._decomposing, self.study.grid.decomposer_specs))

    def _decomposing(self, spec: DecomposerSpec) -> AnyGridDecomposer:
        match spec:
            case InteractiveDecomposition(asks):
                return self._interactive(spec, asks)
            case GoldDecomposition():
                return GridDecomposer(spec, None, None, gold, self.with_gold)
            case ShuffledDecomposition():
                return self._changed(spec, shuffled(self.study.seed))
            case TruncatedDecomposition(most):
                return self._changed(spec, truncated(most))
            case UseModel() | UseStudent():
                return self._model_decomposer(spec)
        return GridDecomposer(spec, None, None, prompting.null_decomposer(spec))

    def _changed(self, spec: DecomposerSpec, change: Change) -> ControlGridDecomposer:
        """A control: the LLM's decompositions, changed."""
        of = self._model_decomposer(LLM)
        return ControlGridDecomposer(spec, of.footprint, of.price, of, change, as_run=of.as_run)

    def _model_decomposer(self, spec: SolverSpec) -> GridDecomposer:
        """A decomposer that is a model."""
        model = self.model(spec)
        watched = _WatchedDecomposer(self.decomposer(model), partial(self.stage, f"decompose: {spec}", model))
        return GridDecomposer(spec, model.merged_footprint, model.price, watched, as_run=model.footprint)

    def _interactive(self, spec: DecomposerSpec, asks: InteractiveAsker) -> InteractiveGridDecomposer:
        """A decomposer that hears each answer before it asks on; gold sub-questions come one after the other."""
        if isinstance(asks, GoldDecomposition):
            return InteractiveGridDecomposer(spec, None, None, GridDecomposer(asks, None, None, gold, self.with_gold))
        model = self.model(asks)
        asker = prompting.asker(self.study, model)
        return InteractiveGridDecomposer(spec, model.merged_footprint, model.price, asker, as_run=model.footprint)

    def _solvings(self) -> list[GridSolver]:
        grid = self.study.grid
        found = []
        for spec in grid.solver_specs:
            model = self.model(spec)
            greedy = self.solver(model)
            sampled = Sampling(grid.temperature, grid.top_p, self.study.solve.max_tokens)
            voting = replace(greedy, sampling=sampled, samples=grid.samples, logprobs=self.study.asks_logprobs)
            sampling = tuple(dict.fromkeys(VoteSpec(self._rule(name), grid.samples) for name in grid.votes))
            for votes, solver in [((GREEDY,), greedy), *([(sampling, voting)] if grid.samples else [])]:
                title = f"solve: {spec}, {_called(votes)}"
                watched = _WatchedSolver(solver, partial(self.stage, title, model))
                stepwise = prompting.interactive(self.study, solver) if str(spec) in grid.interactive else None
                ranking = self._ranking() if not votes[0].is_greedy and grid.asks("rank") else None
                one_by_one = None
                if stepwise:
                    one_by_one = _WatchedInteractive(stepwise, partial(self.stage, f"{title}, one by one", model))
                found.append(
                    GridSolver(
                        spec,
                        model.merged_footprint,
                        model.price,
                        votes,
                        watched,
                        ranking,
                        one_by_one,
                        self.stages_taught(spec),
                        as_run=model.footprint,
                    )
                )
        return found

    def _rule(self, name: str) -> str:
        """The formula's name where one was learned."""
        if name != rules.LEARNED:
            return name
        return f"rank_1_plus_{held_out(self.directory / 'ranker').slope:g}"

    def _ranking(self) -> GridRanker:
        from ..distill.ranker.score import CachedScorer  # torch takes seconds to import

        scorer = CachedScorer(self.files.ranker, self.store, self.study.student.device)
        return GridRanker(UseModel("ranker"), scorer.footprint, self.student_price, scorer)


_Stage = Callable[[], AbstractContextManager[Stage]]
"""Begins a part of a run."""


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

    def __call__(self, questions: Sequence[Question], asker: Asker) -> list[Transcript]:
        with self.stage() as advance:
            watched = replace(self.solver, solver=replace(self.solver.solver, advance=advance))
            return watched(questions, asker)


def _called(votes: Sequence[VoteSpec]) -> str:
    """What a stage that samples for these votes is called."""
    return str(votes[0]) if len(votes) == 1 else f"{votes[0]} and {len(votes) - 1} other votes"
