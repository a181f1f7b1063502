"""A decomposition made fit to stand in another model's prompt: a few short lines of plain text between marks.

Whoever writes a question has a say in what a decomposer writes about it, so that what it writes is data: nothing in it
may end the marks around it, open a turn, or say what a person who reads along does not see.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Callable, Sequence

from ...core.strip import strip_surrogates
from ...decompose.control_tokens import UNSEEN
from ...decompose.decomposition import harmless
from ..settings import MOST

LONGEST = 300
"""Characters of one sub-question."""
TOGETHER = 1500
"""Characters of all of them."""
_ROUNDS = 20
"""One step of cleaning can bring out what another drops. A text in which that goes on is not somebody's question."""
_UNSEEN = re.compile(f"[{UNSEEN}\u180b-\u180f\ufe00-\ufe0f\U000e0000-\U000e0fff]")
"""Fillers and selectors that no screen shows though Unicode does not call them control or format characters."""
_LETTERS = str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst")


def mark(question: str, secret: bytes) -> str:
    """A delimiter that nobody can write who does not know the secret; a question has the same one every time, so that
    the upstream finds the prompt in its cache.

    Its letters are neither a number, which a solver might reckon with, nor a word.
    """
    drawn = hmac.digest(secret, question.encode("utf-8", "surrogatepass"), "sha256")
    return drawn.hex()[:12].translate(_LETTERS)


def sanitize(
    subquestions: Sequence[str], *, most: int, clean: Callable[[str], str] = str, mark: str = ""
) -> tuple[str, ...]:
    """The sub-questions that may be shown to a solver: each one visible line without control tokens and without the
    `mark`, `most` and `MOST` of them, in all `TOGETHER` characters.

    `clean` drops the control tokens of the solver's own tokenizer, where that is known. A sub-question is shown whole
    or not at all, for half of one asks something else: one of more than `LONGEST` characters is left out, and where
    all are too long together, the last ones are. Tamed again they stay as they are.
    """
    kept: list[str] = []
    for subquestion in subquestions:
        if len(kept) >= min(most, MOST):
            break
        plain = _plain(subquestion, clean, mark)
        if sum(map(len, kept)) + len(plain) > TOGETHER:
            break
        if plain:
            kept.append(plain)
    return tuple(kept)


def _plain(text: str, clean: Callable[[str], str], mark: str) -> str:
    """One visible line; empty where no letter or digit is left, or where it is too long."""
    own = re.compile(rf"\[?/?{re.escape(mark)}\]?" if mark else r"(?!)", re.IGNORECASE)
    for _ in range(_ROUNDS):
        if len(text) > LONGEST:
            break
        before, text = text, harmless(clean(own.sub("", _line(text))))
        if text == before:
            return text if any(map(str.isalnum, text)) else ""
    return ""


def _line(text: str) -> str:
    """What is seen of a text, in one line."""
    seen = "".join(
        c for c in _UNSEEN.sub("", strip_surrogates(text)) if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf")
    )
    return " ".join(unicodedata.normalize("NFC", seen).split())
