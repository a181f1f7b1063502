"""NCE, negative calibrated enhancement: a plain LoRA student learns from a NAT model, most where it changed its mind.

Li et al., *Turning Dust into Gold* (AAAI 2024), equations 6 to 8. For a reply of N tokens, with P_neg what the negative
adapter alone predicts and P_NAT what the integrated model does:

    KL   = 1/N sum_t KL(P_neg || P_NAT)                              (6) how much the integration has changed
    beta = tanh(KL)                                                  (7) in [0, 1)
    loss = 1/2 CE(reply) + 1/2 w CE(P_NAT, P_student)                (8) CE(P, Q) = - sum_t sum_v P log Q

with w = 1/2 + beta (the authors' code), or beta (the paper's figure). Both teachers are frozen, so that beta, and the
teacher's rows, can be computed once. A row is kept as its k most likely tokens and the mass of all others, which the
student is taught as one more token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...core import checksums
from ...core.errors import ConfigError
from ...lm.cost.flops import ModelSize
from ...lm.local.model_dir import NEGATIVE, POSITIVE
from ...lm.local.nat import use
from .flops import work
from .objectives import ScoredReplies
from .trainer import Collate, ObjectiveTrainer

if TYPE_CHECKING:
    from peft import PeftModel

STUDENT = "default"
"""The student's adapter, beside the NAT model's two on the one base."""

Weighting = Literal["0.5+beta", "beta", "none"]


def weight(kl: Tensor, how: Weighting) -> Tensor:
    """w, from KL(P_neg || P_NAT) in nats. `none` is unweighted self-distillation."""
    if how == "none":
        return torch.ones_like(kl)
    beta = torch.tanh(kl)
    return 0.5 + beta if how == "0.5+beta" else beta


def divergence(negative: Tensor, integrated: Tensor) -> Tensor:
    """KL(P_neg || P_NAT) of each row, from log-probabilities (..., vocabulary)."""
    return (negative.exp() * (negative - integrated)).sum(-1)


@dataclass(frozen=True)
class Rows:
    """What the teacher predicts at some tokens."""

    logprobs: Tensor  # tokens, k
    """Of its k most likely tokens, most likely first; or of the whole vocabulary, in its order."""
    tokens: Tensor | None  # tokens, k
    """None is the whole vocabulary."""

    @classmethod
    def of(cls, logprobs: Tensor, k: int | None) -> Rows:
        """The k most likely of log-probabilities (tokens, vocabulary); None keeps all."""
        return cls(logprobs, None) if k is None or k >= logprobs.shape[-1] else cls(*logprobs.topk(k, dim=-1))

    def to(self, device: torch.device | str) -> Rows:
        return Rows(self.logprobs.to(device), None if self.tokens is None else self.tokens.to(device))

    @classmethod
    def together(cls, rows: Sequence[Rows]) -> Rows:
        """Several replies' rows, one after another."""
        tokens = [row.tokens for row in rows if row.tokens is not None]
        return cls(torch.cat([row.logprobs for row in rows]), torch.cat(tokens) if tokens else None)

    @property
    def tail(self) -> Tensor:
        """The probability of all other tokens (tokens)."""
        return (1 - self.logprobs.exp().sum(-1)).clamp(min=0)

    def cross_entropy(self, student: Tensor) -> Tensor:
        """CE(P_NAT, P_student) at each token, from the student's log-probabilities (tokens, vocabulary)."""
        own = student if self.tokens is None else student.gather(-1, self.tokens)
        kept = -(self.logprobs.exp() * own).sum(-1)
        if self.tokens is None:
            return kept
        rest = torch.log1p(-own.exp().sum(-1).clamp(max=1 - 1e-6))
        return kept - self.tail * rest


class Teacher:
    """What a NAT model says to each reply: asked anew, or read from what was kept."""

    def __init__(self, how: Weighting, *, per_token: bool = False) -> None:
        self._how = how
        self._per_token = per_token
        self._weights: list[Tensor] | None = None
        self._rows: list[Rows] | None = None
        self.tail = 0.0
        """The mean probability of what kept rows leave out."""

    def remember(self, model: PeftModel, rows: Sequence[dict[str, Any]], pad: int, batch: int, k: int | None) -> None:
        """Ask once about every reply. `k` tokens of each of its predictions are kept too; 0 keeps the weights alone."""
        weights: dict[int, Tensor] = {}
        kept: dict[int, Rows] = {}
        for some in _by_length(rows, batch):
            inputs = Collate(pad)([{**rows[i], "unit": 0, "index": i} for i in some])
            inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
            negative, integrated = self.ask(model, inputs)
            counts = (inputs["labels"][:, 1:] != -100).sum(-1).tolist()
            per_row = zip(some, torch.split(negative, counts), torch.split(integrated, counts), strict=True)
            for i, before, after in per_row:
                kl = divergence(before, after)
                weights[i] = weight(kl if self._per_token else kl.mean(), self._how).cpu()
                if k != 0:
                    found = Rows.of(after, k)
                    kept[i] = found.to("cpu")
        self._weights = [weights[i] for i in range(len(rows))]
        if k != 0:
            self._rows = [kept[i] for i in range(len(rows))]
            self.tail = float(torch.cat([row.tail for row in self._rows]).mean())

    def ask(self, model: PeftModel, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Log-probabilities at the replies' tokens (tokens, vocabulary), of the negative adapter and of both."""
        return teacher_logprobs(model, inputs, NEGATIVE), teacher_logprobs(model, inputs, POSITIVE, NEGATIVE)

    def of(self, model: PeftModel, inputs: dict[str, Tensor]) -> tuple[Tensor, Rows]:
        """w at each token of the batch's replies, and the teacher's predictions there."""
        counts = (inputs["labels"][:, 1:] != -100).sum(-1)
        if self._weights is not None and self._rows is not None:
            rows = Rows.together([self._rows[i] for i in inputs["index"].tolist()])
            return self._spread(inputs, counts), rows.to(inputs["labels"].device)
        if self._weights is not None:
            return self._spread(inputs, counts), Rows.of(teacher_logprobs(model, inputs, POSITIVE, NEGATIVE), None)
        negative, integrated = self.ask(model, inputs)
        kl = divergence(negative, integrated)
        if not self._per_token:
            kl = torch.cat([of_reply.mean().expand(len(of_reply)) for of_reply in torch.split(kl, counts.tolist())])
        return weight(kl, self._how), Rows.of(integrated, None)

    def asking(self, model: PeftModel, lengths: Sequence[int]) -> float:
        """Operations of asking about sequences of these lengths once: the negative adapter, then both."""
        return work(model, NEGATIVE).footprint.forward(lengths) + self._integrating(model, lengths)

    def teacher_flops(self, model: PeftModel, lengths: Sequence[int]) -> float:
        """Operations of `of` for sequences of these lengths: nothing where rows are kept."""
        if self._rows is not None:
            return 0.0
        return self.asking(model, lengths) if self._weights is None else self._integrating(model, lengths)

    def _integrating(self, model: PeftModel, lengths: Sequence[int]) -> float:
        return work(model, POSITIVE, NEGATIVE).footprint.forward(lengths)

    def shuffle(self, seed: int) -> None:
        """Deal the weights out anew (a control: does it matter which reply has which?)."""
        assert self._weights is not None and not self._per_token
        order = torch.randperm(len(self._weights), generator=torch.Generator().manual_seed(seed)).tolist()
        self._weights = [self._weights[i] for i in order]

    def mean_weight(self) -> float:
        """Of all replies."""
        assert self._weights is not None
        return float(torch.stack([w.mean() for w in self._weights]).mean())

    def save(self, path: Path, facts: dict[str, str]) -> None:
        """Keep what was asked, with what it stands on."""
        assert self._weights is not None
        tensors = {f"weight.{i}": w.clone() for i, w in enumerate(self._weights)}
        for i, row in enumerate(self._rows or ()):
            tensors[f"logprobs.{i}"] = row.logprobs.clone()
            if row.tokens is not None:
                tensors[f"tokens.{i}"] = row.tokens.to(torch.int32)
        with checksums.replacing(path) as part:
            save_file(tensors, part, metadata=facts)

    def load(self, path: Path, facts: dict[str, str], count: int) -> None:
        """Read what was kept. Raises ConfigError when it stands on something else."""
        checksums.check(path, "remove it to ask the teacher again")
        try:
            with safe_open(path, "pt") as kept:
                found = kept.metadata() or {}
                if wrong := [name for name in facts if found.get(name) != facts[name]]:
                    raise ConfigError(f"{path} was made with another {wrong[0]}; remove it to ask the teacher again")
                self._weights = [kept.get_tensor(f"weight.{i}") for i in range(count)]
                names = set(kept.keys())
                if "logprobs.0" in names:
                    self._rows = [
                        Rows(
                            kept.get_tensor(f"logprobs.{i}"),
                            kept.get_tensor(f"tokens.{i}").long() if f"tokens.{i}" in names else None,
                        )
                        for i in range(count)
                    ]
                    self.tail = float(torch.cat([row.tail for row in self._rows]).mean())
        except (OSError, SafetensorError) as error:
            raise ConfigError(f"cannot read {path}: {error}; remove it to ask the teacher again") from error

    def _spread(self, inputs: dict[str, Tensor], counts: Tensor) -> Tensor:
        """The kept weights of the batch's replies, one at each of their tokens."""
        assert self._weights is not None
        kept = [self._weights[i] for i in inputs["index"].tolist()]
        spread = [w.expand(n) if w.ndim == 0 else w for w, n in zip(kept, counts.tolist(), strict=True)]
        return torch.cat(spread).to(inputs["labels"].device)


def teacher_logprobs(model: PeftModel, inputs: dict[str, Tensor], *adapters: str) -> Tensor:
    """What these adapters predict at the replies' tokens, without dropout; the student's is active again after it."""
    training = model.training
    model.eval()
    with torch.no_grad():
        use(model, *adapters)
        logprobs = reply_logits(model, inputs).log_softmax(-1)
    use(model, STUDENT)
    model.train(training)
    return logprobs


class Enhanced(ObjectiveTrainer):
    """Trains the student adapter by (8)."""

    def teacher_flops(self, footprint: ModelSize, lengths: Sequence[int]) -> float:
        """What the frozen teachers have not said yet."""
        return self._teacher.teacher_flops(self.accelerator.unwrap_model(self.model), lengths)

    def __init__(self, *, teacher: Teacher, **options: Any) -> None:
        self._teacher = teacher
        super().__init__(**options)

    def _loss(self, model: PeftModel, inputs: dict[str, Tensor]) -> tuple[ScoredReplies, Tensor]:
        scored, loss, mean = enhanced(model, self.accelerator.unwrap_model(model), self._teacher, inputs)
        self._telemetry.note("nce_weight", mean)
        self._telemetry.note("nce_tail", self._teacher.tail)
        return scored, loss


def enhanced(
    model: Any, inner: PeftModel, teacher: Teacher, inputs: dict[str, Tensor]
) -> tuple[ScoredReplies, Tensor, float]:
    """(8), summed over the tokens of a batch's replies; the batch as the student sees it before, the mean w behind.

    `inner` is the model without what parallel training wraps around it: teachers have no gradients to share.
    """
    weights, rows = teacher.of(inner, inputs)
    student = reply_logits(model, inputs).log_softmax(-1)
    mask = inputs["labels"][:, 1:] != -100
    own = student.gather(-1, inputs["labels"][:, 1:][mask][:, None])[:, 0]
    logprobs = torch.zeros(mask.shape, dtype=own.dtype, device=own.device).masked_scatter(mask, own)
    loss = -0.5 * own.sum() + 0.5 * (weights * rows.cross_entropy(student)).sum()
    return ScoredReplies(logprobs, mask, inputs["right"], inputs["unit"]), loss, float(weights.mean())


def reply_logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """The logits that predict the replies' tokens (tokens, vocabulary); those of the prompts are never made."""
    labels = inputs["labels"]
    mask = labels[:, 1:] != -100  # rows, time - 1: the logits at t predict the label at t + 1
    first = int(mask.any(0).float().argmax())
    width = labels.shape[1]
    logits = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        use_cache=False,
        logits_to_keep=width - first,
    ).logits[:, :-1]
    kept: Tensor = logits[mask[:, first:]]
    return kept


def _by_length(rows: Sequence[dict[str, Any]], batch: int) -> Iterator[list[int]]:
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    return (order[start : start + batch] for start in range(0, len(order), batch))
