"""A ranking model: from a question and a solution to a score in (0, 1), how likely the solution is right.

Li et al., *Turning Dust into Gold* (AAAI 2024), as the authors' code has it: a backbone reads question and solution,
its last hidden states are averaged over the solution's tokens (all but the last), and a head scores the mean u:

    u1 = ELU(L1 u) + u,   u2 = ELU(L2 u1) + u1,   score = sigmoid(w . u2)

Any encoder or causal language model can read, with LoRA, whole or frozen; or nobody reads, and the head is given a few
numbers of the solution (`features`), which is what any reader has to beat.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import log, nan
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import elu

from ...core import documents
from ...core.errors import ConfigError
from ...lm.cost.flops import ModelSize
from ...lm.local.chat_template import check_known
from ...lm.local.untrusted import loading
from ...lm.local.weights import load_reader, load_tokenizer, model_directory, moved
from ...solve.grading.grade import classify, grader_of
from ...solve.solution import Solution
from ...tasks.question import Question
from .. import student
from ..recipes import FeatureName, Features, Lora, RankerRecipe, ReaderBackbone

WEIGHTS, CONFIG = "ranker.safetensors", "ranker.json"


class Group(NamedTuple):
    """The solutions of one question."""

    question: Question
    solutions: tuple[Solution, ...]


class Head(nn.Module):
    """Two residual layers and a score (..., width) -> (...), before the sigmoid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        u = elu(self.first(u)) + u
        u = elu(self.second(u)) + u
        scored: Tensor = self.score(u)[..., 0]
        return scored


Row = dict[str, Any]
"""A solution as a ranker takes it; `length` is what it costs to read."""


class Ranker(nn.Module):
    """What every ranker is: rows in, logits out."""

    @abstractmethod
    def rows(self, group: Group) -> list[Row | None]:
        """A question's solutions as rows; None for one that is too long to be read."""

    @abstractmethod
    def collate(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """A batch."""

    @property
    @abstractmethod
    def footprint(self) -> ModelSize:
        """Its size, a token that it reads."""

    @torch.inference_mode()
    def score(self, groups: Sequence[Group], batch: int = 32) -> list[list[float | None]]:
        """The score of every solution, in order; None for one that is too long."""
        self.eval()
        rows = [self.rows(group) for group in groups]
        places = [(i, j) for i, of in enumerate(rows) for j, row in enumerate(of) if row is not None]
        places.sort(key=lambda at: rows[at[0]][at[1]]["length"])  # type: ignore[index]
        scores: list[list[float | None]] = [[None] * len(of) for of in rows]
        for start in range(0, len(places), batch):
            some = places[start : start + batch]
            inputs = self.collate([row for i, j in some if (row := rows[i][j]) is not None])
            device = next(self.parameters()).device
            logits = self(**{name: tensor.to(device) for name, tensor in inputs.items()})
            for (i, j), s in zip(some, torch.sigmoid(logits.double()).tolist(), strict=True):
                scores[i][j] = s
        return scores


class FeatureRanker(Ranker):
    """Scores a few numbers of a solution."""

    mean: Tensor
    spread: Tensor

    def __init__(self, names: Sequence[FeatureName], width: int) -> None:
        super().__init__()
        self.names = tuple(names)
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("spread", torch.ones(len(names)))
        self.widen = nn.Linear(len(names), width)
        self.head = Head(width)

    @property
    def footprint(self) -> ModelSize:
        """It reads no tokens."""
        return ModelSize(0)

    def rows(self, group: Group) -> list[Row | None]:
        columns = [FEATURES[name](group) for name in self.names]
        return [{"numbers": list(values), "length": 0} for values in zip(*columns, strict=True)]

    def collate(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        return {"numbers": torch.tensor([row["numbers"] for row in rows])}

    def fit_scale(self, rows: Sequence[Row]) -> None:
        """Take the numbers' means and spreads from the rows that are learned from."""
        numbers = self.collate(rows)["numbers"]
        self.mean.copy_(numbers.nanmean(0).nan_to_num())
        self.spread.copy_((numbers - self.mean).square().nanmean(0).sqrt().nan_to_num().clamp(min=1e-6))

    def forward(self, numbers: Tensor) -> Tensor:
        usual = ((numbers - self.mean) / self.spread).clamp(-4, 4)  # what is far out was never learned from
        usual = usual.nan_to_num()  # what nobody knows is as usual
        scored: Tensor = self.head(self.widen(usual))
        return scored


class ModelRanker(Ranker):
    """Reads question and solution."""

    def __init__(self, backbone: nn.Module, tokenizer: Any, max_length: int) -> None:
        super().__init__()
        self.backbone = backbone
        self._tokenizer = tokenizer
        config: Any = backbone.config
        most = getattr(config, "max_position_embeddings", None) or max_length
        self._max_length = min(max_length, most, tokenizer.model_max_length)
        self.head = Head(config.hidden_size)

    @property
    def footprint(self) -> ModelSize:
        """All weights but embeddings, which are looked up; attention as in a causal model."""
        config: Any = self.backbone.config
        looked_up = {id(p) for m in self.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        weights = sum(p.numel() for p in self.parameters() if id(p) not in looked_up)
        heads = config.num_attention_heads
        width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
        return ModelSize(weights, config.num_hidden_layers, width)

    def rows(self, group: Group) -> list[Row | None]:
        asked = self._tokenizer(group.question.prompt)["input_ids"]
        said = self._tokenizer([f"\n{s.text}" for s in group.solutions], add_special_tokens=False)["input_ids"]
        check_known(self._tokenizer, [asked, *said], self.backbone)
        return [
            {"input_ids": asked + ids, "start": len(asked), "length": len(asked) + len(ids)}
            if len(asked) + len(ids) <= self._max_length and ids
            else None
            for ids in said
        ]

    def collate(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        width = max(row["length"] for row in rows)
        pad = self._tokenizer.pad_token_id or 0
        at = torch.arange(width)
        lengths, starts = (torch.tensor([row[name] for row in rows])[:, None] for name in ("length", "start"))
        ids = [row["input_ids"] + [pad] * (width - row["length"]) for row in rows]
        last = torch.maximum(lengths - 1, starts + 1)  # all but the last token, but one at least
        return {
            "input_ids": torch.tensor(ids),
            "attention_mask": (at < lengths).long(),
            "pooled": (at >= starts) & (at < last),
        }

    def forward(self, input_ids: Tensor, attention_mask: Tensor, pooled: Tensor) -> Tensor:
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = pooled[..., None].to(hidden.dtype)  # batch, time, 1
        mean = (hidden * weight).sum(1) / weight.sum(1)
        scored: Tensor = self.head(mean.to(self.head.score.weight.dtype))
        return scored


# -- numbers of a solution ---------------------------------------------------------------------------------------------

Feature = Callable[[Group], list[float]]


def _length(group: Group) -> list[float]:
    return [log(1 + len(s.text)) for s in group.solutions]


def _lines(group: Group) -> list[float]:
    return [float(len(s.text.splitlines())) for s in group.solutions]


def _numerals(group: Group) -> list[float]:
    return [float(len(re.findall(r"\d+", s.text))) for s in group.solutions]


def _readable(group: Group) -> list[float]:
    return [float(s.answer is not None) for s in group.solutions]


def _probability(group: Group) -> list[float]:
    return [nan if s.logprob is None else s.logprob for s in group.solutions]


def _frequency(group: Group) -> list[float]:
    """The share of a question's solutions that come to the same answer."""
    (classes,) = classify([[s.answer for s in group.solutions]], [grader_of(group.question)])
    counts = Counter(classes)
    return [0.0 if of is None else counts[of] / len(classes) for of in classes]


def _relative_length(group: Group) -> list[float]:
    lengths = _length(group)
    mean = sum(lengths) / len(lengths)
    return [length - mean for length in lengths]


FEATURES: dict[FeatureName, Feature] = {
    "length": _length,
    "lines": _lines,
    "numerals": _numerals,
    "readable": _readable,
    "log-probability": _probability,
    "frequency": _frequency,
    "relative length": _relative_length,
}


# -- made, saved and loaded --------------------------------------------------------------------------------------------


def new(recipe: RankerRecipe, device: str = "auto") -> Ranker:
    """An untrained ranker."""
    backbone = recipe.backbone
    if isinstance(backbone, Features):
        return FeatureRanker(backbone.names, backbone.width)
    return moved(ModelRanker(*_read(backbone), recipe.max_length), device)


def save(ranker: Ranker, recipe: RankerRecipe, out: Path) -> None:
    """Write a ranker's directory: what was trained of it, and its recipe. The backbone stays where it is."""
    out.mkdir(parents=True, exist_ok=True)
    save_file(dict(trained(ranker)), out / WEIGHTS)
    facts = {"recipe": recipe.model_dump(mode="json"), "footprint": asdict(ranker.footprint)}
    (out / CONFIG).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def load(directory: Path, device: str = "auto") -> Ranker:
    """A ranker from its directory. Raises ConfigError when it is none, or does not fit on its backbone."""
    if (facts := student.read(directory)) is not None:
        student.check_files(directory, facts)
    recipe = recipe_of(directory)
    with loading("the ranker", directory):
        weights = load_file(directory / WEIGHTS)
    ranker = new(recipe, device)
    own = dict(trained(ranker))
    if own.keys() != weights.keys() or any(own[name].shape != weights[name].shape for name in own):
        raise ConfigError(f"the ranker in {directory} does not fit on its backbone")
    fill(ranker, weights)
    return ranker.eval()


def recipe_of(directory: Path) -> RankerRecipe:
    """What a ranker was made by. Raises ConfigError when there is none."""
    return _read_facts(directory)[0]


def footprint_of(directory: Path) -> ModelSize:
    """A ranker's size, without loading it. Raises ConfigError when there is none."""
    return _read_facts(directory)[1]


def _read_facts(directory: Path) -> tuple[RankerRecipe, ModelSize]:
    if not (directory / CONFIG).is_file():
        raise ConfigError(f"no ranker in {directory}; distil it first (divcon distill ranker)")
    facts: _Facts = documents.read(_Facts, directory / CONFIG, f"remove {directory} to train it again")
    return facts.recipe, facts.footprint


class _Facts(BaseModel):
    recipe: RankerRecipe
    footprint: ModelSize


def fill(ranker: Ranker, weights: Mapping[str, Tensor]) -> None:
    """Put saved weights in place of a ranker's."""
    with torch.no_grad():
        for name, tensor in trained(ranker):
            tensor.copy_(weights[name])


def trained(ranker: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What a ranker's directory holds: the weights that learn, and the numbers that come with them."""
    for name, p in ranker.named_parameters():
        if p.requires_grad:
            yield name, p.detach()
    if isinstance(ranker, FeatureRanker):
        yield from ((name, b) for name, b in ranker.named_buffers())


def _read(backbone: ReaderBackbone) -> tuple[nn.Module, Any]:
    directory = model_directory(backbone.path)
    model: Any = load_reader(directory)
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    if backbone.tuning == "frozen":
        model.requires_grad_(False)
    elif isinstance(backbone.tuning, Lora):
        from ..training.trainer import adapted

        model = adapted(model, backbone.tuning)
    return model, load_tokenizer(directory)
