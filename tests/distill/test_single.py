"""The single-stage track: the teacher's own solutions of whole questions, and a student that is asked so alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import divcon
from divcon import commands
from divcon.core.errors import ConfigError
from divcon.distill import student
from divcon.distill.data.training_data import solving
from divcon.distill.recipes import SingleRecipe
from divcon.distill.traces import trace as traces
from divcon.distill.traces.collect import CollectSettings, collect_single
from divcon.eval import grid_spec
from divcon.eval.config import decides_results, load
from divcon.eval.grid import results
from divcon.eval.run_dir import RunDirectory, group_of
from divcon.lm import Model, Scripted, Store
from divcon.lm.types import Message, Sampling
from divcon.prompts import family
from divcon.prompts import load as prompt
from divcon.serve.backends.loading import opened
from divcon.solve.prompted import PromptedSolver
from divcon.tasks.question import Question

QUESTION = Question("q", "How many?", "4", subquestions=("Of what?",), solution="1. Two and two.\nThe answer is 4.")


def solver(store: Store) -> PromptedSolver:
    def answer(_: Sequence[Message], index: int) -> str:
        return "The answer is 4." if index == 0 else "The answer is 5."

    model = Model("m", Scripted(answer=answer), store)
    return PromptedSolver(model, family(), Sampling(max_tokens=9))


def test_as_many_solutions_are_sampled_as_over_all_decompositions() -> None:
    with Store() as store:
        collected = collect_single(
            [QUESTION], solver(store), CollectSettings(decompositions=2, solutions=3, temperature=1.0)
        )
    assert [t.verdict for t in collected] == ["right"] + ["wrong"] * 5
    assert {(t.subquestions, t.decomposition, t.attempt) for t in collected} == {((), "", 0)}


@pytest.mark.parametrize(("target", "stage", "reply"), [
    ("sub-answers", "cot", "The answer is 4."),
    ("direct", "direct", "The answer is 4."),
])  # fmt: skip
def test_the_student_learns_from_the_prompt_that_it_is_asked_with(target: str, stage: str, reply: str) -> None:
    recipe = SingleRecipe.model_validate({"target": target, "method": "kd"})
    with Store() as store:
        asks = solver(store)
        collected = collect_single([QUESTION], asks, CollectSettings(solutions=2, temperature=1.0))
        taught = solving(collected, asks, recipe, "direct" if target == "direct" else "single_stage")
    assert [example.reply for example in taught.selected] == [reply]
    expected = prompt(stage).fill(question=QUESTION.prompt)
    assert {one.example.messages[-1].content for one in taught.replies} == {expected}
    assert {one.example.messages[-1].content for one in taught.human} == {expected}  # no gold sub-questions


@pytest.mark.parametrize(
    ("name", "track", "plain", "differs", "folder", "stages"),
    [
        ("distilled", "solver", "distilled", {}, "solver", {"solve"}),
        ("distilled-nat", "solver", "distilled", {"method": "nat"}, "solver-nat", {"solve"}),
        ("distilled-single", "single", "distilled-single", {}, "single", {"single_stage"}),
        ("distilled-single-direct", "single", "distilled-single", {"target": "direct"}, "single-direct", {"direct"}),
        (
            "distilled-single-kd-2x-tokens",
            "single",
            "distilled-single",
            {"method": "kd-2x-tokens"},
            "single-kd-2x-tokens",
            {"single_stage"},
        ),
    ],
)
def test_a_name_says_track_recipe_folder_and_format(
    name: str, track: str, plain: str, differs: dict[str, str], folder: str, stages: set[str]
) -> None:
    spec = grid_spec.parse_solver(name)
    assert isinstance(spec, grid_spec.UseStudent) and str(spec) == name
    assert (spec.track, str(spec.plain), spec.recipe_changes, spec.folder) == (track, plain, differs, folder)
    assert set(spec.stages_taught()) == stages


@pytest.mark.parametrize(
    ("decomposers", "solvers", "needed"),
    [
        ("[llm]", "[distilled-single]", "none"),
        ("[none]", "[distilled]", "llm"),
        ("[none,llm]", "[distilled-single-direct]", "none-direct"),
    ],
)
def test_a_student_that_nobody_asks_in_its_format_is_refused(decomposers: str, solvers: str, needed: str) -> None:
    with pytest.raises(ConfigError, match=f"in the format that it was taught; add {needed} to decomposers"):
        load("miniature", [f"grid.decomposers={decomposers}", f"grid.solvers={solvers}"])


def test_the_recipe_may_make_the_plain_single_stage_student_a_direct_one() -> None:
    direct = ["distill.single.target=direct", "grid.solvers=[distilled-single]"]
    taught = load("miniature", [*direct, "grid.decomposers=[none-direct]"]).stages_taught(
        grid_spec.UseStudent("single")
    )
    assert taught and set(taught) == {"direct"}
    with pytest.raises(ConfigError, match="add none-direct to decomposers"):
        load("miniature", [*direct, "grid.decomposers=[none]"])


def test_no_student_is_asked_one_sub_question_at_a_time() -> None:
    with pytest.raises(ConfigError, match="distilled was not taught to answer one sub-question at a time"):
        load("miniature", ["grid.interactive=[llm, distilled]"])
    with pytest.raises(ConfigError, match="no decomposer asks distilled in the format"):
        load("miniature", ["grid.decomposers=[none, interactive-llm]", "grid.solvers=[llm, distilled]"])


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("distill.single.method=nat", "vLLM cannot serve a NAT student, which the single-stage student is to be"),
        ("grid.solvers=[llm, distilled-single-nat]", "which the single-stage student is to be"),
        ("distill.single.tuning.rank=128", "student.rank is 64, and the single-stage student's adapter has 128"),
    ],
)
def test_what_vllm_cannot_load_is_refused_for_the_single_stage_student_too(override: str, says: str) -> None:
    vllm = "student={engine: vllm, path: miniature/base, rank: 64}"
    with pytest.raises(ConfigError, match=says):
        load("miniature", [vllm, override])


def test_what_decides_no_answer_makes_no_other_study() -> None:
    for key in ("curve.tokens", "methods.names", "grid.stops", "llm.concurrency"):
        assert not decides_results(key)
    for key in ("seed", "grid.samples", "distill.single.target", "tests.t.max_questions"):
        assert decides_results(key)
    assert group_of("tests.t.cluster") == "" and group_of("curve.tokens") == ""


FEW = [
    *(f"distill.{track}.max_train_tokens=2000" for track in ("decomposer", "solver", "single")),
    *(f"distill.{track}.checkpoints=1" for track in ("decomposer", "solver", "single")),
    "distill.decomposer.data=all",
    "grid.decomposers=[none,none-direct,llm,distilled-all]",
    "grid.solvers=[llm,distilled,distilled-single,distilled-single-direct]",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "single"
    divcon.study("miniature", overrides=FEW, limit=4, run=directory)
    return directory


@pytest.mark.model
def test_students_are_asked_in_their_formats_and_pay_for_what_their_tracks_used(run: Path) -> None:
    files = RunDirectory(run)
    rows = results.read(files.results)
    asked = {row.cell.names[:2] for row in rows if row.cell.names[1] != "llm"}
    assert asked == {
        ("none", "distilled-single"),
        ("none-direct", "distilled-single-direct"),
        ("llm", "distilled"),
        ("distilled-all", "distilled"),
    }
    collected = traces.read(files.single_traces)
    assert len(collected) == 8 and not any(one.subquestions for one in collected)
    cards = {
        name: student.read(files.path / name) or {} for name in ("decomposer", "solver", "single", "single-direct")
    }
    used = {name: set(card["cost"]) for name, card in cards.items()}
    assert used["decomposer"] == {"decompositions"} and used["solver"] == {"decompositions", "solutions"}
    assert used["single"] == used["single-direct"] == {"single-stage solutions"}
    assert cards["single"]["role"] == "single" and "single stage" in cards["single"]["data"]
    assert set(cards["single-direct"]["prompts"]) == {"direct"} and set(cards["single"]["prompts"]) == {"miniature/cot"}


@pytest.mark.model
def test_one_question_is_asked_as_a_student_was_taught_and_no_other_way(run: Path) -> None:
    question = "Mia has 4 pears. She eats 2 pears. How many pears are left?"
    found = commands.ask(question, run=run, solver="distilled-single")
    assert found.solution.text and not found.decomposition.was_tried
    with pytest.raises(
        ConfigError, match="distilled-single was not taught to be asked behind llm: give --decomposer none"
    ):
        commands.ask(question, run=run, decomposer="llm", solver="distilled-single")
    with pytest.raises(ConfigError, match="distilled was not taught to be asked behind none: give a decomposer"):
        commands.ask(question, run=run, decomposer="none", solver="distilled")
    with pytest.raises(ConfigError, match="is a distilled single-stage student, and no solver"):
        opened(str(run / "single"), "solver", None, 1)


@pytest.mark.model
def test_a_plain_adapter_is_counted_as_merged_and_as_it_ran(run: Path) -> None:
    rows = results.read(run / "results.parquet")
    ratios: dict[str, set[float]] = {}
    for row in rows:
        if row.solve.flops and row.solve.flops_as_run:
            ratios.setdefault(row.cell.names[1], set()).add(round(row.solve.flops_as_run / row.solve.flops, 2))
    assert ratios["llm"] == {1.0} and min(ratios["distilled"]) > 1.5  # rank 64 on a base of 0.8 M weights
    decomposed = [row for row in rows if row.cell.names[0] == "distilled-all"]
    assert all((row.decompose.flops_as_run or 0.0) > 1.5 * (row.decompose.flops or 0.0) for row in decomposed)


def test_the_single_stage_student_can_be_distilled_by_itself(tmp_path: Path) -> None:
    made = divcon.distill_student("miniature", "single", overrides=FEW, limit=4, run=tmp_path / "run")
    assert made == tmp_path / "run" / "single" and student.read(made)
    assert not (tmp_path / "run" / "traces" / "traces.jsonl").exists()  # nothing was bought for the other tracks
