"""A provider that is called without a socket and keeps a bill of its own, and histories of runs that buy from it.

A history is a few runs on one store, some of which are killed at any step, under a provider that fails and misreports
as the history has it. After each run the ledger's range must hold the provider's bill, and nothing delivered is bought
twice.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import openai

from divcon.core.errors import ConfigError, ModelError
from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.api import dispatch, retry
from divcon.lm.api.batch import OpenAIBatchEngine
from divcon.lm.api.engine import OpenAIEngine
from divcon.lm.api.limits import Limits
from divcon.lm.api.spec import ApiSpec
from divcon.lm.cost.prices import Price, batched
from divcon.lm.recorder import Finished

with openai.OpenAI(api_key="none") as _client:
    http: Any = importlib.import_module(type(_client.base_url).__module__.partition(".")[0])
    """The HTTP library below this version of the SDK."""

PRICE = Price(prompt=2.0, completion=8.0, cached=0.5)
MAX_TOKENS = 40
LENGTHS = (1, 8, 25, MAX_TOKENS)
"""Tokens of a completion, by a call's size."""
TEMPLATE = 1_000
"""Tokens that the provider's chat template adds to a large prompt."""
OVERRUN = 5_000
"""Tokens of reasoning beyond the limit."""

EXACT = ("honest", "cached", "overrun", "reasoning on top", "fewer", "more", "null")
"""Replies whose usage is what is billed, and can be believed."""
VAGUE = (
    *(
        "no usage",
        "absurd",
        "huge",
        "overstated",
        "negative",
        "no prompt",
        "no completion",
        "NaN",
        "float",
        "bool",
        "text",
    ),
    *("too much cached", "negative cached", "nested", "overrun on top", "fewer, uncounted", "more, uncounted"),
    *("null, overrun", "none, overrun"),
)
"""Replies from which the bill cannot be told."""
BEYOND = (
    *("overrun", "reasoning on top", "overstated", "nested", "overrun on top", "null, overrun", "none, overrun"),
    *("more", "more, uncounted", "streamed"),
)
"""Replies that are billed more than was asked for."""
REFUSED = ("status 429", "no connection")
BROKEN = (
    *("status 500", "status 502", "status 503", "status 504", "status 520", "status 524", "status 529", "status 408"),
    *("broke", "timed out", "half", "HTML", "streamed"),
)
"""Calls that bring nothing, and may have been worked on."""
EXACT_LINES = (*EXACT, "line 400", "line 429")
BROKEN_LINES = ("line 500", "error", "expired", "missing", "garbage", "odd response", "odd body", "twice", "foreign")


class Killed(BaseException):
    """The process was killed."""


class Fate:
    """Counts the steps of a process, and kills it at one of them."""

    def __init__(self, lives: int | None) -> None:
        """`lives` is how many steps it takes; None is all."""
        self._lives = lives
        self._steps = 0

    @property
    def may_kill(self) -> bool:
        return self._lives is not None

    def step(self) -> None:
        self._steps += 1
        if self._lives is not None and self._steps > self._lives:
            raise Killed
        if self._steps > 3_000:
            raise AssertionError("the run does not come to an end")


class Call(NamedTuple):
    """What becomes of one call, or of one line of a batch."""

    fault: str = "honest"
    size: int = 0
    """How long prompt and completions are: an index of LENGTHS."""
    is_worked_on: bool = False
    """Whether a call that brings nothing was worked on, and billed."""


class Ending(NamedTuple):
    """How a batch ends."""

    status: str = "completed"
    created: str = "yes"
    """`yes`, or `before` or `after` which the call that creates it fails."""
    download: str = "yes"
    """`yes`, or how the first download of its output fails."""


class Run(NamedTuple):
    """One process."""

    questions: int
    samples: int
    lives: int | None = None
    """Steps before it is killed."""


class History(NamedTuple):
    """Runs on one store, and what becomes of their calls, in order; what is beyond the end is honest."""

    is_batched: bool
    runs: tuple[Run, ...]
    calls: tuple[Call, ...]
    endings: tuple[Ending, ...] = ()
    concurrency: int = 1

    @property
    def is_exact(self) -> bool:
        """Whether every call's bill can be told from its reply."""
        exact = {*EXACT, *REFUSED, *EXACT_LINES}
        return (
            all(call.fault in exact for call in self.calls)
            and all(ending == Ending() for ending in self.endings)
            and all(run.lives is None for run in self.runs)
        )


class Provider:
    """Answers requests, and knows what it bills."""

    def __init__(self, history: History) -> None:
        self.bills: defaultdict[str, float] = defaultdict(float)
        """Dollars by question; of batches, by key."""
        self.delivered: Counter[str] = Counter()
        """Samples that were handed over readable, by question; of batches, those that can be downloaded."""
        self.fate = Fate(None)
        self._calls = list(history.calls)
        self._endings = list(history.endings)
        self._scale = 0.5 if history.is_batched else 1.0
        self._files: list[bytes] = []
        self._batches: list[dict[str, Any]] = []
        self._readable: set[str] = set()
        self._trouble: set[str] = set()
        self._account = ""
        self._beyond: dict[tuple[str, str], float] = {}
        """Dollars above what was asked for, by the token of a batch and a key."""
        self.bought_again: set[str] = set()
        """Samples that were asked for in a batch when they could be downloaded already."""

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self._calls, self._endings, self._trouble = [], [], set()

    def __call__(self, request: Any) -> Any:
        self.fate.step()
        path = str(request.url.path).partition("/v1")[2]
        content = request.read()
        if path == "/chat/completions":
            response = self._chat(json.loads(content))
        elif path.startswith("/files"):
            response = self._file(path, content)
        else:
            response = self._batch(path, content, request.url.params)
        self.fate.step()
        return response

    def finish(self) -> None:
        """Work on all batches, whether or not anybody looks at them."""
        for batch in self._batches:
            if "output_file_id" not in batch:
                self._end(batch)

    def knowable(self, account: str, unread: Sequence[str]) -> float:
        """A bill without what is above anything that was asked for in batches (by token) that nobody has read yet."""
        return self.bills[account] - sum(self._beyond.get((token, account), 0.0) for token in unread)

    def _next_call(self) -> Call:
        return self._calls.pop(0) if self._calls else Call()

    def _next_reply(self) -> Call:
        """What a process that may be killed before it reads it cannot know is not billed: more than it asked for."""
        call = self._next_call()
        return call._replace(fault="no usage") if self.fate.may_kill and call.fault in BEYOND else call

    def _charge(self, prompt: int, completion: int, cached: int = 0) -> None:
        self.bills[self._account] += self._scale * _dollars(prompt, completion, cached)

    def _chat(self, body: dict[str, Any]) -> Any:
        call = self._next_reply()
        self._account = body["messages"][0]["content"]
        if call.fault == "no connection":
            raise http.ConnectError("refused")
        if call.fault == "status 429":
            return _response({}, 429)
        if call.fault in BROKEN:
            return self._broken(body, call)
        reply, readable = self._work(body, call)
        self.delivered[body["messages"][0]["content"]] += readable
        return _response(reply)

    def _broken(self, body: dict[str, Any], call: Call) -> Any:
        if call.fault == "streamed":
            reply, _ = self._work(body, call._replace(fault="overrun"))
            return http.Response(200, content=f"data: {json.dumps(reply)}\n\ndata: [DONE]\n\n")
        if call.is_worked_on or call.fault in ("half", "HTML"):
            reply, _ = self._work(body, call._replace(fault="honest"))
        if call.fault.startswith("status"):
            return _response({}, int(call.fault.split()[1]))
        if call.fault == "half":
            return http.Response(200, content=json.dumps(reply)[:-40])
        if call.fault == "HTML":
            return http.Response(200, content="<html>", headers={"content-type": "text/html"})
        raise {"broke": http.ReadError, "timed out": http.ReadTimeout}[call.fault]("after it was sent")

    def _work(self, body: dict[str, Any], call: Call) -> tuple[dict[str, Any], int]:
        """A reply, which is billed, and how many of the samples that were asked for can be read in it."""
        asked = body.get("n", 1)
        fault = call.fault
        tokens = LENGTHS[call.size]
        content = body["messages"][0]["content"]
        prompt = (len(content) // 4 + 1, len(content) // 2 + 8, len(content), len(content.encode()) + TEMPLATE)[
            call.size
        ]
        made = max(1, asked - 1) if fault == "fewer" else asked + 2 if fault.startswith("more") else asked
        shown = max(1, asked - 1) if fault.startswith("fewer") else 0 if fault == "none, overrun" else made
        completion = made * tokens
        usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
        cached = prompt // 2 if fault == "cached" else 0
        if "over" in fault or fault in ("nested", "reasoning on top"):
            completion += 10 * OVERRUN if fault == "overstated" else OVERRUN
        self._charge(prompt, completion, cached)
        usage = _usage(usage, fault, completion, cached)
        text = None if fault.startswith("null") else "ab " * tokens
        choices: list[dict[str, Any]] = [_choice(i, text) for i in range(shown)]
        if fault == "nested":
            choices[0]["usage"] = {"prompt_tokens": prompt, "completion_tokens": completion}
        reply = {"id": "x", "object": "chat.completion", "model": "m", "choices": choices, "usage": usage}
        return reply, min(asked, shown)

    def _file(self, path: str, content: bytes) -> Any:
        if path == "/files":
            lines = [line for line in content.split(b"\n") if line.startswith(b'{"custom_id"')]
            self._files.append(b"\n".join(lines))
            return _response({"id": f"file-{len(self._files) - 1}", "object": "file"})
        name = path.split("/")[2]
        trouble = next((each for each in self._trouble if each.startswith(f"{name} ")), None)
        if trouble and not trouble.endswith("for good"):
            self._trouble.discard(trouble)
        data = self._files[int(name.partition("-")[2])]
        kind = (trouble or " yes").split(" ")[1]
        if kind in ("500", "404"):
            return _response({}, int(kind))
        if kind == "HTML":
            return http.Response(200, content="<html>", headers={"content-type": "text/html"})
        return http.Response(200, content=data[: len(data) // 2] if kind == "half" else data)

    def _batch(self, path: str, content: bytes, options: Mapping[str, str]) -> Any:
        if path == "/batches" and content:
            return self._create(json.loads(content))
        if path == "/batches":
            listed = [*_UNRELATED, *map(self._facts, range(len(self._batches)))]
            start = next((i + 1 for i, each in enumerate(listed) if each["id"] == options.get("after")), 0)
            return _response(
                {"object": "list", "data": listed[start : start + 100], "has_more": len(listed) > start + 100}
            )
        number = int(path.split("-")[1])
        self._batches[number]["looks"] += 1
        if self._batches[number]["looks"] == 2 and "output_file_id" not in self._batches[number]:
            self._end(self._batches[number])
        return _response(self._facts(number))

    def _create(self, asked: dict[str, Any]) -> Any:
        ending = self._endings.pop(0) if self._endings else Ending()
        if ending.created == "before":
            return _response({}, 500)
        keys = {json.loads(line)["custom_id"] for line in self._input(asked)}
        self.bought_again |= keys & self._readable
        self._batches.append({**asked, "looks": 0, "ending": ending})
        if ending.created == "after":
            raise http.ReadError("after it was created")
        return _response(self._facts(len(self._batches) - 1))

    def _input(self, batch: dict[str, Any]) -> list[bytes]:
        return self._files[int(batch["input_file_id"].partition("-")[2])].split(b"\n")

    def _end(self, batch: dict[str, Any]) -> None:
        """Work on a batch's lines, and write its output."""
        ending: Ending = batch["ending"]
        out: list[str] = []
        if ending.status != "failed":
            for line in map(json.loads, self._input(batch)):
                key, content = line["custom_id"], line["body"]["messages"][0]["content"]
                before = self.bills[key]
                out += self._line(line)
                most = self._scale * _dollars(len(content.encode()) + TEMPLATE, MAX_TOKENS, 0)
                self._beyond[batch["metadata"]["divcon"], key] = max(0.0, self.bills[key] - before - most)
        self._files.append("\n".join(out).encode())
        batch["lines"] = len(out)
        batch["output_file_id"] = f"file-{len(self._files) - 1}"
        if ending.download != "yes":
            self._trouble.add(f"{batch['output_file_id']} {ending.download}")

    def _line(self, asked: dict[str, Any]) -> list[str]:
        """What a line of a batch's input becomes in its output."""
        call, key, body = self._next_call(), asked["custom_id"], asked["body"]
        self._account = key
        fault = call.fault
        if fault in ("line 400", "line 429"):
            return [_output(key, {"error": {"message": "no"}}, int(fault.split()[1]))]
        if fault in BROKEN_LINES:
            return self._broken_line(key, body, call)
        reply, readable = self._work(body, call)
        if readable:
            self._readable.add(key)
        return [_output(key, reply)]

    def _broken_line(self, key: str, body: dict[str, Any], call: Call) -> list[str]:
        fault = call.fault
        if fault == "twice":
            self._readable.add(key)
            return [_output(key, self._work(body, call._replace(fault="honest", size=size))[0]) for size in (1, 3)]
        if fault == "foreign":
            self._readable.add(key)
            line = _output(key, self._work(body, call._replace(fault="honest"))[0])
            return [line.replace(key, "another's"), line]
        is_worked_on = call.is_worked_on or fault in ("odd response", "odd body", "garbage")
        is_told = is_worked_on and fault != "missing"
        reply: dict[str, Any] = {}
        if is_worked_on:
            reply, _ = self._work(body, call._replace(fault="overrun" if is_told else "honest"))
        return {
            "line 500": [_output(key, {"usage": reply.get("usage")}, 500)],
            "error": [_failed(key, "server_error", reply)],
            "expired": [_failed(key, "batch_expired", reply)],
            "garbage": [_output(key, reply)[:-60]],
            "odd response": [json.dumps({"custom_id": key, "response": [reply]})],
            "odd body": [_output(key, [reply])],
        }.get(fault, [])

    def _facts(self, number: int) -> dict[str, Any]:
        batch = self._batches[number]
        ended = "output_file_id" in batch
        status = batch["ending"].status if ended else "in_progress"
        facts = {"id": f"batch-{number}", "object": "batch", "status": status, "metadata": batch["metadata"]}
        if not ended or batch["ending"].status == "failed":
            return facts
        lines = batch["lines"]
        counts = {"total": len(self._input(batch)), "completed": lines, "failed": 0}
        return {**facts, "output_file_id": batch["output_file_id"], "request_counts": counts}


_UNRELATED = [{"id": f"other-{i}", "object": "batch", "status": "completed", "metadata": {}} for i in range(120)]


def _dollars(prompt: int, completion: int, cached: int) -> float:
    return ((prompt - cached) * PRICE.prompt + cached * (PRICE.cached or 0.0) + completion * PRICE.completion) / 1e6


def _usage(usage: dict[str, Any], fault: str, billed: int, cached: int) -> Any:
    """What the provider says that a call took."""
    visible = usage["completion_tokens"]
    total = usage["prompt_tokens"] + billed
    changes: dict[str, Any] = {
        "cached": {"prompt_tokens_details": {"cached_tokens": cached}},
        "overrun": {"completion_tokens": billed, "completion_tokens_details": {"reasoning_tokens": OVERRUN}},
        "reasoning on top": {"completion_tokens_details": {"reasoning_tokens": OVERRUN}, "total_tokens": total},
        "overrun on top": {"completion_tokens_details": {"reasoning_tokens": OVERRUN}},
        "absurd": {"completion_tokens": 10**12},
        "huge": {"completion_tokens": 10**400},
        "overstated": {"completion_tokens": billed},
        "negative": {"completion_tokens": -visible},
        "no prompt": {"prompt_tokens": 0},
        "no completion": {"completion_tokens": 0},
        "NaN": {"completion_tokens": math.nan},
        "float": {"completion_tokens": visible + 0.5},
        "bool": {"completion_tokens": True},
        "text": {"completion_tokens": str(visible)},
        "too much cached": {"prompt_tokens_details": {"cached_tokens": 10**7}},
        "negative cached": {"prompt_tokens_details": {"cached_tokens": -3}},
        "null, overrun": {"completion_tokens": billed},
        "none, overrun": {"completion_tokens": billed},
    }
    if fault in ("no usage", "nested") or "uncounted" in fault:
        return None
    return {**usage, **changes.get(fault, {})}


def _choice(index: int, text: str | None) -> dict[str, Any]:
    return {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}


def _failed(key: str, code: str, reply: Mapping[str, Any]) -> str:
    return json.dumps({"custom_id": key, "response": None, "error": {"code": code, "usage": reply.get("usage")}})


def _output(key: str, body: Any, status: int = 200) -> str:
    return json.dumps({"custom_id": key, "response": {"status_code": status, "body": body}, "error": None})


def _response(body: Any, status: int = 200) -> Any:
    return http.Response(status, content=json.dumps(body), headers={"content-type": "application/json"})


class MortalStore(Store):
    """A store whose process may be killed before and after each transaction."""

    def __init__(self, path: Path, fate: Fate) -> None:
        super().__init__(path)
        self._db.execute("PRAGMA synchronous=OFF")  # processes are killed here, no machines
        self._fate = fate

    def reserve(self, *arguments: Any, **options: Any) -> Any:
        return self._between(super().reserve, *arguments, **options)

    def settle(self, *arguments: Any, **options: Any) -> Finished:
        finished: Finished = self._between(super().settle, *arguments, **options)
        return finished

    def fail(self, *arguments: Any, **options: Any) -> None:
        self._between(super().fail, *arguments, **options)

    def name_batch(self, *arguments: Any, **options: Any) -> None:
        self._between(super().name_batch, *arguments, **options)

    def close_batch(self, *arguments: Any, **options: Any) -> None:
        self._between(super().close_batch, *arguments, **options)

    def _between(self, change: Any, *arguments: Any, **options: Any) -> Any:
        self._fate.step()
        found = change(*arguments, **options)
        self._fate.step()
        return found


@dataclass(frozen=True)
class Unconnected(ApiSpec):
    """A model with the provider where the network would be."""

    provider: Provider | None = None

    def connect(self) -> openai.AsyncOpenAI:
        assert self.provider
        client = http.AsyncClient(transport=http.MockTransport(self.provider))
        return openai.AsyncOpenAI(api_key="none", base_url=self.base_url, max_retries=0, http_client=client)

    def connect_for_batches(self, retries: int) -> openai.OpenAI:
        assert self.provider
        client = http.Client(transport=http.MockTransport(self.provider))
        return openai.OpenAI(api_key="none", base_url=self.base_url, max_retries=0, http_client=client)


def unconnected(provider: Provider, price: Price | None, process: int, concurrency: int) -> OpenAIEngine:
    """The engine in front of it, in a process of that number."""
    limits = Limits(concurrency=concurrency, attempts=60, timeouts=60)
    owner = f"{this_machine()}/{2**22 + 1}/{process}"  # a number above any process's: it has died
    return OpenAIEngine(
        Unconnected("m", "http://provider/v1", limits=limits, price=price, owner=owner, provider=provider)
    )


_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a file need not reach a disk."""


def this_machine() -> str:
    import platform

    return platform.node()


def replay(history: History) -> None:
    """Go through a history. Raises AssertionError, with the history as a note, where money is lost."""
    try:
        _replay(history)
    except BaseException as error:
        error.add_note(repr(history))
        raise


def _replay(history: History) -> None:
    with _hurried(), tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        provider = Provider(history)
        for process, run in enumerate(history.runs):
            _go_on(history, provider, Path(folder) / "store.sqlite", process, run)
        provider.calm()
        largest = Run(max(run.questions for run in history.runs), max(run.samples for run in history.runs))
        assert _go_on(history, provider, Path(folder) / "store.sqlite", len(history.runs), largest)
        with Store(Path(folder) / "store.sqlite") as store:
            assert store.batches("m at provider") == []
            if history.is_exact:
                assert store.spend().unknown == 0, f"the ledger has {store.spend()} where every bill can be told"


def _go_on(history: History, provider: Provider, path: Path, process: int, run: Run) -> bool:
    """One process, and the laws after it; whether it brought all that was wanted."""
    provider.fate = Fate(run.lives)
    engine = unconnected(provider, batched(PRICE) if history.is_batched else PRICE, process, history.concurrency)
    before, delivered = _kept(path, engine), Counter(provider.delivered)
    is_over = False
    with contextlib.closing(MortalStore(path, provider.fate)) as store:
        used = OpenAIBatchEngine(engine, poll=0.0, size=3, attempts=40) if history.is_batched else engine
        try:
            Model("api", used, store)(_wanted(run))
            is_over = True
        except Killed:
            pass
        except (ConfigError, ModelError):
            pass
    assert not provider.bought_again, f"delivered and bought again: {len(provider.bought_again)} samples"
    provider.finish()
    _balance(history, provider, path, engine)
    if run.lives is None and not history.is_batched:
        assert _kept(path, engine) - before == provider.delivered - delivered, "what was delivered is not what is kept"
    return is_over


def _wanted(run: Run) -> list[Request]:
    how = Sampling(temperature=0.7, max_tokens=MAX_TOKENS)
    return [Request((Message("user", question),), how, run.samples) for question in _QUESTIONS[: run.questions]]


_QUESTIONS = ("How many?", "Wie viele sind es? " * 20, "\N{HANGUL SYLLABLE HAN}" * 60, "What is 2 and 2?")
_MOST = Run(len(_QUESTIONS), 3)


def _balance(history: History, provider: Provider, path: Path, engine: OpenAIEngine) -> None:
    """Raise AssertionError where a bill is outside of the ledger's range."""
    question = _question_of(path, engine)
    known: defaultdict[str, float] = defaultdict(float)
    most: defaultdict[str, float] = defaultdict(float)
    with Store(path) as store:
        unread = [batch.token for batch in store.batches("m at provider")]
        for key, dollars, reserved in store._db.execute("SELECT key, dollars, reserved FROM attempt"):
            account = key if history.is_batched else question[key]
            known[account] += dollars or 0.0
            most[account] += reserved if dollars is None else dollars
    for account in {*known, *provider.bills}:
        bill, low, high = provider.knowable(account, unread), known[account], most[account]
        assert low <= provider.bills[account] + 1e-12 and bill <= high + 1e-12, (
            f"the ledger has [{low:.6f}, {high:.6f}] and the provider's bill is {bill:.6f}"
        )


def _question_of(path: Path, engine: OpenAIEngine) -> dict[str, str]:
    """The question of every key."""
    with Store(path) as store:
        draws = Model("api", engine, store).draws(_wanted(_MOST))
    return {draw.key: draw.request.messages[0].content for each in draws for draw in each}


def _kept(path: Path, engine: OpenAIEngine) -> Counter[str]:
    """How many samples of each question are in the store."""
    questions = _question_of(path, engine)
    with Store(path) as store:
        return Counter(questions[key] for key in store.get(list(questions)))


@contextlib.contextmanager
def _hurried() -> Iterator[None]:
    """Without pauses."""
    with mock.patch.object(retry, "LONGEST", 0.0), mock.patch.object(dispatch, "_APART", 0.0):
        yield


def random_history(seed: int) -> History:
    """A history that a seed decides on. A quarter of them hold nothing but what can be told exactly."""
    chance = random.Random(seed)
    is_batched, is_exact = chance.random() < 0.5, chance.random() < 0.25
    kinds = (EXACT_LINES, VAGUE, BROKEN_LINES) if is_batched else ((*EXACT, *REFUSED), VAGUE, BROKEN)
    faults = [chance.choice(kinds[0] if is_exact else chance.choice(kinds)) for _ in range(chance.randint(1, 10))]
    calls = [Call(fault, chance.randrange(len(LENGTHS)), chance.random() < 0.7) for fault in faults]
    runs = [
        Run(chance.randint(1, _MOST.questions), chance.randint(1, _MOST.samples), _lives(chance, is_exact))
        for _ in range(chance.randint(1, 4))
    ]
    troubled = is_batched and not is_exact and chance.random() < 0.7
    endings = [_ending(chance) for _ in range(3)] if troubled else []
    return History(is_batched, tuple(runs), tuple(calls), tuple(endings), 1 if is_batched else chance.randint(1, 3))


def _lives(chance: random.Random, is_exact: bool) -> int | None:
    return None if is_exact or chance.random() < 0.6 else chance.randint(0, 25)


def _ending(chance: random.Random) -> Ending:
    status = chance.choice(["completed", "completed", "expired", "cancelled", "failed"])
    return Ending(
        status,
        chance.choice(["yes", "yes", "before", "after"]),
        chance.choice(["yes", "yes", "500", "404", "HTML", "half"]),
    )


def check(seed: int) -> None:
    """Go through a seed's history. Raises AssertionError with the smallest history at hand that loses money."""
    history = random_history(seed)
    if _fails(history):
        replay(_smallest(history))
        replay(history)


def _smallest(history: History) -> History:
    """A history that fails still, and of which no part can be left out."""
    for name in ("runs", "calls", "endings"):
        parts = getattr(history, name)
        for i in range(len(parts)):
            fields: dict[str, Any] = {name: (*parts[:i], *parts[i + 1 :])}
            smaller = history._replace(**fields)
            if smaller.runs and _fails(smaller):
                return _smallest(smaller)
    return history


def _fails(history: History) -> bool:
    try:
        replay(history)
    except Exception:  # noqa: BLE001  # whatever it is, it is what is looked for
        return True
    return False
