"""Equality of mathematical answers, the cheap ways first: as what they are written as, by their values, then by
computer algebra.

Equality is exact or symbolic. No tolerance is absolute; only a decimal of six significant digits or more may stand for
the endless one that it rounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations, product

from . import moments, numeral_bases, regions
from .latex import PLAIN, bare, in_unit, one_number, radians, readings, says_more
from .limits import explosive
from .numbers import alike
from .numerals import same_value
from .sympy_pool import EQUIVALENCE, Pair
from .values import are_close, compare, real

_WORD = re.compile(r"[A-Za-z]{4,}|[a-z]*[A-Z][A-Za-z]{2,}")
_LIST = re.compile(r"\[([^\[\]()<>]*,[^\[\]()<>]*)\]")
"""As programs write it."""
_BRACES = re.compile(r"\\\{[^<>:|\\{}]*\\\}")
_POINT = re.compile(r"\([^()<>:|]*,[^()<>:|]*\)|\[[^\[\]<>:|]*,[^\[\]<>:|]*\]")
_BARE_LIST = re.compile(r"[^\[\](){}\\]*,[^\[\](){}\\]*")
_SPACES = re.compile(r"(?<!\w)\s+|\s+(?!\w)")
_ONE = Fraction(1)
_ROUGHLY = Fraction(1, 20)
"""How far the sides of `2\\sqrt{2} \\approx 2.83` may lie apart, relative to the larger, to be one answer."""


def equal(pairs: Sequence[Pair]) -> list[bool | None]:
    """Whether the two answers of each pair are equal; None where finding out would take too much, or did. Symmetric.

    Values only tell answers apart; that two expressions are equal is for `math-verify` to say.
    """
    return _found(pairs, _by_algebra)


def plainly(pairs: Sequence[Pair]) -> list[bool | None]:
    """The same without computer algebra, at once: what only it could find equal counts as different."""
    return _found(pairs, lambda hard: [False] * len(hard))


def _found(pairs: Sequence[Pair], decide: Callable[[Sequence[Pair]], Sequence[bool | None]]) -> list[bool | None]:
    sides = [list(product(_sides(one), _sides(other))) for one, other in pairs]
    known = {pair: _known(*pair) for each in sides for pair in each}
    hard = [pair for pair, same in known.items() if same is None]
    known |= zip(hard, decide(hard), strict=True)
    return [_any(known[pair] for pair in each) for each in sides]


def _any(found: object) -> bool | None:
    same = list(found)  # type: ignore[call-overload]
    return True if True in same else None if None in same else False


def _sides(answer: str) -> tuple[str, ...]:
    """What an answer says. Sides that are not about equal are no approximation, and say nothing together."""
    said = readings(answer)
    values = [real(bare(in_unit(side)[0])) for side in said] if len(said) > 1 else [None]
    if None in values:
        return said
    known = [value for value in values if value is not None]
    largest = max(map(abs, known))
    return said if max(known) - min(known) <= _ROUGHLY * largest else ()


def _by_algebra(pairs: Sequence[Pair]) -> list[bool | None]:
    asked = {i: _as_algebra(*pair) for i, pair in enumerate(pairs) if not any(map(explosive, pair))}
    same = dict(zip(asked, EQUIVALENCE(list(asked.values())), strict=True))
    return [_agree(*pair) if (found := same.get(i)) else found for i, pair in enumerate(pairs)]


def _agree(one: str, other: str) -> bool:
    """Whether the values of two expressions that computer algebra calls equal agree."""
    scale, a, b = _in_one_unit(one, other)
    return scale != 1 or are_close(bare(a), bare(b))


def _as_algebra(one: str, other: str) -> Pair:
    """What `math-verify` is asked: angles in radians, regions as intervals, expressions in one unit."""
    scale, a, b = _in_one_unit(one, other)
    if scale is not None and scale != 1:
        a = f"\\frac{{{scale.numerator}}}{{{scale.denominator}}} \\cdot ({a})"
    first, second = moments.ratio(a), moments.ratio(b)
    if first and second and len(first) == len(second):
        i = next((i for i in range(len(first)) if not (_is_zero(first[i]) or _is_zero(second[i]))), 0)
        return _scaled(first, second[i]), _scaled(second, first[i])
    regional = regions.read(a), regions.read(b)
    if regional[0] is not None and regional[1] is not None and any(r.is_definite for r in regional if r):
        return str(regional[0]), str(regional[1])
    return tuple(map(_both_signs, (radians(a), radians(b))))  # type: ignore[return-value]


def _scaled(ratio: Sequence[str], by: str) -> str:
    return "(" + ", ".join(f"({part}) \\cdot ({by})" for part in ratio) + ")"


def _both_signs(answer: str) -> str:
    """`1 \\pm x` as the two that it is."""
    if answer.count("\\pm") != 1:
        return answer
    both = (answer.rpartition("=")[2].replace("\\pm", sign) for sign in "+-")
    return "\\{" + ", ".join(both) + "\\}"


def _in_one_unit(one: str, other: str) -> tuple[Fraction | None, str, str]:
    """How many of the second's unit the first's is, and the expressions; None where they measure different things."""
    (a, first), (b, second) = in_unit(one), in_unit(other)
    if first is None or second is None:
        return _ONE, one, other
    return alike(first, second), a, b


def _known(one: str, other: str) -> bool | None:
    """What needs no computer algebra; None for all else."""
    if PLAIN.fullmatch(one) and PLAIN.fullmatch(other):
        return bool(_as_numbers(one, other))
    if _spaceless(one) == _spaceless(other):
        return True
    a, b = bare(one), bare(other)
    if _WORD.fullmatch(a) and _WORD.fullmatch(b):
        return a.lower() == b.lower()
    ways = (_in_degrees, numeral_bases.same, moments.same, _as_numbers, _as_ratios, _as_points, _as_lists, _as_regions)
    for way in ways:
        if (same := way(one, other)) is not None:
            return same
    if says_more(one) or says_more(other):
        return False  # `math-verify` would not read what they say
    if "%" in one or "%" in other:
        return None  # a percentage may be meant as a number or as a share
    scale, _, _ = _in_one_unit(one, other)
    if scale is None:
        return False
    return compare(a, b) if scale == 1 else None


def _spaceless(answer: str) -> str:
    """Without the spaces that part nothing."""
    return _SPACES.sub("", answer.strip())


def _as_numbers(one: str, other: str) -> bool | None:
    a, b = one_number(one), one_number(other)
    if a is None or b is None:
        return None
    if a.equals(b):
        return True
    shares = ("%" in one) - ("%" in other)  # 50% is 50, and a half
    if not shares or a.unit or b.unit:
        return False
    share, whole = (a, b) if shares > 0 else (b, a)
    return same_value(share.times(Fraction(1, 100)), whole.number)


def _as_ratios(one: str, other: str) -> bool | None:
    """`1:2` is `2:4`, and a half: by cross products, so that the parts may be anything with a value."""
    a, b = moments.ratio(one), moments.ratio(other)
    if a is None and b is None:
        return None
    if a is None or b is None:
        a, b = (a, (bare(other), "1")) if a is not None else ((bare(one), "1"), b or ())
        if max(len(a), len(b)) > 2 or real(a[0]) is None or real(b[0]) is None:
            return None
    if len(a) != len(b) or all(map(_is_zero, a)) or all(map(_is_zero, b)):
        return False
    return _all(
        [
            compare(bare(f"({a[i]}) \\cdot ({b[j]})"), bare(f"({a[j]}) \\cdot ({b[i]})"))
            for i, j in combinations(range(len(a)), 2)
        ]
    )


def _is_zero(part: str) -> bool:
    return real(bare(part)) == 0


def _all(found: Sequence[bool | None]) -> bool | None:
    return False if False in found else None if None in found else True


def _as_points(one: str, other: str) -> bool | None:
    """`x = 2, y = 1` is the point `(2, 1)`, its names in alphabetic order."""
    a, b = _named_values(one), _named_values(other)
    if a is None and b is None:
        return None
    if a is not None and b is not None:
        return _all([_known(a[name], b[name]) for name in a]) if a.keys() == b.keys() else False
    named, rest = (a, other) if a is not None else (b or {}, one)
    point = _POINT.fullmatch(rest.strip()) or _BARE_LIST.fullmatch(rest.strip())
    values = rest.strip().strip("()[]").split(",") if point else []
    if len(values) != len(named):
        return None
    return _all([_known(named[name], value.strip()) for name, value in zip(sorted(named), values, strict=True)])


def _named_values(answer: str) -> dict[str, str] | None:
    """What each of several different letters is said to be; None where that is not what an answer says."""
    if answer.count("=") < 2:
        return None
    parts = re.split(
        r",\s*(?:\\text\s*\{\s*and\s*\}|and\s)?|\\text\s*\{\s*,?\s*and\s*\}|\s+and\s+|;|\\quad",
        answer.strip().strip("()"),
    )
    found = [re.fullmatch(r"\s*([A-Za-z])\s*=\s*([^=]+?)\s*", part) for part in parts if part.strip()]
    named = {each[1]: each[2] for each in found if each}
    return named if len(found) > 1 and None not in found and len(named) == len(found) else None


def _in_degrees(one: str, other: str) -> bool | None:
    """`60^\\circ` is `\\frac{\\pi}{3}`; None where not just one of two is in degrees and the other a multiple of pi."""
    degrees = ["\\circ" in one or "\\degree" in one, "\\circ" in other or "\\degree" in other]
    if degrees[0] == degrees[1]:
        return None
    angle, rest = (one, other) if degrees[0] else (other, one)
    if rest.count("\\pi") != 1 or (number := one_number(angle)) is None:
        return None
    return compare(bare(in_unit(rest)[0].replace("\\pi", "(1)")), str(number.value / 180))


def _as_lists(one: str, other: str) -> bool | None:
    """`[1, 2]` is a list where the other one is, and no set in braces."""
    for listed, plain in ((one, other), (other, one)):
        if (found := _LIST.fullmatch(listed.strip())) and _BARE_LIST.fullmatch(plain):
            return _known(found[1], plain)
        if _BRACES.fullmatch(plain.strip()) and _POINT.fullmatch(listed.strip()):
            return False
    return None


def _as_regions(one: str, other: str) -> bool | None:
    a, b = regions.read(one), regions.read(other)
    for found, rest in ((a, other), (b, one)):
        if found and found.is_definite and found.is_finite and _BARE_LIST.fullmatch(rest.strip()):
            a, b = found, regions.read(f"\\{{{rest.strip()}\\}}")
    if a is None or b is None or not (a.is_definite or b.is_definite):
        return None
    return regions.same(a, b)
