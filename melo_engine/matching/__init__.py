"""Strings: which names stand in a text, what describes a subject, what a question is about."""

from melo_engine.matching.matcher import Mention, SubjectMatcher
from melo_engine.matching.names import joined, name_in, spans, words
from melo_engine.matching.whole_names import whole_name

__all__ = [
    "Mention",
    "SubjectMatcher",
    "joined",
    "name_in",
    "spans",
    "whole_name",
    "words",
]
