"""Requests and replies, read without trust."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divcon.serve.backends.sse import DONE, Events, event
from divcon.serve.pipeline import response
from divcon.serve.pipeline.errors import APIError
from divcon.serve.pipeline.request import parse, read

from .test_pipeline import request, settings


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b"[1]", b'"text"', b"null", b"\xff\xfe", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": -Infinity}'),
        *(b"[" * 100_000, b'{"a": "\\ud800"}', b'{"a": ' + b"9" * 5000 + b"}"),
        *(b'{"a": "\xed\xa0\x80"}', '{"a": "\\ud800"}'.encode("utf-16")),
    ],
)
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(APIError) as refused:
        parse(raw)
    assert refused.value.status == 400


def test_a_budget_of_reasoning_is_lowered_to_the_limit_of_a_completion() -> None:
    body = {
        "messages": [{"role": "user", "content": "?"}],
        "thinking_budget": 10**6,
        "thinking": {"type": "enabled", "budget_tokens": 10**6},
    }
    made = read({**body, "reasoning": {"max_tokens": 5}, "thinking_token_budget": -1}, {}, settings())
    most = settings().limits.max_tokens
    assert (made.body["thinking_budget"], made.body["thinking"]) == (most, {"type": "enabled", "budget_tokens": most})
    assert (made.body["reasoning"], made.body["thinking_token_budget"]) == ({"max_tokens": 5}, -1)


def test_a_whole_pair_of_surrogates_is_a_character() -> None:
    assert parse(b'{"a": "\\ud83c\\udf50"}') == {"a": "🍐"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("messages", None),
        ("messages", []),
        ("messages", "hello"),
        ("messages", [{"content": "no role"}]),
        ("messages", [{"role": "user", "content": 7}]),
        ("messages", [{"role": "user", "content": ["a"]}]),
        ("n", 0),
        ("n", 9),
        ("n", True),
        ("n", "2"),
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("stream", "yes"),
        ("stream_options", []),
        ("divcon", "off"),
        ("divcon", {"mode": "sometimes"}),
        ("divcon", {"mood": "off"}),
        ("divcon", {"k": 17}),
        ("divcon", {"k": 0}),
        ("divcon", {"k": 2, "vote": "loudest"}),
        ("divcon", {"k": 2, "vote": 7}),
        ("divcon", {"vote": "sc"}),
        ("divcon", {"k": 2, "vote": "asc"}),
        ("divcon", {"k": 2, "vote": "certainty_best"}),
        ("divcon", {"k": 2, "vote": "rank_1_plus_learned"}),
        ("divcon", {"max_subquestions": 0}),
    ],
)
def test_a_field_that_makes_no_sense_is_named(field: str, value: Any) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "2 + 3?"}], field: value}
    with pytest.raises(APIError) as refused:
        read(body, {}, settings())
    assert refused.value.status == 400
    named = str(refused.value.param).partition("[")[0]  # a turn of the messages is named by its place
    assert named in (field, "mode", "k", "vote", "max_subquestions")
    assert set(refused.value.body()["error"]) == {"message", "type", "param", "code"}


def test_n_and_k_are_not_asked_for_together() -> None:
    with pytest.raises(APIError, match="one of them"):
        request(n=2, divcon={"k": 2})


def test_a_mode_needs_a_decomposer() -> None:
    plain = settings(decomposer=None)
    assert request(plain).wishes.mode == "off"
    with pytest.raises(APIError, match="no decomposer"):
        request(plain, divcon={"mode": "static"})


def test_headers_say_what_a_body_can() -> None:
    headers = {"x-divcon-mode": "interactive", "x-divcon-max-subquestions": "2", "x-divcon-k": "3"}
    body = {"model": "m", "messages": [{"role": "user", "content": "2 + 3?"}]}
    wishes = read(body, headers, settings()).wishes
    assert (wishes.mode, wishes.limit, wishes.samples) == ("interactive", 2, 3)
    assert read({**body, "divcon": {"mode": "off"}}, headers, settings()).wishes.mode == "off", "the body comes first"
    with pytest.raises(APIError):
        read(body, {"x-divcon-k": "three"}, settings())


def test_our_extension_and_the_stream_do_not_pass_through() -> None:
    chat = request(divcon={"mode": "off"}, stream=True, stream_options={"include_usage": True}, logit_bias={"1": 2})
    assert set(chat.body) == {"model", "messages", "logit_bias", "max_tokens"}
    assert (chat.stream, chat.wants_usage) == (True, True)


def test_a_completion_is_cut_at_the_servers_limit() -> None:
    limited = settings(limits={"max_tokens": 100})
    assert request(limited, max_tokens=5000).body["max_tokens"] == 100
    assert request(limited, max_completion_tokens=50).body["max_completion_tokens"] == 50
    assert "max_tokens" not in request(limited, max_completion_tokens=50).body
    assert request(limited).body["max_tokens"] == 100
    assert "max_tokens" not in request(settings(limits={"max_tokens": None})).body


@pytest.mark.parametrize(
    ("upstream", "name"),
    [
        ({"model": "m"}, "max_completion_tokens"),
        ({"model": "m", "url": "http://127.0.0.1:1/v1"}, "max_tokens"),
        ({"model": "m", "tokens_key": "max_tokens"}, "max_tokens"),
    ],
)
def test_a_limit_has_the_name_that_the_server_knows(upstream: dict[str, str], name: str) -> None:
    sent = request(settings(upstream=upstream)).body
    assert [key for key in sent if key.endswith("_tokens")] == [name]


def test_no_request_gets_more_sub_questions_than_a_prompt_may_hold() -> None:
    assert request(divcon={"max_subquestions": 1000}).wishes.limit == settings().decomposer.max_subquestions  # type: ignore[union-attr]
    assert request(divcon={"max_subquestions": 2}).wishes.limit == 2


def test_choices_that_are_asked_for_come_before_a_vote_that_is_usual() -> None:
    usual = settings(vote={"samples": 3})
    assert request(usual).wishes.samples == 3
    assert request(usual, n=2).wishes.samples == 1
    with pytest.raises(APIError, match="JSON"):
        request(usual, response_format={"type": "json_object"})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_is_sent_is_read_or_refused(value: Any) -> None:
    for body in (value, {"messages": value}, {"messages": [{"role": "user", "content": value}], "divcon": value}):
        try:
            read(parse(json.dumps(body).encode()), {}, settings())
        except APIError as refused:
            assert refused.status == 400


PIECES = [{"choices": [], "n": i, "text": "a\nb 🍐"} for i in range(4)]


@given(st.lists(st.integers(0, 400)), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_read_however_they_are_cut(cuts: list[int], end: bytes) -> None:
    stream = b": a comment\n\n" + b"".join(map(event, PIECES)) + DONE
    stream = stream.replace(b"\n", end)
    places = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    events = Events()
    parts = [stream[a:b] for a, b in pairwise(places)]
    found = [data for part in [*parts, end] for data in events.feed(part)]
    assert [json.loads(data) for data in found[:-1]] == PIECES
    assert found[-1] == b"[DONE]"


@pytest.mark.parametrize(
    "content",
    [
        *(b"<html>", b"", b"[]", b"{}", b'{"choices": []}', b'{"choices": [7]}', b'{"choices": [{"index": 0}]}'),
        *(b'{"choices": [{"message": "hi"}]}', b'{"choices": [{"message": {}, "index": "x"}]}', b'{"created": NaN}'),
        b'{"created": 1e999, "choices": [{"message": {}}]}',
    ],
)
def test_a_reply_that_no_client_could_read_is_not_passed_on(content: bytes) -> None:
    with pytest.raises(APIError) as refused:
        response.completion(content)
    assert refused.value.status == 502
    assert refused.value.may_be_billed


@pytest.mark.parametrize(
    ("status", "content", "told", "code"),
    [
        (400, {"error": {"message": "no", "code": "bad", "param": "n"}}, 400, "bad"),
        (422, "nonsense", 422, "upstream_refused"),
        (401, {"error": {"message": "your key sk-1 is wrong"}}, 502, "upstream_auth"),
        (403, {}, 502, "upstream_auth"),
        (429, {}, 429, "upstream_rate_limit"),
        (429, {"error": {"code": "insufficient_quota"}}, 429, "insufficient_quota"),
        (500, {}, 502, "upstream_error"),
        (307, {}, 502, "upstream_error"),
    ],
)
def test_a_clients_own_mistakes_are_his_and_the_servers_are_not(
    status: int, content: Any, told: int, code: str
) -> None:
    refused = response.refusal(status, json.dumps(content).encode(), {"retry-after": "7"})
    assert (refused.status, refused.code) == (told, code)
    assert "sk-1" not in str(refused)
    assert refused.retry_after == (7 if code == "upstream_rate_limit" else None)


def test_a_whole_reply_becomes_a_stream() -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": "hi", "tool_calls": calls}
    reply = {"id": "x", "object": "chat.completion", "usage": {}, "choices": [{"index": 0, "message": message}]}
    first, last = response.as_chunks(reply)
    assert first["object"] == last["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"]["content"] == "hi"
    assert first["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert last["choices"][0]["finish_reason"] == "stop"


def chunk_of(content: Any, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}


def test_a_stream_that_never_says_that_it_ends_loses_nothing_of_its_text() -> None:
    separate = response.Separator()
    sent = [separate(chunk_of(piece))["choices"] for piece in ("<think>add</think>", "4 <", "th")] + [separate.rest()]
    deltas = [choice["delta"] for choices in sent for choice in choices]
    assert "".join(delta["content"] for delta in deltas) == "4 <th"
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "add"
    assert separate.rest() == []


@pytest.mark.parametrize("finish", [None, "stop"])
def test_reasoning_in_parts_of_a_content_is_sent_in_its_own_field(finish: str | None) -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "add"}]}, {"type": "text", "text": "4"}]
    ((choice,),) = [response.Separator()(chunk_of(parts, finish))["choices"]]
    assert choice["delta"] == {"content": "4", "reasoning_content": "add"}
    whole = response.separated({"choices": [{"message": {"content": parts}}]})
    assert whole["choices"][0]["message"] == {"content": "4", "reasoning_content": "add"}


def test_parts_without_reasoning_pass_as_they_are() -> None:
    parts = [{"type": "text", "text": "4"}]
    assert (
        response.separated({"choices": [{"message": {"content": parts}}]})["choices"][0]["message"]["content"] == parts
    )
