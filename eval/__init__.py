"""The composer: every decomposer before every solver, votes, cost, statistics, report."""

from .config import Study, load
from .grid.evaluate import Row
from .grid_spec import Cell

__all__ = ["Cell", "Row", "Study", "load"]
