"""What trainings make small, against the formulas written out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from divcon.core.errors import ConfigError
from divcon.distill.data.examples import Example
from divcon.distill.data.groups import LabelledReply, TrainingData, make
from divcon.distill.training.objectives import OBJECTIVES, ScoredReplies
from divcon.lm import Message

P = [[0.5, 0.25], [0.9, 0.0], [0.4, 0.6]]
"""The probabilities of the tokens of three replies: two of two tokens, one of one."""


def scored(right: list[bool], unit: list[int]) -> ScoredReplies:
    p = torch.tensor(P, dtype=torch.float64)
    logprobs = torch.where(p > 0, p, 1.0).log().requires_grad_()
    return ScoredReplies(logprobs, p > 0, torch.tensor(right), torch.tensor(unit))


LOGS = [math.log(0.5 * 0.25), math.log(0.9), math.log(0.4 * 0.6)]
MEANS = [LOGS[0] / 2, LOGS[1], LOGS[2] / 2]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("likelihood", -sum(LOGS)),
        ("nt", -LOGS[0] + 0.05 * (LOGS[1] + LOGS[2])),
        ("ul", -LOGS[0] - 0.05 * (math.log(0.1) + math.log(0.6) + math.log(0.4))),
        ("ul-literal", -LOGS[0] - 0.05 * (math.log(0.1) + math.log(1 - 0.24))),
    ],
)
def test_a_reply_alone(name: str, expected: float) -> None:
    loss = OBJECTIVES[name].loss(scored([True, False, False], [0, 1, 2]))
    assert loss.item() == pytest.approx(expected, abs=1e-9)
    assert OBJECTIVES[name].per == "token"


def test_a_pair() -> None:
    loss = OBJECTIVES["redi"].loss(scored([True, False, False], [0, 0, 0]))
    assert loss.item() == pytest.approx(-MEANS[0] + 0.8 * (MEANS[1] + MEANS[2]), abs=1e-9)
    assert OBJECTIVES["redi"].per == "unit"


def test_a_session() -> None:
    loss = OBJECTIVES["cl"].loss(scored([True, False, True], [0, 0, 0]))
    e = [math.exp(mean) for mean in MEANS]
    assert loss.item() == pytest.approx(math.log(sum(e) / (e[0] + e[2])) - (MEANS[0] + MEANS[2]) / 2, abs=1e-9)
    twice = OBJECTIVES["cl"].loss(scored([True, False, True], [0, 0, 1]))
    alone = math.log(sum(e[:2]) / e[0]) - MEANS[0] - MEANS[2]
    assert twice.item() == pytest.approx(alone, abs=1e-9)


def test_unlikelihood_of_whole_sequences_has_no_gradient() -> None:
    """A reply of forty tokens has a probability of about e^-60: the literal formula is KD."""
    logprobs = torch.full((1, 40), -1.5, dtype=torch.float64, requires_grad=True)
    batch = ScoredReplies(logprobs, torch.ones(1, 40, dtype=torch.bool), torch.tensor([False]), torch.tensor([0]))
    OBJECTIVES["ul-literal"].loss(batch).backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None and logprobs.grad.abs().max() < 1e-24


# -- what they are taught with -----------------------------------------------------------------------------------------


def reply(question: str, text: str, right: bool, readable: bool = True) -> LabelledReply:
    return LabelledReply(question, Example((Message("user", question),), text), right, readable)


MATERIAL = TrainingData(
    replies=(
        reply("a", "yes", True),
        reply("a", "yes too", True),
        reply("a", "no", False),
        reply("b", "no", False),
        reply("b", "cut off", False, readable=False),
        reply("c", "yes", True),
    ),
    selected=(Example((Message("user", "a"),), "yes"),),
    human=(reply("a", "by hand", True),),
)


def said(kind: str) -> list[list[tuple[str, bool]]]:
    return [[(example.reply, example.right) for example in unit] for unit in make(kind, MATERIAL)]


def test_units_hold_what_belongs_together() -> None:
    assert said("selected") == [[("yes", True)]]
    assert said("right") == [[("yes", True)], [("yes too", True)], [("yes", True)]]
    assert said("wrong") == [[("no", True)], [("no", True)], [("cut off", True)]]
    assert said("readable-wrong") == [[("no", True)], [("no", True)]]
    assert said("human") == [[("by hand", True)]]
    assert said("pairs") == [[("yes", True), ("no", False)], [("yes too", True), ("no", False)]]
    assert said("sessions") == [[("by hand", True), ("yes", True), ("yes too", True), ("no", False)]]
    assert len(said("labelled")) == len(said("mixed")) == 6
    assert sorted(flag for unit in said("labelled") for _, flag in unit) == [False] * 3 + [True] * 3
    assert all(flag for unit in said("mixed") for _, flag in unit)


def test_a_session_is_not_larger_than_eight_and_has_both() -> None:
    many = tuple(reply("a", f"{i}", i % 2 == 0) for i in range(40))
    (session,) = make("sessions", TrainingData(many))
    assert len(session) == 8 and sum(example.right for example in session) == 4


def test_tags_say_what_follows() -> None:
    told = {
        example.reply: example.messages[-1].content
        for (example,) in make("tagged", replace(MATERIAL, tags=("well", "badly")))
    }
    assert told["yes too"] == "a\nwell" and told["cut off"] == "b\nbadly"


def test_replies_at_random_are_as_many_as_the_wrong_ones() -> None:
    drawn = [make("random", TrainingData(MATERIAL.replies, seed=seed)) for seed in range(20)]
    assert all(len(units) <= 3 for units in drawn) and any(len(units) == 3 for units in drawn)
    assert len({tuple(units) for units in drawn}) > 3
    assert drawn[0] == make("random", TrainingData(MATERIAL.replies, seed=0))


@pytest.mark.parametrize(
    ("kind", "material"),
    [
        ("wrong", TrainingData((reply("a", "yes", True),))),
        ("right", TrainingData((reply("a", "no", False),))),
        ("pairs", TrainingData((reply("a", "yes", True), reply("b", "no", False)))),
        ("labelled", TrainingData((reply("a", "yes", True),))),
        ("sessions", TrainingData((reply("a", "no", False),))),
        ("human", TrainingData(MATERIAL.replies)),
    ],
)
def test_nothing_to_teach_is_a_sentence(kind: str, material: TrainingData) -> None:
    with pytest.raises(ConfigError, match=rf"nothing to teach \({kind}\): there are .* right and .* wrong replies"):
        make(kind, material)
