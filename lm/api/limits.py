"""How hard a server may be asked: part of the settings of a model behind a URL, and what its engine obeys."""

from __future__ import annotations

from math import ceil

from pydantic import Field

from ...core.settings import OPERATIONAL, Settings


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
    """The share of a stage's samples whose requests may be refused for good (a prompt over the context, a filter): they
    are unknown, left out and counted. One of several is always allowed, unless this is 0; with more the run stops."""
    timeouts: int = Field(default=2, gt=0, json_schema_extra=OPERATIONAL)
    """How often a request that timed out is sent: each time it may have been billed."""

    def allowed_failures(self, samples: int) -> int:
        """Of so many samples that a stage asks for, whether or not some are there already; never all of them."""
        return min(ceil(self.max_failures * samples), samples - 1)
