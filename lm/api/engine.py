"""The engine behind a URL: any server that speaks the OpenAI chat-completions API.

The SDK's own retries are off, since nobody could count them: every attempt is in the ledger before it is sent
(`ledger`), what is tried again is decided in one place (`retry`), and so is how much is asked at once (`pace`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...core.errors import ConfigError
from ..cost.flops import ModelSize
from ..engine import EngineStatus, Identity
from ..recorder import Finished, PurchaseRecorder
from ..types import SampleRequest
from .dispatch import Dispatcher, Traffic
from .spec import ApiSpec


class OpenAIEngine:
    """A model at an OpenAI-compatible endpoint."""

    def __init__(self, spec: ApiSpec, parameters: int | None = None) -> None:
        """`parameters` is the size that floating-point operations are counted with; None leaves them unknown."""
        self.spec = spec
        self._parameters = parameters
        self._traffic = Traffic()

    def identity(self, adapter: Path | None) -> Identity:
        if adapter is not None:
            raise ConfigError(
                f"{self.spec.model} runs behind {self.spec.base_url}: an adapter cannot be loaded into it"
            )
        return Identity(self.spec.host, self.spec.model, self.spec.revision)

    def footprint(self, adapter: Path | None) -> ModelSize | None:
        return ModelSize(self._parameters) if self._parameters else None

    def status(self) -> EngineStatus:
        return EngineStatus(self._traffic.at_once, dict(self._traffic.retries))

    def generate(
        self,
        draws: Sequence[SampleRequest],
        record: PurchaseRecorder,
        adapter: Path | None = None,
        *,
        planned: Sequence[SampleRequest] = (),
    ) -> Iterator[Finished]:
        """Yield completions when they arrive. After a failure nothing new is sent, but what is in flight is kept."""
        submitted = {key for batch in record.batches(self.spec.name) for key in batch.attempts}
        if waiting := sum(draw.key in submitted for draw in draws):
            raise ConfigError(
                f"{waiting:,} of these samples are in batches that were submitted to {self.spec.name}, and would be "
                "bought twice; go on with batch_api: true until they have come"
            )
        arrived: queue.SimpleQueue[Finished | BaseException | None] = queue.SimpleQueue()
        dispatcher = Dispatcher(self.spec, self._traffic, record, arrived, planned or draws)
        # A thread of its own, since the caller's may run an event loop already (a notebook's does).
        thread = threading.Thread(
            target=dispatcher.run, args=(draws,), name=f"requests to {self.spec.model}", daemon=True
        )
        thread.start()
        try:
            while (item := arrived.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            dispatcher.stop()
            thread.join()
