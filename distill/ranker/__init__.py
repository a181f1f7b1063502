"""A model that ranks solutions: its features, its training, its scores."""
