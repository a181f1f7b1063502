"""Units and currencies: what 5 km is beside 5000 m, and that $5 is not 5 cents.

A unit is a product of powers of base units and an exact factor. Only units whose meaning is beyond doubt are here:
"pounds" may be money or weight and "points" anything, so such words say nothing, as all other nouns do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from .latex_words import WORDS_OR_OPERATOR


@dataclass(frozen=True)
class MeasureUnit:
    """Base units with their powers in alphabetic order, and how many of them one is."""

    powers: tuple[tuple[str, int], ...]
    factor: Fraction = Fraction(1)

    def __mul__(self, other: MeasureUnit) -> MeasureUnit:
        powers = dict(self.powers)
        for name, power in other.powers:
            powers[name] = powers.get(name, 0) + power
        kept = tuple(sorted((name, power) for name, power in powers.items() if power))
        return MeasureUnit(kept, self.factor * other.factor)

    def __pow__(self, power: int) -> MeasureUnit:
        return MeasureUnit(
            tuple((name, each * power) for name, each in self.powers if each * power), self.factor**power
        )

    @property
    def counted(self) -> MeasureUnit:
        """Without what it is a rate of: dollars, of dollars a day."""
        return MeasureUnit(tuple((name, power) for name, power in self.powers if power > 0), self.factor)

    def __str__(self) -> str:
        return " ".join(name if power == 1 else f"{name}^{power}" for name, power in self.powers)


def _base(name: str) -> MeasureUnit:
    return MeasureUnit(((name, 1),))


def _times(number: int | str | Fraction, unit: MeasureUnit) -> MeasureUnit:
    return MeasureUnit(unit.powers, Fraction(number) * unit.factor)


_METRE, _GRAM, _SECOND, _BIT = _base("m"), _base("g"), _base("s"), _base("bit")
_INCH = _times("0.0254", _METRE)
_FOOT, _MILE = _times(12, _INCH), _times(63360, _INCH)
_LITRE = _times("0.001", _METRE**3)
_GALLON = _times(231, _INCH**3)
_HOUR = _times(3600, _SECOND)
_NEWTON = _times(1000, _GRAM * _METRE * _SECOND**-2)
_JOULE = _NEWTON * _METRE
_WATT = _JOULE * _SECOND**-1
_MONTH = _base("month")
_DOLLAR, _EURO, _POUND = _base("USD"), _base("EUR"), _base("GBP")
_POUND_WEIGHT = _times("453.59237", _GRAM)
_OUNCE = _times(Fraction(1, 16), _POUND_WEIGHT)

_PREFIXES: dict[str, int | Fraction] = {
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "d": Fraction(1, 10), "c": Fraction(1, 100),
    "m": Fraction(1, 1000), "u": Fraction(1, 10**6), "µ": Fraction(1, 10**6), "μ": Fraction(1, 10**6),
    "n": Fraction(1, 10**9), "p": Fraction(1, 10**12),
}  # fmt: skip
_LONG_PREFIXES: dict[str, int | Fraction] = {
    "kilo": 10**3, "mega": 10**6, "giga": 10**9, "tera": 10**12, "deci": Fraction(1, 10),
    "centi": Fraction(1, 100), "milli": Fraction(1, 1000), "micro": Fraction(1, 10**6), "nano": Fraction(1, 10**9),
}  # fmt: skip
_PREFIXED = {
    "m": _METRE, "g": _GRAM, "s": _SECOND, "L": _LITRE, "l": _LITRE, "N": _NEWTON, "J": _JOULE, "W": _WATT,
    "Pa": _NEWTON * _METRE**-2, "V": _base("V"), "A": _base("A"), "Hz": _SECOND**-1, "B": _times(8, _BIT),
    "Wh": _WATT * _HOUR, "cal": _times("4.184", _JOULE), "mol": _base("mol"), "Ω": _base("ohm"), "eV": _base("eV"),
}  # fmt: skip
_LONG_PREFIXED = {
    "meter": _METRE, "metre": _METRE, "gram": _GRAM, "liter": _LITRE, "litre": _LITRE, "second": _SECOND,
    "newton": _NEWTON, "joule": _JOULE, "watt": _WATT, "volt": _base("V"), "ampere": _base("A"),
    "hertz": _SECOND**-1, "byte": _times(8, _BIT), "bit": _BIT, "calorie": _times("4.184", _JOULE),
    "pascal": _NEWTON * _METRE**-2,
}  # fmt: skip
_NAMED: dict[str, MeasureUnit] = {
    "inch": _INCH, "inches": _INCH, "in": _INCH, "foot": _FOOT, "feet": _FOOT, "ft": _FOOT, "mile": _MILE,
    "mi": _MILE, "yard": _times(3, _FOOT), "yd": _times(3, _FOOT), "acre": _times(43560, _FOOT**2),
    "hectare": _times(10_000, _METRE**2), "ha": _times(10_000, _METRE**2),
    "tonne": _times(10**6, _GRAM), "lb": _POUND_WEIGHT, "lbs": _POUND_WEIGHT, "ounce": _OUNCE, "oz": _OUNCE,
    "sec": _SECOND, "secs": _SECOND, "min": _times(60, _SECOND), "mins": _times(60, _SECOND),
    "minute": _times(60, _SECOND), "h": _HOUR, "hr": _HOUR, "hrs": _HOUR, "hour": _HOUR,
    "day": _times(24, _HOUR), "week": _times(168, _HOUR), "month": _MONTH, "year": _times(12, _MONTH),
    "yr": _times(12, _MONTH), "yrs": _times(12, _MONTH), "decade": _times(120, _MONTH), "century": _times(1200, _MONTH),
    "gallon": _GALLON, "gal": _GALLON, "quart": _times(Fraction(1, 4), _GALLON), "qt": _times(Fraction(1, 4), _GALLON),
    "pint": _times(Fraction(1, 8), _GALLON), "cup": _times(Fraction(1, 16), _GALLON),
    "tablespoon": _times(Fraction(1, 256), _GALLON), "teaspoon": _times(Fraction(1, 768), _GALLON),
    "mph": _MILE * _HOUR**-1, "kph": _times(1000, _METRE) * _HOUR**-1, "kmh": _times(1000, _METRE) * _HOUR**-1,
    "degree": _base("degree"), "degrees": _base("degree"), "radian": _base("radian"), "rad": _base("radian"),
    "°C": _base("°C"), "°F": _base("°F"), "celsius": _base("°C"), "fahrenheit": _base("°F"),
    "dollar": _DOLLAR, "usd": _DOLLAR, "cent": _times(Fraction(1, 100), _DOLLAR),
    "penny": _times(Fraction(1, 100), _DOLLAR), "pennies": _times(Fraction(1, 100), _DOLLAR),
    "¢": _times(Fraction(1, 100), _DOLLAR),
    "euro": _EURO, "eur": _EURO, "gbp": _POUND, "pence": _times(Fraction(1, 100), _POUND), "yen": _base("JPY"),
    "jpy": _base("JPY"), "cny": _base("CNY"), "yuan": _base("CNY"), "rmb": _base("CNY"), "inr": _base("INR"),
    "rupee": _base("INR"), "chf": _base("CHF"), "franc": _base("CHF"), "cad": _base("CAD"), "aud": _base("AUD"),
    "us dollar": _DOLLAR, "r$": _base("BRL"), "kr": _base("krone"), "zł": _base("PLN"), "Ω": _base("ohm"),
    "ohm": _base("ohm"), "krw": _base("KRW"), "won": _base("KRW"), "rub": _base("RUB"), "ruble": _base("RUB"),
    "brl": _base("BRL"),
    "$": _DOLLAR, "€": _EURO, "£": _POUND, "¥": _base("JPY"), "₹": _base("INR"), "₩": _base("KRW"), "₽": _base("RUB"),
    "rs": _base("INR"), "us$": _DOLLAR,
}  # fmt: skip
CURRENCY = r"(?:US\s?\$|A\$|C\$|R\$|[$€£¥₹₩₽]|(?:USD|EUR|GBP|JPY|CNY|INR|CHF|CAD|AUD|KRW|RUB|BRL|RMB)\b|Rs\.?)"
"""What stands before an amount."""
SYMBOLS = frozenset("$€£¥₹₩₽¢°")
"""Units that need no space before them."""

_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_SPACE = re.compile(r"\\[,;:! ]|~|\\(?:q?quad|thinspace)(?![A-Za-z])")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])")
_TOKEN = re.compile(r"°\s*[CF]\b|°|us\$|[$€£¥₹₩₽¢]|[A-Za-zµμΩł]+|\^?-?\d|[/*()]|\S", re.IGNORECASE)
_SQUARED = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_AFTER = {"squared": 2, "cubed": 3}


@lru_cache(maxsize=4096)
def unit(text: str) -> MeasureUnit | None:
    """The unit that a text is and nothing but; None for other words and for none."""
    try:
        found = _product(list(_tokens(text)))
    except _NoUnitError:
        return None
    return found if found.powers else None


class _NoUnitError(Exception):
    """A word that is no unit."""


def _tokens(text: str) -> Iterator[str]:
    text = WORDS_OR_OPERATOR.sub(r" \1 ", _SPACE.sub(" ", text))
    text = WORDS_OR_OPERATOR.sub(r" \1 ", _FRACTION.sub(r" \1/(\2)", text))
    text = _DEGREES.sub("°", text).replace("\\cdot", " ").replace("\\Omega", "Ω")
    text = re.sub(r"[{}]|(?<!\^)-", lambda found: " " if found[0] == "-" else "", re.sub(r"\^\s*\{\s*", "^", text))
    text = re.sub(r"(?<=[A-Za-z])\.", " ", text.strip())
    text = re.sub(r"\bU\.?\s?S\.?\s+dollar", "dollar", text, flags=re.IGNORECASE)
    yield from _TOKEN.findall(text)


def _product(tokens: list[str]) -> MeasureUnit:
    """One or several units, those behind a slash or "per" divided by."""
    total, sign, power, last = MeasureUnit(()), 1, 1, MeasureUnit(())
    for token in tokens:
        lower = token.lower()
        if token in ("*", "(", ")"):
            continue
        if token == "/" or lower in ("per", "a", "an", "each"):
            if sign < 0 or not total.powers:
                raise _NoUnitError
            sign = -1
        elif lower in _SQUARED:
            power = _SQUARED[lower]
        elif lower in _AFTER or re.fullmatch(r"\^?-?\d", token):
            if not last.powers:
                raise _NoUnitError
            total *= last ** ((_AFTER.get(lower) or int(token.lstrip("^"))) - 1)
            last = MeasureUnit(())
        else:
            last = _one(token) ** (sign * power)
            total, power = total * last, 1
    if not last.powers and power != 1:
        raise _NoUnitError
    return total


def _one(token: str) -> MeasureUnit:
    if re.fullmatch(r"°\s*[cf]", token, re.IGNORECASE):
        return _NAMED[f"°{token[-1].upper()}"]
    if token == "°":
        return _NAMED["degree"]
    if token in _PREFIXED:
        return _PREFIXED[token]
    if token[:1] in _PREFIXES and token[1:] in _PREFIXED and token != "min":
        return _times(_PREFIXES[token[0]], _PREFIXED[token[1:]])
    word = token.lower()
    for name in (word, word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)):
        if name in _NAMED:
            return _NAMED[name]
        if name in _LONG_PREFIXED:
            return _LONG_PREFIXED[name]
        for prefix, factor in _LONG_PREFIXES.items():
            if name.startswith(prefix) and name.removeprefix(prefix) in _LONG_PREFIXED:
                return _times(factor, _LONG_PREFIXED[name.removeprefix(prefix)])
    raise _NoUnitError
