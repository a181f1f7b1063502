"""What a chat-completions server sends back, read without trust: any field may be absent, absurd or of another type."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from ...core.strip import strip_surrogates
from ..reasoning_tags import REASONING_FIELDS
from ..types import FAILED, Completion, Usage
from .retry import CallError

_ABSURD = 10**9
_UNPAYABLE = 1e15
"""Tokens above which a statement is noise, and no bound of a bill."""
_LONGEST_THOUGHT = 10**6
"""Tokens of reasoning in one call at most."""
_FILTERED = "content_filter"
_DENSE = 16
"""Characters that the tokens of a text have at most on average; four are usual."""
_STATED = re.compile(
    r'"(prompt|input|completion|output|reasoning|total)_tokens"\s*:\s*"?(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)'
)


@dataclass(frozen=True)
class Reply:
    """The samples that one call brought, and what is billed for them."""

    completions: list[Completion]
    billed: list[Usage]
    """What each sample is billed: its own completion, and its share of the prompt that they have in common."""
    is_known: bool
    """Whether the server said how many tokens it billed, and can be believed; estimated otherwise."""
    stated: Usage | None = None
    """The most tokens that the server speaks of, where it cannot be believed."""
    beyond: int = 0
    """Completion tokens that were made beyond those that were asked for, at most; counted where `is_known` is not."""


def read(content: str | bytes, asked: int, prompt: int, max_tokens: int, seconds: float) -> Reply:
    """A reply from a body with status 200 to a call for so many samples.

    `prompt` is about how many tokens were sent, for a server that does not say. Raises CallError when there is no
    sample in it.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CallError("an unreadable reply", billed="perhaps", stated=stated(content)) from error
    found = body.get("choices") if isinstance(body, dict) else None
    messages = [message for choice in found if (message := _message(choice))] if isinstance(found, list) else []
    if not messages:
        raise CallError("the reply held no text", billed="perhaps", stated=stated(content))
    kept = messages[:asked]
    choices = [message.choice for message in kept]
    texts = [message.written for message in kept]
    logprobs = [_logprobs(choice) for choice in choices]
    count = max(asked, len(found or []))
    said = usage(body.get("usage"), max_tokens * count, prompt)
    if said and _is_too_few(said.completion_tokens, sum(len(message.written) for message in messages)):
        said = None
    shares = _shares(texts, logprobs, said.completion_tokens) if said else [len(text) // 4 + 1 for text in texts]
    whole = said or Usage(prompt)
    samples = [
        replace(whole, completion_tokens=share, seconds=seconds / len(choices), reasoning_tokens=thought)
        for share, thought in zip(shares, _split(whole.reasoning_tokens, shares), strict=True)
    ]
    return Reply(
        [
            Completion.read(message.text, message.finish, sample, log, reasoning=message.reasoning)
            for message, sample, log in zip(kept, samples, logprobs, strict=True)
        ],
        _billed(samples, whole),
        said is not None,
        None if said else stated(content),
        max_tokens * (count - asked) + sum(_overlong(message.written, max_tokens) for message in messages),
    )


@dataclass(frozen=True)
class _Message:
    """What one choice says."""

    choice: dict[str, Any]
    text: str
    """Empty where it says nothing: it was cut off while it thought, was filtered, or calls a tool."""
    reasoning: str | None
    finish: str

    @property
    def written(self) -> str:
        """All of it, whose length tells of its tokens."""
        return f"{self.reasoning or ''}{self.text}"


def _message(choice: Any) -> _Message | None:
    """The message of a choice; None where there is none, and the server may have one another time.

    A choice that says why it ended is complete, also without a text.
    """
    if not isinstance(choice, dict):
        return None
    finish = _finish(choice.get("finish_reason"))
    message = choice.get("message")
    if message is None and finish in (_FILTERED, "length"):
        message = {}
    if not isinstance(message, dict) or not isinstance(message.get("content"), str | list | None):
        return None
    if not (_SAID & message.keys() or finish):
        return None
    text, thought = text_and_reasoning(message)
    if not text and is_refusal(message):
        finish = REFUSED
    return _Message(choice, text, thought, finish or "stop")


def _finish(found: Any) -> str:
    """Why a completion ended, in the words of the OpenAI API; empty where nobody says."""
    if not isinstance(found, str):
        return ""
    return "error" if found == FAILED else _FINISHES.get(found, found)


def text_and_reasoning(message: Mapping[str, Any]) -> tuple[str, str | None]:
    """What a message says, and the reasoning that its server sent apart, in whichever field.

    It may also be what a chunk of a stream adds to a message: blanks are kept. Tags within the text are for
    `lm.reasoning` to read. A refusal is no text: nobody is to read an answer in it.
    """
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    text = "".join(_texts(part) for part in parts if not is_reasoning(part))
    sent = (value for name in REASONING_FIELDS if isinstance(value := message.get(name), str))
    thoughts = [next((value for value in sent if value.strip()), "")]
    thoughts += [_texts(part) for part in parts if is_reasoning(part)]
    thought = "\n".join(filter(None, thoughts))
    return strip_surrogates(text), strip_surrogates(thought) or None


def is_reasoning(part: Any) -> bool:
    """Whether a part of a message's content is reasoning."""
    return isinstance(part, dict) and part.get("type") in _REASONING_PARTS


def is_refusal(message: Mapping[str, Any]) -> bool:
    """Whether a message says, in the field for it, that nothing will be said."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    refused = any(isinstance(part, dict) and part.get("type") == "refusal" for part in parts)
    return refused or (isinstance(message.get("refusal"), str) and bool(message["refusal"]))


REFUSED = "refusal"
"""Why a completion ended that says nothing because the model refuses."""
_FINISHES = {"max_tokens": "length", "MAX_TOKENS": "length", "model_length": "length", "STOP": "stop", "eos": "stop"}
"""What servers call the ends of completions otherwise than the OpenAI API does."""
_SAID = frozenset({"content", "refusal", "tool_calls", *REASONING_FIELDS})
_TEXT_PARTS = ("text", "output_text")
_REASONING_PARTS = ("thinking", "reasoning")


def _texts(part: Any) -> str:
    """The text of a part, whose reasoning may have parts of its own (Mistral). Empty for a picture, or a refusal."""
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "".join(map(_texts, part))
    if not isinstance(part, dict) or part.get("type", "text") not in (*_TEXT_PARTS, *_REASONING_PARTS):
        return ""
    return _texts(next((part[name] for name in ("text", "thinking", "reasoning") if part.get(name)), ""))


def usage(found: Any, most: int = _ABSURD, prompt: int | None = None) -> Usage | None:
    """The tokens of a whole call; None when they are absent or cannot be true.

    `most` is how many completion tokens were asked for, which reasoning may pass; `prompt` is about how many were sent.
    """
    if not isinstance(found, dict):
        return None
    sent, written = _count(found.get("prompt_tokens")), _count(found.get("completion_tokens"))
    cached = _optional(_part(found, "prompt_tokens_details"), "cached_tokens")
    thought = _optional(_part(found, "completion_tokens_details"), "reasoning_tokens")
    total = _optional(found, "total_tokens")
    if sent is None or written is None or cached is None or thought is None or total is None:
        return None
    if total > sent + written:  # of a server that counts reasoning beside the completion, and bills both
        thought = max(thought, total - sent - written)
        written = total - sent
    if cached > sent or thought > written:
        return None
    if written - thought > 2 * most + 1024 or thought > _LONGEST_THOUGHT:
        return None
    if prompt is not None and not _is_about(sent, prompt):
        return None
    return Usage(sent, written, cached, reasoning_tokens=thought)


def stated(content: str | bytes) -> Usage | None:
    """The most tokens that a body speaks of, wherever it does, and whether or not they can be true.

    What a model wrote does not count: quotes inside a text are escaped. A stream repeats itself, other bodies add up.
    """
    text = content if isinstance(content, str) else content.decode(errors="replace")
    parts = [_spoken_of(part) for part in text.split("\ndata:")]
    prompt, completion = (max(part[i] for part in parts) for i in (0, 1))
    return Usage(prompt, completion) if prompt or completion else None


def _spoken_of(text: str) -> tuple[int, int]:
    """The prompt and completion tokens in a text that need not be JSON."""
    counts: Counter[str] = Counter()
    for kind, value in _STATED.findall(text):
        if (tokens := float(value)) <= _UNPAYABLE:
            counts[kind] += ceil(tokens)
    prompt = max(counts["prompt"], counts["input"])
    written = max(counts["completion"], counts["output"]) + counts["reasoning"]
    return prompt, max(written, counts["total"] - prompt)


def _is_about(sent: int, prompt: int) -> bool:
    """Whether so many tokens may have been counted of a prompt that is estimated by four characters a token."""
    return max(1, (prompt - 8) // (_DENSE // 4)) <= sent <= 32 * prompt + 1024


def _is_too_few(tokens: int, characters: int) -> bool:
    return tokens * _DENSE < characters


def _overlong(text: str, max_tokens: int) -> int:
    """Tokens above the limit in a text that cannot have kept to it, at most: one a byte."""
    size = len(text.encode())
    return max(0, size - max_tokens) if _is_too_few(max_tokens, size) else 0


def _part(found: dict[str, Any], name: str) -> dict[str, Any]:
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def _optional(found: dict[str, Any], name: str) -> int | None:
    """A count that may be absent; None when it is there and makes no sense."""
    value = found.get(name)
    return 0 if value is None else _count(value)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _ABSURD else None


def _logprobs(choice: dict[str, Any]) -> tuple[float, ...] | None:
    content = (choice.get("logprobs") or {}).get("content")
    if not isinstance(content, list):
        return None
    values = [token.get("logprob") if isinstance(token, dict) else None for token in content]
    found = tuple(float(value) for value in values if isinstance(value, int | float))
    return found if len(found) == len(values) else None


def _shares(texts: Sequence[str], logprobs: Sequence[tuple[float, ...] | None], tokens: int) -> list[int]:
    """The tokens of each sample: counted where their log-probabilities came along, else by length of text."""
    counted = [len(log) if log is not None else 0 for log in logprobs]
    if sum(counted) == tokens and all(log is not None for log in logprobs):
        return counted
    return _split(tokens, [len(text) + 1 for text in texts])


def _split(amount: int, weights: Sequence[int]) -> list[int]:
    """An amount in whole parts as the weights are, which together are the amount."""
    total = sum(weights) or 1
    bounds = [amount * sum(weights[:i]) // total for i in range(len(weights))]
    return [high - low for low, high in zip(bounds, [*bounds[1:], amount], strict=True)]


def _billed(samples: Sequence[Usage], whole: Usage) -> list[Usage]:
    prompts = _split(whole.prompt_tokens, [1] * len(samples))
    cached = _split(whole.cached_tokens, [1] * len(samples))
    return [
        replace(sample, prompt_tokens=prompt, cached_tokens=from_cache)
        for sample, prompt, from_cache in zip(samples, prompts, cached, strict=True)
    ]
