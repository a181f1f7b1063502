"""The ranking model: its losses by hand, its head, every backbone trained for real on a task that can be told."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import elu

from divcon.core.errors import ConfigError
from divcon.distill.ranker import model as ranker
from divcon.distill.ranker import train as ranking
from divcon.distill.ranker.model import Group, Head, ModelRanker
from divcon.distill.ranker.pairs import pair_accuracy
from divcon.distill.ranker.score import CachedScorer
from divcon.distill.ranker.train import SolutionGroup, bradley_terry, pointwise, power, train
from divcon.distill.recipes import Features, Lora, RankerRecipe, ReaderBackbone
from divcon.eval.analysis.ranker import baselines, worth
from divcon.lm import Store, Usage
from divcon.solve import Solution
from divcon.tasks import Question

pytestmark = pytest.mark.model

READER = ReaderBackbone(path="miniature/base", tuning=Lora(rank=4, alpha=8))


def solution(text: str, answer: str | None = "1", logprob: float | None = None) -> Solution:
    return Solution(text, answer, Usage(), logprob)


def questions(n: int, seed: int = 0) -> list[SolutionGroup]:
    """Right solutions are the shorter ones, as far as chance lets them be."""
    draw = random.Random(seed)
    made = []
    for i in range(n):
        labels = [True, False, *(draw.random() < 0.5 for _ in range(4))]
        texts = ["3 + 4 = 7.\n" * max(1, round(draw.gauss(3 if right else 8, 2))) for right in labels]
        solutions = tuple(solution(f"{text}The answer is {i}.", str(i)) for text in texts)
        made.append(
            SolutionGroup(
                Group(Question(f"{i}", f"How many apples has Ben after {i}?", f"{i}"), solutions), tuple(labels)
            )
        )
    return made


def test_the_losses_by_hand() -> None:
    sure, even = torch.tensor([100.0]), torch.tensor([0.0])
    assert power(sure, -sure, 3).item() == pytest.approx(0) and power(even, even, 3).item() == pytest.approx(0.25)
    assert power(-sure, sure, 3).item() == pytest.approx(2) and power(even, even, 1).item() == pytest.approx(1.0)
    assert bradley_terry(torch.tensor([2.0]), torch.tensor([1.0]), 3).item() == pytest.approx(0.313262, abs=1e-6)
    assert pointwise(even, even, 3).item() == pytest.approx(2 * 0.693147, abs=1e-6)


def test_the_head_is_the_authors() -> None:
    torch.manual_seed(0)
    head, u = Head(6), torch.randn(5, 6)
    u1 = elu(u @ head.first.weight.T + head.first.bias) + u
    u2 = elu(u1 @ head.second.weight.T + head.second.bias) + u1
    torch.testing.assert_close(head(u), u2 @ head.score.weight[0])


def test_pairs_meet_within_a_question() -> None:
    scores: list[list[float | None]] = [[0.9, 0.1, 0.5], [0.2, 0.2], [0.1, None]]
    right = [[True, False, False], [True, False], [False, True]]
    assert pair_accuracy(scores, right) == pytest.approx((2 + 0.5) / 3)
    assert pair_accuracy([[0.5]], [[True]]) != pair_accuracy([[0.5]], [[True]])  # no pair is not a number


def test_solutions_are_pooled_without_their_last_token_and_without_padding() -> None:
    made = ranker.new(RankerRecipe(backbone=READER), "cpu").eval()
    assert isinstance(made, ModelRanker)
    group = Group(Question("1", "How many apples?", "7"), (solution("3 + 4 = 7."), solution("3 + 4 = 7. " * 5)))
    rows = [row for row in made.rows(group) if row]
    seen: list[torch.Tensor] = []
    made.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        together = made(**made.collate(rows))
        alone = torch.cat([made(**made.collate([row])) for row in rows])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
        hidden = made.backbone(input_ids=torch.tensor([rows[0]["input_ids"]])).last_hidden_state[0]
    torch.testing.assert_close(seen[1][0], hidden[rows[0]["start"] : -1].mean(0), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "objective"),
    [
        (Features(kind="features"), "power"),
        (Features(kind="features", names=("length",)), "bradley-terry"),
        (Features(kind="features"), "pointwise"),
        (READER, "power"),
        (ReaderBackbone(path="miniature/base", tuning="frozen"), "bradley-terry"),
        (ReaderBackbone.model_validate({"path": "miniature/base", "tuning": {"kind": "full"}}), "pointwise"),
    ],
)
def test_every_backbone_learns_what_can_be_told(backbone: Any, objective: Any, tmp_path: Path) -> None:
    recipe = RankerRecipe(backbone=backbone, objective=objective, pairs=2, epochs=3, learning_rate=3e-3)
    ranked = train(questions(60), recipe, tmp_path / "out", seed=0, scratch=tmp_path / "s")
    loaded, fresh = ranker.load(tmp_path / "out"), questions(40, seed=1)
    scores = loaded.score([one.group for one in fresh])
    assert pair_accuracy(scores, [one.right for one in fresh]) > 0.85 and ranked.best["accuracy"] > 0.85
    assert all(s is not None and 0 < s < 1 for of in scores for s in of)


def test_an_interrupted_training_ends_with_the_same_ranker(tmp_path: Path) -> None:
    recipe = RankerRecipe(pairs=2, epochs=4, checkpoints=8)
    train(questions(40), recipe, tmp_path / "whole", seed=0, scratch=tmp_path / "s0")
    steps: list[int] = []

    def stop(finished: int, wanted: int, tokens: int = 0) -> None:
        steps.append(finished)
        if len(steps) in (7, 15):
            raise KeyboardInterrupt

    for _ in range(3):
        try:
            train(questions(40), recipe, tmp_path / "parts", seed=0, scratch=tmp_path / "s1", advance=stop)
            break
        except KeyboardInterrupt:
            continue
    assert len(steps) > 15
    whole, parts = (tmp_path / name / ranker.WEIGHTS for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_the_best_epoch_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([0.6, 0.9, 0.7])
    monkeypatch.setattr(ranking, "pair_accuracy", lambda *_: next(told))
    ranked = train(questions(30), RankerRecipe(epochs=3), tmp_path / "out", seed=0, scratch=tmp_path / "s")
    assert ranked.best == {"epoch": 2, "accuracy": 0.9}


def test_a_second_stage_goes_on_from_the_first_and_no_stage_learns_from_what_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[dict[str, torch.Tensor]] = []
    learned: set[str] = set()
    original, meeting = ranking._train, ranking._Pairs

    def watched(model: Any, *rest: Any) -> Any:
        weights.append({name: p.clone() for name, p in ranker.trained(model)})
        made = original(model, *rest)
        weights.append({name: p.clone() for name, p in ranker.trained(model)})
        return made

    def pairs(model: Any, questions: Any, recipe: Any) -> Any:
        learned.update(one.group.question.id for one in questions)
        return meeting(model, questions, recipe)

    monkeypatch.setattr(ranking, "_train", watched)
    monkeypatch.setattr(ranking, "_Pairs", pairs)
    # Some of the first set make no pair, so that each set alone would hold out other questions.
    first = [one._replace(right=(True,) * len(one.right)) if i % 3 else one for i, one in enumerate(questions(60))]
    stages = {"the teacher's": first, "the student's own": questions(60, seed=2)}
    ranked = ranking.course(stages, RankerRecipe(epochs=2), tmp_path / "out", seed=0, scratch=tmp_path / "s")
    before, between, again, after = weights
    assert all(torch.equal(between[name], again[name]) for name in between)
    assert any(not torch.equal(before[name], between[name]) for name in before if name != "mean")
    assert any(not torch.equal(between[name], after[name]) for name in before if name != "mean")
    held = {one.group.question.id for one in ranked.held_out}
    assert len(held) >= 12 and not held & learned
    told = json.loads((tmp_path / "out" / "training.json").read_text(encoding="utf-8"))
    assert list(told) == ["ranker-1", "ranker-2"] and ranked.trained.steps > len(told["ranker-2"])


def test_another_recipe_does_not_go_on_from_this_ones_checkpoint(tmp_path: Path) -> None:
    recipe = RankerRecipe(epochs=4, checkpoints=8, learning_rate=1e-2)

    def stop(finished: int, wanted: int, tokens: int = 0) -> None:
        if finished == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(questions(40), recipe, tmp_path / "a", seed=0, scratch=tmp_path / "s", advance=stop)
    assert list((tmp_path / "s").glob(".*.checkpoints/checkpoint-*"))
    slow = recipe.model_copy(update={"learning_rate": 1e-6, "objective": "bradley-terry"})
    train(questions(40), slow, tmp_path / "b", seed=0, scratch=tmp_path / "s")
    train(questions(40), slow, tmp_path / "c", seed=0, scratch=tmp_path / "elsewhere")
    assert (tmp_path / "b" / ranker.WEIGHTS).read_bytes() == (tmp_path / "c" / ranker.WEIGHTS).read_bytes()


def test_a_ranker_trained_anew_in_the_same_place_is_asked_anew(tmp_path: Path) -> None:
    asked, solved = [one.group.question for one in questions(4)], [one.group.solutions for one in questions(4)]
    with Store() as store:
        for seed in (0, 1):
            train(questions(20), RankerRecipe(epochs=1), tmp_path / "out", seed=seed, scratch=tmp_path / f"{seed}")
            own = ranker.load(tmp_path / "out").score([one.group for one in questions(4)])
            assert [[one.score for one in of] for of in CachedScorer(tmp_path / "out", store)(asked, solved)] == own
            shutil.rmtree(tmp_path / "out")


def test_what_nobody_knows_of_a_solution_is_as_usual(tmp_path: Path) -> None:
    known = []
    for group, right in questions(30):
        likely = [replace(s, logprob=-0.1 if r else -0.9) for s, r in zip(group.solutions, right, strict=True)]
        known.append(SolutionGroup(Group(group.question, tuple(likely)), right))
    recipe = RankerRecipe(backbone=Features(kind="features", names=("log-probability",)), epochs=3, learning_rate=1e-2)
    train(known, recipe, tmp_path / "out", seed=0, scratch=tmp_path / "s")
    group = Group(
        Question("1", "?", "1"), (solution("x", "1", -0.1), solution("x", "1", None), solution("x", "1", -0.9))
    )
    ((high, usual, low),) = ranker.load(tmp_path / "out").score([group])
    assert high is not None and usual is not None and low is not None and high > usual > low


def test_nothing_to_rank_is_one_sentence(tmp_path: Path) -> None:
    alike = [one._replace(right=(True,) * len(one.right)) for one in questions(10)]
    with pytest.raises(ConfigError, match="needs questions with right and with wrong solutions"):
        train(alike, RankerRecipe(), tmp_path / "out", seed=0, scratch=tmp_path / "s")
    with pytest.raises(ConfigError, match="the student's own: a ranker needs questions"):
        stages = {"the teacher's": questions(10), "the student's own": alike}
        ranking.course(stages, RankerRecipe(epochs=1), tmp_path / "out", seed=0, scratch=tmp_path / "s1")
    long = RankerRecipe(backbone=READER, max_length=5)
    with pytest.raises(ConfigError, match="none longer than 5 tokens; there are 0 to learn from"):
        train(questions(10), long, tmp_path / "out", seed=0, scratch=tmp_path / "s2")
    with pytest.raises(ConfigError, match="no adapter fits on the base: it has no layer 'query'"):
        ranker.new(RankerRecipe(backbone=ReaderBackbone(path="miniature/base", tuning=Lora(targets=("query",)))), "cpu")
    with pytest.raises(ConfigError, match="this machine has no device 'cuda:9'"):
        ranker.new(RankerRecipe(backbone=READER), "cuda:9")
    with pytest.raises(ConfigError, match=r"no ranker in .*; distil it first"):
        ranker.load(tmp_path / "nowhere")


def test_a_solution_that_is_too_long_has_no_score() -> None:
    made = ranker.new(RankerRecipe(backbone=READER, max_length=40), "cpu")
    group = Group(Question("1", "How many?", "7"), (solution("3 + 4 = 7."), solution("3 + 4 = 7. " * 20)))
    ((short, long),) = made.score([group])
    assert short is not None and long is None


def test_scores_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RankerRecipe(backbone=READER, epochs=1, pairs=1)
    train(questions(10), recipe, tmp_path / "out", seed=0, scratch=tmp_path / "s")
    asked, solved = [one.group.question for one in questions(6)], [one.group.solutions for one in questions(6)]
    with Store() as store:
        first = CachedScorer(tmp_path / "out", store)(asked, solved)
        monkeypatch.setattr(ModelRanker, "score", lambda *_: pytest.fail("a score was asked for twice"))
        again = CachedScorer(tmp_path / "out", store)
        assert again(asked, solved) == first and again(asked[:1], [solved[0][:2]])[0] == first[0][:2]
    assert all(one.score and 0 < one.score < 1 and one.usage.prompt_tokens > 5 for of in first for one in of)


def test_features_that_look_around_are_kept_with_what_they_saw(tmp_path: Path) -> None:
    train(questions(10), RankerRecipe(epochs=1), tmp_path / "out", seed=0, scratch=tmp_path / "s")
    question = Question("1", "How many?", "7")
    few = (solution("3 + 4 = 7.", "7"), solution("The answer is 8.", "8"))
    more = (*few, solution("7.", "7"))
    with Store() as store:
        scorer = CachedScorer(tmp_path / "out", store)
        assert scorer([question], [few])[0][0].score != scorer([question], [more])[0][0].score


def test_what_scores_are_worth() -> None:
    scores, right = [[0.9, 0.2], [0.8, 0.7]], [[True, False], [True, False]]
    found = worth(scores, right, bins=2)
    assert found.pairs.value == 1.0 and found.pairs.low < 0.9 and found.auroc == 1.0
    assert [(round(b.score, 2), b.right.value, b.solutions) for b in found.calibration] == [
        (0.45, 0.0, 2),
        (0.85, 1.0, 2),
    ]
    assert (
        worth([[0.9, 0.2], [0.15, 0.1]], right).auroc == 0.75
    )  # an easy question's wrong one beats a hard one's right
    tied = worth([[0.5] * 2, [0.5] * 2], right, bins=4)
    assert [(b.score, b.right.value, b.solutions) for b in tied.calibration] == [(0.5, 0.5, 4)]
    made = baselines([["long text", "x", "y"]], [[0, 1, 0]], [[-0.1, -0.3, -0.2]])
    assert made["the more frequent answer"] == [[2.0, 1.0, 2.0]] and made["the more probable"] == [[-0.1, -0.3, -0.2]]
    assert made["the shorter"] == [[-9.0, -1.0, -1.0]]
    assert "the more probable" not in baselines([["x"]], [[0]], [[None]])


def test_a_frozen_backbone_does_not_learn() -> None:
    made = ranker.new(RankerRecipe(backbone=ReaderBackbone(path="miniature/base", tuning="frozen")), "cpu")
    assert {name.partition(".")[0] for name, p in made.named_parameters() if p.requires_grad} == {"head"}
    assert sum(isinstance(m, nn.Embedding) for m in made.modules()) and made.footprint.parameters < sum(
        p.numel() for p in made.parameters()
    )
