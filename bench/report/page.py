"""How large a report's page is, and how long it takes: to write, and until a browser first paints it.

python -m bench.report.page FOLDER [QUESTIONS [CHARACTERS]]

The run is made up: twelve compositions, each greedy and by sc@4, over that many questions (5,000), with solutions of
about so many characters (400). Its words are drawn from this project's own documents, pair by pair, and the solutions
of one question say similar things, as a model's do; how well they compress is printed, beside 0.21 for the eight
solutions a question of Turning Dust into Gold's published traces (all solutions of fifty questions, zlib, level 9;
0.35, 0.29 and 0.24 for one, two and four). Writing is told in seconds of processor time, with the peak of memory.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from divcon.eval.config import dump, load
from divcon.eval.grid import results
from divcon.eval.grid.rows import NOTHING, PhaseCost, ResultRow
from divcon.eval.grid_spec import GREEDY, Cell, VoteSpec, parse_decomposer, parse_solver

DECOMPOSERS = ("none", "llm", "distilled", "base")
SOLVERS = ("llm", "distilled", "base")
SKILL = {"none": 0.0, "llm": 0.2, "distilled": 0.12, "base": -0.1}
SAMPLES = 4
DOCUMENTS = Path(__file__).parent.parent.parent


class Words:
    """Text whose words follow one another as in the project's documents."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        paths = sorted([*DOCUMENTS.glob("docs/**/*.md"), *DOCUMENTS.glob("*/*.py")])
        words = " ".join(path.read_text(encoding="utf-8") for path in paths).split()
        self._after: dict[str, list[str]] = defaultdict(list)
        for one, other in pairwise(words):
            self._after[one].append(other)
        self._all = words

    def __call__(self, characters: int) -> str:
        said = [self.draw.choice(self._all)]
        size = len(said[0])
        while size < characters:
            said.append(self.draw.choice(self._after.get(said[-1]) or self._all))
            size += len(said[-1]) + 1
        return " ".join(said)


def steps(words: Words, characters: int) -> list[list[str]]:
    """What solutions of one question are put together from: five steps, each in eight wordings."""
    return [[words(characters // 5 - 20) for _ in range(8)] for _ in range(5)]


def solution(draw: random.Random, of: Sequence[Sequence[str]], answer: str) -> str:
    said = [f"{draw.choice(step)}: {draw.randint(2, 99)} * {draw.randint(2, 99)}." for step in of]
    return "\n".join([*said, f"The answer is {answer}."])


def rows_of(i: int, words: Words, characters: int) -> Iterator[ResultRow]:
    """One question under every cell, in the order of the cells."""
    draw, gold = words.draw, str(words.draw.randint(10, 999))
    hard = draw.random()
    told = steps(words, characters)
    test, question = "known" if i % 2 else "new", words(200)
    for decomposer in DECOMPOSERS:
        asked = () if decomposer == "none" else tuple(f"{words(50)}?" for _ in range(3))
        right = draw.random() < 0.8 if asked else None
        decompose = _cost(draw, 60) if asked else NOTHING
        for solver in SOLVERS:
            for vote in (GREEDY, VoteSpec("sc", SAMPLES)):
                skill = 0.75 + SKILL[decomposer] + SKILL[solver] - 0.6 * hard
                answers = [gold if draw.random() < skill else str(draw.randint(10, 40)) for _ in range(vote.samples)]
                classes = tuple(answers.index(answer) for answer in answers)
                won = answers[max(sorted(set(classes)), key=classes.count)]
                yield ResultRow(
                    cell=Cell(parse_decomposer(decomposer), parse_solver(solver), vote),
                    test=test,
                    id=f"q{i}",
                    question=question,
                    cluster=f"{test}/q{i}",
                    gold=gold,
                    subquestions=asked,
                    decomposition="\n".join(asked),
                    decomposition_kind="asked" if asked else "not tried",
                    decomposition_right=right,
                    leaks_answer=False,
                    solutions=tuple(solution(draw, told, answer) for answer in answers),
                    answers=tuple(answers),
                    classes=classes,
                    verdicts=tuple("right" if answer == gold else "wrong" for answer in answers),
                    logprobs=tuple(-draw.random() for _ in answers),
                    certainties=(None,) * len(answers),
                    answer=won,
                    verdict="right" if won == gold else "wrong",
                    credit=float(won == gold),
                    decompose=decompose,
                    solve=_cost(draw, 110 * len(answers)),
                )


def _cost(draw: random.Random, tokens: int) -> PhaseCost:
    made = int(tokens * draw.uniform(0.7, 1.3))
    flops = 2e9 * (180 + made)
    return PhaseCost(1, 180, 0, made, 0, made * 0.01 * draw.random(), flops, flops, None)


def make(run: Path, questions: int, characters: int) -> float:
    """A run directory with results; how much smaller its solutions are when they are compressed."""
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(dump(load("miniature", [f"grid.samples={SAMPLES}"])), encoding="utf-8")
    words = Words(random.Random(0))
    cells: list[list[ResultRow]] = [[] for _ in range(len(DECOMPOSERS) * len(SOLVERS) * 2)]
    raw = packed = 0
    for start in range(0, questions, 50):
        texts = []
        for i in range(start, min(start + 50, questions)):
            for cell, row in zip(cells, rows_of(i, words, characters), strict=True):
                cell.append(row)
                texts += row.solutions
        said = "\n".join(texts).encode()
        raw, packed = raw + len(said), packed + len(zlib.compress(said, 9))
    results.save([row for cell in cells for row in sorted(cell, key=lambda row: row.test)], run / "results.parquet")
    return packed / raw


REPORT = """
import resource, sys, time
from pathlib import Path
from divcon.eval.grid import results
from divcon.eval.report.report import report
run = Path(sys.argv[1])
start = time.process_time()
rows = results.read(run / "results.parquet")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"read: {len(rows):,} rows in {time.process_time() - start:.1f} s, peak {peak():.2f} GiB", flush=True)
del rows
start = time.process_time()
report(run)
print(f"report: {time.process_time() - start:.1f} s, peak {peak():.2f} GiB", flush=True)
"""


def paints(page: Path, times: int = 5) -> list[float]:
    """Seconds until the page's first contentful paint in headless Chromium, a fresh browser each time."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        for _ in range(times):
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            tab = browser.new_page()
            tab.goto(page.as_uri(), wait_until="load", timeout=120_000)
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"
            tab.wait_for_timeout(1_000)  # a paint may be told of after the load
            ready = tab.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart") / 1000
            found.append(tab.evaluate(paint))
            print(f"  painted after {found[-1]:.2f} s, all loaded after {ready:.2f} s")
            browser.close()
    return found


def main(folder: Path, questions: int = 5000, characters: int = 400) -> None:
    run = folder / f"page-{questions}-{characters}"
    if not run.is_dir():
        start = time.perf_counter()
        ratio = make(run, questions, characters)
        print(f"made {run.name} in {time.perf_counter() - start:.0f} s; solutions compress to {ratio:.2f}")
    subprocess.run([sys.executable, "-c", REPORT, str(run)], check=True)
    page = run / "report" / "index.html"
    print(f"page: {page.stat().st_size / 1e6:.1f} MB")
    print(f"first paint: {sorted(paints(page))[2]:.2f} s (median of five)")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
