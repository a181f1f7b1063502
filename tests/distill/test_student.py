"""From traces to students."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from divcon import prompts
from divcon.core.errors import ConfigError
from divcon.decompose import PromptedDecomposer
from divcon.distill import CollectSettings, DecomposerRecipe, SolverRecipe, Trace
from divcon.distill.data.examples import Example, for_decomposer, for_solver
from divcon.distill.methods import _DECIDES
from divcon.distill.recipes import Full, Lora, RankerRecipe, wire
from divcon.distill.student import StudentCard, TrainingReport, build, read
from divcon.distill.traces import trace as traces
from divcon.distill.traces.collect import collect, decomposing, solving
from divcon.distill.training.batch_plan import TrainingBudget, plan
from divcon.distill.training.checkpoints import last_checkpoint
from divcon.distill.training.trainer import ObjectiveTrainer, encode_example, fit, train, tunable
from divcon.lm import Message, Model, Request, Sampling, Scripted, Store, Usage
from divcon.lm.engines.transformers import Transformers
from divcon.lm.local.chat_template import encode, end_of_turn
from divcon.lm.local.weights import load_model, load_tokenizer, model_directory
from divcon.lm.model import silent
from divcon.solve import PromptedSolver, Verdict
from divcon.tasks import Question, miniature

pytestmark = pytest.mark.model

BASE = model_directory("miniature/base")
QUESTION = Question("q", "How many pears?", "40", tags={"level": "1"})


def trace(solution: str = "1. 4 * 10 = 40.\nThe answer is 40.", verdict: Verdict = "right", **changes: object) -> Trace:
    made = Trace(
        question=QUESTION,
        subquestions=("How many in 4 crates?",),
        decomposition="1. How many in 4 crates?",
        solution=solution,
        answer="40" if verdict == "right" else "41",
        verdict=verdict,
        attempt=0,
        usage=Usage(30, 20, seconds=0.5),
        decomposition_usage=Usage(20, 10),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields by name


WRONG = trace("1. 4 * 10 = 41.\nThe answer is 41.", "wrong")

with Store() as closed:
    UNASKED = Model("m", Scripted(), closed)
    """For requests that are made and never sent."""


def phases(model: Model = UNASKED) -> tuple[PromptedDecomposer, PromptedSolver]:
    return (
        PromptedDecomposer(model, prompts.load("miniature/decompose"), 4, Sampling(max_tokens=48)),
        PromptedSolver(
            model,
            prompts.family("miniature/solve", "miniature/cot", "miniature/direct"),
            Sampling(max_tokens=48),
        ),
    )


# -- collecting ----------------------------------------------------------------------------------------------------


def test_every_solution_is_labelled() -> None:
    def answer(messages: tuple[Message, ...], index: int) -> str:
        return "1. How many?" if "ask first" in messages[-1].content else f"The answer is {40 + index}."

    with Store() as store:
        decomposer, solver = phases(Model("m", Scripted(answer=answer), store))
        collected = collect([QUESTION], decomposer, solver, CollectSettings(solutions=3, temperature=1.0))
    assert [t.verdict for t in collected] == ["right", "wrong", "wrong"]
    assert {t.subquestions for t in collected} == {("How many?",)}


def test_traces_read_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "traces" / "traces.jsonl"
    kept = [trace(), WRONG, trace("?", "unreadable", answer=None, subquestions=())]
    traces.write(kept, path)
    assert traces.read(path) == kept


def test_a_trace_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    traces.write([trace(), WRONG], path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for damaged in ("".join(lines[:-1]), "".join(lines)[:-20], "".join(lines[1:]), ""):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(ConfigError, match=path.name):
            traces.read(path)


def test_what_attempts_share_is_paid_once() -> None:
    again = trace(attempt=1)
    both, all_three = ([trace(), WRONG], [trace(), WRONG, again])
    assert decomposing(both) + solving(both) == Usage(20 + 30, 10 + 40, seconds=1.0)
    assert decomposing(all_three) + solving(all_three) == Usage(2 * (20 + 30), 10 + 40 + 10 + 20, seconds=1.5)


def test_traces_of_another_origin_are_refused(tmp_path: Path) -> None:
    traces.write([trace()], tmp_path / "traces.jsonl", origin="here")
    assert traces.read(tmp_path / "traces.jsonl", "here") == [trace()]
    with pytest.raises(ConfigError, match="collected from other questions"):
        traces.read(tmp_path / "traces.jsonl", "there")


# -- what is taught ------------------------------------------------------------------------------------------------


def test_the_decomposer_learns_each_decomposition_once() -> None:
    decomposer, _ = phases()
    (example,) = for_decomposer([trace(), WRONG], decomposer, "all")
    assert example.reply == "1. How many in 4 crates?"
    assert example.messages == decomposer.request(QUESTION).messages


def test_rejection_keeps_what_reached_the_answer() -> None:
    decomposer, _ = phases()
    other = replace(WRONG, subquestions=("How much?",), decomposition="1. How much?")
    assert len(for_decomposer([trace(), other], decomposer, "all")) == 2
    assert len(for_decomposer([trace(), other], decomposer, "rejection_sampled")) == 1


def test_that_none_is_needed_is_taught_and_gibberish_is_not() -> None:
    decomposer, _ = phases()
    needless = trace(subquestions=(), decomposition="No decomposition needed.")
    gibberish = trace(subquestions=(), decomposition="pears pears")
    (example,) = for_decomposer([needless, gibberish], decomposer, "all")
    assert example.reply == "No decomposition."


@pytest.mark.parametrize(
    ("data", "target", "replies"),
    [
        ("all", "sub-answers", [trace().solution, WRONG.solution]),
        ("right", "sub-answers", [trace().solution]),
        ("gold-spliced", "sub-answers", [trace().solution, "1. 4 * 10 = 41.\nThe answer is 40."]),
        ("right", "direct", ["The answer is 40."]),
        ("all", "direct", ["The answer is 40.", "The answer is 41."]),
    ],
)
def test_the_solver_learns_what_its_recipe_says(data: str, target: str, replies: list[str]) -> None:
    _, solver = phases()
    examples = for_solver([trace(), WRONG], solver, data, target)  # type: ignore[arg-type]  # literals by name
    assert [example.reply for example in examples] == replies


def test_nothing_to_teach_is_an_error() -> None:
    decomposer, solver = phases()
    with pytest.raises(ConfigError, match="1 traces 0 are right"):
        for_solver([WRONG], solver, "right", "sub-answers")
    with pytest.raises(ConfigError, match="1 traces 0 are right"):
        for_decomposer([WRONG], decomposer, "rejection_sampled")


def test_the_loss_is_on_the_reply_and_its_end_alone() -> None:
    tokenizer = load_tokenizer(BASE)
    messages = (Message("user", "How many pears?"),)
    row = encode_example(tokenizer, Example(messages, "The answer is 40."))
    prompt = encode(tokenizer, messages)
    assert row["input_ids"][: len(prompt)] == prompt
    assert row["labels"][: len(prompt)] == [-100] * len(prompt)
    assert row["labels"][len(prompt) :] == row["input_ids"][len(prompt) :]
    assert tokenizer.decode(row["labels"][len(prompt) : -1]) == "The answer is 40."
    assert row["labels"][-1] == end_of_turn(tokenizer)


# -- batches -------------------------------------------------------------------------------------------------------

lengths_of = st.lists(st.integers(1, 300), min_size=1, max_size=200)


@given(lengths_of, st.integers(0, 5), st.integers(1, 3))
def test_every_epoch_sees_every_example_once(lengths: list[int], seed: int, epochs: int) -> None:
    batches = plan(lengths, batch=8, micro_batch=8, seed=seed, budget=None, epochs=epochs)
    assert sorted(i for batch in batches for i in batch) == sorted(list(range(len(lengths))) * epochs)
    assert all(len(batch) == 8 for batch in batches[:-1])


@given(lengths_of, st.integers(1, 5000))
def test_a_budget_is_met_and_overrun_by_less_than_a_batch(lengths: list[int], tokens: int) -> None:
    batches = plan(lengths, batch=4, micro_batch=4, seed=0, budget=TrainingBudget(tokens, lengths), epochs=1)
    seen = [sum(lengths[i] for i in batch) for batch in batches]
    assert sum(seen) >= tokens > sum(seen[:-1])


def test_batches_hold_examples_of_like_length() -> None:
    lengths = [10 + (i * 7919) % 400 for i in range(512)]
    batches = plan(lengths, batch=16, micro_batch=16, seed=0, budget=None, epochs=1)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert sum(lengths) / padded > 0.9


def test_micro_batches_make_up_the_same_steps() -> None:
    lengths = list(range(1, 65))
    whole = plan(lengths, batch=16, micro_batch=16, seed=3, budget=None, epochs=2)
    parts = plan(lengths, batch=16, micro_batch=4, seed=3, budget=None, epochs=2)
    assert [i for batch in whole for i in batch] == [i for batch in parts for i in batch]


# -- training ------------------------------------------------------------------------------------------------------


def lessons(n: int = 24) -> list[Example]:
    decomposer, _ = phases()
    asked = [question for question in miniature.questions("train", n) if question.subquestions]
    return [
        Example(decomposer.request(q).messages, "\n".join(f"{i}. {s}" for i, s in enumerate(q.subquestions, 1)))
        for q in asked
    ]


RECIPE = DecomposerRecipe(tuning=Lora(rank=4, alpha=8), learning_rate=3e-3, batch_size=4, epochs=2, checkpoints=4)


def taught(
    out: Path, recipe: DecomposerRecipe | SolverRecipe = RECIPE, examples: Sequence[Example] = ()
) -> TrainingReport:
    return train(
        examples or lessons(), BASE, out, recipe, seed=0, scratch=out.parent / f"{out.name}-scratch", advance=silent
    )


def weights(directory: Path) -> dict[str, torch.Tensor]:
    (file,) = directory.glob("*.safetensors")
    return load_file(file)


def test_a_student_loads_with_stock_peft_and_says_the_same(tmp_path: Path) -> None:
    taught(tmp_path / "student")
    question = lessons()[0].messages
    with Store() as store:
        model = Model("s", Transformers("miniature/base", dtype="float32"), store, adapter=tmp_path / "student")
        ((ours,),) = model([Request(question, Sampling(max_tokens=24), logprobs=True)])

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "student")
    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    stock = PeftModel.from_pretrained(base, str(tmp_path / "student"))
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question[0].content}], add_generation_prompt=True, return_dict=False
    )
    reply = tokenizer(ours.text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = stock(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(-1, torch.tensor(reply)[:, None])[:, 0]
    assert ours.logprobs is not None and len(reply) > 5
    torch.testing.assert_close(torch.tensor(ours.logprobs[: len(reply)]), expected, atol=1e-4, rtol=0)


class _KilledError(Exception):
    pass


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = taught(tmp_path / "whole")

    def dies(finished: int, wanted: int, tokens: int = 0) -> None:
        if finished == wanted - 2:
            raise _KilledError

    again = tmp_path / "again"
    scratch = tmp_path / "again-scratch"
    with pytest.raises(_KilledError):
        train(lessons(), BASE, again, RECIPE, seed=0, scratch=scratch, advance=dies)
    assert last_checkpoint(scratch) is not None and not again.exists()
    resumed = taught(again)
    assert (resumed.steps, resumed.tokens) == (whole.steps, whole.tokens)
    for name, tensor in weights(tmp_path / "whole").items():
        torch.testing.assert_close(weights(again)[name], tensor, atol=0, rtol=0)


def test_micro_batches_learn_what_a_whole_batch_learns(tmp_path: Path) -> None:
    once = RECIPE.model_copy(update={"batch_size": 16, "epochs": 1.0})
    taught(tmp_path / "whole", once)
    taught(tmp_path / "parts", once.model_copy(update={"micro_batch_size": 4}))
    for name, tensor in weights(tmp_path / "whole").items():
        torch.testing.assert_close(weights(tmp_path / "parts")[name], tensor, atol=2e-4, rtol=0)


def test_all_weights_can_be_trained(tmp_path: Path) -> None:
    recipe = SolverRecipe(tuning=Full(kind="full"), learning_rate=1e-3, batch_size=8, epochs=1)
    trained = taught(tmp_path / "student", recipe)
    assert trained.parameters > 500_000
    asked = Request(lessons()[0].messages, Sampling(max_tokens=8))
    with Store() as store:
        ((completion,),) = Model("s", Transformers(str(tmp_path / "student")), store)([asked])
    assert completion.usage.completion_tokens > 0


def test_over_long_examples_are_dropped_and_counted(tmp_path: Path) -> None:
    examples = lessons(8)
    lengths = sorted(len(encode_example(load_tokenizer(BASE), example)["input_ids"]) for example in examples)
    recipe = RECIPE.model_copy(update={"max_length": lengths[-1] - 1, "epochs": 1.0})
    assert taught(tmp_path / "student", recipe, examples).dropped >= 1
    with pytest.raises(ConfigError, match="longer than max_length"):
        taught(tmp_path / "other", RECIPE.model_copy(update={"max_length": 3}), examples)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_training(number: float, tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "student"
    shutil.copytree(BASE, base)
    broken = load_file(base / "model.safetensors")
    broken["model.norm.weight"][0] = number
    save_file(broken, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="not a number at step 1; lower the learning rate"):
        train(lessons(), base, out, RECIPE, seed=0, scratch=tmp_path / "scratch")
    assert not out.exists() and last_checkpoint(tmp_path / "scratch") is None


class Breaking(ObjectiveTrainer):
    """Its last step makes the weights NaN, after the last loss."""

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        loss = super().training_step(*args, **options)
        if self.state.global_step + 1 == self.state.max_steps:
            for p in self.model.parameters():
                if p.grad is not None:
                    p.grad.fill_(math.nan)
        return loss


def test_a_weight_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    model, units = tunable(load_model(BASE, "float32", "cpu"), RECIPE, 0), [(example,) for example in lessons()]
    with pytest.raises(ConfigError, match=r"not a number at step \d\d; lower the learning rate"):
        fit(model, load_tokenizer(BASE), units, RECIPE, seed=0, scratch=tmp_path / "scratch", kind=Breaking)
    assert all(torch.isfinite(p).all() for path in tmp_path.rglob("*.safetensors") for p in load_file(path).values())


def test_layers_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no adapter fits on the base"):
        taught(tmp_path / "student", RECIPE.model_copy(update={"tuning": Lora(targets=("nonsense",))}))


def test_what_is_no_student_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "solver").mkdir()
    (tmp_path / "solver" / "thesis.txt").write_text("ten years of work", encoding="utf-8")
    lesson = StudentCard("solver", "base", "", "teacher", "data", {}, {}, 0, {})
    with pytest.raises(ConfigError, match="not a student; move it away"):
        build(tmp_path / "solver", lesson, lambda out: pytest.fail("it was trained"))
    assert (tmp_path / "solver" / "thesis.txt").exists()


@pytest.mark.parametrize("facts", ["[]", "{", '{"format": "divcon-student/1"}', '{"format": "other"}'])
def test_a_damaged_card_is_one_clear_sentence(tmp_path: Path, facts: str) -> None:
    (tmp_path / "divcon.json").write_text(facts, encoding="utf-8")
    with pytest.raises(ConfigError, match="to train again"):
        read(tmp_path)


def test_a_base_trained_from_a_wrong_end_token_still_learns_the_right_one(tmp_path: Path) -> None:
    """Some published tokenizers name another `eos_token` than the one their chat template ends a turn with."""
    shutil.copytree(BASE, tmp_path / "base")
    path = tmp_path / "base" / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"eos_token": config["pad_token"]}), encoding="utf-8")
    assert load_tokenizer(tmp_path / "base").eos_token_id == load_tokenizer(BASE).eos_token_id


def test_what_is_hashed_of_a_recipe_keeps_its_names() -> None:
    """Or every stage that was trained before a setting was renamed would be trained again."""
    of_a_student = wire(SolverRecipe(batch_size=4, micro_batch_size=2, max_train_tokens=9))
    assert {"batch": 4, "micro_batch": 2, "tokens": 9, "after_rate": 0.05}.items() <= of_a_student.items()
    deciding = {"tuning", "learning_rate", "warmup", "batch", "micro_batch", "tokens", "epochs", "max_length"}
    assert deciding | {"bf16", "gradient_checkpointing"} == of_a_student.keys() & _DECIDES == _DECIDES
    of_a_ranker = wire(RankerRecipe(student_samples=3))
    assert {"own": 3, "batch": 16}.items() <= of_a_ranker.items()
    assert not {"batch_size", "student_samples"} & of_a_ranker.keys()
