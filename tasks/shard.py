"""One of several parts of a study's questions, so that several processes or machines share the asking."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple, Self

from ..core.errors import ConfigError
from .question import Question


class Shard(NamedTuple):
    """Part `number` of `total`. Which part a question is in depends on its text and on `total` alone.

    Questions of one text share their samples, and are in one part.
    """

    number: int
    """From 1."""
    total: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `2/4`. Raises ConfigError for anything else."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(f"{text!r} names no shard: give its number, from 1, and how many there are, such as 2/4")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def named(cls, folder: str) -> Self | None:
        """From the name of a shard's folder, `2-of-4`; None of another folder."""
        try:
            return cls.parse(folder.replace("-of-", "/"))
        except ConfigError:
            return None

    @property
    def folder(self) -> str:
        return f"{self.number}-of-{self.total}"

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def holds(self, question: Question) -> bool:
        """Whether a question is in this part."""
        digest = hashlib.sha256(question.prompt.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.total == self.number - 1

    def part(self, questions: Iterable[Question]) -> list[Question]:
        """The questions of this part, in order."""
        return [question for question in questions if self.holds(question)]
