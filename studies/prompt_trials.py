"""What trials of prompts came to, and which prompts are best: a table of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..eval.render import escape
from ..eval.render.table import markdown, percent, points
from ..eval.stats.intervals import Estimate, accuracy, difference

Way = Literal["single stage", "two stages"]


class Choice(NamedTuple):
    """Prompts that a question can be asked with."""

    way: Way
    prompts: tuple[str, ...]
    """Of a single stage, or for sub-questions and for solutions."""
    examples: str | None
    """Worked examples shown first."""

    @property
    def decompose(self) -> tuple[str, str | None]:
        """What the sub-questions are asked with; choices that share it share them."""
        return self.prompts[0], self.examples

    @property
    def settings(self) -> str:
        """What a config takes."""
        names = ("single_stage",) if self.way == "single stage" else ("decompose", "solve")
        named = [*zip(names, self.prompts, strict=True), *([("examples", self.examples)] if self.examples else [])]
        return "prompts: {" + ", ".join(f"{name}: {value}" for name, value in named) + "}"


@dataclass(frozen=True)
class Trial:
    """What one choice of prompts came to."""

    choice: Choice
    is_right: tuple[bool | None, ...]
    """Question by question; None where a request failed permanently."""
    clusters: tuple[str, ...]
    """The family of each question, or its id."""
    declined: int
    """Questions that the model said to need no sub-question."""
    unreadable: int
    """Decompositions that could not be read."""
    cut: int
    """Completions that ended at their limit."""
    tokens: float
    """Per question that was answered, prompts and completions of both phases."""

    @property
    def total(self) -> int:
        """All questions of the trial, answered or not."""
        return len(self.is_right)

    @property
    def questions(self) -> int:
        """Those that were answered, right or wrong: the others are `unknown`."""
        return self.total - self.unknown

    @property
    def unknown(self) -> int:
        """Questions whose requests failed permanently."""
        return self.is_right.count(None)

    @property
    def accuracy(self) -> Estimate:
        """Share of the answered questions that are right."""
        known = [
            (right, family) for right, family in zip(self.is_right, self.clusters, strict=True) if right is not None
        ]
        return accuracy([float(right) for right, _ in known], [family for _, family in known])


def accuracy_difference(a: Trial, b: Trial) -> Estimate | None:
    """Accuracy of a less that of b, on the questions that both answered; None where there are none."""
    both = [
        (float(one), float(other), family)
        for one, other, family in zip(a.is_right, b.is_right, a.clusters, strict=True)
        if one is not None and other is not None
    ]
    return difference(*zip(*both, strict=True)) if both else None


@dataclass(frozen=True)
class Trials:
    """All of them, on the same questions; and the best of each way on questions of the tests."""

    trials: tuple[Trial, ...]
    are_of_training: bool = False
    """Whether the study learns from these questions, because the training source has no others."""
    tested: tuple[tuple[str, Trial], ...] = ()
    """The best of each way on the questions of a test, with the test's name."""

    @property
    def best(self) -> dict[Way, Trial]:
        """The most accurate of each way; of equals the one with fewer tokens. None of a way that nobody answered."""
        known = [trial for trial in self.trials if trial.questions]
        return {
            way: max((t for t in known if t.choice.way == way), key=lambda t: (t.accuracy.value, -t.tokens))
            for way in dict.fromkeys(trial.choice.way for trial in known)
        }

    def __str__(self) -> str:
        best = self.best
        data = "questions that the study learns from (the training source has no others)"
        note = (
            f"Greedy decoding, on {data if self.are_of_training else 'validation questions'}. Shares are of questions. "
            "The best of several trials is overestimated: measure the chosen prompts on the tests (`--test N`)."
        )
        chosen = "\n".join(f"{way}: `{trial.choice.settings}`" for way, trial in best.items())
        parts = [_table([("", trial) for trial in self.trials], tuple(best.values())), escape.markdown(note), chosen]
        return "\n\n".join([*parts, *self._on_tests()])

    def _on_tests(self) -> list[str]:
        if not self.tested:
            return []
        lines = []
        for test in dict.fromkeys(name for name, _ in self.tested):
            of = {trial.choice.way: trial for name, trial in self.tested if name == test}
            if len(of) == 2 and (change := accuracy_difference(of["two stages"], of["single stage"])):
                lines.append(
                    f"{escape.markdown(test)}: two stages less a single stage {points(change)} points of accuracy"
                )
        return ["The chosen prompts on tests:", _table(self.tested), "\n".join(lines)]


def _table(named: Sequence[tuple[str, Trial]], best: Sequence[Trial] = ()) -> str:
    """A row a trial; the test's name in front where there is one."""
    has_tests, has_unknown = any(name for name, _ in named), any(trial.unknown for _, trial in named)
    header = ["way", "prompts", "examples", "n", "declined", "unreadable", "cut off", "accuracy (%)", "tokens"]
    rows = [
        [
            *[name] * has_tests,
            trial.choice.way,
            ", ".join(trial.choice.prompts),
            trial.choice.examples or "none",
            str(trial.questions),
            *_shares((trial.declined, trial.unreadable, trial.cut), trial.total),
            percent(trial.accuracy) + " (best)" * (trial in best) if trial.questions else "unknown",
            f"{trial.tokens:,.0f}" if trial.questions else "unknown",
            *[str(trial.unknown)] * has_unknown,
        ]
        for name, trial in named
    ]
    return markdown(([*["test"] * has_tests, *header, *["unknown"] * has_unknown], rows)).rstrip("\n")


def _shares(parts: Iterable[int], questions: int) -> list[str]:
    return [f"{100 * part / questions:.0f} %" for part in parts]
