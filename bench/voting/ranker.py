"""Rankers on published traces: trained on half of the questions, tested on the others.

    python -m bench.voting.ranker TRACES FIGURES [MODEL [QUESTIONS]]

TRACES is a folder of published traces with eight samples a question. Rankers that count features are trained on the
whole half; MODEL, an encoder's directory, reads, and takes QUESTIONS of each half. Markdown comes out, and into FIGURES
the figure of what a ranker adds to the vote against how well it tells pairs. The traces say no probabilities, so that
`prob_sum` has nothing to weigh by here.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from divcon.distill.ranker import model as ranker
from divcon.distill.ranker.model import Group
from divcon.distill.ranker.pairs import won
from divcon.distill.ranker.train import SolutionGroup, train
from divcon.distill.recipes import Features, Lora, RankerRecipe, ReaderBackbone
from divcon.distill.traces import importers
from divcon.eval.analysis.ranker import Gain, Worth, baselines, worth
from divcon.eval.report import figures
from divcon.eval.stats.intervals import Estimate, accuracy, difference, questions_needed, ratio
from divcon.lm import Usage
from divcon.solve import GRADERS, Solution
from divcon.solve.grading.grade import Class, classify
from divcon.solve.voting.rules import RULES, Rule, credit, learn, named, tally

SIZES = (60, 250, 1000, 10_000)
HELD = 200
"""Questions of the learned half that only choose the weight of the ranker."""
GRADER: Literal["hendrycks"] = "hendrycks"


@dataclass(frozen=True)
class Part:
    """Questions with labelled solutions."""

    questions: Sequence[SolutionGroup]
    classes: Sequence[Sequence[Class]]

    @classmethod
    def of(cls, questions: Sequence[SolutionGroup]) -> Part:
        answers = [[s.answer for s in one.group.solutions] for one in questions]
        return cls(questions, classify(answers, [GRADERS[GRADER]] * len(questions)))

    @property
    def groups(self) -> list[Group]:
        return [one.group for one in self.questions]

    @property
    def right(self) -> list[tuple[bool, ...]]:
        return [one.right for one in self.questions]

    def credits(self, rule: Rule, scores: Sequence[Sequence[float | None]] | None = None) -> list[float]:
        given = scores or [None] * len(self.classes)
        each = zip(self.classes, self.right, given, strict=True)
        return [credit(tally(of, rule, some), right) for of, right, some in each]


_READERS = (
    ("A reader", "reader", False, SIZES),
    ("A reader, with the data set's solutions among the right ones", "reader + gold", True, SIZES[-1:]),
)


def questions(folder: Path) -> list[SolutionGroup]:
    """In an order drawn from seed 0."""
    of: dict[str, list[importers.Trace]] = {}
    for trace in importers.read(folder, GRADER).traces:
        of.setdefault(trace.question.id, []).append(trace)
    made = [
        SolutionGroup(
            Group(traces[0].question, tuple(Solution(t.solution, t.answer, Usage()) for t in traces)),
            tuple(t.verdict == "right" for t in traces),
        )
        for traces in of.values()
    ]
    return random.Random(0).sample(made, len(made))


def percent(of: Estimate, places: int = 1) -> str:
    value, low, high = (100 * part for part in of)
    return f"{value:.{places}f} [{low:.{places}f}, {high:.{places}f}]"


def points(of: Estimate) -> str:
    value, low, high = (100 * part for part in of)
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def by_majority(part: Part, scores: Sequence[Sequence[float | None]]) -> tuple[Estimate, Estimate]:
    """Pairs told where the count is right, and where a wrong answer outnumbers the right ones."""
    led = [credit(tally(of), right) > 0 for of, right in zip(part.classes, part.right, strict=True)]
    of_questions = list(zip(won(scores, part.right), led, strict=True))
    return ratio([pairs for pairs, one in of_questions if one]), ratio(
        [pairs for pairs, one in of_questions if not one]
    )


def show_baselines(part: Part) -> None:
    texts = [[s.text for s in group.solutions] for group in part.groups]
    none: list[list[float | None]] = [[None] * len(of) for of in texts]
    print("| scores without training | pairs told (%) | AUROC | where the count is right | where it is wrong |")
    print("|---|---:|---:|---:|---:|")
    for name, scores in baselines(texts, part.classes, none).items():
        found = worth(scores, part.right)
        leading, trailing = by_majority(part, scores)
        print(f"| {name} | {percent(found.pairs)} | {found.auroc:.3f} | {percent(leading)} | {percent(trailing)} |")
    print(flush=True)


def show_votes(part: Part, scores: Sequence[Sequence[float | None]], slope: float) -> None:
    """Every rule over all samples, beside the count."""
    count = part.credits(RULES["count"])
    print("| vote over 8 | accuracy (%) | beside `count` (points) | questions to see one point |")
    print("|---|---:|---:|---:|")
    print(f"| `count` | {percent(accuracy(count), 2)} | | |")
    for name in [*(name for name, rule in RULES.items() if rule.score == "rank"), f"rank_1_plus_{slope:g}"]:
        credits = part.credits(named(name), scores)
        beside, needed = points(difference(credits, count)), questions_needed(count, credits, 1)
        print(f"| `{name}` | {percent(accuracy(credits), 2)} | {beside} | {needed:,.0f} |")
    print(flush=True)


def show_calibration(found: Worth) -> None:
    print("| mean score | right (%) | solutions |\n|---:|---:|---:|")
    for score, share, count in found.calibration:
        print(f"| {score:.2f} | {percent(share)} | {count:,} |")
    print(flush=True)


def study(
    name: str,
    label: str,
    recipe: RankerRecipe,
    learned: Sequence[SolutionGroup],
    tested: Part,
    sizes: Sequence[int] = SIZES,
) -> list[Gain]:
    """One backbone at several sizes; what each adds to the vote."""
    held, learned = Part.of(learned[-HELD:]), learned[:-HELD]
    print(f"## {name}\n\n{len(learned):,} questions to learn from and {HELD} to choose the weight, ", end="")
    print(f"{len(tested.questions):,} to test on.\n")
    print("| questions | pairs told (%) | AUROC | where the count is right | where it is wrong |", end="")
    print(" `rank_1_plus` beside `count` (points) | weight that does best on held-out questions | seconds |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    gains = []
    count = tested.credits(RULES["count"])
    for size in sorted({min(size, len(learned)) for size in sizes}):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as at:
            train(learned[:size], recipe, Path(at) / "out", seed=0, scratch=Path(at) / "scratch")
            made = ranker.load(Path(at) / "out")
        spent = time.perf_counter() - started
        scores = made.score(tested.groups)
        found, gain = worth(scores, tested.right), difference(tested.credits(RULES["rank_1_plus"], scores), count)
        leading, trailing = by_majority(tested, scores)
        slope = learn(held.classes, held.right, made.score(held.groups))
        print(
            f"| {size:,} | {percent(found.pairs)} | {found.auroc:.3f} | {percent(leading)} | {percent(trailing)} |",
            end="",
        )
        print(f" {points(gain)} | {slope:g} | {spent:.0f} |", flush=True)
        gains.append(Gain(f"{label}, {size:,}", found.pairs, gain))
    print()
    show_votes(tested, scores, slope)
    show_calibration(found)
    return gains


def main(folder: str, drawn: str, model: str = "", most: str = "400") -> None:
    everything = questions(Path(folder))
    learned, tested = everything[: len(everything) // 2], everything[len(everything) // 2 :]
    whole = Part.of(tested)
    oracle = accuracy([float(any(right)) for right in whole.right])
    print(f"{len(tested):,} questions to test on: a right answer is among the eight of {percent(oracle, 2)} %.\n")
    show_baselines(whole)
    alone = ("length", "lines", "numerals", "readable")
    some = RankerRecipe(backbone=Features(kind="features", names=alone))
    gains = study("All features", "all features", RankerRecipe(backbone=Features(kind="features")), learned, whole)
    gains += study("Features of the solution alone", "own features", some, learned, whole)
    if model:
        reader = ReaderBackbone(path=model, tuning=Lora(rank=8, alpha=16))
        few = int(most)
        part = Part.of(tested[:few])
        show_baselines(part)
        for name, label, gold, sizes in _READERS:
            recipe = RankerRecipe(backbone=reader, gold=gold, pairs=2, epochs=2, batch_size=8)
            gains += study(name, label, recipe, learned[: few + HELD], part, sizes)
    figures.save(figures.gain(gains), Path(drawn), "ranker_gain")


if __name__ == "__main__":
    main(*sys.argv[1:])
