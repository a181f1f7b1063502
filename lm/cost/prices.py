"""What a model's tokens cost, and where that is known from. Nothing is invented: unknown stays unknown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from ..types import Usage
from .flops import ModelSize


class Quote(NamedTuple):
    """What one sample may cost."""

    dollars: float
    """At worst."""
    price: str
    """JSON: the rates, and where they come from."""


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens."""

    prompt: float
    completion: float
    cached: float | None = None
    """For prompt tokens read from the server's cache; None means the full price."""
    source: str = "config"
    """Which table the rates come from, of which version and day."""

    def dollars(self, usage: Usage, flops: float | None = None) -> float:
        """What tokens cost; operations cost nothing beside them."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        return (fresh * self.prompt + usage.cached_tokens * cached + usage.completion_tokens * self.completion) / 1e6

    def quote(self, prompt_tokens: int, completion_tokens: int) -> Quote:
        """What a sample may cost at most, with the rates to be written beside it."""
        return Quote(self.at_most(Usage(prompt_tokens, completion_tokens)), self.stamp)

    def at_most(self, usage: Usage) -> float:
        """What tokens cost where it is unknown which of them come from the cache."""
        return (
            usage.prompt_tokens * max(self.prompt, self.cached or 0.0) + usage.completion_tokens * self.completion
        ) / 1e6

    @property
    def stamp(self) -> str:
        """The rates and their source, as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    def scaled(self, factor: float) -> Price:
        """Every rate times a factor."""
        cached = None if self.cached is None else self.cached * factor
        return replace(self, prompt=self.prompt * factor, completion=self.completion * factor, cached=cached)


@dataclass(frozen=True)
class MachinePrice:
    """What a model of one's own costs: the time of the machine, or the operations."""

    second: float = 0.0
    """Dollars a second of the machine that generates."""
    exaflop: float = 0.0
    """Dollars for 10^18 floating-point operations."""

    def dollars(self, usage: Usage, flops: float | None = None) -> float | None:
        """None where operations are paid for and nobody knows how many they are."""
        if self.exaflop and flops is None:
            return None
        return self.second * usage.seconds + self.exaflop * (flops or 0.0) / 1e18


AnyPrice = Price | MachinePrice


def prorated(price: AnyPrice | None, own: ModelSize | None, of: ModelSize | None) -> Price | None:
    """The price by tokens of a larger model, times one's own share of its parameters.

    So Divide-or-Conquer prices its student: 13 / 175 of GPT-3.5's price (Wu et al., 2024, section 4). None where the
    price, or either size, is unknown; a machine's time has no share.
    """
    if not isinstance(price, Price) or not own or not of or not of.parameters:
        return None
    share = own.parameters / of.parameters
    return replace(price.scaled(share), source=f"{price.source}; {share:.4g} of it, by parameters")


def batched(price: Price | None) -> Price | None:
    """What the same tokens cost in a batch."""
    return None if price is None else replace(price.scaled(0.5), source=f"{price.source}; half of it in a batch")


@lru_cache(maxsize=64)
def listed(model: str, base_url: str) -> Price | None:
    """The price in the table of genai-prices that ships with the installed version; None where it has none."""
    import genai_prices

    def dollars(**tokens: int) -> float:
        usage = genai_prices.Usage(**tokens)
        return float(genai_prices.calc_price(usage, model, provider_api_url=base_url).total_price)

    thousand = 1000
    try:
        prompt, completion = dollars(input_tokens=thousand), dollars(output_tokens=thousand)
        cached = dollars(input_tokens=thousand, cache_read_tokens=thousand)
    except LookupError:
        return None
    source = f"genai-prices {genai_prices.__version__}, {datetime.now(UTC):%Y-%m-%d}"
    return Price(prompt * 1000, completion * 1000, cached * 1000, source)
