"""What generates: `transformers`, vLLM in this process or served, and a scripted double for tests."""
