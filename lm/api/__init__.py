"""Models behind a URL: requests, retries, rate limits, the Batch API."""
