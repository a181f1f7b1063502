"""What a run's students took before the first question was asked: the teacher's traces, and every training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...distill import student
from ...lm.cost.flops import total
from ...lm.cost.prices import MachinePrice
from ...lm.local.weights import gpus
from .. import devices
from ..grid_spec import Cell, UseStudent, inner_decomposer
from ..run_dir import RunDirectory

Currency = Literal["flops", "seconds", "dollars"]


@dataclass(frozen=True)
class UpfrontCost:
    """What is paid once. None is unknown."""

    flops: float | None = 0.0
    seconds: float | None = 0.0
    """As the clock ran, of samples their share of it: comparable only on one device."""
    dollars: float | None = 0.0

    def __add__(self, other: UpfrontCost) -> UpfrontCost:
        return UpfrontCost(
            total([self.flops, other.flops]),
            total([self.seconds, other.seconds]),
            total([self.dollars, other.dollars]),
        )

    def of(self, currency: Currency) -> float | None:
        amounts = {"flops": self.flops, "seconds": self.seconds, "dollars": self.dollars}
        return amounts[currency]


UNKNOWN = UpfrontCost(None, None, None)


@dataclass(frozen=True)
class Item:
    """Something that was paid for once: the teacher's traces, or the training of one student."""

    name: str
    tokens: float | None
    """Read and written by the teacher; or trained on, over all steps."""
    upfront: UpfrontCost
    device: str
    """What its seconds were spent on; empty where nobody kept it."""

    @property
    def gpu_seconds(self) -> float | None:
        """Seconds x GPUs; None where it was no GPU, or nobody knows."""
        count, seconds = gpus(self.device), self.upfront.seconds
        return count * seconds if count and seconds is not None else None


@dataclass(frozen=True)
class UpfrontCosts:
    """Of one run."""

    config: Mapping[str, Any]
    teaching: Mapping[str, Item]
    """Parts of the teacher's traces, by their names; students that use the same part share it."""
    used: Mapping[str, tuple[str, ...]]
    """By the folder of the student in the run's directory: the parts that its track used."""
    trainings: Mapping[str, Item]
    """By the folder of the student."""

    @classmethod
    def of(cls, run: Path) -> UpfrontCosts:
        """From the cards of a run's students."""
        files = RunDirectory(run)
        config = files.study.model_dump(mode="json")
        cards = {folder.name: facts for folder in files.student_folders() if (facts := student.read(folder))}
        trainings = {name: _training(name, facts, config) for name, facts in cards.items()}
        parts = {name: tuple(facts["cost"] or {_UNTOLD: {}}) for name, facts in cards.items()}
        return cls(config, _teaching(run, list(cards.values())), parts, trainings)

    @property
    def items(self) -> list[Item]:
        """The traces, then the students."""
        return [*self.teaching.values(), *self.trainings.values()]

    def cell(self, cell: Cell) -> UpfrontCost:
        """What a cell alone would have taken: each part of the traces that its students used once, and each student."""
        folders = self.students(cell)
        if any(name not in self.trainings for name in folders):
            return UNKNOWN
        parts = dict.fromkeys(part for name in folders for part in self.used[name])
        each = [self.teaching[part] for part in parts] + [self.trainings[name] for name in folders]
        return sum((item.upfront for item in each), UpfrontCost())

    def students(self, cell: Cell) -> list[str]:
        """The folders of the students that a cell asks, the vote's ranker among them."""
        specs = (inner_decomposer(cell.decomposer), cell.solver)
        asked = [self._folder(spec) for spec in specs if isinstance(spec, UseStudent)]
        return asked + ["ranker"] * (cell.vote.voting_rule().score == "rank")

    def _folder(self, spec: UseStudent) -> str:
        """A student that changes nothing in its track's recipe is the track's."""
        recipe = self.config["distill"][spec.track]
        own = [key for key, value in spec.recipe_changes.items() if recipe[key] != value]
        return (spec if own else spec.plain).folder


_UNTOLD = "traces"
"""The part that stands for traces of unknown cost."""


def _teaching(run: Path, cards: list[dict[str, Any]]) -> dict[str, Item]:
    device = ", ".join(devices.read(run).get("llm", ()))
    found: dict[str, Item] = {}
    for card in cards:
        for part, cost in (card["cost"] or {_UNTOLD: {}}).items():
            tokens = total([cost.get("prompt tokens"), cost.get("completion tokens")]) if cost else None
            upfront = UpfrontCost(cost.get("flops"), cost.get("seconds"), cost.get("dollars"))
            found[part] = Item(f"the teacher's {part}", tokens, upfront, device)
    return found


def _training(name: str, facts: dict[str, Any], config: Mapping[str, Any]) -> Item:
    trained = facts["trained"]
    flops = trained["flops"]
    price = config["student"].get("price") or {}
    dollars = None
    if {"second", "exaflop"} & set(price):
        machine = MachinePrice(**price)
        dollars = total([machine.second * trained["seconds"], _of_operations(machine, flops)])
    upfront = UpfrontCost(flops, trained["seconds"], dollars)
    return Item(name, trained["tokens"], upfront, trained.get("device", ""))


def _of_operations(machine: MachinePrice, flops: float | None) -> float | None:
    return 0.0 if not machine.exaflop else None if flops is None else machine.exaflop * flops / 1e18
