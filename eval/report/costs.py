"""What the report says of cost: what distilling took, when it pays, and what can be had for a cost."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import devices
from ..analysis.break_even import BreakEven, break_evens
from ..analysis.pareto import COSTS, COUNTS, Frontier, Reached, frontier, reached
from ..analysis.summary import Tokens, lines, tokens
from ..analysis.training_cost import Currency, Item, UpfrontCosts
from ..grid.rows import Results
from ..grid_spec import is_of_use
from ..render import page
from ..render.table import Table, number, percent, points, questions

_ON_PAGE = 2
"""Votes whose cells stand on the page: the rules of one set of samples differ little in cost."""


@dataclass(frozen=True)
class Costs:
    """What one run cost once, and what that buys; each part is empty where the run has nothing for it."""

    items: list[Item]
    break_evens: dict[Currency, list[BreakEven]]
    """By what is counted: FLOPs, unknown or not, and dollars where they are known of some cell."""
    frontiers: list[Frontier]
    spent: list[Tokens]
    """What each cell reads and writes, phase by phase."""
    devices: dict[str, list[str]]
    """What the models answered on, by their names; empty where nobody kept it."""

    @classmethod
    def of(cls, run: Path, rows: Results) -> Costs:
        """From a run's results and its students' cards."""
        upfront_costs = UpfrontCosts.of(run)
        currencies: tuple[Currency, ...] = ("flops", "dollars")  # seconds of several devices are no common measure
        found = {currency: break_evens(rows, upfront_costs, currency) for currency in currencies}
        known = {name: of for name, of in found.items() if of and (name == "flops" or any(one.queries for one in of))}
        summary = [line for line in lines(rows) if is_of_use(line.cell.decomposer)]
        fronts = [one for axis in COSTS if axis not in COUNTS and (one := frontier(summary, axis))]
        return cls(upfront_costs.items, known, fronts, tokens(rows), devices.read(run))

    def tables(self) -> list[Table]:
        """For `table.md`."""
        made = [tokens_table(self.spent)]
        made += [costs_table(self.items)] if self.items else []
        made += [break_even_table(found, currency) for currency, found in self.break_evens.items()]
        made += [frontiers_table(self.frontiers)] if self.frontiers else []
        reaching = [one for each in self.frontiers for one in reached(each)]
        return made + ([reached_table(reaching)] if reaching else [])

    def sections(self, figures: page.Figures) -> list[str]:
        """For the page."""
        return [*self._phases(), *self._once(), *self._pays(figures), *self._fronts()]

    def _phases(self) -> list[str]:
        return [
            "<h2>What a question takes</h2>",
            "<p>Tokens of a question, phase by phase, as they were counted: means over questions. A prompt that "
            "several samples share counts once; cached ones are part of the prompt's, reasoning ones of the "
            "completion's.</p>",
            page.table(tokens_table(self.spent)),
        ]

    def _once(self) -> list[str]:
        if not self.items:
            return []
        return [
            "<h2>What distilling took</h2>",
            "<p>Paid once. All students learned from the same traces, which a cell pays for once. A training reads "
            "each token forward and back: 6 operations a weight where all learn, 4 a frozen weight and 6 a weight that "
            "learns with adapters, attention beside. What nobody counted is unknown, never zero. "
            f"{html.escape(self._answered())}</p>",
            page.table(costs_table(self.items)),
        ]

    def _answered(self) -> str:
        if not self.devices:
            return "What the models answered on was not kept, so that their seconds are of an unknown device."
        said = "; ".join(f"the {name} on {', '.join(of)}" for name, of in self.devices.items())
        return f"Seconds of the tests are what the models took: {said}."

    def _pays(self, figures: page.Figures) -> list[str]:
        if not self.break_evens:
            return []
        votes = list(dict.fromkeys(one.cell.vote for found in self.break_evens.values() for one in found))[:_ON_PAGE]
        shown = {name: [one for one in found if one.cell.vote in votes] for name, found in self.break_evens.items()}
        unpriced = (
            "" if "dollars" in self.break_evens else " In dollars it is unknown: a training, or a model, has no price."
        )
        return [
            "<h2>When distilling pays</h2>",
            "<p>How many questions pay back what a cell's students took, by what each costs less than it costs the LLM "
            "alone; 95 % intervals over questions (of the saving, turned over), for these traces and trainings. A cell "
            "that is cheaper and less accurate does another job: the difference in accuracy stands beside it."
            f"{unpriced}</p>",
            *figures("break_even", self._caption()),
            *(page.table(break_even_table(found, currency)) for currency, found in shown.items()),
        ]

    def _caption(self) -> str:
        found = next(iter(self.break_evens.values()))
        unknown = list(dict.fromkeys(one.cell.label for one in found if one.queries is None))
        said = (
            "What questions cost in all, the students' outlay with them, against how many there are; grey: the LLM "
            "alone; dots: where the outlay is paid back. Of many cells the eight most accurate are drawn."
        )
        return f"{said} Cost unknown, not drawn: {', '.join(unknown)}." if unknown else said

    def _fronts(self) -> list[str]:
        if not self.frontiers:
            return []
        reaching = [one for each in self.frontiers for one in reached(each)]
        areas = html.escape(" ".join(map(_area, self.frontiers)))
        return [
            "<h2>What can be had for a cost</h2>",
            f"<p>Cells that nothing as cheap surpasses, controls aside. {areas} Areas of two runs can be compared "
            "where they reach to the same cost.</p>",
            page.table(frontiers_table(self.frontiers)),
            *(_reaching(reached_table(reaching)) if reaching else []),
        ]


def _area(found: Frontier) -> str:
    missing = [cell.label for cell in found.missing]
    named = f"; cost unknown: {_few(missing)}" if missing else ""
    named += f"; free, and off the axis: {_few([cell.label for cell in found.free])}" if found.free else ""
    return (
        f"Area under the front by {found.axis}: {found.area:.3f} (accuracy x decades, to {found.reference:g}){named}."
    )


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + f" and {len(names) - most} others" * (len(names) > most)


def _reaching(table: Table) -> list[str]:
    return [
        "<p>The cheapest cell that reaches 90, 95 and 100 % of the accuracy of the LLM alone (its better cell), and "
        "the cheapest whose whole interval lies above. They are chosen by the questions that they are judged by, which "
        "flatters the first.</p>",
        page.table(table),
    ]


def costs_table(items: Sequence[Item]) -> Table:
    """A row for the teacher's traces and for each training: what was paid once."""
    on_gpu = any(item.gpu_seconds is not None for item in items)
    priced = any(item.upfront.dollars is not None for item in items)
    header = ["paid once", "tokens", "FLOPs", "seconds", "on"]
    header += ["GPU-seconds"] * on_gpu + ["dollars"] * priced
    return header, [
        [
            item.name,
            number(item.tokens) if item.tokens is None else f"{item.tokens:,.0f}",
            number(item.upfront.flops),
            number(item.upfront.seconds),
            item.device or "unknown",
            *([number(item.gpu_seconds) if item.gpu_seconds is not None else ""] if on_gpu else []),
            *([number(item.upfront.dollars)] if priced else []),
        ]
        for item in items
    ]


def break_even_table(found: Sequence[BreakEven], currency: Currency) -> Table:
    """A row a cell with students: after how many questions they are paid back, beside each cell of the LLM alone."""
    unit = {"flops": "FLOPs", "seconds": "seconds", "dollars": "dollars"}[currency]
    besides = list(dict.fromkeys(one.beside[:2] for one in found))
    header = ["decomposer", "solver", "vote", f"{unit}, once", f"{unit} a question"]
    for decomposer, solver in besides:
        label = f"{decomposer} \N{RIGHTWARDS ARROW} {solver}"
        header += [f"questions to repay beside {label}", f"accuracy beside {label} (points)"]
    rows = []
    for cell in dict.fromkeys(one.cell for one in found):
        of_cell = {one.beside[:2]: one for one in found if one.cell == cell}
        first = next(iter(of_cell.values()))
        row = [*cell.names, number(first.upfront), number(first.query)]
        for beside in besides:
            one = of_cell.get(beside)
            row += [questions(one.queries), points(one.accuracy)] if one else ["", ""]
        rows.append(row)
    return header, rows


def frontiers_table(found: Sequence[Frontier]) -> Table:
    """A row a cell that nothing as cheap surpasses, on every cost axis."""
    header = ["decomposer", "solver", "vote", "cost", "a question", "all questions"]
    return header, [
        [*point.cell.names, one.axis, number(point.cost), percent(point.accuracy)]
        for one in found
        for point in one.front
    ]


def reached_table(found: Sequence[Reached]) -> Table:
    """A row a cost and accuracy: the cheapest cell that reaches it, and the cheapest that surely does."""
    header = ["cost", "accuracy (%)", "cheapest cell", "a question", "surely: cheapest cell", "a question"]
    return header, [
        [one.axis, f"{100 * one.accuracy:.1f}"]
        + [said for p in (one.cheapest, one.surely) for said in ([p.cell.label, number(p.cost)] if p else ["none", ""])]
        for one in found
    ]


def tokens_table(found: Sequence[Tokens]) -> Table:
    """A row per cell and phase: what it reads and writes per question; plain adapters merged, and as they ran."""
    header = ["decomposer", "solver", "vote", "phase", "samples", "prompt tokens", "cached", "completion tokens"]
    return [*header, "reasoning", "FLOPs", "FLOPs, as run"], [
        [
            *each.cell.names,
            each.phase,
            f"{each.calls:.3g}",
            *(f"{amount:.0f}" for amount in each[3:7]),
            number(each.flops),
            number(each.flops_as_run),
        ]
        for each in found
    ]
