"""Measures of a decomposition that need no gold: laws, the reader against a direct computation, and a study."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from divcon import commands
from divcon.core.errors import ConfigError
from divcon.decompose.decomposition import listing
from divcon.eval.analysis import agreement, decomposition_quality, reconstruction
from divcon.eval.analysis.reconstruction import ReconstructedQuestion, ReconstructionModel
from divcon.eval.grid import results
from divcon.eval.grid.rows import ResultRow, Results
from divcon.eval.grid_spec import GoldDecomposition
from divcon.eval.render import page
from divcon.eval.report.errors import Errors, quality_table
from divcon.lm import Store
from divcon.lm.local.weights import load_model, load_tokenizer, model_directory
from divcon.tasks.miniature import questions
from divcon.tasks.miniature.chains import KNOWN, NEW, SINGLE
from divcon.tasks.miniature.problem import Problem, draw
from tests.fakes import rows

pytestmark = pytest.mark.model

CHAINS = [chain for chain in KNOWN + NEW if chain != SINGLE]
problems = st.builds(lambda chain, seed: draw(random.Random(seed), chain), st.sampled_from(CHAINS), st.integers())


# -- measures --------------------------------------------------------------------------------------------------------


@given(problems, st.data())
def test_a_gold_decomposition_covers_as_much_as_any_part_of_it(problem: Problem, data: Any) -> None:
    part = data.draw(st.lists(st.sampled_from(problem.subquestions), unique=True))
    for covered in (decomposition_quality.covered_numbers, decomposition_quality.covered_entities):
        whole, less = covered(problem.text, problem.subquestions), covered(problem.text, part)
        assert whole is not None and less is not None and 0 <= less <= whole <= 1


@given(problems, st.integers(0, 3))
def test_asking_again_raises_redundancy(problem: Problem, place: int) -> None:
    asked = problem.subquestions
    again = (*asked, asked[place % len(asked)])
    before, after = decomposition_quality.redundancy(asked), decomposition_quality.redundancy(again)
    assert before is not None and after is not None and 0 <= before < after <= 1


@given(problems)
def test_a_question_is_like_itself_and_nothing_is_more_like_it_than_it_covers(problem: Problem) -> None:
    assert decomposition_quality.likeness(problem.text, [problem.text]) == 1.0
    like, covered = (
        of(problem.text, problem.subquestions)
        for of in (decomposition_quality.likeness, decomposition_quality.covered_entities)
    )
    assert like is not None and covered is not None and like <= covered


def test_what_is_not_there_is_not_covered_and_what_is_not_asked_for_is_unknown() -> None:
    assert decomposition_quality.covered_numbers("Tom has 3 boxes and 12 bags.", ["How much are 3 boxes?"]) == 0.5
    assert decomposition_quality.covered_numbers("Who wrote it?", ["Who?"]) is None
    assert decomposition_quality.covered_entities("Who was it?", ["Who?"]) is None
    assert decomposition_quality.redundancy([]) is None and decomposition_quality.redundancy(["How many?"]) == 0.0
    assert decomposition_quality.redundancy(["How many?", "how many"]) == 1.0
    assert decomposition_quality.measured(row("llm", [], question="Tom has 3."), "numbers covered") is None


@pytest.mark.parametrize(
    ("text", "numbers", "entities"),
    [
        ("Tom has 3 boxes of pens.", {"3"}, {"tom", "box", "pen"}),
        ("It costs $1,200.50, or 7.", {"1200.50", "7"}, {"cost"}),
        ("Where's Mia's story? She doesn\N{RIGHT SINGLE QUOTATION MARK}t know.", set(), {"mia", "story", "know"}),
        ("Stories of the dresses and the bus", set(), {"story", "dress", "bus"}),
        ("If x + y = 2, what is x?", {"2"}, set()),
    ],
)
def test_numbers_and_entities_are_found_by_rule(text: str, numbers: set[str], entities: set[str]) -> None:
    assert (
        decomposition_quality.numbers(text) == numbers and decomposition_quality.entities(text) - {"where"} == entities
    )


def row(decomposer: str, subquestions: list[str], **more: Any) -> ResultRow:
    kind = "asked" if subquestions else "unreadable"
    told = {"decomposition_kind": kind, "question": "Tom has 3 boxes. How many pens?"} | more
    return rows.row(decomposer, "s", subquestions=subquestions, cluster="1", **told)


def test_a_line_tells_means_over_what_was_asked_and_shares_of_what_was_not() -> None:
    made = [
        row("a", ["How many are in 3 boxes?"], id="1"),
        row("a", [], id="2"),
        row("a", [], id="3", decomposition_kind="not needed"),
        row("none", [], id="1", decomposition_kind="not tried"),
    ]
    (line,) = decomposition_quality.quality_lines(Results(made))
    assert (line.decomposer, line.questions, line.asked) == ("a", 3, 1)
    assert line.unreadable.value == line.not_needed.value == pytest.approx(1 / 3)
    assert line.means["numbers covered"].value == 1.0 and "log P(question)" not in line.means
    header, (told,) = quality_table([line])
    assert len(header) == len(told)


def test_a_measure_is_held_against_gold_on_what_models_wrote() -> None:
    good, bad = ["How many are in 3 boxes?"], ["Why?"]
    made = [
        row("llm", good, decomposition_right=True, id="1"),
        row("llm", bad, decomposition_right=False, id="2"),
        row("base", bad, decomposition_right=False, id="1"),
        row("shuffled", good, decomposition_right=False, id="1"),
        row("gold", bad, decomposition_right=None, id="1"),
    ]
    found = {(line.measure, line.decomposer): line for line in agreement.measure_lines(Results(made))}
    line = found["numbers covered", "all"]
    assert (line.right, line.decompositions) == (1, 3) and line.auroc.value == line.pairs.value == 1.0
    assert ("answer leaked", "all") not in found  # it is the same for all, and says nothing
    assert {decomposer for _, decomposer in found} == {"all", "llm"}  # the base model's are all wrong


# -- the reader ------------------------------------------------------------------------------------------------------

ASKED = [
    ReconstructedQuestion(q.text, subquestions)
    for q in questions("known-known", 9, seed=1)
    for subquestions in (q.subquestions, q.subquestions[:1], ())
]


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as store:
        yield store


def test_the_readers_log_probability_is_a_direct_computations(store: Store) -> None:
    directory = model_directory("miniature/llm")
    model, tokenizer = load_model(directory, "float32", "cpu").eval(), load_tokenizer(directory)

    def directly(asked: ReconstructedQuestion) -> float:
        lines = listing(asked.subquestions) + "\n\n" if asked.subquestions else ""
        text = f"<s><|user|>{lines}The question:<|end|><|assistant|>"
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        question = tokenizer(asked.question, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logprobs = model(torch.tensor([prompt + question])).logits[0].double().log_softmax(-1)
        return sum(float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(question)) / len(question)

    said = ReconstructionModel.at("miniature/llm", store)(ASKED)
    assert said == pytest.approx([directly(one) for one in ASKED], abs=1e-4)


def test_what_was_read_is_kept_and_not_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ReconstructionModel.at("miniature/base", store)(ASKED)
    monkeypatch.setattr(reconstruction, "load_model", None)
    assert ReconstructionModel.at("miniature/base", store)(ASKED[::-1]) == first[::-1]


def test_a_reading_that_was_stopped_goes_on_to_the_same_numbers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store() as other:
        whole = ReconstructionModel.at("miniature/base", other)(ASKED)
    keep = store.keep_scores
    kept: list[Any] = []

    def dies(found: Any) -> None:
        if len(kept) == 2:
            raise KeyboardInterrupt
        kept.append(found)
        keep(found)

    monkeypatch.setattr(store, "keep_scores", dies)
    with pytest.raises(KeyboardInterrupt):
        ReconstructionModel.at("miniature/base", store)(ASKED)
    monkeypatch.setattr(store, "keep_scores", keep)
    assert ReconstructionModel.at("miniature/base", store)(ASKED) == whole  # to the last bit


def test_a_question_too_long_for_the_reader_is_unknown(store: Store, tmp_path: Path) -> None:
    reader = ReconstructionModel.at("miniature/base", store)
    asked = [row("llm", ["How many?"], id="1"), row("llm", ["How many?"], id="2", question="Tom has 3 boxes. " * 2000)]
    made = Results(asked)
    reconstruction.keep(made, reader, tmp_path / "r.parquet")
    short, long = reconstruction.joined(made, tmp_path / "r.parquet", "miniature/base")
    assert short.reconstruction and short.reconstruction.given < 0 and long.reconstruction is None


def test_what_another_reader_said_is_not_reported(store: Store, tmp_path: Path) -> None:
    made = Results([row("llm", ["How many?"])])
    assert reconstruction.joined(made, tmp_path / "r.parquet", "miniature/base") == made
    reconstruction.keep(made, ReconstructionModel.at("miniature/base", store), tmp_path / "r.parquet")
    (other,) = reconstruction.joined(made, tmp_path / "r.parquet", "miniature/llm")
    assert other.reconstruction is None
    (tmp_path / "r.parquet").write_text("no parquet", encoding="utf-8")
    with pytest.raises(ConfigError, match="remove it and evaluate again"):
        reconstruction.joined(made, tmp_path / "r.parquet", "miniature/base")


# -- a study ---------------------------------------------------------------------------------------------------------

GRID = ["grid.decomposers=[none, base, llm, gold, shuffled]", "grid.solvers=[llm]", "grid.samples=0"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "errors"
    commands.evaluate("miniature", overrides=GRID, limit=4, run=directory)
    return directory


def said(run: Path) -> Errors:
    return Errors.of(run, results.read(run / "results.parquet"))


def test_a_finished_run_can_be_read_by_a_model_and_reported_without_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, tmp_path / "run")
    assert said(run).reader is None
    commands.evaluate("miniature", overrides=[*GRID, "grid.reader=miniature/base"], limit=4, run=tmp_path / "run")
    monkeypatch.setattr(reconstruction, "load_model", None)
    found = said(tmp_path / "run")
    assert found.reader == "miniature/base"
    gains = {line.decomposer: line.means["its gain"].value for line in found.quality}
    assert gains["llm"] > 1 > gains["shuffled"]  # nats; the questions are another's
    assert "log P(question) is miniature/base" in "".join(found.sections(page.Figures(run, [])))


def test_a_reader_that_is_not_there_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    overrides = [*GRID, f"grid.reader={tmp_path}/none"]
    with pytest.raises(ConfigError, match="no model in"):
        commands.evaluate("miniature", overrides=overrides, limit=4, run=tmp_path / "run")
    assert not (tmp_path / "run" / "results.parquet").exists()


def test_the_report_tells_where_errors_come_from(run: Path) -> None:
    found = said(run)
    text = "\n".join(found.sections(page.Figures(run, [])))
    assert "Where errors come from" in text and "No model was asked" in text
    assert {str(line.cell.decomposer) for line in found.causes} == {"base", "llm", "gold", "shuffled"}
    assert {str(line.cell.decomposer) for line in found.swaps} == {"none", "base", "llm", "shuffled"}
    for header, lines in found.tables():
        assert lines and {len(line) for line in lines} == {len(header)}


def of_another_data_set(run: Path, directory: Path, *, gold: bool) -> tuple[Errors, str]:
    """The same rows, were their questions not the miniature world's: nobody knows their steps, or can judge a plan."""
    others = Results(
        replace(one, question=f"{one.question} Why?", decomposition_right=None)
        for one in results.read(run / "results.parquet")
        if gold or one.cell.decomposer != GoldDecomposition()
    )
    config: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    del config["grid"]["reader"]  # of a divcon that knew none
    (directory / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    found = Errors.of(directory, others)
    return found, "\n".join(found.sections(page.Figures(directory, [])))


def test_questions_without_gold_are_left_out_in_one_sentence(run: Path, tmp_path: Path) -> None:
    found, text = of_another_data_set(run, tmp_path, gold=False)
    assert text.count("no error is put down to either half") == 1 and not found.causes and not found.swaps
    assert found.quality and len(found.tables()) == 1


def test_gold_sub_questions_alone_are_enough_for_substitution(run: Path, tmp_path: Path) -> None:
    found, text = of_another_data_set(run, tmp_path, gold=True)
    assert found.swaps and not found.causes and not found.views and "No gold steps are known" in text
