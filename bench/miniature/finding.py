"""What README and docs/results.md say of the default study, made of its runs under several seeds.

    python -m bench.miniature.finding RUN RUN ... [-- RUN RUN ...]

writes docs/results/finding.md, the same text between its marks in README.md and docs/results.md, and the spread that
the report shows beside one run. Runs after `--` are the same seeds on another processor. `make results` runs the
studies and calls this.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from divcon.eval.analysis.conclusion import Evidence, conclusions, difference_over_seeds
from divcon.eval.grid import results
from divcon.eval.grid.rows import Results
from divcon.eval.grid_spec import ALL, Cell
from divcon.eval.render.table import markdown
from divcon.eval.report.spread import made_on, write_spread
from divcon.eval.run_dir import RunDirectory

ROOT = Path(__file__).resolve().parents[2]
START, END = "<!-- finding: make results -->", "<!-- finding: end -->"
PLACES = (ROOT / "README.md", ROOT / "docs" / "results.md")
KEPT = ROOT / "docs" / "results" / "finding.md"
SPREAD = ROOT / "configs" / "miniature.spread.json"

LLM = Cell.parse("llm", "llm", "greedy")
STUDENTS = {
    "the student decomposes": Cell.parse("distilled", "llm", "greedy"),
    "the student solves": Cell.parse("llm", "distilled", "greedy"),
    "one student, single stage": Cell.parse("none", "distilled-single", "greedy"),
}


def finding(runs: Sequence[Path], others: Sequence[Path] = ()) -> str:
    """Sentences by rules, and a table of what each student loses on every test; beside runs on another processor."""
    rows = [results.read(RunDirectory(run).results) for run in runs]
    seeds = [RunDirectory(run).study.seed for run in runs]
    each = [of.by_cell for of in rows]
    asked = [test for test in rows[0].tests if test != ALL] + [ALL]
    table = [
        [test, *(_change(difference_over_seeds(each, cell, LLM, test)) for cell in STUDENTS.values())] for test in asked
    ]
    said = conclusions(Evidence.of_seeds(rows)) + ([_elsewhere(each, others)] if others else [])
    sentences = "\n".join(f"* {sentence}" for sentence in said)
    return (
        f"`make results`: {len(seeds)} seeds ({', '.join(map(str, seeds))}); {made_on(runs)}. Points of accuracy "
        "against the LLM in both phases, with 95 % intervals over seeds and families of questions:\n\n"
        f"{markdown((['questions', *STUDENTS], table))}\n{sentences}"
    )


def _elsewhere(each: Sequence[Mapping[Cell, Results]], others: Sequence[Path]) -> str:
    """Whether the means on another processor lie within the intervals of these runs."""
    there = [results.read(RunDirectory(run).results).by_cell for run in others]
    parts, inside = [], True
    for who, cell in STUDENTS.items():
        here, other = (difference_over_seeds(of, cell, LLM) for of in (each, there))
        inside &= here.low <= other.value <= here.high
        parts.append(f"{who} {_change(other)}")
    within = "lies within these intervals" if inside else "does not lie within these intervals"
    return f"On all questions, {len(others)} seeds on {made_on(others)}: {'; '.join(parts)}. It {within}."


def _change(change: tuple[float, float, float]) -> str:
    value, low, high = (100 * part for part in change)
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def put(text: str, into: Path) -> None:
    """Between the marks of a file."""
    whole = into.read_text(encoding="utf-8")
    marked = re.compile(f"{re.escape(START)}.*?{re.escape(END)}", re.DOTALL)
    if not marked.search(whole):
        raise SystemExit(f"{into} has no place for the finding: {START} and {END}")
    into.write_text(marked.sub(lambda _: f"{START}\n{text}\n{END}", whole), encoding="utf-8")


def main(runs: Sequence[Path], others: Sequence[Path] = ()) -> None:
    write_spread(runs, SPREAD)
    text = finding(runs, others)
    KEPT.write_text(f"# The default study over seeds\n\n{text}\n", encoding="utf-8")
    for place in PLACES:
        put(text, place)


if __name__ == "__main__":
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    main([Path(run) for run in given[:end]], [Path(run) for run in given[end + 1 :]])
