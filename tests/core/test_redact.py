"""A secret that is nowhere in what goes on, however it is spelled and wherever the text is cut."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
import string
from collections.abc import Callable, Iterator
from html import unescape
from itertools import pairwise
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from divcon.core.redact import Redactor, Stream
from divcon.serve.backends.redaction import Chunks, needs_none, redacted
from divcon.serve.http.server import log_to_stderr

SECRET = "sk-sentinel-9f1c/47a+e0=b2"
KEY_CHARACTERS = string.ascii_letters + string.digits + string.punctuation
secrets = st.text(KEY_CHARACTERS, min_size=8, max_size=60).filter(lambda secret: len(set(secret)) > 3)
texts = st.text(st.characters(codec="utf-8"), max_size=30)


def in_base64(encode: Callable[[bytes], bytes]) -> st.SearchStrategy[Callable[[str], str]]:
    """At each alignment, padded or not."""
    around = st.tuples(st.binary(max_size=5), st.binary(max_size=5), st.booleans())

    def spell(drawn: tuple[bytes, bytes, bool]) -> Callable[[str], str]:
        before, behind, padded = drawn
        strip = "" if padded else "="
        return lambda secret: encode(before + secret.encode() + behind).decode().rstrip(strip)

    return around.map(spell)


def mixed(spell: Callable[[str], str]) -> st.SearchStrategy[Callable[[str], str]]:
    """Some characters spelled, and others as they are."""
    return st.integers(1, 2**16).map(
        lambda bits: lambda secret: "".join(spell(c) if bits >> i % 16 & 1 else c for i, c in enumerate(secret))
    )


spellings = st.one_of(
    st.just(str),
    in_base64(base64.b64encode),
    in_base64(base64.urlsafe_b64encode),
    in_base64(base64.encodebytes),
    mixed(lambda c: f"%{ord(c):02x}"),
    mixed(lambda c: f"%{ord(c):02X}"),
    mixed(lambda c: f"\\u{ord(c):04x}"),
    mixed(lambda c: f"\\\\u{ord(c):04X}"),
    mixed(lambda c: f"&#{ord(c)};"),
    st.just(lambda secret: quote(secret, safe="")),
    st.just(lambda secret: json.dumps(secret)[1:-1]),
    st.just(lambda secret: secret.encode().hex()),
    st.just(lambda secret: secret.encode().hex(" ").upper()),
)


def cut(text: str, places: list[int]) -> list[str]:
    """A text in pieces, some of which may be empty."""
    ends = sorted(min(place, len(text)) for place in places)
    return [text[a:b] for a, b in pairwise([0, *ends, len(text)])]


def streamed(secret: str, pieces: list[str]) -> str:
    """What a client puts together."""
    stream = Stream(Redactor(secret))
    return "".join([*map(stream, pieces), stream.rest()])


def holds(secret: str, text: str) -> bool:
    """Whether a text can be read as the secret by one who knows how it may be spelled."""
    plain = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    readings = [text, unquote(text), unquote(unquote(text)), plain, plain.replace("\\", ""), unescape(text)]
    octets = re.sub(r"[^0-9a-f]", "", text.lower())
    data = re.sub(r"\s|\\r|\\n", "", text).replace("-", "+").replace("_", "/")
    runs = [run[i:] for run in re.findall(r"[A-Za-z0-9+/]{8,}", data) for i in range(4)]
    decoded = [base64.b64decode(run[: len(run) // 4 * 4]) for run in runs]
    return (
        any(secret in reading for reading in readings)
        or secret.encode().hex() in octets
        or any(secret.encode() in each for each in decoded)
    )


@settings(max_examples=60)
@given(secrets, spellings, texts, texts, st.lists(st.integers(0, 200), max_size=12))
def test_no_spelling_of_a_secret_comes_through_wherever_it_is_cut(
    secret: str, spell: Callable[[str], str], before: str, behind: str, places: list[int]
) -> None:
    text = before + spell(secret) + behind
    assert spell(secret) not in Redactor(secret)(text) and not holds(secret, Redactor(secret)(text))
    shown = streamed(secret, cut(text, places))
    assert spell(secret) not in shown and not holds(secret, shown)
    letter_by_letter = streamed(secret, list(text))
    assert spell(secret) not in letter_by_letter and not holds(secret, letter_by_letter)


@settings(max_examples=60)
@given(secrets, spellings, texts, texts, st.lists(st.integers(0, 200), max_size=12))
def test_what_stands_around_a_secret_is_kept(
    secret: str, spell: Callable[[str], str], before: str, behind: str, places: list[int]
) -> None:
    around = f"{before}\N{SNOWMAN}", f"\N{SNOWMAN}{behind}"
    assume(not any(holds(secret, text) for text in around))
    for shown in (
        Redactor(secret)(spell(secret).join(around)),
        streamed(secret, cut(spell(secret).join(around), places)),
    ):
        assert shown.startswith(around[0]) and shown.endswith(around[1])


pieces_of = st.sampled_from(["sk-", "sk-sent", "sk-sentinel", "c2stc2Vud", "736b2d73", "%73%6b", "\\u0073", "=b2", " "])


@given(st.lists(texts | pieces_of, max_size=12))
def test_a_text_without_the_secret_is_the_same_in_pieces_and_whole(pieces: list[str]) -> None:
    text = "".join(pieces)
    if not holds(SECRET, text):
        assert streamed(SECRET, pieces) == streamed(SECRET, list(text)) == Redactor(SECRET)(text) == text


ORDINARY = """Let s = 73 and k = 6b. The task is risk-free: ask Mia's sister, "Is sk-1 a key?" Skip 100% of %20.
Pears cost 7/3 € (\\frac{7}{3}), 0x73 & more: see https://example.org/a%20b?c=d&amp;e=sk-. 苹果有九个。 \\u0041 6b2d."""


@pytest.mark.parametrize("secret", [SECRET, "sk-proj-" + "aB3_" * 39, "none-of-this", "0123456789abcdef" * 2])
def test_a_stream_without_the_secret_passes_every_piece_at_once(secret: str) -> None:
    stream = Stream(Redactor(secret))
    pieces = re.findall(r"\s*\S+", ORDINARY) + list(ORDINARY) * 3
    assert [stream(piece) for piece in pieces] == pieces


@given(st.integers(0, len(SECRET) - 1), texts)
def test_what_only_began_like_the_secret_comes_when_it_is_clear(length: int, behind: str) -> None:
    """At once where so little says nothing; behind the next piece, or at the end, otherwise."""
    stream = Stream(Redactor(SECRET))
    shown = stream(SECRET[:length])
    assert shown == (SECRET[:length] if length < 6 else "")
    assert shown + stream("\N{SNOWMAN}" + behind) + stream.rest() == SECRET[:length] + "\N{SNOWMAN}" + behind


def test_a_secret_in_a_secret_is_not_uncovered() -> None:
    for secret in ("abababab", "********", "a***b###c", "\\u0061" * 2, "%2525" * 3, "aaaaaaaaaaaa"):
        for text in (secret * 3, secret[:-1] + secret, secret + secret[1:]):
            assert secret not in Redactor(secret)(text) and secret not in streamed(secret, list(text))


def test_many_beginnings_take_no_longer_than_any_other_text() -> None:
    text = SECRET[:20] * 20_000
    assert streamed(SECRET, [text]) == Redactor(SECRET)(text) == text


# -- in replies --


def everything(value: Any) -> str:
    """All texts of a JSON value, one behind the other."""
    if isinstance(value, dict):
        return "".join(f"{name}{everything(each)}" for name, each in value.items())
    return "".join(map(everything, value)) if isinstance(value, list) else str(value)


def chunk(index: int, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def joined(chunks: list[dict[str, Any]]) -> dict[tuple[Any, ...], str]:
    """The texts of a stream by choice and field, as a client joins them."""
    found: dict[tuple[Any, ...], str] = {}

    def add(path: tuple[Any, ...], value: Any) -> None:
        if isinstance(value, str):
            found[path] = found.get(path, "") + value
        elif isinstance(value, dict):
            for name, each in value.items():
                add((*path, name), each)
        elif isinstance(value, list):
            for each in value:
                add((*path, each.get("index")), each)

    for each in chunks:
        for choice in each["choices"]:
            add((choice["index"],), choice["delta"])
    return found


def filled(texts: dict[tuple[Any, ...], str]) -> dict[tuple[Any, ...], str]:
    return {path: text for path, text in texts.items() if text and path[-1] != "type"}


FIELDS: list[Callable[[str], dict[str, Any]]] = [
    lambda text: {"content": text},
    lambda text: {"reasoning_content": text},
    lambda text: {"refusal": text},
    lambda text: {"content": [{"type": "text", "text": text}]},
    lambda text: {"tool_calls": [{"index": 0, "function": {"arguments": text}}]},
    lambda text: {"tool_calls": [{"index": 1, "function": {"arguments": text}}]},
]
fields = st.sampled_from(FIELDS)
Spoken = tuple[int, Callable[[str], dict[str, Any]], str]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), fields, spellings.map(lambda spell: spell(SECRET))), min_size=1, max_size=4)
)
def test_a_key_that_is_spread_over_a_stream_is_not_in_what_a_client_joins(spoken: list[Spoken]) -> None:
    """Pieces of several fields and choices come in turns."""
    rows = [[chunk(index, **field(piece)) for piece in cut(text, [3, 9, 17, 30])] for index, field, text in spoken]
    chunks = Chunks(Redactor(SECRET))
    sent = [each for turn in zip(*rows, strict=True) for one in turn for each in chunks(one)] + chunks.rest()
    for index, field, text in spoken:
        (path,) = [path for path in joined([chunk(index, **field(text))]) if path[-1] != "type"]
        assert text not in joined(sent)[path] and not holds(SECRET, joined(sent)[path])


@given(st.lists(st.tuples(st.integers(0, 2), fields, texts | pieces_of), max_size=12))
def test_a_stream_without_the_key_is_the_same(spoken: list[Spoken]) -> None:
    given_ = [chunk(index, **field(text)) for index, field, text in spoken]
    ends = [chunk(index, "stop") for index in sorted({index for index, _, _ in spoken})]
    chunks = Chunks(Redactor(SECRET))
    sent = [each for one in [*given_, *ends] for each in chunks(one)]
    if not any(holds(SECRET, text) for text in joined(given_).values()):
        assert filled(joined(sent)) == filled(joined(given_))
        assert [c["finish_reason"] for one in sent for c in one["choices"] if c["finish_reason"]] == ["stop"] * len(
            ends
        )
        assert chunks.rest() == []


def test_an_ordinary_stream_goes_on_chunk_by_chunk() -> None:
    chunks = Chunks(Redactor(SECRET))
    for piece in re.findall(r"\s*\S+", ORDINARY):
        for index in (0, 1):
            one = chunk(index, content=piece, tool_calls=[{"index": 0, "function": {"arguments": piece}}])
            assert chunks(one) == [one]


def test_what_is_held_back_comes_before_a_choice_ends() -> None:
    chunks = Chunks(Redactor(SECRET))
    (first,) = chunks(chunk(0, content="It begins sk-sentinel"))
    assert first["choices"][0]["delta"] == {"content": "It begins "}
    last = chunks(chunk(0, "stop", content="-9f"))
    assert [one["choices"][0]["delta"].get("content", "") for one in last] == ["", "sk-sentinel-9f", ""]
    assert [one["choices"][0]["finish_reason"] for one in last] == [None, None, "stop"]


@settings(max_examples=60)
@given(spellings, st.lists(st.integers(0, 60), max_size=6))
def test_a_whole_reply_holds_the_key_in_no_field(spell: Callable[[str], str], places: list[int]) -> None:
    text = f"Your key: {spell(SECRET)}"
    pieces = cut(text, places)
    tokens = [{"token": piece, "logprob": -1.0, "bytes": list(piece.encode()), "top_logprobs": []} for piece in pieces]
    message = {"content": [{"type": "text", "text": piece} for piece in pieces], text: text, "name": [text]}
    choice = {"index": 0, "message": message, "logprobs": {"content": tokens}, "finish_reason": "stop"}
    made = redacted(Redactor(SECRET), {"id": text, "choices": [choice, choice], "error": {"message": text}})
    assert text not in everything(made)
    for one in made["choices"]:
        parts = "".join(part["text"] for part in one["message"]["content"])
        shown = "".join(token["token"] for token in one["logprobs"]["content"])
        for each in (parts, shown, *map(str, one["message"])):
            assert spell(SECRET) not in each and not holds(SECRET, each)
        octets = [octet for token in one["logprobs"]["content"] for octet in token["bytes"] or []]
        assert spell(SECRET).encode() not in bytes(octets)


@given(spellings, texts, st.lists(st.integers(0, 60), max_size=6), st.booleans())
def test_a_body_that_is_not_looked_at_holds_no_key(
    spell: Callable[[str], str], text: str, places: list[int], is_ascii: bool
) -> None:
    pieces = cut(text + spell(SECRET), places)
    for content in (pieces, "".join(pieces), [{"text": piece} for piece in pieces]):
        body = {"choices": [{"message": {"content": content}}]}
        assert not needs_none(Redactor(SECRET), json.dumps(body, ensure_ascii=is_ascii).encode())
    plain = {"choices": [{"message": {"content": "Mia has 9 pears left: 4."}}]}
    assert needs_none(Redactor(SECRET), json.dumps(plain).encode())


@given(spellings, texts)
def test_a_line_of_the_log_holds_the_key_nowhere(spell: Callable[[str], str], text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stderr = io.StringIO()
        patch.setattr("sys.stderr", stderr)
        log_to_stderr(Redactor(SECRET))
        logger = logging.getLogger("divcon.serve.requests")
        logger.info("request", {"error": text + spell(SECRET), "status": 200})
        logger.warning("%s failed", spell(SECRET))
        try:
            raise ValueError(spell(SECRET))
        except ValueError:
            logger.exception("a request failed")
        lines = stderr.getvalue()
        assert len(lines.splitlines()) == 3 and spell(SECRET) not in lines and not holds(SECRET, lines)


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """As they were."""
    loggers = [logging.getLogger(name) for name in ("divcon.serve", "uvicorn.error")]
    before = [(logger, logger.handlers, logger.propagate, logger.level) for logger in loggers]
    yield
    for logger, handlers, propagate, level in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
