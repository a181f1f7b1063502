"""Intervals and paired tests; they know of numbers alone."""
