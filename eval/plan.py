"""What a study would ask of its models, counted before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass

from .study import Study


@dataclass(frozen=True)
class Stage:
    """One stage of a study: who is asked for how many samples."""

    name: str
    model: str
    samples: int
    tokens: int
    """Completion tokens at most: every sample as long as its limit allows."""


@dataclass(frozen=True)
class Plan:
    """A study's stages in order."""

    stages: tuple[Stage, ...]

    def __str__(self) -> str:
        wide = max(len(stage.name) for stage in self.stages)
        lines = [
            f"{s.name:<{wide}}  {s.model:<9}  {s.samples:>8,} samples, at most {s.tokens:,} completion tokens"
            for s in self.stages
        ]
        total = sum(stage.samples for stage in self.stages)
        return "\n".join([*lines, f"{total:,} samples in all; a run asks for those that its store does not have"])


def plan(study: Study, train: int, test: int) -> Plan:
    """The stages of a study over so many training and test questions."""
    plans, solutions = study.decompose.max_tokens, study.solve.max_tokens
    decompositions = train * study.collect.decompositions
    stages = []
    if study.train.source != "traces":
        stages.append(_stage("collect: decompositions", "llm", decompositions, plans))
        stages.append(_stage("collect: solutions", "llm", decompositions * study.collect.solutions, solutions))
    asking = [name for name in study.grid.decomposers if name != "none"]
    stages += [_stage(f"decompose: {name}", name, test, plans) for name in asking]
    for solver in study.grid.solvers:
        each = test * (1 + study.grid.samples)
        stages += [_stage(f"solve: {d} -> {solver}", solver, each, solutions) for d in study.grid.decomposers]
    return Plan(tuple(stages))


def _stage(name: str, model: str, samples: int, limit: int) -> Stage:
    return Stage(name, model, samples, samples * limit)
