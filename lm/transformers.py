"""The engine on this machine: a causal language model in `transformers`, and any number of LoRA adapters on it.

One copy of the base serves every adapter. Batches are sorted by prompt length; each row draws from a random stream of
its own, so that a sample does not depend on its neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..tasks.errors import ConfigError
from .chat import encode
from .completion import Completion, Draw, Sampling, Usage
from .cost import Footprint
from .engine import Finished, Identity, Pulse
from .local import NEGATIVE, POSITIVE, Local, adapter_weights, is_nat
from .store import Store
from .weights import Dtype, load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _Prompted(NamedTuple):
    draw: Draw
    prompt: list[int]


class Transformers:
    """A model directory (or hub name), loaded when the first completion is asked for."""

    def __init__(self, path: str, *, dtype: Dtype = "auto", batch: int = 32, device: str = "auto") -> None:
        """`dtype` auto is bfloat16 where the processor computes in it, else float32; only float32 repeats exactly."""
        self._local = Local(path)
        self._dtype = dtype
        self._batch = batch
        self._device = device
        self._adapters: dict[Path, list[str]] = {}
        self._peft: Any = None

    def identity(self, adapter: Path | None) -> Identity:
        return self._local.identity("local", f"{self._local.directory.name}:{self._dtype}", adapter)

    def footprint(self, adapter: Path | None) -> Footprint:
        return self._local.footprint(adapter)

    @cached_property
    def _base(self) -> PreTrainedModel:
        return load_model(self._local.directory, self._dtype, self._device).eval()

    def pulse(self) -> Pulse:
        return Pulse()

    def generate(
        self, draws: Sequence[Draw], missing: Set[str], store: Store, adapter: Path | None
    ) -> Iterator[Finished]:
        self._base  # noqa: B018  # loading is no part of the first batch's seconds
        for planned in self._batches(draws):
            batch = [row for row in planned if row.draw.key in missing]
            if not batch:
                continue
            attempts = store.begin([row.draw for row in batch])
            with self._active(adapter):
                completions = self._complete(batch)
            finished = [(row.draw, completion) for row, completion in zip(batch, completions, strict=True)]
            store.settle(attempts, finished)
            yield finished

    def _batches(self, draws: Sequence[Draw]) -> Iterator[list[_Prompted]]:
        """Draws of like limits and like length together, longest first, so that memory runs out at once or never."""
        prompts = {m: encode(self._local.tokenizer, m) for m in {draw.request.messages for draw in draws}}
        rows = [_Prompted(draw, prompts[draw.request.messages]) for draw in draws]
        rows.sort(key=lambda row: (_limits(row.draw), len(row.prompt)), reverse=True)
        batch: list[_Prompted] = []
        for row in rows:
            if batch and (len(batch) == self._batch or _limits(row.draw) != _limits(batch[0].draw)):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _active(self, adapter: Path | None) -> AbstractContextManager[object]:
        """Put the adapter, or the bare base, to work for the length of a block."""
        if adapter is None:
            return self._peft.disable_adapter() if self._peft is not None else nullcontext()
        if adapter not in self._adapters:
            self._load(adapter)
        self._peft.base_model.set_adapter(self._adapters[adapter])
        return nullcontext()

    def _load(self, adapter: Path) -> None:
        name = f"adapter{len(self._adapters)}"
        if is_nat(adapter):
            from .nat import load_units

            names = [f"{name}_{POSITIVE}", f"{name}_{NEGATIVE}"]
            for part, folder in zip(names, (POSITIVE, NEGATIVE), strict=True):
                self._load_adapter(adapter / folder, part)
            load_units(self._peft, adapter, *names)
        else:
            names = [name]
            self._load_adapter(adapter, name)
        self._peft.eval()
        self._adapters[adapter] = names

    def _load_adapter(self, adapter: Path, name: str) -> None:
        from peft import PeftModel
        from safetensors import SafetensorError

        adapter_weights(adapter)
        try:
            if self._peft is None:
                self._peft = PeftModel.from_pretrained(self._base, str(adapter), adapter_name=name)
            else:
                self._peft.load_adapter(str(adapter), adapter_name=name)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise ConfigError(f"cannot load the adapter in {adapter}: {' '.join(str(error).split())[:200]}") from error

    def _complete(self, batch: Sequence[_Prompted]) -> list[Completion]:
        import torch

        from .choose import Choose, StopStrings

        started = time.perf_counter()
        sampling = batch[0].draw.request.sampling
        device = self._base.device
        width = max(len(row.prompt) for row in batch)
        pad = self._local.tokenizer.pad_token_id
        stops = self._local.stop_tokens
        choose = Choose([row.draw for row in batch], device)
        with torch.inference_mode():
            out = (self._peft or self._base).generate(
                input_ids=torch.tensor([[pad] * (width - len(r.prompt)) + r.prompt for r in batch], device=device),
                attention_mask=torch.tensor(
                    [[0] * (width - len(r.prompt)) + [1] * len(r.prompt) for r in batch], device=device
                ),
                max_new_tokens=sampling.max_tokens,
                use_cache=True,
                eos_token_id=stops,
                pad_token_id=pad,
                logits_processor=[choose],
                stopping_criteria=[StopStrings(self._local.tokenizer, sampling.stop, width)] if sampling.stop else None,
            )
        rows = out[:, width:].tolist()
        logprobs, certainties = (choose.logprobs(), choose.certainties()) if choose.keeps else ([], [])
        seconds = (time.perf_counter() - started) / len(batch)
        completions = []
        for i, (row, (_, prompt)) in enumerate(zip(rows, batch, strict=True)):
            text, length, ended = self._read(row, sampling, stops)
            usage = Usage(len(prompt), length, seconds=seconds)
            made = Completion(text, "stop" if ended else "length", usage)
            if choose.keeps:
                certainty = sum(certainties[i][:length]) / max(1, length)
                made = replace(made, logprobs=tuple(logprobs[i][:length]), certainty=certainty)
            completions.append(made)
        return completions

    def _read(self, row: list[int], sampling: Sampling, stops: Sequence[int]) -> tuple[str, int, bool]:
        """The text of a row of new tokens, how many of them are its own, and whether it ended by itself.

        Behind a row's end `generate` goes on with padding until the longest row is done.
        """
        ends = [i for i, token in enumerate(row) if token in stops]
        length = ends[0] + 1 if ends else len(row)
        text = self._text(row[:length])
        cuts = [text.index(stop) for stop in sampling.stop if stop in text]
        if not cuts:
            return text, length, bool(ends)
        reached = (n for n in range(1, length + 1) if any(stop in self._text(row[:n]) for stop in sampling.stop))
        return text[: min(cuts)], next(reached, length), True

    def _text(self, tokens: list[int]) -> str:
        return str(self._local.tokenizer.decode(tokens, skip_special_tokens=True))


def _limits(draw: Draw) -> tuple[int, tuple[str, ...], bool]:
    """What one call of `generate` has but one value for."""
    return draw.request.sampling.max_tokens, draw.request.sampling.stop, draw.request.logprobs
