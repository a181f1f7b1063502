"""The splits: known or new facts by known or new structure, and which texts train and which test."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice

from ...core.errors import ConfigError
from ..question import Question
from .chains import KNOWN, NEW, SINGLE
from .problem import Problem, draw

SPLITS = ("train", "known-known", "new-known", "known-new", "new-new")
"""'train', then the test splits as facts-structure."""

SINGLES = 0.1
"""The share of one-step questions where the structure is known."""


def questions(split: str, n: int, seed: int = 0) -> list[Question]:
    """The first n questions of a split; a longer draw begins with the same ones."""
    return [question(problem, split, place, seed) for place, problem in enumerate(islice(problems(split, seed), n))]


def problems(split: str, seed: int = 0) -> Iterator[Problem]:
    """An endless stream of a split's problems, no text twice."""
    if split not in SPLITS:
        raise ConfigError(f"no split {split!r} in the miniature world; there are {', '.join(SPLITS)}")
    facts, structure = ("known", "known") if split == "train" else split.split("-")
    rng = random.Random(f"{split}/{seed}")
    seen: set[str] = set()
    while True:
        problem = draw(rng, pick_chain(rng, KNOWN if structure == "known" else NEW), new_facts=facts == "new")
        if for_test(problem.text) == (split != "train") and problem.text not in seen:
            seen.add(problem.text)
            yield problem


def question(problem: Problem, split: str, place: int, seed: int) -> Question:
    """The problem as a study sees it."""
    return Question(
        id=f"{split}/{place:04d}" if seed == 0 else f"{split}@{seed}/{place:04d}",
        text=problem.text,
        answer=problem.answer,
        subquestions=problem.subquestions,
        solution=solution(problem),
        tags={
            "facts": "new" if problem.new_facts else "known",
            "structure": "new" if problem.chain in NEW else "known",
            "chain": problem.chain,
        },
    )


def solution(problem: Problem) -> str:
    """The worked solution: numbered like the sub-questions, or in one line where there are none."""
    steps = [step.text for step in problem.steps]
    if problem.subquestions:
        steps = [f"{number}. {step}" for number, step in enumerate(steps, 1)]
    return "\n".join([*steps, f"The answer is {problem.answer}."])


def pick_chain(rng: random.Random, chains: tuple[str, ...]) -> str:
    """A chain, so that one-step questions are a tenth wherever there are any."""
    longer = [chain for chain in chains if chain != SINGLE]
    return SINGLE if SINGLE in chains and rng.random() < SINGLES else rng.choice(longer)


def for_test(text: str) -> bool:
    """Whether a text is set aside for testing; nobody is taught such a question, the LLM included."""
    return sha256(text.encode()).digest()[0] < 32
