"""An upstream that keeps every request it gets and answers as a test wants: the other side of a key's account."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

PROMPT, COMPLETION = 1.0, 10.0
"""Dollars per million tokens."""
PRICE = f"{{prompt: {PROMPT}, completion: {COMPLETION}}}"
TEXT = "Mia has nine pears left, since four times four less seven is nine. The answer is 9."


class Request(NamedTuple):
    """What arrived."""

    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content)
        return found


class Answer(NamedTuple):
    """What goes back."""

    content: bytes
    status: int = 200
    kind: str = "application/json"
    length: int | None = None
    """What is announced, where that is not what is sent."""


Reply = Callable[[dict[str, Any]], Answer]


@dataclass
class Billing:
    """A running upstream."""

    url: str
    reply: Reply
    """From a body to its answer; may be another for every test."""
    requests: list[Request] = field(default_factory=list)

    def bill(self) -> float:
        """Dollars for all that arrived: every byte is a prompt token, and every sample is written to its limit."""
        return sum(billed(request) for request in self.requests)


def billed(request: Request) -> float:
    limits = [request.body.get(name) or 0 for name in ("max_tokens", "max_completion_tokens")]
    completion = (max(limits) + reasoning(request.body)) * (request.body.get("n") or 1)
    return (len(request.content) * PROMPT + completion * COMPLETION) / 1e6


def reasoning(body: dict[str, Any]) -> float:
    """Tokens of reasoning that a request allows beside its limit: the largest budget that it names."""
    said = [body.get("thinking_budget"), body.get("thinking_token_budget")]
    said += [(body.get("thinking") or {}).get("budget_tokens"), (body.get("reasoning") or {}).get("max_tokens")]
    return max(0, *(n or 0 for n in said))


def completion(body: dict[str, Any], usage: Any, *, choices: int | None = None, text: str = TEXT) -> Answer:
    """A reply, or a stream where one is asked for, with this usage; without one where it is `...`."""
    n = choices if choices is not None else body.get("n") or 1
    stated = {} if usage is ... else {"usage": usage}
    head = {"id": "1", "created": 1, "model": "m"}
    if not body.get("stream"):
        message = {"role": "assistant", "content": text}
        made = [{"index": i, "message": message, "finish_reason": "stop"} for i in range(n)]
        return Answer(json.dumps({**head, "object": "chat.completion", "choices": made, **stated}).encode())
    chunk = {**head, "object": "chat.completion.chunk"}
    deltas = [{"index": i, "delta": {"role": "assistant", "content": text}, "finish_reason": "stop"} for i in range(n)]
    parts = [{**chunk, "choices": deltas}, {**chunk, "choices": [], **stated}]
    return Answer(_events(parts) + b"data: [DONE]\n\n", kind="text/event-stream")


def cut(answer: Answer) -> Answer:
    """The same, broken off in the middle."""
    return answer._replace(content=answer.content[:90], length=len(answer.content))


def failure(status: int) -> Answer:
    return Answer(b'{"error": {"message": "it failed", "code": null}}', status)


@contextmanager
def billing(reply: Reply = lambda body: completion(body, ...)) -> Iterator[Billing]:
    """An upstream for as long as a block lasts."""
    found = Billing("", reply)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.requests.append(Request(self.path, headers, content))
            answer = found.reply(json.loads(content))
            self.send_response(answer.status)
            self.send_header("content-type", answer.kind)
            self.send_header("content-length", str(answer.length or len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)
            self.close_connection = answer.length is not None

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield found
        server.shutdown()
        thread.join()


def _events(parts: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + json.dumps(part).encode() + b"\n\n" for part in parts)
