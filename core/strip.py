"""Text without certain pieces, none of which is left where dropping one joined the parts of another.

To substitute until nothing changes is quadratic in how deep pieces are nested, and whoever wrote the text chose that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType


class Without:
    """Drops whatever a pattern matches, in one pass from left to right."""

    def __init__(
        self,
        pattern: str,
        *,
        longest: int,
        closing: str,
        read: Mapping[int, str | None] = MappingProxyType({}),
    ) -> None:
        """Each match is of `longest` characters at most, and its last one is among those of `closing`.

        `read` says, as `str.translate` takes it, which character another is matched as; None is matched as nothing.
        """
        self._anywhere = re.compile(pattern)
        self._at_the_end = re.compile(rf"(?:{pattern})\Z")
        self._longest = longest
        self._closing = frozenset(closing)
        self._read = read

    def __call__(self, text: str) -> str:
        """The text, with no match left in it."""
        if not self._anywhere.search(text.translate(self._read)):
            return text
        kept: list[str] = []
        matched: list[str] = []
        places: list[int] = []  # in `kept`, of what is in `matched`
        for character in text:
            read = character.translate(self._read)
            if read:
                matched.append(read)
                places.append(len(kept))
            kept.append(character)
            if read in self._closing:
                found = self._at_the_end.search("".join(matched[-self._longest :]))
                if found:
                    del kept[places[-len(found[0])] :], matched[-len(found[0]) :], places[-len(found[0]) :]
        return "".join(kept)


_SURROGATE = re.compile("[\ud800-\udfff]")


def strip_surrogates(text: str) -> str:
    """A text without halves of characters, which no tokenizer takes."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
