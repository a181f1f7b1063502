"""A decomposer that is a model and a prompt: prompted, few-shot, or distilled (the same prompt and an adapter)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..lm.model import Model, ProgressCallback, silent
from ..lm.types import Completion, Message, Request, Sampling
from ..prompts import Prompt
from ..tasks.question import Question
from .decomposition import FAILURE, Decomposition, listing, parse


@dataclass(frozen=True)
class PromptedDecomposer:
    """Asks a model for at most `limit` sub-questions."""

    model: Model
    prompt: Prompt
    """Takes `{question}`, and `{limit}` where it says how many may be asked."""
    limit: int
    sampling: Sampling
    examples: tuple[Question, ...] = ()
    """Worked examples shown first (few-shot); they need gold sub-questions."""
    advance: ProgressCallback = silent

    def __call__(self, questions: Sequence[Question]) -> list[Decomposition]:
        return [first for (first,) in self.sample(questions, 1)]

    def sample(self, questions: Sequence[Question], n: int) -> list[list[Decomposition]]:
        """`n` decompositions a question."""
        replies = self.model([self.request(question, n) for question in questions], self.advance)
        return [[self.read(completion) for completion in completions] for completions in replies]

    def request(self, question: Question, n: int = 1) -> Request:
        """What the model is sent; also what a student is trained on."""
        shown = [(self._ask(e), Message("assistant", listing(e.subquestions))) for e in self.examples]
        messages = (*(turn for pair in shown for turn in pair), self._ask(question))
        return Request(messages, self.sampling, n, self.prompt.sha256)

    def _ask(self, question: Question) -> Message:
        limit = {"limit": str(self.limit)} if "{limit}" in self.prompt.text else {}
        return Message("user", self.prompt.fill(**question.values(self.prompt.text), **limit))

    def read(self, made: Completion) -> Decomposition:
        """A decomposition from what the model wrote."""
        subquestions, kind = ((), FAILURE) if made.has_failed else parse(made.text, self.limit)
        return Decomposition(subquestions, kind, made.text, made.usage, made.reasoning)
