"""Two graders on the same traces: how many they call right, and every kind of answer they differ on, with examples.

    python -m bench.grading.graders TRACES > docs/results/graders.md

TRACES is the folder of the GPT-3.5 traces of Turning Dust into Gold, which were labelled by `hendrycks`.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path

from divcon.distill.traces import importers
from divcon.distill.traces.stats import trace_stats
from divcon.distill.traces.trace import Trace
from divcon.solve.grading.latex import tidy

COLUMNS = ["grader", "right", "wrong", "unreadable", "timed out", "majority@8", "oracle@8"]
EXAMPLES = 4

Pair = tuple[str, str]
"""A gold answer and an answer."""

KINDS: list[tuple[str, Callable[[str, str], bool]]] = [
    ("the base of a numeral, given or not", lambda gold, answer: "_" in gold + answer),
    ("an inequality for an interval", lambda gold, answer: bool(re.search(r"<|\\le(?![a-z])", gold + answer))),
    ("a name or a sum with its value for the value", lambda gold, answer: "=" in gold + answer),
    ("a ratio for a fraction", lambda gold, answer: (":" in gold) != (":" in answer)),
    ("a choice's letter", lambda gold, answer: bool(re.search(r"\b[A-Z]\b", gold + answer)) and same(gold, answer)),
    ("separators of thousands", lambda gold, answer: number(gold, answer) and "," in gold + answer),
    ("a decimal for a fraction", lambda gold, answer: number(gold, answer) and decimal(gold) != decimal(answer)),
    ("a fraction not reduced", lambda gold, answer: number(gold, answer) and "frac" in answer),
    ("units, full stops, leading zeros", lambda gold, answer: number(gold, answer)),
    ("spaces, brackets and words around the same text", lambda gold, answer: same(gold, answer)),
    ("the same matrix", lambda gold, answer: "matrix" in gold),
    ("the same set, list or tuple", lambda gold, answer: bool(re.search(r",|;|\\cup", tidy(gold)))),
    ("the same formula, written otherwise", lambda gold, answer: bool(_LETTER.search(gold))),
    ("the same trigonometry", lambda gold, answer: bool(re.search(r"\\(sin|cos|tan|sec)", gold))),
    ("the same root or multiple of pi", lambda gold, answer: bool(re.search(r"\\(sqrt|pi)", gold))),
    ("arithmetic left to do", lambda gold, answer: True),
]
"""What distinguishes an answer that only `math` calls right; the first that fits."""

_LETTER = re.compile(r"(?<![\\A-Za-z])[a-z](?![A-Za-z])")


def decimal(text: str) -> bool:
    return re.search(r"\.\d", text) is not None


def same(gold: str, answer: str) -> bool:
    return tidy(gold) == tidy(answer)


def number(gold: str, answer: str) -> bool:
    return same(gold, answer) and re.fullmatch(r"-?\d+(/\d+)?", tidy(gold)) is not None


def main(folder: Path) -> None:
    strict, meant = (importers.read(folder, grader).traces for grader in ("hendrycks", "math"))
    print(
        "# Two graders on 60,000 traces\n\n"
        f"Made {date.today()} by `make -C bench graders TRACES=FOLDER`: GPT-3.5 on MATH.\n"
    )
    print(f"| {' | '.join(COLUMNS)} |\n|---{'|---:' * (len(COLUMNS) - 1)}|")
    for name, labelled in (("`hendrycks`", strict), ("`math`, the default", meant)):
        s = trace_stats(labelled)
        counts = [f"{count:,}" for count in (s.right, s.wrong, s.unreadable, s.timed_out)]
        print(f"| {' | '.join([name, *counts, f'{s.majority:.4f}', f'{s.oracle:.4f}'])} |")
    pairs = list(zip(strict, meant, strict=True))
    only_meant = [b for a, b in pairs if b.verdict == "right" != a.verdict]
    only_strict = [b for a, b in pairs if a.verdict == "right" != b.verdict]
    print(f"\n## Right by `math` only: {len(only_meant)}\n")
    table(only_meant, lambda gold, answer: next(kind for kind, fits in KINDS if fits(gold, answer)))
    print(f"\n## Right by `hendrycks` only: {len(only_strict)}\n")
    table(
        only_strict, lambda gold, answer: "cut at the first word" if "\\text" in gold + answer else "a name thrown away"
    )
    print("\n## Timed out\n")
    table([b for b in meant if b.verdict == "timed out"], lambda gold, answer: "more than the limit of time or size")


def table(traces: list[Trace], kind: Callable[[str, str], str]) -> None:
    found: dict[str, list[Pair]] = defaultdict(list)
    for trace in traces:
        pair = (trace.question.answer, trace.answer or "")
        found[kind(*pair)].append(pair)
    print("| kind | traces | examples: answer for gold answer |\n|---|---:|---|")
    for name, of_kind in sorted(found.items(), key=lambda item: -len(item[1])):
        short = sorted(dict.fromkeys(of_kind), key=lambda pair: len("".join(pair)))[:: max(1, len(set(of_kind)) // 9)]
        print(f"| {name} | {len(of_kind)} | {', '.join(f'{code(a)} for {code(g)}' for g, a in short[:EXAMPLES])} |")


def code(text: str) -> str:
    return "`" + " ".join(text.split()).replace("|", "\\|") + "`"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
