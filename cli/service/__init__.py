"""The HTTP service, and the keys to it."""
