"""What can be had for a cost: the Pareto front, the area under it, and the cheapest way to a given accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from math import ceil, isfinite, log10
from typing import Literal, NamedTuple

from ..grid_spec import ALL, LLM, Cell, NoDecomposition
from ..stats.intervals import Estimate
from .summary import CellSummary

AxisName = Literal["flops", "tokens", "reasoning", "seconds", "dollars"]
COSTS: Mapping[AxisName, Callable[[CellSummary], float | None]] = {
    "flops": lambda line: line.flops,
    "tokens": lambda line: line.tokens,
    "reasoning": lambda line: line.reasoning_tokens,
    "seconds": lambda line: line.seconds,
    "dollars": lambda line: line.dollars,
}
"""What a question costs a cell, both phases and the ranker; None is unknown."""
COUNTS = frozenset({"tokens", "reasoning"})
"""Costs that are parts of others: no front is said of them."""


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, accuracy) points that no cheaper or equally cheap point reaches, by rising cost."""
    best: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or value > best[-1][1]:
            best.append((cost, value))
    return best


def hypervolume(
    points: Iterable[tuple[float, float]], reference: float, scale: Literal["log", "linear"] = "log"
) -> float:
    """The area that points (cost, accuracy) dominate, up to the cost `reference` and down to accuracy 0.

    The size of the dominated space of Zitzler and Thiele (1999), with the reference point (reference, 0): on the log
    axis accuracy x decades, on the linear one accuracy x cost. The front is a staircase: between two cells nothing can
    be bought. (RouterBench's AIQ, Hu et al., 2024, is the mean height of the convex hull instead, which a random
    mixture of two cells reaches.) Points beyond the reference count for nothing. Two areas can be compared only where
    the reference is the same. Raises ValueError for a cost of 0 or less on the log axis.
    """
    steps = [(cost, value) for cost, value in front(points) if cost < reference]
    if scale == "log" and any(cost <= 0 for cost, _ in steps):
        raise ValueError("a cost of 0 has no place on a log axis")
    at = log10 if scale == "log" else float
    return sum(value * (at(end) - at(cost)) for (cost, value), (end, _) in pairwise([*steps, (reference, 0.0)]))


def decade(costs: Iterable[float]) -> float:
    """The reference of a run: the power of ten at or above its dearest cell, which runs of one size have in common."""
    dearest = max(costs)
    power = ceil(log10(dearest))
    return next(edge for edge in (float(f"1e{power}"), float(f"1e{power + 1}")) if edge >= dearest)


class Point(NamedTuple):
    """A cell on a cost axis."""

    cell: Cell
    cost: float
    """A question."""
    accuracy: Estimate


def cheapest(points: Iterable[Point], accuracy: float, *, surely: bool = False) -> Point | None:
    """The cheapest whose accuracy is at least so high, or `surely` the lower end of its interval; None if none is.

    It is chosen by the same questions that it is judged by, so that its accuracy flatters it where many were close.
    """
    reaching = [p for p in points if (p.accuracy.low if surely else p.accuracy.value) >= accuracy]
    return min(reaching, key=lambda p: (p.cost, -p.accuracy.value), default=None)


class Frontier(NamedTuple):
    """All cells on one cost axis, on all questions."""

    axis: AxisName
    points: tuple[Point, ...]
    """Every cell whose cost is known and not 0, by rising cost."""
    front: tuple[Point, ...]
    """Those that nothing as cheap surpasses; two that are equal in both stand side by side."""
    reference: float
    area: float
    """Accuracy x decades of cost, to the reference."""
    missing: tuple[Cell, ...]
    """Cells whose cost is unknown."""
    free: tuple[Cell, ...]
    """Cells that cost nothing, which have no place on a log axis."""


def frontier(lines: Sequence[CellSummary], axis: AxisName) -> Frontier | None:
    """None where no cell's cost is known."""
    test = next((line.test for line in lines if line.test == ALL), lines[0].test if lines else "")
    whole = [(COSTS[axis](line), line) for line in lines if line.test == test]
    known = [Point(line.cell, cost, line.accuracy) for cost, line in whole if cost and isfinite(line.accuracy.value)]
    if not known:
        return None
    points = sorted(known, key=lambda point: point.cost)
    pairs = [(point.cost, point.accuracy.value) for point in points]
    steps, reference = set(front(pairs)), decade(cost for cost, _ in pairs)
    return Frontier(
        axis,
        tuple(points),
        tuple(point for point, pair in zip(points, pairs, strict=True) if pair in steps),
        reference,
        hypervolume(pairs, reference),
        tuple(line.cell for cost, line in whole if cost is None),
        tuple(line.cell for cost, line in whole if cost == 0),
    )


class Reached(NamedTuple):
    """The cheapest ways to an accuracy."""

    axis: AxisName
    accuracy: float
    cheapest: Point | None
    surely: Point | None
    """The cheapest whose interval lies above it."""


SHARES = (0.9, 0.95, 1.0)
"""Of the accuracy of the LLM alone."""


def reached(found: Frontier) -> list[Reached]:
    """For shares of the accuracy of the best cell that asks the LLM alone; nothing where there is none."""
    alone = [
        p.accuracy.value for p in found.points if p.cell.decomposer in (LLM, NoDecomposition()) and p.cell.solver == LLM
    ]
    levels = [share * max(alone) for share in SHARES] if alone else []
    return [
        Reached(found.axis, level, cheapest(found.points, level), cheapest(found.points, level, surely=True))
        for level in levels
    ]
