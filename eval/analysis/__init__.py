"""What a grid's rows come to: summaries, errors, votes, costs, comparisons."""
