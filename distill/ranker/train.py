"""Training a ranking model on right and wrong solutions of the same questions."""

from __future__ import annotations

import json
import logging
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from ...core import checksums, documents
from ...core.errors import ConfigError
from ...lm.local.weights import device_name
from ...lm.model import ProgressCallback, silent
from ...lm.types import Usage
from ...solve.solution import Solution
from ...tasks.question import Question
from ..recipes import RankerRecipe, wire
from ..student import TrainingReport
from ..traces.trace import Trace
from ..training import batch_plan
from ..training.checkpoints import check_safetensors, last_checkpoint, saving, seconds_before
from ..training.stage_cache import StageCache, Taught, digest
from ..training.telemetry import Telemetry, peak_gib
from ..training.trainer import Fitted, Log, PlannedTrainer, ProgressLogger, check_finite
from . import model as ranker
from .model import FeatureRanker, Group, ModelRanker, Ranker, Row
from .pairs import pair_accuracy

_LOG = logging.getLogger(__name__)


class SolutionGroup(NamedTuple):
    """The solutions of one question, each right or not."""

    group: Group
    right: tuple[bool, ...]


def power(right: Tensor, wrong: Tensor, p: float) -> Tensor:
    """(1 - s+)^p + (s-)^p, from logits (pairs)."""
    return (1 - torch.sigmoid(right)) ** p + torch.sigmoid(wrong) ** p


def bradley_terry(right: Tensor, wrong: Tensor, p: float) -> Tensor:
    """-log P(the right one wins), from logits (pairs); as in TRL's RewardTrainer."""
    return -logsigmoid(right - wrong)


def pointwise(right: Tensor, wrong: Tensor, p: float) -> Tensor:
    """Both cross-entropies, from logits (pairs)."""
    one = torch.ones_like(right)
    told = binary_cross_entropy_with_logits
    return told(right, one, reduction="none") + told(wrong, 1 - one, reduction="none")


OBJECTIVES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "power": power,
    "bradley-terry": bradley_terry,
    "pointwise": pointwise,
}
"""By name."""


Epoch = dict[str, Any]
"""How a ranker did on pairs of held-out questions: the `epoch`, and its `accuracy` after it."""


class _Epoch(documents.Shape):
    epoch: int
    accuracy: float


class Ranked(NamedTuple):
    """A course of a ranker."""

    trained: TrainingReport
    """All stages together; examples, weights and loss are the last one's."""
    epochs: list[Epoch]
    """Of the last stage: the accuracy on pairs of held-out questions after each."""
    held_out: list[SolutionGroup]
    """The questions of these pairs; no stage learned from them."""

    @property
    def best(self) -> Epoch:
        """The epoch that was kept."""
        return max(self.epochs, key=lambda one: float(one["accuracy"]))


def labelled(traces: Sequence[Trace]) -> list[SolutionGroup]:
    """The solutions of every question, with their labels; a comparison that timed out is none."""
    of: dict[str, list[Trace]] = {}
    for trace in traces:
        if trace.verdict != "timed out":
            of.setdefault(trace.question.id, []).append(trace)
    return [
        SolutionGroup(
            Group(some[0].question, tuple(Solution(t.solution, t.answer, t.usage, t.logprob) for t in some)),
            tuple(t.verdict == "right" for t in some),
        )
        for some in of.values()
    ]


def course(
    stages: Mapping[str, Sequence[SolutionGroup]],
    recipe: RankerRecipe,
    out: Path,
    *,
    seed: int,
    scratch: Path,
    base_hash: str = "",
    advance: ProgressCallback = silent,
    log: Log | None = None,
    device: str = "auto",
) -> Ranked:
    """A ranker trained on one set of solutions after another, each from the last, and left in `out`.

    `scratch` keeps what is done, so that after an interruption the same call goes on. Raises ConfigError that names the
    set when it has too few questions with both right and wrong solutions that are short enough.
    """
    kept = StageCache(scratch)
    set_seed(seed)
    model = ranker.new(recipe, device)
    held = set().union(*(_hold_out(model, questions, recipe, seed) for questions in stages.values()))
    last = Path()
    for i, (name, questions) in enumerate(stages.items()):
        pairs = _Pairs(model, [one for one in questions if one.group.question.id not in held], recipe)
        measured = [one for one in questions if one.group.question.id in held and _both(model, one)]
        if not pairs.usable or not measured:
            raise ConfigError(
                f"{name}: a ranker needs questions with right and with wrong solutions, two at least, none longer than "
                f"{recipe.max_length} tokens; there are {len(pairs.usable)} to learn from"
            )
        if i == 0 and isinstance(model, FeatureRanker):
            model.fit_scale(pairs.rows)

        def train(checkpoints: Path, pairs: _Pairs = pairs, measured: list[SolutionGroup] = measured) -> Taught:
            fitted, epochs = _train(model, pairs, measured, recipe, seed, checkpoints, advance, log)
            return fitted, lambda to: _save(model, recipe, epochs, to)

        facts = {
            "recipe": {name: value for name, value in wire(recipe).items() if name != "checkpoints"},
            "base": base_hash,
            "seed": seed,
            "start": last.name,
            "solutions": digest(_what_is_learned(one) for one in questions),
            "held out": sorted(held),
        }
        last = kept.keep(f"ranker-{i + 1}", facts, train)
        ranker.fill(model, load_file(last / ranker.WEIGHTS))
    trained = kept.finish(last, out)
    return Ranked(trained, _epochs(out), measured)


def train(
    questions: Sequence[SolutionGroup], recipe: RankerRecipe, out: Path, *, seed: int, scratch: Path, **options: Any
) -> Ranked:
    """A course of one stage."""
    return course({"the solutions": questions}, recipe, out, seed=seed, scratch=scratch, **options)


_BEST, _EPOCHS = "best.safetensors", "epochs.json"


def _train(
    model: Ranker,
    pairs: _Pairs,
    held: Sequence[SolutionGroup],
    recipe: RankerRecipe,
    seed: int,
    scratch: Path,
    advance: ProgressCallback,
    log: Log | None,
) -> tuple[Fitted, list[Epoch]]:
    """Train a ranker from what it is, and leave it as it was after the best epoch."""
    started = time.perf_counter()
    set_seed(seed)
    plan = pairs.plan(recipe, seed)
    steps = len(plan) // recipe.epochs
    checkpoint = _last_with_its_epochs(scratch, steps)
    keeper = _Keeper(model, held, steps, scratch)
    watch = ProgressLogger(advance, log, started - seconds_before(checkpoint))
    trainer = _Trainer(
        plan=plan,
        rows=pairs.rows,
        recipe=recipe,
        model=model,
        args=_arguments(recipe, len(plan), seed, scratch, next(model.parameters()).device.type),
        callbacks=[watch, keeper],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=checkpoint)
    check_finite(model, trainer.state.global_step)
    checksums.check(scratch / _BEST, f"remove {scratch} to train again")
    ranker.fill(model, load_file(scratch / _BEST))
    curve = [entry for entry in trainer.state.log_history if "loss" in entry]
    trained = TrainingReport(
        examples=len(pairs.rows),
        dropped=pairs.dropped,
        steps=len(plan),
        tokens=sum(pairs.rows[i]["length"] for batch in plan for i in batch),
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        seconds=watch.seconds,
        loss=curve[-1]["loss"] if curve else float("nan"),
        peak_gib=peak_gib(),
        flops=_operations(model, [pairs.rows[i]["length"] for batch in plan for i in batch]),
        device=device_name(next(model.parameters()).device),
    )
    return Fitted(trained, curve), keeper.epochs


def _operations(model: Ranker, lengths: Sequence[int]) -> float:
    """Of learning from solutions of these lengths; a frozen backbone reads them forward, and none reads nothing."""
    learns = [p for name, p in model.named_parameters() if p.requires_grad and name.startswith("backbone.")]
    if not learns:
        return model.footprint.forward(lengths)
    return model.footprint.training(lengths, sum(p.numel() for p in model.parameters() if p.requires_grad))


def _save(model: Ranker, recipe: RankerRecipe, epochs: Sequence[Epoch], to: Path) -> None:
    ranker.save(model, recipe, to)
    (to / _EPOCHS).write_text(json.dumps(epochs) + "\n", encoding="utf-8")


def _what_is_learned(one: SolutionGroup) -> list[object]:
    """What a question's part in a training stands on."""
    said = [[s.text, s.answer, s.logprob] for s in one.group.solutions]
    return [one.group.question.id, one.group.question.prompt, one.group.question.solution, said, list(one.right)]


def _hold_out(model: Ranker, questions: Sequence[SolutionGroup], recipe: RankerRecipe, seed: int) -> set[str]:
    """Ids of questions that no stage learns from: a fifth of those that make pairs, but one at least.

    In an order of their own, so that several sets of solutions hold out the same questions as far as they can.
    """
    both = [one.group.question.id for one in questions if _both(model, one)]
    count = max(1, min(recipe.held_out, len(both) // 5)) if len(both) > 1 else 0
    return set(sorted(both, key=lambda of: digest([seed, of]))[:count])


def _both(model: Ranker, one: SolutionGroup) -> bool:
    """Whether a right and a wrong solution can be read."""
    rows = model.rows(one.group)
    return len({right for row, right in zip(rows, one.right, strict=True) if row is not None}) == 2


class _Pairs:
    """The solutions that are learned from, and which of them may meet."""

    def __init__(self, model: Ranker, questions: Sequence[SolutionGroup], recipe: RankerRecipe) -> None:
        self.rows: list[Row] = []
        self.usable: list[tuple[list[int], list[int]]] = []
        self.dropped = 0
        gold = recipe.gold and isinstance(model, ModelRanker)
        for one in questions:
            rows = [*zip(model.rows(one.group), one.right, strict=True)]
            if gold and one.group.question.solution:
                rows += [(row, True) for row in model.rows(_gold(one.group.question))]
            self._meet(rows)

    def _meet(self, rows: Sequence[tuple[Row | None, bool]]) -> None:
        """Take the solutions of a question that has right and wrong ones."""
        short = [(row, right) for row, right in rows if row is not None]
        self.dropped += len(rows) - len(short)
        if len({right for _, right in short}) < 2:
            return
        at = range(len(self.rows), len(self.rows) + len(short))
        sides: tuple[list[int], list[int]] = ([], [])
        for i, (row, right) in zip(at, short, strict=True):
            sides[not right].append(i)
            self.rows.append(row)
        self.usable.append(sides)

    def plan(self, recipe: RankerRecipe, seed: int) -> list[list[int]]:
        """Every step's rows, a right one before each wrong one; every epoch draws anew. Like lengths meet in a step."""
        plan: list[list[int]] = []
        for epoch in range(recipe.epochs):
            draw = random.Random(f"pairs/{seed}/{epoch}")
            drawn = [
                (draw.choice(right), draw.choice(wrong)) for right, wrong in self.usable for _ in range(recipe.pairs)
            ]
            lengths = [max(int(self.rows[i]["length"]) for i in pair) for pair in drawn]
            size = recipe.batch_size
            steps = batch_plan.plan(
                lengths, batch=size, micro_batch=size, seed=draw.getrandbits(32), budget=None, epochs=1
            )
            plan += [[i for at in step for i in drawn[at]] for step in steps]
        return plan


def _gold(question: Question) -> Group:
    return Group(question, (Solution(question.solution, question.answer, Usage()),))


class _Trainer(PlannedTrainer, Trainer):  # type: ignore[misc]  # transformers leaves it untyped
    """Makes a ranker's objective small."""

    def __init__(self, *, plan: list[list[int]], rows: list[Row], recipe: RankerRecipe, **options: Any) -> None:
        model: Ranker = options["model"]
        self._recipe = recipe
        self.follow(plan, Telemetry(model))
        numbered = Dataset.from_dict({"row": list(range(len(rows)))})
        collate = lambda some: model.collate([rows[one["row"]] for one in some])  # noqa: E731
        super().__init__(train_dataset=numbered, data_collator=collate, **options)

    def compute_loss(
        self, model: Ranker, inputs: dict[str, Tensor], return_outputs: bool = False, **_: object
    ) -> Tensor:
        right, wrong = model(**inputs).reshape(-1, 2).unbind(-1)
        loss: Tensor = OBJECTIVES[self._recipe.objective](right, wrong, self._recipe.power).mean()
        return loss


class _Keeper(TrainerCallback):  # type: ignore[misc]  # transformers leaves it untyped
    """Asks the ranker about the held-out questions after every epoch, and keeps the best one's weights."""

    def __init__(self, model: Ranker, held: Sequence[SolutionGroup], steps: int, scratch: Path) -> None:
        self._model = model
        self._held = held
        self._steps = steps
        self._scratch = scratch
        self.epochs: list[Epoch] = _epochs(scratch)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if state.global_step % self._steps:
            return
        epoch = state.global_step // self._steps
        scores = self._model.score([one.group for one in self._held])
        self._model.train()
        accuracy = pair_accuracy(scores, [one.right for one in self._held])
        self.epochs = [*(told for told in self.epochs if told["epoch"] < epoch), {"epoch": epoch, "accuracy": accuracy}]
        if all(accuracy > told["accuracy"] for told in self.epochs[:-1]):
            self._write(_BEST, save({name: p.contiguous() for name, p in ranker.trained(self._model)}))
        self._write(_EPOCHS, json.dumps(self.epochs).encode())

    def _write(self, name: str, content: bytes) -> None:
        """At once or not at all."""
        with saving(self._scratch / f"{name}.part"), checksums.replacing(self._scratch / name) as part:
            part.write_bytes(content)


def _epochs(scratch: Path) -> list[Epoch]:
    remedy = f"remove {scratch} to train again"
    checksums.check(scratch / _EPOCHS, remedy)
    kept: list[_Epoch] = documents.read_optional(list[_Epoch], scratch / _EPOCHS, remedy) or []
    return [one.model_dump() for one in kept]


def _last_with_its_epochs(scratch: Path, steps: int) -> str | None:
    """The newest checkpoint to go on from; none, and nothing is left, where it is not known what came before it."""
    checkpoint = last_checkpoint(scratch)
    done = int(checkpoint.rpartition("-")[2]) // steps if checkpoint else 0
    try:
        if not {*range(1, done + 1)} <= {one["epoch"] for one in _epochs(scratch)}:
            raise ConfigError(f"{scratch / _EPOCHS} lacks an epoch")
        if done:
            check_safetensors(scratch / _BEST)
    except ConfigError as error:
        _LOG.warning("the epochs of a ranker are damaged (%s): its training begins again", error)
        shutil.rmtree(scratch)
        return None
    return checkpoint


def _arguments(recipe: RankerRecipe, steps: int, seed: int, scratch: Path, device: str) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(scratch),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.02},
        warmup_steps=ceil(0.03 * steps),
        logging_steps=max(1, steps // 50),
        save_steps=ceil(steps / recipe.checkpoints),
        save_total_limit=2,
        remove_unused_columns=False,
        seed=seed,
        report_to="none",
        disable_tqdm=True,
        use_cpu=device == "cpu",
    )
