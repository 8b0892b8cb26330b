"""MELO: edit a language model with neuron-indexed dynamic LoRA, and take every edit back.

MELO (Yu et al., AAAI 2024): each small batch of edits trains its own low-rank block; a vector
database maps the key of a prompt to a block; outside every radius the model is untouched.
"""

from melo_engine.backbone import Backbone
from melo_engine.calibrate import Calibration
from melo_engine.conversation import Conversation, Message, Prompt
from melo_engine.editor import Asking, Editor, EditResult
from melo_engine.encoders import HiddenStates, SentenceEncoder
from melo_engine.errors import MeloError
from melo_engine.keys import KeyReader
from melo_engine.surgery import Surgery
from melo_engine.types import (
    Answer,
    Conflict,
    EditOutcome,
    EditRequest,
    EditSettings,
    PromptSettings,
    Route,
)
from melo_engine.version import Edit, Version, Wording

__all__ = [
    "Answer",
    "Asking",
    "Backbone",
    "Calibration",
    "Conflict",
    "Conversation",
    "Edit",
    "EditOutcome",
    "EditRequest",
    "EditResult",
    "EditSettings",
    "Editor",
    "HiddenStates",
    "KeyReader",
    "MeloError",
    "Message",
    "Prompt",
    "PromptSettings",
    "Route",
    "SentenceEncoder",
    "Surgery",
    "Version",
    "Wording",
]
