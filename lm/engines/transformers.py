"""The engine on this machine: a causal language model in `transformers`, and any number of LoRA adapters on it.

One copy of the base serves every adapter. Batches are sorted by prompt length; each row draws from a random stream of
its own, so that a sample does not depend on its neighbours. Several threads may ask: their batches take turns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..cost.flops import ModelSize
from ..engine import EngineStatus, Identity, StreamCallback, silent
from ..local import environment
from ..local.adapters import load_adapter
from ..local.chat_template import check_known, encode, opening_tag
from ..local.model_dir import NEGATIVE, POSITIVE, ModelDirectory, is_nat
from ..local.streaming import ABORTED, StreamDecoder
from ..local.untrusted import needed
from ..local.weights import Dtype, load_model
from ..recorder import Finished, Recorder
from ..types import Completion, SampleRequest, Usage

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, StoppingCriteria


class _Prompted(NamedTuple):
    draw: SampleRequest
    prompt: list[int]
    opening: str
    """What the prompt has opened, of `lm.reasoning`'s marks."""


class Transformers:
    """A model directory (or hub name), loaded when the first completion is asked for."""

    def __init__(self, path: str, *, dtype: Dtype = "auto", concurrency: int = 32, device: str = "auto") -> None:
        """`dtype` auto is bfloat16 where the processor computes in it, else float32; only float32 repeats exactly."""
        environment.prepare()  # for whoever opens an engine without a study; torch is loaded later, if at all
        self.local = ModelDirectory(path)
        """Its directory and its tokenizer."""
        self._dtype = dtype
        self._concurrency = concurrency
        self._device = device
        self._adapters: dict[Path, list[str]] = {}
        self._peft: Any = None
        self._turn = threading.Lock()

    def identity(self, adapter: Path | None) -> Identity:
        return self.local.identity("local", f"{self.local.name}:{self._dtype}", adapter)

    def footprint(self, adapter: Path | None) -> ModelSize:
        return self.local.footprint(adapter)

    @cached_property
    def _base(self) -> PreTrainedModel:
        return load_model(self.local.directory, self._dtype, self._device).eval()

    @cached_property
    def _reader(self) -> StreamDecoder:
        return StreamDecoder(self.local.tokenizer, self.local.stop_tokens)

    @cached_property
    def _pad(self) -> int:
        """What stands before shorter prompts, unseen: a token that the model has a vector for."""
        pad = self.local.tokenizer.pad_token_id
        return int(pad) if pad is not None and pad < self._base.get_input_embeddings().weight.shape[0] else 0

    @cached_property
    def _has_places(self) -> bool:
        """Whether the model has learnt a vector for every place (GPT-2, OPT), and knows none behind the last.

        In a batch of several limits, a row that has ended would be led there by its padding.
        """
        from torch.nn import Embedding

        named = self._base.named_modules()
        return any(isinstance(m, Embedding) and ("wpe" in name or "position" in name) for name, m in named)

    def status(self) -> EngineStatus:
        return EngineStatus()

    def generate(
        self,
        draws: Sequence[SampleRequest],
        record: Recorder,
        adapter: Path | None = None,
        *,
        planned: Sequence[SampleRequest] = (),
    ) -> Iterator[Finished]:
        self._load()
        missing = {draw.key for draw in draws}
        for rows in self._batches(planned or draws, _limits):
            if batch := [row for row in rows if row.draw.key in missing]:
                attempts = record.begin([row.draw for row in batch])
                yield record.settle(list(zip(attempts, self._complete(batch, adapter), strict=True)))

    def stream(
        self, draws: Sequence[SampleRequest], adapter: Path | None, on_text: StreamCallback = silent
    ) -> list[Completion]:
        """The completions of draws, each with a key of its own, heard while they are generated and kept nowhere.

        Draws of any limits share a batch, where the model allows it. One that nobody listens to any more ends where it
        is, with `abort`. Listeners are asked as often as a twentieth of the time allows.
        """
        self._load()
        said: dict[str, Completion] = {}
        for planned in self._batches(draws, _limits if self._has_places else _any_limits):
            said |= {row.draw.key: Completion("", ABORTED, Usage(len(row.prompt))) for row in planned}
            if batch := [row for row in planned if on_text(row.draw, "")]:
                completions = self._complete(batch, adapter, on_text)
                said |= {row.draw.key: completion for row, completion in zip(batch, completions, strict=True)}
        return [said[draw.key] for draw in draws]

    def _batches(
        self, draws: Sequence[SampleRequest], alike: Callable[[SampleRequest], Any]
    ) -> Iterator[list[_Prompted]]:
        """Draws that are alike and of like length together, longest first, so that memory runs out at once or never."""
        tokenizer = self.local.tokenizer
        asked = {(draw.request.messages, draw.request.thinking) for draw in draws}
        prompts = {each: encode(tokenizer, *each) for each in asked}
        openings = {thinking: opening_tag(tokenizer, thinking) for _, thinking in asked}
        check_known(tokenizer, prompts.values(), self._base)
        rows = [
            _Prompted(draw, prompts[draw.request.messages, draw.request.thinking], openings[draw.request.thinking])
            for draw in draws
        ]
        rows.sort(key=lambda row: (alike(row.draw), len(row.prompt)), reverse=True)
        batch: list[_Prompted] = []
        for row in rows:
            if batch and (len(batch) == self._concurrency or alike(row.draw) != alike(batch[0].draw)):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _load(self) -> None:
        """Loading is no part of the first batch's seconds."""
        with self._turn:
            self._base  # noqa: B018  # a property that is computed once

    def _active(self, adapter: Path | None) -> AbstractContextManager[object]:
        """Put the adapter, or the bare base, to work for the length of a block."""
        if adapter is None:
            return self._peft.disable_adapter() if self._peft is not None else nullcontext()
        if adapter not in self._adapters:
            self._learn(adapter)
        self._peft.base_model.set_adapter(self._adapters[adapter])
        return nullcontext()

    def _learn(self, adapter: Path) -> None:
        name = f"adapter{len(self._adapters)}"
        if is_nat(adapter):
            from ..local.nat import load_units

            names = [f"{name}_{POSITIVE}", f"{name}_{NEGATIVE}"]
            for part, folder in zip(names, (POSITIVE, NEGATIVE), strict=True):
                self._peft = load_adapter(self._peft or self._base, adapter / folder, part)
            load_units(self._peft, adapter, *names)
        else:
            names = [name]
            self._peft = load_adapter(self._peft or self._base, adapter, name)
        self._peft.eval()
        self._adapters[adapter] = names

    def _complete(
        self, batch: Sequence[_Prompted], adapter: Path | None, on_text: StreamCallback = silent
    ) -> list[Completion]:
        with self._turn, self._active(adapter):
            started = time.perf_counter()
            made = self._run(batch, _behind(batch, on_text))
            seconds = (time.perf_counter() - started) / len(batch)
        return [replace(c, usage=replace(c.usage, seconds=seconds)) for c in made]

    def _run(self, batch: Sequence[_Prompted], on_text: StreamCallback) -> list[Completion]:
        import torch

        from ..local.sampling import SeededSampler, StreamingCriteria, ThinkingBudgets

        draws = [row.draw for row in batch]
        limits = [self._limit(row) for row in batch]
        device = self._base.device
        width = max(len(row.prompt) for row in batch)
        pad = self._pad
        openings = [row.opening for row in batch]
        budgets = ThinkingBudgets(draws, openings, self._reader, self.local.tokenizer, width)
        choose = SeededSampler(draws, device, budgets)
        streaming = StreamingCriteria(draws, on_text, self._reader, width, device)
        criteria = self._criteria(draws, limits, width, device) + ([] if on_text is silent else [streaming])
        library = f"{self.local.directory} cannot be asked without a library that is not installed"
        with torch.inference_mode(), needed(library):
            out = (self._peft or self._base).generate(
                input_ids=torch.tensor([[pad] * (width - len(r.prompt)) + r.prompt for r in batch], device=device),
                attention_mask=torch.tensor(
                    [[0] * (width - len(r.prompt)) + [1] * len(r.prompt) for r in batch], device=device
                ),
                max_new_tokens=max(limits),
                use_cache=True,
                eos_token_id=self.local.stop_tokens,
                pad_token_id=pad,
                logits_processor=[choose],
                stopping_criteria=criteria or None,
            )
        rows = [row[:limit] for row, limit in zip(out[:, width:].tolist(), limits, strict=True)]
        made = [
            self._completion(of, row[: streaming.left.get(i)])
            for i, (of, row) in enumerate(zip(batch, rows, strict=True))
        ]
        made = [replace(c, finish=ABORTED) if i in streaming.left else c for i, c in enumerate(made)]
        for i, row in enumerate(rows):
            if on_text is not silent and i not in streaming.left:
                on_text(draws[i], self._reader.read(row, draws[i].request.sampling).text)
        return choose.scored(made) if choose.keeps else made

    def _limit(self, row: _Prompted) -> int:
        """Tokens that may be written: what was asked for, and no more than the context has places for.

        The last token is written and not read.
        """
        limit = row.draw.request.sampling.max_tokens
        return limit if self.local.context is None else max(1, min(limit, self.local.context + 1 - len(row.prompt)))

    def _criteria(
        self, draws: Sequence[SampleRequest], limits: Sequence[int], width: int, device: torch.device
    ) -> list[StoppingCriteria]:
        """What ends a row besides a token that ends a turn."""
        from ..local.sampling import RowLimits, StopStrings

        stops = [draw.request.sampling.stop for draw in draws]
        criteria: list[StoppingCriteria] = []
        if any(stops):
            criteria.append(StopStrings(self.local.tokenizer, stops, width))
        if len(set(limits)) > 1:
            criteria.append(RowLimits(limits, width, device))
        return criteria

    def _completion(self, of: _Prompted, row: list[int]) -> Completion:
        read = self._reader.read(row, of.draw.request.sampling)
        usage = Usage(len(of.prompt), read.length)
        return self.local.completion(of.opening + read.text, "stop" if read.ended else "length", usage)


def _behind(batch: Sequence[_Prompted], on_text: StreamCallback) -> StreamCallback:
    """A listener that hears each text behind what its prompt has opened."""
    openings = {row.draw.key: row.opening for row in batch}
    if on_text is silent or not any(openings.values()):
        return on_text
    return lambda draw, text: on_text(draw, openings[draw.key] + text)


def _limits(draw: SampleRequest) -> tuple[int, tuple[str, ...], bool]:
    """What the draws of a study's batch have in common."""
    return draw.request.sampling.max_tokens, draw.request.sampling.stop, draw.request.logprobs


def _any_limits(draw: SampleRequest) -> tuple[()]:
    """Whoever asks at the same time need not ask alike."""
    return ()
