"""A policy and its lock-step driver: walks part where their steps do, and only there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divcon import prompts
from divcon.decompose import PromptedDecomposer
from divcon.lm import Message, Model, Sampling, Scripted, Store
from divcon.solve import PromptedSolver, Solution
from divcon.solve.askers import NextQuestion
from divcon.solve.lockstep import InteractiveSolver
from divcon.solve.policy import AnswerQuestion, AnswerSubquestion, NextSubquestion, Walk, listing, replay, self_ask
from divcon.tasks import Question

LIMIT = 4


def by_hand(limit: int, subquestions: Sequence[str], answers: Sequence[str]) -> tuple[list[str], Solution]:
    """A walk driven step by step: what was done, and the result."""
    walk, done = self_ask(limit), []
    asked = iter([*subquestions, *[None] * (limit + 1)])
    said = iter(answers)
    step = next(walk)
    try:
        while True:
            match step:
                case NextSubquestion(history):
                    done.append(f"ask {len(history)}")
                    step = walk.send(next(asked))
                case AnswerSubquestion(_, subquestion):
                    done.append(f"answer {subquestion}")
                    step = walk.send(Solution("", next(said)))
                case AnswerQuestion(history):
                    done.append(f"finish {len(history)}")
                    step = walk.send(Solution(listing(history), next(said)))
    except StopIteration as end:
        return done, end.value


def test_a_walk_asks_answers_and_ends_with_the_question() -> None:
    done, solution = by_hand(3, ["How many?", "And then?"], ["2", "3", "5"])
    assert done == ["ask 0", "answer How many?", "ask 1", "answer And then?", "ask 2", "finish 2"]
    assert (solution.text, solution.answer) == ("1. How many? 2\n2. And then? 3\n", "5")
    assert by_hand(1, ["How many?", "And then?"], ["2", "5"])[0] == ["ask 0", "answer How many?", "finish 1"]
    assert by_hand(3, [], ["5"])[0] == ["ask 0", "finish 0"]


@given(st.integers(0, 3), st.lists(st.sampled_from("12"), min_size=4, max_size=4))
def test_a_walk_repeated_from_what_it_heard_is_at_the_same_step(steps: int, answers: list[str]) -> None:
    heard: list[object] = []
    walk = self_ask(LIMIT)
    step = next(walk)
    for turn in range(2 * steps):
        heard.append(f"{turn}?" if turn % 2 == 0 else Solution("", answers[turn // 2]))
        step = walk.send(heard[-1])
    assert replay(self_ask, LIMIT, tuple(heard)) == step


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from("12"), min_size=4, max_size=4), min_size=1, max_size=4))
def test_samples_share_what_they_have_in_common(answers: list[list[str]]) -> None:
    """Each sample's history is its own answers; a sub-question is asked once for all that have the same history."""

    def says(messages: Sequence[Message], index: int) -> str:
        text = messages[-1].content
        if "most helpful" in text or "Which one further" in text:
            return "\n".join(f"{i}. Part {i}?" for i in range(1, 4))
        if "Answer only the next one" not in text:
            return f"The answer is: {text.count(' 1')}"
        turn = int(text.split("Answer only")[1].partition("Part ")[2][0]) - 1
        known = [line.rpartition(" ")[2] for line in text.splitlines() if line[:1].isdigit() and "?" in line][:turn]
        alike = [own for own in answers if own[:turn] == known]
        return f"The answer is: {alike[index][turn]}"

    question = Question("q", "How many?", "4")
    with Store() as store:
        model = Model("m", Scripted(answer=says), store)
        solver = PromptedSolver(model, prompts.family(), Sampling(temperature=1.0), samples=len(answers))
        asker = NextQuestion(PromptedDecomposer(model, prompts.load("decompose"), 3, Sampling()), prompts.load("next"))
        (worked,) = InteractiveSolver(solver, limit=3)([question], asker)
    histories = [
        tuple(line.rpartition(" ")[2] for line in solution.text.splitlines()[:3]) for solution in worked.solutions
    ]
    assert sorted(histories) == sorted(tuple(own[:3]) for own in answers)
    prefixes = {tuple(own[:n]) for own in answers for n in range(3)}
    assert len(worked.asking) == len(prefixes)  # one turn of asking for each history that there was


def asks_twice(limit: int) -> Walk:
    """A policy of another kind: the question, and the question again with the answer shown."""
    first = yield AnswerQuestion(())
    second: Solution = yield AnswerSubquestion((), f"Is it {first.answer}?")
    return second


def test_another_policy_is_another_generator() -> None:
    def says(messages: Sequence[Message], index: int) -> str:
        return "The answer is: 8" if "Is it 7?" in messages[-1].content else "The answer is: 7"

    with Store() as store:
        engine = Scripted(answer=says)
        solver = PromptedSolver(Model("m", engine, store), prompts.family(), Sampling(), samples=1)
        (worked,) = InteractiveSolver(solver, 3, asks_twice)(
            [Question("q", "How many?", "8")], lambda *_: pytest.fail("nobody decomposes")
        )
    assert worked.solutions[0].answer == "8" and len(engine.asked) == 2 and worked.asking == ()
