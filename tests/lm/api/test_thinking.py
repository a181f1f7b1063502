"""How servers are told whether a model is to think."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from divcon.core.errors import ConfigError
from divcon.lm import Message, Request, SampleRequest
from divcon.lm.api.options import ApiOptions
from divcon.lm.api.spec import ApiSpec
from divcon.lm.api.thinking import ThinkingStyle, style_of
from divcon.lm.cost.prices import Price
from divcon.lm.settings import OpenAISettings
from divcon.lm.types import Thinking

OFF, ON, LOW, BUDGET = Thinking(False), Thinking(True), Thinking(True, effort="low"), Thinking(True, budget=100)


def body(url: str, thinking: Thinking | None, **options: Any) -> dict[str, Any]:
    request = Request((Message("user", "How many?"),), thinking=None)
    if thinking:
        request = request.with_thinking(thinking)
    style = options.pop("thinking_style", None)
    spec = ApiSpec("m", base_url=url, options=ApiOptions(**options), thinking_style=style)
    return spec.body([SampleRequest(request, 0, "0" * 64)])


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
def test_thinking_is_sent_in_the_fields_of_each_server(url: str, thinking: Thinking, fields: dict[str, Any]) -> None:
    found = body(url, thinking)
    assert {name: found[name] for name in fields} == fields
    assert set(found) - set(fields) == set(body(url, None))  # and nothing else is sent


@pytest.mark.parametrize(
    ("url", "thinking"),
    [
        ("https://api.openai.com/v1", BUDGET),
        ("https://api.z.ai/v1", LOW),
        ("https://api.anthropic.com/v1", ON),  # does not think without a budget
        ("https://api.anthropic.com/v1", LOW),
    ],
)
def test_thinking_that_a_server_does_not_take_is_refused_with_what_it_takes(url: str, thinking: Thinking) -> None:
    with pytest.raises(ConfigError, match="say thinking: "):
        body(url, thinking)


def test_a_host_that_only_ends_alike_is_another() -> None:
    assert style_of("https://notopenrouter.ai/v1") == "chat_template_kwargs"
    assert style_of("https://eu.openrouter.ai/v1") == "reasoning"
    assert style_of("http://[::1]:port/v1") == "chat_template_kwargs"


def test_a_style_can_be_chosen_and_parameters_dropped_and_added() -> None:
    found = body("http://127.0.0.1:9/v1", OFF, thinking_style="reasoning_effort", drop=("temperature",))
    assert found["reasoning_effort"] == "none" and "temperature" not in found and "top_p" in found
    assert body("http://127.0.0.1:9/v1", None, extra_body={"top_k": 3})["top_k"] == 3


def test_fields_of_ones_own_are_merged_with_those_of_thinking() -> None:
    found = body("http://127.0.0.1:9/v1", OFF, extra_body={"chat_template_kwargs": {"tools": 1, "thinking": None}})
    assert found["chat_template_kwargs"] == {"enable_thinking": False, "thinking": None, "tools": 1}


def test_a_budget_of_reasoning_is_reserved_with_the_reply() -> None:
    price = Price(prompt=1.0, completion=10.0)
    plain = Request((Message("user", "How many?"),))
    spec = ApiSpec("m", base_url="http://127.0.0.1:9/v1", price=price)
    quotes = [spec.quote([SampleRequest(one, 0, "0" * 64)]) for one in (plain, plain.with_thinking(BUDGET))]
    assert quotes[0] and quotes[1]
    assert quotes[1].dollars - quotes[0].dollars == pytest.approx(100 * 10.0 / 1e6)


def test_what_is_asked_otherwise_has_another_name_and_as_usual_the_old_one() -> None:
    def revision(style: ThinkingStyle | None = None, **options: Any) -> str:
        spec = ApiSpec("m", base_url="http://127.0.0.1:9/v1", options=ApiOptions(**options), thinking_style=style)
        return spec.revision

    assert revision() == revision(extra_headers={"x-a": "b"}, api_version="2025") == ""
    assert len({revision(), revision("deepseek"), revision(drop=("seed",)), revision(extra_body={"top_k": 3})}) == 4


@pytest.mark.parametrize(
    ("said", "thinking"),
    [
        ("off", OFF),
        (False, OFF),
        ("on", ON),
        (True, ON),
        ({"budget": 100}, BUDGET),
        ({"effort": "low"}, LOW),
        (None, None),
    ],
    ids=str,
)
def test_a_setting_of_thinking_is_read_and_written_and_read_again(said: Any, thinking: Thinking | None) -> None:
    made = OpenAISettings(engine="openai", model="m", thinking=said)
    assert made.thinking == thinking
    assert OpenAISettings.model_validate(made.model_dump()).thinking == thinking


@pytest.mark.parametrize(
    "said",
    [
        *({"budget": value} for value in (True, None, 0, -5, 1.5, "many")),
        *({"effort": value} for value in (None, "much", 3)),
        {"budget": 5, "effort": "low"},
        {"on": False, "budget": 5, "effort": None},
        *({}, [], "maybe", 1, {"tokens": 5}),
    ],
    ids=str,
)
def test_what_is_no_setting_of_thinking_is_refused(said: Any) -> None:
    with pytest.raises(ValidationError, match="thinking"):
        OpenAISettings(engine="openai", model="m", thinking=said)
