"""The miniature world keeps its word: held-out axes, sums that come out, a tokenizer that loses nothing."""

from __future__ import annotations

import json
import math
import random
import re
import struct
from functools import cache
from itertools import islice
from typing import Literal

import pytest
from transformers import AutoTokenizer

from divcon.core.errors import ConfigError
from divcon.tasks import miniature
from divcon.tasks.miniature.chains import KNOWN, NEW
from divcon.tasks.miniature.exercises import exercise
from divcon.tasks.miniature.facts import FACTS
from divcon.tasks.miniature.formats import FORMATS, NO_DECOMPOSITION
from divcon.tasks.miniature.grade import graph
from divcon.tasks.miniature.problem import LARGEST, Problem, draw
from divcon.tasks.miniature.splits import problems
from divcon.tasks.miniature.tokenizer import prompt

TESTS = miniature.SPLITS[1:]


@cache
def some(split: str) -> list[Problem]:
    return list(islice(problems(split), 150))


def numbers(text: str) -> set[int]:
    return {int(number) for number in re.findall(r"\d+", text)}


def test_a_larger_draw_begins_with_the_same_questions() -> None:
    assert miniature.questions("new-new", 40)[:20] == miniature.questions("new-new", 20)


def test_another_seed_draws_other_questions_under_other_ids() -> None:
    first, second = (miniature.questions("train", 50, seed) for seed in (0, 1))
    assert {question.text for question in first} != {question.text for question in second}
    assert {question.id for question in first}.isdisjoint(question.id for question in second)


def test_an_unknown_split_is_named_with_its_remedy() -> None:
    with pytest.raises(ConfigError, match=r"no split 'dev'.*known-new"):
        miniature.questions("dev", 1)


def test_no_text_is_in_two_splits_or_twice_in_one() -> None:
    texts = [problem.text for split in miniature.SPLITS for problem in some(split)]
    assert len(set(texts)) == len(texts)


def test_a_third_of_facts_and_chains_is_held_out() -> None:
    assert 0.25 <= sum(fact.new for fact in FACTS) / len(FACTS) <= 0.4
    assert 0.25 <= len(NEW) / len(KNOWN + NEW) <= 0.4
    assert set(KNOWN).isdisjoint(NEW)


@pytest.mark.parametrize("split", miniature.SPLITS)
def test_each_split_is_what_its_name_says(split: str) -> None:
    facts, structure = ("known", "known") if split == "train" else split.split("-")
    for problem in some(split):
        assert any(step.fact.new for step in problem.steps if step.fact) == (facts == "new")
        assert (problem.chain in NEW) == (structure == "new")
    for question in miniature.questions(split, 20):
        assert (question.tags["facts"], question.tags["structure"]) == (facts, structure)


@pytest.mark.parametrize("split", miniature.SPLITS)
def test_gold_steps_recompute_to_the_answer(split: str) -> None:
    for problem in some(split):
        for step in problem.steps:
            left, operator, right, result = re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)\.$", step.text)[0]
            value = {
                "+": int(left) + int(right),
                "-": int(left) - int(right),
                "*": int(left) * int(right),
                "/": int(left) / int(right),
            }[operator]
            assert 1 <= value == int(result) == step.result <= LARGEST
            known = [problem.steps[place].result for place in step.uses] + list(problem.given)
            assert {step.left, step.right} <= {*known, step.fact.value if step.fact else step.left}
        assert problem.answer == str(problem.steps[-1].result)


@pytest.mark.parametrize("split", miniature.SPLITS)
def test_sub_questions_hold_neither_facts_nor_results(split: str) -> None:
    for problem in some(split):
        hidden = {step.result for step in problem.steps} | {step.fact.value for step in problem.steps if step.fact}
        assert hidden.isdisjoint(numbers(problem.text))
        assert numbers(" ".join(problem.subquestions)) <= numbers(problem.text)


def test_one_step_in_ten_questions_needs_no_decomposition() -> None:
    single = [question for question in miniature.questions("train", 1000) if not question.subquestions]
    assert 70 <= len(single) <= 130
    assert all(question.tags["chain"] == "fact" for question in single)


def test_every_draw_of_a_chain_has_the_same_graph() -> None:
    for chain in KNOWN + NEW:
        shapes = {tuple(step.uses for step in draw(random.Random(seed), chain).steps) for seed in range(3)}
        assert shapes == {graph(chain)}


def test_a_decomposition_may_ask_in_any_order_that_works() -> None:
    question = next(q for q in miniature.questions("known-known", 500) if q.tags["chain"] == "fact|fact|total")
    first, second, both = question.subquestions
    assert miniature.decomposition_is_right(question, [second.lower(), f" {first} ", both.rstrip("?")])
    assert not miniature.decomposition_is_right(question, [both, first, second])
    assert not miniature.decomposition_is_right(question, [first, both])
    assert not miniature.decomposition_is_right(question, [first, first, second, both])


def test_a_one_step_question_is_rightly_left_whole() -> None:
    question = next(q for q in miniature.questions("train", 500) if not q.subquestions)
    assert miniature.decomposition_is_right(question, [])
    assert not miniature.decomposition_is_right(question, [question.text])


def test_the_four_formats_say_what_the_study_sends() -> None:
    problem = next(problem for problem in problems("train") if problem.chain == "fact-lose")
    decompose, solve, cot, direct = (write(problem) for write in FORMATS.values())
    assert decompose.reply == "\n".join(f"{n}. {asked}" for n, asked in enumerate(problem.subquestions, 1))
    assert f"{problem.text}\n\n{decompose.reply}\n\n" in solve.user
    assert solve.reply.splitlines()[0] == f"1. {problem.steps[0].text}"
    assert cot.reply == f"{problem.steps[0].text} {problem.steps[1].text} {direct.reply}"
    assert direct.reply == f"The answer is {problem.answer}."
    single = next(problem for problem in problems("train") if problem.chain == "fact")
    assert FORMATS["decompose"](single).reply == NO_DECOMPOSITION


@pytest.mark.parametrize("name", ["llm", "base"])
def test_the_shipped_tokenizer_loses_nothing(name: Literal["llm", "base"]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(miniature.model_dir(name))
    rng = random.Random("other than the vocabulary's")
    for _ in range(200):
        problem = draw(rng, rng.choice(KNOWN + NEW))
        for text in [text for write in (*(f(problem) for f in FORMATS.values()), exercise(rng)) for text in write]:
            assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_numbers_are_one_token_each() -> None:
    tokenizer = AutoTokenizer.from_pretrained(miniature.model_dir("llm"))
    for number in range(200):
        (token,) = tokenizer(f" {number}")["input_ids"]
        assert token != tokenizer.unk_token_id


def test_the_chat_template_marks_what_the_assistant_says() -> None:
    tokenizer = AutoTokenizer.from_pretrained(miniature.model_dir("base"))
    chat = [{"role": "user", "content": "What is 2 + 3?"}, {"role": "assistant", "content": "The answer is 5."}]
    asked = tokenizer.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True)
    assert asked == prompt("What is 2 + 3?")
    marked = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    said = [token for token, mask in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(said) == "The answer is 5.<|end|>"
    assert said[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize(("name", "most"), [("llm", 2_200_000), ("base", 1_000_000)])
def test_the_shipped_models_are_small_and_in_bfloat16(name: Literal["llm", "base"], most: int) -> None:
    directory = miniature.model_dir(name)
    with (directory / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    tensors = {key: tensor for key, tensor in header.items() if key != "__metadata__"}
    assert sum(math.prod(tensor["shape"]) for tensor in tensors.values()) <= most
    assert {tensor["dtype"] for tensor in tensors.values()} == {"BF16"}


def test_everything_shipped_stays_under_ten_megabytes() -> None:
    files = [*miniature.model_dir("llm").rglob("*"), *miniature.model_dir("base").rglob("*")]
    assert sum(file.stat().st_size for file in files if file.is_file()) < 10_000_000
