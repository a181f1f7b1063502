"""What every engine promises: batches of draws in, completions out as they finish."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

from .cost.flops import ModelSize
from .recorder import Finished, PurchaseRecorder
from .types import Completion, SampleRequest


class Identity(NamedTuple):
    """Which model answered: the part of a store key that is not the request."""

    host: str
    """Where it runs: a server's host and port, or `local`."""
    model: str
    """Its name there."""
    revision: str
    """What tells two models of one name apart: a hash of the weights (and of the adapter), or empty for an API."""


class EngineStatus(NamedTuple):
    """How an engine is doing, for those who watch."""

    at_once: int = 0
    """Requests in flight."""
    retries: Mapping[str, int] = MappingProxyType({})
    """Failed calls by cause, since the engine was made."""


class Engine(Protocol):
    """A loaded, or loadable, language model."""

    def identity(self, adapter: Path | None) -> Identity:
        """Name the model without loading it."""
        ...

    def footprint(self, adapter: Path | None) -> ModelSize | None:
        """Its size, from which floating-point operations are counted; None when nobody says how large it is."""
        ...

    def status(self) -> EngineStatus:
        """How it is doing now."""
        ...

    def generate(
        self,
        draws: Sequence[SampleRequest],
        record: PurchaseRecorder,
        adapter: Path | None = None,
        *,
        planned: Sequence[SampleRequest] = (),
    ) -> Iterator[Finished]:
        """Generate, record and yield samples, group by group, in any order.

        `planned` are all samples of the stage, of which `draws` are missing (the same, where it is empty), so that
        batches are planned alike whether or not a run was interrupted. Every attempt is recorded before it is sent and
        every completion before it is yielded. Raises ModelError when a model stays unreachable and ConfigError when a
        request can never succeed.
        """
        ...


class SimpleEngine(ABC):
    """An engine that gives one completion after another: a base for your own. Say `name`, and how to `complete`."""

    name: str
    """Of the model: samples are kept under it. Change `revision` where the same name answers otherwise."""
    revision: str = ""

    @abstractmethod
    def complete(self, draw: SampleRequest) -> Completion:
        """One sample: `draw.request` has the messages and the sampling, `draw.index` tells samples of one apart.

        Raises ModelError where the model does not answer now, and ConfigError for a request that can never succeed.
        """

    def identity(self, adapter: Path | None) -> Identity:
        """As a model on this machine."""
        return Identity("local", self.name, self.revision)

    def footprint(self, adapter: Path | None) -> ModelSize | None:
        """Unknown."""
        return None

    def status(self) -> EngineStatus:
        """Nothing to tell."""
        return EngineStatus()

    def generate(
        self,
        draws: Sequence[SampleRequest],
        record: PurchaseRecorder,
        adapter: Path | None = None,
        *,
        planned: Sequence[SampleRequest] = (),
    ) -> Iterator[Finished]:
        """One after another; each is kept before the next is asked for."""
        for draw in draws:
            (attempt,) = record.begin([draw])
            yield record.settle([(attempt, self.complete(draw))])


StreamCallback = Callable[[SampleRequest, str], bool]
"""Told a draw and its text so far, reasoning and reply (`lm.reasoning` splits them), in the generating thread. The text
never gets shorter.
False when nobody listens to that draw any more."""


def silent(draw: SampleRequest, text: str) -> bool:
    """Nobody listens, and what is generated is wanted all the same."""
    return True


@runtime_checkable
class StreamingEngine(Protocol):
    """An engine that can be heard while it generates."""

    def stream(self, draws: Sequence[SampleRequest], adapter: Path | None, on_text: StreamCallback) -> list[Completion]:
        """The completions of draws, each with a key of its own, in order and kept nowhere."""
        ...
