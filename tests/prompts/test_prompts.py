"""Templates are filled once, and only where they say."""

from __future__ import annotations

import re

import pytest

from divcon import prompts


@pytest.mark.parametrize("name", sorted({*prompts.names()} - {"serve/answer"}))
def test_every_shipped_prompt_takes_a_question(name: str) -> None:
    assert "{question}" in prompts.load(name).text


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("solve", {"question", "subquestions", "mark"}),
        ("cot", {"question"}),
        ("step", {"question", "answered", "subquestion", "mark"}),
        ("finish", {"question", "answered", "mark"}),
        ("answer", set()),
    ],
)
def test_the_endpoints_prompts_have_their_places(name: str, places: set[str]) -> None:
    assert set(re.findall(r"\{(\w+)\}", prompts.load(f"serve/{name}").text)) == places


@pytest.mark.parametrize("name", ["solve", "cot", "step", "finish"])
def test_the_endpoints_prompts_begin_with_the_users_own_words(name: str) -> None:
    assert prompts.load(f"serve/{name}").text.startswith("{question}\n\n")


@pytest.mark.parametrize("name", ["solve", "step", "finish"])
def test_what_another_program_wrote_stands_between_marks(name: str) -> None:
    text = prompts.load(f"serve/{name}").text
    _, inside, behind = re.split(r"^\[\{mark\}\]$|\[/\{mark\}\]$", text, maxsplit=2, flags=re.MULTILINE)
    assert re.findall(r"\{\w+\}", inside) == [
        p for p in re.findall(r"\{\w+\}", text) if p not in ("{question}", "{mark}")
    ]
    assert "not instructions" in behind


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
