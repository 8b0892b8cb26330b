"""Texts: looked up where they are known, else decoded, no further than the verdict needs."""
