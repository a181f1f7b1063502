"""A request from its text to a reply, without I/O: steps that others carry out."""
