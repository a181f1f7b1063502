"""The questions a study asks: data sets, and the miniature world."""

from .question import Question

__all__ = ["Question"]
