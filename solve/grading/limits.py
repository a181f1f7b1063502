"""What no grader is asked to read. Decided by counting, in time linear in the text, before anything is parsed."""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 2048
"""Characters. The longest gold answer of MATH has 159; passages of DROP are no answers."""
DEEPEST = 32
"""Brackets within brackets."""
DIGITS = 256
"""Digits on end."""
HIGHEST = 10_000
"""An exponent, or a factorial's argument, that computer algebra is still asked to work out."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_DIGITS = re.compile(rf"\d{{{DIGITS + 1}}}")
_NUMBER = r"[{(\s]*(\d{1,300})[})\s]*"
_TOWER = re.compile(rf"\^{_NUMBER}\^{_NUMBER}")
_EXPONENT = re.compile(rf"\^[{{(\s-]*\d{{{len(str(HIGHEST))},}}")
_FACTORIAL = re.compile(rf"\d{{{len(str(HIGHEST)) - 1},}}\s*!|\^{_NUMBER}\)*\s*!|!\s*!\s*!|\)\s*!\s*\)\s*!")


@lru_cache(maxsize=65536)
def refused(answer: str) -> bool:
    """Whether a text is too long, too deep or too strange to be an answer to anything."""
    return (
        len(answer) > LONGEST
        or _CONTROL.search(answer) is not None
        or _DIGITS.search(answer) is not None
        or _depth(answer) > DEEPEST
    )


def explosive(expression: str) -> bool:
    """Whether working an expression out means numbers that no memory holds: `9^9^9`, `(10^10)!`."""
    if _EXPONENT.search(expression) or _FACTORIAL.search(expression):
        return True
    return any(_is_high(base, exponent) for base, exponent in _TOWER.findall(expression))


def _is_high(base: str, exponent: str) -> bool:
    """Whether base ** exponent, itself an exponent, is above the limit; by its digits, so that nothing is computed."""
    return len(exponent) > 2 or len(base) * int(exponent) > len(str(HIGHEST))


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest
