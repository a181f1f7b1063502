"""The grid's names: controls made of other decompositions, students of other recipes, and a study of them."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import divcon
from divcon.cli import main
from divcon.decompose import Decomposition, controls
from divcon.eval import names, results, tables
from divcon.eval.compose import Changed, Decomposing, Solving, compose
from divcon.eval.requests import unshared
from divcon.eval.stats import difference
from divcon.eval.study import load
from divcon.eval.summary import lines, paired, squares
from divcon.lm import Store, Usage
from divcon.solve import Solution
from divcon.tasks import Question
from divcon.tasks.errors import ConfigError

DECOMPOSERS = [
    "none",
    "none-direct",
    "base",
    "distilled-all",
    "distilled-rejection",
    "llm",
    "gold",
    "shuffled",
    "empty",
    "truncated-1",
]
SMALL = [
    *(f"distill.{role}.{setting}" for role in ("decomposer", "solver") for setting in ("tokens=3000", "data=all")),
    "prompts.direct=miniature/direct",
    f"grid.decomposers=[{', '.join(DECOMPOSERS)}]",
    "grid.solvers=[base, distilled-direct, llm]",
    "grid.samples=0",
]
LIMIT = 4


def made(*subquestions: str) -> Decomposition:
    return Decomposition(subquestions, "asked", "text", Usage(7, 3))


@pytest.mark.parametrize("n", [2, 3, 10])
def test_every_question_gets_anothers_decomposition(n: int) -> None:
    originals = [made(f"What is {i}?") for i in range(n)]
    changed = controls.shuffled(0)(originals)
    assert Counter(changed) == Counter(originals) and all(a != b for a, b in zip(changed, originals, strict=True))
    assert controls.shuffled(0)(originals) == changed
    with pytest.raises(ConfigError, match="need two questions a test at least"):
        controls.shuffled(0)(originals[:1])


def test_a_truncated_decomposition_keeps_its_first_questions_and_its_cost() -> None:
    (one,) = controls.truncated(1)([made("What?", "Why?")])
    assert one.subquestions == ("What?",) and one.usage == Usage(7, 3) and one.was_tried


def test_what_nobody_is_asked_for_costs_nothing() -> None:
    question = Question("1", "How many?", "3", subquestions=("What?",))
    (given,), (direct,), (empty,) = (make([question]) for make in (controls.gold, controls.direct, controls.empty))
    assert given.subquestions == ("What?",) and given.stage == "solve" and not given.was_tried
    assert (direct.stage, empty.stage) == ("direct", "solve") and not direct.was_tried and not empty.was_tried


def test_controls_stay_within_a_test_and_share_what_they_change() -> None:
    asked: list[int] = []

    def decomposer(questions: Any) -> list[Decomposition]:
        asked.append(len(questions))
        return [made(f"Of {question.id}?") for question in questions]

    def solver(questions: Any, decompositions: Any) -> list[list[Solution]]:
        return [[Solution(d.listing, "1", Usage(5, 2))] for d in decompositions]

    tests = {name: [Question(f"{name}{i}", "How many?", "1") for i in range(4)] for name in ("a", "b")}
    of = Decomposing("llm", None, None, decomposer)
    changed = Changed("shuffled", None, None, of, controls.shuffled(0))
    rows = compose(tests, [changed, of], [Solving("s", None, None, ("greedy",), solver)])
    assert asked == [8]
    for row in rows[:8]:
        (subquestion,) = row.decomposition.subquestions
        assert subquestion[3] == row.test and row.question.id not in subquestion


def test_names_stand_for_recipes_and_folders() -> None:
    assert names.differs("decomposer", "distilled-rejection") == {"data": "reached"}
    assert names.differs("solver", "distilled-direct") == {"target": "direct"}
    assert names.differs("solver", "distilled-nat") == {"method": "nat"} and names.differs("solver", "distilled") == {}
    assert names.folder("solver", "distilled-nat") == "solver-nat" and names.folder("solver", "distilled") == "solver"
    assert [names.asked(name) for name in ("shuffled", "truncated-2", "gold", "base")] == ["llm", "llm", None, "base"]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("grid.decomposers=[lm]", "no decomposer 'lm'; there are none, none-direct, base"),
        ("grid.decomposers=[truncated-0]", "no decomposer 'truncated-0'"),
        ("grid.solvers=[gold]", "no solver 'gold'; there are base, distilled"),
        ("grid.decomposers=[interactive-none]", "'interactive-none' has nothing to ask one at a time"),
        ("grid.decomposers=[interactive-shuffled]", "'interactive-shuffled' has nothing to ask one at a time"),
        ("grid.interactive=[foo]", "no solver 'foo'; there are"),
        ("models={llm: {engine: transformers, path: miniature/llm}}", "a model cannot be called 'llm'"),
        ("models={a b: {engine: transformers, path: miniature/llm}}", "a model cannot be called 'a b'"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load("miniature", [override])


def test_an_unknown_method_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    arguments = ["study", "miniature", "--run", str(tmp_path / "run"), "--set", "grid.solvers=[distilled-foo]"]
    outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 2 and "no method 'foo'; there are kd" in outcome.output
    assert not (tmp_path / "run" / "traces").exists()


def test_gold_needs_gold_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text('{"question": "How many?", "answer": "1"}\n', encoding="utf-8")
    overrides = [*SMALL, f"tests={{own: {{source: jsonl, path: {tmp_path / 'own.jsonl'}}}}}", "grid.decomposers=[gold]"]
    with pytest.raises(ConfigError, match="no test has gold sub-questions; leave gold out"):
        divcon.collect("miniature", overrides=overrides, limit=LIMIT, run=tmp_path / "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "grid"
    divcon.study("miniature", overrides=SMALL, limit=LIMIT, run=directory)
    return directory


def test_a_study_of_every_name(run: Path) -> None:
    rows = results.read(run / "results.parquet")
    assert list(dict.fromkeys(row["decomposer"] for row in rows)) == DECOMPOSERS
    assert len(rows) == len(DECOMPOSERS) * 3 * 4 * LIMIT
    assert (run / "decomposer-rejection" / "divcon.json").is_file() and (
        run / "solver-direct" / "divcon.json"
    ).is_file()
    assert not (run / "decomposer-all").exists()  # it is what the recipe says
    free = {row["decomposer"] for row in rows if row["decompose_flops"] == 0}
    assert free == {"none", "none-direct", "gold", "empty"}
    by_llm = {row["decomposer"] for row in rows if row["decompose_flops"] and row["solver"] == "llm"}
    assert by_llm == {"base", "distilled-all", "distilled-rejection", "llm", "shuffled", "truncated-1"}


def test_the_llm_profits_from_its_own_decompositions_and_not_from_anothers(run: Path) -> None:
    """Shipped models, not scripted: greedy decoding on the miniature world says the same every time."""
    outcome = CliRunner().invoke(main, ["compare", str(run), "llm:llm:greedy", "shuffled:llm:greedy", "--json"])
    found = json.loads(outcome.output)
    assert found["questions"] == 4 * LIMIT and found["test"] == "McNemar, exact"
    assert found["difference"][0] > 0.5 and found["p"] < 0.01 and all(flip["question"] for flip in found["flips"])


@pytest.mark.parametrize("form", ["--style=paper", "--style=slides", "--columns=one"])
@pytest.mark.parametrize("name", ["accuracy_cost", "by_test", "heat_map", "slopes", "training"])
def test_every_figure_is_drawn_with_its_numbers_beside_it(run: Path, tmp_path: Path, name: str, form: str) -> None:
    arguments = ["plot", str(run), name, form, "--out", str(tmp_path / "f.pdf")]
    outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 0, outcome.output
    drawn = (tmp_path / "f.pdf").read_bytes()
    assert drawn.startswith(b"%PDF") and b"/Type3" not in drawn  # embedded TrueType: Type 42
    header, *numbers = list(csv.reader((tmp_path / "f.csv").read_text(encoding="utf-8").splitlines()))
    assert numbers and {len(row) for row in numbers} == {len(header)}


@pytest.mark.parametrize("name", ["accuracy_cost", "by_test", "heat_map", "slopes", "training"])
def test_a_figure_across_one_column_is_that_wide(run: Path, tmp_path: Path, name: str) -> None:
    drawn = divcon.plot(run, name, tmp_path / "f.svg", columns="one").read_text(encoding="utf-8")
    width = re.search(r'width="([\d.]+)pt"', drawn)
    assert width and float(width[1]) / 72 <= 3.35 + 1e-6


def test_a_figures_numbers_are_the_runs(run: Path, tmp_path: Path) -> None:
    divcon.plot(run, "heat_map", tmp_path / "f.svg")
    listed = csv.DictReader((tmp_path / "f.csv").read_text(encoding="utf-8").splitlines())
    rows = results.read(run / "results.parquet")
    for one in listed:
        of_cell = [r["credit"] for r in rows if (r["decomposer"], r["solver"]) == (one["decomposer"], one["solver"])]
        assert float(one["accuracy"]) == pytest.approx(sum(of_cell) / len(of_cell))
    first, again = ((tmp_path / "f.svg").read_bytes(), divcon.plot(run, "heat_map", tmp_path / "g.svg").read_bytes())
    assert first == again


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gain"], "has nothing for the figure 'gain'"),
        (["pie"], "no figure 'pie'; there are accuracy_cost"),
        (["heat_map", "--out", "f.jpg"], "its name must end in pdf, svg, png"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_one_sentence(run: Path, arguments: list[str], sentence: str) -> None:
    outcome = CliRunner().invoke(main, ["plot", str(run), *arguments])
    assert outcome.exit_code == 2 and sentence in outcome.output


def test_cells_that_were_asked_different_questions_are_marked_and_never_compared_in_silence(run: Path) -> None:
    rows = results.read(run / "results.parquet")
    lost = rows[0]["test"]
    partial = [r for r in rows if r["decomposer"] != "gold" or r["test"] != lost]
    (of_gold,) = (s for s in squares(partial) if s.cell[:2] == ("gold", "llm"))
    gold, llm = ([r for r in rows if (r["decomposer"], r["solver"]) == (d, "llm")] for d in ("gold", "llm"))
    a, b = ([r for r in of if r["test"] != lost] for of in (gold, llm))
    assert not of_gold.is_complete and of_gold.beside == difference(*paired(a, b))
    _, body = tables.main(lines(partial), squares(partial))
    row = next(row for row in body if row[:2] == ["gold", "llm"])
    assert f"{tables.INCOMPLETE} n={3 * LIMIT}" in row[3] and "not asked" in row and tables.INCOMPLETE in row[-5]
    whole = [row for row in body if row[:2] == ["llm", "llm"]]
    assert not any(tables.INCOMPLETE in cell for cell in whole[0])
    assert not {i for i, j in tables.best(lines(partial)) if j == 3} & {i for i, r in enumerate(body) if r[0] == "gold"}


def test_a_grid_asks_for_each_different_sample_once(run: Path) -> None:
    counted = json.loads((run / "requests.json").read_text(encoding="utf-8"))
    with Store(run / "store.sqlite") as store:
        there = len(store)
    taught = 4 * LIMIT  # not among the grid's: the teacher's decompositions and two solutions of the training questions
    assert counted["asked"] <= there <= counted["asked"] + taught
    rows = results.read(run / "results.parquet")
    assert counted["each_vote"] == sum(row["decompose_calls"] + row["solve_calls"] for row in rows) > counted["asked"]


def test_unshared_samples_by_hand() -> None:
    assert unshared([("greedy", 1, 1)]) == (2, 2)
    assert unshared([("sc@4", 1, 4)]) == (5, 4 + 10)  # k of 1, 2, 3, 4, each with its decomposition


def test_one_decomposer_before_several_llms(tmp_path: Path) -> None:
    overrides = [
        "models={other: {engine: transformers, path: miniature/base, dtype: float32}}",
        "grid.decomposers=[llm, other, interactive-other]",
        "grid.solvers=[llm, other]",
        "grid.interactive=[other]",
        "grid.samples=0",
        *(f"prompts.{name}=miniature/{name}" for name in ("next", "step", "finish")),
    ]
    evaluated = divcon.evaluate("miniature", overrides=overrides, limit=2, run=tmp_path / "run")
    cells = list(dict.fromkeys(row.cell[:2] for row in evaluated.rows))
    assert cells == [*product(["llm", "other"], ["llm", "other"]), ("interactive-other", "other")]
    assert evaluated.rows[0].solve.flops != evaluated.rows[8].solve.flops
    divcon.collect("miniature", overrides=overrides, limit=2, run=tmp_path / "run")
    planned = divcon.plan("miniature", overrides=overrides, pilot=tmp_path / "run")
    (asking,) = (stage for stage in planned.stages if stage.name == "ask: interactive-other -> other")
    assert asking.tokens[0] > 0 or asking.tokens[1] < asking.samples * 96  # as long as the pilot's, not as the limit


def test_comparing_what_is_not_there_is_one_sentence(run: Path) -> None:
    for arguments, sentence in (
        (["llm:llm:greedy", "llm:llm"], "no cell 'llm:llm'; there are none:base:greedy"),
        (["llm:llm:greedy", "gold:llm:greedy", "--test", "none"], "has no test 'none'"),
    ):
        outcome = CliRunner().invoke(main, ["compare", str(run), *arguments])
        assert outcome.exit_code == 2 and sentence in outcome.output
