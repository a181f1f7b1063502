"""Training a student: TRL's trainer over units of replies that are encoded exactly as they will be asked.

The loss is on replies and their end-of-turn tokens only. Order, initial adapter and learning rate follow from the seed,
and a training that was interrupted goes on from its last checkpoint with the same steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from ...core import checksums
from ...core.errors import ConfigError
from ...lm.cost.flops import ModelSize
from ...lm.local.adapters import ignore_peft_pattern_warnings, lora_excluded_modules, moe_target_modules
from ...lm.local.chat_template import check_end, check_known, encode, encode_reply
from ...lm.local.weights import device_name, load_model, load_tokenizer
from ...lm.model import ProgressCallback, silent
from ...lm.types import Thinking
from ..data.examples import Example
from ..data.groups import TrainingGroup
from ..recipes import Lora, Training, base_bits
from ..student import TrainingReport
from .batch_plan import TrainingBudget, plan
from .checkpoints import WEIGHTS, last_checkpoint, loading, saving, seconds_before, write_seconds
from .distributed import processes
from .flops import TrainingWork, work
from .objectives import LIKELIHOOD, Objective, ScoredReplies
from .telemetry import Telemetry, check_trackers, end_run, peak_gib, tensorboard

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Log = Callable[[dict[str, Any]], None]
"""Told what each logged step was like."""

_DIVERGED = "the loss is not a number at step {step}; lower the learning rate"


class Fitted(NamedTuple):
    """What a training cost, and what it was like on the way."""

    trained: TrainingReport
    curve: list[dict[str, Any]]


def train(
    examples: Sequence[Example],
    base: Path,
    out: Path,
    recipe: Training,
    *,
    seed: int,
    scratch: Path,
    advance: ProgressCallback = silent,
    device: str = "auto",
) -> TrainingReport:
    """Train a student on `base` by maximum likelihood and leave its weights and tokenizer in `out`.

    `scratch` holds checkpoints, so that the same call after an interruption goes on. Raises ConfigError when no
    example is short enough, when the base has no such layers, and when the loss is not a number.
    """
    tokenizer = load_tokenizer(base)
    model = tunable(load_model(base, "float32", device, base_bits(recipe.tuning)), recipe, seed)
    units = [(example,) for example in examples]
    fitted = fit(model, tokenizer, units, recipe, seed=seed, scratch=scratch, advance=advance)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return fitted.trained


def fit(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    units: Sequence[TrainingGroup],
    recipe: Training,
    *,
    seed: int,
    scratch: Path,
    advance: ProgressCallback = silent,
    log: Log | None = None,
    board: Path | None = None,
    kind: type[PlannedTrainer] | None = None,
    wrong: Collection[Example] = (),
    thinking: Thinking | None = None,
    **options: Any,
) -> Fitted:
    """Train what is trainable of a model: by `ObjectiveTrainer`, which minimises an `objective`, or by another `kind`.

    `board` is TensorBoard's folder and, by its last two parts, the name that other trackers know the training by.
    `wrong` are the replies that a budget of right tokens does not count, `thinking` is what the student will be asked
    with.
    """
    started = time.perf_counter()
    check_trackers(recipe.report_to)
    board = board or scratch
    rows = encoded(tokenizer, units, recipe.max_length, thinking)
    check_known(tokenizer, [[tokenizer.pad_token_id], *(row["input_ids"] for unit in rows for row in unit)], model)
    lengths = [sum(len(row["input_ids"]) for row in unit) for unit in rows]
    size = sum(map(len, rows)) / len(rows)  # of a unit: sessions differ
    batch, micro = (max(1, round(n / size)) for n in (recipe.batch_size, recipe.micro_batch_size or recipe.batch_size))
    batch -= batch % micro
    together = micro * processes()
    if batch % together:
        raise ConfigError(f"a step of {batch} units cannot be shared by {processes()} processes, {micro} at a time")
    own = work(model)
    batches = plan(
        lengths,
        batch=batch,
        micro_batch=micro,
        seed=seed,
        budget=_budget(recipe, rows, own, (encode_example(tokenizer, each, thinking) for each in wrong)),
        epochs=recipe.epochs,
    )
    steps = ceil(len(batches) * micro / batch)
    telemetry = Telemetry(model)
    kind = kind or ObjectiveTrainer
    last = last_checkpoint(scratch, model)
    watch = ProgressLogger(advance, log, started - seconds_before(last))
    trainer = kind(
        plan=batches,
        units=rows,
        telemetry=telemetry,
        model=model,
        args=kind.arguments(
            **_arguments(recipe, steps, batch // together, max(map(len, batches)), seed, scratch),
            use_cpu=model.device.type == "cpu",
            run_name="/".join(board.parts[-2:]),
        ),
        processing_class=tokenizer,
        callbacks=[watch, *([tensorboard(board)] if "tensorboard" in recipe.report_to else [])],
        **options,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last)
    end_run(recipe.report_to)
    check_finite(model, trainer.state.global_step)
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    read = [len(row["input_ids"]) for batch in batches for i in batch for row in rows[i]]
    trained = TrainingReport(
        examples=sum(map(len, rows)),
        dropped=sum(map(len, units)) - sum(map(len, rows)),
        steps=steps,
        tokens=sum(lengths[i] for batch in batches for i in batch),
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        seconds=watch.seconds,
        loss=history[-1]["loss"] if history else float("nan"),
        peak_gib=peak_gib(),
        flops=own.footprint.training(read, own.trained, again=recipe.gradient_checkpointing)
        + trainer.teacher_flops(own.footprint, read),
        device=device_name(model.device, processes()),
    )
    return Fitted(trained, history)


def _budget(
    recipe: Training,
    rows: Sequence[Sequence[dict[str, Any]]],
    own: TrainingWork,
    wrong: Iterable[dict[str, Any]],
) -> TrainingBudget | None:
    """What the recipe gives a training, and what each unit takes of it; None where it counts epochs."""
    lengths = [[len(row["input_ids"]) for row in unit] for unit in rows]
    if recipe.max_train_flops is not None:
        again = recipe.gradient_checkpointing
        flops = [own.footprint.training(unit, own.trained, again=again) for unit in lengths]
        return TrainingBudget(recipe.max_train_flops, flops)
    whole = [float(sum(unit)) for unit in lengths]
    if recipe.max_right_tokens is not None:
        unlike = {tuple(row["input_ids"]) for row in wrong}
        counted = [
            float(sum(len(row["input_ids"]) for row in unit if tuple(row["input_ids"]) not in unlike)) for unit in rows
        ]
        return TrainingBudget(recipe.max_right_tokens, counted if any(counted) else whole)
    return None if recipe.max_train_tokens is None else TrainingBudget(recipe.max_train_tokens, whole)


def encoded(
    tokenizer: PreTrainedTokenizerBase,
    units: Sequence[TrainingGroup],
    max_length: int,
    thinking: Thinking | None = None,
) -> list[list[dict[str, Any]]]:
    """The units as rows of token ids. One with an over-long reply is dropped. Raises ConfigError when none is left."""
    check_end(tokenizer)
    rows = [[encode_example(tokenizer, example, thinking) for example in unit] for unit in units]
    short = [unit for unit in rows if all(len(row["input_ids"]) <= max_length for row in unit)]
    if not short:
        raise ConfigError(f"all {len(units)} examples are longer than max_length {max_length}")
    return short


def encode_example(
    tokenizer: PreTrainedTokenizerBase, example: Example, thinking: Thinking | None = None
) -> dict[str, Any]:
    """Token ids, and labels that are -100 on the prompt; the reply ends with the end-of-turn token.

    `thinking` is what the student will be asked with.
    """
    prompt = encode(tokenizer, example.messages, thinking)
    reply = encode_reply(tokenizer, example.reply, thinking)
    return {"input_ids": prompt + reply, "labels": [-100] * len(prompt) + reply, "right": example.right}


def check_finite(model: nn.Module, step: int) -> None:
    """Raises ConfigError when a weight that is trained is no number any more."""
    if not all(bool(torch.isfinite(p).all()) for p in _trained(model).values()):
        raise ConfigError(_DIVERGED.format(step=step))


def tunable(model: PreTrainedModel, recipe: Training, seed: int) -> PreTrainedModel | PeftModel:
    """The base with the adapter that the recipe asks for, its initial values drawn from the seed."""
    if not isinstance(recipe.tuning, Lora):
        return model
    set_seed(seed)
    return adapted(model, recipe.tuning, "CAUSAL_LM")


def adapted(model: PreTrainedModel, tuning: Lora, task: str | None = None) -> PeftModel:
    """A model with an adapter on it; `task` is PEFT's. Raises ConfigError when it does not fit."""
    for target in [] if isinstance(tuning.targets, str) else tuning.targets:
        if not any(f".{name}".endswith(f".{target}") for name, _ in model.named_modules()):
            raise ConfigError(f"no adapter fits on the base: it has no layer {target!r}")
    if tuning.targets == "all-linear" and (names := moe_target_modules(model)):
        tuning = tuning.model_copy(update={"targets": tuple(names)})
    try:
        with ignore_peft_pattern_warnings():
            return get_peft_model(model, lora_config(tuning, task, lora_excluded_modules(model)))
    except ValueError as error:
        raise ConfigError(f"no adapter fits on the base: {' '.join(str(error).split())[:200]}") from error


def lora_config(tuning: Lora, task: str | None = "CAUSAL_LM", unfit: str | None = None) -> LoraConfig:
    """The recipe's adapter, as PEFT describes it, and on no `unfit` layer."""
    return LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules=tuning.targets if isinstance(tuning.targets, str) else list(tuning.targets),
        exclude_modules=unfit,
        task_type=task,
    )


def _arguments(recipe: Training, steps: int, accumulate: int, rows: int, seed: int, scratch: Path) -> dict[str, Any]:
    """What every trainer is told."""
    return {
        "output_dir": str(scratch),
        "max_steps": steps,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulate,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "warmup_steps": ceil(recipe.warmup * steps),
        "logging_steps": max(1, steps // 50),
        "save_steps": ceil(steps / recipe.checkpoints),
        "save_total_limit": 2,
        "bf16": recipe.bf16,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "max_length": None,  # over-long examples were dropped; TRL would cut them
        "remove_unused_columns": False,
        "seed": seed,
        "report_to": [tracker for tracker in recipe.report_to if tracker != "tensorboard"] or "none",
        "project": "divcon",
        "disable_tqdm": True,
    }


class Collate:
    """Rows to tensors, padded on the right."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        width = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, value: int) -> Tensor:
            return torch.tensor([row[name] + [value] * (width - len(row[name])) for row in rows])

        return {
            "input_ids": padded("input_ids", self._pad),
            "attention_mask": torch.tensor(
                [[1] * len(r["input_ids"]) + [0] * (width - len(r["input_ids"])) for r in rows]
            ),
            "labels": padded("labels", -100),
            "right": torch.tensor([row["right"] for row in rows]),
            "unit": torch.tensor([row["unit"] for row in rows]),
            "index": torch.tensor([row["index"] for row in rows]),
        }


class PlannedTrainer(Trainer):  # type: ignore[misc]  # transformers leaves it untyped
    """What every trainer here does: it takes its batches from a list instead of drawing them, and keeps what it trains.

    It stands before one of TRL's trainers.
    """

    @classmethod
    def arguments(cls, **common: Any) -> TrainingArguments:
        """What the trainer is told, in a form of its own."""
        return SFTConfig(**common, dataset_kwargs={"skip_prepare_dataset": True}, trust_remote_code=False)

    def teacher_flops(self, footprint: ModelSize, lengths: Sequence[int]) -> float:
        """Operations of models that are asked in every step and do not learn, over sequences of these lengths.

        `footprint` is that of the model that learns.
        """
        return 0.0

    def follow(self, plan: list[list[int]], telemetry: Telemetry) -> None:
        """`plan` names the rows of each batch."""
        self._plan = plan
        self._telemetry = telemetry

    def get_train_dataloader(self) -> DataLoader[Any]:
        loader = DataLoader(self.train_dataset, batch_sampler=self._plan, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def training_step(self, model: Any, inputs: dict[str, Tensor], *args: Any, **options: Any) -> Tensor:
        """Stops before a loss that is no number reaches a checkpoint; the library would log it as 0 and go on."""
        self._telemetry.saw(inputs)
        loss: Tensor = super().training_step(model, inputs, *args, **options)
        if not torch.isfinite(loss):
            raise ConfigError(_DIVERGED.format(step=self.state.global_step + 1))
        return loss

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        super().log(self._telemetry.logged(logs), start_time)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Unless it is a whole model, what is trained; the base and what is frozen lie elsewhere."""
        check_finite(self.model, self.state.global_step)
        if isinstance(self.model, PreTrainedModel):
            super()._save(output_dir, state_dict)
            return
        out = Path(output_dir or self.args.output_dir)
        out.mkdir(parents=True, exist_ok=True)
        save_file({name: p.detach().cpu().contiguous() for name, p in _trained(self.model).items()}, out / WEIGHTS)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        with saving(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"):
            super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: PreTrainedModel | None = None) -> None:
        with loading(resume_from_checkpoint):
            if isinstance(self.model, PreTrainedModel):
                super()._load_from_checkpoint(resume_from_checkpoint, model)
                return
            saved = load_file(Path(resume_from_checkpoint) / WEIGHTS)
            own = _trained(self.model)
            if own.keys() != saved.keys():
                raise ConfigError(f"{resume_from_checkpoint} belongs to another training; remove it to train again")
            with torch.no_grad():
                for name, p in own.items():
                    p.copy_(saved[name])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with loading(str(checkpoint)):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with loading(str(checkpoint)):
            super()._load_rng_state(checkpoint)


class ObjectiveTrainer(PlannedTrainer, SFTTrainer):  # type: ignore[misc]  # TRL leaves it untyped
    """Makes an objective small."""

    def __init__(
        self,
        *,
        plan: list[list[int]],
        units: Sequence[Sequence[dict[str, Any]]],
        telemetry: Telemetry,
        objective: Objective = LIKELIHOOD,
        **options: Any,
    ) -> None:
        rows = [{**row, "unit": i, "index": 0} for i, unit in enumerate(units) for row in unit]
        of_unit: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            row["index"] = index
            of_unit.setdefault(row["unit"], []).append(index)
        self.follow([[index for i in batch for index in of_unit[i]] for batch in plan], telemetry)
        self._objective = objective
        pad = options["processing_class"].pad_token_id
        super().__init__(train_dataset=Dataset.from_list(rows), data_collator=Collate(pad), **options)
        self.model_accepts_loss_kwargs = True  # the loss below is divided by the whole step's items

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        """The tokens, or units, of a whole step, of all processes."""
        if self._objective.per == "token":
            count = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batch_samples)
        else:
            count = sum(len(set(batch["unit"].tolist())) for batch in batch_samples)
        return self.accelerator.gather(torch.tensor(count, device=device)).sum()  # type: ignore[no-any-return]

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        assert num_items_in_batch is not None
        scored, loss = self._loss(model, inputs)
        self._telemetry.add(scored)
        # Processes average their gradients; their losses are parts of one sum.
        shared: Tensor = loss / num_items_in_batch.clamp(min=1) * self.accelerator.num_processes
        return shared

    def _loss(self, model: PreTrainedModel, inputs: dict[str, Tensor]) -> tuple[ScoredReplies, Tensor]:
        """The batch as the student sees it, and the sum that is to be made small."""
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            labels=inputs["labels"],
            fused_lm_head=True,
            use_cache=False,
            **_router_loss_disabled(model),
        )
        scored = ScoredReplies(outputs.log_probs, outputs.label_mask, inputs["right"], inputs["unit"])
        return scored, self._objective.loss(scored)


def _router_loss_disabled(model: PreTrainedModel) -> dict[str, bool]:
    """What balances the routers of a mixture is no part of any loss of ours; TRL would ask every one for it."""
    config = getattr(model, "module", model).config  # of a model that several processes train
    return {"output_router_logits": False} if getattr(config.get_text_config(), "output_router_logits", False) else {}


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


class ProgressLogger(TrainerCallback):  # type: ignore[misc]  # transformers leaves it untyped
    """Reports progress, and what is logged; keeps how long it took."""

    def __init__(self, advance: ProgressCallback, log: Log | None, since: float) -> None:
        self._advance = advance
        self._log = log
        self._since = since

    @property
    def seconds(self) -> float:
        """Of all sittings."""
        return time.perf_counter() - self._since

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._advance(state.global_step, state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        self._advance(state.global_step, state.max_steps)

    def on_log(self, *_: object, logs: dict[str, Any], **__: object) -> None:
        if self._log is not None and "loss" in logs:
            self._log(dict(logs))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and checkpoint.is_dir():
            write_seconds(self.seconds, checkpoint)
            # Other processes may still be writing the states of their random numbers.
            checksums.keep_all(checkpoint, leave="rng_state_")
