"""What a small run of a study has measured, so that what a large one will cost can be told beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from ..distill import traces
from ..tasks.errors import ConfigError
from . import results


@dataclass(frozen=True)
class Lengths:
    """Tokens of a stage's prompts and completions: means over questions."""

    prompt: float
    completion: float
    error: float
    """Standard error of `completion`; infinite with a single question."""


class _Asked(NamedTuple):
    stage: str
    question: str
    prompt: int
    completion: float
    """A sample's, where several share the prompt."""


def lengths(run: Path) -> dict[str, Lengths]:
    """By stage, named as in a plan. Raises ConfigError when the run has not come to its end."""
    asked = [*_collected(run / "traces" / "traces.jsonl"), *_evaluated(run / "results.parquet")]
    stages: dict[str, list[_Asked]] = {}
    for one in asked:
        stages.setdefault(one.stage, []).append(one)
    return {stage: _lengths(of_stage) for stage, of_stage in stages.items()}


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


def _evaluated(path: Path) -> Iterator[_Asked]:
    decomposed = set()
    for row in results.read(path):
        question, by = f"{row['test']}: {row['id']}", row["decomposer"]
        if by != "none" and (question, by) not in decomposed:
            decomposed.add((question, by))
            yield _Asked(
                f"decompose: {by}", question, row["decompose_prompt_tokens"], row["decompose_completion_tokens"]
            )
        each = row["solve_completion_tokens"] / len(row["solutions"])
        yield _Asked(f"solve: {by} -> {row['solver']}", question, row["solve_prompt_tokens"], each)


def _lengths(asked: Iterable[_Asked]) -> Lengths:
    """Samples of one question are alike, so that it is questions that count for the error."""
    questions: dict[str, list[_Asked]] = {}
    for one in asked:
        questions.setdefault(one.question, []).append(one)
    prompts = [fmean(one.prompt for one in of_question) for of_question in questions.values()]
    completions = [fmean(one.completion for one in of_question) for of_question in questions.values()]
    error = stdev(completions) / len(completions) ** 0.5 if len(completions) > 1 else float("inf")
    return Lengths(fmean(prompts), fmean(completions), error)
