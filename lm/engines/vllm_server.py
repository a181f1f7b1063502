"""The engine behind `vllm serve`: one base and its adapters, each under a name of its own.

The server's replies come by the OpenAI API, with what that API leaves to the server said aloud: the model's own
sampling defaults are put off, its turns end where ours do, and no text of ours opens a turn.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from ...core.errors import ConfigError, ModelError
from ..api.engine import OpenAIEngine
from ..api.limits import Limits
from ..api.retry import refusal
from ..api.spec import ApiSpec, host, key, redact_key
from ..cost.flops import ModelSize
from ..engine import EngineStatus, Identity
from ..local.chat_template import without_control_tokens
from ..local.model_dir import ModelDirectory
from ..local.probe import check_served
from ..local.streaming import special_reasoning_tokens
from ..recorder import Finished, PurchaseRecorder
from ..types import SampleRequest
from .vllm import lora_rank, servable

_PLAIN = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Samples are drawn from the model alone, whatever its published defaults are."""
_PATIENCE = 10.0
"""Seconds for the server to say what it serves."""


class _Served(NamedTuple):
    """One model of a server's."""

    name: str
    root: str | None
    """Where it was loaded from."""
    parent: str | None
    """An adapter's base."""


class VLLMServer:
    """A model directory that a `vllm serve` has loaded; its adapters are called by their directories' names."""

    def __init__(self, path: str, url: str, *, api_key_env: str, limits: Limits, known_as: str | None = None) -> None:
        """`path` is the base that the server was started with: its hash, its size and its tokenizer are read here.
        `known_as` is the name of its directory when its samples were made, if it was renamed since."""
        self._local = ModelDirectory(path)
        self._local.known_as = known_as
        self._url = url
        self._api_key_env = api_key_env
        self._limits = limits
        self._engines: dict[str, OpenAIEngine] = {}
        self._checked: set[Path] = set()
        """Adapters that the server was seen to serve."""

    def identity(self, adapter: Path | None) -> Identity:
        if adapter:
            servable(adapter)
        return self._local.identity(host(self._url), adapter.name if adapter else self._local.name, adapter)

    def footprint(self, adapter: Path | None) -> ModelSize:
        return self._local.footprint(adapter)

    def status(self) -> EngineStatus:
        statuses = [engine.status() for engine in self._engines.values()]
        retries: Counter[str] = sum((Counter(status.retries) for status in statuses), Counter())
        return EngineStatus(sum(status.at_once for status in statuses), retries)

    def generate(
        self,
        draws: Sequence[SampleRequest],
        record: PurchaseRecorder,
        adapter: Path | None = None,
        *,
        planned: Sequence[SampleRequest] = (),
    ) -> Iterator[Finished]:
        yield from self._engine(self._name(adapter)).generate(draws, record, planned=planned)

    def _name(self, adapter: Path | None) -> str:
        """What the server calls the base, or an adapter. Raises ConfigError when it serves another."""
        directory = adapter or self._local.directory
        wanted = [model for model in self._served if (model.parent is not None) == (adapter is not None)]
        if adapter is not None:
            wanted = [model for model in wanted if model.name == adapter.name]
        if not wanted:
            raise ConfigError(f"{self._url} does not serve {directory}; {self._start(adapter)}")
        served = wanted[0]
        if _is_elsewhere(served.root, directory):
            raise ConfigError(
                self._redacted(f"{self._url} serves {served.root} under the name {served.name}, and not {directory}")
                + f"; {self._start(adapter)}"
            )
        if adapter is not None and adapter not in self._checked:
            score = partial(self._logprobs, self._name(None), served.name)
            check_served(adapter, self._local.tokenizer, score, self._url)
            self._checked.add(adapter)
        return served.name

    def _logprobs(self, base: str, adapter: str, tokens: Sequence[int], adapted: bool) -> list[float]:
        """Of each token of a prompt but the first, by the served base or adapter."""
        import openai

        from ..api.clients import opened

        body = {"model": adapter if adapted else base, "prompt": list(tokens), "max_tokens": 1, "prompt_logprobs": 0}
        try:
            with opened(key(self._api_key_env), self._url, max_retries=2, timeout=_PATIENCE) as client:
                content = client.post("/completions", body=body, cast_to=str)
            scores = json.loads(content)["choices"][0]["prompt_logprobs"][1:]
            return [float(of[str(token)]["logprob"]) for token, of in zip(tokens[1:], scores, strict=True)]
        except openai.OpenAIError as error:
            raise ModelError(self._redacted(f"{self._url} does not score a prompt ({type(error).__name__})")) from error
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{self._url} does not score prompts as vLLM does; look at `served`") from error

    def _redacted(self, text: str) -> str:
        """A server's words without the key, should it repeat it."""
        return redact_key(text, key(self._api_key_env))

    def _start(self, adapter: Path | None) -> str:
        """The command that serves what is wanted beside what is served."""
        modules = {model.name: str(model.root) for model in self._served if model.parent is not None}
        command = f"VLLM_NO_USAGE_STATS=1 vllm serve {self._local.directory} --no-trust-remote-code"
        if adapter is not None:
            modules[adapter.name] = str(adapter.resolve())
            rank = lora_rank(int(servable(adapter).get("r", 8)))
            command += f" --enable-lora --max-loras {len(modules) + 1} --max-lora-rank {rank} --lora-modules "
            command += " ".join(f"{name}={root}" for name, root in modules.items())
        return self._redacted(f"start it with {command}")

    @cached_property
    def _served(self) -> list[_Served]:
        """What the server says that it serves."""
        import openai

        from ..api.clients import opened

        try:
            with opened(key(self._api_key_env), self._url, max_retries=0, timeout=_PATIENCE) as client:
                content = client.get("/models", cast_to=str)
        except openai.APIStatusError as error:
            if refusal(error.status_code, error.code, error.message, error.response.headers).again:
                raise ModelError(f"{self._url} does not say what it serves (status {error.status_code})") from None
            raise ConfigError(
                f"{self._url} does not say what it serves (status {error.status_code}): look at `served`, which goes "
                f"up to and with the /v1, and at the key in {self._api_key_env}"
            ) from None
        except openai.OpenAIError as error:
            raise ModelError(f"{self._url} does not say what it serves ({type(error).__name__})") from error
        return _models(content, self._url)

    @property
    def _shown(self) -> dict[str, bool]:
        """Else a server without a parser of reasoning leaves out marks that are special tokens, not what they mark."""
        return {"skip_special_tokens": False} if special_reasoning_tokens(self._local.tokenizer) else {}

    def _engine(self, name: str) -> OpenAIEngine:
        if name not in self._engines:
            self._engines[name] = OpenAIEngine(
                ApiSpec(
                    name,
                    base_url=self._url,
                    api_key_env=self._api_key_env,
                    limits=self._limits,
                    clean=partial(without_control_tokens, self._local.tokenizer),
                    extra={"stop_token_ids": self._local.stop_tokens, **_PLAIN, **self._shown},
                )
            )
        return self._engines[name]


def _models(content: str, url: str) -> list[_Served]:
    """A server's models, from what it says. Raises ConfigError when that is no list of models."""
    try:
        listed = json.loads(content)["data"]
        return [_Served(str(model["id"]), model.get("root"), model.get("parent")) for model in listed]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{url} does not list models as vLLM does; look at `served`") from error


def _is_elsewhere(root: str | None, directory: Path) -> bool:
    """Whether a model surely comes from another directory. On another machine nobody can tell."""
    return root is not None and Path(root).exists() and Path(root).resolve() != directory.resolve()
