"""What becomes of a probe in a version, and what its answer must be."""
