"""DPO and KTO: TRL's trainers over our batches, from a student that has learned the right replies first.

The reference that a student is kept near to is that first student: TRL copies the adapter it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset
from torch import Tensor
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

from ...lm.cost.flops import ModelSize
from .telemetry import Telemetry
from .trainer import PlannedTrainer

Rows = Sequence[dict[str, Any]]


def _split(row: dict[str, Any]) -> tuple[list[int], list[int]]:
    """An encoded reply's prompt and completion."""
    prompt = sum(label == -100 for label in row["labels"])
    return row["input_ids"][:prompt], row["input_ids"][prompt:]


class _Prepared(PlannedTrainer):
    """Leaves data as they are: they are encoded already."""

    def _prepare_dataset(self, dataset: Dataset, *_: object, **__: object) -> Dataset:
        return dataset


class PlannedDPO(_Prepared, DPOTrainer):  # type: ignore[misc]  # TRL leaves it untyped
    """Direct preference optimization on pairs (arXiv 2305.18290)."""

    def teacher_flops(self, footprint: ModelSize, lengths: Sequence[int]) -> float:
        """The reference reads each reply once."""
        return footprint.forward(lengths)

    @classmethod
    def arguments(cls, **common: Any) -> DPOConfig:
        return DPOConfig(**common, trust_remote_code=False)

    def __init__(self, *, plan: list[list[int]], units: Sequence[Rows], telemetry: Telemetry, **options: Any) -> None:
        self.follow(plan, telemetry)
        rows = []
        for good, bad in units:
            prompt, chosen = _split(good)
            rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": _split(bad)[1]})
        super().__init__(train_dataset=Dataset.from_list(rows), **options)


class PlannedKTO(_Prepared, KTOTrainer):  # type: ignore[misc]  # TRL leaves it untyped
    """Kahneman-Tversky optimization on labelled replies (arXiv 2402.01306)."""

    def teacher_flops(self, footprint: ModelSize, lengths: Sequence[int]) -> float:
        """The reference reads each reply and, as the student does without a gradient, each mismatched one."""
        return 3 * footprint.forward(lengths)

    @classmethod
    def arguments(cls, **common: Any) -> KTOConfig:
        return KTOConfig(**common, train_sampling_strategy="sequential", trust_remote_code=False)  # of our own batches

    def __init__(self, *, plan: list[list[int]], units: Sequence[Rows], telemetry: Telemetry, **options: Any) -> None:
        self.follow(plan, telemetry)
        rows = []
        for (row,) in units:
            prompt, completion = _split(row)
            # What stands in for a mismatched reply is put there batch by batch, when the batch is known.
            rows.append(
                {
                    "prompt_ids": prompt,
                    "completion_ids": completion,
                    "KL_completion_ids": completion,
                    "label": row["right"],
                }
            )
        super().__init__(train_dataset=Dataset.from_list(rows), **options)
        self.data_collator = _mismatched(self.data_collator)  # type: ignore[has-type]


def _mismatched(collate: Callable[[Rows], dict[str, Tensor]]) -> Callable[[Rows], dict[str, Tensor]]:
    """Each reply beside another's prompt, the batch turned by one as TRL does it: KTO's baseline is measured there."""

    def turned(rows: Rows) -> dict[str, Tensor]:
        others = [rows[-1], *rows[:-1]]
        return collate(
            [{**row, "KL_completion_ids": other["completion_ids"]} for row, other in zip(rows, others, strict=True)]
        )

    return turned
