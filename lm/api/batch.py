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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import ConfigError, ModelError
from ...core.jsonlines import Row
from ..cost.flops import ModelSize
from ..engine import EngineStatus, Identity
from ..recorder import Batch, Charge, Finished, Lease, Purchase, PurchaseRecorder, free
from ..store.ledger import is_at_work_elsewhere
from ..types import Completion, Request, SampleRequest
from .batch_lines import read_line, readable_lines, rows, together
from .engine import OpenAIEngine
from .limits import PermanentFailures

if TYPE_CHECKING:
    import openai
    from openai import types

_DAY = 25 * 3600.0
"""Seconds after which a batch is over, whatever happens."""
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_KEPT = 30 * 86_400.0
"""Seconds for which an output is looked for; OpenAI keeps it for as long."""
_LOOKS = 3
"""How often what should be there is looked for before it counts as missing."""
_TOKEN = "divcon"
"""The name of the metadata that a batch is found by."""


class OpenAIBatchEngine:
    """A model that is asked by batches."""

    def __init__(self, engine: OpenAIEngine, *, poll: float = 30.0, size: int = 50_000, attempts: int = 3) -> None:
        """`engine` says what is asked and how; `poll` is the seconds between two looks at a batch, `size` how many
        requests it holds at most, `attempts` how often a request may fail.
        """
        self._engine = engine
        self._spec = engine.spec
        self._poll = poll
        self._size = size
        self._attempts = attempts
        self._retries: Counter[str] = Counter()
        self._submitted = 0

    def identity(self, adapter: Path | None) -> Identity:
        return self._engine.identity(adapter)

    def footprint(self, adapter: Path | None) -> ModelSize | None:
        return self._engine.footprint(adapter)

    def status(self) -> EngineStatus:
        return EngineStatus(self._submitted, dict(self._retries))

    def generate(
        self,
        draws: Sequence[SampleRequest],
        record: PurchaseRecorder,
        adapter: Path | None = None,
        *,
        planned: Sequence[SampleRequest] = (),
    ) -> Iterator[Finished]:
        """Yield what each batch brought. Raises ModelError when requests keep failing."""
        wanted = {draw.key: draw for draw in draws}
        permanent = PermanentFailures(self._spec.limits, planned or draws)
        failures: Counter[str] = Counter()
        with self._client() as client:
            while wanted:
                for batch in record.batches(self._spec.name):
                    if batch.number is None and is_at_work_elsewhere(batch.owner) and not _is_stale(batch):
                        continue  # just being submitted
                    finished = self._collect(client, record, batch, wanted, failures, permanent)
                    for draw, _ in finished:
                        wanted.pop(draw.key, None)
                    yield finished
                if wanted:
                    found = self._submit(client, record, list(wanted.values())[: self._size])
                    for draw, _ in found:
                        wanted.pop(draw.key, None)
                    yield found

    def _client(self) -> AbstractContextManager[openai.OpenAI]:
        return self._connect(retries=5)

    @contextmanager
    def _connect(self, retries: int) -> Iterator[openai.OpenAI]:
        """The SDK may repeat these calls itself: none of them is billed, but the one that creates a batch."""
        import openai

        try:
            with self._spec.connect_for_batches(retries) as client:
                yield client
        except openai.APIStatusError as error:
            text = self._spec.scrubbed(
                f"{self._spec.name} refused a batch with status {error.status_code}: {error.message}"
            )
            raise (ModelError if error.status_code >= 500 else ConfigError)(text) from None
        except openai.APIError as error:
            text = self._spec.scrubbed(f"{self._spec.name} could not be reached: {error}")
            raise ModelError(f"{text}; the same command goes on") from None

    def _submit(self, client: openai.OpenAI, record: PurchaseRecorder, draws: list[SampleRequest]) -> Finished:
        """Submit a batch, and write down that it is; what another process has bought meanwhile."""
        token = secrets.token_hex(8)
        terms = Purchase(self._spec.name, Lease(token, _DAY), self._spec.quote(draws), self._spec.budget, token)
        reserved = record.reserve(draws, terms)
        if reserved.attempts:
            lines = [
                {
                    "custom_id": draw.key,
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": self._spec.body([draw]),
                }
                for draw, _ in reserved.attempts
            ]
            contents = "".join(json.dumps(line) + "\n" for line in lines).encode()
            file = client.files.create(file=("divcon.jsonl", contents), purpose="batch")
            # Repeated after a time-out it might be there twice; its token finds it instead.
            batch = client.with_options(max_retries=0).batches.create(
                input_file_id=self._number(file),
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_TOKEN: token},
            )
            record.name_batch(token, self._number(batch))
        elif not reserved.stored:
            time.sleep(self._poll)  # another process is buying all of it
        return reserved.stored

    def _collect(
        self,
        client: openai.OpenAI,
        record: PurchaseRecorder,
        batch: Batch,
        wanted: dict[str, SampleRequest],
        failures: Counter[str],
        permanent: PermanentFailures,
    ) -> Finished:
        """Wait for a batch to end, keep all that it brought and settle its attempts; the wanted samples in it."""
        number = batch.number or self._find(client, batch.token)
        if number is None:
            record.close_batch(batch, [], dict.fromkeys(batch.attempts, free(self._spec.price)), "never submitted")
            return []
        self._submitted = len(batch.attempts)
        ended = self._wait(client, number, batch)
        self._submitted = 0
        status = ended.status if ended else "gone"
        lines = self._output(client, ended, batch) if ended else []
        draws = record.batch_draws(batch) | {k: wanted[k] for k in batch.attempts.keys() & wanted.keys()}
        got, charges, refused = self._read(lines, batch, draws)
        for key in batch.attempts.keys() - charges.keys():  # nothing says that the server did not work on it
            charges[key] = free(self._spec.price) if ended and _never_began(ended) else Charge(None)
        record.close_batch(batch, list(got.values()), charges, f"batch {status}")
        failed = (key for key in wanted if key in refused and key not in got)
        given_up = [key for key in failed if permanent.allow(wanted[key].request)]
        lost = [key for key in batch.attempts if key not in got and key not in given_up]
        self._judge(status, lost, wanted, failures)
        brought = [(draw, sample) for key, (draw, sample) in got.items() if key in wanted]
        return brought + [(wanted[key], Completion.failed()) for key in given_up]

    def _read(
        self, lines: Sequence[Row], batch: Batch, draws: Mapping[str, SampleRequest]
    ) -> tuple[dict[str, tuple[SampleRequest, Completion]], dict[str, Charge], set[str]]:
        """The samples in a batch's output and what its lines cost, by key, and the keys of requests that failed
        permanently. Lines of others' keys are passed over."""
        got: dict[str, tuple[SampleRequest, Completion]] = {}
        charges: dict[str, list[Charge]] = {}
        refused: set[str] = set()
        for line in lines:
            key = str(line.get("custom_id"))
            if key not in batch.attempts:
                continue
            found = read_line(line, draws.get(key) or SampleRequest(Request(()), 0, key), self._spec)
            sample = found.sample
            charges.setdefault(key, []).append(found.charge)
            if found.is_refused:
                refused.add(key)
            if sample and key in draws:
                got.setdefault(key, (draws[key], sample))
        return got, {key: together(each) for key, each in charges.items()}, refused

    def _wait(self, client: openai.OpenAI, number: str, batch: Batch) -> types.Batch | None:
        """The batch when it has ended; None when the server has forgotten it."""
        import openai

        strange = 0
        while strange < _LOOKS:
            try:
                found = client.batches.retrieve(number)
            except openai.NotFoundError:
                if _is_old(batch):
                    return None
                raise
            status = getattr(found, "status", None)
            if isinstance(status, str) and status in _ENDED:
                return found
            strange = 0 if isinstance(status, str) else strange + 1
            time.sleep(self._poll)
        raise ModelError(f"{self._spec.name} does not say how its batch {number} stands; the same command looks again")

    def _output(self, client: openai.OpenAI, ended: types.Batch, batch: Batch) -> list[Row]:
        """The lines of a batch's output and errors, downloaded again while some are missing.

        Raises ModelError when the output cannot be downloaded now.
        """
        texts = {file: "" for file in (ended.output_file_id, ended.error_file_id) if isinstance(file, str)}
        for look in range(_LOOKS):
            if look:
                time.sleep(self._poll)
            found = {file: self._download(client, file) for file in texts}
            if _is_whole(ended, list(found.values())):
                break
            texts = {file: max(found[file] or "", text, key=readable_lines) for file, text in texts.items()}
        else:
            is_withheld = bool(ended.output_file_id or _counted(ended)[0])
            output = rows(texts.get(str(ended.output_file_id), ""))
            if is_withheld and not any(row.get("custom_id") in batch.attempts for row in output) and not _is_old(batch):
                raise ModelError(
                    f"{self._spec.name} does not hand out the output of batch {ended.id}; nothing of it is lost, and "
                    "the same command tries again"
                )
            found = dict(texts)
        return [row for text in found.values() for row in rows(text or "")]

    def _download(self, client: openai.OpenAI, file: str) -> str | None:
        """A file's text; None when the server has none now."""
        import openai

        try:
            return client.files.content(file).text
        except openai.APIStatusError:
            return None

    def _judge(
        self, status: str, lost: Sequence[str], wanted: dict[str, SampleRequest], failures: Counter[str]
    ) -> None:
        """Raise ModelError when a request has failed too often."""
        failures.update(key for key in lost if key in wanted)
        self._retries[f"batch {status}"] += len(lost)
        if failures and max(failures.values()) >= self._attempts:
            raise ModelError(f"{self._spec.name} failed the same requests in {self._attempts} batches ({status})")

    def _find(self, client: openai.OpenAI, token: str) -> str | None:
        """The batch that was created just before the process died, if it was; a list may lag behind."""
        for look in range(_LOOKS):
            if look:
                time.sleep(self._poll)
            seen: set[str] = set()
            for batch in client.batches.list(limit=100):
                number = self._number(batch)
                if number in seen:  # a server that pays no heed to `after`
                    break
                seen.add(number)
                if isinstance(batch.metadata, dict) and batch.metadata.get(_TOKEN) == token:
                    return number
        return None

    def _number(self, created: object) -> str:
        """What the server calls a file or a batch. Raises ModelError where it answers with something else."""
        number = getattr(created, "id", None)
        if not isinstance(number, str):
            raise ModelError(f"{self._spec.name} does not answer as the Batch API does; the same command goes on")
        return number


def _never_began(ended: types.Batch) -> bool:
    """Whether the server refused a batch before it worked on any of it: its input was no good."""
    has_begun = ended.in_progress_at or ended.output_file_id or ended.error_file_id or any(_counted(ended))
    return ended.status == "failed" and not has_begun


def _is_whole(ended: types.Batch, texts: Sequence[str | None]) -> bool:
    """Whether the files that were downloaded hold as many lines as the server counts, and all can be read."""
    lines = sum(bool(line.strip()) for text in texts for line in (text or "").split("\n"))
    return None not in texts and sum(_counted(ended)) <= lines == sum(readable_lines(text or "") for text in texts)


def _counted(ended: types.Batch) -> tuple[int, int]:
    """How many requests the server says that it completed, and failed; 0 where it says nothing that makes sense."""
    completed, failed = (getattr(ended.request_counts, name, 0) for name in ("completed", "failed"))
    return (completed if isinstance(completed, int) else 0, failed if isinstance(failed, int) else 0)


def _is_stale(batch: Batch) -> bool:
    """Whether a batch that has no number yet has been submitted for too long."""
    return batch.started is None or time.time() - batch.started > _DAY


def _is_old(batch: Batch) -> bool:
    """Whether nobody keeps a batch's output any more."""
    return batch.started is not None and time.time() - batch.started > _KEPT
