"""A distilled decomposer in front of an API LLM, in Python."""
