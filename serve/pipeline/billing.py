"""What a request took, in tokens and dollars, phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...lm.cost import flops as cost
from ...lm.cost.flops import ModelSize
from ...lm.cost.prices import MachinePrice, Price
from ...lm.types import Usage
from .pipeline import RequestTrace, Who


class Bill(NamedTuple):
    """What a phase took."""

    usage: Usage | None
    """None where a model does not say."""
    dollars: float | None
    """None where a price is unknown."""

    def as_json(self) -> dict[str, Any]:
        tokens = {
            "prompt_tokens": self.usage.prompt_tokens if self.usage else None,
            "completion_tokens": self.usage.completion_tokens if self.usage else None,
        }
        return {**tokens, "dollars": self.dollars}


@dataclass(frozen=True)
class Rates:
    """What the models cost, as far as it is known."""

    upstream: Price | None = None
    decomposer: MachinePrice | None = None
    decomposer_size: ModelSize | None = None
    local: MachinePrice | None = None
    local_size: ModelSize | None = None

    def decomposing(self, used: Sequence[Usage]) -> Bill:
        """Of the decomposer's calls; remembered decompositions are none."""
        costs = [_machine(self.decomposer, self.decomposer_size, usage) for usage in used]
        return Bill(sum(used, Usage()), _total(costs))

    def solving(self, used: Sequence[tuple[Who, Usage | None]]) -> Bill:
        """Of all calls that solved, voted over or not."""
        known = [usage for _, usage in used if usage is not None]
        whole = sum(known, Usage()) if len(known) == len(used) else None
        return Bill(whole, _total([self._solved(who, usage) for who, usage in used]))

    def billed(self, trail: RequestTrace) -> float | None:
        """Dollars that the upstream bills for what was asked of it; None where that is unknown."""
        return _total([self._solved(who, usage) for who, usage in trail.solving if who == "upstream"])

    def _solved(self, who: Who, usage: Usage | None) -> float | None:
        if usage is None:
            return None
        if who == "upstream":
            return self.upstream.dollars(usage) if self.upstream else None
        return _machine(self.local, self.local_size, usage)


def _total(parts: Sequence[float | None]) -> float | None:
    """A sum of dollars that is a float when it is nothing, too: programs that add up replies mind the type."""
    found = cost.total(parts)
    return None if found is None else float(found)


def _machine(price: MachinePrice | None, size: ModelSize | None, usage: Usage) -> float | None:
    return price.dollars(usage, size.flops([usage]) if size else None) if price else None


@dataclass(frozen=True)
class RequestBill:
    """A request's bill."""

    decompose: Bill
    solve: Bill

    @classmethod
    def of(cls, trail: RequestTrace, rates: Rates) -> RequestBill:
        return cls(rates.decomposing(trail.decomposing), rates.solving(trail.solving))

    @property
    def dollars(self) -> float | None:
        return _total([self.decompose.dollars, self.solve.dollars])

    def usage(self, said: Any, trail: RequestTrace) -> dict[str, Any] | None:
        """The `usage` of a reply: all that was asked of solvers, and our extension.

        `said` is what the last call's own was, which is kept, with its further fields, where it was the only one. None
        where a model does not say what it took: clients expect numbers in a `usage`.
        """
        extension = {
            "decomposition_id": trail.id,
            "decomposition": trail.decomposition,
            "subquestions": list(trail.subquestions),
            "answered_by": trail.answered_by,
            "share": trail.share,
            "decompose": self.decompose.as_json(),
            "solve": self.solve.as_json(),
            "dollars": self.dollars,
        }
        if len(trail.solving) != 1:
            said = _summed(self.solve.usage)
        return {**said, "divcon": extension} if isinstance(said, dict) else None


def _summed(used: Usage | None) -> dict[str, int] | None:
    if used is None:
        return None
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
    }
