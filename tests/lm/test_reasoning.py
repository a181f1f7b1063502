"""Reasoning apart from the reply: the marks of every family, whole texts and streams."""

from __future__ import annotations

import itertools
import random
import re
import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divcon.lm.reasoning import Split, StreamSplitter, closing_tag_of, open_block, render, split
from divcon.lm.types import Completion, Usage

HARMONY = "<|channel|>analysis<|message|>We add.<|end|><|start|>assistant<|channel|>final<|message|>Four."
ORDINARY = [
    "Put it between `<think>` and `</think>`, as Qwen does.",
    "`</think>` closes it.",
    "It ends with `</think>`; \n",
    "```\n<think>We add.</think>\n```\nshows it.",
    "~~~ text\n</think>\n~~~\nshows it.",
    "Write the opening tag <think> first.",
    "Use <think> and, later on, <thinking>.",
    "Here is my thought process: two and two. The answer is 4.",
    "analysis of the sum: 4",
    "analysis",
    "commentary on it",
    "to=nobody",
    "gpt-oss writes `<|channel|>final<|message|>` first.",
    "The token <|start|> begins a turn, and <|channel|> follows.",
    "a </thi",
    "<|START|> is written in capitals.",
    "It says <|CHANNEL|> in capitals.",
    "<|channel|>: what does it mean?",
    "<|start|>!",
    "[THINK",
]
TEXTS = [
    ("The answer is 4.", None, "The answer is 4."),
    ("", None, ""),
    ("  spaces stay \n", None, "  spaces stay \n"),
    ("analysis of the sum: 4", None, "analysis of the sum: 4"),
    ("x < 5 and [THIN", None, "x < 5 and [THIN"),
    # every family's marks
    ("<think>\nWe add.\n</think>\n\nFour.", "We add.", "Four."),  # Qwen 3, DeepSeek, GLM, Nemotron, MiniMax
    ("<Think>We add.</THINK>Four.", "We add.", "Four."),
    ("<thinking>We add.</thinking>\nFour.", "We add.", "Four."),
    ("<thought>We add.</thought>\nFour.", "We add.", "Four."),  # EXAONE
    ("<seed:think>We add.</seed:think>Four.", "We add.", "Four."),
    ("<longcat_think>We add.</longcat_think>Four.", "We add.", "Four."),
    ("<mm:think>We add.</mm:think>Four.", "We add.", "Four."),  # MiniMax M3
    ("<ifm|think_fast>We add.</ifm|think_fast>Four.", "We add.", "Four."),  # K2
    ("<think:opensource>We add.</think:opensource>Four.", "We add.", "Four."),  # Hunyuan
    ("<think>\nWe add.\n</think>\n<answer>\nFour.\n</answer>", "We add.", "Four."),  # Hunyuan
    ("<think>\nWe add.\n</think>\n<response>Four.</response>", "We add.", "Four."),  # ERNIE, Granite 3.3
    ("[THINK]We add.[/THINK]Four.", "We add.", "Four."),  # Magistral
    ("<|START_THINKING|>We add.<|END_THINKING|><|START_RESPONSE|>Four.<|END_RESPONSE|>", "We add.", "Four."),
    ("<|inner_prefix|>We add.<|inner_suffix|>Four.", "We add.", "Four."),  # Apertus
    ("<|channel>thought\nWe add.\n<channel|>Four.", "We add.", "Four."),  # Gemma 4
    ("\u25c1think\u25b7We add.\u25c1/think\u25b7Four.", "We add.", "Four."),  # Kimi-VL
    ("<|open|>think<|sep|>We add.<|close|>think<|sep|><|open|>response<|sep|>Four.", "We add.", "Four."),  # Kimi K3
    ("<|plamo:begin_think:plamo|>We add.<|plamo:end_think:plamo|>Four.", "We add.", "Four."),
    ("[unused16]We add.[unused17]Four.", "We add.", "Four."),  # Pangu
    ("Here is my thought process:\nWe add.\nHere is my response:\nFour.", "We add.", "Four."),  # Granite 3.2
    (HARMONY, "We add.", "Four."),  # gpt-oss
    (f"{HARMONY}<|return|>", "We add.", "Four."),
    ("<|channel|>final<|message|>Four.", None, "Four."),
    ("analysisWe add.assistantfinalFour.", "We add.", "Four."),  # the same without its marks
    (" to=self<|message|>We add.<|eom|><|start|>assistant to=user<|message|>Four.", "We add.", "Four."),
    # a lone closing mark: the prompt had opened the block
    ("We add.\n</think>\n\nFour.", "We add.", "Four."),
    ("\n\n</think>\n\nFour.", None, "Four."),
    ("We add.[/THINK]Four.", "We add.", "Four."),
    # a block that never closes: no reply came
    ("<think>\nWe add, then", "We add, then", ""),
    ("[THINK]We add, then", "We add, then", ""),
    ("<|channel|>analysis<|message|>We add, then", "We add, then", ""),
    ("analysisWe add, then", "We add, then", ""),
    # several blocks, blocks in between, marks of others within
    ("<think>One.</think>Two. <think>Three.</think>Four.", "One.\nThree.", "Two. Four."),
    ("Sure. <think>We add.</think>Four.", "We add.", "Sure. Four."),
    ("<think>I could write </thought> here.</think>Four.", "I could write </thought> here.", "Four."),
    ("<think>Is <think> a mark?</think>Four.", "Is <think> a mark?", "Four."),
    ("<think>We add.</think>Four.</think>", "We add.", "Four."),
    ("<think></think>Four.", None, "Four."),
    ("<think>a ``` b `</think>Four.", "a ``` b `", "Four."),
    ("Here is my thought process:\nWe add.\nHere's my response:\nFour.", "We add.", "Four."),  # mixed spelling
    ("<think>We add.</think><answer>Four.</answer> Or <answer>five.", "We add.", "Four.</answer> Or <answer>five."),
    (f"Sure.{HARMONY}", "We add.", "Sure.Four."),
    ("analysisthe sum.assistantfinalFour.", "the sum.", "Four."),
    ("commentary to=functions.add json{}assistantfinalFour.", "to=functions.add json{}", "Four."),
    ("<|channel|>analysis", None, ""),  # cut off within a header
    # tags in ordinary replies
    *((text, None, text) for text in ORDINARY),
]


@pytest.mark.parametrize(("text", "reasoning", "reply"), TEXTS)
def test_a_text_is_split_into_reasoning_and_reply(text: str, reasoning: str | None, reply: str) -> None:
    assert split(text) == (reasoning, reply)


@given(st.text(alphabet=st.characters(exclude_characters="<[\u25c1|")))
def test_a_text_without_marks_is_all_reply_and_stays_as_it_is(text: str) -> None:
    if not text.lstrip().startswith(("analysis", "commentary", "Here")):
        assert split(text) == (None, text)


@given(st.text(), st.text())
def test_what_is_rendered_is_split_again(reasoning: str, reply: str) -> None:
    if any(sign in reasoning + reply for sign in "<[\u25c1"):
        return
    assert split(render(reasoning, reply)) == (reasoning.strip() or None, reply.strip())


def _is_lone(text: str) -> bool:
    """Whether the first tag closes a block that the text has not opened."""
    first = re.search(r"</think[^>]*>|\[/THINK\]|<think[^>]*>|\[THINK\]|<\|message\|>", text)
    return first is not None and "/" in first[0]


def pieces(text: str, rng: random.Random) -> list[str]:
    cuts = sorted({0, len(text), *(rng.randrange(len(text) + 1) for _ in range(rng.randrange(12)))})
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


LONE = [text for text, reasoning, _ in TEXTS if reasoning and _is_lone(text)]
LONG = [
    f"<think>{'step x < 5. ' * 900}</think>{'reply y < 3. ' * 900}",
    "plain a < b. " * 900,
    f"Sure. <think>{'a. ' * 2000}</think>ok. {'z. ' * 2000}end.",
    HARMONY.replace("We add.", "We add. " * 1000).replace("Four.", "Four. " * 1000),
]


def streamed(parts: Iterable[str]) -> tuple[str, str]:
    """What a stream gives in all."""
    splitter, reasoning, reply = StreamSplitter(), "", ""
    for piece in [*parts, None]:
        added = splitter.feed(piece or "", last=piece is None)
        reasoning, reply = reasoning + (added.reasoning or ""), reply + added.reply
    return reasoning, reply


@pytest.mark.parametrize("text", [text for text, *_ in TEXTS if text not in LONE] + LONG)
@pytest.mark.parametrize("seed", range(5))
def test_a_stream_gives_both_parts_whatever_its_pieces(text: str, seed: int) -> None:
    whole = split(text)
    assert streamed(pieces(text, random.Random(seed))) == (whole.reasoning or "", whole.reply)


FRAGMENTS = st.sampled_from(
    [
        *(
            "<think>",
            "</think>",
            "<think:x>",
            "</think:x>",
            "[THINK]",
            "<answer>",
            "</answer>",
            "<",
            "`",
            "```\n",
            "\n",
        ),
        *("<|start|>assistant", "<|channel|>final", "<|message|>", "<|end|>", "to=user", "analysis", "assistantfinal"),
        *(" ", "four"),
    ]
)


@given(st.lists(FRAGMENTS, max_size=12), st.randoms(use_true_random=False))
def test_a_stream_agrees_with_the_whole_text_unless_a_lone_closing_tag_came_late(
    parts: list[str], rng: random.Random
) -> None:
    text = "".join(parts)
    whole, found = split(text), streamed(pieces(text, rng))
    if "</think" not in text:
        assert found == (whole.reasoning or "", whole.reply)
    assert found == streamed([text])  # in any case, its pieces do not matter


def test_nothing_of_a_block_is_ever_given_as_reply_in_a_stream() -> None:
    texts = [text for text, reasoning, _ in TEXTS if reasoning and "We add" in reasoning and text not in LONE]
    assert len(texts) > 25
    for text in texts:
        for end in range(len(text)):
            assert "We add" not in StreamSplitter().feed(text[:end]).reply, text[:end]


@pytest.mark.parametrize(
    "piece",
    ["<|channel|>a", "<|start|>", "<think>", "</think>", "`", "\n", " ", "<|channel|>final<|message|>a", "to=", "<"],
)
def test_any_text_is_split_in_time_that_grows_with_its_length(piece: str) -> None:
    """CPU time, for 16 times the text at most 40 times as much."""

    def seconds(n: int) -> float:
        begun = time.process_time()
        split(piece * n)
        streamed([piece] * n)
        return time.process_time() - begun

    assert seconds(16_000) < 40 * max(seconds(1_000), 0.01)


def test_a_lone_closing_tag_in_a_stream_comes_too_late_and_is_left_out() -> None:
    splitter = StreamSplitter()
    assert splitter.feed("We add.\n") == (None, "We add.")
    assert splitter.feed("</think>\n\nFour.", last=True) == (None, "\n\n\nFour.")


def test_a_prompt_that_ends_in_a_block_names_its_tags() -> None:
    assert open_block("<|im_start|>assistant\n<think>\n") == ("<think>", "</think>")
    assert open_block("<seed:think>") == ("<seed:think>", "</seed:think>")
    assert open_block("<|im_start|>assistant\n<think>\n\n</think>\n\n") is None


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        ("<think>We add", "\n</think>\n\n"),
        ("<think:x>We add", "\n</think:x>\n\n"),
        ("<think>We add.</think>Four", None),
        ("Four", None),
        ("<|channel|>analysis<|message|>We", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        (HARMONY, None),
    ],
)
def test_what_closes_a_block_that_is_open(text: str, closing: str | None) -> None:
    assert closing_tag_of(text) == closing
    if closing:
        assert split(f"{text}{closing}Four.") == Split("We add" if "add" in text else "We", "Four.")


def test_tokens_of_reasoning_that_nobody_counted_are_its_share_of_the_text() -> None:
    made = Completion.read("<think>aaaaaa</think>bb", "stop", Usage(3, 8))
    assert (made.text, made.reasoning, made.usage.reasoning_tokens) == ("bb", "aaaaaa", 6)
    counted = Completion.read("<think>aaaaaa</think>bb", "stop", Usage(3, 8, reasoning_tokens=7))
    assert counted.usage.reasoning_tokens == 7
    sent = Completion.read("Four.", "stop", Usage(3, 8), reasoning="We add.")
    assert (sent.text, sent.reasoning) == ("Four.", "We add.")
