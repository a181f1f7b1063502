"""A chat-completions server that misbehaves on purpose and keeps a bill: `python -m tests.fakes.upstream '{...}'`.

What it answers depends on the request alone, what goes wrong on a seed and the number of the request. It bills what a
real server would have worked for, also where the answer never arrives whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

PROMPT_PRICE, COMPLETION_PRICE = 2.0, 8.0
"""Dollars per million tokens."""
UNBILLED = ("429", "429 in seconds", "429 in ms", "429 on a date", "429 before now", "500", "502", "503", "529")
BROKEN_OFF = ("500 after work", "502 after work", "504 after work", "524 after work")
UNCLEAR = (
    *("hang", "drip", "reset", "truncated", "html", "empty", "long", *BROKEN_OFF),
    *("no usage", "absurd usage", "negative usage"),
)
"""Billed, and the caller cannot know it, or not how much."""
CLEAN = ("null", "fewer", "nul", "half a character", "wrong model", "filtered")
"""Strange, and billed as it says."""
FAULTS = (*UNBILLED, *UNCLEAR, *CLEAN)


class Server(NamedTuple):
    """A running server."""

    url: str
    process: subprocess.Popen[str]

    def bill(self) -> dict[str, Any]:
        """Requests, faults by kind, and dollars: those it said, and those that the caller cannot be sure of."""
        with urllib.request.urlopen(f"{self.url}/bill") as reply:
            found: dict[str, Any] = json.load(reply)
        return found


def misbehaving(**options: float) -> AbstractContextManager[Server]:
    """Options: `faults` (a share), `seed`, `latency` (seconds), `hang` (seconds)."""
    return started("tests.fakes.upstream", options)


@contextmanager
def started(module: str, options: dict[str, float]) -> Iterator[Server]:
    """A server in a process of its own, for as long as a block lasts."""
    command = [sys.executable, "-m", module, json.dumps(options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield Server(f"http://127.0.0.1:{process.stdout.readline().strip()}/v1", process)
    finally:
        process.kill()
        process.communicate()


def answer(body: dict[str, Any], index: int) -> str:
    """Some sentences that only the request decides."""
    digest = hashlib.sha256(json.dumps([body["messages"], body["max_tokens"], index]).encode()).hexdigest()
    return f"1. {digest[:8]} is so.\nThe answer is {int(digest[8:12], 16) % 50}."


class Upstream:
    def __init__(self, faults: float = 0.0, seed: int = 0, latency: float = 0.0, hang: float = 30.0) -> None:
        self.faults, self.latency, self.hang = faults, latency, hang
        self.random = random.Random(seed)
        self.requests = self.samples = self.running = self.most = 0
        self.said = self.unclear = 0.0
        self.kinds: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.files: list[str] = []
        self.batches: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await _head(reader):
                content = await reader.readexactly(int(head.get("content-length", 0)))
                if head["path"].endswith("/bill"):
                    _write(writer, 200, json.dumps(self.summary()).encode())
                elif "/files" in head["path"] or "/batches" in head["path"]:
                    _write(writer, 200, self.batched(head["path"], content))
                else:
                    await self.chat(json.loads(content), writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def summary(self) -> dict[str, Any]:
        twice = sum(count - 1 for count in self.asked.values())
        facts = {"requests": self.requests, "samples": self.samples, "most": self.most, "twice": twice}
        return {**facts, "said": self.said, "unclear": self.unclear, "faults": self.kinds}

    async def chat(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.requests += 1
        fault = self.random.choice(FAULTS) if self.random.random() < self.faults else ""
        self.kinds[fault or "none"] += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.latency)
            if fault in UNBILLED:
                return self.refuse(fault, writer)
            await self.reply(body, fault, writer)
        finally:
            self.running -= 1

    def batched(self, path: str, content: bytes) -> bytes:
        """The Batch API: upload, create, list, look, and read. A batch is done the second time that it is looked at."""
        parts = path.partition("/v1/")[2].partition("?")[0].split("/")
        if parts == ["files"]:
            lines = [line for line in content.decode().splitlines() if line.startswith('{"custom_id"')]
            self.files.append("\n".join(lines))
            return _json(id=f"file-{len(self.files) - 1}", object="file", bytes=1, created_at=0, filename="x")
        if parts[0] == "files":
            return self.files[int(parts[1].removeprefix("file-"))].encode()
        if parts == ["batches"] and content:
            asked = json.loads(content)
            self.batches.append({**asked, "looks": 0})
            return self.batch(len(self.batches) - 1)
        if parts == ["batches"]:
            return _json(
                object="list", has_more=False, data=[json.loads(self.batch(i)) for i in range(len(self.batches))]
            )
        return self.batch(int(parts[1].removeprefix("batch-")), look=True)

    def batch(self, number: int, *, look: bool = False) -> bytes:
        batch = self.batches[number]
        batch["looks"] += look
        if batch["looks"] == 2 and "output" not in batch:
            self.work(batch)
        status = (
            {"status": "completed", "output_file_id": batch["output"]}
            if "output" in batch
            else {"status": "in_progress"}
        )
        facts = {"object": "batch", "completion_window": "24h", "created_at": 0, "endpoint": batch["endpoint"]}
        return _json(
            id=f"batch-{number}", input_file_id=batch["input_file_id"], metadata=batch["metadata"], **facts, **status
        )

    def work(self, batch: dict[str, Any]) -> None:
        """Answer a batch's requests, some of them with an error."""
        out = []
        for line in self.files[int(batch["input_file_id"].removeprefix("file-"))].split("\n"):
            asked = json.loads(line)
            self.requests += 1
            if self.random.random() < self.faults:
                out.append({"custom_id": asked["custom_id"], "response": None, "error": {"code": "server_error"}})
                continue
            body = asked["body"]
            text = answer(body, body["seed"])
            prompt, completion = sum(len(m["content"].split()) for m in body["messages"]), len(text.split())
            self.said += (prompt * PROMPT_PRICE + completion * COMPLETION_PRICE) / 2e6
            self.samples += 1
            self.asked[json.dumps([body["messages"], body["seed"]])] += 1
            usage = {"prompt_tokens": prompt, "completion_tokens": completion}
            found = {"model": body["model"], "choices": [_choice(0, text, "")], "usage": usage}
            out.append(
                {"custom_id": asked["custom_id"], "response": {"status_code": 200, "body": found}, "error": None}
            )
        self.files.append("\n".join(map(json.dumps, out)))
        batch["output"] = f"file-{len(self.files) - 1}"

    def refuse(self, fault: str, writer: asyncio.StreamWriter) -> None:
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 1))
        headers = {
            "429 in seconds": {"Retry-After": "600"},
            "429 in ms": {"Retry-After-Ms": "5"},
            "429 on a date": {"Retry-After": date},
            "429 before now": {"Retry-After": "-5"},
        }.get(fault, {})
        _write(writer, int(fault[:3]), b'{"error": {"message": "not now"}}', headers)

    async def reply(self, body: dict[str, Any], fault: str, writer: asyncio.StreamWriter) -> None:
        asked = body.get("n", 1)
        n = asked - 1 if fault == "fewer" and asked > 1 else asked
        texts = [_spoilt(answer(body, body["seed"] + i), "" if i else fault) for i in range(n)]
        prompt = sum(len(message["content"].split()) for message in body["messages"])
        completion = sum(min(len(text.split()), body["max_tokens"]) for text in texts)
        dollars = (prompt * PROMPT_PRICE + completion * COMPLETION_PRICE) / 1e6
        if fault in UNCLEAR:
            self.unclear += dollars
        else:
            self.said += dollars
            self.samples += n
            self.asked[json.dumps([body["messages"], body["seed"]])] += 1
        usage: Any = {"prompt_tokens": prompt, "completion_tokens": completion}
        usage = {"no usage": None, "absurd usage": {**usage, "completion_tokens": 10**12}}.get(fault, usage)
        usage = {**usage, "prompt_tokens": -7} if fault == "negative usage" else usage
        choices = [_choice(i, text, fault) for i, text in enumerate(texts)]
        model = "another" if fault == "wrong model" else body["model"]
        found = {"id": "x", "object": "chat.completion", "model": model, "choices": choices, "usage": usage}
        data = json.dumps({**found, "choices": []} if fault == "empty" else found).encode()
        await self.deliver(data, fault, writer)

    async def deliver(self, data: bytes, fault: str, writer: asyncio.StreamWriter) -> None:
        if fault == "hang":
            await asyncio.sleep(self.hang)
        elif fault in BROKEN_OFF:
            self.refuse(fault, writer)
        elif fault == "html":
            _write(writer, 200, b"<html><body>All is well.</body></html>", {"Content-Type": "text/html"})
        elif fault == "truncated":
            _write(writer, 200, data[: len(data) // 2])
        elif fault == "reset":
            _write(writer, 200, data[: len(data) // 2], {"Content-Length": str(len(data))})
            writer.transport.abort()
        elif fault == "drip":
            _write(writer, 200, b"", {"Content-Length": str(len(data))})
            for i in range(len(data)):
                writer.write(data[i : i + 1])
                await writer.drain()
                await asyncio.sleep(self.hang / 20)
        else:
            _write(writer, 200, data)


def _json(**facts: object) -> bytes:
    return json.dumps(facts).encode()


def _spoilt(text: str, fault: str) -> str:
    ends = {"nul": "\x00", "half a character": "\ud800"}
    return text + (" so" * 1_600_000 if fault == "long" else ends.get(fault, ""))


def _choice(index: int, text: str, fault: str) -> dict[str, Any]:
    content = None if fault in ("null", "filtered") else text
    finish = "content_filter" if fault == "filtered" else "stop"
    return {"index": index, "finish_reason": finish, "message": {"role": "assistant", "content": content}}


async def _head(reader: asyncio.StreamReader) -> dict[str, str]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines[1:] if line)
    return {"path": lines[0].split()[1]} | {name.lower(): value.strip() for name, _, value in fields}


def _write(writer: asyncio.StreamWriter, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
    fields = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + data)


async def main(options: dict[str, Any]) -> None:
    server = await asyncio.start_server(Upstream(**options).serve, "127.0.0.1", 0, limit=2**22, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
