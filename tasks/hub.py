"""Data sets on the Hugging Face hub, each at one pinned revision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import ConfigError


@dataclass(frozen=True)
class Hub:
    """Where a data set lies on the hub."""

    repository: str
    revision: str
    """A commit, so that the same questions come tomorrow."""
    splits: Mapping[str, str]
    """The repository's name of what is `train` and `test` here; one of them may be missing."""
    configs: tuple[str | None, ...] = (None,)
    """Parts that together are the data set."""

    def rows(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """An id and the row, for each row of a split, from the hub or its cache. Raises ConfigError without either."""
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError

        if split not in self.splits:
            raise ConfigError(f"{self.repository} has no {split} split; there is {', '.join(self.splits)}")
        for config in self.configs:
            try:
                rows = load_dataset(self.repository, config, split=self.splits[split], revision=self.revision)
            except (OSError, ValueError, RuntimeError, DatasetsError) as error:
                raise ConfigError(
                    f"cannot load {self.repository} from the hub ({error}); give the path of a file"
                ) from error
            part = f"{split}/{config}" if len(self.configs) > 1 else split
            for number, row in enumerate(rows, 1):
                yield f"{part}/{number}", row
