"""Learning what makes two prompts ask the same thing."""

from melo_engine.contrast.learning import Recipe, learn_projection

__all__ = ["Recipe", "learn_projection"]
