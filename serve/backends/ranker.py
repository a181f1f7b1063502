"""A distilled ranker that scores the samples of a request. It is loaded when it is first needed, or before."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...solve.solution import Solution
from ...tasks.question import Question

if TYPE_CHECKING:
    from ...distill.ranker.model import Ranker


class RankerScorer:
    """The ranker in a directory."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError when there is none."""
        from ...distill.ranker.model import recipe_of  # torch takes seconds to import

        self._directory = directory
        recipe_of(directory)

    def __call__(self, question: Question, solutions: Sequence[Solution]) -> list[float | None]:
        from ...distill.ranker.model import Group

        (scores,) = self._ranker.score([Group(question, tuple(solutions))])
        return scores

    def warm(self) -> None:
        """Load it now."""
        self._ranker  # noqa: B018  # for its effect

    @cached_property
    def _ranker(self) -> Ranker:
        from ...distill.ranker.model import load

        return load(self._directory)
