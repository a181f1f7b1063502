"""From a question and its sub-questions to a worked solution and its answer."""

from .grading.extract import extract
from .grading.grade import GRADERS, Grader, Verdict, grade
from .prompted import PromptedSolver
from .solution import Solution, Solver

__all__ = ["GRADERS", "Grader", "PromptedSolver", "Solution", "Solver", "Verdict", "extract", "grade"]
