"""Whether a question points back at what was said before it, so that alone it asks about anything.

    "Tell me about the Oxbow 7." ... "And how much is it?"     points back
    "Hi, this is Maria."         ... "Do you ship on Sundays?"  stands alone

Told by words of the contrast corpus's languages: pronouns that are hardly any other word in one of them,
some of which count at the end alone ("How much is that?"), and questions of a word or two.
"""

from __future__ import annotations

import re

from melo_engine.matching.names import has_spaceless, words

FEW, FEW_BEHIND_AND = 2, 4  # words of a question that asks nothing alone
_AND = frozenset("and but und aber et mais y pero e mas ve ama и а но".split())
_POINTING = frozenset(
    (
        "it its they them their theirs him his she hers this these those "
        "ihn ihm ihnen dieser diese dieses diesen diesem dafur davon damit dazu daran darin darauf "
        "elle elles ils celui celle celles ceux cela ca "
        "ella ellos ellas esto eso ese esa este "
        "esso essa essi questo questa quello quella "
        "ele ela eles elas isso isto dele dela esse "
        "jego jej niego niej tego tej tym "
        "bu bunu bunun onun onu onlar onlarin "
        "он она оно они его ее их это этот эта эти этого нем ней нему "
        "هو هي هذا هذه ذلك تلك"
    ).split()
)
_BEHIND_AN_EMPTY_IT = frozenset("to that if".split())  # "is it possible to", "is it true that"
_POINTING_AT_THE_END = frozenset("that he her das es il lui".split())
_ACRONYM = re.compile(r"\b[A-Z]{2,}\b")  # "IT" is no "it"
_POINTING_SIGNS = (
    "它",
    "他",
    "她",
    "这",
    "那",
    "それ",
    "これ",
    "その",
    "この",
    "그것",
    "이것",
    "그거",
    "이거",
)


def points_back(question: str) -> bool:
    """Whether a question says of what it asks only "it", "this" and the like, or hardly anything."""
    if any(sign in question for sign in _POINTING_SIGNS):
        return True
    if has_spaceless(question):
        return False
    said = words(question)
    if not said:
        return False
    few = FEW_BEHIND_AND if said[0] in _AND else FEW
    if len(said) <= few or said[-1] in _POINTING_AT_THE_END:
        return True
    acronyms = set() if question.isupper() else {w.lower() for w in _ACRONYM.findall(question)}
    pointing = _POINTING - acronyms
    return any(
        word in pointing and not (word == "it" and _BEHIND_AN_EMPTY_IT & {*said[i + 2 : i + 4]})
        for i, word in enumerate(said)
    )
