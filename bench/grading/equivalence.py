"""Grading: divcon's grader against a plain loop over math-verify, on answers of published traces.

    python -m bench.grading.equivalence TRACES [PAIRS] [ROUNDS]

TRACES is the folder of the GPT-3.5 traces of Turning Dust into Gold. Both graders take turns in one run, on the same
PAIRS answers in the same order (seed 0); wall and processor seconds are medians over the rounds. Then come the
differences in verdicts, each with its reason, and what answers written to do harm cost.
"""

from __future__ import annotations

import logging
import random
import re
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from divcon.distill.traces import importers
from divcon.lm import Store
from divcon.solve import Verdict
from divcon.solve.grading.equivalence import _known
from divcon.solve.grading.grade import MATH
from divcon.solve.grading.latex import tidy
from divcon.solve.grading.sympy_pool import EQUIVALENCE
from divcon.solve.grading.values import differ
from tests.fakes.hostile import hostile

Pair = tuple[str, str]
"""An answer and the gold one."""


class Took(NamedTuple):
    """Seconds."""

    wall: float
    processor: float


def main(folder: Path, count: int = 10_000, rounds: int = 3) -> None:
    logging.disable(logging.CRITICAL)  # math-verify says that it timed out
    pairs = sample(folder, count)
    with tempfile.TemporaryDirectory() as scratch, Store(Path(scratch) / "store.sqlite") as store:
        theirs, ours, plain, cold, stored, again = [], [], [], [], [], []
        for _ in range(rounds):
            plain.append(timed(lambda: theirs.append(loop(pairs))))
            forget()
            cold.append(timed(lambda: ours.append(grade(pairs))))
        with EQUIVALENCE.remembering(store):
            forget()
            grade(pairs)
            for _ in range(rounds):
                forget()
                stored.append(timed(lambda: ours.append(grade(pairs))))
                again.append(timed(lambda: ours.append(grade(pairs))))
        assert all(verdicts == ours[0] for verdicts in ours), "the grader contradicts itself"
        speed("a plain loop", plain, plain)
        speed("divcon, cold", cold, plain)
        speed("divcon, from its store", stored, plain)
        speed("divcon, a second pass", again, plain)
        differences(pairs, theirs[0], ours[0])
        settled(pairs)
        poisoned(pairs, Path(scratch) / "ran", rounds)


def sample(folder: Path, count: int) -> list[Pair]:
    """A fixed choice among all answers that were put into a box."""
    traces = importers.read(folder, "hendrycks").traces
    boxed = [(trace.answer, trace.question.answer) for trace in traces if trace.answer]
    return random.Random(0).sample(boxed, min(count, len(boxed)))


def loop(pairs: list[Pair]) -> list[bool | None]:
    """What the library's README shows; None where it gave up in time."""
    from math_verify import parse, verify

    found: list[bool | None] = []
    for answer, gold in pairs:
        began = time.monotonic()
        same = verify(parse(f"\\boxed{{{gold}}}"), parse(f"\\boxed{{{answer}}}"))
        found.append(same if same or time.monotonic() - began < 4.5 else None)
    return found


def grade(pairs: list[Pair]) -> list[Verdict]:
    return MATH.verdicts([(answer, (gold,)) for answer, gold in pairs])


def forget() -> None:
    """As in a process that has just been started."""
    EQUIVALENCE.close()
    EQUIVALENCE.forget()
    for name, module in list(sys.modules.items()):
        if name.startswith("divcon.solve.grading."):
            for cached in vars(module).values():
                getattr(cached, "cache_clear", lambda: None)()


def timed(work: Callable[[], object]) -> Took:
    """The seconds of a piece of work, its processes' included."""
    began, before = time.monotonic(), processor()
    work()
    wall = time.monotonic() - began
    EQUIVALENCE.close()  # only then are its processes' seconds counted
    return Took(wall, processor() - before)


def processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def speed(name: str, took: list[Took], plain: list[Took]) -> None:
    wall, processor = (statistics.median(column) for column in zip(*took, strict=True))
    ratios = [a.wall / b.wall for a, b in zip(plain, took, strict=True)]
    print(
        f"{name:<24} {wall:8.2f} s wall  {processor:8.2f} s processor  "
        f"{statistics.median(ratios):7.1f} x [{min(ratios):.1f}, {max(ratios):.1f}]"
    )


def differences(pairs: list[Pair], theirs: list[bool | None], ours: list[Verdict]) -> None:
    """Every verdict that is not the library's, with its reason."""
    in_time = [
        (pair, same, verdict) for pair, same, verdict in zip(pairs, theirs, ours, strict=True) if same is not None
    ]
    changed = [(pair, verdict) for pair, same, verdict in in_time if (verdict == "right") != same]
    open_ = [pair for pair, _, verdict in in_time if verdict == "timed out"]
    print(f"\n{len(in_time):,} pairs answered in time by math-verify; {len(changed)} verdicts differ:")
    for (answer, gold), verdict in changed:
        print(f"  {reason(answer, gold, verdict):<34} {verdict:<6} {answer!r} for {gold!r}")
    print(f"{Counter(reason(*pair, verdict) for pair, verdict in changed).most_common()}")
    print(f"timed out here and not there: {open_}")


def reason(answer: str, gold: str, verdict: Verdict) -> str:
    """Why a verdict is not the library's; `docs/explanation/grading.md` explains each."""
    both = answer + gold
    if verdict == "right" and tidy(answer) == tidy(gold):
        if "%" in both:
            return "a percent sign"
        if any(f"({letter})" in answer for letter in "ABCDE"):
            return "a choice's letter"
        return "dressing"
    if verdict == "right" and re.search(r"\d_", both):
        return "numerals of two bases"
    if verdict == "right" and "\\circ" in both:
        return "angles in degrees"
    if verdict == "right" and answer.replace(" ", "") == gold.replace(" ", ""):
        return "dressing"
    if verdict == "right":
        if re.search(r"<|\\le(?![a-z])", both):
            return "an inequality for an interval"
        return "an equation in the gold answer" if "=" in gold else "NO REASON KNOWN"
    if all(re.search(r"[ap]\.?m\.", text) for text in (answer, gold)):
        return "the other half of the day"
    if "=" in answer:
        return "an equation about something else"
    if "\\dots" in answer:
        return "an ellipsis"
    return "letters taken for units" if differ(tidy(answer), tidy(gold)) else "NO REASON KNOWN"


def settled(pairs: list[Pair]) -> None:
    """How many different pairs each way of comparing settles, and how many are left to math-verify."""
    spelled = {(answer, gold): (MATH.spelling(answer), MATH.spelling(gold)) for answer, gold in pairs}
    open_ = [pair for pair, (one, other) in spelled.items() if one and other and one != other]
    known = Counter(_known(*pair) for pair in open_)
    print(
        f"\n{len(spelled):,} different pairs: {len(spelled) - len(open_):,} by spelling, "
        f"{known[True] + known[False]:,} as numbers and by value, {known[None]:,} left to math-verify"
    )


def poisoned(pairs: list[Pair], marker: Path, rounds: int) -> None:
    """The time of grading with one answer in fifty replaced by a hostile one, against the time without."""
    poison = hostile(len(pairs) // 50, marker)
    mixed = list(pairs)
    for i, text in zip(random.Random(1).sample(range(len(pairs)), len(poison)), poison, strict=True):
        mixed[i] = (text, pairs[i][1])
    clean, dirty = [], []
    for _ in range(rounds):
        for work, took in ((pairs, clean), (mixed, dirty)):
            forget()
            took.append(timed(lambda work=work: grade(work)))
    slower = statistics.median(b.wall / a.wall for a, b in zip(clean, dirty, strict=True))
    ran = list(marker.parent.glob(f"{marker.name}*"))
    print(f"\n{len(poison)} hostile answers of {len(pairs):,}: {slower:.2f} x the time; code that ran: {len(ran)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
