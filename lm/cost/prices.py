"""What a model's tokens cost, and where that is known from. Nothing is invented: unknown stays unknown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import Field

from ...core.settings import Settings
from ..types import Usage
from .flops import ModelSize


class Quote(NamedTuple):
    """What one sample may cost."""

    dollars: float
    """At worst."""
    price: str
    """JSON: the rates, and where they come from."""


class Price(Settings):
    """Dollars per million tokens."""

    prompt: float = Field(ge=0)
    """For what the model reads."""
    completion: float = Field(ge=0)
    """For what it writes."""
    cached: float | None = Field(default=None, ge=0)
    """For prompt tokens that the server reads from its cache; None is the full price."""
    scale: float = Field(default=1.0, gt=0)
    """All three are multiplied by it. Divide-or-Conquer prices a student like its LLM, by its share of the parameters:
    13 / 175."""
    source: str = "config"
    """Where the rates are from: a table, its version, a day. It is written into the ledger beside what was paid."""

    def dollars(self, usage: Usage, flops: float | None = None) -> float:
        """What tokens cost; operations cost nothing beside them."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        dollars = fresh * self.prompt + usage.cached_tokens * cached + usage.completion_tokens * self.completion
        return dollars * self.scale / 1e6

    def quote(self, prompt_tokens: int, completion_tokens: int) -> Quote:
        """What a sample may cost at most, with the rates to be written beside it."""
        return Quote(self.at_most(Usage(prompt_tokens, completion_tokens)), self.stamp)

    def at_most(self, usage: Usage) -> float:
        """What tokens cost where it is unknown which of them come from the cache."""
        prompt = max(self.prompt, self.cached or 0.0)
        return (usage.prompt_tokens * prompt + usage.completion_tokens * self.completion) * self.scale / 1e6

    def rates(self) -> dict[str, Any]:
        """The rates after scaling and their source, as records keep them."""
        return self.scaled(1.0).model_dump(exclude={"scale"})

    @property
    def stamp(self) -> str:
        """The rates and their source, as JSON."""
        return json.dumps(self.rates(), sort_keys=True)

    def scaled(self, factor: float, source: str | None = None) -> Price:
        """Every rate times a factor, in a price whose `scale` is 1."""
        by = self.scale * factor
        return Price(
            prompt=self.prompt * by,
            completion=self.completion * by,
            cached=None if self.cached is None else self.cached * by,
            source=source or self.source,
        )


class MachinePrice(Settings):
    """What a model of one's own costs: the time of the machine, or the operations; both may be given."""

    second: float = Field(default=0.0, ge=0)
    """Dollars per second of the machine that generates."""
    exaflop: float = Field(default=0.0, ge=0)
    """Dollars per 10^18 floating-point operations."""

    def dollars(self, usage: Usage, flops: float | None = None) -> float | None:
        """None where operations are paid for and nobody knows how many they are."""
        if self.exaflop and flops is None:
            return None
        return self.second * usage.seconds + self.exaflop * (flops or 0.0) / 1e18

    def rates(self) -> dict[str, Any]:
        """The rates, as records keep them."""
        return self.model_dump()


AnyPrice = Price | MachinePrice


def prorated(price: AnyPrice | None, own: ModelSize | None, of: ModelSize | None) -> Price | None:
    """The price by tokens of a larger model, times one's own share of its parameters.

    So Divide-or-Conquer prices its student: 13 / 175 of GPT-3.5's price (Wu et al., 2024, section 4). None where the
    price, or either size, is unknown; a machine's time has no share.
    """
    if not isinstance(price, Price) or not own or not of or not of.parameters:
        return None
    share = own.parameters / of.parameters
    return price.scaled(share, f"{price.source}; {share:.4g} of it, by parameters")


def batched(price: Price | None) -> Price | None:
    """What the same tokens cost in a batch."""
    return None if price is None else price.scaled(0.5, f"{price.source}; half of it in a batch")


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
    return Price(prompt=prompt * 1000, completion=completion * 1000, cached=cached * 1000, source=source)
