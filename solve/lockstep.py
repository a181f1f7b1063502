"""Many questions worked by one policy in lock-step: what they all ask next is one call of each model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from ..decompose.decomposition import FAILURE, Decomposition, Kind
from ..lm.types import Completion, Message, Request, Usage
from ..tasks.question import Question
from .askers import Asker
from .policy import AnswerQuestion, AnswerSubquestion, NextSubquestion, Policy, PolicyStep, listing, replay, self_ask
from .prompted import PromptedSolver, read_solution
from .solution import UNKNOWN, Solution

Calls = tuple[tuple[Usage, ...], ...]
"""What each prompt's samples took."""


@dataclass(frozen=True)
class Transcript:
    """One question, worked in turns."""

    decomposition: Decomposition
    """What the first of its samples was asked, turn by turn."""
    solutions: tuple[Solution, ...]
    """Each with its own sub-questions and answers in its text; its usage is that of its last turn."""
    asking: Calls
    solving: Calls


@dataclass(frozen=True)
class _Branch:
    """Samples of one question that have heard the same so far."""

    question: int
    samples: tuple[int, ...]
    """Which of the question's samples."""
    step: PolicyStep
    """What is to be done next."""
    heard: tuple[object, ...] = ()
    said: tuple[str, ...] = ()
    """What the asker wrote, turn by turn."""
    kind: Kind = "not tried"
    """What became of the first turn."""

    @property
    def decomposition(self) -> tuple[tuple[str, ...], Kind, str]:
        """The sub-questions that it was asked, and how they were come by."""
        return tuple(answered.subquestion for answered in self.step.history), self.kind, "\n".join(self.said)


@dataclass
class _Work:
    """One question: its samples' solutions as they come, and what they took."""

    solutions: dict[int, Solution] = field(default_factory=dict)
    asking: list[tuple[Usage, ...]] = field(default_factory=list)
    solving: list[tuple[Usage, ...]] = field(default_factory=list)
    decomposition: tuple[tuple[str, ...], Kind, str] = ((), "not tried", "")
    """Of the first sample."""

    def end(self, branch: _Branch, solutions: Sequence[Solution]) -> None:
        """The branch's samples are at their end."""
        self.solutions.update(zip(branch.samples, solutions, strict=True))
        if 0 in branch.samples:
            self.decomposition = branch.decomposition

    def transcript(self) -> Transcript:
        usage = sum((usage for call in self.asking for usage in call), Usage())
        solutions = tuple(self.solutions[sample] for sample in sorted(self.solutions))
        return Transcript(Decomposition(*self.decomposition, usage), solutions, tuple(self.asking), tuple(self.solving))


@dataclass(frozen=True)
class InteractiveSolver:
    """Answers what a policy asks: a sub-question, then the next, at last the question."""

    solver: PromptedSolver
    """Its model, prompts, sampling and number of samples; it answers questions without any sub-question."""
    limit: int
    """Sub-questions at most."""
    policy: Policy = self_ask

    def __call__(self, questions: Sequence[Question], asker: Asker) -> list[Transcript]:
        """Every question worked, in order. Samples part where their steps do: only then is anybody asked twice.

        Answers to questions wait for one another, so that they are one call.
        """
        work = [_Work() for _ in questions]
        start = replay(self.policy, self.limit, ())
        assert not isinstance(start, Solution)
        going = [_Branch(i, tuple(range(self.solver.samples)), start) for i in range(len(questions))]
        while going:
            asking = [branch for branch in going if isinstance(branch.step, NextSubquestion)]
            answering = [branch for branch in going if isinstance(branch.step, AnswerSubquestion)]
            waiting = [branch for branch in going if isinstance(branch.step, AnswerQuestion)]
            if asking or answering:
                asked = self._ask(questions, asking, asker, work) if asking else []
                going = [*waiting, *asked, *self._answer(questions, answering, work)]
            else:
                waiting.sort(key=lambda branch: branch.question)
                going = self._answer(questions, waiting, work)
        return [one.transcript() for one in work]

    def _ask(
        self, questions: Sequence[Question], branches: Sequence[_Branch], asker: Asker, work: Sequence[_Work]
    ) -> list[_Branch]:
        """The branches after the next sub-question, if there is one; a question whose asker failed is at its end."""
        histories = [branch.step.history for branch in branches]
        going = []
        made = asker([questions[branch.question] for branch in branches], histories)
        for branch, one in zip(branches, made, strict=True):
            own = work[branch.question]
            if one.was_tried:
                own.asking.append((one.usage,))
            kind = branch.kind if branch.step.history else one.kind
            branch = replace(branch, said=(*branch.said, *([one.text] if one.text else [])), kind=kind)
            if one.kind == FAILURE:
                own.end(branch, [UNKNOWN] * len(branch.samples))
            else:
                going += self._after(own, branch, [next(iter(one.subquestions), None)] * len(branch.samples))
        return going

    def _answer(
        self, questions: Sequence[Question], branches: Sequence[_Branch], work: Sequence[_Work]
    ) -> list[_Branch]:
        """The branches after the solver's answers: as many as these lead to different steps."""
        requests = [self._request(questions[branch.question], branch) for branch in branches]
        going = []
        replies = self.solver.model(requests, self.solver.advance) if requests else []
        for branch, reply in zip(branches, replies, strict=True):
            own = work[branch.question]
            own.solving.append(tuple(completion.usage for completion in reply))
            going += self._after(own, branch, [self._read(questions, branch, completion) for completion in reply])
        return going

    def _read(self, questions: Sequence[Question], branch: _Branch, completion: Completion) -> Solution:
        """A solution; of the whole question, with what was answered before it in its text."""
        read = read_solution(completion, questions[branch.question])
        if isinstance(branch.step, AnswerQuestion):
            return replace(read, text=f"{listing(branch.step.history)}{read.text}")
        return read

    def _after(self, own: _Work, branch: _Branch, heard: Sequence[Hashable]) -> list[_Branch]:
        """The branches of samples that have heard this, in their order. Those that are at their end leave."""
        parted: dict[PolicyStep, _Branch] = {}
        steps = {one: replay(self.policy, self.limit, (*branch.heard, one)) for one in dict.fromkeys(heard)}
        for sample, one in zip(branch.samples, heard, strict=True):
            alone = replace(branch, samples=(sample,), heard=(*branch.heard, one))
            step = steps[one]
            if isinstance(step, Solution):
                own.end(alone, [step])
            elif isinstance(one, Solution) and one.failed:
                own.end(replace(alone, step=step), [UNKNOWN])
            else:
                first = parted.setdefault(step, replace(alone, samples=(), step=step))
                parted[step] = replace(first, samples=(*first.samples, sample))
        return list(parted.values())

    def _request(self, question: Question, branch: _Branch) -> Request:
        history, n = branch.step.history, len(branch.samples)
        answered = listing(history)
        if isinstance(branch.step, AnswerSubquestion):
            asked = f"{len(history) + 1}. {branch.step.subquestion}"
            prompt = self.solver.prompts.step
            text = prompt.fill(question=question.prompt, answered=answered, subquestion=asked)
        elif history:
            prompt = self.solver.prompts.finish
            text = prompt.fill(question=question.prompt, answered=answered)
        else:
            return replace(self.solver.request(question, ()), n=n)
        return Request((Message("user", text),), self.solver.sampling, n, prompt.sha256, self.solver.logprobs)
