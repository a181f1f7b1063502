"""One spelling for mathematical answers that differ in dressing only: spaces, sizes, units, separators, a full stop.

Looser than the string rule of `hendrycks` where that one is arbitrary, and stricter where it throws away what matters:
`6 \\text{ or } 10` is not 6, `y = 3` is not `x = 3`, 5 km is not 5 m.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from .latex_words import TEXT, WORDS
from .math_string import braced_fractions
from .numbers import Quantity, is_unit, quantity
from .unicode_math import to_latex
from .units import MeasureUnit, unit

_SPACING = re.compile(r"(?<!\\)\\[!,;:> ]|~|\\(?:q?quad|displaystyle|left|right|[bB]igg?[lr]?)(?![A-Za-z])")
_DRESSING = re.compile(r"\\?\$|\\?%")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])")
_DEGREE = r"(\d+(?:\.\d+)?)\s*(?:\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree(?![A-Za-z]))"
_ANGLE = re.compile(rf"\{{\s*{_DEGREE}\s*\}}|{_DEGREE}")
_OF_ANGLES = re.compile(r"\\(?:sin|cos|tan|sec|csc|cot)(?![a-z])")
_OR = re.compile(r",?\s*(?:\\text\s*\{\s*,?\s*(?:or|and)\s*\}|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z]))")
_UNIT = re.compile(r"(?<=[\w})\].,])\s*" + TEXT + r"([^{}\d=]*)\}(?:\s*\^\s*\{?\d\}?)?[.,;]?$")
_CHOICE = re.compile(r"\(([A-E])\)(?=[\d\\(.-])")
_SEPARATOR = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\,|,\s*\\!)(?=\d{3}(?!\d))")
"""Of thousands, as only LaTeX writes it."""
_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LIST = re.compile(r"[(\[;]|\\\{|\\cup|,\s|,(?!\d{2,3}(?!\d))|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])")
"""What makes commas between digits the commas of a list."""

_LABEL = re.compile(
    r"^\s*(?:\\text(?:bf|it)?\s*\{)?\s*(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:(?:final|correct)\s+)*answer"
    r"(?:\s*(?:is|=|:))+\s*:?\s*\}?\s*(?=\S)",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"^\s*(?:\\text(?:bf|it)?\s*\{\s*[A-Za-z][A-Za-z ]{2,}\}|(?!.*\bexcept\b)[A-Za-z]{3}[A-Za-z ]*"
    r"|[A-Z]\^\{?-1\}?(?=\s*=\s*\\begin))\s*=\s*(?=[^=]+$)"
)
"""Words for what is worked out: `\\text{Total cost} = 18`."""
_ABOUT = re.compile(
    r"^\s*(?:\\text(?:bf|it)?\s*\{\s*)?(?:\\approx|\\sim(?:eq)?|~|=|approximately|approx\.?|about|roughly|around)"
    r"(?![A-Za-z])\s*\}?\s*",
    re.IGNORECASE,
)
_INTRODUCTION = re.compile(
    r"^\s*\\text(?:bf|it|rm)?\s*\{\s*(?:[A-Z][a-z]+[A-Za-z ]*|[Tt]he\s+[A-Za-z ]+)"
    r"(?:\s+(?:is|are|equals)\s*|\s*[:=]\s*)(\}?)(?=\s*\S)"
)
"""Words that a box begins with: `\\text{The area is } 24`, `\\text{Perimeter: } 24`."""
_FONTS = re.compile(
    r"\\(?:boldsymbol|bm|mathsf|mathtt|texttt|textsf|emph|underline|mathcal|textup|textsc)\s*(?=\{)"
    r"|\\(?:bf|it|rm|sf|tt|large|Large|LARGE|huge|small|displaystyle|textstyle|bfseries)(?![A-Za-z])"
    r"|\\(?:text)?color\s*\{[^{}]*\}|\\[hv]space\*?\s*\{[^{}]*\}"
)
_SIUNIT = re.compile(r"\\(?:SI|qty)\s*\{([^{}]*)\}\s*\{([^{}]*)\}|\\(?:si|unit|ang)\s*\{([^{}]*)\}")
_APPROXIMATES = re.compile(r"\\approx|\\simeq|\\doteq")
_MATLAB = re.compile(r"\[([^\[\]]*;[^\[\]]*)\]")
_COLUMN = re.compile(
    r"[(\[]([^()\[\];]*,[^()\[\];]*)[)\]]\s*\^\s*\{?\s*(?:\\top|T|\\mathsf\s*\{?T\}?|\\intercal|\\mathrm\{T\})\s*\}?"
)
_ROWS = re.compile(r"\\\\\s*\[[^\[\]]*(?:pt|em|ex|mm|cm)\]|\\cr(?![A-Za-z])|\\tabularnewline")
_ENVIRONMENT = re.compile(
    r"(?:\\left\s*)?[(\[]?\s*\\begin\{(?P<kind>(?:small)?matrix|array)\}(?:\{[^{}]*\})?(?P<rows>.*?)\\end\{(?P=kind)\}"
    r"\s*(?:\\right\s*)?[)\]]?",
    re.DOTALL,
)
_NESTED = re.compile(r"\[\s*(\[[^\[\]]+\](?:\s*,\s*\[[^\[\]]+\])*)\s*\]")
_HALVES = re.compile(r"[^,;]*;[^,;]*")
"""`[3; 7]` is an interval."""
_SAID = (
    (
        re.compile(r"(?:\\text\s*\{\s*)?(?:there\s+(?:is|are)\s+)?no\s+(?:real\s+)?solutions?\s*\}?\.?", re.I),
        "\\emptyset",
    ),
    (re.compile(r"(?:\\text\s*\{\s*)?(?:the\s+)?empty\s+set\s*\}?\.?", re.I), "\\emptyset"),
    (
        re.compile(
            r"(?:\\text\s*\{\s*)?(?:(?:the\s+)?set\s+of\s+)?all\s+(?:the\s+)?reals?(?:\s+numbers?)?\s*\}?\.?", re.I
        ),
        "\\mathbb{R}",
    ),
)


_INTRODUCED = re.compile(r"^(?:\\(?:text|approx|sim)|[~=]|[A-Za-z]{2})|[A-Za-z]\^.*=|\b(?:no|empty|all)\b")
"""What an answer begins with that words introduce."""


@lru_cache(maxsize=65536)
def prepared(answer: str) -> str:
    """An answer as LaTeX, without what only introduces it: `\\text{The answer is }`, `\\approx`, `\\text{Total} =`."""
    text = _bare_fonts(to_latex(answer).strip())
    if not _INTRODUCED.search(text):
        return _matrices(_same_commands(text)) if re.search(r"[\\\[^]", text) else text
    while (
        bare := _ABOUT.sub("", _NAMED.sub("", _strip_introduction(_LABEL.sub("", text)), count=1), count=1)
    ) != text and bare:
        text = bare
    for said, command in _SAID:
        if said.fullmatch(text):
            return command
    return _matrices(_same_commands(text)) if re.search(r"[\\\[^]", text) else text


def _strip_introduction(text: str) -> str:
    """Without the words that say what is told."""
    return _INTRODUCTION.sub(lambda found: "" if found[1] else "\\text{", text)


def _bare_fonts(text: str) -> str:
    """Without fonts, sizes and colours, a unit of `siunitx` as text."""
    if "\\" not in text:
        return text
    text = _SIUNIT.sub(lambda found: f"{found[1] or found[3]}" + (f"\\text{{ {found[2]}}}" if found[2] else ""), text)
    bare = _FONTS.sub("", text)
    return re.sub(r"^\s*\{([^{}]*)\}\s*$", r"\1", bare) if bare != text else text


_OTHERWISE = re.compile(
    r"\\(?:[dtc]frac|lor|vee|langle|&|log_|varnothing|[lr]brace|\{\s*\\\}|text\s*\{(?:,|\s*(?:both|either)))",
    re.IGNORECASE,
)
"""What has another command of the same meaning."""
_ARRANGED = re.compile(r"matrix|array|\\cr|\[|[)\]]\s*\^")
"""What a matrix has some of."""


def _same_commands(text: str) -> str:
    if not _OTHERWISE.search(text):
        return text
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(r"\\(?:lor|vee)(?![A-Za-z])", r"\\text{ or }", text)
    text = re.sub(r"^\s*\\text\s*\{\s*(?:both|either)\s+([^{}]*)\}", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"\\langle(.*)\\rangle", r"(\1)", re.sub(r"\s*\\&\s*", r"\\text{ and }", text))
    text = re.sub(r"(?<=\d)\\text\s*\{,\}(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"\\log_\s*\{?e\}?(?![A-Za-z])", r"\\ln ", text)
    text = re.sub(r"\\varnothing(?![A-Za-z])|^\s*\\\{\s*\\\}\s*$", r"\\emptyset", text)
    return re.sub(r"\\(lbrace|rbrace)(?![A-Za-z])", lambda found: "\\{" if found[1] == "lbrace" else "\\}", text)


def _matrices(text: str) -> str:
    r"""Every matrix as a `pmatrix`."""
    if not _ARRANGED.search(text):
        return text
    text = re.sub(r"\\(?:p|b)?matrix\s*\{(.*)\}\s*$", r"\\begin{pmatrix}\1\\end{pmatrix}", text)
    text = re.sub(r"\{([pb]?matrix)\*\}(?:\[[a-z]\])?", r"{\1}", text)
    text = re.sub(r"(?:\\){4}", r"\\\\", _ROWS.sub(r"\\\\", text)) if "matrix" in text or "array" in text else text
    if column := _COLUMN.fullmatch(text.strip()):
        return "\\begin{pmatrix}" + column[1].replace(",", "\\\\") + "\\end{pmatrix}"
    if (
        (typed := _MATLAB.fullmatch(text.strip()))
        and re.search(r"[ ,]\S", typed[1].strip())
        and (not _HALVES.fullmatch(typed[1]) or re.search(r"[\w.]\s+-?[\w.]", typed[1].partition(";")[0].strip()))
    ):
        cells = ["&".join(re.split(r"\s*,\s*|\s+", row.strip())) for row in typed[1].split(";") if row.strip()]
        return "\\begin{pmatrix}" + "\\\\".join(cells) + "\\end{pmatrix}"
    text = _ENVIRONMENT.sub(lambda found: f"\\begin{{pmatrix}}{found['rows']}\\end{{pmatrix}}", text)
    text = re.sub(r"\{bmatrix\}", "{pmatrix}", text)
    if nested := _NESTED.fullmatch(text.strip()):
        rows = re.findall(r"\[([^\[\]]+)\]", nested[1])
        return "\\begin{pmatrix}" + "\\\\".join(row.replace(",", "&") for row in rows) + "\\end{pmatrix}"
    return re.sub(r"(?:\\\\\s*)+\\end\{pmatrix\}", r"\\end{pmatrix}", text)


@lru_cache(maxsize=65536)
def readings(answer: str) -> tuple[str, ...]:
    """What an answer says: one thing, or the sides of `2\\sqrt{2} \\approx 2.83`."""
    sides = [side.strip() for side in _APPROXIMATES.split(prepared(answer))]
    return tuple(prepared(side) for side in sides if side) or (answer,)


PLAIN = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?")
"""A number as nearly all are written: the same as by the long way."""


@lru_cache(maxsize=65536)
def tidy(answer: str) -> str:
    """The spelling of an answer; empty when nothing is left of it. Equal spellings are equal answers."""
    if PLAIN.fullmatch(answer):
        return str(Fraction(answer))
    said = readings(answer)
    if len(said) > 1:
        return " \\approx ".join(map(tidy, said))
    found = one_number(said[0])
    if found is not None:
        return str(found)
    expression, measured = in_unit(said[0])
    spelling = bare(expression)
    return spelling if measured is None else f"{spelling} [{measured.factor} {measured}]"


def one_number(answer: str) -> Quantity | None:
    """An answer that is one number with or without a unit; None for a list and all else."""
    if "," in answer:
        plain = _SPACING.sub("", _SEPARATOR.sub("", answer))
        if "," in plain and _LIST.search(plain):
            return None
    return quantity(answer, comma=False)


def in_unit(answer: str) -> tuple[str, MeasureUnit | None]:
    """An expression and the unit in text behind it; all of it and None where there is no known unit."""
    found = _UNIT.search(answer.strip())
    measured = unit(found[0].rstrip(".,;")) if found else None
    return (answer.strip()[: found.start()], measured) if found and measured else (answer, None)


@lru_cache(maxsize=65536)
def bare(answer: str) -> str:
    """The spelling of an answer without its unit."""
    if PLAIN.fullmatch(answer):
        return str(Fraction(answer))
    found = one_number(answer)
    if found is not None:
        return str(found.value)
    text = _undressed(answer)
    value = _rational(text)
    return text if value is None else str(value)


def radians(answer: str) -> str:
    """Degrees in an answer with angles as what they are: the sine of 30 degrees is not the sine of 30."""
    if not _OF_ANGLES.search(answer):
        return answer
    return _ANGLE.sub(lambda found: f"(\\frac{{{found[1] or found[2]}\\pi}}{{180}})", answer)


def says_more(answer: str) -> bool:
    """Whether an answer ends in words that are no unit: `6\\text{ or more}`, `5\\text{ a.m.}`."""
    found = _UNIT.search(answer.strip())
    return found is not None and len(re.sub(r"[^A-Za-z]", "", found[1])) > 1 and not is_unit(found[1])


def _undressed(answer: str) -> str:
    text = _SEPARATOR.sub("", answer.strip())
    if not _LIST.search(text):
        text = _COMMA.sub("", text)
    text = _DRESSING.sub("", text)
    text = _DEGREES.sub("", radians(text))
    text = _SPACING.sub(" ", text).strip()
    text = _UNIT.sub(_without_unit, _OR.sub(",", text))
    text = WORDS.sub(r"\1", text)
    text = re.sub(r"\{\s*([,:])\s*\}", r"\1", text)
    text = braced_fractions(_joined(text).rstrip(".,;"))
    text = re.sub(r"^\(([A-Za-z])\)$", r"\1", text)
    text = _CHOICE.sub("", text, count=1) if _CHOICE.match(text) else text
    return text.lower() if re.fullmatch(r"[A-Za-z]*[a-z]{2}[A-Za-z]*", text) else text


def _without_unit(found: re.Match[str]) -> str:
    return "" if is_unit(found[1]) else found[0]


def _joined(text: str) -> str:
    r"""Without spaces, but for those that end a command (`\pi r`) or part two numbers."""
    return re.sub(
        r"(\\[A-Za-z]+)\s+(?=[A-Za-z])|(?<=\d)\s+(?=\d)|\s+",
        lambda found: f"{found[1]} " if found[1] else " " if _is_between_digits(found) else "",
        text,
    )


def _is_between_digits(found: re.Match[str]) -> bool:
    around = found.string[found.start() - 1 : found.start()] + found.string[found.end() : found.end() + 1]
    return len(around) == 2 and around.isdigit()


_RATIONAL = re.compile(
    r"(?P<sign>-?)(?:(?P<decimal>\d+(?:\.\d*)?|\.\d+)"
    r"|(?P<whole>\d+)?\\frac\{(?P<above>-?\d+)\}\{(?P<below>\d+)\}"
    r"|(?P<over>\d+)/(?P<under>\d+))"
)


def _rational(text: str) -> Fraction | None:
    """The value of a whole number, decimal, fraction or mixed number."""
    found = _RATIONAL.fullmatch(text)
    if found is None:
        return None
    if found["decimal"]:
        value = Fraction(found["decimal"].rstrip("."))
    else:
        above, below = int(found["above"] or found["over"]), int(found["below"] or found["under"])
        if below == 0 or (found["whole"] and not 0 <= above < below):
            return None
        value = int(found["whole"] or 0) + Fraction(above, below)
    return -value if found["sign"] else value
