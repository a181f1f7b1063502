"""Traces of others: their shapes, their labels, what they are worth."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from datasets import Dataset

from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.decompose.prompted import PromptedDecomposer
from divcon.distill.data.examples import for_decomposer, for_solver
from divcon.distill.traces import importers
from divcon.distill.traces import trace as traces
from divcon.distill.traces.stats import trace_stats
from divcon.lm import Model, Sampling, Store
from divcon.lm.engines.scripted import Scripted
from divcon.prompts import family, load
from divcon.solve.prompted import PromptedSolver

from ...paths import SHARED

MATH = {
    "question": "Problem:\nWhat is half of $1$?",
    "answer": "It is $\\boxed{\\frac{1}{2}}$.",
    "generated_answer": ["Solution:\n$\\boxed{0.5}$", "Solution:\n$\\boxed{2}$", "Half."],
    "level": "Level 1",
    "type": "Algebra",
}
MODELS = {
    "question": "How many?",
    "ground_truth": "16 + 2 = 18\nA: 18",
    "6b": {"is_correct": True, "solution": "A: 18"},
    "175b": {"is_correct": False, "solution": "A: 20"},
}
SOCRATIC = {"question": "How many?", "answer": "How many at first? ** 2 + 2 = <<2+2=4>>4.\n#### 4"}


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_every_shape_is_told_by_its_keys(tmp_path: Path) -> None:
    read = importers.read(written(tmp_path / "all.jsonl", MATH, MODELS, SOCRATIC)).traces
    assert [t.verdict for t in read] == ["right", "wrong", "unreadable", "right", "wrong", "right"]
    assert read[0].question.text == "What is half of $1$?" and read[0].solution == "$\\boxed{0.5}$"
    assert read[0].question.tags == {"level": "Level 1", "type": "Algebra"}
    assert [t.question.tags["model"] for t in read[3:5]] == ["6b", "175b"]
    assert read[5].subquestions == ("How many at first?",) and read[5].solution.endswith("The answer is 4.")


CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "1 + 1?"}]},
        {"role": "assistant", "content": "1. 1 + 1 = 2.\nThe answer is 2."},
    ],
    "answer": "2",
}


def turns(reply: str) -> dict[str, object]:
    return {**CHAT, "messages": [*CHAT["messages"][:-1], {"role": "assistant", "content": reply}]}


def test_chats_are_samples_of_the_question_that_they_end_in(tmp_path: Path) -> None:
    asked = {**turns("So \\boxed{3}."), "id": "mine", "subquestions": ["What is one more than 1?"]}
    read = importers.read(written(tmp_path / "chats.jsonl", CHAT, turns("I cannot tell."), asked)).traces
    assert [t.verdict for t in read] == ["right", "unreadable", "wrong"]
    assert [t.question.id for t in read] == ["chats/1", "chats/1", "mine"]
    assert read[0].question.text == "What is 1 + 1?" and read[2].subquestions == ("What is one more than 1?",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [], "answer": "2"}, "does not end in a user's question and an assistant's solution"),
        ({**CHAT, "messages": CHAT["messages"][:-1]}, "does not end in a user's question"),
        ({"messages": CHAT["messages"]}, "x.jsonl:1 has no 'answer'"),
        ({**CHAT, "subquestions": "What?"}, "'subquestions' is not a list of texts"),
    ],
)
def test_a_chat_without_its_parts_is_named(tmp_path: Path, row: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        importers.read(written(tmp_path / "x.jsonl", row))
    assert message in str(caught.value)


def called(custom_id: str, *replies: str, status: int = 200, finish: str = "stop") -> dict[str, object]:
    """A line of a batch's output, as the API writes it."""
    choices = [
        {"index": i, "finish_reason": finish, "message": {"role": "assistant", "content": reply}}
        for i, reply in enumerate(replies)
    ]
    usage = {"prompt_tokens": 20, "completion_tokens": 12, "total_tokens": 32}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "choices": choices, "usage": usage}
    response = {"status_code": status, "request_id": "req_1", "body": body if status == 200 else {"error": {}}}
    return {"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": None}


def test_a_batch_is_read_with_its_questions_and_failed_calls_are_no_traces(tmp_path: Path) -> None:
    questions = written(tmp_path / "mine.json", {"id": "q1", "question": "What is 1 + 1?", "answer": "2"})
    lines = [
        called("q1", "The answer is 2.", "The answer is 3."),
        called("q1-sample-2", "The answer is 2."),
        called("q1", "1. 1 + 1 = 2. Then 2", finish="length"),
        called("q1", status=429),
        {"id": "batch_req_2", "custom_id": "q1", "response": None, "error": {"code": "batch_expired"}},
    ]
    read, failed = importers.read(written(tmp_path / "out.jsonl", *lines), questions=questions)
    assert [t.verdict for t in read] == ["right", "wrong", "right", "unreadable"] and failed == 2
    assert {t.question.id for t in read} == {"q1"} and [t.usage.completion_tokens for t in read] == [6, 6, 12, 12]
    command = ["traces", "import", str(tmp_path / "out.jsonl"), "--questions", str(questions), "--out", str(tmp_path)]
    assert "4 traces, 2 right; 2 calls had failed" in CliRunner().invoke(main, command).output
    with pytest.raises(ConfigError, match=r"no question 'q1'; name the file that has it with --questions"):
        importers.read(tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"custom_id": "q1", "response": "late"}, "is not of the shape that its keys say"),
        ({"custom_id": "q1", "response": {"status_code": 200, "body": {"choices": [5]}}}, "is not of the shape"),
        ({**MATH, "generated_answer": [{"text": "1"}]}, "is not of the shape"),
        ({**MODELS, "ground_truth": "nobody knows"}, "'ground_truth' states no answer"),
        ({**CHAT, "answer": ""}, "has no 'answer'"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: object, message: str) -> None:
    questions = written(tmp_path / "mine.json", {"id": "q1", "question": "What is 1 + 1?", "answer": "2"})
    with pytest.raises(ConfigError) as caught:
        importers.read(written(tmp_path / "x.jsonl", line), questions=questions)
    assert "x.jsonl:1" in str(caught.value) and message in str(caught.value)


def test_what_says_nothing_is_no_trace_and_half_a_character_no_obstacle(tmp_path: Path) -> None:
    rows = [{**MATH, "generated_answer": [None, "Solution:\n\ud800 $\\boxed{0.5}$"]}, turns("")]
    read, failed = importers.read(written(tmp_path / "x.jsonl", *rows))
    assert [t.solution for t in read] == ["? $\\boxed{0.5}$"] and failed == 2
    traces.write(read, tmp_path / "out" / "traces.jsonl")


def test_files_of_one_name_hold_different_questions(tmp_path: Path) -> None:
    for name, question in (("a", "What is half of 1?"), ("b", "What is a half of 1?")):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "x.jsonl", {**MATH, "question": question})
    assert len({trace.question.id for trace in importers.read(tmp_path).traces}) == 2
    with pytest.raises(ConfigError, match="two different questions have the id 'q'"):
        other = {**CHAT, "messages": [{"role": "user", "content": "?"}, CHAT["messages"][-1]], "id": "q"}
        importers.read(written(tmp_path / "x.jsonl", {**CHAT, "id": "q"}, other))


def test_the_grader_that_is_chosen_reads_the_answers_too(tmp_path: Path) -> None:
    row = {**turns("Option 2 fits: (B)"), "answer": "B"}
    (trace,) = importers.read(written(tmp_path / "x.jsonl", row), "choice").traces
    assert (trace.answer, trace.verdict) == ("(B)", "right")


def test_traces_that_are_divcons_own_are_not_imported_again(tmp_path: Path) -> None:
    written(tmp_path / "all.jsonl", MATH)
    for _ in range(2):
        outcome = CliRunner().invoke(main, ["traces", "import", str(tmp_path), "--out", str(tmp_path)])
        assert "3 traces, 1 right" in outcome.output


def test_gzipped_files_below_a_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    with gzip.open(tmp_path / "deep" / "algebra.jsonl.gz", "wt", encoding="utf-8") as out:
        out.write(json.dumps(MATH))
    assert {trace.question.id for trace in importers.read(tmp_path).traces} == {"deep/algebra/1"}


def test_an_unknown_shape_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "nothing"
    empty.mkdir()
    with pytest.raises(ConfigError, match=r"x\.jsonl:1 has none of the known shapes; its keys are 'a'"):
        importers.read(written(tmp_path / "x.jsonl", {"a": 1}))
    with pytest.raises(ConfigError, match=r"no file to read below"):
        importers.read(empty)


def test_what_traces_are_worth_by_hand(tmp_path: Path) -> None:
    """Two questions: 1 of 2 readable right (a tie, half a credit), and 1 of 2 right (another tie)."""
    figures = trace_stats(importers.read(written(tmp_path / "all.jsonl", MATH, MODELS)).traces)
    assert (figures.right, figures.wrong, figures.unreadable) == (2, 2, 1)
    assert (figures.majority, figures.oracle, figures.samples) == (0.5, 1.0, 3)
    assert figures.right_by_tag["level"] == {"Level 1": 1 / 3}


def test_imported_traces_are_the_studys_own_and_read_into_datasets(tmp_path: Path) -> None:
    path = written(tmp_path / "all.jsonl", MATH)
    outcome = CliRunner().invoke(main, ["traces", "import", str(path), "--out", str(tmp_path / "out")])
    assert outcome.exit_code == 0 and "3 traces, 1 right" in outcome.output
    assert len(traces.read(tmp_path / "out" / "traces.jsonl")) == 3
    lines = (tmp_path / "out" / "traces.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert Dataset.from_json(str(tmp_path / "out" / "traces.jsonl"), cache_dir=str(tmp_path)).num_rows == 3
    outcome = CliRunner().invoke(main, ["traces", "stats", str(tmp_path / "out"), "--json"])
    assert json.loads(outcome.output)["oracle"] == 1.0


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the published data sets are not in {SHARED}")
def test_published_figures_come_out_as_published() -> None:
    """Turning Dust into Gold, GPT-3.5 on MATH; and the solutions published with GSM8K, which carry their own labels."""
    of_math = importers.read(SHARED / "traces_math_gpt35", "hendrycks").traces
    figures = trace_stats(of_math)
    assert sum(trace.answer is None for trace in of_math) == 786
    assert (figures.traces, figures.unreadable) == (
        60_000,
        786 + 1 + 16,
    )  # an empty box; two gold answers that are empty
    assert abs(figures.right - 21_127) <= 15
    assert figures.majority == pytest.approx(0.4581, abs=2e-4) and figures.oracle == pytest.approx(0.6228, abs=2e-4)
    models = trace_stats(importers.read(SHARED / "gsm8k" / "example_model_solutions.jsonl").traces).right_by_tag[
        "model"
    ]
    right = {model: round(share * 1319) for model, share in models.items()}
    assert right == {"6b_finetuning": 286, "6b_verification": 515, "175b_finetuning": 458, "175b_verification": 742}


GOLD = {"answer": "2"}
SOLVED = "1 + 1 = 2. The answer is 2."
ROLES = ("system", "user", "assistant")
SAID = ("Be short.", "What is 1 + 1?", SOLVED)


@pytest.mark.parametrize(
    "row",
    [
        {
            "conversations": [
                {"from": who, "value": said} for who, said in zip(("system", "human", "gpt"), SAID, strict=True)
            ]
        },
        {"messages": [{"role": who, "content": said} for who, said in zip(ROLES, SAID, strict=True)]},
        {"system": "Be short.", "prompt": "What is 1 + 1?", "completion": SOLVED},
        {"system": "Be short.", "instruction": "What is 1 + 1?", "output": SOLVED},
        {
            "prompt": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What is 1 + 1?"}],
            "completion": [{"role": "assistant", "content": SOLVED}],
        },
    ],
)
def test_chats_and_pairs_of_every_kind_are_one_trace_with_its_system_turn(
    tmp_path: Path, row: dict[str, object]
) -> None:
    (made,) = importers.read(written(tmp_path / "x.jsonl", {**row, **GOLD})).traces
    assert (made.system, made.question.text, made.solution, made.verdict) == (*SAID, "right")
    traces.write([made], tmp_path / "out" / "traces.jsonl")
    assert traces.read(tmp_path / "out" / "traces.jsonl") == [made]
    with pytest.raises(ConfigError, match=r"x\.jsonl:1 has no 'answer', the gold one"):
        importers.read(written(tmp_path / "x.jsonl", row))


def test_traces_of_decompositions_alone_train_only_a_decomposer(tmp_path: Path) -> None:
    rows = [
        {"question": "What is 1 + 1?", "subquestions": ["What is one more than 1?"]},
        {"question": "What is 2 + 1?", "subquestions": "1. What is one more than 2?\n2. And then?"},
        {"question": "What is 1?", "subquestions": []},
    ]
    plans = importers.read(written(tmp_path / "plans.jsonl", *rows)).traces
    assert [one.subquestions for one in plans] == [
        ("What is one more than 1?",),
        ("What is one more than 2?", "And then?"),
        (),
    ]
    assert {one.verdict for one in plans} == {"unreadable"}
    with Store() as store:
        model = Model("student", Scripted(), store)
        decomposer = PromptedDecomposer(model, load("decompose"), 3, Sampling())
        taught = for_decomposer(plans, decomposer, "all")
        assert [one.reply for one in taught][2] == "No decomposition." and len(taught) == 3
        with pytest.raises(
            ConfigError, match="there are no solutions in these traces, which say what is right; take data"
        ):
            for_decomposer(plans, decomposer, "rejection_sampled")
        with pytest.raises(ConfigError, match="there are no solutions in these traces"):
            for_solver(plans, PromptedSolver(model, family(), Sampling()), "right", "sub-answers")
        solved = importers.read(written(tmp_path / "x.jsonl", {"prompt": "1?", "completion": SOLVED, **GOLD})).traces
        with pytest.raises(ConfigError, match="there are no sub-questions in these traces"):
            for_decomposer(solved, decomposer, "all")


def test_rows_of_other_kinds_of_files_are_traces_too(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(f"prompt,completion,answer\nWhat is 1 + 1?,{SOLVED},2\n", encoding="utf-8")
    (made,) = importers.read(tmp_path).traces
    assert (made.verdict, made.question.id) == ("right", "pairs/2")
