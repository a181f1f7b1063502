"""The OpenAI Batch API as an engine: the same requests at half the price, answered within a day.

What is submitted is written down first, so that a run that is stopped, or dies, finds its batches again: it waits for
what it has submitted before it submits anything else. A batch whose number was never written down is looked for by its
token.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..tasks.errors import ConfigError, ModelError
from ..tasks.rows import Row, readable
from .completion import Completion, Draw
from .cost import Footprint
from .engine import Finished, Identity, Pulse
from .estimate import at_most, estimated
from .ledger import Batch, Lease
from .openai import OpenAI
from .reply import read
from .retry import CallError
from .store import Store

if TYPE_CHECKING:
    import openai

_DAY = 25 * 3600.0
"""Seconds after which a batch is over, whatever happens."""
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_TOKEN = "divcon"
"""The name of the metadata that a batch is found by."""


class BatchedOpenAI:
    """A model that is asked by batches."""

    def __init__(self, engine: OpenAI, *, poll: float = 30.0, size: int = 50_000, attempts: int = 3) -> None:
        """`engine` says what is asked and how; `poll` is the seconds between two looks at a batch, `size` how many
        requests it holds at most, `attempts` how often a request may fail.
        """
        self._engine = engine
        self._price = engine.price
        self._poll = poll
        self._size = size
        self._attempts = attempts
        self._retries: Counter[str] = Counter()
        self._submitted = 0

    def identity(self, adapter: Path | None) -> Identity:
        return self._engine.identity(adapter)

    def footprint(self, adapter: Path | None) -> Footprint | None:
        return self._engine.footprint(adapter)

    def pulse(self) -> Pulse:
        return Pulse(self._submitted, dict(self._retries))

    def generate(
        self, draws: Sequence[Draw], missing: Set[str], store: Store, adapter: Path | None
    ) -> Iterator[Finished]:
        """Yield what each batch brought. Raises ModelError when requests keep failing."""
        wanted = {draw.key: draw for draw in draws if draw.key in missing}
        failures: Counter[str] = Counter()
        with self._client() as client:
            while wanted:
                for batch in store.batches(self._engine.name):
                    finished = self._collect(client, store, batch, wanted, failures)
                    for draw, _ in finished:
                        wanted.pop(draw.key, None)
                    yield finished
                if wanted:
                    found = self._submit(client, store, list(wanted.values())[: self._size])
                    for draw, _ in found:
                        wanted.pop(draw.key, None)
                    yield found

    def _client(self) -> AbstractContextManager[openai.OpenAI]:
        return self._connect(retries=5)

    @contextmanager
    def _connect(self, retries: int) -> Iterator[openai.OpenAI]:
        """The SDK may repeat these calls itself: none of them is billed, but the one that creates a batch."""
        import openai

        from .clients import MOST_OF_A_FILE, opened

        key, url = self._engine.key(), self._engine.base_url
        try:
            with opened(key, url, MOST_OF_A_FILE, timeout=120.0, max_retries=retries) as client:
                yield client
        except openai.APIStatusError as error:
            text = self._engine.scrubbed(
                f"{self._engine.name} refused a batch with status {error.status_code}: {error.message}"
            )
            raise (ModelError if error.status_code >= 500 else ConfigError)(text) from None
        except openai.APIError as error:
            raise ModelError(f"{self._engine.name} could not be reached: {error}; the same command goes on") from error

    def _submit(self, client: openai.OpenAI, store: Store, draws: list[Draw]) -> Finished:
        """Submit a batch, and write down that it is; what another process has bought meanwhile."""
        token = secrets.token_hex(8)
        most = max(draws, key=lambda draw: at_most(draw.request.messages)).request
        limit = max(draw.request.sampling.max_tokens for draw in draws)
        quote = self._price.quote(at_most(most.messages), limit) if self._price else None
        lease = Lease(token, _DAY)
        reserved = store.reserve(draws, self._engine.name, lease, quote, self._engine.budget, token)
        ours = [draw for draw in draws if draw.key in reserved.attempts]
        if ours:
            lines = [
                {
                    "custom_id": draw.key,
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": self._engine.body([draw]),
                }
                for draw in ours
            ]
            contents = "".join(json.dumps(line) + "\n" for line in lines).encode()
            file = client.files.create(file=("divcon.jsonl", contents), purpose="batch")
            # Repeated after a time-out it might be there twice; its token finds it instead.
            batch = client.with_options(max_retries=0).batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_TOKEN: token},
            )
            store.name_batch(token, batch.id)
        elif not reserved.stored:
            time.sleep(self._poll)  # another process is buying all of it
        found = store.get(reserved.stored)
        return [(draw, found[draw.key]) for draw in draws if draw.key in found]

    def _collect(
        self, client: openai.OpenAI, store: Store, batch: Batch, wanted: dict[str, Draw], failures: Counter[str]
    ) -> Finished:
        """Wait for a batch to end, and settle its attempts; the samples that it brought."""
        number = batch.number or self._find(client, batch.token)
        if number is None:
            store.close_batch(batch.token, [], list(batch.attempts.values()), "never submitted", list(batch.attempts))
            return []
        self._submitted = len(batch.attempts)
        while (ended := client.batches.retrieve(number)).status not in _ENDED:
            time.sleep(self._poll)
        self._submitted = 0
        lines = [*_lines(client, ended.output_file_id), *_lines(client, ended.error_file_id)]
        got: list[tuple[int, Draw, Completion, float | None]] = []
        for line in lines:
            key = str(line.get("custom_id"))
            if key in batch.attempts and key in wanted and (bought := self._read(line, wanted[key])):
                got.append((batch.attempts[key], wanted[key], *bought))
        kept = {draw.key for _, draw, _, _ in got}
        lost = [key for key in batch.attempts if key not in kept]
        store.close_batch(batch.token, got, [batch.attempts[key] for key in lost], f"batch {ended.status}", lost)
        self._judge(ended.status, lost, wanted, failures)
        return [(draw, completion) for _, draw, completion, _ in got]

    def _judge(self, status: str, lost: Sequence[str], wanted: dict[str, Draw], failures: Counter[str]) -> None:
        """Raise ModelError when a request has failed too often."""
        failures.update(key for key in lost if key in wanted)
        self._retries[f"batch {status}"] += len(lost)
        if failures and max(failures.values()) >= self._attempts:
            raise ModelError(f"{self._engine.name} failed the same requests in {self._attempts} batches ({status})")

    def _read(self, line: Row, draw: Draw) -> tuple[Completion, float | None] | None:
        """The sample in a line of a batch's output, and its price; None when the line is a failure."""
        response = line.get("response") or {}
        if line.get("error") or response.get("status_code") != 200:
            return None
        prompt, limit = estimated(draw.request.messages), draw.request.sampling.max_tokens
        try:
            reply = read(json.dumps(response.get("body")), 1, prompt, limit, 0.0)
        except CallError:
            return None
        return reply.completions[0], self._price.dollars(reply.billed[0]) if self._price and reply.is_known else None

    def _find(self, client: openai.OpenAI, token: str) -> str | None:
        """The batch that was created just before the process died, if it was."""
        for batch in client.batches.list(limit=100):
            if (batch.metadata or {}).get(_TOKEN) == token:
                return batch.id
        return None


def _lines(client: openai.OpenAI, file: str | None) -> Iterator[Row]:
    """The lines of a file of the API; one that cannot be read is a failure like any other."""
    if file is not None:
        yield from readable(client.files.content(file).text)
