"""Who answers: the upstream, a local model, a decomposer, a ranker."""
