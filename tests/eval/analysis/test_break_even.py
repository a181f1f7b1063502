"""What is paid once, and after how many questions it is paid back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from math import inf, isinf
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

import divcon
from divcon.core.errors import ConfigError
from divcon.eval import devices, grid_spec
from divcon.eval.analysis.break_even import NEVER, BreakEven, break_even, break_evens, references
from divcon.eval.analysis.training_cost import UNKNOWN, Item, UpfrontCost, UpfrontCosts
from divcon.eval.grid import results
from divcon.eval.grid.rows import PhaseCost, ResultRow, Results
from divcon.eval.grid_spec import Cell
from divcon.eval.render import page
from divcon.eval.render.table import questions
from divcon.eval.report import plots
from divcon.eval.report.costs import Costs, costs_table
from divcon.eval.stats.intervals import Estimate, students
from divcon.lm.local.footprint import footprint_of
from divcon.lm.local.weights import gpus, model_directory
from divcon.lm.settings import OpenAISettings, TransformersSettings
from tests.fakes import rows

amounts = st.floats(1e-6, 1e6)


def test_an_outlay_is_repaid_by_what_each_question_saves() -> None:
    assert break_even(1000.0, Estimate(2.0, 1.0, 4.0)) == Estimate(500.0, 250.0, 1000.0)
    assert break_even(1000.0, Estimate(2.0, -1.0, 4.0)) == Estimate(500.0, 250.0, NEVER)
    assert break_even(1000.0, Estimate(-2.0, -3.0, -1.0)) == Estimate(NEVER, NEVER, NEVER)
    assert break_even(1000.0, Estimate(-1.0, -3.0, 1.0)) == Estimate(NEVER, 1000.0, NEVER)


@given(amounts, st.tuples(st.floats(-10, 10), st.floats(0, 10), st.floats(0, 10)), amounts)
def test_the_interval_holds_its_value_and_no_unit_matters(
    upfront: float, saved: tuple[float, float, float], unit: float
) -> None:
    value, below, above = saved
    d = Estimate(value, value - below, value + above)
    found = break_even(upfront, d)
    assert found.low <= found.value <= found.high
    assert break_even(upfront * unit, Estimate(*(each * unit for each in d))) == pytest.approx(found)


@given(amounts, amounts, amounts)
def test_after_as_many_questions_both_cost_the_same(upfront: float, query: float, saved: float) -> None:
    n = break_even(upfront, Estimate(saved, saved, saved)).value
    assert upfront + query * n == pytest.approx((query + saved) * n)


def test_a_mean_has_students_interval() -> None:
    a, b = [5.0, 7.0, 6.5, 9.0, 4.0], [4.0, 6.5, 6.0, 7.0, 4.5]
    stock = ttest_rel(a, b).confidence_interval(0.95)
    assert students([x - y for x, y in zip(a, b, strict=True)])[1:] == pytest.approx([stock.low, stock.high])
    assert students([3.0]) == Estimate(3.0, -inf, inf)


def test_an_unknown_part_makes_a_sum_unknown() -> None:
    assert UpfrontCost(1.0, 2.0, None) + UpfrontCost(3.0, 4.0, 5.0) == UpfrontCost(4.0, 6.0, None)
    assert UpfrontCost() + UNKNOWN == UNKNOWN


_SOLVER = {"method": "kd", "target": "sub-answers"}
CONFIG = {"distill": {"decomposer": {"data": "rejection_sampled"}, "solver": _SOLVER, "single": _SOLVER}}
USED = {
    "decomposer": ("decompositions", "solutions"),
    "decomposer-all": ("decompositions",),
    "solver": ("decompositions", "solutions"),
    "single": ("single-stage solutions",),
    "ranker": ("decompositions", "solutions"),
}


def upfront_costs(*trained: str) -> UpfrontCosts:
    items = {name: Item(name, 10, UpfrontCost(100.0, 1.0, None), "cpu") for name in trained}
    parts = {"decompositions": 3.0, "solutions": 4.0, "single-stage solutions": 5.0}
    teaching = {part: Item(part, 5, UpfrontCost(flops, 1.0, 2.0), "cpu") for part, flops in parts.items()}
    return UpfrontCosts(CONFIG, teaching, {name: USED[name] for name in trained}, items)


def test_a_cell_pays_once_for_each_part_of_the_traces_that_its_students_used_and_for_each_of_them() -> None:
    of = upfront_costs("decomposer", "decomposer-all", "solver", "single", "ranker")
    assert of.cell(Cell.parse("llm", "llm", "greedy")) == UpfrontCost()
    assert of.cell(Cell.parse("distilled", "llm", "greedy")).flops == 107
    assert of.cell(Cell.parse("distilled-all", "llm", "greedy")).flops == 103
    assert of.cell(Cell.parse("none", "distilled-single", "greedy")).flops == 105
    assert of.cell(Cell.parse("distilled", "distilled", "greedy")).flops == 207
    assert of.cell(Cell.parse("distilled", "distilled", "asc@4")).flops == 307
    assert of.students(Cell.parse("llm", "llm", "rank_1_plus_2.5@4")) == ["ranker"]


def test_a_name_that_asks_for_the_recipes_own_shares_its_student() -> None:
    of = upfront_costs("decomposer", "decomposer-all")
    assert of.students(Cell.parse("distilled-rejection", "distilled-kd", "greedy")) == ["decomposer", "solver"]
    assert of.students(Cell.parse("distilled-all", "distilled-direct", "greedy")) == ["decomposer-all", "solver-direct"]


def test_a_student_without_a_card_costs_what_nobody_knows() -> None:
    assert upfront_costs("decomposer").cell(Cell.parse("llm", "distilled", "greedy")) == UNKNOWN


def test_cells_are_held_against_the_llm_alone_by_the_same_vote() -> None:
    cells = [
        Cell.parse(d, s, v)
        for d in ("none", "llm", "gold")
        for s in ("llm", "base")
        for v in ("greedy", "sc@4", "asc@4")
    ]
    alone = [Cell.parse("llm", "llm", "sc@4"), Cell.parse("none", "llm", "sc@4")]
    assert references(Cell.parse("distilled", "llm", "sc@4"), cells) == alone
    assert references(Cell.parse("distilled", "llm", "asc@4"), cells) == alone  # the ranker is a student too
    assert references(Cell.parse("distilled", "llm", "asc@8"), cells) == []
    controls = map(grid_spec.parse_decomposer, ("gold", "truncated-2", "shuffled", "interactive-gold"))
    others = map(grid_spec.parse_decomposer, ("none", "llm", "interactive-llm", "distilled-all"))
    assert not any(map(grid_spec.is_of_use, controls)) and all(map(grid_spec.is_of_use, others))


def row(cell: Cell, i: int, flops: float | None, credit: float = 1.0) -> ResultRow:
    return rows.row(*cell.names, id=str(i), cluster=str(i), credit=credit, solve=PhaseCost(flops=flops))


def one(student: list[float | None], llm: list[float | None]) -> BreakEven:
    a, b = Cell.parse("none", "distilled", "greedy"), Cell.parse("none", "llm", "greedy")
    made = [row(a, i, flops, 0.0) for i, flops in enumerate(student)]
    made += [row(b, i, flops) for i, flops in reversed(list(enumerate(llm)))]
    (found,) = break_evens(Results(made), upfront_costs("solver"), "flops")
    return found


def test_savings_are_paired_by_question() -> None:
    found = one([1.0, 5.0, 9.0], [3.0, 7.0, 11.0])  # each question saves 2, however much they differ
    assert found.saved == pytest.approx(Estimate(2.0, 2.0, 2.0)) and found.queries
    assert found.queries.value == pytest.approx(53.5) and found.accuracy.value == -1


def test_a_cell_that_costs_as_much_never_pays() -> None:
    found = one([3.0, 7.0], [3.0, 7.0])
    assert found.queries and isinf(found.queries.value)
    assert questions(found.queries) == "never" and questions(None) == "unknown"
    assert questions(Estimate(12345.0, 11900.0, NEVER)) == "12,300 [11,900, never]"


def test_one_unknown_cost_leaves_the_break_even_unknown() -> None:
    found = one([1.0, None], [3.0, 7.0])
    assert (found.queries, found.saved, found.query, found.query_beside) == (None, None, None, 5.0)


@pytest.mark.parametrize(
    ("device", "count"),
    [("cuda: H200", 1), ("4 x cuda: H200", 4), ("cpu", 0), ("", 0), ("cpu, cuda: H200", 0), ("a server", 0)],
)
def test_seconds_are_a_gpus_only_where_all_were(device: str, count: int) -> None:
    assert gpus(device) == count
    item = Item("solver", 1, UpfrontCost(1.0, 10.0, None), device)
    assert item.gpu_seconds == (10.0 * count if count else None)
    header, _ = costs_table([item])
    assert ("GPU-seconds" in header) == bool(count)


def test_a_run_remembers_every_device_that_its_models_answered_on(tmp_path: Path) -> None:
    assert devices.read(tmp_path) == {}
    local = TransformersSettings(engine="transformers", path="miniature/base", device="cpu")
    devices.remember(tmp_path, {"llm": OpenAISettings(engine="openai", model="m"), "student": local})
    devices.remember(tmp_path, {"llm": None, "student": local})
    assert devices.read(tmp_path) == {"llm": ["a server", "unknown"], "student": ["cpu"]}


SMALL = [
    *(
        f"distill.{role}.{setting}"
        for role in ("decomposer", "solver", "single")
        for setting in ("max_train_tokens=3000", "data=all")
    ),
    "grid.samples=0",
    "llm.price={prompt: 1, completion: 2}",
    "student.price={like: llm}",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "cost"
    divcon.study("miniature", overrides=SMALL, limit=4, run=directory)
    return directory


def test_a_student_is_priced_by_its_share_of_the_parameters(run: Path) -> None:
    spent = {
        name: [
            (r.solve.dollars or 0.0, r.solve.prompt_tokens + 2 * r.solve.completion_tokens)
            for r in results.read(run / "results.parquet")
            if str(r.cell.solver) == name
        ]
        for name in ("llm", "distilled")
    }
    rates = {name: sum(d for d, _ in some) / sum(t for _, t in some) for name, some in spent.items()}
    assert rates["llm"] == pytest.approx(1e-6)
    base, llm = (footprint_of(model_directory(f"miniature/{name}")).parameters for name in ("base", "llm"))
    assert rates["distilled"] / rates["llm"] == pytest.approx(base / llm)


def test_a_run_says_what_its_students_took(run: Path) -> None:
    of = UpfrontCosts.of(run)
    parts = [f"the teacher's {part}" for part in ("decompositions", "single-stage solutions", "solutions")]
    assert [item.name for item in of.items] == [*parts, "decomposer", "single", "solver"]
    assert all(item.upfront.flops and item.upfront.seconds and item.device for item in of.items)
    assert all(item.upfront.dollars for item in of.teaching.values()) and of.trainings["solver"].upfront.dollars is None


def test_a_machines_price_pays_for_trainings_too(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    config = yaml.safe_load((copy / "config.yaml").read_text(encoding="utf-8"))
    config["student"]["price"] = {"second": 2.0, "exaflop": 1e6}
    (copy / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    spent = UpfrontCosts.of(copy).trainings["solver"].upfront
    assert spent.seconds and spent.flops and spent.dollars == pytest.approx(2 * spent.seconds + spent.flops / 1e12)


def test_the_report_says_when_it_pays(run: Path, tmp_path: Path) -> None:
    costs = Costs.of(run, results.read(run / "results.parquet"))
    assert list(costs.break_evens) == ["flops"]  # trainings have no price, so that dollars are never repaid
    assert costs.devices == {"llm": ["cpu"], "student": ["cpu"]}
    whole = "\n".join(costs.sections(page.Figures(tmp_path, [])))
    for said in ("What distilling took", "When distilling pays", "What can be had for a cost", "the llm on cpu"):
        assert said in whole
    assert len(costs.tables()) == 5


def test_what_nobody_knows_is_said_aloud(run: Path, tmp_path: Path) -> None:
    known = results.read(run / "results.parquet")
    unknown = Results(replace(row, solve=row.solve._replace(flops=None)) for row in known)
    whole = "\n".join(Costs.of(run, unknown).sections(page.Figures(tmp_path, [])))
    assert "<td>unknown</td>" in whole and "In dollars it is unknown" in whole
    assert "Area under the front by flops" not in whole


def test_the_figure_has_its_numbers_beside_it(run: Path, tmp_path: Path) -> None:
    plots.draw(run, "break_even", tmp_path / "f.svg")
    header, *numbers = (tmp_path / "f.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("decomposer,solver,vote,beside decomposer") and len(numbers) == 4 * 2
    with pytest.raises(ConfigError, match="nothing for the figure 'break_even'"):
        plots.draw(run, "break_even", tmp_path / "g.svg", axis="dollars")
