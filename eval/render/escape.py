"""Names and texts as they are shown: nothing in them is executed, or breaks what they stand in.

Names of tests come from a config, cells and texts from a run directory that somebody else may have made. They are
written into Markdown, LaTeX, CSV and figures; HTML is escaped where the page is made (`page`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_NUMBER = r"[-+]?(?:\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?|inf|nan|never)"
_RESULT = re.compile(rf"{_NUMBER}(?: \[{_NUMBER}, {_NUMBER}\])?(?: ?\N{{DAGGER}})?\*?(?: n=\d+)?")
"""A number as tables have it: `-3.5 [-7.0, +0.5]*`."""
_LONGEST = 48
"""Characters of a name in a figure."""


def line(text: str) -> str:
    """In one line, without control characters, and without those that turn the direction of what follows.

    What cannot be shown becomes U+FFFD.
    """
    return "".join(map(_shown, " ".join(text.splitlines())))


def _shown(character: str) -> str:
    if character == "\t":
        return " "
    hidden = character in _HIDDEN or unicodedata.category(character) in ("Cc", "Cs")
    return "\N{REPLACEMENT CHARACTER}" if hidden else character


_HIDDEN = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufffe\uffff")
"""Marks of direction, and what XML does not allow."""


def label(text: str) -> str:
    """A name in a figure: one line, cut in its middle where it is very long, never empty."""
    shown = line(text)
    half = (_LONGEST - 1) // 2
    return shown if 0 < len(shown) <= _LONGEST else f"{shown[:half]}\N{HORIZONTAL ELLIPSIS}{shown[-half:]}"


def is_result(text: str) -> bool:
    """Whether a cell holds a number as tables have it, perhaps with its interval and marks."""
    return _RESULT.fullmatch(text) is not None


def markdown(text: str) -> str:
    """Text as a reader of Markdown shall see it; numbers with their intervals stay readable in the source."""
    if is_result(text):
        return text
    escaped = _MARKDOWN.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), line(text))
    return _LINK.sub(r"\1\\\2", escaped)


_MARKDOWN = re.compile(r"[\\`*\[\]<>&|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_LINK = re.compile(r"((?:https?|ftp|mailto|xmpp)(?=:)|www(?=\.))([:.])", re.IGNORECASE)
"""What becomes a link without brackets."""


def latex(text: str) -> str:
    """Text as LaTeX shall set it; numbers with a sign or a power of ten become mathematics."""
    escaped = "".join(_LATEX.get(character, character) for character in line(text))
    if not is_result(text):
        return _GUARD.sub(lambda found: f"{{{found[0]}}}", escaped)
    escaped = _POWER.sub(lambda found: rf"${found[1]}\times10^{{{int(found[2])}}}$", escaped)
    return _SIGNED.sub(lambda found: f"${found[1]}$", escaped)


_POWER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)e([+-]\d+)\b")
_SIGNED = re.compile(r"(?<![\w$.^{-])([+-]\d+(?:\.\d+)?)(?![\w}])")
_GUARD = re.compile(r"^[\[*]|(?<=[-'`,?!])[-'`,]")
r"""Behind `\\` a bracket or a star would be read as its argument; the others are ligatures."""
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\char34{}"}
_LATEX |= {"\N{DAGGER}": r"\textdagger{}", "\N{RIGHTWARDS ARROW}": r"$\rightarrow$", "\N{REPLACEMENT CHARACTER}": "?"}
_LATEX |= {character: f"\\{character}" for character in "_%&#${}"}


def csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lines of comma-separated values. No text in them is a formula to a spreadsheet; numbers stay numbers."""
    return "".join(",".join(map(_field, row)) + "\n" for row in [header, *rows])


def _field(value: object) -> str:
    text = "" if value is None else str(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, str) and _FORMULA.match(text) and not _PLAIN.fullmatch(text):
        text = f"'{text}"
    return '"{}"'.format(text.replace('"', '""')) if re.search('[,"\r\n]', text) else text


_FORMULA = re.compile("[\\s\0-\x1f]*[=+\\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
"""What spreadsheets take for the beginning of a formula, wide forms among them."""
_PLAIN = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
