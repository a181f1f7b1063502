"""What the pipeline of a request asks for and is given: decompositions, and calls that count against a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ...decompose.decomposition import Kind
from ...lm.types import Usage
from ...solve.policy import History


class DecomposeRequest(NamedTuple):
    """What is to be decomposed."""

    question: str
    limit: int
    """Sub-questions at most."""
    history: History | None = None
    """What is known, where one more sub-question is wanted; None where all are wanted at once."""


@dataclass(frozen=True)
class DecomposeResult:
    """A decomposition that may be put before another model."""

    subquestions: tuple[str, ...]
    kind: Kind
    id: str
    """The same for the same question, limit and decomposer."""
    usage: Usage


class CachedResult(NamedTuple):
    """A decomposition, and how it was come by."""

    made: DecomposeResult
    was_there: bool
    """Already, or being made for somebody else: then it costs nothing more."""


@dataclass(eq=False)
class Call:
    """A call to the upstream."""

    dollars: float
    """What it counts as."""
    is_known: bool = False
    """Whether that is what it cost; the most that it can have cost otherwise."""


class Spending(Protocol):
    """What counts the calls of one request against its caller's limit in dollars."""

    def begin(self, body: Mapping[str, Any]) -> Call:
        """A call counts before it is sent. Raises Refused, and it does not count, when the key has less left."""
        ...

    def refused(self, call: Call) -> None:
        """A call that certainly is not billed counts no more."""
        ...

    def answered(self, call: Call, usage: Usage | None, stated: Usage) -> None:
        """A call counts as what it took; where that is unknown (None), at its most or as what is stated if larger."""
        ...
