"""What a study would ask of its models, and what that may cost, counted before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import prompts
from ..lm.completion import Usage
from ..lm.prices import Price
from ..tasks import Question
from .study import Study

_CHARACTERS = 4
"""Of a token, about: no tokenizer of an API is at hand."""
_SUBQUESTION = 60
"""Characters of a sub-question that is yet to be written, about."""


@dataclass(frozen=True)
class Stage:
    """One stage of a study: who is asked, for how much."""

    name: str
    model: str
    requests: int
    """Prompts; samples of one prompt share it."""
    samples: int
    prompt_tokens: int
    """About."""
    tokens: int
    """Completion tokens at most: every sample as long as its limit allows."""
    price: Price | None
    """None where it is unknown, or costs nothing but time."""

    @property
    def dollars(self) -> tuple[float, float] | None:
        """The prompts alone, and with every completion at its limit."""
        if self.price is None:
            return None
        least = self.price.dollars(Usage(self.prompt_tokens))
        return least, least + self.price.dollars(Usage(0, self.tokens))


@dataclass(frozen=True)
class Plan:
    """A study's stages in order."""

    stages: tuple[Stage, ...]
    is_priced: bool
    """Whether all that is bought has a price."""

    def __str__(self) -> str:
        wide = max(len(stage.name) for stage in self.stages)
        lines = [f"{stage.name:<{wide}}  {_line(stage)}" for stage in self.stages]
        total = sum(stage.samples for stage in self.stages)
        lines.append(f"{total:,} samples in all; a run asks for those that its store does not have")
        priced = [stage.dollars for stage in self.stages if stage.dollars is not None]
        if priced:
            low, high = (sum(bound) for bound in zip(*priced, strict=True))
            lines.append(f"{_money(low)} (the prompts alone) to {_money(high)} (every completion at its limit)")
        if not self.is_priced:
            lines.append("what the LLM costs is unknown: give it a price")
        return "\n".join(lines)


def plan(study: Study, train: Sequence[Question], test: Sequence[Question]) -> Plan:
    """The stages of a study over these training and test questions."""
    collect, grid = study.collect, study.grid
    stages = []
    if study.train.source != "traces":
        stages.append(_decomposing("collect: decompositions", "llm", study, train, collect.decompositions))
        each = collect.decompositions * collect.solutions
        stages.append(_solving("collect: solutions", "llm", study, train, collect.decompositions, each, asked=True))
    stages += [_decomposing(f"decompose: {d}", d, study, test, 1) for d in grid.decomposers if d != "none"]
    stages += [
        _solving(
            f"solve: {d} -> {solver}", solver, study, test, 2 if grid.samples else 1, 1 + grid.samples, d != "none"
        )
        for solver in grid.solvers
        for d in grid.decomposers
    ]
    return Plan(tuple(stages), study.llm.engine != "openai" or study.llm.rates() is not None)


def _decomposing(name: str, model: str, study: Study, questions: Sequence[Question], samples: int) -> Stage:
    prompt = _tokens(prompts.load(study.prompts.decompose).text, questions)
    limit = study.decompose.max_tokens
    return _stage(name, model, study, len(questions), samples, prompt, limit, 1)


def _solving(
    name: str, model: str, study: Study, questions: Sequence[Question], times: int, samples: int, asked: bool
) -> Stage:
    template = prompts.load(study.prompts.solve if asked else study.prompts.single_stage).text
    prompt = _tokens(template, questions, study.decompose.limit * _SUBQUESTION if asked else 0)
    return _stage(name, model, study, len(questions), samples, prompt, study.solve.max_tokens, times)


def _stage(
    name: str, model: str, study: Study, questions: int, samples: int, prompt: int, limit: int, times: int
) -> Stage:
    """A stage in which each prompt is sent so many `times`, for so many samples of each question in all."""
    rates = (study.llm if model == "llm" else study.student).rates()
    price = rates if isinstance(rates, Price) else None
    wanted = questions * samples
    return Stage(name, model, questions * times, wanted, prompt * times, wanted * limit, price)


def _tokens(template: str, questions: Sequence[Question], more: int = 0) -> int:
    return sum(len(template) + len(question.prompt) + more for question in questions) // _CHARACTERS


def _line(stage: Stage) -> str:
    counts = f"{stage.model:<9}  {stage.requests:>7,} prompts (about {stage.prompt_tokens:,} tokens)  "
    counts += f"{stage.samples:>7,} samples, at most {stage.tokens:,} tokens"
    return counts if stage.dollars is None else f"{counts}, {' to '.join(map(_money, stage.dollars))}"


def _money(dollars: float) -> str:
    return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.4f}"
