"""Models whose weights are on this machine: loading, chat templates, sampling, streaming, NAT."""
