"""Published results beside a run's own."""
