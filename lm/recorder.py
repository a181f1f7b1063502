"""What an engine records: an attempt before it is sent, and what came of it before anybody is told.

The store is a recorder on disk; `NoRecord` is one that keeps nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from .cost.prices import Price, Quote
from .types import Completion, SampleRequest

Finished = list[tuple[SampleRequest, Completion]]


class Attempt(NamedTuple):
    """One sample that is about to be generated."""

    draw: SampleRequest
    number: int
    """The recorder's own."""


class Charge(NamedTuple):
    """What an attempt turned out to cost, in dollars."""

    dollars: float | None
    """None where nobody knows."""
    worst: float = 0.0
    """What it may have cost where nobody knows, should that be more than was reserved."""


def free(price: Price | None) -> Charge:
    """Of an attempt that was certainly not billed; unknown where the price is."""
    return Charge(None if price is None else 0.0)


class Lease(NamedTuple):
    """The right to buy a sample, so that no two processes buy it."""

    owner: str
    seconds: float
    """After which others may try, should the owner have died."""


class Purchase(NamedTuple):
    """Of whom samples are bought, and on what terms."""

    model: str
    """What is asked, and where."""
    lease: Lease
    quote: Quote | None = None
    """What each sample may cost at most; None without a price."""
    budget: float | None = None
    """Dollars that all attempts on record may cost together; None is no limit."""
    token: str | None = None
    """Of the batch that the samples will be sent in."""


class Reserved(NamedTuple):
    """What became of a wish to buy samples."""

    attempts: list[Attempt]
    """They may be sent now."""
    stored: Finished
    """Another process has bought them meanwhile."""
    busy: list[SampleRequest]
    """Another process is buying them."""


class Batch(NamedTuple):
    """Attempts that were submitted together, and have not come back."""

    token: str
    """Ours, by which the batch is found should its number be lost."""
    number: str | None
    """The server's."""
    attempts: dict[str, int]
    """By key."""
    requests: dict[str, int]
    """By key: the store's number of what was asked; empty in stores of before."""
    started: float | None
    """Unix time."""
    owner: str | None
    """The process that submits it."""


class Spend(NamedTuple):
    """Dollars so far."""

    known: float
    unknown: float
    """Of attempts whose outcome is unknown or still to come, at their worst."""

    @property
    def most(self) -> float:
        return self.known + self.unknown

    def __str__(self) -> str:
        return f"${self.known:.4f}" if not self.unknown else f"between ${self.known:.4f} and ${self.most:.4f}"


class Recorder(Protocol):
    """Where engines on this machine record."""

    def begin(self, draws: Sequence[SampleRequest]) -> list[Attempt]:
        """Record that these samples are about to be generated; one attempt each, in order."""
        ...

    def settle(self, made: Sequence[tuple[Attempt, Completion]], charges: Sequence[Charge] | None = None) -> Finished:
        """Record what came back and what it cost, all or nothing; None is unknown. What an engine may yield then."""
        ...

    def fail(
        self, attempts: Sequence[Attempt], cause: str, charges: Sequence[Charge] | None = None, *, release: bool = True
    ) -> None:
        """Record that attempts brought nothing, and why. `release` gives the samples up for other processes to buy."""
        ...


class PurchaseRecorder(Recorder, Protocol):
    """Where engines record that buy from a server."""

    def reserve(self, draws: Sequence[SampleRequest], purchase: Purchase) -> Reserved:
        """Record that these samples are about to be bought, but for those that another process has, or is buying.

        Raises BudgetError when the budget might be passed; nothing is recorded then.
        """
        ...

    def batches(self, model: str) -> list[Batch]:
        """The batches of a model that have not been collected."""
        ...

    def name_batch(self, token: str, number: str) -> None:
        """Record the server's number of a batch."""
        ...

    def batch_draws(self, batch: Batch) -> dict[str, SampleRequest]:
        """What a batch asked for, by key, as far as it is known."""
        ...

    def close_batch(self, batch: Batch, got: Finished, charges: Mapping[str, Charge], outcome: str) -> None:
        """Record what a batch brought and what its attempts cost, all or nothing; charges are by key.

        `outcome` is that of attempts that brought nothing.
        """
        ...


class SampleStore(PurchaseRecorder, Protocol):
    """What a model looks for samples in before it generates any."""

    def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        """The samples that are here, by key."""
        ...

    def spend(self) -> Spend:
        """The dollars of all attempts."""
        ...


class NoRecord:
    """Keeps nothing: for an endpoint, which answers each request once."""

    def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        return {}

    def spend(self) -> Spend:
        return Spend(0.0, 0.0)

    def begin(self, draws: Sequence[SampleRequest]) -> list[Attempt]:
        return [Attempt(draw, 0) for draw in draws]

    def settle(self, made: Sequence[tuple[Attempt, Completion]], charges: Sequence[Charge] | None = None) -> Finished:
        return [(attempt.draw, completion) for attempt, completion in made]

    def fail(
        self, attempts: Sequence[Attempt], cause: str, charges: Sequence[Charge] | None = None, *, release: bool = True
    ) -> None:
        pass

    def reserve(self, draws: Sequence[SampleRequest], purchase: Purchase) -> Reserved:
        return Reserved(self.begin(draws), [], [])

    def batches(self, model: str) -> list[Batch]:
        return []

    def name_batch(self, token: str, number: str) -> None:
        pass

    def batch_draws(self, batch: Batch) -> dict[str, SampleRequest]:
        return {}

    def close_batch(self, batch: Batch, got: Finished, charges: Mapping[str, Charge], outcome: str) -> None:
        pass
