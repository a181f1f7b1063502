"""Text without certain pieces, none of which is left where dropping one joined the parts of another.

To substitute until nothing changes is quadratic in how deep pieces are nested, and whoever wrote the text chose that.
"""

from __future__ import annotations

import re


class Without:
    """Drops whatever a pattern matches, in one pass from left to right."""

    def __init__(self, pattern: str, *, longest: int, closing: str) -> None:
        """Each match is of `longest` characters at most, and its last one is among those of `closing`."""
        self._anywhere = re.compile(pattern)
        self._at_the_end = re.compile(rf"(?:{pattern})\Z")
        self._longest = longest
        self._closing = frozenset(closing)

    def __call__(self, text: str) -> str:
        """The text, with no match left in it."""
        if not self._anywhere.search(text):
            return text
        kept: list[str] = []
        for character in text:
            kept.append(character)
            if character in self._closing:
                found = self._at_the_end.search("".join(kept[-self._longest :]))
                if found:
                    del kept[-len(found[0]) :]
        return "".join(kept)
