"""Mathematics in Unicode and in code as LaTeX: one spelling for what keyboards, phones and programs write.

Digits of every script become ASCII digits and dashes a minus sign; fractions, roots, powers, subscripts, relations and
Greek letters become the commands of LaTeX; `**`, `sqrt(`, `<=` and the like become what they stand for.
"""

# ruff: noqa: RUF001  # characters that look like others are what this module is about
from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache

_COMMANDS = {
    "∞": "\\infty", "×": "\\times", "✕": "\\times", "⨯": "\\times", "·": "\\cdot", "⋅": "\\cdot", "∙": "\\cdot",
    "•": "\\cdot", "÷": "\\div", "±": "\\pm", "∓": "\\mp", "≤": "\\le", "⩽": "\\le", "≦": "\\le", "≥": "\\ge",
    "⩾": "\\ge", "≧": "\\ge", "≠": "\\ne", "≈": "\\approx", "≅": "\\approx", "≃": "\\approx", "∼": "\\sim",
    "∪": "\\cup", "∩": "\\cap", "∈": "\\in", "∉": "\\notin", "∅": "\\emptyset", "⌀": "\\emptyset",
    "∖": "\\setminus", "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}",
    "ℂ": "\\mathbb{C}", "∣": "\\mid", "⟨": "\\langle", "⟩": "\\rangle", "∧": "\\wedge", "∨": "\\vee",
    "°": "^\\circ", "º": "^\\circ", "′": "'", "″": "''",
    "α": "\\alpha", "β": "\\beta", "γ": "\\gamma", "δ": "\\delta", "ε": "\\epsilon", "θ": "\\theta", "ϑ": "\\theta",
    "κ": "\\kappa", "λ": "\\lambda", "ν": "\\nu", "ξ": "\\xi", "π": "\\pi", "ρ": "\\rho", "σ": "\\sigma",
    "τ": "\\tau", "φ": "\\phi", "ϕ": "\\phi", "χ": "\\chi", "ψ": "\\psi", "ω": "\\omega", "Δ": "\\Delta",
    "Γ": "\\Gamma", "Θ": "\\Theta", "Λ": "\\Lambda", "Π": "\\Pi", "Σ": "\\Sigma", "Φ": "\\Phi", "Ψ": "\\Psi",
    "Ω": "\\Omega",
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱˣʸᵃᵇᶜᵏᵐᵗ", "0123456789+-=()nixyabckmt")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓₙ", "0123456789+-=()aeoxn")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱˣʸᵃᵇᶜᵏᵐᵗ]+")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓₙ]+")
_BUILT = re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹]+)[⁄∕/]([₀₁₂₃₄₅₆₇₈₉]+)")
"""A fraction of raised and lowered digits."""
_ROOT = re.compile(r"(√|∛|∜)\s*(?:\(([^()]*)\)|(\d+(?:\.\d+)?)|(\\?[A-Za-z]+))?")
_DEGREE = {"√": "", "∛": "[3]", "∜": "[4]"}
_BAR = re.compile("((?:[0-9][\u0304\u0305])+)")
"""Digits with a line above each."""
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\ufeff"), "")
_SPECIAL = re.compile(r"[^\x00-\x7f]")

_POWER = re.compile(r"\*\*\s*(\(-?\w+\)|-?\w+(?:\.\d+)?)?")
_FUNCTION = re.compile(
    r"\\(?:text|mathrm|operatorname)\s*\{\s*(sin|cos|tan|sec|csc|cot|ln|log|exp)\s*\}"
    r"|(?<![\\A-Za-z{])(arcsin|arccos|arctan|sin|cos|tan|sec|csc|cot|ln|log|exp)(?=\s*[({\d]|\s+[a-z]\b|_)"
)
_CHOOSE = re.compile(r"(?<![A-Za-z\\])C\((\d+),\s*(\d+)\)")
_CALL = re.compile(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)")
_NAMES = re.compile(r"(?<![\\A-Za-z{])(infinity|infty|inf|pi|sqrt|theta)(?![A-Za-z])", re.IGNORECASE)
_NAMED = {"infinity": "\\infty ", "infty": "\\infty ", "inf": "\\infty ", "pi": "\\pi ", "sqrt": "\\sqrt ",
          "theta": "\\theta "}  # fmt: skip
_RELATIONS = (("<=", "\\le "), (">=", "\\ge "), ("!=", "\\ne "), ("=<", "\\le "), ("=>", "\\ge "))
_UNION = re.compile(r"(?<=[)\]}])\s*(?:U|u|∪)\s*(?=[(\[{\\])")


@lru_cache(maxsize=65536)
def to_latex(answer: str) -> str:
    """An answer in ASCII and the commands of LaTeX. One that is so already is left as it is."""
    text = _from_unicode(answer) if _SPECIAL.search(answer) else answer
    return _from_code(text)


def letters(text: str) -> str:
    """Words in one normal form: composed accents, ligatures and full-width letters as plain ones."""
    return unicodedata.normalize("NFKC", text.translate(_INVISIBLE)) if _SPECIAL.search(text) else text


def ascii_digits(text: str) -> str:
    """Digits of every script, dashes, spaces and full-width characters as ASCII has them."""
    return "".join(_ascii(character) for character in unicodedata.normalize("NFKC", text.translate(_INVISIBLE)))


def _ascii(character: str) -> str:
    if character.isascii():
        return character
    if character in "\u2212\u02d7\u207b\u2796" or unicodedata.category(character) == "Pd":
        return "-"
    if unicodedata.category(character) in ("Zs", "Zl", "Zp"):
        return " "
    if (digit := unicodedata.decimal(character, None)) is not None:
        return str(digit)
    return {"\u066b": ".", "\u066c": ",", "\u2044": "/", "\u2215": "/", "\u2236": ":", "\u2019": "'"}.get(
        character, character
    )


def _from_unicode(answer: str) -> str:
    text = answer.translate(_INVISIBLE)
    text = _BAR.sub(lambda found: f"\\overline{{{re.sub('[^0-9]', '', found[1])}}}", text)
    text = _BUILT.sub(lambda m: f"\\frac{{{m[1].translate(_SUPERSCRIPTS)}}}{{{m[2].translate(_SUBSCRIPTS)}}}", text)
    text = re.sub("^\\s*⁻", "-", text)
    text = _RAISED.sub(lambda found: f"^{{{found[0].translate(_SUPERSCRIPTS)}}}", text)
    text = _LOWERED.sub(lambda found: f"_{{{found[0].translate(_SUBSCRIPTS)}}}", text)
    text = "".join(_vulgar(character) for character in text)
    text = "".join(_command(character) for character in text)
    text = ascii_digits(text)
    return _ROOT.sub(_root, text)


def _vulgar(character: str) -> str:
    """`½` as a fraction."""
    parts = unicodedata.decomposition(character).split()
    if parts[:1] != ["<fraction>"]:
        return character
    above, slash, below = "".join(chr(int(part, 16)) for part in parts[1:]).partition("\u2044")
    return f"\\frac{{{above}}}{{{below}}}" if slash and below else character


def _command(character: str) -> str:
    command = _COMMANDS.get(character)
    return character if command is None else f"{command} " if command[-1].isalpha() else command


def _root(found: re.Match[str]) -> str:
    under = next((group for group in found.groups()[1:] if group is not None), None)
    return f"\\sqrt{_DEGREE[found[1]]}" + ("" if under is None else f"{{{under}}}")


_SPACED = re.compile(r"\\math(?:bin|rel|ord|punct|close|open)\s*\{([^{}]*)\}")
_CUBE = re.compile(r"(?<![A-Za-z\\])cbrt\s*\(([^()]*)\)")
_ROOTED = re.compile(r"(\\sqrt\[[^\[\]]+\])\s*(\w)")
_WRITTEN = re.compile(r"sqrt|cbrt|sin|cos|tan|sec|csc|cot|ln|log|exp|C\(|inf|pi|theta", re.IGNORECASE)
"""What names of functions and constants hold, of which the others are looked for."""
_CURRENCY = re.compile(r"\\(pounds|cent|mathdollar|textdollar|euro)(?![A-Za-z])")
_MONEY = {"pounds": "£", "cent": "¢", "mathdollar": "$", "textdollar": "$", "euro": "€"}


def _function(found: re.Match[str]) -> str:
    name = found[1] or found[2]
    return "e^" if name == "exp" else f"\\{name} "


def _from_code(text: str) -> str:
    if "&" in text and ";" in text:
        text = ascii_digits(html.unescape(text))
    if "*" in text:
        text = _POWER.sub(lambda found: f"^{{{(found[1] or '').strip('()')}}}" if found[1] else "^", text)
    if "\\math" in text:
        text = _SPACED.sub(r"\1", text)
    if _WRITTEN.search(text):
        text = _FUNCTION.sub(_function, _CUBE.sub(r"\\sqrt[3]{\1}", _CALL.sub(r"\\sqrt{\1}", text)))
        text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
        text = _NAMES.sub(lambda found: _NAMED[found[1].lower()], text)
    text = text.replace("+/-", "\\pm ")
    if "\\" in text:
        text = _ROOTED.sub(r"\1{\2}", text.replace("\\cong", "\\approx"))
        text = _CURRENCY.sub(lambda found: _MONEY[found[1]], text)
    if "=" in text:
        for written, command in _RELATIONS:
            text = text.replace(written, command)
    return _UNION.sub(r"\\cup ", text) if "U" in text or "u" in text else text
