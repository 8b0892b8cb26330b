"""What a text is: which characters its bytes spell, which question it asks, whom it names.

Plain functions without torch or a database, so that ledger, engine and settings may share them.
"""

from text.encoding import decode, encoding_of, read_text
from text.proposal import proposed_answer
from text.question import normalize_question
from text.subject import subject_may_stand_in

__all__ = [
    "decode",
    "encoding_of",
    "normalize_question",
    "proposed_answer",
    "read_text",
    "subject_may_stand_in",
]
