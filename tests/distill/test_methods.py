"""Every method, for real, on a handful of traces; and what a comparison of methods says."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from divcon import commands
from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.distill import methods, student
from divcon.distill.data.examples import Example
from divcon.distill.data.groups import LabelledReply, TrainingData, make
from divcon.distill.method_catalogue import METHODS
from divcon.distill.methods import TRAIN, Distillation, distil
from divcon.distill.recipes import Full, Lora, NatSettings, NceSettings, Training
from divcon.distill.training import telemetry
from divcon.distill.training.objectives import OBJECTIVES, Objective, likelihood
from divcon.distill.training.trainer import Fitted, fit
from divcon.eval.stats.intervals import questions_needed
from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.engines.transformers import Transformers
from divcon.lm.local.model_dir import is_nat
from divcon.lm.local.weights import model_directory
from divcon.studies.compare_methods import iou

pytestmark = pytest.mark.model

BASE = model_directory("miniature/base")
RECIPE = Training(
    tuning=Lora(rank=4, alpha=8, targets=("q_proj", "v_proj")),
    learning_rate=4e-3,
    max_train_tokens=700,
    batch_size=4,
    checkpoints=1,
    max_length=60,
)


def reply(i: int, right: bool) -> LabelledReply:
    asked = (Message("user", f"How many apples does Ben have after he buys {i} apples?"),)
    return LabelledReply(f"{i // 2}", Example(asked, f"The answer is {i if right else i + 1}."), right)


MATERIAL = TrainingData(
    replies=tuple(reply(i, right) for i in range(2, 10) for right in (True, False)),
    selected=tuple(reply(i, True).example for i in range(2, 10)),
    human=tuple(reply(i, True) for i in range(2, 10)),
    tags=("Answer so it holds.", "Answer so it breaks."),
)


def course(scratch: Path, recipe: Training = RECIPE, **options: Any) -> Distillation:
    return Distillation(MATERIAL, BASE, recipe, seed=0, scratch=scratch, own=lambda _: [reply(40, True)], **options)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_a_student_that_answers(name: str, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"method": name})
    trained = distil(name, course(tmp_path / "scratch", recipe), tmp_path / "out")
    assert trained.tokens >= 700 and trained.parameters > 0 and trained.loss == trained.loss and trained.peak_gib > 0
    assert is_nat(tmp_path / "out") == (METHODS[name].output == "nat")
    curves = json.loads((tmp_path / "out" / "training.json").read_text(encoding="utf-8"))
    assert all(curve and all("loss" in step for step in curve) for curve in curves.values())
    with Store() as store:
        model = Model("s", Transformers("miniature/base", dtype="float32"), store, adapter=tmp_path / "out")
        assert model([Request(MATERIAL.selected[0].messages, Sampling(max_tokens=8))])[0][0].text


class StreamCallback(NamedTuple):
    """What a stage's training was told."""

    replies: frozenset[str]
    seed: int
    tokens: int | None
    objective: object
    kind: str
    weights: list[float] | None


def heard_by(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[StreamCallback]:
    """Every training of a method, for real, with what it was told."""
    heard: list[StreamCallback] = []

    def listening(
        model: Any, tokenizer: Any, units: Any, recipe: Training, *, seed: int, scratch: Path, **options: Any
    ) -> Fitted:
        kind, teacher = options.get("kind"), options.get("teacher")
        replies = frozenset(example.reply for unit in units for example in unit)
        weights = [float(w) for w in teacher._weights] if teacher else None
        heard.append(
            StreamCallback(
                replies,
                seed,
                recipe.max_train_tokens,
                options.get("objective"),
                kind.__name__ if kind else "",
                weights,
            )
        )
        return fit(model, tokenizer, units, recipe, seed=seed, scratch=scratch, **options)

    monkeypatch.setattr(methods, "fit", listening)
    recipe = RECIPE.model_copy(update={"method": name, "max_train_tokens": 300, **changes})
    distil(name, course(tmp_path / name, recipe), tmp_path / f"{name}-out")
    return heard


RIGHT = frozenset(one.example.reply for one in MATERIAL.replies if one.right)
WRONG = frozenset(one.example.reply for one in MATERIAL.replies if not one.right)
OWN = frozenset({"The answer is 40."})


@pytest.mark.parametrize(
    ("name", "replies"),
    [
        ("mix", [RIGHT | WRONG]),
        ("nat", [WRONG, RIGHT]),
        ("nat-positive", [RIGHT, RIGHT]),
        ("nce", [WRONG, RIGHT, RIGHT | OWN]),
        ("nce-shuffled", [WRONG, RIGHT, RIGHT | OWN]),
        ("self-distill", [WRONG, RIGHT, RIGHT | OWN]),
        ("self-augment", [WRONG, RIGHT, RIGHT | OWN]),
        ("redi", [RIGHT, RIGHT | WRONG]),
        ("dpo", [RIGHT, RIGHT | WRONG]),
        ("negative", [WRONG]),
        ("kd-3x-tokens", [RIGHT]),
    ],
)
def test_every_stage_learns_what_its_method_says(
    name: str, replies: list[frozenset[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = heard_by(name, tmp_path, monkeypatch)
    assert [one.replies for one in heard] == replies
    assert heard[-1].tokens == (900 if name == "kd-3x-tokens" else 300)
    enhanced = dict.fromkeys(("nce", "nce-shuffled", "self-distill"), "Enhanced")
    assert [one.kind for one in heard] == [""] * (len(heard) - 1) + [{"dpo": "PlannedDPO", **enhanced}.get(name, "")]
    assert (heard[-1].objective is OBJECTIVES["redi"]) == (name == "redi")
    if name.startswith("nat"):
        assert heard[0].seed != heard[1].seed  # or both adapters would begin as one


def test_controls_of_nce_differ_in_its_weights_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = {name: heard_by(name, tmp_path, monkeypatch)[-1].weights for name in ("nce", "nce-shuffled", "self-distill")}
    weights, shuffled, plain = (of[name] or [] for name in ("nce", "nce-shuffled", "self-distill"))
    assert len(set(weights)) > 1 and all(0.5 <= w < 1.5 for w in weights)
    assert sorted(shuffled) == sorted(weights) and shuffled != weights and set(plain) == {1.0}
    alone = heard_by("nce", tmp_path / "code", monkeypatch, nce=NceSettings(data="teacher"))
    assert alone[-1].replies == RIGHT


def test_random_controls_draw_whatever_the_label() -> None:
    labels = {(one.example.messages, one.example.reply): one.right for one in MATERIAL.replies}
    drawn = [labels[unit[0].messages, unit[0].reply] for unit in make("random", MATERIAL)]
    assert len(drawn) == len(WRONG) and set(drawn) == {True, False}
    told, dealt = (make(kind, MATERIAL) for kind in ("tagged", "tagged-random"))
    tags = [[unit[0].messages[-1].content.rpartition("\n")[2] for unit in units] for units in (told, dealt)]
    assert sorted(tags[0]) == sorted(tags[1]) and tags[0] != tags[1]


def test_tags_that_a_base_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    """A vocabulary of words has one token for all that it does not know."""
    unknown = dataclasses.replace(MATERIAL, tags=("Solve it correctly.", "Solve it incorrectly."))
    recipe = RECIPE.model_copy(update={"method": "tagged"})
    with pytest.raises(ConfigError, match=r"to this base the tags .* are the same; set other `tags`"):
        distil("tagged", Distillation(unknown, BASE, recipe, seed=0, scratch=tmp_path), tmp_path / "out")


def test_what_was_trained_on_another_base_is_not_taken_for_this(tmp_path: Path) -> None:
    other = tmp_path / "base"
    shutil.copytree(BASE, other)
    weights = load_file(other / "model.safetensors")
    save_file({at: p * 1.01 for at, p in weights.items()}, other / "model.safetensors", {"format": "pt"})
    recipe = RECIPE.model_copy(update={"method": "nat", "max_train_tokens": 300})
    for base, stages in ((BASE, 2), (BASE, 2), (other, 4)):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        distil("nat", Distillation(MATERIAL, base, recipe, seed=0, scratch=tmp_path / "s"), tmp_path / "out")
        assert len(list((tmp_path / "s").glob("*/stage.json"))) == stages


def test_methods_that_begin_alike_train_that_once(tmp_path: Path) -> None:
    for name in ("kd", "redi", "negative"):
        distil(name, course(tmp_path / "s", RECIPE.model_copy(update={"method": name})), tmp_path / name)
    assert len(list((tmp_path / "s").glob("*/stage.json"))) == 3  # kd is where redi begins


def test_a_name_that_is_no_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no method 'nta'; there are kd, ft, mix"):
        distil("nta", course(tmp_path), tmp_path / "out")


def test_whole_models_are_trained_by_one_loss_and_not_by_two_adapters(tmp_path: Path) -> None:
    whole = RECIPE.model_copy(update={"tuning": Full(kind="full"), "learning_rate": 1e-4})
    distil("redi", course(tmp_path / "redi", whole.model_copy(update={"method": "redi"})), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()
    with pytest.raises(ConfigError, match=r"trains adapters: set tuning.kind to lora"):
        distil("nat", course(tmp_path / "nat", whole.model_copy(update={"method": "nat"})), tmp_path / "nat-out")


def test_what_methods_have_in_common_is_trained_once(tmp_path: Path) -> None:
    said: list[str] = []
    for name in ("nat", "nce", "self-distill"):
        recipe = RECIPE.model_copy(update={"method": name})
        shared = course(tmp_path / "scratch", recipe, log=lambda logged: said.append(logged["training"]))
        distil(name, shared, tmp_path / name)
    assert list(dict.fromkeys(said)) == ["nat-wrong", "nat-wrong-right", "student-nce", "student-self-distill"]
    assert {path.name for path in (tmp_path / "scratch").iterdir() if "checkpoints" in path.name} == set()


def test_the_negative_adapter_does_not_move(tmp_path: Path) -> None:
    stages = course(tmp_path)
    negative = stages.learn("negative", stages.units("wrong"), tuning=stages.nat_lora)
    made = stages.train_integration_units("nat", negative, stages.units("right"))
    before = (negative / "adapter_model.safetensors").read_bytes()
    assert (made / "negative" / "adapter_model.safetensors").read_bytes() == before


def test_telemetry_tells_of_both_labels_and_of_the_units(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    recipe = RECIPE.model_copy(update={"method": "nat"})
    distil("nat", course(tmp_path / "nat", recipe, log=said.append), tmp_path / "out")
    second = [one for one in said if one["training"] == "nat-wrong-right"]
    assert all(-0.5 <= one["a_neg"] <= 0.5 for one in second)
    assert len([name for name in second[0] if name.startswith("a_neg/")]) == 8
    assert {"loss", "logprob_right", "tokens_per_second", "peak_gib", "training"} <= second[0].keys()
    said.clear()
    distil(
        "nce", course(tmp_path / "nce", RECIPE.model_copy(update={"method": "nce"}), log=said.append), tmp_path / "o2"
    )
    weighed = {one["training"] for one in said if "a_neg" in one}
    assert weighed == {"nat-wrong-right"} and all(
        "nce_weight" in one for one in said if one["training"] == "student-nce"
    )
    said.clear()
    distil(
        "nt", course(tmp_path / "nt", RECIPE.model_copy(update={"method": "nt"}), log=said.append), tmp_path / "nt-out"
    )
    assert all("logprob_right" in one and "logprob_wrong" in one for one in said)


class Board(TrainerCallback):  # type: ignore[misc]  # transformers leaves it untyped
    """In TensorBoard's place."""

    told: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    logging_dir = ""

    def on_log(self, *_: object, logs: dict[str, Any], **__: object) -> None:
        self.told.append((self.logging_dir, logs))


def test_a_tracker_is_told_what_the_log_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "find_spec", lambda name: name)
    monkeypatch.setattr(telemetry, "TensorBoardCallback", Board)
    said: list[dict[str, Any]] = []
    recipe = RECIPE.model_copy(update={"report_to": ("tensorboard",)})
    distil("kd", course(tmp_path / "s", recipe, log=said.append, board=tmp_path / "board"), tmp_path / "out")
    steps = [(folder, logs["logprob_right"]) for folder, logs in Board.told if "loss" in logs]
    assert steps == [(str(tmp_path / "board" / "student-kd"), one["logprob_right"]) for one in said]


def test_a_tracker_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"report_to: wandb is not installed; pip install 'divcon\[wandb\]'"):
        telemetry.check_trackers(["wandb"])


def test_a_person_watches_the_loss_and_what_the_units_weigh() -> None:
    logged = {"loss": 0.5, "epoch": 1, "logprob_right": -0.25, "a_neg": 0.01, "a_neg/0.q_proj": 0.02}
    assert telemetry.in_words(logged) == "loss 0.500, log p of right -0.25, a_neg +0.010"


def test_a_course_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"method": "nce", "checkpoints": 4})
    whole = course(tmp_path / "whole", recipe)
    distil("nce", whole, tmp_path / "expected")
    steps: list[int] = []

    def stop(finished: int, wanted: int, tokens: int = 0) -> None:
        steps.append(finished)
        if len(steps) % 7 == 0:
            raise KeyboardInterrupt

    for _ in range(20):
        try:
            distil("nce", course(tmp_path / "parts", recipe, advance=stop), tmp_path / "out")
            break
        except KeyboardInterrupt:
            continue
    name = "adapter_model.safetensors"
    assert len(steps) > 14 and (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()


@pytest.mark.parametrize("cache", ["rows", "weights"])
def test_cached_and_online_nce_train_the_same_student(cache: Any, tmp_path: Path) -> None:
    students = []
    for how in ("online", cache):
        recipe = RECIPE.model_copy(update={"method": "nce", "nce": NceSettings(cache=how, top_k=None)})
        distil("nce", course(tmp_path / f"{how}-scratch", recipe), tmp_path / how)
        students.append(load_file(tmp_path / how / "adapter_model.safetensors"))
    for name, weights in students[0].items():
        torch.testing.assert_close(students[1][name], weights, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("nat", "weights"),
    [
        (NatSettings(width=8), 8 * (8 * 4 * 128 + 4 * 256)),
        (NatSettings(form="extrapolate"), 8 * 4 * 256),
        (NatSettings(value=False, width=8), 8 * (8 * 2 * 128 + 4 * 256)),
        (NatSettings(weights="fixed", width=8), 8 * (8 * 2 * 128 + 4 * 256)),
    ],
)
def test_ablations_have_the_parameters_that_are_left(nat: NatSettings, weights: int, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"method": "nat", "nat": nat})
    assert distil("nat", course(tmp_path / "s", recipe), tmp_path / "out").parameters == weights


@pytest.mark.parametrize("nce", [NceSettings(cache="online"), NceSettings(per="token")])
def test_weights_that_cannot_be_dealt_out_anew_are_a_sentence(nce: NceSettings, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"method": "nce-shuffled", "nce": nce})
    with pytest.raises(ConfigError, match="weights can be dealt out anew where there is one a reply"):
        distil("nce-shuffled", course(tmp_path / "s", recipe), tmp_path / "out")


def test_kd_on_all_layers_has_about_as_many_weights(tmp_path: Path) -> None:
    sizes = {}
    for name in ("nat", "kd-matched-params"):
        recipe = RECIPE.model_copy(update={"method": name})
        sizes[name] = distil(name, course(tmp_path / f"s-{name}", recipe), tmp_path / name).parameters
    assert abs(sizes["kd-matched-params"] / sizes["nat"] - 1) < 0.2


@pytest.mark.parametrize("name", ["kd", "nt", "ul", "cl", "redi", "dpo", "nat", "nce"])
def test_sixteen_at_once_are_four_times_four(name: str, tmp_path: Path) -> None:
    """The same weights after two steps, whatever the objective is a mean over."""
    students = []
    for micro in (None, 4):
        changes: dict[str, Any] = {
            "method": name,
            "batch_size": 16,
            "micro_batch_size": micro,
            "max_train_tokens": None,
            "epochs": 2.0,
        }
        out = tmp_path / f"{micro}"
        distil(name, course(tmp_path / f"s{micro}", RECIPE.model_copy(update=changes)), out)
        students.append({p.relative_to(out): load_file(p) for p in out.rglob("*.safetensors")})
    for file, weights in students[0].items():
        for at, p in weights.items():
            torch.testing.assert_close(students[1][file][at], p, rtol=0, atol=5e-5)


def test_bf16_and_gradient_checkpointing_train_all_kinds(tmp_path: Path) -> None:
    for name in ("nat", "nce"):
        for changes in ({"gradient_checkpointing": True}, {"bf16": True}):
            recipe = RECIPE.model_copy(update={"method": name, **changes})
            where = tmp_path / f"{name}-{next(iter(changes))}"
            trained = distil(name, course(where / "s", recipe), where / "out")
            assert trained.loss == trained.loss


def test_gradient_checkpointing_changes_no_weight(tmp_path: Path) -> None:
    students = []
    for checkpointing in (False, True):
        recipe = RECIPE.model_copy(update={"method": "nat", "gradient_checkpointing": checkpointing})
        distil("nat", course(tmp_path / f"s{checkpointing}", recipe), tmp_path / f"{checkpointing}")
        students.append(load_file(tmp_path / f"{checkpointing}" / "nat_gate.safetensors"))
    for name, weights in students[0].items():
        torch.testing.assert_close(students[1][name], weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_one_sentence(
    number: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = iter([1.0, 1.0, number])
    broken = Objective(lambda scored: likelihood(scored) * next(factors))
    monkeypatch.setitem(OBJECTIVES, "likelihood", broken)
    recipe = RECIPE.model_copy(update={"method": "nat"})
    with pytest.raises(ConfigError, match="the loss is not a number at step 3; lower the learning rate"):
        distil("nat", course(tmp_path / "s", recipe), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("targets", [("wings",), ("q_proj", "wings")])
def test_a_base_without_the_layers_is_one_sentence(targets: tuple[str, ...], tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"method": "nat", "nat": NatSettings(targets=targets)})
    with pytest.raises(ConfigError, match="no adapter fits on the base: it has no layer 'wings'"):
        distil("nat", course(tmp_path / "s", recipe), tmp_path / "out")


def test_kto_needs_company(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"method": "kto", "micro_batch_size": 1})
    with pytest.raises(ConfigError, match="set micro_batch to 2 or more"):
        distil("kto", course(tmp_path / "s", recipe), tmp_path / "out")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("methods.names=[kd,nta]", "no method 'nta'; there are kd, ft"),
        ("methods.names=[kd,kd]", "methods: method kd is listed twice"),
        ("methods.seeds=[0,0]", "methods: seed 0 is listed twice"),
        ("distill.solver.learning_rate=1e30", "distill.solver.learning_rate: '1e30' must be at most 1"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_refused_before_it_begins(
    override: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        commands.compare_methods("miniature-negatives", overrides=[override], limit=4, run=tmp_path)
    assert not (tmp_path / "methods").exists()


@pytest.mark.long
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """`accelerate launch`, each process with half of every step; NCE trains a NAT model on its way."""
    recipe = RECIPE.model_copy(update={"method": "nce", "micro_batch_size": 2})
    distil("nce", course(tmp_path / "scratch", recipe), tmp_path / "one")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [*command, "-m", "tests.fakes.two_processes", "nce", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    pairs = [
        (tmp_path / "one", tmp_path / "student"),
        tuple(next((tmp_path / scratch).glob("nat-wrong-right-*")) for scratch in ("scratch", "two")),
    ]
    for expected, made in pairs:
        files = sorted(file.relative_to(expected) for file in expected.rglob("*.safetensors"))
        assert files
        for file in files:
            weights = load_file(expected / file)
            for at, p in load_file(made / file).items():
                torch.testing.assert_close(p, weights[at], rtol=0, atol=2e-5)


# -- rates and budgets -------------------------------------------------------------------------------------------------


def rates_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[float]:
    """The peak of every training of a method."""
    rates: list[float] = []

    def listening(model: Any, tokenizer: Any, units: Any, recipe: Training, **options: Any) -> Fitted:
        rates.append(recipe.learning_rate)
        return fit(model, tokenizer, units, recipe, **options)

    monkeypatch.setattr(methods, "fit", listening)
    recipe = RECIPE.model_copy(update={"method": name, "max_train_tokens": 200, **changes})
    distil(name, course(tmp_path / name, recipe), tmp_path / f"{name}-out")
    return rates


RATES = {"kd": 1e-3, "nat": 2e-3, "nce": 5e-3, "redi": 7e-4}


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("kd", [1e-3]),
        ("nat", [2e-3, 2e-3]),
        ("nce", [2e-3, 2e-3, 5e-3]),  # its teacher is nat's student
        ("redi", [1e-3, 7e-4]),  # it goes on from kd's student
        ("dpo", [1e-3, 4e-3 * 0.05]),
        ("ul", [4e-3]),
        ("kd-2x-tokens", [1e-3]),  # a variant of kd
        ("kd-matched-width-2x-tokens", [4e-3]),  # of one that has none of its own
        ("nat-random", [2e-3, 2e-3]),
    ],
)
def test_each_method_and_each_of_its_parts_has_its_own_rate(
    name: str, rates: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rates_of(name, tmp_path, monkeypatch, learning_rates=RATES) == pytest.approx(rates)


def test_a_part_that_two_methods_share_is_trained_once_at_one_rate(tmp_path: Path) -> None:
    for name in ("nat", "nce"):
        recipe = RECIPE.model_copy(update={"method": name, "learning_rates": RATES, "max_train_tokens": 200})
        distil(name, course(tmp_path / "scratch", recipe), tmp_path / name)
    assert len(list((tmp_path / "scratch").glob("nat-wrong-right-*"))) == 1


def test_a_rate_of_no_method_is_refused() -> None:
    with pytest.raises(ValueError, match="no method 'nta'"):
        Training(learning_rates={"nta": 1e-3})
    with pytest.raises(ValueError, match=r"learning_rates\.kd is 2, and not between 0 and 1"):
        Training(learning_rates={"kd": 2.0})


def test_a_budget_of_right_tokens_shows_every_method_as_many(tmp_path: Path) -> None:
    """A method that sees wrong replies too is trained on longer; one that sees right ones alone is not."""
    seen = {}
    for name in ("kd", "ul", "mix", "tagged", "negative"):
        recipe = RECIPE.model_copy(update={"method": name, "max_train_tokens": None, "max_right_tokens": 700})
        seen[name] = distil(name, course(tmp_path / name, recipe), tmp_path / f"{name}-out").tokens
    batch = 4 * 60  # a budget is overrun by less than a batch
    assert 700 <= seen["kd"] < 700 + batch and 700 <= seen["negative"] < 700 + batch
    for name in ("ul", "mix", "tagged"):  # half of the replies are wrong
        assert 1.6 * seen["kd"] < seen[name] < 2 * (700 + batch), name


def test_a_budget_of_operations_is_spent_by_each_stage(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"max_train_tokens": None, "max_train_flops": 3e9})
    for name, stages in (("kd", 1), ("nat", 2)):
        flops = distil(
            name, course(tmp_path / name, recipe.model_copy(update={"method": name})), tmp_path / f"{name}-o"
        )
        assert flops.flops and stages * 3e9 <= flops.flops < stages * 3e9 * 1.4


def test_a_training_has_one_budget() -> None:
    with pytest.raises(ValueError, match="max_train_tokens and max_train_flops are two budgets of one training"):
        Training(max_train_tokens=5, max_train_flops=1e9)


def test_gold_solutions_may_count_as_right_ones() -> None:
    with_gold = replace(MATERIAL, human=(replace(reply(60, True), question="1"),))
    plain, gold = (make(kind, with_gold) for kind in ("labelled", "labelled-human"))
    assert [unit for unit in gold if unit not in plain] == [(reply(60, True).example,)]


def test_an_adapter_as_wide_as_the_units_keeps_its_scale(tmp_path: Path) -> None:
    """Of rank 4 the units are 64 wide, on a base of 128."""
    wide = course(tmp_path).width_matched_lora()
    assert (wide.rank, wide.alpha, wide.targets) == (64, 128, RECIPE.tuning.targets)  # type: ignore[union-attr]


# -- a comparison ----------------------------------------------------------------------------------------------------

SMALL = [
    "methods.names=[kd,nat,negative,tagged]",
    "methods.seeds=[0,1]",
    "distill.solver.max_train_tokens=4000",
    "distill.solver.data=all",
    "collect.solutions=2",
]


@pytest.mark.long
def test_methods_are_compared_over_seeds(tmp_path: Path) -> None:
    said = CliRunner().invoke(
        main,
        ["distill", "methods", "miniature-negatives", "--limit", "12", "--run", str(tmp_path)]
        + [part for override in SMALL for part in ("--set", override)],
    )
    assert said.exit_code == 0, said.output
    table = (tmp_path / "methods" / "table.md").read_text(encoding="utf-8")
    assert table.count("\n| tagged |") == 1 and "| nat | negative | " in table
    assert re.search(r"\n\| kd \| negative \| [01]\.\d", table)
    assert {path.name for path in (tmp_path / "methods").iterdir() if path.is_dir()} >= {"kd-0", "nat-1", "tagged-1"}
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as store:
        (told,) = store.execute("SELECT count(*) FROM request WHERE body LIKE '%Answer so it holds.%'").fetchone()
    assert told == 36  # a tagged student is asked as it was taught, and only it
    for changed in (
        "distill.solver.max_train_tokens=9000",
        "methods.role=decomposer",
    ):  # or the table would mix two recipes
        with pytest.raises(ConfigError, match=f"it differs in {changed.partition('=')[0]}"):
            commands.compare_methods("miniature-negatives", overrides=[*SMALL, changed], limit=12, run=tmp_path)
    before = {path: path.stat().st_mtime for path in tmp_path.rglob("*.safetensors")}
    commands.compare_methods("miniature-negatives", overrides=SMALL, limit=12, run=tmp_path)
    assert {path: path.stat().st_mtime for path in tmp_path.rglob("*.safetensors")} == before
    assert (tmp_path / "methods" / "table.md").read_text(encoding="utf-8") == table


def test_a_method_is_chosen_on_the_command_line(tmp_path: Path) -> None:
    listed = CliRunner().invoke(main, ["distill", "solver", "--method", "list"])
    assert listed.exit_code == 0 and all(f"{name} " in listed.output for name in METHODS)
    options = ["--limit", "8", "--set", "distill.solver.max_train_tokens=1500", "--run", str(tmp_path)]
    said = CliRunner().invoke(main, ["distill", "solver", "miniature-negatives", "--method", "nat", *options])
    assert said.exit_code == 0, said.output
    assert is_nat(tmp_path / "solver") and student.read(tmp_path / "solver")
    wrong = CliRunner().invoke(main, ["distill", "solver", "miniature-negatives", "--method", "nta", *options])
    assert wrong.exit_code == 2 and "differs in distill.solver.method" in wrong.stderr


def test_either_half_learns_by_any_method(tmp_path: Path) -> None:
    overrides = [
        "methods.role=decomposer",
        "methods.names=[kd,nt]",
        "methods.seeds=[0]",
        "distill.decomposer.max_train_tokens=1500",
    ]
    table = commands.compare_methods("miniature-negatives", overrides=overrides, limit=40, run=tmp_path)
    assert "| nt |" in table.read_text(encoding="utf-8")


def test_a_small_difference_needs_many_questions() -> None:
    """Connor's formula by hand: a fifth of the questions flip, ten points are sought."""
    a, b = [1.0] * 5 + [0.0] * 5, [1.0] * 4 + [0.0] * 5 + [1.0]
    by_hand = ((1.959964 * 0.2**0.5 + 0.841621 * (0.2 - 0.01) ** 0.5) / 0.1) ** 2
    assert questions_needed(a, b, 10) == pytest.approx(by_hand, rel=1e-5)
    assert questions_needed(a, b, 1) > 80 * questions_needed(a, b, 10)


def test_students_that_solve_the_same_overlap() -> None:
    assert iou({("t", "a"), ("t", "b")}, {("t", "b")}) == 0.5 and iou(set(), set()) == 0.0


def test_every_method_of_the_catalogue_trains() -> None:
    assert TRAIN.keys() == METHODS.keys()


def test_what_a_method_is_called_is_listed_without_loading_what_trains() -> None:
    code = "import sys\nfrom divcon import commands\n"
    code += "assert 'nat-random' in commands.list_methods()\nassert 'trl' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
