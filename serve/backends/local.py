"""A model of one's own behind chat-completions bodies: many requests at once, as whole answers or as streams."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ...core.errors import ConfigError
from ...lm.engine import Engine, StreamCallback, StreamingEngine
from ...lm.local.chat_template import encode
from ...lm.local.model_dir import LocalEngine, ModelDirectory
from ...lm.local.streaming import ABORTED
from ...lm.reasoning import Split, StreamSplitter
from ...lm.recorder import NoRecord
from ...lm.types import Completion, Message, SampleRequest, Sampling, Thinking, Usage, shared_prompt, with_suffix
from ..pipeline.errors import APIError
from .batcher import Batcher, OnBatch, unmeasured
from .local_request import LocalRequest, read

_HELLO = LocalRequest((Message("user", "?"),), Sampling(max_tokens=1), 1, logprobs=False, seed=0)


class _Row(NamedTuple):
    """A sample to be generated, and who listens to it."""

    draw: SampleRequest
    on_text: StreamCallback


class LocalModel:
    """Answers chat-completions bodies with an engine on this machine; to be used from one event loop.

    An engine that can be heard streams as it writes, and what nobody waits for any more is not written to its end.
    Other engines answer in one piece. The tokens in an answer's `logprobs` have no text: nobody keeps it.
    """

    def __init__(
        self,
        engine: Engine,
        adapter: Path | None,
        name: str,
        *,
        most: int,
        max_queue: int,
        suffix: str = "",
        thinking: Thinking | None = None,
        on_batch: OnBatch = unmeasured,
    ) -> None:
        """`suffix` is a sentence that the model was taught to be asked with, `thinking` what it is told of reasoning.

        `most` samples are generated together, and `max_queue` wait at most; more are refused.
        Only `lm.transformers` lets several of these share one engine.
        """
        self.name = name
        self._engine = engine
        self._adapter = adapter
        self._suffix = suffix
        self._thinking = thinking
        self._places = most + max_queue
        self._batcher = Batcher(self._generate, most, max_queue, on_batch)

    @property
    def queued(self) -> int:
        """Samples that wait."""
        return self._batcher.queued

    async def warm(self) -> None:
        """Load the model, and let it write one token."""
        here = _Listener()
        await self._batcher.put([_Row(draw, here.on_text) for draw in _HELLO.draws()])

    async def close(self) -> None:
        """Finish what is being generated, and fail what waits."""
        await self._batcher.close()

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A `chat.completion`. Raises Refused for what cannot be answered."""
        asked = await self._local_request(body)
        listener = _Listener()
        try:
            made = await self._batcher.put([_Row(draw, listener.on_text) for draw in asked.draws()])
        finally:
            listener.gone = True
        choices = [
            {
                "index": i,
                "message": {"role": "assistant", "content": one.text, "refusal": None, **_thought(one.reasoning)},
                "logprobs": tokens_of(one),
                "finish_reason": one.finish,
            }
            for i, one in enumerate(made)
        ]
        return {**self._head("chat.completion"), "choices": choices, "usage": _usage(made)}

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of a `chat.completion`, the last of them `usage` without choices.

        What `complete` raises is raised before the first chunk, except for what befalls the model later. Closed early,
        it stops the generation.
        """
        asked = await self._local_request(body)
        listener = _Streaming(asked.n)
        answer = self._batcher.put([_Row(draw, listener.on_text) for draw in asked.draws()])
        answer.add_done_callback(listener.end)
        head = self._head("chat.completion.chunk")
        try:
            for i in range(asked.n):
                yield {**head, "choices": [_change(i, {"role": "assistant", "content": "", "refusal": None})]}
            while not listener.over:
                for i, piece in await listener.news():
                    yield {**head, "choices": [_change(i, {"content": piece.reply, **_thought(piece.reasoning)})]}
            made = await answer
            for i, one in enumerate(made):
                piece = listener.rest(i, one)
                if piece.reply or piece.reasoning:
                    yield {**head, "choices": [_change(i, {"content": piece.reply, **_thought(piece.reasoning)})]}
                yield {**head, "choices": [_change(i, {}) | {"logprobs": tokens_of(one), "finish_reason": one.finish}]}
            yield {**head, "choices": [], "usage": _usage(made)}
        finally:
            listener.gone = True
            answer.cancel()

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": kind,
            "created": int(time.time()),
            "model": self.name,
        }

    async def _local_request(self, body: Mapping[str, Any]) -> LocalRequest:
        asked = read(body)._replace(thinking=self._thinking)
        if self._suffix:
            asked = asked._replace(messages=with_suffix(asked.messages, self._suffix))
        if asked.n > self._places:
            raise APIError(400, f"n must be at most {self._places} here", param="n")
        return await asyncio.to_thread(self._fitted, asked)

    def _fitted(self, asked: LocalRequest) -> LocalRequest:
        """As the model can read it, and with no more to write than there is room for."""
        if not isinstance(self._engine, LocalEngine):
            return asked
        local = self._engine.local
        prompt = _length(local, asked)
        if local.context is None:
            return asked
        if prompt >= local.context:
            raise APIError(
                400,
                f"this model's context is {local.context} tokens, and the messages have {prompt}",
                code="context_length_exceeded",
                param="messages",
            )
        budget = (asked.thinking and asked.thinking.budget) or 0
        limit = min(asked.sampling.max_tokens, max(1, local.context - prompt - budget))
        return asked._replace(sampling=replace(asked.sampling, max_tokens=limit))

    def _generate(self, rows: list[_Row]) -> list[Completion]:
        listeners = {row.draw.key: row.on_text for row in rows}
        draws = [row.draw for row in rows]
        if isinstance(self._engine, StreamingEngine):
            return self._engine.stream(draws, self._adapter, lambda draw, text: listeners[draw.key](draw, text))
        wanted = [row.draw for row in rows if row.on_text(row.draw, "")]
        made = {draw.key: Completion("", ABORTED, Usage()) for draw in draws}
        for finished in self._engine.generate(wanted, NoRecord(), self._adapter):
            made |= {draw.key: completion for draw, completion in finished}
        return [made[draw.key] for draw in draws]


class _Listener:
    """Waits for whole answers."""

    def __init__(self) -> None:
        self.gone = False

    def on_text(self, draw: SampleRequest, text: str) -> bool:
        return not self.gone


class _Streaming(_Listener):
    """Hands what is heard in the generating thread to the event loop: always the latest text, however slow it reads."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._texts = [""] * n
        self._lengths = [0] * n
        """By sample, the characters of its text that were split."""
        self._splitters = [StreamSplitter() for _ in range(n)]
        self._sent = [_Sent([], []) for _ in range(n)]
        self.over = False

    def on_text(self, draw: SampleRequest, text: str) -> bool:
        if text != self._texts[draw.index] and not self.gone:
            self._texts[draw.index] = text
            with suppress(RuntimeError):  # a loop that is closed has nobody in it
                self._loop.call_soon_threadsafe(self._news.set)
        return not self.gone

    def end(self, answer: asyncio.Future[list[Completion]]) -> None:
        """Nothing will be heard any more."""
        if not answer.cancelled():
            answer.exception()  # taken note of, should nobody come to ask
        self.over = True
        self._news.set()

    async def news(self) -> list[tuple[int, Split]]:
        """Wait for something new, or for the end; what is new, by sample."""
        await self._news.wait()
        self._news.clear()
        pieces = [(i, self._new(i, text)) for i, text in enumerate(self._texts)]
        return [(i, piece) for i, piece in pieces if piece.reply or piece.reasoning]

    def rest(self, i: int, made: Completion) -> Split:
        """What was not given out of a sample that is complete."""
        sent = self._sent[i]
        return Split(_rest("".join(sent.reasoning), made.reasoning or ""), _rest("".join(sent.reply), made.text))

    def _new(self, i: int, text: str) -> Split:
        """What the text so far of a sample adds to both parts."""
        piece = self._splitters[i].feed(text[self._lengths[i] :])
        self._lengths[i] = len(text)
        self._sent[i].reasoning.append(piece.reasoning or "")
        self._sent[i].reply.append(piece.reply)
        return piece


class _Sent(NamedTuple):
    """What was given out of a sample."""

    reasoning: list[str]
    reply: list[str]


def _rest(sent: str, whole: str) -> str:
    """What is left to be given out of a text; nothing is, where it ends before what was given."""
    return "" if sent.startswith(whole) else whole.removeprefix(sent)


def _length(local: ModelDirectory, asked: LocalRequest) -> int:
    """Tokens of a prompt."""
    tokenizer = local.tokenizer
    try:
        return len(encode(tokenizer, asked.messages, asked.thinking))
    except ConfigError as error:
        why = error.__cause__ or error  # without the model's path, which is no client's business
        raise APIError(400, f"this model's chat template refuses the messages: {why}", param="messages") from error


def _thought(reasoning: str | None) -> dict[str, str]:
    """The field in which a reply has its reasoning, where there is some."""
    return {"reasoning_content": reasoning} if reasoning else {}


def _change(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def tokens_of(completion: Completion) -> dict[str, Any] | None:
    """What is known of a completion's tokens: their log-probabilities. Their texts are left empty."""
    if completion.logprobs is None:
        return None
    content: list[dict[str, Any]] = [
        {"token": "", "logprob": one, "bytes": None, "top_logprobs": []} for one in completion.logprobs
    ]
    return {"content": content, "refusal": None}


def _usage(made: Sequence[Completion]) -> dict[str, Any]:
    """The prompt once, and all completions; and their seconds of this machine, which a price may be for."""
    total = shared_prompt([one.usage for one in made])
    return {
        "prompt_tokens": total.prompt_tokens,
        "completion_tokens": total.completion_tokens,
        "total_tokens": total.prompt_tokens + total.completion_tokens,
        **(
            {"completion_tokens_details": {"reasoning_tokens": total.reasoning_tokens}}
            if total.reasoning_tokens
            else {}
        ),
        "seconds": total.seconds,
    }
