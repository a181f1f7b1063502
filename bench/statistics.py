"""How far intervals cover and tests err, for everything that prints an interval or a star.

    python -m bench.statistics [REPETITIONS] > docs/results/statistics.md

Questions are those of the miniature world's new structures (100 questions on 12 chains), or 100 that have nothing to do
with one another. An answer is right where a normal sum is above a threshold: of the chain, of what a method makes of
it, of the question, of the training's seed, of what a seed makes of a chain, and of chance. The truth is then known in
closed form for other chains, questions and seeds than those drawn.
"""

from __future__ import annotations

import platform
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from divcon.eval.stats import seeds as over_seeds_and_questions
from divcon.eval.stats.intervals import accuracy, difference, holm, students
from divcon.eval.stats.paired import p_value
from divcon.eval.stats.seeds import FEWEST_SEEDS, crossed
from divcon.tasks import miniature

Array = npt.NDArray[np.float64]
LEVELS = (0.05, 0.01, 0.0024)
"""The last is 5 % over 21 methods."""
METHODS = 21


@dataclass(frozen=True)
class World:
    """Standard deviations of what an answer is made of, beside a chance of 1."""

    chain: float = 0.5
    """Of a chain, for every method alike."""
    taste: float = 0.8
    """Of what one method makes of a chain."""
    question: float = 0.7
    seed: float = 0.25
    """Of a training, on all questions."""
    whim: float = 0.3
    """Of what one training makes of a chain."""

    def right(self, threshold: float) -> float:
        """How often answers are right, over all chains, questions and seeds."""
        parts = (self.chain, self.taste, self.question, self.seed, self.whim, 1.0)
        return float(ndtr(threshold / sqrt(sum(part**2 for part in parts))))

    def draw(self, rng: np.random.Generator, chains: Array, seeds: int, thresholds: Sequence[float]) -> list[Array]:
        """What methods get right (seeds, questions); `chains` numbers each question's."""
        count, n = int(chains.max()) + 1, len(chains)
        shared = self.chain * rng.normal(size=count)[chains] + self.question * rng.normal(size=n)
        answers = []
        for threshold in thresholds:
            own = self.taste * rng.normal(size=count) + self.whim * rng.normal(size=(seeds, count))
            latent = threshold + shared + own[:, chains]
            latent = latent + self.seed * rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, n))
            answers.append((latent > 0).astype(float))
        return answers


ALONE = World(chain=0.0, taste=0.0, whim=0.0)
"""Questions that have nothing to do with one another."""
UNSTEADY = World(chain=0.0, taste=0.0, whim=0.0, seed=0.7)
"""The same, where one training differs much from another."""


def twelve_chains() -> Array:
    """The chain of each of the default study's 100 questions on new structures."""
    names = [question.tags["chain"] for question in miniature.questions("known-new", 100, seed=1)]
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names])


@dataclass
class Tally:
    """Of one procedure."""

    intervals: int = 0
    covered: int = 0
    tests: int = 0
    false: Counter[float] | None = None

    def interval(self, low: float, high: float, truth: float) -> None:
        self.intervals += 1
        self.covered += low <= truth <= high

    def test(self, p: float) -> None:
        self.tests += 1
        self.false = self.false or Counter()
        self.false.update(level for level in LEVELS if p < level)

    def row(self, name: str) -> str:
        share = f"{100 * self.covered / self.intervals:.1f}" if self.intervals else ""
        errors = [
            f"{100 * (self.false or Counter())[level] / self.tests:.2f}" if self.tests else "" for level in LEVELS
        ]
        return f"| {name} | {share} | {' | '.join(errors)} |"


def one_run(world: World, chains: Array, repetitions: int, rng: np.random.Generator) -> Iterator[tuple[str, Tally]]:
    """Accuracies and paired differences of one run, over families and as if questions were alone."""
    names = ("accuracy", "accuracy, families ignored", "difference", "difference, families ignored")
    tallies = {name: Tally() for name in names}
    families = chains.tolist()
    a_right, b_right = (world.right(threshold) for threshold in (0.3, -0.3))
    for _ in range(repetitions):
        a, b = (of[0].tolist() for of in world.draw(rng, chains, 1, (0.3, -0.3)))
        same, other = (of[0].tolist() for of in world.draw(rng, chains, 1, (0.3, 0.3)))
        for name, clusters in (("", families), (", families ignored", None)):
            tallies[f"accuracy{name}"].interval(*accuracy(a, clusters)[1:], a_right)
            tallies[f"difference{name}"].interval(*difference(a, b, clusters)[1:], a_right - b_right)
            tallies[f"difference{name}"].test(p_value(same, other, clusters))
    is_alone = len(set(families)) == len(families)
    yield from ((name, tally) for name, tally in tallies.items() if not (is_alone and "ignored" in name))


def costs(chains: Array, repetitions: int, rng: np.random.Generator) -> Tally:
    """What each question saves, of which break-even is made: a skewed amount with a part of its chain's."""
    tally = Tally()
    for _ in range(repetitions):
        saved = np.exp(0.3 * rng.normal(size=int(chains.max()) + 1)[chains] + 0.3 * rng.normal(size=len(chains)))
        tally.interval(*students(saved.tolist(), chains.tolist())[1:], float(np.exp(0.09)))
    return tally


def over_seeds(world: World, chains: Array, seeds: int, repetitions: int, rng: np.random.Generator) -> Tally:
    """Differences over seeds and families."""
    tally, truth = Tally(), world.right(0.3) - world.right(-0.3)
    for _ in range(repetitions):
        a, b = world.draw(rng, chains, seeds, (0.3, -0.3))
        tally.interval(*crossed((a - b).tolist(), chains.tolist()).estimate[1:], truth)
        same, other = world.draw(rng, chains, seeds, (0.0, 0.0))
        p = crossed((same - other).tolist(), chains.tolist()).p
        if p is not None:
            tally.test(p)
    return tally


def family_wise(world: World, chains: Array, seeds: int, repetitions: int, rng: np.random.Generator) -> float:
    """How often one of 21 methods that are no different from the first gets a star after Holm's adjustment."""
    false = 0
    for _ in range(repetitions):
        first, *others = world.draw(rng, chains, seeds, [0.0] * (METHODS + 1))
        ps = [crossed((of - first).tolist(), chains.tolist()).p for of in others]
        false += min(holm([p for p in ps if p is not None])) < 0.05
    return false / repetitions


def _few(repetitions: int) -> int:
    return max(1, repetitions // 10)


def main(repetitions: int = 20_000) -> None:
    rng = np.random.default_rng(0)
    families, alone = twelve_chains(), np.arange(100)
    over_seeds_and_questions.FEWEST_SEEDS = 1  # to see what it keeps from being shown
    print("# How far intervals cover, and tests err\n")
    print(f"`python -m bench.statistics {repetitions}`, seed 0, {datetime.now(UTC):%Y-%m-%d}, {platform.machine()}.")
    print(f"{repetitions:,} repetitions per row, {_few(repetitions):,} for families of tests.")
    print("Nominal: 95, 5, 1 and 0.24.\n")
    print("| what | covers (%) | errs at .05 (%) | at .01 | at .0024 |")
    print("|---|---:|---:|---:|---:|")
    worlds: tuple[tuple[str, World, Array], ...] = (
        ("100 questions alone", ALONE, alone),
        ("100 questions alone, unsteady trainings", UNSTEADY, alone),
        ("100 questions on 12 chains", World(), families),
    )
    for where, world, chains in worlds:
        still = World(**{**vars(world), "seed": 0.0, "whim": 0.0})  # one run says nothing of other trainings
        for name, tally in one_run(still, chains, repetitions, rng):
            print(tally.row(f"one run, {where}: {name}"), flush=True)
        print(costs(chains, repetitions, rng).row(f"one run, {where}: mean saving"), flush=True)
        for seeds in (3, 5, 10):
            tally = over_seeds(world, chains, seeds, repetitions, rng)
            hidden = " (its p-values are not shown)" if seeds < FEWEST_SEEDS else ""
            print(tally.row(f"{seeds} seeds, {where}: difference{hidden}"), flush=True)
    print("\n| after Holm's adjustment over 21 methods that are no different | one star or more (%) |")
    print("|---|---:|")
    for where, world, chains in worlds:
        for seeds in (3, 5, 10):
            false = family_wise(world, chains, seeds, _few(repetitions), rng)
            hidden = " (not shown)" if seeds < FEWEST_SEEDS else ""
            print(f"| {seeds} seeds, {where}{hidden} | {100 * false:.1f} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
