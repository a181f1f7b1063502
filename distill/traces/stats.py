"""What a set of traces is worth: how many are right, what a vote over them reaches, and how long they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from ...solve.grading.grade import classify, grader_of
from ...solve.voting.rules import credit, tally
from .trace import Trace


@dataclass(frozen=True)
class TraceStats:
    """Counts and shares over traces; a question's traces vote together."""

    traces: int
    questions: int
    right: int
    wrong: int
    unreadable: int
    timed_out: int
    """Answers whose comparison with the gold one passed its limit."""
    samples: int
    """Traces of the question that has most: the k of the next two."""
    majority: float
    """Accuracy of the majority vote over all traces of each question; ties share credit."""
    oracle: float
    """Share of questions of which at least one trace is right."""
    right_characters: float | None
    """Median length of a right trace; None when there is none."""
    wrong_characters: float | None
    """Median length of any other; None when there is none."""
    right_by_tag: dict[str, dict[str, float]]
    """Share of right traces by each value of each tag."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.traces:,} traces of {self.questions:,} questions: "
            f"{self.right:,} right, {self.wrong:,} wrong, {self.unreadable:,} unreadable, {self.timed_out:,} timed out",
            f"majority@{self.samples} {self.majority:.4f}, oracle@{self.samples} {self.oracle:.4f}",
            f"median length: right {_rounded(self.right_characters)}, others {_rounded(self.wrong_characters)}",
        ]
        for tag, shares in self.right_by_tag.items():
            lines.append(f"right by {tag}: " + ", ".join(f"{value} {share:.3f}" for value, share in shares.items()))
        return "\n".join(lines)


def trace_stats(traces: Sequence[Trace]) -> TraceStats:
    """The figures of a set of traces; there must be one at least."""
    questions: dict[str, list[Trace]] = {}
    for trace in traces:
        questions.setdefault(trace.question.id, []).append(trace)
    verdicts = Counter(trace.verdict for trace in traces)
    return TraceStats(
        traces=len(traces),
        questions=len(questions),
        right=verdicts["right"],
        wrong=verdicts["wrong"],
        unreadable=verdicts["unreadable"],
        timed_out=verdicts["timed out"],
        samples=max(map(len, questions.values())),
        majority=_majority(list(questions.values())),
        oracle=sum(any(t.verdict == "right" for t in of) for of in questions.values()) / len(questions),
        right_characters=_length([t for t in traces if t.verdict == "right"]),
        wrong_characters=_length([t for t in traces if t.verdict != "right"]),
        right_by_tag=_by_tag(traces),
    )


def _majority(questions: Sequence[Sequence[Trace]]) -> float:
    """Over the labels that the traces carry."""
    answers = [[trace.answer for trace in traces] for traces in questions]
    classed = classify(answers, [grader_of(traces[0].question) for traces in questions])
    right = [[trace.verdict == "right" for trace in traces] for traces in questions]
    return sum(credit(tally(classes), of) for classes, of in zip(classed, right, strict=True)) / len(questions)


def _length(traces: Sequence[Trace]) -> float | None:
    return median(len(trace.solution) for trace in traces) if traces else None


def _rounded(value: float | None) -> str:
    return "none" if value is None else f"{value:.0f} characters"


def _by_tag(traces: Sequence[Trace]) -> dict[str, dict[str, float]]:
    seen: dict[str, dict[str, list[bool]]] = {}
    for trace in traces:
        for tag, value in trace.question.tags.items():
            seen.setdefault(tag, {}).setdefault(value, []).append(trace.verdict == "right")
    return {
        tag: {value: sum(right) / len(right) for value, right in sorted(values.items())} for tag, values in seen.items()
    }
