"""What the rules of the vote make of one run's samples: side by side, and against the number of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...core.errors import ConfigError
from ...solve.voting.curves import Pool, curve
from ...solve.voting.rules import Score, Tally, credit, scores_by_kind, tally
from ...solve.voting.stopping import Vote, bought, read
from ..grid.rows import ResultRow, Results
from ..grid_spec import DecomposerSpec, SolverSpec, VoteSpec
from ..stats.intervals import Estimate, accuracy, difference, questions_needed


class Pair(NamedTuple):
    """Whose samples vote."""

    decomposer: DecomposerSpec
    solver: SolverSpec

    @property
    def names(self) -> tuple[str, str]:
        """For tables and files."""
        return str(self.decomposer), str(self.solver)

    @property
    def label(self) -> str:
        return f"{self.decomposer} \N{RIGHTWARDS ARROW} {self.solver}"


@dataclass(frozen=True)
class RuleLine:
    """One rule on all questions, beside the first."""

    composition: Pair
    vote: VoteSpec
    accuracy: Estimate
    beside: Estimate | None
    """Accuracy less the first rule's, on the same questions; None for the first."""
    needed: float | None
    """About how many questions would show one point of difference to the first."""


def rule_lines(rows: Results) -> list[RuleLine]:
    """For each composition whose samples vote by several rules."""
    found = []
    for composition, by_vote in voting(rows).items():
        first = next(iter(by_vote.values())).credits
        for i, (vote, of_vote) in enumerate(by_vote.items()):
            own, clusters = of_vote.credits, of_vote.families
            beside = (difference(own, first, clusters), questions_needed(first, own, 1.0)) if i else (None, None)
            found.append(RuleLine(composition, vote, accuracy(own, clusters), *beside))
    return found


@dataclass(frozen=True)
class RuleCurve:
    """A rule's expected accuracy over 1, 2, ... of the samples."""

    composition: Pair
    vote: VoteSpec
    accuracies: tuple[Estimate, ...]


def rule_curves(rows: Results, whole_only: Sequence[Score] = ()) -> list[RuleCurve]:
    """For each composition and rule. Scores in `whole_only` belong to all samples together, and have no curve."""
    found = []
    for composition, by_vote in voting(rows, least=1).items():
        of = next(iter(by_vote.values()))
        pool, clusters = _pool(of), of.families
        for vote in by_vote:
            rule = vote.voting_rule()
            if rule.score not in whole_only:
                means = tuple(accuracy(credits.tolist(), clusters) for credits in curve(pool, rule))
                found.append(RuleCurve(composition, vote, means))
    return found


@dataclass(frozen=True)
class StopLine:
    """One rule to stop by, replayed on the samples in the order in which they were drawn."""

    composition: Pair
    stop: str
    samples: float
    """That it would have bought, a question."""
    accuracy: Estimate
    """Of the count over these."""
    beside: Estimate
    """Less that of the count over all samples, on the same questions."""


def stop_lines(rows: Results, stops: Sequence[str]) -> list[StopLine]:
    """For each composition whose samples vote, and each rule in words."""
    found = []
    for composition, by_vote in voting(rows, least=1).items():
        of = next(iter(by_vote.values()))
        clusters = of.families
        whole = [_count_of(row, len(row.classes)) for row in of]
        for said in stops:
            stop = read(said)
            taken = [bought([Vote(answer) for answer in row.classes], stop) for row in of]
            credits = [_count_of(row, n) for row, n in zip(of, taken, strict=True)]
            mean = sum(taken) / len(taken)
            found.append(
                StopLine(composition, said, mean, accuracy(credits, clusters), difference(credits, whole, clusters))
            )
    return found


def _count_of(row: ResultRow, samples: int) -> float:
    """The credit of the count over the first samples."""
    right = [verdict == "right" for verdict in row.verdicts]
    return credit(tally(row.classes[:samples]), right)


def tally_of(row: ResultRow) -> Tally:
    """What each answer of a row weighs under the row's own vote."""
    rule = row.cell.vote.voting_rule()
    return tally(row.classes, rule, scores_of(row)[rule.score] if rule.score else None)


def voting(rows: Results, least: int = 2) -> dict[Pair, dict[VoteSpec, Results]]:
    """The rows of sampled votes, by composition and vote; compositions with fewer rules than `least` are left out."""
    found: dict[Pair, dict[VoteSpec, Results]] = {}
    for cell, of_cell in rows.by_cell.items():
        if not cell.vote.is_greedy:
            found.setdefault(Pair(cell.decomposer, cell.solver), {})[cell.vote] = of_cell
    return {composition: by_vote for composition, by_vote in found.items() if len(by_vote) >= least}


def _pool(rows: Results) -> Pool:
    each = [scores_of(row) for row in rows]
    right = [[verdict == "right" for verdict in row.verdicts] for row in rows]
    names: tuple[Score, ...] = ("rank", "probability", "certainty")
    return Pool.of([row.classes for row in rows], right, {name: [of[name] for of in each] for name in names})


def scores_of(row: ResultRow) -> dict[Score, list[float | None]]:
    """Every kind of score of a row's solutions. Raises ConfigError for results that were kept without them."""
    if len(row.logprobs) < len(row.classes):
        raise ConfigError("these results were kept without texts and scores of solutions, and tell nothing of them")
    return scores_by_kind(row.logprobs, row.certainties, row.scores)
