"""One answer from several: rules of the vote, curves over samples, and when to stop sampling."""
