"""The Pareto front, the area under it, and the cheapest way to an accuracy."""

from __future__ import annotations

from itertools import pairwise
from math import log10

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divcon.eval.analysis.pareto import Point, cheapest, decade, front, frontier, hypervolume, reached
from divcon.eval.analysis.summary import CellSummary, PhaseMean
from divcon.eval.grid_spec import Cell
from divcon.eval.stats.intervals import Estimate

costs = st.floats(1e-3, 1e3)
points = st.lists(st.tuples(costs, st.floats(0, 1)), min_size=1, max_size=12)
REFERENCE = 1e4


def test_the_area_of_a_staircase_is_counted_by_hand() -> None:
    steps = [(10.0, 0.5), (100.0, 0.8), (50.0, 0.4)]
    assert hypervolume(steps, 1000.0) == pytest.approx(0.5 * 1 + 0.8 * 1)
    assert hypervolume(steps, 1000.0, "linear") == pytest.approx(0.5 * 90 + 0.8 * 900)


def test_what_lies_beyond_the_reference_counts_for_nothing() -> None:
    assert hypervolume([(10.0, 0.5), (100.0, 0.9)], 100.0) == pytest.approx(0.5)
    assert hypervolume([(100.0, 0.9)], 10.0) == hypervolume([], 10.0) == 0


def test_a_cost_of_nothing_has_no_place_on_a_log_axis() -> None:
    with pytest.raises(ValueError, match="log axis"):
        hypervolume([(0.0, 0.5)], 1.0)
    assert hypervolume([(0.0, 0.5)], 1.0, "linear") == 0.5


@given(points)
def test_the_front_rises_in_both_and_is_its_own_front(given: list[tuple[float, float]]) -> None:
    made = front(given)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(made))
    assert front(made) == made and set(made) <= set(given)


@given(points, st.data())
def test_a_cell_that_another_dominates_changes_nothing(given: list[tuple[float, float]], data: st.DataObject) -> None:
    cost, value = data.draw(st.sampled_from(given))
    worse = (cost * data.draw(st.floats(1, 10)), value * data.draw(st.floats(0, 1)))
    assert front([*given, worse]) == front(given)
    assert hypervolume([*given, worse], REFERENCE) == hypervolume(given, REFERENCE)


@given(points, st.tuples(costs, st.floats(0, 1)))
def test_a_cell_more_never_takes_area_away(given: list[tuple[float, float]], more: tuple[float, float]) -> None:
    assert hypervolume([*given, more], REFERENCE) >= hypervolume(given, REFERENCE) - 1e-9


@given(points, st.floats(0.01, 100))
def test_another_unit_of_cost_scales_the_linear_area_and_not_the_decades(
    given: list[tuple[float, float]], unit: float
) -> None:
    scaled = [(cost * unit, value) for cost, value in given]
    assert hypervolume(scaled, REFERENCE * unit) == pytest.approx(hypervolume(given, REFERENCE), abs=1e-9)
    linear, own = hypervolume(scaled, REFERENCE * unit, "linear"), hypervolume(given, REFERENCE, "linear")
    assert linear == pytest.approx(unit * own, rel=1e-6)


@given(st.lists(costs, min_size=1))
def test_the_reference_is_a_power_of_ten_that_holds_every_cell(given: list[float]) -> None:
    reference = decade(given)
    assert reference >= max(given) and log10(reference) == pytest.approx(round(log10(reference)))
    assert reference < 10 * max(given) * (1 + 1e-9)


def point(cost: float, value: float, low: float = 0.0) -> Point:
    return Point(Cell.parse("llm", f"model {cost}", "greedy"), cost, Estimate(value, low, 1.0))


def test_an_accuracy_is_reached_by_value_or_surely() -> None:
    some = [point(1, 0.7, 0.6), point(5, 0.9, 0.8), point(3, 0.8, 0.7)]
    assert cheapest(some, 0.7) == some[0] and cheapest(some, 0.7, surely=True) == some[2]
    assert cheapest(some, 0.95) is None and cheapest(some, 0.85, surely=True) is None


@given(points, st.floats(0, 1))
def test_the_cheapest_way_lies_on_the_front(given: list[tuple[float, float]], accuracy: float) -> None:
    found = cheapest([point(*one) for one in given], accuracy)
    assert (found is None) == (max(value for _, value in given) < accuracy)
    assert found is None or (found.cost, found.accuracy.value) in front(given)


def line(decomposer: str, flops: float | None, value: float) -> CellSummary:
    nothing, solve = PhaseMean(0, 0, 0, 0, 0), PhaseMean(1, 0, 1, flops, None)
    return CellSummary(
        Cell.parse(decomposer, "llm", "greedy"),
        "t",
        9,
        Estimate(value, value - 0.1, 1),
        nothing,
        solve,
        nothing,
        True,
        None,
        None,
    )


def test_a_cell_of_unknown_cost_is_named_and_kept_off_the_axis() -> None:
    found = frontier([line("none", 20.0, 0.5), line("llm", 300.0, 0.8), line("base", None, 0.9)], "flops")
    assert found and [str(p.cell.decomposer) for p in found.front] == ["none", "llm"]
    assert [str(cell.decomposer) for cell in found.missing] == ["base"] and found.reference == 1000
    assert frontier([line("none", 20.0, 0.5)], "dollars") is None


def test_equals_stand_on_the_front_side_by_side() -> None:
    found = frontier([line("none", 20.0, 0.5), line("llm", 20.0, 0.5)], "flops")
    assert found and len(found.front) == 2


def test_levels_are_shares_of_the_better_cell_of_the_llm_alone() -> None:
    found = frontier([line("none", 20.0, 0.73), line("llm", 300.0, 0.8), line("base", 1.0, 0.9)], "flops")
    assert found
    low, middle, high = reached(found)
    assert [one.accuracy for one in (low, middle, high)] == pytest.approx([0.72, 0.76, 0.8])
    assert low.cheapest and str(low.cheapest.cell.decomposer) == "base" and high.surely and high.surely.cost == 1.0
