"""A decomposition, what makes one, and how one is read from text and written as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..lm import Usage
from ..lm.without import Without
from ..tasks import Question

Kind = Literal["asked", "not needed", "unreadable", "given", "not tried", "direct", "empty"]
"""What came of decomposing. For the last four nobody was asked, and they cost nothing: the data set has the
sub-questions, the solver thinks for itself, is to answer at once, or is asked for sub-answers to no sub-question."""
Stage = Literal["solve", "single_stage", "direct"]
"""Which of a solver's prompts a question is asked with."""

NOT_NEEDED = "No decomposition."
"""What a decomposer says when the question can be answered at once."""

_MARKER = re.compile(r"^(?:\(?\d{1,2}[.):]|[-*•]|[Qq]uestion\s*\d{1,2}\s*[.):]|[Qq]\d{1,2}\s*[.):])\s*")
_CONTROL = Without(
    r"""(?xi:
      <\|"\|> | <\|/?[^\W\d_]{2}[\w▁.:/-]{1,40}\|>  # ChatML, Llama 3, Phi, Qwen, gpt-oss, Command
    | <\|[a-z]\w{2,30}> | <[a-z]\w{2,30}\|>  # Gemma 4
    | </?\uff5c[^<>\n]{1,80}>  # DeepSeek, with a fullwidth bar
    | <</?SYS>> | \[/?INST\] | </?(?-i:s)>  # Llama 2, Mistral
    | \[/?(?:AVAILABLE_TOOLS|TOOL_(?:CALLS|RESULTS|CONTENT)|SYSTEM_PROMPT|MODEL_SETTINGS|CALL_ID)\]
    | \[(?:IMG_BREAK|IMG_END|BEGIN_AUDIO)\] | \[/?(?-i:THINK|ARGS|IMG|AUDIO|TRANSCRIBE|PREFIX|MIDDLE|SUFFIX)\]
    | </?(?:\w{1,12}:)?(?:bos|eos|pad|unk|mask|sep|cls|sop|eop|eot|eod|think|thinking)(?:_token|_id)?>
    | <(?:begin|start|end)_of_[a-z]{2,20}> | <(?:image|video|audio)(?:_soft_token)?>  # Gemma
    | <(?:unused|reserved|special|extra_id)_?\d{1,4}> | <fim[_-](?:prefix|middle|suffix|pad)> | \[[gs](?-i:MASK)\]
    | </?(?:\w{1,12}:)?(?:tools?|functions?|(?:tool|function)_(?:call|use|result|response|output)s?
        |invoke|parameters?|arg_(?:key|value))(?:(?:\s+\w{1,12})?=[^<>\n]{0,60})?>  # Qwen, Hermes, GLM, DeepSeek
    | \]~!?b[\[\]] | \[e~\[ | \]!p~\[ | \]<\][a-z\ ]{2,30}\[>\[  # MiniMax
    )""",
    longest=130,
    closing=">][",
)
"""Drops the control tokens of the chat formats in use. The text goes into another model's prompt, where they must not
act; an engine on this machine drops its tokenizer's own besides. What mathematics writes alike stays: `<|x|>`, `|x|`,
`a < b | c > d`, `[A]`, `<S>`."""


@dataclass(frozen=True)
class Decomposition:
    """The sub-questions of one question."""

    subquestions: tuple[str, ...]
    """Empty when none are needed or none could be read; a solver then answers in a single stage."""
    kind: Kind
    text: str
    """What the decomposer wrote."""
    usage: Usage

    @property
    def was_tried(self) -> bool:
        """Whether anybody was asked for it."""
        return self.kind not in ("given", "not tried", "direct", "empty")

    @property
    def stage(self) -> Stage:
        """What the solver is asked with."""
        if self.subquestions or self.kind == "empty":
            return "solve"
        return "direct" if self.kind == "direct" else "single_stage"

    @property
    def listing(self) -> str:
        """The sub-questions as a solver reads them and as a student learns to write them."""
        return listing(self.subquestions)


class Decomposer(Protocol):
    """Anything that decomposes: a distilled student, a base model, an API, or ten lines of your own."""

    def __call__(self, questions: Sequence[Question]) -> list[Decomposition]:
        """One decomposition a question, in order."""
        ...


def none(questions: Sequence[Question]) -> list[Decomposition]:
    """The decomposer that asks nothing and costs nothing: every question goes to the solver whole."""
    return [Decomposition((), "not tried", "", Usage()) for _ in questions]


def listing(subquestions: Sequence[str]) -> str:
    """Numbered lines, or the sentence that none are needed."""
    return "\n".join(f"{i}. {s}" for i, s in enumerate(subquestions, 1)) or NOT_NEEDED


def harmless(text: str) -> str:
    """A model's text without control tokens, to be put into another's prompt; also without those that dropping one
    would leave."""
    return _CONTROL(text)


def parse(text: str, limit: int) -> tuple[tuple[str, ...], Kind]:
    """At most `limit` sub-questions from numbered, bulleted or plain lines that hold a question.

    A line without a question mark is commentary, and one about the "main question" repeats the task
    (Divide-or-Conquer, official code). A repeated sub-question counts once.
    """
    text = harmless(text)
    lines = [_MARKER.sub("", line.strip().strip("*_").strip()).strip("*_ ") for line in text.splitlines()]
    asked = dict.fromkeys(line for line in lines if "?" in line and "main question" not in line.lower())
    if asked:
        return tuple(asked)[:limit], "asked"
    return (), "not needed" if "no decomposition" in text.lower() else "unreadable"
