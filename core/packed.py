"""Files that may be gzipped or packed by Zstandard, read without trust."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

from .errors import ConfigError

_ALWAYS, _TIMES = 256 * 2**20, 100
"""What a packed file may hold: so many bytes, or so many times its own size. Text is packed tenfold, zeros a
thousandfold."""


def contents(path: Path) -> bytes:
    """The bytes of a file, unpacked where they are packed. Raises ConfigError when they cannot be read."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                return _within_limits(path, packed)
        if path.suffix == ".zst":
            import pyarrow as pa

            with pa.input_stream(str(path), compression="zstd") as packed:
                return _within_limits(path, packed)
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"no file {path}") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:  # a NUL in a path is a ValueError
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _within_limits(path: Path, stream: Any) -> bytes:
    most = max(_ALWAYS, _TIMES * path.stat().st_size)
    content: bytes = stream.read(most + 1)
    if len(content) > most:
        raise ConfigError(f"{path} unpacks to more than {most:,} bytes, {_TIMES} times its size: it is no data set")
    return content


def text(path: Path) -> str:
    """The text of a file, without a byte-order mark. Raises ConfigError when it cannot be read, or is not UTF-8."""
    try:
        return contents(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: it is not UTF-8 text (byte {error.start})") from None
