"""The composer: every decomposer before every solver, votes, cost, statistics, report."""

from .compose import Cell, Row
from .study import Study, load

__all__ = ["Cell", "Row", "Study", "load"]
