"""A distilled decomposer in front of an API LLM, in Python: ask it a question, or many, or listen to the answer.

plugged = plug(decomposer="runs/x/decomposer", llm=openai.OpenAI(), model="gpt-4o-mini")
plugged.answer("A crate holds 10 pears ...").answer
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from ...core.async_to_sync import iter_sync, run_sync
from ...core.errors import ConfigError
from ...decompose.decomposition import Decomposer
from ...lm.api.response import text_and_reasoning
from ...lm.api.spec import key
from ...lm.cost.prices import Price
from ...solve.voting.election import Election, Sample
from ...tasks.question import GraderName
from ..backends import loading
from ..backends.decomposer import DecomposerService
from ..backends.decomposer_cache import BlockingDecomposer, Make, decomposer_of
from ..backends.ranker import RankerScorer
from ..pipeline import request as chats
from ..pipeline import response, templates
from ..pipeline.billing import Bill, Rates, RequestBill
from ..pipeline.errors import APIError
from ..pipeline.pipeline import (
    Ask,
    Composition,
    Decompose,
    Elect,
    Outcome,
    RequestTrace,
    Step,
    Steps,
    Take,
    ahead,
    chain,
    ended,
    run,
)
from ..pipeline.request import Chat
from ..pipeline.response import Reply
from ..pipeline.types import DecomposeRequest
from ..settings import DecomposerSettings, LimitSettings, Mode, ServeSettings, UpstreamSettings, VoteSettings
from .clients import AsyncChatClient, BlockingChatClient, ChatClient
from .decomposer import decomposer_settings

if TYPE_CHECKING:
    import openai

_AT_ONCE = 16
_ANY = 2**31
"""Choices that a caller may ask for: it is his own account, and the API knows better what it allows."""


@dataclass(frozen=True)
class Answer:
    """What came of a question."""

    answer: str | None
    """The final answer; None when none could be read out of the solution."""
    decomposition: tuple[str, ...]
    """The sub-questions."""
    outcome: Outcome
    """What became of decomposing."""
    solution: str
    """What the model wrote; of several samples, the one that won the vote."""
    usage: Mapping[Literal["decompose", "solve"], Bill]
    """Tokens and dollars by phase."""
    dollars: float | None
    """Of both phases; None where a price is unknown."""
    share: float | None = None
    """Of the samples, those that agree with the answer; None without a vote."""

    def __str__(self) -> str:
        asked = "\n".join(f"{i}. {subquestion}" for i, subquestion in enumerate(self.decomposition, 1))
        return f"{asked}\n\n{self.solution}\n\n{self.answer or 'unreadable'}".strip()


@dataclass(frozen=True)
class DecomposedLLM:
    """A decomposer and an API LLM; may be used by several threads at once."""

    settings: ServeSettings
    asker: BlockingDecomposer | None
    composition: Composition
    rates: Rates
    client: openai.OpenAI | None
    """Asks without an event loop."""
    aclient: openai.AsyncOpenAI | None
    """Asks in one."""
    request: Mapping[str, Any]
    """Fields of every request for an answer."""
    owns: bool = False
    """Whether the client is its own, made from a URL."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client, unless it is the caller's."""
        if self.owns and self.client is not None:
            self.client.close()

    def answer(self, question: str) -> Answer:
        """One question answered. Raises what the client raises, and ConfigError without a client for threads."""
        return run_sync(self._answer(question, BlockingChatClient(self._client())))

    def answers(self, questions: Sequence[str], concurrency: int = _AT_ONCE) -> list[Answer]:
        """Questions answered, in order: decomposed together, and asked `concurrency` at a time."""
        self._decompose_ahead(questions)
        with ThreadPoolExecutor(concurrency) as pool:
            return list(pool.map(self.answer, questions))

    def stream(self, question: str) -> Iterator[str | Answer]:
        """The solution in pieces as they come, and at the end the answer."""
        yield from iter_sync(self._stream(question, BlockingChatClient(self._client())))

    async def aanswer(self, question: str) -> Answer:
        """One question answered; a client for threads is asked in a thread."""
        if self.aclient is None:
            return await asyncio.to_thread(self.answer, question)
        return await self._answer(question, AsyncChatClient(self.aclient))

    async def aanswers(self, questions: Sequence[str], concurrency: int = _AT_ONCE) -> list[Answer]:
        """Questions answered, in order: decomposed together, and asked `concurrency` at a time."""
        if self.aclient is None:
            return await asyncio.to_thread(self.answers, questions, concurrency)
        await asyncio.to_thread(self._decompose_ahead, questions)
        places = asyncio.Semaphore(concurrency)

        async def one(question: str) -> Answer:
            async with places:
                return await self.aanswer(question)

        tasks = [asyncio.create_task(one(question)) for question in questions]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:  # where one fails, nobody gets the answers of the others
                task.cancel()

    async def astream(self, question: str) -> AsyncIterator[str | Answer]:
        """As `stream`, in an event loop."""
        if self.aclient is None:
            pieces = self.stream(question)
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece
            return
        async with aclosing(self._stream(question, AsyncChatClient(self.aclient))) as heard:
            async for piece in heard:
                yield piece

    async def _answer(self, question: str, client: ChatClient) -> Answer:
        trail = RequestTrace()
        return self._read(await run(self.steps(self._chat(question), trail), self.step_taker(client)), trail)

    async def _stream(self, question: str, client: ChatClient) -> AsyncGenerator[str | Answer, None]:
        trail, heard = RequestTrace(), _Heard()
        steps = self.steps(self._chat(question), trail)
        last = await ahead(steps, self.step_taker(client))
        if isinstance(last, Ask):
            async with aclosing(client.stream(last.body)) as chunks:
                async for chunk in chunks:
                    for piece in heard.pieces(chunk):
                        yield piece
            for piece in heard.end():
                yield piece
            last = ended(steps, heard.reply)
        answer = self._read(last, trail)
        for piece in heard.rest(answer):
            yield piece
        yield answer

    def steps(self, chat: Chat, trail: RequestTrace) -> Steps:
        """What is to be done for a request."""
        return chain(chat, self.composition, trail)

    def local_result(self, step: Decompose | Elect) -> Any:
        """What comes of a step that needs no API."""
        match step:
            case Decompose(wanted):
                return self.asker([wanted])[0] if self.asker else None
            case Elect(question, samples, rule):
                return self.composition.election(question, samples, rule)

    def step_taker(self, client: ChatClient) -> Take:
        """What takes any step."""

        async def take(step: Step) -> Any:
            return await (
                client.complete(step.body) if isinstance(step, Ask) else client.work(partial(self.local_result, step))
            )

        return take

    def _client(self) -> openai.OpenAI:
        if self.client is None:
            raise ConfigError("an AsyncOpenAI client answers by aanswer, aanswers and astream")
        return self.client

    def _chat(self, question: str) -> Chat:
        if not question.strip():
            raise ConfigError("the question is empty")
        model = self.settings.upstream.model if self.settings.upstream else ""
        body = {"model": model, "messages": [{"role": "user", "content": question}], **self.request}
        return chats.answering(self.read(body))

    def read(self, body: Mapping[str, Any]) -> Chat:
        """The request in a body. Raises ConfigError for one that makes no sense."""
        try:
            return chats.read(body, {}, self.settings)
        except APIError as refused:
            raise ConfigError(str(refused)) from None

    def _decompose_ahead(self, questions: Sequence[str]) -> None:
        if self.asker and self.settings.decomposer and self.settings.mode == "static":
            limit, longest = self.settings.decomposer.max_subquestions, self.settings.decomposer.max_question_chars
            self.asker(
                [DecomposeRequest(question, limit) for question in questions if 0 < len(question.strip()) <= longest]
            )

    def _read(self, reply: Reply, trail: RequestTrace) -> Answer:
        account = RequestBill.of(trail, self.rates)
        text = response.text(reply["choices"][0]) or ""
        return Answer(
            self.composition.election.solution(Sample(text, None)).answer,
            trail.subquestions,
            trail.decomposition,
            text,
            {"decompose": account.decompose, "solve": account.solve},
            account.dollars,
            trail.share,
        )


class _Heard:
    """A streamed reply, put together again."""

    def __init__(self) -> None:
        self._text = ""
        self._separate = response.Separator()
        self._usage: Any = None

    def pieces(self, chunk: Reply) -> Iterator[str]:
        """The text in a chunk, if it has any."""
        self._usage = chunk.get("usage") or self._usage
        self._text += "".join(text_and_reasoning(choice["delta"])[0] for choice in chunk["choices"])
        yield from self._texts(self._separate(chunk)["choices"])

    def end(self) -> Iterator[str]:
        """What was held back of a stream that is over."""
        yield from self._texts(self._separate.rest())

    @staticmethod
    def _texts(choices: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        for choice in choices:
            if isinstance(piece := choice["delta"].get("content"), str) and piece:
                yield piece

    def rest(self, answer: Answer) -> Iterator[str]:
        """All of a solution of which nothing was streamed, because it had to win a vote first."""
        if not self._text and answer.solution:
            yield answer.solution

    @property
    def reply(self) -> Reply:
        return {"choices": [{"index": 0, "message": {"content": self._text}}], "usage": self._usage}


def plug(
    decomposer: str | Path | Decomposer | None,
    llm: openai.OpenAI | openai.AsyncOpenAI | str,
    model: str,
    *,
    mode: Mode = "static",
    max_subquestions: int | None = None,
    samples: int = 1,
    vote: str = "sc",
    ranker: str | Path | None = None,
    grader: GraderName = "math",
    max_tokens: int | None = None,
    prompts: str = "serve",
    price: Price | None = None,
    request: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> DecomposedLLM:
    """Put a decomposer in front of an API LLM.

    `decomposer` is a distilled decomposer's directory, any `Decomposer` of your own, or None for the LLM alone. `llm`
    is a client of OpenAI's, or the URL of a server (its key is read from OPENAI_API_KEY), and `model` its name there.
    `samples` are voted over by the rule `vote` (docs/how-to/votes.md), answers being read and compared by `grader`.
    `prompts` names the family that the LLM is asked with, `price` is what it costs (else as genai-prices lists it),
    `request` holds fields of every request ({"temperature": 0}), and `options` are further settings of the decomposer
    (`divcon.serve.settings.DecomposerSettings`).
    Raises ConfigError when something is not there.
    """
    asks, make, rates = _decomposer(decomposer, max_subquestions, options or {})
    client, aclient = _clients(llm)
    upstream = UpstreamSettings(url=_url(client or aclient), model=model, prompts=prompts)
    settings = ServeSettings(
        decomposer=asks,
        upstream=upstream,
        mode=mode,
        vote=VoteSettings(samples=samples, rule=vote, ranker=Path(ranker) if ranker else None, grader=grader),
        limits=LimitSettings(max_tokens=max_tokens, n=_ANY, samples=_ANY),
    )
    if problem := chats.refused_rule(vote, settings):
        raise ConfigError(problem)
    election = Election(grader, RankerScorer(settings.vote.ranker) if settings.vote.ranker else None)
    composition = Composition({"upstream": templates.family(prompts)}, election, secrets.token_bytes(32), asks)
    rates = replace(rates, upstream=price or upstream.rates())
    return DecomposedLLM(
        settings,
        BlockingDecomposer(make) if make else None,
        composition,
        rates,
        client,
        aclient,
        request or {},
        owns=isinstance(llm, str),
    )


def _decomposer(
    decomposer: str | Path | Decomposer | None, limit: int | None, options: Mapping[str, Any]
) -> tuple[DecomposerSettings | None, Make | None, Rates]:
    """How a decomposer is asked, what asks it, and what it costs."""
    if decomposer is None:
        return None, None, Rates()
    path = decomposer if isinstance(decomposer, str | Path) else "own"
    settings = decomposer_settings(path, limit, options)
    if not isinstance(decomposer, str | Path):
        return settings, decomposer_of(decomposer), Rates()
    opened = loading.opened(str(decomposer), "decomposer", settings.model, settings.concurrency)
    price = settings.price
    rates = Rates(decomposer=price, decomposer_size=opened.engine.footprint(opened.adapter))
    return settings, DecomposerService(loading.asker(settings, opened)), rates


def _clients(
    llm: openai.OpenAI | openai.AsyncOpenAI | str,
) -> tuple[openai.OpenAI | None, openai.AsyncOpenAI | None]:
    """What asks an LLM without an event loop, or in one."""
    import openai

    if isinstance(llm, str):
        return openai.OpenAI(base_url=llm, api_key=key("OPENAI_API_KEY")), None
    if isinstance(llm, openai.AsyncOpenAI):
        return None, llm
    if isinstance(llm, openai.OpenAI):
        return llm, None
    raise ConfigError(f"llm is a {type(llm).__name__}; give a client of OpenAI's, or the URL of a server")


def _url(client: openai.OpenAI | openai.AsyncOpenAI | None) -> str:
    """Where a client asks, without what a URL may hold besides."""
    parts = urlsplit(str(client.base_url)) if client else urlsplit("")
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
