"""A secret removed from what a server sends back, however it is spelled there and into whatever pieces it is cut.

A server that repeats its API key may repeat it plain, escaped for JSON, a URL or HTML, in hexadecimal or in base64.
A spelling is a row of units, one for each of its characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html.entities import codepoint2name
from string import ascii_lowercase, ascii_uppercase, digits

_BEGUN = 6
"""Characters of a secret from which on a text may be held back. Fewer begin ordinary words, and disclose nothing."""
_MASKS = ("***", "###", "\N{HORIZONTAL ELLIPSIS}")
_BASE64 = ascii_uppercase + ascii_lowercase + digits + "+/"
_BREAKS = ("", "\n", "\r\n", "\\n", "\\r\\n")
"""What may stand between two lines of base64."""
_GAPS = ("", " ", ":", "-", ", ", "0x", ", 0x", " 0x", "\\x", "\\\\x")
"""What may stand between two bytes in hexadecimal."""
_FIRST = 4
"""Characters of a text that are compared with sets before it is compared with spellings, which takes longer."""


@dataclass(frozen=True)
class Spelling:
    """The strings that may stand for one character of a spelling."""

    forms: tuple[str, ...]
    gaps: tuple[str, ...] = ("",)
    """What may stand before them."""

    @cached_property
    def strings(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(gap + form for gap in self.gaps for form in self.forms)

    @cached_property
    def starting(self) -> dict[str, list[str]]:
        """Those that start with a character."""
        return {first: [each for each in self.strings if each[0] == first] for first in {s[0] for s in self.strings}}

    @cached_property
    def pattern(self) -> str:
        return _any_of(self.gaps) + _any_of(self.forms)


class Redactor:
    """Replaces every spelling of a secret by a mask that is no part of it."""

    def __init__(self, secret: str) -> None:
        """An empty secret is in no text."""
        self._mask = next((mask for mask in _MASKS if mask[0] not in secret), " ")
        self._spellings = _spellings(secret) if secret else ()
        begun = [units[: _begun(units, len(secret))] for units in self._spellings]
        self._begun = re.compile(_quickly(begun) if begun else r"(?!)")
        self.reach = max((sum(max(map(len, unit.strings)) for unit in units) for units in begun), default=1)
        """Characters of a text that can belong to a beginning which more of it completes."""

    def __call__(self, text: str) -> str:
        """A whole text without the secret."""
        return self.split(text, 0, is_whole=True)[0] if self.may_hold(text) else text

    def may_hold(self, text: str) -> bool:
        """Whether a text holds the beginning of a spelling."""
        return self._begun.search(text) is not None

    def split(self, text: str, shown: int, *, is_whole: bool = False) -> tuple[str, str]:
        """What may be shown of a text whose first characters are shown already, and the rest, which may become a
        spelling of the secret if more comes."""
        pieces, done, start = [], shown, 0
        while found := self._begun.search(text, start):
            start = found.start()
            end, is_open = self._follow(text, start)
            if end:
                pieces += [text[done:start], self._mask]
                done = start = end
            elif is_open and not is_whole:
                return "".join([*pieces, text[done:start]]), text[max(done, start) :]
            else:
                start += 1
        return "".join([*pieces, text[done:]]), ""

    def _follow(self, text: str, start: int) -> tuple[int, bool]:
        """The end of a spelling that starts here, 0 where there is none; and whether the text ends within one."""
        followed = [_follow(text, start, units) for units in self._spellings]
        return max(end for end, _ in followed), any(is_open for _, is_open in followed)


class Stream:
    """A text that comes in pieces, each passed on at once but for an end that may become the secret."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._shown = ""
        self._held = ""

    def __call__(self, piece: str) -> str:
        """What may be shown now."""
        text = self._shown + self._held + piece
        if self._held or self._redactor.may_hold(text):
            piece, self._held = self._redactor.split(text, len(self._shown))
        self._shown = (self._shown + piece)[-self._redactor.reach :]
        return piece

    def rest(self) -> str:
        """What was held back, when nothing follows it."""
        held, self._held = self._held, ""
        return self._redactor(held)


@lru_cache(maxsize=8)
def redactor(secret: str) -> Redactor:
    """The redactor of a secret; made once."""
    return Redactor(secret)


def _spellings(secret: str) -> tuple[tuple[Spelling, ...], ...]:
    data = secret.encode("utf-8", "surrogatepass")
    return (
        tuple(map(_character, secret)),
        tuple(_octet(octet, _GAPS if i else ("",)) for i, octet in enumerate(data)),
        *(_in_base64(data, shift) for shift in range(3)),
    )


@lru_cache(maxsize=512)
def _character(character: str) -> Spelling:
    """As it is, and escaped once, twice or three times, as JSON in JSON is."""
    code = ord(character)
    octets = character.encode("utf-8", "surrogatepass")
    forms = [character, f"&#{code};"]
    forms += [f"&{codepoint2name[code]};"] if code in codepoint2name else []
    forms += [] if character.isalnum() else ["\\" * n + character for n in (1, 2, 3)]
    for digit in ("x", "X"):
        forms += [f"&#x{code:{digit}};", f"\\u{{{code:{digit}}}}"]
        forms += ["\\" * n + f"u{code:04{digit}}" for n in (1, 2, 4)]
        forms += ["".join(f"{sign}{octet:02{digit}}" for octet in octets) for sign in ("%", "%25", "%2525")]
    return Spelling(tuple(dict.fromkeys(forms)))


@lru_cache(maxsize=512)
def _octet(octet: int, gaps: tuple[str, ...]) -> Spelling:
    return Spelling(tuple(dict.fromkeys((f"{octet:02x}", f"{octet:02X}"))), gaps)


def _in_base64(data: bytes, shift: int) -> tuple[Spelling, ...]:
    """The characters that the data determines where so many unknown bytes stand before it.

    Those at its ends that hold bits of other bytes too disclose next to nothing, and would be found in every text.
    """
    bits = "?" * 8 * shift + "".join(f"{octet:08b}" for octet in data)
    sextets = [bits[i : i + 6] for i in range(0, len(bits), 6)]
    known = [int(sextet, 2) for sextet in sextets if len(sextet) == 6 and "?" not in sextet]
    return tuple(_sextet(value, _BREAKS if i else ("",)) for i, value in enumerate(known))


@lru_cache(maxsize=512)
def _sextet(value: int, breaks: tuple[str, ...]) -> Spelling:
    return Spelling(_in_alphabets(_BASE64[value]), breaks)


def _in_alphabets(character: str) -> tuple[str, ...]:
    """As the standard alphabet has it, and the one for URLs."""
    others = {"+": "-", "/": "_"}
    return (character,) if character not in others else (*_character(character).forms, others[character])


def _begun(units: Sequence[Spelling], length: int) -> int:
    """The units of a spelling that disclose `_BEGUN` characters of the secret, or half of a short one."""
    return max(1, min(_BEGUN, length // 2) * len(units) // length)


def _pattern(spellings: Sequence[Sequence[Spelling]]) -> str:
    return "|".join("".join(unit.pattern for unit in units) for units in spellings)


def _quickly(spellings: Sequence[Sequence[Spelling]]) -> str:
    """A pattern of the places where a spelling begins. It rules most out by sets of their first characters."""
    length = min(_FIRST, *(sum(min(map(len, unit.strings)) for unit in units) for units in spellings))
    first: list[set[str]] = [set() for _ in range(length)]
    for beginning in {string for units in spellings for string in _beginnings(units, length)}:
        for i, character in enumerate(beginning):
            first[i].add(character)
    one, *others = (f"[{''.join(map(re.escape, sorted(each)))}]" for each in first)
    return rf"{one}(?={''.join(others)})(?<=(?={_pattern(spellings)})[\s\S])"


def _beginnings(units: Sequence[Spelling], length: int) -> set[str]:
    """The first so many characters of every string that units can make."""
    found = {""}
    for unit in units[:length]:
        found = {(before + string)[:length] for before in found for string in unit.strings}
    return found


def _any_of(strings: Sequence[str]) -> str:
    """A pattern of these strings, the longest first."""
    single = "".join(re.escape(each) for each in strings if len(each) == 1)
    longer = [re.escape(each) for each in sorted(strings, key=len, reverse=True) if len(each) > 1]
    found = "|".join([*longer, f"[{single}]"] if single else longer)
    return f"(?:{found}){'?' if '' in strings else ''}" if found else ""


def _follow(text: str, start: int, units: Sequence[Spelling]) -> tuple[int, bool]:
    """Where a row of units ends that starts here, 0 where none does; and whether the text ends within one."""
    ends, is_open = {start}, False
    for unit in units:
        is_open = is_open or len(text) in ends
        following = set()
        for end in ends:
            for string in unit.starting.get(text[end : end + 1], ()):
                if text.startswith(string, end):
                    following.add(end + len(string))
                elif len(text) - end < len(string) and string.startswith(text[end:]):
                    is_open = True
        if not following:
            return 0, is_open
        ends = following
    return max(ends), is_open
