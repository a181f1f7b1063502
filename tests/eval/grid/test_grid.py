"""The grid's names: controls made of other decompositions, students of other recipes, and a study of them."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import divcon
from divcon import commands
from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.decompose import Decomposition, controls
from divcon.eval import grid_spec
from divcon.eval.analysis.summary import lines, paired, squares
from divcon.eval.config import is_operational, load
from divcon.eval.grid import results
from divcon.eval.grid.evaluate import ControlGridDecomposer, GridDecomposer, GridSolver, compose
from divcon.eval.grid.sample_counts import unshared
from divcon.eval.grid_spec import GREEDY, Cell, parse_decomposer, parse_solver
from divcon.eval.render.table import INCOMPLETE
from divcon.eval.report import tables
from divcon.eval.stats.intervals import difference
from divcon.lm import Store, Usage
from divcon.solve import Solution
from divcon.tasks import Question

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
    *(
        f"distill.{role}.{setting}"
        for role in ("decomposer", "solver")
        for setting in ("max_train_tokens=3000", "data=all")
    ),
    "prompts.direct=miniature/direct",
    f"grid.decomposers=[{', '.join(DECOMPOSERS)}]",
    "grid.solvers=[base, distilled-direct, llm]",
    "grid.samples=0",
]
LIMIT = 4
WITHOUT_MODELS = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "peft", "trl", "vllm", "openai"):
            raise ImportError(f"this machine has no {name}")
sys.meta_path.insert(0, Nothing())
from pathlib import Path
from divcon.eval.report.report import report
report(Path(sys.argv[1]))
"""


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
    of = GridDecomposer(parse_decomposer("llm"), None, None, decomposer)
    changed = ControlGridDecomposer(parse_decomposer("shuffled"), None, None, of, controls.shuffled(0))
    rows = compose(tests, [changed, of], [GridSolver(parse_solver("s"), None, None, (GREEDY,), solver)])
    assert asked == [8]
    for row in rows[:8]:
        (subquestion,) = row.subquestions
        assert subquestion[3] == row.test and row.id not in subquestion


def test_names_stand_for_recipes_and_folders() -> None:
    assert grid_spec.UseStudent("decomposer", "rejection").recipe_changes == {"data": "rejection_sampled"}
    specs = [grid_spec.UseStudent("solver", variant) for variant in ("", "direct", "nat")]
    assert [(str(spec), spec.recipe_changes, spec.folder) for spec in specs] == [
        ("distilled", {}, "solver"),
        ("distilled-direct", {"target": "direct"}, "solver-direct"),
        ("distilled-nat", {"method": "nat"}, "solver-nat"),
    ]
    asked = [
        grid_spec.decomposing_model(parse_decomposer(name)) for name in ("shuffled", "truncated-2", "gold", "base")
    ]
    assert asked == [grid_spec.LLM, grid_spec.LLM, None, grid_spec.BASE]


@pytest.mark.parametrize("name", [*grid_spec.DECOMPOSERS, "truncated-3", "interactive-gold", "gpt-5"])
def test_a_decomposers_name_is_read_and_written_again(name: str) -> None:
    assert str(parse_decomposer(name)) == name


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("grid.decomposers=[lm]", "no decomposer 'lm'; there are none, none-direct, base"),
        ("grid.decomposers=[truncated-0]", "no decomposer 'truncated-0'"),
        ("grid.solvers=[gold]", "no solver 'gold'; there are base, distilled"),
        ("grid.decomposers=[interactive-none]", "'interactive-none' has nothing to ask one at a time"),
        ("grid.decomposers=[interactive-shuffled]", "'interactive-shuffled' has nothing to ask one at a time"),
        ("grid.interactive=[foo]", "no solver 'foo'; there are"),
        ("grid.decomposers=[llm, none, llm]", "llm is listed twice in decomposers"),
        ("grid={decomposers: [interactive-llm], solvers: [base]}", "nobody answers interactive-llm"),
        (
            "tests={all questions: {source: miniature, split: new-new, max_questions: 1}}",
            "a test cannot be called 'all questions'",
        ),
        (
            "models={q: {engine: transformers, path: miniature/llm, price: {like: llm}}}",
            "models.q.price: only a student is priced {like: llm}",
        ),
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


@pytest.mark.model
def test_a_study_of_every_name(run: Path) -> None:
    rows = results.read(run / "results.parquet")
    assert list(dict.fromkeys(row.cell.names[0] for row in rows)) == DECOMPOSERS
    single_stage = {row.cell.names[:2] for row in rows if row.cell.names[0] in ("none", "none-direct")}
    assert len(single_stage) == 2 * 2 and len(rows) == (len(DECOMPOSERS) * 3 - 2) * 4 * LIMIT
    assert (run / "decomposer-rejection" / "divcon.json").is_file() and (
        run / "solver-direct" / "divcon.json"
    ).is_file()
    assert not (run / "decomposer-all").exists()  # it is what the recipe says
    free = {row.cell.names[0] for row in rows if row.decompose.flops == 0}
    assert free == {"none", "none-direct", "gold", "empty"}
    by_llm = {row.cell.names[0] for row in rows if row.decompose.flops and row.cell.names[1] == "llm"}
    assert by_llm == {"base", "distilled-all", "distilled-rejection", "llm", "shuffled", "truncated-1"}


@pytest.mark.model
def test_the_llm_profits_from_its_own_decompositions_and_not_from_anothers(run: Path) -> None:
    """Shipped models, not scripted: greedy decoding on the miniature world says the same every time."""
    outcome = CliRunner().invoke(main, ["compare", str(run), "llm:llm:greedy", "shuffled:llm:greedy", "--json"])
    found = json.loads(outcome.output)
    assert found["questions"] == 4 * LIMIT and found["test"].startswith("sign flips of ")
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
    drawn = commands.plot(run, name, tmp_path / "f.svg", columns="one").read_text(encoding="utf-8")
    width = re.search(r'width="([\d.]+)pt"', drawn)
    assert width and float(width[1]) / 72 <= 3.35 + 1e-6


def test_a_figures_numbers_are_the_runs(run: Path, tmp_path: Path) -> None:
    commands.plot(run, "heat_map", tmp_path / "f.svg")
    listed = csv.DictReader((tmp_path / "f.csv").read_text(encoding="utf-8").splitlines())
    rows = results.read(run / "results.parquet")
    for one in listed:
        of_cell = [r.credit for r in rows if r.cell.names[:2] == (one["decomposer"], one["solver"])]
        assert float(one["accuracy"]) == pytest.approx(sum(filter(None, of_cell)) / len(of_cell))
    first, again = ((tmp_path / "f.svg").read_bytes(), commands.plot(run, "heat_map", tmp_path / "g.svg").read_bytes())
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
    lost = rows[0].test
    partial = rows.where(lambda r: r.cell.names[0] != "gold" or r.test != lost)
    (of_gold,) = (s for s in squares(partial) if s.cell.names[:2] == ("gold", "llm"))
    known = rows.where(lambda r: r.test != lost)
    a, b = (known.where(lambda r, d=d: r.cell.names[:2] == (d, "llm")) for d in ("gold", "llm"))  # type: ignore[misc]  # bound
    assert not of_gold.is_complete and of_gold.beside == difference(*paired(a, b))
    _, body = tables.main(lines(partial), squares(partial))
    row = next(row for row in body if row[:2] == ["gold", "llm"])
    assert f"{INCOMPLETE} n={3 * LIMIT}" in row[3] and "not asked" in row and INCOMPLETE in row[-7]
    whole = [row for row in body if row[:2] == ["llm", "llm"]]
    assert not any(INCOMPLETE in cell for cell in whole[0])
    assert not {i for i, j in tables.best(lines(partial)) if j == 3} & {i for i, r in enumerate(body) if r[0] == "gold"}


@pytest.mark.model
def test_a_grid_asks_for_each_different_sample_once(run: Path) -> None:
    counted = json.loads((run / "requests.json").read_text(encoding="utf-8"))
    with Store(run / "store.sqlite") as store:
        there = len(store)
    taught = 4 * LIMIT  # not among the grid's: the teacher's decompositions and two solutions of the training questions
    assert counted["asked"] <= there <= counted["asked"] + taught
    rows = results.read(run / "results.parquet")
    assert counted["each_vote"] == sum(row.decompose.calls + row.solve.calls for row in rows) > counted["asked"]


def test_unshared_samples_by_hand() -> None:
    assert unshared([(Cell.parse("llm", "llm", "greedy"), 1, 1)]) == (2, 2)
    assert unshared([(Cell.parse("llm", "llm", "sc@4"), 1, 4)]) == (
        5,
        4 + 10,
    )  # k of 1, 2, 3, 4, each with a decomposition
    assert unshared([(Cell.parse("interactive-llm", "llm", "sc@4"), 12, 16)]) == (28, 70)  # ways of 3 + 4 calls each


@pytest.mark.model
def test_one_decomposer_before_several_llms(tmp_path: Path) -> None:
    overrides = [
        "models={other: {engine: transformers, path: miniature/base, dtype: float32}}",
        "grid.decomposers=[llm, other, interactive-other]",
        "grid.solvers=[llm, other]",
        "grid.interactive=[other]",
        "grid.samples=0",
        *(f"prompts.{name}=miniature/{name}" for name in ("next", "step", "finish")),
    ]
    evaluated = commands.evaluate("miniature", overrides=overrides, limit=2, run=tmp_path / "run")
    cells = list(dict.fromkeys(row.cell.names[:2] for row in evaluated.rows))
    assert cells == [*product(["llm", "other"], ["llm", "other"]), ("interactive-other", "other")]
    assert evaluated.rows[0].solve.flops != evaluated.rows[8].solve.flops
    divcon.collect("miniature", overrides=overrides, limit=2, run=tmp_path / "run")
    planned = divcon.plan("miniature", overrides=overrides, pilot=tmp_path / "run")
    (asking,) = (stage for stage in planned.stages if stage.name == "ask: interactive-other -> other")
    assert asking.tokens[0] > 0 or asking.tokens[1] < asking.samples * 96  # as long as the pilot's, not as the limit


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test with gold sub-questions and one without."""
    home = tmp_path_factory.mktemp("mixed")
    own = [f'{{"question": "Tom has {n} pears. He eats 2 pears. How many?", "answer": "{n - 2}"}}' for n in (20, 30)]
    (home / "own.jsonl").write_text("\n".join(own), encoding="utf-8")
    overrides = [
        *SMALL[:4],
        f"tests={{with: {{source: miniature, split: new-new, max_questions: 3}}, "
        f"without: {{source: jsonl, path: {home / 'own.jsonl'}}}}}",
        *(f"prompts.{name}=miniature/{name}" for name in ("next", "step", "finish")),
        "grid.decomposers=[gold, none, llm, distilled, interactive-gold]",
        "grid.solvers=[llm, distilled]",
        "grid.samples=2",
        "grid.reader=miniature/base",
    ]
    divcon.study("miniature", overrides=overrides, limit=LIMIT, run=home / "run")
    return home / "run"


def test_a_run_with_gold_on_one_test_of_two_is_reported_and_says_so(mixed: Path) -> None:
    rows = results.read(mixed / "results.parquet")
    assert {row.test for row in rows if "gold" in row.cell.names[0]} == {"with"}
    table = (mixed / "report" / "table.md").read_text(encoding="utf-8")
    page = (mixed / "report" / "index.html").read_text(encoding="utf-8")
    assert f"{INCOMPLETE} n=3" in table and "not asked" in table
    assert "Left out, having no gold sub-questions: without." in page
    front = (mixed / "report" / "accuracy_cost.svg").read_text(encoding="utf-8")
    assert "fewer questions" in front


def test_a_copied_run_makes_the_same_report_without_models(mixed: Path, tmp_path: Path) -> None:
    copy = tmp_path / mixed.name  # the page is called like its run
    left = ("*.safetensors", "store.sqlite*", "report", "checkpoints")
    shutil.copytree(mixed, copy, ignore=shutil.ignore_patterns(*left))
    again = subprocess.run([sys.executable, "-c", WITHOUT_MODELS, copy], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    made, first = ({path.name: path.read_bytes() for path in (of / "report").iterdir()} for of in (copy, mixed))
    assert made.keys() == first.keys() and len(made) > 30
    assert [name for name in made if made[name] != first[name]] == []


def test_comparing_with_a_cell_that_lacks_a_test_names_the_tests_that_both_know(mixed: Path) -> None:
    cells = [str(mixed), "gold:llm:greedy", "llm:llm:greedy"]
    outcome = CliRunner().invoke(main, ["compare", *cells])
    assert outcome.exit_code == 2 and "were asked different questions, and cannot be compared" in outcome.output
    assert "but on --test 'with'" in outcome.output
    assert CliRunner().invoke(main, ["compare", *cells, "--test", "with"]).exit_code == 0


def test_the_reference_is_a_cell_that_was_asked_most_questions(mixed: Path) -> None:
    rows = results.read(mixed / "results.parquet").where(lambda row: row.cell.names[0] != "llm")
    found = squares(rows)
    assert {square.reference.names[:2] for square in found} == {("none", "llm")}  # and not gold, which comes first
    assert "The reference of a vote is none" in tables.marks(found)


def test_a_plan_asks_gold_where_there_is_gold(mixed: Path) -> None:
    planned = divcon.plan(str(mixed / "config.yaml"))
    asked = {stage.name: stage.samples for stage in planned.stages}
    assert asked["solve: gold -> llm"] == 3 * 3 and asked["solve: none -> llm"] == (3 + 2) * 3


def test_what_only_the_grid_is_asked_with_may_change_until_there_are_results(tmp_path: Path) -> None:
    divcon.collect("miniature", limit=1, run=tmp_path / "run")
    own = [f"prompts.{name}=miniature/{name}" for name in ("direct", "next", "step", "finish")]
    divcon.collect("miniature", overrides=own, limit=1, run=tmp_path / "run")
    with pytest.raises(ConfigError, match="it differs in prompts"):
        divcon.collect("miniature", overrides=["prompts.solve=solve"], limit=1, run=tmp_path / "run")


def test_how_a_model_of_the_grid_is_reached_may_change() -> None:
    assert is_operational("models.gpt.concurrency") and not is_operational("models.gpt.model")


def test_comparing_what_is_not_there_is_one_sentence(run: Path) -> None:
    for arguments, sentence in (
        (["llm:llm:greedy", "llm:llm"], "no cell 'llm:llm'; there are none:base:greedy"),
        (["llm:llm:greedy", "gold:llm:greedy", "--test", "none"], "the results have no test 'none'; there are"),
    ):
        outcome = CliRunner().invoke(main, ["compare", str(run), *arguments])
        assert outcome.exit_code == 2 and sentence in outcome.output
