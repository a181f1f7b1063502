"""JSON as programs exchange it (RFC 8259): UTF-8, finite numbers, and no deeper than can be read."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any


class TooLarge(ValueError):  # noqa: N818  # it reads as what is wrong with the number
    """A number that no other program could hold."""


def read(content: bytes, most: int | None = None) -> Any:
    """The value in some bytes, no whole number in it further from 0 than `most`. Raises ValueError where it is none
    that others could read."""
    try:
        # Python's own way with bytes lets other encodings in, and halves of characters.
        return json.loads(
            content.decode("utf-8-sig"),
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=None if most is None else partial(_whole, most),
        )
    except RecursionError:
        raise ValueError("it is too deep") from None


def _whole(most: int, text: str) -> int:
    if len(text) > len(str(-most)) or abs(value := int(text)) > most:  # by its length, before its digits are read
        raise TooLarge(text[:20])
    return value


def _no_number(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise TooLarge(text[:20])
    return value
