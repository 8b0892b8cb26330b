"""Make keys: what is asked, read once by a frozen encoder, with the subject taken out and whole.

    "We met on Monday. Who leads Acme?"
       relation text   "Who leads it?"       the sentence about the subject, its name replaced
       content text    the text as it is

A key depends on its text alone, within float rounding, and on nothing around it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import torch

from melo_engine.encoders import TokenEncoder
from melo_engine.matching.names import spans
from melo_engine.projection import KeyProjection

PLACEHOLDER = "it"  # stands for the subject in a relation text
# No sentence ends with an initial or a title: "J. K. Rowling", "the U.S. army", "Mr. Smith".
_ABBREVIATED = (
    r"(?<!\b[^\W\d_]\.)(?<!\b(?:Mr|Ms|Dr|St|Jr|Sr|No|Nr|vs)\.)(?<!\b(?:Mrs|Sra)\.)(?<!\bProf\.)"
)
_SENTENCE_END = re.compile(
    rf"(?<=[.!?…]){_ABBREVIATED}[\"'”’»)\]]*\s+|(?<=[。！？؟।])[\"'”’」』）]*\s*|\n+"
)

Names = Sequence[str | None]  # of each text the subject that is taken out, see `names.joined`
ReadKeys = Callable[[Sequence[str], Names], np.ndarray]  # texts and names to keys (N, K)


class KeyReader:
    """Keys of texts: relation part and content part, see `projection`."""

    def __init__(self, encoder: TokenEncoder, projection: KeyProjection | None = None) -> None:
        self.encoder = encoder
        projection = projection or KeyProjection(encoder.hidden_size, learned=False)
        self.projection = projection.to(encoder.device).eval().requires_grad_(False)
        self.tolerance = encoder.tolerance

    @torch.inference_mode()
    def read(self, texts: Sequence[str], names: Names | None = None) -> np.ndarray:
        """Keys (N, K) float32 of texts; names: the subject taken out of each, None for none."""
        names = names or [None] * len(texts)
        relation_texts = [relation_text(t, n) for t, n in zip(texts, names, strict=True)]
        distinct = list(dict.fromkeys([*relation_texts, *texts]))
        place = {text: i for i, text in enumerate(distinct)}
        relations = np.empty((len(distinct), self.projection.relation_size), dtype=np.float32)
        contents = np.empty((len(distinct), self.projection.hidden_size), dtype=np.float32)
        for rows, states, mask in self.encoder.read(distinct):
            relation, content = self.projection(states, mask)
            relation = self.projection.with_letters(relation, [distinct[row] for row in rows])
            relations[rows], contents[rows] = relation.cpu().numpy(), content.cpu().numpy()
        return np.concatenate(
            [
                relations[[place[text] for text in relation_texts]],
                contents[[place[text] for text in texts]],
            ],
            axis=1,
        )

    def read_alone(self, text: str, name: str | None = None) -> np.ndarray:
        """Key (K,) of one text with nothing beside it and no padding: it decides where it is close."""
        relation, content = relation_text(text, name), text
        parts = [self._alone(t) for t in dict.fromkeys((relation, content))]
        return np.concatenate([parts[0][0], parts[-1][1]])

    @torch.inference_mode()
    def _alone(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        [(_, states, mask)] = self.encoder.read([text])
        relation, content = self.projection(states, mask)
        relation = self.projection.with_letters(relation, [text])
        return relation[0].cpu().numpy(), content[0].cpu().numpy()


def relation_text(text: str, name: str | None) -> str:
    """The sentence about a subject, and what follows it, with `PLACEHOLDER` for the subject.

    The last sentence in which the name stands counts: what people write before it is not the
    question. The text itself where there is no name, or its place can't be told.
    """
    places = spans(text, name) if name else []
    if not places:
        return text
    begin = max(
        [m.end() for m in _SENTENCE_END.finditer(text) if m.end() <= places[-1][0]], default=0
    )
    for start, end in sorted(places, reverse=True):
        if start >= begin:
            text = text[:start] + PLACEHOLDER + text[end:]
    return text[begin:]


def last_sentence(text: str) -> str:
    """The last sentence of a text; the text itself where it is one."""
    stripped = text.rstrip()
    begin = max(
        [m.end() for m in _SENTENCE_END.finditer(stripped) if m.end() < len(stripped)], default=0
    )
    return text[begin:]
