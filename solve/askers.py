"""Who asks one sub-question at a time: a model, or a plan that is there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..decompose.decomposition import FAILURE, Decomposition, parse
from ..decompose.prompted import PromptedDecomposer
from ..lm.types import Completion, Message, Request, Usage
from ..prompts import Prompt
from ..tasks.question import Question
from .policy import History, listing

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
        asked = self.prompt.fill(**question.values(self.prompt.text), answered=listing(history))
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
