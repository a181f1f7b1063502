"""Replies of chat-completions servers: every way to say nothing, and every place where reasoning may stand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from divcon.lm.api.response import read, text_and_reasoning
from divcon.lm.api.retry import CallError

USAGE = {"prompt_tokens": 10, "completion_tokens": 4}


def reply(*choices: Any) -> bytes:
    return json.dumps({"choices": choices, "usage": USAGE}).encode()


@pytest.mark.parametrize(
    ("choice", "finish"),
    [
        ({"message": {"role": "assistant"}, "finish_reason": "length"}, "length"),
        ({"message": {"role": "assistant"}, "finish_reason": "stop"}, "stop"),
        ({"message": {"content": None}}, "stop"),
        ({"message": {"content": ""}, "finish_reason": "MAX_TOKENS"}, "length"),
        ({"message": {"content": []}, "finish_reason": "stop"}, "stop"),
        ({"message": None, "finish_reason": "content_filter"}, "content_filter"),
        ({"finish_reason": "content_filter"}, "content_filter"),
        ({"finish_reason": "length"}, "length"),
        ({"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}, "refusal"),
        ({"message": {"content": [{"type": "refusal", "refusal": "No."}]}, "finish_reason": "stop"}, "refusal"),
        ({"message": {"content": None, "tool_calls": []}, "finish_reason": "tool_calls"}, "tool_calls"),
        ({"message": {"content": ""}, "finish_reason": "failed"}, "error"),
    ],
    ids=str,
)
def test_empty_replies_are_completed_samples(choice: dict[str, Any], finish: str) -> None:
    (made,) = read(reply(choice), 1, 10, 64, 0.0).completions
    assert (made.text, made.finish, made.has_failed) == ("", finish, False)
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (10, 4)


@pytest.mark.parametrize(
    "choice",
    [None, 1, "text", {}, {"message": {}}, {"message": {"content": 7}}, {"text": "4", "finish_reason": "stop"}],
)
def test_malformed_replies_are_retried(choice: Any) -> None:
    with pytest.raises(CallError) as error:
        read(reply(choice), 1, 10, 64, 0.0)
    assert error.value.again


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "4", "reasoning_content": "add"}, "4", "add"),
        ({"content": "4", "reasoning_content": "", "reasoning": "add"}, "4", "add"),
        ({"content": "4", "reasoning_content": None, "thinking": " add "}, "4", " add "),
        ({"content": ["2 + 2", " = 4"]}, "2 + 2 = 4", None),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "add"}]}, "4"]}, "4", "add"),
        ({"content": [{"type": "text", "text": "4"}, {"type": "image_url", "image_url": {"url": "x"}}]}, "4", None),
        ({"content": "\ud8004"}, "\ufffd4", None),
    ],
    ids=str,
)
def test_text_and_reasoning_are_found_wherever_a_server_puts_them(
    message: dict[str, Any], text: str, reasoning: str | None
) -> None:
    assert text_and_reasoning(message) == (text, reasoning)
