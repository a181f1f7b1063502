"""Training a student: objectives, batches, checkpoints, what it costs."""
