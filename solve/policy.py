"""One sub-question at a time: each is answered before the next is asked, as in self-ask (Press et al., 2023).

The "dynamic" mode that Divide-or-Conquer compares with in its Table 6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..decompose.decomposition import FAILURE, Decomposition, Kind, harmless, parse
from ..decompose.prompted import PromptedDecomposer
from ..lm.types import Completion, Message, Request, Usage
from ..prompts import Prompt
from ..tasks.question import Question
from .prompted import PromptedSolver, read_solution
from .solution import UNKNOWN, Solution

_LONGEST = 200
"""Characters of an answer that could not be read, which the next turn is shown instead."""


class Answered(NamedTuple):
    """A sub-question and what the solver made of it."""

    subquestion: str
    answer: str


History = tuple[Answered, ...]
Asker = Callable[[Sequence[Question], Sequence[History]], list[Decomposition]]
"""From questions and what is known of each to the next sub-question: the first of each decomposition, if it has any."""


@dataclass(frozen=True)
class NextQuestion:
    """A model that is asked for the next sub-question."""

    first: PromptedDecomposer
    """Asks as long as nothing is known, so that a static decomposition begins alike and is shared."""
    prompt: Prompt
    """Takes `{question}` and `{answered}`."""

    def __call__(self, questions: Sequence[Question], histories: Sequence[History]) -> list[Decomposition]:
        requests = [self.request(*each) for each in zip(questions, histories, strict=True)]
        replies = self.first.model(requests, self.first.advance)
        return [self.read(made, history) for (made,), history in zip(replies, histories, strict=True)]

    def request(self, question: Question, history: History) -> Request:
        """What the model is sent."""
        if not history:
            return self.first.request(question)
        asked = self.prompt.fill(question=question.prompt, answered=listing(history))
        return Request((Message("user", asked),), self.first.sampling, 1, self.prompt.sha256)

    def read(self, made: Completion, history: History) -> Decomposition:
        """The first sub-question that was not asked before."""
        before = {answered.subquestion for answered in history}
        if made.has_failed:
            return Decomposition((), FAILURE, "", made.usage)
        subquestions, kind = parse(made.text, limit=len(before) + 1)
        new = tuple(asked for asked in subquestions if asked not in before)[:1]
        kind = "not needed" if subquestions and not new else kind
        return Decomposition(new, kind, made.text, made.usage, made.reasoning)


@dataclass(frozen=True)
class FixedPlan:
    """Sub-questions that are there already, one after the other. Nobody is asked."""

    subquestions: Mapping[Question, tuple[str, ...]]

    def __call__(self, questions: Sequence[Question], histories: Sequence[History]) -> list[Decomposition]:
        pairs = zip(questions, histories, strict=True)
        each = [self.subquestions[question][len(history) :][:1] for question, history in pairs]
        return [Decomposition(one, "given", "", Usage()) for one in each]


Calls = tuple[tuple[Usage, ...], ...]
"""What each prompt's samples took."""


@dataclass(frozen=True)
class Transcript:
    """One question, worked one sub-question at a time."""

    decomposition: Decomposition
    """What the first of its samples was asked, turn by turn."""
    solutions: tuple[Solution, ...]
    """Each with its own sub-questions and answers in its text; its usage is that of its last turn."""
    asking: Calls
    solving: Calls


@dataclass(frozen=True)
class _Branch:
    """Samples of one question that have had the same sub-questions and answers so far."""

    question: int
    samples: tuple[int, ...]
    """Which of the question's samples."""
    history: History = ()
    said: tuple[str, ...] = ()
    """What the asker wrote, turn by turn."""
    kind: Kind = "not tried"
    failed: bool = False
    """Whether a request on the way failed permanently."""


@dataclass
class _Spent:
    asking: list[tuple[Usage, ...]] = field(default_factory=list)
    solving: list[tuple[Usage, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class InteractiveSolver:
    """Answers a sub-question, then the next, at last the question."""

    solver: PromptedSolver
    """Its model, sampling and number of samples; it answers questions without any sub-question."""
    step: Prompt
    """Takes `{question}`, `{answered}` and `{subquestion}`."""
    finish: Prompt
    """Takes `{question}` and `{answered}`."""
    limit: int
    """Sub-questions at most."""

    def __call__(self, questions: Sequence[Question], asker: Asker) -> list[Transcript]:
        """Every question worked, in order. Samples part where their answers do: only then is the asker asked twice."""
        spent = [_Spent() for _ in questions]
        going = [_Branch(i, tuple(range(self.solver.samples))) for i in range(len(questions))]
        ended: list[_Branch] = []
        for _ in range(self.limit):
            ended += [way for way in going if way.failed]
            asked, done = _ask(questions, [way for way in going if not way.failed], asker, spent)
            ended += done
            going = self._answer(questions, asked, spent) if asked else []
        return self._finish(questions, sorted([*ended, *going], key=lambda way: way.question), spent)

    def _answer(
        self, questions: Sequence[Question], asked: Sequence[tuple[_Branch, str]], spent: Sequence[_Spent]
    ) -> list[_Branch]:
        """The ways after an answer to each one's sub-question: as many as there are answers."""
        requests = [self._step(questions[way.question], way, subquestion) for way, subquestion in asked]
        going = []
        for (way, subquestion), reply in zip(asked, self.solver.model(requests, self.solver.advance), strict=True):
            spent[way.question].solving.append(tuple(completion.usage for completion in reply))
            read = [read_solution(completion, questions[way.question]) for completion in reply]
            answers = [(short_answer(solution), solution.failed) for solution in read]
            for answer, failed in dict.fromkeys(answers):
                samples = tuple(i for i, own in zip(way.samples, answers, strict=True) if own == (answer, failed))
                history = (*way.history, Answered(subquestion, answer))
                going.append(replace(way, samples=samples, history=history, failed=failed))
        return going

    def _finish(
        self, questions: Sequence[Question], ways: Sequence[_Branch], spent: Sequence[_Spent]
    ) -> list[Transcript]:
        known = [way for way in ways if not way.failed]
        replies = self.solver.model([self._last(questions[w.question], w) for w in known], self.solver.advance)
        solutions: list[dict[int, Solution]] = [
            {sample: UNKNOWN for way in ways if way.failed and way.question == i for sample in way.samples}
            for i in range(len(questions))
        ]
        first = {way.question: way for way in ways if 0 in way.samples}
        for way, reply in zip(known, replies, strict=True):
            spent[way.question].solving.append(tuple(completion.usage for completion in reply))
            for sample, completion in zip(way.samples, reply, strict=True):
                read = read_solution(completion, questions[way.question])
                solutions[way.question][sample] = replace(read, text=f"{listing(way.history)}{read.text}")
        return [
            Transcript(
                _decomposition(first[i], took.asking),
                tuple(solutions[i][sample] for sample in range(self.solver.samples)),
                tuple(took.asking),
                tuple(took.solving),
            )
            for i, took in enumerate(spent)
        ]

    def _step(self, question: Question, way: _Branch, subquestion: str) -> Request:
        asked = f"{len(way.history) + 1}. {subquestion}"
        return self._request(way, self.step, question=question.prompt, answered=listing(way.history), subquestion=asked)

    def _last(self, question: Question, way: _Branch) -> Request:
        if not way.history:
            return replace(self.solver.request(question, ()), n=len(way.samples))
        return self._request(way, self.finish, question=question.prompt, answered=listing(way.history))

    def _request(self, way: _Branch, prompt: Prompt, **values: str) -> Request:
        message = Message("user", prompt.fill(**values))
        return Request((message,), self.solver.sampling, len(way.samples), prompt.sha256, self.solver.logprobs)


def listing(history: History) -> str:
    """Numbered lines of sub-questions with their answers, each line ended; empty where nothing is known."""
    return "".join(f"{i}. {subquestion} {answer}\n" for i, (subquestion, answer) in enumerate(history, 1))


def _ask(
    questions: Sequence[Question], ways: Sequence[_Branch], asker: Asker, spent: Sequence[_Spent]
) -> tuple[list[tuple[_Branch, str]], list[_Branch]]:
    """The ways that go on, each with its next sub-question, and those that are at their end."""
    if not ways:
        return [], []
    made = asker([questions[way.question] for way in ways], [way.history for way in ways])
    on, ended = [], []
    for way, one in zip(ways, made, strict=True):
        if one.was_tried:
            spent[way.question].asking.append((one.usage,))
        kind = way.kind if way.history else one.kind  # what became of the first turn
        failed = one.kind == FAILURE
        after = replace(way, said=(*way.said, *([one.text] if one.text else [])), kind=kind, failed=failed)
        if one.subquestions:
            on.append((after, one.subquestions[0]))
        else:
            ended.append(after)
    return on, ended


def short_answer(solution: Solution) -> str:
    """What the next turn is told."""
    return " ".join(harmless(solution.answer or solution.text).split())[:_LONGEST]


def _decomposition(way: _Branch, asking: Sequence[tuple[Usage, ...]]) -> Decomposition:
    subquestions = tuple(answered.subquestion for answered in way.history)
    return Decomposition(
        subquestions, way.kind, "\n".join(way.said), sum((u for call in asking for u in call), Usage())
    )
