"""How servers are told whether a model is to think: each in fields of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from ...core.errors import ConfigError
from ..types import Thinking

ThinkingStyle = Literal[
    "reasoning_effort",
    "chat_template_kwargs",
    "reasoning",
    "thinking",
    "anthropic",
    "deepseek",
    "enable_thinking",
    "gemini",
]
Fields = dict[str, Any]

HOSTS: Mapping[str, ThinkingStyle] = {
    "api.openai.com": "reasoning_effort",
    "openai.azure.com": "reasoning_effort",
    "services.ai.azure.com": "reasoning_effort",
    "api.x.ai": "reasoning_effort",
    "api.groq.com": "reasoning_effort",
    "api.together.xyz": "reasoning_effort",
    "openrouter.ai": "reasoning",
    "api.anthropic.com": "anthropic",
    "api.deepseek.com": "deepseek",
    "api.z.ai": "thinking",
    "open.bigmodel.cn": "thinking",
    "api.moonshot.ai": "thinking",
    "aliyuncs.com": "enable_thinking",
    "siliconflow.cn": "enable_thinking",
    "generativelanguage.googleapis.com": "gemini",
}
"""By the end of a server's name."""


_OLLAMA = 11434
"""The port that it listens on, unless it is told otherwise."""


def style_of(url: str) -> ThinkingStyle:
    """How the server at a URL is told."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    if parts.netloc.endswith(f":{_OLLAMA}"):
        return "reasoning_effort"
    found = next((style for end, style in HOSTS.items() if name == end or name.endswith(f".{end}")), None)
    return found or "chat_template_kwargs"


def fields(thinking: Thinking, style: ThinkingStyle) -> Fields:
    """What a request holds. Raises ConfigError for what cannot be said in a style."""
    return _STYLES[style](thinking)


def _effort(thinking: Thinking) -> Fields:
    """OpenAI, Azure, xAI, Groq: a word."""
    if thinking.budget is not None:
        raise ConfigError("this server takes no budget of reasoning: say thinking: {effort: low}, medium or high")
    if not thinking.on:
        return {"reasoning_effort": "none"}
    return {"reasoning_effort": thinking.effort} if thinking.effort else {}


def _template(thinking: Thinking) -> Fields:
    """vLLM, SGLang, llama.cpp: options of the chat template, by the two names that templates know."""
    options: Fields = {"enable_thinking": thinking.on, "thinking": thinking.on}
    told: Fields = {"chat_template_kwargs": options}
    if thinking.effort:
        options["reasoning_effort"] = told["reasoning_effort"] = thinking.effort
    if thinking.budget is not None:
        told["thinking_token_budget"] = thinking.budget
    return told


def _reasoning(thinking: Thinking) -> Fields:
    """OpenRouter."""
    if thinking.budget is not None:
        return {"reasoning": {"max_tokens": thinking.budget}}
    return {"reasoning": {"effort": thinking.effort} if thinking.effort else {"enabled": thinking.on}}


def _deepseek(thinking: Thinking) -> Fields:
    """DeepSeek: a switch, and a word beside it."""
    effort = _effort(thinking) if thinking.on else {}
    return {"thinking": {"type": "enabled" if thinking.on else "disabled"}, **effort}


def _thinking(thinking: Thinking) -> Fields:
    """Z.ai, Moonshot."""
    _refuse_effort(thinking)
    budget = {} if thinking.budget is None else {"budget_tokens": thinking.budget}
    return {"thinking": {"type": "enabled" if thinking.on else "disabled", **budget}}


def _anthropic(thinking: Thinking) -> Fields:
    """Anthropic, which does not think without a budget."""
    if thinking.on and thinking.budget is None and not thinking.effort:
        raise ConfigError("this server does not think without a budget: say thinking: {budget: 4096}, say, or off")
    return _thinking(thinking)


def _enable(thinking: Thinking) -> Fields:
    """Alibaba's DashScope, SiliconFlow."""
    _refuse_effort(thinking)
    budget = {} if thinking.budget is None else {"thinking_budget": thinking.budget}
    return {"enable_thinking": thinking.on, **budget}


def _refuse_effort(thinking: Thinking) -> None:
    if thinking.effort:
        raise ConfigError("this server takes no effort: say thinking: on, off or {budget: N}")


def _gemini(thinking: Thinking) -> Fields:
    """Google: a word, or a budget in a field of Google's own."""
    if thinking.budget is None:
        return _effort(thinking)
    config = {"thinking_budget": thinking.budget, "include_thoughts": True}
    return {"extra_body": {"google": {"thinking_config": config}}}


_STYLES: Mapping[ThinkingStyle, Callable[[Thinking], Fields]] = {
    "reasoning_effort": _effort,
    "chat_template_kwargs": _template,
    "reasoning": _reasoning,
    "thinking": _thinking,
    "anthropic": _anthropic,
    "deepseek": _deepseek,
    "enable_thinking": _enable,
    "gemini": _gemini,
}
