"""The composer: every decomposer before every solver, votes, cost, statistics, report."""

from .config import Study, load
from .grid.rows import ResultRow, Results
from .grid_spec import Cell

__all__ = ["Cell", "ResultRow", "Results", "Study", "load"]
