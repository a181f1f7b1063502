"""Which tests a decomposer can be asked on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...core.errors import ConfigError
from ...tasks.question import Question
from ..grid_spec import DecomposerSpec, GoldDecomposition, inner_decomposer


def with_gold(tests: Mapping[str, Sequence[Question]], decomposers: Iterable[DecomposerSpec]) -> frozenset[str]:
    """The tests that have decompositions of their own; in these, a question without one needs none.

    Raises ConfigError where a grid asks for gold sub-questions and no test has any.
    """
    found = frozenset(test for test, asked in tests.items() if any(question.subquestions for question in asked))
    if not found and any(isinstance(inner_decomposer(one), GoldDecomposition) for one in decomposers):
        raise ConfigError("no test has gold sub-questions; leave gold out of grid.decomposers")
    return found
