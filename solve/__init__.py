"""From a question and its sub-questions to a worked solution and its answer."""

from .extract import extract
from .grade import GRADERS, Grader, Verdict, grade
from .prompted import PromptedSolver
from .solution import Solution, Solver

__all__ = ["GRADERS", "Grader", "PromptedSolver", "Solution", "Solver", "Verdict", "extract", "grade"]
