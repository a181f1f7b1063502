"""Whether an answer is right: reading it out of a text, and comparing it with the gold one."""
