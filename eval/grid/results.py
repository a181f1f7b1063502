"""The rows of a study as one Parquet file: everything that a table or a figure is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from ...core.errors import ConfigError
from ...distill.student import Role
from ...tasks.contamination import Overlap
from ..grid_spec import Cell
from . import parquet
from .rows import PhaseCost, ResultRow, Results

Overlaps = Mapping[tuple[str, str], Mapping[Role, Overlap]]
"""By test and question id: what the question shares with the questions that each student has learned from."""
_OPTIONAL = {"reasoning", "decomposition_reasoning"}
"""Columns that results from before they were kept do without."""
_PIECE = 4096
"""Rows that are decoded at once."""


# -- the schema -------------------------------------------------------------------------------------------------------


@cache
def _hints(of: type) -> dict[str, Any]:
    return get_type_hints(of)


def _stored() -> list[str]:
    """The fields of a row that the file keeps."""
    return [field.name for field in fields(ResultRow) if field.metadata.get("stored", True)]


def _columns(name: str) -> list[tuple[str, Any]]:
    """The columns of a field, each with the type of its values: a cell has one a part, a phase one an amount."""
    hint = _hints(ResultRow)[name]
    if hint is Cell:
        return [(part, str) for part in Cell._fields]
    if hint is PhaseCost:
        return [(f"{name}_{part}", _hints(PhaseCost)[part]) for part in PhaseCost._fields]
    return [(name, hint)]


def _arrow(hint: Any) -> pa.DataType:
    """The column type of a Python type; None in it makes no difference."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(each for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) is tuple:
        return pa.list_(_arrow(get_args(hint)[0]))
    if get_origin(hint) is Literal:
        return pa.string()
    return {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}[hint]


SCHEMA = pa.schema([(name, _arrow(hint)) for field in _stored() for name, hint in _columns(field)])
"""One row per cell and question: the fields of `ResultRow`. Null is unknown, or a text that was not kept."""


# -- writing ----------------------------------------------------------------------------------------------------------


def with_overlaps(rows: Iterable[ResultRow], overlaps: Overlaps) -> Results:
    """The rows, with what their questions share with the questions that students have learned from."""
    return Results(replace(row, **_overlap(overlaps[row.key])) for row in rows)


def _overlap(by_role: Mapping[Role, Overlap]) -> dict[str, Any]:
    closest = min(by_role.values(), key=get_args(Overlap).index)
    return {"overlap": closest, **{f"overlap_{role}": overlap for role, overlap in by_role.items()}}


def drop_texts(rows: Iterable[ResultRow]) -> Results:
    """The rows without texts and numbers of their tokens, as results are kept for tables over seeds and trainings."""
    texts = {
        field.name: _missing(_hints(ResultRow)[field.name]) for field in fields(ResultRow) if "text" in field.metadata
    }
    return Results(replace(row, **texts) for row in rows)


def save(rows: Iterable[ResultRow], path: Path) -> None:
    """Replace the file at `path`, at once or not at all."""
    parquet.write(pa.Table.from_pylist(list(map(_flat, rows)), schema=SCHEMA), path)


def _flat(row: ResultRow) -> dict[str, Any]:
    """A row by its columns."""
    flat: dict[str, Any] = {}
    for name in _stored():
        value = getattr(row, name)
        parts = value.names if isinstance(value, Cell) else value if isinstance(value, PhaseCost) else [value]
        flat |= zip((column for column, _ in _columns(name)), parts, strict=True)
    return flat


# -- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path, *, unknown: bool = False) -> Results:
    """The rows of a file. Raises ConfigError when there is none, it is damaged or lacks a column.

    Rows whose credit is unknown are left out, as if the question had not been asked, unless they are wanted too. Texts
    that the file does without are empty.
    """
    again = f"divcon eval {path.parent}/config.yaml --run {path.parent} makes it again from what the run has bought"
    try:
        with parquet.opened(path, again) as file:
            there = set(file.schema_arrow.names)
            if absent := sorted(set(SCHEMA.names) - there - _OPTIONAL):
                raise ConfigError(f"{path} is of an older divcon (it lacks {', '.join(absent)}); {again}")
            values = [_values(file, name, there) for name in _stored()]
    except FileNotFoundError:
        raise ConfigError(f"no results in {path.parent}; run its study first") from None
    rows = Results(ResultRow(**dict(zip(_stored(), row, strict=True))) for row in zip(*values, strict=True))
    return rows if unknown else rows.known


def _values(file: pq.ParquetFile, field: str, there: set[str]) -> list[Any]:
    """A field's value in each row. Cells share questions and samples, and each text and cell is kept once."""
    nothing = [None] * file.metadata.num_rows
    parts = [_column(file, name, hint) if name in there else nothing for name, hint in _columns(field)]
    hint = _hints(ResultRow)[field]
    if hint is Cell:
        parsed = {names: Cell.parse(*names) for names in dict.fromkeys(zip(*parts, strict=True))}
        return [parsed[names] for names in zip(*parts, strict=True)]
    if hint is PhaseCost:
        return list(map(PhaseCost._make, zip(*parts, strict=True)))
    return parts[0]


def _column(file: pq.ParquetFile, name: str, hint: Any) -> list[Any]:
    """A column in Python, piece by piece."""
    kept: dict[str, str] = {}
    missing = _missing(hint)

    def once(text: str | None) -> str | None:
        return None if text is None else kept.setdefault(text, text)

    kind = SCHEMA.field(name).type
    pieces = (batch.column(0).to_pylist() for batch in file.iter_batches(_PIECE, columns=[name]))
    values = (missing if value is None else value for piece in pieces for value in piece)
    if pa.types.is_string(kind):
        return list(map(once, values))
    if pa.types.is_list(kind):
        is_text = pa.types.is_string(kind.value_type)
        return [value if value is None else tuple(map(once, value) if is_text else value) for value in values]
    return list(values)


def _missing(hint: Any) -> Any:
    """What stands for a value that is not there: an empty text or list, or None."""
    if get_origin(hint) is tuple:
        return ()
    return "" if hint is str else None
