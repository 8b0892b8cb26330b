"""Learning what makes two prompts ask the same thing."""

from melo_engine.contrast.corpus import corpus_hash
from melo_engine.contrast.learning import LearningRecipe, learn_projection
from melo_engine.contrast.parallels import asks_otherwise, one_word_apart

__all__ = ["LearningRecipe", "asks_otherwise", "corpus_hash", "learn_projection", "one_word_apart"]
