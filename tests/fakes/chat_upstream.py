"""A chat-completions server, fast, that misbehaves where it is told to: `python -m tests.fakes.chat_upstream '{...}'`.

A last user turn with `fault:NAME` gets that fault, one with `say:WORD` gets WORD, any other the same answer at once.
What is sent, and how the connection goes on, is decided by the request alone.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from .upstream import Server, started

ANSWER = "Mia has 9 pears left: 4 · 4 − 7. 🍐 The answer is 9."
"""What everybody is told. It holds characters of two, three and four bytes."""
LARGE = 5_000_000
"""Bytes of a large answer."""
USAGE = {"prompt_tokens": 31, "completion_tokens": 17, "total_tokens": 48}
RETRY_AFTER = 7
_MARKER = re.compile(r"\b(fault|say):([\w.-]+)")
_STATUSES = {400: "Bad Request", 401: "Unauthorized", 429: "Too Many Requests", 500: "Internal Server Error"}

Headers = Mapping[str, object]
Then = Literal["keep", "close", "abort", "hang", "again"]
"""What becomes of the connection: the next request, an end, a reset, silence, or the same bytes for ever."""


class Reply(NamedTuple):
    """Bytes, and how they are sent."""

    data: bytes
    then: Then = "keep"
    step: int = 0
    """Bytes at once; 0 is all of them."""
    more: bytes = b""
    """What is sent again and again."""


class Asked(NamedTuple):
    """A request."""

    body: dict[str, Any]
    headers: dict[str, str]
    marks: dict[str, str]
    """`fault` and `say`, where the last user turn has them."""

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def choices(self) -> int:
        return self.body.get("n") or 1


def chatting(**options: float) -> AbstractContextManager[Server]:
    """A server for as long as a block lasts. Options: `latency` and `pause` (between bytes that drip), in seconds."""
    return started("tests.fakes.chat_upstream", options)


# -- what a well-behaved server says --


def http(
    data: bytes, status: int = 200, kind: str = "application/json", headers: Headers = MappingProxyType({})
) -> bytes:
    fields = {"content-type": kind, "content-length": len(data), **headers}
    lines = [f"HTTP/1.1 {status} {_STATUSES.get(status, 'OK')}", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + data


def completion(asked: Asked, text: str | None, **changes: Any) -> bytes:
    """The body of an answer that is not streamed."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": i, "message": message, "finish_reason": "stop"} for i in range(asked.choices)]
    found = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked.body.get("model")}
    return json.dumps({**found, "choices": choices, "usage": USAGE, **changes}, ensure_ascii=False).encode()


def events(asked: Asked, pieces: Sequence[str | None]) -> list[bytes]:
    """The events of a streamed answer, without the last one, [DONE]."""
    choices = range(asked.choices)
    first = [_choice(i, {"role": "assistant", "content": ""}) for i in choices]
    middle = [_choice(i, {"content": piece}) for piece in pieces for i in choices]
    made = [_event(asked, [choice]) for choice in (*first, *middle, *(_choice(i, {}, "stop") for i in choices))]
    wanted = (asked.body.get("stream_options") or {}).get("include_usage")
    return [*made, _event(asked, [], usage=USAGE)] if wanted else made


DONE = b"data: [DONE]\n\n"
OPENED = http(b"", kind="text/event-stream").replace(b"content-length: 0", b"transfer-encoding: chunked")


def streamed(parts: Sequence[bytes], *, whole: bool = True) -> bytes:
    """A body in chunks; not `whole` is one that has not ended."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return OPENED + chunks + (b"0\r\n\r\n" if whole else b"")


def said(asked: Asked, text: str) -> Reply:
    """A proper answer."""
    if not asked.stream:
        return Reply(http(completion(asked, text)))
    return Reply(streamed([*events(asked, _pieces(text)), DONE]))


# -- what a server in trouble says --


def refused(
    status: int, message: str, code: str | None = None, headers: Headers = MappingProxyType({})
) -> Callable[[Asked], Reply]:
    error = {"message": message, "type": "upstream_error", "param": None, "code": code}
    return lambda asked: Reply(http(json.dumps({"error": error}).encode(), status, headers=headers))


def repeats_the_key(asked: Asked) -> Reply:
    return refused(401, f"Incorrect API key provided: {asked.headers.get('authorization')}", "invalid_api_key")(asked)


def repeats_the_key_in_escapes(spell: Callable[[str], str]) -> Callable[[Asked], Reply]:
    """The key as JSON may have it too."""

    def reply(asked: Asked) -> Reply:
        error = json.dumps({"error": {"message": "Incorrect key KEY", "code": None}})
        key = asked.headers.get("authorization", "").removeprefix("Bearer ")
        return Reply(http(error.replace("KEY", spell(key)).encode(), 400))

    return reply


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64-0": lambda key: base64.b64encode(key.encode()).decode(),
    "base64-1": lambda key: base64.b64encode(b":" + key.encode()).decode(),
    "base64-2": lambda key: base64.b64encode(b"x:" + key.encode()).decode().rstrip("="),
    "base64-lines": lambda key: base64.encodebytes(b"Authorization: Bearer " + key.encode() * 3).decode(),
    "urlsafe-0": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "urlsafe-1": lambda key: base64.urlsafe_b64encode(b":" + key.encode() + b"?").decode(),
    "urlsafe-2": lambda key: base64.urlsafe_b64encode(b"Bearer: " + key.encode() + b"??").decode().rstrip("="),
    "percent": lambda key: quote(key, safe=""),
    "percent-all": lambda key: "".join(f"%{ord(c):02x}" for c in key),
    "percent-twice": lambda key: quote(quote(key, safe=""), safe=""),
    "hex": lambda key: key.encode().hex(),
    "hex-upper": lambda key: key.encode().hex(":").upper(),
    "json": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "json-slashes": lambda key: key.replace("/", "\\/"),
    "html": lambda key: "".join(f"&#{ord(c)};" for c in key),
}
"""How a server may write a key that it repeats."""


def repeats_the_key_in_pieces(asked: Asked) -> Reply:
    """In every field of every choice: `say:SPELLING` or `say:SPELLING.SIZE`, with so many characters in a piece."""
    spelling, _, size = asked.marks.get("say", "plain").partition(".")
    text = f"Your key: {SPELLINGS[spelling](asked.headers.get('authorization', '').removeprefix('Bearer '))} ends."
    step = int(size or len(text))
    pieces = [text[i : i + step] for i in range(0, len(text), step)]
    if not asked.stream:
        return Reply(http(completion(asked, None, choices=[_everywhere(i, pieces) for i in range(asked.choices)])))
    deltas = [_in_delta(field, piece) for piece in pieces for field in ("content", "reasoning_content", "tool_calls")]
    middle = [_choice(i, delta) for delta in deltas for i in range(asked.choices)]
    ends = [_choice(i, {}, "stop") for i in range(asked.choices)]
    return Reply(streamed([*(_event(asked, [choice]) for choice in (*middle, *ends)), DONE]))


def _in_delta(field: str, piece: str) -> dict[str, Any]:
    if field != "tool_calls":
        return {field: piece}
    return {field: [{"index": i, "function": {"arguments": piece}} for i in range(2)]}


def _everywhere(index: int, pieces: Sequence[str]) -> dict[str, Any]:
    """A choice with a text in all fields, in parts where a field has parts."""
    text = "".join(pieces)
    tokens = [{"token": piece, "logprob": -1.0, "bytes": list(piece.encode()), "top_logprobs": []} for piece in pieces]
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": piece} for piece in pieces],
        "reasoning_content": text,
        "tool_calls": [{"id": "call-1", "type": "function", "function": {"name": "add", "arguments": text}}],
    }
    return {"index": index, "message": message, "logprobs": {"content": tokens}, "finish_reason": "stop"}


def refuses_with_the_key(asked: Asked) -> Reply:
    """An error whose message, code and headers repeat the key, spelled as `say` has it."""
    text = SPELLINGS[asked.marks.get("say", "plain")](asked.headers.get("authorization", "").removeprefix("Bearer "))
    return refused(400, f"Incorrect key {text}", f"no-{text}", {"x-key": quote(text), "retry-after": "7"})(asked)


def begun(then: Then) -> Callable[[Asked], Reply]:
    """Half an answer."""

    def reply(asked: Asked) -> Reply:
        if asked.stream:
            return Reply(streamed(events(asked, _pieces(ANSWER))[:4], whole=False), then)
        return Reply(http(completion(asked, ANSWER))[:-40], then)

    return reply


def as_body(change: Callable[[bytes], bytes], kind: str = "application/json") -> Callable[[Asked], Reply]:
    """Another body, whether or not a stream is asked for."""
    return lambda asked: Reply(http(change(completion(asked, ANSWER)), kind=kind))


def spoilt(old: bytes, new: bytes) -> Callable[[Asked], Reply]:
    """Some bytes of the body, or of each event, are others."""

    def reply(asked: Asked) -> Reply:
        if not asked.stream:
            return Reply(http(completion(asked, ANSWER).replace(old, new)))
        return Reply(streamed([*(part.replace(old, new) for part in events(asked, _pieces(ANSWER))), DONE]))

    return reply


def as_choices(text: str | None = ANSWER, **changes: Any) -> Callable[[Asked], Reply]:
    """Another answer; of a stream, another delta."""

    def reply(asked: Asked) -> Reply:
        if not asked.stream:
            return Reply(http(completion(asked, text, **changes)))
        return Reply(streamed([*events(asked, [text]), _event(asked, **changes), DONE]))

    return reply


def among(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Asked], Reply]:
    """Other events in a stream; an answer that is not streamed is a proper one."""

    def reply(asked: Asked) -> Reply:
        if not asked.stream:
            return said(asked, ANSWER)
        return Reply(streamed(change([*events(asked, _pieces(ANSWER)), DONE])))

    return reply


def line_ends(asked: Asked) -> Reply:
    if not asked.stream:
        return said(asked, ANSWER)
    parts = [*events(asked, _pieces(ANSWER)), DONE]
    return Reply(streamed([part.replace(b"\n", b"\r\n") for part in parts]))


def split(asked: Asked) -> Reply:
    """Every byte in a chunk of its own."""
    body = b"".join([*events(asked, _pieces(ANSWER)), DONE]) if asked.stream else completion(asked, ANSWER)
    data = streamed([body[i : i + 1] for i in range(len(body))])
    return Reply(data if asked.stream else data.replace(b"text/event-stream", b"application/json"))


def large(asked: Asked) -> Reply:
    if not asked.stream:
        return Reply(http(completion(asked, "so " * (LARGE // 3))))
    return Reply(streamed([*events(asked, ["so " * 333] * (LARGE // 1000)), DONE]))


def endless(asked: Asked) -> Reply:
    """A stream without an end, as fast as it is read; of an answer, white space."""
    if not asked.stream:
        return Reply(
            http(b"").replace(b"content-length: 0", b"content-length: 999999999999"), "again", more=b" " * 9999
        )
    first, delta, *_ = events(asked, ["so " * 333])
    return Reply(streamed([first], whole=False), "again", more=streamed([delta], whole=False).removeprefix(OPENED))


def endless_refusal(asked: Asked) -> Reply:
    head = http(b"", 500).replace(b"content-length: 0", b"content-length: 999999999999")
    return Reply(head, "again", more=b" " * 9999)


def without_end(asked: Asked) -> Reply:
    """One line that goes on and on."""
    line = b"data: " + b"x" * LARGE
    return Reply(streamed([line], whole=False), "hang") if asked.stream else Reply(http(b'"' + b"x" * LARGE))


def dripped(asked: Asked) -> Reply:
    """A few bytes at a time; a stream is what may take long."""
    return said(asked, ANSWER)._replace(step=16 if asked.stream else 1)


def echo(asked: Asked) -> Reply:
    """The body that arrived, as the answer."""
    return said(asked, json.dumps(asked.body))


def echo_headers(asked: Asked) -> Reply:
    """The headers that arrived, as the answer; of the key, its SHA-256."""
    digest = hashlib.sha256(asked.headers.get("authorization", "").encode()).hexdigest()
    return said(asked, json.dumps({**asked.headers, "authorization": digest}))


def compressed(asked: Asked) -> Reply:
    """Nobody asked for it."""
    return Reply(http(gzip.compress(completion(asked, ANSWER)), headers={"content-encoding": "gzip"}))


@cache
def _compressed_spaces() -> bytes:
    return gzip.compress(b" " * 20 * LARGE, 1)


def bomb(asked: Asked) -> Reply:
    return Reply(http(_compressed_spaces(), headers={"content-encoding": "gzip"}))


def tool_call(asked: Asked) -> Reply:
    call = {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    if asked.stream:
        called = _choice(0, {"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]})
        return Reply(streamed([_event(asked, [called]), _event(asked, [_choice(0, {}, "tool_calls")]), DONE]))
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return Reply(http(completion(asked, None, choices=[choice])))


def _unframed(asked: Asked) -> Reply:
    """Without a length; it ends when the connection does."""
    data = said(asked, ANSWER).data
    if asked.stream:
        data = OPENED.replace(b"transfer-encoding: chunked\r\n", b"") + b"".join([*events(asked, [ANSWER]), DONE])
    return Reply(re.sub(rb"content-length: \d+\r\n", b"connection: close\r\n", data), "close")


def _huge_head(asked: Asked) -> Reply:
    return Reply(b"HTTP/1.1 200 OK\r\nx-filler: " + b"x" * 1_000_000 + b"\r\n" + said(asked, ANSWER).data[17:])


def _redirect(asked: Asked) -> Reply:
    return Reply(http(b"", 307, headers={"location": "http://127.0.0.1:9/v1/chat/completions"}))


def _quiet(asked: Asked) -> Reply:
    return Reply(b"", "hang")


def _garbled(parts: list[bytes]) -> list[bytes]:
    return [*parts[:3], b"data: {not JSON\n\n", b"data: 17\n\n", b"data: [1, 2]\n\n", b"what is this\n\n", *parts[3:]]


def _broken(parts: list[bytes]) -> list[bytes]:
    return [*parts[:3], b'data: {"error": {"message": "The model fell over", "code": 500}}\n\n']


def _commented(parts: list[bytes]) -> list[bytes]:
    return [b": keep-alive\n\n", b"event: message\nretry: 100\n", *parts[:3], b":\n\n: PROCESSING\n\n", *parts[3:]]


FAULTS: dict[str, Callable[[Asked], Reply]] = {
    # nothing, or not all of it
    "hang": _quiet,
    "hang-mid": begun("hang"),
    "drip": dripped,
    "endless": endless,
    "close": lambda asked: Reply(b"", "close"),
    "reset": lambda asked: Reply(b"", "abort"),
    "close-mid": begun("close"),
    "reset-mid": begun("abort"),
    "truncated": as_body(lambda body: body[: len(body) // 2]),
    "no-finish": among(lambda parts: parts[:4]),
    # a refusal
    "429": refused(429, "Rate limit reached", "rate_limit_exceeded", headers={"retry-after": RETRY_AFTER}),
    "quota": refused(429, "You exceeded your current quota", "insufficient_quota"),
    "500": refused(500, "The server had an error"),
    "503": refused(503, "Overloaded", headers={"retry-after": RETRY_AFTER}),
    "400": refused(400, "Unsupported value: 'temperature'", "unsupported_value"),
    "404": refused(404, "The model does not exist", "model_not_found"),
    "401": repeats_the_key,
    "401-slashes": repeats_the_key_in_escapes(lambda key: key.replace("/", "\\/")),
    "401-escapes": repeats_the_key_in_escapes(lambda key: "".join(f"\\u{ord(c):04X}" for c in key)),
    "400-key": refuses_with_the_key,
    "key-in-pieces": repeats_the_key_in_pieces,
    "500-endless": endless_refusal,
    "redirect": _redirect,
    "error": among(_broken),
    # not what was asked for
    "html": as_body(lambda body: b"<html><body>All is well.</body></html>", "text/html"),
    "list": as_body(lambda body: b"[" + body + b"]"),
    "deep": as_body(lambda body: b'{"choices": ' + b"[" * 100_000),
    "long-number": spoilt(b'"created": 1', b'"created": 1' + b"0" * 9_999),
    "not-a-number": spoilt(b'"created": 1', b'"created": NaN'),
    "not-utf8": spoilt(b"answer", b"\xff\xfe"),
    "surrogate": spoilt(b"answer", rb"\ud83c and \u0000"),
    "not-http": lambda asked: Reply(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "close"),
    "huge-head": _huge_head,
    "garbage": among(_garbled),
    "long-line": without_end,
    "large": large,
    "bomb": bomb,
    "no-choices": as_choices(choices=[]),
    "null-choices": as_choices(choices=None),
    "null-content": as_choices(None),
    "null-usage": as_choices(usage=None),
    "odd-usage": as_choices(usage={"prompt_tokens": -3, "completion_tokens": 10**30, "total_tokens": "many"}),
    # strange, and yet an answer
    "type": as_body(lambda body: body, "text/plain"),
    "gzip": compressed,
    "no-length": _unframed,
    "no-done": among(lambda parts: parts[:-1]),
    "comments": among(_commented),
    "line-ends": line_ends,
    "split": split,
    "tool-call": tool_call,
    "echo": echo,
    "echo-headers": echo_headers,
}


def _choice(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def _event(asked: Asked, choices: list[dict[str, Any]] | None = None, **changes: Any) -> bytes:
    found = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": asked.body.get("model")}
    return b"data: " + json.dumps({**found, "choices": choices or [], **changes}, ensure_ascii=False).encode() + b"\n\n"


def _pieces(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)


# -- the server --


class Upstream:
    """What it was asked, and who is connected."""

    def __init__(self, latency: float = 0.0, pause: float = 0.05) -> None:
        self.latency, self.pause = latency, pause
        self.open = self.requests = self.running = self.most = self.finished = self.aborted = 0
        self.plain: dict[str, Reply] = {}

    def summary(self) -> dict[str, int]:
        """Connections now but for the one that asks; requests begun, being answered, most at once, answered, and left
        by their clients before the answer was whole.
        """
        counts = {"requests": self.requests, "running": self.running, "most": self.most, "finished": self.finished}
        return {**counts, "aborted": self.aborted, "open": self.open - 1}

    def reply(self, headers: dict[str, str], content: bytes) -> Reply:
        body = json.loads(content)
        marks = dict(_MARKER.findall(_last_turn(body))) if b"fault:" in content or b"say:" in content else {}
        asked = Asked(body, headers, marks)
        if "fault" in marks:
            return FAULTS[marks["fault"]](asked)
        if "say" in marks or asked.choices > 1 or asked.stream:
            return said(asked, marks.get("say", ANSWER))
        model = str(body.get("model"))
        if model not in self.plain:
            self.plain[model] = said(asked, ANSWER)
        return self.plain[model]


class Connection(asyncio.Protocol):
    """Requests one after the other on one connection."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.read = bytearray()
        self.answering: asyncio.Handle | asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.upstream.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.upstream.open -= 1
        if self.answering:
            self.answering.cancel()
            self.upstream.aborted += 1
            self.ended()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.read += data
        while not self.answering and (found := self.next_request()):
            path, headers, content = found
            if path.endswith("/bill"):
                self.transport.write(http(json.dumps(self.upstream.summary()).encode()))
            else:
                self.begin(headers, content)

    def next_request(self) -> tuple[str, dict[str, str], bytes] | None:
        end = self.read.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self.read[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        whole = end + 4 + int(headers.get("content-length", 0))
        if len(self.read) < whole:
            return None
        content = bytes(self.read[end + 4 : whole])
        del self.read[:whole]
        return first.split(" ")[1], headers, content

    def begin(self, headers: dict[str, str], content: bytes) -> None:
        upstream = self.upstream
        upstream.requests += 1
        upstream.running += 1
        upstream.most = max(upstream.most, upstream.running)
        reply = upstream.reply(headers, content)
        loop = asyncio.get_running_loop()
        if reply.step or reply.then in ("hang", "again"):
            self.answering = loop.create_task(self.slowly(reply))
        elif upstream.latency:
            self.answering = loop.call_later(upstream.latency, self.at_once, reply)
        else:
            self.at_once(reply)

    def at_once(self, reply: Reply) -> None:
        self.transport.write(reply.data)
        self.upstream.finished += 1
        self.ended()
        if reply.then == "close":
            self.transport.close()
        elif reply.then == "abort":
            self.transport.abort()
        elif self.read:
            self.data_received(b"")

    async def slowly(self, reply: Reply) -> None:
        for i in range(0, len(reply.data), reply.step or len(reply.data)):
            self.transport.write(reply.data[i : i + reply.step] if reply.step else reply.data)
            await asyncio.sleep(self.upstream.pause if reply.step else 0)
        while reply.then == "again":
            self.transport.write(reply.more)
            await self.writable.wait()
            await asyncio.sleep(0)
        if reply.then == "hang":
            await asyncio.Event().wait()
        self.at_once(Reply(b"", reply.then))

    def ended(self) -> None:
        self.answering = None
        self.upstream.running -= 1


def _last_turn(body: dict[str, Any]) -> str:
    turns = [turn for turn in body["messages"] if turn["role"] == "user"]
    return json.dumps(turns[-1]["content"]) if turns else ""


async def main(options: dict[str, Any]) -> None:
    upstream = Upstream(**options)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(upstream), "127.0.0.1", 0, backlog=2_048)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
