"""The questions a study asks: data sets, and the miniature world."""

from .question import GraderName, Question

__all__ = ["GraderName", "Question"]
