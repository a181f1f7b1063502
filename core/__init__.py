"""What everything stands on: errors, settings, documents from outside, and files that are replaced at once."""
