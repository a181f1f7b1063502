"""The endpoint: connections, keys, admission, quotas, metrics."""
