"""How a student is distilled by each method: a short function over a `Distillation`, which trains stage by stage.

What is published as a method may be several trainings in a row; each is kept when it is done, so that an interrupted
course goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PreTrainedModel, set_seed

from ..core.errors import ConfigError
from ..lm.cost.flops import total
from ..lm.local import nat, probe
from ..lm.local.adapters import load_adapter
from ..lm.local.model_dir import NEGATIVE, POSITIVE
from ..lm.local.nat_config import NatConfig, NatVariant
from ..lm.local.weights import load_model, load_tokenizer, weights_hash
from ..lm.model import ProgressCallback, silent
from ..lm.types import Thinking, with_suffix
from .data.examples import Example
from .data.groups import LabelledReply, TrainingData, TrainingGroup, make
from .method_catalogue import METHODS, check_methods
from .recipes import Lora, Training, base_bits, wire
from .student import TrainingReport
from .training.distributed import is_first
from .training.nce import STUDENT, Enhanced, Teacher, Weighting
from .training.objectives import OBJECTIVES
from .training.preference import PlannedDPO, PlannedKTO
from .training.stage_cache import StageCache, Taught, digest
from .training.trainer import Fitted, Log, encoded, fit, lora_config, tunable

_DECIDES = {"tuning", "learning_rate", "warmup", "batch", "micro_batch", "tokens", "epochs", "max_length"}
_DECIDES |= {"bf16", "gradient_checkpointing"}
"""The settings of a recipe that decide what is learned from given replies, by their names in hashes."""
_DECIDE_WHERE_GIVEN = {"max_right_tokens", "max_train_flops"}
"""More of them; hashes of stages trained without them do not name them."""
_SECOND = 1_000_003
"""Behind the seed of what is trained beside something that came from the seed itself."""

Own = Callable[[Path], Sequence[LabelledReply]]
"""From a student's directory to its own replies to the training questions, labelled."""


class Distillation:
    """One student's training, stage by stage."""

    def __init__(
        self,
        material: TrainingData,
        base: Path,
        recipe: Training,
        *,
        seed: int,
        scratch: Path,
        own: Own | None = None,
        advance: ProgressCallback = silent,
        log: Log | None = None,
        board: Path | None = None,
        device: str = "auto",
        thinking: Thinking | None = None,
    ) -> None:
        """`scratch` keeps what is done: courses of one base, material, recipe and seed may share it, and then train
        what they have in common once. `own` asks a student, for methods that learn from their own replies. `board` is
        where TensorBoard finds its stages, if it is told of them. `thinking` is what the student will be asked with.
        """
        self.material = replace(material, seed=seed)
        self.recipe = recipe
        self._base = base
        self._seed = seed
        self._scratch = scratch
        self._own = own
        self._advance = advance
        self._log = log
        self._board = board or scratch / "tensorboard"
        self._device = device
        self._thinking = thinking
        self._tokenizer = load_tokenizer(base)
        self._stages = StageCache(scratch)
        self._asking = 0.0

    @property
    def last(self) -> str:
        """What the last stage is called: as no other method's is."""
        return f"student-{self.recipe.method}"

    def with_method(self, method: str) -> Distillation:
        """The same course under another method's name and learning rate, for stages that belong to that method."""
        other = copy(self)
        other.recipe = self.recipe.model_copy(update={"method": method})
        return other

    @property
    def rate(self) -> float:
        """The peak of the method's learning rate."""
        return self._own_rate(self.recipe.learning_rate)

    def units(self, kind: str) -> list[TrainingGroup]:
        """What a stage is taught with. Raises ConfigError when there is nothing, or two tags are one to the base."""
        if kind in METHODS and METHODS[kind].suffix:
            right, wrong = (self._tokenizer(tag)["input_ids"] for tag in self.material.tags)
            if right == wrong:
                raise ConfigError(f"to this base the tags {self.material.tags} are the same; set other `tags`")
        return make(kind, self.material)

    def with_own(self, student: Path) -> list[TrainingGroup]:
        """The teacher's right replies, and the student's own right ones."""
        if self._own is None:
            raise ConfigError("this method learns from a student's own replies, and there is nobody to ask for them")
        started = time.perf_counter()
        own = tuple(reply for reply in self._own(student) if reply.right)
        self._asking += time.perf_counter() - started
        return make("right", replace(self.material, replies=self.material.replies + own))

    def learn(
        self,
        name: str,
        units: Sequence[TrainingGroup],
        objective: str = "likelihood",
        start: Path | None = None,
        **changes: Any,
    ) -> Path:
        """A student, trained anew or from another one; `changes` are made to the recipe."""
        recipe = (self._after if start else self._first).model_copy(update=changes)

        def train(scratch: Path) -> Taught:
            model = self._student(start, recipe)
            fitted = self._fit(name, scratch, model, units, recipe, objective=OBJECTIVES[objective])
            return fitted, model.save_pretrained

        return self._stages.keep(name, self._facts(units, recipe, start, how=objective), train)

    def prefer(
        self, name: str, start: Path, units: Sequence[TrainingGroup], kind: type[PlannedDPO | PlannedKTO]
    ) -> Path:
        """A student trained on by DPO or KTO, near to what it was."""
        recipe = self._after
        if kind is PlannedKTO and (recipe.micro_batch_size or recipe.batch_size) < 2:
            raise ConfigError("kto compares the replies of a batch: set micro_batch to 2 or more")

        def train(scratch: Path) -> Taught:
            model = self._student(start, recipe)
            own = {"selected_adapters": [STUDENT]} if isinstance(model, PeftModel) else {}
            return self._fit(name, scratch, model, units, recipe, kind=kind), partial(model.save_pretrained, **own)

        return self._stages.keep(name, self._facts(units, recipe, start, how=kind.__name__), train)

    def train_integration_units(self, name: str, negative: Path, units: Sequence[TrainingGroup]) -> Path:
        """A NAT model: a positive adapter and units, beside a negative adapter that stays as it is.

        They are drawn, and the replies are put in order, from another seed than the negative adapter's: from the same
        one both would begin as one.
        """
        rate = self.recipe.nat.learning_rate or self.rate
        recipe = self.recipe.model_copy(update={"learning_rate": rate})
        seed = self._seed + _SECOND

        def train(scratch: Path) -> Taught:
            base = self._base_model()
            model = load_adapter(base, negative, NEGATIVE)
            set_seed(seed)
            model.add_adapter(POSITIVE, lora_config(self.nat_lora))
            nat.add_integration_units(model, self._units_config(base))
            nat.use(model, POSITIVE, NEGATIVE)
            for at, p in model.named_parameters():
                p.requires_grad_(f".{POSITIVE}." in at or ".nat_units." in at)
            return self._fit(name, scratch, model, units, recipe, seed=seed), partial(nat.save, model)

        how = ["integrate", wire(self.recipe.nat)]
        return self._stages.keep(name, self._facts(units, recipe, negative, how=how), train)

    def enhance(
        self, name: str, teacher: Path, units: Sequence[TrainingGroup], how: Weighting, *, shuffled: bool = False
    ) -> Path:
        """A plain adapter, trained from a NAT model (NCE)."""

        def train(scratch: Path) -> Taught:
            model = self._student_with_teacher(teacher)
            started = time.perf_counter()
            asked = self._ask(name, model, teacher, units, how, shuffled=shuffled)
            asking = time.perf_counter() - started
            once = asked.asking(model, self._lengths(units)) if self.recipe.nce.cache != "online" else 0.0
            fitted = self._fit(name, scratch, model, units, self._first, kind=Enhanced, teacher=asked)
            flops = total([fitted.trained.flops, once])
            trained = replace(fitted.trained, seconds=fitted.trained.seconds + asking, flops=flops)
            own = {at: p for at, p in model.state_dict().items() if ".nat_units." not in at}
            return (
                fitted._replace(trained=trained),
                partial(model.save_pretrained, selected_adapters=[STUDENT], state_dict=own),
            )

        settings = self.recipe.nce.model_dump(mode="json", exclude={"data"})
        facts = self._facts(units, self._first, teacher, how=["enhance", how, shuffled, settings])
        return self._stages.keep(name, facts, train)

    @property
    def _first(self) -> Training:
        """The recipe of a training that begins anew."""
        return self.recipe.model_copy(update={"learning_rate": self.rate})

    @property
    def _after(self) -> Training:
        """The recipe of a training that goes on from a student."""
        usual = self.recipe.learning_rate * self.recipe.continued_learning_rate_ratio
        return self.recipe.model_copy(update={"learning_rate": self._own_rate(usual)})

    def _own_rate(self, usual: float) -> float:
        """The learning rate that was chosen for the method, or for the one it is a variant of."""
        rates, method = self.recipe.learning_rates, self.recipe.method
        variant_of = METHODS[method].rate_of if method in METHODS else None
        return rates.get(method, rates.get(variant_of, usual) if variant_of else usual)

    @property
    def nat_lora(self) -> Lora:
        """The recipe's adapter, on the layers that are integrated."""
        return self.lora.model_copy(update={"targets": self.recipe.nat.targets})

    @property
    def lora(self) -> Lora:
        """The recipe's adapter. Raises ConfigError when it has none."""
        if not isinstance(self.recipe.tuning, Lora):
            raise ConfigError("this method trains adapters: set tuning.kind to lora")
        return self.recipe.tuning

    def param_matched_lora(self) -> Lora:
        """An adapter on all linear layers with about as many weights as NAT's second stage trains."""
        base = load_model(self._base, "float32", "cpu")
        layers = [m for name, m in base.named_modules() if hasattr(m, "in_features") and name != "lm_head"]
        chosen = [m for name, m in base.named_modules() if name.rpartition(".")[2] in self.recipe.nat.targets]
        config = self._units_config(base)
        units = [nat.Integration(m.in_features, m.out_features, config) for m in chosen]
        wanted = sum(p.numel() for unit in units for p in unit.parameters())
        wanted += sum(self.lora.rank * (m.in_features + m.out_features) for m in chosen)
        rank = max(1, round(wanted / sum(m.in_features + m.out_features for m in layers)))
        limit = min(min(m.in_features, m.out_features) for m in layers)
        alpha = max(1, round(self.lora.alpha * min(rank, limit) / self.lora.rank))
        return self.lora.model_copy(update={"targets": "all-linear", "rank": min(rank, limit), "alpha": alpha})

    def width_matched_lora(self) -> Lora:
        """The recipe's adapter at the rank that NAT's units are wide, its scale kept."""
        rank = self._units_config(load_model(self._base, "float32", "cpu")).width
        return self.lora.model_copy(update={"rank": rank, "alpha": round(self.lora.alpha * rank / self.lora.rank)})

    def finish(self, last: Path, out: Path) -> TrainingReport:
        """Leave the last stage's student in `out`, with the curves of all stages; what all of them cost.

        Operations are those of the trainings: what `own` asked a student is known to whoever gave it.
        """
        trained = self._stages.finish(last, out)
        if is_first():
            self._tokenizer.save_pretrained(out)
            if (out / "adapter_config.json").is_file():
                probe.write(out, self._base_model())
        return replace(trained, seconds=trained.seconds + self._asking)

    @cached_property
    def _ground(self) -> dict[str, str]:
        """What every stage stands on."""
        words = [sorted(self._tokenizer.get_vocab().items()), self._tokenizer.chat_template]
        return {"base": weights_hash(self._base), "tokenizer": digest(words)}

    def _facts(
        self, units: Sequence[TrainingGroup], recipe: Training, start: Path | None, how: object
    ) -> dict[str, Any]:
        """What decides a stage's outcome; methods whose stages agree in all of it share them."""
        return {
            **self._ground,
            "data": digest(units),
            "recipe": {
                name: value
                for name, value in wire(recipe).items()
                if name in _DECIDES or (name in _DECIDE_WHERE_GIVEN and value is not None)
            },
            "seed": self._seed,
            "start": start.name if start else None,
            "how": how,
            **({} if self._thinking is None else {"thinking": str(self._thinking)}),
        }

    @cached_property
    def _wrong(self) -> list[Example]:
        """The wrong replies, as every method may show them: under the question, and under its tags."""
        plain = [reply.example for reply in self.material.replies if not reply.right]
        return plain + [
            example._replace(messages=with_suffix(example.messages, tag))
            for tag in filter(None, self.material.tags)
            for example in plain
        ]

    def _fit(
        self, name: str, scratch: Path, model: Any, units: Sequence[TrainingGroup], recipe: Training, **options: Any
    ) -> Fitted:
        def log(said: dict[str, Any]) -> None:
            if self._log is not None:
                self._log({"training": name, **said})

        told: dict[str, Any] = {"scratch": scratch, "advance": self._advance, "log": log, "board": self._board / name}
        told |= {"wrong": self._wrong, "thinking": self._thinking}
        return fit(model, self._tokenizer, units, recipe, **{"seed": self._seed, **told, **options})

    def _base_model(self) -> PreTrainedModel:
        """The base to train on."""
        return load_model(self._base, "float32", self._device, base_bits(self.recipe.tuning))

    def _student(self, start: Path | None, recipe: Training) -> PreTrainedModel | PeftModel:
        """A new student, or the one in `start`, ready to be trained on."""
        if start is None:
            return tunable(self._base_model(), recipe, self._seed)
        if not isinstance(recipe.tuning, Lora):
            return load_model(start, "float32", self._device)
        base = self._base_model()
        return load_adapter(base, start, STUDENT, trainable=True)

    def _student_with_teacher(self, teacher: Path) -> PeftModel:
        """A new student's adapter beside a NAT model's two, on one base."""
        base = self._base_model()
        model = load_adapter(base, teacher / NEGATIVE, NEGATIVE)
        load_adapter(model, teacher / POSITIVE, POSITIVE)
        nat.load_units(model, teacher)
        set_seed(self._seed)
        model.add_adapter(STUDENT, lora_config(self.lora))
        nat.use(model, STUDENT)
        for at, p in model.named_parameters():
            p.requires_grad_(f".{STUDENT}." in at)
        return model

    def _ask(
        self,
        name: str,
        model: PeftModel,
        nat_model: Path,
        units: Sequence[TrainingGroup],
        how: Weighting,
        *,
        shuffled: bool,
    ) -> Teacher:
        """What the NAT model says to the units, asked once and kept, as far as the settings want it kept."""
        settings = self.recipe.nce
        teacher = Teacher(how, per_token=settings.per == "token")
        if shuffled and (settings.cache == "online" or settings.per == "token"):
            raise ConfigError(
                "weights can be dealt out anew where there is one a reply: nce.per reply, cache not online"
            )
        if settings.cache == "online":
            return teacher
        rows = [row for unit in self._encoded(units) for row in unit]
        facts = {
            **self._ground,
            "NAT model": weights_hash(nat_model),
            "data": digest(rows),
            "setting": digest([how, settings.per, settings.cache, settings.top_k]),
        }
        path = self._scratch / f".{name}.teacher.safetensors"
        if path.is_file():
            teacher.load(path, facts, len(rows))
        else:
            k = 0 if settings.cache == "weights" else settings.top_k
            pad = self._tokenizer.pad_token_id
            teacher.remember(model, rows, pad, self.recipe.micro_batch_size or self.recipe.batch_size, k)
            if is_first():
                teacher.save(path, facts)
        if shuffled:
            teacher.shuffle(self._seed)
        return teacher

    def _encoded(self, units: Sequence[TrainingGroup]) -> list[list[dict[str, Any]]]:
        return encoded(self._tokenizer, units, self.recipe.max_length, self._thinking)

    def _lengths(self, units: Sequence[TrainingGroup]) -> list[int]:
        rows = self._encoded(units)
        return [len(row["input_ids"]) for unit in rows for row in unit]

    def _units_config(self, base: PreTrainedModel) -> NatConfig:
        """The recipe's units, at a width that this base gives them where the recipe gives none."""
        settings = self.recipe.nat
        variant = settings.model_dump(include=set(NatVariant.model_fields))
        width = settings.width or nat.default_width(base.config.hidden_size, self.lora.rank)
        return NatConfig(width=width, **variant)


# -- methods ---------------------------------------------------------------------------------------------------------


def _alone(units: str, objective: str = "likelihood") -> Callable[[Distillation], Path]:
    return lambda course: course.learn(course.last, course.units(units), objective)


def _after_kd(units: str, objective: str) -> Callable[[Distillation], Path]:
    def train(course: Distillation) -> Path:
        first = course.with_method("kd").learn("right", course.units("right"))
        return course.learn(course.last, course.units(units), objective, first)

    return train


def _preferred(units: str, kind: type[PlannedDPO | PlannedKTO]) -> Callable[[Distillation], Path]:
    def train(course: Distillation) -> Path:
        first = course.with_method("kd").learn("right", course.units("right"))
        return course.prefer(course.last, first, course.units(units), kind)

    return train


def _nat(negatives: str = "wrong") -> Callable[[Distillation], Path]:
    def train(course: Distillation) -> Path:
        kind = "readable-wrong" if negatives == "wrong" and course.recipe.nat.negatives == "readable" else negatives
        negative = course.learn(f"nat-{negatives}", course.units(kind), tuning=course.nat_lora)
        return course.train_integration_units(f"nat-{negatives}-right", negative, course.units("right"))

    return train


def _nce(how: str = "settings", *, shuffled: bool = False) -> Callable[[Distillation], Path]:
    def train(course: Distillation) -> Path:
        settings = course.recipe.nce
        teacher = _nat()(course.with_method("nat"))
        units = course.with_own(teacher) if settings.data == "teacher+self" else course.units("right")
        weights: Weighting = settings.weights if how == "settings" else "none"
        return course.enhance(course.last, teacher, units, weights, shuffled=shuffled)

    return train


def _self_augment(course: Distillation) -> Path:
    return course.learn(course.last, course.with_own(_nat()(course.with_method("nat"))))


def _kd_matched_params(course: Distillation) -> Path:
    return course.learn(course.last, course.units("right"), tuning=course.param_matched_lora())


def _kd_matched_width(times: int = 1) -> Callable[[Distillation], Path]:
    def train(course: Distillation) -> Path:
        budget = _budget(course.recipe, times)
        return course.learn(course.last, course.units("right"), tuning=course.width_matched_lora(), **budget)

    return train


def _kd_more_tokens(times: int) -> Callable[[Distillation], Path]:
    return lambda course: course.learn(course.last, course.units("right"), **_budget(course.recipe, times))


def _budget(recipe: Training, times: int) -> dict[str, Any]:
    """A multiple of what limits a training: of its epochs where nothing else does."""
    budgets = ("max_train_tokens", "max_right_tokens", "max_train_flops", "epochs")
    name, amount = next((name, of) for name in budgets if (of := getattr(recipe, name)) is not None)
    return {name: times * amount}


TRAIN: dict[str, Callable[[Distillation], Path]] = {
    "kd": _alone("selected"),
    "ft": _alone("human"),
    "mix": _alone("mixed"),
    "cl": _alone("sessions", "cl"),
    "nt": _alone("labelled", "nt"),
    "nt-gold": _alone("labelled-human", "nt"),
    "ul": _alone("labelled", "ul"),
    "ul-literal": _alone("labelled", "ul-literal"),
    "nat": _nat(),
    "nce": _nce(),
    "redi": _after_kd("pairs", "redi"),
    "dpo": _preferred("pairs", PlannedDPO),
    "kto": _preferred("labelled", PlannedKTO),
    "tagged": _alone("tagged"),
    "tagged-random": _alone("tagged-random"),
    "self-augment": _self_augment,
    "self-distill": _nce("none"),
    "negative": _alone("wrong"),
    "nat-positive": _nat("right"),
    "nat-random": _nat("random"),
    "kd-matched-params": _kd_matched_params,
    "kd-matched-width": _kd_matched_width(),
    "kd-matched-width-2x-tokens": _kd_matched_width(2),
    "kd-2x-tokens": _kd_more_tokens(2),
    "kd-3x-tokens": _kd_more_tokens(3),
    "nce-shuffled": _nce(shuffled=True),
}
"""Trains a student by a method of `method_catalogue.METHODS`; the directory of its last stage."""


def distil(name: str, course: Distillation, out: Path) -> TrainingReport:
    """Distil a student by a method and leave it in `out`. Raises ConfigError for a name that is none."""
    check_methods([name])
    return course.finish(TRAIN[name](course), out)
