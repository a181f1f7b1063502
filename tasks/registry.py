"""The data sets that papers on this subject use: where each lies, and how its rows are read.

Adding one is a function from a row to a question, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..core import tables
from ..core.errors import ConfigError
from ..core.jsonlines import Row
from . import reading_comprehension, word_problems
from .hub import Hub
from .question import Question

Name = Literal["gsm8k", "math", "svamp", "asdiv", "multiarith", "drop", "bamboogle", "strategyqa"]
NAMES: tuple[Name, ...] = get_args(Name)


@dataclass(frozen=True)
class DataSet:
    """A published data set."""

    about: str
    question: Callable[[Row, str, str], Question]
    """From a row, where it stands (for an error), and a name for the question."""
    hub: Hub
    rows: Callable[[Path], Iterator[tuple[int, Row]]] = tables.rows
    """The numbered rows of a file."""

    def read(self, path: Path) -> list[Question]:
        """The questions of a file of the published shape. Raises ConfigError naming the row that is malformed."""
        return [self._read(row, f"{path}:{n}", f"{path.stem}/{n}") for n, row in self.rows(path)]

    def download(self, split: str) -> list[Question]:
        """The questions of a split, from the hub or its cache."""
        return [self._read(row, f"{self.hub.repository} {name}", name) for name, row in self.hub.rows(split)]

    def _read(self, row: Row, where: str, name: str) -> Question:
        try:
            return self.question(row, where, name)
        except (AttributeError, TypeError, KeyError) as error:
            raise ConfigError(f"{where} has not the shape of its data set: {error!r}") from error


_BOTH = {"train": "train", "test": "test"}
_SUBJECTS = (
    *("algebra", "counting_and_probability", "geometry", "intermediate_algebra"),
    *("number_theory", "prealgebra", "precalculus"),
)

DATA_SETS: dict[Name, DataSet] = {
    "gsm8k": DataSet(
        "GSM8K, grade-school word problems; Socratic files have gold sub-questions",
        word_problems.gsm8k,
        Hub("openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866", _BOTH, ("socratic",)),
    ),
    "math": DataSet(
        "MATH, competition problems with level and type",
        word_problems.competition,
        Hub("EleutherAI/hendrycks_math", "21a5633873b6a120296cce3e2df9d5550074f4a3", _BOTH, _SUBJECTS),
    ),
    "svamp": DataSet(
        "SVAMP, word problems with changed wording",
        word_problems.svamp,
        Hub("ChilleD/SVAMP", "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef", _BOTH),
    ),
    "asdiv": DataSet(
        "ASDiv, diverse word problems",
        word_problems.asdiv,
        Hub("EleutherAI/asdiv", "8f95807222d87b4c688c3c22a6ba2801e1fa03e2", {"test": "validation"}),
    ),
    "multiarith": DataSet(
        "MultiArith, word problems of several steps",
        word_problems.multiarith,
        Hub("ChilleD/MultiArith", "144d44c3fb87c0b9097ac9593c789e716a282e3e", _BOTH),
    ),
    "drop": DataSet(
        "DROP, questions that reason over a passage",
        reading_comprehension.drop,
        Hub("ucinlp/drop", "95cda593fae71b60b5b19f82de3fcf3298c1239c", {"train": "train", "test": "validation"}),
        reading_comprehension.drop_rows,
    ),
    "bamboogle": DataSet(
        "Bamboogle, two-hop questions; files have gold sub-questions",
        reading_comprehension.bamboogle,
        Hub("chiayewken/bamboogle", "5787baaae24a33baee4cf57a4cc743e8a02cd548", {"test": "test"}),
    ),
    "strategyqa": DataSet(
        "StrategyQA, yes-or-no questions with human decompositions",
        reading_comprehension.strategyqa,
        Hub("havens2/strategyQA_train", "1465fef6dd77aa224abcd8f4a2ae03a7cfb0021c", {"train": "train"}),
    ),
}
