"""Every method, for real, on a handful of traces; and what a comparison of methods says."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import TrainerCallback

import divcon
from divcon.cli import main
from divcon.distill import student, telemetry
from divcon.distill.examples import Example
from divcon.distill.methods import METHODS, Course, distil
from divcon.distill.objectives import OBJECTIVES
from divcon.distill.recipes import Full, Lora, NatSettings, NceSettings, Training
from divcon.distill.student import INTEGRATED
from divcon.distill.train import fit, tunable
from divcon.distill.units import Labelled, Material, make
from divcon.eval.methods import iou, over_seeds
from divcon.eval.stats import questions_needed
from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.local import is_nat
from divcon.lm.transformers import Transformers
from divcon.lm.weights import load_model, load_tokenizer, model_directory
from divcon.tasks.errors import ConfigError

BASE = model_directory("miniature/base")
RECIPE = Training(
    tuning=Lora(rank=4, alpha=8, targets=("q_proj", "v_proj")),
    learning_rate=4e-3,
    tokens=700,
    batch=4,
    checkpoints=1,
    max_length=60,
)


def reply(i: int, right: bool) -> Labelled:
    asked = (Message("user", f"How many apples does Ben have after he buys {i} apples?"),)
    return Labelled(f"{i // 2}", Example(asked, f"The answer is {i if right else i + 1}."), right)


MATERIAL = Material(
    replies=tuple(reply(i, right) for i in range(2, 10) for right in (True, False)),
    taught=tuple(reply(i, True).example for i in range(2, 10)),
    human=tuple(reply(i, True) for i in range(2, 10)),
)


def course(scratch: Path, recipe: Training = RECIPE, **options: Any) -> Course:
    return Course(MATERIAL, BASE, recipe, seed=0, scratch=scratch, own=lambda _: [reply(40, True)], **options)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_a_student_that_answers(name: str, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"method": name})
    trained = distil(name, course(tmp_path / "scratch", recipe), tmp_path / "out")
    assert trained.tokens >= 700 and trained.parameters > 0 and trained.loss == trained.loss and trained.peak_gib > 0
    assert is_nat(tmp_path / "out") == (name in INTEGRATED)
    curves = json.loads((tmp_path / "out" / "training.json").read_text(encoding="utf-8"))
    assert all(curve and all("loss" in step for step in curve) for curve in curves.values())
    with Store() as store:
        model = Model("s", Transformers("miniature/base", dtype="float32"), store, adapter=tmp_path / "out")
        assert model([Request(MATERIAL.taught[0].messages, Sampling(max_tokens=8))])[0][0].text


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
    negative = stages.learn("negative", stages.units("wrong"), tuning=stages.narrow)
    made = stages.integrate("nat", negative, stages.units("right"))
    before = (negative / "adapter_model.safetensors").read_bytes()
    assert (made / "negative" / "adapter_model.safetensors").read_bytes() == before


def test_telemetry_tells_of_both_labels_and_of_the_units(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    recipe = RECIPE.model_copy(update={"method": "nat"})
    distil("nat", course(tmp_path / "nat", recipe, log=said.append), tmp_path / "out")
    second = [one for one in said if one["training"] == "nat-wrong-right"]
    assert all(-0.5 <= one["a_neg"] <= 0.5 for one in second)
    assert len([name for name in second[0] if name.startswith("a_neg/")]) == 8
    assert {"loss", "logprob_right", "reply_tokens_per_second", "peak_gib", "training"} <= second[0].keys()
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
    with pytest.raises(ConfigError, match="report_to: wandb is not installed; pip install wandb"):
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
    for name in ("nat", "kd-wide"):
        recipe = RECIPE.model_copy(update={"method": name})
        sizes[name] = distil(name, course(tmp_path / f"s-{name}", recipe), tmp_path / name).parameters
    assert abs(sizes["kd-wide"] / sizes["nat"] - 1) < 0.2


@pytest.mark.parametrize("kind", ["likelihood", "nt", "ul", "redi", "cl"])
@pytest.mark.parametrize("micro", [1, 2])
def test_a_step_in_pieces_is_the_step(kind: str, micro: int, tmp_path: Path) -> None:
    """Sixteen at once, or in pieces: the same weights after it, whatever the objective is a mean over."""
    units = make({"redi": "pairs", "cl": "sessions"}.get(kind, "labelled"), MATERIAL)
    weights = []
    for name, size in (("whole", None), ("pieces", micro)):
        per = max(len(unit) for unit in units)
        recipe = RECIPE.model_copy(
            update={"batch": 4 * per, "micro_batch": size and size * per, "epochs": 1.0, "tokens": None}
        )
        model = tunable(load_model(BASE, "float32", "cpu"), recipe, 0)
        tokenizer = load_tokenizer(BASE)
        fit(model, tokenizer, units, recipe, seed=0, scratch=tmp_path / name, objective=OBJECTIVES[kind])
        weights.append({n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad})
    for n, p in weights[0].items():
        torch.testing.assert_close(weights[1][n], p, rtol=0, atol=2e-5)


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


def test_a_loss_that_is_no_number_is_one_sentence(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"method": "nat", "learning_rate": 1e30})
    with pytest.raises(ConfigError, match=r"the loss is not a number at step .*; lower the learning rate"):
        distil("nat", course(tmp_path / "s", recipe), tmp_path / "out")


def test_a_base_without_the_layers_is_one_sentence(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"method": "nat", "nat": NatSettings(targets=("wings",))})
    with pytest.raises(ConfigError, match="no adapter fits on the base"):
        distil("nat", course(tmp_path / "s", recipe), tmp_path / "out")


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """`accelerate launch`, each process with half of every step; NCE trains a NAT model on its way."""
    recipe = RECIPE.model_copy(update={"method": "nce", "micro_batch": 2})
    distil("nce", course(tmp_path / "scratch", recipe), tmp_path / "one")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [*command, "-m", "tests.two_processes", "nce", str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr[-3000:]
    pairs = [("one", "student"), ("scratch/nat-wrong-right", "two/nat-wrong-right")]
    for expected, made in ((tmp_path / a, tmp_path / b) for a, b in pairs):
        files = sorted(file.relative_to(expected) for file in expected.rglob("*.safetensors"))
        assert files
        for file in files:
            weights = load_file(expected / file)
            for at, p in load_file(made / file).items():
                torch.testing.assert_close(p, weights[at], rtol=0, atol=2e-5)


# -- a comparison ----------------------------------------------------------------------------------------------------

SMALL = [
    "methods.names=[kd,nat,negative,tagged]",
    "methods.seeds=[0,1]",
    "distill.solver.tokens=4000",
    "distill.solver.data=all",
    "collect.solutions=2",
]


def test_methods_are_compared_over_seeds(tmp_path: Path) -> None:
    said = CliRunner().invoke(
        main,
        ["distill", "methods", "miniature-negatives", "--limit", "12", "--run", str(tmp_path)]
        + [part for override in SMALL for part in ("--set", override)],
    )
    assert said.exit_code == 0, said.output
    table = (tmp_path / "methods" / "table.md").read_text(encoding="utf-8")
    assert table.count("\n| tagged |") == 1 and "\n| kd | negative | 0." in table and "| nat | negative | " in table
    assert {path.name for path in (tmp_path / "methods").iterdir() if path.is_dir()} >= {"kd-0", "nat-1", "tagged-1"}
    with sqlite3.connect(tmp_path / "store.sqlite") as store:
        (told,) = store.execute("SELECT count(*) FROM request WHERE body LIKE '%Solve it correctly.%'").fetchone()
    assert told == 36  # a tagged student is asked as it was taught, and only it
    for changed in ("distill.solver.tokens=9000", "methods.role=decomposer"):  # or the table would mix two recipes
        with pytest.raises(ConfigError, match=f"it differs in {changed.partition('=')[0]}"):
            divcon.compare_methods("miniature-negatives", overrides=[*SMALL, changed], limit=12, run=tmp_path)
    before = {path: path.stat().st_mtime for path in tmp_path.rglob("*.safetensors")}
    divcon.compare_methods("miniature-negatives", overrides=SMALL, limit=12, run=tmp_path)
    assert {path: path.stat().st_mtime for path in tmp_path.rglob("*.safetensors")} == before
    assert (tmp_path / "methods" / "table.md").read_text(encoding="utf-8") == table


def test_a_method_is_chosen_on_the_command_line(tmp_path: Path) -> None:
    listed = CliRunner().invoke(main, ["distill", "solver", "--method", "list"])
    assert listed.exit_code == 0 and all(f"{name} " in listed.output for name in METHODS)
    options = ["--limit", "8", "--set", "distill.solver.tokens=1500", "--run", str(tmp_path)]
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
        "distill.decomposer.tokens=1500",
    ]
    table = divcon.compare_methods("miniature-negatives", overrides=overrides, limit=40, run=tmp_path)
    assert "| nt |" in table.read_text(encoding="utf-8")


def test_a_small_difference_needs_many_questions() -> None:
    """Connor's formula by hand: a fifth of the questions flip, ten points are sought."""
    a, b = [1.0] * 5 + [0.0] * 5, [1.0] * 4 + [0.0] * 5 + [1.0]
    by_hand = ((1.959964 * 0.2**0.5 + 0.841621 * (0.2 - 0.01) ** 0.5) / 0.1) ** 2
    assert questions_needed(a, b, 10) == pytest.approx(by_hand, rel=1e-5)
    assert questions_needed(a, b, 1) > 80 * questions_needed(a, b, 10)


def test_intervals_over_seeds_are_students() -> None:
    assert over_seeds([0.1, 0.3]) == pytest.approx((0.2, 0.2 - 12.706 * 0.1, 0.2 + 12.706 * 0.1), abs=1e-3)
    assert over_seeds([0.1])[1:] == (-1.0, 1.0)
    assert iou({("t", "a"), ("t", "b")}, {("t", "b")}) == 0.5 and iou(set(), set()) == 0.0
