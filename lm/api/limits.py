"""How hard a server may be asked: part of the settings of a model behind a URL, and what its engine obeys."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from pydantic import Field

from ...core.settings import OPERATIONAL, Settings
from ..types import Request, SampleRequest


class Limits(Settings):
    """Requests in flight, per minute and per failure."""

    concurrency: int = Field(default=16, gt=0, json_schema_extra=OPERATIONAL)
    """Requests in flight at most; fewer while the server says that it is crowded."""
    requests_per_minute: float | None = Field(default=None, gt=0, json_schema_extra=OPERATIONAL)
    """Requests sent at most; None is no limit."""
    tokens_per_minute: float | None = Field(default=None, gt=0, json_schema_extra=OPERATIONAL)
    """Tokens sent and asked for at most: prompts by estimate, completions at their limit. None is no limit."""
    timeout: float = Field(default=120.0, gt=0, json_schema_extra=OPERATIONAL)
    """Seconds for one attempt, to the last byte of its answer."""
    attempts: int = Field(default=6, gt=0, json_schema_extra=OPERATIONAL)
    """How often a failed request is sent before the run stops."""
    max_failures: float = Field(default=0.01, ge=0, lt=1, json_schema_extra=OPERATIONAL)
    """The share of a stage's requests that may fail permanently (a prompt over the context, a content filter): their
    samples are unknown, left out and counted. One of several is always allowed, unless this is 0; with more the run
    stops."""
    timeouts: int = Field(default=2, gt=0, json_schema_extra=OPERATIONAL)
    """How often a request that timed out is sent: each time it may have been billed."""


class PermanentFailures:
    """Counts a stage's requests that can never succeed, whatever number of samples each of them asks for."""

    def __init__(self, limits: Limits, draws: Sequence[SampleRequest]) -> None:
        """`draws` are all samples of the stage, also those that are stored already. Never may all requests fail."""
        requests = len({draw.request for draw in draws})
        self._most = min(ceil(limits.max_failures * requests), requests - 1)
        self._failed: set[Request] = set()

    def __len__(self) -> int:
        return len(self._failed)

    def allow(self, request: Request) -> bool:
        """Count a request as failed, if it may be."""
        if request not in self._failed and len(self._failed) >= self._most:
            return False
        self._failed.add(request)
        return True
