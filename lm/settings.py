"""Which model, where, and at what price: one small class an engine, told apart by `engine:` in the config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..tasks.settings import Settings
from .cost import Price
from .engine import Engine
from .weights import Dtype


class PriceSettings(Settings):
    """Dollars per million tokens."""

    prompt: float = Field(ge=0)
    """For what the model reads."""
    completion: float = Field(ge=0)
    """For what it writes."""
    cached: float | None = Field(default=None, ge=0)
    """For prompt tokens that the server reads from its cache; None is the full price."""

    def price(self) -> Price:
        return Price(self.prompt, self.completion, self.cached)


class TransformersSettings(Settings):
    """A model on this machine."""

    engine: Literal["transformers"]
    path: str
    """A model directory, `miniature/llm`, `miniature/base`, or the name of a model on the hub."""
    dtype: Dtype = "auto"
    """`auto` is bfloat16 where the processor computes in it; only float32 repeats exactly."""
    batch: int = Field(default=32, gt=0)
    """Samples generated at once."""
    device: str = "auto"
    """A torch device; `auto` is the first GPU, else the processor."""
    price: PriceSettings | None = None
    """None is unknown, never zero: cells that use the model have no dollar figure."""

    def open(self) -> Engine:
        from .transformers import Transformers

        return Transformers(self.path, dtype=self.dtype, batch=self.batch, device=self.device)


class OpenAISettings(Settings):
    """A model behind an OpenAI-compatible server."""

    engine: Literal["openai"]
    model: str
    """Its name there."""
    base_url: str = Field(default="https://api.openai.com/v1", pattern=r"^https?://[^/]")
    """Up to and with the `/v1`."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; a local server needs none."""
    concurrency: int = Field(default=16, gt=0)
    """Requests in flight."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds for one attempt."""
    attempts: int = Field(default=6, gt=0)
    """How often a failed request is sent before the run stops."""
    parameters: int | None = Field(default=None, gt=0)
    """Its size, if you know it; floating-point operations are counted with it and are unknown without."""
    price: PriceSettings | None = None
    """None is unknown, never zero: cells that use the model have no dollar figure."""

    def open(self) -> Engine:
        from .openai import OpenAI

        return OpenAI(
            self.model,
            base_url=self.base_url,
            api_key_env=self.api_key_env,
            concurrency=self.concurrency,
            timeout=self.timeout,
            attempts=self.attempts,
            parameters=self.parameters,
        )


ModelSettings = Annotated[TransformersSettings | OpenAISettings, Field(discriminator="engine")]
