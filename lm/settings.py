"""Which model, where, and at what price: one small class an engine, told apart by `engine:` in the config."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from ..core.settings import OPERATIONAL, Settings
from .api.limits import Limits
from .api.options import ApiOptions, TokensKey
from .api.thinking import ThinkingStyle
from .cost.prices import AnyPrice, MachinePrice, Price, batched, listed
from .engine import Engine
from .local.weights import Dtype, is_local
from .types import Thinking

URL = r"^https?://[^/?#@\s]+(?:/[^?#@\s]*)?$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"


class SharePriceSettings(Settings):
    """The price of a larger model, by one's share of its parameters."""

    like: Literal["llm"]
    """Whose price by tokens is scaled by parameters, as in Divide-or-Conquer: unknown where that price, or either size,
    is unknown. Only a student may be priced so."""


def _kind(price: object) -> str:
    """Which of the three a price is, by its keys."""
    keys = set(price if isinstance(price, dict) else vars(price) if isinstance(price, Settings) else {})
    return "share" if "like" in keys else "machine" if {"second", "exaflop"} & keys else "tokens"


OwnPrice = Annotated[
    Annotated[Price, Tag("tokens")]
    | Annotated[MachinePrice, Tag("machine")]
    | Annotated[SharePriceSettings, Tag("share")],
    Discriminator(_kind),
]


def _thinking(said: object) -> object:
    """A setting of thinking as a value: YAML reads off and on as false and true."""
    match said:
        case False | "off":
            return {"on": False}
        case True | "on":
            return {"on": True}
        case {"budget": int() as budget, **rest} if not rest and not isinstance(budget, bool):
            return {"on": True, "budget": budget}
        case {"effort": str() as effort, **rest} if not rest:
            return {"on": True, "effort": effort}
        case Thinking() | {"on": True, "budget": _, "effort": _} | {"on": False, "budget": None, "effort": None}:
            return said
    raise ValueError("thinking is off, on, {budget: N} (tokens) or {effort: minimal, low, medium or high}")


class ThinkingSettings(Settings):
    """What models that reason before they reply are told of it."""

    thinking: Annotated[Thinking, BeforeValidator(_thinking)] | None = None
    """`off`, `on`, `{budget: N}` (tokens of reasoning at most, besides `max_tokens`) or `{effort: low}`. None leaves it
    to the model."""

    @field_validator("thinking")
    @classmethod
    def _has_a_positive_budget(cls, thinking: Thinking | None) -> Thinking | None:
        if thinking and thinking.budget is not None and thinking.budget < 1:
            raise ValueError(f"a budget of {thinking.budget} tokens: to reason not at all, say thinking: off")
        return thinking


class LocalSettings(ThinkingSettings):
    """A model whose weights are on this machine."""

    path: str
    """A model directory, `miniature/llm`, `miniature/base`, or the name of a model on the hub."""
    dtype: Dtype = "auto"
    """`auto` is bfloat16 where the processor computes in it; only float32 repeats exactly."""
    device: str = Field(default="auto", json_schema_extra=OPERATIONAL)
    """A torch device; `auto` is the first GPU, else the processor."""
    price: OwnPrice | None = None
    """By tokens, by the machine's `second` or `exaflop`, or for a student `{like: llm}`. None is unknown, never zero:
    cells that use the model have no dollar figure."""

    @property
    def is_local(self) -> bool:
        """Whether the model lies on this machine, and need not be downloaded."""
        return is_local(self.path)

    def rates(self) -> AnyPrice | None:
        """The price, where rates are given; one like another model's is not known from here."""
        return None if isinstance(self.price, SharePriceSettings) else self.price


class TransformersSettings(LocalSettings):
    """A model that `transformers` generates with: anywhere, repeatably."""

    engine: Literal["transformers"]
    concurrency: int = Field(default=32, gt=0, json_schema_extra=OPERATIONAL)
    """Samples generated at once."""

    def open(self, budget: float | None = None, adapters: int = 0, known_as: str | None = None) -> Engine:
        """A model of one's own spends no dollars, so that no `budget` binds it; any number of `adapters` fits.

        `known_as` is the name of its directory when its samples were made, if it was renamed since.
        """
        from .engines.transformers import Transformers

        engine = Transformers(self.path, dtype=self.dtype, concurrency=self.concurrency, device=self.device)
        engine.local.known_as = known_as
        return engine


class VLLMSettings(LocalSettings):
    """A model that vLLM generates with: many samples a second. It takes the device it was built for; a student is
    trained on `device`."""

    engine: Literal["vllm"]
    concurrency: int = Field(default=256, gt=0, json_schema_extra=OPERATIONAL)
    """Samples generated together."""
    cache: float = Field(default=4.0, gt=0, json_schema_extra=OPERATIONAL)
    """GiB for the keys and values of the samples that are being generated and of the prompts before them."""
    context: int | None = Field(default=None, gt=0, json_schema_extra=OPERATIONAL)
    """The longest prompt and completion together, in tokens; None is the model's own limit."""
    rank: int = Field(default=16, gt=0, le=512)
    """The largest adapter that can be loaded."""
    served: str | None = Field(default=None, pattern=URL)
    """Ask a `vllm serve` of the same base here (up to and with the `/v1`), instead of running vLLM in this process. An
    adapter is asked for by the name of its directory, `decomposer` or `solver`."""
    api_key_env: str = Field(default="VLLM_API_KEY", pattern=VARIABLE, json_schema_extra=OPERATIONAL)
    """The name of the environment variable that holds that server's key, if it wants one."""

    @model_validator(mode="after")
    def _keeps_to_budgets(self) -> Self:
        if self.thinking and self.thinking.budget is not None and self.served is None:
            raise ValueError(
                "vLLM in this process keeps to no budget of reasoning: say thinking: on, take engine: transformers, or "
                "ask a `vllm serve --reasoning-parser ...` (served)"
            )
        return self

    def open(self, budget: float | None = None, adapters: int = 0, known_as: str | None = None) -> Engine:
        """A model of one's own spends no dollars, so that no `budget` binds it. `adapters` is how many it will have.

        `known_as` is the name of its directory when its samples were made, if it was renamed since.
        """
        if self.served is not None:
            from .engines.vllm_server import VLLMServer

            limits = Limits(concurrency=self.concurrency, timeout=600.0)
            key = self.api_key_env
            return VLLMServer(self.path, self.served, api_key_env=key, limits=limits, known_as=known_as)
        from .engines.vllm import VLLM

        engine = VLLM(
            self.path,
            dtype=self.dtype,
            concurrency=self.concurrency,
            cache=self.cache,
            context=self.context,
            adapters=adapters,
            rank=self.rank,
        )
        engine.local.known_as = known_as
        return engine


class OpenAISettings(Limits, ApiOptions, ThinkingSettings):
    """A model behind an OpenAI-compatible server."""

    engine: Literal["openai"]
    model: str
    """Its name there."""
    base_url: str = Field(default="https://api.openai.com/v1", pattern=URL)
    """Up to and with the `/v1`; without a key or a password, which belong into the environment."""
    api_key_env: str = Field(default="OPENAI_API_KEY", pattern=VARIABLE, json_schema_extra=OPERATIONAL)
    """The name of the environment variable that holds the key; a local server needs none."""
    together: bool = Field(default=True, json_schema_extra=OPERATIONAL)
    """Ask for the samples of a prompt in one request (`n`), which bills the prompt once. A server that returns fewer is
    asked for the rest."""
    tokens_key: TokensKey = "max_tokens"
    """What the server calls the limit of a completion; models that reason want the second."""
    thinking_style: ThinkingStyle | None = None
    """How `thinking` is said to the server; None chooses by its host, and for unknown ones `chat_template_kwargs`."""
    batch_api: bool = Field(default=False, json_schema_extra=OPERATIONAL)
    """Ask by the Batch API: half of `price`, answered within a day. A run that is stopped finds its batches again."""
    poll: float = Field(default=30.0, gt=0, json_schema_extra=OPERATIONAL)
    """Seconds between two looks at a batch."""
    parameters: int | None = Field(default=None, gt=0)
    """Its size, if you know it; floating-point operations are counted with it and are unknown without."""
    price: Price | Literal["listed", "unknown"] = "listed"
    """`listed` looks the server and the model up in the table of genai-prices, and is unknown where it has no entry.
    Unknown is never zero: cells that use the model have no dollar figure then."""

    def rates(self) -> Price | None:
        """The price, with its source."""
        if isinstance(self.price, Price):
            price: Price | None = self.price
        else:
            price = listed(self.model, self.base_url) if self.price == "listed" else None
        return batched(price) if self.batch_api else price

    def open(self, budget: float | None = None, known_as: str | None = None) -> Engine:
        """`budget` is what all attempts in a store may cost together, in dollars; `known_as` is the base URL at which
        its samples were bought, if the server has moved since."""
        from .api.engine import OpenAIEngine
        from .api.spec import ApiSpec

        engine = OpenAIEngine(
            ApiSpec(
                self.model,
                base_url=self.base_url,
                api_key_env=self.api_key_env,
                limits=self,
                price=self.rates(),
                budget=budget,
                together=self.together,
                tokens_key=self.tokens_key,
                options=self,
                thinking_style=self.thinking_style,
                known_as=known_as,
            ),
            parameters=self.parameters,
        )
        if not self.batch_api:
            return engine
        from .api.batch import OpenAIBatchEngine

        return OpenAIBatchEngine(engine, poll=self.poll)


ModelSettings = Annotated[TransformersSettings | VLLMSettings | OpenAISettings, Field(discriminator="engine")]
StudentSettings = Annotated[TransformersSettings | VLLMSettings, Field(discriminator="engine")]
"""What can be trained: a model whose weights are here."""
