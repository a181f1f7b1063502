"""Sets of real numbers in every notation: intervals, unions, inequalities, exclusions.

`x < 3 or x > 3`, `x \\ne 3`, `\\mathbb{R} \\setminus \\{3\\}` and `(-\\infty, 3) \\cup (3, \\infty)` are one region.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .values import compare, real


def _written(spelling: str) -> str:
    """A spelling as a template: its backslashes are none of `re`'s, but for a group."""
    return spelling if "\\1" in spelling or "\\\\" in spelling else spelling.replace("\\", "\\\\")


_SPELLINGS = (
    (r"(?<![A-Za-z\\])R\s*\\\s*(?:\\?\{)", r"@\\\\{"),
    (r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])|\\[,;:! ]|~|\\q?quad(?![A-Za-z])", " "),
    (r"\\text\s*\{\s*all\s+(?:the\s+)?reals?(?:\s+numbers?)?\s*([^{}]*)\}", r"@ \1 "),
    (r"(?i)(?<![A-Za-z\\])all\s+(?:the\s+)?reals?(?:\s+numbers?)?(?![A-Za-z])", "@ "),
    (r"\\text\s*\{\s*((?:is|except|such|greater|less|at)[^{}]*)\}", r" \1 "),
    (r"(?:is\s+)?greater\s+than\s+or\s+equal\s+to|(?:is\s+)?at\s+least", ">="),
    (r"(?:is\s+)?less\s+than\s+or\s+equal\s+to|(?:is\s+)?at\s+most", "<="),
    (r"(?:is\s+)?greater\s+than", ">"),
    (r"(?:is\s+)?less\s+than", "<"),
    (r"\\(?:mathbb|mathbf|mathrm)\s*\{?R\}?\s*(?:\^\s*\{?\s*\+\s*\}?|_\s*\{?\s*>\s*0\s*\}?)", "(0,\\infty)"),
    (r"(?<![A-Za-z\\])oo(?![A-Za-z])", "\\infty"),
    (r"^\s*R\s*(?=\\\s*\{|\\setminus|-\s*\{)", "@"),
    (r"^@\s*\\\s+?(?=\{)", "@\\\\"),
    (r"\\(?:leqslant|leqq|leq|le)(?![A-Za-z])", "<="),
    (r"\\(?:geqslant|geqq|geq|ge)(?![A-Za-z])", ">="),
    (r"\\(?:neq|ne|not\s*=)(?![A-Za-z])", "!="),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\\(?:text|mathrm|mbox)\s*\{\s*,?\s*(or|and)\s*\}", r" \1 "),
    (r"\\(?:vee|lor)(?![A-Za-z])", " or "),
    (r"\\(?:wedge|land)(?![A-Za-z])", " and "),
    (r"\\(?:mathbb|mathbf|mathrm)\s*\{?R\}?|\\(?:reals|Reals|R)(?![A-Za-z])", "@"),
    (r"\\(?:setminus|backslash|smallsetminus)(?![A-Za-z])", "\\\\"),
    (r"\\in(?![A-Za-z])", " in "),
    (r"\\(?:mid|vert|colon)(?![A-Za-z])", ":"),
    (r"\\(?:lbrace|\{)", "{"),
    (r"\\(?:rbrace|\})", "}"),
)
_COMPILED = tuple((re.compile(pattern), _written(spelling)) for pattern, spelling in _SPELLINGS)
_MAYBE = re.compile(
    r"[<>\[\]@]|\(.*[,;]|^\s*\\?\{|\\(?:leq?|geq?|neq?|lt|gt|cup|cap|in|infty|mathbb|emptyset|lbrace)(?![A-Za-z])"
    r"|\\(?:leqslant|geqslant|leqq|geqq)|\breals?\b|\b(?:greater|less|least|most)\b|\boo\b|^\s*R\b",
    re.IGNORECASE,
)
"""What every region has some of."""
_NAME = r"(?:[A-Za-z]|\\(?:theta|alpha|beta|lambda|mu|phi|omega))"
_BUILDER = re.compile(rf"\{{\s*({_NAME})\s*(?:in\s*(@)\s*)?[:|]\s*(.*)\}}")
_MEMBER = re.compile(rf"({_NAME})\s*in\s+(.*)")
_RELATION = re.compile(r"<=|>=|!=|<|>|=")
_INTERVAL = re.compile(r"([\[(\]])(.*)[,;](.*)([\])\[])")
_BRACES = re.compile(r"\{(?!\{)(.*)\}")
_DEFINITE = re.compile(
    r"<|>|!=|\\cup|\\cap|@| in |\\\\|\\infty|\\emptyset|^\]|\[$|^\[.*\)$|^\(.*\]$|^[\[(][^,]*;[^,]*[\])]$"
)
"""What no list and no point of the plane has."""
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


@dataclass(frozen=True)
class _End:
    """Where a piece begins or ends."""

    text: str
    value: Any
    """Comparable to others: exact, or of many digits."""
    is_closed: bool


@dataclass(frozen=True)
class _Piece:
    """An interval; a point is one whose ends are the same."""

    low: _End
    high: _End


@dataclass(frozen=True)
class Region:
    """Disjoint pieces in their order, and the name of the variable where one is said."""

    pieces: tuple[_Piece, ...]
    name: str = ""
    is_definite: bool = False
    """Whether it was written as nothing else could be: `(1, 2)` may be a point of the plane."""

    @property
    def is_finite(self) -> bool:
        """Whether it is some points."""
        return bool(self.pieces) and all(piece.low.text == piece.high.text for piece in self.pieces)

    def __str__(self) -> str:
        if not self.pieces:
            return "\\emptyset"
        return "\\cup".join(
            f"{'[' if piece.low.is_closed else '('}{piece.low.text},{piece.high.text}"
            f"{']' if piece.high.is_closed else ')'}"
            for piece in self.pieces
        )


def same(one: Region, other: Region) -> bool | None:
    """Whether two regions are one; None where that hangs on ends that arithmetic cannot tell apart."""
    if one.name and other.name and one.name != other.name:
        return False
    if len(one.pieces) != len(other.pieces):
        return False
    ends = [
        (a, b)
        for piece, twin in zip(one.pieces, other.pieces, strict=True)
        for a, b in ((piece.low, twin.low), (piece.high, twin.high))
    ]
    if any(a.is_closed != b.is_closed for a, b in ends):
        return False
    equal = [True if a.text == b.text else compare(a.text, b.text) for a, b in ends]
    return False if False in equal else None if None in equal else True


class _NoRegionError(Exception):
    """The text says something else."""


@lru_cache(maxsize=16384)
def read(answer: str) -> Region | None:
    """The region that an answer in LaTeX is; None for anything else."""
    if not _MAYBE.search(answer):
        return None
    text = answer
    for pattern, spelling in _COMPILED:
        text = pattern.sub(spelling, text)
    text = _typed(" ".join(text.split()))
    try:
        return _region(text)
    except _NoRegionError:
        return None


def _typed(text: str) -> str:
    """What people write beside LaTeX: `@` is the real line."""
    if not re.search(r"@|\bor\b|\\pm", text):
        return text
    text = re.sub(
        r"^@\s*,?\s*(?:(?:except|but\s+not|other\s+than)(?:\s+for)?)\s+(?:(?:[a-z]\s*=\s*))?(.*)$", r"@\\\\{\1}", text
    )
    text = re.sub(rf"^@\s*({_NAME})\s*(?=[<>=!])", r"\1 ", text)
    text = re.sub(rf"^@\s*{_NAME}\s*$", "@", text)
    text = re.sub(r"^@\\\s*\{", r"@\\\\{", text)
    text = re.sub(r"(?<=[)\]])\s+or\s+(?=[(\[])", r"\\cup ", text)
    return re.sub(rf"({_NAME})\s*!=\s*\\pm\s*(\S+)$", r"\1 != \2 and \1 != -\2", text)


def _region(text: str) -> Region:
    is_definite = _DEFINITE.search(text.replace("-\\infty", "\\infty")) is not None
    if built := _BUILDER.fullmatch(text):
        return _named(_condition(built[3]), built[1], is_definite=True)
    if (member := _MEMBER.fullmatch(text)) and not _RELATION.search(text):
        inside = _set(member[2])
        return Region(inside, member[1], is_definite=True)
    if _RELATION.search(text):
        return _named(_condition(text), "", is_definite=is_definite)
    return Region(_set(text), "", is_definite)


def _named(found: tuple[tuple[_Piece, ...], str], name: str, *, is_definite: bool) -> Region:
    pieces, said = found
    if name and said and name != said:
        raise _NoRegionError
    return Region(pieces, name or said, is_definite)


def _set(text: str) -> tuple[_Piece, ...]:
    if "\\cap" in text:
        pieces: tuple[_Piece, ...] = _LINE
        for part in text.split("\\cap"):
            pieces = _intersection(pieces, _set(part.strip()))
        return pieces
    whole = text.partition("\\\\") if "\\\\" in text else (text, "", "")
    if not whole[1] and (removed := re.fullmatch(r"(@)\s*-\s*(\{.*\})", text)):
        whole = (removed[1], "-", removed[2])
    pieces = _union(piece for part in whole[0].split("\\cup") for piece in _part(part.strip()))
    return _intersection(pieces, _complement(_set(whole[2].strip()))) if whole[1] else pieces


def _part(text: str) -> tuple[_Piece, ...]:
    if text in ("@", "\\emptyset", "{}", "{ }"):
        return _LINE if text == "@" else ()
    if braces := _BRACES.fullmatch(text):
        return _union(_point(_end(each, is_closed=True)) for each in braces[1].split(","))
    if (interval := _INTERVAL.fullmatch(text)) and _split_once(interval[2], interval[3]):
        low = _end(interval[2], is_closed=interval[1] == "[")
        high = _end(interval[3], is_closed=interval[4] == "]")
        if low.value > high.value:
            raise _NoRegionError
        return (_Piece(low, high),) if low.value < high.value or (low.is_closed and high.is_closed) else ()
    raise _NoRegionError


def _split_once(low: str, high: str) -> bool:
    return "," not in low and "," not in high and low.count("(") == low.count(")")


def _condition(text: str) -> tuple[tuple[_Piece, ...], str]:
    """What a condition allows, and of which variable."""
    names: set[str] = set()
    pieces = _union(
        piece
        for option in re.split(r",?\s+or\s+", text)
        for piece in _all_of(re.split(r",?\s+and\s+|,\s*|;\s*", option), names)
    )
    if len(names) != 1:
        raise _NoRegionError
    return pieces, names.pop()


def _all_of(conditions: Iterable[str], names: set[str]) -> tuple[_Piece, ...]:
    conditions = [condition for condition in conditions if condition.strip()]
    if len(conditions) > 1 and "!=" in conditions[0]:  # `x != -2, 2`
        name = conditions[0].partition("!=")[0]
        conditions = [each if _RELATION.search(each) else f"{name}!={each}" for each in conditions]
    if len(conditions) > 1 and all(_RELATION.findall(each) == ["="] for each in conditions):
        raise _NoRegionError  # a list of solutions
    pieces: tuple[_Piece, ...] = _LINE
    for condition in conditions:
        pieces = _intersection(pieces, _chain(condition, names))
    return pieces


def _chain(text: str, names: set[str]) -> tuple[_Piece, ...]:
    """`1 < x <= 2`, `x > 3`, `3 < x`, `x != 3`, `x in (1, 2)`."""
    if member := _MEMBER.fullmatch(text.strip()):
        names.add(member[1])
        return _set(member[2])
    sides, signs = [side.strip() for side in _RELATION.split(text)], _RELATION.findall(text)
    if (within := re.fullmatch(rf"\|\s*({_NAME})\s*\|", sides[0])) and len(signs) == 1 and signs[0] != "=":
        return _absolute(within[1], signs[0], sides[1], names)
    if len(signs) == 1 and (scaled := _scaled(sides, signs[0])):
        sides, signs = scaled
    at = [i for i, side in enumerate(sides) if re.fullmatch(_NAME, side)]
    if len(at) != 1 or not 1 <= len(signs) <= 2 or (len(signs) == 2 and at != [1]):
        raise _NoRegionError
    if len(signs) == 2 and {signs[0][0], signs[1][0]} not in ({"<"}, {">"}):
        raise _NoRegionError
    names.add(sides[at[0]])
    pieces: tuple[_Piece, ...] = _LINE
    for i, sign in enumerate(signs):
        from_left = sides[i + 1] if at[0] == i else sides[i]
        pieces = _intersection(pieces, _half(sign if at[0] == i else _FLIPPED[sign], from_left))
    return pieces


def _absolute(name: str, sign: str, bound: str, names: set[str]) -> tuple[_Piece, ...]:
    """`|x| < 2` is `-2 < x < 2`, and `|x| > 2` all else."""
    names.add(name)
    far = f"-{bound}" if re.fullmatch(r"[\w.]+|\\[a-z]+\{.*\}", bound) else f"-({bound})"
    value = real(bound.replace(" ", ""))
    if value is None or value < 0:
        raise _NoRegionError
    if sign[0] == "<":
        return _intersection(_half(sign, bound), _half(_FLIPPED[sign], far))
    if sign == "!=":
        return _intersection(_half(sign, bound), _half(sign, far))
    return _union((*_half(sign, bound), *_half(_FLIPPED[sign], far)))


def _scaled(sides: list[str], sign: str) -> tuple[list[str], list[str]] | None:
    """`4k > 9` as `k > 9/4`; None where nothing is before the name."""
    for name, bound, relation in ((sides[0], sides[1], sign), (sides[1], sides[0], _FLIPPED[sign])):
        found = re.fullmatch(rf"(-|-?\d+(?:\.\d+)?|-?\\frac\{{\d+\}}\{{\d+\}})\s*({_NAME})", name)
        factor = real("-1" if found[1] == "-" else found[1]) if found else None
        value = real(bound.replace(" ", "")) if factor else None
        if found and factor and value is not None and value.denominator < 10**9:
            scaled = value / factor
            return [found[2], f"\\frac{{{scaled.numerator}}}{{{scaled.denominator}}}"], [
                relation if factor > 0 else _FLIPPED[relation]
            ]
    return None


def _half(sign: str, bound: str) -> tuple[_Piece, ...]:
    """What `x SIGN bound` allows."""
    end = _end(bound, is_closed="=" in sign)
    if sign == "=":
        return (_point(end),)
    if sign == "!=":
        return _complement((_point(end),))
    return (_Piece(_BOTTOM, end),) if sign[0] == "<" else (_Piece(end, _TOP),)


def _end(text: str, *, is_closed: bool) -> _End:
    text = re.sub(r"\s+", " ", text.strip())
    if re.fullmatch(r"[+-]?\s*\\infty", text):
        return _BOTTOM if text.startswith("-") else _TOP
    value = real(text.replace(" ", ""))
    if value is None:
        raise _NoRegionError
    return _End(text.replace(" ", ""), value, is_closed)


def _point(end: _End) -> _Piece:
    closed = _End(end.text, end.value, is_closed=True)
    return _Piece(closed, closed)


_BOTTOM, _TOP = _End("-\\infty", float("-inf"), is_closed=False), _End("\\infty", float("inf"), is_closed=False)
_LINE = (_Piece(_BOTTOM, _TOP),)


def _union(pieces: Iterable[_Piece]) -> tuple[_Piece, ...]:
    merged: list[_Piece] = []
    for piece in sorted(pieces, key=lambda each: (each.low.value, not each.low.is_closed)):
        if merged and _touch(merged[-1].high, piece.low):
            merged[-1] = _Piece(
                merged[-1].low, max(merged[-1].high, piece.high, key=lambda end: (end.value, end.is_closed))
            )
        else:
            merged.append(piece)
    return tuple(merged)


def _touch(high: _End, low: _End) -> bool:
    return bool(low.value < high.value) or (bool(low.value == high.value) and (high.is_closed or low.is_closed))


def _intersection(some: Iterable[_Piece], others: Iterable[_Piece]) -> tuple[_Piece, ...]:
    found = []
    others = tuple(others)
    for a in some:
        for b in others:
            low = max(a.low, b.low, key=lambda end: (end.value, not end.is_closed))
            high = min(a.high, b.high, key=lambda end: (end.value, end.is_closed))
            if low.value < high.value or (low.value == high.value and low.is_closed and high.is_closed):
                found.append(_Piece(low, high))
    return _union(found)


def _complement(pieces: Iterable[_Piece]) -> tuple[_Piece, ...]:
    left: tuple[_Piece, ...] = _LINE
    for piece in pieces:
        sides = []
        if piece.low.value != _BOTTOM.value:
            sides.append(_Piece(_BOTTOM, _End(piece.low.text, piece.low.value, not piece.low.is_closed)))
        if piece.high.value != _TOP.value:
            sides.append(_Piece(_End(piece.high.text, piece.high.value, not piece.high.is_closed), _TOP))
        left = _intersection(left, sides)
    return left
