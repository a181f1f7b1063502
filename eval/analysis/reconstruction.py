"""Whether a question can be rebuilt from its sub-questions: log P(question | decomposition), by a model that reads.

Shao et al. (2021, arXiv 2106.07174) drop spurious solutions from which the question cannot be reconstructed. Here the
reader is not trained for it: any causal language model of `transformers`, in float32. What it says is kept in the
store, batch by batch, and beside the results, so that reports need no model.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from ... import prompts
from ...core.errors import ConfigError
from ...decompose.decomposition import listing
from ...lm.local.chat_template import encode, without_control_tokens
from ...lm.local.weights import load_model, load_tokenizer, model_directory, weights_hash
from ...lm.model import ProgressCallback, silent
from ...lm.store.store import Store, StoredScore
from ...lm.types import Message, Usage
from ..grid import parquet
from ..grid.results import SCHEMA as RESULTS
from ..grid.rows import Reconstruction, ResultRow, Results

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FILE = "reconstruction.parquet"
"""In a run directory."""
BATCH = 8

SCHEMA = pa.schema(
    [
        *(RESULTS.field(name) for name in ("decomposer", "test", "id", "subquestions")),
        ("reader", pa.string()),
        ("reconstruction", pa.float64()),
        ("reconstruction_gain", pa.float64()),
    ]
)
"""One row a decomposition with sub-questions. Null is unknown: too long for the reader."""


_Key = tuple[str, str, str, tuple[str, ...]]


class ReconstructedQuestion(NamedTuple):
    """A question to be rebuilt."""

    question: str
    subquestions: tuple[str, ...]
    """Empty for what the reader thinks of the question alone."""


class _Encoded(NamedTuple):
    key: str
    prompt: list[int]
    question: list[int]

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.question)


@dataclass(frozen=True)
class ReconstructionModel:
    """A causal language model that says how probable a question is behind its sub-questions.

    It is prompted by `prompts/reconstruct.md`: what stands there before the question is the user's turn, the question
    the reply. The store keeps what it says beside the rankers' scores.
    """

    path: str
    """A model directory, `miniature/NAME`, or a name on the hub."""
    directory: Path
    """Where its weights are."""
    store: Store
    device: str = "auto"
    advance: ProgressCallback = silent

    @classmethod
    def at(cls, path: str, store: Store, device: str = "auto") -> ReconstructionModel:
        """Raises ConfigError, naming the path, when there is no model; its weights are loaded when it is asked."""
        return cls(path, model_directory(path), store, device)

    def __call__(self, asked: Sequence[ReconstructedQuestion]) -> list[float | None]:
        """The mean natural log-probability of a token of each question; None where it is too long for the model.

        Batches are planned from all that is asked, and each is kept whole, so that a run that was killed goes on to
        the very same numbers.
        """
        encoded = {one: self._encode(one) for one in dict.fromkeys(asked)}
        found = self.store.scores([one.key for one in encoded.values()])
        for batch in _planned(list(encoded.values())):
            if any(one.key not in found for one in batch):
                made = self._read(batch)
                self.store.keep_scores(made)
                found = made | found
            self.advance(len(found), len(encoded))
        return [found[encoded[one].key].score for one in asked]

    def _read(self, batch: Sequence[_Encoded]) -> dict[str, StoredScore]:
        started = time.perf_counter()
        short = [one for one in batch if one.length <= self._longest and one.question]
        scores = dict(zip((one.key for one in short), self._logprobs(short), strict=True))
        each = (time.perf_counter() - started) / len(batch)
        return {one.key: StoredScore(scores.get(one.key), Usage(one.length, seconds=each)) for one in batch}

    def _logprobs(self, batch: Sequence[_Encoded]) -> list[float]:
        """Padded on the right, where a causal model does not look."""
        import torch

        if not batch:
            return []
        width = max(one.length for one in batch)
        pad = self._tokenizer.pad_token_id
        rows = [one.prompt + one.question for one in batch]
        tokens = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=self._model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self._model.device)
        with torch.inference_mode():
            logits = self._model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
        found = []
        for i, one in enumerate(batch):
            start, end = len(one.prompt), one.length
            of_question = logits[i, start - 1 : end - 1].float().log_softmax(-1)  # time, vocabulary
            chosen = of_question.gather(-1, tokens[i, start:end, None])
            found.append(float(chosen.double().mean()))
        return found

    def _encode(self, asked: ReconstructedQuestion) -> _Encoded:
        before, _, _ = self._prompt.text.partition("{question}")
        listed = listing(asked.subquestions) if asked.subquestions else ""
        prompt = prompts.Prompt(self._prompt.name, before).fill(subquestions=listed).strip()
        question = without_control_tokens(self._tokenizer, asked.question)
        return _Encoded(
            self._key(asked),
            encode(self._tokenizer, [Message("user", prompt)]),
            list(self._tokenizer(question, add_special_tokens=False)["input_ids"]),
        )

    def _key(self, asked: ReconstructedQuestion) -> str:
        stands = ["reconstruction", self._identity, self._prompt.sha256, asked.question, *asked.subquestions]
        return hashlib.sha256(json.dumps(stands).encode()).hexdigest()

    @cached_property
    def _prompt(self) -> prompts.Prompt:
        return prompts.load("reconstruct")

    @cached_property
    def _identity(self) -> str:
        return weights_hash(self.directory)

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.directory)

    @cached_property
    def _model(self) -> PreTrainedModel:
        return load_model(self.directory, "float32", self.device).eval()

    @cached_property
    def _longest(self) -> int:
        return int(getattr(self._model.config, "max_position_embeddings", 0) or 2**31)


def _planned(encoded: Sequence[_Encoded]) -> list[list[_Encoded]]:
    """Those of like length together, the longest first, so that memory runs out at once or never."""
    ordered = sorted(encoded, key=lambda one: (-one.length, one.key))
    return [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]


def keep(rows: Results, reader: ReconstructionModel, path: Path) -> None:
    """Write what the reader says of every decomposition among the rows of results; at once or not at all."""
    listed, alone = _listed(rows)
    read = read_decompositions(rows, reader)
    made = [
        dict(zip(SCHEMA.names, (*of, reader.path, read[one], _less(read[one], read[alone[one]])), strict=True))
        for of, one in listed.items()
    ]
    parquet.write(pa.Table.from_pylist(made, schema=SCHEMA), path)


def read_decompositions(rows: Results, reader: ReconstructionModel) -> dict[ReconstructedQuestion, float | None]:
    """What the reader says of every question behind the sub-questions of each row, and of the question alone."""
    listed, alone = _listed(rows)
    asked = list(dict.fromkeys([*listed.values(), *alone.values()]))
    return dict(zip(asked, reader(asked), strict=True))


def _listed(
    rows: Results,
) -> tuple[dict[_Key, ReconstructedQuestion], dict[ReconstructedQuestion, ReconstructedQuestion]]:
    """The decompositions among rows by their keys, and the question alone of each."""
    listed = {_key(row): ReconstructedQuestion(row.question, row.subquestions) for row in rows if row.subquestions}
    return listed, {one: ReconstructedQuestion(one.question, ()) for one in listed.values()}


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def joined(rows: Results, path: Path, reader: str) -> Results:
    """The rows of results, each with what the reader said of its decomposition, where `path` holds that.

    The rows as they are where there is no such file, or another reader wrote it. Raises ConfigError when it cannot be
    read.
    """
    if not path.is_file():
        return rows
    with parquet.opened(path, "remove it and evaluate again") as file:
        if absent := sorted(set(SCHEMA.names) - set(file.schema_arrow.names)):
            raise ConfigError(f"{path} lacks {', '.join(absent)}; remove it and evaluate again")
        kept = file.read(columns=SCHEMA.names).to_pylist()
    said = {
        (one["decomposer"], one["test"], one["id"], tuple(one["subquestions"])): Reconstruction(
            one["reconstruction"], one["reconstruction_gain"]
        )
        for one in kept
        if one["reader"] == reader and None not in (one["reconstruction"], one["reconstruction_gain"])
    }
    return Results(replace(row, reconstruction=said.get(_key(row))) for row in rows)


def _key(row: ResultRow) -> _Key:
    """Which decomposition a row holds: one decomposer may have several of a question, if it hears answers."""
    return str(row.cell.decomposer), row.test, row.id, row.subquestions
