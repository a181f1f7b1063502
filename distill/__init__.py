"""From a teacher's traces to students: a small decomposer, a small solver."""

from .recipes import DecomposerRecipe, SolverRecipe
from .traces.collect import CollectSettings, collect
from .traces.trace import Trace

__all__ = ["CollectSettings", "DecomposerRecipe", "SolverRecipe", "Trace", "collect"]
