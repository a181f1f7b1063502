"""The grid's names: controls made of other decompositions, students of other recipes, and a study of them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import divcon
from divcon.cli import main
from divcon.decompose import Decomposition, controls
from divcon.eval import names, results
from divcon.eval.compose import Changed, Decomposing, Solving, compose
from divcon.eval.study import load
from divcon.lm import Usage
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


def test_gold_needs_gold(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text('{"question": "How many?", "answer": "1"}\n', encoding="utf-8")
    overrides = [*SMALL, f"tests={{own: {{source: jsonl, path: {tmp_path / 'own.jsonl'}}}}}", "grid.decomposers=[gold]"]
    with pytest.raises(ConfigError, match="the test 'own' has no gold sub-questions; leave gold out"):
        divcon.evaluate("miniature", overrides=[*overrides, "grid.solvers=[llm]"], limit=LIMIT, run=tmp_path / "run")


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


@pytest.mark.parametrize("style", ["paper", "slides"])
@pytest.mark.parametrize("name", ["accuracy_cost", "by_test", "heat_map", "training"])
def test_every_figure_is_drawn_with_its_numbers_beside_it(run: Path, tmp_path: Path, name: str, style: str) -> None:
    arguments = ["plot", str(run), name, "--style", style, "--out", str(tmp_path / "f.pdf")]
    outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 0, outcome.output
    drawn = (tmp_path / "f.pdf").read_bytes()
    assert drawn.startswith(b"%PDF") and b"/Type3" not in drawn  # embedded TrueType: Type 42
    header, *numbers = list(csv.reader((tmp_path / "f.csv").read_text(encoding="utf-8").splitlines()))
    assert numbers and {len(row) for row in numbers} == {len(header)}


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


def test_comparing_what_is_not_there_is_one_sentence(run: Path) -> None:
    for arguments, sentence in (
        (["llm:llm:greedy", "llm:llm"], "no cell 'llm:llm'; there are none:base:greedy"),
        (["llm:llm:greedy", "gold:llm:greedy", "--test", "none"], "has no test 'none'"),
    ):
        outcome = CliRunner().invoke(main, ["compare", str(run), *arguments])
        assert outcome.exit_code == 2 and sentence in outcome.output
