"""How servers are told whether a model is to think."""

from __future__ import annotations

from typing import Any

import pytest

from divcon.core.errors import ConfigError
from divcon.lm import Message, Request, SampleRequest
from divcon.lm.api.options import ApiOptions
from divcon.lm.api.spec import ApiSpec
from divcon.lm.api.thinking import style_of
from divcon.lm.cost.prices import Price
from divcon.lm.types import Thinking

OFF, ON, LOW, BUDGET = Thinking(False), Thinking(True), Thinking(True, effort="low"), Thinking(True, budget=100)


def body(url: str, thinking: Thinking | None, **options: Any) -> dict[str, Any]:
    request = Request((Message("user", "How many?"),), thinking=None)
    if thinking:
        request = request.thought_about(thinking)
    return ApiSpec("m", base_url=url, options=ApiOptions(**options)).body([SampleRequest(request, 0, "0" * 64)])


@pytest.mark.parametrize(
    ("url", "thinking", "fields"),
    [
        ("https://api.openai.com/v1", LOW, {"reasoning_effort": "low"}),
        ("https://api.openai.com/v1", OFF, {"reasoning_effort": "none"}),
        ("https://x.openai.azure.com/openai/v1", LOW, {"reasoning_effort": "low"}),
        ("https://api.anthropic.com/v1", BUDGET, {"thinking": {"type": "enabled", "budget_tokens": 100}}),
        ("https://api.anthropic.com/v1", OFF, {"thinking": {"type": "disabled"}}),
        ("https://api.deepseek.com/v1", LOW, {"thinking": {"type": "enabled"}, "reasoning_effort": "low"}),
        ("https://openrouter.ai/api/v1", BUDGET, {"reasoning": {"max_tokens": 100}}),
        ("https://openrouter.ai/api/v1", OFF, {"reasoning": {"enabled": False}}),
        ("https://generativelanguage.googleapis.com/v1beta/openai", OFF, {"reasoning_effort": "none"}),
        ("https://dashscope.aliyuncs.com/v1", BUDGET, {"enable_thinking": True, "thinking_budget": 100}),
        ("http://127.0.0.1:11434/v1", OFF, {"reasoning_effort": "none"}),
        ("http://127.0.0.1:8000/v1", OFF, {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
    ],
)
def test_each_server_is_told_in_its_own_words(url: str, thinking: Thinking, fields: dict[str, Any]) -> None:
    found = body(url, thinking)
    assert {name: found[name] for name in fields} == fields
    assert set(found) - set(fields) == set(body(url, None))  # and nobody is told anything who need not be


@pytest.mark.parametrize(("url", "thinking"), [("https://api.openai.com/v1", BUDGET), ("https://api.z.ai/v1", LOW)])
def test_what_cannot_be_said_is_refused_with_what_can(url: str, thinking: Thinking) -> None:
    with pytest.raises(ConfigError, match="say thinking: "):
        body(url, thinking)


def test_a_host_that_only_ends_alike_is_another() -> None:
    assert style_of("https://notopenrouter.ai/v1") == "chat_template_kwargs"
    assert style_of("https://eu.openrouter.ai/v1") == "reasoning"


def test_a_style_can_be_chosen_and_parameters_dropped_and_added() -> None:
    found = body("http://127.0.0.1:9/v1", OFF, thinking_style="reasoning_effort", drop=("temperature",))
    assert found["reasoning_effort"] == "none" and "temperature" not in found and "top_p" in found
    assert body("http://127.0.0.1:9/v1", None, extra_body={"top_k": 3})["top_k"] == 3


def test_a_budget_of_reasoning_is_reserved_with_the_reply() -> None:
    price = Price(prompt=1.0, completion=10.0)
    plain = Request((Message("user", "How many?"),))
    spec = ApiSpec("m", base_url="http://127.0.0.1:9/v1", price=price)
    quotes = [spec.quote([SampleRequest(one, 0, "0" * 64)]) for one in (plain, plain.thought_about(BUDGET))]
    assert quotes[0] and quotes[1]
    assert quotes[1].dollars - quotes[0].dollars == pytest.approx(100 * 10.0 / 1e6)


def test_what_is_asked_otherwise_has_another_name_and_as_usual_the_old_one() -> None:
    def revision(**options: Any) -> str:
        return ApiSpec("m", base_url="http://127.0.0.1:9/v1", options=ApiOptions(**options)).revision

    assert revision() == revision(extra_headers={"x-a": "b"}, api_version="2025") == ""
    assert len({revision(), revision(drop=("seed",)), revision(extra_body={"top_k": 3})}) == 3
