"""Chat-completions servers as providers have them: what each refuses, what it calls things, and where it thinks.

Every server gives the same replies to the same prompt. Those that think do so at length, and in a way that would be
read as sub-questions and answers by whoever reads it.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

THOUGHT = "1. Is this a trap?\n2. Should nobody read it?\nThe answer is 999999."
"""What no reader may take for a reply."""
KEY = "sk-of-the-tests"


@dataclass(frozen=True)
class Style:
    """One provider."""

    refuses: Mapping[str, str] = field(default_factory=dict)
    """Fields that are answered with 400, and the words."""
    one: bool = False
    """Whether `n` is passed over in silence."""
    thinks: str = ""
    """Where the reasoning stands: a field of the message, `marks`, `closing`, `harmony`, `parts`, or nowhere."""
    hidden: bool = False
    """Whether reasoning is billed and not shown."""
    azure: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What a config says to ask it."""
    thinking: tuple[str, ...] = ()
    """The fields in which it is told how to think: required, and no other is taken."""


_NO = "Unsupported parameter: '{}' is not supported with this model."
_ONLY = "Unsupported value: '{}' does not support 0 with this model. Only the default (1) value is supported."
_RENAMED = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
_O_SERIES = {"temperature": _ONLY, "top_p": _NO, "max_tokens": _RENAMED}
_DROPPED: dict[str, Any] = {"drop": ["temperature", "top_p"], "tokens_key": "max_completion_tokens"}

_KNOWN = {
    *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "n", "stop"),
    *("stream", "stream_options", "logprobs"),
}
"""Fields that every server takes, unless it refuses them."""


def _thinks(said: Any, style: str) -> dict[str, Any]:
    return {"thinking": said, "thinking_style": style}


_LOW = _thinks({"effort": "low"}, "reasoning_effort")
_TEMPLATE: dict[str, Any] = {"settings": _thinks("on", "chat_template_kwargs"), "thinking": ("chat_template_kwargs",)}

STYLES: Mapping[str, Style] = {
    "plain": Style(),
    "openai-o": Style(_O_SERIES, hidden=True, settings={**_DROPPED, **_LOW}, thinking=("reasoning_effort",)),
    "azure": Style(
        _O_SERIES,
        hidden=True,
        azure=True,
        settings={**_DROPPED, **_LOW, "api_version": "2025-04-01-preview"},
        thinking=("reasoning_effort",),
    ),
    "anthropic": Style(
        {"n": "n: must be 1: 'n' is not supported"},
        hidden=True,
        settings=_thinks({"budget": 1024}, "anthropic"),
        thinking=("thinking",),
    ),
    "gemini": Style(
        {"logprobs": _NO}, thinks="thought", settings=_thinks({"budget": 64}, "gemini"), thinking=("extra_body",)
    ),
    "openrouter": Style(thinks="reasoning", settings=_thinks({"effort": "low"}, "reasoning"), thinking=("reasoning",)),
    "deepseek": Style(thinks="reasoning_content", settings=_thinks("on", "deepseek"), thinking=("thinking",)),
    "dashscope": Style(
        thinks="reasoning_content",
        settings=_thinks({"budget": 64}, "enable_thinking"),
        thinking=("enable_thinking", "thinking_budget"),
    ),
    "z.ai": Style(thinks="reasoning_content", settings=_thinks("on", "thinking"), thinking=("thinking",)),
    "vllm": Style(thinks="reasoning_content", **_TEMPLATE),
    "sglang": Style(thinks="closing", **_TEMPLATE),
    "ollama": Style(one=True, thinks="reasoning", settings=_LOW, thinking=("reasoning_effort",)),
    "llama.cpp": Style(one=True, thinks="reasoning_content", **_TEMPLATE),
    "lm-studio": Style(one=True, thinks="marks"),
    "gpt-oss": Style(
        thinks="harmony",
        settings=_thinks({"effort": "low"}, "chat_template_kwargs"),
        thinking=("chat_template_kwargs", "reasoning_effort"),
    ),
    "mistral": Style(thinks="parts"),
}


def replied(prompt: str) -> str:
    """What every model says to a prompt: sub-questions where they are asked for, else a solution."""
    number = int(hashlib.sha256(prompt.encode()).hexdigest()[:4], 16) % 50
    if "Which one further sub-question" in prompt:
        return f"How many of the {number} are there now?"
    if "Do not answer them" in prompt:
        return f"1. How many are there at first?\n2. How many are left of {number}?"
    return f"There are {number} left.\nThe answer is {number}."


class Server:
    """A running server, and what it was asked."""

    def __init__(self, style: Style) -> None:
        self.style = style
        self.bodies: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.url = ""

    def answer(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        """A status and a body."""
        parts = urlsplit(path)
        if self.style.azure and (parse_qs(parts.query).get("api-version") is None or headers.get("api-key") != KEY):
            return 401, {"error": {"message": "no api-version, or no key in api-key", "code": "401"}}
        for name, words in self.style.refuses.items():
            if body.get(name) is not None and (name != "n" or body[name] > 1):
                self.refused.append(name)
                told = {"message": words.format(name), "param": name, "code": "unsupported_parameter"}
                return 400, {"error": told | {"type": "invalid_request_error"}}
        if unknown := sorted(body.keys() - _KNOWN - set(self.style.thinking)):
            self.refused.append(unknown[0])
            return 400, {"error": {"message": f"Unrecognized request argument supplied: {unknown[0]}"}}
        self.bodies.append(body)
        text = replied("\n".join(_content(message) for message in body["messages"]))
        n = 1 if self.style.one else body.get("n") or 1
        message = self._message(text)
        choices = [{"index": i, "finish_reason": "stop", "message": message} for i in range(n)]
        return 200, {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": choices} | {
            "usage": self._usage(body, text, n)
        }

    def _message(self, text: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        match self.style.thinks:
            case "" if not self.style.hidden:
                return message
            case "marks":
                return message | {"content": f"<think>\n{THOUGHT}\n</think>\n\n{text}"}
            case "thought":
                return message | {"content": f"<thought>{THOUGHT}</thought>{text}"}
            case "closing":
                return message | {"content": f"{THOUGHT}\n</think>\n\n{text}"}
            case "harmony":
                said = (
                    f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{text}"
                )
                return message | {"content": said}
            case "parts":
                part = {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}
                return message | {"content": [part, {"type": "text", "text": text}]}
            case "reasoning" | "reasoning_content":
                return message | {self.style.thinks: THOUGHT}
        return message

    def _usage(self, body: Mapping[str, Any], text: str, n: int) -> dict[str, Any]:
        thinks = bool(self.style.thinks or self.style.hidden)
        sent = sum(len(_content(message)) for message in body["messages"]) // 4 + 4
        thought = n * (len(THOUGHT) // 4) if thinks else 0
        written = n * (len(text) // 4 + 1) + thought
        details = {"completion_tokens_details": {"reasoning_tokens": thought}} if thinks else {}
        return {"prompt_tokens": sent, "completion_tokens": written, "total_tokens": sent + written, **details}


def _content(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def chunks(reply: Mapping[str, Any], size: int = 7) -> Iterator[dict[str, Any]]:
    """A completion as a stream, its texts cut anywhere."""
    head = {key: reply[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    for choice in reply["choices"]:
        message, index = choice["message"], choice["index"]
        for name in ("reasoning_content", "reasoning", "content"):
            for piece in _pieces(message.get(name) or "", size):
                yield {**head, "choices": [{"index": index, "delta": {name: piece}, "finish_reason": None}]}
        yield {**head, "choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]}
    yield {**head, "choices": [], "usage": reply["usage"]}


def _pieces(content: Any, size: int) -> Iterator[Any]:
    """Pieces of a text, or of a list of parts: each as one part."""
    if isinstance(content, str):
        yield from re.findall(rf"(?s).{{1,{size}}}", content)
        return
    for part in content:
        key = part["type"]
        for piece in re.findall(rf"(?s).{{1,{size}}}", _content({"content": part[key]})):
            yield [{"type": key, key: piece if key == "text" else [{"type": "text", "text": piece}]}]


@contextmanager
def serving(style: str) -> Iterator[Server]:
    """A server on the loopback interface."""
    server = Server(STYLES[style])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, reply = server.answer(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            if status == 200 and body.get("stream"):
                events = [json.dumps(chunk) for chunk in chunks(reply)]
                self._send(status, "text/event-stream", "".join(f"data: {e}\n\n" for e in [*events, "[DONE]"]))
            else:
                self._send(status, "application/json", json.dumps(reply))

        def _send(self, status: int, kind: str, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    path = "/openai/deployments/m" if server.style.azure else "/v1"
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}{path}"
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
