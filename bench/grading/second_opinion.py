"""A second opinion: where divcon's graders and math-verify disagree, on published traces and on answers in words.

    python -m bench.grading.second_opinion TRACES DATA > disagreements.tsv

TRACES is the folder of the GPT-3.5 traces of Turning Dust into Gold, DATA the folder of the data sets. A line is a
grader, divcon's verdict, math-verify's, the gold answer and the answer, each pair once, to be judged by hand. No
model's answers to StrategyQA and DROP are published; those here are ways that people write the gold ones (`written`).
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from divcon.distill.traces import importers
from divcon.solve.grading.grade import GRADERS
from divcon.tasks import registry
from divcon.tasks.question import GraderName

from .equivalence import loop

Pair = tuple[str, str]
"""An answer and the gold one."""


def main(traces: Path, data: Path) -> None:
    logging.disable(logging.CRITICAL)
    mathematics = [
        (trace.answer, trace.question.answer)
        for trace in importers.read(traces, "hendrycks").traces
        if trace.answer and trace.question.answer
    ]
    tell("math", list(dict.fromkeys(mathematics)))
    tell("yes-no", [(said, gold) for gold in ("yes", "no") for said in YES_NO])
    drop = registry.DATA_SETS["drop"].read(data / "drop" / "contrast_sets_test.json")
    golds = sorted({question.answer for question in drop})
    tell("drop", [pair for gold in random.Random(0).sample(golds, 120) for pair in written(gold, golds)])


def tell(name: GraderName, pairs: list[Pair]) -> None:
    """The pairs on which the two do not agree."""
    ours = GRADERS[name].verdicts([(answer, (gold,)) for answer, gold in pairs])
    for (answer, gold), here, there in zip(pairs, ours, loop(pairs), strict=True):
        if (here == "right") != bool(there):
            print(name, here, "right" if there else "wrong", gold, answer, sep="\t")


YES_NO = (
    *("Yes", "yes.", "No", "no.", "True", "False", "Yes, it would", "No, it would not", "**Yes**", "**No**"),
    *(
        "The answer is yes",
        "The answer is no",
        "It is true",
        "It is false",
        "not true",
        "Yes and no",
        "maybe",
        "unknown",
    ),
)
"""What models answer to a question of StrategyQA."""


def written(gold: str, golds: list[str]) -> Iterator[Pair]:
    """Ways to write an answer of DROP, and another question's answer."""
    yield gold.upper(), gold
    yield f"the {gold}", gold
    yield f"{gold}.", gold
    yield f"**{gold}**", gold
    yield gold.replace("; ", ", "), gold
    yield f"{gold} yards", gold
    yield golds[(golds.index(gold) + 1) % len(golds)], gold


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
