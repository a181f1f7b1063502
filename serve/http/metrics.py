"""What can be watched of an endpoint, for Prometheus."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from ..pipeline.billing import RequestBill
from ..pipeline.errors import KEY_SHARE, NO_QUOTA, OVERLOADED, RATE_LIMIT, STREAM_TIMEOUT
from ..pipeline.pipeline import RequestTrace
from .admission import AdmissionQueue

disable_created_metrics()  # type: ignore[no-untyped-call]  # when a counter began is of no use, and doubles the page
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
_LIMITS = (OVERLOADED, KEY_SHARE, STREAM_TIMEOUT, RATE_LIMIT, NO_QUOTA)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Numbers of one endpoint, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"divcon_{name}", what, labels, registry=self._registry)

        def histogram(name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"divcon_{name}", what, labels, buckets=buckets, registry=self._registry)

        self._requests = counter("requests", "Requests by the status of their answer", "status")
        self._outcomes = counter("decompositions", "Requests by what became of decomposing them", "outcome")
        self._failures = counter("decomposer_failures", "Decompositions that were not made", "cause")
        self._tokens = counter("tokens", "Tokens by phase", "phase", "kind")
        self._dollars = counter("dollars", "Dollars by phase, where a price is known", "phase")
        self._answered = counter("answers", "Answers by who gave them", "by")
        self._seconds = histogram("request_seconds", "Whole requests", _SECONDS)
        self._phases = histogram("phase_seconds", "Requests' phases", _SECONDS, "phase")
        self._first = histogram("first_byte_seconds", "Streams, to their first piece", _SECONDS)
        self._batches = histogram("decomposer_batch_size", "Questions decomposed together", _SIZES)
        self._limited = counter("limited", "Requests refused or ended by a limit of this server", "limit")
        self._disconnects = counter("disconnects", "Clients that left before their answer was whole")

    def queue(self, gate: AdmissionQueue) -> None:
        """Show how full the queue is, whenever somebody looks."""
        for name, what, read in (
            ("running", "Requests in work", lambda: gate.running),
            ("waiting", "Requests that wait for a place", lambda: gate.waiting),
        ):
            Gauge(f"divcon_{name}", what, registry=self._registry).set_function(read)

    def decomposed(self, size: int, seconds: float) -> None:
        """A batch of questions."""
        self._batches.observe(size)

    def decomposer_failed(self, cause: str) -> None:
        self._failures.labels(cause).inc()

    def left(self) -> None:
        """A client that would not wait."""
        self._disconnects.inc()

    def limited(self, code: str | None) -> None:
        """A request that was refused, or ended; counted where a limit of ours did it."""
        if code in _LIMITS:
            self._limited.labels(code).inc()

    def first_byte(self, seconds: float) -> None:
        self._first.observe(seconds)

    def answered(self, status: int, seconds: float) -> None:
        """A request of any kind."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def worked(self, trail: RequestTrace, account: RequestBill) -> None:
        """What a request to the models took, whole or not."""
        self._outcomes.labels(trail.decomposition).inc()
        if trail.answered_by:
            self._answered.labels(trail.answered_by).inc()
        for phase, seconds in trail.seconds.items():
            self._phases.labels(phase).observe(seconds)
        for phase, bill in (("decompose", account.decompose), ("solve", account.solve)):
            if bill.usage:
                self._tokens.labels(phase, "prompt").inc(bill.usage.prompt_tokens)
                self._tokens.labels(phase, "completion").inc(bill.usage.completion_tokens)
            if bill.dollars:
                self._dollars.labels(phase).inc(bill.dollars)

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self._registry)
