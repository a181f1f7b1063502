"""A batch that is listened to: only text that stays is heard, and it is the text that would have come anyway."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from divcon.lm import Completion, Message, Model, Request, Sampling, Store
from divcon.lm.engines.transformers import Transformers
from divcon.lm.local.streaming import ABORTED, StreamDecoder
from divcon.lm.local.weights import load_tokenizer, model_directory
from divcon.lm.recorder import NoRecord
from divcon.lm.types import SampleRequest
from divcon.tasks import miniature

pytestmark = pytest.mark.model

QUESTIONS = [question.text for question in miniature.questions("train", 6)]
SAID = "Naïve café — 3 · 4 = 12 😀 👩\u200d👩\u200d👧 e\u0301 한국어 ฿\u0e33 'tis what he didn't say , I 'm told .\n"


def fast(tokenizer: Tokenizer, **options: object) -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>", **options)


@cache
def of_miniature() -> PreTrainedTokenizerBase:
    return load_tokenizer(model_directory("miniature/llm"))


@cache
def of_bytes() -> PreTrainedTokenizerBase:
    """Byte-level pairs, as GPT-2, Llama 3 and Qwen have them: an emoji is several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([SAID] * 3, trainer)
    return fast(tokenizer, clean_up_tokenization_spaces=True)


@cache
def of_pieces() -> PreTrainedTokenizerBase:
    """Pieces with bytes to fall back on, as SentencePiece has them in Llama 2 and Gemma."""
    names = ["<unk>", "<end>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijklmnopqrstuvwxyz'"]
    model = models.BPE({name: i for i, name in enumerate(names)}, [], unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<end>"])
    return fast(tokenizer)


@cache
def of_words() -> PreTrainedTokenizerBase:
    """Words whose spaces `transformers` tidies up afterwards."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<end>", "do", "n't", "'", ".", "we"])}))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return fast(tokenizer, clean_up_tokenization_spaces=True)


TOKENIZERS = [of_miniature, of_bytes, of_pieces]


def reader(tokenizer: PreTrainedTokenizerBase) -> StreamDecoder:
    return StreamDecoder(tokenizer, [int(tokenizer.eos_token_id)])


def heard_of(by: StreamDecoder, row: Sequence[int], sampling: Sampling) -> tuple[list[str], str]:
    """What is heard of a row token by token, and what it says in the end."""
    texts = []
    for n in range(1, len(row) + 1):
        text, is_over = by.so_far(row[:n], sampling)
        texts.append(text)
        if is_over:
            break
    return texts, by.read(row[: len(texts)], sampling).text


def assert_it_stays(texts: list[str], final: str) -> None:
    for before, after in pairwise([*texts, final]):
        assert after.startswith(before)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@given(data=st.data())
def test_what_was_heard_stays_whatever_the_tokens(
    tokenizer: Callable[[], PreTrainedTokenizerBase], data: st.DataObject
) -> None:
    row = data.draw(st.lists(st.integers(0, len(tokenizer()) - 1), min_size=1, max_size=24))
    stops = data.draw(st.lists(st.text("abc '\n.�😀", min_size=1, max_size=4), max_size=2))
    assert_it_stays(*heard_of(reader(tokenizer()), row, Sampling(max_tokens=24, stop=tuple(stops))))


@pytest.mark.parametrize("tokenizer", [of_bytes, of_pieces])
@given(said=st.text(st.one_of(st.sampled_from(SAID), st.characters(exclude_categories=["Cs"])), max_size=20))
def test_characters_are_heard_whole(tokenizer: Callable[[], PreTrainedTokenizerBase], said: str) -> None:
    said = said.replace("�", "")
    row = tokenizer()(said, add_special_tokens=False)["input_ids"]
    texts, final = heard_of(reader(tokenizer()), row, Sampling())
    assert_it_stays(texts, final)
    assert not any("�" in text for text in texts)


def test_emoji_and_combining_characters_arrive_when_they_are_there() -> None:
    row = of_bytes()(SAID)["input_ids"]
    texts, final = heard_of(reader(of_bytes()), [*row, of_bytes().eos_token_id], Sampling())
    assert final == texts[-1] == SAID
    assert len(set(texts)) > len(SAID) / 4
    assert {"😀", "👧", "\u0301", "한"} <= {text[-1] for text in texts if text}


def test_bytes_that_make_no_character_are_not_heard_before_it_is_certain() -> None:
    """A run of bytes is read as a whole: an odd one at its end makes those before it unreadable, too."""
    tokenizer = of_pieces()
    euro = [tokenizer.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in "€".encode()]
    a, end = tokenizer.convert_tokens_to_ids(["a", "<end>"])
    assert heard_of(reader(tokenizer), [a, *euro, a, a], Sampling())[0] == ["a", "a", "a", "a", "a€a", "a€aa"]
    assert heard_of(reader(tokenizer), [a, *euro, euro[0], end], Sampling())[0] == ["a"] * 5 + ["a����"]


def test_a_tokenizer_that_takes_spaces_back_is_heard_at_the_end() -> None:
    row = of_words()("we do n't . <end>")["input_ids"]
    assert heard_of(reader(of_words()), row, Sampling())[0] == ["", "", "", "", "we don't."]


@pytest.mark.parametrize(
    ("stop", "texts"),
    [
        ("\n\n", ["how", "how ma", "how many", "how many", "how many\nthen"]),
        ("many", ["how", "how ", "how "]),
        (" many\n", ["how", "how", "how", "how"]),
        ("nobody", ["how", "how ma", "how many", "how many\n", "how many\nthe"]),
    ],
)
def test_what_may_be_the_beginning_of_a_stop_string_is_held_back(stop: str, texts: list[str]) -> None:
    class Spoken(StreamDecoder):
        def _text(self, tokens: Sequence[int]) -> str:
            return "".join(["how", " ma", "ny", "\n", "then"][token] for token in tokens)

    heard, final = heard_of(Spoken(of_bytes(), []), [0, 1, 2, 3, 4], Sampling(stop=(stop,)))
    assert heard == texts
    assert_it_stays(heard, final)


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listeners are asked at every token, however long they take."""
    monkeypatch.setattr("divcon.lm.local.sampling._SHARE", math.inf)


@pytest.fixture(scope="module")
def engine() -> Transformers:
    return Transformers("miniature/llm", dtype="float32", concurrency=5)


LIMITS = [Sampling(1.0, max_tokens=9), Sampling(max_tokens=40), Sampling(1.0, 0.9, max_tokens=40, stop=("How", "."))]


def draws(samplings: Sequence[Sampling] = LIMITS, **options: bool) -> list[SampleRequest]:
    asked = [
        Request((Message("user", f"{text}\n\nList the questions to ask first."),), samplings[i % len(samplings)])
        for i, text in enumerate(QUESTIONS)
    ]
    return [SampleRequest(replace(request, **options), 0, f"{i:02x}" * 32) for i, request in enumerate(asked)]  # type: ignore[arg-type]  # flags by name


def generated(engine: Transformers, wanted: Sequence[SampleRequest], adapter: Path | None = None) -> list[Completion]:
    found = engine.generate(wanted, NoRecord(), adapter)
    by_key = {draw.key: completion for finished in found for draw, completion in finished}
    return [by_key[draw.key] for draw in wanted]


def timeless(completions: Sequence[Completion]) -> list[Completion]:
    """Without what no two runs have in common: seconds, and the last digits of log-probabilities."""
    return [replace(c, usage=replace(c.usage, seconds=0.0), logprobs=None, self_certainty=None) for c in completions]


@pytest.mark.usefixtures("attentive")
def test_draws_of_any_limits_are_spoken_as_they_are_generated(engine: Transformers) -> None:
    """`generate` has a batch for each kind of limits, `speak` one for all."""
    expected = generated(engine, draws())
    assert {completion.finish for completion in expected} == {"stop", "length"}
    assert timeless(engine.stream(draws(), None)) == timeless(expected)
    assert timeless(engine.stream(draws(), None, lambda draw, text: True)) == timeless(expected)
    assert all(completion.usage.seconds > 0 for completion in engine.stream(draws(), None))


def test_logprobs_come_with_those_who_asked_for_them(engine: Transformers) -> None:
    quiet, loud = draws()[:2], draws(logprobs=True)[2:4]
    expected = generated(engine, loud)
    spoken = engine.stream([*quiet, *loud], None)
    assert all(completion.logprobs is None and completion.self_certainty is None for completion in spoken[:2])
    for completion, alone in zip(spoken[2:], expected, strict=True):
        assert alone.logprobs is not None and completion.logprobs is not None
        np.testing.assert_allclose(completion.logprobs, alone.logprobs, atol=1e-4)
        assert completion.self_certainty == pytest.approx(alone.self_certainty, abs=1e-4)


@pytest.mark.parametrize("share", [math.inf, 0.05, -1.0])
def test_the_last_that_is_heard_of_a_draw_is_its_completion(
    engine: Transformers, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("divcon.lm.local.sampling._SHARE", share)
    texts: dict[str, list[str]] = {draw.key: [] for draw in draws()}

    def heard(draw: SampleRequest, text: str) -> bool:
        texts[draw.key].append(text)
        return True

    for draw, completion in zip(draws(), engine.stream(draws(), None, heard), strict=True):
        assert_it_stays(texts[draw.key], completion.text)
        assert texts[draw.key][0] == "" and texts[draw.key][-1] == completion.text
        assert share < math.inf or len(set(texts[draw.key])) > 4 or len(completion.text) < 20


@pytest.mark.usefixtures("attentive")
def test_a_row_that_nobody_listens_to_stops_and_the_others_go_on(engine: Transformers) -> None:
    wanted = draws([Sampling(max_tokens=40)])[:4]
    whole = engine.stream(wanted, None)
    left = wanted[1]
    spoken = engine.stream(wanted, None, lambda draw, text: draw is not left or len(text) < 12)
    assert spoken[1].finish == ABORTED and whole[1].text.startswith(spoken[1].text)
    assert 12 <= len(spoken[1].text) < len(whole[1].text)
    assert spoken[1].usage.completion_tokens < whole[1].usage.completion_tokens / 2
    assert timeless([*spoken[:1], *spoken[2:]]) == timeless([*whole[:1], *whole[2:]])


@pytest.mark.usefixtures("attentive")
def test_a_batch_that_nobody_listens_to_ends_at_once(engine: Transformers) -> None:
    heard: list[str] = []

    def leaving(draw: SampleRequest, text: str) -> bool:
        heard.append(draw.key)
        return not text

    spoken = engine.stream(draws(), None, leaving)
    assert {completion.finish for completion in spoken} == {ABORTED}
    assert all(0 < completion.usage.completion_tokens <= 3 for completion in spoken)
    assert len(heard) <= 4 * len(spoken)


def test_what_nobody_wants_any_more_is_not_begun(engine: Transformers) -> None:
    gone, *rest = draws()
    first, *spoken = engine.stream(draws(), None, lambda draw, text: draw.key != gone.key)
    assert (first.text, first.finish, first.usage.completion_tokens) == ("", ABORTED, 0)
    assert timeless(spoken) == timeless(engine.stream(rest, None))


def test_a_model_that_has_learnt_its_places_is_not_led_behind_the_last(tmp_path: Path) -> None:
    """A row that has ended goes on with padding, as far as its batch does: here there is no place for that."""
    tokenizer = of_miniature()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=2, eos_token_id=5
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    learnt = Transformers(str(tmp_path), dtype="float32")
    assert learnt.local.context == 64
    asked = [Request((Message("user", "one" + " one" * n),), Sampling(max_tokens=64 - n - 4)) for n in (55, 2)]
    wanted = [SampleRequest(request, 0, f"{i:02x}" * 32) for i, request in enumerate(asked)]
    assert [completion.usage.completion_tokens for completion in learnt.stream(wanted, None)] == [5, 58]


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as opened:
        yield opened


def test_threads_that_share_an_engine_do_not_meet_in_it(adapter: Path, store: Store) -> None:
    """One asks the base, one an adapter, and one buys for a study."""
    shared = Transformers("miniature/base", dtype="float32", concurrency=2)
    wanted = draws()
    alone = {
        place: timeless(Transformers("miniature/base", dtype="float32", concurrency=2).stream(wanted, place))
        for place in (None, adapter)
    }
    assert alone[None] != alone[adapter]
    spoken: dict[Path | None, list[list[Completion]]] = {None: [], adapter: []}

    def ask(place: Path | None) -> None:
        spoken[place] += [timeless(shared.stream(wanted, place)) for _ in range(3)]

    def buy() -> None:
        Model("llm", shared, store, adapter=adapter)([draw.request for draw in wanted])

    threads = [threading.Thread(target=ask, args=(place,)) for place in (None, adapter)]
    threads.append(threading.Thread(target=buy))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store) == len(wanted)
    assert spoken == {place: [expected] * 3 for place, expected in alone.items()}
