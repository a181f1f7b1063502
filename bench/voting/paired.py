"""The exact bootstrap beside one that draws indices, in one run that takes turns, with the same numbers.

    python -m bench.voting.paired [ROUNDS]

10,000 draws of the indices, all at once as arrays, for 200 to 5,000 questions and for credits of 0 and 1, of halves, of
thirds, and of finer shares, on which ours draws too.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from divcon.eval.stats.intervals import Estimate
from divcon.eval.stats.paired import bootstrap

DRAWS = 10_000
SHARES = {"0, 1": (0, 1), "halves": (0, 0.5, 1), "thirds": (0, 1 / 3, 0.5, 1), "finer": (0, 1 / 7, 1 / 5, 1 / 3, 1)}
_AT_ONCE = 1_000


def by_indices(d: np.ndarray[tuple[int], np.dtype[np.float64]], seed: int) -> Estimate:
    """The percentile bootstrap as it is usually written."""
    rng = np.random.default_rng(seed)
    portions = [d[rng.integers(0, len(d), (_AT_ONCE, len(d)))].mean(1) for _ in range(DRAWS // _AT_ONCE)]
    low, high = np.quantile(np.concatenate(portions), [0.025, 0.975])
    return Estimate(float(d.mean()), float(low), float(high))


class Took(NamedTuple):
    wall: float
    processor: float


def timed(work: Callable[[], object], times: int) -> Took:
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(times):
        work()
    return Took((time.perf_counter() - wall) / times, (time.process_time() - processor) / times)


def main(rounds: int) -> None:
    print(f"{DRAWS:,} draws of indices, {rounds} rounds that take turns; medians [lowest, highest]\n")
    print("| credits | questions | exact, ms | indices, ms | ratio | ratio by processor time | largest difference |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, shares in SHARES.items():
        for n in (200, 1_000, 5_000):
            row(name, shares, n, rounds)


def row(name: str, shares: tuple[float, ...], n: int, rounds: int) -> None:
    draw = np.random.default_rng(0)
    a, b = (draw.choice(shares, n) for _ in range(2))
    x, y = a.tolist(), b.tolist()
    bootstrap(x, y), by_indices(a - b, 0)  # what is imported or compiled by the first call is not what is measured
    exact: list[Took] = []
    indices: list[Took] = []
    for i in range(rounds):
        exact.append(timed(lambda: bootstrap(x, y), 20))
        indices.append(timed(lambda seed=i: by_indices(a - b, seed), 1))  # type: ignore[misc]  # a default binds i
    ours, theirs = bootstrap(x, y), by_indices(a - b, 0)
    apart = max(abs(one - other) for one, other in zip(ours, theirs, strict=True))
    ratios = [theirs.wall / ours.wall for ours, theirs in zip(exact, indices, strict=True)]
    by_processor = [theirs.processor / ours.processor for ours, theirs in zip(exact, indices, strict=True)]
    ms = [f"{1000 * statistics.median(took.wall for took in each):.2f}" for each in (exact, indices)]
    print(f"| {name} | {n:,} | {ms[0]} | {ms[1]} | {_said(ratios)} | {_said(by_processor)} | {apart:.4f} |")


def _said(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.0f} [{min(ratios):.0f}, {max(ratios):.0f}]"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
