"""Edits: listed, reviewed, revoked."""
