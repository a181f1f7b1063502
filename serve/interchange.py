"""JSON as programs exchange it (RFC 8259): UTF-8, finite numbers, and no deeper than can be read."""

from __future__ import annotations

import json
import math
from typing import Any


def read(content: bytes) -> Any:
    """The value in some bytes. Raises ValueError where it is none that others could read."""
    try:
        # Python's own way with bytes lets other encodings in, and halves of characters.
        return json.loads(content.decode("utf-8-sig"), parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is too deep") from None


def _no_number(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value
