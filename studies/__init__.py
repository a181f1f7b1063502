"""A study from its settings to its report: collecting, distilling, evaluating, and what it costs beforehand."""
