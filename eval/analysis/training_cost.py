"""What a run's students took before the first question was asked: the teacher's traces, and every training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...core.errors import ConfigError
from ...distill import student
from ...distill.traces import trace
from ...distill.traces.collect import operations
from ...lm.cost.flops import Footprint, total
from ...lm.cost.prices import MachinePrice
from ...lm.local.footprint import footprint_of
from ...lm.local.weights import gpus, model_directory, weights_hash
from ...solve.voting import rules
from .. import grid_spec, run_dir
from ..config import stored
from ..grid.evaluate import Cell

Currency = Literal["flops", "seconds", "dollars"]

_ONE_PASS = frozenset(
    {"kd", "ft", "mix", "cl", "nt", "ul", "ul-literal", "redi", "tagged", "tagged-random", "negative"}
    | {"kd-wide", "kd-longer", "kd-longest"}
)
"""Methods whose every stage reads each of its tokens once, forward and back, and asks no other model."""


@dataclass(frozen=True)
class Outlay:
    """What is paid once. None is unknown."""

    flops: float | None = 0.0
    seconds: float | None = 0.0
    """As the clock ran, of samples their share of it: comparable only on one device."""
    dollars: float | None = 0.0

    def __add__(self, other: Outlay) -> Outlay:
        return Outlay(
            total([self.flops, other.flops]),
            total([self.seconds, other.seconds]),
            total([self.dollars, other.dollars]),
        )

    def of(self, currency: Currency) -> float | None:
        amounts = {"flops": self.flops, "seconds": self.seconds, "dollars": self.dollars}
        return amounts[currency]


UNKNOWN = Outlay(None, None, None)


@dataclass(frozen=True)
class Item:
    """Something that was paid for once: the teacher's traces, or the training of one student."""

    name: str
    tokens: float | None
    """Read and written by the teacher; or trained on, over all steps."""
    outlay: Outlay
    device: str
    """What its seconds were spent on; empty where nobody kept it."""

    @property
    def gpu_seconds(self) -> float | None:
        """Seconds x GPUs; None where it was no GPU, or nobody knows."""
        count, seconds = gpus(self.device), self.outlay.seconds
        return count * seconds if count and seconds is not None else None


@dataclass(frozen=True)
class Outlays:
    """Of one run. All its students learned from the same traces."""

    config: Mapping[str, Any]
    teaching: Item | None
    """None where nobody was taught."""
    trainings: Mapping[str, Item]
    """By the folder of the student in the run's directory."""

    @classmethod
    def of(cls, run: Path) -> Outlays:
        """From the cards of a run's students; what older cards do not say is counted from what lies beside them."""
        config = stored(run).model_dump(mode="json")
        found = {path.parent.name: path.parent for path in sorted(run.glob("*/divcon.json"))}
        cards = {name: facts for name, folder in found.items() if (facts := student.read(folder))}
        trainings = {name: _training(found[name], facts, config) for name, facts in cards.items()}
        return cls(config, _teaching(run, list(cards.values()), config), trainings)

    @property
    def items(self) -> list[Item]:
        """The traces, then the students."""
        return [*([self.teaching] if self.teaching else []), *self.trainings.values()]

    def cell(self, cell: Cell) -> Outlay:
        """What a cell alone would have taken: the traces once, and each of its students."""
        folders = self.students(cell)
        if not folders:
            return Outlay()
        each = [self.trainings[name].outlay if name in self.trainings else UNKNOWN for name in folders]
        return sum(each, self.teaching.outlay if self.teaching else UNKNOWN)

    def students(self, cell: Cell) -> list[str]:
        """The folders of the students that a cell asks, the vote's ranker among them."""
        roles: tuple[tuple[student.Role, str], ...] = (
            ("decomposer", grid_spec.interactive(cell.decomposer) or cell.decomposer),
            ("solver", cell.solver),
        )
        asked = [self._folder(role, name) for role, name in roles if grid_spec.is_student(name)]
        return asked + ["ranker"] * (rules.labelled(cell.vote).score == "rank")

    def _folder(self, role: student.Role, name: str) -> str:
        """A name that asks for nothing but the role's recipe shares the role's student."""
        recipe = self.config["distill"][role]
        own = [key for key, value in grid_spec.differs(role, name).items() if recipe[key] != value]
        return grid_spec.folder(role, name) if own else role


def _teaching(run: Path, cards: list[dict[str, Any]], config: Mapping[str, Any]) -> Item | None:
    if not cards:
        return None
    cost = max((card["cost"] for card in cards), key=len)  # the one that was told most
    tokens = total([cost.get("prompt tokens"), cost.get("completion tokens")]) if cost else None
    flops = cost.get("flops")
    if cost and flops is None:
        flops = _traces(run, str(cards[0]["teacher"]), config)
    device = ", ".join(run_dir.read(run).get("llm", ()))
    return Item("the teacher's traces", tokens, Outlay(flops, cost.get("seconds"), cost.get("dollars")), device)


def _traces(run: Path, teacher: str, config: Mapping[str, Any]) -> float | None:
    """Operations of the traces that lie there; None without them, or where the teacher's size is not known here."""
    llm = config["llm"]
    if llm["engine"] == "openai":
        size = Footprint(llm["parameters"]) if llm.get("parameters") else None
    else:
        size = _here(llm["path"], teacher.rpartition(" ")[2])
    try:
        return operations(trace.read(run / "traces" / "traces.jsonl"), size, size) if size else None
    except ConfigError:
        return None


def _training(directory: Path, facts: dict[str, Any], config: Mapping[str, Any]) -> Item:
    trained = facts["trained"]
    flops = trained["flops"] if "flops" in trained else _counted(directory, facts)
    price = config["student"].get("price") or {}
    dollars = None
    if {"second", "exaflop"} & set(price):
        machine = MachinePrice(**price)
        dollars = total([machine.second * trained["seconds"], _of_operations(machine, flops)])
    outlay = Outlay(flops, trained["seconds"], dollars)
    return Item(directory.name, trained["tokens"], outlay, trained.get("device", ""))


def _of_operations(machine: MachinePrice, flops: float | None) -> float | None:
    return 0.0 if not machine.exaflop else None if flops is None else machine.exaflop * flops / 1e18


def _counted(directory: Path, facts: dict[str, Any]) -> float | None:
    """Operations of a training that nobody counted, as if all its sequences had been of one length.

    None for methods that ask other models on the way, and where the base does not lie here as it was.
    """
    trained, recipe = facts["trained"], facts["recipe"]
    if facts["role"] == "ranker":
        return _rankers(directory, trained, recipe)
    base = _here(facts["base"], facts["base_hash"])
    if base is None or recipe.get("method") not in _ONE_PASS:
        return None
    learns = trained["parameters"]
    own = base.with_adapter(learns) if recipe["tuning"]["kind"] == "lora" else base
    lengths = _alike(trained["tokens"], trained["steps"] * recipe["batch"])
    return own.training(lengths, learns, again=recipe.get("gradient_checkpointing", False))


def _rankers(directory: Path, trained: dict[str, Any], recipe: dict[str, Any]) -> float | None:
    """Of a ranker; one that reads nothing takes nothing. What the student was asked for it is not known."""
    if recipe.get("own"):
        return None
    if recipe["backbone"]["kind"] == "features":
        return 0.0
    from ...distill.ranker import model  # with torch behind it

    size = model.footprint_of(directory)
    lengths = _alike(trained["tokens"], 2 * trained["steps"] * recipe["batch"])
    is_frozen = recipe["backbone"].get("tuning") == "frozen"
    return size.forward(map(round, lengths)) if is_frozen else size.training(lengths, trained["parameters"])


def _alike(tokens: int, sequences: int) -> list[float]:
    return [tokens / sequences] * sequences if sequences else []


def _here(path: str, revision: str) -> Footprint | None:
    """The size of a model whose very weights lie on this machine; the hub is not asked."""
    if not path.startswith("miniature/") and not Path(path).is_dir():
        return None
    try:
        directory = model_directory(path)
        same = bool(revision) and weights_hash(directory).startswith(revision)
        return footprint_of(directory) if same else None
    except ConfigError:
        return None
