"""What a small run of a study has measured, so that what a large one will cost can be told beforehand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from ..core.errors import ConfigError
from ..core.jsonlines import readable
from ..distill.traces import trace as traces
from ..eval.config import Study, decides_results, differences
from ..eval.grid import results
from ..eval.grid.rows import PhaseCost, ResultRow
from ..eval.grid_spec import is_interactive
from ..eval.run_dir import RunDirectory


@dataclass(frozen=True)
class Lengths:
    """Tokens of a stage's prompts and completions: means over questions."""

    prompt: float
    completion: float
    error: float
    """Standard error of `completion`; infinite with a single question."""
    calls: float = 1.0
    """Samples for each solution: more than one where sub-questions are asked one at a time."""


class _Asked(NamedTuple):
    stage: str
    question: str
    prompt: float
    completion: float
    """A sample's, where several share the prompt."""
    weight: float = 1.0
    """How many samples of the planned study it stands for."""
    calls: float = 1.0
    """Samples for each solution."""


def lengths(run: Path, study: Study) -> dict[str, Lengths]:
    """By stage of a study, named as in its plan.

    Raises ConfigError when the run has not come to its end, or is of a study that asks for something else.
    """
    unlike = [key for key in differences(RunDirectory(run).study, study) if not _may_differ(key)]
    if unlike:
        raise ConfigError(f"{run} is no pilot of this study: they differ in {', '.join(unlike)}")
    imported = study.train.source == "traces"
    asked = [*(() if imported else (*_collected(RunDirectory(run).traces), *_single(RunDirectory(run).single_traces)))]
    asked += _evaluated(RunDirectory(run).results, study.grid.samples)
    stages: dict[str, list[_Asked]] = {}
    for one in asked:
        stages.setdefault(one.stage, []).append(one)
    return {stage: _lengths(of_stage) for stage, of_stage in stages.items()}


def _may_differ(key: str) -> bool:
    """Whether a setting says nothing about how long a prompt or a completion is."""
    parts = key.split(".")
    if parts[0] in ("train", "tests"):
        return parts[-1] in ("max_questions", "seed", "cluster")
    return key in _HOW_MANY or parts[0] in _ELSEWHERE or "price" in parts or not decides_results(key)


_ELSEWHERE = {"seed", "distill", "allow_overlap"}
_HOW_MANY = {"collect.decompositions", "collect.solutions"}
_HOW_MANY |= {f"grid.{key}" for key in ("samples", "decomposers", "solvers", "interactive", "votes", "stops", "reader")}


def _collected(path: Path) -> Iterator[_Asked]:
    if not traces.exist(path):
        raise ConfigError(f"no traces in {path.parent}; run the pilot to its end first")
    attempts = set()
    for trace in traces.read(path):
        question, usage, before = trace.question.id, trace.usage, trace.decomposition_usage
        if (question, trace.attempt) not in attempts:
            attempts.add((question, trace.attempt))
            yield _Asked("collect: decompositions", question, before.prompt_tokens, before.completion_tokens)
        yield _Asked("collect: solutions", question, usage.prompt_tokens, usage.completion_tokens)


def _single(path: Path) -> Iterator[_Asked]:
    """Single-stage solutions, where the pilot has collected some."""
    for trace in traces.read(path) if traces.exist(path) else ():
        usage = trace.usage
        yield _Asked("collect: single-stage solutions", trace.question.id, usage.prompt_tokens, usage.completion_tokens)


def _evaluated(path: Path, samples: int) -> Iterator[_Asked]:
    """Of a question, one greedy completion and so many samples will be asked for."""
    decomposed = set()
    for row in results.read(path):
        decomposer, solver, vote = row.cell
        question, cell = f"{row.test}: {row.id}", f"{decomposer} -> {solver}"
        stage = f"ask: {cell}" if is_interactive(decomposer) else f"decompose: {decomposer}"
        if row.decompose.calls and (question, stage) not in decomposed:
            decomposed.add((question, stage))
            yield _each(stage, question, row, row.decompose, 1.0)
        weight = 1.0 if vote.is_greedy else float(samples)
        yield _each(f"solve: {cell}", question, row, row.solve, weight)


def _each(stage: str, question: str, row: ResultRow, phase: PhaseCost, weight: float) -> _Asked:
    """A call of a phase, on average; what is asked turn by turn has a prompt for each."""
    one_by_one = is_interactive(row.cell.decomposer)
    prompts = phase.calls if one_by_one else 1
    turns = phase.calls / len(row.solutions) if one_by_one else 1.0
    return _Asked(stage, question, phase.prompt_tokens / prompts, phase.completion_tokens / phase.calls, weight, turns)


def _lengths(asked: Iterable[_Asked]) -> Lengths:
    """Samples of one question are alike, so that it is questions that count for the error."""
    asked = list(asked)
    questions: dict[str, list[_Asked]] = {}
    for one in asked:
        questions.setdefault(one.question, []).append(one)
    prompts = [fmean(one.prompt for one in of_question) for of_question in questions.values()]
    completions = [
        fmean((one.completion for one in of_question), weights=[one.weight for one in of_question])
        for of_question in questions.values()
    ]
    error = stdev(completions) / len(completions) ** 0.5 if len(completions) > 1 else float("inf")
    return Lengths(fmean(prompts), fmean(completions), error, fmean(one.calls for one in asked))


@dataclass(frozen=True)
class PilotRates:
    """How fast a pilot went: the wall seconds of its stages, as its log has them."""

    samples: Mapping[str, float]
    """Seconds a fresh sample, by stage: `collect`, `decompose: NAME`, `solve: NAME`."""
    training: float
    """Seconds of all its trainings."""

    def seconds(self, stage: str, samples: int) -> float | None:
        """Of so many samples of a planned stage; None where the pilot had none like it."""
        each = self.samples.get(_kind(stage))
        return None if each is None else each * samples


def rates(run: Path) -> PilotRates:
    """The seconds of a run, from its log. Raises ConfigError when there is no such run."""
    RunDirectory(run).check()
    log = RunDirectory(run).log
    fresh: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    training = 0.0
    for line in readable(log.read_text(encoding="utf-8", errors="replace")) if log.is_file() else ():
        if line.get("event") != "end" or not isinstance(line.get("seconds"), int | float):
            continue
        name = str(line.get("stage"))
        if name.startswith("distil:"):
            training += line["seconds"]
        elif (made := int(line.get("done", 0)) - int(line.get("kept", 0))) > 0:
            fresh[_kind(name)] += made
            seconds[_kind(name)] += line["seconds"]
    return PilotRates({name: seconds[name] / made for name, made in fresh.items()}, training)


def _kind(stage: str) -> str:
    """What stages of a plan and of a log have in common: `solve: llm -> distilled` and `solve: distilled, greedy`."""
    what, _, who = stage.partition(": ")
    return what if what == "collect" else f"{what}: {who.partition(',')[0].rpartition(' -> ')[2]}"
