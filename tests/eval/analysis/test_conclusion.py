"""The sentences at the head of a report: what the numbers say, and nothing that they do not."""

from __future__ import annotations

from dataclasses import replace

from divcon.eval.analysis.conclusion import Evidence, conclusions
from divcon.eval.grid.rows import PhaseCost, ResultRow, Results
from tests.fakes.rows import row

QUESTIONS = 100


def cell(decomposer: str, solver: str, right: int, flops: float, families: int = QUESTIONS) -> list[ResultRow]:
    """A cell that is right on the first so many questions."""
    return [
        row(
            *(decomposer, solver),
            id=f"{i:03d}",
            cluster=str(i % families),
            credit=float(i < right),
            solve=PhaseCost(flops=flops),
        )
        for i in range(QUESTIONS)
    ]


def said(*cells: list[ResultRow]) -> str:
    return " ".join(conclusions(Evidence.of_run(Results(row for of in cells for row in of))))


LLM = cell("llm", "llm", 90, 700.0)


def test_a_study_without_a_student_concludes_nothing() -> None:
    assert conclusions(Evidence.of_run(Results([*LLM, *cell("none", "llm", 90, 300.0)]))) == []


def test_a_loss_is_told_with_its_interval_and_no_loss_is_not_told() -> None:
    lost = said(LLM, cell("distilled", "llm", 60, 600.0))
    assert lost.startswith("The distilled decomposer before the LLM loses 30.0 points [")
    same = said(LLM, cell("distilled", "llm", 88, 600.0))
    assert "is not told apart from the LLM in both phases (-2.0 points [" in same


def test_the_half_that_loses_less_is_named_only_where_it_is_told() -> None:
    decomposer, solver = cell("distilled", "llm", 60, 600.0), cell("llm", "distilled", 20, 200.0)
    assert "A student does better as decomposer than as solver (+40.0 points [" in said(LLM, decomposer, solver)
    assert "A student does better as solver than as decomposer" in said(
        LLM, cell("distilled", "llm", 20, 600.0), cell("llm", "distilled", 60, 200.0)
    )
    even = said(LLM, decomposer, cell("llm", "distilled", 59, 200.0))
    assert "In which half a student does better is not told (decomposer less solver: +1.0 points [" in even


def test_students_that_disagree_leave_the_half_untold() -> None:
    text = said(
        LLM,
        cell("distilled", "llm", 60, 600.0),
        cell("distilled-all", "llm", 10, 600.0),
        cell("llm", "distilled", 35, 200.0),
    )
    assert "In which half a student does better is not told" in text


def test_a_system_that_a_cheaper_cell_surely_beats_is_called_dominated() -> None:
    """The half that loses less may still not be worth asking."""
    text = said(LLM, cell("none", "llm", 89, 300.0), cell("distilled", "llm", 60, 600.0))
    assert "the distilled decomposer before the LLM by the LLM in a single stage (+29.0 points [" in text
    assert "at 0.50 of the FLOPs" in text
    dearer = said(LLM, cell("none", "llm", 89, 650.0), cell("distilled", "llm", 60, 600.0))
    assert "No cell with a student costs more than one that is surely more accurate." in dearer
    alike = said(LLM, cell("none", "llm", 61, 300.0), cell("distilled", "llm", 60, 600.0))
    assert "No cell with a student" in alike


def test_a_control_dominates_nothing() -> None:
    text = said(
        LLM, cell("gold", "llm", 95, 1.0), cell("shuffled", "llm", 95, 1.0), cell("distilled", "llm", 60, 600.0)
    )
    assert "No cell with a student" in text


def test_the_untrained_base_is_told_apart_or_not() -> None:
    student = cell("distilled", "llm", 60, 600.0)
    assert "The distilled decomposer is more accurate than its untrained base (+30.0 points [" in said(
        LLM, student, cell("base", "llm", 30, 600.0)
    )
    assert "The distilled decomposer is not told apart from its untrained base (+2.0 points [" in said(
        LLM, student, cell("base", "llm", 58, 600.0)
    )
    assert "untrained" not in said(LLM, student)


def test_the_single_stage_student_is_held_beside_the_others() -> None:
    text = said(
        LLM,
        cell("llm", "distilled", 45, 600.0),
        cell("distilled", "distilled", 44, 300.0),
        cell("none", "distilled-single", 60, 150.0),
    )
    assert (
        "The single-stage student is more accurate than the distilled solver behind the LLM (+15.0 points [" in text
        and "at 0.25 of the FLOPs) and is more accurate than the two students (+16.0 points [" in text
    )
    assert "the two students by the single-stage student" in text


def test_families_of_questions_make_less_sure() -> None:
    """Thirty of a hundred questions lost, all of them of three in ten families."""
    alone = said(cell("llm", "llm", 100, 700.0), cell("distilled", "llm", 90, 600.0))
    assert "loses 10.0 points" in alone
    families = [replace(one, cluster=str(int(one.id) // 10)) for one in cell("distilled", "llm", 90, 600.0)]
    whole = [replace(one, cluster=str(int(one.id) // 10)) for one in cell("llm", "llm", 100, 700.0)]
    assert "is not told apart from the LLM in both phases (-10.0 points [" in said(whole, families)


def test_over_seeds_a_loss_is_told_only_where_seeds_agree() -> None:
    def text(*right: int) -> str:
        cells = [[*LLM, *cell("distilled", "llm", n, 600.0), *cell("none", "llm", 89, 300.0)] for n in right]
        runs = list(map(Results, cells))
        return " ".join(conclusions(Evidence.of_seeds(runs)))

    steady, torn = text(60, 61, 59, 60, 60), text(90, 30, 88, 90, 35)
    assert "before the LLM loses 30.0 points [" in steady and "by the LLM in a single stage (+29.0 points [" in steady
    assert "before the LLM is not told apart from the LLM in both phases (-23.4 points [" in torn


def test_over_seeds_only_cells_that_every_run_has_are_held_together() -> None:
    runs = [Results([*LLM, *cell("distilled", "llm", 60, 600.0)]) for _ in range(5)]
    runs[0] = Results([*runs[0], *cell("llm", "distilled", 20, 200.0)])
    text = " ".join(conclusions(Evidence.of_seeds(runs)))
    assert "loses 30.0 points" in text and "solver" not in text


def test_costs_that_nobody_knows_leave_domination_untold() -> None:
    unknown = [replace(one, solve=PhaseCost(flops=None)) for one in cell("none", "llm", 95, 0.0)]
    text = said(LLM, unknown, cell("distilled", "llm", 40, 600.0))
    assert "Whether a cheaper cell beats a student is not told: the FLOPs of some cells are unknown." in text


def test_a_student_that_asks_one_at_a_time_is_a_student() -> None:
    text = said(LLM, cell("none", "llm", 95, 300.0), cell("interactive-distilled", "llm", 30, 900.0))
    assert "the distilled decomposer (interactive-distilled) before the LLM by the LLM in a single stage" in text


def test_two_halves_that_both_gain_lose_nothing() -> None:
    text = said(cell("llm", "llm", 60, 700.0), cell("distilled", "llm", 95, 600.0), cell("llm", "distilled", 80, 300.0))
    assert "gains 35.0 points" in text and "A student does better as decomposer than as solver (+15.0" in text
    assert "loses" not in text
