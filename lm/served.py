"""The engine behind `vllm serve`: one base and its adapters, each under a name of its own.

The server's replies come by the OpenAI API, with what that API leaves to the server said aloud: the model's own
sampling defaults are put off, its turns end where ours do, and no text of ours opens a turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from functools import cached_property, partial
from pathlib import Path

from ..tasks.errors import ConfigError, ModelError
from .chat import without_control_tokens
from .completion import Draw
from .cost import Footprint
from .engine import Finished, Identity, Pulse
from .local import Local
from .openai import Limits, OpenAI, host, key
from .store import Store
from .vllm import servable

_PLAIN = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Samples are drawn from the model alone, whatever its published defaults are."""
_PATIENCE = 10.0
"""Seconds for the server to say what it serves."""


class ServedVLLM:
    """A model directory that a `vllm serve` has loaded; its adapters are called by their directories' names."""

    def __init__(self, path: str, url: str, *, api_key_env: str, limits: Limits) -> None:
        """`path` is the base that the server was started with: its hash, its size and its tokenizer are read here."""
        self._local = Local(path)
        self._url = url
        self._api_key_env = api_key_env
        self._limits = limits
        self._engines: dict[str, OpenAI] = {}

    def identity(self, adapter: Path | None) -> Identity:
        if adapter:
            servable(adapter)
        return self._local.identity(host(self._url), adapter.name if adapter else self._local.directory.name, adapter)

    def footprint(self, adapter: Path | None) -> Footprint:
        return self._local.footprint(adapter)

    def pulse(self) -> Pulse:
        pulses = [engine.pulse() for engine in self._engines.values()]
        retries: Counter[str] = sum((Counter(pulse.retries) for pulse in pulses), Counter())
        return Pulse(sum(pulse.at_once for pulse in pulses), retries)

    def generate(
        self, draws: Sequence[Draw], missing: Set[str], store: Store, adapter: Path | None
    ) -> Iterator[Finished]:
        yield from self._engine(self._name(adapter)).generate(draws, missing, store, None)

    def _name(self, adapter: Path | None) -> str:
        """What the server calls the base, or an adapter. Raises ConfigError when it does not serve it."""
        if adapter is None:
            return self._served[0]
        if adapter.name not in self._served:
            how = f"--enable-lora --max-loras 3 --lora-modules {adapter.name}={adapter}"
            raise ConfigError(
                f"{self._url} serves {', '.join(self._served)}, but not {adapter.name}; "
                f"start it with vllm serve {self._local.directory} {how}"
            )
        return adapter.name

    @cached_property
    def _served(self) -> list[str]:
        """The names at the server, the base first."""
        import openai

        try:
            with openai.OpenAI(base_url=self._url, api_key=key(self._api_key_env), timeout=_PATIENCE) as client:
                models = client.models.list().data
        except openai.OpenAIError as error:
            raise ModelError(f"{self._url} does not say what it serves ({type(error).__name__})") from error
        bases = [model.id for model in models if getattr(model, "parent", None) is None]
        if not bases:
            raise ConfigError(f"{self._url} serves no base model")
        return [*bases, *(model.id for model in models if model.id not in bases)]

    def _engine(self, name: str) -> OpenAI:
        if name not in self._engines:
            self._engines[name] = OpenAI(
                name,
                base_url=self._url,
                api_key_env=self._api_key_env,
                limits=self._limits,
                clean=partial(without_control_tokens, self._local.tokenizer),
                extra={"stop_token_ids": self._local.stop_tokens, **_PLAIN},
            )
        return self._engines[name]
