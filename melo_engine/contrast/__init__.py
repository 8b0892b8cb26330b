"""Learning what makes two prompts ask the same thing."""

from melo_engine.contrast.corpus import corpus_hash
from melo_engine.contrast.learning import LearningRecipe, learn_projection

__all__ = ["LearningRecipe", "corpus_hash", "learn_projection"]
