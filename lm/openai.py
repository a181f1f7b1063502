"""The engine behind a URL: any server that speaks the OpenAI chat-completions API.

The SDK's own retries are off, since nobody could count them: every attempt is in the ledger before it is sent
(`ledger`), what is tried again is decided in one place (`retry`), and so is how much is asked at once (`pace`).
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from ..tasks.errors import ConfigError
from .buying import Buying
from .completion import Draw, Usage
from .cost import Footprint
from .engine import Finished, Identity, Pulse
from .estimate import at_most
from .ledger import this_process
from .prices import Price, Quote
from .redact import redactor
from .store import Store

if TYPE_CHECKING:
    import openai

TokensKey = Literal["max_tokens", "max_completion_tokens"]
_SHORT = 4
"""Characters of a key that is no secret, but a word such as `none`."""
_FIXED = frozenset(
    {"model", "models", "messages", "n", "best_of", "max_tokens", "max_completion_tokens", "stream", "use_beam_search"}
)
"""What a request's cost is computed from."""


@dataclass(frozen=True)
class Limits:
    """How hard a server may be asked."""

    concurrency: int = 16
    """Requests in flight at most; fewer while the server says that it is crowded."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """Of prompts (estimated) and completions (at their limit)."""
    timeout: float = 120.0
    """Seconds for one attempt, to the last byte of its answer."""
    attempts: int = 6
    """How often a failed request is sent before the run stops."""
    timeouts: int = 2
    """How often a request that timed out is sent: each time it may have been billed."""


class OpenAI:
    """A model at an OpenAI-compatible endpoint."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key_env: str = "OPENAI_API_KEY",
        limits: Limits = Limits(),  # frozen
        parameters: int | None = None,
        price: Price | None = None,
        budget: float | None = None,
        together: bool = True,
        tokens_key: TokensKey = "max_tokens",
        clean: Callable[[str], str] = str,
        extra: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """`parameters` is the size that floating-point operations are counted with; None leaves them unknown.

        The key is read from the environment variable `api_key_env` when the first request is sent. `budget` is what
        the store's attempts may cost together, in dollars, and needs a `price`. `together` asks for the samples of a
        prompt in one request. `tokens_key` is what the server calls the limit of a completion. `clean` is done to every
        message, and `extra` is sent with every request, for servers that want it.
        """
        if fixed := sorted(_FIXED & extra.keys()):
            raise ConfigError(
                f"extra holds {', '.join(fixed)}, which the engine decides on: what a call costs depends on it"
            )
        if budget is not None and price is None:
            raise ConfigError(f"max_usd cannot be kept: the price of {model} is unknown; give it under price")
        self.model = model
        self.base_url = base_url
        self._api_key_env = api_key_env
        self.limits = limits
        self._parameters = parameters
        self.price = price
        self.budget = budget
        self.together = together
        self._tokens_key = tokens_key
        self._clean = clean
        self._extra = extra
        self.owner = this_process()
        self.retries: Counter[str] = Counter()
        self.at_once = 0

    def identity(self, adapter: Path | None) -> Identity:
        if adapter is not None:
            raise ConfigError(f"{self.model} runs behind {self.base_url}: an adapter cannot be loaded into it")
        return Identity(host(self.base_url), self.model, "")

    def footprint(self, adapter: Path | None) -> Footprint | None:
        return Footprint(self._parameters) if self._parameters else None

    @property
    def name(self) -> str:
        """The model and where it runs, as the ledger has it."""
        return f"{self.model} at {self.identity(None).host}"

    def key(self) -> str:
        """The key, from the environment."""
        return key(self._api_key_env)

    def connect(self) -> openai.AsyncOpenAI:
        """A client that makes no call twice by itself: nobody could count it."""
        from .clients import opened_async

        return opened_async(self.key(), self.base_url, timeout=None, max_retries=0)

    def connect_for_batches(self, retries: int) -> openai.OpenAI:
        """A client for calls that are not billed, which it may repeat."""
        from .clients import MOST_OF_A_FILE, opened

        return opened(self.key(), self.base_url, MOST_OF_A_FILE, timeout=120.0, max_retries=retries)

    def scrubbed(self, text: str) -> str:
        """A server's words without the key, should it repeat it."""
        return redact_key(text, self.key())

    def body(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """What is asked for samples of one request."""
        request = draws[0].request
        sampling = request.sampling
        options: dict[str, Any] = {self._tokens_key: sampling.max_tokens}
        if sampling.stop:
            options["stop"] = list(sampling.stop)
        if len(draws) > 1:
            options["n"] = len(draws)
        if request.logprobs:
            options["logprobs"] = True
        return {
            "model": self.model,
            "messages": [{"role": m.role, "content": self._clean(m.content)} for m in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": draws[0].seed % 2**31,
            **options,
            **self._extra,
        }

    def quote(self, draws: Sequence[Draw]) -> Quote | None:
        """What each of these samples may cost at most; None without a price."""
        if self.price is None:
            return None
        extra = len(json.dumps(dict(self._extra))) if self._extra else 0
        cleaned = {draw.request.messages: None for draw in draws}
        prompt = max(at_most([m._replace(content=self._clean(m.content)) for m in messages]) for messages in cleaned)
        return self.price.quote(prompt + extra, max(draw.request.sampling.max_tokens for draw in draws))

    def worst(self, draws: Sequence[Draw], stated: Usage | None, beyond: int = 0) -> float:
        """Dollars that a call for these samples may have cost, when nobody knows: what was reserved for it and `beyond`
        more completion tokens, or what the server has `stated`, should that be more.
        """
        if self.price is None:
            return 0.0
        reserved = sum(quote.dollars for draw in draws if (quote := self.quote([draw])))
        return max(reserved + self.price.at_most(Usage(0, beyond)), self.price.at_most(stated or Usage()))

    def pulse(self) -> Pulse:
        return Pulse(self.at_once, dict(self.retries))

    def generate(
        self, draws: Sequence[Draw], missing: Set[str], store: Store, adapter: Path | None
    ) -> Iterator[Finished]:
        """Yield completions when they arrive. After a failure nothing new is sent, but what is in flight is kept."""
        wanted = [draw for draw in draws if draw.key in missing]
        submitted = {key for batch in store.batches(self.name) for key in batch.attempts}
        if waiting := sum(draw.key in submitted for draw in wanted):
            raise ConfigError(
                f"{waiting:,} of these samples are in batches that were submitted to {self.name}, and would be bought "
                "twice; go on with batch: true until they have come"
            )
        arrived: queue.SimpleQueue[Finished | BaseException | None] = queue.SimpleQueue()
        buying = Buying(self, store, arrived)
        # A thread of its own, since the caller's may run an event loop already (a notebook's does).
        thread = threading.Thread(target=buying.run, args=(wanted,), name=f"buying from {self.model}", daemon=True)
        thread.start()
        try:
            while (item := arrived.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            buying.stop()
            thread.join()


def host(url: str) -> str:
    """Where a server is, without what a URL may hold besides."""
    return urlsplit(url).netloc.rpartition("@")[2]


def key(variable: str) -> str:
    """The key in an environment variable; a local server wants none, and the client insists on one."""
    return secret(variable) or "none"


def redact_key(text: str, key: str) -> str:
    """A text without a key in any spelling."""
    return redactor(key)(text) if len(key) > _SHORT else text


def secret(variable: str) -> str:
    """The API key in an environment variable, without the blanks around it; empty where there is none.

    Raises ConfigError, without showing the key, when it holds what no header can.
    """
    found = os.environ.get(variable, "").strip()
    wrong = next((i for i, character in enumerate(found) if not "!" <= character <= "~"), None)
    if wrong is not None:
        raise ConfigError(
            f"the key in {variable} holds a blank, a typographic sign or another character that no key has (at place "
            f"{wrong + 1} of {len(found)}); copy it anew"
        )
    return found
