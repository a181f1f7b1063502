"""Chat templates of others: every one that TRL ships, and such as lose what they are given."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from divcon.core.errors import ConfigError
from divcon.distill.data.examples import Example
from divcon.distill.training.trainer import encode_example
from divcon.lm.local.chat_template import encode, encode_reply, end_of_turn, opening_tag, template_of
from divcon.lm.local.weights import load_tokenizer, model_directory
from divcon.lm.reasoning import split
from divcon.lm.types import Effort, Message, Thinking

TEMPLATES = {
    path.name.removesuffix(".jinja"): path.read_text(encoding="utf-8")
    for path in sorted(files("trl").joinpath("chat_templates").iterdir(), key=lambda path: path.name)
    if path.name.endswith(".jinja") and not path.name.endswith("_training.jinja")
}
FEW_SHOT = [Message("user", "How many?"), Message("assistant", "Three."), Message("user", "Why so many?")]
OFF, ON, BUDGET = Thinking(False), Thinking(True), Thinking(True, budget=9)
SETTINGS = [None, OFF, ON, BUDGET, Thinking(True, effort="low")]
OPENING = ["deepseek_r1_distill", "deepseekv3", "nemotron_3_nano", "qwen3_5_think", "qwen3_6", "qwen3_8"]
"""Those that end a prompt in an open block."""


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    """One that reads every byte: each template's words come through."""
    return load_tokenizer(model_directory("miniature/llm"))


@pytest.fixture(params=TEMPLATES)
def shipped(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    tokenizer.chat_template = TEMPLATES[request.param]
    return tokenizer


def rendered(tokenizer: PreTrainedTokenizerBase, name: str, thinking: Thinking | None = None) -> str:
    tokenizer.chat_template = TEMPLATES[name]
    return template_of(tokenizer).prompt(FEW_SHOT, thinking)


def test_trl_ships_templates() -> None:
    assert len(TEMPLATES) >= 35 and set(OPENING) <= TEMPLATES.keys()


def test_every_turn_is_in_the_prompt(shipped: PreTrainedTokenizerBase) -> None:
    prompt = template_of(shipped).prompt([Message("system", "Be brief."), *FEW_SHOT])
    assert all(text in prompt for text in ("Be brief.", "How many?", "Three.", "Why so many?"))
    assert "'text'" not in prompt and '"text"' not in prompt


def test_turns_of_one_role_that_follow_each_other_are_both_there(shipped: PreTrainedTokenizerBase) -> None:
    prompt = template_of(shipped).prompt([Message("user", "First this."), Message("user", "Then that?")])
    assert "First this." in prompt and "Then that?" in prompt


@pytest.mark.parametrize("thinking", SETTINGS, ids=str)
def test_a_student_is_trained_in_the_context_in_which_it_is_asked(
    shipped: PreTrainedTokenizerBase, thinking: Thinking | None
) -> None:
    """And what it learns to write there is read as its reply, with the reasoning before it apart."""
    try:
        asked = encode(shipped, FEW_SHOT, thinking)
    except ConfigError as error:
        assert str(error).endswith(("leave `thinking` out", "say on, off or a budget"))
        return
    for text in ("Because.", "<think>\nI count.\n</think>\n\nBecause."):
        row = encode_example(shipped, Example(tuple(FEW_SHOT), text), thinking)
        assert row["input_ids"][: len(asked)] == asked
        assert row["labels"][: len(asked)] == [-100] * len(asked) and -100 not in row["labels"][len(asked) :]
        assert row["input_ids"][-1] == shipped.eos_token_id
        template = template_of(shipped)
        written = opening_tag(shipped, thinking) + template.reply(split(text), thinking)
        assert split(written) == split(text)


@pytest.mark.parametrize("name", OPENING)
def test_a_block_that_a_prompt_opens_is_closed_before_a_reply(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    assert rendered(tokenizer, name).rstrip().endswith("<think>")
    template = template_of(tokenizer)
    assert template.reply(split("Because.")) == "\n</think>\n\nBecause."
    assert template.reply(split("<think>I count.</think>Because.")) == "I count.\n</think>\n\nBecause."
    assert "</think>" in rendered(tokenizer, name, OFF).rpartition("<think>")[2]
    assert template_of(tokenizer).reply(split("Because."), OFF) == "Because."


def test_replies_with_headers_have_them() -> None:
    """Channels of gpt-oss, and addressees of another."""
    tokenizer = load_tokenizer(model_directory("miniature/llm"))
    for name, header in (("gptoss", "<|channel|>final<|message|>"), ("muse_glimmer", " to=user<|message|>")):
        prompt = rendered(tokenizer, name)
        template = template_of(tokenizer)
        assert template.reply(split("Because.")) == f"{header}Because."
        assert rendered(tokenizer, name, OFF) == prompt + header  # which leaves no room for reasoning
        assert template.reply(split("Because."), OFF) == "Because."


@pytest.mark.parametrize(
    ("name", "switched"),
    [
        ("qwen3", ("<think>\n\n</think>\n\n", "assistant\n")),
        ("qwen3_5_nothink", ("<think>\n\n</think>\n\n", "<think>\n")),
        ("glm4moe", ("<think></think>", "<|assistant|>")),
        ("nemotron_3_nano", ("<think></think>", "<think>\n")),
        ("deepseekv3", ("<think>\n\n</think>\n\n", "<think>\n")),
    ],
)
def test_thinking_is_switched_in_the_words_of_each_family(
    tokenizer: PreTrainedTokenizerBase, name: str, switched: tuple[str, str]
) -> None:
    off, on = switched
    assert rendered(tokenizer, name, OFF).endswith(off)
    assert rendered(tokenizer, name, ON).endswith(on) and not rendered(tokenizer, name, ON).endswith(off)
    assert rendered(tokenizer, name, BUDGET) == rendered(tokenizer, name, ON)


def test_gemma_is_told_to_think_by_a_system_turn(tokenizer: PreTrainedTokenizerBase) -> None:
    assert "<|think|>" in rendered(tokenizer, "gemma4", ON) and "<|think|>" not in rendered(tokenizer, "gemma4", OFF)


@pytest.mark.parametrize("effort", ["low", "high"])
def test_an_effort_is_said_where_the_template_takes_one(tokenizer: PreTrainedTokenizerBase, effort: Effort) -> None:
    assert f"Reasoning: {effort}" in rendered(tokenizer, "gptoss", Thinking(True, effort=effort))
    with pytest.raises(ConfigError, match="takes no effort: say on, off or a budget"):
        rendered(tokenizer, "qwen3", Thinking(True, effort=effort))


def test_a_model_that_does_not_think_cannot_be_told_to_and_need_not_be_told_not_to(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    assert rendered(tokenizer, "qwen2_5", OFF) == rendered(tokenizer, "qwen2_5")
    with pytest.raises(ConfigError, match="no switch for thinking: leave `thinking` out"):
        rendered(tokenizer, "qwen2_5", ON)
    tokenizer.chat_template = None
    assert encode(tokenizer, FEW_SHOT, OFF) == encode(tokenizer, FEW_SHOT)
    with pytest.raises(ConfigError, match="no chat template"):
        encode(tokenizer, FEW_SHOT, ON)


LOSES = "{% for m in messages %}{{ m['role'] + ': ...\n' }}{% endfor %}"
LOSES_LATER = "{{ messages[0]['content'] }}"
DATED = "{{ strftime_now('%d %B %Y') }} {% for m in messages %}{{ m['content'] }}{% endfor %}"


def test_a_prompt_that_lost_its_question_is_never_made(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = LOSES
    with pytest.raises(ConfigError, match="does not show what the user says"):
        encode(tokenizer, FEW_SHOT)
    tokenizer.chat_template = LOSES_LATER
    with pytest.raises(ConfigError, match=r"leaves out what a turn says \('Three.'\)"):
        encode(tokenizer, FEW_SHOT)


def test_a_prompt_is_the_same_tomorrow(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = DATED
    assert template_of(tokenizer).prompt(FEW_SHOT).startswith("01 January 2026 How many?")


def test_the_end_of_a_turn_is_found_though_content_comes_in_parts(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = TEMPLATES["smolvlm"]
    end = "<end_of_utterance>"
    tokenizer.add_special_tokens({"additional_special_tokens": [end]})
    assert tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer)) == end


def test_a_base_without_a_template_learns_its_reasoning_in_plain_marks(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = None
    text = "<think>\nI count.\n</think>\n\nBecause."
    assert encode_reply(tokenizer, text)[:-1] == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_miniatures_are_asked_as_they_always_were(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(model_directory("miniature/llm"))
    turns = [{"role": m.role, "content": m.content} for m in FEW_SHOT]
    plain = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert encode(tokenizer, FEW_SHOT) == tokenizer(plain, add_special_tokens=False)["input_ids"]
    assert encode_reply(tokenizer, "Because.") == [
        *tokenizer("Because.", add_special_tokens=False)["input_ids"],
        tokenizer.eos_token_id,
    ]
