"""Templates are filled once, and only where they say."""

from __future__ import annotations

import pytest

from divcon import prompts


@pytest.mark.parametrize("name", prompts.names())
def test_every_shipped_prompt_takes_a_question(name: str) -> None:
    assert "{question}" in prompts.load(name).text


def test_a_value_is_not_searched_for_names() -> None:
    prompt = prompts.Prompt("p", "{question} ${x}$ \\frac{1}{2} {subquestions}")
    filled = prompt.fill(question="{subquestions}", subquestions="1. \\1?")
    assert filled == "{subquestions} ${x}$ \\frac{1}{2} 1. \\1?"


def test_a_name_without_a_place_is_an_error() -> None:
    with pytest.raises(KeyError, match="no place for limit"):
        prompts.Prompt("p", "{question}").fill(question="?", limit="3")


def test_an_unknown_prompt_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="miniature/solve"):
        prompts.load("nonsense")
