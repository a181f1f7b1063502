"""What a key with a limit in dollars may ask, and that its account is never below what the upstream bills."""

from __future__ import annotations

import json
import sqlite3
import string
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from divcon import commands
from divcon.core.async_to_sync import run_sync
from divcon.lm.cost.prices import Price
from divcon.prompts import Prompt
from divcon.serve.http.budget import Budget
from divcon.serve.http.keys import Caller
from divcon.serve.http.quotas import Quotas
from divcon.serve.pipeline.errors import APIError
from divcon.serve.pipeline.pipeline import Ask, RequestTrace, Step, chain, run
from divcon.serve.pipeline.request import NESTED_REASONING_BUDGETS, REASONING_BUDGETS, read

from ...fakes.billing import COMPLETION, PRICE, PROMPT, Answer, Billing, billing, completion, cut, failure
from ...fakes.serving import Reply, Served, eventually, request, serving
from ..pipeline.test_pipeline import World, one_at_a_time

MOST = 1000
"""Tokens of a completion."""
WORST = MOST * COMPLETION / 1e6
"""Dollars that one completion may cost, without its prompt."""


class Shop(NamedTuple):
    """An endpoint with keys in front of an upstream."""

    served: Served
    upstream: Billing
    spent: Path
    keys: dict[str, str]

    def ask(self, key: str = "limited", text: str = "2 + 3?", **fields: Any) -> Reply:
        return self.served.chat(text, {"authorization": f"Bearer {self.keys[key]}"}, **fields)

    def booked(self, key: str = "limited") -> float:
        with closing(sqlite3.connect(self.spent)) as db:
            (dollars,) = db.execute("SELECT total(dollars) FROM spent WHERE name = ?", (key,)).fetchone()
        return float(dollars)

    def cost(self, reply: Any, **fields: Any) -> float:
        """What a request is booked at whose upstream answers so."""
        self.upstream.reply = reply
        with closing(sqlite3.connect(self.spent)) as db, db:
            db.execute("UPDATE spent SET dollars = 0")  # a sum of large and small would not keep the small one's digits
        self.settled(self.ask(**fields))
        return self.booked()

    def settled(self, reply: Reply) -> Reply:
        """The reply, once its request is over: the client has it a moment before."""
        assert eventually(lambda: reply.headers["x-request-id"] in self.served.log.read_text())
        return reply


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with opened(tmp_path_factory.mktemp("shop")) as found:
        yield found


class opened:  # noqa: N801  # a context manager
    """An endpoint with a free key and one with a limit, for as long as a block lasts."""

    def __init__(self, folder: Path, **sets: object) -> None:
        self.folder, self.sets = folder, sets

    def __enter__(self) -> Shop:
        file = self.folder / "keys.json"
        keys = {
            "free": commands.add_key(file, "free"),
            "limited": commands.add_key(file, "limited", dollars_per_day=1e30),
            "small": commands.add_key(file, "small", dollars_per_day=0.5),
        }
        sets = {"upstream.price": PRICE, "limits.max_tokens": MOST, "upstream.timeout": 1.0, **self.sets}
        self.upstream = billing()
        running = self.upstream.__enter__()
        words = ("--upstream", running.url, "--model", "m", "--keys", str(file))
        self.server = serving(*words, sets=sets)
        return Shop(self.server.__enter__(), running, self.folder / "keys.json.spent.sqlite", keys)

    def __exit__(self, *error: Any) -> None:
        self.server.__exit__(*error)
        self.upstream.__exit__(*error)


# -- what an upstream says that it took --

UNBELIEVABLE: list[Any] = [
    ...,
    None,
    {},
    [],
    "many",
    {"prompt_tokens": 5},
    {"completion_tokens": 50},
    {"prompt_tokens": -5, "completion_tokens": 50},
    {"prompt_tokens": 5, "completion_tokens": -50},
    {"prompt_tokens": 5.0, "completion_tokens": 50.0},
    {"prompt_tokens": True, "completion_tokens": True},
    {"prompt_tokens": "5", "completion_tokens": "50"},
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    {"prompt_tokens": 5, "completion_tokens": 1},
    {"prompt_tokens": 5, "completion_tokens": float("nan")},
    {"prompt_tokens": 5, "completion_tokens": float("inf")},
    {"prompt_tokens": 5, "completion_tokens": 10**400},
]
LARGER: list[tuple[Any, float]] = [
    ({"prompt_tokens": 10**9, "completion_tokens": 50}, 10**9 * PROMPT),
    ({"prompt_tokens": 5, "completion_tokens": 10**12}, 10**12 * COMPLETION),
    ({"prompt_tokens": 5.0, "completion_tokens": 1e12}, 1e12 * COMPLETION),
    ({"prompt_tokens": 10**9}, 10**9 * PROMPT),
    ({"completion_tokens": 10**9}, 10**9 * COMPLETION),
    ({"prompt_tokens": 5, "completion_tokens": 50, "total_tokens": 10**7}, (10**7 - 55) * COMPLETION),
    ({"prompt_tokens": -3, "completion_tokens": 10**9}, 10**9 * COMPLETION),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("usage", UNBELIEVABLE, ids=lambda usage: str(usage)[:60])
def test_a_usage_that_cannot_be_leaves_the_worst_booked(shop: Shop, usage: Any, stream: bool) -> None:
    assert shop.cost(lambda body: completion(body, usage), stream=stream) >= WORST


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("usage", "micros"), LARGER, ids=lambda value: str(value)[:60])
def test_a_usage_above_the_worst_is_booked_as_it_is_stated(shop: Shop, usage: Any, micros: float, stream: bool) -> None:
    assert shop.cost(lambda body: completion(body, usage), stream=stream) >= micros / 1e6


@pytest.mark.parametrize("stream", [False, True])
def test_a_usage_that_can_be_is_what_is_booked(shop: Shop, stream: bool) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 50, "total_tokens": 55}
    cost = shop.cost(lambda body: completion(body, usage), stream=stream)
    assert cost == pytest.approx((5 * PROMPT + 50 * COMPLETION) / 1e6)


def test_tokens_that_only_the_total_counts_are_booked_as_written(shop: Shop) -> None:
    """Some servers leave the tokens that a model thinks with out of `completion_tokens`, and bill them."""
    usage = {"prompt_tokens": 5, "completion_tokens": 50, "total_tokens": 355}
    cost = shop.cost(lambda body: completion(body, usage))
    assert cost == pytest.approx((5 * PROMPT + 350 * COMPLETION) / 1e6)


@pytest.mark.parametrize("fields", [{"n": 3}, {"divcon": {"k": 3}}], ids=str)
def test_fewer_choices_than_asked_for_without_a_usage_are_unknown(shop: Shop, fields: dict[str, Any]) -> None:
    cost = shop.cost(lambda body: completion(body, None, choices=1), **fields)
    assert cost >= 3 * WORST


def test_a_sample_that_is_billed_and_kept_back_is_booked(shop: Shop) -> None:
    """A server that knows no n bills what it was asked for each time, and gives one choice."""
    shop.upstream.requests.clear()
    cost = shop.cost(lambda body: completion(body, None, choices=1), divcon={"k": 8})
    assert cost >= shop.upstream.bill() > 8 * WORST


# -- what went wrong after the request was sent --


def broken(body: dict[str, Any]) -> Answer:
    return cut(completion(body, {"prompt_tokens": 5, "completion_tokens": 50}))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 520, 522, 524, 529, 599, 408, 499, 202, 206])
def test_a_failure_after_the_request_was_sent_is_perhaps_billed(shop: Shop, status: int, stream: bool) -> None:
    assert shop.cost(lambda body: failure(status), stream=stream) >= WORST


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        broken,
        lambda body: Answer(b"<html>All is well.</html>", kind="text/html"),
        lambda body: Answer(b"data: {\n\n", kind="text/event-stream"),
        lambda body: Answer(b'{"choices": []}'),
        lambda body: Answer(b"", length=99),
    ],
    ids=["cut", "html", "half an event", "no choices", "nothing"],
)
def test_an_answer_that_cannot_be_used_is_perhaps_billed(shop: Shop, reply: Any, stream: bool) -> None:
    assert shop.cost(reply, stream=stream) >= WORST


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_does_not_come_in_time_is_perhaps_billed(shop: Shop, stream: bool) -> None:
    answered = threading.Event()

    def late(body: dict[str, Any]) -> Answer:
        answered.wait(10)
        return failure(400)

    assert shop.cost(late, stream=stream) >= WORST
    answered.set()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
def test_what_the_upstream_refuses_is_not_billed(shop: Shop, status: int) -> None:
    assert shop.cost(lambda body: failure(status)) == pytest.approx(0, abs=1e-9)


def test_what_is_known_and_what_is_not_add_up(shop: Shop) -> None:
    """The first call states more than was held back, and the second fails."""
    replies = [lambda body: completion(body, {"prompt_tokens": 5, "completion_tokens": 10**6}, choices=1)]
    cost = shop.cost(lambda body: replies.pop()(body) if replies else failure(500), divcon={"k": 2})
    assert cost >= (10**6 * COMPLETION) / 1e6 + WORST


# -- what a key with a limit may ask --

CHOOSING: dict[str, Any] = {
    "models": ["dear"],
    "plugins": [{"id": "web"}],
    "provider": {"order": ["dear"]},
    "best_of": 20,
    "use_beam_search": True,
    "service_tier": "priority",
    "route": "fallback",
    "transforms": ["middle-out"],
    "web_search_options": {},
    "tools": [{"type": "web_search_preview"}],
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "prediction": {"type": "content", "content": "long"},
    "extra_body": {"models": ["dear"]},
    "guided_json": {"type": "object"},
    "min_tokens": 10**6,
    "ignore_eos": True,
    "store": True,
    "metadata": {"tag": "dear"},
    "prompt_cache_retention": "24h",
    "speculation": {"draft": 5},
    "chat_template": "{{ messages * 1000 }}",
    "Models": ["dear"],
    "a_field_of_tomorrow": 1,
}
"""Fields that can make a request dearer than its tokens at the listed price, or may one day."""


@pytest.mark.parametrize("name", CHOOSING)
def test_a_key_with_a_limit_cannot_choose_another_model_or_price(shop: Shop, name: str) -> None:
    shop.upstream.reply = lambda body: completion(body, ...)
    shop.upstream.requests.clear()
    reply = shop.ask(**{name: CHOOSING[name]})
    assert (reply.status, str(reply.error["param"]).partition("[")[0]) == (400, name)
    assert name in reply.error["message"] and not shop.upstream.requests
    assert shop.ask("free", **{name: CHOOSING[name]}).status == 200
    assert shop.upstream.requests[-1].body[name] == CHOOSING[name]


PARTS: list[Any] = [
    {"type": "image_url", "image_url": {"url": "https://pictures.example/large.png"}},
    {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
    {"type": "file", "file": {"file_id": "file-1"}},
    {"type": "video_url", "video_url": {"url": "https://films.example/long.mp4"}},
    {"type": "input_image", "file_id": "file-1"},
    {"text": "no type"},
    {"type": "text", "text": "kept for an hour", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    {"type": "text", "text": "a text", "file_id": "file-1"},
    {"type": "text", "text": {"file_id": "file-1"}},
    {"type": ["text"], "text": "a text"},
]
MESSAGES: list[dict[str, Any]] = [
    *({"role": "user", "content": [part]} for part in PARTS),
    {"role": "user", "content": "a text", "cache_control": {"type": "ephemeral"}},
    {"role": "assistant", "content": None, "audio": {"id": "audio-1"}},
    {"role": "assistant", "content": "a text", "attachments": [{"file_id": "file-1"}]},
    {"role": "wizard", "content": "a text"},
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message)[:80])
def test_a_short_part_that_may_stand_for_much_is_refused(shop: Shop, message: dict[str, Any]) -> None:
    shop.upstream.requests.clear()
    turns = [message, {"role": "user", "content": "2 + 3?"}]
    reply = shop.ask(messages=turns)
    assert reply.status == 400 and reply.error["param"].startswith("messages[0]")
    assert not shop.upstream.requests


def test_what_clients_send_every_day_is_not_refused(shop: Shop) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    function = {"name": "add", "description": "Adds.", "parameters": {"type": "object"}, "strict": True}
    turns = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "2 + 3?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None, "annotations": [], "audio": None},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "5"}]},
        {"role": "user", "content": "And now?"},
    ]
    fields: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["\n"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "logit_bias": {"50256": -100},
        "logprobs": True,
        "top_logprobs": 2,
        "user": "ann",
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        "reasoning_effort": "low",
        "service_tier": "auto",
        "max_completion_tokens": 50,
        "n": 2,
        "store": None,
    }
    shop.upstream.reply = lambda body: completion(body, ...)
    streaming: list[dict[str, Any]] = [{}, {"stream": True, "stream_options": {"include_usage": True}}]
    for stream in streaming:
        reply = shop.ask(messages=turns, **fields, **stream)
        assert reply.status == 200, reply.body


def test_the_limit_of_a_completion_goes_on_under_the_name_that_the_upstream_obeys(shop: Shop) -> None:
    """A server that does not know `max_completion_tokens` would write as much as it likes."""
    shop.upstream.reply = lambda body: completion(body, ...)
    names = {"max_tokens", "max_completion_tokens"}
    given: list[dict[str, Any]] = [{"max_completion_tokens": 50}, {"max_tokens": 50}]
    for fields in (*given, {"max_completion_tokens": 50, "max_tokens": 40}):
        shop.ask("limited", **fields)
        body = shop.upstream.requests[-1].body
        assert {name: body[name] for name in names & body.keys()} == {"max_tokens": 50}
        shop.ask("free", **fields)
        body = shop.upstream.requests[-1].body
        assert {name: body[name] for name in names & body.keys()} == fields


def test_what_stands_in_the_address_or_a_header_does_not_reach_the_upstream(shop: Shop) -> None:
    shop.upstream.reply = lambda body: completion(body, ...)
    shop.upstream.requests.clear()
    shop.ask(text="2 + 3?")
    headers = {"x-models": "dear", "openai-organization": "other", "x-title": "y", "anthropic-beta": "z", "cookie": "a"}
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "2 + 3?"}]}).encode()
    own = {"authorization": f"Bearer {shop.keys['limited']}"}
    path = "/v1/chat/completions?models=dear&api-version=9"
    assert shop.served.exchange(request("POST", path, body, {**headers, **own})).status == 200
    plain, dressed = shop.upstream.requests
    assert (dressed.path, dressed.headers.keys()) == (plain.path, plain.headers.keys())


def test_a_picture_is_held_back_for_at_what_the_model_can_read(tmp_path: Path) -> None:
    """An upstream that bills its whole context for a picture, and says nothing of it."""
    context = 200_000
    question = [{"type": "text", "text": "What is this?"}, PARTS[0]]
    with opened(tmp_path, **{"upstream.context": context}) as shop:
        assert shop.cost(
            lambda body: completion(body, ...), text="", messages=[{"role": "user", "content": question}]
        ) >= (context * PROMPT / 1e6 + WORST)
        statuses = [shop.ask("small", "", messages=[{"role": "user", "content": question}]).status for _ in range(4)]
        assert statuses[0] == 200 and statuses[-1] == 429
        assert len(shop.upstream.requests) * context * PROMPT / 1e6 <= 1 + 0.5
        assert shop.ask(messages=[{"role": "user", "content": [PARTS[1]]}]).status == 400, "sound has another price"


def test_a_completion_without_any_limit_is_held_back_for_at_what_the_model_can_write(tmp_path: Path) -> None:
    with opened(tmp_path, **{"limits.max_tokens": "null"}) as shop:
        reply = shop.ask()
        assert (reply.status, reply.error["param"]) == (400, "max_tokens")
        assert shop.ask("free").status == 200
        assert shop.cost(lambda body: completion(body, ...), max_tokens=50) >= 50 * COMPLETION / 1e6


# -- the law --

words = st.text(st.sampled_from(string.ascii_letters + ' \n"\\{}é漢🍐\u200b\ufdfa'), max_size=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | words, lambda v: st.lists(v, max_size=3), max_leaves=5
)
schemas = st.dictionaries(words, values, max_size=4)
parts = st.sampled_from(PARTS) | st.builds(lambda text: {"type": "text", "text": text}, words)
budgets = st.integers(-9000, 9000) | st.none() | st.booleans() | st.floats(-1, 1e6)
contents = words | st.none() | st.lists(parts, max_size=3)
turns = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": contents},
    optional={
        "name": words,
        "tool_call_id": words,
        "tool_calls": st.lists(
            st.builds(
                lambda a, b: {"id": a, "type": "function", "function": {"name": a, "arguments": b}}, words, words
            ),
            max_size=2,
        ),
        "refusal": words | st.none(),
    },
)
bodies = st.fixed_dictionaries(
    {"messages": st.lists(turns, min_size=1, max_size=4)},
    optional={
        "n": st.integers(1, 8),
        "max_tokens": st.integers(1, 5000) | st.none(),
        "max_completion_tokens": st.integers(1, 5000) | st.none(),
        "stream": st.booleans(),
        "tools": st.lists(
            st.builds(
                lambda name, schema: {"type": "function", "function": {"name": name, "parameters": schema}},
                words,
                schemas,
            ),
            max_size=2,
        ),
        "response_format": st.builds(lambda s: {"type": "json_schema", "json_schema": {"schema": s}}, schemas),
        "stop": words | st.lists(words, max_size=2),
        "user": words,
        "logit_bias": st.dictionaries(words, st.integers(-100, 100), max_size=3),
        "temperature": st.floats(0, 2),
        **dict.fromkeys(REASONING_BUDGETS, budgets),
        **{key: st.fixed_dictionaries({name: budgets}) for key, name in NESTED_REASONING_BUDGETS},
        "divcon": st.fixed_dictionaries({}, optional={"k": st.integers(1, 4), "mode": st.just("off")}),
        **{name: st.just(value) for name, value in CHOOSING.items() if name in ("models", "best_of")},
    },
)
replies = st.sampled_from(
    [
        lambda body: completion(body, ...),
        lambda body: completion(body, None, choices=1),
        lambda body: completion(body, {"prompt_tokens": 0, "completion_tokens": 0}),
        lambda body: completion(body, {"prompt_tokens": -1, "completion_tokens": 10**9}),
        lambda body: failure(500),
        broken,
    ]
)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(bodies, st.lists(replies, min_size=1, max_size=4))
def test_a_key_is_booked_at_least_what_an_upstream_bills_for_all_that_it_gets(
    shop: Shop, body: dict[str, Any], made: list[Any]
) -> None:
    """Every byte is billed as a token of the prompt, and every sample at its limit, whatever the upstream says."""
    shop.upstream.requests.clear()
    following = iter(made * 99)
    booked = shop.cost(lambda asked: next(following)(asked), text="", **body)
    assert booked >= shop.upstream.bill() - 1e-9
    assert not any({"models", "best_of"} & request.body.keys() for request in shop.upstream.requests)


# -- the same without sockets, for every way to an answer --

Fault = str
FAULTS = ("honest", "nothing", "nothing, one choice", "zeros", "negative", "absurd", "half", "broken", "500", "429")


class Bank(World):
    """An upstream that bills each call at the most it can, or honestly, and then states what it likes."""

    def __init__(self, faults: list[Fault], **more: Any) -> None:
        super().__init__(made=one_at_a_time, **more)
        self.faults = iter(faults * 99)
        self.bill = 0.0

    async def take(self, step: Step) -> Any:
        return self.answer(step.body) if isinstance(step, Ask) else await super().take(step)

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        fault, n = next(self.faults), body.get("n") or 1
        if fault == "429":
            raise APIError(429, "not now")
        text = "The answer is 30."
        prompt, completion = len(json.dumps(body)), n * body["max_tokens"]
        if fault == "absurd":
            completion = 10**9
        self.bill += (prompt * PROMPT + completion * COMPLETION) / 1e6
        if fault in ("500", "broken"):
            raise APIError(502, "it failed", may_be_billed=True)
        usage: dict[Fault, Any] = {
            "zeros": {"prompt_tokens": 0, "completion_tokens": 0},
            "negative": {"prompt_tokens": prompt, "completion_tokens": -completion},
            "half": {"prompt_tokens": prompt},
            "honest": {"prompt_tokens": prompt, "completion_tokens": completion},
            "absurd": {"prompt_tokens": prompt, "completion_tokens": completion},
        }
        message = {"role": "assistant", "content": text}
        choices = [{"index": i, "message": message, "finish_reason": "stop"} for i in range(1 if "one" in fault else n)]
        return {"choices": choices, "usage": usage.get(fault)}


wishes = st.fixed_dictionaries({"mode": st.sampled_from(["off", "static", "interactive"]), "k": st.integers(1, 5)})


@settings(max_examples=200)
@given(st.lists(st.sampled_from(FAULTS), min_size=1, max_size=6), st.lists(wishes, min_size=1, max_size=4), words)
def test_no_history_of_calls_is_booked_below_its_bill(faults: list[Fault], asked: list[Any], text: str) -> None:
    bank = Bank(faults)
    caller, price = Caller("limited", None, 0.5), Price(prompt=PROMPT, completion=COMPLETION)
    sent = 0.0
    with Quotas() as allowance:
        for each in asked:
            chat = read(
                {"messages": [{"role": "user", "content": text or "?"}], "max_tokens": MOST, "divcon": each},
                {},
                bank.settings,
            )
            before, booked = bank.bill, allowance.spent(caller)
            with suppress(APIError):
                budget = Budget(allowance, caller, price, None, chat)
                try:
                    run_sync(run(chain(chat, bank.composition, RequestTrace(budget=budget)), bank.take))
                finally:
                    budget.settle()
            assert allowance.spent(caller) - booked >= bank.bill - before - 1e-9
            sent = max(sent, bank.bill - before)
        assert bank.bill <= 0.5 + sent if "absurd" in faults else bank.bill <= 0.5 + 1e-9


def test_a_call_that_is_larger_than_was_thought_is_not_sent_where_the_key_has_less_left() -> None:
    """A template of one's own may be of any length."""
    bank = Bank(["honest"])
    caller = Caller("limited", None, 0.03)
    chat = read({"messages": [{"role": "user", "content": "2 + 3?"}], "max_tokens": MOST}, {}, bank.settings)
    long = Prompt("long", "x" * 50_000 + "{question}{subquestions}{mark}")
    templates = {who: replace(family, solve=long) for who, family in bank.composition.templates.items()}
    with Quotas() as allowance:
        budget = Budget(allowance, caller, Price(prompt=PROMPT, completion=COMPLETION), None, chat)
        with pytest.raises(APIError, match="has less left") as refused:
            steps = chain(chat, replace(bank.composition, templates=templates), RequestTrace(budget=budget))
            run_sync(run(steps, bank.take))
        budget.settle()
        assert (refused.value.status, refused.value.code, bank.bill) == (429, "insufficient_quota", 0)
        assert allowance.spent(caller) == pytest.approx(0, abs=1e-9)
