"""Answers that are one number, as people and models write them."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = re.compile(r"(?P<sign>-?)(?:(?P<whole>\d+)\s+(?=\d+/\d))?(?P<value>\d+(?:\.\d+)?|\.\d+)(?:/(?P<below>\d+))?")
_CURRENCY = re.compile(r"^(-?)\s*(?:US)?[$€£¥]\s*(?=[-\d.])")
_REMARK = re.compile(r"\s\([A-Za-z][A-Za-z ]{2,}\)$")
_WORD = re.compile(r"[A-Za-z°][A-Za-z°.'-]*")
_LONGEST = 64
"""Digits beyond this are no answer that a data set holds; comparing them as text is enough."""
_WORDS = 4
"""Of a unit: `square feet of carpet`."""

_TIMES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
"""Words that change a number, and by what."""
_NO_UNIT = frozenset(
    (
        *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
        *("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "half", "halves", "point"),
        *("third", "thirds", "quarter", "quarters", "fourth", "fourths", "fifth", "fifths", "sixth", "sixths"),
        *("eighth", "eighths", "tenth", "tenths", "plus", "minus", "times", "divided", "over", "squared", "cubed"),
        *("negative", "and", "or", "not", "pi", "more", "less", "noon", "midnight", "am", "pm", "mod", "root"),
    )
)
"""Words that change a number, and do not say by what alone."""
_SHORT = frozenset(
    (
        *("a", "an", "of", "in", "to", "at", "by", "on", "is", "per", "mm", "cm", "dm", "m", "km", "ft", "yd", "mi"),
        *(
            "mg",
            "g",
            "kg",
            "lb",
            "oz",
            "ml",
            "cl",
            "l",
            "h",
            "hr",
            "s",
            "ms",
            "°",
            "°c",
            "°f",
            "sq",
            "cu",
            "m2",
            "w",
            "kw",
        ),
        *("mph", "kph", "lbs", "hrs", "min", "mins", "sec", "secs"),
    )
)
"""Units, and what stands between words, in less than three letters; and what may stand at a number without a space."""


def canonical(answer: str) -> str:
    """A reduced fraction where the answer is a number, else lower-case words.

    `1,000`, `$1000.00` and `1000 dollars` are one answer.
    """
    value = number(answer)
    if value is not None:
        return str(value)
    return " ".join(re.sub(r"[^\w\s.%/+-]", " ", answer.lower()).split()).rstrip(".")


def number(answer: str) -> Fraction | None:
    """The value of an answer that is one number, perhaps with a currency sign, separators or a unit; else None."""
    text = _plain(answer)
    found = _NUMBER.match(text)
    if not found or len(text) > _LONGEST:
        return None
    times = _unit(text[found.end() :], paid=_CURRENCY.search(answer.strip().replace("\\", "")) is not None)
    value, below = Fraction(found["value"]), int(found["below"] or 1)
    if times is None or below == 0 or (found["whole"] and not value < below):
        return None
    value = (int(found["whole"] or 0) + value / below) * times
    return -value if found["sign"] else value


def is_unit(text: str) -> bool:
    """Whether words behind a number leave it what it is."""
    return _unit(f" {text.strip()}") == 1


def _unit(rest: str, *, paid: bool = False) -> int | None:
    """What stands behind a number multiplies it by this; None when it is no unit.

    `paid` says that a currency stands before the number, which may then be one "/day".
    """
    text = _REMARK.sub("", rest.rstrip().rstrip("."))
    text = re.sub(r"^\s*(?:%|percent\b)", "", text)
    words = [word.lower().replace(".", "") for word in re.split(r"[\s/]+", text) if word]
    if not words:
        return 1
    slashed = re.search(r"(?:^|\s)/|/\s*(?:$|/)", text) is not None
    if len(words) > _WORDS or any(not _WORD.fullmatch(word) or word in _NO_UNIT for word in words):
        return None
    if any(len(word) < 3 and word not in _SHORT for word in words) or (slashed and not paid):
        return None
    if text[0] not in " \t\n/" and words[0] not in _SHORT:
        return None  # 6xy is a product
    return _TIMES.get(words[0], 1)


def _plain(answer: str) -> str:
    """A number without LaTeX dressing, separators and currency signs."""
    text = re.sub(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}", r" \1", answer)
    text = re.sub(r"\\[dt]?frac\s*(?:\{(\d+)\}\s*\{(\d+)\}|(\d)(\d))", r" \1\3/\2\4", text)
    text = re.sub(r"\\[!,;: ]", "", text).replace("{,}", ",").replace("\N{MINUS SIGN}", "-")
    text = re.sub(r"\\(?![A-Za-z])", "", text)  # what is left of commands is no unit: \cdot, \pi
    text = re.sub(r"^\s*(?:negative|minus)\s+(?=[$\d.])", "-", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text.strip())
    text = re.sub(r"^-\s+", "-", _CURRENCY.sub(r"\1", text))
    return re.sub(r"\s*/\s*(?=\d)", "/", text.removesuffix("$").strip())
