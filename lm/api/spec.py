"""What is asked of a model behind a URL, and what it may cost: everything but the calls themselves."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...core.errors import ConfigError
from ...core.redact import redactor
from ..cost.prices import Price, Quote
from ..store.ledger import this_process
from ..types import SampleRequest, Thinking, Usage
from .limits import Limits
from .options import FIXED, ApiOptions, TokensKey
from .thinking import Fields, ThinkingStyle, fields, style_of
from .token_estimate import at_most

if TYPE_CHECKING:
    import openai

_SHORT = 4
"""Characters of a key that is no secret, but a word such as `none`."""


@dataclass(frozen=True)
class ApiSpec:
    """A model at an OpenAI-compatible endpoint, and how it is asked."""

    model: str
    base_url: str
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; it is read when the first request is sent."""
    limits: Limits = field(default_factory=Limits)
    price: Price | None = None
    budget: float | None = None
    """What the store's attempts may cost together, in dollars; needs a price."""
    together: bool = True
    """Ask for the samples of a prompt in one request."""
    tokens_key: TokensKey = "max_tokens"
    """What the server calls the limit of a completion."""
    clean: Callable[[str], str] = str
    """Done to every message."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Sent with every request, for engines that want it."""
    options: ApiOptions = field(default_factory=ApiOptions)
    """What this server wants otherwise."""
    thinking_style: ThinkingStyle | None = None
    """How `thinking` is said to it; None chooses by its host."""
    owner: str = field(default_factory=this_process)
    """Who reserves what is bought."""
    known_as: str | None = None
    """The base URL at which samples were bought before the server moved (`--relocate`)."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a request whose cost could not be computed, and for a budget without a price."""
        if fixed := sorted(FIXED & self.extra.keys()):
            raise ConfigError(
                f"extra holds {', '.join(fixed)}, which the engine decides on: what a call costs depends on it"
            )
        if self.budget is not None and self.price is None:
            raise ConfigError(f"max_usd cannot be kept: the price of {self.model} is unknown; give it under price")

    @property
    def name(self) -> str:
        """The model and where it runs, as the ledger has it."""
        return f"{self.model} at {self.host}"

    @property
    def host(self) -> str:
        """Where samples are bought, as their keys have it."""
        return host(self.known_as or self.base_url)

    def key(self) -> str:
        """The key, from the environment."""
        return key(self.api_key_env)

    def connect(self) -> openai.AsyncOpenAI:
        """A client that makes no call twice by itself: nobody could count it."""
        from .clients import opened_async  # the SDK takes a second to import

        return opened_async(self.key(), self.base_url, options=self.options, timeout=None, max_retries=0)

    def connect_for_batches(self, retries: int) -> openai.OpenAI:
        """A client for calls that are not billed, which it may repeat."""
        from .clients import MOST_OF_A_FILE, opened

        return opened(
            self.key(), self.base_url, MOST_OF_A_FILE, options=self.options, timeout=120.0, max_retries=retries
        )

    def scrubbed(self, text: str) -> str:
        """A server's words without the key, should it repeat it."""
        return redact_key(text, self.key())

    def body(self, draws: Sequence[SampleRequest]) -> dict[str, Any]:
        """What is asked for samples of one request."""
        request = draws[0].request
        sampling = request.sampling
        parameters: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": draws[0].seed % 2**31,
            self.tokens_key: sampling.max_tokens,
        }
        if sampling.stop:
            parameters["stop"] = list(sampling.stop)
        if len(draws) > 1:
            parameters["n"] = len(draws)
        if request.logprobs:
            parameters["logprobs"] = True
        return {
            "model": self.model,
            "messages": [{"role": m.role, "content": self.clean(m.content)} for m in request.messages],
            **{name: value for name, value in parameters.items() if name not in self.options.drop},
            **_merged(self._thinking(request.thinking), self.options.extra_body),
            **self.extra,
        }

    def _thinking(self, thinking: Thinking | None) -> Fields:
        return fields(thinking, self.thinking_style or style_of(self.base_url)) if thinking else {}

    @property
    def revision(self) -> str:
        """What tells its answers from those of the same model asked otherwise; empty where it is asked as usual."""
        changes = {
            "drop": sorted(self.options.drop),
            "extra_body": self.options.extra_body,
            "thinking_style": self.thinking_style,
        }
        said = {name: value for name, value in changes.items() if value}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12] if said else ""

    def quote(self, draws: Sequence[SampleRequest]) -> Quote | None:
        """What each of these samples may cost at most; None without a price."""
        if self.price is None:
            return None
        sent = {**self.options.extra_body, **self.extra}
        extra = len(json.dumps(sent)) if sent else 0
        cleaned = {draw.request.messages: None for draw in draws}
        prompt = max(at_most([m._replace(content=self.clean(m.content)) for m in messages]) for messages in cleaned)
        return self.price.quote(prompt + extra, max(draw.request.sampling.max_tokens for draw in draws))

    def worst(self, draws: Sequence[SampleRequest], stated: Usage | None, beyond: int = 0) -> float:
        """Dollars that a call for these samples may have cost, when nobody knows: what was reserved for it and `beyond`
        more completion tokens, or what the server has `stated`, should that be more.
        """
        if self.price is None:
            return 0.0
        reserved = sum(quote.dollars for draw in draws if (quote := self.quote([draw])))
        return max(reserved + self.price.at_most(Usage(0, beyond)), self.price.at_most(stated or Usage()))


def _merged(said: Fields, extra: Mapping[str, Any]) -> Fields:
    """Two sets of fields; objects that both have hold what each of them says, and elsewhere `extra` wins."""
    both = {name: {**said[name], **extra[name]} for name in said.keys() & extra.keys() if isinstance(said[name], dict)}
    return {**said, **extra, **both}


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
