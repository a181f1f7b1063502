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
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from divcon.eval.config import dump, load
from divcon.eval.grid import results

DECOMPOSERS = ("none", "llm", "distilled", "base")
SOLVERS = ("llm", "distilled", "base")
SKILL = {"none": 0.0, "llm": 0.2, "distilled": 0.12, "base": -0.1}
SAMPLES = 4
DOCUMENTS = Path(__file__).parent.parent.parent
COST = (
    "calls",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "seconds",
    "flops",
    "dollars",
)


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


def rows_of(i: int, words: Words, characters: int) -> Iterator[dict[str, Any]]:
    """One question under every cell, in the order of the cells."""
    draw, gold = words.draw, str(words.draw.randint(10, 999))
    hard = draw.random()
    told = steps(words, characters)
    question = {"id": f"q{i}", "test": "known" if i % 2 else "new", "question": words(200), "gold": gold}
    for decomposer in DECOMPOSERS:
        asked = [] if decomposer == "none" else [f"{words(50)}?" for _ in range(3)]
        decomposition = {
            "decomposer": decomposer,
            "subquestions": asked,
            "decomposition": "\n".join(asked),
            "decomposition_kind": "asked" if asked else "not tried",
            "decomposition_right": draw.random() < 0.8 if asked else None,
            **_cost(draw, "decompose", bool(asked), 60),
        }
        for solver in SOLVERS:
            for vote, k in (("greedy", 1), (f"sc@{SAMPLES}", SAMPLES)):
                skill = 0.75 + SKILL[decomposer] + SKILL[solver] - 0.6 * hard
                right = [draw.random() < skill for _ in range(k)]
                yield question | decomposition | _solved(draw, told, solver, vote, gold, right)


def _solved(
    draw: random.Random, told: list[list[str]], solver: str, vote: str, gold: str, right: list[bool]
) -> dict[str, Any]:
    answers = [gold if good else str(draw.randint(10, 40)) for good in right]
    verdicts = ["right" if good else "wrong" for good in right]
    classes = [answers.index(answer) for answer in answers]
    won = max(sorted(set(classes)), key=classes.count)
    return {
        "solver": solver,
        "vote": vote,
        "solutions": [solution(draw, told, answer) for answer in answers],
        "answers": answers,
        "classes": classes,
        "verdicts": verdicts,
        "logprobs": [-draw.random() for _ in right],
        "certainties": [None] * len(right),
        "scores": None,
        "answer": answers[won],
        "verdict": verdicts[won],
        "credit": float(right[won]),
        **_cost(draw, "solve", True, 110 * len(right)),
        **_cost(draw, "rank", False, 0),
    }


def _cost(draw: random.Random, phase: str, asked: bool, tokens: int) -> dict[str, Any]:
    made = int(tokens * draw.uniform(0.7, 1.3)) if asked else 0
    read, flops = 180 * asked, 2e9 * (180 + made) * asked
    numbers = (int(asked), read, 0, made, 0, made * 0.01 * draw.random(), flops, None)
    return {f"{phase}_{name}": value for name, value in zip(COST, numbers, strict=True)}


def make(run: Path, questions: int, characters: int) -> float:
    """A run directory with results; how much smaller its solutions are when they are compressed."""
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(dump(load("miniature", [f"grid.samples={SAMPLES}"])), encoding="utf-8")
    words = Words(random.Random(0))
    common = {"overlap": "none", "overlap_decomposer": "none", "overlap_solver": "none", "leaks_answer": False}
    cells: list[list[dict[str, Any]]] = [[] for _ in range(len(DECOMPOSERS) * len(SOLVERS) * 2)]
    raw = packed = 0
    for start in range(0, questions, 50):
        texts = []
        for i in range(start, min(start + 50, questions)):
            for cell, row in zip(cells, rows_of(i, words, characters), strict=True):
                cell.append(row | common)
                texts += row["solutions"]
        said = "\n".join(texts).encode()
        raw, packed = raw + len(said), packed + len(zlib.compress(said, 9))
    with pq.ParquetWriter(run / "results.parquet", results.SCHEMA) as out:
        for cell in cells:
            cell.sort(key=lambda row: row["test"])
            out.write_table(pa.Table.from_pylist(cell, schema=results.SCHEMA))
    return packed / raw


REPORT = """
import resource, sys, time
from pathlib import Path
from divcon.eval import results
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
