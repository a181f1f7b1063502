"""What the papers printed: whether the numbers fit one another, and what a run is laid beside."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.eval.config import Study, dump, load
from divcon.eval.grid import results
from divcon.eval.grid.rows import Results
from divcon.eval.papers import costs as costs
from divcon.eval.papers import reference
from divcon.eval.papers.costs import LLM, STUDENT, PublishedCost, Span, span
from divcon.eval.papers.reference import (
    Papers,
    Reported,
    ReportedComparison,
    compare_with_reported,
    of_paper,
    printed,
    reported,
)
from divcon.eval.render.page import Figures
from divcon.eval.render.table import markdown, percent
from divcon.eval.stats import intervals
from divcon.lm.types import Usage
from divcon.tasks.registry import NAMES
from tests.fakes import rows as made_up

from ...paths import ROOT

SUBJECTS = {
    "Algebra": 1187,
    "Counting & Probability": 474,
    "Geometry": 479,
    "Intermediate Algebra": 903,
    "Number Theory": 540,
    "Prealgebra": 871,
    "Precalculus": 546,
}
"""Questions of MATH's test set."""


def one(paper: str, table: str, data: str, decomposer: str, solver: str, **more: str) -> Reported:
    """The number that a paper printed there."""
    same = {"table": table, "data": data, "decomposer": decomposer, "solver": solver, **more}
    (found,) = [each for each in of_paper(paper) if all(getattr(each, key) == said for key, said in same.items())]
    return found


# -- the numbers -----------------------------------------------------------------------------------------------------


def test_every_number_says_what_it_is_of() -> None:
    assert len(reported()) == 271
    for each in reported():
        assert each.data in NAMES and each.train in ("", *NAMES)
        assert isinstance(each.value, Decimal) and each.table and each.decomposer and each.solver
        assert each.only in ("", *SUBJECTS)
        assert (each.solve_usd is not None) == (each.paper == "divide-or-conquer" and each.table == "1")


def test_a_distilled_student_always_learned_from_something() -> None:
    for each in of_paper("divide-or-conquer"):
        assert bool(each.train) == ("S_" in each.decomposer + each.solver)


def test_a_number_is_printed_to_the_digit() -> None:
    assert str(one("divide-or-conquer", "1", "gsm8k", "none", "Vicuna").value) == "9.40"


def test_the_same_cell_is_the_same_number_in_every_table() -> None:
    cells: dict[tuple[str, ...], set[Decimal]] = {}
    for each in of_paper("divide-or-conquer"):
        if not each.setting:
            key = (each.data, each.train, each.decomposer, each.solver, each.student if each.train else "")
            cells.setdefault(key, set()).add(each.value)
    assert all(len(values) == 1 for values in cells.values())


def test_intersection_over_union_is_that_of_the_printed_counts() -> None:
    assert pytest.approx(0.0744, abs=5e-5) == 29 / (253 + 166 - 29)
    for only in ("", "Intermediate Algebra", "Prealgebra", "Geometry", "Number Theory"):
        of = {
            (e.solver, e.metric): e.value
            for e in of_paper("turning-dust-into-gold")
            if (e.table, e.only) == ("1", only)
        }
        both, right, wrong = (of[who, "right"] for who in ("CoT KD and negative", "CoT KD", "negative"))
        assert round(both / (right + wrong - both), 3) == of["CoT KD and negative", "IoU"]


def test_percentages_are_relative_to_the_student_of_human_solutions() -> None:
    rows = [each for each in of_paper("turning-dust-into-gold") if each.table == "main" and not each.only]
    scores = {(e.teacher, e.solver): e.value for e in rows if e.metric == "accuracy"}
    relative = {(e.teacher, e.solver): e.value for e in rows if e.metric == "beside FT (%)"}
    assert scores["", "FT"] == Decimal("3.88") and len(relative) == 12
    computed = {key: 100 * (scores[key] / scores["", "FT"] - 1) for key in relative}
    cut = [key for key, value in computed.items() if round(value, 1) != relative[key]]
    assert cut == [("GPT-3.5", "NT"), ("GPT-4", "NT")]
    assert all(int(10 * computed[key]) == 10 * relative[key] for key in cut)  # cut off, not rounded


def test_averages_are_over_questions_but_for_one() -> None:
    rows = [
        each for each in of_paper("turning-dust-into-gold") if each.metric == "accuracy" and each.student == "LLaMA-7B"
    ]
    off = {}
    for average in (row for row in rows if not row.only):
        same = [row for row in rows if row.only and (row.teacher, row.solver) == (average.teacher, average.solver)]
        assert {row.only: row.n for row in same} == SUBJECTS
        weighted = sum((row.value * SUBJECTS[row.only] for row in same), Decimal()) / 5000
        off[average.teacher, average.solver] = abs(weighted - average.value)
    assert off.pop(("GPT-3.5", "NT")) == pytest.approx(Decimal("0.308"), abs=Decimal("0.001"))
    assert max(off.values()) < Decimal("0.05")


def is_share(value: Decimal, n: int) -> bool:
    """Whether some count of n questions rounds to this percentage (Brown and Heathers, 2017)."""
    digits = -int(value.as_tuple().exponent)
    return any(
        round(Decimal(100 * count) / n, digits) == value for count in (int(value * n / 100), int(value * n / 100) + 1)
    )


def test_exact_matches_are_shares_of_as_many_questions_but_for_one_that_was_cut_off() -> None:
    exact = [e for e in of_paper("divide-or-conquer") if e.metric == "EM" and e.n]
    assert {e.n for e in exact} == {125, 200, 1319}
    assert [e.value for e in exact if e.n and not is_share(e.value, e.n)] == [Decimal("62.92")]
    assert pytest.approx(0.629265, abs=5e-7) == 830 / 1319


def test_the_subset_of_table_10_is_of_1416_questions_or_more() -> None:
    shares = [e.value for e in of_paper("divide-or-conquer") if (e.table, e.metric) == ("10", "EM")]
    assert len(shares) == 4 and all(e.n is None for e in of_paper("divide-or-conquer") if e.table == "10")
    assert next(n for n in range(2, 10_000) if all(is_share(value, n) for value in shares)) == 1416


def test_what_is_no_share_or_of_unknown_size_has_no_interval() -> None:
    without = {(e.metric, e.n is None) for e in reported() if e.estimate is None}
    assert without == {
        *((metric, False) for metric in get_args(reference.Metric) if metric not in ("EM", "F1", "accuracy")),
        *(("EM", True), ("F1", True)),
    }


def test_bamboogles_125_questions_leave_17_points_open() -> None:
    found = one("divide-or-conquer", "1", "bamboogle", "GPT-3.5", "GPT-3.5").estimate
    assert found is not None
    assert percent(found) == "54.4 [45.7, 62.9]"
    assert found == intervals.accuracy([1.0] * 68 + [0.0] * 57)


def test_on_drop_the_direct_solver_beats_every_decomposer() -> None:
    direct = one("divide-or-conquer", "8", "drop", "GPT-3.5", "S_E-A direct").estimate
    rows = [e for e in of_paper("divide-or-conquer") if (e.table, e.data) == ("1", "drop")]
    assert direct and all(e.estimate and direct.low > e.estimate.high for e in rows)


# -- the costs -------------------------------------------------------------------------------------------------------


def cost(data: str, who: str) -> PublishedCost:
    (found,) = [each for each in costs.costs() if (each.row.data, each.who) == (data, who)]
    return found


@given(st.floats(1e-5, 10), st.integers(1, 6))
def test_what_was_rounded_lies_in_the_span_of_what_is_printed(value: float, digits: int) -> None:
    low, high = span(round(Decimal(value), digits))
    assert low <= value <= high and high - low == pytest.approx(10.0**-digits)


def test_an_exponent_tells_the_last_digit() -> None:
    assert span(Decimal("7e-3")) == pytest.approx((0.0065, 0.0075))
    assert span(Decimal(".60")) == pytest.approx((0.595, 0.605))


def test_every_printed_cost_is_there_once() -> None:
    found = costs.costs()
    assert len(found) == 3 * (4 + 10) == len({(each.row.data, each.who) for each in found})


def test_solving_gsm8k_comes_out_by_table_6_and_a_guess_and_by_outputs_alone() -> None:
    read_and_100_written = LLM.dollars(Usage(costs.INPUT_TOKENS["gsm8k"], 1319 * 100))
    assert read_and_100_written == pytest.approx(0.619, abs=5e-4)
    solving = cost("gsm8k", "GPT-3.5 solves for GPT-3.5")
    assert solving.completion(read=True) == pytest.approx((102.2, 106.0), abs=0.1)
    assert solving.completion() == pytest.approx((236.9, 240.7), abs=0.1)
    assert not solving.omits_reading


@pytest.mark.parametrize("data", ["gsm8k", "drop"])
def test_a_single_stage_costs_too_little_to_have_read_the_questions(data: str) -> None:
    alone = cost(data, "GPT-3.5 solves in a single stage")
    assert alone.omits_reading and alone.verdict == "does not hold what was read"
    assert alone.completion().high < 6  # five words at most, says its prompt


def test_nothing_that_is_paid_to_the_llm_for_drop_covers_its_passages() -> None:
    paid = [each for each in costs.costs() if each.row.data == "drop" and each.llm is None]
    assert len(paid) == 6 and all(each.omits_reading for each in paid)
    assert paid[0].reading == pytest.approx(2.58, abs=0.005)


def test_bamboogles_input_tokens_alone_cost_more_than_is_printed() -> None:
    solving = cost("bamboogle", "GPT-3.5 solves for GPT-3.5")
    assert solving.reading == pytest.approx(0.015106)
    assert solving.reading > 0.002 + 0.009 and solving.omits_reading


def test_decomposing_gsm8k_leaves_no_room_for_gold_sub_questions_behind_the_questions() -> None:
    decomposing = cost("gsm8k", "GPT-3.5 decomposes")
    gold = 22.6 * costs.TOKENS_A_WORD  # words of three sub-questions, by bench.report.published_costs
    assert decomposing.completion(read=True).high < gold < decomposing.completion().low


@pytest.mark.parametrize("student", ["S_D-T", "S_D-R"])
def test_a_student_decomposes_gsm8k_at_13_of_175_parts(student: str) -> None:
    assert STUDENT.dollars(Usage(0, 65_000)) == pytest.approx(0.13 * 13 / 175)
    assert cost("gsm8k", f"{student} decomposes").verdict == "reproduces"


def test_other_student_costs_would_need_other_tokens() -> None:
    assert cost("gsm8k", "Vicuna decomposes").times == pytest.approx((1.496, 2.692), abs=1e-3)
    assert cost("gsm8k", "S_E-A solves for GPT-3.5").times == pytest.approx((1.802, 2.046), abs=1e-3)
    reproduced = {(each.row.data, each.who) for each in costs.costs() if each.verdict == "reproduces"}
    assert reproduced == {("gsm8k", "S_D-T decomposes"), ("gsm8k", "S_D-R decomposes")}


def test_a_saving_is_what_both_phases_cost_less_in_all() -> None:
    (saved,) = [each for each in costs.savings() if (each.row.data, each.row.decomposer) == ("gsm8k", "S_D-R")]
    assert saved.a_question == pytest.approx(((0.15 - 0.02) / 1319, (0.15 + 0.02) / 1319))
    assert saved.points == pytest.approx(2.65) and saved.volume == pytest.approx((775_882, 1_014_615), abs=1)


def test_what_costs_more_than_before_never_breaks_even() -> None:
    (lost,) = [each for each in costs.savings() if (each.row.data, each.row.decomposer) == ("bamboogle", "S_D-T")]
    assert lost.a_question.high < 0 and lost.volume is None


def test_the_page_shows_the_tables_as_they_are() -> None:
    page = (ROOT / "docs" / "published-costs.md").read_text(encoding="utf-8")
    for table in (costs.of_the_llm(), costs.of_students(), costs.break_even()):
        assert markdown(table) in page


def test_a_span_of_nothing_left_is_nothing() -> None:
    assert Span(1.0, 3.0).less(2.0) == Span(0.0, 1.0) and str(Span(2.0, 2.0)) == "2"


# -- beside a run ----------------------------------------------------------------------------------------------------


def rows(study: Study, tests: tuple[str, ...], vote: str = "greedy", measure: str | None = None) -> Results:
    """Two questions a cell of a study's grid: one right, both right by the softer rule."""
    lenient = 1.0 if measure else None
    return Results(
        made_up.row(
            *(decomposer, solver, vote),
            test=test,
            id=str(i),
            cluster=str(i),
            credit=float(i),
            measure=measure,
            lenient=lenient,
        )
        for decomposer in study.grid.decomposers
        for solver in study.grid.solvers
        for test in tests
        for i in range(2)
    )


def cells(found: list[ReportedComparison]) -> set[tuple[str, str, str, str]]:
    return {(*b.cell.names[:2], b.reported.decomposer, b.reported.solver) for b in found}


def test_the_papers_study_has_all_cells_of_its_first_table() -> None:
    study = load("divide-or-conquer")
    found = compare_with_reported(rows(study, ("gsm8k",), measure="any-token"), study)
    other = compare_with_reported(rows(study, ("gsm8k",)), load("divide-or-conquer", ["distill.solver.data=all"]))
    paper = {(e.decomposer, e.solver) for e in of_paper("divide-or-conquer") if (e.table, e.data) == ("1", "gsm8k")}
    assert {cell[2:] for cell in cells(found + other)} >= paper
    assert ("llm", "distilled", "GPT-3.5", "S_E-A") in cells(found)
    assert ("llm", "distilled-direct", "GPT-3.5", "S_E-A direct") in cells(found)
    assert ("distilled-rejection", "llm", "S_D-R", "GPT-3.5") in cells(found)
    (both,) = [b for b in found if b.cell.names[:2] == ("llm", "llm")]
    assert both.reported.value == Decimal("65.13") and both.questions == 2
    assert (both.strict.value, both.measure) == (0.5, "any-token") and both.lenient and both.lenient.value == 1


def test_a_student_is_laid_beside_one_that_learned_from_the_same() -> None:
    study = load("divide-or-conquer")
    crossed = {b.reported.value for b in compare_with_reported(rows(study, ("drop",)), study) if b.reported.train}
    assert crossed == {Decimal("51.05"), Decimal("7.98"), Decimal("17.22")}  # Table 3: learned on GSM8K
    on_drop = load("divide-or-conquer", ["train.source=drop"])
    assert Decimal("57.97") in {b.reported.value for b in compare_with_reported(rows(on_drop, ("drop",)), on_drop)}


def test_what_differs_is_said() -> None:
    study = load("gsm8k-local")
    remarks = {b.cell.names[:2]: b.remark for b in compare_with_reported(rows(study, ("gsm8k",)), study)}
    assert remarks["none", "llm"] == "the paper's single stage may not think"
    assert remarks["llm", "distilled"] == "learned right replies alone, the paper's all"
    assert remarks["llm", "llm"] == ""


def test_a_vote_has_no_counterpart_but_a_single_sample_has() -> None:
    study = load("divide-or-conquer")
    assert not compare_with_reported(rows(study, ("gsm8k",), vote="sc@4"), study)
    assert compare_with_reported(rows(study, ("gsm8k",), vote="sc@1"), study)


def test_a_part_of_a_data_set_is_laid_beside_that_part() -> None:
    study = load(
        "turning-dust-into-gold",
        ["tests={A: {source: math, only: {type: Algebra}}, L: {source: math, only: {level: Level 1}}}"],
    )
    found = compare_with_reported(rows(study, ("A", "L")), study)
    assert {(b.test, b.reported.only) for b in found} == {("A", "Algebra")}
    assert {b.reported.value for b in found} == {Decimal("4.61"), Decimal("7.73")}  # CoT KD, of two teachers


def test_every_method_and_seed_of_a_comparison_has_its_line() -> None:
    study = load("turning-dust-into-gold")
    (row, *_) = rows(study, ("MATH",))
    students = ("nat 0", "nat 1", "nce 0", "kd-matched-params 0")
    of_methods = Results(made_up.moved(row, row.cell.names[0], solver) for solver in students)
    found = compare_with_reported(of_methods, study)
    assert {(str(b.cell.solver), b.reported.solver, b.reported.teacher) for b in found} == {
        (solver, "NAT", teacher) for solver in ("nat 0", "nat 1") for teacher in ("GPT-3.5", "GPT-4")
    }


def test_the_section_is_there_only_for_the_papers_data_sets(tmp_path: Path) -> None:
    def papers(name: str, test: str) -> Papers:
        study = load(name)
        (tmp_path / "config.yaml").write_text(dump(study), encoding="utf-8")
        return Papers.of(tmp_path, rows(study, (test,)))

    none = papers("miniature", "known facts, known structure")
    assert none.tables() == [] and none.sections(Figures(tmp_path, [])) == []
    some = papers("gsm8k-local", "gsm8k")
    page = "".join(some.sections(Figures(tmp_path, [])))
    assert "Beside the papers" in page and "65.13 [62.5, 67.7]" in page and "other models" in page
    assert len(some.tables()) == 1


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_command_prints_a_paper() -> None:
    outcome = CliRunner().invoke(main, ["papers", "turning-dust-into-gold"])
    assert outcome.exit_code == 0 and "| NAT |" in outcome.stdout and "S_D-R" not in outcome.stdout
    assert len(printed("divide-or-conquer")[1]) + len(printed("turning-dust-into-gold")[1]) == len(reported())


def test_a_paper_that_is_neither_is_named() -> None:
    with pytest.raises(ConfigError, match="no paper 'bible'; there are divide-or-conquer, turning-dust-into-gold"):
        printed("bible")


def finished(run: Path, config: str, test: str) -> Path:
    """A run's directory, with the results of its grid on one test."""
    study = load(config)
    (run / "config.yaml").write_text(dump(study), encoding="utf-8")
    results.save(rows(study, (test,)), run / "results.parquet")
    return run


def test_the_command_lays_a_paper_beside_a_run(tmp_path: Path) -> None:
    run = finished(tmp_path, "gsm8k-local", "gsm8k")
    outcome = CliRunner().invoke(main, ["papers", "--run", str(run)])
    assert "65.13 [62.5, 67.7]" in outcome.stdout and reference.CAUTION in outcome.stdout
    other = CliRunner().invoke(main, ["papers", "turning-dust-into-gold", "--run", str(run)])
    assert other.exit_code == 2 and "has a counterpart in turning-dust-into-gold" in other.stderr


def test_a_run_without_results_or_a_counterpart_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run its study first"):
        reference.of_run(tmp_path, load("miniature"))
    with pytest.raises(ConfigError, match="has a counterpart in the papers"):
        reference.of_run(finished(tmp_path, "miniature", "known facts, known structure"), load("miniature"))
