"""Dates, times of day and ratios: answers of several numbers that are one thing as a whole.

`3:30 p.m.` is 15:30 and not half past three at night, 5 March 2020 is 2020-03-05 and not 2012, 2:4 is 1:2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from .latex_words import WORDS
from .unicode_math import to_latex

_DRESS = re.compile(r"\\[!,;: ]|~|[{}$*]|\.\s*$")
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTH = "|".join(rf"{month[:3]}(?:{month[3:]}|{month[3:4]})?\.?" if month != "may" else "may" for month in _MONTHS)
_DAY_FIRST = re.compile(rf"(?:the\s+)?(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_MONTH})(?:,?\s+(\d{{4}}))?")
_MONTH_FIRST = re.compile(rf"({_MONTH})\s+(?:the\s+)?(\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s+(\d{{4}}))?")
_MONTH_YEAR = re.compile(rf"({_MONTH})(?:\s+of|,)?\s+(\d{{4}})")
_NUMERIC = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})|(\d{1,2})([-/.])(\d{1,2})\6(\d{4})")
_WEEKDAY = re.compile(r"^(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+(?=[a-z\d])")
_CLOCK = re.compile(
    r"(?:at\s+)?(\d{1,2})(?:\s*[:h]\s*(\d{2})(?:\s*:\s*(\d{2}))?)?\s*"
    r"(?:(?P<half>[ap]\.?\s?m\.?)|(?P<oclock>o'?\s?clock)|(?P<noon>noon)|(?P<midnight>midnight))?(?:\s+sharp)?"
)


@dataclass(frozen=True)
class Moment:
    """A date, or a time of day."""

    text: str
    """One spelling; a time of which nobody says the half of the day has a question mark."""

    def __str__(self) -> str:
        return self.text

    def equals(self, other: Moment) -> bool:
        """Whether two are one; a time without its half of the day is either where the other one says it."""
        if self.text.endswith("?") == other.text.endswith("?"):
            return self.text == other.text
        open_one, said = (self, other) if self.text.endswith("?") else (other, self)
        return said.text.startswith("T") and said.text[1:] in _halves(open_one.text[1:-1])


def _halves(time: str) -> tuple[str, str]:
    hour, rest = int(time[:2]) % 12, time[2:]
    return f"{hour:02}{rest}", f"{hour + 12:02}{rest}"


def same(one: str, other: str) -> bool | None:
    """Whether two answers are one date or one time; None where neither is any.

    A bare hour may be a time, where the other one says so: `9` is `9 p.m.`
    """
    a, b = read(one), read(other)
    if a is None and b is None:
        return None
    if None in (a, b) and _PAIR.fullmatch(_plain(one)) and _PAIR.fullmatch(_plain(other)):
        return None  # one is no time of day, and so both are ratios
    a, b = a or _bare_hour(one, b), b or _bare_hour(other, a)
    return a is not None and b is not None and a.equals(b)


def _bare_hour(answer: str, other: Moment | None) -> Moment | None:
    is_hour = re.fullmatch(r"\s*\d{1,2}\s*", answer) is not None and other is not None and other.text.startswith("T")
    return _time(int(answer), "00", "00", is_open=True) if is_hour else None


@lru_cache(maxsize=16384)
def read(answer: str) -> Moment | None:
    """The date or the time that an answer is as a whole; None for anything else."""
    if len(answer) > 60 or not _MAYBE.search(answer):
        return None
    text = _plain(answer)
    return _date(_WEEKDAY.sub("", text)) or _clock(text)


_MAYBE = re.compile(
    r":|\d\s*h|noon|midday|midnight|\d\W*(?:\\text\{\s*)?[ap]\.?\s?m|o.?\s?clock|\d[-/.\u2010-\u2015\u2212]\d|"
    + "|".join(month[:3] for month in _MONTHS),
    re.IGNORECASE,
)
"""What every date and every time has some of."""
_PARTED = re.compile("[:\u2236\uff1a]|\\bto\\b|colon")
_PAIR = re.compile(r"\d+\s*:\s*\d+")


def _plain(answer: str) -> str:
    text = re.sub(r"\\math(?:bin|rel|ord|punct)(?![A-Za-z])", "", to_latex(answer))
    text = _DRESS.sub(lambda found: " " if found[0] in ("\\ ", "~") else "", WORDS.sub(r" \1 ", text))
    return " ".join(text.lower().replace("\u2019", "'").split())


def _date(text: str) -> Moment | None:
    for pattern, day, month in ((_DAY_FIRST, 1, 2), (_MONTH_FIRST, 2, 1)):
        if found := pattern.fullmatch(text):
            return _day(
                found[3], 1 + next(i for i, m in enumerate(_MONTHS) if m[:3] == found[month][:3]), int(found[day])
            )
    if found := _MONTH_YEAR.fullmatch(text):
        return Moment(f"{found[2]}-{1 + next(i for i, m in enumerate(_MONTHS) if m[:3] == found[1][:3]):02}")
    found = _NUMERIC.fullmatch(text)
    if found is None:
        return None
    if found[1]:
        return _day(found[1], int(found[3]), int(found[4]))
    first, second = int(found[5]), int(found[7])
    if first <= 12 and second <= 12 and first != second:
        return Moment(f"{first}/{second}/{found[8]}")  # nobody can tell the day from the month
    return _day(found[8], min(first, second), max(first, second))


def _day(year: str | None, month: int, day: int) -> Moment | None:
    try:
        found = date(int(year or 2000), month, day)
    except ValueError:
        return None
    return Moment(found.isoformat() if year else f"--{month:02}-{day:02}")


def _clock(text: str) -> Moment | None:
    if text in ("noon", "midday", "midnight"):
        return Moment("T00:00:00" if text == "midnight" else "T12:00:00")
    found = _CLOCK.fullmatch(text)
    if found is None or not (found[2] or found["half"] or found["oclock"] or found["noon"] or found["midnight"]):
        return None
    hour, minutes, seconds = int(found[1]), found[2] or "00", found[3] or "00"
    if hour > 24 or minutes > "59" or seconds > "59":
        return None
    if half := found["half"] or ("p" if found["noon"] else "a" if found["midnight"] else ""):
        return _time(hour % 12 + 12 * half.startswith("p"), minutes, seconds) if 1 <= hour <= 12 else None
    return _time(hour % 24, minutes, seconds, is_open=1 <= hour <= 12)


def _time(hour: int, minutes: str, seconds: str, *, is_open: bool = False) -> Moment:
    return Moment(f"T{hour:02}:{minutes}:{seconds}" + "?" * is_open)


@lru_cache(maxsize=16384)
def ratio(answer: str) -> tuple[str, ...] | None:
    """The parts of `1:2` or `1 to 2` as they are written; None for anything else."""
    if len(answer) > 120 or not _PARTED.search(answer):
        return None
    text = re.sub(r"\\math(?:bin|rel|ord|punct)(?![A-Za-z])", "", WORDS.sub(r" \1 ", to_latex(answer)))
    text = re.sub(r"\s+to\s+|\\colon(?![A-Za-z])|\{:\}", ":", re.sub(r"\\[!,;: ]|~|[$*]|\.\s*$", "", text))
    parts = tuple(part.strip() for part in text.split(":"))
    if (
        len(parts) < 2
        or not all(parts)
        or any(re.search(r"[a-zA-Z]{2}|[<>=,]", _COMMANDS.sub("", part)) for part in parts)
    ):
        return None
    return parts


_COMMANDS = re.compile(r"\\[A-Za-z]+")
