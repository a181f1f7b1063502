"""From a question to the sub-questions to ask first."""

from .decomposition import Decomposer, Decomposition, none
from .prompted import PromptedDecomposer

__all__ = ["Decomposer", "Decomposition", "PromptedDecomposer", "none"]
