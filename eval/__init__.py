"""The composer: every decomposer before every solver, votes, cost, statistics, report."""

from .config import Study, load
from .grid.evaluate import Cell, Row

__all__ = ["Cell", "Row", "Study", "load"]
