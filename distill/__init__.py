"""From a teacher's traces to students: a small decomposer, a small solver."""

from .collect import CollectSettings, collect
from .recipes import DecomposerRecipe, SolverRecipe
from .traces import Trace

__all__ = ["CollectSettings", "DecomposerRecipe", "SolverRecipe", "Trace", "collect"]
