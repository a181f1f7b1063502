"""What an endpoint is made of: one group of settings each for its models, its limits and its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ..core.settings import Settings
from ..lm.api.options import ApiOptions, TokensKey
from ..lm.cost.prices import MachinePrice, Price, listed
from ..lm.settings import URL, VARIABLE, StudentSettings
from ..tasks.question import GraderName

MOST = 12
"""Sub-questions of a question, whatever is asked for."""

Mode = Literal["off", "static", "interactive"]
"""No sub-questions, all of them at once, or one at a time."""


class DecomposerSettings(Settings):
    """The model that asks the sub-questions."""

    path: Path
    """A distilled decomposer's directory, such as `runs/miniature/decomposer`, or a whole model's."""
    model: StudentSettings | None = None
    """How its base is run (vLLM, a device, a dtype); without it, as the study did that it was distilled in, or else by
    `transformers` from where its card says."""
    prompt: str | None = None
    """What it is asked with; without it, what it was taught with."""
    next: str | None = None
    """What it is asked with for one more sub-question, in interactive mode; without it, `next` beside the one above."""
    max_subquestions: int = Field(default=6, ge=1, le=MOST)
    """Sub-questions of a question, unless a request says less."""
    max_tokens: int | None = Field(default=None, gt=0)
    """Tokens for all of them; without it, as in its study, or else 256."""
    max_question_chars: int = Field(default=8000, gt=0)
    """Characters of a question that is decomposed; a longer one goes through as it is."""
    skip: bool = True
    """Send a question that needs no sub-questions on as it is. If not, it is put into the prompt for one stage."""
    on_failure: Literal["pass", "refuse"] = "pass"
    """What becomes of a request when the decomposer fails: it goes through undivided and says so in a header, or is
    refused with 503."""
    timeout: float = Field(default=20.0, gt=0)
    """Seconds that a decomposition may take, waiting included."""
    concurrency: int = Field(default=32, gt=0)
    """Questions decomposed together."""
    max_queue: int = Field(default=256, gt=0)
    """Questions that may wait for that; more count as failed."""
    cache: int = Field(default=10_000, ge=0)
    """Decompositions that are remembered."""
    price: MachinePrice | None = None
    """What its machine costs; None is unknown, never zero."""


class UpstreamSettings(ApiOptions):
    """The API LLM."""

    url: str = Field(default="https://api.openai.com/v1", pattern=URL)
    """Up to and with the `/v1`; without a key or a password, which belong into the environment."""
    model: str = Field(min_length=1)
    """Its name there, and here."""
    api_key_env: str = Field(default="OPENAI_API_KEY", pattern=VARIABLE)
    """The name of the environment variable that holds the key; a local server needs none."""
    prompts: str = "serve"
    """The family of prompts that it is asked with: a folder of `prompts/`, or the path of one like it."""
    tokenizer: Path | None = None
    """A directory with its tokenizer, if it is known: the control tokens on that list are dropped from decompositions
    too, besides those of the common chat formats."""
    tokens_key: TokensKey | None = None
    """What the server calls the limit of a completion, for requests that set none; without it, as OpenAI's models want
    it at `api.openai.com` (`max_completion_tokens`; those that reason refuse the other), and else `max_tokens`."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds to the last byte of an answer; of a stream, to its first."""
    idle: float = Field(default=30.0, gt=0)
    """Seconds between two pieces of a stream."""
    context: int | None = Field(default=None, gt=0)
    """Tokens that the model holds, prompt and completion together. Keys with a limit in dollars may send pictures and
    files only where it is set: each such request is held back for at so many tokens, for no more can be billed."""
    max_bytes: int = Field(default=4 * 2**20, gt=0)
    """What a reply may be large, before it counts as broken."""
    price: Price | Literal["listed", "unknown"] = "listed"
    """`listed` looks the server and the model up in the table of genai-prices, and is unknown where it has no entry."""

    @property
    def limit(self) -> str:
        """The name of a completion's limit there."""
        is_openai = urlsplit(self.url).hostname == "api.openai.com"
        return self.tokens_key or ("max_completion_tokens" if is_openai else "max_tokens")

    def rates(self) -> Price | None:
        """The price, with its source."""
        if isinstance(self.price, Price):
            return self.price
        return listed(self.model, self.url) if self.price == "listed" else None


class LocalSolverSettings(Settings):
    """A model on this machine that solves, instead of the API LLM or before it."""

    path: str
    """A distilled solver's directory, or a whole model's (`miniature/llm` is one)."""
    model: StudentSettings | None = None
    """How its base is run; without it, as for the decomposer."""
    name: str | None = None
    """What clients call it; without it, its directory's name."""
    prompts: str | None = None
    """The family of prompts that it is asked with; without it, those it was taught with, or else `serve`."""
    concurrency: int = Field(default=32, gt=0)
    """Samples generated together."""
    max_queue: int = Field(default=256, gt=0)
    """Requests that may wait for that; more are refused with 429."""
    price: MachinePrice | None = None
    """What its machine costs; None is unknown, never zero."""


class CascadeSettings(Settings):
    """The local solver first; the API LLM where its samples disagree."""

    share: float = Field(gt=0, le=1)
    """The share of the samples that the winning answer needs, unreadable samples counted."""
    samples: int = Field(default=4, ge=1, le=64)
    """How many the local solver draws."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    """What it draws them at."""


class VoteSettings(Settings):
    """How samples of one question are put together."""

    samples: int = Field(default=1, ge=1, le=64)
    """How many are asked for, unless a request says otherwise (`k`)."""
    rule: str = "sc"
    """How they vote: `sc` counts, `asc` weighs by the ranker, `ws` by their probability; see docs/how-to/votes.md."""
    ranker: Path | None = None
    """A ranker's directory, such as `runs/x/ranker`."""
    grader: GraderName = "math"
    """How answers are read and compared."""
    algebra: bool = False
    """Ask computer algebra too whether two answers are one. It can be kept busy for minutes by answers made for it."""
    timeout: float = Field(default=20.0, gt=0)
    """Seconds that a vote may take. After that nobody is elected, as where no answer can be read."""


class LimitSettings(Settings):
    """How much may be asked at once, and how patiently."""

    concurrency: int = Field(default=64, gt=0)
    """Requests in work."""
    max_queue: int = Field(default=256, ge=0)
    """Requests that wait for a place; more are refused with 429."""
    queue_timeout: float = Field(default=30.0, gt=0)
    """Seconds that a request waits for a place."""
    key_share: float = Field(default=0.5, gt=0, le=1)
    """The part of `concurrency`, of `max_queue` and of `held_bytes` that one key may take, and of a local model's
    queue; what it asks for beyond that waits, or is refused with 429, while other keys are let in. Without keys there
    is no such limit."""
    body_bytes: int = Field(default=2**20, gt=0)
    """What a request may be large."""
    held_bytes: int = Field(default=32 * 2**20, gt=0)
    """What all requests that arrive, wait or are in work may be large together; more are refused with 429. A request
    that is read can take many times its size."""
    n: int = Field(default=8, ge=1)
    """Choices that a request may ask for."""
    samples: int = Field(default=16, ge=1)
    """Samples that a request may vote over (`k`)."""
    max_tokens: int | None = Field(default=4096, gt=0)
    """Tokens of a completion; a request that asks for more, or does not say, gets this limit. None is no limit."""
    head_timeout: float = Field(default=15.0, gt=0)
    """Seconds for a request's head to arrive, from when its connection opens or its predecessor is answered."""
    body_timeout: float = Field(default=30.0, gt=0)
    """Seconds for its body."""
    write_timeout: float = Field(default=30.0, gt=0)
    """Seconds that a client may take nothing of its answer."""
    stream_timeout: float = Field(default=600.0, gt=0)
    """Seconds that a stream may take from its place to its end, however slowly it is written or read; then it ends with
    an error."""
    shutdown_timeout: int = Field(default=120, ge=0)
    """Seconds that requests in work have left when the server is told to stop."""


class ServeSettings(Settings):
    """An endpoint: a decomposer in front of an API LLM, of a local model, or of both."""

    decomposer: DecomposerSettings | None = None
    """Without one, questions go through as they are."""
    upstream: UpstreamSettings | None = None
    """The API LLM; without one, `local` answers."""
    local: LocalSolverSettings | None = None
    """A model on this machine."""
    cascade: CascadeSettings | None = None
    """With `local` and `upstream`: who answers when."""
    mode: Mode = "static"
    """What is done unless a request says otherwise."""
    vote: VoteSettings = VoteSettings()
    """Several samples a question."""
    limits: LimitSettings = LimitSettings()
    """Of all requests; a key has limits of its own."""
    host: str = "127.0.0.1"
    """Where to listen. Elsewhere than on loopback, `keys` must be there."""
    port: int = Field(default=8000, ge=0, le=65535)
    """0 is any that is free."""
    keys: Path | None = None
    """The file of `divcon keys`; without one everybody on this machine may ask."""
    spent: Path | None = None
    """Where what each key has spent today is kept; without it, beside `keys`."""

    @model_validator(mode="after")
    def _somebody_answers(self) -> Self:
        if self.upstream is None and self.local is None:
            raise ValueError("nobody answers: give upstream (--upstream URL --model NAME) or local (--local DIR)")
        if self.cascade and not (self.upstream and self.local):
            raise ValueError("a cascade needs both local and upstream")
        if self.upstream and self.local and not self.cascade:
            raise ValueError("local and upstream both answer: cascade (--set cascade.share=0.75) says who does when")
        return self
