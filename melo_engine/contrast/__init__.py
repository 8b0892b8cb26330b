"""Learning what makes two prompts ask the same thing."""

from melo_engine.contrast.corpus import corpus_hash
from melo_engine.contrast.learning import Recipe, learn_projection

__all__ = ["Recipe", "corpus_hash", "learn_projection"]
