"""A model of one's own behind chat-completions bodies, with the small models that ship with the package."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from divcon.core.errors import ModelError
from divcon.lm import Completion, Engine, Message, Scripted, Usage
from divcon.lm.cost.prices import MachinePrice
from divcon.lm.engine import StreamCallback, silent
from divcon.lm.engines.transformers import Transformers
from divcon.lm.local.chat_template import encode, template_of
from divcon.lm.local.streaming import ABORTED
from divcon.lm.local.template import merge_system_into_user
from divcon.lm.local.weights import load_tokenizer, model_directory
from divcon.lm.types import SampleRequest
from divcon.serve.backends.local import LocalModel
from divcon.serve.backends.local_request import read
from divcon.serve.pipeline.billing import Rates
from divcon.serve.pipeline.errors import APIError
from divcon.serve.pipeline.response import consumed
from divcon.tasks import miniature

pytestmark = pytest.mark.model

QUESTIONS = [question.text for question in miniature.questions("train", 12)]
Scene = Callable[[], Coroutine[Any, Any, None]]


def run(scene: Scene) -> None:
    asyncio.run(asyncio.wait_for(scene(), 120))


def body(text: str = QUESTIONS[0], **fields: Any) -> dict[str, Any]:
    message = {"role": "user", "content": f"{text}\n\nList the questions to ask first."}
    return {"model": "local", "messages": [message], **fields}


@pytest.fixture(scope="module")
def engine() -> Transformers:
    return Transformers("miniature/base", dtype="float32")


@asynccontextmanager
async def opened(engine: Engine, most: int = 32, waiting: int = 64, **options: Any) -> AsyncIterator[LocalModel]:
    model = LocalModel(engine, None, "local", most=most, max_queue=waiting, **options)
    try:
        yield model
    finally:
        await model.close()


def said(chunks: Sequence[Mapping[str, Any]], index: int = 0) -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(delta.get("content", "") for delta in deltas)


class Endless:
    """Writes on and on, a word at a time, as long as somebody listens; it fails when it is told so."""

    def __init__(self) -> None:
        self.written = 0
        self.ended = 0
        self.failing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(Scripted(), name)

    def stream(
        self, draws: Sequence[SampleRequest], adapter: Path | None, on_text: StreamCallback = silent
    ) -> list[Completion]:
        texts = dict.fromkeys(draws, "")
        wanted = [draw for draw in draws if on_text(draw, "")]
        while wanted:
            if self.failing:
                raise ModelError("the machine is on fire")
            time.sleep(0.002)
            self.written += len(wanted)
            for draw in wanted:
                texts[draw] += "word "
            wanted = [draw for draw in wanted if on_text(draw, texts[draw])]
        self.ended += len(draws)
        return [Completion(text, ABORTED, Usage(1, len(text.split()))) for text in texts.values()]


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not happened():
            await asyncio.sleep(0.005)


def endless() -> tuple[Endless, Engine]:
    engine = Endless()
    return engine, cast(Engine, engine)


def tokens(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer's usage without its seconds, of which no two are alike."""
    return {name: count for name, count in answer["usage"].items() if name.endswith("_tokens")}


def test_a_whole_answer_is_what_openai_would_send(engine: Transformers) -> None:
    async def scene() -> None:
        async with opened(engine) as model:
            answer = await model.complete(body(temperature=0, max_tokens=24))
        read = ChatCompletion.model_validate(answer, strict=True)
        assert read.id.startswith("chatcmpl-") and read.model == "local" and abs(read.created - time.time()) < 60
        (choice,) = read.choices
        assert choice.message.content and choice.message.role == "assistant" and choice.logprobs is None
        assert read.usage is not None
        prompt = encode(engine.local.tokenizer, (Message("user", body()["messages"][0]["content"]),))
        assert read.usage.prompt_tokens == len(prompt) and 0 < read.usage.completion_tokens <= 24
        assert read.usage.total_tokens == read.usage.prompt_tokens + read.usage.completion_tokens
        json.dumps(answer, allow_nan=False)

    run(scene)


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_says_what_the_whole_answer_says(engine: Transformers, n: int) -> None:
    async def scene() -> None:
        asked = body(seed=7, max_tokens=30, n=n, logprobs=True, stop=["How"])
        async with opened(engine) as model:
            answer = await model.complete(asked)
            chunks = [chunk async for chunk in model.stream(asked)]
        for chunk in chunks:
            ChatCompletionChunk.model_validate(chunk, strict=True)
        assert len({chunk["id"] for chunk in chunks}) == 1
        assert all(chunk["choices"][0]["delta"]["role"] == "assistant" for chunk in chunks[:n])
        assert chunks[-1]["choices"] == [] and tokens(chunks[-1]) == tokens(answer)
        for choice in answer["choices"]:
            index = choice["index"]
            assert said(chunks, index) == choice["message"]["content"]
            own = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
            assert [c["finish_reason"] for c in own if c["finish_reason"]] == [choice["finish_reason"]]
            ours, theirs = own[-1]["logprobs"]["content"], choice["logprobs"]["content"]
            assert [t["logprob"] for t in ours] == pytest.approx([t["logprob"] for t in theirs], abs=1e-4)

    run(scene)


def test_a_stream_comes_in_pieces(engine: Transformers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("divcon.lm.local.sampling._SHARE", math.inf)

    async def scene() -> None:
        async with opened(engine) as model:
            chunks = [chunk async for chunk in model.stream(body(temperature=0, max_tokens=60))]
        assert sum(bool(said([chunk])) for chunk in chunks) > 3

    run(scene)


def test_a_seed_repeats_and_its_absence_does_not(engine: Transformers) -> None:
    async def scene() -> None:
        async with opened(engine) as model:

            async def texts(**fields: Any) -> list[str]:
                answer = await model.complete(body(n=8, temperature=1.5, max_tokens=16, **fields))
                return [choice["message"]["content"] for choice in answer["choices"]]

            first, again, other = await texts(seed=1), await texts(seed=1), await texts(seed=2)
            assert first == again != other and len(set(first)) > 1
            assert await texts() != await texts()
            same = await asyncio.gather(*(texts(seed=1) for _ in range(3)))
            assert same == [first] * 3

    run(scene)


def test_limits_stops_and_logprobs(engine: Transformers) -> None:
    async def scene() -> None:
        async with opened(engine) as model:
            whole = await model.complete(body(temperature=0, max_tokens=40))
            text = whole["choices"][0]["message"]["content"]
            short = await model.complete(body(temperature=0, max_tokens=40, max_completion_tokens=3, logprobs=True))
            cut = await model.complete(body(temperature=0, max_tokens=40, stop=text.split()[2]))
        (choice,) = short["choices"]
        assert choice["finish_reason"] == "length" and short["usage"]["completion_tokens"] == 3
        tokens = choice["logprobs"]["content"]
        assert len(tokens) == 3 and all(t["logprob"] <= 0 and t["top_logprobs"] == [] for t in tokens)
        (choice,) = cut["choices"]
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["content"] == text[: text.index(text.split()[2])]

    run(scene)


def test_the_prompt_of_several_samples_is_counted_once(engine: Transformers) -> None:
    async def scene() -> None:
        async with opened(engine) as model:
            one = await model.complete(body(seed=0, max_tokens=5))
            four = await model.complete(body(seed=0, max_tokens=5, n=4))
        assert four["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
        assert len(four["choices"]) == 4 and four["usage"]["completion_tokens"] > one["usage"]["completion_tokens"]

    run(scene)


def test_a_machines_seconds_have_their_price(engine: Transformers) -> None:
    async def scene() -> None:
        async with opened(engine) as model:
            answer = await model.complete(body(max_tokens=5))
        took = consumed(answer)
        assert took and took.seconds > 0
        rates = Rates(local=MachinePrice(second=2.0))
        assert rates.solving([("local", took)]).dollars == pytest.approx(2 * took.seconds)

    run(scene)


def test_many_requests_of_any_kind_are_few_batches(engine: Transformers) -> None:
    sizes: list[int] = []

    async def scene() -> None:
        async with opened(engine, on_batch=lambda size, seconds: sizes.append(size)) as model:
            await model.warm()
            assert sizes == [1]
            wanted = [
                body(
                    text, temperature=i % 2, seed=i, max_tokens=4 + i % 9, logprobs=i % 3 == 0, stop=["x", "."][: i % 3]
                )
                for i, text in enumerate(QUESTIONS * 3)
            ]
            together = await asyncio.gather(*map(model.complete, wanted))
            assert sum(sizes[1:]) == len(wanted) and len(sizes[1:]) < len(wanted) / 4
            for asked, answer in list(zip(wanted, together, strict=True))[::5]:
                alone = await model.complete(asked)
                assert alone["choices"][0]["message"] == answer["choices"][0]["message"]
                assert tokens(alone) == tokens(answer)

    run(scene)


def test_streams_and_whole_answers_share_batches(engine: Transformers) -> None:
    async def scene() -> None:
        async with opened(engine) as model:

            async def streamed(asked: Mapping[str, Any]) -> str:
                return said([chunk async for chunk in model.stream(asked)])

            async def whole(asked: Mapping[str, Any]) -> str:
                return str((await model.complete(asked))["choices"][0]["message"]["content"])

            wanted = [body(text, seed=3, max_tokens=20) for text in QUESTIONS]
            texts = await asyncio.gather(*map(streamed, wanted), *map(whole, wanted))
            assert texts[: len(wanted)] == texts[len(wanted) :]

    run(scene)


def test_a_stream_that_is_closed_early_stops_the_generation() -> None:
    async def scene() -> None:
        state, engine = endless()
        async with opened(engine) as model:
            stream = model.stream(body(n=2))
            async with aclosing(stream):
                async for chunk in stream:
                    if "word" in said([chunk], 1):
                        break
            await until(lambda: state.ended == 2)

    run(scene)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_request_that_is_cancelled_stops_its_rows_and_no_others(streamed: bool) -> None:
    async def scene() -> None:
        state, engine = endless()
        async with opened(engine) as model:

            async def ask() -> None:
                if streamed:
                    async for _ in model.stream(body()):
                        pass
                await model.complete(body())

            first = asyncio.create_task(model.complete(body()))
            await until(lambda: state.written > 0)
            tasks = [asyncio.create_task(ask()) for _ in range(2)]
            await until(lambda: model.queued == 2)
            first.cancel()
            await until(lambda: state.ended == 1 and model.queued == 0)  # and the two run together
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
            written = state.written
            await until(lambda: state.written > written + 10)
            assert not tasks[1].done() and state.ended == 1
            tasks[1].cancel()
            await until(lambda: state.ended == 3)

    run(scene)


def test_a_full_queue_is_refused_before_a_stream_begins() -> None:
    async def scene() -> None:
        state, engine = endless()
        async with opened(engine, most=1, waiting=1) as model:
            running = asyncio.create_task(model.complete(body()))
            await until(lambda: state.written > 0)
            waiting = asyncio.create_task(model.complete(body()))
            await until(lambda: model.queued == 1)
            for refused in (model.complete(body()), anext(aiter(model.stream(body())))):
                with pytest.raises(APIError) as caught:
                    await refused
                assert caught.value.status == 429 and caught.value.retry_after
            with pytest.raises(APIError, match="n must be at most 2 here"):
                await model.complete(body(n=3))
            waiting.cancel()
            running.cancel()
            await until(lambda: state.ended == 1)

    run(scene)


def test_what_happens_to_a_model_is_told_in_whole_answers_and_in_streams() -> None:
    async def scene() -> None:
        state, engine = endless()
        async with opened(engine) as model:
            stream = model.stream(body())
            assert (await anext(stream))["choices"][0]["delta"]["role"] == "assistant"
            await until(lambda: state.written > 0)
            state.failing = True
            with pytest.raises(ModelError, match="on fire"):
                _ = [chunk async for chunk in stream]
            with pytest.raises(ModelError, match="on fire"):
                await model.complete(body())
            left = model.stream(body())
            await anext(left)
            await asyncio.sleep(0.05)
            await left.aclose()  # and nobody asked how it ended

    run(scene)


def test_closing_finishes_what_is_generated_and_fails_what_waits() -> None:
    async def scene() -> None:
        state, engine = endless()
        model = LocalModel(engine, None, "local", most=1, max_queue=4)
        running = asyncio.create_task(model.complete(body()))
        await until(lambda: state.written > 0)
        waiting = asyncio.create_task(model.complete(body()))
        await until(lambda: model.queued == 1)
        closing = asyncio.create_task(model.close())
        with pytest.raises(ModelError, match="shut down"):
            await waiting
        running.cancel()
        await closing
        with pytest.raises(ModelError, match="shut down"):
            await model.complete(body())
        assert state.ended == 1

    run(scene)


def test_an_engine_that_cannot_be_heard_answers_in_one_piece() -> None:
    async def scene() -> None:
        scripted = Scripted("one two three", "four", "five", "")
        async with opened(scripted) as model:
            chunks = [chunk async for chunk in model.stream(body())]
            assert [said([chunk]) for chunk in chunks] == ["", "one two three", "", ""]
            answer = await model.complete(body(n=3))
            assert [choice["message"]["content"] for choice in answer["choices"]] == ["four", "five", ""]
            assert answer["choices"][0]["logprobs"] is None
            assert chunks[-1]["usage"]["completion_tokens"] == 3
        assert scripted.asked == [read(body()).messages] * 4

    run(scene)


def test_a_prompt_that_fills_the_context_is_refused_and_one_that_nearly_does_gets_the_rest(
    engine: Transformers,
) -> None:
    async def scene() -> None:
        assert engine.local.context == 512
        async with opened(engine) as model:
            with pytest.raises(APIError, match=r"context is 512 tokens, and the messages have \d+") as caught:
                await model.complete(body(" ".join(["one"] * 600)))
            assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")
            answer = await model.complete(body(" ".join(["one"] * 480), temperature=0, max_tokens=400))
            assert answer["usage"]["total_tokens"] <= 512

    run(scene)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": ["Hello"]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "\ud83d"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "a", "tool_call_id": "b"}]}, "messages[0]"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}, "messages[0]"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"top_logprobs": 3, "logprobs": True}, "top_logprobs"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_completion_tokens": -1, "max_tokens": 5}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": 5}, "stop"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 2**70}, "seed"),
        ({"logprobs": 1}, "logprobs"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_the_field_named(fields: dict[str, Any], param: str) -> None:
    async def scene() -> None:
        async with opened(Scripted()) as model:
            for asking in (model.complete(body(**fields)), anext(aiter(model.stream(body(**fields))))):
                with pytest.raises(APIError) as caught:
                    await asking
                assert (caught.value.status, caught.value.param) == (400, param)

    run(scene)


def test_what_asks_for_nothing_is_no_reason_to_refuse() -> None:
    asked = read(
        body(
            tools=[],
            tool_choice="auto",
            response_format={"type": "text"},
            frequency_penalty=0.0,
            logit_bias={},
            top_logprobs=None,
            stop=None,
            seed=None,
            n=None,
            temperature=None,
            max_tokens=None,
            user="somebody",
            stream=True,
            metadata={"a": "b"},
        )
    )
    assert asked.sampling.temperature == 1.0 and asked.sampling.max_tokens == 512 and asked.n == 1
    assert read(body(temperature=1e-9)).sampling.temperature == 0.0


def test_conversations_are_read_turn_by_turn() -> None:
    parts = [{"type": "text", "text": "How"}, {"type": "text", "text": "many?"}]
    asked = read(
        {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": parts, "name": "somebody"},
                {"role": "assistant", "content": "Three."},
                {"role": "user", "content": "Why?"},
            ]
        }
    )
    assert asked.messages == (
        Message("system", "Be brief."),
        Message("user", "How\nmany?"),
        Message("assistant", "Three."),
        Message("user", "Why?"),
    )


REFUSES = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% elif (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}"
    "{% endif %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
)
FORGETS = "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] + '\n' }}{% endif %}{% endfor %}"
TELLS = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"


def with_template(directory: Path, template: str) -> Transformers:
    shutil.copytree(model_directory("miniature/base"), directory)
    (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    return Transformers(str(directory), dtype="float32")


@pytest.mark.parametrize(("template", "takes"), [(REFUSES, False), (FORGETS, False), (TELLS, True)])
def test_a_template_without_a_system_turn_has_the_user_say_it(tmp_path: Path, template: str, takes: bool) -> None:
    engine = with_template(tmp_path / "model", template)
    assert template_of(engine.local.tokenizer).supports_system_role is takes

    async def scene() -> None:
        system, (user,) = {"role": "system", "content": "Answer in one word."}, body()["messages"]
        told = {"role": "user", "content": f"{system['content']}\n\n{user['content']}"}
        async with opened(engine) as model:
            first = await model.complete({"messages": [system, user], "temperature": 0, "max_tokens": 12})
            second = await model.complete({"messages": [told], "temperature": 0, "max_tokens": 12})
        assert (first["usage"]["prompt_tokens"] == second["usage"]["prompt_tokens"]) is not takes

    run(scene)


def test_what_a_template_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    engine = with_template(tmp_path / "model", REFUSES)

    async def scene() -> None:
        async with opened(engine) as model:
            (user,) = body()["messages"]
            with pytest.raises(APIError, match="chat template refuses the messages: Roles must alternate"):
                await model.complete({"messages": [{"role": "assistant", "content": "Three."}, user]})

    run(scene)


def test_the_miniatures_template_has_the_system_speak_as_a_user() -> None:
    tokenizer = load_tokenizer(model_directory("miniature/llm"))
    assert template_of(tokenizer).supports_system_role
    spoken = encode(tokenizer, (Message("system", "How many?"), Message("user", "Why?")))
    assert spoken == encode(tokenizer, (Message("user", "How many?"), Message("user", "Why?")))


def test_every_system_turn_goes_to_the_user_turn_behind_it() -> None:
    system, user, assistant = (Message(role, role[0]) for role in ("system", "user", "assistant"))
    assert merge_system_into_user((system, system, user, assistant, system, user, system)) == (
        Message("user", "s\n\ns\n\nu"),
        assistant,
        Message("user", "s\n\nu"),
        Message("user", "s"),
    )
    assert merge_system_into_user((user, assistant)) == (user, assistant)


def test_a_student_is_asked_with_the_sentence_that_it_was_taught_with() -> None:
    engine = Scripted(answer=lambda messages, i: messages[-1].content)
    model = LocalModel(engine, None, "m", most=4, max_queue=4, suffix="Be right.")

    async def main() -> str:
        try:
            found = await model.complete({"messages": [{"role": "user", "content": "2 + 3?"}]})
        finally:
            await model.close()
        return str(found["choices"][0]["message"]["content"])

    assert asyncio.run(main()) == "2 + 3?\nBe right."
