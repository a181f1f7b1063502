"""Answers that are one number, perhaps with a unit, as people and models write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

from . import moments
from .latex_words import WORDS_OR_OPERATOR
from .math_string import braced_fractions
from .numerals import WITH_COMMA, WITHOUT_COMMA, Numeral, numeral, same_value
from .unicode_math import to_latex
from .units import CURRENCY, SYMBOLS, MeasureUnit, unit

_LONGEST = 80
"""Characters beyond this are no number that a data set holds; comparing them as text is enough."""
_WORDS = 4
"""Of a unit: `square feet of carpet`."""

_SPACE = re.compile(r"\\[,;: ]|~(?=.)|\\q?quad(?![A-Za-z])")
_ABOUT = re.compile(
    r"^\s*(?:(?:(?:\\approx|\\simeq|\\sim|approximately|approx|about|roughly|around|nearly|almost|circa)(?![A-Za-z])\.?|[~=]|ca\.)\s*)+",
    re.IGNORECASE,
)
_NO_NUMBER = re.compile(
    r"\s*(?:[(\[{|]|\\(?:sqrt|left|begin|pi|infty|log|ln|sin|cos|tan|sec|csc|cot|mathbb|emptyset|pm|binom)(?![a-z])"
    r"|[A-Za-z](?![A-Za-z$]))"
)
"""How an answer begins that is no number."""
_NOTHING = re.compile(r"\\(?:!|displaystyle(?![A-Za-z]))")
_ESCAPED = re.compile(r"\\([$%&#_])")
_REMARKED = re.compile(r"\(\s*(?:approx(?:imately)?\.?|about|rounded)\s*\)\s*$")
_FEET = re.compile(r"(\d+)\s*'\s*(\d+)\s*(?:\"|'')")
_SIGN = re.compile(r"^-\s+")
_MINUS = re.compile(r"^\s*(?:negative|minus)\s+(?=[$\d.\\])", re.IGNORECASE)
_BEFORE = re.compile(rf"^(?P<sign>[+-]?)\s*(?P<currency>{CURRENCY})\s*(?=[-+.\d\\])", re.IGNORECASE)
_REMARK = re.compile(r"\s\([A-Za-z][A-Za-z ]{2,}\)$")
_WORD = re.compile(r"[A-Za-z°][A-Za-z°.'-]*")
_PERCENT = re.compile(r"^\s*(?:\\?%|percent\b|per\s+cent\b)", re.IGNORECASE)
_TIMES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
          "lakh": 10**5, "crore": 10**7}  # fmt: skip
"""Words that change a number, and by what."""
_GLUED_TIMES = {"k": 1000, "M": 10**6, "mn": 10**6, "bn": 10**9, "B": 10**9}
"""The same of amounts of money, and of nothing else but `5k`."""
_NO_UNIT = frozenset(
    (
        *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
        *("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "half", "halves", "point"),
        *("third", "thirds", "quarter", "quarters", "fourth", "fourths", "fifth", "fifths", "sixth", "sixths"),
        *("eighth", "eighths", "tenth", "tenths", "plus", "minus", "times", "divided", "over", "squared", "cubed"),
        *("negative", "and", "or", "not", "pi", "more", "less", "noon", "midnight", "am", "pm", "mod", "root", "to"),
        *("base", "factorial", "percent", "hundredth", "hundredths", "thousandth", "thousandths", "millionth"),
        *("millionths", "billionth", "billionths", "twelfth", "twelfths", "twentieth", "twentieths"),
    )
)
"""Words that change a number, and do not say by what alone."""
_SHORT = frozenset(
    (
        *("a", "an", "of", "in", "to", "at", "by", "on", "is", "per", "mm", "cm", "dm", "m", "km", "ft", "yd", "mi"),
        *("mg", "g", "kg", "lb", "oz", "ml", "cl", "l", "h", "hr", "s", "ms", "°", "°c", "°f", "sq", "cu", "m2", "w"),
        *("kw", "mph", "kph", "lbs", "hrs", "min", "mins", "sec", "secs"),
    )
)
"""Units, and what stands between words, in less than three letters; and what may stand at a number without a space."""


@dataclass(frozen=True)
class Quantity:
    """A number, and what it counts where that is known."""

    number: Numeral
    unit: MeasureUnit | None = None
    """None for no unit, and for a noun that says nothing: apples."""

    @property
    def value(self) -> Fraction:
        return self.number.value

    def __str__(self) -> str:
        """One spelling: in base units where there is a unit."""
        return str(self.value) if self.unit is None else f"{self.value * self.unit.factor} {self.unit}"

    def equals(self, other: Quantity) -> bool:
        """Whether two are one: 5 km is 5000 m and, where somebody leaves the unit out, 5."""
        if self.unit is None or other.unit is None:
            return same_value(self.number, other.number)
        scale = alike(self.unit, other.unit)
        return scale is not None and same_value(self.times(scale), other.number)

    def times(self, factor: Fraction) -> Numeral:
        """So many times the number."""
        return self.number if factor == 1 else Numeral(self.value * factor)


def alike(one: MeasureUnit, other: MeasureUnit) -> Fraction | None:
    """How many of the other unit one is; None where they do not measure the same. A rate may leave out of what."""
    for a, b in ((one, other), (one.counted, other), (one, other.counted)):
        if a.powers == b.powers:
            return a.factor / b.factor if (a, b) == (one, other) else Fraction(1)
    return None


def canonical(answer: str) -> str:
    """One spelling: a reduced fraction, in base units where a unit is known; a date or a time; else lower-case words.

    `1,000`, `$1000.00` and `1000 dollars` are one answer.
    """
    found = quantity(answer)
    if found is not None:
        return str(found)
    if (moment := moments.read(answer)) is not None:
        return str(moment)
    text = to_latex(answer).lower()
    return " ".join(re.sub(r"[^\w\s.%/:+<>=-]", " ", text).split()).rstrip(".")


def equal(pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
    """Whether the two answers of each pair are one number, one amount, one ratio or one time."""
    return [_equal(one, other) for one, other in pairs]


def _equal(one: str, other: str) -> bool:
    a, b = quantity(one), quantity(other)
    if a is not None and b is not None:
        return a.equals(b)
    if (times := moments.same(one, other)) is not None:
        return times
    return bool(_same_ratio(one, other))


def _same_ratio(one: str, other: str) -> bool:
    """Whether two are one ratio, where at least one is written as such: 2:4 is 1:2, and a half."""
    a, b = _parts(one), _parts(other)
    if max(len(a), len(b)) < 2:
        return False
    a, b = (side if len(side) != 1 else (side[0], Fraction(1)) for side in (a, b))
    return len(a) == len(b) and all(a[i] * b[j] == a[j] * b[i] for i, j in combinations(range(len(a)), 2))


def _parts(answer: str) -> tuple[Fraction, ...]:
    """The numbers of a ratio, not all of them zero, or the one number; nothing for all else."""
    values = [number(part) for part in moments.ratio(answer) or (answer,)]
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) and (len(known) == 1 or any(known)) else ()


def number(answer: str) -> Fraction | None:
    """The value of an answer that is one number, perhaps with a currency sign, separators or a unit; else None."""
    found = quantity(answer)
    return None if found is None else found.value


@lru_cache(maxsize=65536)
def quantity(answer: str, *, comma: bool = True) -> Quantity | None:
    """An answer that is one number, perhaps with a currency, separators or a unit; else None.

    `comma` says that `2,74` is a decimal; in mathematics it may be a list.
    """
    if len(answer) > _LONGEST or ("=" not in answer and _NO_NUMBER.match(answer)):
        return None
    text = _plain(answer)
    if "=" in text and comma:
        text = _worth(text)
    first, rest = _amount(text, comma)
    while first is not None and (more := re.match(r"\s*(?:,?\s*and\s+|,\s*|\s+)(?=\d)", rest)):
        second, behind = _amount(rest[more.end() :], comma)
        first, rest = _added(first, second), behind
    return first if first is not None and not rest.strip() else None


def _worth(text: str) -> str:
    """What a name or a calculation is said to come to: 12, of `x = 12` and of `3 * 4 = 12`."""
    before, _, worth = text.rpartition("=")
    is_name = re.fullmatch(r"\s*(?:[A-Za-z]{1,2}|[A-Za-z]+_\{?\w\}?|[A-Za-z][A-Za-z ]{2,})\s*", before)
    is_sum = not re.search(r"[A-Za-z<>]", re.sub(r"\\(?:times|cdot|frac|div|sqrt)|[xX](?=\s*\d)", "", before))
    return worth.strip() if is_name or is_sum else text


def _amount(text: str, comma: bool) -> tuple[Quantity | None, str]:
    """The quantity that a text begins with, and what stands behind: nothing, or one more of a smaller unit."""
    before = _BEFORE.match(text)
    paid = None if before is None else unit(before["currency"].replace(" ", "").rstrip("."))
    text = text if before is None else before["sign"] + text[before.end() :]
    found = (WITH_COMMA if comma else WITHOUT_COMMA).match(text)
    read = numeral(found) if found else None
    if found is None or read is None:
        return None, text
    rest, behind = _split(text[found.end() :])
    return _counted(read, rest, paid), behind


def _split(rest: str) -> tuple[str, str]:
    """The unit behind a number, and the next quantity: ` hours` and ` 30 minutes`."""
    further = re.search(r"(?<=[A-Za-z.'])\s*,?\s+(?:and\s+)?\d|^\s*,?\s+and\s+\d", rest)
    return (rest, "") if further is None else (rest[: further.start()], rest[further.start() :])


def _counted(read: Numeral, rest: str, paid: MeasureUnit | None) -> Quantity | None:
    rest = _PERCENT.sub("", _REMARK.sub("", rest.rstrip().rstrip(".")))
    if not rest.strip():
        return Quantity(read, paid)
    glued = re.match(r"(k|mn?|bn?)\b", rest, re.IGNORECASE)
    if (
        glued
        and (times := _GLUED_TIMES.get(glued[1], _GLUED_TIMES.get(glued[1].lower())))
        and (paid or glued[1] in "kK")
    ):
        return _counted(_scaled(read, times), rest[glued.end() :], paid)
    words = re.split(r"[\s/]+", rest.strip(), maxsplit=1)
    if (times := _TIMES.get(words[0].lower().rstrip("s"))) and rest[:1].isspace():
        return _counted(_scaled(read, times), f" {words[1]}" if len(words) > 1 else "", paid)
    if (measured := _known_unit(rest, paid)) is not None:
        return Quantity(read, measured)
    return Quantity(read, paid) if _says_nothing(rest, paid=paid is not None) else None


def _known_unit(rest: str, paid: MeasureUnit | None) -> MeasureUnit | None:
    """What stands behind a number, where it is a unit: with a space before it, or one that needs none."""
    if paid is not None:
        per = unit(rest.strip()[1:]) if rest.strip().startswith("/") else None
        return None if per is None else paid * per**-1
    word = re.match(r"[^\s\d^/*]*", rest)
    is_glued = not rest[0].isspace() and rest[0] not in SYMBOLS and rest[0] not in "^'\""
    if is_glued and (word is None or word[0].lower().rstrip(".") not in _SHORT):
        return None
    return unit(re.sub(r"^\s*'", " ft", re.sub(r"^\s*(?:''|\")", " in", rest)))


def _scaled(read: Numeral, times: int) -> Numeral:
    return Numeral(read.value * times)


def _added(one: Quantity, other: Quantity | None) -> Quantity | None:
    """Two amounts of one kind, the second in a smaller unit, in the unit of the first."""
    if other is not None and one.unit == unit("h") and other.unit == unit("m"):
        other = Quantity(other.number, unit("min"))  # 1h 30m
    if other is None or one.unit is None or other.unit is None or one.unit.powers != other.unit.powers:
        return None
    if not other.unit.factor < one.unit.factor or other.value < 0:
        return None
    return Quantity(Numeral(one.value + other.value * other.unit.factor / one.unit.factor), one.unit)


def is_written_number(answer: str) -> bool:
    """Whether a text is one number as it stands, and no equation that comes to one."""
    return "=" not in answer and quantity(answer) is not None


def is_unit(text: str) -> bool:
    """Whether words behind a number leave it what it is."""
    words = f" {text.strip()}"
    first = re.split(r"[\s/]+", words.strip(), maxsplit=1)[0].lower().rstrip("s")
    return first not in _TIMES and (unit(text) is not None or _says_nothing(words, paid=False))


def _says_nothing(rest: str, *, paid: bool) -> bool:
    """Whether what stands behind a number is a noun that leaves it what it is. `paid` says that a currency stands
    before the number, which may then be one "/day"."""
    text = rest.rstrip().rstrip(".")
    words = [word.lower().replace(".", "") for word in re.split(r"[\s/]+", text) if word]
    if not words:
        return True
    slashed = re.search(r"(?:^|\s)/|/\s*(?:$|/)", text) is not None
    if len(words) > _WORDS or any(not _WORD.fullmatch(word) or word in _NO_UNIT for word in words):
        return False
    if any(len(word) < 3 and word not in _SHORT for word in words) or (slashed and not paid):
        return False
    return text[0] in " \t\n/" or words[0] in _SHORT  # 6xy is a product


def _plain(answer: str) -> str:
    """A number without LaTeX dressing, separators and emphasis."""
    text = _ABOUT.sub("", to_latex(answer))
    if "\\" in text:
        text = WORDS_OR_OPERATOR.sub(
            r" \1", text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\cfrac", "\\frac")
        )
        text = _SPACE.sub(" ", braced_fractions(_NOTHING.sub("", text)))
        text = _ESCAPED.sub(r"\1", text)
    text = text.replace("{,}", ",").replace("~", " ")
    if "(" in text:
        text = _REMARKED.sub("", text)
    if "'" in text:
        text = _FEET.sub(r"\1 ft \2 in", text)
    text = text.strip()
    text = text[1:-1] if len(text) > 2 and text[0] == text[-1] == "$" else text
    return _SIGN.sub("-", _MINUS.sub("-", _ABOUT.sub("", text.strip())))
