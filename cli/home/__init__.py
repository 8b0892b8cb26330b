"""A home: made, worked through, looked at."""
