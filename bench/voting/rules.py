"""Curves of all rules: arrays beside a loop over questions, in one run, with the same numbers.

    python -m bench.voting.rules TRACES [QUESTIONS]

TRACES is a folder of published traces with eight samples a question. Scores are drawn from a seed, a tenth of them
missing: what they are makes no difference to the work. The loop is run on the first QUESTIONS (default 300), and both
are told a question.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from divcon.distill.traces import importers
from divcon.solve import GRADERS
from divcon.solve.grading.grade import Class, classify
from divcon.solve.voting.curves import Pool, curve
from divcon.solve.voting.rules import RULES


def loop(name: str, classes: Sequence[Class], right: Sequence[bool], scores: Sequence[float | None]) -> list[float]:
    """The expected credit of one question at every k, as one would write it down."""
    curve = []
    for k in range(1, len(classes) + 1):
        credits = [
            credit(name, [(classes[i], scores[i]) for i in of], right) for of in combinations(range(len(classes)), k)
        ]
        curve.append(sum(credits) / len(credits))
    return curve


def credit(name: str, pairs: Sequence[tuple[Class, float | None]], right: Sequence[bool]) -> float:
    votes = [(answer, score) for answer, score in pairs if answer is not None]
    if not votes:
        return 0.0
    known = [score for _, score in votes if score is not None]
    mean = sum(known) / len(known) if known else 1.0
    filled = [(answer, mean if score is None else score) for answer, score in votes]
    totals: dict[int, float] = {}
    for answer, score in filled:
        if name == "count":
            weight = 1.0
        elif name == "rank_1_plus":
            weight = 1 + score
        elif name == "rank_1_plus_2":
            weight = 1 + 2 * score
        elif name.endswith("_sum"):
            weight = score
        elif name.endswith("_best"):
            weight = float(score == max(other for _, other in filled))
        else:
            lower = sum(other < score for _, other in filled)
            weight = lower + (sum(other == score for _, other in filled) + 1) / 2
        totals[answer] = totals.get(answer, 0.0) + weight
    top = max(totals.values())
    won = [answer for answer, total in totals.items() if total >= top - 1e-9 * abs(top)]
    return sum(right[answer] for answer in won) / len(won)


def main(folder: str, questions: str = "300") -> None:
    few = int(questions)
    by_question: dict[str, list[importers.Trace]] = {}
    for trace in importers.read(Path(folder)).traces:
        by_question.setdefault(trace.question.id, []).append(trace)
    of = list(by_question.values())
    classes = classify([[t.answer for t in each] for each in of], [GRADERS["hendrycks"]] * len(of))
    right = [[t.verdict == "right" for t in each] for each in of]
    draw = np.random.default_rng(0)
    scores = np.where(draw.random((len(of), len(of[0]))) < 0.1, np.nan, draw.random((len(of), len(of[0]))))
    listed = [[None if np.isnan(s) else float(s) for s in row] for row in scores]
    pool = Pool.of(classes, right, {"rank": listed, "probability": listed, "certainty": listed})
    all_fast, all_slow = np.zeros(2), np.zeros(2)
    for name, rule in RULES.items():
        started = now()
        fast = curve(pool, rule)
        between = now()
        slow = [loop(name, *each) for each in zip(classes[:few], right[:few], listed[:few], strict=True)]
        ended = now()
        worst = float(np.abs(fast[:, :few] - np.array(slow).T).max())
        assert worst < 1e-9
        took, loop_took = (between - started) / len(of), (ended - between) / few
        all_fast, all_slow = all_fast + took, all_slow + loop_took
        times, by_processor = loop_took / took
        print(f"{name}: {times:.0f} times as fast ({by_processor:.0f} by processor), largest difference {worst:.1e}")
    (times, by_processor), (wall, processor) = all_slow / all_fast, all_fast * len(of)
    print(f"all rules, k = 1 to {pool.samples}, {len(of):,} questions: {wall:.2f} s ({processor:.2f} s of processor);")
    print(f"the loop takes {times:.0f} times as long ({by_processor:.0f} times the processor)")


def now() -> npt.NDArray[np.float64]:
    """Seconds by the clock, and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    main(*sys.argv[1:])
