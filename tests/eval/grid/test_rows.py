"""Rows of results: their columns are as they always were, and what a file does without is empty."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from divcon.eval.grid import parquet, results
from divcon.eval.grid.rows import NOTHING, PhaseCost, Results
from divcon.eval.grid_spec import ALL, Cell
from tests.fakes.rows import row

TEXT, TEXTS, WHOLE, REAL = pa.string(), pa.list_(pa.string()), pa.int64(), pa.float64()
PHASE = {
    **dict.fromkeys(
        ("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"),
        WHOLE,
    ),
    **dict.fromkeys(("seconds", "flops", "flops_as_run", "dollars"), REAL),
}
COLUMNS = {
    **dict.fromkeys(("decomposer", "solver", "vote", "test", "id", "question", "cluster"), TEXT),
    **dict.fromkeys(("overlap", "overlap_decomposer", "overlap_solver", "gold"), TEXT),
    "subquestions": TEXTS,
    **dict.fromkeys(("decomposition", "decomposition_reasoning", "decomposition_kind"), TEXT),
    **dict.fromkeys(("decomposition_right", "leaks_answer"), pa.bool_()),
    **dict.fromkeys(("solutions", "reasoning", "answers"), TEXTS),
    "classes": pa.list_(WHOLE),
    "verdicts": TEXTS,
    **dict.fromkeys(("logprobs", "certainties", "scores"), pa.list_(REAL)),
    **dict.fromkeys(("answer", "verdict"), TEXT),
    "credit": REAL,
    "measure": TEXT,
    "lenient": REAL,
    **{f"{phase}_{name}": kind for phase in ("decompose", "solve", "rank") for name, kind in PHASE.items()},
}
"""Of files that were written before: a column that is renamed or moved would cost every run its results."""


def test_the_columns_of_a_file_are_what_they_were() -> None:
    assert [(field.name, field.type) for field in results.SCHEMA] == list(COLUMNS.items())


WHOLE_ROW = row(
    *("distilled", "llm", "sc@2"),
    question="How many?",
    subquestions=["a", "b"],
    decomposition_reasoning="hm",
    decomposition_right=True,
    solutions=["x", "y"],
    reasoning=["hm", None],
    answers=["1", None],
    classes=[0, None],
    verdicts=["right", "unreadable"],
    logprobs=[-0.5, None],
    certainties=[None, None],
    scores=[0.2, None],
    answer="1",
    verdict="right",
    credit=0.5,
    measure="f1",
    lenient=0.25,
    decompose=PhaseCost(1, 2, 3, 4, 5, 0.5, None, 7.0, None),
)


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    unknown = replace(WHOLE_ROW, id="q1", credit=None, verdict="unknown", answer=None)
    results.save([WHOLE_ROW, unknown], tmp_path / "r.parquet")
    assert results.read(tmp_path / "r.parquet", unknown=True) == Results([WHOLE_ROW, unknown])
    assert results.read(tmp_path / "r.parquet") == Results([WHOLE_ROW])


def test_texts_that_were_left_out_or_are_null_are_empty(tmp_path: Path) -> None:
    (bare,) = results.drop_texts([WHOLE_ROW])
    assert (bare.question, bare.solutions, bare.reasoning, bare.scores) == ("", (), None, None)
    assert (bare.answers, bare.credit, bare.cell) == (WHOLE_ROW.answers, 0.5, WHOLE_ROW.cell)
    results.save([bare], tmp_path / "new.parquet")
    columns = {name: [None] for name in ("question", "gold", "subquestions", "decomposition", "solutions", "logprobs")}
    with parquet.opened(tmp_path / "new.parquet", "") as file:
        before = {**file.read().to_pydict(), **columns, "certainties": [None]}
    parquet.write(pa.Table.from_pydict(before, schema=results.SCHEMA), tmp_path / "old.parquet")
    assert results.read(tmp_path / "old.parquet") == results.read(tmp_path / "new.parquet") == Results([bare])


def test_rows_are_told_by_cell_test_and_question() -> None:
    every = [row(name, test=test, id=i, credit=1.0) for name in ("none", "llm") for test in "ab" for i in "21"]
    found = Results(every)
    assert list(found.by_cell) == [Cell.parse(name, "llm", "greedy") for name in ("none", "llm")]
    assert found.tests == [ALL, "a", "b"] and found.of_test(ALL) is found and len(found.of_test("a")) == 4
    assert found.of_test("a").tests == ["a"] and found[:2].by_key.keys == [("a", "1"), ("a", "2")]
    assert found[0].rank == NOTHING and found.credits == [1.0] * 8
    with pytest.raises(ValueError, match="credit is unknown"):
        Results([replace(every[0], credit=None)]).credits  # noqa: B018
