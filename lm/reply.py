"""What a chat-completions server sends back, read without trust: any field may be absent, absurd or of another type."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .completion import Completion, Usage
from .retry import CallError

_HALF = re.compile("[\ud800-\udfff]")
_ABSURD = 10**9
_FILTERED = "content_filter"


@dataclass(frozen=True)
class Reply:
    """The samples that one call brought, and what is billed for them."""

    completions: list[Completion]
    billed: list[Usage]
    """What each sample is billed: its own completion, and its share of the prompt that they have in common."""
    is_known: bool
    """Whether the server said how many tokens it billed; estimated otherwise."""


def read(content: str | bytes, asked: int, prompt: int, max_tokens: int, seconds: float) -> Reply:
    """A reply from a body with status 200 to a call for so many samples.

    `prompt` is about how many tokens were sent, for a server that does not say. Raises CallError when there is no
    sample in it.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CallError("an unreadable reply", billed="perhaps") from error
    found = body.get("choices") if isinstance(body, dict) else None
    choices = [choice for choice in found if _text(choice) is not None][:asked] if isinstance(found, list) else []
    if not choices:
        raise CallError("the reply held no text", billed="perhaps")
    texts = [_text(choice) or "" for choice in choices]
    logprobs = [_logprobs(choice) for choice in choices]
    said = usage(body.get("usage"), max_tokens * asked)
    shares = _shares(texts, logprobs, said.completion_tokens) if said else [len(text) // 4 + 1 for text in texts]
    whole = said or Usage(prompt)
    samples = [
        replace(whole, completion_tokens=share, seconds=seconds / len(choices), reasoning_tokens=thought)
        for share, thought in zip(shares, _split(whole.reasoning_tokens, shares), strict=True)
    ]
    return Reply(
        [
            Completion(text, str(choice.get("finish_reason") or "stop"), sample, log)
            for text, choice, sample, log in zip(texts, choices, samples, logprobs, strict=True)
        ],
        _billed(samples, whole),
        said is not None,
    )


def _text(choice: Any) -> str | None:
    """The text of a choice; a filtered one is an empty text, for it will be filtered again."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return None
    content = message.get("content")
    if content is None and choice.get("finish_reason") == _FILTERED:
        return ""
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", content) if isinstance(content, str) else None


def usage(found: Any, most: int = _ABSURD) -> Usage | None:
    """The tokens of a whole call; None when they are absent or cannot be true."""
    if not isinstance(found, dict):
        return None
    prompt, completion = _count(found.get("prompt_tokens")), _count(found.get("completion_tokens"))
    if prompt is None or completion is None or completion > 2 * most + 1024:
        return None
    cached = _count(_part(found, "prompt_tokens_details").get("cached_tokens")) or 0
    thought = _count(_part(found, "completion_tokens_details").get("reasoning_tokens")) or 0
    return Usage(prompt, completion, min(cached, prompt), reasoning_tokens=min(thought, completion))


def _part(found: dict[str, Any], name: str) -> dict[str, Any]:
    part = found.get(name)
    return part if isinstance(part, dict) else {}


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
