"""A decomposer in front of stock clients, against a real server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

import divcon
from divcon.core.errors import ConfigError
from divcon.decompose import Decomposition
from divcon.lm import Usage
from divcon.lm.cost.prices import Price
from divcon.serve.client.plug import Answer, DecomposedLLM
from divcon.tasks import Question

from ...fakes.chat_upstream import ANSWER, USAGE, chatting
from ...fakes.serving import eventually

ASKED = ("How many pears are in 3 crates?", "How many pears are there in all?")
QUESTION = "Mia has 3 crates of pears. How many pears does she have?"


class Mine:
    """A decomposer of one's own, in a few lines."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, questions: Sequence[Question]) -> list[Decomposition]:
        self.batches.append([question.prompt for question in questions])
        return [Decomposition(ASKED, "asked", "", Usage(7, 5)) for _ in questions]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with chatting() as server:
        yield server.url


@pytest.fixture
def mine() -> Mine:
    return Mine()


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def plugged(client: openai.OpenAI | openai.AsyncOpenAI, mine: Mine | None, **options: Any) -> DecomposedLLM:
    return divcon.plug(mine, client, "m", price=Price(prompt=1.0, completion=10.0), **options)


async def heard(plug: DecomposedLLM) -> list[str | Answer]:
    return [piece async for piece in plug.astream(QUESTION)]


def test_a_question_is_answered_with_its_parts_and_its_price(client: openai.OpenAI, mine: Mine) -> None:
    found = plugged(client, mine).answer(QUESTION)
    assert (found.answer, found.decomposition, found.outcome) == ("9", ASKED, "asked")
    assert found.solution == ANSWER
    assert found.usage["decompose"].usage == Usage(7, 5)
    solved = found.usage["solve"].usage
    assert solved is not None
    assert (solved.prompt_tokens, solved.completion_tokens) == (USAGE["prompt_tokens"], USAGE["completion_tokens"])
    assert found.usage["solve"].dollars == pytest.approx((31 + 170) / 1e6)
    assert found.dollars is None, "nobody said what the decomposer costs"
    assert "9" in str(found)


def test_the_llm_alone_is_asked_without_a_decomposer(client: openai.OpenAI) -> None:
    found = plugged(client, None).answer(QUESTION)
    assert (found.decomposition, found.outcome) == ((), "off")
    assert found.dollars == pytest.approx((31 + 170) / 1e6)


def test_a_question_is_decomposed_once(client: openai.OpenAI, mine: Mine) -> None:
    plug = plugged(client, mine)
    assert plug.answer(QUESTION).outcome == "asked"
    again = plug.answer(QUESTION)
    assert again.outcome == "cached"
    assert again.usage["decompose"].usage == Usage()
    assert mine.batches == [[QUESTION]]


def test_questions_are_decomposed_together_and_answered_in_order(client: openai.OpenAI, mine: Mine) -> None:
    plug = plugged(client, mine)
    found = plug.answers([f"say:{i}. How many?" for i in range(20)])
    assert [answer.solution for answer in found] == [f"{i}." for i in range(20)]
    assert [len(batch) for batch in mine.batches] == [20]


def test_an_answer_can_be_heard_as_it_comes(client: openai.OpenAI, mine: Mine) -> None:
    *pieces, last = plugged(client, mine).stream(QUESTION)
    assert isinstance(last, Answer)
    assert len(pieces) > 1
    assert "".join(map(str, pieces)) == last.solution == ANSWER
    assert last.answer == "9"
    assert last.usage["solve"].usage is not None


def test_of_a_vote_the_winner_is_heard(client: openai.OpenAI, mine: Mine) -> None:
    *pieces, last = plugged(client, mine, samples=3).stream(QUESTION)
    assert isinstance(last, Answer)
    assert pieces == [ANSWER]
    assert last.share == 1


def test_all_of_it_works_in_an_event_loop(url: str, mine: Mine) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
            plug = plugged(client, mine)
            assert (await plug.aanswer(QUESTION)).answer == "9"
            found = await plug.aanswers([f"say:{i}. How many?" for i in range(20)])
            assert [answer.solution for answer in found] == [f"{i}." for i in range(20)]
            *pieces, last = await heard(plug)
            assert isinstance(last, Answer)
            assert "".join(map(str, pieces)) == last.solution

    asyncio.run(main())


def test_a_client_for_threads_answers_in_an_event_loop_too(client: openai.OpenAI, mine: Mine) -> None:
    plug = plugged(client, mine)
    assert asyncio.run(plug.aanswer(QUESTION)).answer == "9"
    assert asyncio.run(heard(plug))[-1] == asyncio.run(plug.aanswer(QUESTION))


def test_a_client_for_event_loops_says_how_it_is_asked(url: str, mine: Mine) -> None:
    plug = plugged(openai.AsyncOpenAI(base_url=url, api_key="none"), mine)
    with pytest.raises(ConfigError, match="aanswer"):
        plug.answer(QUESTION)


def test_a_mistake_is_one_sentence(client: openai.OpenAI, mine: Mine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="empty"):
        plugged(client, mine).answer("  ")
    with pytest.raises(ConfigError, match="no model in"):
        divcon.plug(tmp_path, client, "m")
    with pytest.raises(ConfigError, match="give a client"):
        divcon.plug(mine, 7, "m")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="ranker"):
        plugged(client, mine, samples=2, vote="asc")
    with pytest.raises(ConfigError, match="no family of prompts"):
        plugged(client, mine, prompts="nowhere")
    with pytest.raises(ConfigError, match="no family of prompts"):
        plugged(client, mine, prompts="no/such/folder")
    with pytest.raises(ConfigError, match="interactive"):
        plugged(client, mine, mode="interactive").answer(QUESTION)
    with pytest.raises(ConfigError, match="for an endpoint"):
        plugged(client, mine, options={"on_failure": "pass"})
    with pytest.raises(ConfigError, match="unknown key 'batsch'"):
        plugged(client, mine, options={"batsch": 1})


def test_what_the_server_says_is_raised_as_the_client_raises_it(client: openai.OpenAI, mine: Mine) -> None:
    plug = plugged(client, mine)
    with pytest.raises(openai.RateLimitError):
        plug.answer("fault:429 how many?")


@pytest.mark.parametrize("is_async", [False, True])
def test_when_one_question_fails_the_others_are_asked_no_more(mine: Mine, is_async: bool) -> None:
    questions = ["fault:429 how many?", *(f"say:{i}. How many?" for i in range(60))]

    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as aclient:
            with pytest.raises(openai.RateLimitError):
                await plugged(aclient, mine).aanswers(questions, concurrency=2)
            await asyncio.sleep(0.3)

    with chatting(latency=0.02) as server, openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        if is_async:
            asyncio.run(main())
        else:
            with pytest.raises(openai.RateLimitError):
                plugged(client, mine).answers(questions, concurrency=2)
        assert server.bill()["requests"] < 20


def test_a_stream_that_nobody_listens_to_any_more_is_left(mine: Mine) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=server.url, api_key="none") as aclient:
            pieces = plugged(aclient, mine).astream("fault:hang-mid how many?")
            await anext(pieces)
            await pieces.aclose()  # type: ignore[attr-defined]  # it is a generator
            assert await asyncio.to_thread(eventually, lambda: server.bill()["running"] == 0)

    with chatting() as server, openai.OpenAI(base_url=server.url, api_key="none") as client:
        pieces = plugged(client, mine).stream("fault:hang-mid how many?")
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]  # likewise
        assert eventually(lambda: server.bill()["running"] == 0)
        asyncio.run(main())


def test_a_url_will_do(url: str, mine: Mine) -> None:
    with divcon.plug(mine, url, "m", request={"temperature": 0}) as plug:
        assert json.loads(plug.answer("fault:echo how many?").solution)["temperature"] == 0
    assert plug.client is not None
    assert plug.client.is_closed()


def ours(found: ChatCompletion) -> dict[str, Any]:
    """What divcon adds to the usage."""
    assert found.usage is not None
    found_here: Any = found.usage.to_dict()["divcon"]
    return dict(found_here)


def messages(text: str = QUESTION) -> Any:
    return [{"role": "user", "content": text}]


def test_a_wrapped_client_stays_a_client(client: openai.OpenAI, mine: Mine) -> None:
    wrapped = divcon.wrap(client, mine)
    found = wrapped.chat.completions.create(model="m", messages=messages())
    assert isinstance(found, ChatCompletion)
    assert found.choices[0].message.content == ANSWER
    assert ours(found)["subquestions"] == list(ASKED)
    assert found.to_dict()["usage"]["total_tokens"] == USAGE["total_tokens"]  # type: ignore[index]
    assert wrapped.base_url.host == "127.0.0.1"
    assert callable(wrapped.chat.completions.parse)


def test_what_is_sent_is_the_callers_own_with_one_turn_changed(client: openai.OpenAI, mine: Mine) -> None:
    wrapped = divcon.wrap(client, mine)
    before = wrapped.chat.completions.create(model="m", messages=messages()).choices[0].message
    turns = [*messages("say:hello"), before, *messages("fault:echo how many?")]
    found = wrapped.chat.completions.create(
        model="m",
        messages=turns,
        temperature=openai.NOT_GIVEN,
        seed=7,
        extra_body={"top_k": 5, "divcon": {"max_subquestions": 1}},
    )
    sent = json.loads(found.choices[0].message.content)
    assert sent["messages"][0]["content"] == "say:hello"
    assert sent["messages"][1]["content"] == ANSWER
    assert ASKED[0] in sent["messages"][2]["content"] and ASKED[1] not in sent["messages"][2]["content"]
    assert (sent["seed"], sent["top_k"], sent["model"]) == (7, 5, "m")
    assert not {"divcon", "temperature", "max_tokens", "stream"} & sent.keys()


def test_a_wrapped_client_streams_and_votes(client: openai.OpenAI, mine: Mine) -> None:
    wrapped = divcon.wrap(client, mine)
    whole = wrapped.chat.completions.create(model="m", messages=messages(), stream=True)
    assert isinstance(whole, openai.Stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in whole if chunk.choices) == ANSWER
    voted = {"divcon": {"k": 3}}
    found = wrapped.chat.completions.create(model="m", messages=messages(), extra_body=voted)
    assert len(found.choices) == 1
    assert ours(found)["share"] == 1
    chunks = list(wrapped.chat.completions.create(model="m", messages=messages(), extra_body=voted, stream=True))
    assert chunks[0].choices[0].delta.content == ANSWER
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_wrapped_client_with_other_options_stays_wrapped(client: openai.OpenAI, mine: Mine) -> None:
    for other in (divcon.wrap(client, mine).with_options(timeout=7.0), divcon.wrap(client, mine).copy(timeout=7.0)):
        assert ours(other.chat.completions.create(model="m", messages=messages()))["subquestions"] == list(ASKED)
        assert other.timeout == 7.0


def test_a_vote_is_streamed_with_its_usage_where_that_is_asked_for(client: openai.OpenAI, mine: Mine) -> None:
    """Only the stream itself may be asked with options of streams: the API refuses them elsewhere."""
    asking = divcon.wrap(client, mine).chat.completions.create
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    first, _, last = asking(
        model="m", messages=messages("fault:echo how many?"), extra_body={"divcon": {"k": 2}}, **options
    )
    assert "stream_options" not in json.loads(first.choices[0].delta.content)
    assert (last.choices, last.usage.prompt_tokens) == ([], USAGE["prompt_tokens"])
    assert last.usage.to_dict()["divcon"]["share"] is not None
    *_, last = asking(model="m", messages=messages(), **options)
    assert last.usage.prompt_tokens == USAGE["prompt_tokens"]


def test_what_a_caller_may_ask_for_is_for_the_api_to_say(client: openai.OpenAI, mine: Mine) -> None:
    asking = divcon.wrap(client, mine).chat.completions.create
    assert len(asking(model="m", messages=messages(), n=20).choices) == 20
    assert ours(asking(model="m", messages=messages(), extra_body={"divcon": {"k": 20}}))["share"] == 1
    with pytest.raises(ConfigError, match="at least one message"):
        asking(model="m", messages=[])
    with pytest.raises(ConfigError, match="mode is none of"):
        asking(model="m", messages=messages(), extra_body={"divcon": {"mode": "sometimes"}})


def test_a_wrapped_client_for_event_loops_is_awaited(url: str, mine: Mine) -> None:
    async def main() -> None:
        bare = openai.AsyncOpenAI(base_url=url, api_key="none")
        client = divcon.wrap(bare, mine)
        found = await client.chat.completions.create(model="m", messages=messages())
        assert found.choices[0].message.content == ANSWER
        whole = await client.chat.completions.create(model="m", messages=messages(), stream=True)
        assert "".join([c.choices[0].delta.content or "" async for c in whole if c.choices]) == ANSWER
        voted = {"divcon": {"k": 2}}
        chunks = await client.chat.completions.create(model="m", messages=messages(), stream=True, extra_body=voted)
        assert [c.choices[0].delta.content async for c in chunks] == [ANSWER, None]
        await bare.close()

    asyncio.run(main())
