"""From a question and its sub-questions to a worked solution and its answer."""

from .extract import extract
from .grade import Verdict, canonical, grade
from .prompted import PromptedSolver
from .solution import Solution, Solver

__all__ = ["PromptedSolver", "Solution", "Solver", "Verdict", "canonical", "extract", "grade"]
