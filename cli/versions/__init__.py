"""Versions: compared, gated, promoted, rolled back, exported."""
