"""A distilled decomposer in front of any API LLM: in Python (`plug`), or as an OpenAI-compatible endpoint (`app`)."""

from __future__ import annotations
