"""What a student is taught and how: the settings of both tracks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ..core.settings import Settings
from ..lm.local.nat_config import NatVariant
from .method_catalogue import METHODS

DecomposerData = Literal["all", "rejection_sampled"]
SolverData = Literal["all", "right", "gold-spliced"]


class Lora(Settings):
    """Low-rank adapters on a frozen base (Hu et al., 2022)."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=16, gt=0)
    """Of the update of each layer."""
    alpha: int = Field(default=32, gt=0)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the input of the update, while training."""
    targets: str | tuple[str, ...] = "all-linear"
    """Names of the linear layers that get an adapter, as PEFT takes them."""
    base_bits: Literal[4] | None = None
    """4 holds the frozen base in 4 bits while an adapter learns (QLoRA, Dettmers et al., 2023), by
    bitsandbytes. The student is asked on the base as it is."""

    @model_serializer(mode="wrap")
    def _as_before_where_unset(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Hashes of adapters on a base as it is do not name the setting."""
        return {name: value for name, value in dump(self).items() if name != "base_bits" or value is not None}


def base_bits(tuning: Lora | Full) -> Literal[4] | None:
    """Bits that a recipe holds the base's weights in; None leaves them as they are."""
    return tuning.base_bits if isinstance(tuning, Lora) else None


class NatSettings(NatVariant):
    """NAT's two adapters and the units between them; methods `nat`, `nce` and their controls."""

    targets: tuple[str, ...] = ("q_proj", "v_proj")
    """The layers that are integrated; the adapters' rank, alpha and dropout are the recipe's."""
    width: int | None = Field(default=None, gt=0)
    """Of a unit; None is the larger of hidden size / 32 and 16 x rank, at least 8 and at most the hidden size: the
    authors' 128 at hidden size 4,096 and rank 8."""
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    """Of the second stage, which trains units beside an adapter; None is the recipe's."""
    negatives: Literal["all", "readable"] = "all"
    """What the negative adapter learns: all replies that are not right, or those with an answer that can be read."""


class NceSettings(Settings):
    """The plain student of a NAT model; methods `nce`, `self-distill` and `nce-shuffled`."""

    weights: Literal["0.5+beta", "beta"] = "0.5+beta"
    """Of the teacher's predictions: as in the authors' code, or as in the paper's figure."""
    per: Literal["reply", "token"] = "reply"
    """Whether a weight belongs to a reply or to each of its tokens."""
    data: Literal["teacher+self", "teacher"] = "teacher+self"
    """The LLM's right replies with the NAT model's own (the paper), or alone (the authors' code)."""
    cache: Literal["rows", "weights", "online"] = "rows"
    """What is asked of the frozen teachers once and kept: its predictions, the weights alone, or nothing."""
    top_k: int | None = Field(default=64, gt=0)
    """Tokens of each prediction that are kept, the mass of the others as one more; None keeps all."""


class Full(Settings):
    """All weights, as in Divide-or-Conquer; the student is then a whole model."""

    kind: Literal["full"]


class Training(Settings):
    """What both tracks share."""

    method: str = "kd"
    """What the student learns from right and wrong replies: `divcon distill solver --method list`."""
    tuning: Annotated[Lora | Full, Field(discriminator="kind")] = Lora()
    """Which weights are trained."""
    nat: NatSettings = NatSettings()
    """For methods with two adapters."""
    nce: NceSettings = NceSettings()
    """For methods that learn from a NAT model."""
    tags: tuple[str, str] = ("Solve it correctly.", "Solve it incorrectly.")
    """What a question ends with when its reply is right, or wrong (method `tagged`); the student is asked with the
    first."""
    reasoning: Literal["drop", "keep"] = "drop"
    """Whether a student learns to write what the teacher thought before a reply, where it shows that. Dropped, its
    replies alone are taught, and what a prompt opens for reasoning is closed at once."""
    learning_rate: float = Field(default=3e-4, gt=0, le=1)
    """The peak, after a linear warm-up; a cosine leads down to a tenth of it."""
    learning_rates: dict[str, float] = Field(default_factory=dict)
    """The peak by method, where one has its own: of redi, dpo and kto the peak of what goes on from kd's student. A
    method that begins with stages of another (nce with nat's, redi with kd's) trains those at the other's. A control
    that is a variant of a method (kd-2x-tokens of kd, nat-random of nat) has that method's, unless it has its own."""
    continued_learning_rate_ratio: float = Field(default=0.05, gt=0)
    """The learning rate of methods that go on from a student (redi, dpo, kto), as a share of `learning_rate`. REDI's is
    a fiftieth of what came before."""
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """The share of steps in which the learning rate rises."""
    batch_size: int = Field(default=32, gt=0)
    """Examples a step."""
    micro_batch_size: int | None = Field(default=None, gt=0)
    """Examples in memory at once; None is the whole batch. It must divide the batch."""
    max_train_tokens: int | None = Field(default=None, gt=0)
    """Train until this many tokens (prompts and replies, no padding) were seen. Two tracks that are compared should
    be given the same number; the report says what each got."""
    max_right_tokens: int | None = Field(default=None, gt=0)
    """The same budget, counted in tokens of right replies alone: methods that see wrong replies too are then shown as
    many right ones. A stage without a right reply counts all of its tokens."""
    max_train_flops: float | None = Field(default=None, gt=0)
    """The same budget, counted in floating-point operations of what learns in each stage; what frozen models are asked
    on the way (of dpo, kto, nce) comes on top."""
    epochs: float = Field(default=3.0, gt=0)
    """How often each example is seen, where no budget is given."""
    max_length: int = Field(default=1024, gt=0)
    """Longer examples are dropped and counted, never cut: a cut loses the answer and the end of the reply."""
    checkpoints: int = Field(default=4, ge=1)
    """How many times the state of the training is saved on the way."""
    bf16: bool = False
    """Compute in bfloat16 (mixed precision)."""
    gradient_checkpointing: bool = False
    """Less memory for about a third more time."""
    report_to: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ()
    """Trackers that are told of the training too, each to be installed."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} does not divide batch_size {self.batch_size}")
        return self

    @model_validator(mode="after")
    def _has_one_budget(self) -> Self:
        budgets = ("max_train_tokens", "max_right_tokens", "max_train_flops")
        given = [name for name in budgets if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} are two budgets of one training; give one")
        return self

    @model_validator(mode="after")
    def _rates_are_of_methods(self) -> Self:
        for name, rate in self.learning_rates.items():
            if name not in METHODS:
                raise ValueError(f"learning_rates: no method {name!r}; there are {', '.join(METHODS)}")
            if not 0 < rate <= 1:
                raise ValueError(f"learning_rates.{name} is {rate:g}, and not between 0 and 1")
        return self


class DecomposerRecipe(Training):
    """The decomposer's track: question -> sub-questions."""

    data: DecomposerData = "rejection_sampled"
    """`all` of the teacher's decompositions (S_D-T), or those from which a solution reached the gold answer
    (`rejection_sampled`, S_D-R)."""


class SolverRecipe(Training):
    """The solver's track: question and sub-questions -> solution."""

    data: SolverData = "right"
    """`all` of the teacher's solutions (S_E-T), the `right` ones, or all with the gold answer put in place of the
    teacher's (S_E-A). A solution without an answer that can be read is in none of them."""
    target: Literal["sub-answers", "direct"] = "sub-answers"
    """Learn the worked solution, or the final answer alone."""


FeatureName = Literal["length", "lines", "numerals", "readable", "log-probability", "frequency", "relative length"]


class Features(Settings):
    """No reader: a few numbers of a solution are scored."""

    kind: Literal["features"]
    names: tuple[FeatureName, ...] = Field(
        default=("length", "lines", "numerals", "readable", "frequency", "relative length"), min_length=1
    )
    """The last two look at a question's other solutions, so that a score belongs to as many samples as there were.
    `log-probability` needs `collect.logprobs`."""
    width: int = Field(default=16, gt=0)
    """Of the head."""

    @property
    def looks_around(self) -> bool:
        """Whether a score depends on the question's other solutions."""
        return bool({"frequency", "relative length"} & set(self.names))


class ReaderBackbone(Settings):
    """An encoder or a causal language model that reads question and solution."""

    kind: Literal["model"] = "model"
    path: str
    """A directory of weights, a hub name, or `miniature/base`."""
    tuning: Annotated[Lora | Full, Field(discriminator="kind")] | Literal["frozen"] = Lora()
    """Which of its weights learn with the head: an adapter, all, or none."""

    @property
    def looks_around(self) -> bool:
        """Whether a score depends on the question's other solutions."""
        return False


class RankerRecipe(Settings):
    """The ranking model (Turning Dust into Gold)."""

    backbone: Annotated[Features | ReaderBackbone, Field(discriminator="kind")] = Features(kind="features")
    """What the head is put on."""
    objective: Literal["power", "bradley-terry", "pointwise"] = "power"
    """On a right and a wrong solution of one question: (1 - s+)^p + (s-)^p, as in the authors' code; -log sigmoid of
    the difference of their logits; or each one's cross-entropy."""
    power: float = Field(default=3.0, ge=1)
    """p of `power`; the authors train with 3."""
    gold: bool = True
    """Whether the data set's own solution is a right one too, for a ranker that reads: the authors' choice. Nobody
    samples such a solution, so that a ranker may learn to tell a human from a model."""
    student_samples: int = Field(default=0, ge=0)
    """Samples a decomposition of the distilled solver's own, learned from after the teacher's; the authors' 16."""
    pairs: int = Field(default=4, gt=0)
    """Pairs a question in each epoch."""
    epochs: int = Field(default=5, gt=0)
    """The best of them is kept, by the accuracy on pairs of the questions that are held out."""
    held_out: int = Field(default=100, gt=0)
    """Training questions that are not learned from; at most a fifth of those that make pairs, at least one."""
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """The peak; the authors' for a whole T5 is 2e-5."""
    batch_size: int = Field(default=16, gt=0)
    """Pairs a step."""
    max_length: int = Field(default=512, gt=0)
    """Longer pairs are not learned from, and a longer solution has no score."""
    checkpoints: int = Field(default=4, ge=1)
    """How many times the state of the training is saved on the way."""


class SingleRecipe(SolverRecipe):
    """The single-stage track: question -> solution, without sub-questions. `target: sub-answers` is the whole solution,
    asked with the prompt that thinks; `direct` the final answer alone, asked with the prompt that does not."""


_WIRE = {
    "batch_size": "batch",
    "micro_batch_size": "micro_batch",
    "max_train_tokens": "tokens",
    "continued_learning_rate_ratio": "after_rate",
    "student_samples": "own",
}
"""The names of settings in what is hashed, where they are not those of now."""


_WIRE_FIRST = ("targets", "width")
"""Settings that come first in what is hashed, whichever class declares them."""


def wire(settings: Settings) -> dict[str, Any]:
    """Settings by the names and in the order of hashes of stages, which stay when a setting is renamed or moved."""
    named = sorted(settings.model_dump(mode="json").items(), key=lambda item: item[0] not in _WIRE_FIRST)
    return {_WIRE.get(name, name): value for name, value in named}
