"""Every decomposer before every solver: the grid, its rows and what they lack."""
