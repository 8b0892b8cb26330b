"""MELO: edit a language model with neuron-indexed dynamic LoRA, and take every edit back.

MELO (Yu et al., AAAI 2024): each small batch of edits trains its own low-rank block; a vector
database maps the key of a prompt to a block; outside every radius the model is untouched.
"""

from melo_engine.backbone import Backbone
from melo_engine.editor import Editor
from melo_engine.errors import MeloError
from melo_engine.surgery import Surgery
from melo_engine.types import Answer, EditOutcome, EditRequest, EditSettings, Route
from melo_engine.version import Edit, Version

__all__ = [
    "Answer",
    "Backbone",
    "Edit",
    "EditOutcome",
    "EditRequest",
    "EditSettings",
    "Editor",
    "MeloError",
    "Route",
    "Surgery",
    "Version",
]
