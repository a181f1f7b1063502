"""Parquet files that know when they are damaged: checksums of every page, and a hash of the whole file beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...core import checksums
from ...core.errors import ConfigError


def write(table: pa.Table, path: Path) -> None:
    """Replace the file at `path`, at once or not at all."""
    with checksums.replacing(path) as part:
        pq.write_table(table, part, write_page_checksum=True)


@contextmanager
def opened(path: Path, remedy: str) -> Iterator[pq.ParquetFile]:
    """The file, for the length of a block. Raises ConfigError, with the remedy, when it is damaged."""
    checksums.check(path, remedy)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, ValueError, LookupError, MemoryError) as error:  # a file of before, damaged
        raise ConfigError(f"cannot read {path}: {' '.join(str(error).split())[:200]}; {remedy}") from error
