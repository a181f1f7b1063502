"""A solver that is a model and a family of prompts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..decompose.decomposition import Decomposition, Stage, listing
from ..lm.model import Model, ProgressCallback, silent
from ..lm.types import Completion, Message, Request, Sampling
from ..prompts import Prompt, PromptFamily
from ..tasks.question import Question
from .grading.grade import grader_of
from .solution import Solution


@dataclass(frozen=True)
class PromptedSolver:
    """Answers each sub-question, then the question; without sub-questions it answers in a single stage."""

    model: Model
    prompts: PromptFamily
    sampling: Sampling
    samples: int = 1
    examples: tuple[Question, ...] = ()
    """Worked examples shown first (few-shot); they need gold solutions."""
    advance: ProgressCallback = silent
    logprobs: bool = False
    """Whether to ask how probable each solution is."""

    def __call__(self, questions: Sequence[Question], decompositions: Sequence[Decomposition]) -> list[list[Solution]]:
        requests = [self.request(q, d.subquestions, d.stage) for q, d in zip(questions, decompositions, strict=True)]
        return [
            [read_solution(c, question) for c in reply]
            for question, reply in zip(questions, self.model(requests, self.advance), strict=True)
        ]

    def request(self, question: Question, subquestions: Sequence[str], stage: Stage | None = None) -> Request:
        """What the model is sent; also what a student is trained on. Without a stage, sub-questions decide it."""
        stage = stage or ("solve" if subquestions else "single_stage")
        of = self.prompts
        prompt = {"solve": of.solve, "single_stage": of.single_stage, "direct": of.direct}[stage]
        shown = [
            (_ask(prompt, e, e.subquestions), Message("assistant", _reply(e, stage, prompt))) for e in self.examples
        ]
        messages = (*(turn for pair in shown for turn in pair), _ask(prompt, question, subquestions))
        return Request(messages, self.sampling, self.samples, prompt.sha256, self.logprobs)


def _reply(example: Question, stage: Stage, prompt: Prompt) -> str:
    """An example's solution, its answer stated as the prompt wants it stated."""
    reply = f"The answer is: {example.answer}" if stage == "direct" else example.solution
    return _MARKED.sub(lambda found: f"\\boxed{{{found[1]}}}", reply) if "\\boxed" in prompt.text else reply


_MARKED = re.compile(r"The answer is: (.*)\Z")


def read_solution(completion: Completion, question: Question) -> Solution:
    """A completion as a solution of a question: its answer, and how probable it is."""
    read = Solution.read(
        completion.text, completion.usage, pattern=grader_of(question).pattern, cut=completion.finish == "length"
    )
    logprobs = completion.logprobs
    mean = sum(logprobs) / len(logprobs) if logprobs else None
    certainty = completion.self_certainty
    thought, failed = completion.reasoning, completion.has_failed
    return replace(read, logprob=mean, self_certainty=certainty, reasoning=thought, failed=failed)


def _ask(prompt: Prompt, question: Question, subquestions: Sequence[str]) -> Message:
    values = question.values(prompt.text)
    if "{subquestions}" in prompt.text:
        values["subquestions"] = listing(subquestions)
    return Message("user", prompt.fill(**values))
