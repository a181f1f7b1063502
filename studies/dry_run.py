"""What a study would ask of its models, and what that may cost, counted before anything is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import isfinite

from ..eval.config import Study
from ..eval.grid.gold_coverage import with_gold
from ..eval.grid.sample_counts import Naive, unshared
from ..eval.grid_spec import (
    GREEDY,
    LLM,
    Cell,
    DecomposerSpec,
    GoldDecomposition,
    SolverSpec,
    UseStudent,
    VoteSpec,
    decomposing_model,
    inner_decomposer,
    is_interactive,
    stage,
)
from ..lm.api.token_estimate import estimated
from ..lm.cost.prices import MachinePrice, Price
from ..lm.engines.scripted import Scripted
from ..lm.local.chat_template import encode
from ..lm.local.model_dir import ModelDirectory
from ..lm.model import Model
from ..lm.recorder import NoRecord
from ..lm.settings import LocalSettings, OpenAISettings
from ..lm.types import Message, Usage
from ..tasks.question import Question
from . import prompting
from .pilot import Lengths, PilotRates
from .progress import duration
from .prompt_lengths import check_contexts

_SUBQUESTION = "x" * 60
"""About as long as a sub-question that is yet to be written."""
_LOOKED_AT = 200
"""Questions whose prompts are counted; the others are taken to be alike."""

Count = Callable[[Sequence[Message]], int]
"""From a conversation to its tokens."""


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a study: who is asked, for how much."""

    name: str
    model: SolverSpec
    requests: int
    """Prompts; samples that are asked for together share one."""
    samples: int
    prompt_tokens: int
    """About."""
    tokens: tuple[int, int]
    """Completion tokens, at least and at most: of a pilot, two standard errors about what it measured; else nothing,
    and every sample as long as its limit allows."""
    price: Price | None
    """None where it is unknown, or costs nothing but time."""

    @property
    def dollars(self) -> tuple[float, float] | None:
        """With as few completion tokens as may be, and with as many."""
        if self.price is None:
            return None
        least, most = (self.price.dollars(Usage(self.prompt_tokens, tokens)) for tokens in self.tokens)
        return least, most


@dataclass(frozen=True)
class Plan:
    """A study's stages in order."""

    stages: tuple[PlannedStage, ...]
    unshared: Naive
    """What the grid alone would ask for if its cells shared nothing."""
    is_priced: bool
    """Whether all that is bought has a price."""
    is_measured: bool
    """Whether all lengths come from a pilot."""
    is_timed: bool = False
    """Whether a model is paid for by its machine, which is not planned."""
    rates: PilotRates | None = None
    """How fast a pilot went."""

    def __str__(self) -> str:
        wide, models = (max(len(str(getattr(stage, of))) for stage in self.stages) for of in ("name", "model"))
        lines = [f"{stage.name:<{wide}}  {stage.model!s:<{models}}  {_line(stage)}" for stage in self.stages]
        total = sum(stage.samples for stage in self.stages)
        grid = sum(stage.samples for stage in self.stages if not stage.name.startswith("collect: "))
        lines.append(f"{total:,} samples in all at most; a run asks for those that its store does not have")
        lines.append(
            f"{grid:,} of them for the grid, each different one once; cells and votes that share nothing would ask for "
            f"{self.unshared.each_vote:,}, and every k for samples of its own for {self.unshared.each_k:,}"
        )
        priced = [stage.dollars for stage in self.stages if stage.dollars is not None]
        if priced:
            low, high = (_money(sum(bound)) for bound in zip(*priced, strict=True))
            measured = f"{low} to {high} (two standard errors about what the pilot measured)"
            lines.append(measured if self.is_measured else f"{low} (the prompts alone) to {high} (all at their limits)")
        if self.is_timed:
            lines.append("what a machine's time or operations cost is not in it")
        if not self.is_priced:
            lines.append("what the LLM costs is unknown: give it a price")
        if self.rates:
            lines.append(self._takes(self.rates))
        return "\n".join(lines)

    def _takes(self, rates: PilotRates) -> str:
        """How long the run will take, at the pilot's seconds a sample."""
        known = [(stage, rates.seconds(stage.name, stage.samples)) for stage in self.stages]
        asking = sum(seconds for _, seconds in known if seconds is not None)
        unlike = sorted({stage.name for stage, seconds in known if seconds is None})
        text = (
            f"about {duration(asking + rates.training)}, at the pilot's seconds a sample and on its machine: "
            f"{duration(asking)} of asking, {duration(rates.training)} of training"
        )
        return text + (f"; not in it, because the pilot had none like them: {', '.join(unlike)}" if unlike else "")


def plan(
    study: Study,
    train: Sequence[Question],
    tests: Mapping[str, Sequence[Question]],
    measured: Mapping[str, Lengths] | None = None,
    rates: PilotRates | None = None,
) -> Plan:
    """The stages of a study over these training and test questions; `measured` and `rates` are what a pilot found.

    Raises ConfigError where the tests cannot be asked what the grid asks.
    """
    check_contexts(study, train, tests)
    planner = _Planner(study, tests, measured or {})
    stages: list[PlannedStage] = []
    collect, grid = study.collect, study.grid
    if study.train.source != "traces":
        each = collect.decompositions * collect.solutions
        stages.append(planner.decomposing("collect: decompositions", LLM, train, collect.decompositions))
        prompts = collect.decompositions if planner.shares(LLM) else each
        stages.append(planner.solving("collect: solutions", LLM, train, prompts, each, is_decomposed=True))
        if any(isinstance(spec, UseStudent) and spec.track == "single" for spec in grid.solver_specs):
            prompts, name = (1 if planner.shares(LLM) else each), "collect: single-stage solutions"
            stages.append(planner.solving(name, LLM, train, prompts, each, is_decomposed=False))
    if grid.asks("rank") and (own := study.distill.ranker.student_samples):
        each, name = collect.decompositions * own, "collect: the student's own solutions"
        stages.append(
            planner.solving(name, UseStudent("solver"), train, collect.decompositions, each, is_decomposed=True)
        )
    decomposing = dict.fromkeys(asked for spec in grid.decomposer_specs if (asked := decomposing_model(spec)))
    stages += [planner.decomposing(f"decompose: {by}", by, planner.every, 1) for by in decomposing]
    for by, solver in planner.pairs:
        stages += planner.cell(by, solver)
    used = [study.llm, *(study.model(stage.model) for stage in stages)]
    is_priced = all(not isinstance(settings, OpenAISettings) or settings.rates() is not None for settings in used)
    is_measured = all(stage.name in planner.measured for stage in stages)
    is_timed = any(isinstance(settings.rates(), MachinePrice) for settings in used)
    return Plan(tuple(stages), planner.unshared(), is_priced, is_measured, is_timed, rates)


class _Planner:
    """Counts the stages of one study."""

    def __init__(self, study: Study, tests: Mapping[str, Sequence[Question]], measured: Mapping[str, Lengths]) -> None:
        self._study = study
        self.every = [question for asked in tests.values() for question in asked]
        of_gold = with_gold(tests, study.grid.decomposer_specs)
        self._gold = [question for test in tests if test in of_gold for question in tests[test]]
        self.measured = {name: lengths for name, lengths in measured.items() if isfinite(lengths.error)}
        self._count = cache(lambda model: _counter(study.model(model)))
        asker = Model("nobody", Scripted(), NoRecord())  # requests are made as the run makes them, and never sent
        self._decomposer, self._solver = prompting.decomposer(study, asker), prompting.solver(study, asker)

    @property
    def pairs(self) -> list[tuple[DecomposerSpec, SolverSpec]]:
        """Decomposers and solvers that are asked together, as far as the config says."""
        grid, of_traces = self._study.grid, self._study.train.source == "traces"
        return [
            (by, solver)
            for solver in grid.solver_specs
            for by in grid.decomposer_specs
            if of_traces or (taught := self._study.stages_taught(solver)) is None or stage(by) in taught
        ]

    def _price(self, model: SolverSpec) -> Price | None:
        rates = self._study.model(model).rates()
        return rates if isinstance(rates, Price) else None

    def shares(self, model: SolverSpec) -> bool:
        """Whether samples of a prompt are asked for together."""
        settings = self._study.model(model)
        return not isinstance(settings, OpenAISettings) or (settings.together and not settings.batch_api)

    def decomposing(
        self, name: str, model: SolverSpec, questions: Sequence[Question], samples: float, times: float | None = None
    ) -> PlannedStage:
        """A stage of so many decompositions a question, each prompt sent once where its samples share it."""
        prompts = [self._decomposer.request(question).messages for question in _some(questions)]
        times = times or (1 if self.shares(model) else samples)
        return self._stage(name, model, len(questions), prompts, times, samples, self._study.decompose.max_tokens)

    def _questions_of(self, by: DecomposerSpec) -> list[Question]:
        """The questions that a decomposer is asked."""
        return self._gold if isinstance(inner_decomposer(by), GoldDecomposition) else self.every

    def cell(self, by: DecomposerSpec, solver: SolverSpec) -> list[PlannedStage]:
        """What a decomposer and a solver take together, beyond the decompositions that others share."""
        grid, name, questions = self._study.grid, f"solve: {by} -> {solver}", self._questions_of(by)
        ways = 1 + grid.samples
        if not is_interactive(by):
            times = 1 + (min(grid.samples, 1) if self.shares(solver) else grid.samples)
            return [self.solving(name, solver, questions, times, ways, is_decomposed=stage(by) == "solve")]
        if str(solver) not in grid.interactive:
            return []
        limit = self._study.decompose.max_subquestions
        answers = ways * self._calls(name, limit + 1)  # each sample may go a way of its own
        stages = [self.solving(name, solver, questions, answers, answers, is_decomposed=True)]
        if asker := decomposing_model(by):
            name = f"ask: {by} -> {solver}"
            asks = ways * self._calls(name, limit)
            stages.insert(0, self.decomposing(name, asker, questions, asks, asks))
        return stages

    def _calls(self, stage: str, most: float) -> float:
        """Turns of a sample: as a pilot measured, or as many as there may be."""
        return self.measured[stage].calls if stage in self.measured else most

    def unshared(self) -> Naive:
        """Samples of a grid whose cells share nothing; of interactive ones at most."""
        grid, limit = self._study.grid, self._study.decompose.max_subquestions
        votes = [GREEDY, *(VoteSpec(vote, grid.samples) for vote in dict.fromkeys(grid.votes) if grid.samples)]
        cells = []
        for (by, solver), vote in product(self.pairs, votes):
            k, asks = vote.samples, decomposing_model(by) is not None
            if not is_interactive(by):
                each = int(asks), k
            elif str(solver) in grid.interactive:
                each = k * limit * asks, k * (limit + 1)
            else:
                continue
            cells += [(Cell(by, solver, vote), *each)] * len(self._questions_of(by))
        return unshared(cells)

    def solving(
        self,
        name: str,
        model: SolverSpec,
        questions: Sequence[Question],
        times: float,
        samples: float,
        *,
        is_decomposed: bool,
    ) -> PlannedStage:
        """A stage in which each prompt is sent so many `times`, for so many samples of each question in all."""
        made = [_SUBQUESTION] * self._study.decompose.max_subquestions if is_decomposed else []
        prompts = [
            self._solver.request(question, made and (question.subquestions or made)).messages
            for question in _some(questions)
        ]
        return self._stage(name, model, len(questions), prompts, times, samples, self._study.solve.max_tokens)

    def _stage(
        self,
        name: str,
        model: SolverSpec,
        questions: int,
        prompts: Sequence[Sequence[Message]],
        times: float,
        samples: float,
        limit: int,
    ) -> PlannedStage:
        wanted, sent = round(questions * samples), round(questions * times)
        known = self.measured.get(name)
        prompt = known.prompt if known else sum(map(self._count(model), prompts)) / max(1, len(prompts))
        error = 2 * known.error if known else float("inf")
        least, most = (known.completion - error, known.completion + error) if known else (0.0, float(limit))
        tokens = round(wanted * max(0.0, least)), round(wanted * min(float(limit), most))
        return PlannedStage(name, model, sent, wanted, round(prompt * sent), tokens, self._price(model))


def _counter(settings: LocalSettings | OpenAISettings) -> Count:
    """A tokenizer where there is one on this machine; it is not downloaded for this."""
    if isinstance(settings, LocalSettings) and settings.is_local:
        tokenizer = ModelDirectory(settings.path).tokenizer
        return lambda messages: len(encode(tokenizer, messages))
    return estimated


def _some(questions: Sequence[Question]) -> Sequence[Question]:
    return questions[:: max(1, len(questions) // _LOOKED_AT)]


def _line(stage: PlannedStage) -> str:
    least, most = stage.tokens
    tokens = f"{least:,} to {most:,} tokens" if least else f"at most {most:,} tokens"
    counts = f"{stage.requests:>7,} prompts (about {stage.prompt_tokens:,} tokens)  "
    counts += f"{stage.samples:>7,} samples, {tokens}"
    return counts if stage.dollars is None else f"{counts}, {' to '.join(map(_money, stage.dollars))}"


def _money(dollars: float) -> str:
    return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.4f}"
