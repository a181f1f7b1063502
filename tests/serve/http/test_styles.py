"""An endpoint before every provider's style of the API: replies in `content`, reasoning beside them."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from ...fakes import api_styles
from ...fakes.api_styles import KEY, STYLES, THOUGHT
from ...fakes.serving import serving

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "There are 3 pears. How many?"}]}
THINKING = ("thinking", "thinking_style")
"""Settings of a study's model, which an endpoint leaves to its clients."""
MARKED = ("lm-studio", "gemini", "gpt-oss", "mistral")
"""Those that think within the content of a reply."""


@pytest.mark.parametrize("style", STYLES)
def test_a_client_gets_the_reply_and_the_reasoning_apart(style: str) -> None:
    with api_styles.serving(style) as server:
        options = {name: json.dumps(value) for name, value in server.style.settings.items() if name not in THINKING}
        sets = {"upstream.url": server.url, "upstream.model": "m", "decomposer.path": "miniature/base"}
        sets |= {"vote.samples": "1", **{f"upstream.{name}": value for name, value in options.items()}}
        with (
            serving(sets=sets, variables={"OPENAI_API_KEY": KEY}) as endpoint,
            openai.OpenAI(base_url=endpoint.url, api_key="x", max_retries=0) as client,
        ):
            whole = client.chat.completions.create(**ASKED)
            voted = client.chat.completions.create(**ASKED, extra_body={"divcon": {"k": 3}})
            stream = client.chat.completions.create(**ASKED, stream=True)
            deltas = [choice.delta for chunk in stream for choice in chunk.choices]
        assert "trap" not in json.dumps(server.bodies)
    message = whole.choices[0].message
    heard = "".join(delta.content or "" for delta in deltas)
    thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert message.content and "trap" not in message.content
    assert "trap" not in str(voted.choices[0].message.content)
    if style == "sglang":  # a lone closing mark comes too late for what was heard already
        assert heard.endswith(message.content)
    else:
        assert heard == message.content
    if style in MARKED:
        assert thought == THOUGHT == message.model_extra["reasoning_content"]
