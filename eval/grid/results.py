"""The rows of a study as one Parquet file: everything that a table or a figure is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from ...core.errors import ConfigError
from ...distill.student import Role
from ...tasks.contamination import Overlap
from . import parquet
from .evaluate import PhaseCost, Row
from .leakage import leaks_answer

_PHASE = [
    ("calls", pa.int64()),
    ("prompt_tokens", pa.int64()),
    ("cached_tokens", pa.int64()),
    ("completion_tokens", pa.int64()),
    ("reasoning_tokens", pa.int64()),
    ("seconds", pa.float64()),
    ("flops", pa.float64()),
    ("flops_as_run", pa.float64()),
    ("dollars", pa.float64()),
]

SCHEMA = pa.schema(
    [
        ("decomposer", pa.string()),
        ("solver", pa.string()),
        ("vote", pa.string()),
        ("test", pa.string()),
        ("id", pa.string()),
        ("question", pa.string()),
        ("cluster", pa.string()),
        ("overlap", pa.string()),
        ("overlap_decomposer", pa.string()),
        ("overlap_solver", pa.string()),
        ("gold", pa.string()),
        ("subquestions", pa.list_(pa.string())),
        ("decomposition", pa.string()),
        ("decomposition_reasoning", pa.string()),
        ("decomposition_kind", pa.string()),
        ("decomposition_right", pa.bool_()),
        ("leaks_answer", pa.bool_()),
        ("solutions", pa.list_(pa.string())),
        ("reasoning", pa.list_(pa.string())),
        ("answers", pa.list_(pa.string())),
        ("classes", pa.list_(pa.int64())),
        ("verdicts", pa.list_(pa.string())),
        ("logprobs", pa.list_(pa.float64())),
        ("certainties", pa.list_(pa.float64())),
        ("scores", pa.list_(pa.float64())),
        ("answer", pa.string()),
        ("verdict", pa.string()),
        ("credit", pa.float64()),
        ("measure", pa.string()),
        ("lenient", pa.float64()),
        *((f"decompose_{name}", kind) for name, kind in _PHASE),
        *((f"solve_{name}", kind) for name, kind in _PHASE),
        *((f"rank_{name}", kind) for name, kind in _PHASE),
    ]
)
"""One row per cell and question. `cluster` is the question's family, or its own name. Null is unknown: an unread
answer, an operation count or a price nobody can name."""
TEXT_COLUMNS = (
    *("question", "gold", "subquestions", "decomposition", "decomposition_reasoning", "solutions", "reasoning"),
    *("logprobs", "certainties", "scores"),
)
"""Columns of texts and of their tokens, which no table over seeds or trainings reads."""


_OPTIONAL = {"reasoning", "decomposition_reasoning"}
"""Columns that results from before they were kept do without."""

Overlaps = Mapping[tuple[str, str], Mapping[Role, Overlap]]
"""By test and question id: what the question shares with the questions that each student has learned from."""


def write(rows: Sequence[Row], path: Path, overlaps: Overlaps) -> None:
    """Replace the file at `path`, at once or not at all."""
    save([_flat(row, overlaps[row.test, row.question.id]) for row in rows], path)


def save(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Rows with the keys of SCHEMA, at once or not at all."""
    parquet.write(pa.Table.from_pylist(list(rows), schema=SCHEMA), path)


def read(path: Path, *, unknown: bool = False) -> list[dict[str, Any]]:
    """The rows of a file, keys as in SCHEMA. Raises ConfigError when there is none, it is damaged or lacks a column.

    Rows whose credit is unknown are left out, as if the question had not been asked, unless they are wanted too.
    """
    again = f"divcon eval {path.parent}/config.yaml --run {path.parent} makes it again from what the run has bought"
    try:
        with parquet.opened(path, again) as file:
            there = set(file.schema_arrow.names)
            if absent := sorted(set(SCHEMA.names) - there - _OPTIONAL):
                raise ConfigError(f"{path} is of an older divcon (it lacks {', '.join(absent)}); {again}")
            nothing = [None] * file.metadata.num_rows
            columns = [_column(file, name) if name in there else nothing for name in SCHEMA.names]
    except FileNotFoundError:
        raise ConfigError(f"no results in {path.parent}; run its study first") from None
    rows = [dict(zip(SCHEMA.names, row, strict=True)) for row in zip(*columns, strict=True)]
    return rows if unknown else known(rows)


def known(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows whose credit is known."""
    return [row for row in rows if row["credit"] is not None]


def _column(file: pq.ParquetFile, name: str) -> list[Any]:
    """A column in Python, piece by piece. Cells share questions and samples: each text is kept once."""
    kept: dict[str, str] = {}

    def once(text: str | None) -> str | None:
        return None if text is None else kept.setdefault(text, text)

    kind = SCHEMA.field(name).type
    pieces = (batch.column(0).to_pylist() for batch in file.iter_batches(_PIECE, columns=[name]))
    if pa.types.is_string(kind):
        return [once(text) for piece in pieces for text in piece]
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return [texts and list(map(once, texts)) for piece in pieces for texts in piece]
    return [value for piece in pieces for value in piece]


_PIECE = 4096
"""Rows that are decoded at once."""


def _flat(row: Row, overlaps: Mapping[Role, Overlap]) -> dict[str, Any]:
    thoughts = [solution.reasoning for solution in row.solutions]
    return {
        **row.cell.columns,
        "test": row.test,
        "id": row.question.id,
        "question": row.question.prompt,
        "cluster": row.question.cluster or f"{row.test}/{row.question.id}",
        "overlap": min(overlaps.values(), key=get_args(Overlap).index),
        **{f"overlap_{role}": overlap for role, overlap in overlaps.items()},
        "gold": row.question.answer,
        "subquestions": list(row.decomposition.subquestions),
        "decomposition": row.decomposition.text,
        "decomposition_reasoning": row.decomposition.reasoning,
        "decomposition_kind": row.decomposition.kind,
        "decomposition_right": row.decomposition_right,
        "leaks_answer": leaks_answer(row.question, row.decomposition.subquestions),
        "solutions": [solution.text for solution in row.solutions],
        "reasoning": thoughts if any(thoughts) else None,
        "answers": [solution.answer for solution in row.solutions],
        "classes": list(row.judged.classes),
        "verdicts": list(row.judged.verdicts),
        "logprobs": [solution.logprob for solution in row.solutions],
        "certainties": [solution.self_certainty for solution in row.solutions],
        "scores": list(row.scores) if row.scores is not None else None,
        "answer": row.answer,
        "verdict": row.verdict,
        "credit": row.credit,
        "measure": row.question.measure,
        "lenient": row.lenient,
        **_phase("decompose", row.decompose),
        **_phase("solve", row.solve),
        **_phase("rank", row.rank),
    }


def _phase(name: str, cost: PhaseCost) -> dict[str, Any]:
    return {f"{name}_{key}": value for key, value in cost._asdict().items()}
