"""Divide-or-Conquer's printed costs, taken apart: the tables of docs/published-costs.md.

    python -m bench.report.published_costs [NAME=FILE ...]

With files (gsm8k=test_socratic.jsonl bamboogle=bamboogle.json drop=contrast_sets_test.json) it first counts the words
of their questions, which `divcon.eval.papers.costs.WORDS` holds, and of the gold sub-questions where there are some.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean

from divcon.eval.papers import costs
from divcon.eval.render.table import markdown
from divcon.tasks import Question
from divcon.tasks.registry import DATA_SETS, NAMES


def main(files: list[str]) -> None:
    for said in files:
        name, _, path = said.partition("=")
        (source,) = (known for known in NAMES if known == name)
        print(counted(name, DATA_SETS[source].read(Path(path))))
    if files:
        print()
    for table in (costs.of_the_llm(), costs.of_students(), costs.break_even()):
        print(markdown(table))


def counted(name: str, questions: list[Question]) -> str:
    """How many words the questions have, and their gold sub-questions, three at most."""
    words = [len(question.prompt.split()) for question in questions]
    asked = [len(" ".join(q.subquestions[:3]).split()) for q in questions if q.subquestions]
    gold = f"; gold sub-questions (three at most) {fmean(asked):.1f} words a question" if asked else ""
    return f"{name}: {len(questions):,} questions, {sum(words):,} words, {fmean(words):.1f} a question{gold}"


if __name__ == "__main__":
    main(sys.argv[1:])
