"""What is asked of a language model, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from .reasoning import split

Role = Literal["system", "user", "assistant"]


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    content: str


def with_suffix(messages: tuple[Message, ...], sentence: str) -> tuple[Message, ...]:
    """A conversation with a sentence behind its last turn."""
    *before, last = messages
    return (*before, last._replace(content=f"{last.content}\n{sentence}"))


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, and when to stop."""

    temperature: float = 0.0
    """0 is greedy decoding."""
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    """Strings that end a completion; they are not part of its text."""


GREEDY = Sampling()

Effort = Literal["minimal", "low", "medium", "high"]


@dataclass(frozen=True)
class Thinking:
    """Whether a model thinks before it replies, and how much."""

    on: bool
    budget: int | None = None
    """Tokens of reasoning at most; a request's `max_tokens` then holds for the reply alone."""
    effort: Effort | None = None
    """For models that take a word in place of a number."""

    def __str__(self) -> str:
        if self.budget is not None:
            return f"budget {self.budget}"
        return f"effort {self.effort}" if self.effort else "on" if self.on else "off"


@dataclass(frozen=True)
class Request:
    """A conversation to be continued `n` times."""

    messages: tuple[Message, ...]
    sampling: Sampling = GREEDY
    n: int = 1
    template: str = ""
    """SHA-256 of the prompt template, so that an edited prompt never meets an old sample."""
    logprobs: bool = False
    """Whether to return the log-probability of every completion token, under the model itself (temperature 1)."""
    thinking: Thinking | None = None
    """None leaves it to the model."""

    def with_thinking(self, thinking: Thinking) -> Request:
        """The same, with reasoning before the reply as is said; a budget of reasoning adds to the limit of tokens."""
        limit = self.sampling.max_tokens + (thinking.budget or 0)
        return replace(self, thinking=thinking, sampling=replace(self.sampling, max_tokens=limit))


@dataclass(frozen=True)
class SampleRequest:
    """One of the samples of a request: the unit that is generated, paid for and kept."""

    request: Request
    index: int
    key: str
    """The store's key; it also seeds the sample's randomness, wherever in a batch the sample stands."""

    @property
    def seed(self) -> int:
        """A 63-bit seed that depends on nothing but the key (which holds the study seed)."""
        return int(self.key[:16], 16) >> 1


@dataclass(frozen=True)
class Usage:
    """What one completion consumed."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """The part of `prompt_tokens` that the server read from its cache."""
    seconds: float = 0.0
    """Wall time; of a batch, each completion's equal share."""
    reasoning_tokens: int = 0
    """The part of `completion_tokens` that the model thought with and did not show."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.seconds + other.seconds,
            self.reasoning_tokens + other.reasoning_tokens,
        )


NO_USAGE = Usage()
"""Of what asked nobody."""


@dataclass(frozen=True)
class Completion:
    """One continuation of a conversation."""

    text: str
    """The reply, without what the model thought before it; empty where it never came to reply."""
    finish: str
    """Why it ended, in the words of the OpenAI API: `stop`, `length`, ..."""
    usage: Usage
    logprobs: tuple[float, ...] | None = None
    """One natural log-probability per completion token; None where it was not asked for or not offered."""
    self_certainty: float | None = None
    """Self-certainty: KL(uniform || prediction) in nats, averaged over tokens (Kang et al., 2025); None likewise."""
    reasoning: str | None = None
    """What the model thought before it replied, as far as that was shown; None where there was nothing."""

    @classmethod
    def failed(cls) -> Completion:
        """What a request that can never succeed brings: nothing that could be right or wrong."""
        return cls("", FAILED, Usage())

    @property
    def has_failed(self) -> bool:
        """Whether nobody knows what the model would have said."""
        return self.finish == FAILED

    @classmethod
    def read(
        cls,
        text: str,
        finish: str,
        usage: Usage,
        logprobs: tuple[float, ...] | None = None,
        self_certainty: float | None = None,
        reasoning: str | None = None,
    ) -> Completion:
        """A completion from all that a model wrote. `reasoning` is what a server sent in a field of its own.

        Where nobody counted the tokens of the reasoning, they are its share of the text's characters.
        """
        found = split(text)
        thought = "\n".join(part.strip() for part in (reasoning, found.reasoning) if part and part.strip()) or None
        if thought is not None and not usage.reasoning_tokens:
            usage = replace(usage, reasoning_tokens=_share(usage.completion_tokens, thought, found.reply))
        return cls(found.reply, finish, usage, logprobs, self_certainty, thought)


def _share(tokens: int, thought: str, reply: str) -> int:
    return round(tokens * len(thought) / (len(thought) + len(reply)))


FAILED = "failed"
"""The end of a completion that never began: its request was refused, and always would be. It is kept nowhere."""


def shared_prompt(usages: list[Usage]) -> Usage:
    """What k samples of one prompt consume together: the prompt once, and k completions."""
    total = sum(usages, Usage())
    first = usages[0] if usages else Usage()
    return replace(total, prompt_tokens=first.prompt_tokens, cached_tokens=first.cached_tokens)
