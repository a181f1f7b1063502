"""Reasoning that is kept to a budget: what closes it is written in its place, and the reply goes on from there."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from divcon.lm.local.sampling import ThinkingBudgets
from divcon.lm.local.streaming import StreamDecoder
from divcon.lm.local.weights import load_tokenizer, model_directory
from divcon.lm.reasoning import split
from divcon.lm.types import Message, Request, SampleRequest, Sampling, Thinking

WORDS = ["pears", "of", "Mia", "pears", "of", "Mia", "pears", "of"]
PROMPT = 4
"""Tokens before what is written."""


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    tokenizer = load_tokenizer(model_directory("miniature/llm"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    return tokenizer


def drawn(thinking: Thinking | None) -> SampleRequest:
    return SampleRequest(Request((Message("user", "?"),), Sampling(max_tokens=20), thinking=thinking), 0, "0" * 64)


def written(tokenizer: PreTrainedTokenizerBase, opening: str, thinking: Thinking | None, wanted: list[int]) -> str:
    """What a model that wants to write these tokens comes to write, beside one without a budget."""
    draws = [drawn(thinking), drawn(None)]
    reader = StreamDecoder(tokenizer, [tokenizer.eos_token_id])
    budgets = ThinkingBudgets(draws, [opening, ""], reader, tokenizer, PROMPT)
    ids = torch.zeros((2, PROMPT), dtype=torch.long)
    for step, token in enumerate(wanted):
        chosen = budgets.enforce(torch.tensor([token, token]), step, ids)
        assert int(chosen[1]) == token
        ids = torch.cat([ids, chosen[:, None]], dim=1)
    return opening + reader.raw(ids[0, PROMPT:].tolist())


def tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_a_block_that_the_prompt_opened_is_closed_after_its_budget(tokenizer: PreTrainedTokenizerBase) -> None:
    wanted = tokens(tokenizer, f" {' '.join(WORDS)}")
    text = written(tokenizer, "<think>", Thinking(True, budget=3), wanted)
    found = split(text)
    assert found.reasoning is not None and len(tokens(tokenizer, found.reasoning)) == 3
    assert found.reply and text.count("</think>") == 1


def test_a_block_that_the_model_opened_itself_is_closed_too(tokenizer: PreTrainedTokenizerBase) -> None:
    wanted = tokens(tokenizer, f"<think> {' '.join(WORDS)}")
    found = split(written(tokenizer, "", Thinking(True, budget=4), wanted))
    assert found.reasoning is not None and len(tokens(tokenizer, found.reasoning)) == 3 and found.reply


def test_a_block_that_begins_behind_the_budget_is_closed_soon(tokenizer: PreTrainedTokenizerBase) -> None:
    wanted = tokens(tokenizer, f"<think> {WORDS[0]} </think> {WORDS[1]} <think> {' '.join(WORDS * 4)}")
    text = written(tokenizer, "", Thinking(True, budget=4), wanted)
    assert text.count("</think>") == 2


def test_what_ends_within_its_budget_is_left_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    wanted = tokens(tokenizer, f" pears of </think> {' '.join(WORDS)}")
    for thinking in (Thinking(True, budget=5), Thinking(True), None):
        text = written(tokenizer, "<think>", thinking, wanted)
        assert text == "<think>" + StreamDecoder(tokenizer, []).raw(wanted)
