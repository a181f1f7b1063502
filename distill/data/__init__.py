"""From traces to training data: which replies are learned from, and in what groups."""
