"""The questions a study asks: data sets, and the miniature world."""

from .question import GraderName, MeasureName, Question

__all__ = ["GraderName", "MeasureName", "Question"]
