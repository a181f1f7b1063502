"""Rows of data files of every common kind: CSV, TSV, JSON, JSON Lines, Parquet, Arrow; plain, gzipped or Zstandard.

A file is told by the end of its name; nothing in it is ever run. Rows are numbered as their file numbers them: by the
line for texts, from 1 for the others.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import packed
from .errors import ConfigError
from .jsonlines import Row, as_object, parsed

if TYPE_CHECKING:
    import pyarrow as pa

ACCEPTED = (
    ".jsonl, .json (a list, or an object a line), .csv, .tsv, .parquet, .arrow, each also as .gz or .zst, and folders "
    "that save_to_disk wrote"
)
"""What can be read, for messages."""
_TEXTS = {"jsonl", "ndjson", "json", "csv", "tsv"}
_TABLES = {"parquet", "arrow", "feather"}
_PACKED = {"gz", "zst"}
_WRAPPED = ("data", "rows", "examples", "questions", "instances")
"""Keys under which a JSON object may hold the list of rows."""


def rows(path: Path, split: str | None = None) -> Iterator[tuple[int, Row]]:
    """The number and the values of every row. Raises ConfigError naming the file, the row and what is accepted.

    `split` names a part of a folder that holds several.
    """
    if path.is_dir():
        yield from _of_table(_folder(path, split), path)
        return
    if split is not None:
        raise ConfigError(f"{path} is one file and has no split {split!r}")
    kind = _kind(path)
    if kind in _TABLES:
        yield from _of_table(_table(path, kind), path)
    elif kind in ("csv", "tsv"):
        yield from _separated(packed.text(path), path, "\t" if kind == "tsv" else None)
    else:
        yield from _json(packed.text(path), path, is_lines=kind in ("jsonl", "ndjson"))


def is_readable(path: Path) -> bool:
    """Whether a file's name says that it can be read."""
    return _named_kind(path) is not None


def is_text(path: Path) -> bool:
    """Whether all values of a file are texts, as in CSV."""
    return path.is_file() and _named_kind(path) in ("csv", "tsv")


def _named_kind(path: Path) -> str | None:
    ends = [end.lstrip(".").lower() for end in path.suffixes]
    if ends and ends[-1] in _PACKED:
        ends.pop()
    return ends[-1] if ends and ends[-1] in _TEXTS | _TABLES else None


def _kind(path: Path) -> str:
    if not path.exists():
        raise ConfigError(f"no file {path}")
    kind = _named_kind(path)
    if kind is None:
        raise ConfigError(f"cannot tell what kind of file {path} is; accepted are {ACCEPTED}")
    return kind


def _separated(text: str, path: Path, delimiter: str | None) -> Iterator[tuple[int, Row]]:
    """Rows below a header. Cells are texts; an empty one is a missing value."""
    header_line = text.partition("\n")[0]
    delimiter = delimiter or max(",;\t|", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if twice := [name for i, name in enumerate(header) if name in header[:i]]:
            raise ConfigError(f"{path}: two columns are named {twice[0]!r}")
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) > len(header):
                raise ConfigError(f"{path}:{reader.line_num} has {len(cells)} cells, and the header {len(header)}")
            yield reader.line_num, {name: cell or None for name, cell in zip(header, cells, strict=False)}
    except csv.Error as error:
        raise ConfigError(
            f"{path}:{reader.line_num} is not {'TSV' if delimiter == chr(9) else 'CSV'}: {error}"
        ) from None


def _json(text: str, path: Path, *, is_lines: bool) -> Iterator[tuple[int, Row]]:
    if is_lines or _is_an_object_a_line(text):
        for number, line in enumerate(text.split("\n"), 1):  # splitlines() would also split at U+2028
            if line.strip():
                yield number, as_object(parsed(line, f"{path}:{number}"), f"{path}:{number}")
        return
    whole = parsed(text, str(path))
    found = _listed(whole)
    if found is None and isinstance(whole, dict) and whole and "\n" not in text.strip():
        found = [whole]
    if found is None:
        raise ConfigError(f"{path} is not a JSON list of objects, nor holds one a line; accepted are {ACCEPTED}")
    for number, row in enumerate(found, 1):
        yield number, as_object(row, f"{path}, entry {number},")


def _is_an_object_a_line(text: str) -> bool:
    lines = [line for line in text.split("\n", 20) if line.strip()]
    return len(lines) > 1 and lines[0].lstrip().startswith("{") and lines[0].rstrip().endswith("}")


def _listed(found: Any) -> list[Any] | None:
    """A list, or an object that holds one under a usual name, or columns."""
    if isinstance(found, list):
        return found
    if not isinstance(found, Mapping):
        return None
    if (named := [found[key] for key in _WRAPPED if isinstance(found.get(key), list)]) and isinstance(named[0], list):
        return named[0]
    columns = {name: list(column.values()) if isinstance(column, dict) else column for name, column in found.items()}
    if columns and all(isinstance(column, list) for column in columns.values()):
        lengths = {len(column) for column in columns.values()}
        if len(lengths) == 1:
            return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return None


def _table(path: Path, kind: str) -> pa.Table:
    import pyarrow as pa
    from pyarrow import feather, parquet

    content = pa.BufferReader(packed.contents(path))
    try:
        if kind == "parquet":
            return parquet.read_table(content)
        return _arrow(content) if kind == "arrow" else feather.read_table(content)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ConfigError(f"{path} is not a {kind} file that can be read: {_first_line(error)}") from None


def _arrow(content: Any) -> pa.Table:
    """The Arrow format for streams, which `datasets` writes, or for files."""
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(content).read_all()
    except pa.ArrowInvalid:
        content.seek(0)
        return pa.ipc.open_file(content).read_all()


def _folder(path: Path, split: str | None) -> pa.Table:
    """A data set, or one of several, as `save_to_disk` writes them."""
    found = _saved(path)
    if isinstance(found, dict):
        parts = sorted(found)
        if not parts:
            raise ConfigError(f"{path} holds no split")
        if split is None and len(parts) > 1:
            raise ConfigError(f"{path} holds several splits; give split: {' or '.join(parts)}")
        if split is not None and split not in parts:
            raise ConfigError(f"{path} has no split {split!r}; it has {', '.join(parts)}")
        found = found[split or parts[0]]
    elif split is not None:
        raise ConfigError(f"{path} has no split {split!r}: it is one data set")
    return found.with_format("arrow")[:]


def _saved(path: Path) -> Any:
    from datasets import load_from_disk

    try:
        return load_from_disk(str(path))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:  # it checks little of what it reads
        raise ConfigError(
            f"cannot read {path} as a folder that save_to_disk wrote: {_first_line(error)}; accepted are {ACCEPTED}"
        ) from None


def _of_table(table: pa.Table, path: Path) -> Iterator[tuple[int, Row]]:
    number = 0
    for batch in table.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _first_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error) or type(error).__name__)[:200]
