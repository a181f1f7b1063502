"""The string rule for MATH answers (Hendrycks et al., 2021): two answers are equal when their spellings are, tidied up.

Turning Dust into Gold labelled its traces with it. It is blind to mathematics: `\\frac{2}{4}` is not `\\frac{1}{2}`.
"""

from __future__ import annotations

import re

_DRESSING = ("\\left", "\\right", "^{\\circ}", "^\\circ", "\\$")
"""What says nothing about the value: sizes of brackets, degrees, dollars."""


def tidy(answer: str) -> str:
    """The spelling that answers are compared in. The order of the steps matters, and is the rule's own."""
    text = answer.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac")
    for dressing in _DRESSING:
        text = text.replace(dressing, "")
    text = _without_unit(text)
    text = text.replace("\\%", "").replace("%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    text = f"0{text}" if text.startswith(".") else text
    text = _without_name(text)
    text = re.sub(r"\\sqrt([^{])", r"\\sqrt{\1}", text).replace(" ", "")
    text = braced_fractions(text)
    return "\\frac{1}{2}" if text == "0.5" else _fraction_of_slash(text)


def _without_unit(text: str) -> str:
    """`5\\text{ cm}` is 5."""
    return text.partition("\\text{ ")[0] if text.count("\\text{ ") == 1 else text


def _without_name(text: str) -> str:
    """`x = 5` is 5, where the name is at most two characters."""
    name, equals, value = text.partition("=")
    return value if equals and "=" not in value and len(name) <= 2 else text


def braced_fractions(text: str) -> str:
    """`\\frac12` and `\\frac1{2}` are `\\frac{1}{2}`."""
    return re.sub(r"\\frac([^{\s])(?:\{([^{}]*)\}|([^{\s]))", lambda m: f"\\frac{{{m[1]}}}{{{m[2] or m[3]}}}", text)


def _fraction_of_slash(text: str) -> str:
    """`1/2` is `\\frac{1}{2}`, of whole numbers in their plain spelling."""
    found = re.fullmatch(r"(-?\d+)/(-?\d+)", text)
    if not found or any(str(int(part)) != part for part in found.groups()):
        return text
    return f"\\frac{{{found[1]}}}{{{found[2]}}}"
